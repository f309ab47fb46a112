"""Which tie to close so that what an outage has cut off is supplied again: every open switch is tried by a power flow.

A tie is an open bus-bus switch or the open end of a branch that is energised from its other end, with what is lost on
the one side and what lives on the other. A branch that is open at both ends takes two operations and is no candidate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpp.grid.contingency.analysis import bus_title
from vpp.grid.contingency.outages import Outage, Outages, branch_title
from vpp.grid.contingency.rewire import moved, rewire
from vpp.grid.limits import LOADING, VM_LOW, Checks, Limits, check
from vpp.grid.network import Network
from vpp.grid.powerflow.choose import choose
from vpp.grid.tables import ComplexArray, FloatArray


@dataclass(frozen=True, slots=True)
class Proposal:
    """A tie that supplies again what was lost.

    Attributes:
        switch: position in the network's table of switches.
        name: the switch, and what it connects.
        restored_buses: number of buses that come alive.
        restored_mw: consumption that comes back.
        left_mw: consumption that stays without supply.
        converged: whether there is a solution with the tie closed.
        v_bus: (n_bus,) voltages then, pu; NaN where it is dead, and throughout without a solution.
        loading: (n_branch,) loadings then, 1.0 = rated; NaN where off or unrated.
        checks: limits then, with emergency ratings; None without a solution.
    """

    switch: int
    name: str
    restored_buses: int
    restored_mw: float
    left_mw: float
    converged: bool
    v_bus: ComplexArray
    loading: FloatArray
    checks: Checks | None

    @property
    def allowed(self) -> bool:
        """Whether there is a solution that holds every limit."""
        return self.checks is not None and not self.checks.violated.any()

    @property
    def severity(self) -> float:
        """Largest excess over a limit, relative to it; infinite without a solution, below 0 where all hold."""
        return float(self.checks.severity.max(initial=-1.0)) if self.checks is not None else float("inf")

    def extreme(self, quantity: int) -> float:
        """Highest loading (`LOADING`) or lowest voltage (`VM_LOW`); NaN without a solution."""
        if quantity not in (LOADING, VM_LOW):
            raise ValueError(f"quantity {quantity} has no extreme here")
        values = self.loading if quantity == LOADING else np.abs(self.v_bus)
        known = values[np.isfinite(values)]
        if not len(known):
            return float("nan")
        return float(known.max() if quantity == LOADING else known.min())


def ties(network: Network) -> list[tuple[int, int, int]]:
    """Open switches that join two energised nodes when closed: (switch, node, node)."""
    table = network.switches
    out = []
    for k in np.flatnonzero(~table.closed).tolist():
        here, branch = int(network.node_of_bus[table.bus[k]]), int(table.branch[k])
        if branch < 0:
            there = int(network.node_of_bus[table.other_bus[k]])
        else:
            ends = (network.branch_from_bus, network.branch_from_node), (network.branch_to_bus, network.branch_to_node)
            there = next((int(node[branch]) for bus, node in ends if bus[branch] == table.bus[k] and node[branch] != here), -1)
        if here >= 0 and there >= 0 and here != there:
            out.append((k, here, there))
    return out


def restore(
    network: Network, outage: Sequence[int], p_mw: FloatArray, q_mvar: FloatArray, limits: Limits | None = None
) -> list[Proposal]:
    """Try every tie between what an outage has cut off and what lives; the best first.

    Args:
        network: the network.
        outage: branches that are out.
        p_mw: (n_node,) injections, generation positive.
        q_mvar: (n_node,) injections.
        limits: what is allowed; ratings with their emergency factors.

    Returns:
        Proposals: those within all limits first, then by restored consumption, then by the smallest excess; empty where
        nothing is lost or no tie reaches it.

    Raises:
        ValueError: for a branch that there is not, or limits that do not fit.
    """
    limits = limits or Limits()
    lost = Outages.of(network, [Outage(tuple(outage), "outage")]).lost[0]
    dead = np.zeros(network.n_node, np.bool_)
    dead[lost] = True
    out = set(outage)
    found = []
    for switch, a, b in ties(network):
        if int(network.switches.branch[switch]) not in out and dead[a] != dead[b]:
            found.append(_tried(network, outage, (switch, a, b), p_mw, q_mvar, limits))
    useful = [proposal for proposal in found if proposal.restored_buses]
    return sorted(useful, key=lambda p: (not p.allowed, not p.converged, -p.restored_mw, p.severity, p.switch))


def _tried(
    network: Network, outage: Sequence[int], tie: tuple[int, int, int], p_mw: FloatArray, q_mvar: FloatArray, limits: Limits
) -> Proposal:
    """Close one tie and solve."""
    switch, a, b = tie
    before = rewire(network, outage)[1]
    after, node = rewire(network, outage, [(a, b)])
    size, on = after.n_node, network.node_of_bus >= 0
    p, q = moved(p_mw, node, size), moved(q_mvar, node, size)
    solution = choose(after)[0].solve(p, q)
    consumption = np.maximum(-np.asarray(p_mw) - network.fixed_p_mw, 0.0)
    restored = (node >= 0) & (before < 0)
    buses = restored[network.node_of_bus[on]].sum()
    loading = np.where(after.branch_on, after.branch_flows(solution.v).loading, np.nan)
    checks = check(after, solution.v, limits, outage=True) if solution.converged else None
    return Proposal(
        switch, _name(network, switch), int(buses), float(consumption[restored].sum()), float(consumption[node < 0].sum()),
        solution.converged, after.bus_values(solution.v), loading, checks,
    )  # fmt: skip


def _name(network: Network, switch: int) -> str:
    """A switch and what it connects."""
    table = network.switches
    bus, branch = int(table.bus[switch]), int(table.branch[switch])
    other = branch_title(network, branch) if branch >= 0 else bus_title(network, int(table.other_bus[switch]))
    own = table.name[switch] or f"switch {table.id[switch]}"
    return f"{own} ({bus_title(network, bus)} - {other})"
