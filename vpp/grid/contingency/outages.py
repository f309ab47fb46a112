"""Outages and what they cut off.

A branch whose outage parts the network is a *bridge*. What it cuts from every slack source is *lost*: it is dead, its
voltage-controlled generators with it, and the rest is solved without it. What it parts with a source of its own lives on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from vpp.grid.limits import branches_named
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
        lost: (cases,) nodes that lose every source, ascending; inner nodes and open line ends among them.
        parted: (cases,) True where the outage leaves more live islands than before, each with a source of its own.
    """

    outages: tuple[Outage, ...]
    lost: tuple[Int32Array, ...]
    parted: BoolArray

    def __len__(self) -> int:
        """Number of cases."""
        return len(self.outages)

    @classmethod
    def of(cls, network: Network, outages: Sequence[Outage]) -> Outages:
        """Find what each outage cuts off; ValueError for a branch that there is not."""
        for outage in outages:
            wrong = [b for b in outage.branches if not 0 <= b < network.n_branch]
            if not outage.branches:
                raise ValueError(f"outage {outage.name!r} has no branch")
            if wrong:
                raise ValueError(f"outage {outage.name!r}: no branch {wrong[0]}, there are {network.n_branch}")
        graph = _Graph.of(network)
        found = [graph.without(np.array(outage.branches, np.int64)) for outage in outages]
        return cls(tuple(outages), tuple(lost for lost, _ in found), np.array([parted for _, parted in found], np.bool_))


def single_outages(network: Network, kinds: Iterable[str] = ("line", "trafo", "trafo3w", "impedance")) -> Outages:
    """Every N-1 case: each energised branch of these kinds alone; a three-winding transformer is one outage of three branches.

    Raises:
        ValueError: for a kind that there is not.
    """
    kinds = tuple(kinds)
    wrong = [kind for kind in kinds if kind not in BRANCH_KINDS]
    if wrong:
        raise ValueError(f"no kind of branch {wrong[0]!r}; there are {', '.join(BRANCH_KINDS)}")
    wanted = [BRANCH_KINDS.index(kind) for kind in kinds]
    on = np.flatnonzero(network.branch_on & np.isin(network.branch_kind, wanted))
    return Outages.of(network, _single(network, on))


def outages_named(network: Network, keys: Iterable[str]) -> list[Outage]:
    """Single outages of kinds ("trafo") and elements ("line:12", its id in the source), those that are off left out.

    Raises:
        ValueError: for a kind or an element that the network does not have.
    """
    found = np.concatenate([np.zeros(0, np.int64), *(branches_named(network, key) for key in keys)])
    on = network.branch_on[found]
    return _single(network, np.array(list(dict.fromkeys(found[on].tolist())), np.int64))


def _single(network: Network, branches: IntArray) -> list[Outage]:
    """One outage for each element of these branches."""
    three = BRANCH_KINDS.index("trafo3w")
    cases: dict[tuple[int, int], list[int]] = {}
    for b in branches.tolist():
        kind = int(network.branch_kind[b])
        cases.setdefault((kind, int(network.branch_id[b]) if kind == three else b), []).append(b)
    return [Outage(tuple(group), branch_title(network, group[0])) for group in cases.values()]


def pairs(network: Network, first: Sequence[Outage], second: Sequence[Outage] | None = None) -> Outages:
    """N-1-1: every pair out of a list, or of one list with another."""
    both = [(a, b) for i, a in enumerate(first) for b in (first[i + 1 :] if second is None else second) if a != b]
    return Outages.of(network, [Outage((*a.branches, *b.branches), f"{a.name} + {b.name}") for a, b in both])


def branch_title(network: Network, branch: int) -> str:
    """A branch's name for people, or its kind and id where it has none."""
    name, kind = network.branch_name[branch], BRANCH_KINDS[network.branch_kind[branch]]
    if kind == "trafo3w":
        name = name.rpartition(" (")[0]  # its legs have their side behind the name
    return name or f"{kind} {network.branch_id[branch]}"


@dataclass(frozen=True, slots=True)
class _Graph:
    """The network's graph, its bridges, and its nodes in the order of a depth-first search.

    Attributes:
        a, b: ends of every branch, -1 where it is off.
        enter, leave: time at which the search comes to and leaves a node: a subtree is a range of times.
        by_time: node by time.
        below: far end of each branch that is a bridge, -1 for the others.
        source: slack nodes.
        live: (n,) True where there is a source without any outage.
        islands: number of live islands without any outage.
    """

    a: IntArray
    b: IntArray
    enter: IntArray
    leave: IntArray
    by_time: IntArray
    below: IntArray
    source: IntArray
    live: BoolArray
    islands: int

    @classmethod
    def of(cls, network: Network) -> _Graph:
        """Search the network once."""
        a, b = network.branch_from_node.astype(np.int64), network.branch_to_node.astype(np.int64)
        source = network.slack_node.astype(np.int64)
        start, branch = _incidence(network.n_node, a, b)
        return cls(a, b, *_search(network.n_node, start, branch, a, b, source), source, *reach(network.n_node, a, b, source))

    def without(self, out: IntArray) -> tuple[Int32Array, bool]:
        """Nodes without a source once these branches are out, and whether there are more live islands."""
        if len(out) == 1:
            child = self.below[out[0]]
            if child < 0:
                return np.zeros(0, np.int32), False
            first, end = self.enter[child], self.leave[child]
            times = self.enter[self.source]
            if np.any((times >= first) & (times < end)):
                return np.zeros(0, np.int32), True
            return np.sort(self.by_time[first:end]).astype(np.int32), False
        a = self.a.copy()
        a[out] = -1
        live, islands = reach(len(self.live), a, self.b, self.source)
        return np.flatnonzero(self.live & ~live).astype(np.int32), bool(islands > self.islands)


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
def reach(n: int, a: IntArray, b: IntArray, source: IntArray) -> tuple[BoolArray, int]:
    """Nodes joined to a source by branches (a, b), -1 where off, and the number of islands that have a source."""
    root = np.arange(n)
    for k in range(a.size):
        x, y = a[k], b[k]
        if x < 0 or y < 0:
            continue
        while root[x] != x:
            root[x] = root[root[x]]
            x = root[x]
        while root[y] != y:
            root[y] = root[root[y]]
            y = root[y]
        root[max(x, y)] = min(x, y)
    live = np.zeros(n, np.bool_)
    islands = 0
    for x in source:
        while root[x] != x:
            x = root[x]
        islands += not live[x]
        live[x] = True
    for k in range(n):  # a root has the lowest number of its island, so it is settled before the others
        root[k] = root[root[k]]
        live[k] = live[root[k]]
    return live, islands
