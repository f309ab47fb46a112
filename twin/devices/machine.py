"""What machines share that start, run and stop: minimum load, minimum run and rest, start time, fastest change.

All powers here are magnitudes. A machine's memory of itself is ``held_s``: how long it has been running (above zero)
or resting (below zero).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numba import njit

from vpp.kernel.signals import FloatArray

RESTED_S: Final = -1e9  # has rested for longer than anyone asks


@njit(cache=True, nogil=True)
def allowed(
    held_s: float, up_s: float, down_s: float, must: float, least: float, most: float, dt_s: float
) -> tuple[float, float]:
    """Lowest and highest mean power of the step, after minimum run and rest.

    ``must`` and ``most`` are what its process needs and bears; ``least`` is the minimum load. Who began to run goes on at
    minimum load whatever its process bears; who began to rest rests whatever it needs. Nobody begins a run that the process
    would end within the step and before the minimum run.
    """
    if 0.0 < held_s < up_s:
        return max(must, least), max(most, least)
    if held_s < 0.0 and -held_s < down_s:
        return 0.0, 0.0
    if held_s < 0.0 and most < least and most * dt_s < least * max(up_s, 1.0):
        return 0.0, 0.0
    return min(must, most), most


@njit(cache=True, nogil=True)
def choose(want: float, must: float, least: float, most: float) -> float:
    """Power of a machine that is wanted at ``want``: nothing, or between minimum load and the most.

    Asked for less than half of its minimum load it stands still.
    """
    low = min(least, most)
    p = max(want, low) if want >= 0.5 * low and most > 0.0 else 0.0
    return min(max(p, must), most)


@njit(cache=True, nogil=True)
def ramped(now: float, target: float, ramp: float, wait_s: float, dt_s: float) -> tuple[float, float]:
    """Mean and final power of a step of one that goes to ``target`` as fast as it can, after ``wait_s`` of starting."""
    waits = min(wait_s, dt_s) if target > 0.0 else 0.0
    left = dt_s - waits
    if left <= 0.0:
        return now, now
    span = abs(target - now) / ramp
    if span >= left:
        end = now + (ramp if target > now else -ramp) * left
        return (now * waits + 0.5 * (now + end) * left) / dt_s, end
    return (now * waits + 0.5 * (now + target) * span + target * (left - span)) / dt_s, target


@njit(cache=True, nogil=True)
def held_after(held_s: float, runs: bool, dt_s: float) -> float:
    """Time for which it has been running (above zero) or resting, after one more step."""
    if runs:
        return held_s + dt_s if held_s > 0.0 else dt_s
    return held_s - dt_s if held_s < 0.0 else -dt_s


def by_device(rows: Sequence[FloatArray]) -> FloatArray:
    """Parameters as a block (rows, m) in which all of a device lie side by side: a kernel reads few streams instead of many."""
    return np.asfortranarray(np.stack(rows))


def feasible_flow(flow: FloatArray, start: FloatArray, high: FloatArray, most: FloatArray) -> FloatArray:
    """Leave out of an inflow what a store cannot hold even if it is emptied as fast as it goes.

    ``flow`` is the inflow, (steps, m); ``start`` and ``high`` (m,) are the content now and at most; ``most`` (steps, m) is what
    can be used up in a step; all in MWh.
    """
    kept, content = flow.copy(), start.copy()
    for t in range(len(flow)):
        content = content + flow[t] - most[t]
        over = np.maximum(content - high, 0.0)
        kept[t] -= over
        content = np.maximum(content - over, 0.0)
    return kept
