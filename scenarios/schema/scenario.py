"""A whole scenario: what is simulated, when, and who controls it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PrivateAttr

from scenarios.near import did_you_mean
from scenarios.schema.comms import Communications
from scenarios.schema.control import Control, DayAhead, Market, PccGuard, ScheduledOrder
from scenarios.schema.faults import Faults
from scenarios.schema.fleet import FleetEntry, Group
from scenarios.schema.frequency import FormedIsland, Frequency, limits_hold
from scenarios.schema.hil import Outside, WireFault
from scenarios.schema.metering import Estimation, MeterError, MeterFault, MeterPart
from scenarios.schema.plant import Contingencies, Limits
from scenarios.schema.sensors import Sensors
from scenarios.schema.time import Time
from scenarios.schema.weather import WeatherPart
from twin.devices.entry import AtInverter, InverterEntry
from twin.devices.ev import EvEntry
from vpp.fields import Part, Seed, Where, bad
from vpp.kernel.errors import Finding

Place = tuple[str, int, str]  # file, line, value as written
Recorded = Literal[
    "asked", "delivered", "step", "soc", "voltage", "loading", "cause", "telemetry", "quality", "seen", "estimate", "reverse"
]
SCHEMES = ("simbench", "pandapower", "file")


def _network(value: str) -> str:
    scheme, _, rest = value.partition(":")
    if scheme not in SCHEMES or not rest:
        raise bad(f"must be simbench:<code>, pandapower:<name> or file:<path>{did_you_mean(scheme, SCHEMES)}")
    return value


def _entries(value: tuple[Any, ...]) -> tuple[Any, ...]:
    if not value:
        raise bad("a fleet has at least one entry")
    return value


NetworkRef = Annotated[str, AfterValidator(_network)]


class Scenario(Part):
    """One simulation, ready to be built. ``scenarios.load`` makes it from YAML."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="short name; default: the file's name")
    purpose: str = Field(min_length=1, description="what it is for, one sentence; default: the file's first line, a comment")
    extends: str | None = Field(
        None,
        exclude=True,
        description="a scenario (path from this file, or a shipped one's name) whose values hold where none stand here; "
        "mappings merge, lists replace",
    )
    network: NetworkRef = Field(description="simbench:<code>, pandapower:<name>, or file:<pandapower JSON or MATPOWER case>")
    profiles: NetworkRef | None = Field(None, description="a SimBench network whose profiles are used beside the network's own")
    profile_steps: Literal["hold", "smooth"] = Field(
        "hold", description="how the quarter-hours of profiles become shorter steps; the energy of each is kept either way"
    )
    time: Time = Field(description="start, zone, length and step")
    weather: WeatherPart | None = Field(None, description="sun, wind and temperature, for the devices that follow them")
    seed: Seed = Field(0, description="of everything random")
    fleet: Annotated[tuple[FleetEntry, ...], AfterValidator(_entries)] = Field(description="what stands in the network")
    groups: tuple[Group, ...] = Field((), description="groups of resources inside the root group pcc")
    control: Control = Field(Control(), description="the chain of controllers")
    planner: DayAhead | None = Field(None, description="who makes the schedule; null for nobody")
    market: Market | None = Field(None, description="prices of energy")
    orders: tuple[ScheduledOrder, ...] = Field((), description="orders that arrive")
    sensors: Sensors = Field(Sensors(), description="how controllers see the plant")
    meters: tuple[MeterPart, ...] = Field((), description="meters that stand in the network")
    meter_errors: tuple[MeterError, ...] = Field((), description="gross errors of those meters")
    meter_faults: tuple[MeterFault, ...] = Field((), description="those meters frozen, their messages lost or late")
    estimation: Estimation | None = Field(None, description="who estimates the network's state from them; null for nobody")
    communications: Communications = Field(Communications(), description="channels between us and the devices")
    faults: Faults = Field((), description="what breaks: a list, or {scripted: [...], random: {...}}")
    frequency: Frequency = Field(Frequency(), description="frequency of the public grid over time")
    outside: tuple[Outside, ...] = Field((), description="resources that are devices outside, for `vpp hil run`")
    wire_faults: tuple[WireFault, ...] = Field((), description="what goes wrong with emulated devices, for `vpp hil emulate`")
    islands: tuple[FormedIsland, ...] = Field((), description="parts of the network that a resource forms, without a public grid")
    engine: Literal["auto", "tree", "lightsim2grid", "pandapower"] = Field("auto", description="who solves the power flow")
    limits: Limits = Field(Limits(), description="what counts as a violation")
    contingencies: Contingencies | None = Field(None, description="what outages would do at one moment; null: not looked at")
    record: tuple[Recorded, ...] = Field(
        ("asked", "delivered", "soc", "voltage", "loading", "cause", "quality"), description="what a run keeps"
    )
    _places: dict[Where, Place] = PrivateAttr(default_factory=dict)

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Names are unique, and what is named exists."""
        for key, names in (("id", [e.id for e in self.fleet]), ("name", [g.name for g in self.groups])):
            part = "fleet" if key == "id" else "groups"
            for i, name in enumerate(names):
                if name in names[:i]:
                    yield (part, i, key), f"{name!r} is there already"
        parents = {g.name: g.parent for g in self.groups}
        known = ["pcc", *parents]
        for i, group in enumerate(self.groups):
            if group.parent not in known:
                yield ("groups", i, "parent"), f"no group {group.parent!r}{did_you_mean(group.parent, known)}"
            elif (loop := _loop(group.name, parents)) and not any(g.name in loop for g in self.groups[:i]):
                yield ("groups", i, "parent"), "groups enclose one another: " + " < ".join(loop)
        for i, guard in enumerate(self.control.guards):
            if isinstance(guard, PccGuard) and guard.group not in known:
                yield ("control", "guards", i, "group"), f"no group {guard.group!r}{did_you_mean(guard.group, known)}"
        for i, entry in enumerate(self.fleet):
            if self.weather is None and entry.needs_weather:
                yield ("fleet", i), f"{entry.id} follows the weather: add weather"
        for i, island in enumerate(self.islands):
            for where, message in limits_hold(island, self.frequency.nominal_hz):
                yield ("islands", i, *where), message
        yield from self._inverters()
        if self.estimation is not None and not self.meters:
            yield ("estimation",), "an estimate needs measurements: add meters"
        if self.estimation is not None and not (self.control.proposers or self.control.guards):
            yield ("estimation",), "an estimate is made in a tick, and without controllers there is none: add one to control"
        for key, wrong in (("meter_errors", self.meter_errors), ("meter_faults", self.meter_faults)):
            if wrong and not self.meters:
                yield (key,), "there is no meter to be wrong: add meters"
        if self.contingencies is not None and "delivered" not in self.record:
            yield ("contingencies",), "outages are solved from what was delivered: add delivered to record"
        if "estimate" in self.record and self.estimation is None:
            yield ("record",), "there is no estimate to record: add estimation"
        if self.planner is not None and self.market is None:
            yield ("planner",), "a planner needs prices: add market"

    def _inverters(self) -> Iterator[tuple[Where, str]]:
        """Whoever shares an inverter finds one."""
        have = [e.id for e in self.fleet if isinstance(e, InverterEntry) and not isinstance(e.at, AtInverter)]
        for i, entry in enumerate(self.fleet):
            if not isinstance(entry.at, AtInverter):
                continue
            host, where = entry.at.inverter_of, ("fleet", i, "at", "inverter_of")
            if not isinstance(entry, InverterEntry) or isinstance(entry, EvEntry):
                yield where, f"{entry.kind} has no place behind an inverter"
            elif host not in have:
                yield where, f"no entry {host!r} with an inverter of its own{did_you_mean(host, have)}"

    @property
    def hash(self) -> str:
        """SHA-256 over the resolved content, hex. Files count by their content, not by where they lie."""
        content = _by_content(self.model_dump(mode="json"))
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def finding(self, message: str, *path: str | int, value: str | None = None, severity: str = "error") -> Finding:
        """Make a finding about what stands at ``path``, with the file and line it came from."""
        file, line, written = "", 0, ""
        for end in range(len(path), -1, -1):
            if path[:end] in self._places:
                file, line, text = self._places[path[:end]]
                written = text if end == len(path) else ""
                break
        shown = ".".join(map(str, path))
        return Finding(message, file, line, shown, written if value is None else value, severity)

    def describe(self) -> str:
        """Say in a few lines what is simulated."""
        t = self.time
        kinds = ", ".join(f"{e.id} ({e.kind})" for e in self.fleet)
        chain = " → ".join(c.use for c in (*self.control.proposers, *self.control.guards))
        planner = f"{self.planner.use} at {self.planner.at}" if self.planner else "none"
        weather = [] if self.weather is None else [f"weather   {self.weather.source}"]
        lines = (
            f"{self.name}: {self.purpose}",
            f"network   {self.network}",
            f"time      {t.start:%Y-%m-%d %H:%M} {t.zone}, {t.n_steps} steps of {t.step_s:g} s",
            *weather,
            f"fleet     {kinds}",
            f"control   {chain}",
            f"planner   {planner}",
            f"record    {', '.join(self.record)}",
            f"hash      {self.hash[:12]}, seed {self.seed}",
        )
        return "\n".join(lines)


def _loop(name: str, parents: dict[str, str]) -> list[str]:
    """Follow a group outwards; the names passed if that comes back to it, else []."""
    trail = [name]
    while trail[-1] in parents:
        trail.append(parents[trail[-1]])
        if trail[-1] == name:
            return trail
        if trail[-1] in trail[:-1]:
            return []
    return []


def _by_content(value: Any) -> Any:
    """Put the hash of a file's content in the place of its name, everywhere."""
    if isinstance(value, dict):
        return {k: _by_content(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_by_content(v) for v in value]
    if isinstance(value, str) and value.startswith("file:"):
        return "sha256:" + hashlib.sha256(Path(value.removeprefix("file:")).read_bytes()).hexdigest()
    return value
