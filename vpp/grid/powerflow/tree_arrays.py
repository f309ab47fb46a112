"""A radial network renumbered and factorised for the tree sweep.

Without the slack nodes the admittance matrix of a radial network is a forest, so eliminating leaves first fills
nothing in: with d_k = Y_kk - sum over children c of Y_kc Y_ck / d_c the system Y v = i is one pass from the
leaves (i_parent -= Y_pk / d_k i_k) and one from the roots (v_k = i_k / d_k - Y_kp / d_k v_p). The slack nodes are
the roots' parents, with known voltage. Nodes are renumbered breadth first, so both passes run through memory
in order and neighbouring nodes do not wait for one another.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vpp.grid.network import Network
from vpp.grid.powerflow.port import Unsuitable
from vpp.grid.tables import ComplexArray, FloatArray, Int32Array


class TreeArrays(NamedTuple):
    """The factorised tree; arrays of shape (n_node,) in tree order, slack nodes first, parents before children."""

    n_slack: int
    parent: Int32Array  # tree position; slack nodes are their own parents
    down_re: FloatArray  # -Y_pk / d_k: what a node's current adds to its parent's
    down_im: FloatArray
    z_re: FloatArray  # 1 / d_k
    z_im: FloatArray
    up_re: FloatArray  # -Y_kp / d_k: what the parent's voltage adds to the node's
    up_im: FloatArray
    v0_re: FloatArray  # voltages without injections, the slack's among them (pu)
    v0_im: FloatArray
    node: Int32Array  # tree position -> node of the network
    position: Int32Array  # node of the network -> tree position


def is_radial(network: Network) -> str:
    """Say why the tree sweep cannot solve a network; "" if it can."""
    if len(network.pv_node):
        return f"{len(network.pv_node)} voltage-controlled (PV) nodes"
    rows, cols = _edges(network)
    slack = np.zeros(network.n_node, dtype=bool)
    slack[network.slack_node] = True
    inner = ~(slack[rows] & slack[cols]) & (rows < cols)
    loops = int(inner.sum()) - (network.n_node - int(slack.sum()))
    if loops:
        return f"meshed: {loops} loops" if loops > 0 else "nodes without a source"
    return ""


def build_tree(network: Network) -> TreeArrays:
    """Order and factorise a radial PQ network; Unsuitable where it is not one."""
    reason = is_radial(network)
    if reason:
        raise Unsuitable(f"tree sweep: {reason}")
    order, parent = _breadth_first(network)
    n, n_slack = network.n_node, len(network.slack_node)
    position = np.empty(n, dtype=np.int32)
    position[order] = np.arange(n, dtype=np.int32)
    up = np.where(parent >= 0, position[parent], np.arange(n)[position]).astype(np.int32)[order]
    y_kp, y_pk, d = _parent_entries(network, order, position, up, n_slack)
    for k in range(n - 1, n_slack - 1, -1):
        if up[k] >= n_slack:
            d[up[k]] -= y_pk[k] * y_kp[k] / d[k]
    if not np.all(np.isfinite(d)) or np.any(d[n_slack:] == 0):
        raise Unsuitable("tree sweep: the admittance matrix is singular")
    z, down, back = 1.0 / d, -y_pk / d, -y_kp / d
    v0 = np.zeros(n, dtype=np.complex128)
    v0[position[network.slack_node]] = network.slack_v
    for k in range(n_slack, n):
        v0[k] = back[k] * v0[up[k]]
    down_re, down_im, z_re, z_im, up_re, up_im, v0_re, v0_im = (
        np.ascontiguousarray(part) for values in (down, z, back, v0) for part in (values.real, values.imag)
    )
    return TreeArrays(n_slack, up, down_re, down_im, z_re, z_im, up_re, up_im, v0_re, v0_im, order, position)


def _edges(network: Network) -> tuple[Int32Array, Int32Array]:
    """Rows and columns of the off-diagonal entries."""
    rows = np.repeat(np.arange(network.n_node, dtype=np.int32), np.diff(network.y_indptr))
    off = rows != network.y_indices
    return rows[off], network.y_indices[off]


def _breadth_first(network: Network) -> tuple[Int32Array, Int32Array]:
    """Visit all nodes from the slack nodes: order (n,) of nodes, and the parent of each node (-1 for slack)."""
    indptr, indices = network.y_indptr.tolist(), network.y_indices.tolist()
    parent = [-2] * network.n_node
    order = network.slack_node.tolist()
    for s in order:
        parent[s] = -1
    for k in order:
        for m in indices[indptr[k] : indptr[k + 1]]:
            if parent[m] == -2:
                parent[m] = k
                order.append(m)
    if len(order) != network.n_node:
        raise Unsuitable("tree sweep: nodes without a source")
    return np.array(order, dtype=np.int32), np.array(parent, dtype=np.int32)


def _parent_entries(
    network: Network, order: Int32Array, position: Int32Array, up: Int32Array, n_slack: int
) -> tuple[ComplexArray, ComplexArray, ComplexArray]:
    """Entries Y_kp, Y_pk and Y_kk of each node in tree order; slack rows are left at 0, 0, 1."""
    n = network.n_node
    rows = position[np.repeat(np.arange(n), np.diff(network.y_indptr))]
    cols = position[network.y_indices]
    y_kp, y_pk, d = np.zeros(n, dtype=np.complex128), np.zeros(n, dtype=np.complex128), np.zeros(n, dtype=np.complex128)
    inner = rows >= n_slack
    diagonal = rows == cols
    d[rows[diagonal]] = network.y_data[diagonal]
    upward = inner & (cols == up[rows]) & ~diagonal
    y_kp[rows[upward]] = network.y_data[upward]
    downward = (cols >= n_slack) & (rows == up[cols]) & ~diagonal
    y_pk[cols[downward]] = network.y_data[downward]
    d[:n_slack] = 1.0
    return y_kp, y_pk, d
