"""What the conformance suite for links stands on: a served table, a client towards it, and patience."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import ClassVar

import numpy as np

from vpp.kernel.signals import FloatArray, IntArray
from vpp.wire.clock import wall_ns
from vpp.wire.link import ACCEPT, Answer, Batch, Command, Link, Served, Status
from vpp.wire.points import PointTable
from vpp.wire.supervisor import Policy, Supervisor

PATIENCE_S = 20.0  # for a loaded machine; nothing is measured by it
SOURCE_NS = 1_700_000_000_123_000_000
EAGER = Policy(period_s=0.05, connect_s=2.0, back_off_s=0.05, back_off_max_s=0.2, heartbeat_s=0.1, heartbeat_timeout_s=0.3)


async def until(true: Callable[[], bool], what: str) -> None:
    """Wait until something is so; fails with ``what`` when it never is."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not true():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never: {what}") from None


class Even:
    """No chance at all: every draw is the middle."""

    def random(self) -> float:
        """One half."""
        return 0.5


class LinkBench:
    """A protocol under test: tables, server and client are the inheriting suite's."""

    carries_quality: ClassVar[bool] = True
    carries_time: ClassVar[bool] = True
    time_step_ns: ClassVar[int] = 1_000_000  # resolution of the protocol's time stamps
    commands: ClassVar[bool] = True
    selects: ClassVar[bool] = True  # select before operate exists
    knows_strangers: ClassVar[bool] = True  # a point that the server lacks is told from one that is silent

    def table(self) -> PointTable:
        """The points that the server serves."""
        raise NotImplementedError

    def many(self) -> PointTable:
        """A large table, for completeness; thousands of points where the protocol is known to lose some."""
        return self.table()

    def stranger(self) -> PointTable:
        """The client's table with one more point that the server does not know; writable where commands exist."""
        raise NotImplementedError

    def served(self, table: PointTable, port: int) -> Served:
        """A server at this port of 127.0.0.1 (0: any)."""
        raise NotImplementedError

    def link(self, table: PointTable, address: tuple[str, int]) -> Link:
        """A client towards an address."""
        raise NotImplementedError

    # What the tests stand on.

    def values(self, table: PointTable) -> FloatArray:
        """A value for every point, as the wire holds it."""
        return table.quantise(table.all, np.linspace(0.1, 0.9, len(table)))[0]

    def run(self, test: Callable[[], Awaitable[None]]) -> None:
        """Run a test on an event loop of its own, with an end to its patience."""

        async def limited() -> None:
            async with asyncio.timeout(3 * PATIENCE_S):
                await test()

        asyncio.run(limited())

    def heard(self, command: Command, seen: list[Command]) -> Answer:
        """The device of the tests: it refuses what is beyond 1, and accepts the rest."""
        seen.append(command)
        if np.any(command.value > 1.0):
            return Answer(Status.REJECTED, "interlock")
        return ACCEPT

    @asynccontextmanager
    async def serving(self, table: PointTable, port: int = 0, seen: list[Command] | None = None) -> AsyncIterator[Served]:
        """A started server with every value published, good and at one source time."""
        served = self.served(table, port)
        commands = [] if seen is None else seen
        served.on_command(lambda command: self.heard(command, commands))
        await served.start()
        served.publish(Batch.of(table.all, self.values(table), 0, SOURCE_NS))
        try:
            yield served
        finally:
            await served.stop()

    @asynccontextmanager
    async def pair(
        self, table: PointTable | None = None, mine: PointTable | None = None, seen: list[Command] | None = None
    ) -> AsyncIterator[tuple[Served, Link]]:
        """A started server and a connected client."""
        table = table or self.table()
        async with self.serving(table, seen=seen) as served, self.connected(mine or table, served.address) as link:
            yield served, link

    @asynccontextmanager
    async def connected(self, table: PointTable, address: tuple[str, int]) -> AsyncIterator[Link]:
        """A connected client, closed in the end."""
        link = self.link(table, address)
        await link.connect(PATIENCE_S)
        try:
            yield link
        finally:
            await link.close()

    @asynccontextmanager
    async def kept(self, table: PointTable, address: tuple[str, int]) -> AsyncIterator[Supervisor]:
        """A client that a supervisor keeps, until the end."""
        keeper = Supervisor(self.link(table, address), wall_ns, Even(), EAGER)
        task = asyncio.create_task(keeper.run())
        try:
            yield keeper
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def settled(self, link: Link, points: IntArray, expected: FloatArray) -> Batch:
        """Read until the values are there (a server may publish on a beat of its own)."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                batch = await link.read(points)
                if np.array_equal(batch.value, expected, equal_nan=True):
                    return batch
                await asyncio.sleep(0.02)
