"""Kernels of the connectivity tracker: one pass over buses and edges each, see `vpp.grid.topology` for the words."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from vpp.grid.tables import BoolArray, ByteArray, Int32Array

EDGE_KINDS: Final = ("line", "trafo", "trafo3w", "impedance", "switch", "source", "gen")
LINE, TRAFO, TRAFO3W, IMPEDANCE, SWITCH, SOURCE, GEN = range(7)


@njit(cache=True, nogil=True)
def walk(
    root: int, starts: Int32Array, incident: Int32Array, a: Int32Array, b: Int32Array, closed: BoolArray
) -> tuple[Int32Array, Int32Array, int]:
    """Breadth first from the root over closed edges.

    Returns each vertex's edge towards the root (-1: the root, -2: not reached), the vertices in the order of the visit,
    and how many there are.
    """
    n = starts.size - 1
    parent, order = np.full(n, -2, np.int32), np.empty(n, np.int32)
    parent[root], order[0], size, head = -1, root, 1, 0
    while head < size:
        v = order[head]
        head += 1
        for k in range(starts[v], starts[v + 1]):
            e = incident[k]
            w = b[e] if a[e] == v else a[e]
            if closed[e] and parent[w] == -2:
                parent[w] = e
                order[size] = w
                size += 1
    return parent, order, size


@njit(cache=True, nogil=True)
def loops(
    parent: Int32Array,
    order: Int32Array,
    starts: Int32Array,
    incident: Int32Array,
    a: Int32Array,
    b: Int32Array,
    closed: BoolArray,
) -> BoolArray:
    """Edges on a circle: every edge outside the tree, and the tree's edges between its ends and where their ways meet.

    The ways are counted by differences: +1 at both ends of each edge outside the tree, -2 where the ways meet; an edge
    of the tree lies on a circle if the sum over its subtree is above 0.
    """
    n = starts.size - 1
    depth, cover = np.zeros(n, np.int32), np.zeros(n, np.int32)
    looped = np.zeros(a.size, np.bool_)
    for k in range(1, order.size):
        v = order[k]
        e = parent[v]
        depth[v] = depth[b[e] if a[e] == v else a[e]] + 1
    for e in range(a.size):
        u, w = a[e], b[e]
        if not closed[e] or parent[u] == -2 or parent[u] == e or parent[w] == e:
            continue
        looped[e] = u != w
        cover[u] += 1
        cover[w] += 1
        while u != w:  # up to where the ways meet
            if depth[u] < depth[w]:
                u, w = w, u
            e_up = parent[u]
            u = b[e_up] if a[e_up] == u else a[e_up]
        cover[u] -= 2
    for k in range(order.size - 1, 0, -1):
        v = order[k]
        e = parent[v]
        looped[e] = looped[e] or cover[v] > 0
        up = b[e] if a[e] == v else a[e]
        cover[up] += cover[v]
    return looped


@njit(cache=True, nogil=True)
def feeders(
    parent: Int32Array, order: Int32Array, a: Int32Array, b: Int32Array, kind: ByteArray
) -> tuple[Int32Array, Int32Array]:
    """Feeder of each vertex, -1 on the busbars of a source; and the edge that each feeder begins with."""
    feeder, head = np.full(parent.size, -1, np.int32), np.empty(parent.size, np.int32)
    count = 0
    for k in range(1, order.size):
        v = order[k]
        e = parent[v]
        up = b[e] if a[e] == v else a[e]
        feeder[v] = feeder[up]
        if feeder[v] < 0 and (kind[e] == LINE or kind[e] == IMPEDANCE):
            feeder[v], head[count] = count, e
            count += 1
    return feeder, head[:count].copy()


@njit(cache=True, nogil=True)
def islands(
    parent: Int32Array, on: BoolArray, starts: Int32Array, incident: Int32Array, a: Int32Array, b: Int32Array, closed: BoolArray
) -> Int32Array:
    """Number of each vertex's connected part: 0 with a source, then 1 … in the order of the vertices; -1 out of service."""
    n = starts.size - 1
    island, queue = np.full(n, -1, np.int32), np.empty(n, np.int32)
    for v in range(n):
        if parent[v] != -2:
            island[v] = 0
    count = 0
    for first in range(n):
        if island[first] >= 0 or not on[first]:
            continue
        count += 1
        island[first], queue[0], size, head = count, first, 1, 0
        while head < size:
            v = queue[head]
            head += 1
            for k in range(starts[v], starts[v + 1]):
                e = incident[k]
                w = b[e] if a[e] == v else a[e]
                if closed[e] and island[w] < 0:
                    island[w] = count
                    queue[size] = w
                    size += 1
    return island
