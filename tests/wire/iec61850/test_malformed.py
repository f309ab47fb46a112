"""Malformed, truncated and random octets, towards the server and towards the client: they harm nobody else."""

import asyncio

import numpy as np
import pytest
from open61850.mms import pdu
from open61850.server import protocol

from tests.wire.iec61850.bench import DER, HOST, connected, followed, run, serving
from vpp.kernel import quality as q
from vpp.kernel.errors import LinkError
from vpp.testing.link_bench import PATIENCE_S, SOURCE_NS, until
from vpp.wire.clock import wall_ns
from vpp.wire.iec61850.client import Iec61850Link
from vpp.wire.iec61850.iso import Iso
from vpp.wire.link import Batch, LinkState

# A connection request (COTP class 0, TPDUs of 1024), as another stack sends it.
REQUEST = bytes.fromhex("0300001611e00000000100c0010ac1020001c2020001")


@pytest.mark.parametrize(
    "octets",
    [
        bytes.fromhex("0200000702f080"),  # not TPKT
        bytes.fromhex("03000003"),  # too short a length
        bytes.fromhex("0300000702f080"),  # data before a connection
        REQUEST + REQUEST,  # asked twice
        REQUEST + bytes.fromhex("0300000702f080"),  # an empty unit
        REQUEST + bytes.fromhex("0300000b02f0800d0000"),  # no association in it
        REQUEST + bytes.fromhex("0300000b02f0800dffffff"),
        REQUEST + bytes.fromhex("0300000706800000"),  # disconnects
        bytes.fromhex("0300000b06e00000000100"),
        REQUEST.replace(b"\xc0\x01\x0a", b"\xc0\x01\x01"),  # TPDUs of two octets
    ],
)
def test_what_is_malformed_ends_its_connection_only(octets):
    async def test():
        async with serving() as server, connected(DER, server.address) as link:
            reader, writer = await asyncio.open_connection(*server.address)
            writer.write(octets)
            writer.write_eof()
            while await reader.read(4096):
                pass
            writer.close()
            assert (await link.read()).n == len(DER.readable)
            assert link.state == LinkState.UP

    run(test)


def test_truncated_and_random_octets(monkeypatch):
    """What a client sends in a life, cut off anywhere and spoilt anywhere."""
    sent, put = [], Iso._put

    def keep(end, piece):
        if not end.server:
            sent.append(b"\x03\x00" + (len(piece) + 4).to_bytes(2, "big") + piece)
        put(end, piece)

    async def test():
        async with serving() as server:
            monkeypatch.setattr(Iso, "_put", keep)
            async with connected(DER, server.address) as link:
                await link.read()
                await link.write(DER.writable[:2], np.array([0.5, 10.0]))
            whole = b"".join(sent)
            assert len(whole) > 1000
            draw = np.random.default_rng(11)
            pieces = [whole[: draw.integers(1, len(whole))] for _ in range(20)]
            for _ in range(60):
                broken = bytearray(whole)
                for place in draw.integers(0, len(whole), 4):
                    broken[place] = draw.integers(0, 256)
                pieces.append(bytes(broken))
            pieces += [REQUEST + b"\x03\x00" + draw.bytes(200) for _ in range(10)]
            pieces.append(REQUEST + _unit(b"\x01\x00\x01\x00" + b"\xa2\x80" * 30_000))  # deep in each other
            for piece in pieces:
                reader, writer = await asyncio.open_connection(*server.address)
                writer.write(piece)
                writer.write_eof()
                while await reader.read(65536):
                    pass
                writer.close()
            async with connected(DER, server.address) as link:
                assert (await link.read()).n == len(DER.readable)
            await until(lambda: not server.connections, "nobody is left")

    run(test)


CONFIRMED = bytes.fromhex("0300000b06d00001000100")


@pytest.mark.parametrize(
    ("answer", "time"),
    [
        (b"", 0.2),  # says nothing
        (bytes.fromhex("ffffffff"), 5.0),
        (CONFIRMED, 0.2),
        (CONFIRMED + bytes.fromhex("0300000b02f0800e0000"), 0.2),  # cut off
        (CONFIRMED + bytes.fromhex("0300000b02f0800e000000"), 5.0),  # accepted, with nothing in it
        (CONFIRMED + bytes.fromhex("0300000902f0800c00"), 5.0),  # refused
    ],
)
def test_a_server_that_talks_nonsense(answer, time):
    async def speak(reader, writer):
        await reader.read(100)
        writer.write(answer)
        await reader.read()
        writer.close()

    async def test():
        server = await asyncio.start_server(speak, HOST, 0)
        link = Iec61850Link(DER, server.sockets[0].getsockname(), clock=wall_ns)
        with pytest.raises(LinkError):
            await link.connect(time)
        assert link.state == LinkState.DOWN
        await link.close()
        server.close()
        await asyncio.sleep(0.05)

    run(test)


@pytest.mark.parametrize("octets", ["0300000b02f08001000100", "03000010 02f080 01000100 61073005020103", "0300000702e000"])
def test_nonsense_in_an_association_is_a_break(octets):
    """The link goes down with a reason, and comes back."""

    async def test():
        async with serving() as server, connected(DER, server.address) as link, followed(link) as got:
            await until(lambda: bool(got), "a first picture")
            server.connections[0].pipe.transport.write(bytes.fromhex(octets.replace(" ", "")))
            await until(lambda: link.state == LinkState.DOWN, "the break")
            await link.connect(PATIENCE_S)
            assert (await link.read()).n == len(DER.readable)

    run(test)


def test_an_answer_that_is_a_value_short():
    """Nobody says which is missing: each is asked for by itself, and what has no answer of its own is comm-lost."""

    async def test():
        async with serving() as server, connected(DER, server.address) as link:
            server.publish(Batch.of(DER.readable, np.full(len(DER.readable), 0.5), 0, SOURCE_NS))
            (connection,) = server.connections
            service = connection._service

            def answer(request):
                if request.service != pdu.SERVICE_READ:
                    return service(request)
                names, _ = protocol.read_request(request.content)
                told = [server.model.read(name) for name in names if name.item != "MMXU1$MX$TotVAr"]
                return protocol.confirmed_response(request.invoke_id, request.service, protocol.read_response(told))

            connection._service = answer
            batch = await link.read()
            missing = batch.point == DER.find("bat1", "q_mvar")
            assert batch.quality[missing].tolist() == [q.INVALID | q.COMM_LOST]
            assert not batch.quality[~missing].any()
            assert link.log.counts["incomplete"] == 1

    run(test)


def _unit(octets):
    """One unit in TPDUs of a thousand octets."""
    out = b""
    for place in range(0, len(octets), 1000):
        part = octets[place : place + 1000]
        head = bytes([2, 0xF0, 0x80 if place + 1000 >= len(octets) else 0])
        out += b"\x03\x00" + (len(part) + 7).to_bytes(2, "big") + head + part
    return out
