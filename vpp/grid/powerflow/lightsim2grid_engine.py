"""Newton-Raphson with lightsim2grid's C++ solver on *our* admittances, for meshed networks and PV nodes.

Handing over the matrix instead of a network avoids lightsim2grid's element restrictions (three-winding and
phase-shifting transformers, switches, parallel elements).
"""

from __future__ import annotations

import numpy as np

from vpp.grid.network import Network
from vpp.grid.powerflow.port import BatchSolution, Solution, failed, net_injections, residual_mva
from vpp.grid.tables import ComplexArray, FloatArray


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
        self._start = self._no_load()
        self._algorithm: object = None

    def _no_load(self) -> ComplexArray:
        """Voltages without injections, |V| at PV nodes set: right behind any phase shift, unlike a flat start."""
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
        size = np.abs(v)
        v = np.where((size > 0.5) & (size < 1.5), v, np.exp(1j * np.angle(v)))
        v[net.slack_node] = net.slack_v
        v[net.pv_node] *= net.pv_vm_pu / np.abs(v[net.pv_node])
        out: ComplexArray = v
        return out

    def _newton(self, s_pu: ComplexArray, start: ComplexArray) -> tuple[ComplexArray | None, int]:
        """Run the C++ solver: voltages (None where it does not converge) and iterations."""
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
        if not good or not np.all(np.isfinite(out)):
            self._algorithm = None  # nothing of a failed solve is carried over
            return None, iterations
        return out, iterations

    def solve(self, p_mw: FloatArray, q_mvar: FloatArray, v_start: ComplexArray | None = None) -> Solution:
        """Solve one step; see :class:`vpp.grid.powerflow.port.PowerFlow`."""
        p, q = net_injections(self.network, p_mw, q_mvar)
        start = self._start
        if v_start is not None and np.all(np.isfinite(v_start)) and np.all(np.abs(v_start) > 1e-3):
            start = np.array(v_start, dtype=np.complex128)
            start[self._slack] = self.network.slack_v
            start[self._pv] *= self.network.pv_vm_pu / np.abs(start[self._pv])
        s = np.asarray(p + 1j * q, dtype=np.complex128) / self.network.sn_mva
        v, iterations = self._newton(s, start)
        if v is None:
            return failed(self.network, iterations)
        return Solution(v, True, iterations, residual_mva(self.network, v, p, q))

    def solve_batch(self, p_mw: FloatArray, q_mvar: FloatArray) -> BatchSolution:
        """Solve T steps, each from no load; see :class:`vpp.grid.powerflow.port.PowerFlow`."""
        p, q = net_injections(self.network, p_mw, q_mvar)
        s = np.asarray(p + 1j * q, dtype=np.complex128) / self.network.sn_mva
        v = np.full(s.shape, np.nan + 1j * np.nan)
        converged, iterations = np.zeros(len(s), dtype=np.bool_), np.zeros(len(s), dtype=np.int32)
        for t in range(len(s)):
            found, iterations[t] = self._newton(s[t], self._start)
            if found is not None:
                v[t], converged[t] = found, True
        return BatchSolution(v, converged, iterations)
