"""A PV and its battery behind one inverter: one nameplate, two resources, nothing lost between them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenarios import load
from scenarios.build import build
from scenarios.check import check
from tests.twin.small import VOLT_WATT, B, Resources, feeder
from twin.coupling import Coupling
from twin.devices.hybrid import SharedInverters
from twin.devices.model import Offer
from twin.spec import FleetSpec
from vpp.grid import load_network
from vpp.grid.powerflow import ENGINES
from vpp.kernel.errors import ScenarioError
from vpp.kernel.setpoints import Asked
from vpp.kernel.tick import tick

S_MVA = 0.02


def pair(volt_var: Any = None, volt_watt: Any = None) -> FleetSpec:
    """A PV of 20 kVA with two batteries behind it, and a load."""
    fleet = Resources().add("pv", 6, volt_var, volt_watt, p_mw=S_MVA, s_mva=S_MVA)
    for _ in range(2):
        fleet.add("battery", 6, p_mw=0.015, s_mva=0.015, e_mwh=0.03)
    spec = fleet.add("load", 4, p_mw=0.003).spec(feeder())
    return replace(spec, s_rated_mva=np.array([S_MVA, 0, 0, 0]), inverter=np.array([-1, 0, 0, -1]))


POWER = st.floats(-0.015, 0.015)


@settings(max_examples=60, deadline=None)
@given(
    pv=st.floats(0.0, S_MVA), first=POWER, second=POWER, q=st.one_of(st.none(), st.floats(-0.02, 0.02)),
    curves=st.sampled_from([(None, None), (B, None), (B, VOLT_WATT)]),
)  # fmt: skip
def test_the_sum_never_leaves_the_nameplate(pv: float, first: float, second: float, q: float | None, curves: Any) -> None:
    spec = pair(*curves)
    coupling, shared = Coupling(feeder(), ENGINES["tree"](feeder()), spec), SharedInverters(spec)
    offer = Offer(np.zeros((len(Offer.signals), 4)))
    offer.p_mw = [pv, first, second, -0.003]
    offer.q_mvar = [q or 0.0, 0.0, 0.0, 0.0]
    offer.follow_q = [float(q is not None), 0.0, 0.0, 1.0]
    before = offer.block.copy()
    solved = coupling.solve(shared.joined(offer.block), 900.0)
    shared.part(offer.block, solved.delivered.block)
    assert offer.block.tobytes() == before.tobytes()
    p, q_mvar = solved.delivered.p_mw, solved.delivered.q_mvar
    total, asked = p[:3].sum(), pv + first + second
    assert np.hypot(total, q_mvar[:3].sum()) <= S_MVA + 1e-9
    # Nobody delivers more than it offers, or in the other direction; the sum goes no further than asked.
    for delivered, offered in zip(p[:3], (pv, first, second), strict=True):
        assert min(offered, 0.0) - 1e-12 <= delivered <= max(offered, 0.0) + 1e-12
    assert min(asked, 0.0) - 1e-12 <= total <= max(asked, 0.0) + 1e-12
    if p[0] < pv - 1e-9:  # the sun is wasted only when no battery discharges any more
        assert (p[1:3] <= 1e-9).all()
    if abs(asked) < 0.5 * S_MVA and curves == (None, None) and q is None:
        np.testing.assert_allclose(p[:3], [pv, first, second], atol=1e-12)


def test_a_battery_takes_what_the_inverter_cannot_carry() -> None:
    """DC-coupled: 20 kW of sun less 12 kW into the batteries are 8 kW through the inverter; all 20 kW are used."""
    spec = pair()
    coupling, shared = Coupling(feeder(), ENGINES["tree"](feeder()), spec), SharedInverters(spec)
    offer = Offer(np.zeros((len(Offer.signals), 4)))
    offer.p_mw, offer.q_mvar, offer.follow_q = [0.02, -0.006, -0.006, 0.0], [0.018, 0, 0, 0], [1.0, 1.0, 1.0, 1.0]
    solved = coupling.solve(shared.joined(offer.block), 900.0)
    shared.part(offer.block, solved.delivered.block)
    np.testing.assert_allclose(solved.delivered.p_mw[:3], [0.02, -0.006, -0.006], atol=1e-9)


def test_in_a_scenario_the_guard_asks_for_no_more_than_the_inverter_carries() -> None:
    """All batteries told to discharge at noon: asked and delivered stay within each nameplate."""
    order = "orders=[{at: '11:00', until: '14:00', resources: store, p_mw: 0.005}]"
    system = build(load("ev-street", (order, "planner=null", "fleet.roof.s_mva=0.006", "fleet.roof.p_mw=0.006")))
    plan, p = system.plan, system.plant
    hosts = np.unique(plan.inverter[plan.inverter >= 0])
    guests = np.array([np.flatnonzero(plan.inverter == h)[0] for h in hosts])
    assert len(hosts) == 8
    assert all(plan.group_names[g].endswith("-inverter") for g in plan.group_of[hosts])
    last, most, bound = Asked.nothing(p.fleet.n), 0.0, 0
    for k in range(64):
        p.advance()
        record = tick(int(p.time_ns[k]), p, system.desk, system.chain, last)
        last = record.decision.asked
        assert p.result is not None
        delivered = p.result.solved.delivered
        total = delivered.p_mw[hosts] + delivered.p_mw[guests]
        assert (np.hypot(total, delivered.q_mvar[hosts]) <= 0.006 + 1e-9).all()
        most = max(most, float(total.max()))
        cause = np.array(system.chain.owners)[last.cause_p[guests]]
        bound += int((cause == "inverter").sum())
    system.desk.close()
    assert most > 0.0055
    assert bound > 0


def test_findings_about_shared_inverters() -> None:
    for change, reason in (
        ("fleet.store.at={inverter_of: house}", "no entry 'house' with an inverter"),
        ("fleet.store.at={inverter_of: roofs}", "did you mean 'roof'"),
        ("fleet.store.volt_var=B", "the inverter is that of roof"),
        ("fleet.wallbox.at={inverter_of: roof}", "ev has no place"),
    ):
        with pytest.raises(ScenarioError) as caught:
            load("ev-street", (change,))
        assert reason in "\n".join(f.message for f in caught.value.findings)
    scenario = load("ev-street", ("groups=[{name: cars, members: [wallbox, slow, v2g]}, {name: sun, members: [roof]}]",))
    found = check(scenario, load_network(scenario.network))
    assert any("its inverter roof-1 in sun" in f.message and f.severity == "error" for f in found)


def test_phases_are_known_of_every_resource() -> None:
    """On a balanced network all of it goes to the one node; the phase is kept."""
    system = build(load("ev-street"))
    plan, terminal = system.plan, system.plant.fleet.terminal
    system.desk.close()
    slow = np.array([i.startswith("slow") for i in plan.id])
    assert plan.phase[slow].tolist() == [1, 2, 3, 1]
    assert (plan.phase[~slow] == 0).all()
    assert (terminal.share == 1.0).all()
    with pytest.raises(ScenarioError, match="three phases"):
        load("ev-street", ("fleet.wallbox.phase=b",))


def test_without_shared_inverters_nobody_guards_them() -> None:
    system = build(load("lv-rural-street"))
    system.desk.close()
    assert all(guard.name != "inverter" for guard in system.chain.guards)
