"""Contingency analysis: every case solved, what it cuts off, what it breaks, the worst first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vpp.grid.contingency.measure import (
    WORSE,
    Bounds,
    Extremes,
    Found,
    first_of,
    joined,
    measure,
    measure_reverse,
    no_extremes,
    room,
)
from vpp.grid.contingency.outages import Outages, branch_title
from vpp.grid.contingency.solve import OutageSolver
from vpp.grid.limits import LOADING, QUANTITIES, REVERSE, VM_HIGH, VM_LOW, Checks, Limits, check, reverse_power
from vpp.grid.network import Network
from vpp.grid.powerflow.choose import check_first_solve, choose
from vpp.grid.tables import BoolArray, ByteArray, ComplexArray, FloatArray, Int32Array, IntArray

Progress = Callable[[int, int], None]


class Violations(NamedTuple):
    """Limits that outages break: the worst case's first, within a case the most severe first; arrays of one length.

    Attributes:
        case: number of the outage.
        quantity: position in `vpp.grid.limits.QUANTITIES`.
        element: bus of a voltage, branch of a loading or a reverse power.
        value, limit: pu, 1.0 = rated current, MW.
        margin: what is left, in the same unit: negative.
        base: the value without an outage.
        severity: -margin over the limit, of a reverse power over the rated one.
    """

    case: IntArray
    quantity: ByteArray
    element: Int32Array
    value: FloatArray
    limit: FloatArray
    margin: FloatArray
    base: FloatArray
    severity: FloatArray

    @property
    def caused(self) -> BoolArray:
        """Mask of those that the outage makes, or makes worse."""
        worse = np.where(self.quantity == VM_LOW, -1.0, 1.0) * (self.value - self.base)
        return ~(worse <= WORSE * np.abs(self.base))


class Lost(NamedTuple):
    """What every outage cuts off; arrays (cases,).

    Attributes:
        buses: number of buses.
        load_mw, generation_mw: consumption and generation, by node, as magnitudes.
    """

    buses: IntArray
    load_mw: FloatArray
    generation_mw: FloatArray


@dataclass(frozen=True, slots=True)
class Contingencies:
    """What every outage does; rows are cases.

    Attributes:
        network: the network.
        outages: the cases, with what each cuts off and whether it parts the network.
        converged: (cases,) whether what is left alive has a solution.
        extremes: highest loading and extreme voltages of every case.
        lost: what every case cuts off.
        violations: all violations, ranked.
        base: the limits without any outage, with the ratings that hold then.
        v_base: (n_node,) voltages without any outage, pu.
    """

    network: Network
    outages: Outages
    converged: BoolArray
    extremes: Extremes
    lost: Lost
    violations: Violations
    base: Checks
    v_base: ComplexArray

    def ranking(self) -> IntArray:
        """Cases, the worst first."""
        return _ranking(self.converged, self.lost, self.extremes)

    def islanding(self, case: int) -> str:
        """Class of a case: "lost" (buses are dead), "parted" (an island lives on by its own source), both or neither ("")."""
        words = ["lost"] * bool(self.lost.buses[case]) + ["parted"] * bool(self.outages.parted[case])
        return ", ".join(words)

    def describe(self, violation: int) -> str:
        """Say a violation in words."""
        found = self.violations
        element, value, limit = int(found.element[violation]), float(found.value[violation]), float(found.limit[violation])
        name = self.outages.outages[found.case[violation]].name
        return f"{name} out: {limit_title(self.network, int(found.quantity[violation]), element, value, limit)}"


def limit_title(network: Network, quantity: int, element: int, value: float, limit: float) -> str:
    """Say a value and its limit in words."""
    if quantity == LOADING:
        return f"{branch_title(network, element)} at {100 * value:.1f} % of its rating (limit {100 * limit:.0f} %)"
    if QUANTITIES[quantity] == "reverse":
        return f"{branch_title(network, element)} feeds back {value:.4g} MW (limit {limit:.4g} MW)"
    return f"{bus_title(network, element)} at {value:.4f} pu (limit {limit:.4g} pu)"


def element_title(network: Network, quantity: int, element: int) -> str:
    """The bus or branch that a limit is about."""
    return bus_title(network, element) if quantity in (VM_LOW, VM_HIGH) else branch_title(network, element)


def bus_title(network: Network, bus: int) -> str:
    """A bus's name for people, or its id where it has none."""
    name = network.bus_name[bus]
    return name if name and not name.isdigit() else f"bus {name or network.bus_id[bus]}"


def _ranking(converged: BoolArray, lost: Lost, extremes: Extremes) -> IntArray:
    """Cases, the worst first: no solution, then by lost load, lost generation, the largest excess over a limit, loading."""
    loading = np.nan_to_num(extremes.loading_max)
    return np.lexsort((-loading, -extremes.severity, -lost.generation_mw, -lost.load_mw, converged)).astype(np.int64)


def analyse(
    network: Network, outages: Outages, p_mw: FloatArray, q_mvar: FloatArray, limits: Limits | None = None, *,
    progress: Progress | None = None, keep: Callable[[int, ComplexArray], None] | None = None,
) -> Contingencies:  # fmt: skip
    """Solve every case.

    Args:
        network: the network.
        outages: the cases, see `single_outages` and `pairs`.
        p_mw: (n_node,) injections, generation positive.
        q_mvar: (n_node,) injections.
        limits: what is allowed.
        progress: called now and then with (cases done, cases in all).
        keep: called with the number of a block's first case and the block's node voltages (m, n_node).

    Raises:
        Diverged: there is no solution without an outage.
        ValueError: limits that do not fit the network.
    """
    limits = limits or Limits()
    bounds = Bounds(limits.loading(network, outage=True), *limits.band(network), network.node_of_bus)
    engine, _ = choose(network, "auto")
    base = check_first_solve(engine, network, p_mw, q_mvar)
    flows, cases = network.flow_arrays(), len(outages)
    loading_base, vm_base = network.branch_flows(base.v).loading, network.bus_values(np.abs(base.v))
    back_limit, (back_base, rated) = limits.reverse(network), reverse_power(network, base.v)
    extremes, converged = no_extremes(cases), np.zeros(cases, np.bool_)
    parts: list[Found] = []
    free = room(1024)
    for first, some, v, good in OutageSolver(network).blocks(outages, p_mw, q_mvar, base.v):
        converged[first : first + len(v)] = good
        while True:
            count = int(measure(flows, bounds, some, v, first, loading_base, vm_base, extremes, free))
            if count <= len(free.case):
                break
            free = room(2 * count)
        parts.append(first_of(free, count))
        if limits.reverse_mw is not None:
            parts.append(measure_reverse(network, back_limit, some, v, first, back_base, extremes))
        if keep is not None:
            keep(first, v)
        if progress is not None:
            progress(first + len(v), cases)
    lost = _lost(network, outages, p_mw, q_mvar)
    bases = {LOADING: loading_base, VM_LOW: vm_base, VM_HIGH: vm_base, REVERSE: back_base}
    violations = _ranked(joined(parts), _ranking(converged, lost, extremes), bases, rated)
    return Contingencies(network, outages, converged, extremes, lost, violations, check(network, base.v, limits), base.v)


def _ranked(found: Found, ranking: IntArray, bases: Mapping[int, FloatArray], rated: FloatArray) -> Violations:
    """Complete and sort violations; ``bases`` are the values without an outage by quantity, ``rated`` powers of branches."""
    margin = np.where(found.quantity == VM_LOW, found.value - found.limit, found.limit - found.value)
    base, scale = np.empty(len(found.case)), found.limit.copy()
    for quantity, values in bases.items():
        mine = found.quantity == quantity
        base[mine] = values[found.element[mine]]
        if quantity == REVERSE:
            scale[mine] = rated[found.element[mine]]
    severity = -margin / scale
    place = np.empty(len(ranking), np.int64)
    place[ranking] = np.arange(len(ranking))
    order = np.lexsort((-severity, place[found.case]))
    return Violations(
        found.case[order], found.quantity[order], found.element[order], found.value[order], found.limit[order],
        margin[order], base[order], severity[order],
    )  # fmt: skip


def _lost(network: Network, outages: Outages, p_mw: FloatArray, q_mvar: FloatArray) -> Lost:
    """What every case cuts off."""
    from vpp.grid.powerflow.port import net_injections

    p, _ = net_injections(network, p_mw, q_mvar)
    buses = np.bincount(network.node_of_bus[network.node_of_bus >= 0], minlength=network.n_node)
    size = [len(nodes) for nodes in outages.lost]
    case, nodes = np.repeat(np.arange(len(size)), size), np.concatenate([np.zeros(0, np.int32), *outages.lost])
    bus, load, generation = (
        np.bincount(case, x[nodes], len(size)).astype(np.float64) for x in (buses, np.maximum(-p, 0.0), np.maximum(p, 0.0))
    )
    return Lost(np.rint(bus).astype(np.int64), load, generation)
