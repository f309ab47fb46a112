"""Whatever a controller asks for, writes into the envelope or sees, the setpoints stay inside the ratings."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from controllers import GUARDS, PROPOSERS
from tests.kernel.scene import S, Voice, see
from tests.properties.strategies import ANY, SETTINGS, column, fleets
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT
from vpp.kernel.grid_points import GridPoints, PointLayout
from vpp.kernel.orders import Order
from vpp.kernel.schedule import Schedule
from vpp.kernel.seen import News
from vpp.kernel.setpoints import AUTONOMOUS, FOLLOW, LIMIT
from vpp.kernel.telemetry import Telemetry
from vpp.kernel.tick import Chain, decide


def inside(fleet, asked):
    p, limit, q = asked.setpoints.p_mw, asked.setpoints.p_limit_mw, asked.setpoints.q_mvar
    assert np.isfinite(asked.setpoints.block).all()
    assert np.all((p >= fleet.p_min_mw) & (p <= fleet.p_max_mw))
    assert np.all((limit >= fleet.p_min_mw) & (limit <= fleet.p_max_mw))
    assert np.all(np.hypot(p, q) <= fleet.capability.s_max_mva * (1 + 1e-12) + 1e-12)
    assert not np.signbit(asked.setpoints.block[asked.setpoints.block == 0.0]).any()
    assert np.all(asked.setpoints.mode[fleet.control == CONTROL_FOLLOW] == FOLLOW)
    assert np.isin(asked.setpoints.mode[fleet.control == CONTROL_LIMIT], [AUTONOMOUS, LIMIT]).all()


def observed(data, fleet, **more):
    n = fleet.n
    names = ("p_mw", "vm_pu", "soc", "p_avail_min_mw", "p_avail_max_mw")
    seen = see(fleet, now_ns=0, last_p=data.draw(column(n, ANY)), **{name: data.draw(column(n, ANY)) for name in names}, **more)
    size = len(Telemetry.signals) * n
    quality = data.draw(st.lists(st.integers(0, 255), min_size=size, max_size=size))
    seen.telemetry.quality[:] = np.array(quality, np.uint8).reshape(-1, n)
    return seen


@SETTINGS
@given(st.data())
def test_a_mad_controller_cannot_push_a_setpoint_out_of_its_limits(data):
    fleet = data.draw(fleets())
    n, g = fleet.n, fleet.groups.n

    def ask(allowed):
        allowed.propose_p(data.draw(column(n, ANY)))
        allowed.propose_q(data.draw(column(n, ANY)))

    def narrow(allowed):
        allowed.band_p(data.draw(column(n, ANY)), data.draw(column(n, ANY)))
        if g:
            allowed.limit_group(data.draw(st.integers(0, g - 1)), data.draw(ANY), data.draw(ANY))

    def scribble(allowed):
        for k in range(allowed.block.shape[0]):
            if data.draw(st.booleans()):
                allowed.block[k] = data.draw(column(n, ANY))
        if g:
            allowed.group_lo[:], allowed.group_hi[:] = data.draw(column(g, ANY)), data.draw(column(g, ANY))

    voices = [Voice("asks", ask)], [Voice("narrows", narrow), Voice("scribbles", scribble)]
    chain = Chain(fleet, voices[0], voices[1] if data.draw(st.booleans()) else voices[1][:1], 60 * S)
    inside(fleet, decide(0, observed(data, fleet), chain).asked)


@SETTINGS
@given(st.data())
def test_our_own_chain_holds_with_any_telemetry_plan_and_order(data):
    fleet = data.draw(fleets())
    n = fleet.n
    guards = [GUARDS[use](fleet) for use in ("over_voltage", "under_voltage", "soc", "ramp")]
    guards += [GUARDS["pcc"](fleet, group=name, import_mw=1.0, export_mw=0.5) for name in fleet.groups.names]
    chain = Chain(fleet, [make(fleet) for make in PROPOSERS.values()], guards, 60 * S)
    layout = PointLayout(fleet.groups.names, ("p_mw",) * fleet.groups.n, fleet.groups.names)
    for k in range(3):
        plan = Schedule(0, 60 * S, np.array([data.draw(column(n, ANY)) for _ in range(4)]))
        who = np.array(data.draw(st.lists(st.integers(-2, n + 2), max_size=4)), np.int64)
        order = Order("o", "x", who, 0, 10**18, data.draw(ANY), data.draw(st.none() | ANY), data.draw(ANY))
        points = GridPoints.of(layout, data.draw(column(fleet.groups.n, ANY)), 0)
        seen = observed(data, fleet, points=points, news=News(schedule=plan, orders=(order,)))
        decision = decide(k * 60 * S, seen, chain)
        inside(fleet, decision.asked)
        assert not [event for event in decision.events if event.kind == "alarm"]
