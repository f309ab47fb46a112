"""Conformance suite for a protocol's client and server; inherit it in a pytest module.

    class TestMine(LinkSuite):
        def table(self):
            return PointTable((Point("pv1", "p_mw", "…"), …))

        def served(self, table, port):
            return MyServer(table, ("127.0.0.1", port), clock=wall_ns)

        def link(self, table, address):
            return MyClient(table, address, clock=wall_ns)

The table needs at least two points that can be read and, unless ``commands`` is off, one that can be written. ``stranger``
is a table for the client with one more point, at its end, that the server does not know.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import ClassVar

import numpy as np
import pytest

from vpp.kernel import quality as q
from vpp.kernel.errors import LinkError
from vpp.kernel.signals import FloatArray, IntArray
from vpp.testing.wires import Relay
from vpp.wire.clock import wall_ns
from vpp.wire.link import ACCEPT, Answer, Batch, Command, Link, LinkState, Mode, Served, Status
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


class LinkSuite:
    """What every protocol must do, whoever's stack is beneath it."""

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
        async with self.serving(table, seen=seen) as served:
            link = self.link(mine or table, served.address)
            await link.connect(PATIENCE_S)
            try:
                yield served, link
            finally:
                await link.close()

    async def settled(self, link: Link, points: IntArray, expected: FloatArray) -> Batch:
        """Read until the values are there (a server may publish on a beat of its own)."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                batch = await link.read(points)
                if np.array_equal(batch.value, expected, equal_nan=True):
                    return batch
                await asyncio.sleep(0.02)

    # The tests.

    def test_connects_and_closes(self) -> None:
        """States are told in their order; closing twice does no harm; what is closed does not answer."""

        async def test() -> None:
            async with self.serving(self.table()) as served:
                link = self.link(self.table(), served.address)
                states: list[LinkState] = []
                link.watch(lambda state, reason: states.append(state))
                told = [link.state]
                await link.connect(PATIENCE_S)
                told.append(link.state)
                assert told == [LinkState.DOWN, LinkState.UP]
                assert await link.heartbeat(PATIENCE_S) >= 0.0
                await link.close()
                await link.close()
                assert states == [LinkState.CONNECTING, LinkState.UP, LinkState.DOWN]
                with pytest.raises(LinkError):
                    await link.read()
                await link.connect(PATIENCE_S)
                assert (await link.read()).n == len(link.table.readable)
                await link.close()

        self.run(test)

    def test_no_server_is_an_error(self) -> None:
        """A refused connection is a `LinkError`, and the link is down."""

        async def test() -> None:
            async with self.serving(self.table()) as served:
                address = served.address
            link = self.link(self.table(), address)
            with pytest.raises(LinkError):
                await link.connect(1.0)
            assert link.state == LinkState.DOWN
            await link.close()

        self.run(test)

    def test_reads_everything(self) -> None:
        """Every readable point once, in the order asked for, with value, quality and both times."""

        async def test() -> None:
            async with self.pair() as (_, link):
                table = self.table()
                before = wall_ns()
                batch = await self.settled(link, table.readable, self.values(table)[table.readable])
                assert np.array_equal(batch.point, table.readable)
                assert not batch.quality.any()
                assert np.all((batch.received_ns >= before) & (batch.received_ns <= wall_ns()))
                if self.carries_time:
                    assert np.all(np.abs(batch.time_ns - SOURCE_NS) <= self.time_step_ns)
                else:
                    assert not batch.time_ns.any()
                turned = table.readable[::-1]
                assert np.array_equal((await link.read(turned)).value, self.values(table)[turned])

        self.run(test)

    def test_quality_survives(self) -> None:
        """Questionable stays usable with its value; invalid is NaN; what is good stays good."""
        if not self.carries_quality:
            return

        async def test() -> None:
            async with self.pair() as (served, link):
                table, values = self.table(), self.values(self.table())
                first, second = table.readable[:2]
                served.publish(Batch.of(np.array([first]), values[[first]], q.INVALID, SOURCE_NS))
                expected = values.copy()
                expected[first] = np.nan
                batch = await self.settled(link, table.readable, expected[table.readable])
                assert batch.quality[0] & q.VALIDITY_MASK == q.INVALID
                assert not batch.quality[1:].any()
                served.publish(Batch.of(np.array([first, second]), values[[first, second]], 0, SOURCE_NS))
                await self.settled(link, table.readable, values[table.readable])

        self.run(test)

    def test_unknown_is_never_a_number(self) -> None:
        """A published NaN arrives as NaN and invalid, where the wire can say so at all."""
        if not self.carries_quality:
            return

        async def test() -> None:
            async with self.pair() as (served, link):
                point = self.table().readable[:1]
                served.publish(Batch.of(point, np.array([np.nan])))
                batch = await self.settled(link, point, np.array([np.nan]))
                assert not q.usable(int(batch.quality[0]))

        self.run(test)

    def test_subscribes(self) -> None:
        """First everything, then what changed."""

        async def test() -> None:
            async with self.pair() as (served, link):
                table, values = self.table(), self.values(self.table())
                last = table.readable[-1:]
                want = table.quantise(last, np.array([0.42]))[0]
                got = np.full(len(table), np.nan)
                first: list[Batch] = []
                async with asyncio.timeout(PATIENCE_S):
                    async for batch in link.subscribe(table.readable, 0.05):
                        if not first:
                            first.append(batch)
                            served.publish(Batch.of(last, want, 0, SOURCE_NS))
                        got[batch.point] = batch.value
                        if got[last[0]] == want[0]:
                            break
                assert np.array_equal(np.unique(first[0].point), np.sort(table.readable))
                others = table.readable[:-1]
                assert np.array_equal(got[others], values[others])

        self.run(test)

    def test_writes(self) -> None:
        """An accepted command reaches the device with value and point; a refused one says so, with the native code."""
        if not self.commands:
            return

        async def test() -> None:
            seen: list[Command] = []
            async with self.pair(seen=seen) as (_, link):
                table = self.table()
                point = table.writable[:1]
                want = table.quantise(point, np.array([0.5]))[0]
                outcome = await link.write(point, want, timeout_s=PATIENCE_S)
                assert outcome.accepted, outcome
                assert outcome.answered_ns >= outcome.sent_ns > 0
                done = [c for c in seen if not c.select_only]
                assert [c.point.tolist() for c in done] == [point.tolist()]
                assert done[0].value[0] == want[0]
                refused = await link.write(point, np.array([2.0]), timeout_s=PATIENCE_S)
                assert not refused.accepted
                assert refused.status[0] not in (Status.TIMEOUT, Status.NOT_SENT)

        self.run(test)

    def test_selects_before_operating(self) -> None:
        """Select and operate in one call; a device that refuses refuses here, too."""
        if not self.selects:
            return

        async def test() -> None:
            seen: list[Command] = []
            async with self.pair(seen=seen) as (_, link):
                table = self.table()
                point = table.writable[:1]
                want = table.quantise(point, np.array([0.25]))[0]
                outcome = await link.write(point, want, mode=Mode.SELECT, timeout_s=PATIENCE_S)
                assert outcome.accepted, outcome
                assert [c.value[0] for c in seen if not c.select_only] == [want[0]]
                refused = await link.write(point, np.array([2.0]), mode=Mode.SELECT, timeout_s=PATIENCE_S)
                assert not refused.accepted

        self.run(test)

    def test_writes_what_cannot_be_written(self) -> None:
        """Every point has a status of its own."""

        async def test() -> None:
            async with self.pair() as (_, link):
                table = self.table()
                fixed = np.setdiff1d(table.all, table.writable)[:1]
                outcome = await link.write(fixed, np.array([0.5]), timeout_s=PATIENCE_S)
                assert outcome.status.tolist() == [Status.NOT_WRITABLE]

        self.run(test)

    def test_an_unknown_point(self) -> None:
        """A point that the server lacks is invalid by itself and refused by itself; its neighbours do not suffer."""

        async def test() -> None:
            mine, table = self.stranger(), self.table()
            async with self.pair(mine=mine) as (_, link):
                await self.settled(link, table.readable, self.values(table)[table.readable])
                batch = await link.read(np.append(table.readable, len(table)))
                assert np.isnan(batch.value[-1])
                assert not q.usable(int(batch.quality[-1]))
                assert np.array_equal(batch.value[:-1], self.values(table)[table.readable])
                if self.commands:
                    outcome = await link.write(np.array([len(table)]), np.array([0.5]), timeout_s=PATIENCE_S)
                    assert not outcome.accepted
                    if self.knows_strangers:
                        assert outcome.status[0] == Status.UNKNOWN_POINT

        self.run(test)

    def test_everything_arrives(self) -> None:
        """As many points come as were asked for: a stack's "success" counts for nothing."""

        async def test() -> None:
            table = self.many()
            async with self.pair(table) as (_, link):
                batch = await self.settled(link, table.readable, self.values(table)[table.readable])
                assert batch.n == len(table.readable)
                assert not batch.quality.any()

        self.run(test)

    def test_the_server_reboots(self) -> None:
        """The supervisor is told, marks everything comm-lost, comes back, and holds the new values."""

        async def test() -> None:
            table, values = self.table(), self.values(self.table())
            async with self.serving(table) as served:
                port = served.address[1]
                keeper = Supervisor(self.link(table, served.address), wall_ns, np.random.default_rng(1), EAGER)
                task = asyncio.create_task(keeper.run())
                await until(lambda: bool(np.all(keeper.now().value[table.readable] == values[table.readable])), "first picture")
                await served.stop()
                await until(lambda: keeper.link.state != LinkState.UP, "the loss is seen")
                await until(lambda: bool(np.all(keeper.now().quality & q.COMM_LOST)), "comm-lost")
                async with self.serving(table, port):
                    await until(lambda: not keeper.now().quality[table.readable].any(), "good again")
                    assert keeper.statistics.connects >= 2
                    assert keeper.statistics.breaks >= 1
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                assert keeper.link.state == LinkState.DOWN

        self.run(test)

    def test_half_open(self) -> None:
        """A peer that is mute behind an open connection is found by heartbeats, and found again when it speaks."""

        async def test() -> None:
            table = self.table()
            async with self.serving(table) as served:
                relay = Relay(served.address)
                await relay.start()
                keeper = Supervisor(self.link(table, relay.address), wall_ns, np.random.default_rng(1), EAGER)
                task = asyncio.create_task(keeper.run())
                await until(lambda: not keeper.now().quality[table.readable].any(), "first picture")
                relay.mute = True
                await until(lambda: bool(np.all(keeper.now().quality & q.COMM_LOST)), "the mute peer is found")
                relay.mute = False
                await until(lambda: not keeper.now().quality[table.readable].any(), "good again")
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await relay.stop()

        self.run(test)

    def test_a_lost_answer(self) -> None:
        """A command whose answer does not come is a timeout, never "accepted"."""
        if not self.commands:
            return

        async def test() -> None:
            table = self.table()
            async with self.serving(table) as served:
                relay = Relay(served.address)
                await relay.start()
                link = self.link(table, relay.address)
                await link.connect(PATIENCE_S)
                relay.mute = True
                outcome = await link.write(table.writable[:1], np.array([0.5]), timeout_s=0.3)
                assert outcome.status.tolist() == [Status.TIMEOUT]
                await link.close()
                await relay.stop()

        self.run(test)
