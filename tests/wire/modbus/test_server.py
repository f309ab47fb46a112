"""The server against peers that are not ours: pymodbus, a raw socket that pipelines, cuts and talks nonsense."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest
from pymodbus.client import AsyncModbusTcpClient

from vpp.wire.clock import wall_ns
from vpp.wire.link import ACCEPT, Answer, Batch, Command, Status
from vpp.wire.modbus.served import ModbusServed
from vpp.wire.points import Point, PointTable

POINTS = PointTable(
    (
        *(Point(f"r{i}", "p_mw", f"1:holding:{i}", sheet="setpoints", wire="int16", access="rw", high=1000) for i in range(8)),
        *(Point(f"r{i}", "connect", f"1:coil:{i}", sheet="setpoints", wire="bool", access="rw") for i in range(16)),
        *(Point(f"r{i}", "p_mw", f"1:input:{i}", wire="int16") for i in range(8)),
        *(Point(f"r{i}", "q_mvar", f"1:discrete:{i}", wire="bool", unit="Mvar") for i in range(16)),
        Point("far", "p_mw", "2:holding:60000", wire="float32"),
    )
)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(limited())


@asynccontextmanager
async def serving(**limits: float) -> AsyncIterator[ModbusServed]:
    served = ModbusServed(POINTS, ("127.0.0.1", 0), clock=wall_ns)
    for name, value in limits.items():
        setattr(served.server, name, value)
    served.on_command(decide)
    await served.start()
    served.publish(Batch.of(POINTS.all, np.arange(len(POINTS)) % 7.0))
    try:
        yield served
    finally:
        await served.stop()


def decide(command: Command) -> Answer:
    if 666 in command.value:
        return Answer(Status.BUSY)
    return Answer(Status.REJECTED) if 667 in command.value else ACCEPT


def request(transaction: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


async def answers(reader: asyncio.StreamReader, count: int) -> list[tuple[int, int, bytes]]:
    found = []
    for _ in range(count):
        transaction, protocol, length, unit = struct.unpack(">HHHB", await reader.readexactly(7))
        assert protocol == 0
        found.append((transaction, unit, await reader.readexactly(length - 1)))
    return found


def test_pymodbus_reads_and_writes() -> None:
    async def test() -> None:
        async with serving() as served, AsyncModbusTcpClient(served.address[0], port=served.address[1]) as client:
            assert (await client.read_holding_registers(0, count=8, device_id=1)).registers == [0, 1, 2, 3, 4, 5, 6, 0]
            assert (await client.read_coils(0, count=10, device_id=1)).bits[:10] == [i % 7 > 0 for i in range(8, 18)]
            assert (await client.read_discrete_inputs(3, count=2, device_id=1)).bits[:2] == [i % 7 > 0 for i in (35, 36)]
            assert (await client.read_input_registers(1, count=3, device_id=1)).registers == [i % 7 for i in (25, 26, 27)]
            assert not (await client.write_register(3, 77, device_id=1)).isError()
            assert not (await client.write_registers(4, [88, 99], device_id=1)).isError()
            assert not (await client.write_coil(15, True, device_id=1)).isError()
            assert not (await client.write_coils(0, [True, False, True], device_id=1)).isError()
            assert not (await client.mask_write_register(address=0, and_mask=0xFFF2, or_mask=0x0005, device_id=1)).isError()
            both = await client.readwrite_registers(read_address=3, read_count=3, write_address=5, values=[11], device_id=1)
            assert both.registers == [77, 88, 11]
            assert (await client.read_coils(0, count=3, device_id=1)).bits[:3] == [True, False, True]
            assert (await client.read_holding_registers(0, count=1, device_id=1)).registers == [5]

    run(test)


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (lambda c: c.read_holding_registers(8, count=1, device_id=1), 2),
        (lambda c: c.read_holding_registers(4, count=5, device_id=1), 2),
        (lambda c: c.write_register(8, 1, device_id=1), 2),
        (lambda c: c.write_register(0, 1001, device_id=1), 3),
        (lambda c: c.write_register(60000, 1, device_id=2), 2),
        (lambda c: c.write_registers(0, [1, 666], device_id=1), 6),
        (lambda c: c.write_registers(0, [1, 667], device_id=1), 4),
        (lambda c: c.read_holding_registers(0, count=1, device_id=9), 11),
        (lambda c: c.report_device_id(device_id=1), 1),
    ],
    ids=["beyond", "over the end", "no such", "out of band", "read only", "busy", "rejected", "unit", "function"],
)
def test_exceptions(ask, code: int) -> None:
    async def test() -> None:
        async with serving() as served, AsyncModbusTcpClient(served.address[0], port=served.address[1]) as client:
            answer = await ask(client)
            assert answer.exception_code == code
            first = await client.read_holding_registers(0, count=1, device_id=1)
            assert first.registers == [0]  # nothing of a refused writing stands

    run(test)


@pytest.mark.parametrize("piece", [1, 5, 7, 13, 100_000])
def test_pipelined_requests_are_answered_each_and_in_order(piece: int) -> None:
    async def test() -> None:
        async with serving() as served:
            reader, writer = await asyncio.open_connection(*served.address)
            asked = [request(1000 + i, 1 + i % 3, struct.pack(">BHH", 3, i % 8, 1)) for i in range(60)]
            stream = b"".join(asked)
            for begin in range(0, len(stream), piece):
                writer.write(stream[begin : begin + piece])
                if piece < 100:
                    await asyncio.sleep(0)
            got = await answers(reader, 60)
            assert [transaction for transaction, _, _ in got] == list(range(1000, 1060))
            for i, (_, unit, pdu) in enumerate(got):
                assert unit == 1 + i % 3
                expected = struct.pack(">BBH", 3, 2, i % 8 % 7) if unit == 1 else bytes([0x83, 2 if unit == 2 else 11])
                assert pdu == expected
            writer.close()

    run(test)


@pytest.mark.parametrize(
    ("pdu", "code"),
    [
        (b"\x03", 3),
        (b"\x03\x00\x00", 3),
        (b"\x03\x00\x00\x00\x01\x00", 3),
        (b"\x03\x00\x00\x00\x00", 3),
        (b"\x03\x00\x00\x00\x7e", 3),
        (b"\x03\xff\xff\x00\x02", 2),
        (b"\x05\x00\x00\x12\x34", 3),
        (b"\x10\x00\x00\x00\x02\x04\x00\x01", 3),
        (b"\x10\x00\x00\x00\x02\x02\x00\x01", 3),
        (b"\x10\x00\x00\x00\x00\x00", 3),
        (b"\x0f\x00\x00\x00\x09\x01\xff", 3),
        (b"\x17\x00\x00\x00\x01\x00\x00\x00\x01\x04\x00\x01", 3),
        (b"\x63", 1),
        (b"\x83\x00\x00\x00\x01", 1),
    ],
)
def test_malformed_requests_have_an_answer(pdu: bytes, code: int) -> None:
    async def test() -> None:
        async with serving() as served:
            reader, writer = await asyncio.open_connection(*served.address)
            writer.write(request(7, 1, pdu) + request(8, 1, b"\x03\x00\x01\x00\x01"))
            bad, good = await answers(reader, 2)
            assert bad == (7, 1, bytes([pdu[0] | 0x80, code]))
            assert good == (8, 1, b"\x03\x02\x00\x01")
            writer.close()

    run(test)


@pytest.mark.parametrize(
    "nonsense", [b"GET / HTTP/1.1\r\n\r\n", struct.pack(">HHHB", 1, 0, 255, 1), struct.pack(">HHHB", 1, 0, 1, 1)]
)
def test_what_cannot_be_framed_ends_the_connection(nonsense: bytes) -> None:
    async def test() -> None:
        async with serving() as served:
            reader, writer = await asyncio.open_connection(*served.address)
            writer.write(request(5, 1, b"\x03\x00\x01\x00\x01") + nonsense)
            assert await answers(reader, 1) == [(5, 1, b"\x03\x02\x00\x01")]
            assert await reader.read() == b""
            writer.close()

    run(test)


def test_a_connection_too_many_is_closed_and_an_idle_one_too() -> None:
    async def test() -> None:
        async with serving(connections=2, idle_s=0.3) as served:
            pairs = [await asyncio.open_connection(*served.address) for _ in range(2)]
            third = await asyncio.open_connection(*served.address)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await third[0].readexactly(1)
            assert served.server.refused == 1
            for reader, _ in pairs:  # half a request is no sign of life for ever
                with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                    await reader.readexactly(1)
            assert not served.server.open
            for _, writer in (*pairs, third):
                writer.close()

    run(test)


def test_what_is_not_known_has_no_number() -> None:
    async def test() -> None:
        async with serving() as served, AsyncModbusTcpClient(served.address[0], port=served.address[1]) as client:
            served.publish(Batch.of(np.array([2]), np.array([np.nan])))
            assert (await client.read_holding_registers(2, count=1, device_id=1)).exception_code == 4
            assert (await client.read_holding_registers(0, count=2, device_id=1)).registers == [0, 1]
            served.publish(Batch.of(np.array([2]), np.array([9.0])))
            assert (await client.read_holding_registers(2, count=1, device_id=1)).registers == [9]

    run(test)


def test_a_meddler_on_the_wire() -> None:
    async def test() -> None:
        async with serving() as served:
            served.server.meddler = lambda answer: [] if answer[1] == 2 else [(0.0, answer), (0.05, answer)]
            reader, writer = await asyncio.open_connection(*served.address)
            writer.write(b"".join(request(i, 1, b"\x03\x00\x01\x00\x01") for i in (1, 2, 3)))
            got = await answers(reader, 4)
            assert sorted(transaction for transaction, _, _ in got) == [1, 1, 3, 3]
            writer.close()

    run(test)
