"""Is a branch closed that is believed open, or open that is believed closed?

A branch whose state is believed wrongly shifts the powers at both its ends by its flow: up to four numbers (P and Q at
either end), which act on the injections there, measured or exactly zero, and on the flow meters of the branch. How much of
the sum of squared residuals such a shift would explain is known from the fit alone (a score test): chi-square with as
many degrees of freedom as shifts can be seen. A branch is looked at where that cannot be chance and no single
measurement at its ends explains it; of branches believed closed the estimate is then repeated without them.

Clements, Simoes Costa, "Topology error identification using normalized Lagrange multipliers", IEEE Trans. Power Syst. 13
(1998); Rao, "Large sample tests of statistical hypotheses", Proc. Camb. Phil. Soc. 44 (1948).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from controllers.estimation.cholesky import solve
from controllers.estimation.measured import P, Q
from controllers.estimation.wls import Wls
from vpp.kernel.signals import FloatArray, IntArray

RANK: Final = 1e-3  # part of a shift's own information below which it cannot be told from the state
ALIKE: Final = 0.9  # branches whose score is this part of the best one's are looked at closer
MOST: Final = 12  # of them
UNLIKELY: Final = 13.8  # difference of sums of squares that makes one a thousand times less likely


@dataclass(frozen=True, slots=True)
class BranchSuspect:
    """A branch whose state is doubted.

    Attributes:
        branch: its number.
        believed_closed: what the estimate took it for.
        explains: part of the sum of squared residuals that its other state explains.
        group: branches that are not a thousand times less likely, itself first; one alone is named for certain.
    """

    branch: int
    believed_closed: bool
    explains: float
    group: tuple[int, ...]


def doubted(wls: Wls, significance: float) -> tuple[BranchSuspect, ...]:
    """Branches whose state the last fit of ``wls`` (all measurements in) speaks against, the best explanation first."""
    from scipy.special import chdtri

    ends = wls.grid.ends
    candidates = np.flatnonzero((ends >= 0).all(axis=1) & (ends[:, 0] != ends[:, 1]))
    pull, rows = wls.pull(), _rows_at(wls)
    scored = []
    for branch in candidates.tolist():
        shifts = _shifts(wls, branch, rows)
        explains, freedom, single = _score(wls, pull, shifts) if shifts else (0.0, 0, 0.0)
        sure = freedom > 1 and explains > chdtri(freedom, significance / len(candidates))
        if sure and explains - single > chdtri(freedom - 1, significance / len(candidates)):
            scored.append((explains, branch))
    scored.sort(key=lambda entry: (-entry[0], entry[1]))
    short = [(explains, branch) for explains, branch in scored[:MOST] if explains >= ALIKE * scored[0][0]]
    total = float(np.sum(wls.weight * wls.residual**2))
    left = sorted((_left(wls, branch, total - explains), branch) for explains, branch in short)
    if not left or total - left[0][0] < ALIKE * scored[0][0]:
        return ()
    group = tuple(branch for value, branch in left if value <= left[0][0] + UNLIKELY)
    return (BranchSuspect(group[0], bool(wls.grid.closed[group[0]]), total - left[0][0], group),)


def _left(wls: Wls, branch: int, by_score: float) -> float:
    """Sum of squared residuals with the branch the other way round; of an open one only its score is known."""
    if not wls.grid.closed[branch]:
        return by_score
    other = wls.on(wls.grid.without(branch))
    m = wls.meters.m
    fit = other.fit(wls.target[:m], wls.weight[:m], None)
    return fit.objective if fit.converged else math.inf


def _rows_at(wls: Wls) -> dict[tuple[int, int], list[int]]:
    """Rows in use by kind (P or Q) and row of current."""
    out: dict[tuple[int, int], list[int]] = {}
    for i in np.flatnonzero((wls.weight > 0.0) & np.isin(wls.eq.kind, (P, Q))).tolist():
        out.setdefault((int(wls.eq.kind[i]), int(wls.eq.row[i])), []).append(i)
    return out


def _shifts(wls: Wls, branch: int, rows: dict[tuple[int, int], list[int]]) -> list[IntArray]:
    """For each shift that a wrong state would make, the rows that it acts on."""
    out = []
    for side in (0, 1):
        node = int(wls.grid.ends[branch, side])
        end = int(wls.grid.branch_row[branch, side]) if wls.grid.closed[branch] else -1
        for kind in (P, Q):
            acts = rows.get((kind, node), []) + (rows.get((kind, end), []) if end >= 0 else [])
            if acts:
                out.append(np.array(acts))
    return out


def _score(wls: Wls, pull: FloatArray, shifts: list[IntArray]) -> tuple[float, int, float]:
    """What the shifts explain together, in how many degrees of freedom, and what the best single row of theirs explains."""
    rows = np.concatenate(shifts)
    member = np.repeat(np.arange(len(shifts)), [len(acts) for acts in shifts])
    information = _information(wls, rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.diag(information)
        single = np.where(own > RANK * wls.weight[rows], pull[rows] ** 2 / own, 0.0)
    fold = np.zeros((len(shifts), len(rows)))
    fold[member, np.arange(len(rows))] = 1.0
    k, u = fold @ information @ fold.T, fold @ pull[rows]
    scale = 1.0 / np.sqrt(np.maximum(fold @ wls.weight[rows], 1e-300))
    value, vector = np.linalg.eigh(k * np.outer(scale, scale))
    seen = value > RANK
    along = (vector.T @ (u * scale))[seen]
    return float(np.sum(along**2 / value[seen])), int(seen.sum()), float(single.max(initial=0.0))


def _information(wls: Wls, rows: IntArray) -> FloatArray:
    """(k, k) what is known of a shift of each of these rows: W - W H G^-1 H' W."""
    eq, p = wls.eq, wls.pattern
    h = np.zeros((len(rows), eq.states))
    solved = np.zeros((len(rows), eq.states))
    for j, i in enumerate(rows.tolist()):
        entries = slice(eq.entry_start[i], eq.entry_start[i + 1])
        free = eq.column[entries] >= 0
        np.add.at(h[j], p.position[eq.column[entries][free]], wls.slope[entries][free])
        solved[j] = h[j]
        solve(p.start, p.row, wls.factor, solved[j])
    weight = wls.weight[rows]
    return np.asarray(np.diag(weight) - (weight[:, None] * (h @ solved.T)) * weight)
