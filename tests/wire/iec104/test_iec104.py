"""What is the protocol's own, against peers that are not: a raw one of the tests' own, and c104."""

import asyncio
import datetime as dt

import numpy as np
import pytest

from tests.wire import certificates
from tests.wire.apart import apart
from tests.wire.authority import Authority
from tests.wire.iec104.raw import STARTDT, STARTDT_CON, TESTFR, TESTFR_CON, Raw
from vpp.kernel import quality as q
from vpp.kernel.errors import LinkError
from vpp.testing.link_bench import PATIENCE_S, SOURCE_NS, until
from vpp.wire.clock import wall_ns
from vpp.wire.iec104 import asdu as a
from vpp.wire.iec104.client import Iec104Link
from vpp.wire.iec104.connection import Parameters
from vpp.wire.iec104.points import FROM_OCTET, TO_OCTET
from vpp.wire.iec104.server import Iec104Served
from vpp.wire.iec104.time import decode_time, encode_time
from vpp.wire.link import ACCEPT, Answer, Batch, LinkState, Mode, Status
from vpp.wire.points import Point, PointTable
from vpp.wire.tls import client_context

HOST = "127.0.0.1"
C104 = "tests.wire.iec104.c104_peer"
TABLE = PointTable(
    (
        Point("pv1", "p_mw", "1:256"),
        Point("pv1", "connect", "1:257", sheet="applied", wire="bool"),
        Point("pv1", "p_mw", "1:512", sheet="setpoints", access="w"),
        Point("pv1", "connect", "1:513", sheet="setpoints", wire="bool", access="w"),
    )
)


def run(test):
    async def limited():
        async with asyncio.timeout(3 * PATIENCE_S):
            await test()

    asyncio.run(limited())


async def served(table=TABLE, **more):
    server = Iec104Served(table, (HOST, 0), clock=wall_ns, **more)
    server.on_command(lambda command: ACCEPT if command.value[0] <= 1.0 else Answer(Status.REJECTED))
    await server.start()
    return server


def test_the_octets_of_the_standard():
    """Interrogation, values, setpoint, clock and what is not known, as octets."""

    async def test():
        server = await served()
        server.publish(Batch.of(np.array([0, 1]), np.array([1.5, 1.0]), q.SUBSTITUTED))
        raw = await Raw.connect(server.address)
        raw.put(TESTFR)
        assert (await raw.frame()).hex() == TESTFR_CON
        raw.ask("64 01 06 00 0100 000000 14")
        assert (await raw.asdu()).hex() == "64010700010000000014"
        assert (await raw.asdu()).hex() == "0d01140001000001000000c03f20"  # M_ME_NC, 1.5, SB
        assert (await raw.asdu()).hex() == "01011400010001010021"  # M_SP_NA, on, SB
        assert (await raw.asdu()).hex() == "64010a00010000000014"
        raw.ask("32 01 06 00 0100 000200 0000003f 00")  # C_SE_NC, 0.5
        assert (await raw.asdu()).hex() == "320107000100000200" + "0000003f00"
        assert (await raw.asdu()).hex() == "32010a000100000200" + "0000003f00"
        raw.ask("32 01 06 00 0100 000200 00000040 00")  # 2.0: the device refuses
        assert (await raw.asdu()).hex() == "320147000100000200" + "0000004000"
        raw.ask("2d 01 06 00 0100 ff0200 01")  # no such object
        assert (await raw.asdu()).hex() == "2d016f000100ff020001"
        raw.ask("2d 01 06 00 0900 010200 01")  # no such station
        assert (await raw.asdu()).hex() == "2d016e00090001020001"
        raw.ask("7a 01 06 00 0100 000000 00")  # a type that is not served
        assert (await raw.asdu()).hex() == "7a016c00010000000000"
        raw.ask("67 01 06 00 0100 000000 " + "7b4f 1e 0a 9b 0b 1a".replace(" ", ""))  # 2026-11-27 10:30:20.347
        assert (await raw.asdu())[2] == 7
        when = dt.datetime(2026, 11, 27, 10, 30, 20, 347000, dt.UTC)
        assert server.told_ns == int(when.timestamp() * 1000) * 1_000_000
        raw.close()
        await server.stop()

    run(test)


@pytest.mark.parametrize(
    "frames",
    [
        "00",  # no start
        "6803070000",  # too short a length
        "68ff07000000",  # too long a length
        "680e 0200 0000 64 01 06 00 0100 000000 14",  # a number out of its order
        "680e 0000 0800 64 01 06 00 0100 000000 14",  # acknowledges what was never sent
        "680d 0000 0000 64 01 06 00 0100 000000",  # an object too short
        "6808 0000 0000 64 01 06 00",  # less than a head
        "680e 0000 0000 64 7f 06 00 0100 000000 14",  # 127 objects announced, one there
        "680e 0000 0000 64 00 06 00 0100 000000 14",  # none announced
        "6804 03000000",  # an unnumbered frame that is none
    ],
)
def test_what_is_malformed_ends_its_connection_only(frames):
    async def test():
        server = await served()
        raw = await Raw.connect(server.address)
        raw.put(frames)
        assert await raw.ended()
        raw.close()
        other = await Raw.connect(server.address)
        other.ask("64 01 06 00 0100 000000 14")
        assert (await other.asdu()).hex() == "64010700010000000014"
        other.close()
        await server.stop()

    run(test)


def test_pipelined_and_in_pieces():
    """Five requests in one segment are answered in their order, a command is done once; octets may come one by one."""

    async def test():
        server = await served()
        told = []
        server.on_command(lambda command: told.append(command.value.tolist()) or ACCEPT)
        raw = await Raw.connect(server.address)
        order = "32 01 06 00 0100 000200 0000003f 00"
        raw.ask(
            "66 01 05 00 0100 000100", "66 01 05 00 0100 010100", order, "66 01 05 00 0100 ff0100", "64 01 06 00 0100 000000 14"
        )
        got = [(asdu[0], asdu[2]) for asdu in [await raw.asdu() for _ in range(9)]]
        assert got == [(13, 5), (1, 5), (50, 7), (50, 10), (102, 0x40 | 47), (100, 7), (13, 20), (1, 20), (100, 10)]
        assert told == [[0.5]]
        for octet in bytes.fromhex(TESTFR):
            raw.put(f"{octet:02x}")
            await raw.writer.drain()
            await asyncio.sleep(0)
        assert (await raw.frame()).hex() == TESTFR_CON
        raw.close()
        await server.stop()

    run(test)


@pytest.mark.parametrize(
    "frames",
    [
        "00",
        "6803070000",
        "680e 0200 0200 0d 01 03 00 0100 000100 0000c03f 00",  # a number out of its order
        "6812 0000 2000 0d 01 03 00 0100 000100 0000c03f 00",  # acknowledges what was never sent
        "680e 0000 0200 0d 01 03 00 0100 000100 0000",  # an object too short
        "6812 0000 0200 0d 02 03 00 0100 000100 0000c03f 00",  # two objects announced, one there
        "6808 0000 0200 0d 01 03 00",  # less than a head
    ],
)
def test_a_malformed_answer_ends_the_link(frames):
    """Nothing of it is believed, and whoever reads is told."""

    async def peer(reader, writer):
        raw = Raw(reader, writer)
        assert (await raw.frame()).hex() == STARTDT
        raw.put(STARTDT_CON)
        await raw.asdu()
        raw.put(frames)
        await raw.ended()
        raw.close()

    async def test():
        server = await asyncio.start_server(peer, HOST, 0)
        link = Iec104Link(TABLE, server.sockets[0].getsockname(), clock=wall_ns)
        await link.connect(PATIENCE_S)
        with pytest.raises(LinkError):
            await link.read()
        assert link.state == LinkState.DOWN
        assert np.isnan(link._picture.batch(TABLE.readable).value).all()
        await link.close()
        server.close()
        await asyncio.sleep(0.05)

    run(test)


def test_what_the_client_does_not_know_is_passed_over():
    """A type, a station and an object of somebody else: counted, and the link goes on."""

    async def peer(reader, writer):
        raw = Raw(reader, writer)
        await raw.frame()
        raw.put(STARTDT_CON)
        await raw.asdu()
        raw.ask("7f 01 03 00 0100 000100 00", "0d 01 03 00 0900 000100 0000c03f 00", "0d 01 03 00 0100 ff0100 0000c03f 00")
        raw.ask("64 01 07 00 0100 000000 14", "0d 01 14 00 0100 000100 0000c03f 00", "01 01 14 00 0100 010100 01")
        raw.ask("64 01 0a 00 0100 000000 14")
        await raw.ended()
        raw.close()

    async def test():
        server = await asyncio.start_server(peer, HOST, 0)
        link = Iec104Link(TABLE, server.sockets[0].getsockname(), clock=wall_ns)
        await link.connect(PATIENCE_S)
        assert (await link.read()).value.tolist() == [1.5, 1.0]
        assert link.log.counts == {"unknown type": 1, "not in the table": 2}
        await link.close()
        server.close()
        await asyncio.sleep(0.05)

    run(test)


def test_truncated_and_random_octets():
    async def test():
        server = await served()
        draw = np.random.default_rng(7)
        whole = bytes.fromhex(STARTDT + "680e0000000064010600010000000014")
        for piece in [whole[:n] for n in range(1, len(whole))] + [b"\x68" + draw.bytes(200) for _ in range(30)]:
            _, writer = await asyncio.open_connection(*server.address)
            writer.write(piece)
            await writer.drain()
            writer.close()
        link = Iec104Link(TABLE, server.address, clock=wall_ns)
        await link.connect(PATIENCE_S)
        assert (await link.read()).n == 2
        await link.close()
        await server.stop()

    run(test)


def test_data_before_startdt_and_windows():
    """k frames go without an acknowledgement, not one more; data on a connection that was not started ends it."""

    async def test():
        table = PointTable(tuple(Point(f"m{i}", "p_mw", f"{i + 1}:1") for i in range(40)))
        server = await served(table, parameters=Parameters(k=5, w=3, t1_s=60.0))
        server.publish(Batch.of(table.all, np.ones(40), 0, SOURCE_NS))
        raw = await Raw.connect(server.address)
        for n in range(5):
            assert (await raw.frame())[2] == n << 1
        await asyncio.sleep(0.1)
        raw.put(TESTFR)
        assert (await raw.frame()).hex() == TESTFR_CON  # nothing came between
        raw.put("680401000a00")  # five acknowledged
        assert (await raw.frame())[2] == 5 << 1
        raw.close()
        early = await Raw.connect(server.address, start=False)
        early.ask("64 01 06 00 0100 000000 14")
        assert await early.ended()
        early.close()
        await server.stop()

    run(test)


def test_a_peer_that_acknowledges_nothing_is_cut_off():
    async def test():
        server = await served(parameters=Parameters(t1_s=0.3, t2_s=0.1, t3_s=0.2))
        server.publish(Batch.of(np.array([0]), np.ones(1), 0, SOURCE_NS))
        raw = await Raw.connect(server.address)
        assert await raw.ended()  # t1
        raw.close()
        await server.stop()

    run(test)


@pytest.mark.parametrize("brings", [0, 1])
def test_an_interrogation_that_says_it_is_complete_is_not_believed(brings):
    async def peer(reader, writer):
        raw = Raw(reader, writer)
        assert (await raw.frame()).hex() == STARTDT
        raw.put(STARTDT_CON)
        await raw.asdu()
        raw.ask("64 01 07 00 0100 000000 14")
        for _ in range(brings):
            raw.ask("0d 01 14 00 0100 000100 0000c03f 00")
        raw.ask("64 01 0a 00 0100 000000 14")
        await raw.ended()
        raw.close()

    async def test():
        server = await asyncio.start_server(peer, HOST, 0)
        link = Iec104Link(TABLE, server.sockets[0].getsockname(), clock=wall_ns)
        await link.connect(PATIENCE_S)
        batch = await link.read()
        missing = q.INVALID | q.COMM_LOST
        assert batch.quality.tolist() == [q.GOOD if brings else missing, missing]
        assert link.log.counts["interrogation"] == 1
        await link.close()
        server.close()
        await asyncio.sleep(0.05)

    run(test)


def test_a_redundancy_group_loses_nothing():
    """The started connection breaks; the next takes over, and what was reported between arrives."""

    async def test():
        server = await served(group=True)
        server.publish(Batch.of(np.array([0]), np.array([0.25]), 0, SOURCE_NS))
        link = Iec104Link(TABLE, server.address, clock=wall_ns, others=(server.address,))
        await link.connect(PATIENCE_S)
        assert (await link.read()).value[0] == 0.25
        states = []
        link.watch(lambda state, reason: states.append(state))
        assert sum(connection.started for connection in server.connections) == 1
        next(connection for connection in server.connections if connection.started).end("cut")
        later = SOURCE_NS + 1_000_000
        server.publish(Batch.of(np.array([0]), np.array([0.5]), 0, later))
        await until(lambda: link.switched == 1 and sum(c.started for c in server.connections) == 1, "the other takes over")
        batch = await link.read()
        assert (batch.value[0], batch.time_ns[0]) == (0.5, later)
        assert states == []
        assert link.state == LinkState.UP
        await link.close()
        await server.stop()

    run(test)


def test_selecting():
    async def test():
        server = await served(must_select=True)
        link = Iec104Link(TABLE, server.address, clock=wall_ns, timed_commands=True)
        await link.connect(PATIENCE_S)
        points, values = TABLE.writable, np.array([0.5, 1.0])
        direct = await link.write(points, values, timeout_s=PATIENCE_S)
        assert direct.status.tolist() == [Status.REJECTED] * 2
        assert direct.code.tolist() == [7 | 0x40] * 2
        assert (await link.write(points, values, mode=Mode.SELECT, timeout_s=PATIENCE_S)).accepted
        assert await link.sync_time(SOURCE_NS)
        assert 0 <= server.told_ns - SOURCE_NS < PATIENCE_S * 1e9
        await link.close()
        await server.stop()

    run(test)


def test_tls_on_both_sides():
    async def test():
        ours, other = Authority(), Authority()
        server = await served(tls=ours.server())
        link = Iec104Link(TABLE, server.address, clock=wall_ns, tls=ours.client())
        await link.connect(PATIENCE_S)
        assert (await link.read()).n == 2
        await link.close()
        for wrong in (ours.client(shows=other), other.client(), None):
            link = Iec104Link(TABLE, server.address, clock=wall_ns, tls=wrong)
            with pytest.raises(LinkError):
                await link.connect(1.0)
            await link.close()
        await asyncio.sleep(0.2)  # asyncio closes what never shook hands in its own time
        await server.stop()

    run(test)


@pytest.mark.parametrize("secured", [False, True], ids=["plain", "TLS"])
def test_c104_as_a_foreign_server(tmp_path, secured):
    """Under TLS it shows and asks for certificates; one of another authority, or one that has expired, reads nothing."""

    async def test():
        held = certificates.make(tmp_path)
        files = [str(held["server"].certificate), str(held["server"].key), str(held["server"].authority)]
        async with apart(C104) as peer:
            address = HOST, await peer.ask("server", files if secured else [])
            link = Iec104Link(TABLE, address, clock=wall_ns, tls=client_context(held["client"]) if secured else None)
            await link.connect(PATIENCE_S)
            batch = await link.read()
            assert batch.value.tolist() == [1.5, 1.0]
            assert not batch.quality.any()
            assert (await link.write(np.array([2]), np.array([0.5]), timeout_s=PATIENCE_S)).accepted
            refused = await link.write(np.array([2]), np.array([2.0]), timeout_s=PATIENCE_S)
            assert refused.status.tolist() == [Status.REJECTED]
            assert await peer.ask("asked") == [0.5, 2.0]
            missing = await link.write(np.array([3]), np.array([1.0]), timeout_s=PATIENCE_S)
            assert missing.code.tolist() == [7 | 0x40]  # c104 2.2.1; IEC 60870-5-101, 7.2.3, has cause 47 for an unknown object
            await link.close()
            for who in ("stranger", "expired") if secured else ():
                link = Iec104Link(TABLE, address, clock=wall_ns, tls=client_context(held[who]))
                with pytest.raises(LinkError):
                    await link.connect(2.0)
                await link.close()

    run(test)


def test_c104_as_a_foreign_client():
    async def test():
        server = await served()
        server.publish(Batch.of(np.array([0, 1]), np.array([1.5, 1.0]), 0, SOURCE_NS))
        async with apart(C104) as peer:
            await peer.ask("client", server.address[1])
            async with asyncio.timeout(PATIENCE_S):
                while (told := await peer.ask("values"))[:2] != [1.5, True]:
                    await asyncio.sleep(0.05)
            stamp = dt.datetime.fromisoformat(told[2]).replace(tzinfo=dt.UTC)
            assert abs(stamp.timestamp() * 1e9 - SOURCE_NS) < 2e6
            assert await peer.ask("transmit", 0.5)
            assert not await peer.ask("transmit", 2.0)
        await server.stop()

    run(test)


def test_a_peer_that_crashes_fails_its_test_only():
    async def test():
        async with apart(C104) as peer:
            await peer.ask("crash")

    with pytest.raises(AssertionError, match=r"(?s)c104_peer was killed by SIGSEGV .*in crash.* when it was asked to crash"):
        run(test)


def test_asdus_and_times_come_back():
    draw = np.random.default_rng(3)
    for type_, element in a.ELEMENTS.items():
        raw = 1.0 if element.size else 0.0
        raw = 0.0 if type_ in (a.END_OF_INIT, a.INTERROGATION, a.COUNTER_INTERROGATION) else raw
        octet = 0x80 if element.size else 0
        objects = [a.Object(int(draw.integers(1, 2**24)), raw, octet, SOURCE_NS if element.timed else 0)]
        asdu = a.Asdu(type_, 3, 65534, objects * a.room(type_), True, True, 9)
        assert len(a.encode(asdu)) <= a.LONGEST
        assert a.decode(a.encode(asdu)) == asdu
    run_of = bytes.fromhex("01820300010000010001008101"[:-2])  # SQ: two single points from one address on
    assert [(o.address, o.raw) for o in a.decode(run_of[:9] + b"\x01\x80").objects] == [(256, 1.0), (257, 0.0)]
    for ns in (SOURCE_NS, 946_684_800_000_000_000, 4_102_444_799_999_000_000):
        assert decode_time(encode_time(ns)) == ns
    assert decode_time(bytes.fromhex("7b4f9e0a9b0b1a")) == 0  # marked invalid
    assert decode_time(bytes.fromhex("7b4f1e0a800b1a")) == 0  # the nought of November


def test_qualities_survive():
    for quality in range(128):
        back = int(FROM_OCTET[TO_OCTET[quality]])
        assert q.usable(back) == q.usable(quality)
        assert back & (q.SUBSTITUTED | q.BLOCKED | q.OVERFLOW) == quality & (q.SUBSTITUTED | q.BLOCKED | q.OVERFLOW)
