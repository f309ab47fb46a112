"""A scenario on the wall clock: some resources are devices outside, the rest is simulated on the same grid."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hil.assemble import field_plant
from hil.connect import Connected
from hil.follow import Sources
from hil.logbook import Logbook
from hil.loop import Loop, Timing
from hil.mixed import MixedPlant
from hil.pace import MonotonicPace, Pace
from hil.plant import FieldPlant
from hil.timed import Stopwatches, TimedLink
from hil.watchdog import Arming
from scenarios.build import RunResult, System, new_recorder, run
from scenarios.outdoors import Party, meet, party_of
from vpp.kernel.errors import LinkError
from vpp.kernel.fleet import Fleet
from vpp.kernel.seen import Decision, Event, News, Observation, Seen
from vpp.kernel.setpoints import Asked
from vpp.kernel.signals import FloatArray, IntArray
from vpp.kernel.tick import Record, decide
from vpp.wire.supervisor import Policy

if TYPE_CHECKING:
    from scenarios.schema.scenario import Scenario
    from twin.cosim.world import Shares
    from twin.devices.model import Offer
    from twin.plant import GridResult, TwinPlant
    from twin.recorder import Recorder

FIRST_IMAGE_S: Final = 10.0
PATIENCE_TICKS: Final = 5  # ticks without which everything is taken back
HOLD_TICKS: Final = 10  # for so long the last power of a silent device stands


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
        stage: called with what is done now, for whoever watches.
        timing: how well the clock was kept.
        plant: the field, with the statistics of its links.
        sources: what drives devices; None: nothing.
        connected: what was found at the addresses.
    """

    stage: Callable[[str], None] = lambda text: None
    timing: Timing | None = None
    plant: FieldPlant | None = None
    sources: Sources | None = None
    connected: Connected | None = None


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

    The devices are looked at before anything is built or written: who is not there is told at once.

    Args:
        scenario: what to run; its step is the tick.
        maps: ``resource=address`` lines; they go before those of the scenario.
        arming: leave to write to devices that are not emulated.
        pace: the clock; None: the machine's.
        live: filled with what the record does not say.
        out: where run directories live.
        options: of `scenarios.build.run`.

    Raises:
        ScenarioError, LinkError: an address or map is wrong, or a device or source is not there.
    """
    from scenarios.expand import expand
    from scenarios.site import site_of

    site, shown = site_of(scenario), live or Live()
    party = party_of(scenario, maps, expand(scenario, site.network, None if site.profiles is None else site.profiles.names))
    dt_s = scenario.time.step_s
    policy = Policy(period_s=dt_s, stale_s=max(5 * dt_s, 5.0), write_s=max(dt_s, 1.0))
    with asyncio.Runner() as runner:
        shown.connected = runner.run(meet(party, arming, policy, shown.stage))
        shown.stage(f"Building {scenario.name}")

        def drive(system: System, recorder: Recorder) -> Shares:
            return runner.run(_drive(system, recorder, party, pace or MonotonicPace(), shown))

        outside = [one.resource for one in party.wishes]
        return run(scenario, drive=("hil", drive), outside=outside, out=out, **options)


async def _drive(system: System, recorder: Recorder, party: Party, pace: Pace, live: Live) -> Shares:
    """All ticks of a run; whatever happens, setpoints are taken back and sources go to nominal in the end."""
    from twin.cosim.world import Shares

    dt_s, fleet, times = system.plant.dt_s, system.plant.fleet, system.plant.time_ns
    watches, timing = Stopwatches(pace), Timing()
    wired = [replace(one, link=TimedLink(one.link, watches)) for one in live.connected.wired] if live.connected else []
    plant = field_plant(
        party.own_size(fleet), wired, chance=np.random.default_rng, patience_s=PATIENCE_TICKS * dt_s, own_time=True
    )
    sources = Sources(party.driven, pace, PATIENCE_TICKS * dt_s, plant.events.append)
    live.plant, live.sources = plant, sources if party.driven else None
    rest = TwinRest(system.plant)
    mixed = MixedPlant(rest, plant, party.standing(fleet, HOLD_TICKS * dt_s), live.sources)
    system.desk.wait = False
    with _logbook(system, recorder, plant, watches, party, timing) as logbook:
        take = _taker(system, recorder, rest, mixed, plant, logbook)
        loop = Loop(mixed, system.chain, system.desk, pace, lambda k: int(times[k]), take, timing)
        begin = perf_counter()
        try:
            await sources.start()
            await plant.start()
            silent = await plant.up(FIRST_IMAGE_S)
            if silent:
                raise LinkError(silent[0], f"no measurement within {FIRST_IMAGE_S:g} s")
            live.stage("Compiling")
            _warm(system, mixed, rest, int(times[0]))
            await _heard_again(plant)
            live.timing = timing
            await loop.run(len(times))
        finally:
            live.stage("Taking back what was asked")
            await plant.stop()
            await sources.stop()
    return Shares(0.0, 0.0, 0.0, 0.0, perf_counter() - begin)


async def _heard_again(plant: FieldPlant) -> None:
    """Wait until every link that is up has given a sign of life since this moment: compiling has kept us from hearing it."""
    now = {s.name: s.keeper.steady() for s in plant.stations}
    loop = asyncio.get_running_loop()
    end = loop.time() + FIRST_IMAGE_S
    while loop.time() < end and any(s.keeper.heard_ns <= now[s.name] for s in plant.stations):
        await asyncio.sleep(0.01)


def _logbook(
    system: System, recorder: Recorder, plant: FieldPlant, watches: Stopwatches, party: Party, timing: Timing
) -> Logbook:
    """The record of links, clock and devices, beside that of the scenario."""
    if recorder.writer is None:
        raise ValueError("a run with devices outside is recorded")
    recorder.writer.update_manifest(outside=party.about())
    about = {"name": system.scenario.name, "zone": system.scenario.time.zone, "step_s": system.plant.dt_s}
    outdoors = party.outdoors(system.plant.fleet)
    return Logbook(recorder.writer.path, plant, watches, outdoors, timing, system.plant.time_ns, about)


def _warm(system: System, mixed: MixedPlant, rest: TwinRest, now_ns: int) -> None:
    """Simulate the first step, decide and record it for nothing, before the clock runs: kernels may compile for a minute."""
    image, chain = mixed.read(now_ns), system.chain
    before = chain.state()
    seen = Seen(image.telemetry, image.points, image.applied, Asked.nothing(mixed.fleet.n), News())
    decision = decide(now_ns, seen, chain)
    chain.restore(before)
    new_recorder(system)(0, Record(now_ns, seen, decision), *rest.truths[0])


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
