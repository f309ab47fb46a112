"""Curves of straight pieces, a row of points for each device: efficiency, tapers, charging curves."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Final

import numpy as np
from numba import njit
from pydantic import AfterValidator

from vpp.fields import Number, bad
from vpp.kernel.signals import FloatArray

POINTS: Final = 8  # every row of points is padded to this length, so that the rows of all entries fit together


def _ascending(points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    if not 2 <= len(points) <= POINTS:
        raise bad(f"a curve has 2 to {POINTS} points")
    if any(b[0] <= a[0] for a, b in pairwise(points)):
        raise bad("the first numbers of a curve's points must ascend")
    return points


Points = Annotated[tuple[tuple[Number, Number], ...], AfterValidator(_ascending)]


def rows_of(points: Sequence[tuple[float, float]], m: int) -> tuple[FloatArray, FloatArray]:
    """(m, POINTS) abscissae and ordinates of m devices with the same curve; the last point is repeated."""
    padded = [*points, *[points[-1]] * (POINTS - len(points))]
    x, y = np.array(padded, np.float64).T
    return np.tile(x, (m, 1)), np.tile(y, (m, 1))


@njit(cache=True, nogil=True)
def curve_at(value: float, x: FloatArray, y: FloatArray) -> float:
    """The ordinate at ``value``; level outside the points."""
    if value <= x[0]:
        return float(y[0])
    for k in range(1, x.size):
        if value < x[k]:
            return float(y[k - 1] + (y[k] - y[k - 1]) * (value - x[k - 1]) / (x[k] - x[k - 1]))
    return float(y[-1])


@njit(cache=True, nogil=True)
def through_origin(value: float, x: FloatArray, y: FloatArray) -> float:
    """The ordinate at ``value`` >= 0 of a rising curve from (0, 0) on; beyond the last point in proportion to it.

    With ``x`` and ``y`` exchanged it is its own inverse.
    """
    before_x = before_y = 0.0
    for k in range(x.size):
        if value <= x[k]:
            return float(before_y + (y[k] - before_y) * (value - before_x) / (x[k] - before_x)) if value > before_x else before_y
        before_x, before_y = x[k], y[k]
    return float(value * y[-1] / x[-1])
