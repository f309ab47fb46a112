"""Server and client against a peer of the tests' own: octets, windows, frames pipelined, in pieces, malformed, senseless."""

import asyncio
import datetime as dt

import numpy as np
import pytest

from tests.wire.iec104.bench import HOST, TABLE, run, served
from tests.wire.iec104.raw import STARTDT, STARTDT_CON, TESTFR, TESTFR_CON, Raw
from vpp.kernel import quality as q
from vpp.kernel.errors import LinkError
from vpp.testing.link_bench import PATIENCE_S, SOURCE_NS
from vpp.wire.clock import wall_ns
from vpp.wire.iec104.client import Iec104Link
from vpp.wire.iec104.connection import Parameters
from vpp.wire.link import ACCEPT, Batch, LinkState
from vpp.wire.points import Point, PointTable


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
