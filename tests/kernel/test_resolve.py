import math

import numpy as np
import pytest

from tests.kernel.scene import INF, NAN, opened, see
from vpp.kernel import envelope as e
from vpp.kernel.capability import q_band, s_limit, table_at
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE, Capability, simple_fleet
from vpp.kernel.groups import Groups
from vpp.kernel.resolve import _clamped, resolve
from vpp.kernel.setpoints import AUTONOMOUS, FOLLOW, LIMIT

F, L, N = CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE
TABLE_P, TABLE_Q = np.array([0.0, 0.2, 1.0]), np.array([0.1, 0.44, 0.3])


def capability(n=1, s=1.0, i_max=INF, q_priority=False):
    """One table for all: 0.1 pu at standstill, 0.44 at 20 %, 0.3 at full power."""
    table = np.zeros(n, np.int32), TABLE_P[None], -TABLE_Q[None], TABLE_Q[None]
    return Capability(np.full(n, s), np.full(n, i_max), *table, np.full(n, q_priority))


def decided(fleet, does=lambda allowed: None, **sees):
    seen = see(fleet, **sees)
    allowed = opened(fleet, seen)
    does(allowed)
    return resolve(allowed, seen, 5)


@pytest.mark.parametrize(
    ("at", "value"), [(-1, 0.1), (0, 0.1), (0.1, 0.27), (0.2, 0.44), (0.6, 0.37), (1, 0.3), (2, 0.3), (INF, 0.3)]
)
def test_a_table_is_linear_between_its_points_and_constant_outside(at, value):
    assert table_at(TABLE_P, TABLE_Q, at) == pytest.approx(value)


@pytest.mark.parametrize(
    ("i_max", "vm", "limit"),
    [(INF, 0.5, 2), (1.0, 0.9, 1.8), (1.0, 1.1, 2), (1.0, NAN, 2), (1.0, -1, 0), (1.2, 1.0, 2), (1.0, 1e300, 2)],
)
def test_the_current_limit_scales_with_the_voltage(i_max, vm, limit):
    assert s_limit(2.0, i_max, vm) == pytest.approx(limit)


def test_the_band_of_reactive_power_is_circle_and_table():
    low, high = q_band(0.98, 1.0, 1.0, TABLE_P, -TABLE_Q, TABLE_Q)
    assert high == pytest.approx(math.sqrt(1 - 0.98**2))
    assert low == -high
    assert q_band(0.2, 1.0, 1.0, TABLE_P, -TABLE_Q, TABLE_Q) == pytest.approx((-0.44, 0.44))
    assert q_band(-0.2, 1.0, 1.0, TABLE_P, -TABLE_Q, TABLE_Q) == pytest.approx((-0.44, 0.44))
    assert q_band(0.0, 0.0, 0.0, TABLE_P, -TABLE_Q, TABLE_Q) == (0, 0)


@pytest.mark.parametrize(
    ("q_priority", "want_p", "want_q", "p", "q", "cause_p", "cause_q"),
    [
        # active power first: reactive power gets what is left of the circle
        (False, 0.98, 0.4, 0.98, math.sqrt(1 - 0.98**2), 9, e.CAPABILITY),
        (False, 0.2, -0.6, 0.2, -0.44, 9, e.CAPABILITY),
        (False, 0.2, 0.4, 0.2, 0.4, 9, 9),
        # reactive power first: active power gives way, the table still holds
        (True, 0.98, 0.25, math.sqrt(1 - 0.25**2), 0.25, e.CAPABILITY, 9),
        (True, -0.98, -0.25, -math.sqrt(1 - 0.25**2), -0.25, e.CAPABILITY, 9),
        (True, 1.0, 0.6, math.sqrt(1 - 0.3**2), 0.3, e.CAPABILITY, e.CAPABILITY),
        (True, 0.98, NAN, 0.98, 0, 9, 0),
    ],
)  # fmt: skip
def test_priority_of_active_or_reactive_power(q_priority, want_p, want_q, p, q, cause_p, cause_q):
    fleet = simple_fleet([-1.0], [1.0], capability=capability(q_priority=q_priority))

    def does(allowed):
        allowed.propose_p(np.array([want_p]))
        allowed.propose_q(np.array([want_q]))

    asked, _ = decided(fleet, does)
    assert asked.setpoints.p_mw[0] == pytest.approx(p)
    assert asked.setpoints.q_mvar[0] == pytest.approx(q)
    assert (asked.cause_p[0], asked.cause_q[0]) == (cause_p, cause_q)
    assert asked.setpoints.q_mode[0] == (FOLLOW if np.isfinite(want_q) else AUTONOMOUS)
    assert np.hypot(asked.setpoints.p_mw[0], asked.setpoints.q_mvar[0]) <= 1 + 1e-12


@pytest.mark.parametrize(("vm", "bad", "p"), [(0.5, (), 0.5), (NAN, (), 1.0), (0.5, ("vm_pu",), 1.0)])
def test_the_current_limit_bounds_active_power_too(vm, bad, p):
    fleet = simple_fleet([-1.0], [1.0], capability=capability(i_max=1.0))
    asked, _ = decided(fleet, lambda allowed: allowed.propose_p(np.array([1.0])), vm_pu=vm, bad=bad)
    assert asked.setpoints.p_mw[0] == p


def test_reactive_bounds_have_an_owner():
    fleet = simple_fleet([-1.0], [1.0])

    def does(allowed):
        allowed.propose_q(np.array([0.5]))
        allowed.speaker = 10
        allowed.cap_q(np.array([0.3]))

    asked, _ = decided(fleet, does)
    assert asked.setpoints.q_mvar[0] == 0.3
    assert asked.cause_q[0] == 10


@pytest.mark.parametrize(
    ("step", "gap", "want", "band", "p", "cause"),
    [
        (0.3, 0, 0.65, (-1, 1), 0.6, e.STEP), (0.3, 0, -0.65, (-1, 1), -0.6, e.STEP), (0.3, 0, 0.6, (-1, 1), 0.6, 9),
        (0.1, 0, 0.3, (-1, 1), 0.3, 9), (0, 0.2, 0.1, (-1, 1), 0, e.STEP), (0, 0.2, -0.1, (-1, 1), 0, e.STEP),
        (0, 0.2, 0.3, (-1, 1), 0.3, 9), (0, 0.2, 0, (-1, 1), 0, 9),
        # a floor or a cap between two steps: the next step inside the band
        (0.3, 0, 0, (0.5, 1), 0.6, e.STEP), (0.3, 0, 0, (-1, -0.5), -0.6, e.STEP),
        # no step inside the band: the band wins
        (0.5, 0, 0, (0.6, 0.7), 0.7, e.STEP),
    ],
)  # fmt: skip
def test_steps_and_gaps(step, gap, want, band, p, cause):
    fleet = simple_fleet([-1.0], [1.0], p_step_mw=np.array([float(step)]), p_gap_mw=np.array([float(gap)]))

    def does(allowed):
        allowed.propose_p(np.array([want]))
        allowed.band_p(np.array([band[0]]), np.array([band[1]]))

    asked, _ = decided(fleet, does)
    assert asked.setpoints.p_mw[0] == pytest.approx(p)
    assert asked.cause_p[0] == cause


@pytest.mark.parametrize(
    ("avail", "cap", "want", "p", "limit", "mode"),
    [
        # the sun shines below the limit: what is expected is what the sun gives, not a step
        (0.45, INF, NAN, 0.45, 1.0, AUTONOMOUS),
        (0.45, 0.7, NAN, 0.45, 0.6, LIMIT),
        (0.45, 0.5, NAN, 0.3, 0.3, LIMIT),
        (0.45, INF, 0.4, 0.3, 0.3, LIMIT),
        (0.45, 0.1, NAN, 0.0, 0.0, LIMIT),
    ],
)  # fmt: skip
def test_a_limit_comes_in_steps(avail, cap, want, p, limit, mode):
    fleet = simple_fleet([0.0], [1.0], control=np.array([L]), p_step_mw=np.array([0.3]))

    def does(allowed):
        allowed.propose_p(np.array([want]))
        allowed.cap_p(np.array([cap]))

    asked, _ = decided(fleet, does, p_avail_max_mw=avail)
    assert asked.setpoints.p_mw[0] == pytest.approx(p)
    assert asked.setpoints.p_limit_mw[0] == pytest.approx(limit)
    assert asked.setpoints.mode[0] == mode


@pytest.mark.parametrize(
    ("control", "cap", "want", "p", "limit", "mode", "cause"),
    [
        (F, INF, 0.5, 0.5, 1.0, FOLLOW, 9), (F, 0.2, 0.5, 0.2, 0.2, FOLLOW, 9), (F, INF, 5.0, 1.0, 1.0, FOLLOW, e.RATING),
        (L, INF, NAN, 0.8, 1.0, AUTONOMOUS, e.AVAILABILITY), (L, 0.9, NAN, 0.8, 0.9, LIMIT, e.AVAILABILITY),
        (L, 0.6, NAN, 0.6, 0.6, LIMIT, 9), (L, INF, 0.5, 0.5, 0.5, LIMIT, 9), (N, 0.1, 0.5, 0.3, 1.0, AUTONOMOUS, 0),
    ],
)  # fmt: skip
def test_what_is_asked_by_kind_of_control(control, cap, want, p, limit, mode, cause):
    fleet = simple_fleet([-1.0], [1.0], control=np.array([control]))

    def does(allowed):
        allowed.propose_p(np.array([want]))
        allowed.cap_p(np.array([cap]))

    asked, _ = decided(fleet, does, p_mw=0.3, p_avail_max_mw=NAN if control == F else 0.8)
    got = asked.setpoints
    assert (got.p_mw[0], got.p_limit_mw[0], got.mode[0], asked.cause_p[0]) == (p, limit, mode, cause)
    assert (got.connect[0], got.v_ref_pu[0], asked.time_ns) == (1, 1, 5)


def test_a_floor_does_not_make_the_sun_shine():
    fleet = simple_fleet([0.0], [1.0], control=np.array([L]))
    asked, _ = decided(fleet, lambda allowed: allowed.floor_p(np.array([0.7])), p_avail_max_mw=0.4)
    assert asked.setpoints.p_mw[0] == 0.4


def test_a_group_limit_becomes_limits_and_setpoints_with_its_owner_as_cause():
    groups = Groups.from_names({"pcc": None}, ["pcc"] * 3)
    fleet = simple_fleet([-1.0, 0.0, -1.0], [1.0, 1.0, 0.0], control=np.array([F, L, N]), groups=groups)

    def does(allowed):
        allowed.propose_p(np.array([0.6, NAN, NAN]))
        allowed.speaker = 12
        allowed.limit_group(0, hi_mw=0.5)

    asked, shortfall = decided(fleet, does, p_mw=[0, 0, -0.2], p_avail_max_mw=[NAN, 0.8, NAN])
    np.testing.assert_allclose(asked.setpoints.p_mw, [0.3, 0.4, -0.2])
    np.testing.assert_allclose(asked.setpoints.p_limit_mw[1], 0.4)
    assert asked.cause_p.tolist() == [12, 12, 0]
    assert not shortfall.any()


def test_what_steps_breach_is_said():
    groups = Groups.from_names({"pcc": None}, ["pcc"])
    fleet = simple_fleet([-1.0], [0.0], p_step_mw=np.array([0.5]), groups=groups)

    def does(allowed):
        allowed.propose_p(np.array([-0.9]))
        allowed.limit_group(0, lo_mw=-1.0, hi_mw=-0.8)

    _, shortfall = decided(fleet, does)
    assert shortfall[0] == pytest.approx(0.3)


@pytest.mark.parametrize("garbage", [NAN, INF, -INF, 1e300, -1e300])
@pytest.mark.parametrize("row", range(e.ROWS))
def test_garbage_in_the_block_harms_nobody_else(garbage, row):
    groups = Groups.from_names({"pcc": None}, ["pcc"] * 2)
    fleet = simple_fleet([-1.0] * 2, [1.0] * 2, groups=groups)

    def does(allowed):
        allowed.propose_p(np.array([0.0, 0.6]))
        allowed.limit_group(0, hi_mw=2.0)
        allowed.block[row, 0] = garbage

    asked, _ = decided(fleet, does)
    assert abs(asked.setpoints.p_mw[0]) <= 1
    assert abs(asked.setpoints.q_mvar[0]) <= 1
    assert asked.setpoints.p_mw[1] == 0.6
    assert np.isfinite(asked.setpoints.block).all()


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ((0.5, 0.7, 0.2), (0.5, 0.7, 0.2)), ((3.0, 3.0, 3.0), (1.0, 1.0, math.sqrt(0.44))),
        ((-3.0, -3.0, -3.0), (-0.5, -0.5, -math.sqrt(1.19))),
        ((NAN, NAN, NAN), (0.25, 1.0, 0.0)), ((INF, -INF, INF), (0.25, 1.0, 0.0)),
        ((1e300, -1e300, -1e300), (1.0, -0.5, -math.sqrt(0.44))),
    ],
)  # fmt: skip
def test_the_last_clamp_needs_nothing_that_went_before(asked, left):
    assert _clamped(*asked, -0.5, 1.0, 0.25, 1.2) == pytest.approx(left)


def test_zero_has_one_spelling():
    fleet = simple_fleet([-1.0, -0.0], [-0.0, -0.0], p_safe_mw=np.array([-0.0, -0.0]))

    def does(allowed):
        allowed.propose_p(np.array([0.5, -0.0]))
        allowed.propose_q(np.array([-0.0, -0.0]))

    asked, _ = decided(fleet, does)
    assert not np.signbit(asked.setpoints.block[asked.setpoints.block == 0.0]).any()
