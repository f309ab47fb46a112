"""The plant in the field: the `Plant` port over any mix of links.

Every link has a session of its own that fills its image; the tick takes all images as they stand, once, and leaves what
it asks. Nothing here waits for a device.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from hil.station import LAG_S, Station
from hil.watchdog import DeadMan
from vpp.kernel import quality as q
from vpp.kernel.fleet import Fleet
from vpp.kernel.grid_points import GridPoints, PointLayout
from vpp.kernel.seen import Event, Observation
from vpp.kernel.setpoints import Asked, Setpoints
from vpp.kernel.signals import FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry
from vpp.wire.link import Batch
from vpp.wire.points import PointTable


@dataclass
class Part:
    """Where the points of one table belong in the observation.

    Attributes:
        table: the points.
        ids, column: resources behind the link, and their columns of the fleet.
        layout: the network's meters.
        reports: the device reports what changes: while its link lives, what it told last is so now.
        own_time: the source time is by another clock than the ticks', and says nothing here.
    """

    table: PointTable
    ids: tuple[str, ...]
    column: IntArray
    layout: PointLayout
    reports: bool = False
    own_time: bool = False
    telemetry: tuple[IntArray, IntArray, IntArray] = field(init=False)
    applied: tuple[IntArray, IntArray, IntArray] = field(init=False)
    meters: tuple[IntArray, IntArray] = field(init=False)
    stamp_ns: IntArray = field(init=False)
    received_ns: IntArray = field(init=False)

    def __post_init__(self) -> None:
        """Find the cells once."""
        rows, signals, columns = self.table.cells("telemetry", self.ids)
        self.telemetry = rows, signals, self.column[columns]
        rows, signals, columns = self.table.cells("applied", self.ids)
        self.applied = rows, signals, self.column[columns]
        rows, _, meter = self.table.cells("points", self.layout.id)
        self.meters = rows, meter
        self.stamp_ns = np.zeros(len(self.table), np.int64)
        self.received_ns = np.zeros(len(self.table), np.int64)

    def stamp(self, now_ns: int, batch: Batch) -> IntArray:
        """The time of every sample, by the ticks' clock as far as it can be."""
        new = batch.received_ns != self.received_ns
        if self.reports:
            new |= (batch.received_ns > 0) & ((batch.quality & (q.STALE | q.COMM_LOST)) == 0)
        self.received_ns = batch.received_ns
        self.stamp_ns[new] = now_ns
        if self.reports or self.own_time:
            return self.stamp_ns.copy()
        return np.where(batch.time_ns > 0, np.minimum(batch.time_ns, self.stamp_ns), self.stamp_ns)


class Assembly:
    """Puts the samples of many tables into one observation. What no table has is NaN and invalid."""

    def __init__(self, fleet: Fleet, layout: PointLayout, parts: Sequence[Part]) -> None:
        """Begin with nothing known and nothing applied."""
        self.fleet, self.layout, self.parts = fleet, layout, tuple(parts)
        self._applied = Setpoints.neutral(fleet.n).block

    def observe(self, now_ns: int, batches: Sequence[Batch]) -> Observation:
        """One observation from the present image of every part, in their order.

        The time of a sample is the device's where it gives one, else the tick that first saw it; never later than that tick, or
        a device whose clock is ahead would stay fresh in its silence. Where the device reports what changes, it is this tick
        for as long as the link lives. What a device holds is what it says; where it does not say, what it said last.
        """
        n, m = self.fleet.n, len(self.layout.id)
        shape = (len(Telemetry.signals), n)
        block, quality, source = np.full(shape, np.nan), np.full(shape, q.INVALID, np.uint8), np.zeros(shape, np.int64)
        value, value_quality, value_ns = np.full(m, np.nan), np.full(m, q.INVALID, np.uint8), np.zeros(m, np.int64)
        applied = self._applied.copy()
        for part, batch in zip(self.parts, batches):
            stamp = part.stamp(now_ns, batch)
            rows, signals, columns = part.telemetry
            block[signals, columns] = batch.value[rows]
            quality[signals, columns] = batch.quality[rows]
            source[signals, columns] = stamp[rows]
            rows, meters = part.meters
            value[meters], value_quality[meters], value_ns[meters] = batch.value[rows], batch.quality[rows], stamp[rows]
            rows, signals, columns = part.applied
            known = ~np.isnan(batch.value[rows])
            applied[signals[known], columns[known]] = batch.value[rows[known]]
        self._applied = applied
        points = GridPoints(self.layout, value, value_quality, value_ns)
        return Observation(Telemetry(block, quality, source), points, Setpoints(applied.copy()))


@dataclass
class FieldPlant:
    """Real and emulated devices behind links.

    Attributes:
        fleet: all resources that the controllers know; those without a link are never heard.
        stations: the links' sessions.
        layout: the network's meters.
        dead_man: fed by every `write`.
        events: what links, gates and watchdog said since they were last taken.
        own_time: the devices' clocks and the controllers' are not the same.
    """

    fleet: Fleet
    stations: tuple[Station, ...]
    layout: PointLayout
    dead_man: DeadMan
    events: list[Event] = field(default_factory=list)
    own_time: bool = False
    _assembly: Assembly = field(init=False)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Find out what comes from where."""
        parts = [
            Part(s.keeper.link.table, s.commands.ids, s.column, self.layout, s.reports, self.own_time) for s in self.stations
        ]
        self._assembly = Assembly(self.fleet, self.layout, parts)

    def read(self, now_ns: int) -> Observation:
        """Give the image of this moment."""
        return self._assembly.observe(now_ns, [s.keeper.now() for s in self.stations])

    def write(self, now_ns: int, asked: Asked) -> None:
        """Leave what is asked to the sessions; the loop is alive."""
        block: FloatArray = asked.setpoints.block
        for station in self.stations:
            station.ask(block[:, station.column])
            self.dead_man.feed(station.keeper.steady())

    def take_events(self) -> tuple[Event, ...]:
        """What happened since the last call."""
        out, self.events[:] = tuple(self.events), []
        return out

    async def start(self) -> None:
        """Begin the sessions, spread over a polling period: what polls does not poll all at once."""
        self._tasks = []
        for k, s in enumerate(self.stations):
            period_s = s.keeper.policy.period_s
            run = s.run(period_s * k / len(self.stations), min(LAG_S * k, period_s / 2))
            self._tasks.append(asyncio.create_task(run, name=s.name))

    async def up(self, timeout_s: float) -> tuple[str, ...]:
        """Wait until every link has brought a first image; gives the names of those that have not."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while (silent := [s.name for s in self.stations if not s.keeper.image.received_ns.any()]) and loop.time() < end:
            await asyncio.sleep(0.01)
        return tuple(silent)

    async def stop(self, reason: str = "the loop ends: what was asked is taken back") -> None:
        """Take back what was asked, and close the links."""
        await asyncio.gather(*(s.let_go(reason) for s in self.stations))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await asyncio.gather(*(s.keeper.link.close() for s in self.stations))

    async def poll(self) -> None:
        """Read every link once now (lock-step)."""
        await asyncio.gather(*(s.poll() for s in self.stations))

    async def flush(self) -> None:
        """Write what is due on every link now (lock-step)."""
        await asyncio.gather(*(s.give() for s in self.stations))
