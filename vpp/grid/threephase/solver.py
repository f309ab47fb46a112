"""The unbalanced power flow: fixed point of current injections in phase coordinates.

The nodal matrix is factorised once a network, and the legs' currents are corrected until their voltages stand still
(the method of OpenDSS). Linear elements (lines with their shunts, transformers, capacitors) are exact in the matrix.
What does not converge so is tried once more with the legs' rated admittances in the matrix, which holds networks
together that only their loads tie to ground.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import numpy as np

from vpp.grid.powerflow.port import BatchSolution
from vpp.grid.tables import ComplexArray, FloatArray
from vpp.grid.threephase.bound import Bound, bind, leg_voltages, rated_admittances
from vpp.grid.threephase.kernels import solve_steps
from vpp.grid.threephase.network import ThreePhaseNetwork
from vpp.grid.threephase.results import injected_currents, node_currents
from vpp.grid.threephase.single import solve_one
from vpp.kernel.errors import NetworkError


class PhaseSolution(NamedTuple):
    """One solved state."""

    v: ComplexArray  # (n_node,) pu of the nodes' bases; all NaN where not converged
    converged: bool
    iterations: int
    residual_mva: float  # largest mismatch |v| |y v - i| over the free nodes; NaN if not converged


class CurrentInjection:
    """The solver bound to one network; injections are those of its legs, in MW and Mvar, generation positive."""

    name = "current-injection"

    def __init__(self, network: ThreePhaseNetwork, *, tol_pu: float = 1e-10, max_iter: int = 200) -> None:
        """Factorise; ``tol_pu`` bounds the last change of every leg's voltage, ``max_iter`` each of both tries."""
        self.network, self.tol_pu, self.max_iter = network, tol_pu, max_iter
        self.bound = bind(network, np.zeros(len(network.legs), dtype=np.complex128))
        self._per_base = 1.0 / network.node_v_base

    @cached_property
    def second(self) -> Bound | None:
        """The same network with the legs' rated admittances in the matrix; None where they make it singular."""
        try:
            return bind(self.network, rated_admittances(self.network.legs))
        except NetworkError:
            return None

    def solve(self, p_mw: FloatArray, q_mvar: FloatArray, v_start: ComplexArray | None = None) -> PhaseSolution:
        """Solve one step: injections (n_leg,), optionally from start voltages (n_node,) in pu."""
        net = self.network
        p, q = np.asarray(p_mw, dtype=np.float64), np.asarray(q_mvar, dtype=np.float64)
        if p.shape != q.shape or p.shape != (len(net.legs),):
            raise ValueError(f"injections have shapes {p.shape} and {q.shape}, expected ({len(net.legs)},)")
        v = np.empty(net.n_node, dtype=np.complex128)
        took = self._try(self.bound, p, q, v_start, v)
        if took < 0 and np.isfinite(p).all() and np.isfinite(q).all() and self.second is not None:
            took = self._try(self.second, p, q, None, v)
        if took < 0:
            return PhaseSolution(v, False, self.max_iter, float("nan"))
        return PhaseSolution(v, True, took, self.residual_mva(v, p, q))

    def _try(self, to: Bound, p: FloatArray, q: FloatArray, start: ComplexArray | None, v: ComplexArray) -> int:
        """Iterate one way; returns the iterations, -1 if not converged."""
        if start is not None and np.isfinite(start).all():
            u_re, u_im = leg_voltages(self.network, start)
        else:
            u_re, u_im = to.dense.u0_re.copy(), to.dense.u0_im.copy()
        return int(solve_one(*to, p, q, u_re, u_im, self._per_base, self.tol_pu, self.max_iter, v))

    def solve_batch(self, p_mw: FloatArray, q_mvar: FloatArray) -> BatchSolution:
        """Solve T steps, each from no load: injections (T, n_leg); voltages (T, n_node) in pu."""
        p, q = np.ascontiguousarray(p_mw, dtype=np.float64), np.ascontiguousarray(q_mvar, dtype=np.float64)
        if p.ndim != 2 or p.shape != q.shape or p.shape[1] != len(self.network.legs):
            raise ValueError(f"injections have shapes {p.shape} and {q.shape}, expected (T, {len(self.network.legs)})")
        out = self._batch(self.bound, p, q)
        again = np.flatnonzero(~out.converged & np.isfinite(p).all(axis=1) & np.isfinite(q).all(axis=1))
        if len(again) and self.second is not None:
            other = self._batch(self.second, p[again], q[again])
            out.v[again], out.converged[again], out.iterations[again] = other.v, other.converged, other.iterations
        return out

    def _batch(self, to: Bound, p: FloatArray, q: FloatArray) -> BatchSolution:
        """Iterate a batch one way."""
        v = np.empty((len(p), self.network.n_node), dtype=np.complex128)
        converged, iterations = np.empty(len(p), dtype=np.bool_), np.empty(len(p), dtype=np.int32)
        solve_steps(*to, p, q, self._per_base, self.tol_pu, self.max_iter, v, converged, iterations)
        return BatchSolution(v, converged, iterations)

    def residual_mva(self, v: ComplexArray, p_mw: FloatArray, q_mvar: FloatArray) -> float:
        """Largest mismatch in MVA at the free nodes, of voltages (n_node,) in pu against the legs' injections."""
        net = self.network
        volts = v * net.node_v_base
        flow = np.empty(net.n_node, dtype=np.complex128)
        node_currents(net.y_indptr, net.y_indices, net.y_data, volts, flow)
        gap = np.abs(volts * (flow - injected_currents(net, v, p_mw, q_mvar)))
        gap[net.fixed_node] = 0.0
        gap[~net.node_on] = 0.0
        return float(gap.max(initial=0.0)) * 1e-6
