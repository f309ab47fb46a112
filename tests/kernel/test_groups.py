import numpy as np
import pytest

from tests.kernel.scene import INF
from vpp.kernel.groups import Groups, breaches, share

NEST = Groups.from_names({"inverter": "site", "site": "pcc", "pcc": None}, ["inverter", "inverter", "site", "pcc", None])


def shared(groups, want, lo, hi, g_lo, g_hi):
    n, g = len(want), groups.n
    given, binding, shortfall = np.empty(n), np.empty(n, np.int32), np.empty(g)
    columns = [np.array(x, float) for x in (g_lo, g_hi, want, lo, hi)]
    share(groups.parent, groups.of, *columns, given, binding, shortfall, np.empty((8, g)))
    return given, binding, shortfall


def test_names_are_sorted_outer_first_and_sums_are_nested():
    assert NEST.names == ("pcc", "site", "inverter")
    assert NEST.parent.tolist() == [-1, 0, 1]
    assert NEST.of.tolist() == [2, 2, 1, 0, -1]
    assert NEST.sums(np.array([1.0, 2.0, 4.0, 8.0, 16.0])).tolist() == [15.0, 7.0, 3.0]
    assert np.isnan(NEST.sums(np.array([1.0, 2.0, np.nan, 8.0, 16.0]))).tolist() == [True, True, False]
    assert NEST.members("site").tolist() == [1, 1, 1, 0, 0]
    assert NEST.members("pcc").tolist() == [1, 1, 1, 1, 0]


def test_wrong_forests_are_refused():
    with pytest.raises(ValueError, match="enclose one another: a < b < a"):
        Groups.from_names({"a": "b", "b": "a"}, [])
    with pytest.raises(ValueError, match="parent must stand before"):
        Groups(("a", "b"), np.array([1, -1], np.int32), np.zeros(0, np.int32))
    with pytest.raises(ValueError, match="does not exist"):
        Groups(("a",), np.array([-1], np.int32), np.array([1], np.int32))
    with pytest.raises(ValueError, match="one parent a group"):
        Groups(("a",), np.zeros(0, np.int32), np.zeros(0, np.int32))


FLAT = Groups.from_names({"pcc": None}, ["pcc"] * 3)


@pytest.mark.parametrize(
    ("want", "lo", "hi", "band", "given", "shortfall"),
    [
        # nothing binds
        ([3, 1, -2], [-5] * 3, [5] * 3, (-9, 9), [3, 1, -2], 0),
        # who injects gives way in proportion to what it wants; who consumes stays
        ([3, 1, -1], [-5] * 3, [5] * 3, (-INF, 1), [1.5, 0.5, -1], 0),
        # when no injection is left, members consume in proportion to their room
        ([3, 1, -1], [-5, 0, -3], [5] * 3, (-INF, -3.5), [-5 / 7 * 2.5, 0, -1 - 2 / 7 * 2.5], 0),
        # upwards it is the same with consumption
        ([-3, -1, 2], [-5] * 3, [5] * 3, (0, INF), [-1.5, -0.5, 2], 0),
        ([-3, -1, 2], [-5] * 3, [1, 1, 3], (4, INF), [2 / 3, 2 / 3, 2 + 2 / 3], 0),
        # what cannot be held is a shortfall, and everybody is at the end of the band
        ([3, 1, 1], [1, 1, 1], [5] * 3, (-INF, 2), [1, 1, 1], 1),
        ([-3, -1, -1], [-5] * 3, [-1] * 3, (-1, INF), [-1, -1, -1], -2),
    ],
)  # fmt: skip
def test_one_group_shares_its_limit(want, lo, hi, band, given, shortfall):
    got, binding, missing = shared(FLAT, want, lo, hi, [band[0]], [band[1]])
    np.testing.assert_allclose(got, given, atol=1e-12)
    assert missing[0] == pytest.approx(shortfall)
    assert (binding == 0).tolist() == [g != w for g, w in zip(got, want, strict=True)]


def test_an_inner_limit_frees_room_in_the_outer_one():
    got, binding, missing = shared(NEST, [4, 4, 2, 2, 9], [0] * 5, [5] * 5, [-INF] * 3, [6, 5, 3])
    assert got.sum() - 9 == pytest.approx(6)
    assert got[:2].sum() <= 3 + 1e-12
    assert got[:3].sum() <= 5 + 1e-12
    assert got[4] == 9
    assert not missing.any()
    assert binding[4] == -1
    assert set(binding[:4]) == {0}


def test_the_binding_group_is_the_one_that_moved_the_resource():
    _, binding, _ = shared(NEST, [4, 4, 2, 2, 9], [0] * 5, [5] * 5, [-INF] * 3, [INF, INF, 3])
    assert binding.tolist() == [2, 2, -1, -1, -1]


def test_breaches_are_what_is_outside():
    out = np.empty(3)
    value = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    breaches(NEST.parent, NEST.of, value, np.array([16.0, -INF, 0.0]), np.array([INF, 5.0, INF]), out)
    assert out.tolist() == [-1.0, 2.0, 0.0]
