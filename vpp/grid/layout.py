"""A drawing for networks that come without coordinates: deterministic, numpy only.

A tree is laid out by depth and leaf order; a small meshed network is then relaxed by springs.
"""

from __future__ import annotations

import numpy as np

from vpp.grid.tables import BoolArray, FloatArray, Int32Array

SPRING_LIMIT = 500  # buses; above this a meshed network keeps the drawing of its spanning tree


def complete(xy: FloatArray, edges: Int32Array, roots: Int32Array) -> FloatArray:
    """Return coordinates for every bus: (n, 2) with NaN where unknown, edges (m, 2), roots -> (n, 2).

    Known coordinates stay. With none known a whole drawing is made; single gaps are put beside their neighbours.
    """
    known: BoolArray = np.isfinite(xy[:, 0]) & np.isfinite(xy[:, 1])
    if not known.any():
        return draw(len(xy), edges, roots)
    out = xy.copy()
    while not known.all():
        a, b = edges[:, 0], edges[:, 1]
        src = np.concatenate([a[known[a] & ~known[b]], b[known[b] & ~known[a]]])
        dst = np.concatenate([b[known[a] & ~known[b]], a[known[b] & ~known[a]]])
        if len(dst) == 0:
            break
        count = np.bincount(dst, minlength=len(xy))
        fresh = count > 0
        for axis in (0, 1):
            out[fresh, axis] = np.bincount(dst, weights=out[src, axis], minlength=len(xy))[fresh] / count[fresh]
        known |= fresh
    return out


def draw(n: int, edges: Int32Array, roots: Int32Array) -> FloatArray:
    """Draw n buses with edges (m, 2) from the roots: x to the right, y downwards in leaf order."""
    parent, order = _spanning(n, edges, roots)
    depth = np.zeros(n)
    for k in order:
        if parent[k] >= 0:
            depth[k] = depth[parent[k]] + 1
    y, leaves = np.zeros(n), 0
    first, last = np.full(n, np.inf), np.full(n, -np.inf)
    above = np.asarray(parent)
    children = np.bincount(above[above >= 0], minlength=n)
    for k in _preorder(parent, order):  # leaves are numbered as a walk meets them
        if children[k] == 0:
            first[k] = last[k] = leaves
            leaves += 1
    for k in reversed(order):
        y[k] = (first[k] + last[k]) / 2
        p = parent[k]
        if p >= 0:
            first[p], last[p] = min(first[p], first[k]), max(last[p], last[k])
    xy = np.column_stack([depth, -y])
    meshed = len(edges) > int(np.sum(above >= 0))
    return _springs(xy, edges) if meshed and n <= SPRING_LIMIT else xy


def _neighbours(n: int, edges: Int32Array) -> list[list[int]]:
    """List each bus's neighbours in the order of the edges."""
    out: list[list[int]] = [[] for _ in range(n)]
    for a, b in edges.tolist():
        if a != b:
            out[a].append(b)
            out[b].append(a)
    return out


def _spanning(n: int, edges: Int32Array, roots: Int32Array) -> tuple[list[int], list[int]]:
    """Span a forest breadth first from the roots, then from whatever is left: parents and visiting order."""
    near = _neighbours(n, edges)
    parent, seen, order = [-1] * n, [False] * n, []
    for root in [*roots.tolist(), *range(n)]:
        if seen[root]:
            continue
        seen[root] = True
        queue = [root]
        for k in queue:
            order.append(k)
            for m in near[k]:
                if not seen[m]:
                    seen[m], parent[m] = True, k
                    queue.append(m)
    return parent, order


def _preorder(parent: list[int], order: list[int]) -> list[int]:
    """Walk the forest depth first."""
    children: list[list[int]] = [[] for _ in parent]
    for k in order:
        if parent[k] >= 0:
            children[parent[k]].append(k)
    out = []
    for root in order:
        if parent[root] < 0:
            stack = [root]
            while stack:
                k = stack.pop()
                out.append(k)
                stack.extend(reversed(children[k]))
    return out


def _springs(xy: FloatArray, edges: Int32Array, steps: int = 150) -> FloatArray:
    """Relax a drawing by Fruchterman and Reingold's forces (1991), from the given start, always the same way."""
    n = len(xy)
    span = np.ptp(xy, axis=0)
    xy = (xy - xy.mean(axis=0)) / np.where(span > 0, span, 1.0)
    xy += 1e-3 * np.column_stack([np.sin(np.arange(n) * 2.4), np.cos(np.arange(n) * 2.4)])  # part coincident ones
    k = 1.0 / np.sqrt(n)
    a, b = edges[:, 0], edges[:, 1]
    for step in range(steps):
        gap = xy[:, None, :] - xy[None, :, :]
        square = np.maximum((gap**2).sum(axis=2), 1e-9)
        push = (gap * (k * k / square)[:, :, None]).sum(axis=1)
        pull = xy[b] - xy[a]
        force = pull * (np.sqrt((pull**2).sum(axis=1)) / k)[:, None]
        np.add.at(push, a, force)
        np.subtract.at(push, b, force)
        length = np.maximum(np.sqrt((push**2).sum(axis=1)), 1e-12)
        heat = 0.1 * (1.0 - step / steps)
        xy = xy + push * (np.minimum(length, heat) / length)[:, None]
    scaled: FloatArray = (xy - xy.min(axis=0)) * np.sqrt(n)
    return scaled
