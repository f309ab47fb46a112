"""Limits over time: which were broken, by how much at worst, when, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numba import njit

from vpp.grid.limits import LOADING, QUANTITIES, REVERSE, VM_LOW, Limits
from vpp.grid.network import Network
from vpp.grid.tables import BoolArray, ByteArray, FloatArray, Int32Array, IntArray


class Watched(NamedTuple):
    """Every limit that could be compared at least once; arrays of one length.

    Attributes:
        quantity: position in `vpp.grid.limits.QUANTITIES`.
        element: bus of a voltage, branch of a loading or a reverse power.
        value: the worst one; pu, 1.0 = rated current, MW.
        limit: in the same unit.
        margin: what it leaves of the limit, negative: broken.
        severity: -margin over the limit (over 1 MW for a limit of 0): what violations are compared by.
        at: step of the worst value.
        first: first step in which it was broken, -1: never.
        steps: number of steps in which it was broken.
        longest: the most of them without a break.
    """

    quantity: ByteArray
    element: Int32Array
    value: FloatArray
    limit: FloatArray
    margin: FloatArray
    severity: FloatArray
    at: IntArray
    first: IntArray
    steps: IntArray
    longest: IntArray

    @property
    def violated(self) -> BoolArray:
        """Mask of the limits that were broken."""
        return np.asarray(self.steps > 0)

    def worst(self) -> IntArray:
        """Positions of the limits that were broken, the most severe first."""
        order = np.argsort(-self.severity, kind="stable")
        return order[self.violated[order]].astype(np.int64)


@dataclass(slots=True)
class LimitWatch:
    """Compares one state of a network after another with its limits.

    Attributes:
        loading, reverse_mw: (branches,) highest loading and power from a transformer's low to its high side; NaN: no limit.
        vm_low_pu, vm_high_pu: (buses,) band of the voltages.
        steps: states seen so far.
        counts: (4,) limits of each quantity that the last state broke.
    """

    loading: FloatArray
    vm_low_pu: FloatArray
    vm_high_pu: FloatArray
    reverse_mw: FloatArray
    steps: int = 0
    counts: IntArray = field(init=False)
    _limit: FloatArray = field(init=False)
    _start: IntArray = field(init=False)
    _value: FloatArray = field(init=False)
    _number: IntArray = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing seen."""
        parts = [self.loading, self.vm_low_pu, self.vm_high_pu, self.reverse_mw]  # in the order of QUANTITIES
        self._limit = np.concatenate(parts).astype(np.float64)
        self._start = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
        n = len(self._limit)
        self._value = np.full((2, n), np.nan)  # worst value, its margin
        self._number = np.zeros((5, n), np.int64)  # at, first, steps, longest, steps of the violation that goes on
        self._number[:2] = -1
        self.counts = np.zeros(len(QUANTITIES), np.int64)

    @classmethod
    def of(cls, network: Network, limits: Limits) -> LimitWatch:
        """Watch a network's limits; ValueError where they contradict one another."""
        return cls(limits.loading(network), *limits.band(network), limits.reverse(network))

    def __call__(self, vm_pu: FloatArray, loading: FloatArray, reverse_mw: FloatArray) -> IntArray:
        """Take the next state: (buses,), (branches,), (branches,) or empty; NaN: not known. Returns ``counts``."""
        _watch(
            self.steps, loading, vm_pu, reverse_mw, self._limit, self._start, self._value, self._number, self.counts,
        )  # fmt: skip
        self.steps += 1
        return self.counts

    def found(self) -> Watched:
        """What came of it."""
        known = np.flatnonzero(np.isfinite(self._value[1]))
        quantity = np.searchsorted(self._start[1:], known, side="right")
        limit, value, margin = self._limit[known], self._value[0, known], self._value[1, known]
        at, first, steps, longest, _ = self._number[:, known]
        severity = -margin / np.where(limit > 0.0, limit, 1.0)
        element = (known - self._start[quantity]).astype(np.int32)
        return Watched(quantity.astype(np.uint8), element, value, limit, margin, severity, at, first, steps, longest)


@njit(cache=True, nogil=True)
def _watch(
    k: int, loading: FloatArray, vm: FloatArray, reverse: FloatArray, limit: FloatArray, start: IntArray, value: FloatArray,
    number: IntArray, counts: IntArray,
) -> None:  # fmt: skip
    """One state: remember the worst of every limit, and how long it was broken."""
    counts[:] = 0
    for quantity in range(4):
        for i in range(start[quantity], start[quantity + 1]):
            if limit[i] != limit[i]:
                continue
            e = i - start[quantity]
            if quantity == LOADING:
                x = loading[e]
            elif quantity == REVERSE:
                x = reverse[e] if e < reverse.size else np.nan
            else:
                x = vm[e]
            margin = x - limit[i] if quantity == VM_LOW else limit[i] - x
            if margin < 0.0:
                counts[quantity] += 1
                number[1, i] = k if number[2, i] == 0 else number[1, i]
                number[2, i] += 1
                number[4, i] += 1
                number[3, i] = max(number[3, i], number[4, i])
            elif number[4, i]:
                number[4, i] = 0
            if margin == margin and not value[1, i] <= margin:
                value[0, i], value[1, i], number[0, i] = x, margin, k
