"""Outages and what they cut off.

A branch whose outage parts the network is a *bridge*. What it cuts from every source is *lost*: it is dead, and the rest
is solved without it. An outage that leaves several live islands, each with a source, loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from vpp.grid.network import BRANCH_KINDS, Network
from vpp.grid.tables import BoolArray, Int32Array, IntArray


@dataclass(frozen=True, slots=True)
class Outage:
    """Branches that are out together.

    Attributes:
        branches: their positions in the network.
        name: what it is called in reports.
    """

    branches: tuple[int, ...]
    name: str


@dataclass(frozen=True, slots=True)
class Outages:
    """Outages of one network with what each cuts off.

    Attributes:
        outages: (cases,) the outages.
        lost: (cases,) nodes that lose every source, ascending.
        islanding: (cases,) True where the outage parts the network, whether anything is lost or not.
    """

    outages: tuple[Outage, ...]
    lost: tuple[Int32Array, ...]
    islanding: BoolArray

    def __len__(self) -> int:
        """Number of cases."""
        return len(self.outages)

    @classmethod
    def of(cls, network: Network, outages: Sequence[Outage]) -> Outages:
        """Find what each outage cuts off; ValueError for a branch that there is not."""
        for outage in outages:
            wrong = [b for b in outage.branches if not 0 <= b < network.n_branch]
            if wrong or not outage.branches:
                raise ValueError(f"outage {outage.name!r}: no branch {wrong[0] if wrong else ''} of {network.n_branch}")
        graph = _Graph.of(network)
        lost, islanding = [], np.zeros(len(outages), np.bool_)
        for k, outage in enumerate(outages):
            lost_now, parts = graph.without(np.array(outage.branches, np.int64))
            lost.append(lost_now)
            islanding[k] = parts
        return cls(tuple(outages), tuple(lost), islanding)


def single_outages(network: Network, kinds: Iterable[str] = ("line", "trafo", "trafo3w", "impedance")) -> Outages:
    """Every N-1 case: each closed branch of these kinds alone; a three-winding transformer is one outage of three branches."""
    wanted = [BRANCH_KINDS.index(kind) for kind in kinds]
    on = np.flatnonzero(network.branch_closed & np.isin(network.branch_kind, wanted))
    three = BRANCH_KINDS.index("trafo3w")
    cases: dict[tuple[int, int], list[int]] = {}
    for b in on.tolist():
        kind = int(network.branch_kind[b])
        cases.setdefault((kind, int(network.branch_id[b]) if kind == three else b), []).append(b)
    return Outages.of(network, [Outage(tuple(branches), branch_title(network, branches[0])) for branches in cases.values()])


def pairs(network: Network, first: Iterable[int], second: Iterable[int] | None = None) -> Outages:
    """N-1-1: every pair of two branches out of a list, or of one list with another."""
    one = list(first)
    both = [(a, b) for i, a in enumerate(one) for b in (one[i + 1 :] if second is None else second) if a != b]
    title = [f"{branch_title(network, a)} + {branch_title(network, b)}" for a, b in both]
    return Outages.of(network, [Outage(pair, name) for pair, name in zip(both, title, strict=True)])


def branch_title(network: Network, branch: int) -> str:
    """A branch's name for people, or its kind and id where it has none."""
    return network.branch_name[branch] or f"{BRANCH_KINDS[network.branch_kind[branch]]} {network.branch_id[branch]}"


@dataclass(frozen=True, slots=True)
class _Graph:
    """The network's graph, its bridges, and its nodes in the order of a depth-first search.

    Attributes:
        a, b: ends of every branch, -1 where it is off.
        enter, leave: time at which the search comes to and leaves a node: a subtree is a range of times.
        by_time: node by time.
        below: far end of each branch that is a bridge, -1 for the others.
        source_count: (n + 1,) sources among the first nodes by time.
    """

    a: IntArray
    b: IntArray
    enter: IntArray
    leave: IntArray
    by_time: IntArray
    below: IntArray
    source: IntArray

    @classmethod
    def of(cls, network: Network) -> _Graph:
        a, b = network.branch_from_node.astype(np.int64), network.branch_to_node.astype(np.int64)
        source = network.slack_node.astype(np.int64)
        start, branch = _incidence(network.n_node, a, b)
        return cls(a, b, *_search(network.n_node, start, branch, a, b, source), source)

    def without(self, out: IntArray) -> tuple[Int32Array, bool]:
        """Nodes without a source once these branches are out, and whether the network is parted."""
        if len(out) == 1:
            child = self.below[out[0]]
            if child < 0:
                return np.zeros(0, np.int32), False
            inside = slice(self.enter[child], self.leave[child])
            with_source = np.any((self.enter[self.source] >= inside.start) & (self.enter[self.source] < inside.stop))
            nodes = np.zeros(0, np.int64) if with_source else self.by_time[inside]
            return np.sort(nodes).astype(np.int32), True
        keep = self.a >= 0
        keep[out] = False
        reached, parts = _reach(len(self.enter), self.a[keep], self.b[keep], self.source)
        whole, parts_before = _reach(len(self.enter), self.a[self.a >= 0], self.b[self.a >= 0], self.source)
        return np.flatnonzero(whole & ~reached).astype(np.int32), bool(parts > parts_before)


@njit(cache=True)
def _incidence(n: int, a: IntArray, b: IntArray) -> tuple[IntArray, IntArray]:
    """Branches at each node, (n + 1,) starts and (2 * on,) branches."""
    start = np.zeros(n + 1, np.int64)
    for k in range(a.size):
        if a[k] >= 0 and b[k] >= 0:
            start[a[k] + 1] += 1
            start[b[k] + 1] += 1
    start = np.cumsum(start)
    branch, filled = np.empty(start[n], np.int64), start[:-1].copy()
    for k in range(a.size):
        if a[k] >= 0 and b[k] >= 0:
            branch[filled[a[k]]] = k
            filled[a[k]] += 1
            branch[filled[b[k]]] = k
            filled[b[k]] += 1
    return start, branch


@njit(cache=True)
def _search(
    n: int, start: IntArray, branch: IntArray, a: IntArray, b: IntArray, source: IntArray
) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Depth-first search from the sources: times of entering and leaving, nodes by time, far ends of bridges (Tarjan 1974)."""
    enter, leave, low = np.full(n, -1), np.full(n, -1), np.zeros(n, np.int64)
    by_time, below = np.full(n, -1), np.full(a.size, -1)
    came_by, at, stack = np.full(n, -1), start[:-1].copy(), np.empty(n, np.int64)
    time = 0
    for root in source:
        if enter[root] >= 0:
            continue
        depth = 0
        stack[0] = root
        enter[root] = low[root] = time
        by_time[time] = root
        time += 1
        while depth >= 0:
            k = stack[depth]
            if at[k] < start[k + 1]:
                e = branch[at[k]]
                at[k] += 1
                other = b[e] if a[e] == k else a[e]
                if enter[other] < 0:
                    enter[other] = low[other] = time
                    by_time[time] = other
                    time += 1
                    came_by[other] = e
                    depth += 1
                    stack[depth] = other
                elif e != came_by[k]:
                    low[k] = min(low[k], enter[other])
                continue
            leave[k] = time
            depth -= 1
            if depth >= 0:
                up = stack[depth]
                low[up] = min(low[up], low[k])
                if low[k] > enter[up]:
                    below[came_by[k]] = k
    return enter, leave, by_time, below


@njit(cache=True)
def _reach(n: int, a: IntArray, b: IntArray, source: IntArray) -> tuple[BoolArray, int]:
    """Nodes joined to a source by branches (a, b), and the number of parts of the whole."""
    root = np.arange(n)
    for k in range(a.size):
        x, y = a[k], b[k]
        while root[x] != x:
            root[x] = root[root[x]]
            x = root[x]
        while root[y] != y:
            root[y] = root[root[y]]
            y = root[y]
        root[max(x, y)] = min(x, y)
    parts = 0
    for k in range(n):
        x = k
        while root[x] != x:
            x = root[x]
        root[k] = x
        parts += x == k
    live = np.zeros(n, np.bool_)
    for s in source:
        live[root[s]] = True
    return live[root], parts
