"""Modbus RTU over a pseudo terminal: our server and client, and pymodbus' serial client as the foreign peer."""

from __future__ import annotations

import asyncio
import os
import tty
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest
from pymodbus.client import AsyncModbusSerialClient

from vpp.kernel.errors import LinkError
from vpp.wire.clock import wall_ns
from vpp.wire.link import ACCEPT, Batch, LinkState, Status
from vpp.wire.modbus.address import parse
from vpp.wire.modbus.client import ModbusLink
from vpp.wire.modbus.image import TableImage
from vpp.wire.modbus.rtu import Line, RtuChannel, RtuServer, Splitter, answer_length, crc, frame, request_length
from vpp.wire.points import Point, PointTable

TABLE = PointTable(
    (
        Point("a", "p_mw", "7:holding:0", wire="float32"),
        Point("a", "q_mvar", "7:holding:2", wire="int16", scale=1e-3),
        Point("a", "p_mw", "7:holding:10", sheet="setpoints", wire="int32", unit="W", access="rw", low=-1.0, high=1.0),
    )
)


@asynccontextmanager
async def wire() -> AsyncIterator[tuple[str, str]]:
    """Two ends of a serial line: what goes in at one comes out at the other."""
    ends = [os.openpty() for _ in range(2)]
    masters = [master for master, _ in ends]
    for master, slave in ends:
        tty.setraw(slave)
        os.set_blocking(master, False)
    loop = asyncio.get_running_loop()
    for here, there in (masters, masters[::-1]):
        loop.add_reader(here, lambda here=here, there=there: os.write(there, os.read(here, 4096)))
    try:
        yield os.ttyname(ends[0][1]), os.ttyname(ends[1][1])
    finally:
        for master, slave in ends:
            loop.remove_reader(master)
            os.close(master)
            os.close(slave)


@asynccontextmanager
async def serving() -> AsyncIterator[str]:
    image = TableImage(TABLE, [parse(p) for p in TABLE.points], lambda command: ACCEPT, wall_ns)
    image.put(TABLE.all, TABLE.encode(TABLE.all, np.array([0.25, -0.012, 0.0]))[0], np.ones(3, np.bool_))
    async with wire() as (mine, theirs):
        server = RtuServer(dict(image.units), Line(mine))
        await server.start()
        try:
            yield theirs
        finally:
            await server.stop()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(limited())


def test_the_check_sum_is_that_of_the_guide() -> None:
    # The guide's worked example: 02 07 gives 0x1241, sent as 41 12 (V1.02, appendix B).
    assert crc(b"\x02\x07") == b"\x41\x12"


def test_our_link_over_a_line() -> None:
    async def test() -> None:
        async with serving() as path:
            link = ModbusLink(TABLE, RtuChannel(Line(path)), clock=wall_ns, timeout_s=10.0)
            await link.connect()
            assert await link.heartbeat(10.0) >= 0
            batch = await link.read()
            assert batch.value.tolist() == pytest.approx([0.25, -0.012, 0.0])
            outcome = await link.write(np.array([2]), np.array([0.5]), timeout_s=10.0)
            assert outcome.accepted
            assert (await link.read(np.array([2]))).value.tolist() == [0.5]
            refused = await link.write(np.array([2]), np.array([1.5]), timeout_s=10.0)
            assert refused.status.tolist() == [Status.OUT_OF_RANGE]
            await link.close()

    run(test)


def test_pymodbus_over_a_line() -> None:
    async def test() -> None:
        async with serving() as path:
            # A pseudo terminal has no parity, and pyserial insists on what it asked for.
            client = AsyncModbusSerialClient(path, baudrate=19200, parity="N", timeout=10)
            await client.connect()
            words = (await client.read_holding_registers(0, count=3, device_id=7)).registers
            assert words == [0x3E80, 0, 0x10000 - 12]
            assert not (await client.write_registers(10, [0, 1234], device_id=7)).isError()
            assert (await client.read_holding_registers(10, count=2, device_id=7)).registers == [0, 1234]
            assert (await client.read_holding_registers(50, count=1, device_id=7)).exception_code == 2
            client.close()

    run(test)


def test_nobody_answers_for_another_unit() -> None:
    async def test() -> None:
        async with serving() as path:
            link = ModbusLink(
                PointTable((Point("b", "p_mw", "8:holding:0"),)), RtuChannel(Line(path)), clock=wall_ns, timeout_s=0.2
            )
            await link.connect()
            batch: Batch = await link.read()
            assert np.isnan(batch.value).all()
            with pytest.raises(LinkError):
                await link.heartbeat(0.2)
            assert link.state == LinkState.UP  # the line is there
            await link.close()

    run(test)


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_frames_are_found_in_a_stream(piece: int) -> None:
    pdus = [
        b"\x03\x00\x01\x00\x02",
        b"\x10\x00\x01\x00\x01\x02\x12\x34",
        b"\x16\x00\x01\x00\x02\x00\x03",
        b"\x06\x00\x01\x00\x02",
    ]
    stream = b"".join(frame(3, pdu) for pdu in pdus)
    splitter = Splitter(request_length)
    found = [f for at in range(0, len(stream), piece) for f in splitter.take(stream[at : at + piece])]
    assert found == [(3, pdu) for pdu in pdus]


def test_noise_is_thrown_away_by_silence() -> None:
    splitter = Splitter(answer_length)
    good = frame(3, b"\x03\x02\x00\x07")
    assert splitter.take(b"\xff\x00\x13" + good) == []
    splitter.silence()
    assert splitter.take(good[:-1] + bytes([good[-1] ^ 1])) == []
    splitter.silence()
    assert splitter.broken == 2
    assert splitter.take(good) == [(3, b"\x03\x02\x00\x07")]
    assert splitter.take(frame(3, b"\x83\x02")) == [(3, b"\x83\x02")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (Line("/dev/nothing-there"), "No such file"),
        (Line("/dev/null"), "is no serial line"),
        (Line("/dev/null", baud=1234), "cannot have 1234 Bd"),
    ],
)
def test_a_line_that_cannot_be_had(line: Line, message: str) -> None:
    async def test() -> None:
        with pytest.raises(LinkError, match=message):
            await RtuServer({}, line).start()

    run(test)
