import numpy as np
import pytest

from controllers.resource.ramp import RampGuard
from tests.controllers.ticks import caps, continues_alike, floors, tick
from tests.kernel.scene import INF, NAN, see
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE, simple_fleet
from vpp.kernel.setpoints import AUTONOMOUS, FOLLOW, LIMIT

F, L, N = CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE


@pytest.mark.parametrize(
    ("control", "mode", "asked", "limit", "measured", "cap", "floor"),
    [
        # a setpoint moves around what was asked last, whatever is measured: 0.1 MW a tick
        (F, FOLLOW, 0.5, 1, 0.2, 0.6, 0.4),
        (F, FOLLOW, -1.0, 1, 0.2, -0.9, -1.0),
        (F, FOLLOW, 0.95, 1, 0.2, 1.0, 0.85),
        # nothing was asked yet: what is measured, if anything is
        (F, AUTONOMOUS, 0.0, 1, 0.2, 0.3, 0.1),
        # a limit goes up from the last limit, and comes down from the present power
        (L, LIMIT, 0.5, 0.5, 0.5, 0.6, 0.4),
        (L, LIMIT, 0.5, 0.7, 0.3, 0.8, 0.2),
        (L, LIMIT, 0.5, 0.5, 0.8, 0.6, 0.4),
        (L, AUTONOMOUS, 0.5, 1, 0.8, 1.0, 0.7),
        (N, FOLLOW, 0.5, 1, 0.2, 0.2, 0.2),
    ],
)  # fmt: skip
def test_the_change_in_a_tick_is_bounded(control, mode, asked, limit, measured, cap, floor):
    fleet = simple_fleet([-1.0], [1.0], control=np.array([control]), ramp_mw_per_s=np.array([0.1 / 60]))
    last = see(fleet).last
    last.setpoints.p_mw, last.setpoints.p_limit_mw, last.setpoints.mode = asked, limit, mode
    allowed, events = tick(RampGuard(fleet), fleet, last=last, p_mw=measured)
    assert caps(allowed) == [cap]
    assert floors(allowed) == [floor]
    assert events == []


@pytest.mark.parametrize(
    ("own", "general", "cap"),
    [(INF, None, 1.0), (0.001, None, 0.06), (INF, 0.002, 0.12), (0.001, 0.002, 0.06), (0.01, 0.002, 0.12)],
)
def test_a_general_ramp_is_only_slower(own, general, cap):
    fleet = simple_fleet([-1.0], [1.0], ramp_mw_per_s=np.array([own]))
    assert caps(tick(RampGuard(fleet, ramp_mw_per_s=general), fleet, last_p=0.0)[0]) == [cap]


def test_a_silent_resource_ramps_from_what_was_asked():
    fleet = simple_fleet([-1.0], [1.0], control=np.array([L]), ramp_mw_per_s=np.array([0.1 / 60]))
    last = see(fleet).last
    last.setpoints.p_mw, last.setpoints.p_limit_mw, last.setpoints.mode = 0.3, 0.9, LIMIT
    allowed, _ = tick(RampGuard(fleet), fleet, last=last, p_mw=NAN)
    assert floors(allowed) == [0.2]


def test_goes_on_alike_after_a_restore():
    fleet = simple_fleet([-1.0] * 2, [1.0] * 2, ramp_mw_per_s=np.array([0.001, INF]))
    continues_alike(lambda: RampGuard(fleet), fleet, [{"p_mw": p, "last_p": p} for p in (0.1, NAN, -0.4)])
