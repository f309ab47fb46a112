"""Losses, voltages and currents as functions of the devices, with first and exact second derivatives.

Everything that matters is quadratic in the complex voltages: losses, |V|², |I|², P and Q. So with the multipliers of the
power flow and of the limits the Lagrangian is one Hermitian form, whose reduced Hessian needs the answers of the voltages
to the devices (one solve each) and one product with the admittance matrix.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vpp.grid.losses.problem import Limits
from vpp.grid.network import Network
from vpp.grid.sensitivity import Pattern, Sensitivity
from vpp.grid.tables import ComplexArray, FloatArray, IntArray
from vpp.grid.taps import StepEntries


class Local(NamedTuple):
    """One state, linearised. ``u`` are the devices: inverters' Q in Mvar, then taps and shunts in steps.

    Attributes:
        gradient: (n_u,) of the losses, MW.
        jacobian: (k, n_u) of the limited quantities, about pu.
    """

    gradient: FloatArray
    jacobian: FloatArray


class Limited(NamedTuple):
    """The limited quantities as quadratic forms: low voltages, high voltages, currents at from and at to sides.

    Each is scaled by half its limit, so that it is about linear: (x² - limit²) / (2 limit) <= 0.
    """

    low: IntArray  # nodes
    high: IntArray
    side: IntArray  # branches, twice: as far as rated
    to_side: IntArray  # 0: from, 1: to
    vm_low: FloatArray
    vm_high: FloatArray
    i_max: FloatArray  # pu current that is allowed
    per: FloatArray  # pu loading per pu current


class Model:
    """A network's functions of its devices."""

    def __init__(self, network: Network, node: IntArray, limits: Limits) -> None:
        """``node`` (m,): where the inverters are."""
        self.network, self.node, self.pattern = network, node, Pattern(network)
        self.device: IntArray = np.zeros(0, np.int64)  # which taps and shunts are among the devices
        self.limited = _limited(network, limits)
        self.bus_shunts = _bus_shunts(self.pattern, network)

    def losses(self, network: Network, v: ComplexArray) -> float:
        """The branches' losses, MW."""
        return network.branch_flows(v).p_loss_total_mw

    def values(self, network: Network, v: ComplexArray) -> FloatArray:
        """The limited quantities (k,); a positive one is a breach."""
        c = self.limited
        vm2 = v.real**2 + v.imag**2
        low = (c.vm_low**2 - vm2[c.low]) / (2.0 * c.vm_low)
        high = (vm2[c.high] - c.vm_high**2) / (2.0 * c.vm_high)
        current = np.abs(self._current(network, v))
        return np.concatenate([low, high, (current**2 - c.i_max**2) / (2.0 * c.i_max) * c.per])

    def _current(self, network: Network, v: ComplexArray) -> ComplexArray:
        """Currents (k,) or (k, m) at the rated sides, pu."""
        b, to = self.limited.side, self.limited.to_side == 1
        f, t = network.branch_from_node[b], network.branch_to_node[b]
        near, far = np.where(to, network.ytf[b], network.yff[b]), np.where(to, network.ytt[b], network.yft[b])
        shape = (-1,) + (1,) * (v.ndim - 1)
        out: ComplexArray = near.reshape(shape) * v[f] + far.reshape(shape) * v[t]
        return out


class Linear:
    """The linearisation of a :class:`Model` at one state."""

    def __init__(self, model: Model, network: Network, v: ComplexArray, entries: StepEntries) -> None:
        """Solve for the answers of all voltages to all devices."""
        self.model, self.network, self.v = model, network, v
        self.at = Sensitivity(network, v, model.pattern)
        chosen = model.device
        self.row = np.where(entries.row[chosen] >= 0, entries.row[chosen], 0)
        self.col = np.where(entries.col[chosen] >= 0, entries.col[chosen], 0)
        self.dy, self.d2y = entries.dy[chosen], entries.d2y[chosen]
        self.branch = entries.branch[chosen]
        self.of_branch = (self.branch >= 0).astype(float)[:, None]  # only branches have losses that count
        m, k = len(model.node), len(chosen)
        ds = np.zeros((network.n_node, m + k), np.complex128)
        ds[model.node, np.arange(m)] = 1j / network.sn_mva
        if k:
            np.add.at(ds, (self.row, m + np.arange(k)[:, None]), -v[self.row] * np.conj(self.dy * v[self.col]))
        self.dv = self.at.forward(ds)
        self.loss_by_v = self.at.loss_gradient()

    def local(self) -> Local:
        """First derivatives of the losses and of the limited quantities."""
        model, v, dv, c = self.model, self.v, self.dv, self.model.limited
        gradient = np.real(np.conj(self.loss_by_v) @ dv)
        gradient[len(model.node) :] += np.real((np.conj(v[self.row]) * self.dy * v[self.col] * self.of_branch).sum(axis=1))
        dvm2 = 2.0 * np.real(np.conj(v)[:, None] * dv)
        self.d_current = model._current(self.network, dv)
        self._own_current()
        di2 = 2.0 * np.real(np.conj(model._current(self.network, v))[:, None] * self.d_current)
        jacobian = np.concatenate([
            -dvm2[c.low] / (2.0 * c.vm_low)[:, None],
            dvm2[c.high] / (2.0 * c.vm_high)[:, None],
            di2 * (c.per / (2.0 * c.i_max))[:, None],
        ])  # fmt: skip
        return Local(gradient * self.network.sn_mva, jacobian)

    def _own_current(self) -> None:
        """Add what a tap does to its own branch's current directly."""
        c, net, m = self.model.limited, self.network, len(self.model.node)
        for k in np.flatnonzero(self.branch >= 0).tolist():
            for side in np.flatnonzero(c.side == self.branch[k]).tolist():
                end = net.branch_to_node[c.side[side]] if c.to_side[side] else net.branch_from_node[c.side[side]]
                mine = self.row[k] == end
                self.d_current[side, m + k] += (self.dy[k] * self.v[self.col[k]])[mine].sum()

    def hessian(self, multipliers: FloatArray) -> FloatArray:
        """Exact second derivatives (n_u, n_u) of losses + multipliers x limited quantities, MW."""
        net, v, dv, c, model = self.network, self.v, self.dv, self.model.limited, self.model
        n_low, n_high = len(c.low), len(c.high)
        mu = multipliers / net.sn_mva
        weight = np.zeros(net.n_node)
        np.add.at(weight, c.low, -mu[:n_low] / (2.0 * c.vm_low))
        np.add.at(weight, c.high, mu[n_low : n_low + n_high] / (2.0 * c.vm_high))
        nu = mu[n_low + n_high :] * c.per / (2.0 * c.i_max)
        outer = self.loss_by_v + 2.0 * weight * v + self._current_gradient(nu)
        factor = -self.at.adjoint(outer[:, None])[:, 0]
        pv = np.zeros(net.n_node, bool)
        pv[net.pv_node] = True
        d = np.where(pv, factor.real, factor) + 0j
        shunts = model.bus_shunts if net is model.network else _bus_shunts(model.pattern, net)
        diagonal = weight - shunts + np.where(pv, factor.imag, 0.0)
        product = self._y_times(dv)
        k = np.conj(dv.T) @ ((d + 1.0)[:, None] * product + diagonal[:, None] * dv)
        if nu.any():
            k += np.conj(self.d_current.T) @ (nu[:, None] * self.d_current)
        m = len(model.node)
        if len(self.row):
            scale = (d[self.row] + self.of_branch) * self.dy
            first = np.einsum("kej,ke->jk", np.conj(dv[self.row]), scale * v[self.col])
            second = np.einsum("ke,kej->jk", np.conj(v[self.row]) * scale, dv[self.col])
            k[:, m:] += first + second
            own = np.real((np.conj(v[self.row]) * (d[self.row] + self.of_branch) * self.d2y * v[self.col]).sum(axis=1))
            k[np.arange(m, m + len(own)), np.arange(m, m + len(own))] += own / 2.0
        return (k.real + k.real.T) * net.sn_mva

    def _y_times(self, x: ComplexArray) -> ComplexArray:
        from scipy.sparse import csr_matrix

        net = self.network
        out: ComplexArray = csr_matrix((net.y_data, net.y_indices, net.y_indptr), shape=(net.n_node, net.n_node)) @ x
        return out

    def _current_gradient(self, nu: FloatArray) -> ComplexArray:
        """Gradient (n_node,) of sum nu |I|²."""
        net, c = self.network, self.model.limited
        out = np.zeros(net.n_node, np.complex128)
        on = np.flatnonzero(nu)
        if not len(on):
            return out
        current = self.model._current(net, self.v)[on] * 2.0 * nu[on]
        b, to = c.side[on], c.to_side[on] == 1
        near, far = np.where(to, net.ytf[b], net.yff[b]), np.where(to, net.ytt[b], net.yft[b])
        np.add.at(out, net.branch_from_node[b], np.conj(near) * current)
        np.add.at(out, net.branch_to_node[b], np.conj(far) * current)
        return out


def _limited(network: Network, limits: Limits) -> Limited:
    """Collect what is limited."""
    low = np.flatnonzero(np.isfinite(limits.vm_min_pu) & (limits.vm_min_pu > 0))
    high = np.flatnonzero(np.isfinite(limits.vm_max_pu))
    sides, to, most, per = [], [], [], []
    for code, base, rated in (
        (0, network.branch_i_base_from_ka, network.branch_i_max_from_ka),
        (1, network.branch_i_base_to_ka, network.branch_i_max_to_ka),
    ):
        b = np.flatnonzero(network.branch_on & np.isfinite(rated) & np.isfinite(limits.loading))
        sides.append(b)
        to.append(np.full(len(b), code))
        most.append(limits.loading * rated[b] / base[b])
        per.append(base[b] / rated[b])
    return Limited(
        low, high, np.concatenate(sides), np.concatenate(to), limits.vm_min_pu[low], limits.vm_max_pu[high],
        np.concatenate(most), np.concatenate(per),
    )  # fmt: skip


def _bus_shunts(pattern: Pattern, network: Network) -> ComplexArray:
    """What the diagonal of the admittance matrix has beside the branches (n_node,)."""
    on, same = network.branch_on, pattern.row == pattern.col
    out = np.zeros(network.n_node, np.complex128)
    out[pattern.row[same]] = network.y_data[same]
    np.subtract.at(out, network.branch_from_node[on], network.yff[on])
    np.subtract.at(out, network.branch_to_node[on], network.ytt[on])
    return out
