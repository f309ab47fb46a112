"""From a scenario to what stands between devices and controllers: meters, channels, faults."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from scenarios.expand import FleetPlan
from scenarios.schema.faults import plan_of
from twin.comms import Channels
from twin.faults import Fault, FaultTable, draw_faults, rating_of, verdicts
from twin.lines import Disturbances
from twin.recorder import Recorder
from twin.sensors import Sensors
from vpp.kernel.fleet import Fleet
from vpp.kernel.grid_points import PointLayout
from vpp.kernel.seen import Event
from vpp.kernel.signals import BoolArray, FloatArray

if TYPE_CHECKING:
    from scenarios.schema.scenario import Scenario


def sensors_of(
    scenario: Scenario, plan: FleetPlan, fleet: Fleet, rating_mva: FloatArray, points: PointLayout, disturbed: Disturbances | None
) -> Sensors:
    """The meters: of the scenario's kind, of an entry's own where it says so."""
    s = scenario.sensors
    default = s.default(scenario.time.step_s)
    delay = default.delay_steps
    own = [(i, e.sensor.errors(default, delay)) for i, e in enumerate(scenario.fleet) if e.sensor is not None]
    kind_of = np.zeros(fleet.n, np.int64)
    for number, (entry, _) in enumerate(own, start=1):
        kind_of[plan.entry == entry] = number
    pcc = s.pcc.errors(default, delay)
    return Sensors(fleet, rating_mva, points, default, scenario.seed, [kind for _, kind in own], kind_of, pcc, disturbed)


def disturbances(scenario: Scenario, plan: FleetPlan, fleet: Fleet) -> Disturbances | None:
    """Channels and faults; None where the scenario has neither."""
    time = scenario.time
    channels, faults = channels_of(scenario, plan), faults_of(scenario, plan)
    if channels is None and not faults:
        return None
    table = FaultTable(faults, rating_of(fleet), time.start_ns, time.step_ns) if faults else None
    return Disturbances(time.start_ns, time.step_ns, channels, table)


def channels_of(scenario: Scenario, plan: FleetPlan) -> Channels | None:
    """The channels and who is on which; of two that claim the same resource the first has it."""
    stated, time = scenario.communications.channels, scenario.time
    if not stated:
        return None
    of, made, points = np.full(plan.n, len(stated), np.int64), [], len(stated)
    for i, channel in enumerate(stated):
        free = of == len(stated)
        of[named(plan, scenario, channel.resources) & free] = i
        points = i if channel.meters else points
        made.append(channel.channel(time, int(np.sum(of == i))))
    return Channels.make(made, of, points, time.start_ns, time.step_ns, time.n_steps, scenario.seed)


def named(plan: FleetPlan, scenario: Scenario, patterns: tuple[str, ...]) -> BoolArray:
    """Mask of the resources that any of these names means."""
    entries = [entry.id for entry in scenario.fleet]
    return np.asarray(np.logical_or.reduce([plan.named(pattern, entries) for pattern in patterns]))


def faults_of(scenario: Scenario, plan: FleetPlan) -> list[Fault]:
    """The scripted faults, then those drawn from the seed, each list in the order of its begins."""
    stated, found = plan_of(scenario.faults), []
    for fault in stated.scripted:
        resource = np.flatnonzero(named(plan, scenario, (fault.resources,)))
        if fault.kind == "meter_swap":
            resource = resource[: resource.size // 2 * 2]
        if resource.size:
            found += [
                Fault(fault.kind, resource, begin, end, fault.value, fault.quantity_number, fault.expected)
                for begin, end in fault.windows(scenario.time)
            ]
    found.sort(key=lambda fault: fault.begin_ns)
    if (drawn := stated.random) is not None:
        resource = np.flatnonzero(named(plan, scenario, (drawn.resources,)))
        digest = hashlib.sha256(f"{scenario.seed}:faults".encode()).digest()
        random = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
        time, values = scenario.time, {"derating": drawn.part, "drifting_sensor": drawn.rate_per_h}
        if resource.size:
            found += draw_faults(drawn.rates, resource, time.start_ns, time.end_ns, drawn.mean_h, values, random)
    return found


def tell(disturbed: Disturbances | None, ids: Sequence[str], recorder: Recorder) -> None:
    """Let the record say when faults begin and end, and remember who noticed what."""
    if disturbed is not None and disturbed.faults is not None:
        recorder.told, recorder.listen = disturbed.faults.events(ids), frozenset({"performance"})


def fault_table(disturbed: Disturbances | None, ids: Sequence[str]) -> dict[str, Any]:
    """For the manifest: the faults, with what should be said of each; nothing where there are none."""
    return {} if disturbed is None or disturbed.faults is None else {"faults": disturbed.faults.table(ids)}


def noticed(disturbed: Disturbances | None, ids: Sequence[str], heard: Iterable[Event]) -> dict[str, Any]:
    """For the manifest: which faults were noticed, by what event and how soon."""
    if disturbed is None or disturbed.faults is None:
        return {}
    found = verdicts(disturbed.faults, ids, heard)
    return {"noticed": [{**asdict(v), "after_s": v.after_s if np.isfinite(v.after_s) else None} for v in found]}
