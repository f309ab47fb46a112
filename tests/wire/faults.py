"""The whole chain for one protocol, and what can go wrong with it: session and supervisor, a wire with faults, a device.

The device is emulated, with leases in its firmware; its clock goes by its steps only. So what is bounded is counted in events
(heartbeats, steps of the device, tries to connect), and a loaded machine changes none of them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

import numpy as np

from hil.assemble import Wired, field_plant
from hil.emulator import Clock, Emulator
from hil.outlets import TableOutlet
from hil.plant import FieldPlant
from hil.station import Station
from tests.hil.small import START_NS, S, TwoDevices, asked
from vpp.kernel import quality as q
from vpp.kernel.setpoints import LIMIT
from vpp.testing.link_bench import Even, until
from vpp.testing.wires import SIZES, Relay
from vpp.wire.clock import wall_ns
from vpp.wire.link import Batch, Command, Link, LinkState, Outcome, Served, Status
from vpp.wire.points import Point, PointTable
from vpp.wire.supervisor import Policy

STEP_S = 0.05
TOLD = {"sheet": "control", "access": "w"}
GIVEN = {"sheet": "setpoints", "access": "w", "low": 0.0}


@dataclass(frozen=True)
class Wire:
    """A protocol under test.

    Attributes:
        name: in `vpp.testing.wires.SIZES`.
        points: of a PV: power, what it holds, its lease, setpoint and switch; the first is measured power, the last but one
            the setpoint.
        many: the i-th of very many measured points.
        served, link: its ends.
        fewer: a server of a table that gives only part of it and says that this was all.
        worker: its native stack runs in a process of its own.
        checked: its messages carry check sums.
        count: how many those are.
        corks: an answer that comes twice, or out of its order, ends the connection.
    """

    name: str
    points: tuple[Point, ...]
    many: Callable[[int], Point]
    served: Callable[..., Served]
    link: Callable[..., Link]
    fewer: Callable[[PointTable, int], Served]
    worker: bool = False
    checked: bool = False
    corks: bool = False
    count: int = 10_000

    @property
    def table(self) -> PointTable:
        """The points."""
        return PointTable(self.points)


@dataclass
class Stage:
    """What a scene plays on."""

    wire: Wire
    policy: Policy
    lease_s: float
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None  # of the server and the client
    devices: TwoDevices = field(default_factory=TwoDevices)
    served: Served = field(init=False)
    outlet: TableOutlet = field(init=False)
    emulator: Emulator = field(init=False)
    relay: Relay = field(init=False)
    plant: FieldPlant = field(init=False)
    published: set[float] = field(default_factory=set)
    lies: list[float] = field(default_factory=list)  # good values that nobody published
    outcomes: list[tuple[float, Status]] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)
    took_at: int = 0  # the device's step
    safe_at: int = 0
    beats: list[bool] = field(default_factory=list)  # heartbeats: whether they were answered
    asks: bool = True
    k: int = 0
    expired: ssl.SSLContext | None = None
    undo: ExitStack = field(default_factory=ExitStack)

    @property
    def station(self) -> Station:
        """The session."""
        return self.plant.stations[0]

    @property
    def link(self) -> Link:
        """The client."""
        return self.station.keeper.link

    async def serve(self, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        """Switch the device on: it knows nothing of what it was told before."""
        clock = self.emulator.clock
        self.served = self.wire.served(self.wire.table, port, tls or (self.tls[0] if self.tls else None))
        self.outlet = TableOutlet(self.served, self.devices.fleet, (), clock)
        publish = self.served.publish

        def published(batch: Batch) -> None:
            values = self.wire.table.quantise(batch.point, batch.value)[0]
            self.published.update(values[batch.point == 0].tolist())
            publish(batch)

        def taken(command: Command) -> object:
            answer = self.outlet._take(command)
            if answer.status == Status.ACCEPTED and not command.select_only:
                self.took_at = self.emulator.steps
                self.taken += command.value[command.point == self.setpoint].tolist()
            return answer

        self.served.publish = published  # type: ignore[method-assign]
        self.served.on_command(taken)  # type: ignore[arg-type]
        self.emulator.outlets = (self.outlet,)
        self.step()
        await self.served.start()

    async def reboot(self, tls: ssl.SSLContext | None = None) -> None:
        """Switch it off and on again, at the same address."""
        port = self.served.address[1]
        await self.served.stop()
        await self.serve(port, tls)

    @property
    def setpoint(self) -> int:
        """Row of the setpoint."""
        return len(self.wire.points) - 2

    def step(self) -> None:
        """One step of the device; its clock stands in between."""
        self.emulator.step(START_NS + round(self.emulator.steps * STEP_S * S))
        if self.emulator.held.mode[0] != LIMIT and not self.safe_at:
            self.safe_at = self.emulator.steps
        elif self.emulator.held.mode[0] == LIMIT:
            self.safe_at = 0

    @property
    def safe(self) -> bool:
        """The device leads itself."""
        return self.safe_at > 0

    @property
    def good(self) -> bool:
        """The image can be trusted."""
        return self.link.state == LinkState.UP and not self.station.keeper.now().quality[self.wire.table.readable].any()

    @property
    def held(self) -> bool:
        """All is as it should be: a good image, and the device holds what was asked last; then nothing was lost."""
        told = self.wire.table.quantise(np.array([self.setpoint]), np.array([self.limit]))[0][0]
        return self.good and self.emulator.held.mode[0] == LIMIT and bool(abs(self.emulator.held.p_limit_mw[0] - told) < 1e-9)

    @property
    def limit(self) -> float:
        """What is asked now; another every time."""
        return 0.001 + 1e-6 * self.k

    def watch(self) -> None:
        """Note whatever the link is asked and brings."""
        link, keeper = self.link, self.station.keeper
        write, heartbeat, take = link.write, link.heartbeat, keeper.take

        async def written(points: np.ndarray, values: np.ndarray, **how: object) -> Outcome:
            outcome = await write(points, values, **how)  # type: ignore[arg-type]
            at = points == self.setpoint
            told = self.wire.table.quantise(points, values)[0]
            self.outcomes += [(v, Status(s)) for v, s in zip(told[at].tolist(), outcome.status[at].tolist())]
            return outcome

        async def beaten(timeout_s: float) -> float:
            place = len(self.beats)
            self.beats.append(False)
            took = await heartbeat(timeout_s)
            self.beats[place] = True
            return took

        def took(batch: Batch) -> None:
            good = (batch.point == 0) & (batch.quality == q.GOOD)
            self.lies += [v for v in batch.value[good].tolist() if v not in self.published]
            take(batch)

        link.write, link.heartbeat, keeper.take = written, beaten, took  # type: ignore[method-assign,assignment]


@asynccontextmanager
async def staged(
    wire: Wire, policy: Policy, lease_s: float, tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None
) -> AsyncIterator[Stage]:
    """A stage on which everything is well."""
    s = Stage(wire, policy, lease_s, tls)
    s.emulator = Emulator(s.devices, (), Clock())
    await s.serve()
    s.relay = Relay(s.served.address, None if tls else SIZES[wire.name])
    await s.relay.start()
    link = wire.link(wire.table, s.relay.address, tls[1] if tls else None)
    wired = Wired(link, emulated=True, lease_s=lease_s, policy=policy)
    s.plant = field_plant(s.devices.fleet, [wired], chance=lambda n: Even())
    s.watch()

    async def device() -> None:
        while True:
            await asyncio.sleep(STEP_S)
            s.step()

    async def loop() -> None:
        while True:
            s.k += s.asks
            s.plant.write(wall_ns(), asked(p_limit_mw=s.limit))
            await asyncio.sleep(2 * STEP_S)

    await s.plant.start()
    tasks = [asyncio.create_task(device()), asyncio.create_task(loop())]
    try:
        await until(lambda: s.held, f"{wire.name} is up")
        yield s
    finally:
        s.undo.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        s.relay.mute = False
        await s.plant.stop()
        await s.relay.stop()
        await s.served.stop()


@dataclass
class Found:
    """What became of a fault; seconds since it began (recovery: since it ended), NaN: it did not happen.

    Attributes:
        by: what told of it.
        failed: heartbeats without an answer until the link went down.
        beats: heartbeats begun until then.
        steps: the device's steps from the last command that it took until it was safe.
        tries: tries to connect that failed after the fault's end.
    """

    by: str = "nothing"
    detected_s: float = np.nan
    safe_s: float = np.nan
    recovered_s: float = np.nan
    failed: int = 0
    beats: int = 0
    steps: int = 0
    tries: int = 0


Act = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        name: in the table.
        begin, end: make it so, and mend it.
        by: what must tell of it: "connection", "heartbeats", "nothing", or "either".
        dies: it lasts until the device is safe.
        tls: it needs certificates.
        only: protocols that it can happen to; empty: all.
    """

    name: str
    begin: Act
    end: Act
    by: str
    dies: bool = False
    tls: bool = False
    only: Callable[[Wire], bool] = lambda wire: True


async def play(s: Stage, fault: Fault) -> Found:
    """Let a fault happen, wait for what it must do, mend it, and wait until nothing is lost."""
    out, keeper = Found(), s.station.keeper
    stats, beats = keeper.statistics, len(s.beats)
    breaks, muted = stats.breaks, stats.muted
    begin = time.monotonic()
    found = asyncio.create_task(_noted(s, out, begin, beats))
    await fault.begin(s)
    if fault.by in ("connection", "heartbeats"):
        await until(lambda: stats.breaks > breaks and not np.isnan(out.detected_s), f"{fault.name} is seen")
    if fault.dies:
        await until(lambda: s.safe, "the device is safe")
        out.safe_s, out.steps = time.monotonic() - begin, s.safe_at - s.took_at
    await fault.end(s)
    end, tries = time.monotonic(), stats.failed_connects
    await until(lambda: s.held, f"all is well after {fault.name}")
    out.recovered_s, out.tries = time.monotonic() - end, stats.failed_connects - tries
    s.asks = False
    await until(lambda: s.held and s.outcomes[-1][1] == Status.ACCEPTED, "what was asked last is held")
    s.asks = True
    found.cancel()
    await asyncio.gather(found, return_exceptions=True)
    if stats.breaks > breaks:
        out.by = "heartbeats" if stats.muted > muted else "connection"
    return out


async def _noted(s: Stage, out: Found, begin: float, beats: int) -> None:
    """Look closely until something is seen."""
    while s.good:
        await asyncio.sleep(0.002)
    out.detected_s = time.monotonic() - begin
    out.beats = len(s.beats) - beats
    out.failed = sum(not told for told in s.beats[beats:])


async def nothing(s: Stage) -> None:
    """It mends itself."""


async def killed(s: Stage) -> None:
    os.kill(s.link.worker.pid, signal.SIGKILL)  # type: ignore[attr-defined]


async def rebooted(s: Stage) -> None:
    await s.reboot()


async def gone(s: Stage) -> None:
    await s.served.stop()


async def back(s: Stage) -> None:
    await s.serve(s.served.address[1])


async def cut(s: Stage) -> None:
    s.relay.cut()


async def vanished(s: Stage) -> None:
    s.relay.vanish()


async def muted(s: Stage) -> None:
    s.relay.mute = True


async def speaks(s: Stage) -> None:
    s.relay.mute = False


async def slow(s: Stage) -> None:
    s.relay.delay_s = 2.0 * s.policy.heartbeat_timeout_s


async def quick(s: Stage) -> None:
    s.relay.delay_s = 0.0


def spoils(how: str, times: int = 4) -> Act:
    async def spoil(s: Stage) -> None:
        s.relay.spoil.extend([how, ""] * times)
        await until(lambda: not s.relay.spoil, f"{times} messages: {how}")

    return spoil


def clock(seconds: float) -> Act:
    """The machine's wall clock is set; then the wire goes mute: what is found, and what runs out, is found all the same."""

    async def act(s: Stage) -> None:
        true = time.time_ns  # noqa: TID251 - it is what is set here
        before = s.station.keeper.statistics.breaks, s.plant.dead_man.trips, s.outlet.firmware.fell_back
        s.undo.enter_context(patch("time.time_ns", lambda: true() + round(seconds * 1e9)))
        steps, beats, told = s.emulator.steps + round(1.5 * s.lease_s / STEP_S), len(s.beats) + 3, len(s.taken) + 3
        stepped = asyncio.create_task(_never(lambda: not s.good or s.safe))
        await until(lambda: s.emulator.steps > steps and len(s.beats) > beats and len(s.taken) > told, "life goes on")
        assert not stepped.done(), "a clock that was set is no fault"
        stepped.cancel()
        assert (s.station.keeper.statistics.breaks, s.plant.dead_man.trips, s.outlet.firmware.fell_back) == before
        assert abs(s.station.keeper.now().received_ns[0] - true() - seconds * 1e9) < 60e9  # only the stamps have moved

    return act


async def _never(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.002)


async def expired(s: Stage) -> None:
    assert s.tls is not None
    await s.reboot(s.expired)
    tries = s.station.keeper.statistics.failed_connects
    await until(lambda: s.station.keeper.statistics.failed_connects > tries + 2, "it is refused, and again")
    assert s.link.state != LinkState.UP


FAULTS = (
    Fault("worker killed (-9)", killed, nothing, "connection", only=lambda wire: wire.worker),
    Fault("server reboots", rebooted, nothing, "connection"),
    Fault("server gone", gone, back, "connection"),
    Fault("connection cut", cut, nothing, "connection"),
    Fault("half open", vanished, nothing, "heartbeats"),
    Fault("mute", muted, speaks, "heartbeats", dies=True),
    Fault("late answers", slow, quick, "heartbeats"),
    Fault("answers lost", spoils("drop"), nothing, "either"),
    Fault("answers twice", spoils("duplicate"), nothing, "either"),
    Fault("answers out of order", spoils("reorder"), nothing, "either"),
    Fault("damaged", spoils("corrupt"), nothing, "either", only=lambda wire: wire.checked),
    Fault("garbage", spoils("garbage"), nothing, "either"),
    Fault("clock + 1 h", clock(3600.0), nothing, "nothing"),
    Fault("clock - 1 h", clock(-3600.0), nothing, "nothing"),
    Fault("certificate expired", expired, rebooted, "connection", dies=True, tls=True),
)
