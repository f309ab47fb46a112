"""The outstation against a peer of the tests' own: frames pipelined, in pieces, truncated, damaged and senseless."""

import asyncio

import numpy as np
import pytest

from tests.wire.dnp3.raw import CLASS_0, LINK_STATUS, Raw, frame, request
from vpp.testing.link_bench import PATIENCE_S
from vpp.wire.clock import wall_ns
from vpp.wire.dnp3.server import Dnp3Served
from vpp.wire.link import ACCEPT, Batch
from vpp.wire.points import Point, PointTable

TABLE = PointTable(
    (
        Point("pv1", "p_mw", "AI:0", wire="int32", scale=1e-6),
        Point("pv1", "q_mvar", "AI:1", wire="int32", scale=1e-6),
        Point("pv1", "p_mw", "AO:0", sheet="setpoints", wire="int32", scale=1e-6, access="w"),
    )
)
TWO_POWERS = "1e 01 00 00 01"  # g30v1, from index 0 to 1


def run(test):
    """A test with a raw master and what the device was told."""

    async def limited():
        async with asyncio.timeout(PATIENCE_S):
            told = []
            server = Dnp3Served(TABLE, ("127.0.0.1", 0), clock=wall_ns)
            server.on_command(lambda command: told.append(command.value.tolist()) or ACCEPT)
            await server.start()
            server.publish(Batch.of(np.array([0, 1]), np.array([1.5, -0.25])))
            raw = await Raw.connect(server.address)
            await test(raw, told)
            raw.close()
            await server.stop()

    asyncio.run(limited())


async def alive(raw, sequence):
    """What was asked before is answered already, or never will be: the next request is."""
    raw.put(request(TWO_POWERS, sequence))
    got, iin, objects = await raw.answer()
    assert (got, iin[1] & 0x07) == (sequence, 0)
    assert objects.hex() == "1e01000001" + "01" + (1_500_000).to_bytes(4, "little").hex() + "01" + "70" + "2ffcff"


def test_the_octets_of_the_standard():
    async def test(raw, told):
        raw.put(LINK_STATUS)
        assert await raw.frame() == (0x0B, b"")  # secondary, link status
        await alive(raw, 3)
        raw.put(request("29 01 28 0100 0000 40420f00 00", 4, function=0x05))  # g41v1, direct operate, 1 MW
        sequence, _, objects = await raw.answer()
        assert (sequence, objects.hex()) == (4, "29012801000000" + "40420f00" + "00")
        assert told == [[1.0]]

    run(test)


def test_pipelined():
    """Five requests in one segment: five answers, in their order, and a command is done once."""

    async def test(raw, told):
        operate = request("29 01 28 0100 0000 40420f00 00", 2, function=0x05)
        raw.put(request(TWO_POWERS, 0) + request(CLASS_0, 1) + operate + LINK_STATUS + request(TWO_POWERS, 3))
        assert [(await raw.answer())[0] for _ in range(3)] == [0, 1, 2]
        assert await raw.frame() == (0x0B, b"")
        assert (await raw.answer())[0] == 3
        assert told == [[1.0]]

    run(test)


def test_in_pieces():
    """One octet a segment, and a request over two frames (8.2)."""

    async def test(raw, told):
        for octet in request(TWO_POWERS, 5):
            raw.put(bytes([octet]))
            await raw.writer.drain()
            await asyncio.sleep(0)
        assert (await raw.answer())[0] == 5
        whole = bytes([0xC6, 0x01]) + bytes.fromhex(TWO_POWERS.replace(" ", ""))
        raw.put(frame(bytes([0x40]) + whole[:4]) + frame(bytes([0x81]) + whole[4:]))
        assert (await raw.answer())[0] == 6

    run(test)


GOOD = request("29 01 28 0100 0000 40420f00 00", 7, function=0x05)


@pytest.mark.parametrize(
    "octets",
    [
        GOOD[:8] + bytes([GOOD[8] ^ 1]) + GOOD[9:],  # check sum of the header
        GOOD[:12] + bytes([GOOD[12] ^ 0x80]) + GOOD[13:],  # a bit of the data
        GOOD[:-1] + bytes([GOOD[-1] ^ 1]),  # check sum of the last block
        GOOD[:2] + b"\x04" + GOOD[3:],  # a length below the least
        b"\x05\x64" * 30,
        b"\x05" + GOOD[2:],
        frame(GOOD[10:25], destination=11),  # for somebody else
        request("29 01 28 0100 0000 40420f00 00", 7, 0x05, transport=0x80),  # the end of what never began
        request("29 01 28 0100 0000 40420f00 00", 7, 0x05, transport=0x40),  # the begin of what never ends
        frame(bytes([0xC0])),  # a segment without a fragment
        frame(bytes([0xC0, 0xC7])),  # a fragment without a function
    ],
    ids=["header", "data", "block", "length", "starts", "start", "other", "no begin", "no end", "empty", "half"],
)
def test_what_is_damaged_is_passed_over(octets):
    """No answer, no command, and the next request is served on the same connection (9.2.4: frames are found again)."""

    async def test(raw, told):
        raw.put(octets)
        await alive(raw, 8)
        assert told == []

    run(test)


@pytest.mark.parametrize(
    ("text", "function", "bit"),
    [
        (TWO_POWERS, 0x70, 0x01),  # no such function (table 4-6: IIN2.0)
        ("c8 01 06", 0x01, 0x02),  # no such group: IIN2.1
        ("1e 01 00 00", 0x01, 0x04),  # a range cut off: IIN2.2
        ("1e", 0x01, 0x04),  # half a header
        ("29 01 28 0100 0000 4042", 0x05, 0x04),  # half a command
        ("29 01 28 ffff 0000 40420f00 00", 0x05, 0x04),  # 65,535 commands announced, one there
    ],
    ids=["function", "group", "range", "header", "command", "count"],
)
def test_what_is_senseless_is_refused(text, function, bit):
    async def test(raw, told):
        raw.put(request(text, 9, function))
        sequence, iin, _ = await raw.answer()
        assert sequence == 9
        assert iin[1] & 0x07 == bit
        assert told == []
        await alive(raw, 10)

    run(test)


@pytest.mark.parametrize("text", ["1e 63 06", "1e 01 00 05 01"], ids=["variation", "turned range"])
def test_what_dnp3py_makes_sense_of(text):
    """A variation that is none and a range that ends before it begins: dnp3py 0.6 gives all points of the group.

    The standard has IIN2.1 and IIN2.2 for them; what is told is true nevertheless.
    """

    async def test(raw, told):
        raw.put(request(text, 9))
        sequence, iin, objects = await raw.answer()
        assert (sequence, iin[1] & 0x07) == (9, 0)
        assert objects.hex() == "1e01000001" + "01" + (1_500_000).to_bytes(4, "little").hex() + "01" + "702ffcff"

    run(test)
