"""From a scenario's frequency and islands to the twin's swing model, and what is wrong with them in a network."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from scenarios.near import did_you_mean
from scenarios.schema.frequency import UFLS, FleetDroop, FormedIsland, Frequency, Swinging
from twin.devices.entry import AtBuses
from twin.frequency import Droop, Forming, Island, Stage, Swing, Unit
from vpp.fields import Where
from vpp.grid.islands import connected
from vpp.kernel.errors import Finding
from vpp.kernel.fleet import CONTROL_NONE
from vpp.kernel.settings import Settings
from vpp.kernel.signals import Int32Array, IntArray

if TYPE_CHECKING:
    from scenarios.expand import FleetPlan
    from scenarios.schema.scenario import Scenario
    from twin.spec import FleetSpec
    from vpp.grid.network import Network

FORMERS: Final = ("battery", "genset")  # kinds that can form an island


def forming_buses(scenario: Scenario) -> dict[int | str, float]:
    """Bus (name or source id) of every forming resource -> the voltage that it holds; those that are not found are left out."""
    found = ((_forming_bus(scenario, island), island.v_ref_pu) for island in scenario.islands)
    return {bus: vm_pu for bus, vm_pu in found if bus is not None}


def _forming_bus(scenario: Scenario, island: FormedIsland) -> int | str | None:
    """The named bus of an island's forming resource."""
    for entry in scenario.fleet:
        buses = entry.at.buses if isinstance(entry.at, AtBuses) else ()
        if island.forming == entry.id and len(buses) == 1:
            return buses[0]
        width = len(str(len(buses)))
        for k, bus in enumerate(buses, start=1):
            if island.forming == f"{entry.id}-{k:0{width}d}":
                return bus
    return None


def forming_resources(scenario: Scenario, plan: FleetPlan) -> IntArray:
    """Resource that forms each island, (islands,); -1 where there is none, or not one alone."""
    entries = [entry.id for entry in scenario.fleet]
    found = [np.flatnonzero(plan.named(island.forming, entries)) for island in scenario.islands]
    return np.array([int(f[0]) if len(f) == 1 else -1 for f in found], np.int64)


def released(scenario: Scenario, plan: FleetPlan) -> FleetPlan:
    """The plan with its forming resources out of the controllers' hands: the network decides what they deliver."""
    control = plan.control.copy()
    control[forming_resources(scenario, plan)] = CONTROL_NONE
    return replace(plan, control=control)


def led(scenario: Scenario, plan: FleetPlan, spec: FleetSpec) -> FleetSpec:
    """The fleet with the references of its forming resources; no function of their own inverters acts."""
    forming = forming_resources(scenario, plan)
    settings = Settings(spec.settings.block.copy())
    settings.block[:, forming] = 0.0
    refs = [(i.v_ref_pu, i.f_ref_hz or scenario.frequency.nominal_hz) for i in scenario.islands]
    table = np.array(refs, np.float64).reshape(-1, 2).T
    return replace(spec, settings=settings, forming=forming, forming_ref=table)


def islands_of(network: Network, forming: IntArray, bus: IntArray) -> tuple[Int32Array, bool]:
    """Island of each node, and whether a public grid is left: that is island 0 and the formed ones follow."""
    label = connected(network, network.node_of_bus[bus[forming]].tolist())
    public = bool((label[network.slack_node] < 0).any())
    return (label + public).astype(np.int32), public


def swing_of(scenario: Scenario, plan: FleetPlan, network: Network, spec: FleetSpec) -> Swing | None:
    """The swing model; None where the frequency of all that is energised is given."""
    frequency, forming = scenario.frequency, forming_resources(scenario, plan)
    if frequency.model == "profile" and not scenario.islands:
        return None
    node_island, public = islands_of(network, forming, plan.bus)
    islands = [_public(scenario, plan, spec, node_island)] if public else []
    for island, resource in zip(scenario.islands, forming.tolist(), strict=True):
        islands.append(_formed(scenario, plan, spec, node_island, len(islands), island, resource))
    events = [
        (0.0, e.at_s, math.inf if e.until_s is None else e.until_s, -e.p_mw)
        for e in frequency.events if public and frequency.model == "swing"
    ]  # fmt: skip
    longest = min([frequency.substep_s, *(island.substep_s for island in scenario.islands)])
    table = np.array(events, np.float64).reshape(-1, 4)
    return Swing(spec, tuple(islands), node_island, network.slack_node, table, longest)


def _public(scenario: Scenario, plan: FleetPlan, spec: FleetSpec, node_island: Int32Array) -> Island:
    """The public grid with the rest of the system behind it."""
    f, hz = scenario.frequency, scenario.frequency.nominal_hz
    if f.model == "profile":
        return Island("public grid", hz)
    weights = sum(governor.secondary for governor in f.governors)
    damping = f.damping * f.base_mva / hz
    units, gain, most = [], damping, 0.0
    for g in f.governors:
        up, down = g.p_mw if g.up_mw is None else g.up_mw, g.p_mw if g.down_mw is None else g.down_mw
        gain += g.p_mw / (hz * g.droop)
        most += max(up, down) if g.secondary > 0.0 else 0.0
        units.append(
            Unit(
                g.p_mw / (hz * g.droop), g.deadband_hz, down, up, g.valve_s, g.turbine_s, g.fast_share,
                g.secondary / weights if weights > 0.0 else 0.0, math.inf if g.ramp_mw_per_s is None else g.ramp_mw_per_s,
            )
        )  # fmt: skip
    return Island(
        "public grid", hz, 2.0 * f.inertia_s * f.base_mva / hz, damping, *_limits(f, hz),
        secondary_mw_per_hz_s=0.0 if f.secondary_s is None else gain / f.secondary_s, secondary_max_mw=most,
        load_share=f.load_self_regulation, rest_load_mw=f.load_mw, units=tuple(units),
        droops=(*_droops(scenario, f, plan, spec, node_island, 0), *droops_of_settings(spec, node_island, 0, hz)),
        stages=_stages(f),
    )  # fmt: skip


def _formed(
    scenario: Scenario,
    plan: FleetPlan,
    spec: FleetSpec,
    node_island: Int32Array,
    number: int,
    island: FormedIsland,
    resource: int,
) -> Island:
    """An island with the resource that forms it."""
    hz, p = scenario.frequency.nominal_hz, float(max(plan.p_max_mw[resource], -plan.p_min_mw[resource]))
    gain = p / (hz * island.forming_droop)
    droops = [
        *_droops(scenario, island, plan, spec, node_island, number),
        *droops_of_settings(spec, node_island, number, hz),
    ]
    return Island(
        f"island of {spec.fleet.id[resource]}", hz, 2.0 * island.inertia_s * p / hz, 0.0, *_limits(island, hz),
        secondary_mw_per_hz_s=0.0 if island.secondary_s is None else gain / island.secondary_s, secondary_max_mw=p,
        load_share=island.load_self_regulation, droops=tuple(droops), stages=_stages(island),
        forming=Forming(resource, gain, island.valve_s, island.turbine_s, float(plan.s_mva[resource]), island.fade),
    )  # fmt: skip


def _limits(part: Swinging, nominal_hz: float) -> tuple[float, float]:
    """Lowest and highest frequency of an island."""
    return part.low_hz or 0.95 * nominal_hz, part.high_hz or 1.03 * nominal_hz


def _stages(part: Swinging) -> tuple[Stage, ...]:
    return tuple(Stage(stage.f_hz, stage.delay_s, stage.share) for stage in part.stages)


def _droops(
    scenario: Scenario, part: Swinging, plan: FleetPlan, spec: FleetSpec, node_island: Int32Array, number: int
) -> Iterator[Droop]:
    """What a scenario says of the droop of resources in this island."""
    fleet, hz = spec.fleet, scenario.frequency.nominal_hz
    forming = forming_resources(scenario, plan)
    for droop in part.droop:
        chosen = _inside(scenario, droop, plan, spec, node_island, number)
        chosen = chosen[~np.isin(chosen, forming)]
        gain = np.maximum(fleet.p_max_mw, -fleet.p_min_mw)[chosen] / (hz * droop.droop)
        yield Droop(chosen, gain, gain, droop.deadband_hz, droop.deadband_hz, droop.response_s / math.log(10.0))


def _inside(
    scenario: Scenario, droop: FleetDroop, plan: FleetPlan, spec: FleetSpec, node_island: Int32Array, number: int
) -> IntArray:
    """Resources that a droop means, in one island."""
    named = plan.named(droop.resources, [entry.id for entry in scenario.fleet])
    return np.flatnonzero(named & (_island_of(spec.fleet.terminal.node, node_island) == number))


def _island_of(node: Int32Array, node_island: Int32Array) -> IntArray:
    """Island of each resource by its node, -1 on a dead one."""
    return np.where(node >= 0, node_island[np.maximum(node, 0)], -1)


def droops_of_settings(spec: FleetSpec, node_island: Int32Array, number: int, nominal_hz: float) -> tuple[Droop, ...]:
    """Droop of the inverters by their own settings (IEEE 1547-2018, 6.5.2.7), those with the same settings together.

    The inverters move their power themselves; the swing model must know how. A droop of momentary power is taken as one
    of rated power here: what it does less shows in the network, a step late.
    """
    sheet = spec.settings
    mine = (_island_of(spec.fleet.terminal.node, node_island) == number) & (spec.s_rated_mva > 0.0) & (sheet.pf_enable > 0.0)
    at = np.flatnonzero(mine)
    kinds, which = np.unique(np.stack([sheet.pf_dbuf_hz, sheet.pf_dbof_hz, sheet.pf_olrt_s])[:, at], axis=1, return_inverse=True)
    rated = np.maximum(spec.fleet.p_max_mw, -spec.fleet.p_min_mw) / nominal_hz
    gain_uf, gain_of = (rated / np.maximum(k, 1e-9) for k in (sheet.pf_kuf, sheet.pf_kof))
    out = []
    for k in range(kinds.shape[1]):
        own = at[which.ravel() == k]
        below, above, response = kinds[:, k].tolist()
        out.append(Droop(own, gain_uf[own], gain_of[own], below, above, response / math.log(10.0), by_inverter=True))
    return tuple(out)


def findings(scenario: Scenario, network: Network, plan: FleetPlan) -> Iterator[Finding]:
    """What is wrong with a scenario's frequency and islands in its network."""
    forming = forming_resources(scenario, plan)
    bad = False
    for i, (island, resource) in enumerate(zip(scenario.islands, forming, strict=True)):
        for message, severity in _forming_trouble(scenario, island, plan, int(resource)):
            bad |= severity == "error"
            yield scenario.finding(message, "islands", i, "forming", severity=severity)
    for i, part in enumerate((scenario.frequency, *scenario.islands)):
        where: Where = ("frequency",) if i == 0 else ("islands", i - 1)
        if isinstance(part.ufls, str) and part.ufls in UFLS and scenario.frequency.nominal_hz != 50.0:
            yield scenario.finding(f"{part.ufls} is for 50 Hz: write the stages out", *where, "ufls")
    if bad or not len(network.slack_node):
        return
    node = network.node_of_bus[plan.bus]
    if len(forming) and (node[forming] < 0).any():
        return  # a bus that is not energised is named with its entry
    label = connected(network, node[forming].tolist())
    for i, resource in enumerate(forming):
        if label[node[resource]] != i:
            other = plan.id[int(forming[label[node[resource]]])]
            message = f"{plan.id[resource]} and {other} stand in one island: only one resource can form it"
            yield scenario.finding(message, "islands", i, "forming")
    node_island, public = islands_of(network, forming, plan.bus)
    yield from _droop_findings(scenario, plan, _island_of(node, node_island), public)


def _forming_trouble(scenario: Scenario, island: FormedIsland, plan: FleetPlan, resource: int) -> Iterator[tuple[str, str]]:
    """What keeps a resource from forming an island: (message, severity)."""
    entries = {entry.id: entry for entry in scenario.fleet}
    if resource < 0:
        several = plan.named(island.forming, list(entries)).any()
        hint = "; name one resource of them" if several else did_you_mean(island.forming, [*entries, *plan.id[:1000]])
        yield f"{island.forming!r} is {'several resources' if several else 'no resource'}{hint}", "error"
        return
    entry = scenario.fleet[int(plan.entry[resource])]
    if entry.kind not in FORMERS:
        yield f"a {entry.kind} cannot form an island; a {' or a '.join(FORMERS)} can", "error"
    if _forming_bus(scenario, island) is None:
        yield f"{plan.id[resource]} must stand at a named bus to form an island: at: {{buses: [...]}}", "error"
    for name in ("volt_var", "volt_watt", "droop"):
        if getattr(entry, name, "off") != "off":
            yield f"{name} of {plan.id[resource]} does not act: it holds voltage and frequency of its island itself", "warning"


def _droop_findings(scenario: Scenario, plan: FleetPlan, island_of: IntArray, public: bool) -> Iterator[Finding]:
    """Droop of nobody, twice the same resource's, and a public grid that is not there."""
    entries = [entry.id for entry in scenario.fleet]
    parts: list[tuple[Where, Frequency | FormedIsland]] = [(("frequency",), scenario.frequency)]
    parts += [(("islands", i), island) for i, island in enumerate(scenario.islands)]
    if not public and scenario.frequency.model == "swing":
        message = "no public grid is left, so that its swing model does nothing: islands have their own keys"
        yield scenario.finding(message, "frequency", "model", severity="warning")
    seen = (plan.settings.pf_enable > 0.0) & (plan.s_mva > 0.0)
    for number, (where, part) in enumerate(parts):
        for j, droop in enumerate(part.droop):
            named = plan.named(droop.resources, entries)
            inside = named & (island_of == number - (not public))
            if not named.any():
                hint = did_you_mean(droop.resources, [*entries, *plan.group_names, *plan.id[:1000]])
                yield scenario.finding(f"{droop.resources!r} matches no resource{hint}", *where, "droop", j, "resources")
            elif not inside.any():
                yield scenario.finding(f"{droop.resources!r} is not in this island", *where, "droop", j, "resources")
            elif (seen & inside).any():
                who = plan.id[int(np.flatnonzero(seen & inside)[0])]
                yield scenario.finding(f"{who} has a droop already", *where, "droop", j, "resources")
            seen |= inside
