"""Measurement equations and their derivatives, on compiled arrays.

The state is, for every node, its angle and the logarithm of its voltage magnitude: derivatives by the logarithm of V
have the same form as those by the angle. With S = V conj(I) and I a sum over the row's nodes of y V,

    dS / d ln|V_k| = V conj(y V_k) (+ S where k is the node itself),    dS / d angle_k = -j V conj(y V_k) (+ j S).

Schweppe, Wildes, "Power system static-state estimation", IEEE Trans. PAS-89 (1970); Abur, Gomez-Exposito, "Power
System State Estimation" (2004), ch. 2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from controllers.estimation.cholesky import Pattern, entry_at, pattern_of
from controllers.estimation.measured import ANGLE, CURRENT, VM, Grid, Meters, P, Q
from vpp.kernel.signals import BoolArray, ComplexArray, FloatArray, IntArray

# A current of less than this [pu of the largest] has no usable direction; its measurement counts nothing then.
SMALL_CURRENT = 1e-9


class Equations(NamedTuple):
    """All measurement equations of one set of meters, as arrays for the kernels.

    Attributes:
        start, node, y, at: currents by rows, as in `Grid`, each row holding its own node too.
        kind, row: (m,) of each measurement; exact rows (zero injections) come last.
        exact: number of exact rows.
        entry_start, column: state columns of each measurement's derivatives, -1: a given angle.
        pair_start, pair: entry of the gain matrix of every pair of a measurement's columns, row by row of the pair.
        angle_column, ln_column: (n,) state column of each node, -1: given.
        states: number of state columns.
    """

    start: IntArray
    node: IntArray
    y: ComplexArray
    at: IntArray
    kind: IntArray
    row: IntArray
    exact: int
    entry_start: IntArray
    column: IntArray
    pair_start: IntArray
    pair: IntArray
    angle_column: IntArray
    ln_column: IntArray
    states: int


def equations_of(grid: Grid, meters: Meters) -> tuple[Equations, Pattern]:
    """Compile the equations and the gain matrix's pattern; it also covers every pair of nodes of a branch's current."""
    zero = np.flatnonzero(grid.zero)
    kind = np.concatenate([meters.kind, np.full(len(zero), P), np.full(len(zero), Q)]).astype(np.int64)
    row = np.concatenate([meters.row, zero, zero]).astype(np.int64)
    angles = np.ones(grid.n, np.bool_)
    if not np.any(meters.kind == ANGLE):
        angles[grid.reference] = False
    eq = _layout(grid, kind, row, 2 * len(zero), angles)
    ends = grid.branch_row[grid.branch_row >= 0]
    outputs = _layout(grid, np.full(len(ends), CURRENT), ends, 0, angles)
    (_, first, second), (_, *more) = (_pairs(each.entry_start, each.column) for each in (eq, outputs))
    own = np.flatnonzero(eq.angle_column >= 0)
    pairs = zip((first, second), more, (eq.angle_column[own], eq.ln_column[own]), strict=True)
    pattern = pattern_of(eq.states, *(np.concatenate(side) for side in pairs))
    return on_pattern(eq, pattern), pattern


def outputs_of(eq: Equations, grid: Grid, kind: IntArray, row: IntArray, pattern: Pattern) -> Equations:
    """Equations of what is derived from a state, on the pattern of the estimate: for its variance."""
    return on_pattern(_layout(grid, kind, row, 0, eq.angle_column >= 0), pattern)


def on_pattern(eq: Equations, pattern: Pattern) -> Equations:
    """The equations with the entries of the gain matrix that their pairs go to."""
    pair_start, first, second = _pairs(eq.entry_start, eq.column)
    pair = _entries(pattern.start, pattern.row, pattern.position, first, second)
    return eq._replace(pair_start=pair_start, pair=pair)


def _layout(grid: Grid, kind: IntArray, row: IntArray, exact: int, angles: BoolArray) -> Equations:
    """Equations without their place in a pattern; ``angles`` (n,) is False where the angle is given."""
    start, node, y = with_own_node(grid)
    angle_column = np.where(angles, np.cumsum(angles) - 1, -1)
    ln_column = int(angles.sum()) + np.arange(grid.n)
    entry_start, column = _columns(kind, row, start, node, angle_column, ln_column)
    none = np.zeros(0, np.int64)
    states = int(angles.sum()) + grid.n
    return Equations(start, node, y, grid.at, kind, row, exact, entry_start, column, none, none, angle_column, ln_column, states)


def with_own_node(grid: Grid) -> tuple[IntArray, IntArray, ComplexArray]:
    """The rows of currents, each with an entry of its own node (a zero where the network has none)."""
    rows = np.repeat(np.arange(len(grid.at)), np.diff(grid.start))
    has = np.zeros(len(grid.at), np.bool_)
    has[rows[grid.node == grid.at[rows]]] = True
    lacks = np.flatnonzero(~has)
    rows = np.concatenate([rows, lacks])
    order = np.argsort(rows, kind="stable")
    node = np.concatenate([grid.node, grid.at[lacks]])[order]
    y = np.concatenate([grid.y, np.zeros(len(lacks))])[order]
    return np.searchsorted(rows[order], np.arange(len(grid.at) + 1)).astype(np.int64), node.astype(np.int64), y


@njit(cache=True)
def _columns(
    kind: IntArray, row: IntArray, start: IntArray, node: IntArray, angle: IntArray, ln: IntArray
) -> tuple[IntArray, IntArray]:
    """State columns of every measurement: one for a voltage or an angle, two for every node of a current."""
    count = np.zeros(kind.size + 1, np.int64)
    for i in range(kind.size):
        count[i + 1] = count[i] + (1 if kind[i] in (VM, ANGLE) else 2 * (start[row[i] + 1] - start[row[i]]))
    column = np.empty(count[kind.size], np.int64)
    for i in range(kind.size):
        at = count[i]
        if kind[i] == VM:
            column[at] = ln[row[i]]
        elif kind[i] == ANGLE:
            column[at] = angle[row[i]]
        else:
            for e in range(start[row[i]], start[row[i] + 1]):
                column[at], column[at + 1] = angle[node[e]], ln[node[e]]
                at += 2
    return count, column


@njit(cache=True)
def _pairs(entry_start: IntArray, column: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Every pair (a, b <= a) of a measurement's columns that are not given, in the order in which `gain` walks them."""
    m = entry_start.size - 1
    total = np.zeros(m + 1, np.int64)
    for i in range(m):
        free = 0
        for a in range(entry_start[i], entry_start[i + 1]):
            free += column[a] >= 0
        total[i + 1] = total[i] + free * (free + 1) // 2
    first, second = np.empty(total[m], np.int64), np.empty(total[m], np.int64)
    at = 0
    for i in range(m):
        for a in range(entry_start[i], entry_start[i + 1]):
            if column[a] >= 0:
                for b in range(entry_start[i], a + 1):
                    if column[b] >= 0:
                        first[at], second[at] = column[a], column[b]
                        at += 1
    return total, first, second


@njit(cache=True)
def _entries(start: IntArray, row: IntArray, position: IntArray, first: IntArray, second: IntArray) -> IntArray:
    out = np.empty(first.size, np.int64)
    for k in range(first.size):
        out[k] = entry_at(start, row, position[first[k]], position[second[k]])
    return out


@njit(cache=True, nogil=True)
def evaluate(eq: Equations, v: ComplexArray, h: FloatArray, slope: FloatArray) -> None:
    """Values (m,) and derivatives (entries,) of all measurements at voltages ``v``."""
    currents = np.empty(eq.at.size, np.complex128)
    largest = 0.0
    for r in range(eq.at.size):
        total = 0.0 + 0.0j
        for e in range(eq.start[r], eq.start[r + 1]):
            total += eq.y[e] * v[eq.node[e]]
        currents[r] = total
        largest = max(largest, abs(total.real) + abs(total.imag))
    for i in range(eq.kind.size):
        at, r, kind = eq.entry_start[i], eq.row[i], eq.kind[i]
        if kind == VM:
            h[i] = slope[at] = abs(v[r])
        elif kind == ANGLE:
            h[i], slope[at] = math.atan2(v[r].imag, v[r].real), 1.0
        elif kind == CURRENT:
            _current(eq, v, r, currents[r], SMALL_CURRENT * largest, at, i, h, slope)
        else:
            _power(eq, v, r, currents[r], kind == P, at, i, h, slope)


@njit(cache=True, nogil=True, inline="always")
def _power(
    eq: Equations, v: ComplexArray, r: int, current: complex, active: bool, at: int, i: int, h: FloatArray, slope: FloatArray
) -> None:
    own = eq.at[r]
    s = v[own] * current.conjugate()
    h[i] = s.real if active else s.imag
    for e in range(eq.start[r], eq.start[r + 1]):
        k = eq.node[e]
        d = v[own] * (eq.y[e] * v[k]).conjugate()
        turn = -1j * d
        if k == own:
            d, turn = d + s, turn + 1j * s
        slope[at] = turn.real if active else turn.imag
        slope[at + 1] = d.real if active else d.imag
        at += 2


@njit(cache=True, nogil=True, inline="always")
def _current(
    eq: Equations, v: ComplexArray, r: int, current: complex, small: float, at: int, i: int, h: FloatArray, slope: FloatArray
) -> None:
    size = abs(current)
    h[i] = size
    for e in range(eq.start[r], eq.start[r + 1]):
        d = eq.y[e] * v[eq.node[e]] * current.conjugate()
        # A current without direction moves nothing; its residual still counts.
        slope[at] = -d.imag / size if size > small else 0.0
        slope[at + 1] = d.real / size if size > small else 0.0
        at += 2


@njit(cache=True, nogil=True)
def gain(eq: Equations, slope: FloatArray, weight: FloatArray, out: FloatArray) -> None:
    """The gain matrix (sum of weight times slope times slope), on the factor's pattern."""
    out[:] = 0.0
    for i in range(eq.kind.size):
        w = weight[i]
        at = eq.pair_start[i]
        if w == 0.0:
            continue
        for a in range(eq.entry_start[i], eq.entry_start[i + 1]):
            if eq.column[a] >= 0:
                wa = w * slope[a]
                for b in range(eq.entry_start[i], a + 1):
                    if eq.column[b] >= 0:
                        out[eq.pair[at]] += wa * slope[b]
                        at += 1


@njit(cache=True, nogil=True)
def variances(eq: Equations, slope: FloatArray, inverse: FloatArray) -> FloatArray:
    """(m,) variance of every estimated measurement, from the inverse of the gain matrix on its pattern."""
    out = np.zeros(eq.kind.size)
    for i in range(eq.kind.size):
        at = eq.pair_start[i]
        total = 0.0
        for a in range(eq.entry_start[i], eq.entry_start[i + 1]):
            if eq.column[a] >= 0:
                for b in range(eq.entry_start[i], a + 1):
                    if eq.column[b] >= 0:
                        total += (1.0 if a == b else 2.0) * slope[a] * slope[b] * inverse[eq.pair[at]]
                        at += 1
        out[i] = total
    return out


@njit(cache=True, nogil=True)
def project(eq: Equations, slope: FloatArray, state: FloatArray, position: IntArray) -> FloatArray:
    """(m,) change of every measurement for a change of the state (in elimination order)."""
    out = np.zeros(eq.kind.size)
    for i in range(eq.kind.size):
        for a in range(eq.entry_start[i], eq.entry_start[i + 1]):
            if eq.column[a] >= 0:
                out[i] += slope[a] * state[position[eq.column[a]]]
    return out
