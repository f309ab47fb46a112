"""What follows from solved voltages: currents by branch and conductor, losses, unbalance, limits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from vpp.grid.tables import ComplexArray, FloatArray, Int32Array
from vpp.grid.threephase.network import ThreePhaseNetwork

A = np.exp(2j * np.pi / 3.0)


class PhaseFlows(NamedTuple):
    """Currents and losses of one solve."""

    i_ka: ComplexArray  # (n_conductor,) into the branch, at every conductor of both its terminals
    s_mva: ComplexArray  # (n_conductor,) into the branch
    loading: FloatArray  # (n_branch,) largest of its conductors, 1.0 = rated; NaN where unrated
    p_loss_mw: FloatArray  # (n_branch,) sources' own impedances and capacitors included
    p_loss_total_mw: float  # without what is lost behind the sources' terminals


class Limits(NamedTuple):
    """One kind of constraint over many places: which, the value, its limit, and what is left (negative: violated)."""

    where: Int32Array  # nodes, buses or conductors, as the function says
    value: FloatArray
    limit: FloatArray
    margin: FloatArray


@njit(cache=True, nogil=True, error_model="numpy")
def conductor_currents(
    start: Int32Array, node: Int32Array, y_start: Int32Array, y: ComplexArray, v: ComplexArray, i: ComplexArray
) -> None:
    """Currents (n_conductor,) in A of voltages (n_node,) in V by the primitive matrices."""
    for k in range(start.shape[0] - 1):
        first, width, at = start[k], start[k + 1] - start[k], y_start[k]
        for r in range(width):
            total = 0.0 + 0.0j
            for c in range(width):
                total += y[at + r * width + c] * v[node[first + c]]
            i[first + r] = total


@njit(cache=True, nogil=True, error_model="numpy")
def node_currents(indptr: Int32Array, indices: Int32Array, y: ComplexArray, v: ComplexArray, i: ComplexArray) -> None:
    """Currents (n_node,) in A that flow from the nodes into the linear elements, of voltages (n_node,) in V."""
    for k in range(i.shape[0]):
        total = 0.0 + 0.0j
        for j in range(indptr[k], indptr[k + 1]):
            total += y[j] * v[indices[j]]
        i[k] = total


def branch_flows(net: ThreePhaseNetwork, v: ComplexArray) -> PhaseFlows:
    """Compute currents, powers, loadings and losses from voltages (n_node,) in pu; NaN where they are NaN."""
    volts = v * net.node_v_base
    i = np.empty(len(net.conductor_node), dtype=np.complex128)
    conductor_currents(net.branch_start, net.conductor_node, net.primitive_start, net.primitive_y, volts, i)
    s = volts[net.conductor_node] * np.conj(i) * 1e-6
    loss = np.add.reduceat(s.real, net.branch_start[:-1])
    rated = np.abs(i) / net.conductor_i_max_a
    loading = np.fmax.reduceat(rated, net.branch_start[:-1])
    return PhaseFlows(i * 1e-3, s, loading, loss, float(loss[net.branch_kind > 0].sum()))


def injected_currents(net: ThreePhaseNetwork, v: ComplexArray, p_mw: FloatArray, q_mvar: FloatArray) -> ComplexArray:
    """Currents (n_node,) in A that the legs inject at voltages (n_node,) in pu."""
    legs = net.legs
    volts = np.append(v * net.node_v_base, 0.0)  # the last one is ground
    u = volts[legs.a] - volts[legs.b]
    x = np.abs(u) / legs.v_base
    g = p_mw * _pu_admittance(x, legs.parts[:, :3], legs.v_band)
    h = q_mvar * _pu_admittance(x, legs.parts[:, 3:], legs.v_band)
    current = (g - 1j * h) * 1e6 / legs.v_base**2 * u
    out = np.zeros(net.n_node + 1, dtype=np.complex128)
    np.add.at(out, legs.a, current)
    np.add.at(out, legs.b, -current)
    return out[:-1]


def _pu_admittance(x: FloatArray, parts: FloatArray, band: FloatArray) -> FloatArray:
    """Power over rated power divided by x squared, by the load's law; the kernel's rule in numpy."""
    z, i, p = parts.T
    low, least, most = band.T
    inside = np.clip(x, np.maximum(least, 1e-12), most)
    edge = z * inside**2 + i * inside + p  # power at the voltage, or at the edge of the band that it left
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (x - low) / (least - low)
        between = ((z + i + p) * low + (edge / inside - (z + i + p) * low) * slope) / x
    out: FloatArray = np.where(x >= least, edge / inside**2, np.where(x <= low, z + i + p, between))
    return out


def delivered(net: ThreePhaseNetwork, v: ComplexArray, p_mw: FloatArray, q_mvar: FloatArray) -> ComplexArray:
    """Complex power (n_leg,) in MVA that the legs inject at the solved voltages, what they ask being (p, q)."""
    legs = net.legs
    volts = np.append(v * net.node_v_base, 0.0)
    x = np.abs(volts[legs.a] - volts[legs.b]) / legs.v_base
    p = p_mw * _pu_admittance(x, legs.parts[:, :3], legs.v_band)
    q = q_mvar * _pu_admittance(x, legs.parts[:, 3:], legs.v_band)
    out: ComplexArray = (p + 1j * q) * x**2
    return out


def three_phase_buses(net: ThreePhaseNetwork) -> tuple[Int32Array, Int32Array]:
    """Buses that have phases 1, 2 and 3, and their nodes (n, 3)."""
    at = np.full((net.n_bus, 3), -1, dtype=np.int32)
    known = (net.node_bus >= 0) & (net.node_phase <= 3)
    at[net.node_bus[known], net.node_phase[known] - 1] = np.flatnonzero(known)
    buses = np.flatnonzero((at >= 0).all(axis=1)).astype(np.int32)
    return buses, at[buses]


def sequences(net: ThreePhaseNetwork, v: ComplexArray) -> tuple[Int32Array, ComplexArray]:
    """Symmetrical components of voltages (..., n_node): the buses (n,), and zero, positive, negative (..., n, 3) in pu."""
    buses, nodes = three_phase_buses(net)
    fortescue = np.array([[1, 1, 1], [1, A, A**2], [1, A**2, A]]) / 3.0
    out: ComplexArray = v[..., nodes] @ fortescue.T
    return buses, out


def unbalance_limits(net: ThreePhaseNetwork, v: ComplexArray, limit: float = 0.02) -> Limits:
    """Voltage unbalance |V2| / |V1| of every three-phase bus (EN 50160:2010, 4.2.4: 2 % of ten-minute means)."""
    buses, parts = sequences(net, v)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.abs(parts[..., 2]) / np.abs(parts[..., 1])
    bound = np.full(value.shape, limit)
    return Limits(buses, value, bound, bound - value)


def voltage_limits(
    net: ThreePhaseNetwork, v: ComplexArray, v_min_pu: float = 0.9, v_max_pu: float = 1.1
) -> tuple[Limits, Limits]:
    """Under- and overvoltage of every phase node that is connected (EN 50160:2010, 4.2.2: within 10 %)."""
    nodes = np.flatnonzero(net.node_on & (net.node_bus >= 0) & (net.node_phase <= 3)).astype(np.int32)
    value = np.abs(v[..., nodes])
    low, high = np.full(value.shape, v_min_pu), np.full(value.shape, v_max_pu)
    return Limits(nodes, value, low, value - low), Limits(nodes, value, high, high - value)


def current_limits(net: ThreePhaseNetwork, flows: PhaseFlows, i_max_ka: FloatArray | None = None) -> Limits:
    """Currents in kA of the rated conductors, each phase for itself; ``i_max_ka`` (n_conductor,) replaces the ratings."""
    rating = net.conductor_i_max_a * 1e-3 if i_max_ka is None else i_max_ka
    where = np.flatnonzero(np.isfinite(rating)).astype(np.int32)
    value, limit = np.abs(flows.i_ka[where]), rating[where]
    return Limits(where, value, limit, limit - value)
