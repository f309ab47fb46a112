"""The power-flow port: what every engine offers.

Injections are per electrical node, in MW and Mvar, generation positive; the native PV generators' active power
and the network's fixed injections come on top. A result that is not converged is NaN as a whole, never an old
value; NaN among the injections makes that solve (and no other of its batch) NaN.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from vpp.grid.network import Network
from vpp.grid.tables import BoolArray, ComplexArray, FloatArray, Int32Array


class Solution(NamedTuple):
    """One solved state."""

    v: ComplexArray  # (n_node,) pu; all NaN where not converged
    converged: bool
    iterations: int
    residual_mva: float  # largest |S| mismatch over the nodes that are neither slack nor (in Q) PV; NaN if not converged


class BatchSolution(NamedTuple):
    """Solved states of T steps."""

    v: ComplexArray  # (T, n_node) pu
    converged: BoolArray  # (T,)
    iterations: Int32Array  # (T,)


class PowerFlow(Protocol):
    """An engine bound to one network."""

    name: str
    network: Network

    def solve(self, p_mw: FloatArray, q_mvar: FloatArray, v_start: ComplexArray | None = None) -> Solution:
        """Solve one step: injections (n_node,), optionally from start voltages (n_node,) in pu."""
        ...

    def solve_batch(self, p_mw: FloatArray, q_mvar: FloatArray) -> BatchSolution:
        """Solve T steps: injections (T, n_node)."""
        ...


class Unsuitable(ValueError):
    """An engine cannot solve this kind of network; the text says why."""


def failed(network: Network, iterations: int) -> Solution:
    """Build the result of a solve that did not converge."""
    return Solution(np.full(network.n_node, np.nan + 1j * np.nan), False, iterations, float("nan"))


def net_injections(network: Network, p_mw: FloatArray, q_mvar: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Add fixed injections and PV generators to injections (..., n_node): MW and Mvar in total."""
    p = np.asarray(p_mw, dtype=np.float64) + network.fixed_p_mw
    q = np.asarray(q_mvar, dtype=np.float64) + network.fixed_q_mvar
    if p.shape != q.shape or p.shape[-1] != network.n_node:
        raise ValueError(f"injections have shapes {p.shape} and {q.shape}, the network has {network.n_node} nodes")
    p[..., network.pv_node] += network.pv_p_mw
    return p, q


def residual_mva(network: Network, v: ComplexArray, p_mw: FloatArray, q_mvar: FloatArray) -> float:
    """Largest mismatch in MVA of voltages (n_node,) against *total* injections, slack and PV's Q left out."""
    rows = np.repeat(np.arange(network.n_node), np.diff(network.y_indptr))
    product = network.y_data * v[network.y_indices]
    current = np.bincount(rows, product.real, network.n_node) + 1j * np.bincount(rows, product.imag, network.n_node)
    gap = v * np.conj(current) * network.sn_mva - (p_mw + 1j * q_mvar)
    gap[network.slack_node] = 0.0
    gap[network.pv_node] = gap[network.pv_node].real
    return float(np.max(np.abs(gap), initial=0.0))
