"""What can be known to be wrong with meters, channels and faults before a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from scenarios.disturb import named
from scenarios.expand import FleetPlan
from scenarios.near import did_you_mean
from scenarios.schema.control import Performance, windows
from scenarios.schema.faults import plan_of
from twin.comms import LONGEST
from twin.devices.sensor import Meter
from vpp.fields import Where
from vpp.kernel.errors import Finding
from vpp.kernel.signals import BoolArray

if TYPE_CHECKING:
    from scenarios.schema.scenario import Scenario

_ASKED = ("stuck_setpoint", "wrong_sign")  # faults of what is asked: they need somebody who can be asked


def disturbed(scenario: Scenario, plan: FleetPlan) -> Iterator[Finding]:
    """Meters that cannot be, channels and faults for nobody or without effect."""
    yield from _meter(scenario, scenario.sensors, ("sensors",), None)
    yield from _meter(scenario, scenario.sensors.pcc, ("sensors", "pcc"), None)
    for i, entry in enumerate(scenario.fleet):
        if entry.sensor is not None and (mine := plan.p_mw[plan.entry == i]).size:
            yield from _meter(scenario, entry.sensor, ("fleet", i, "sensor"), float(mine.min()))
    yield from _channels(scenario, plan)
    yield from _faults(scenario, plan)


def _meter(scenario: Scenario, meter: Meter, at: Where, rating_mw: float | None) -> Iterator[Finding]:
    """Settings that show nothing, or nothing at all."""
    step_s = scenario.time.step_s
    if meter.interval_s and meter.interval_s < step_s:
        message = f"samples every {meter.interval_s:g} s have no effect: a step has {step_s:g} s"
        yield scenario.finding(message, *at, "interval_s", severity="warning")
    for key in ("p_resolution_mw", "p_deadband_mw"):
        value = getattr(meter, key)
        if rating_mw is not None and value is not None and value >= rating_mw:
            message = f"not less than the rating of {rating_mw:g} MW: nothing would ever be seen"
            yield scenario.finding(message, *at, key)


def _unknown(scenario: Scenario, plan: FleetPlan, pattern: str, *at: str | int) -> Finding:
    ids = [*(entry.id for entry in scenario.fleet), *plan.group_names, *plan.id[:1000]]
    return scenario.finding(f"{pattern!r} matches no resource{did_you_mean(pattern, ids)}", *at)


def _channels(scenario: Scenario, plan: FleetPlan) -> Iterator[Finding]:
    """Channels for nobody, and numbers that a step of this length cannot show."""
    step_s, taken = scenario.time.step_s, np.zeros(plan.n, np.bool_)
    for i, stated in enumerate(scenario.communications.channels):
        at = ("communications", "channels", i)
        for j, pattern in enumerate(stated.resources):
            if not named(plan, scenario, (pattern,)).any():
                yield _unknown(scenario, plan, pattern, *at, "resources", j)
        mask = named(plan, scenario, stated.resources)
        if (mask & taken).any():
            first = plan.id[int(np.flatnonzero(mask & taken)[0])]
            yield scenario.finding(f"{first} is behind a channel above, and stays there", *at, "resources", severity="warning")
        channel = stated.channel(scenario.time, int(np.sum(mask & ~taken)))
        taken |= mask
        random = channel.latency_s + channel.jitter_s
        if random > 0.0 and channel.law == "uniform" and channel.service_s == 0.0 and random < step_s / 2.0:
            message = f"never shows: all of it is shorter than half a step of {step_s:g} s"
            yield scenario.finding(message, *at, "latency_s" if channel.latency_s else "jitter_s", severity="warning")
        if channel.latency_s / step_s > LONGEST:
            yield scenario.finding(f"longer than {LONGEST} steps: nothing would ever arrive", *at, "latency_s")
        if channel.service_s > step_s:
            message = f"a step's message takes {channel.service_s:.4g} s of a step of {step_s:g} s: most are lost"
            yield scenario.finding(message, *at, "kbit_per_s")
        if 0.0 < channel.lease_s <= step_s:
            yield scenario.finding(f"every setpoint ends before it acts: a step has {step_s:g} s", *at, "lease_s")
        for j, outage in enumerate(stated.outages):
            if not windows(outage.at, outage.until, scenario.time):
                message = "the outage is never while the scenario runs"
                yield scenario.finding(message, *at, "outages", j, "at", severity="warning")


def _faults(scenario: Scenario, plan: FleetPlan) -> Iterator[Finding]:
    """Faults of nobody, at no time, or without effect."""
    stated = plan_of(scenario.faults)
    at: Where = ("faults",) if isinstance(scenario.faults, tuple) else ("faults", "scripted")
    for i, fault in enumerate(stated.scripted):
        mask = named(plan, scenario, (fault.resources,))
        count = int(mask.sum())
        if not count:
            yield _unknown(scenario, plan, fault.resources, *at, i, "resources")
            continue
        if problem := _without_effect(plan, fault.kind, fault.quantity, mask, count):
            yield scenario.finding(problem, *at, i, "resources")
        if fault.kind == "meter_swap" and count > 1 and count % 2:
            odd = plan.id[int(np.flatnonzero(mask)[-1])]
            yield scenario.finding(f"{odd} is left over: meters change places in pairs", *at, i, "resources", severity="warning")
        if not fault.windows(scenario.time):
            yield scenario.finding("the fault never holds while the scenario runs", *at, i, "at", severity="warning")
    if stated.random is not None and not named(plan, scenario, (stated.random.resources,)).any():
        yield _unknown(scenario, plan, stated.random.resources, "faults", "random", "resources")
    watched = any(isinstance(guard, Performance) for guard in scenario.control.guards)
    if (stated.scripted or stated.random) and not watched:
        message = "nobody will notice: no guard {use: performance} is in the chain"
        yield scenario.finding(message, "faults", severity="warning")


def _without_effect(plan: FleetPlan, kind: str, quantity: str | None, mask: BoolArray, count: int) -> str:
    """Why a fault of these resources would change nothing, "" if it would."""
    if kind in _ASKED and not plan.controllable[mask].any():
        return f"none of these resources is controllable: a {kind} has no effect"
    if kind == "drifting_sensor" and quantity == "soc" and not (plan.e_mwh[mask] > 0).any():
        return "none of these resources stores energy: its charge cannot drift"
    if kind == "meter_swap" and count < 2:
        return "a single meter has none to change places with"
    return ""
