"""From steps of one length to steps of another, with the energy of every step kept.

A series holds means over steps. Inside each step a parabola with the same mean stands for it: continuous over the
steps' borders and, where the series is, not negative. Irradiance follows the sun: its ratio to the clear sky is what
is carried over, and each step is brought to its energy again. Steps are whole nanoseconds, so that borders meet exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vpp.kernel.signals import BoolArray, FloatArray, IntArray

Way = Literal["smooth", "hold"]
LEAST_SUN, MOST_INDEX = 1.0, 2.0  # W/m2 of clear sky, and ratio to it, outside of which the sun's course says nothing


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Every stretch of time that lies in one old and in one new step.

    Attributes:
        old: (m,) its old step.
        new: (m,) its new step; negative or beyond the last where no value is wanted.
        begin, end: (m,) where it begins and ends in its old step, 0…1.
        middle_ns: (m,) moment in its middle.
    """

    old: IntArray
    new: IntArray
    begin: FloatArray
    end: FloatArray
    middle_ns: IntArray


def resample(
    values: FloatArray, begin_ns: int, old_ns: int, start_ns: int, new_ns: int, steps: int, *,
    way: Way = "smooth", positive: bool = True,
) -> FloatArray:  # fmt: skip
    """Means over new steps from means over old ones.

    The mean of the new values over any stretch that holds whole steps of both is that of the old values.

    Args:
        values: (n,) means over the old steps; they cover the new ones.
        begin_ns: beginning of the first old step.
        old_ns: length of an old step.
        start_ns: beginning of the first new step.
        new_ns: length of a new step.
        steps: number of new steps.
        way: "smooth", or "hold": the same value throughout an old step.
        positive: values are 0 or more, and stay so.

    Returns:
        (steps,) means over the new steps.
    """
    pieces = _pieces(len(values), begin_ns, old_ns, start_ns, new_ns, steps)
    share = _shares(np.asarray(values, np.float64), pieces, way, positive)
    return _gather(share, pieces, old_ns, new_ns, steps)


def resample_sun(
    values: FloatArray, begin_ns: int, old_ns: int, start_ns: int, new_ns: int, steps: int,
    clear: Callable[[IntArray], FloatArray],
) -> FloatArray:  # fmt: skip
    """The same for irradiance, which follows the sun inside a step; arguments as in `resample`.

    Args:
        values: (n,) irradiance of the old steps [W/m2].
        begin_ns: beginning of the first old step.
        old_ns: length of an old step.
        start_ns: beginning of the first new step.
        new_ns: length of a new step.
        steps: number of new steps.
        clear: (m,) moments -> (m,) irradiance of a clear sky [W/m2].

    Returns:
        (steps,) means over the new steps. An old step with irradiance but no sun is treated as any other series.
    """
    values = np.asarray(values, np.float64)
    pieces = _pieces(len(values), begin_ns, old_ns, start_ns, new_ns, steps)
    width = pieces.end - pieces.begin
    sky = clear(pieces.middle_ns)
    mean_sky = np.bincount(pieces.old, weights=sky * width, minlength=len(values))
    index = values / np.maximum(mean_sky, LEAST_SUN)
    led = (mean_sky > LEAST_SUN) & (index <= MOST_INDEX)
    shape = _shares(index, pieces, "smooth", True, led) * sky
    total = np.bincount(pieces.old, weights=shape, minlength=len(values))
    led &= total > 0.0
    factor = np.divide(values, total, out=np.zeros(len(values)), where=led)
    share = np.where(led[pieces.old], shape * factor[pieces.old], _shares(values, pieces, "smooth", True))
    return _gather(share, pieces, old_ns, new_ns, steps)


def _pieces(n: int, begin_ns: int, old_ns: int, start_ns: int, new_ns: int, steps: int) -> _Pieces:
    """Cut time at the borders of both kinds of steps: all old steps that the new ones touch, and one more on either side."""
    end_ns = start_ns + steps * new_ns
    first, last = (start_ns - begin_ns) // old_ns, -((begin_ns - end_ns) // old_ns)
    if first < 0 or last > n:
        raise ValueError("the values do not cover the wanted time")
    first, last = max(first - 1, 0), min(last + 1, n)
    low, high = begin_ns + first * old_ns, begin_ns + last * old_ns
    before, after = -((low - start_ns) // new_ns), -((end_ns - high) // new_ns)
    new_edges = start_ns + new_ns * np.arange(-before, steps + after + 1, dtype=np.int64)
    old_edges = begin_ns + old_ns * np.arange(first, last + 1, dtype=np.int64)
    edges = np.union1d(old_edges, new_edges[(new_edges > low) & (new_edges < high)])
    old = (edges[:-1] - begin_ns) // old_ns
    from_ns = begin_ns + old * old_ns
    return _Pieces(
        old, (edges[:-1] - start_ns) // new_ns, (edges[:-1] - from_ns) / old_ns, (edges[1:] - from_ns) / old_ns,
        (edges[:-1] + edges[1:]) // 2,
    )  # fmt: skip


def _shares(mean: FloatArray, pieces: _Pieces, way: Way, positive: bool, known: BoolArray | None = None) -> FloatArray:
    """What each piece holds of its old step, (m,): the parabola's integral; ``known`` steps alone shape their neighbours.

    With border values a and b and mean m, the integral from 0 to s is m s + (a - m) s (1 - s)^2 - (b - m) s^2 (1 - s).
    It never falls where a and b lie between 0 and 3 m (F. Fritsch and R. Carlson, SIAM J. Numer. Anal. 17 (1980) 238).
    """
    m = mean[pieces.old]
    width = pieces.end - pieces.begin
    if way == "hold":
        return m * width
    near = mean if known is None else np.where(known, mean, np.nan)
    left, right = near[:-1], near[1:]
    left, right = np.where(np.isnan(left), right, left), np.where(np.isnan(right), left, right)
    if positive:  # the harmonic mean is at most twice the smaller one, and 0 beside 0
        both = left + right
        border = np.divide(2.0 * left * right, both, out=np.zeros(len(both)), where=both > 0.0)
    else:
        border = 0.5 * (left + right)
    border = np.concatenate([mean[:1], np.nan_to_num(border), mean[-1:]])
    a, b = border[pieces.old] - m, border[pieces.old + 1] - m

    def bend(s: FloatArray) -> FloatArray:
        return np.asarray(s * (1.0 - s) * (a * (1.0 - s) - b * s))

    share = m * width + (bend(pieces.end) - bend(pieces.begin))
    return np.asarray(np.maximum(share, 0.0) if positive else share)


def _gather(share: FloatArray, pieces: _Pieces, old_ns: int, new_ns: int, steps: int) -> FloatArray:
    """Sum what the pieces hold into the new steps."""
    inside = (pieces.new >= 0) & (pieces.new < steps)
    return np.asarray(np.bincount(pieces.new[inside], weights=share[inside], minlength=steps) * (old_ns / new_ns))
