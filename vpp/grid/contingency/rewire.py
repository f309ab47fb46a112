"""A network with branches out and ties closed: nodes fused, what has no source left out, on the compiled arrays alone.

The branch's own four admittances are enough: what is open at one end hangs in the network as a branch to an inner node,
and closing it makes that node and the bus behind the switch one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from vpp.grid.contingency.outages import reach
from vpp.grid.network import Network
from vpp.grid.tables import ComplexArray, FloatArray, Int32Array, IntArray


def rewire(network: Network, out: Sequence[int], fuse: Sequence[tuple[int, int]] = ()) -> tuple[Network, Int32Array]:
    """The network with branches out and pairs of nodes fused, and for each of its nodes the new one, -1 where it is dead.

    Raises:
        ValueError: two sources are to be fused.
    """
    n = network.n_node
    rep = np.arange(n)
    for kept_node, joined in fuse:
        rep[rep == rep[joined]] = rep[kept_node]
    if len(set(rep[network.slack_node].tolist())) < len(network.slack_node):
        raise ValueError("a tie between two sources cannot be closed")
    f, t = network.branch_from_node.astype(np.int64), network.branch_to_node.astype(np.int64)
    on = network.branch_on
    on[list(out)] = False
    a, b = np.where(on, rep[f], -1), np.where(on, rep[t], -1)
    live, _ = reach(n, a, b, rep[network.slack_node])
    live = live[rep]
    number = np.full(n, -1, np.int64)
    kept = np.flatnonzero(live & (rep == np.arange(n)))
    number[kept] = np.arange(len(kept))
    node = np.where(live, number[rep], -1).astype(np.int32)
    on &= (node[f] >= 0) & (node[t] >= 0)
    node_of_bus = np.where(network.node_of_bus >= 0, node[network.node_of_bus], -1).astype(np.int32)
    node_bus = np.full(len(kept), -1, np.int32)
    energised = np.flatnonzero(node_of_bus >= 0)[::-1]
    node_bus[node_of_bus[energised]] = energised
    generators = network.pv_node[live[network.pv_node]]
    at, which = np.unique(node[generators], return_index=True)
    free = ~np.isin(at, node[network.slack_node])  # behind a slack, voltage and power are the slack's
    held = np.isin(network.pv_node, generators)
    p_pv = np.bincount(node[generators], network.pv_p_mw[held], len(kept)).astype(np.float64)
    indptr, indices, data = _matrix(network, np.asarray(out, np.int64), node, len(kept))
    new = dataclasses.replace(
        network, digest="", node_of_bus=node_of_bus, node_bus=node_bus,
        slack_node=node[network.slack_node], pv_node=at[free].astype(np.int32), pv_vm_pu=network.pv_vm_pu[held][which[free]],
        pv_p_mw=p_pv[at[free]], fixed_p_mw=moved(network.fixed_p_mw, node, len(kept)),
        fixed_q_mvar=moved(network.fixed_q_mvar, node, len(kept)), y_indptr=indptr, y_indices=indices, y_data=data,
        branch_from_node=np.where(on, node[f], -1).astype(np.int32), branch_to_node=np.where(on, node[t], -1).astype(np.int32),
    )  # fmt: skip
    return new, node


def moved(values: FloatArray, node: Int32Array, size: int) -> FloatArray:
    """Values (n_node,) summed into the nodes of the rewired network, of which there are ``size``."""
    return np.bincount(node[node >= 0], values[node >= 0], size).astype(np.float64)


def _matrix(network: Network, out: IntArray, node: Int32Array, size: int) -> tuple[Int32Array, Int32Array, ComplexArray]:
    """The admittance matrix without the branches that are out, nodes fused and dead ones left out, CSR."""
    from scipy.sparse import csr_matrix

    out = out[network.branch_on[out]]
    f, t = network.branch_from_node[out], network.branch_to_node[out]
    rows = np.repeat(np.arange(network.n_node), np.diff(network.y_indptr))
    row = np.concatenate([rows, f, f, t, t])
    column = np.concatenate([network.y_indices, f, t, f, t])
    taken = [-network.yff[out], -network.yft[out], -network.ytf[out], -network.ytt[out]]
    value = np.concatenate([network.y_data, *taken])
    alive = (node[row] >= 0) & (node[column] >= 0)
    place = node[row[alive]], node[column[alive]]
    y = csr_matrix((value[alive], place), shape=(size, size))
    scale = csr_matrix((np.abs(value[alive]), place), shape=(size, size))
    y.sum_duplicates()
    scale.sum_duplicates()
    keep = np.abs(y.data) > 1e-12 * scale.data  # what was taken out leaves no entry, or the tree would look meshed
    y.data[~keep] = 0.0
    y.eliminate_zeros()
    return y.indptr.astype(np.int32), y.indices.astype(np.int32), y.data
