import numpy as np
import pytest

from tests.kernel.scene import INF, NAN, S, opened, see
from vpp.kernel import envelope as e
from vpp.kernel.envelope import Envelope
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE, simple_fleet
from vpp.kernel.groups import Groups
from vpp.kernel.setpoints import LIMIT, Asked

F, L, N = CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE
HOUR = 3600 * S


@pytest.mark.parametrize(
    ("control", "telemetry", "last", "age_s", "band", "want", "owners"),
    [
        # a resource that is heard has its ratings and its availability
        (F, {}, 1.0, 0, (-2, 2, 2), 0, (e.RATING, e.RATING)),
        (F, {"p_avail_max_mw": 1.5, "p_avail_min_mw": -1}, 1.0, 0, (-1, 1.5, 1.5), 0, (e.AVAILABILITY, e.AVAILABILITY)),
        (F, {"p_avail_max_mw": 9, "p_avail_min_mw": -9}, 1.0, 0, (-2, 2, 2), 0, (e.RATING, e.RATING)),
        (F, {"p_avail_max_mw": -9}, 1.0, 0, (-2, -2, -2), 0, (e.RATING, e.AVAILABILITY)),
        (L, {"p_avail_max_mw": 1.5}, 1.0, 0, (-2, 2, 1.5), 2, (e.RATING, e.RATING)),
        (N, {"p_mw": 0.7}, 1.0, 0, (0.7, 0.7, 0.7), 0.7, (e.RATING, e.RATING)),
        # silent for a short time: held, never further from zero
        (F, {"p_mw": NAN}, 1.0, 60, (0, 1, 1), 1, (e.SILENCE, e.SILENCE)),
        (F, {"p_mw": NAN}, -1.0, 60, (-1, 0, 0), -1, (e.SILENCE, e.SILENCE)),
        (L, {"p_mw": NAN}, 1.0, 60, (-2, 1, 1), 1, (e.RATING, e.SILENCE)),
        (N, {"p_mw": NAN}, 1.0, 60, (1, 1, 1), 1, (e.RATING, e.RATING)),
        # silent for too long: the safe value
        (F, {"p_mw": NAN}, 1.0, 3600, (0, 0.5, 0.5), 0.5, (e.SILENCE, e.SILENCE)),
        (L, {"p_mw": INF}, 1.0, 3600, (-2, 0.5, 0.5), 0.5, (e.RATING, e.SILENCE)),
    ],
)  # fmt: skip
def test_an_envelope_opens_at_the_physical_bounds(control, telemetry, last, age_s, band, want, owners):
    fleet = simple_fleet([-2.0], [2.0], control=np.array([control]), p_safe_mw=np.array([0.5]))
    before = Asked.nothing(1)
    before.setpoints.p_mw, before.setpoints.p_limit_mw, before.setpoints.mode = last, last, LIMIT
    seen = see(fleet, now_ns=HOUR - age_s * S, last=before, **telemetry)
    allowed = opened(fleet, seen, HOUR)
    assert allowed.block[[e.LO_P, e.HI_P, e.REACH_P], 0].tolist() == list(band)
    assert allowed.block[e.WANT_P, 0] == want
    assert tuple(allowed.owner[[e.LO_P, e.HI_P], 0]) == owners
    assert np.isnan(allowed.block[e.WANT_Q, 0])
    assert allowed.block[[e.LO_Q, e.HI_Q], 0].tolist() == [-2, 2]
    assert allowed.acts_ns == HOUR + 60 * S
    assert allowed.n == 1


def test_bad_quality_is_silence_and_a_spare_slot_is_zero():
    fleet = simple_fleet([-2.0] * 2, [2.0] * 2, member=np.array([True, False]))
    seen = see(fleet, now_ns=HOUR, last_p=1.0, bad=("p_mw",), p_mw=2.0)
    allowed = opened(fleet, seen, HOUR)
    assert allowed.block[e.HI_P].tolist() == [1, 0]
    assert allowed.block[e.LO_P].tolist() == [0, 0]


def three() -> Envelope:
    fleet = simple_fleet([-1.0] * 3, [1.0] * 3)
    return opened(fleet, see(fleet))


@pytest.mark.parametrize(
    ("steps", "lo", "hi"),
    [
        ([("cap_p", [0.5, NAN, INF])], [-1, -1, -1], [0.5, 1, 1]),
        ([("cap_p", [0.5, 2, -INF])], [-1, -1, -1], [0.5, 1, 1]),
        ([("floor_p", [0.5, NAN, INF])], [0.5, -1, -1], [1, 1, 1]),
        # a cap below the floor stops at the floor: what came first was safety too
        ([("floor_p", [0.5, 0, 0]), ("cap_p", [0.2, -3, 0.5])], [0.5, 0, 0], [0.5, 0, 0.5]),
        ([("cap_p", [-0.5, 0, 0]), ("floor_p", [0.2, 3, -0.5])], [-0.5, 0, -0.5], [-0.5, 0, 0]),
        ([("cap_p", [0.2] * 3), ("cap_p", [0.6, 0.1, NAN])], [-1, -1, -1], [0.2, 0.1, 0.2]),
    ],
)  # fmt: skip
def test_bounds_only_move_inwards(steps, lo, hi):
    allowed = three()
    for name, value in steps:
        getattr(allowed, name)(np.array(value, float))
    assert allowed.block[e.LO_P].tolist() == lo
    assert allowed.block[e.HI_P].tolist() == hi
    assert (allowed.owner[e.HI_P] == 9).tolist() == [x != 1 for x in hi]


def test_a_band_is_a_cap_and_a_floor():
    rng = np.random.default_rng(3)
    pool = np.array([NAN, INF, -INF, -3.0, -0.4, 0.0, 0.3, 0.8, 3.0])
    for _ in range(200):
        once, twice = three(), three()
        for _ in range(3):
            lo, hi = rng.choice(pool, 3), rng.choice(pool, 3)
            once.band_p(lo, hi)
            twice.cap_p(hi)
            twice.floor_p(lo)
        np.testing.assert_array_equal(once.block, twice.block)
        np.testing.assert_array_equal(once.owner, twice.owner)


def test_reactive_bounds_move_inwards_too():
    allowed = three()
    allowed.cap_q(np.array([0.5, NAN, -3]))
    allowed.floor_q(np.array([-0.5, NAN, 0.0]))
    assert allowed.block[e.HI_Q].tolist() == [0.5, 1, -1]
    assert allowed.block[e.LO_Q].tolist() == [-0.5, -1, -1]


def test_wants_are_replaced_where_there_is_an_opinion():
    fleet = simple_fleet([-1.0] * 3, [1.0] * 3, control=np.array([F, F, N]))
    allowed = opened(fleet, see(fleet, p_mw=0.25))
    allowed.propose_p(np.array([0.5, NAN, 0.7]))
    allowed.propose_q(np.array([INF, 0.1, 0.7]))
    assert allowed.block[e.WANT_P].tolist() == [0.5, 0, 0.25]
    assert allowed.owner[e.WANT_P].tolist() == [9, 0, 0]
    np.testing.assert_array_equal(allowed.block[e.WANT_Q], [NAN, 0.1, NAN])
    allowed.freeze_want()
    with pytest.raises(PermissionError, match="a guard may only narrow"):
        allowed.propose_p(np.zeros(3))


def test_the_tightest_group_limit_counts_and_bands_never_turn():
    fleet = simple_fleet([-1.0] * 2, [1.0] * 2, groups=Groups.from_names({"pcc": None}, ["pcc", "pcc"]))
    allowed = opened(fleet, see(fleet))
    allowed.limit_group(0, -1.0, 1.0)
    allowed.speaker = 10
    allowed.limit_group(0, -2.0, 0.5)
    allowed.limit_group(0, NAN, INF)
    assert (allowed.group_lo[0], allowed.group_hi[0]) == (-1.0, 0.5)
    assert (allowed.group_lo_by[0], allowed.group_hi_by[0]) == (9, 10)
    allowed.limit_group(0, 3.0)
    assert allowed.group_lo[0] == 0.5
    allowed.limit_group(0, hi_mw=-3.0)
    assert allowed.group_hi[0] == 0.5


@pytest.mark.parametrize(("safe", "lo", "hi"), [("hold", [0, -0.5, 0.2], [0.5, 0, 0.2]), ("stop", [0, 0, 0.2], [0, 0, 0.2])])
def test_safe_actions_go_toward_zero_inside_the_band(safe, lo, hi):
    allowed = three()
    allowed.band_p(np.array([NAN, NAN, 0.2]), np.array([NAN, NAN, 0.2]))
    last = see(allowed.fleet, last_p=[0.5, -0.5, 0.0]).last.setpoints
    allowed.hold(last) if safe == "hold" else allowed.stop()
    assert allowed.block[e.LO_P].tolist() == lo
    assert allowed.block[e.HI_P].tolist() == hi
