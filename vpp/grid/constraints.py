"""A network's limits as rows over the powers of resources, in the form that a linear or quadratic dispatch takes.

Rows are the linearisation at a solved state. Only what can come to its limit within the resources' bands is given; a caller
that solves, finds a limit broken and linearises there anew gets the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from vpp.grid.network import Network
from vpp.grid.sensitivity import Pattern, Sensitivity
from vpp.grid.tables import ByteArray, ComplexArray, FloatArray, Int32Array, IntArray

QUANTITIES: Final = ("vm_low", "vm_high", "i_from", "i_to")


@dataclass(frozen=True, slots=True)
class Constraints:
    """Rows ``dp @ (p - p0) + dq @ (q - q0) <= room``: r of them over n resources.

    Attributes:
        dp, dq: (r, n) per MW and per Mvar of injection: pu of voltage (negated for a low limit), or shares of rated current.
        room: (r,) what is left to the limit at the state linearised at; negative where it is broken there.
        quantity: (r,) index into QUANTITIES.
        element: (r,) node of a voltage, branch of a current.
        p0_mw, q0_mvar: (n,) the resources' powers there.
        reach: (r,) how far the quantity may move within the bands; only rows with reach > room are given.
    """

    dp: FloatArray
    dq: FloatArray
    room: FloatArray
    quantity: ByteArray
    element: IntArray
    p0_mw: FloatArray
    q0_mvar: FloatArray
    reach: FloatArray

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.room)

    def excess(self, p_mw: FloatArray, q_mvar: FloatArray) -> FloatArray:
        """By how much each row is broken (r,) at powers (n,), 0 where it holds."""
        out: FloatArray = np.maximum(self.dp @ (p_mw - self.p0_mw) + self.dq @ (q_mvar - self.q0_mvar) - self.room, 0.0)
        return out


@dataclass(frozen=True, slots=True)
class Bands:
    """The resources (n,): where they are and how far each may go, injections.

    Attributes:
        bus: positions of their buses; one that is not energised moves nothing.
        p_mw, q_mvar: their powers in the state linearised at.
        p_min_mw, p_max_mw, q_min_mvar, q_max_mvar: their bands.
    """

    bus: Int32Array
    p_mw: FloatArray
    q_mvar: FloatArray
    p_min_mw: FloatArray
    p_max_mw: FloatArray
    q_min_mvar: FloatArray
    q_max_mvar: FloatArray


def constraints(
    network: Network, v: ComplexArray, bands: Bands, *, loading: float = 1.0, margin: float = 0.0, pattern: Pattern | None = None
) -> Constraints:
    """Rows of every voltage and current that can come to its limit, ordered by quantity and element.

    Args:
        network: the network; its buses' bands and branches' ratings are the limits.
        v: (n_node,) solved voltages, pu.
        bands: the resources.
        loading: highest current as a share of the rated one.
        margin: kept back from every limit, pu and share, for what linearisation leaves out.
        pattern: of the network, where it is at hand.

    Raises:
        Diverged: the voltages are not a solution.
    """
    at = Sensitivity(network, v, pattern)
    node = network.node_of_bus[bands.bus].astype(np.int64)
    alive = (node >= 0).astype(np.float64)
    columns = np.maximum(node, 0)
    ds = np.zeros((network.n_node, 2 * len(node)), np.complex128)
    k = np.arange(len(node))
    ds[columns, k] = alive / network.sn_mva
    ds[columns, len(node) + k] = 1j * alive / network.sn_mva
    dv = at.forward(ds)
    down = np.concatenate([bands.p_min_mw - bands.p_mw, bands.q_min_mvar - bands.q_mvar])
    up = np.concatenate([bands.p_max_mw - bands.p_mw, bands.q_max_mvar - bands.q_mvar])
    parts = [*_voltages(network, v, dv), *_currents(network, v, dv, loading)]
    slope, room = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts]) - margin
    quantity = np.concatenate([np.full(len(p[1]), i, np.uint8) for i, p in enumerate(parts)])
    element = np.concatenate([p[2] for p in parts]).astype(np.int64)
    reach = np.where(slope > 0.0, slope * up, slope * down).sum(axis=1)
    near = np.flatnonzero(reach > room)
    n = len(node)
    return Constraints(
        slope[near, :n], slope[near, n:], room[near], quantity[near], element[near], bands.p_mw.copy(), bands.q_mvar.copy(),
        reach[near],
    )  # fmt: skip


Part = tuple[FloatArray, FloatArray, IntArray]


def _voltages(network: Network, v: ComplexArray, dv: ComplexArray) -> list[Part]:
    """Low and high voltages of nodes with a bus: slopes, room, nodes. Where several buses are one node, the tightest."""
    low, high = np.full(network.n_node, -np.inf), np.full(network.n_node, np.inf)
    on = np.flatnonzero(network.node_of_bus >= 0)
    np.maximum.at(low, network.node_of_bus[on], network.vm_min_pu[on])
    np.minimum.at(high, network.node_of_bus[on], network.vm_max_pu[on])
    held = np.zeros(network.n_node, np.bool_)
    held[network.slack_node], held[network.pv_node] = True, True
    nodes = np.flatnonzero((network.node_bus >= 0) & ~held)
    vm = np.abs(v[nodes])
    slope = np.real(np.conj(v[nodes])[:, None] * dv[nodes]) / vm[:, None]
    return [(-slope, vm - low[nodes], nodes), (slope, high[nodes] - vm, nodes)]


def _currents(network: Network, v: ComplexArray, dv: ComplexArray, loading: float) -> list[Part]:
    """Currents at the from and to sides of rated branches, in rated currents: slopes, room, branches."""
    out: list[Part] = []
    for near, far, base, rated in (
        (network.yff, network.yft, network.branch_i_base_from_ka, network.branch_i_max_from_ka),
        (network.ytf, network.ytt, network.branch_i_base_to_ka, network.branch_i_max_to_ka),
    ):
        b = np.flatnonzero(network.branch_on & np.isfinite(rated))
        f, t = network.branch_from_node[b], network.branch_to_node[b]
        current = near[b] * v[f] + far[b] * v[t]
        moved = near[b][:, None] * dv[f] + far[b][:, None] * dv[t]
        size = np.abs(current)
        per = base[b] / rated[b]
        unit = np.where(size > 0.0, current / np.where(size > 0.0, size, 1.0), 0.0)
        out.append((np.real(np.conj(unit)[:, None] * moved) * per[:, None], loading - size * per, b))
    return out


@dataclass(frozen=True, slots=True)
class Band:
    """What a network has to stay inside, where it may differ from what the source states.

    Attributes:
        low_pu, high_pu: (n_node,) voltages; -inf and inf: none. Sources and PV nodes are not looked at: nothing moves them.
        loading: (n_branch,) highest current as a share of the rated one.
    """

    low_pu: FloatArray
    high_pu: FloatArray
    loading: FloatArray

    def rooms(self, network: Network, v: ComplexArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """What is left to each limit at voltages (n_node,), in the order of QUANTITIES; inf where there is no limit."""
        vm = np.abs(v)
        low, high = vm - self.low_pu, self.high_pu - vm
        low[network.slack_node], high[network.slack_node] = np.inf, np.inf
        low[network.pv_node], high[network.pv_node] = np.inf, np.inf
        f, t = np.maximum(network.branch_from_node, 0), np.maximum(network.branch_to_node, 0)
        out, vf, vt = [low, high], v[f], v[t]
        for near, far, base, rated in (
            (network.yff * vf, network.yft * vt, network.branch_i_base_from_ka, network.branch_i_max_from_ka),
            (network.ytf * vf, network.ytt * vt, network.branch_i_base_to_ka, network.branch_i_max_to_ka),
        ):
            there = network.branch_on & np.isfinite(rated)
            out.append(np.where(there, self.loading - np.abs(near + far) * base / np.where(there, rated, 1.0), np.inf))
        return out[0], out[1], out[2], out[3]


@dataclass(frozen=True, slots=True)
class NodeRows:
    """Rows over the injections of all nodes: ``dp @ change_mw + dq @ change_mvar <= room``, else as `Constraints`.

    Attributes:
        dp, dq: (r, n_node).
        room: (r,).
        quantity: (r,) index into QUANTITIES.
        element: (r,) node of a voltage, branch of a current.
    """

    dp: FloatArray
    dq: FloatArray
    room: FloatArray
    quantity: ByteArray
    element: IntArray


def rows_at(
    network: Network, v: ComplexArray, band: Band, quantity: ByteArray, element: IntArray, pattern: Pattern | None = None
) -> NodeRows:
    """Rows of chosen quantities (r,) at a solved state, by the adjoint: the fewer rows, the cheaper, however many resources.

    Raises:
        Diverged: the voltages are not a solution.
    """
    at, r, k = Sensitivity(network, v, pattern), len(quantity), np.arange(len(quantity))
    gradient = np.zeros((network.n_node, r), np.complex128)
    volts, rooms = quantity < 2, band.rooms(network, v)
    node = element[volts]
    gradient[node, k[volts]] = np.where(quantity[volts] == 0, -1.0, 1.0) * v[node] / np.abs(v[node])
    for code, rated in ((2, network.branch_i_max_from_ka), (3, network.branch_i_max_to_ka)):
        mine = quantity == code
        gradient[:, mine] = at.current_gradient(element[mine], to_side=code == 3)[0] / rated[element[mine]]
    found = at.rows(gradient)
    room = np.array([rooms[q][e] for q, e in zip(quantity.tolist(), element.tolist(), strict=True)], np.float64)
    return NodeRows(found.dp, found.dq, room, quantity, element)


def tightest(network: Network, rooms: tuple[FloatArray, ...], room: float, most: int) -> tuple[ByteArray, IntArray]:
    """Quantities and elements with less left than ``room``, the tightest first, at most so many of each kind.

    Of what hangs together only the tightest is given: a node that leaves less than its neighbours, a branch likewise. The
    rest of a feeder goes with it.
    """
    quantity, element = [], []
    on = np.flatnonzero(network.branch_on)
    f, t = network.branch_from_node[on], network.branch_to_node[on]
    for code, left in enumerate(rooms):
        beside = np.full(network.n_node, np.inf)
        for here, there in ((f, t), (t, f)):
            np.minimum.at(beside, here, left[there] if code < 2 else left[on])
        least = beside
        if code >= 2:
            least = np.full(network.n_branch, np.inf)
            least[on] = np.minimum(beside[f], beside[t])
        below = np.flatnonzero((left < room) & (left <= least))
        below = below[np.argsort(left[below], kind="stable")][:most]
        quantity.append(np.full(len(below), code, np.uint8))
        element.append(below)
    return np.concatenate(quantity), np.concatenate(element).astype(np.int64)
