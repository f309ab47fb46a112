"""Nested group limits against a linear program that knows nothing of our sharing."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from tests.properties.strategies import SANE, SETTINGS, forests
from vpp.kernel.groups import breaches, share

TINY = 1e-9


@st.composite
def problems(draw):
    n = draw(st.integers(1, 7))
    groups = draw(forests(n))
    band = np.sort([[draw(SANE), draw(SANE)] for _ in range(n)], axis=1)
    want = np.clip([draw(SANE) for _ in range(n)], band[:, 0], band[:, 1])
    limit = st.one_of(st.none(), st.integers(-80, 80).map(lambda k: k / 16))
    limits = [(draw(limit), draw(limit)) for _ in range(groups.n)]
    g_lo = np.array([-np.inf if lo is None else lo for lo, _ in limits])
    g_hi = np.array([np.inf if hi is None else hi for _, hi in limits])
    return groups, want, band[:, 0], band[:, 1], np.minimum(g_lo, g_hi), np.maximum(g_lo, g_hi)


def membership(groups):
    return np.array([groups.members(name) for name in groups.names]).reshape(groups.n, len(groups.of))


def feasible(groups, lo, hi, g_lo, g_hi):
    inside = membership(groups)
    a, b = np.vstack([inside, -inside]), np.concatenate([g_hi, -g_lo])
    bounded = np.isfinite(b)
    result = linprog(
        np.zeros(len(lo)), A_ub=a[bounded] if bounded.any() else None, b_ub=b[bounded] if bounded.any() else None,
        bounds=list(zip(lo, hi, strict=True)), method="highs",
    )  # fmt: skip
    assert result.status in (0, 2)
    return result.status == 0


def least_breach(groups, lo, hi, g_lo, g_hi, g):
    """Smallest distance of group ``g``'s sum from its band that the members could reach if there were no other group."""
    inside = groups.members(groups.names[g])
    return max(inside @ lo - g_hi[g], 0.0), max(g_lo[g] - inside @ hi, 0.0)


def shared(groups, want, lo, hi, g_lo, g_hi):
    n, g = len(want), groups.n
    given_, binding, shortfall = np.empty(n), np.empty(n, np.int32), np.empty(g)
    share(groups.parent, groups.of, g_lo, g_hi, want, lo, hi, given_, binding, shortfall, np.full((8, g), np.nan))
    return given_, binding, shortfall


@SETTINGS
@given(problems())
def test_limits_hold_exactly_where_they_can_and_a_shortfall_is_said_where_they_cannot(problem):
    groups, want, lo, hi, g_lo, g_hi = problem
    got, binding, shortfall = shared(*problem)
    assert np.all(got >= lo)
    assert np.all(got <= hi)
    breach = np.empty(groups.n)
    breaches(groups.parent, groups.of, got, g_lo, g_hi, breach)
    np.testing.assert_allclose(breach, shortfall, atol=TINY)
    possible = feasible(groups, lo, hi, g_lo, g_hi)
    assert possible == (not np.any(np.abs(shortfall) > TINY))
    assert np.all((got == want) == (binding < 0))
    for g in range(groups.n):
        above, below = least_breach(groups, lo, hi, g_lo, g_hi, g)
        assert shortfall[g] >= above - TINY if above else shortfall[g] <= TINY or not possible
        assert shortfall[g] <= -below + TINY if below else shortfall[g] >= -TINY or not possible


@SETTINGS
@given(problems())
def test_nobody_moves_without_need_and_nobody_crosses_zero_before_others_are_there(problem):
    groups, want, lo, _hi, g_lo, g_hi = problem
    got = shared(*problem)[0]
    sums = membership(groups) @ want
    if np.all((sums <= g_hi) & (sums >= g_lo)):
        np.testing.assert_array_equal(got, want)
    outside = groups.of < 0
    np.testing.assert_array_equal(got[outside], want[outside])
    for g in range(groups.n):
        own = groups.of == g
        moved = got[own] - want[own]
        assert np.all(moved <= TINY) or np.all(moved >= -TINY), "members of one group move the same way"
        lowered = np.any((moved < -TINY) & (got[own] < -TINY))
        still_injecting = (got[own] > np.maximum(lo[own], 0.0) + TINY) & (want[own] > 0)
        assert not (lowered and np.any(still_injecting)), "consumes more while another could inject less"


@SETTINGS
@given(problems())
def test_sharing_is_the_same_every_time(problem):
    first, second = shared(*problem), shared(*problem)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))
