"""Contingency analysis: every case solved, what it cuts off, what it breaks, the worst first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vpp.grid.contingency import radial
from vpp.grid.contingency.meshed import MeshedOutages
from vpp.grid.contingency.outages import Outages, branch_title
from vpp.grid.network import Network
from vpp.grid.powerflow.choose import choose
from vpp.grid.tables import BoolArray, ComplexArray, FloatArray, IntArray

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """What counts as a violation after an outage.

    Attributes:
        vm_low_pu, vm_high_pu: band of bus voltages.
        loading: highest current of rated current.
        rating: (branches,) factor on each branch's rated current: an emergency rating of 1.2, a summer rating of 0.9.
    """

    vm_low_pu: float = 0.9
    vm_high_pu: float = 1.1
    loading: float = 1.0
    rating: FloatArray | float = 1.0


@dataclass(frozen=True, slots=True)
class Violation:
    """One limit that an outage breaks.

    Attributes:
        case: number of the outage.
        quantity: "loading", "vm_low" or "vm_high".
        element: branch or bus.
        value, limit: what it is and what it may be [1 or pu].
    """

    case: int
    quantity: str
    element: int
    value: float
    limit: float

    @property
    def excess(self) -> float:
        """By how much of the limit it is beyond it."""
        return abs(self.value - self.limit) / self.limit


@dataclass(frozen=True, slots=True)
class Contingencies:
    """What every outage does; rows are cases.

    Attributes:
        network: the network.
        outages: the cases.
        converged: (cases,) whether what is left alive has a solution.
        loading_max, loading_branch: (cases,) highest loading and where; NaN and -1 where there is none.
        vm_min_pu, vm_min_bus, vm_max_pu, vm_max_bus: (cases,) extreme voltages and where.
        lost_p_mw: (cases,) consumption and generation that is cut off, summed by magnitude.
        lost_buses: (cases,) number of buses cut off.
        violations: all violations, the worst case first, within it the worst violation first.
        base: the same numbers without any outage: (loading_max, vm_min_pu, vm_max_pu).
    """

    network: Network
    outages: Outages
    converged: BoolArray
    loading_max: FloatArray
    loading_branch: IntArray
    vm_min_pu: FloatArray
    vm_min_bus: IntArray
    vm_max_pu: FloatArray
    vm_max_bus: IntArray
    lost_p_mw: FloatArray
    lost_buses: IntArray
    violations: tuple[Violation, ...]
    base: tuple[float, float, float]

    def ranking(self) -> IntArray:
        """Cases, the worst first: no solution, then by lost power, then by the largest excess over a limit."""
        excess = np.zeros(len(self.outages))
        for violation in self.violations:
            excess[violation.case] = max(excess[violation.case], violation.excess)
        return np.lexsort((-excess, -self.lost_p_mw, self.converged)).astype(np.int64)

    def describe(self, violation: Violation) -> str:
        """Say a violation in words."""
        name = self.outages.outages[violation.case].name
        if violation.quantity == "loading":
            where = branch_title(self.network, violation.element)
            return f"{name} out: {where} at {100 * violation.value:.0f} % of its rating ({100 * violation.limit:.0f} % allowed)"
        where = self.network.bus_name[violation.element] or f"bus {self.network.bus_id[violation.element]}"
        return f"{name} out: {where} at {violation.value:.4f} pu (limit {violation.limit:.4g} pu)"


def analyse(
    network: Network, outages: Outages, p_mw: FloatArray, q_mvar: FloatArray, limits: Limits | None = None, *,
    progress: Progress | None = None, keep: Callable[[int, ComplexArray], None] | None = None,
) -> Contingencies:  # fmt: skip
    """Solve every case.

    Args:
        network: the network.
        outages: the cases, see `single_outages`.
        p_mw: (n_node,) injections, generation positive.
        q_mvar: (n_node,) injections.
        limits: what counts as a violation.
        progress: called now and then with (cases done, cases in all).
        keep: called with the number and the node voltages of every case.
    """
    limits = limits or Limits()
    engine, _ = choose(network, "auto")
    base = engine.solve(p_mw, q_mvar)
    measure = _Measure(network, limits)
    cases = len(outages)
    rows = np.full((7, cases), np.nan)
    violations: list[Violation] = []
    for k, v in enumerate(_voltages(network, engine.name, outages, p_mw, q_mvar, base.v)):
        if keep is not None:
            keep(k, v)
        rows[:, k], found = measure(k, v, outages.outages[k].branches)
        violations += found
        if progress is not None and k % 64 == 63:
            progress(k + 1, cases)
    if progress is not None:
        progress(cases, cases)
    lost_p = np.array([float(np.abs(p_mw[nodes]).sum()) for nodes in outages.lost])
    at_bus = np.bincount(network.node_of_bus[network.node_of_bus >= 0], minlength=network.n_node)
    lost_buses = np.array([int(at_bus[nodes].sum()) for nodes in outages.lost], np.int64)
    whole, _ = measure(-1, base.v, ())
    where = np.nan_to_num(rows[[1, 3, 5]], nan=-1.0).astype(np.int64)
    worst: dict[int, float] = {}
    for violation in violations:
        worst[violation.case] = max(worst.get(violation.case, 0.0), violation.excess)
    violations.sort(key=lambda x: (-worst[x.case], x.case, -x.excess))
    return Contingencies(
        network, outages, rows[6] == 1.0, rows[0], where[0], rows[2], where[1], rows[4], where[2], lost_p, lost_buses,
        tuple(violations), (float(whole[0]), float(whole[2]), float(whole[4])),
    )  # fmt: skip


def _voltages(network: Network, engine: str, outages: Outages, p_mw: FloatArray, q_mvar: FloatArray, v0: ComplexArray):  # type: ignore[no-untyped-def]
    """Node voltages of every case."""
    if engine != "tree":
        yield from MeshedOutages(network).solve(outages, p_mw, q_mvar, v0)
        return
    from vpp.grid.powerflow.port import net_injections

    tree = radial.tree_of(network)
    p, q = net_injections(network, p_mw, q_mvar)
    s = radial.in_tree_order(tree, (p + 1j * q) / network.sn_mva)
    start = radial.in_tree_order(tree, v0)
    f, t = (np.where(x >= 0, tree.position[x], -1).astype(np.int64) for x in (network.branch_from_node, network.branch_to_node))
    y = np.stack([network.yff, network.yft, network.ytf, network.ytt], 1)
    block = max(1, 4_000_000 // network.n_node)
    for first in range(0, len(outages), block):
        some = outages.outages[first : first + block]
        starts = np.cumsum([0, *(len(o.branches) for o in some)]).astype(np.int64)
        branches = np.array([b for o in some for b in o.branches], np.int64)
        v = np.empty((len(some), network.n_node), np.complex128)
        took = np.empty(len(some), np.int64)
        radial.solve_outages(tree, s, start, starts, branches, f, t, y, 1e-10, 100, v, took)
        yield from v[:, tree.position]


class _Measure:
    """Looks at the voltages of a case: extremes and violations."""

    def __init__(self, network: Network, limits: Limits) -> None:
        self.network, self.limits = network, limits
        self.flows = network.flow_arrays()
        self.work = np.empty((4, network.n_branch))
        self.rating = np.broadcast_to(np.asarray(limits.rating, np.float64), network.n_branch)

    def __call__(self, case: int, v: ComplexArray, out: tuple[int, ...]) -> tuple[FloatArray, list[Violation]]:
        """Extremes (7,) and violations of one case."""
        from vpp.grid.flows import branch_flows_into

        net, limits = self.network, self.limits
        i_from, i_to, loading, loss = self.work
        branch_flows_into(self.flows, np.ascontiguousarray(v.real), np.ascontiguousarray(v.imag), i_from, i_to, loading, loss)
        loading = loading / self.rating
        loading[list(out)] = np.nan
        vm = net.bus_values(np.abs(v))
        row = np.full(7, np.nan)
        row[6] = float(np.isfinite(vm).any())
        for at, values, pick in ((0, loading, np.nanargmax), (2, vm, np.nanargmin), (4, vm, np.nanargmax)):
            if np.isfinite(values).any():
                which = int(pick(values))
                row[at], row[at + 1] = values[which], which
        found = []
        with np.errstate(invalid="ignore"):
            tests = (
                ("loading", loading, loading > limits.loading, limits.loading),
                ("vm_low", vm, vm < limits.vm_low_pu, limits.vm_low_pu),
                ("vm_high", vm, vm > limits.vm_high_pu, limits.vm_high_pu),
            )
        for quantity, values, beyond, limit in tests:
            found += [Violation(case, quantity, int(i), float(values[i]), limit) for i in np.flatnonzero(beyond)]
        return row, found
