"""Voltages of every case, block by block: the chord iteration first, Newton-Raphson for what it does not bring home."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vpp.grid.contingency.chord import Cases, admittances_of, factorise, solve_cases
from vpp.grid.contingency.outages import Outages
from vpp.grid.network import Network
from vpp.grid.powerflow.lightsim2grid_engine import LightSim2Grid
from vpp.grid.powerflow.port import net_injections
from vpp.grid.tables import BoolArray, ComplexArray, FloatArray, IntArray

BLOCK = 400_000  # voltages in one block


class OutageSolver:
    """Solves outages of one network, each from the whole network's voltages."""

    def __init__(self, network: Network, *, tol_pu: float = 1e-9, max_iter: int = 30) -> None:
        """Gather the admittances. ``tol_pu``: largest mismatch, pu on sn_mva; ``max_iter``: chord iterations."""
        self.network, self.max_iter = network, max_iter
        rounding = 64.0 * np.finfo(np.float64).eps * float(np.abs(network.y_data).max(initial=0.0))
        self.tol_pu = max(min(tol_pu, 1e-6 / network.sn_mva), rounding)  # a stiff branch's flow is not known any better
        self.admittances = admittances_of(network)
        self._newton: _Newton | None = None

    def blocks(
        self, outages: Outages, p_mw: FloatArray, q_mvar: FloatArray, v_base: ComplexArray
    ) -> Iterator[tuple[int, Cases, ComplexArray, BoolArray]]:
        """Solve, yielding (first case, cases, voltages (m, n_node), converged (m,)): NaN where lost and without a solution."""
        net = self.network
        p, q = net_injections(net, p_mw, q_mvar)
        s = np.asarray(p + 1j * q, np.complex128) / net.sn_mva
        factor = factorise(net, v_base)
        size = max(1, min(512, BLOCK // net.n_node))
        for first in range(0, len(outages), size):
            some = slice(first, first + size)
            cases = cases_of(outages, some)
            v = np.full((len(cases.start) - 1, net.n_node), np.nan + 1j * np.nan)
            took = np.full(len(v), -1, np.int64)
            if factor is not None:
                solve_cases(self.admittances, factor, cases, s, v_base, self.tol_pu, self.max_iter, v, took)
            for k in np.flatnonzero(took < 0).tolist():
                self._newton = self._newton or _Newton(net, self.tol_pu)
                found = self._newton.solve(outages, first + k, s, v_base)
                v[k] = np.nan if found is None else found
                took[k] = -1 if found is None else 1
            yield first, cases, v, took > 0


def cases_of(outages: Outages, some: slice) -> Cases:
    """Some of the outages for the kernels."""
    branches, lost = [o.branches for o in outages.outages[some]], outages.lost[some]
    return Cases(
        _starts(branches), np.array([b for case in branches for b in case], np.int64),
        _starts(lost), np.concatenate([np.zeros(0, np.int32), *lost]).astype(np.int32),
    )  # fmt: skip


def _starts(groups: Sequence[Sequence[int]] | Sequence[np.ndarray[tuple[int], np.dtype[np.int32]]]) -> IntArray:
    """Where each group begins once they stand one after the other."""
    return np.cumsum([0, *(len(group) for group in groups)]).astype(np.int64)


class _Newton:
    """Newton-Raphson on the whole network's pattern with branches taken out and lost nodes hung on their neighbours."""

    def __init__(self, network: Network, tol_pu: float) -> None:
        """Find every branch's entries in the admittance matrix."""
        self.engine = LightSim2Grid(network, tol_pu=tol_pu)
        f, t = network.branch_from_node.astype(np.int64), network.branch_to_node.astype(np.int64)
        self._entry = self.engine.entries(np.stack([f, f, t, t], 1), np.stack([f, t, f, t], 1))
        self._y = np.stack([network.yff, network.yft, network.ytf, network.ytt], 1)

    def solve(self, outages: Outages, case: int, s_pu: ComplexArray, v_start: ComplexArray) -> ComplexArray | None:
        """Voltages (n_node,) of one case, NaN where lost; None where there is no solution."""
        lost = outages.lost[case]
        branches = np.array(outages.outages[case].branches, np.int64)
        branches = branches[self._entry[branches, 0] >= 0]
        v = self.engine.solve_changed(s_pu, v_start, self._entry[branches].ravel(), -self._y[branches].ravel(), lost)
        if v is not None:
            v[lost] = np.nan
        return v
