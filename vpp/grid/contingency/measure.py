"""What a case's voltages break: extremes and violations of every case, in one compiled pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit

from vpp.grid.contingency.chord import Cases
from vpp.grid.flows import FlowArrays, branch_flows_into
from vpp.grid.limits import LOADING, REVERSE, VM_HIGH, VM_LOW, reverse_power
from vpp.grid.network import Network
from vpp.grid.tables import ByteArray, ComplexArray, FloatArray, Int32Array, IntArray

WORSE = 1e-6  # relative; a violation that was there before is the outage's only where it is worse by more


class Bounds(NamedTuple):
    """Limits for the kernel.

    Attributes:
        loading: (n_branch,) highest loading.
        low, high: (n_bus,) band of voltages, pu.
        node_of_bus: (n_bus,) node of every bus, -1 where there is none.
    """

    loading: FloatArray
    low: FloatArray
    high: FloatArray
    node_of_bus: Int32Array


class Extremes(NamedTuple):
    """Largest and smallest values of every case; arrays (cases,), NaN and -1 where nothing is known.

    Attributes:
        loading_max, loading_branch: highest loading and its branch.
        vm_min_pu, vm_min_bus, vm_max_pu, vm_max_bus: extreme voltages and their buses.
        severity: largest excess over a limit, relative to it, of what the outage makes worse.
        violations: number of violations.
    """

    loading_max: FloatArray
    loading_branch: IntArray
    vm_min_pu: FloatArray
    vm_min_bus: IntArray
    vm_max_pu: FloatArray
    vm_max_bus: IntArray
    severity: FloatArray
    violations: IntArray


class Found(NamedTuple):
    """Room for violations, arrays of one length, as in `Violations`."""

    case: IntArray
    quantity: ByteArray
    element: Int32Array
    value: FloatArray
    limit: FloatArray


def room(size: int) -> Found:
    """Room for that many violations."""
    return Found(
        np.empty(size, np.int64), np.empty(size, np.uint8), np.empty(size, np.int32), np.empty(size), np.empty(size)
    )  # fmt: skip


def first_of(found: Found, count: int) -> Found:
    """A copy of the first entries."""
    return Found(
        found.case[:count].copy(), found.quantity[:count].copy(), found.element[:count].copy(),
        found.value[:count].copy(), found.limit[:count].copy(),
    )  # fmt: skip


def joined(parts: Sequence[Found]) -> Found:
    """Entries one after the other."""
    parts = parts or [room(0)]
    return Found(
        np.concatenate([x.case for x in parts]), np.concatenate([x.quantity for x in parts]),
        np.concatenate([x.element for x in parts]), np.concatenate([x.value for x in parts]),
        np.concatenate([x.limit for x in parts]),
    )  # fmt: skip


def no_extremes(cases: int) -> Extremes:
    """Extremes of cases not looked at."""
    (a, b, c), (i, j, k) = np.full((3, cases), np.nan), np.full((3, cases), -1, np.int64)
    return Extremes(a, i, b, j, c, k, np.zeros(cases), np.zeros(cases, np.int64))


@njit(cache=True, nogil=True, error_model="numpy")
def _note(found: Found, count: int, case: int, quantity: int, element: int, value: float, limit: float) -> int:
    """Write one violation where there is room for it; returns the number of violations."""
    if count < found.case.size:
        found.case[count], found.quantity[count], found.element[count] = case, quantity, element
        found.value[count], found.limit[count] = value, limit
    return count + 1


@njit(cache=True, nogil=True, error_model="numpy")
def measure(
    flows: FlowArrays, bounds: Bounds, cases: Cases, v: ComplexArray, first: int, loading_base: FloatArray, vm_base: FloatArray,
    extremes: Extremes, found: Found,
) -> int:  # fmt: skip
    """Look at a block's voltages (m, n_node); returns the number of violations, which may be more than there is room for.

    ``first`` is the number of the block's first case, the place where its extremes belong; ``loading_base`` (n_branch,)
    and ``vm_base`` (n_bus,) are the values without an outage.
    """
    m, n, n_branch = v.shape[0], v.shape[1], flows.f.size
    work, v_re, v_im, vm = np.empty((4, n_branch)), np.empty(n), np.empty(n), np.empty(n)
    count = 0
    for k in range(m):
        case, before = first + k, count
        for i in range(n):
            v_re[i], v_im[i] = v[k, i].real, v[k, i].imag
            vm[i] = np.sqrt(v_re[i] * v_re[i] + v_im[i] * v_im[i])
        branch_flows_into(flows, v_re, v_im, work[0], work[1], work[2], work[3])
        loading = work[2]
        for c in range(cases.start[k], cases.start[k + 1]):
            loading[cases.branch[c]] = np.nan
        most, at, severity = -1.0, -1, 0.0
        for b in range(n_branch):
            if loading[b] > most and flows.f[b] >= 0:
                most, at = loading[b], b
            if loading[b] > bounds.loading[b]:
                count = _note(found, count, case, LOADING, b, loading[b], bounds.loading[b])
                if not loading[b] <= loading_base[b] * (1.0 + WORSE):
                    severity = max(severity, loading[b] / bounds.loading[b] - 1.0)
        extremes.loading_max[case], extremes.loading_branch[case] = most if at >= 0 else np.nan, at
        low, low_at, high, high_at = np.inf, -1, -np.inf, -1
        for i in range(bounds.low.size):
            node = bounds.node_of_bus[i]
            if node < 0 or vm[node] != vm[node]:
                continue
            u = vm[node]
            if u < low:
                low, low_at = u, i
            if u > high:
                high, high_at = u, i
            if u < bounds.low[i]:
                count = _note(found, count, case, VM_LOW, i, u, bounds.low[i])
                if u < vm_base[i] * (1.0 - WORSE):
                    severity = max(severity, 1.0 - u / bounds.low[i])
            elif u > bounds.high[i]:
                count = _note(found, count, case, VM_HIGH, i, u, bounds.high[i])
                if u > vm_base[i] * (1.0 + WORSE):
                    severity = max(severity, u / bounds.high[i] - 1.0)
        extremes.vm_min_pu[case], extremes.vm_min_bus[case] = low if low_at >= 0 else np.nan, low_at
        extremes.vm_max_pu[case], extremes.vm_max_bus[case] = high if high_at >= 0 else np.nan, high_at
        extremes.severity[case], extremes.violations[case] = severity, count - before
    return count


def measure_reverse(
    network: Network, limit: FloatArray, cases: Cases, v: ComplexArray, first: int, base: FloatArray, extremes: Extremes
) -> Found:
    """What feeds back more than it may in a block's voltages (m, n_node), added to the extremes.

    Args:
        network: the network.
        limit: (n_branch,) highest reverse power in MW, NaN where there is none.
        cases: of the block.
        v: (m, n_node) voltages.
        first: number of the block's first case.
        base: (n_branch,) reverse power without an outage.
        extremes: of all cases.
    """
    at = np.flatnonzero(np.isfinite(limit))
    back, rated = reverse_power(network, v)
    back = back[:, at]
    out = np.zeros((len(v), network.n_branch), np.bool_)
    out[np.repeat(np.arange(len(v)), np.diff(cases.start)), cases.branch] = True
    broken = (back > limit[at]) & ~out[:, at]  # a NaN is above nothing
    excess = np.where(broken, (back - limit[at]) / rated[at], 0.0)
    worse = np.where(back - base[at] <= WORSE * np.abs(base[at]), 0.0, excess)
    some = slice(first, first + len(v))
    extremes.severity[some] = np.maximum(extremes.severity[some], worse.max(axis=1, initial=0.0))
    extremes.violations[some] += broken.sum(axis=1)
    case, k = np.nonzero(broken)
    quantity = np.full(len(case), REVERSE, np.uint8)
    return Found(first + case, quantity, at[k].astype(np.int32), back[case, k], limit[at[k]])
