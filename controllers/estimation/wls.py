"""Weighted least squares by Gauss-Newton; zero injections hold exactly, by their multipliers.

An exact row c(x) = 0 enters as ``rho / 2 c^2 + lambda c``; after each step lambda grows by rho c. At the solution c is
zero whatever rho is (method of multipliers: Hestenes 1969, Powell 1969), so that rho may stay moderate and the gain
matrix well conditioned.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numba import njit

from controllers.estimation.cholesky import Pattern, factorise, inverse_on_pattern, solve
from controllers.estimation.equations import Equations, equations_of, evaluate, gain, outputs_of, variances, with_own_node
from controllers.estimation.measured import CURRENT, EXPECTED, Grid, Meters
from vpp.kernel.signals import BoolArray, ComplexArray, FloatArray, IntArray

TOLERANCE: Final = 1e-8  # largest step of the state at the solution [rad, relative voltage]
EXACT: Final = 1e-9  # largest zero injection at the solution, of the grid's power base
MAX_ITERATIONS: Final = 100
CALM_AFTER: Final = 10  # steps; from then on shorter ones where the residuals grow
NEAR: Final = 1e-8  # and the squared length of a step in its own standard deviations that counts as none
LARGEST_STEP: Final = 0.5
NO_LENGTH: Final = 1e-24  # squared length of derivatives that are none
ZERO_PIVOT: Final = 1e-9  # of its own diagonal, in the analysis of what is determined
RHO: Final = 1e3  # weight of the exact rows, of the largest weight of a measurement


@dataclass(slots=True)
class Fit:
    """What a fit found; all NaN where it did not converge.

    Attributes:
        v: (n,) voltages [pu].
        converged: whether it did.
        iterations: Gauss-Newton steps.
        objective: sum of squared residuals over their variances, exact rows left out.
    """

    v: ComplexArray
    converged: bool
    iterations: int
    objective: float


@dataclass(slots=True)
class Wls:
    """A fit of one set of meters on one grid, again and again.

    Attributes:
        grid, meters: what is measured.
        eq, pattern: compiled.
        weight: (rows,) 1 / sigma^2; 0: left out. Exact rows come last.
        slope, factor: derivatives and factor at the last solution.
        target: (rows,) what they should be.
        residual: (rows,) measured less estimated, at the last solution.
        expected: values of the expectations at the end of the meters, where there are any.
        outputs: (equations of) the branches' currents, for their variance.
    """

    grid: Grid
    meters: Meters
    eq: Equations = field(init=False)
    pattern: Pattern = field(init=False)
    weight: FloatArray = field(init=False)
    slope: FloatArray = field(init=False)
    factor: FloatArray = field(init=False)
    residual: FloatArray = field(init=False)
    expected: FloatArray = field(init=False)
    outputs: Equations = field(init=False)
    target: FloatArray = field(init=False)
    _multiplier: FloatArray = field(init=False)
    _v: ComplexArray = field(init=False)

    def __post_init__(self) -> None:
        """Compile equations and pattern."""
        self.eq, self.pattern = equations_of(self.grid, self.meters)
        rows = len(self.eq.kind)
        self.weight, self.residual = np.zeros(rows), np.zeros(rows)
        self.slope, self.factor = np.zeros(len(self.eq.column)), np.zeros(self.pattern.nnz)
        self.target, self._multiplier = np.zeros(rows), np.zeros(self.eq.exact)
        self._v = self.grid.v0.copy()
        self.expected = np.zeros(sum(name == EXPECTED for name in self.meters.id))
        if len(self.expected):
            self.expected[: len(self.grid.reference)] = np.abs(self.grid.v0[self.grid.reference])
        ends = self.grid.branch_row[(self.grid.branch_row >= 0).all(axis=1)].ravel()
        self.outputs = outputs_of(self.eq, self.grid, np.full(len(ends), CURRENT), ends, self.pattern)

    def fit(self, z: FloatArray, weight: FloatArray, start: ComplexArray | None = None) -> Fit:
        """Fit the state to measurements.

        Args:
            z: (m,) measured values [pu, radian]; those of weight zero are not looked at.
            weight: (m,) 1 / sigma^2, 0 to leave a measurement out.
            start: (n,) voltages to begin with; by default those without injections.
        """
        m = self.meters.m
        self.target[:m] = np.where(weight > 0.0, z, 0.0)
        self.weight[:m] = weight
        self.weight[m:] = RHO * max(float(weight.max(initial=0.0)), 1.0)
        self._multiplier[:] = 0.0
        self._v[:] = self.grid.v0 if start is None else start
        p = self.pattern
        iterations, objective = _gauss_newton(
            self.eq, p.start, p.row, p.left_start, p.left_column, p.left_entry, p.position, self.target, self.weight,
            self._multiplier, self._v, self.slope, self.factor, self.residual, TOLERANCE, EXACT, MAX_ITERATIONS,
        )  # fmt: skip
        converged = iterations >= 0
        v = self._v.copy() if converged else np.full(self.grid.n, np.nan + 1j * np.nan)
        return Fit(v, converged, abs(iterations), objective if converged else math.nan)

    def on(self, grid: Grid) -> Wls:
        """The same for a grid whose currents have other admittances, but no other nodes."""
        out = copy(self)
        out.grid, out.eq = grid, self.eq._replace(y=with_own_node(grid)[2])
        for name in ("weight", "slope", "factor", "residual", "target", "_multiplier", "_v"):
            setattr(out, name, np.zeros_like(getattr(self, name)))
        return out

    def pull(self) -> FloatArray:
        """(rows,) weight times residual at the last solution; of an exact row its multiplier takes that place."""
        out = self.weight * self.residual
        if self.eq.exact:
            out[-self.eq.exact :] = -self._multiplier
        return out

    def directions(self, used: BoolArray) -> tuple[BoolArray, FloatArray]:
        """Which states (in elimination order) the measurements ``used`` (m,) do not determine, and the factor that shows it.

        Every row counts alike here (unit length, without injections): what can be seen does not depend on how well.
        """
        eq, p = self.eq, self.pattern
        h, slope = np.empty(len(eq.kind)), np.empty(len(eq.column))
        evaluate(eq, self.grid.v0, h, slope)
        length = np.add.reduceat(np.where(eq.column >= 0, slope, 0.0) ** 2, eq.entry_start[:-1])
        factor, held = np.empty(p.nnz), np.zeros(eq.states, np.bool_)
        counts = np.append(used, np.ones(eq.exact, np.bool_)) & (length > NO_LENGTH)
        gain(eq, slope, np.where(counts, 1.0 / np.maximum(length, NO_LENGTH), 0.0), factor)
        work = np.zeros(eq.states)
        factorise(p.start, p.row, p.left_start, p.left_column, p.left_entry, factor, work, ZERO_PIVOT, held)
        return held, factor

    def inverse(self) -> FloatArray:
        """The inverse of the gain matrix at the last solution, on the factor's pattern: covariances of the state."""
        out = np.empty(self.pattern.nnz)
        inverse_on_pattern(self.pattern.start, self.pattern.row, self.factor, out, np.full(self.eq.states, -1))
        return out

    def variances(self, inverse: FloatArray) -> FloatArray:
        """(rows,) variance of every *estimated* measurement [pu^2], from `inverse`."""
        return variances(self.eq, self.slope, inverse)


@njit(cache=True, nogil=True)
def _gauss_newton(
    eq: Equations, start: IntArray, row: IntArray, left_start: IntArray, left_column: IntArray, left_entry: IntArray,
    position: IntArray, target: FloatArray, weight: FloatArray, multiplier: FloatArray, v: ComplexArray, slope: FloatArray,
    factor: FloatArray, residual: FloatArray, tol: float, tol_exact: float, max_iter: int,
) -> tuple[int, float]:  # fmt: skip
    """Steps until neither the state nor an exact row moves; negative where they never settle."""
    rows, states = eq.kind.size, eq.states
    first_exact = rows - eq.exact
    h, step, work, held = np.empty(rows), np.empty(states), np.zeros(states), np.empty(states, np.bool_)
    moved, last, share, near = np.inf, np.inf, 1.0, False
    for iteration in range(max_iter + 1):
        evaluate(eq, v, h, slope)
        breach, objective = 0.0, 0.0
        for i in range(rows):
            residual[i] = target[i] - h[i] if weight[i] > 0.0 else 0.0
            if i >= first_exact:
                breach = max(breach, abs(h[i]))
                if iteration > 0:
                    multiplier[i - first_exact] += weight[i] * h[i]
            else:
                objective += weight[i] * residual[i] * residual[i]
        if (moved <= tol or near) and breach <= tol_exact:
            return iteration, objective
        if iteration == max_iter or moved != moved:
            break
        gain(eq, slope, weight, factor)
        held[:] = False
        factorise(start, row, left_start, left_column, left_entry, factor, work, 0.0, held)
        step[:] = 0.0
        for i in range(rows):
            pull = weight[i] * residual[i] - (multiplier[i - first_exact] if i >= first_exact else 0.0)
            if pull != 0.0:
                for a in range(eq.entry_start[i], eq.entry_start[i + 1]):
                    if eq.column[a] >= 0:
                        step[position[eq.column[a]]] += pull * slope[a]
        solve(start, row, factor, step)
        if iteration >= CALM_AFTER:
            share = share / 2.0 if objective > last else min(1.0, 1.5 * share)
            near = _size(start, row, factor, step) <= NEAR
        last = objective
        moved = _move(eq, position, step, share, v)
    return -max(max_iter, 1), np.nan


@njit(cache=True, nogil=True)
def _size(start: IntArray, row: IntArray, factor: FloatArray, step: FloatArray) -> float:
    """Squared length of a step, its covariance being the unit of length: of the transposed factor times the step."""
    total = 0.0
    for j in range(step.size):
        part = 0.0
        for p in range(start[j], start[j + 1]):
            part += factor[p] * step[row[p]]
        total += part * part
    return total


@njit(cache=True, nogil=True)
def _move(eq: Equations, position: IntArray, step: FloatArray, share: float, v: ComplexArray) -> float:
    """Take a share of a step, less where it is wild; returns its largest part."""
    largest = 0.0
    for s in range(step.size):
        if step[s] != step[s]:
            return np.nan
        largest = max(largest, abs(step[s]))
    part = min(share, LARGEST_STEP / largest) if largest > 0.0 else share
    for k in range(v.size):
        turn = step[position[eq.angle_column[k]]] * part if eq.angle_column[k] >= 0 else 0.0
        grow = step[position[eq.ln_column[k]]] * part
        v[k] *= math.exp(grow) * complex(math.cos(turn), math.sin(turn))
    return largest
