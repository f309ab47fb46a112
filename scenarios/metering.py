"""From a scenario's meters to those that stand in the twin's network, and to the estimator that reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from controllers.estimation.service import GridEstimator
from controllers.estimation.stepped import SteppedEstimator
from scenarios.desk import Estimating
from scenarios.near import did_you_mean
from scenarios.schema.metering import HeadMeters, SimbenchMeters, SmartMeters, VoltageMeters
from twin.grid_meters import FROZEN, LATE, LOST, GridMeters, MeterErrors, MeterFaults
from twin.judge import EstimateJudge
from vpp.grid.contingency.analysis import bus_title
from vpp.grid.contingency.outages import branch_title
from vpp.grid.network import BRANCH_KINDS, Network
from vpp.grid.profiles import Profiles
from vpp.grid.stepping import StepDevices, SteppedNetwork
from vpp.historian.run import Axis
from vpp.kernel.errors import ScenarioError
from vpp.kernel.fleet import Fleet
from vpp.kernel.grid_points import QUANTITIES, PointLayout
from vpp.kernel.signals import FloatArray, IntArray

if TYPE_CHECKING:
    from scenarios.build import System
    from scenarios.schema.scenario import Scenario

Point = tuple[str, str, str, str, float, int, int, int]  # id, quantity, element, side, sigma, branch, node, delay


def grid_meters(scenario: Scenario, network: Network, fleet: Fleet, rating_mva: FloatArray) -> GridMeters | None:
    """The meters that the scenario places; None where it places none."""
    points: list[Point] = []
    losses: dict[str, float] = {}
    for part in scenario.meters:
        before, delay = len(points), round(part.delay_s / scenario.time.step_s)
        if isinstance(part, VoltageMeters):
            points += _voltages(part, network, delay)
        elif isinstance(part, HeadMeters):
            points += _heads(part, network, float(rating_mva.sum()), delay)
        elif isinstance(part, SimbenchMeters):
            points += _listed(part, network, _rated(network, fleet, rating_mva), delay)
        else:
            points += _smart(part, network, fleet, rating_mva, delay, scenario.seed)
        losses = {**{point[0]: part.loss for point in points[before:]}, **losses}
    unique = list({point[0]: point for point in reversed(points)}.values())[::-1]  # the first of two at the same place stays
    if not unique:
        return None
    name, quantity, element, side, sigma, branch, node, late = zip(*unique, strict=True)
    layout = PointLayout(name, quantity, ("",) * len(name), element, side, sigma)
    lost = np.array([losses[one] for one in name])
    return GridMeters(
        network, layout, np.array(branch), np.array(node), np.array(late), scenario.seed, _errors(scenario, name),
        _faults(scenario, name), lost if lost.any() else None,
    )  # fmt: skip


def _named(scenario: Scenario, key: str, names: Sequence[str]) -> list[tuple[Any, int, tuple[int, int]]]:
    """What is wrong with points by these names: part, point, window; ScenarioError where a pattern names none of them."""
    rows: list[tuple[Any, int, tuple[int, int]]] = []
    findings = []
    for i, part in enumerate(getattr(scenario, key)):
        points = [k for k, name in enumerate(names) if fnmatchcase(name, part.meter)]
        if not points:
            findings.append(scenario.finding(f"no meter {part.meter!r}{did_you_mean(part.meter, names)}", key, i, "meter"))
        rows += [(part, k, window) for window in part.windows(scenario.time) for k in points]
    if findings:
        raise ScenarioError(findings)
    return rows


def _faults(scenario: Scenario, names: Sequence[str]) -> MeterFaults:
    """Frozen, lost and late."""
    kinds = {"frozen": FROZEN, "lost": LOST, "late": LATE}
    rows = [
        (k, *window, kinds[part.kind], round((part.late_s or 0.0) / scenario.time.step_s))
        for part, k, window in _named(scenario, "meter_faults", names)
    ]
    return MeterFaults(*np.array(rows, np.int64).reshape(-1, 5).T.copy())


def _errors(scenario: Scenario, names: Sequence[str]) -> MeterErrors:
    """The gross errors."""
    rows = [(k, *window, part.error) for part, k, window in _named(scenario, "meter_errors", names)]
    point, begin, end, value = zip(*rows, strict=True) if rows else ((), (), (), ())
    return MeterErrors(np.array(point, np.int64), np.array(begin, np.int64), np.array(end, np.int64), np.array(value, np.float64))


def busbars(network: Network) -> IntArray:
    """Nodes of the sources and those that transformers feed right from them."""
    kind, on = np.array(BRANCH_KINDS)[network.branch_kind], network.branch_closed
    trafo = on & np.isin(kind, ("trafo", "trafo3w"))
    f, t = network.branch_from_node[trafo], network.branch_to_node[trafo]
    at = np.zeros(network.n_node, np.bool_)
    at[network.slack_node] = True
    inner = network.node_bus < 0
    for _ in range(2):  # a three-winding transformer has an inner node between
        from_here = at[f] | at[t]
        at[f[from_here]] = at[t[from_here]] = True
        if not inner[at].any():
            break
    return np.flatnonzero(at)


def _bus(network: Network, node: int) -> int:
    """Id of a node's bus, -1 for an inner node."""
    position = int(network.node_bus[node])
    return int(network.bus_id[position]) if position >= 0 else -1


def _voltages(part: VoltageMeters, network: Network, delay: int) -> list[Point]:
    """Points of voltage transformers."""
    nodes: IntArray
    if part.at == "all":
        nodes = np.arange(network.n_node)
    elif isinstance(part.at, str):
        nodes = network.slack_node.astype(np.int64) if part.at == "sources" else busbars(network)
    else:
        nodes = network.node_of_bus[np.isin(network.bus_id, part.at)].astype(np.int64)
    found = [(node, _bus(network, node)) for node in np.unique(nodes[nodes >= 0]).tolist()]
    return [(f"vm bus {b}", "vm_pu", f"bus {b}", "", part.sigma_pu, -1, node, delay) for node, b in found if b >= 0]


def _heads(part: HeadMeters, network: Network, total_mva: float, delay: int) -> list[Point]:
    """Points where feeders leave the busbars."""
    inside = np.zeros(network.n_node, np.bool_)
    inside[busbars(network)] = True
    kind = np.array(BRANCH_KINDS)[network.branch_kind]
    line = np.flatnonzero(network.branch_closed & ~np.isin(kind, ("trafo", "trafo3w")))
    begins = inside[network.branch_from_node[line]]
    heads = line[begins != inside[network.branch_to_node[line]]].tolist()
    out: list[Point] = []
    for b in heads:
        from_end = bool(inside[network.branch_from_node[b]])
        node = int((network.branch_from_node if from_end else network.branch_to_node)[b])
        element, side = f"{kind[b]} {network.branch_id[b]}", "from" if from_end else "to"
        sigma = part.sigma * total_mva / len(heads)
        out += [(f"{q[0]} {element} {side}", q, element, side, sigma, b, node, delay) for q in ("p_mw", "q_mvar")]
    return out


def _rated(network: Network, fleet: Fleet, rating_mva: FloatArray) -> FloatArray:
    """What is rated at each node (n_node,), MVA."""
    terminal = fleet.terminal
    size = np.zeros(network.n_node)
    on = terminal.node >= 0
    np.add.at(size, terminal.node[on], (rating_mva[terminal.resource] * terminal.share)[on])
    return size


def _listed(part: SimbenchMeters, network: Network, size_mva: FloatArray, delay: int) -> list[Point]:
    """Points of the network's own table.

    A source exchanges what everything together is rated at. A bus where nothing is connected has no meter of P and Q: that
    they are zero is known exactly. Buses that closed switches join are one node, with one meter of a kind.
    """
    size = size_mva.copy()
    size[network.slack_node] += size_mva.sum()
    kind, table, out, seen = np.array(BRANCH_KINDS)[network.branch_kind], network.metered, [], set()
    for k in listed(network).tolist():
        quantity, b, stated = table.quantity[k], int(table.branch[k]), float(table.sigma[k])
        if b < 0:
            node = int(network.node_of_bus[table.bus[k]])
            element, side, rated = f"bus {_bus(network, node)}", "", float(size[node])
        else:
            side = "from" if table.at_from[k] else "to"
            element = f"{kind[b]} {network.branch_id[b]}"
            node, base, limit = _end(network, b, bool(table.at_from[k]))
            per_ka = network.sn_mva / base
            rated_mva = limit * per_ka if limit > 0.0 else float(size_mva.sum())
            rated = rated_mva / per_ka if quantity == "i_ka" else rated_mva
        sigma = stated if stated > 0.0 else part.sigma_pu if quantity == "vm_pu" else part.sigma * rated
        place = (quantity, element, side)
        if sigma > 0.0 and place not in seen:
            seen.add(place)
            name = f"{quantity.partition('_')[0]} {element} {side}".rstrip()
            out.append((name, quantity, element, side, sigma, b, node, delay))
    return out


def _end(network: Network, branch: int, at_from: bool) -> tuple[int, float, float]:
    """A branch's end: its node, its base current and its rated one in kA, NaN where it is unrated."""
    if at_from:
        node, base, limit = network.branch_from_node, network.branch_i_base_from_ka, network.branch_i_max_from_ka
    else:
        node, base, limit = network.branch_to_node, network.branch_i_base_to_ka, network.branch_i_max_to_ka
    return int(node[branch]), float(base[branch]), float(limit[branch])


def listed(network: Network) -> IntArray:
    """Entries of the network's table of measurements that can be placed: what they stand at is energised."""
    table = network.metered
    placed = [
        quantity != "va_degree" and (network.node_of_bus[bus] >= 0 if branch < 0 else bool(network.branch_on[branch]))
        for quantity, bus, branch in zip(table.quantity, table.bus.tolist(), table.branch.tolist(), strict=True)
    ]
    return np.flatnonzero(np.array(placed, np.bool_))


def _smart(part: SmartMeters, network: Network, fleet: Fleet, rating_mva: FloatArray, delay: int, seed: int) -> list[Point]:
    """Points of smart meters."""
    size = _rated(network, fleet, rating_mva)
    nodes = np.flatnonzero((size > 0.0) & (network.node_bus >= 0))
    digest = hashlib.sha256(f"{seed}:smart meters".encode()).digest()
    random = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
    chosen = np.sort(random.permutation(nodes)[: round(part.share * len(nodes))]).tolist()
    out: list[Point] = []
    for node in chosen:
        bus = f"bus {_bus(network, node)}"
        out += [(f"{q[0]} {bus}", q, bus, "", part.sigma * float(size[node]), -1, node, delay) for q in ("p_mw", "q_mvar")]
        out.append((f"vm {bus}", "vm_pu", bus, "", part.sigma_pu, -1, node, delay))
    return out


def judge_of(system: System) -> EstimateJudge | None:
    """Who compares the estimates of a system with its truth; None where nobody estimates."""
    e, net, grid = system.desk.estimating, system.network, system.plant.grid
    if e is None or grid.meters is None:
        return None
    kinds = [BRANCH_KINDS[kind] for kind in net.branch_kind.tolist()]
    names = tuple(f"{kind} {number}" for kind, number in zip(kinds, net.branch_id.tolist(), strict=True))
    titles = tuple(branch_title(net, b) for b in range(net.n_branch))
    buses = tuple(bus_title(net, b) for b in range(net.n_bus))
    dt_ns = system.scenario.time.step_ns
    estimation = system.scenario.estimation
    stale = tuple(part.branch for part in estimation.stale) if estimation is not None else ()
    return EstimateJudge(grid.points, buses, titles, names, grid.meters.errors, -(-max(e.budget_ns, dt_ns) // dt_ns), stale)


def meter_axis(layout: PointLayout, network: Network) -> Axis:
    """The points as columns of a record; ``bus`` and ``branch`` are positions, -1 where a point stands at none."""
    bus = {f"bus {number}": k for k, number in enumerate(network.bus_id.tolist())}
    kinds = [BRANCH_KINDS[kind] for kind in network.branch_kind.tolist()]
    branch = {f"{kind} {number}": k for k, (kind, number) in enumerate(zip(kinds, network.branch_id.tolist(), strict=True))}
    m = len(layout.id)
    element = layout.element or ("",) * m
    return Axis(
        "meters", "meter", layout.id,
        {
            "quantity": np.array(layout.quantity), "unit": np.array([QUANTITIES[q] for q in layout.quantity]),
            "side": np.array(layout.side or ("",) * m), "sigma": np.array(layout.sigma or (0.0,) * m),
            "bus": np.array([bus.get(name, -1) for name in element]),
            "branch": np.array([branch.get(name, -1) for name in element]),
        },
    )  # fmt: skip


def believed(scenario: Scenario, network: Network) -> Network:
    """The network as the estimator takes it to be switched; ScenarioError for a branch that there is not, or that is so."""
    stale = scenario.estimation.stale if scenario.estimation is not None else ()
    if not stale:
        return network
    from vpp.grid.compile import compile_network
    from vpp.grid.source import load_source

    net, notes = load_source(network.source)
    kinds = [BRANCH_KINDS[kind] for kind in network.branch_kind.tolist()]
    place = {f"{kind} {number}": k for k, (kind, number) in enumerate(zip(kinds, network.branch_id.tolist(), strict=True))}
    findings = []
    for i, part in enumerate(stale):
        k = place.get(part.branch, -1)
        if k < 0:
            text = f"no branch {part.branch!r}{did_you_mean(part.branch, place)}"
        elif bool(network.branch_closed[k]) == part.closed:
            text = f"{part.branch} is {'closed' if part.closed else 'open'} indeed: nothing is stale"
        else:
            _switch(net, part.branch, closed=part.closed)
            continue
        findings.append(scenario.finding(text, "estimation", "stale", i, "branch"))
    if findings:
        raise ScenarioError(findings)
    return compile_network(net, network.source, "", notes)


def _switch(net: Any, branch: str, *, closed: bool) -> None:
    """Open a branch, or close it at both ends."""
    kind, _, number = branch.partition(" ")
    net[kind].loc[int(number), "in_service"] = closed
    if closed:
        net.switch.loc[(net.switch.et == kind[0]) & (net.switch.element == int(number)), "closed"] = True


def estimating(
    scenario: Scenario, network: Network, fleet: Fleet, points: PointLayout, profiles: Profiles | None, steps: StepDevices
) -> Estimating | None:
    """Who estimates, and how often; None for nobody. ``steps`` are the network's devices that resources hold."""
    e = scenario.estimation
    if e is None:
        return None
    belief = believed(scenario, network)
    bus = network.node_bus[fleet.terminal.node[fleet.terminal.node >= 0]]
    node = np.unique(belief.node_of_bus[bus[bus >= 0]])
    injecting = node[node >= 0].astype(np.int64)

    def make(now: Network) -> GridEstimator:
        return GridEstimator(now, points, injecting, profiles if e.pseudo else None)

    estimator = SteppedEstimator(SteppedNetwork(belief, steps), make) if len(steps) else make(belief)
    every = max(1, round(e.every_s / scenario.time.step_s))
    return Estimating(estimator, every * scenario.time.step_ns, round(e.budget_s * 1e9))
