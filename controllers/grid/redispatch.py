"""The least change of powers that brings a linearised network inside its limits: a linear program, by HiGHS.

Resources that are alike in the network (same node, same group, same price) move together, as a *lot*. A lot's price rises
with the share of its room that is used, in `PIECES` straight pieces: so those who help alike give alike, and whoever helps
more gives more. Every limit may be broken at a price beyond that of all moves: there is always an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from vpp.kernel.errors import SolveError
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_NONE, Fleet
from vpp.kernel.signals import BoolArray, FloatArray, IntArray

PIECES: Final = 4
STORE, OTHER = 0.25, 1.0  # price of a MW from a store, and from what loses energy or comfort by it
BROKEN: Final = 200.0  # price of a limit broken by what the best placed lot's MW would mend: beyond any move's
TIE: Final = 1e-7  # so much dearer is each lot than the one before it: equal ones have an order
OPTIONS: Final[dict[str, bool | int | str]] = {
    "output_flag": False,
    "parallel": "off",
    "random_seed": 0,
    "solver": "simplex",
    "simplex_strategy": 1,
    "presolve": "off",
}
WEAK: Final = 1e-4  # of the best placed lot's effect on a limit; who mends none by more stays where it is
_SEEN_MW: Final = 1e-9


class Limits(NamedTuple):
    """Rows ``slope @ x <= room`` over the lots' changes x (l,): r of them, in any unit."""

    slope: FloatArray
    room: FloatArray


@dataclass(frozen=True, slots=True)
class Lots:
    """The resources that can be moved, in lots.

    Attributes:
        of: (n,) lot of each resource; l for one that cannot be moved.
        like: (l,) one resource of each.
        price: (l,) of a MW moved.
        inside: (g, l) whether a lot is inside a group.
    """

    of: IntArray
    like: IntArray
    price: FloatArray
    inside: BoolArray

    @classmethod
    def of_fleet(cls, fleet: Fleet) -> Lots:
        """Put together what is alike."""
        n, groups = fleet.n, fleet.groups
        node = np.full(n, -1, np.int64)
        node[fleet.terminal.resource[::-1]] = fleet.terminal.node[::-1]
        movable = np.flatnonzero(fleet.member & (fleet.control != CONTROL_NONE) & (node >= 0))
        store = (fleet.e_mwh > 0.0) & (fleet.control == CONTROL_FOLLOW) & ~fleet.by_itself
        key = np.stack([node, groups.of.astype(np.int64), store.astype(np.int64), fleet.control.astype(np.int64)], 1)[movable]
        _, first, label = np.unique(key, axis=0, return_index=True, return_inverse=True)
        like = movable[first]
        of = np.full(n, len(like), np.int64)
        of[movable] = label.reshape(-1)
        inside = np.zeros((groups.n, len(like)), np.bool_)
        for g in range(groups.n):
            inside[g] = groups.of[like] == g
        for g in range(groups.n - 1, -1, -1):
            if groups.parent[g] >= 0:
                inside[groups.parent[g]] |= inside[g]
        return cls(of, like, np.where(store[like], STORE, OTHER), inside)

    def __len__(self) -> int:
        """Number of lots."""
        return len(self.like)

    def sums(self, value: FloatArray) -> FloatArray:
        """(l,) sums of values (n,) over each lot's members."""
        return np.bincount(self.of, value, len(self) + 1)[:-1].astype(np.float64)

    def spread(self, change: FloatArray, down: FloatArray, up: FloatArray) -> FloatArray:
        """(n,) changes of the members for changes (l,) of the lots, in proportion to their rooms (n,) down and up."""
        room = np.append(np.where(change < 0.0, self.sums(down), self.sums(up)), 1.0)
        share = np.append(change, 0.0) / np.where(room > 0.0, room, 1.0)
        each = share[self.of]
        return np.asarray(each * np.where(each < 0.0, down, up))


def least_change(
    lots: Lots, down: FloatArray, up: FloatArray, limits: Limits, groups: tuple[IntArray, FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Solve for the lots' changes.

    Args:
        lots: the lots.
        down: (l,) how far each may go downwards, a magnitude [MW].
        up: (l,) and upwards.
        limits: the network's rows; each may be broken at a price.
        groups: which groups have limits, and how far the sum of each may go down (<= 0) and up (>= 0) [MW]; these hold.

    Returns:
        Changes (l,) [MW], and by how much each row stays broken (r,), in its unit.

    Raises:
        SolveError: HiGHS found no optimum.
    """
    import highspy

    n, r, scale = len(lots), len(limits.room), np.abs(limits.slope).max(axis=1, initial=0.0)
    scale = np.where(scale > 0.0, scale, 1.0)
    slope, (which, least, most) = limits.slope / scale[:, None], groups
    inside = lots.inside[which].astype(np.float64)
    width = np.concatenate([down, up])
    moves = np.concatenate([np.concatenate([-slope, slope], 1), np.concatenate([-inside, inside], 1)])
    dear = np.tile(lots.price * (1.0 + TIE * np.arange(n)), 2)
    # Who mends no limit may still have to make up for another member of a limited group.
    used = np.flatnonzero((width > _SEEN_MW) & ((moves[:r] < -WEAK).any(axis=0) | (moves[r:] != 0.0).any(axis=0)))
    k = len(used) * PIECES
    lp = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = len(moves), k + r
    _fill(highspy, lp, np.repeat(moves[:, used], PIECES, axis=1), r)
    lp.col_cost_ = np.concatenate([np.outer(dear[used], (0.5 + np.arange(PIECES)) / PIECES).ravel(), np.full(r, BROKEN)])
    lp.col_lower_ = np.zeros(lp.num_col_)
    lp.col_upper_ = np.concatenate([np.repeat(width[used] / PIECES, PIECES), np.full(r, np.inf)])
    lp.row_lower_ = np.concatenate([np.full(r, -np.inf), least])
    lp.row_upper_ = np.concatenate([limits.room / scale, most])
    x = _solved(highspy, lp)
    moved = np.zeros(2 * n)
    moved[used] = x[:k].reshape(-1, PIECES).sum(axis=1)
    change = moved[n:] - moved[:n]
    return np.where(np.abs(change) > _SEEN_MW, change, 0.0), np.maximum(x[k:], 0.0) * scale


def _solved(highspy: Any, lp: Any) -> FloatArray:
    """The best columns."""
    highs = highspy.Highs()
    for name, value in OPTIONS.items():
        highs.setOptionValue(name, value)
    highs.passModel(lp)
    highs.run()
    status = highs.getModelStatus()
    if status != highspy.HighsModelStatus.kOptimal:
        raise SolveError(f"network limits: HiGHS found no optimum ({highs.modelStatusToString(status)})")
    return np.asarray(highs.getSolution().col_value, np.float64)


def _fill(highspy: Any, lp: Any, moves: FloatArray, r: int) -> None:
    """The rows as HiGHS takes them: the moves, then in each of the first r rows its own column that breaks it."""
    m, k = moves.shape
    index, value = np.empty((m, k + 1), np.int32), np.full((m, k + 1), -1.0)
    index[:, :k], index[:, k], value[:, :k] = np.arange(k), k + np.arange(m), moves
    kept = np.append(np.ones((m, k), np.bool_), (np.arange(m) < r)[:, None], axis=1)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.concatenate([[0], np.cumsum(kept.sum(axis=1))]).astype(np.int32)
    lp.a_matrix_.index_, lp.a_matrix_.value_ = index[kept], value[kept]
