"""What is measured where, and the network in the form that an estimate needs: every current as a sum over node voltages.

An injection is the current of a row of the node admittance matrix, a flow that of one end of a branch. Both are linear
in the node voltages, in one phase as in three, so that one law serves them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from vpp.grid.network import Network
from vpp.kernel.signals import BoolArray, ComplexArray, FloatArray, IntArray

VM, ANGLE, P, Q, CURRENT = range(5)
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
        p_base_mva: power of 1 pu.
        i_base_ka: (branches, 2) current of 1 pu at either end.
        zero: (n,) nodes at which nothing can be injected.
    """

    n: int
    reference: IntArray
    v0: ComplexArray
    start: IntArray
    node: IntArray
    y: ComplexArray
    at: IntArray
    branch_row: IntArray
    p_base_mva: float
    i_base_ka: FloatArray
    zero: BoolArray

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
            np.concatenate([np.arange(n), f, t]), branch_row, network.sn_mva, base, zero,
        )  # fmt: skip


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

    @property
    def m(self) -> int:
        """Number of measurements."""
        return len(self.kind)
