"""The state estimator: measurements in, voltages with their confidence out. It never raises for what it is given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from controllers.estimation.bad_data import SIGNIFICANCE, Cleaned, Suspect, clean
from controllers.estimation.equations import evaluate, variances
from controllers.estimation.measured import ANGLE, VM, Grid, Meters
from controllers.estimation.observability import Observability, observability
from controllers.estimation.topology import BranchSuspect, doubted
from controllers.estimation.wls import Wls
from vpp.kernel.signals import BoolArray, ComplexArray, FloatArray

REMEMBERED: Final = 8  # sets of measurements whose observability is kept


@dataclass(frozen=True, slots=True)
class Estimate:
    """The network's state at one moment; NaN where it is not known.

    Attributes:
        v: (n,) voltages [pu].
        vm_sigma_pu, va_sigma: (n,) standard deviations of magnitude [pu] and angle [rad].
        i_ka, i_sigma_ka: (branches, 2) currents at the from and to ends, and their standard deviations.
        suspects: measurements taken out as gross errors.
        doubted: branches whose believed state the measurements speak against; suspects may then be innocent.
        critical: (m,) measurements whose error could not show.
        observability: what is determined.
        chi_square, freedom: sum of squared normalised residuals, and what it would be on average.
        converged, iterations: of the last fit.
        clean: False where a gross error is left that could not be located.
        wanted: what is missing, in words; empty where nothing is.
        branch_name: what people call the branches.
    """

    v: ComplexArray
    vm_sigma_pu: FloatArray
    va_sigma: FloatArray
    i_ka: FloatArray
    i_sigma_ka: FloatArray
    suspects: tuple[Suspect, ...]
    doubted: tuple[BranchSuspect, ...]
    critical: BoolArray
    observability: Observability
    chi_square: float
    freedom: int
    converged: bool
    iterations: int
    clean: bool
    wanted: tuple[str, ...]
    branch_name: tuple[str, ...]


@dataclass(slots=True)
class StateEstimator:
    """Estimates one grid from one set of meters, tick after tick, each from the last one's voltages.

    Where the measurements do not determine every node, expectations stand in (`Meters.with_expectations`): they keep
    the rest of the network where it may be, and what is not determined by measurements is NaN all the same.

    Attributes:
        grid, meters: what is measured.
        significance: chance of any false alarm in an estimate without gross errors.
        v: voltages of the last estimate that converged, where the next one begins.
    """

    grid: Grid
    meters: Meters
    significance: float = SIGNIFICANCE
    v: ComplexArray = field(init=False)
    _wls: Wls = field(init=False)
    _guided: Wls | None = field(init=False, default=None)
    _seen: dict[bytes, Observability] = field(init=False, default_factory=dict)
    _last: tuple[Wls, Cleaned] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Compile."""
        self._wls = Wls(self.grid, self.meters)
        self.v = self.grid.v0.copy()

    def estimate(self, z: FloatArray, sigma: FloatArray | None = None) -> Estimate:
        """Estimate from measured values.

        Args:
            z: (m,) measured values [pu, radian]; NaN: not heard.
            sigma: (m,) standard deviations that hold now (an old value is less sure); by default the meters'.
        """
        spread = self.meters.sigma if sigma is None else sigma
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = np.where(np.isfinite(z) & np.isfinite(spread) & (spread > 0), spread**-2.0, 0.0)
        for wls, start in self._tries(weight > 0.0):
            values, weights = (z, weight) if wls is self._wls else self._guide(wls, z, weight)
            found = clean(wls, values, weights, start, self.significance, self.meters.m)
            if found.fit.converged:
                self.v, self._last = found.fit.v, (wls, found)
                estimate = self._confident(wls, found)
                if found.clean and not found.suspects:
                    return estimate
                return replace(estimate, doubted=self._doubted(wls, values, weights))
        self._last = None
        return self._nothing(found)

    def shown(self) -> tuple[FloatArray, FloatArray]:
        """(m,) what the meters would show were the last estimate true [pu, radian], and its sigma; NaN: not determined."""
        m = self.meters.m
        if self._last is None:
            return np.full(m, np.nan), np.full(m, np.nan)
        wls, found = self._last
        h, slope = np.empty(len(wls.eq.kind)), np.empty(len(wls.eq.column))
        evaluate(wls.eq, found.fit.v, h, slope)
        sigma = np.sqrt(np.maximum(variances(wls.eq, slope, found.inverse), 0.0))
        observable, grid = self.observability(found.weight[:m] > 0.0).observable, self.grid
        rows = np.logical_and.reduceat(observable[grid.node], grid.start[:-1])
        voltage = np.isin(self.meters.kind, (VM, ANGLE))
        row = self.meters.row
        known = np.where(voltage, observable[np.where(voltage, row, 0)], rows[row])
        return np.where(known, h[:m], np.nan), np.where(known, sigma[:m], np.nan)

    def _tries(self, used: BoolArray) -> Iterator[tuple[Wls, ComplexArray | None]]:
        """Ways to fit, the next one where one does not converge: from the last voltages, from no load, with expectations."""
        if not self.observability(used).directions:
            yield self._wls, self.v
            yield self._wls, None
        yield self._with_expectations(), self.v
        yield self._with_expectations(), None

    def _doubted(self, wls: Wls, z: FloatArray, weight: FloatArray) -> tuple[BranchSuspect, ...]:
        """Look for a wrong state of a branch, with everything in that was measured."""
        return doubted(wls, self.significance) if wls.fit(z, weight, self.v).converged else ()

    def observability(self, used: BoolArray) -> Observability:
        """What a set of measurements (m,) determines; the last ones asked for are remembered."""
        key = used.tobytes()
        if key not in self._seen:
            if len(self._seen) >= REMEMBERED:
                self._seen.pop(next(iter(self._seen)))
            self._seen[key] = observability(self._wls, used)
        return self._seen[key]

    def _with_expectations(self) -> Wls:
        """The fit with expectations, compiled when it is first needed."""
        if self._guided is None:
            self._guided = Wls(self.grid, self.meters.with_expectations(self.grid))
        return self._guided

    def _guide(self, wls: Wls, z: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Add the expectations of what is not measured itself."""
        m, rows = self.meters.m, len(self.grid.at)
        what = wls.meters.kind * rows + wls.meters.row
        measured = np.isin(what[m:], what[:m][weight > 0.0])
        return np.append(z, wls.expected), np.append(weight, np.where(measured, 0.0, wls.meters.sigma[m:] ** -2.0))

    def _confident(self, wls: Wls, found: Cleaned) -> Estimate:
        """The estimate with the confidence of everything in it; what is not determined is NaN."""
        fit, m = found.fit, self.meters.m
        used = found.weight[:m] > 0.0
        seen = self.observability(used)
        diagonal = found.inverse[wls.pattern.start[:-1]][wls.pattern.position]
        known = np.where(seen.observable, 1.0, np.nan)
        ln_sigma = np.sqrt(diagonal[wls.eq.ln_column]) * known
        angle_sigma = np.where(wls.eq.angle_column >= 0, np.sqrt(diagonal[np.maximum(wls.eq.angle_column, 0)]), 0.0) * known
        i_ka, i_sigma_ka = self._branches(wls, fit.v, found.inverse, seen)
        freedom = int(used.sum()) + wls.eq.exact - (wls.eq.states - seen.directions)
        chi_square = float(np.sum(found.weight[:m] * wls.residual[:m] ** 2))
        return Estimate(
            fit.v * known, np.abs(fit.v) * ln_sigma, angle_sigma, i_ka, i_sigma_ka, found.suspects, (), found.critical[:m], seen,
            chi_square, freedom, True, fit.iterations, found.clean, self._wanted(seen),
            self.grid.branch_name,
        )  # fmt: skip

    def _branches(self, wls: Wls, v: ComplexArray, inverse: FloatArray, seen: Observability) -> tuple[FloatArray, FloatArray]:
        """(branches, 2) currents and their standard deviations [kA]."""
        eq, grid = wls.outputs, self.grid
        h, slope = np.empty(len(eq.kind)), np.empty(len(eq.column))
        evaluate(eq, v, h, slope)
        sigma = np.sqrt(np.maximum(variances(eq, slope, inverse), 0.0))
        on = np.asarray((grid.branch_row >= 0).all(axis=1))
        ends = grid.at[grid.branch_row[on]]
        known = np.where(seen.observable[ends].all(axis=1, keepdims=True), 1.0, np.nan)
        out = np.full((2, len(on), 2), np.nan)
        out[:, on] = np.stack([h, sigma]).reshape(2, -1, 2) * known * grid.i_base_ka[on]
        return out[0], out[1]

    def _nothing(self, found: Cleaned) -> Estimate:
        """No estimate: everything NaN, and what was wanted."""
        n, b, m = self.grid.n, len(self.grid.branch_row), self.meters.m
        seen = self.observability(found.weight[:m] > 0.0)
        nan = np.full(n, np.nan)
        wanted = self._wanted(seen) or ("measurements that agree: no state fits them",)
        unknown = np.full((b, 2), np.nan)
        return Estimate(
            nan + 1j * nan, nan, nan, unknown, unknown, (), (), found.critical[:m], seen, np.nan, 0,
            False, found.fit.iterations, False, wanted, self.grid.branch_name,
        )  # fmt: skip

    def _wanted(self, seen: Observability) -> tuple[str, ...]:
        out = []
        for k, links in enumerate(seen.links):
            nodes = np.flatnonzero(seen.island == k)
            near = ", ".join(self.grid.branch_name[b] for b in links[:3])
            help_ = f"the flow of {near}" if links else f"the voltage of {self.grid.node_name[nodes[0]]}"
            who = ", ".join(self.grid.node_name[k] for k in nodes[:5]) + (" …" if len(nodes) > 5 else "")
            out.append(f"not determined: {who} ({len(nodes)} nodes); {help_} would help")
        return tuple(out)
