"""What is DNP3's own: crashes of the native stack, status of commands, reports, time, TLS, broken frames, foreign peers."""

import asyncio
import datetime as dt
import os
import signal

import numpy as np
import pytest
from dnp3.master import DefaultSOEHandler, Master, MasterConfig, MasterTcpRunner

from tests.wire import certificates
from tests.wire.apart import apart
from tests.wire.authority import Authority
from vpp.kernel import quality as q
from vpp.kernel.errors import LinkError
from vpp.testing.link_bench import EAGER, PATIENCE_S, SOURCE_NS, until
from vpp.wire.clock import wall_ns
from vpp.wire.dnp3.address import Kind
from vpp.wire.dnp3.client import MODULE, Dnp3Link, Session
from vpp.wire.dnp3.mesa import mesa_der
from vpp.wire.dnp3.quality import FROM_FLAGS, TO_FLAGS
from vpp.wire.dnp3.server import Dnp3Served
from vpp.wire.link import ACCEPT, Answer, Batch, LinkState, Mode, Status
from vpp.wire.points import Point, PointTable
from vpp.wire.supervisor import Supervisor
from vpp.wire.tls import client_context
from vpp.wire.worker import Worker

HOST = "127.0.0.1"
YADNP3 = "tests.wire.dnp3.yadnp3_peer"
BATTERY = mesa_der("bat1", p_max_mw=1.0, q_max_mvar=0.5, v_base_v=400.0, storage=True)


def run(test):
    async def limited():
        async with asyncio.timeout(3 * PATIENCE_S):
            await test()

    asyncio.run(limited())


async def served(table=BATTERY, **more):
    server = Dnp3Served(table, (HOST, 0), clock=wall_ns, **more)
    server.on_command(lambda command: ACCEPT)
    await server.start()
    return server


async def follow(link, got):
    async for batch in link.subscribe(link.table.readable, 60.0):
        got.append(batch)


def test_a_killed_worker_costs_a_reconnect():
    async def test():
        server = await served()
        server.publish(Batch.of(BATTERY.readable, np.full(len(BATTERY.readable), 0.5)))
        link = Dnp3Link(BATTERY, server.address, clock=wall_ns)
        keeper = Supervisor(link, wall_ns, np.random.default_rng(1), EAGER)
        task = asyncio.create_task(keeper.run())
        await until(lambda: not keeper.now().quality[BATTERY.readable].any(), "first picture")
        os.kill(link.worker.pid, signal.SIGKILL)
        await until(lambda: bool(np.all(keeper.now().quality & q.COMM_LOST)), "the death is seen")
        await until(lambda: not keeper.now().quality[BATTERY.readable].any(), "good again")
        assert link.worker.starts == 2
        assert keeper.statistics.breaks == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert link.worker.pid == 0
        await server.stop()

    run(test)


def test_many_links_share_a_worker_and_its_death():
    async def test():
        servers = [await served() for _ in range(12)]
        worker = Worker(MODULE)
        links = [Dnp3Link(BATTERY, server.address, clock=wall_ns, worker=worker) for server in servers]
        await asyncio.gather(*(link.connect(PATIENCE_S) for link in links))
        outcomes = await asyncio.gather(*(link.write(BATTERY.writable[:1], np.array([0.25])) for link in links))
        assert all(outcome.accepted for outcome in outcomes)
        os.kill(worker.pid, signal.SIGKILL)
        await until(lambda: all(link.state == LinkState.DOWN for link in links), "every link is down")
        outcome = await links[0].write(BATTERY.writable[:1], np.array([0.25]))
        assert outcome.status.tolist() == [Status.NOT_SENT]
        await asyncio.gather(*(link.connect(PATIENCE_S) for link in links))
        assert worker.starts == 2
        for link in links:
            await link.close()
        await worker.stop()
        for server in servers:
            await server.stop()

    run(test)


@pytest.mark.parametrize("mode", [Mode.DIRECT, Mode.SELECT])
@pytest.mark.parametrize(
    ("status", "code", "seen"),
    [
        (Status.REJECTED, 15, Status.REJECTED),
        (Status.OUT_OF_RANGE, 12, Status.OUT_OF_RANGE),
        (Status.BUSY, 5, Status.BUSY),
        (Status.DEVICE_FAILED, 6, Status.DEVICE_FAILED),
        (Status.UNKNOWN_POINT, 4, Status.NOT_SUPPORTED),
    ],
)
def test_every_point_has_its_status(mode, status, code, seen):
    """The stack sums all of these up as SUCCESS."""

    async def test():
        server = await served()
        bad = BATTERY.find("bat1", "p_limit_mw", "setpoints")
        server.on_command(lambda command: Answer(status) if command.point[0] == bad else ACCEPT)
        link = Dnp3Link(BATTERY, server.address, clock=wall_ns)
        await link.connect(PATIENCE_S)
        points = BATTERY.writable
        outcome = await link.write(points, np.array([0.5, 0.5, 0.25, 1.0]), mode=mode, timeout_s=PATIENCE_S)
        expected = [seen if point == bad else Status.ACCEPTED for point in points]
        assert outcome.status.tolist() == expected
        assert outcome.code[points == bad] == [code]
        await link.close()
        await server.stop()

    run(test)


def test_outputs_are_read_back():
    """A commanded output stands in its status until something else is published (clause 11.9.2.2)."""

    async def test():
        table = PointTable(
            (
                Point("a", "p_mw", "AO:1", sheet="setpoints", wire="int32", scale=1e-3, access="w"),
                Point("a", "p_mw", "AO:1", sheet="applied", wire="int32", scale=1e-3),
                Point("a", "connect", "BO:1", sheet="setpoints", wire="bool", access="rw"),
            )
        )
        server = await served(table)
        link = Dnp3Link(table, server.address, clock=wall_ns)
        await link.connect(PATIENCE_S)
        outcome = await link.write(np.array([0, 2]), np.array([-0.75, 1.0]), timeout_s=PATIENCE_S)
        assert outcome.accepted
        assert (await link.read()).value.tolist() == [-0.75, 1.0]
        outcome = await link.write(np.array([2]), np.array([0.0]), timeout_s=PATIENCE_S)
        assert outcome.accepted
        assert (await link.read()).value.tolist() == [-0.75, 0.0]
        outcome = await link.write(np.array([0]), np.array([3e9]), timeout_s=PATIENCE_S)
        assert outcome.status.tolist() == [Status.OUT_OF_RANGE]
        await link.close()
        await server.stop()

    run(test)


def test_reports_come_unasked_with_time_and_deadband():
    async def test():
        point = Point("m", "p_mw", "AI:7", wire="int32", scale=1e-3, deadband=0.01)
        table = PointTable((point, Point("m", "q_mvar", "AI:300", wire="int32", scale=1e-3)))
        server = await served(table)
        server.publish(Batch.of(table.all, np.array([1.0, 1.0]), 0, SOURCE_NS))
        link = Dnp3Link(table, server.address, clock=wall_ns)
        await link.connect(PATIENCE_S)
        got = []
        task = asyncio.create_task(follow(link, got))
        await until(lambda: bool(got), "first picture")
        later = SOURCE_NS + 5_000_000
        server.publish(Batch.of(table.all[:1], np.array([1.005]), 0, later))  # within the deadband
        server.publish(Batch.of(table.all[1:], np.array([2.0]), q.SUBSTITUTED, later))
        await until(lambda: len(got) > 1, "a report")
        assert got[1].point.tolist() == [1]
        assert got[1].value.tolist() == [2.0]
        assert got[1].quality.tolist() == [q.SUBSTITUTED]
        assert got[1].time_ns.tolist() == [later]
        want = table.quantise(table.all, np.array([1.005, 2.0]))[0]
        assert np.array_equal((await link.read()).value, want)  # the static value moves within the deadband, too
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await link.close()
        await server.stop()

    run(test)


def test_no_event_is_lost_to_a_flood():
    async def test():
        table = PointTable(tuple(Point(f"m{i}", "p_mw", f"AI:{i}", wire="int32", scale=1e-3) for i in range(400)))
        server = await served(table)
        server.publish(Batch.of(table.all, np.zeros(400), 0, SOURCE_NS))
        link = Dnp3Link(table, server.address, clock=wall_ns)
        await link.connect(PATIENCE_S)
        got = []
        task = asyncio.create_task(follow(link, got))
        await until(lambda: bool(got), "first picture")
        for k in range(1, 9):
            server.publish(Batch.of(table.all, np.full(400, float(k)), 0, SOURCE_NS + k))
        held = np.zeros(400)

        def all_there():
            for batch in got:
                held[batch.point] = batch.value
            return bool(np.all(held == 8.0))

        await until(all_there, "the last of every point")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await link.close()
        await server.stop()

    run(test)


def test_time_is_set_by_the_lan_procedure():
    async def test():
        server = await served()
        link = Dnp3Link(BATTERY, server.address, clock=wall_ns)
        await link.connect(PATIENCE_S)
        await until(lambda: server.told_ns > 0, "the time that the outstation asked for")
        assert abs(server.told_ns - wall_ns()) < PATIENCE_S * 1e9  # the stack's own way would have told 1970
        assert await link.sync_time(SOURCE_NS)
        assert 0 <= server.told_ns - SOURCE_NS < PATIENCE_S * 1e9
        await link.close()
        await server.stop()

    run(test)


def test_tls_on_both_sides():
    async def test():
        ours, other = Authority(), Authority()
        server = await served(tls=ours.server())
        link = Dnp3Link(BATTERY, server.address, clock=wall_ns, tls=ours.client())
        await link.connect(PATIENCE_S)
        assert (await link.write(BATTERY.writable[:1], np.array([0.5]), timeout_s=PATIENCE_S)).accepted
        await link.close()
        past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
        for wrong in (ours.client(shows=other), other.client(), ours.client(not_after=past)):
            link = Dnp3Link(BATTERY, server.address, clock=wall_ns, tls=wrong)
            with pytest.raises(LinkError):
                await link.connect(1.0)
            await link.close()
        plain = Dnp3Link(BATTERY, server.address, clock=wall_ns)
        with pytest.raises(LinkError):
            await plain.connect(1.0)
        await plain.close()
        await asyncio.sleep(0.2)  # asyncio closes what never shook hands in its own time
        await server.stop()

    run(test)


def test_broken_frames_harm_nobody():
    async def test():
        server = await served()
        draw = np.random.default_rng(5)
        frame = bytes.fromhex("0564 05c0 0a00 0100".replace(" ", ""))
        pieces = [draw.bytes(300) for _ in range(20)]
        pieces += [frame[:n] for n in range(1, len(frame))] + [frame * 50, b"\x05\x64" * 400, b"\x05\x64\xff\xff" * 100]
        for piece in pieces:
            _, writer = await asyncio.open_connection(*server.address)
            writer.write(piece)
            await writer.drain()
            writer.close()
        link = Dnp3Link(BATTERY, server.address, clock=wall_ns)
        await link.connect(PATIENCE_S)
        assert (await link.read()).n == len(BATTERY.readable)
        await link.close()
        await server.stop()

    run(test)


def test_dnp3py_as_a_foreign_master():
    async def test():
        server = await served()
        server.publish(Batch.of(BATTERY.readable[:2], np.array([0.4, -0.2]), 0, SOURCE_NS))
        handler = DefaultSOEHandler()
        master = Master(handler=handler, config=MasterConfig(address=2, outstation_address=10))
        async with MasterTcpRunner(master=master, host=HOST, port=server.address[1]) as runner:
            await runner.integrity_poll()
        assert handler.analog_inputs[537].value == 400_000
        assert handler.analog_inputs[541].value == -200_000
        await server.stop()

    run(test)


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "TLS"])
def test_yadnp3_as_a_foreign_outstation(tmp_path, secured):
    """Under TLS (its own, over our tunnel) both sides show certificates; a stranger's and an expired one read nothing."""

    async def test():
        held = certificates.make(tmp_path)
        files = [str(held["server"].authority), str(held["server"].certificate), str(held["server"].key)]
        table = PointTable(
            (
                *(Point(f"m{i}", "p_mw", f"AI:{i}", wire="int32", scale=1e-3) for i in range(50)),
                Point("m", "p_mw", "AO:1", sheet="setpoints", wire="int32", scale=1e-3, access="w"),
                Point("m", "q_mvar", "AO:7", sheet="setpoints", wire="int32", scale=1e-3, access="w"),
                Point("m", "connect", "BO:2", sheet="setpoints", wire="bool", access="w"),
                Point("gone", "p_mw", "AI:50", wire="int32"),
            )
        )
        async with apart(YADNP3) as peer:
            address = HOST, await peer.ask("outstation", 50, files if secured else [])
            await peer.ask("put", 3, 1234.0, 0x01)
            await peer.ask("put", 4, 5.0, 0x01 | 0x20)
            tls = client_context(held["client"]) if secured else None
            link = Dnp3Link(table, address, clock=wall_ns, session=Session(1, 10), tls=tls)
            await link.connect(PATIENCE_S)
            batch = await link.read(np.array([3, 4, 5, 53]))
            assert batch.value[:2].tolist() == [1.234, 0.005]
            assert batch.quality.tolist() == [q.GOOD, q.OVERFLOW, q.INVALID, q.INVALID | q.COMM_LOST]
            for mode in Mode:
                outcome = await link.write(np.array([50, 51, 52]), np.array([0.1, 0.1, 1.0]), mode=mode, timeout_s=PATIENCE_S)
                assert outcome.status.tolist() == [Status.ACCEPTED, Status.REJECTED, Status.ACCEPTED]
                assert outcome.code.tolist() == [0, 7, 0]
            got = []
            task = asyncio.create_task(follow(link, got))
            await until(lambda: bool(got), "first picture")
            await peer.ask("put", 9, 77.0, 0x01)
            await until(lambda: any(9 in batch.point for batch in got[1:]), "a report of its own")
            assert got[-1].value[got[-1].point == 9] == [0.077]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await link.close()
            for who in ("stranger", "expired") if secured else ():
                link = Dnp3Link(table, address, clock=wall_ns, session=Session(1, 10), tls=client_context(held[who]))
                with pytest.raises(LinkError):
                    await link.connect(1.0)
                await link.close()

    run(test)


def test_qualities_survive():
    """What a kind can say comes back as it was; what it cannot say is never better than it was."""
    for kind in Kind:
        for quality in range(128):
            back = int(FROM_FLAGS[kind, TO_FLAGS[kind, quality]])
            assert q.usable(back) <= q.usable(quality)
            assert (back & q.SUBSTITUTED) == (quality & q.SUBSTITUTED)
            if quality & q.COMM_LOST:
                assert back & q.COMM_LOST
    for quality in (q.GOOD, q.INVALID, q.QUESTIONABLE, q.SUBSTITUTED, q.OVERFLOW, q.QUESTIONABLE | q.COMM_LOST):
        assert FROM_FLAGS[Kind.AI, TO_FLAGS[Kind.AI, quality]] == quality
