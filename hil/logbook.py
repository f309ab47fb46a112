"""What a run with devices outside leaves beside its record: links, clock, latencies, raw points, and each device's own side.

    <run>/hil/    a run directory of its own (`vpp.historian.run`): it grows, survives a kill and is read as the other does

There is a row a tick, or one for several ticks where the points are so many that the record would grow beyond `SAMPLES`.
Counters and histograms count from the beginning of the run, so that the last row tells of all of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from hil.loop import EDGES_S, Timing
from hil.plant import FieldPlant
from hil.timed import WATCHES, Stopwatches
from vpp.historian.run import Axis, RunWriter, Series, Status
from vpp.kernel import quality as q
from vpp.kernel.errors import RunError
from vpp.kernel.setpoints import Setpoints
from vpp.kernel.signals import FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry
from vpp.kernel.tick import Record
from vpp.wire.link import LinkState
from vpp.wire.link import Status as Fate
from vpp.wire.supervisor import NEVER

FOLDER: Final = "hil"
SAMPLES: Final = 20_000_000
QUALITIES: Final = tuple(q.describe(byte) for byte in range(128))
STATES: Final = tuple(state.name for state in LinkState)
FATES: Final = (*(fate.name for fate in Fate), "NONE")
COUNTED: Final = (
    "connects", "failed_connects", "breaks", "muted", "samples", "expected", "missing", "incomplete", "commands", "refused",
    "unanswered", "not_sent",
)  # fmt: skip
TALLIED: Final = ("sent", "accepted", "withheld", "unlike", "safe")
_SIDES: Final = (Setpoints.p_mw, Setpoints.p_limit_mw, Setpoints.q_mvar)
_TOLD: Final = (Telemetry.p_mw, Telemetry.q_mvar, Telemetry.vm_pu, Telemetry.f_hz)
_P: Final = Telemetry.p_mw.row

Values = list[npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Outdoors:
    """The resources that are devices outside.

    Attributes:
        at: (k,) their columns of the fleet.
        ids: their names.
        address: what each stands at.
        standing: "open" (it hangs on the mains) or "driven" (a source holds it at the twin's voltage).
        scale: (k,) what 1 W of the device counts in the network.
        source: (k,) the source that drives it, "" for none.
        held: gives voltage [pu] and frequency [Hz] that the sources hold now, (2, k), NaN where there is none.
    """

    at: IntArray
    ids: tuple[str, ...]
    address: tuple[str, ...]
    standing: tuple[str, ...]
    scale: FloatArray
    source: tuple[str, ...]
    held: Callable[[], FloatArray]


class Logbook:
    """Writes the record; call it once a tick. As a context manager it ends as `RunWriter` does."""

    def __init__(
        self,
        run: Path,
        plant: FieldPlant,
        watches: Stopwatches,
        outdoors: Outdoors,
        timing: Timing,
        time_ns: IntArray,
        about: Mapping[str, Any],
    ) -> None:
        """Lay out the record of a run.

        Args:
            run: the run directory.
            plant: links and what they hold.
            watches: durations of the links.
            outdoors: the devices.
            timing: how well the clock is kept.
            time_ns: (T,) times of the ticks.
            about: what the manifest says.

        Raises:
            RunError: it cannot be written.
        """
        self._plant, self._watches, self._outdoors, self._timing = plant, watches, outdoors, timing
        points = sum(len(s.keeper.link.table) for s in plant.stations)
        self.every = max(1, -(-points * len(time_ns) // SAMPLES))
        axes = [_links(plant), _devices(outdoors), _points(plant), *_classes()]
        series = [*_of_links(), *_of_devices(), *_of_points(), *_of_clock()]
        manifest = {**about, "what": "hil", "every": self.every}
        self._writer = RunWriter(run / FOLDER, manifest, axes, series, np.ascontiguousarray(time_ns[:: self.every]))
        self._late = self._took = 0.0

    def __call__(self, k: int, record: Record) -> None:
        """Take tick ``k``; rows of ticks that were left out show what stood then, which is what stands now."""
        self._ages()
        if k // self.every < self._writer.rows:
            return
        values = self._values(record)
        while self._writer.rows <= k // self.every:
            self._writer.put(self._writer.rows, values)

    def __enter__(self) -> Self:
        """Give the logbook itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the record; on the event loop Ctrl-C is a cancellation."""
        interrupted = isinstance(error, KeyboardInterrupt | asyncio.CancelledError)
        status: Status = "complete" if error is None else "interrupted" if interrupted else "failed"
        try:
            self._writer.close(status, **({"reason": str(error)} if status == "failed" else {}))
        except RunError as second:
            if error is None:
                raise
            error.add_note(str(second))

    def _ages(self) -> None:
        """How old the newest sample of each link is."""
        for station in self._plant.stations:
            newest = int(station.keeper.image.received_ns.max(initial=0))
            if newest and station.keeper.state == LinkState.UP:
                self._watches.histograms["age"].add(max(station.keeper.clock() - newest, 0) / 1e9)

    def _values(self, record: Record) -> Values:
        keepers = [s.keeper for s in self._plant.stations]
        now = keepers[0].steady() if keepers else 0
        links: Values = [np.array([float(k.state) for k in keepers]), _column(k.statistics.rtt_s for k in keepers)]
        links += [_column(s.gate.closed(now) == "" for s in self._plant.stations)]
        links += [_column(getattr(k.statistics, name) for k in keepers) for name in COUNTED]
        links += [_column(getattr(s.tally, name) for s in self._plant.stations) for name in TALLIED]
        at, told = self._outdoors.at, record.seen.telemetry
        asked, applied = record.decision.asked.setpoints, record.seen.applied
        devices: Values = [asked.mode[at], *(asked.block[s.row, at] for s in _SIDES), *(applied.block[s.row, at] for s in _SIDES)]
        devices += [*(told.block[s.row, at] for s in _TOLD), told.quality[_P, at], *self._outdoors.held()]
        clock = self._timing
        lateness: Values = [
            _column([x]) for x in (clock.ticks, clock.missed, clock.slips, clock.late.worst_s, clock.took.worst_s)
        ]
        counts = [clock.late.counts, clock.took.counts, self._watches.counts()]
        return [*links, *devices, *self._points(), *lateness, *(c.astype(np.float64) for c in counts)]

    def _points(self) -> Values:
        """Raw number, value, quality, times and fate of every point of every link."""
        raw, value, quality, source, received, fate = [], [], [], [], [], []
        for station in self._plant.stations:
            keeper = station.keeper
            batch, table = keeper.now(), keeper.link.table
            known = np.isfinite(batch.value)
            number, _ = table.encode(table.all, batch.value)
            raw.append(np.where(known, number, np.nan))
            value.append(batch.value)
            quality.append(batch.quality)
            source.append(np.where(batch.time_ns > 0, batch.time_ns / 1e9, np.nan))
            received.append(np.where(batch.received_ns > 0, batch.received_ns / 1e9, np.nan))
            status = keeper.image.status.astype(np.float64)
            fate.append(np.where(status == NEVER, len(FATES) - 1, status))
        return [np.concatenate(parts) if parts else np.zeros(0) for parts in (raw, value, quality, source, received, fate)]


def _column(values: Any) -> FloatArray:
    return np.array([float(value) for value in values])


def _links(plant: FieldPlant) -> Axis:
    about = {
        "resources": np.array([", ".join(s.commands.ids) for s in plant.stations], object),
        "points": np.array([len(s.keeper.link.table) for s in plant.stations]),
        "emulated": np.array([s.gate.emulated for s in plant.stations], np.uint8),
        "lease_s": np.array([s.commands.lease_s for s in plant.stations]),
    }
    return Axis("links", "link", tuple(s.name for s in plant.stations), about)


def _devices(outdoors: Outdoors) -> Axis:
    texts: dict[str, Sequence[str]] = {
        "address": outdoors.address, "standing": outdoors.standing, "source": outdoors.source,
    }  # fmt: skip
    about = {name: np.array(values, object) for name, values in texts.items()}
    return Axis("outside", "resource", outdoors.ids, {**about, "scale": outdoors.scale})


def _points(plant: FieldPlant) -> Axis:
    points = [(s.name, p) for s in plant.stations for p in s.keeper.link.table.points]
    texts = {
        name: np.array([str(getattr(p, name)) for _, p in points], object)
        for name in ("resource", "sheet", "signal", "address", "wire", "access")
    }
    texts["unit"] = np.array([str(p.signal_unit) for _, p in points], object)
    texts["link"] = np.array([name for name, _ in points], object)
    ids = tuple(f"{p.resource} {p.sheet}.{p.signal} {p.address}" for _, p in points)
    return Axis("points", "point", ids, texts)


def _classes() -> list[Axis]:
    edges = np.append(EDGES_S, np.inf)
    names = tuple(f"{edge:g}" for edge in edges)
    watches = {"what": np.array([w for w in WATCHES for _ in names], object), "edge_s": np.tile(edges, len(WATCHES))}
    return [
        Axis("jitter", "class", names, {"edge_s": edges}),
        Axis("latency", "cell", tuple(f"{w} {name}" for w in WATCHES for name in names), watches),
    ]


def _of_links() -> list[Series]:
    series = [
        Series("links", "state", "1", "where the link stands", flags=STATES),
        Series("links", "rtt_s", "s", "round trip of the last sign of life", 1e-6),
        Series("links", "open", "1", "whether anything may be written", flags=("closed", "open")),
    ]
    return series + [Series("links", name, "1", f"{name.replace('_', ' ')} so far", 1.0) for name in (*COUNTED, *TALLIED)]


def _of_devices() -> list[Series]:
    series = [Series("outside", "asked_mode", "1", "what is asked: who leads", flags=Setpoints.mode.flags)]
    series += [Series("outside", f"asked_{s.name}", s.unit, f"asked: {s.meaning}") for s in _SIDES]
    series += [Series("outside", f"applied_{s.name}", s.unit, f"held by the device: {s.meaning}") for s in _SIDES]
    series += [Series("outside", s.name, s.unit, f"measured: {s.meaning}") for s in _TOLD]
    series += [Series("outside", "quality", "1", "quality of the measured active power", flags=QUALITIES)]
    series += [Series("outside", "held_vm_pu", "pu", "voltage that the source holds")]
    return [*series, Series("outside", "held_f_hz", "Hz", "frequency that the source holds")]


def _of_points() -> list[Series]:
    return [
        Series("points", "raw", "1", "number on the wire: the value in the point's type and scale"),
        Series("points", "value", "1", "value in the signal's unit"),
        Series("points", "quality", "1", "quality as the link gives it now", flags=QUALITIES),
        Series("points", "source_s", "s", "source time, UTC since 1970, where the protocol carries it"),
        Series("points", "received_s", "s", "when it arrived, UTC since 1970"),
        Series("points", "command", "1", "fate of the last command to it", flags=FATES),
    ]


def _of_clock() -> list[Series]:
    return [
        Series("clock", "ticks", "1", "ticks begun so far", 1.0),
        Series("clock", "missed", "1", "deadlines left out so far", 1.0),
        Series("clock", "slips", "1", "how often deadlines were left out", 1.0),
        Series("clock", "late_s", "s", "worst time from a deadline to the begin of its tick so far", 1e-6),
        Series("clock", "took_s", "s", "worst time from the begin of a tick to its end so far", 1e-6),
        Series("jitter", "late", "1", "ticks that began so late, so far", 1.0),
        Series("jitter", "took", "1", "ticks that took so long, so far", 1.0),
        Series("latency", "count", "1", "durations in this class so far", 1.0),
    ]
