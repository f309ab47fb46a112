"""What is measured where, and the network in the form that an estimate needs: every current as a sum over node voltages.

An injection is the current of a row of the node admittance matrix, a flow that of one end of a branch. Both are linear
in the node voltages, in one phase as in three, so that one law serves them all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from vpp.grid.network import BRANCH_KINDS, Network
from vpp.grid.threephase.factor import no_load
from vpp.grid.threephase.network import ThreePhaseNetwork
from vpp.kernel.errors import NetworkError
from vpp.kernel.signals import BoolArray, ComplexArray, FloatArray, IntArray

VM, ANGLE, P, Q, CURRENT = range(5)
EXPECTED: Final = "expected"  # name of what stands in where nothing is measured
UNSURE: Final = 2.0  # standard deviation of an injection that nothing measures, of its rating
UNSURE_VM: Final = 0.1  # and of a source's voltage [pu]
KINDS: Final = ("vm_pu", "va_degree", "p_mw", "q_mvar", "i_ka")


@dataclass(frozen=True, slots=True)
class Grid:
    """A network for estimation, everything in pu.

    Attributes:
        n: number of nodes.
        reference: (k,) nodes whose angle is given where no phasor is measured: one a source.
        v0: (n,) voltages without any injection; an estimate without a better one starts here.
        start, node, y: currents by rows (CSR): row r is the current that flows from node ``at[r]`` into the network
            (r < n, an injection) or into one end of a branch, a sum of y times the voltages of the row's nodes.
        at: (rows,) node of each row.
        branch_row: (branches, 2) row of the current at the from and to end, -1 where the branch is off.
        ends: (branches, 2) nodes that a branch joins or, where it is open or off, would join; -1: unknown.
        closed: (branches,) those that join their ends.
        p_base_mva: power of 1 pu.
        i_base_ka: (branches, 2) current of 1 pu at either end.
        zero: (n,) nodes at which nothing can be injected.
        size: (n,) complex power that may be injected at a node, as a magnitude; where a meter is missing, that much is likely.
        node_name, branch_name: what people call them.
    """

    n: int
    reference: IntArray
    v0: ComplexArray
    start: IntArray
    node: IntArray
    y: ComplexArray
    at: IntArray
    branch_row: IntArray
    ends: IntArray
    closed: BoolArray
    p_base_mva: float
    i_base_ka: FloatArray
    zero: BoolArray
    size: FloatArray
    node_name: tuple[str, ...]
    branch_name: tuple[str, ...]

    @classmethod
    def of_network(cls, network: Network, injecting: IntArray | None = None) -> Grid:
        """Compile a balanced network.

        Args:
            network: the network.
            injecting: nodes where something is connected; by default those of the network's own loads, generators and
                storages. Every other node that is no source injects exactly nothing.
        """
        n, on = network.n_node, network.branch_on
        f, t = network.branch_from_node[on].astype(np.int64), network.branch_to_node[on].astype(np.int64)
        ends = [(f, t, network.yff[on], network.yft[on]), (t, f, network.ytt[on], network.ytf[on])]
        rows = int(on.sum())
        branch_row = np.full((network.n_branch, 2), -1)
        branch_row[on] = n + np.arange(2 * rows).reshape(2, rows).T
        start = np.concatenate([network.y_indptr, network.y_indptr[-1] + 2 * np.arange(1, 2 * rows + 1)]).astype(np.int64)
        node = np.concatenate([network.y_indices, *(np.stack([a, b], 1).ravel() for a, b, _, _ in ends)]).astype(np.int64)
        y = np.concatenate([network.y_data, *(np.stack([a, b], 1).ravel() for _, _, a, b in ends)])
        zero = np.ones(n, np.bool_)
        if injecting is None:
            tables = (network.loads, network.sgens, network.storages)
            injecting = np.concatenate([network.node_of_bus[table.bus] for table in tables]).astype(np.int64)
        zero[injecting[injecting >= 0]] = False
        zero[network.slack_node], zero[network.pv_node] = False, False
        zero[(network.fixed_p_mw != 0) | (network.fixed_q_mvar != 0)] = False
        base = np.stack([network.branch_i_base_from_ka, network.branch_i_base_to_ka], 1)
        return cls(
            n, network.slack_node.astype(np.int64), _no_load(network), start, node, y,
            np.concatenate([np.arange(n), f, t]), branch_row, _ends(network),
            network.branch_closed, network.sn_mva, base, zero,
            _sizes(network, zero), *_names(network),
        )  # fmt: skip

    @classmethod
    def of_threephase(cls, network: ThreePhaseNetwork) -> Grid:
        """Compile a three-phase network; a node is a phase of a bus, a branch is a phase of one of its branches.

        Powers are those of one phase, on a base of 1 MVA. Sources hold the angles of their inner nodes, not the size of
        their voltages. NetworkError where a neutral is carried: it has no angle at 0 V.
        """
        if np.any(network.node_on & (network.node_phase > 3)):
            raise NetworkError(network.source or network.name, "carried neutrals cannot be estimated")
        live = np.flatnonzero(network.node_on)
        new = np.full(network.n_node, -1)
        new[live] = np.arange(len(live))
        base = network.node_v_base
        rows, columns, y, at, branch_row, name = _conductors(network, len(live), new)
        i_base = np.where(branch_row >= 0, 1e3 / base[live[at[np.maximum(branch_row, 0)]]], np.nan)
        v0 = no_load(
            network.y_indptr, network.y_indices, network.y_data, network.fixed_node, network.fixed_v, network.node_on
        )  # fmt: skip
        zero = np.ones(network.n_node, np.bool_)
        ends = np.concatenate([network.legs.a, network.legs.b])
        zero[ends[ends >= 0]] = False
        zero[network.fixed_node] = False
        scale = base[live[at[rows]]] * base[live[columns]] / 1e6
        start = np.searchsorted(rows, np.arange(len(at) + 1)).astype(np.int64)
        return cls(
            len(live), new[network.fixed_node], (v0 / base)[live], start, columns, y * scale, at, branch_row,
            np.full(branch_row.shape, -1), branch_row[:, 0] >= 0, 1.0, i_base,
            zero[live], _phase_sizes(network, zero)[live], tuple(network.node_name(k) for k in live.tolist()), name,
        )  # fmt: skip

    def without(self, branch: int) -> Grid:
        """The grid with a branch taken out; its rows stay and carry nothing."""
        y = self.y.copy()
        for row in self.branch_row[branch].tolist():
            at = int(self.at[row])
            own = slice(self.start[at], self.start[at + 1])
            for entry in range(self.start[row], self.start[row + 1]):
                y[own][self.node[own] == self.node[entry]] -= y[entry]
                y[entry] = 0.0
        return replace(self, y=y)


def _conductors(
    network: ThreePhaseNetwork, n: int, new: IntArray
) -> tuple[IntArray, IntArray, ComplexArray, IntArray, IntArray, tuple[str, ...]]:
    """Rows, columns, admittances [S] and nodes of all currents of a three-phase network; rows and names of its branches.

    The conductors of a branch's two terminals are paired in their order; what has no partner has no row.
    """
    node_row = np.repeat(np.arange(network.n_node), np.diff(network.y_indptr))
    live = (new[node_row] >= 0) & (new[network.y_indices] >= 0)
    rows, columns, y = [new[node_row[live]]], [new[network.y_indices[live]]], [network.y_data[live]]
    at, pairs, names, row = [np.arange(n)], [], [], n
    for k in range(network.n_branch):
        first, split, last = network.branch_start[k], network.branch_split[k], network.branch_start[k + 1]
        node = new[network.conductor_node[first:last]]
        width, matrix = last - first, network.primitive_y[network.primitive_start[k] : network.primitive_start[k + 1]]
        for j in range(min(split - first, last - split)):
            names.append(f"{network.branch_name[k]}.{network.node_phase[network.conductor_node[first + j]]}")
            if node.min() < 0:
                pairs.append((-1, -1))
                continue
            for c in (j, split - first + j):
                rows.append(np.full(width, row))
                columns.append(node)
                y.append(matrix.reshape(width, width)[c])
                at.append(node[c : c + 1])
                row += 1
            pairs.append((row - 2, row - 1))
    flat = [np.concatenate(part).astype(np.int64) for part in (rows, columns, at)]
    return flat[0], flat[1], np.concatenate(y), flat[2], np.array(pairs, np.int64).reshape(-1, 2), tuple(names)


def _sizes(network: Network, zero: BoolArray) -> FloatArray:
    """(n,) powers of everything that is rated at a node [pu]; a source may carry all of it together."""
    out = np.hypot(network.fixed_p_mw, network.fixed_q_mvar)
    rated = [(t.bus, np.hypot(t.p_mw, t.q_mvar)) for t in (network.loads, network.sgens)]
    for bus, s_mva in (*rated, (network.storages.bus, np.abs(network.storages.p_mw))):
        node = network.node_of_bus[bus]
        np.add.at(out, node[node >= 0], s_mva[node >= 0])
    np.add.at(out, network.pv_node, np.abs(network.pv_p_mw))
    return _shared(out, zero, np.concatenate([network.slack_node, network.pv_node]).astype(np.int64)) / network.sn_mva


def _phase_sizes(network: ThreePhaseNetwork, zero: BoolArray) -> FloatArray:
    """The same for the nodes of three phases [MVA]; a leg between two phases counts at both."""
    out = np.zeros(network.n_node + 1)
    for end in (network.legs.a, network.legs.b):
        np.add.at(out, end, np.hypot(network.legs.p_mw, network.legs.q_mvar))
    return _shared(out[:-1], zero, network.fixed_node.astype(np.int64))


def _shared(size: FloatArray, zero: BoolArray, sources: IntArray) -> FloatArray:
    """Sources may carry all of it together; nodes for which nothing is rated may have as much as the mean of those that are."""
    rated = size[size > 0.0]
    size = np.where((size > 0.0) | zero, size, rated.mean() if len(rated) else 1.0)
    size[sources] = max(float(rated.sum()), 1e-6)
    return size


def _ends(network: Network) -> IntArray:
    """(branches, 2) nodes at the ends of branches; of one that is open at an end its inner node and the bus beyond."""
    bus = np.stack([network.branch_from_bus, network.branch_to_bus], 1)
    node = np.stack([network.branch_from_node, network.branch_to_node], 1).astype(np.int64)
    beyond = np.where(bus >= 0, network.node_of_bus[np.maximum(bus, 0)], -1)
    out = np.where(network.branch_on[:, None], node, beyond)
    for branch in np.flatnonzero(network.branch_on & ~network.branch_closed):
        side = int(np.flatnonzero((bus[branch] >= 0) & (beyond[branch] != node[branch]))[0])
        out[branch] = node[branch, side], beyond[branch, side]
    return out.astype(np.int64)


def _names(network: Network) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of nodes and branches: kind and id, as their source has them."""
    node = tuple(f"bus {network.bus_id[b]}" if b >= 0 else f"inner node {k}" for k, b in enumerate(network.node_bus.tolist()))
    kinds = (BRANCH_KINDS[kind] for kind in network.branch_kind.tolist())
    return node, tuple(f"{kind} {number}" for kind, number in zip(kinds, network.branch_id.tolist(), strict=True))


def _no_load(network: Network) -> ComplexArray:
    """Voltages without injections: right behind a transformer's phase shift, where a flat start is not."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.linalg import splu

    n = network.n_node
    y = csr_matrix((network.y_data, network.y_indices, network.y_indptr), shape=(n, n))
    v = np.zeros(n, np.complex128)
    v[network.slack_node] = network.slack_v
    free = np.setdiff1d(np.arange(n), network.slack_node)
    if len(free):
        v[free] = splu(y[free][:, free].tocsc()).solve(-(y[free] @ v))
    size = np.abs(v)
    return np.where((size > 0.5) & (size < 1.5), v, np.exp(1j * np.angle(v)))


@dataclass(frozen=True, slots=True)
class Meters:
    """Which meters there are; a measurement is one number of one of them.

    Attributes:
        kind: (m,) VM, ANGLE, P, Q or CURRENT.
        row: (m,) row of the current for P, Q and CURRENT; node for VM and ANGLE.
        sigma: (m,) standard deviation [pu; radian for an angle].
        pseudo: (m,) True where nothing is measured and an expectation stands in (a load profile).
        id: (m,) names.
    """

    kind: IntArray
    row: IntArray
    sigma: FloatArray
    pseudo: BoolArray
    id: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that every meter is whole."""
        m = len(self.kind)
        if not len(self.row) == len(self.sigma) == len(self.pseudo) == len(self.id) == m:
            raise ValueError("meters: kind, row, sigma, pseudo and id differ in length")
        if m and not (np.all(np.isfinite(self.sigma)) and self.sigma.min() > 0.0):
            raise ValueError(f"meters: sigma of {self.id[int(np.argmin(self.sigma))]!r} is not above zero")

    def with_expectations(self, grid: Grid) -> Meters:
        """Add what is likely without any meter: injections as large as what is rated, source voltages near no load.

        They come after the meters' own and expect no power, and the sources' voltages without load.
        """
        free, source = np.flatnonzero(~grid.zero), grid.reference
        sigma = np.maximum(UNSURE * grid.size[free], 1e-9)
        return Meters(
            np.concatenate([self.kind, np.full(len(source), VM), np.full(len(free), P), np.full(len(free), Q)]),
            np.concatenate([self.row, source, free, free]),
            np.concatenate([self.sigma, np.full(len(source), UNSURE_VM), sigma, sigma]),
            np.append(self.pseudo, np.ones(len(source) + 2 * len(free), np.bool_)),
            self.id + (EXPECTED,) * (len(source) + 2 * len(free)),
        )

    @property
    def m(self) -> int:
        """Number of measurements."""
        return len(self.kind)
