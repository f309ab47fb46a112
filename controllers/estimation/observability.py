"""What the meters determine, what they do not, and which measurement would help.

A state without a pivot belongs to a direction in which the network may move without any meter noticing. Nodes that no
such direction moves are observable. Nodes that every direction moves alike belong together: an *unobservable island*,
known in itself but not against the rest.

Monticelli, Wu, "Network observability: theory", IEEE Trans. PAS-104 (1985).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from controllers.estimation.cholesky import solve_upper
from controllers.estimation.wls import Wls
from vpp.kernel.signals import BoolArray, FloatArray, IntArray

STILL: Final = 1e-6  # part of a motion's largest that counts as none
ROOTS: Final = (math.sqrt(2.0), math.sqrt(3.0), math.sqrt(5.0))  # they mix the directions


@dataclass(frozen=True, slots=True)
class Observability:
    """What is determined.

    Attributes:
        observable: (n,) True where the voltage is determined.
        island: (n,) number of each node's unobservable island, -1 where it is observable.
        links: for each island, branches that join it to something else: a flow measured there would help.
        directions: number of independent motions that no meter notices; as many measurements are missing at least.
    """

    observable: BoolArray
    island: IntArray
    links: tuple[tuple[int, ...], ...]
    directions: int


def observability(wls: Wls, used: BoolArray) -> Observability:
    """Analyse a set of measurements (m,) in the network without injections."""
    n = wls.grid.n
    held, factor = wls.directions(used)
    if not held.any():
        return Observability(np.ones(n, np.bool_), np.full(n, -1), (), 0)
    motions = _motions(wls, held, factor)
    moved = np.abs(motions).max(axis=(0, 2)) > STILL
    branch = np.flatnonzero((wls.grid.branch_row >= 0).all(axis=1))
    a, b = (wls.grid.at[wls.grid.branch_row[branch, side]] for side in (0, 1))
    together = np.abs(motions[:, a] - motions[:, b]).max(axis=(0, 2)) <= STILL
    island = _components(n, a[together], b[together], moved)
    links = tuple(tuple(branch[(island[a] == k) != (island[b] == k)].tolist()) for k in range(int(island.max(initial=-1)) + 1))
    return Observability(~moved, island, links, int(held.sum()))


def _motions(wls: Wls, held: BoolArray, factor: FloatArray) -> FloatArray:
    """(mixtures, n, 2) motions of angle and ln V that change no measurement, each with 1 as its largest.

    Each is a mixture of all directions: what all of them leave still is still in a mixture, and what one moves no
    mixture leaves still but by a coincidence of weights, which are irrational and differ between the mixtures.
    """
    p, eq = wls.pattern, wls.eq
    which = np.flatnonzero(held)
    out = np.empty((len(ROOTS), wls.grid.n, 2))
    for k, root in enumerate(ROOTS):
        x = np.zeros(eq.states)
        weight = 0.5 + np.mod(np.arange(1, len(which) + 1) * root, 1.0)
        x[which] = weight * factor[p.start[which]]  # the pivot is a mark; dividing by it leaves the weight
        solve_upper(p.start, p.row, factor, x)
        state = (x / np.abs(x).max())[p.position]
        angle = np.where(eq.angle_column >= 0, state[np.maximum(eq.angle_column, 0)], 0.0)
        out[k] = np.stack([angle, state[eq.ln_column]], axis=1)
    return out


def _components(n: int, a: IntArray, b: IntArray, of: BoolArray) -> IntArray:
    """Number of the connected component of each node that is in ``of``, -1 for all others."""
    root = np.arange(n)
    while True:
        low = np.minimum(root[a], root[b])
        before = root.copy()
        np.minimum.at(root, root[a], low)
        np.minimum.at(root, root[b], low)
        root = root[root]
        if np.array_equal(root, before):
            break
    out = np.full(n, -1)
    out[of] = np.unique(root[of], return_inverse=True)[1]
    return out
