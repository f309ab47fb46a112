"""The whole chain for one protocol: session and supervisor, a wire with faults, a device.

The device is emulated, with leases in its firmware; its clock goes by its steps only. So what is bounded is counted in events
(heartbeats, steps of the device, tries to connect), and a loaded machine changes none of them.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field

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
ASK_MW = 1e-6  # how far two neighbouring setpoints are apart
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
        count: how many those are.
        served, link: its ends.
        fewer: a server of a table that gives only part of it and says that this was all.
        worker: its native stack runs in a process of its own.
        checked: its messages carry check sums.
    """

    name: str
    points: tuple[Point, ...]
    many: Callable[[int], Point]
    served: Callable[..., Served]
    link: Callable[..., Link]
    fewer: Callable[[PointTable, int], Served]
    worker: bool = False
    checked: bool = False
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
    safe_since: float = 0.0
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
            self.safe_at, self.safe_since = self.emulator.steps, time.monotonic()
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
        """All is as it should be: a good image, and the device holds what was asked last (or just before, while more is)."""
        told = self.wire.table.quantise(np.array([self.setpoint]), np.array([self.limit]))[0][0]
        behind = told - self.emulator.held.p_limit_mw[0]
        return self.good and self.emulator.held.mode[0] == LIMIT and bool(abs(behind) < (10.5 * ASK_MW if self.asks else 1e-9))

    @property
    def limit(self) -> float:
        """What is asked now; another every time."""
        return 0.001 + ASK_MW * self.k

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
        due = time.monotonic()
        while True:
            due = max(due + STEP_S, time.monotonic())  # what is late is not made up: the commands were late, too
            await asyncio.sleep(due - time.monotonic())
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
