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

import numpy as np
import pytest

from vpp.kernel import quality as q
from vpp.kernel.errors import LinkError
from vpp.testing.link_bench import PATIENCE_S, SOURCE_NS, LinkBench, until
from vpp.testing.wires import Relay
from vpp.wire.clock import wall_ns
from vpp.wire.link import Batch, Command, LinkState, Mode, Status


class LinkSuite(LinkBench):
    """What every protocol must do, whoever's stack is beneath it."""

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
                async with self.kept(table, served.address) as keeper:
                    await until(lambda: bool(np.all(keeper.now().value[table.readable] == values[table.readable])), "a picture")
                    await served.stop()
                    await until(lambda: keeper.link.state != LinkState.UP, "the loss is seen")
                    await until(lambda: bool(np.all(keeper.now().quality & q.COMM_LOST)), "comm-lost")
                    async with self.serving(table, port):
                        await until(lambda: not keeper.now().quality[table.readable].any(), "good again")
                        assert keeper.statistics.connects >= 2
                        assert keeper.statistics.breaks >= 1
                assert keeper.link.state == LinkState.DOWN

        self.run(test)

    def test_half_open(self) -> None:
        """A peer that is mute behind an open connection is found by heartbeats, and found again when it speaks."""

        async def test() -> None:
            table = self.table()
            async with (
                self.serving(table) as served,
                Relay(served.address) as relay,
                self.kept(table, relay.address) as keeper,
            ):
                await until(lambda: not keeper.now().quality[table.readable].any(), "first picture")
                relay.mute = True
                await until(lambda: bool(np.all(keeper.now().quality & q.COMM_LOST)), "the mute peer is found")
                relay.mute = False
                await until(lambda: not keeper.now().quality[table.readable].any(), "good again")

        self.run(test)

    def test_a_lost_answer(self) -> None:
        """A command whose answer does not come is a timeout, never "accepted"."""
        if not self.commands:
            return

        async def test() -> None:
            table = self.table()
            async with (
                self.serving(table) as served,
                Relay(served.address) as relay,
                self.connected(table, relay.address) as link,
            ):
                relay.mute = True
                outcome = await link.write(table.writable[:1], np.array([0.5]), timeout_s=0.3)
                assert outcome.status.tolist() == [Status.TIMEOUT]

        self.run(test)
