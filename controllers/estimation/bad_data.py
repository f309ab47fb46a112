"""Gross errors: found by the largest normalised residual, one after another, and what cannot be told apart said so.

With residuals r, their covariance S = R - H G^-1 H' and a detectability S_ii / R_ii, |r_i| / sqrt(S_ii) is standard
normal without gross errors. The threshold holds the chance of *any* false alarm in an estimate to the significance
(Bonferroni). A measurement of detectability near zero is *critical*: its error cannot show. Two residuals whose
correlation is near one show each other's errors: they are one suspect group.

Handschin, Schweppe, Kohlas, Fiechter, "Bad data analysis for power system state estimation", IEEE Trans. PAS-94 (1975);
Monticelli, Garcia, "Reliable bad data processing for real-time state estimation", IEEE Trans. PAS-102 (1983).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from controllers.estimation.cholesky import solve
from controllers.estimation.equations import evaluate, project
from controllers.estimation.wls import Fit, Wls
from vpp.kernel.signals import BoolArray, ComplexArray, FloatArray, IntArray

CRITICAL: Final = 1e-6  # detectability below which a measurement's error cannot show
ALIKE: Final = 0.9  # correlation of residuals from which on two measurements cannot be told apart
SIGNIFICANCE: Final = 1e-4
MOST: Final = 20  # measurements taken out of one estimate at most


@dataclass(frozen=True, slots=True)
class Suspect:
    """A measurement that was taken out.

    Attributes:
        measurement: its number.
        normalised: its normalised residual when it was taken out.
        detectability: S_ii / R_ii then.
        group: measurements whose errors would show in the same way, itself included; one alone is named for certain.
    """

    measurement: int
    normalised: float
    detectability: float
    group: tuple[int, ...]


@dataclass(slots=True)
class Cleaned:
    """A fit with the gross errors taken out.

    Attributes:
        fit: the last fit.
        weight: (m,) weights that it used.
        suspects: what was taken out, in that order.
        detectability: (m,) S_ii / R_ii of the measurements that take part; NaN for the others.
        inverse: covariances of the state on the factor's pattern.
        clean: False where an error is left: the rounds ran out, or it cannot be located.
    """

    fit: Fit
    weight: FloatArray
    suspects: tuple[Suspect, ...]
    detectability: FloatArray
    inverse: FloatArray
    clean: bool

    @property
    def critical(self) -> BoolArray:
        """Mask of the measurements whose error could not show."""
        return np.asarray(self.detectability < CRITICAL)


def threshold(count: int, significance: float = SIGNIFICANCE) -> float:
    """Normalised residual that the largest of ``count`` exceeds by chance with this probability, at most."""
    return NormalDist().inv_cdf(1.0 - significance / (2.0 * max(count, 1)))


def clean(
    wls: Wls, z: FloatArray, weight: FloatArray, start: ComplexArray | None, significance: float = SIGNIFICANCE,
    measured: int | None = None,
) -> Cleaned:  # fmt: skip
    """Fit, take out the largest normalised residual while it is beyond the threshold, and put back what proves right.

    Only the first ``measured`` of the measurements are suspected, by default all.
    """
    m, given = wls.meters.m, weight
    suspicious = np.arange(m) < (m if measured is None else measured)
    weight = weight.copy()
    suspects: list[Suspect] = []
    fit = wls.fit(z, weight, start)
    if not fit.converged:
        return Cleaned(fit, weight, (), np.full(m, np.nan), np.zeros(wls.pattern.nnz), False)
    while True:
        inverse = wls.inverse()
        spread, detectability = _residuals(wls, inverse, weight)
        tested = suspicious & (detectability > CRITICAL)
        normalised = np.where(tested, np.abs(wls.residual[:m]) / np.maximum(spread, 1e-300), 0.0)
        limit = threshold(int(tested.sum()), significance)
        worst = int(np.argmax(normalised))
        if not normalised[worst] > limit or len(suspects) == MOST:
            break
        group = _alike(wls, worst, spread, tested)
        suspects.append(Suspect(worst, float(normalised[worst]), float(detectability[worst]), tuple(group.tolist())))
        weight[worst] = 0.0
        again = wls.fit(z, weight, fit.v)
        if not again.converged:
            weight[worst] = given[worst]  # it is named, and stays in
            fit = wls.fit(z, weight, fit.v)
            break
        fit = again
    if len(suspects) > 1:
        fit, suspects, inverse, detectability = _put_back(wls, z, weight, given, fit, suspects, inverse, detectability, limit)
    return Cleaned(fit, weight, tuple(suspects), detectability, inverse, not normalised[worst] > limit)


def _residuals(wls: Wls, inverse: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(m,) standard deviation of each residual, and its detectability; NaN where a measurement takes no part."""
    m = wls.meters.m
    with np.errstate(divide="ignore", invalid="ignore"):
        own = np.where(weight > 0.0, 1.0 / weight, np.nan)
        left = own - wls.variances(inverse)[:m]
        return np.sqrt(np.maximum(left, 0.0)), left / own


def _alike(wls: Wls, which: int, spread: FloatArray, tested: BoolArray) -> IntArray:
    """Measurements whose residuals go with this one's, itself first."""
    m, eq, position = wls.meters.m, wls.eq, wls.pattern.position
    direction = np.zeros(eq.states)
    entries = slice(eq.entry_start[which], eq.entry_start[which + 1])
    given = eq.column[entries] >= 0
    np.add.at(direction, position[eq.column[entries][given]], wls.slope[entries][given])
    solve(wls.pattern.start, wls.pattern.row, wls.factor, direction)
    covariance = -project(eq, wls.slope, direction, position)[:m]
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.abs(covariance) / (spread * spread[which])
    correlation[which] = 0.0
    others = np.flatnonzero((correlation >= ALIKE) & tested)
    return np.concatenate([[which], others])


def _put_back(
    wls: Wls, z: FloatArray, weight: FloatArray, given: FloatArray, fit: Fit, suspects: list[Suspect], inverse: FloatArray,
    detectability: FloatArray, limit: float,
) -> tuple[Fit, list[Suspect], FloatArray, FloatArray]:  # fmt: skip
    """Take back what agrees with the final estimate: it was blamed for another's error."""
    m = wls.meters.m
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = _estimated(wls, fit.v)
        spread = np.sqrt(1.0 / given + np.maximum(wls.variances(inverse)[:m], 0.0))
        agrees = np.abs(z - expected) <= limit * spread
    back = [s for s in suspects[:-1] if agrees[s.measurement] and weight[s.measurement] == 0.0]
    if not back:
        return fit, suspects, inverse, detectability
    for s in back:
        weight[s.measurement] = given[s.measurement]
    fit = wls.fit(z, weight, fit.v)
    inverse = wls.inverse()
    return fit, [s for s in suspects if s not in back], inverse, _residuals(wls, inverse, weight)[1]


def _estimated(wls: Wls, v: ComplexArray) -> FloatArray:
    """(m,) every measurement as the voltages have it."""
    h, slope = np.empty(len(wls.eq.kind)), np.empty(len(wls.eq.column))
    evaluate(wls.eq, v, h, slope)
    return h[: wls.meters.m]
