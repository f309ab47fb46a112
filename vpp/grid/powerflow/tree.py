"""Our own engine for radial networks without voltage-controlled nodes: the tree sweep.

Forests with several sources, shunts, ratios and phase shifts are all in the admittances and so included.
"""

from __future__ import annotations

import numpy as np

from vpp.grid.network import Network
from vpp.grid.powerflow.port import BatchSolution, Solution, failed, net_injections, residual_mva
from vpp.grid.powerflow.tree_arrays import TreeArrays, build_tree, is_radial
from vpp.grid.powerflow.tree_kernels import (
    LANE_LIMIT,
    tree_batch,
    tree_currents,
    tree_linear_solve,
    tree_series,
    tree_solve,
    tree_solve_work,
)
from vpp.grid.tables import ComplexArray, FloatArray

__all__ = [
    "TreeArrays",
    "TreeSweep",
    "build_tree",
    "is_radial",
    "tree_batch",
    "tree_currents",
    "tree_linear_solve",
    "tree_series",
    "tree_solve",
    "tree_solve_work",
]


class TreeSweep:
    """Tree-ordered fixed point; ``arrays`` is for other compiled code to call the kernels with."""

    name = "tree"

    def __init__(self, network: Network, *, tol_pu: float = 1e-10, max_iter: int = 100) -> None:
        """Factorise the tree; Unsuitable where the network is not radial or has PV nodes."""
        self.network, self.tol_pu, self.max_iter = network, tol_pu, max_iter
        self.arrays = build_tree(network)

    def solve(self, p_mw: FloatArray, q_mvar: FloatArray, v_start: ComplexArray | None = None) -> Solution:
        """Solve one step; see :class:`vpp.grid.powerflow.port.PowerFlow`."""
        p, q = net_injections(self.network, p_mw, q_mvar)
        order, per_sn = self.arrays.node, 1.0 / self.network.sn_mva
        if v_start is None:
            v_re, v_im = self.arrays.v0_re.copy(), self.arrays.v0_im.copy()
        else:
            start = np.asarray(v_start, dtype=np.complex128)[order]
            v_re, v_im = np.ascontiguousarray(start.real), np.ascontiguousarray(start.imag)
        took = tree_solve(self.arrays, p[order] * per_sn, q[order] * per_sn, v_re, v_im, self.tol_pu, self.max_iter)
        if took < 0:
            return failed(self.network, self.max_iter)
        v = np.empty(self.network.n_node, dtype=np.complex128)
        v[order] = v_re + 1j * v_im
        return Solution(v, True, int(took), residual_mva(self.network, v, p, q))

    def solve_batch(self, p_mw: FloatArray, q_mvar: FloatArray) -> BatchSolution:
        """Solve T steps, each from no load; see :class:`vpp.grid.powerflow.port.PowerFlow`."""
        net = self.network
        p, q = np.ascontiguousarray(p_mw, dtype=np.float64), np.ascontiguousarray(q_mvar, dtype=np.float64)
        if p.ndim != 2 or p.shape != q.shape or p.shape[1] != net.n_node:
            raise ValueError(f"injections have shapes {p.shape} and {q.shape}, expected (T, {net.n_node})")
        v = np.empty(p.shape, dtype=np.complex128)
        converged, iterations = np.empty(len(p), dtype=np.bool_), np.empty(len(p), dtype=np.int32)
        kernel = tree_batch if net.n_node <= LANE_LIMIT else tree_series
        fixed = (net.fixed_p_mw, net.fixed_q_mvar)
        kernel(self.arrays, p, q, *fixed, 1.0 / net.sn_mva, self.tol_pu, self.max_iter, v, converged, iterations)
        return BatchSolution(v, converged, iterations)
