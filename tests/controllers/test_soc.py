import numpy as np
import pytest

from controllers.resource.soc import SocGuard
from tests.controllers.ticks import caps, continues_alike, events_of, floors, tick
from tests.kernel.scene import INF, NAN, S, opened, see
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE, simple_fleet
from vpp.kernel.quality import BLOCKED, QUESTIONABLE
from vpp.kernel.resolve import resolve
from vpp.kernel.telemetry import Telemetry


def storage(n=1, **columns):
    """1 MW, 1 MWh, usable from 10 to 90 %; a tick of 360 s moves a tenth of the content."""
    fields = {
        "e_mwh": np.ones(n), "soc_min": np.full(n, 0.1), "soc_max": np.full(n, 0.9),
        "eff_charge": np.full(n, 0.8), "eff_discharge": np.full(n, 0.5),
    }  # fmt: skip
    return simple_fleet([-1.0] * n, [1.0] * n, **{**fields, **columns})


@pytest.mark.parametrize(
    ("soc", "p_mw", "last_p", "bad", "cap", "floor"),
    [
        (0.5, 0, 0, (), 1, -1),
        # at the ends of the band, at rest
        (0.1, 0, 0, (), 0, -1),
        (0.9, 0, 0, (), 1, 0),
        (0.05, 0, 0, (), 0, -1),
        (0.95, 0, 0, (), 1, 0),
        # what is left is spread over the tick in which the decision acts: 0.04 of content gives 0.02 MWh
        (0.14, 0, 0, (), 0.2, -1),
        (0.86, 0, 0, (), 1, -0.5),
        # until then the last decision holds: 0.1 MW takes 0.02 of content, and adds 0.008
        (0.14, 0.1, 0.1, (), 0.1, -1),
        (0.86, -0.1, -0.1, (), 1, -0.4),
        (0.12, -0.25, -0.25, (), 0.2, -1),
        # measured and asked differ: the worse counts on either side
        (0.14, 0.1, 0, (), 0.1, -1),
        (0.14, 0, 0.1, (), 0.1, -1),
        (0.86, -0.1, 0, (), 1, -0.4),
        (0.14, NAN, 0.1, (), 0.1, -1),
        # charge not known: no movement at all
        (NAN, 0.5, 0.5, (), 0, 0),
        (INF, 0.5, 0.5, (), 0, 0),
        (0.5, 0.5, 0.5, ("soc",), 0, 0),
    ],
)  # fmt: skip
def test_the_band_holds_to_the_end_of_the_tick_in_which_the_decision_acts(soc, p_mw, last_p, bad, cap, floor):
    fleet = storage()
    seen = see(fleet, soc=soc, p_mw=p_mw, last_p=last_p, bad=bad)
    if np.isnan(p_mw):
        seen.telemetry.p_mw, seen.telemetry.quality[Telemetry.p_mw.row] = 0.0, BLOCKED
    allowed = opened(fleet, seen, 0, 360)
    allowed.block[2], allowed.block[3] = -1.0, 1.0  # the ratings, also where the kernel holds a silent resource
    SocGuard(fleet).step(0, seen, allowed)
    assert caps(allowed) == [cap]
    assert floors(allowed) == [floor]


def test_only_storage_that_we_control_is_touched_and_limits_have_no_floor():
    control = np.array([CONTROL_FOLLOW, CONTROL_NONE, CONTROL_LIMIT, CONTROL_FOLLOW])
    fleet = storage(4, control=control, e_mwh=np.array([0.0, 1, 1, 1]))
    allowed, events = tick(SocGuard(fleet), fleet, soc=NAN, p_mw=0.0)
    assert caps(allowed) == [1, 0, 0, 0]
    assert floors(allowed) == [-1, 0, -1, 0]
    assert events_of(events) == [("soc-unknown", "r3")]
    assert events[0].value == 2


def test_a_tighter_band_for_all():
    fleet = storage()
    guard = SocGuard(fleet, soc_min=0.3, soc_max=0.95)
    assert caps(tick(guard, fleet, soc=0.3)[0]) == [0]
    assert floors(tick(guard, fleet, soc=0.9)[0]) == [0]


def test_losing_the_charge_is_said_once_and_questionable_is_good_enough():
    fleet = storage(2)
    guard = SocGuard(fleet, hold_s=0.0)
    said = [events_of(tick(guard, fleet, k, soc=soc)[1]) for k, soc in enumerate([0.5, NAN, NAN, 0.5, [0.5, NAN]])]
    assert said == [[], [("soc-unknown", "r1")], [], [], [("soc-unknown", "r2")]]
    seen = see(fleet, soc=0.5)
    seen.telemetry.quality[Telemetry.soc.row] = QUESTIONABLE
    assert guard.step(0, seen, opened(fleet, seen)) == ()


@pytest.mark.parametrize("want", [1.0, -1.0])
def test_in_a_closed_loop_the_band_is_reached_and_never_left(want):
    fleet = storage()
    guard, soc, p, last = SocGuard(fleet), 0.5, 0.0, see(fleet).last
    reached = []
    for k in range(40):
        seen = see(fleet, soc=soc, p_mw=p, last=last)
        allowed = opened(fleet, seen, k * 360 * S, 360)
        allowed.propose_p(np.array([want]))
        guard.step(k * 360 * S, seen, allowed)
        p = float(last.setpoints.p_mw[0])  # what was asked last acts until the next tick
        soc -= 0.1 * (p / 0.5 if p > 0 else p * 0.8)
        last = resolve(allowed, seen, 0)[0]
        reached.append(soc)
    assert min(reached) >= 0.1 - 1e-12
    assert max(reached) <= 0.9 + 1e-12
    assert reached[-1] == pytest.approx(0.1 if want > 0 else 0.9)


def test_a_charge_that_is_not_heard_is_carried_on_with_what_was_asked_for_a_while():
    fleet = storage()
    guard = SocGuard(fleet, hold_s=1080)
    ticks = [0.30, NAN, NAN, NAN, NAN]  # a tick of 360 s with 0.5 MW asked takes a tenth of the content
    found = []
    for k, soc in enumerate(ticks):
        allowed, events = tick(guard, fleet, k, 360, soc=soc, p_mw=0.5, last_p=0.5)
        found.append((caps(allowed)[0], events_of(events)))
    # Left until the decision has acted: 0.30 - 0.1 - 0.1 of content, that is 0.05 MWh or 0.5 MW; then nothing.
    assert found == [(0.5, []), (0.0, []), (0.0, []), (0.0, []), (0.0, [("soc-unknown", "r1")])]
    assert floors(tick(SocGuard(fleet), fleet, 0, 360, soc=NAN)[0]) == [0], "nothing was ever heard"


def test_a_charge_that_comes_late_is_carried_to_now():
    """Heard one tick late while 0.25 MW is drawn: a twentieth of the content is gone meanwhile."""
    fleet = storage()
    late, prompt = SocGuard(fleet), SocGuard(fleet)
    for k, soc in enumerate([0.40, 0.40, 0.35, 0.30]):
        seen = see(fleet, now_ns=(k + 10) * 360 * S, soc=soc, p_mw=0.25, last_p=0.25)
        seen.telemetry.time_ns[:] = (k + 9) * 360 * S
        allowed = opened(fleet, seen, (k + 10) * 360 * S, 360)
        late.step((k + 10) * 360 * S, seen, allowed)
    expected, _ = tick(prompt, fleet, 0, 360, soc=0.25, p_mw=0.25, last_p=0.25)
    assert caps(allowed) == caps(expected) == [0.5]


def test_goes_on_alike_after_a_restore():
    fleet = storage(2)
    socs = [[0.5, NAN], [NAN, NAN], [0.12, 0.5], [0.5, NAN], [0.89, 0.1]]
    continues_alike(lambda: SocGuard(fleet), fleet, [{"soc": s, "p_mw": 0.2} for s in socs])
