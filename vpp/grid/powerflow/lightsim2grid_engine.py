"""Newton-Raphson with lightsim2grid's C++ solver on *our* admittances, for meshed networks and PV nodes.

Handing over the matrix instead of a network avoids lightsim2grid's element restrictions (three-winding and
phase-shifting transformers, switches, parallel elements).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numba import njit

from vpp.grid.network import Network
from vpp.grid.powerflow.port import BatchSolution, Solution, failed, net_injections, residual_mva
from vpp.grid.tables import BoolArray, ComplexArray, FloatArray, Int32Array, IntArray

COLLAPSED_PU = 0.01  # below, a node counts as collapsed


class LightSim2Grid:
    """Newton-Raphson, sparse LU by KLU."""

    name = "lightsim2grid"

    def __init__(self, network: Network, *, tol_pu: float = 1e-9, max_iter: int = 30) -> None:
        """Build the matrix and the starting voltages. ``tol_pu``: largest mismatch, pu on sn_mva."""
        from scipy.sparse import csc_matrix, csr_matrix

        self.network, self.max_iter = network, max_iter
        self.tol_pu = min(tol_pu, 1e-6 / network.sn_mva)
        n = network.n_node
        self._y = csc_matrix(csr_matrix((network.y_data, network.y_indices, network.y_indptr), shape=(n, n)))
        self._y.sort_indices()
        self._slack = network.slack_node.astype(np.int32)
        self._weights = np.zeros(n)
        self._weights[self._slack] = 1.0
        self._pv = network.pv_node.astype(np.int32)
        others = np.ones(n, dtype=bool)
        others[self._slack] = False
        others[self._pv] = False
        self._pq = np.flatnonzero(others).astype(np.int32)
        self._start, self._calm = self._no_load()
        self._algorithm: object = None

    @property
    def no_load(self) -> ComplexArray:
        """Voltages (n_node,) where a solve begins that is given no start."""
        return self._start

    def _no_load(self) -> tuple[ComplexArray, bool]:
        """Voltages without injections, |V| at PV nodes set: right behind any phase shift, unlike a flat start.

        Long lines and shunts carry some of them far away; whether none is says if they are where to begin.
        """
        from scipy.sparse.linalg import splu

        net = self.network
        known = np.zeros(net.n_node, dtype=bool)
        known[net.slack_node] = True
        v = np.zeros(net.n_node, dtype=np.complex128)
        v[net.slack_node] = net.slack_v
        free = np.flatnonzero(~known)
        if len(free):
            rows = self._y.tocsr()[free].tocsc()
            v[free] = splu(rows[:, free].tocsc()).solve(-(rows @ v))
        near = (np.abs(v) > 0.5) & (np.abs(v) < 1.5)
        v = np.where(near, v, np.exp(1j * np.angle(v)))
        v[net.slack_node] = net.slack_v
        v[net.pv_node] *= net.pv_vm_pu / np.abs(v[net.pv_node])
        out: ComplexArray = v
        return out, bool(near.all())

    def _direct_current(self, s_pu: ComplexArray) -> ComplexArray:
        """Start of a large or strongly shunted system: angles of the linear power flow, magnitudes near nominal."""
        net, n = self.network, self.network.n_node
        free, matrix, pushed, solve = self._linear
        angle = np.angle(self._start)
        angle[free] = solve(s_pu.real[free] + pushed[free] - matrix[free][:, net.slack_node] @ angle[net.slack_node])
        size = np.ones(n)
        size[net.pv_node], size[net.slack_node] = net.pv_vm_pu, np.abs(net.slack_v)
        return np.asarray(size * np.exp(1j * angle))

    @cached_property
    def _linear(self) -> tuple[IntArray, Any, FloatArray, Callable[[FloatArray], FloatArray]]:
        """The linear power flow: free nodes, susceptances (n, n), powers that phase shifts push, and its solver."""
        from scipy.sparse import csr_matrix
        from scipy.sparse.linalg import splu

        net, n = self.network, self.network.n_node
        on = net.branch_on
        f, t = net.branch_from_node[on], net.branch_to_node[on]
        yff, yft = net.yff[on], net.yft[on]
        shift = np.angle(yft / net.ytf[on]) / 2.0
        series = yft * np.exp(-1j * shift)  # a half angle has two signs: yff, whose angle is that of -yft without shift, decides
        turned = (series * np.conj(yff)).real > 0.0
        shift, series = np.where(turned, shift + np.pi, shift), np.where(turned, -series, series)
        b = np.where(series.imag < 0.0, -1.0, 1.0) * np.abs(yft)  # below 0: a series capacitor, or a star's negative reactance
        entries = np.concatenate([b, b, -b, -b]), (np.concatenate([f, t, f, t]), np.concatenate([f, t, t, f]))
        matrix = csr_matrix(entries, shape=(n, n))
        pushed = np.asarray(np.bincount(f, b * shift, n) - np.bincount(t, b * shift, n), np.float64)
        free = np.setdiff1d(np.arange(n), net.slack_node)
        return free, matrix, pushed, splu(matrix[free][:, free].tocsc()).solve

    def _newton(self, s_pu: ComplexArray, start: ComplexArray) -> tuple[ComplexArray | None, int]:
        """Run the C++ solver: voltages (None where it does not converge) and iterations.

        At a node without injection 0 V balances the power with any current: what collapses so is no solution.
        """
        from lightsim2grid.algorithm import NRSing_KLU

        if not np.all(np.isfinite(s_pu)):
            return None, 0
        if self._algorithm is None:
            self._algorithm = NRSing_KLU()
        solver: NRSing_KLU = self._algorithm
        v = start.copy()
        try:
            good = solver.solve(self._y, v, s_pu, self._slack, self._weights, self._pv, self._pq, self.max_iter, self.tol_pu)
        except RuntimeError:
            good = False
        iterations = int(solver.get_nb_iter())
        out: ComplexArray = np.array(solver.get_V(), dtype=np.complex128)
        if not good or not np.all(np.abs(out) > COLLAPSED_PU):  # a NaN is not above either
            self._algorithm = None  # nothing of a failed solve is carried over
            return None, iterations
        return out, iterations

    def entries(self, row: IntArray, column: IntArray) -> IntArray:
        """Place of matrix entries among the stored ones, for `solve_changed`; -1 where a row or column is -1."""
        from scipy.sparse import csc_matrix

        number = csc_matrix((np.arange(1, self._y.nnz + 1), self._y.indices, self._y.indptr), shape=self._y.shape)
        found = np.asarray(number[np.maximum(row, 0).ravel(), np.maximum(column, 0).ravel()]).reshape(row.shape) - 1
        return np.where((row >= 0) & (column >= 0), found, -1).astype(np.int64)

    def solve_changed(
        self, s_pu: ComplexArray, v_start: ComplexArray, entry: IntArray, change: ComplexArray, lost: Int32Array
    ) -> ComplexArray | None:
        """Voltages with some matrix entries changed and some nodes cut off; None where there is no solution.

        The matrix keeps its pattern: a node that is cut off hangs on a neighbour by a susceptance that the neighbour
        does not see, without injection. It follows the neighbour's voltage and changes nothing.
        """
        data = self._y.data.copy()
        np.add.at(self._y.data, entry, change)
        start, s = v_start.copy(), s_pu
        if len(lost):
            dead = np.zeros(self.network.n_node, np.bool_)
            dead[lost] = True
            _hang(self._y.indptr, self._y.indices, self._y.data, dead)
            s = np.where(dead, 0.0, s_pu)
        v, _ = self._newton(s, start)
        self._y.data[:] = data
        return v

    def solve(self, p_mw: FloatArray, q_mvar: FloatArray, v_start: ComplexArray | None = None) -> Solution:
        """Solve one step; see :class:`vpp.grid.powerflow.port.PowerFlow`."""
        p, q = net_injections(self.network, p_mw, q_mvar)
        start = None
        if v_start is not None and np.all(np.isfinite(v_start)) and np.all(np.abs(v_start) > 1e-3):
            start = np.array(v_start, dtype=np.complex128)
            start[self._slack] = self.network.slack_v
            start[self._pv] *= self.network.pv_vm_pu / np.abs(start[self._pv])
        s = np.asarray(p + 1j * q, dtype=np.complex128) / self.network.sn_mva
        v, iterations = self._from_anywhere(s, start)
        if v is None:
            return failed(self.network, iterations)
        return Solution(v, True, iterations, residual_mva(self.network, v, p, q))

    def _from_anywhere(self, s_pu: ComplexArray, start: ComplexArray | None = None) -> tuple[ComplexArray | None, int]:
        """Solve from a start, then from no load and from the linear power flow, the likelier of the two first."""
        starts: list[Callable[[], ComplexArray]] = [lambda: self._start, lambda: self._direct_current(s_pu)]
        starts = starts if self._calm else starts[::-1]
        total = 0
        for begin in starts if start is None else [lambda: start, *starts]:
            v, iterations = self._newton(s_pu, begin())
            total += iterations
            if v is not None:
                return v, total
        return None, total

    def solve_batch(self, p_mw: FloatArray, q_mvar: FloatArray) -> BatchSolution:
        """Solve T steps, each from no load; see :class:`vpp.grid.powerflow.port.PowerFlow`."""
        p, q = net_injections(self.network, p_mw, q_mvar)
        s = np.asarray(p + 1j * q, dtype=np.complex128) / self.network.sn_mva
        v = np.full(s.shape, np.nan + 1j * np.nan)
        converged, iterations = np.zeros(len(s), dtype=np.bool_), np.zeros(len(s), dtype=np.int32)
        for t in range(len(s)):
            found, iterations[t] = self._from_anywhere(s[t])
            if found is not None:
                v[t], converged[t] = found, True
        return BatchSolution(v, converged, iterations)


@njit(cache=True)
def _hang(indptr: Int32Array, indices: Int32Array, data: ComplexArray, dead: BoolArray) -> None:
    """Cut the dead nodes off in the matrix (CSC, symmetric pattern): each follows a neighbour nearer to the living."""
    n = dead.size
    hangs = np.where(dead, -1, np.arange(n))
    moved = True
    while moved:
        moved = False
        for k in range(n):
            if hangs[k] < 0:
                for p in range(indptr[k], indptr[k + 1]):
                    other = indices[p]
                    if other != k and hangs[other] >= 0 and hangs[k] < 0:
                        hangs[k] = other
                        moved = True
    for column in range(n):
        for p in range(indptr[column], indptr[column + 1]):
            row = indices[p]
            if dead[row]:
                data[p] = -1j if row == column else (1j if hangs[row] == column else 0j)
            elif dead[column]:
                data[p] = 0j
