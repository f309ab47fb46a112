"""Reactive capability of a resource: circle ∩ Q(P) table ∩ current limit, as compiled scalar functions."""

from __future__ import annotations

import math

from numba import njit

from vpp.kernel.signals import FloatArray


@njit(cache=True, inline="always")
def s_limit(s_max: float, i_max_pu: float, vm_pu: float) -> float:
    """Largest apparent power at this voltage; an unknown voltage counts as nominal."""
    v = vm_pu if math.isfinite(vm_pu) else 1.0
    return min(s_max, i_max_pu * max(v, 0.0) * s_max) if math.isfinite(i_max_pu) else s_max


@njit(cache=True)
def table_at(p_pu: FloatArray, q_pu: FloatArray, at: float) -> float:
    """Piecewise-linear value of a Q(P) row at |P| = ``at``, held constant outside the table."""
    if at <= p_pu[0]:
        return float(q_pu[0])
    for k in range(1, p_pu.size):
        if at <= p_pu[k]:
            part = (at - p_pu[k - 1]) / (p_pu[k] - p_pu[k - 1])
            return float(q_pu[k - 1] + (q_pu[k] - q_pu[k - 1]) * part)
    return float(q_pu[p_pu.size - 1])


@njit(cache=True)
def q_band(p: float, s: float, s_max: float, p_pu: FloatArray, q_min_pu: FloatArray, q_max_pu: FloatArray) -> tuple[float, float]:
    """Band of reactive power at active power ``p`` [MW]: the circle of radius ``s`` [MVA] and the table of ``s_max``."""
    if s_max <= 0.0:
        return 0.0, 0.0
    circle = math.sqrt(max(s * s - p * p, 0.0))
    at = abs(p) / s_max
    return max(-circle, table_at(p_pu, q_min_pu, at) * s_max), min(circle, table_at(p_pu, q_max_pu, at) * s_max)
