"""How voltages, currents and losses answer to injections and taps: the power flow's equations linearised where it is solved.

Unknowns are the real and imaginary voltages of all nodes but the sources; equations are P and Q of each (|V|² in place of
Q at a PV node). The Jacobian is factorised once; wanted rows come from it by the adjoint, wanted columns directly. All
derivatives are those of the solved power flow itself: PV nodes hold their voltage, sources take up the balance.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vpp.grid.network import Network
from vpp.grid.tables import ComplexArray, FloatArray, Int32Array, IntArray
from vpp.grid.taps import step_entries
from vpp.kernel.errors import Diverged

NOISE = 1e-11  # of the current that an admittance alone would draw; below, a current has no direction


class Rows(NamedTuple):
    """Derivatives of k quantities by every node's injections.

    Attributes:
        dp: (k, n_node) by the active power injected, per MW.
        dq: (k, n_node) by the reactive power injected, per Mvar; 0 at PV nodes, which hold their voltage.
    """

    dp: FloatArray
    dq: FloatArray


class Pattern:
    """Where a network's Jacobian has entries; made once a network, also for other tap positions of it."""

    def __init__(self, network: Network) -> None:
        """Place every entry of the admittance matrix in the compressed columns of the Jacobian."""
        n = network.n_node
        self.network, self.n_node = network, n
        free = np.ones(n, np.bool_)
        free[network.slack_node] = False
        self.free: IntArray = np.flatnonzero(free)
        m = self.m = len(self.free)
        number = np.full(n, -1, np.int64)
        number[self.free] = np.arange(m)
        self.number: IntArray = number
        self.row: IntArray = np.repeat(np.arange(n, dtype=np.int64), np.diff(network.y_indptr))
        self.col: IntArray = network.y_indices.astype(np.int64)
        pv = np.zeros(n, np.bool_)
        pv[network.pv_node] = True
        self.pv_free: IntArray = number[network.pv_node[free[network.pv_node]]]
        self.kept: IntArray = np.flatnonzero(free[self.row] & free[self.col])
        i, j = number[self.row[self.kept]], number[self.col[self.kept]]
        k = np.arange(m)
        # P by e, P by f, Q by e, Q by f: all entries of the matrix, then the diagonal
        rows = np.concatenate([i, i, i + m, i + m, k, k, k + m, k + m])
        cols = np.concatenate([j, j + m, j, j + m, k, k + m, k, k + m])
        key = cols * (2 * m) + rows
        unique, self.slot = np.unique(key, return_inverse=True)
        self.indices: Int32Array = (unique % (2 * m)).astype(np.int32)
        self.indptr: Int32Array = np.searchsorted(unique, np.arange(2 * m + 1) * (2 * m)).astype(np.int32)
        q_row = np.isin(i, self.pv_free)
        d_row = np.isin(k, self.pv_free)
        self.is_pv: Any = (q_row, d_row)

    def jacobian(self, y_data: ComplexArray, v: ComplexArray) -> tuple[Any, ComplexArray]:
        """The Jacobian (CSC) and the injected currents (n_node,) at voltages ``v`` in pu."""
        from scipy.sparse import csc_matrix

        product = y_data * v[self.col]
        current = np.bincount(self.row, product.real, self.n_node) + 1j * np.bincount(self.row, product.imag, self.n_node)
        c = v[self.row[self.kept]] * np.conj(y_data[self.kept])  # dS_i = conj(I_i) dV_i + sum c_ij conj(dV_j)
        d, own = np.conj(current[self.free]), v[self.free]
        q_row, d_row = self.is_pv
        values = np.concatenate([
            c.real, c.imag, np.where(q_row, 0.0, c.imag), np.where(q_row, 0.0, -c.real),
            d.real, -d.imag, np.where(d_row, 2.0 * own.real, d.imag), np.where(d_row, 2.0 * own.imag, d.real),
        ])  # fmt: skip
        data = np.bincount(self.slot, values, len(self.indices))
        return csc_matrix((data, self.indices, self.indptr), shape=(2 * self.m, 2 * self.m)), current


class Sensitivity:
    """The linearisation at one solved state. Everything is per MW, Mvar or tap step; voltages in pu, currents in kA."""

    def __init__(self, network: Network, v: ComplexArray, pattern: Pattern | None = None) -> None:
        """Factorise the Jacobian.

        Args:
            network: the network; its taps are where they were solved.
            v: (n_node,) solved voltages, pu.
            pattern: of this network or of another with the same nodes and branches.

        Raises:
            Diverged: the voltages are not a solution, or the Jacobian is singular there (voltage collapse).
        """
        from scipy.sparse.linalg import splu

        if not np.all(np.isfinite(v)):
            raise Diverged(network.name, "sensitivities need a solved power flow")
        self.network, self.v = network, np.asarray(v, np.complex128)
        self.pattern = pattern if pattern is not None else Pattern(network)
        matrix, self.current = self.pattern.jacobian(network.y_data, self.v)
        try:
            self._lu = splu(matrix)
        except RuntimeError as error:
            raise Diverged(network.name, "the Jacobian is singular: the state is at the limit of what can be carried") from error

    def adjoint(self, gradient: ComplexArray) -> ComplexArray:
        """Answer of quantities to injections, from their gradient by the voltages.

        Args:
            gradient: (n_node, k) with dy = Re(sum conj(gradient) dV).

        Returns:
            (n_node, k) complex: real part by P, imaginary part by Q, both in pu; 0 at sources. At a PV node the
            imaginary part belongs to |V|² and is not 0: see :meth:`rows`.
        """
        g, pattern = gradient[self.pattern.free], self.pattern
        x = self._lu.solve(np.concatenate([g.real, g.imag]), trans="T")
        out = np.zeros(gradient.shape, np.complex128)
        out[pattern.free] = x[: pattern.m] + 1j * x[pattern.m :]
        return out

    def forward(self, ds: ComplexArray) -> ComplexArray:
        """Answer of all voltages (n_node, k), pu, to changes of the injections (n_node, k), pu; Q at PV nodes counts nothing."""
        free, m = self.pattern.free, self.pattern.m
        right = np.concatenate([ds[free].real, ds[free].imag])
        right[m + self.pattern.pv_free] = 0.0
        x = self._lu.solve(right)
        out = np.zeros(ds.shape, np.complex128)
        out[free] = x[:m] + 1j * x[m:]
        return out

    def rows(self, gradient: ComplexArray) -> Rows:
        """Derivatives per MW and Mvar of quantities whose gradients (n_node, k) are given, as in :meth:`adjoint`."""
        x = self.adjoint(gradient).T / self.network.sn_mva
        dq = x.imag.copy()
        dq[:, self.network.pv_node] = 0.0
        return Rows(x.real.copy(), dq)

    def voltage(self, nodes: IntArray | Int32Array) -> Rows:
        """dV/dP and dV/dQ of the voltage magnitudes (pu) at some nodes (k,)."""
        at = np.asarray(nodes, np.int64)
        g = np.zeros((self.network.n_node, len(at)), np.complex128)
        g[at, np.arange(len(at))] = self.v[at] / np.abs(self.v[at])
        return self.rows(g)

    def current_gradient(self, branches: IntArray | Int32Array, to_side: bool = False) -> tuple[ComplexArray, FloatArray]:
        """Gradients (n_node, k) of branch currents by the voltages, and the currents (k,), both in kA."""
        net, b = self.network, np.asarray(branches, np.int64)
        f, t = net.branch_from_node[b], net.branch_to_node[b]
        near, far, base = (
            (net.ytf, net.ytt, net.branch_i_base_to_ka) if to_side else (net.yff, net.yft, net.branch_i_base_from_ka)
        )
        current = np.where((f >= 0) & (t >= 0), near[b] * self.v[f] + far[b] * self.v[t], 0.0)
        size = np.abs(current)
        flows = size > NOISE * np.abs(near[b] * self.v[f])  # an open end's current is what rounding leaves
        unit = np.where(flows, current / np.where(flows, size, 1.0), 0.0)
        g, k = np.zeros((net.n_node, len(b)), np.complex128), np.arange(len(b))
        np.add.at(g, (f, k), base[b] * np.conj(near[b]) * unit)
        np.add.at(g, (t, k), base[b] * np.conj(far[b]) * unit)
        return g, size * base[b]

    def branch_current(self, branches: IntArray | Int32Array, to_side: bool = False) -> Rows:
        """dI/dP and dI/dQ of the currents (kA) at the from or to side of some branches (k,); 0 where no current flows."""
        return self.rows(self.current_gradient(branches, to_side)[0])

    def loss_gradient(self) -> ComplexArray:
        """Gradient (n_node,) of the branches' losses by the voltages, pu; see :meth:`adjoint`."""
        net, on = self.network, np.flatnonzero(self.network.branch_on)
        f, t = net.branch_from_node[on], net.branch_to_node[on]
        vf, vt = self.v[f], self.v[t]
        i_f, i_t = net.yff[on] * vf + net.yft[on] * vt, net.ytf[on] * vf + net.ytt[on] * vt
        g_f = i_f + np.conj(net.yff[on]) * vf + np.conj(net.ytf[on]) * vt
        g_t = i_t + np.conj(net.yft[on]) * vf + np.conj(net.ytt[on]) * vt
        n = net.n_node
        out = np.empty(n, np.complex128)
        out.real = np.bincount(f, g_f.real, n) + np.bincount(t, g_t.real, n)
        out.imag = np.bincount(f, g_f.imag, n) + np.bincount(t, g_t.imag, n)
        return out

    def loss(self) -> tuple[FloatArray, FloatArray]:
        """dLoss/dP (MW per MW) and dLoss/dQ (MW per Mvar) of the branches' losses by every node's injection (n_node,)."""
        found = self.rows(self.loss_gradient()[:, None] * self.network.sn_mva)
        return found.dp[0], found.dq[0]

    def steps(self) -> StepSensitivity:
        """Answer to one step up of every tap changer, then of every shunt."""
        net, e = self.network, step_entries(self.network)
        ds = np.zeros((net.n_node, len(e.row)), np.complex128)
        there, device = np.where(e.row >= 0, e.row, 0), np.arange(len(e.row))[:, None]
        np.add.at(ds, (there, device), -self.v[there] * np.conj(e.dy * self.v[np.where(e.col >= 0, e.col, 0)]))
        dv = self.forward(ds)
        size = np.abs(self.v)[:, None]
        direct = np.real(np.conj(self.v[there]) * e.dy * self.v[np.where(e.col >= 0, e.col, 0)]).sum(axis=1)
        direct[e.branch < 0] = 0.0  # a shunt's own loss is none of a branch
        loss = (np.real(np.conj(self.loss_gradient()) @ dv) + direct) * net.sn_mva
        return StepSensitivity(dv, (np.real(np.conj(self.v)[:, None] * dv) / size).T, loss)


class StepSensitivity(NamedTuple):
    """Answer to one step up, taps first, then shunts: m devices.

    Attributes:
        dv: (n_node, m) complex voltages, pu.
        dvm: (m, n_node) voltage magnitudes, pu.
        dloss: (m,) branches' losses, MW.
    """

    dv: ComplexArray
    dvm: FloatArray
    dloss: FloatArray
