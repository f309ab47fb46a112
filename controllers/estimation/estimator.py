"""The state estimator: measurements in, voltages with their confidence out. It never raises for what it is given."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from controllers.estimation.bad_data import SIGNIFICANCE, Cleaned, Suspect, clean
from controllers.estimation.equations import Equations, evaluate, outputs_of, variances
from controllers.estimation.measured import CURRENT, Grid, Meters
from controllers.estimation.observability import Observability, observability
from controllers.estimation.wls import Wls
from vpp.kernel.signals import BoolArray, ComplexArray, FloatArray


@dataclass(frozen=True, slots=True)
class Estimate:
    """The network's state at one moment; NaN where it is not known.

    Attributes:
        v: (n,) voltages [pu].
        vm_sigma_pu, va_sigma: (n,) standard deviations of magnitude [pu] and angle [rad].
        i_ka, i_sigma_ka: (branches, 2) currents at the from and to ends, and their standard deviations.
        suspects: measurements taken out as gross errors.
        critical: (m,) measurements whose error could not show.
        observability: what is determined.
        chi_square, freedom: sum of squared normalised residuals, and what it would be on average.
        converged, iterations: of the last fit.
        clean: False where a gross error is left that could not be located.
        wanted: what is missing, in words; empty where nothing is.
    """

    v: ComplexArray
    vm_sigma_pu: FloatArray
    va_sigma: FloatArray
    i_ka: FloatArray
    i_sigma_ka: FloatArray
    suspects: tuple[Suspect, ...]
    critical: BoolArray
    observability: Observability
    chi_square: float
    freedom: int
    converged: bool
    iterations: int
    clean: bool
    wanted: tuple[str, ...]


@dataclass(slots=True)
class StateEstimator:
    """Estimates one grid from one set of meters, tick after tick, each from the last one's voltages.

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
    _currents: Equations = field(init=False)

    def __post_init__(self) -> None:
        """Compile."""
        self._wls = Wls(self.grid, self.meters)
        self.v = self.grid.v0.copy()
        rows = self.grid.branch_row[(self.grid.branch_row >= 0).all(axis=1)].ravel()
        kind = np.full(len(rows), CURRENT)
        self._currents = outputs_of(self._wls.eq, self.grid, kind, rows, self._wls.pattern)

    def estimate(self, z: FloatArray, sigma: FloatArray | None = None) -> Estimate:
        """Estimate from measured values.

        Args:
            z: (m,) measured values [pu, radian]; NaN: not heard.
            sigma: (m,) standard deviations that hold now (an old value is less sure); by default the meters'.
        """
        spread = self.meters.sigma if sigma is None else sigma
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = np.where(np.isfinite(z) & np.isfinite(spread) & (spread > 0), spread**-2.0, 0.0)
        found = clean(self._wls, z, weight, self.v, self.significance)
        if not found.fit.converged:
            found = clean(self._wls, z, weight, None, self.significance)
        if not found.fit.converged:
            return self._nothing(found)
        self.v = found.fit.v
        return self._confident(found)

    def _confident(self, found: Cleaned) -> Estimate:
        """The estimate with the confidence of everything in it; what is not determined is NaN."""
        wls, fit = self._wls, found.fit
        seen = observability(wls)
        start = wls.pattern.start[:-1]
        diagonal = found.inverse[start][wls.pattern.position]
        known = np.where(seen.observable, 1.0, np.nan)
        ln_sigma = np.sqrt(diagonal[wls.eq.ln_column]) * known
        angle_sigma = np.where(wls.eq.angle_column >= 0, np.sqrt(diagonal[np.maximum(wls.eq.angle_column, 0)]), 0.0) * known
        i_ka, i_sigma_ka = self._branches(fit.v, found.inverse, seen)
        freedom = int(np.sum(found.weight > 0.0)) + wls.eq.exact - (wls.eq.states - fit.missing)
        return Estimate(
            fit.v * known, np.abs(fit.v) * ln_sigma, angle_sigma, i_ka, i_sigma_ka, found.suspects, found.critical, seen,
            fit.objective, freedom, True, fit.iterations, found.clean, self._wanted(seen),
        )  # fmt: skip

    def _branches(self, v: ComplexArray, inverse: FloatArray, seen: Observability) -> tuple[FloatArray, FloatArray]:
        """(branches, 2) currents and their standard deviations [kA]."""
        eq, grid = self._currents, self.grid
        h, slope = np.empty(len(eq.kind)), np.empty(len(eq.column))
        evaluate(eq, v, h, slope)
        sigma = np.sqrt(np.maximum(variances(eq, slope, inverse), 0.0))
        on = (grid.branch_row >= 0).all(axis=1)
        ends = grid.at[grid.branch_row[on]]
        known = np.where(seen.observable[ends].all(axis=1, keepdims=True), 1.0, np.nan)
        out = np.full((2, len(on), 2), np.nan)
        out[:, on] = np.stack([h, sigma]).reshape(2, -1, 2) * known * grid.i_base_ka[on]
        return out[0], out[1]

    def _nothing(self, found: Cleaned) -> Estimate:
        """No estimate: everything NaN, and what was wanted."""
        n, b, seen = self.grid.n, len(self.grid.branch_row), observability(self._wls)
        nan = np.full(n, np.nan)
        wanted = self._wanted(seen) or ("measurements that agree: no state fits them",)
        return Estimate(
            nan + 1j * nan, nan, nan, np.full((b, 2), np.nan), np.full((b, 2), np.nan), (), found.critical, seen, np.nan, 0,
            False, found.fit.iterations, False, wanted,
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
