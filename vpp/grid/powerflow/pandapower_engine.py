"""The reference engine: pandapower's ``runpp`` on the network's own source, injections placed as static generators."""

from __future__ import annotations

from typing import Any

import numpy as np

from vpp.grid.network import Network
from vpp.grid.powerflow.port import BatchSolution, Solution, failed, net_injections, residual_mva
from vpp.grid.tables import ComplexArray, FloatArray


class PandaPower:
    """Plain ``runpp`` (Newton-Raphson) for every step; slow, and the measure of all others."""

    name = "pandapower"

    def __init__(self, network: Network, *, tol_mva: float = 1e-8, net: Any = None) -> None:
        """Load the source again (or take ``net``, taps resolved) and put one generator at every node with a bus."""
        import pandapower as pp

        from vpp.grid.compile import bare_copy
        from vpp.grid.source import quiet
        from vpp.grid.store import to_pandapower

        self.network, self.tol_mva = network, tol_mva
        with quiet():
            self._net = bare_copy(net if net is not None else to_pandapower(network))
            self._net["sgen"] = self._net["sgen"].iloc[:0].copy()
            self._nodes = np.flatnonzero(network.node_bus >= 0)
            self._bus_id = network.bus_id[network.node_bus[self._nodes]]
            self._inner = np.flatnonzero(network.node_bus < 0)
            pp.create_sgens(self._net, self._bus_id, p_mw=np.zeros(len(self._nodes)), q_mvar=0.0)

    def solve(self, p_mw: FloatArray, q_mvar: FloatArray, v_start: ComplexArray | None = None) -> Solution:
        """Solve one step; a start is not used. See :class:`vpp.grid.powerflow.port.PowerFlow`."""
        import pandapower as pp

        from vpp.grid.source import quiet

        del v_start
        p_total, q_total = net_injections(self.network, p_mw, q_mvar)
        p, q = np.asarray(p_mw, dtype=np.float64), np.asarray(q_mvar, dtype=np.float64)
        if not (np.all(np.isfinite(p)) and np.all(np.isfinite(q))):
            return failed(self.network, 0)
        if np.any(p[self._inner] != 0) or np.any(q[self._inner] != 0):
            raise ValueError("pandapower cannot inject at a node without a bus")
        net = self._net
        net.sgen["p_mw"], net.sgen["q_mvar"] = p[self._nodes], q[self._nodes]
        with quiet(), np.errstate(all="ignore"):
            try:
                pp.runpp(net, tolerance_mva=self.tol_mva, calculate_voltage_angles=True, lightsim2grid=False)
            except pp.LoadflowNotConverged:
                return failed(self.network, 10)
        v = np.array(net._ppc["internal"]["V"], dtype=np.complex128)
        result = net.res_bus.loc[self._bus_id]
        v[self._nodes] = result.vm_pu.to_numpy() * np.exp(1j * np.deg2rad(result.va_degree.to_numpy()))
        if not np.all(np.isfinite(v)):
            return failed(self.network, 10)
        iterations = int(net._ppc.get("iterations", 0))
        return Solution(v, True, iterations, residual_mva(self.network, v, p_total, q_total))

    def solve_batch(self, p_mw: FloatArray, q_mvar: FloatArray) -> BatchSolution:
        """Solve T steps one after the other; see :class:`vpp.grid.powerflow.port.PowerFlow`."""
        steps = [self.solve(p, q) for p, q in zip(p_mw, q_mvar, strict=True)]
        v = np.array([s.v for s in steps], dtype=np.complex128).reshape(len(steps), self.network.n_node)
        converged = np.array([s.converged for s in steps], dtype=np.bool_)
        return BatchSolution(v, converged, np.array([s.iterations for s in steps], dtype=np.int32))
