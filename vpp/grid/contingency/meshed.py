"""Outages of a meshed network: Newton-Raphson on the same pattern, with the branch's admittances taken out.

Lost nodes stay in the equations with nothing but a shunt and an injection that keeps it at nominal voltage, so that
the pattern, and with it the solver's analysis, is the same in every case; their result is NaN.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vpp.grid.contingency.outages import Outages
from vpp.grid.network import Network
from vpp.grid.powerflow.lightsim2grid_engine import LightSim2Grid
from vpp.grid.powerflow.port import net_injections
from vpp.grid.tables import ComplexArray, FloatArray


class MeshedOutages:
    """Solves outages of one network one after another, each from the whole network's voltages."""

    def __init__(self, network: Network, *, tol_pu: float = 1e-9, max_iter: int = 30) -> None:
        """Find every branch's entries in the admittance matrix."""
        self.network = network
        self.engine = LightSim2Grid(network, tol_pu=tol_pu, max_iter=max_iter)
        f, t = network.branch_from_node.astype(np.int64), network.branch_to_node.astype(np.int64)
        self._entry = self.engine.entries(np.stack([f, f, t, t], 1), np.stack([f, t, f, t], 1))
        self._y = np.stack([network.yff, network.yft, network.ytf, network.ytt], 1)

    def solve(self, outages: Outages, p_mw: FloatArray, q_mvar: FloatArray, v0: ComplexArray) -> Iterator[ComplexArray]:
        """Voltages (n_node,) of each case, NaN where lost and, as a whole, where there is no solution."""
        net = self.network
        p, q = net_injections(net, p_mw, q_mvar)
        s = np.asarray(p + 1j * q, np.complex128) / net.sn_mva
        for outage, lost in zip(outages.outages, outages.lost, strict=True):
            branches = np.array(outage.branches, np.int64)
            branches = branches[self._entry[branches, 0] >= 0]
            change = (self._entry[branches].ravel(), -self._y[branches].ravel())
            v = self.engine.solve_changed(s, v0, *change, lost)
            if v is not None and len(lost):
                v[lost] = np.nan
            yield np.full(net.n_node, np.nan + 1j * np.nan) if v is None else v
