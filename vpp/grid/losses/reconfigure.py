"""Least losses of a radial network by other open points: branch exchange over the open ties.

Each exchange closes a tie and opens one line of the loop that comes of it, so the network stays radial with everything
supplied; each is solved by power flow (Baran and Wu 1989). A second descent begins where a meshed network, opened line by line
at the least current, ends (Shirmohammadi and Hong 1989). What comes out is the best of both, never worse than what is there.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpp.grid.losses.problem import Breach, Limits, breaches
from vpp.grid.network import BRANCH_KINDS, Network
from vpp.grid.powerflow.lightsim2grid_engine import LightSim2Grid
from vpp.grid.powerflow.port import net_injections
from vpp.grid.tables import ComplexArray, FloatArray, IntArray
from vpp.kernel.errors import Diverged, NetworkError

TIE_PU = 1e-6  # impedance of a closed tie that is a switch between buses: small beside any line, and no loss to speak of
GAIN = 1e-7  # of the losses: less is no reason to switch
WHOLE_LOOP = 60  # lines of a loop that are all tried; of a longer one those of least current
FEW = 12


@dataclass(frozen=True, slots=True)
class Reconfiguration:
    """What came of a reconfiguration.

    Attributes:
        network: the network as it is to be, radial; a tie that is a switch between buses is a branch of kind "switch" in it.
        open_lines: branches (of ``network``) that are open then; ``to_open`` and ``to_close`` what has to be switched, in
            pairs.
        v: (n_node,) its voltages, pu.
        loss_mw, before_mw: the branches' losses then and at the start.
        breaches, breaches_before: limits that are not kept.
        tried: number of power flows.
    """

    network: Network
    open_lines: tuple[int, ...]
    to_open: tuple[int, ...]
    to_close: tuple[int, ...]
    v: ComplexArray
    loss_mw: float
    before_mw: float
    breaches: tuple[Breach, ...]
    breaches_before: tuple[Breach, ...]
    tried: int


def reconfigure(network: Network, p_mw: FloatArray, q_mvar: FloatArray, limits: Limits | None = None) -> Reconfiguration:
    """Find open points of less losses.

    Args:
        network: a radial network. Its ties are lines between energised buses that are out of service or open at a switch,
            and open switches between energised buses; switches between buses that are closed stay closed.
        p_mw: (n_node,) injections.
        q_mvar: (n_node,) the same for reactive power.
        limits: (of ``network``'s nodes) what has to be kept, at a price; default: the bands of its buses.

    Raises:
        NetworkError: it is meshed, or its source has changed since it was compiled.
        Diverged: the power flow has no solution at the start.
    """
    whole = all_closed(network)
    line, switch = (whole.branch_kind == BRANCH_KINDS.index(kind) for kind in ("line", "switch"))
    ties = np.flatnonzero(switch & np.isin(whole.branch_id, network.switches.id[open_ties(network)]))
    lines = np.flatnonzero(line & whole.branch_closed)  # lines come first in any network, so they keep their positions
    start = frozenset([*lines[~network.branch_closed[lines]].tolist(), *ties.tolist()])
    lines = np.concatenate([lines, ties])
    search = _Search(whole, lines, *_moved(network, whole, p_mw, q_mvar), _limits(network, whole, limits))
    if not search.is_radial(start):
        raise NetworkError(network.source, "is not radial, so there are no open points to move")
    first = search.solve(start)
    if first is None:
        raise Diverged(network.name, "the power flow has no solution as the network is")
    search.unit = max(first[1], 1e-9 * network.sn_mva)
    best = search.descend(start)
    opened = search.opened_by_current(len(start))
    if opened is not None:
        best = min(best, search.descend(opened), key=search.merit)
    final, v, before = without(whole, best), search.solved(best), search.solved(start)
    return Reconfiguration(
        final, tuple(sorted(best)), tuple(sorted(best - start)), tuple(sorted(start - best)), v, search.loss(best), first[1],
        breaches(final, v, search.limits), breaches(without(whole, start), before, search.limits), search.tried,
    )  # fmt: skip


def open_ties(network: Network) -> IntArray:
    """Positions of the open switches between two energised buses that nothing else makes one node."""
    switches, node = network.switches, network.node_of_bus
    between = ~switches.closed & (switches.other_bus >= 0)
    a, b = node[switches.bus], np.where(between, node[switches.other_bus], -1)
    return np.flatnonzero(between & (a >= 0) & (b >= 0) & (a != b))


def all_closed(network: Network) -> Network:
    """The network with every line between buses in service closed at both ends, and every tie that is a switch a short line.

    Branches keep their positions but for those of kind "switch", which come last.

    Its digest is empty: it is not what its source says, so pandapower does not get it from there.
    """
    from vpp.grid.compile import compile_network
    from vpp.grid.store import to_pandapower

    net: Any = to_pandapower(network)
    live = net.bus.in_service
    net.line["in_service"] = (live.loc[net.line.from_bus].to_numpy() & live.loc[net.line.to_bus].to_numpy()).astype(bool)
    at_line = (net.switch.et == "l").to_numpy()
    net.switch.loc[at_line, "closed"] = True
    ties = open_ties(network)
    if len(ties):
        ids, kv = network.switches.id[ties], network.bus_vn_kv[network.switches.bus[ties]]
        net.switch.loc[ids, "closed"] = True
        net.switch["z_ohm"] = net.switch["z_ohm"].fillna(0.0).astype(float) if "z_ohm" in net.switch else 0.0
        net.switch.loc[ids, "z_ohm"] = TIE_PU * kv**2 / network.sn_mva
    return compile_network(net, network.source, "", network.notes)


def without(network: Network, off: frozenset[int]) -> Network:
    """The network with some branches open at both ends; every node has to stay supplied."""
    from scipy.sparse import coo_matrix

    out = np.zeros(network.n_branch, bool)
    out[sorted(off)] = True
    n = network.n_node
    diagonal = np.zeros(n, np.complex128)
    row = np.repeat(np.arange(n), np.diff(network.y_indptr))
    same = row == network.y_indices
    diagonal[row[same]] = network.y_data[same]
    on, stays = network.branch_on, network.branch_on & ~out
    f, t = network.branch_from_node, network.branch_to_node
    np.subtract.at(diagonal, f[on], network.yff[on])
    np.subtract.at(diagonal, t[on], network.ytt[on])
    k, f, t = np.arange(n), f[stays], t[stays]
    values = [diagonal, *(y[stays] for y in (network.yff, network.yft, network.ytf, network.ytt))]
    places = np.concatenate([k, f, f, t, t]), np.concatenate([k, f, t, f, t])
    y = coo_matrix((np.concatenate(values), places), shape=(n, n)).tocsr()
    y.sort_indices()
    yff, yft, ytf, ytt = (np.where(out, 0.0, x) for x in (network.yff, network.yft, network.ytf, network.ytt))
    f, t = (np.where(out, -1, x).astype(np.int32) for x in (network.branch_from_node, network.branch_to_node))
    return dataclasses.replace(
        network, digest="", y_indptr=y.indptr.astype(np.int32), y_indices=y.indices.astype(np.int32), y_data=y.data,
        yff=yff, yft=yft, ytf=ytf, ytt=ytt, branch_from_node=f, branch_to_node=t,
    )  # fmt: skip


def _moved(network: Network, whole: Network, p_mw: FloatArray, q_mvar: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Injections by the nodes of ``network`` -> by those of the closed network."""
    on = np.flatnonzero((network.node_bus >= 0) & ((np.asarray(p_mw) != 0) | (np.asarray(q_mvar) != 0)))
    bus = network.node_bus[on]
    return whole.scatter(bus, np.asarray(p_mw, np.float64)[on]), whole.scatter(bus, np.asarray(q_mvar, np.float64)[on])


def _limits(network: Network, whole: Network, limits: Limits | None) -> Limits:
    """The limits by the nodes of the closed network."""
    own = Limits.of(whole)
    if limits is None:
        return own
    at = np.flatnonzero(network.node_bus >= 0)
    to = whole.node_of_bus[network.node_bus[at]]
    low, high = own.vm_min_pu.copy(), own.vm_max_pu.copy()
    low[to], high[to] = limits.vm_min_pu[at], limits.vm_max_pu[at]
    return dataclasses.replace(limits, vm_min_pu=low, vm_max_pu=high)


class _Search:
    """Solved states of the closed network by the set of lines that are open."""

    def __init__(self, whole: Network, lines: IntArray, p: FloatArray, q: FloatArray, limits: Limits) -> None:
        self.whole, self.lines, self.limits = whole, lines, limits
        self.engine = LightSim2Grid(whole)
        f, t = whole.branch_from_node.astype(np.int64), whole.branch_to_node.astype(np.int64)
        self.ends = np.stack([f, t], 1)
        self.entry = self.engine.entries(np.stack([f, f, t, t], 1), np.stack([f, t, f, t], 1))
        self.y = np.stack([whole.yff, whole.yft, whole.ytf, whole.ytt], 1)
        p_all, q_all = net_injections(whole, p, q)
        self.s = np.asarray(p_all + 1j * q_all, np.complex128) / whole.sn_mva
        solution = self.engine.solve(p, q)
        self.v = solution.v if solution.converged else np.asarray(self.engine.solve(0 * p, 0 * q).v)
        self.known: dict[frozenset[int], tuple[ComplexArray, float, float] | None] = {}
        pair = np.where(whole.branch_on, np.minimum(f, t) * whole.n_node + np.maximum(f, t), -1)
        _, first, count = np.unique(pair, return_index=True, return_counts=True)
        alone = first[count == 1]  # a line beside another one opens no loop
        self.unit, self.switchable = 1.0, frozenset(np.intersect1d(lines, alone).tolist())

    @property
    def tried(self) -> int:
        """Number of states solved."""
        return len(self.known)

    def solve(self, state: frozenset[int]) -> tuple[ComplexArray, float, float] | None:
        """Voltages, losses (MW) and breaches (pu) with these lines open; None where there is no solution."""
        if state not in self.known:
            off = np.array(sorted(state), np.int64)
            change = -self.y[off].ravel()
            v = self.engine.solve_changed(self.s, self.v, self.entry[off].ravel(), change, np.zeros(0, np.int32))
            if v is None:
                self.known[state] = None
            else:
                flows = self.whole.branch_flows(v)
                flows.p_loss_mw[off], flows.loading[off] = 0.0, 0.0
                vm = np.abs(v)
                beyond = np.maximum(self.limits.vm_min_pu - vm, 0.0) + np.maximum(vm - self.limits.vm_max_pu, 0.0)
                over = np.maximum(np.nan_to_num(flows.loading) - self.limits.loading, 0.0)
                self.known[state] = (v, float(flows.p_loss_mw.sum()), float(beyond.sum() + over.sum()))
        return self.known[state]

    def merit(self, state: frozenset[int]) -> float:
        """Losses and the price of breaches, in the losses at the start."""
        found = self.solve(state)
        return np.inf if found is None else found[1] / self.unit + self.limits.price * found[2]

    def solved(self, state: frozenset[int]) -> ComplexArray:
        """Voltages of a state that is known to have a solution."""
        found = self.solve(state)
        if found is None:
            raise Diverged(self.whole.name, "the power flow has no solution")
        return found[0]

    def loss(self, state: frozenset[int]) -> float:
        """Losses of a state, NaN where it has no solution."""
        found = self.solve(state)
        return np.nan if found is None else found[1]

    def parents(self, state: frozenset[int]) -> tuple[list[int], list[int], int]:
        """Spanning forest from the sources: parent and branch to it of each node (-1 at sources), loops left over."""
        near: list[list[tuple[int, int]]] = [[] for _ in range(self.whole.n_node)]
        pairs = set()
        for b in np.flatnonzero(self.whole.branch_on).tolist():
            if b not in state:
                f, t = self.ends[b].tolist()
                near[f].append((t, b))
                near[t].append((f, b))
                pairs.add((min(f, t), max(f, t)))
        parent, by = [-2] * len(near), [-1] * len(near)
        order = self.whole.slack_node.tolist()
        for s in order:
            parent[s] = -1
        for k in order:
            for m, b in near[k]:
                if parent[m] == -2:
                    parent[m], by[m] = k, b
                    order.append(m)
        loops = len(pairs) - (len(order) - len(self.whole.slack_node)) if len(order) == len(near) else -1
        return parent, by, loops

    def is_radial(self, state: frozenset[int]) -> bool:
        """Whether everything is supplied, without a loop."""
        return self.parents(state)[2] == 0

    def loop(self, state: frozenset[int], tie: int) -> list[int]:
        """Lines of the loop that a tie closes, itself left out."""
        parent, by, _ = self.parents(state)
        paths = []
        for end in self.ends[tie].tolist():
            path = []
            while parent[end] >= 0:
                path.append(by[end])
                end = parent[end]
            paths.append(path)
        both = set(paths[0]) ^ set(paths[1])
        out = [b for b in [*paths[0], *reversed(paths[1])] if b in both and b in self.switchable]
        if len(out) > WHOLE_LOOP:
            found = self.solve(state - {tie})
            if found is not None:
                current = self.whole.branch_flows(found[0]).i_from_ka
                out = sorted(out, key=lambda b: (current[b], b))[:FEW]
        return out

    def descend(self, state: frozenset[int]) -> frozenset[int]:
        """Exchange branches while that lessens the merit."""
        better = True
        while better:
            better = False
            for tie in sorted(state):
                options = [state - {tie} | {b} for b in self.loop(state, tie)]
                best = min(options, key=self.merit, default=state)
                if self.merit(best) < self.merit(state) - GAIN:
                    state, better = best, True
        return state

    def opened_by_current(self, count: int) -> frozenset[int] | None:
        """Close everything, then open the line of least current that no supply hangs on, one by one."""
        state: frozenset[int] = frozenset()
        for _ in range(count):
            found = self.solve(state)
            if found is None:
                return None
            current = self.whole.branch_flows(found[0]).i_from_ka
            for b in sorted(self.switchable - state, key=lambda b: (current[b], b)):
                if self.parents(state | {b})[2] >= 0:
                    state |= {b}
                    break
            else:
                return None
        return state if self.is_radial(state) else None
