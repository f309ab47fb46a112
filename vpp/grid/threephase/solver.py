"""The unbalanced power flow: fixed point of current injections in phase coordinates.

Method: J. Arrillaga and the OpenDSS manual describe it; the nodal matrix is factorised once a network, and the
legs' currents are corrected until their voltages stand still. Linear elements (lines with their shunts,
transformers, capacitors) are exact in the matrix.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vpp.grid.powerflow.port import BatchSolution
from vpp.grid.tables import ComplexArray, FloatArray, Int32Array
from vpp.grid.threephase.factor import Factor, factorise, parts
from vpp.grid.threephase.kernels import Dense, LegArrays, solve_steps
from vpp.grid.threephase.network import ThreePhaseNetwork
from vpp.grid.threephase.single import leg_impedances, solve_one
from vpp.kernel.errors import NetworkError

DENSE_LIMIT = 400  # legs; above, the iteration goes over the factors whatever they cost


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
        """Factorise; ``tol_pu`` bounds the last change of every leg's voltage."""
        self.network, self.tol_pu, self.max_iter = network, tol_pu, max_iter
        net = network
        factor = factorise(net.y_indptr, net.y_indices, net.y_data, net.fixed_node, net.fixed_v, net.node_on)
        if factor is None:
            raise NetworkError(net.source or net.name, "the admittance matrix is singular")
        self.factor: Factor = factor
        self.leg_arrays = _leg_arrays(net, factor)
        self.dense = self._dense()
        self._per_base = 1.0 / net.node_v_base

    def solve(self, p_mw: FloatArray, q_mvar: FloatArray, v_start: ComplexArray | None = None) -> PhaseSolution:
        """Solve one step: injections (n_leg,), optionally from start voltages (n_node,) in pu."""
        net = self.network
        p, q = np.asarray(p_mw, dtype=np.float64), np.asarray(q_mvar, dtype=np.float64)
        if p.shape != q.shape or p.shape != (len(net.legs),):
            raise ValueError(f"injections have shapes {p.shape} and {q.shape}, expected ({len(net.legs)},)")
        u_re, u_im = self.dense.u0_re.copy(), self.dense.u0_im.copy()
        if v_start is not None and np.isfinite(v_start).all():
            volts = np.append(v_start * net.node_v_base, 0.0)  # the last one is ground
            u = volts[net.legs.a] - volts[net.legs.b]
            u_re, u_im = parts(u)
        v = np.empty(net.n_node, dtype=np.complex128)
        limits = (self.tol_pu, self.max_iter)
        took = solve_one(self.factor, self.leg_arrays, self.dense, p, q, u_re, u_im, self._per_base, *limits, v)
        if took < 0:
            return PhaseSolution(v, False, self.max_iter, float("nan"))
        return PhaseSolution(v, True, int(took), self.residual_mva(v, p, q))

    def solve_batch(self, p_mw: FloatArray, q_mvar: FloatArray) -> BatchSolution:
        """Solve T steps, each from no load: injections (T, n_leg); voltages (T, n_node) in pu."""
        p, q = np.ascontiguousarray(p_mw, dtype=np.float64), np.ascontiguousarray(q_mvar, dtype=np.float64)
        if p.ndim != 2 or p.shape != q.shape or p.shape[1] != len(self.network.legs):
            raise ValueError(f"injections have shapes {p.shape} and {q.shape}, expected (T, {len(self.network.legs)})")
        v = np.empty((len(p), self.network.n_node), dtype=np.complex128)
        converged, iterations = np.empty(len(p), dtype=np.bool_), np.empty(len(p), dtype=np.int32)
        limits = (self.tol_pu, self.max_iter)
        solve_steps(self.factor, self.leg_arrays, self.dense, p, q, self._per_base, *limits, v, converged, iterations)
        return BatchSolution(v, converged, iterations)

    def residual_mva(self, v: ComplexArray, p_mw: FloatArray, q_mvar: FloatArray) -> float:
        """Largest mismatch in MVA at the free nodes, of voltages (n_node,) in pu against the legs' injections."""
        from vpp.grid.threephase.results import injected_currents

        net = self.network
        volts = v * net.node_v_base
        rows = np.repeat(np.arange(net.n_node), np.diff(net.y_indptr))
        product = net.y_data * volts[net.y_indices]
        flow = np.bincount(rows, product.real, net.n_node) + 1j * np.bincount(rows, product.imag, net.n_node)
        gap = np.abs(volts * (flow - injected_currents(net, v, p_mw, q_mvar)))
        gap[net.fixed_node] = 0.0
        gap[~net.node_on] = 0.0
        return float(gap.max(initial=0.0)) * 1e-6

    def _dense(self) -> Dense:
        """Impedances between the legs where that is cheaper than the factors, and their no-load voltages."""
        legs, factor, m = self.leg_arrays, self.factor, len(self.network.legs)
        cheap = m <= DENSE_LIMIT and m * m <= len(factor.l_row) + len(factor.u_row) + factor.n
        z = np.zeros((m, m) if cheap else (0, m), dtype=np.complex128)
        u0 = np.zeros(m, dtype=np.complex128)
        leg_impedances(factor, legs, u0, z)
        return Dense(*parts(z.T if cheap else z[:, :0]), *parts(u0))


def _leg_arrays(net: ThreePhaseNetwork, factor: Factor) -> LegArrays:
    """Translate the legs' nodes to rows and columns of the factors."""
    legs = net.legs
    fixed = np.append(factor.fixed_re + 1j * factor.fixed_im, 0.0)  # the last one is ground
    v_fixed = fixed[legs.a] - fixed[legs.b]
    dead = ~net.node_on[legs.a]
    laws, band = legs.parts.copy(), legs.v_band.copy()
    laws[dead], band[dead] = 0.0, (0.5, 0.95, 1.05)  # draws nothing at 0 V, where constant power would divide by it
    return LegArrays(
        _at(factor.row_of, legs.a),
        _at(factor.row_of, legs.b),
        _at(factor.column_of, legs.a),
        _at(factor.column_of, legs.b),
        *parts(v_fixed),
        legs.v_base,
        laws,
        band,
    )


def _at(position: Int32Array, node: Int32Array) -> Int32Array:
    """Look nodes up, ground staying -1."""
    out: Int32Array = np.where(node >= 0, position[node], -1).astype(np.int32)
    return out
