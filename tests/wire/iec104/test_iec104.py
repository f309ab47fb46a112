"""What is the protocol's own, against peers that are not: a raw one of the tests' own, and c104."""

import asyncio
import datetime as dt

import numpy as np
import pytest

from tests.wire import certificates
from tests.wire.apart import apart
from tests.wire.authority import Authority
from tests.wire.iec104.bench import HOST, TABLE, run, served
from vpp.kernel import quality as q
from vpp.kernel.errors import LinkError
from vpp.testing.link_bench import PATIENCE_S, SOURCE_NS, until
from vpp.wire.clock import wall_ns
from vpp.wire.iec104 import asdu as a
from vpp.wire.iec104.client import Iec104Link
from vpp.wire.iec104.points import FROM_OCTET, TO_OCTET
from vpp.wire.iec104.time import decode_time, encode_time
from vpp.wire.link import Batch, LinkState, Mode, Status
from vpp.wire.tls import client_context

C104 = "tests.wire.iec104.c104_peer"


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
