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
