"""Groups of resources: a forest, and how a group's limit is shared by what its members want.

Every group has a band for the sum of its members' active (or reactive) power. Sharing goes twice over
the forest: from the inner groups outwards to learn what each can reach, then inwards to hand each its
part. It is exact: where the limits can be held they are, and where they cannot the shortfall is said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from vpp.kernel.signals import FloatArray, Int32Array

# Rows of the per-group work block of `share`.
_WANT, _LO, _HI, _GIVEN, _DOWN1, _DOWN2, _UP1, _UP2 = range(8)


@dataclass(frozen=True, slots=True)
class Groups:
    """A forest of groups.

    Attributes:
        names: (g,) names, outer groups before inner ones.
        parent: (g,) index of the enclosing group, -1 for a root; always smaller than the group's own index.
        of: (n,) innermost group of each resource, -1 for none.
    """

    names: tuple[str, ...]
    parent: Int32Array
    of: Int32Array

    def __post_init__(self) -> None:
        """Check the order that the two passes rely on: a parent stands before its children."""
        if len(self.parent) != len(self.names):
            raise ValueError("one parent a group is needed")
        if np.any(self.parent >= np.arange(len(self.parent))) or np.any(self.parent < -1):
            raise ValueError("a group's parent must stand before it (a forest, outer groups first)")
        if np.any(self.of >= len(self.names)) or np.any(self.of < -1):
            raise ValueError("a resource is in a group that does not exist")

    @classmethod
    def none(cls, n: int) -> Groups:
        """No groups at all."""
        return cls((), np.zeros(0, np.int32), np.full(n, -1, np.int32))

    @classmethod
    def from_names(cls, parents: dict[str, str | None], of: list[str | None]) -> Groups:
        """Build from names, sorting outer groups first.

        Args:
            parents: group name -> name of the enclosing group or None.
            of: innermost group of each resource, or None.
        """
        ordered: list[str] = []

        def visit(name: str, trail: tuple[str, ...]) -> None:
            if name in trail:
                raise ValueError("groups enclose one another: " + " < ".join((*trail, name)))
            outer = parents[name]
            if outer is not None:
                visit(outer, (*trail, name))
            if name not in ordered:
                ordered.append(name)

        for name in parents:
            visit(name, ())
        index: dict[str | None, int] = {None: -1, **{name: i for i, name in enumerate(ordered)}}
        parent = np.array([index[parents[name]] for name in ordered], np.int32)
        return cls(tuple(ordered), parent, np.array([index[g] for g in of], np.int32))

    @property
    def n(self) -> int:
        """Number of groups."""
        return len(self.names)

    def sums(self, value: FloatArray) -> FloatArray:
        """Sum of a per-resource value over each group, nested ones included. NaN spreads outwards."""
        total = np.zeros(self.n)
        _sums(self.parent, self.of, value, total)
        return total

    def members(self, name: str) -> FloatArray:
        """Mask (as floats 0/1) of the resources inside a group, nested ones included."""
        inside = np.zeros(self.n + 1)
        start = self.names.index(name)
        inside[start] = 1.0
        for g in range(start + 1, self.n):
            inside[g] = max(inside[g], inside[self.parent[g]])
        return inside[self.of]


@njit(cache=True)
def _sums(parent: Int32Array, of: Int32Array, value: FloatArray, total: FloatArray) -> None:
    for i in range(of.size):
        if of[i] >= 0:
            total[of[i]] += value[i]
    for g in range(parent.size - 1, -1, -1):
        if parent[g] >= 0:
            total[parent[g]] += total[g]


@njit(cache=True)
def breaches(parent: Int32Array, of: Int32Array, value: FloatArray, g_lo: FloatArray, g_hi: FloatArray, out: FloatArray) -> None:
    """By how much each group's sum of ``value`` leaves its band: + above, - below, 0 inside."""
    out[:] = 0.0
    _sums(parent, of, value, out)
    for g in range(parent.size):
        out[g] = max(out[g] - g_hi[g], 0.0) + min(out[g] - g_lo[g], 0.0)


@njit(cache=True)
def _rooms(want: float, lo: float, hi: float) -> tuple[float, float, float, float]:
    """How far a member can go: down by injecting less, down by consuming more; up by consuming less, up by injecting more."""
    rest_down = max(lo, min(want, 0.0))
    rest_up = min(hi, max(want, 0.0))
    return want - rest_down, rest_down - lo, rest_up - want, hi - rest_up


@njit(cache=True)
def _group_rooms(work: FloatArray, g: int) -> tuple[float, float, float, float]:
    """The same for a group: its members' rooms, as far as its own limit leaves them."""
    want, lo, hi, change = work[_WANT, g], work[_LO, g], work[_HI, g], work[_GIVEN, g]
    down1 = min(max(work[_DOWN1, g] + min(change, 0.0), 0.0), want - lo)
    up1 = min(max(work[_UP1, g] - max(change, 0.0), 0.0), hi - want)
    return down1, want - lo - down1, up1, hi - want - up1


@njit(cache=True)
def _rooms_to_shares(work: FloatArray, g: int) -> None:
    """Turn a group's four summed rooms into the share of each that its change takes up."""
    change = work[_GIVEN, g]
    down1, up1 = min(max(-change, 0.0), work[_DOWN1, g]), min(max(change, 0.0), work[_UP1, g])
    work[_DOWN1, g] = down1 / work[_DOWN1, g] if down1 > 0.0 else 0.0
    work[_UP1, g] = up1 / work[_UP1, g] if up1 > 0.0 else 0.0
    down2, up2 = min(max(-change, 0.0) - down1, work[_DOWN2, g]), min(max(change, 0.0) - up1, work[_UP2, g])
    work[_DOWN2, g] = down2 / work[_DOWN2, g] if down2 > 0.0 else 0.0
    work[_UP2, g] = up2 / work[_UP2, g] if up2 > 0.0 else 0.0


@njit(cache=True)
def _part(want: float, lo: float, hi: float, rooms: tuple[float, float, float, float], work: FloatArray, g: int) -> float:
    """What a member with these rooms gets from group ``g``, whose rooms have become shares."""
    down1, down2, up1, up2 = rooms
    part = want - down1 * work[_DOWN1, g] - down2 * work[_DOWN2, g] + up1 * work[_UP1, g] + up2 * work[_UP2, g]
    return float(min(max(part, lo), hi))


@njit(cache=True)
def share(
    parent: Int32Array, of: Int32Array, g_lo: FloatArray, g_hi: FloatArray,
    want: FloatArray, lo: FloatArray, hi: FloatArray,
    given: FloatArray, binding: Int32Array, shortfall: FloatArray, work: FloatArray,
) -> None:  # fmt: skip
    """Share the limits of all groups among their members.

    Where a group must inject less, its injecting members give way in proportion to what they want; only
    when nothing is left do members go on to consume, in proportion to their room. Upwards it is the same
    with consumption. What a member wants beyond its own band does not count.

    Args:
        parent: (g,) the forest, outer groups first.
        of: (n,) innermost group of each resource.
        g_lo: (g,) lowest sum allowed (-inf: none).
        g_hi: (g,) highest sum allowed (+inf: none).
        want: (n,) what each resource wants, inside [lo, hi].
        lo: (n,) lowest each can reach.
        hi: (n,) highest each can reach.
        given: (n,) out: what each gets.
        binding: (n,) out: the group whose limit moved the resource, -1 for none.
        shortfall: (g,) out: by how much a group's band cannot be held; + above g_hi, - below g_lo.
        work: (8, g) scratch.
    """
    n, groups = of.size, parent.size
    work[:] = 0.0
    for i in range(n):
        g = of[i]
        given[i] = want[i]
        binding[i] = -1
        if g >= 0:
            work[_WANT, g] += want[i]
            work[_LO, g] += lo[i]
            work[_HI, g] += hi[i]
            d1, d2, u1, u2 = _rooms(want[i], lo[i], hi[i])
            work[_DOWN1, g] += d1
            work[_DOWN2, g] += d2
            work[_UP1, g] += u1
            work[_UP2, g] += u2
    moved = False
    for g in range(groups - 1, -1, -1):
        low, high = work[_LO, g], work[_HI, g]
        shortfall[g] = max(low - g_hi[g], 0.0) + min(high - g_lo[g], 0.0)
        hi_g = max(min(high, g_hi[g]), low)
        lo_g = min(max(low, g_lo[g]), hi_g)
        w = min(max(work[_WANT, g], lo_g), hi_g)
        work[_GIVEN, g] = w - work[_WANT, g]
        moved = moved or work[_GIVEN, g] != 0.0
        work[_WANT, g], work[_LO, g], work[_HI, g] = w, lo_g, hi_g
        if parent[g] >= 0:
            o = parent[g]
            work[_WANT, o] += w
            work[_LO, o] += lo_g
            work[_HI, o] += hi_g
            d1, d2, u1, u2 = _group_rooms(work, g)
            work[_DOWN1, o] += d1
            work[_DOWN2, o] += d2
            work[_UP1, o] += u1
            work[_UP2, o] += u2
    if not moved:
        return
    _hand_down(parent, of, want, lo, hi, given, binding, work)


@njit(cache=True)
def _hand_down(
    parent: Int32Array, of: Int32Array, want: FloatArray, lo: FloatArray, hi: FloatArray,
    given: FloatArray, binding: Int32Array, work: FloatArray,
) -> None:  # fmt: skip
    """Second pass of `share`: each group's change goes to its children, groups first, then resources."""
    cause = np.empty(parent.size, np.int32)
    for g in range(parent.size):
        cause[g] = g if work[_GIVEN, g] != 0.0 else -1
        o = parent[g]
        if o >= 0 and work[_GIVEN, o] != 0.0:
            w = work[_WANT, g]
            part = _part(w, work[_LO, g], work[_HI, g], _group_rooms(work, g), work, o)
            if part != w:
                work[_GIVEN, g] += part - w
                cause[g] = cause[o]
        _rooms_to_shares(work, g)
    for i in range(of.size):
        g = of[i]
        if g >= 0 and work[_GIVEN, g] != 0.0:
            w, by = want[i], cause[g]
            part = _part(w, lo[i], hi[i], _rooms(w, lo[i], hi[i]), work, g)
            given[i] = part
            binding[i] = by if part != w else -1
