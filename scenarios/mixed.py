"""A scenario on the wall clock: some resources are devices outside, the rest is simulated on the same grid."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hil.assemble import field_plant
from hil.connect import Connected, Wish, connect, wish
from hil.logbook import Logbook, Outdoors
from hil.loop import Loop, Timing
from hil.mixed import MixedPlant, Standing
from hil.pace import MonotonicPace, Pace
from hil.plant import FieldPlant
from hil.timed import Stopwatches, TimedLink
from hil.watchdog import Arming
from scenarios.build import RunResult, System, run
from vpp.kernel.errors import LinkError
from vpp.kernel.fleet import Fleet
from vpp.kernel.seen import Decision, Event, News, Observation, Seen
from vpp.kernel.setpoints import Asked
from vpp.kernel.signals import FloatArray, IntArray
from vpp.kernel.tick import Record, decide
from vpp.wire.supervisor import Policy

if TYPE_CHECKING:
    from scenarios.expand import FleetPlan
    from scenarios.schema.scenario import Scenario
    from twin.cosim.world import Shares
    from twin.devices.model import Offer
    from twin.plant import GridResult, TwinPlant
    from twin.recorder import Recorder

FIRST_IMAGE_S: Final = 10.0
PATIENCE_TICKS: Final = 5  # ticks without which everything is taken back


@dataclass
class TwinRest:
    """The twin as the simulated rest of a mixed plant; the truth of every step is kept until it is recorded."""

    plant: TwinPlant
    truths: dict[int, tuple[GridResult, Offer]] = field(default_factory=dict)

    @property
    def fleet(self) -> Fleet:
        """All resources."""
        return self.plant.fleet

    def advance(self, now_ns: int, at: IntArray, p_mw: FloatArray, q_mvar: FloatArray) -> None:
        """Simulate up to the step at ``now_ns``."""
        from twin.plant import Given

        given = Given(at, p_mw.copy(), q_mvar.copy())
        last = int(np.searchsorted(self.plant.time_ns, now_ns, "right")) - 1
        while self.plant.k < last:
            truth = self.plant.advance(given)
            self.truths[self.plant.k] = truth

    def read(self, now_ns: int) -> Observation:
        """What is measured."""
        return self.plant.read(now_ns)

    def terminals(self, at: IntArray) -> tuple[FloatArray, FloatArray]:
        """True voltage at resources, and mean frequency of their islands over the step."""
        truth, swing = self.plant.result, self.plant.grid.swing
        if truth is None:
            raise RuntimeError("advance() comes before terminals()")
        f_hz = np.full(len(at), truth.f_hz) if swing is None else swing.f_mean_hz[at]
        return truth.solved.delivered.vm_pu[at], f_hz

    def write(self, now_ns: int, asked: Asked) -> None:
        """What shall hold from the next step on."""
        self.plant.write(now_ns, asked)


@dataclass
class Live:
    """What a run with devices outside showed, beside its record.

    Attributes:
        timing: how well the clock was kept.
        plant: the field, with the statistics of its links.
        connected: what was found at the addresses.
    """

    timing: Timing | None = None
    plant: FieldPlant | None = None
    connected: Connected | None = None


def wishes_of(scenario: Scenario, maps: Sequence[str], plan: FleetPlan) -> tuple[Wish, ...]:
    """The devices outside: those of the scenario, each replaced by a ``resource=address`` of the command line.

    An entry of the fleet that is one resource may stand for it.
    """
    lines = {_id(scenario, plan, one.resource): one.at for one in scenario.outside}
    for text in maps:
        name, _, address = text.partition("=")
        lines[_id(scenario, plan, name)] = address
    kinds = dict(zip(plan.id, plan.kind))
    return tuple(wish(f"{name}={address}", kinds) for name, address in lines.items())


def _id(scenario: Scenario, plan: FleetPlan, name: str) -> str:
    """Id of a resource, or of the only one of an entry; the name itself where there is no such thing."""
    found = np.flatnonzero(plan.named(name, [entry.id for entry in scenario.fleet]))
    return plan.id[found[0]] if len(found) == 1 else name


def run_mixed(
    scenario: Scenario,
    maps: Sequence[str] = (),
    *,
    arming: Arming | None = None,
    pace: Pace | None = None,
    live: Live | None = None,
    out: Path = Path("runs"),
    **options: Any,
) -> RunResult:
    """Run a scenario at its own step on a clock, with devices outside.

    Args:
        scenario: what to run; its step is the tick.
        maps: ``resource=address`` lines; they go before those of the scenario.
        arming: leave to write to devices that are not emulated.
        pace: the clock; None: the machine's.
        live: filled with what the record does not say.
        out: where run directories live.
        options: of `scenarios.build.run`.

    Raises:
        ScenarioError, LinkError: an address or map is wrong, or a device is not there.
    """
    from scenarios.expand import expand
    from scenarios.site import site_of

    site = site_of(scenario)
    plan = expand(scenario, site.network, None if site.profiles is None else site.profiles.names)
    wishes = wishes_of(scenario, maps, plan)
    if not wishes:
        raise LinkError(scenario.name, "no resource is outside: give --map resource=protocol://host:port/unit?map=…")
    shown = live or Live()

    def drive(system: System, recorder: Recorder) -> Shares:
        return asyncio.run(_drive(system, recorder, wishes, arming, pace or MonotonicPace(), shown))

    outside = [one.resource for one in wishes]
    return run(scenario, drive=("hil", drive), outside=outside, out=out, **options)


async def _drive(
    system: System, recorder: Recorder, wishes: Sequence[Wish], arming: Arming | None, pace: Pace, live: Live
) -> Shares:
    from twin.cosim.world import Shares

    dt_s = system.plant.dt_s
    policy = Policy(period_s=dt_s, stale_s=max(5 * dt_s, 5.0), write_s=max(dt_s, 1.0))
    live.connected = await connect(wishes, arming, policy)
    watches = Stopwatches(pace)
    wired = [replace(one, link=TimedLink(one.link, watches)) for one in live.connected.wired]
    rest, fleet = TwinRest(system.plant), system.plant.fleet
    scale_of = {_id(system.scenario, system.plan, one.resource): one.scale for one in system.scenario.outside}
    at = np.array([fleet.id.index(one.resource) for one in wishes], np.int64)
    scale = np.array([scale_of.get(one.resource, 1.0) for one in wishes])
    plant = field_plant(_own_size(fleet, at, scale), wired, chance=np.random.default_rng, patience_s=PATIENCE_TICKS * dt_s)
    live.plant = plant
    mixed = MixedPlant(rest, plant, Standing(at, np.zeros(len(at), np.bool_), scale, 10 * dt_s))
    system.desk.wait = False
    times, timing = system.plant.time_ns, Timing()
    with _logbook(system, recorder, plant, watches, _outdoors(wishes, at, scale), timing) as logbook:
        take = _taker(system, recorder, rest, mixed, plant, logbook)
        loop = Loop(mixed, system.chain, system.desk, pace, lambda k: int(times[k]), take, timing)
        begin = perf_counter()
        await plant.start()
        try:
            silent = await plant.up(FIRST_IMAGE_S)
            if silent:
                raise LinkError(silent[0], f"no measurement within {FIRST_IMAGE_S:g} s")
            _warm(system, mixed, int(times[0]))
            live.timing = timing
            await loop.run(len(times))
        finally:
            await plant.stop()
    return Shares(0.0, 0.0, 0.0, 0.0, perf_counter() - begin)


def _outdoors(wishes: Sequence[Wish], at: IntArray, scale: FloatArray) -> Outdoors:
    """How the devices outside stand: on the mains, all of them."""
    none = np.full((2, len(at)), np.nan)
    ids, addresses = tuple(one.resource for one in wishes), tuple(str(one.where) for one in wishes)
    return Outdoors(at, ids, addresses, ("open",) * len(at), scale, ("",) * len(at), lambda: none)


def _logbook(
    system: System, recorder: Recorder, plant: FieldPlant, watches: Stopwatches, outdoors: Outdoors, timing: Timing
) -> Logbook:
    """The record of links, clock and devices, beside that of the scenario."""
    if recorder.writer is None:
        raise ValueError("a run with devices outside is recorded")
    about = {"name": system.scenario.name, "zone": system.scenario.time.zone, "step_s": system.plant.dt_s}
    return Logbook(recorder.writer.path, plant, watches, outdoors, timing, system.plant.time_ns, about)


def _warm(system: System, mixed: MixedPlant, now_ns: int) -> None:
    """Simulate the first step and decide once for nothing, before the clock runs: kernels may compile for a minute."""
    image, chain = mixed.read(now_ns), system.chain
    before = chain.state()
    seen = Seen(image.telemetry, image.points, image.applied, Asked.nothing(mixed.fleet.n), News())
    decide(now_ns, seen, chain)
    chain.restore(before)


def _own_size(fleet: Fleet, at: IntArray, scale: FloatArray) -> Fleet:
    """The fleet with the devices outside in their own size."""
    columns = {}
    for name in ("p_min_mw", "p_max_mw", "p_safe_mw"):
        values = getattr(fleet, name).copy()
        values[at] /= scale
        columns[name] = values
    return replace(fleet, **columns)


def _taker(system: System, recorder: Recorder, rest: TwinRest, mixed: MixedPlant, plant: FieldPlant, logbook: Logbook) -> Any:
    """Record every step; where the clock left ticks out, what was asked held on, and an event says so."""
    times = system.plant.time_ns
    before: list[Record] = []

    def take(k: int, record: Record) -> None:
        now_ns = record.time_ns
        happened = [replace(e, time_ns=now_ns) for e in (*mixed.take_events(), *plant.take_events())]
        for missed in range(recorder.steps, k):
            text = "no tick: the one before was not done; what was asked held on"
            event = Event(int(times[missed]), "host", "missed", text)
            held = before[-1] if before else record
            decision = Decision(held.decision.asked, (event,))
            recorder(missed, Record(int(times[missed]), held.seen, decision), *rest.truths.pop(missed))
        decision = Decision(record.decision.asked, (*record.decision.events, *happened))
        before[:] = [Record(now_ns, record.seen, decision)]
        logbook(k, before[0])
        recorder(k, before[0], *rest.truths.pop(k))

    return take
