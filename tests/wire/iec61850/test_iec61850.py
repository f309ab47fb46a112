"""What is the protocol's own: controls by their models, settings, reports that are counted, TLS, malformed octets."""

import asyncio
import datetime as dt
import socket
import threading

import numpy as np
import pytest
from open61850.data import BoolData, FloatData, IntData, UIntData
from open61850.mms.errors import DataAccessError
from open61850.mms.pdu import ObjectName
from open61850.mms.report import ReasonCode

from tests.wire.authority import Authority
from tests.wire.iec61850.bench import DER, HOST, connected, followed, run, serving
from vpp.kernel import quality as q
from vpp.kernel.errors import LinkError
from vpp.testing.link_bench import PATIENCE_S, SOURCE_NS, until
from vpp.testing.wires import Relay
from vpp.wire.clock import wall_ns
from vpp.wire.iec61850 import iso
from vpp.wire.iec61850.client import Iec61850Link
from vpp.wire.iec61850.control import DIRECT, DIRECT_ENHANCED, SELECT, SELECT_ENHANCED
from vpp.wire.iec61850.scl import Options
from vpp.wire.link import ACCEPT, Answer, Batch, LinkState, Mode, Status
from vpp.wire.points import Point, PointTable

LIMIT = DER.find("bat1", "p_limit_mw", "setpoints")
FOLLOW = DER.find("bat1", "p_mw", "setpoints")
LEASE = DER.find("bat1", "p_limit_lease_s", "control")
CONNECT = DER.find("bat1", "connect", "setpoints")
SWITCH = DER.find("bat1", "p_limit_on", "control")


def at(*rows):
    return np.array(rows)


@pytest.mark.parametrize("model", [DIRECT, SELECT, DIRECT_ENHANCED, SELECT_ENHANCED])
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.REJECTED, 9),
        (Status.OUT_OF_RANGE, 256 + 11),  # no AddCause says it: object-value-invalid does
        (Status.BUSY, 12),
        (Status.NOT_SUPPORTED, 1),
        (Status.DEVICE_FAILED, 13),
    ],
)
def test_every_control_model_and_every_refusal(model, status, code):
    async def test():
        seen = []

        def decide(command):
            seen.append(command)
            return Answer(status) if command.value[0] > 1.0 else ACCEPT

        async with serving(decide=decide, options=Options(model)) as server, connected(DER, server.address) as link:
            rows = at(LIMIT, CONNECT, SWITCH)
            outcome = await link.write(rows, np.array([0.5, 0.0, 1.0]), timeout_s=PATIENCE_S)
            assert outcome.accepted, outcome
            done = sorted((int(c.point[0]), float(c.value[0])) for c in seen if not c.select_only)
            assert done == sorted(zip(rows.tolist(), [0.5, 0.0, 1.0]))
            assert any(c.select_only for c in seen) == (model == SELECT_ENHANCED)
            batch = await link.read()
            applied = dict(zip(batch.point.tolist(), batch.value.tolist()))
            assert applied[DER.find("bat1", "p_limit_mw", "applied")] == 0.5
            assert applied[DER.find("bat1", "connect", "applied")] == 0.0
            outcome = await link.write(at(LIMIT), np.array([2.0]), timeout_s=PATIENCE_S)
            assert (outcome.status.tolist(), outcome.code.tolist()) == ([status], [code])
            outcome = await link.write(at(LIMIT), np.array([0.25]), mode=Mode.SELECT, timeout_s=PATIENCE_S)
            has_select = model in (SELECT, SELECT_ENHANCED)
            assert outcome.status.tolist() == [Status.ACCEPTED if has_select else Status.NOT_SUPPORTED]

    run(test)


def test_one_selects_and_the_other_waits():
    """Operating without a selection, and a selection that another client holds until it lapses."""

    async def test():
        options = Options(SELECT_ENHANCED, select_s=0.3)
        async with (
            serving(options=options) as server,
            connected(DER, server.address) as one,
            connected(DER, server.address) as other,
        ):
            control = one._layout.controls[LIMIT]
            values = {
                name: one._commands._value(kind, ("f",), 500_000.0, 1, SOURCE_NS) for name, kind in control.services.items()
            }
            told = []
            one._commands.hear = lambda report: told.append(report.results[0])
            early = await one._mms.write(ObjectName("DWMX1$CO$WLimSpt$Oper", "DER1"), values["Oper"])
            assert early == DataAccessError(3)
            assert told[0].members[-1].value == 18  # object not selected
            assert await one._mms.write(ObjectName("DWMX1$CO$WLimSpt$SBOw", "DER1"), values["SBOw"]) is None
            outcome = await other.write(at(LIMIT), np.array([0.5]), timeout_s=PATIENCE_S)
            assert (outcome.status.tolist(), outcome.code.tolist()) == ([Status.BUSY], [19])
            await asyncio.sleep(0.35)
            assert (await other.write(at(LIMIT), np.array([0.5]), timeout_s=PATIENCE_S)).accepted

    run(test)


def test_settings_and_what_is_none():
    async def test():
        def decide(command):
            return ACCEPT if command.value[0] < 100 else Answer(Status.OUT_OF_RANGE)

        async with serving(decide=decide) as server, connected(DER, server.address) as link:
            assert (await link.write(at(LEASE), np.array([60.0]), timeout_s=PATIENCE_S)).accepted
            assert server.model.get("DER1/DWMX1.RvrtTms.setVal[SP]").value == 60
            outcome = await link.write(at(LEASE), np.array([200.0]), timeout_s=PATIENCE_S)
            assert (outcome.status.tolist(), outcome.code.tolist()) == ([Status.OUT_OF_RANGE], [256 + 11])
            assert server.model.get("DER1/DWMX1.RvrtTms.setVal[SP]").value == 60
            for item, value, code in (
                ("DWMX1$CF$WLimSpt$ctlModel", IntData(1), 3),  # configuration that is in no row
                ("MMXU1$MX$TotW$mag$f", FloatData(1.0), 3),
                ("DWMX1$SP$RvrtTms$setVal", BoolData(True), 7),
                ("DWMX1$SP$RvrtTms$nothing", IntData(1), 10),
                ("DWMX1$CO$WLimSpt$Oper", FloatData(1.0), 7),
            ):
                assert await link._mms.write(ObjectName(item, "DER1"), value) == DataAccessError(code), item
            assert not await link.sync_time(SOURCE_NS)

    run(test)


@pytest.mark.parametrize("kind", ["buffered", "unbuffered", "none"])
def test_reports_bring_quality_and_time(kind):
    async def test():
        async with serving() as server, connected(DER, server.address, reports=kind) as link:
            rows = DER.readable
            server.publish(Batch.of(rows, np.full(len(rows), 0.5), 0, SOURCE_NS))
            async with followed(link) as got:
                await until(lambda: bool(got), "a first picture")
                assert np.array_equal(np.sort(got[0].point), rows)
                enabled = [block.enabled for block in server.mms.reports.controls.values()]
                assert sum(enabled) == (kind != "none")
                later = SOURCE_NS + 5_000_000
                server.publish(Batch.of(rows[:1], np.array([0.75]), q.QUESTIONABLE | q.SUBSTITUTED, later))
                await until(lambda: len(got) > 1, "a report")
                change = got[1]
                assert (change.point.tolist(), change.value.tolist()) == ([rows[0]], [0.75])
                assert change.quality.tolist() == [q.QUESTIONABLE | q.SUBSTITUTED]
                assert change.time_ns.tolist() == [later]

    run(test)


def test_a_deadband_holds_the_magnitude_still():
    """`mag` is the deadbanded value, `instMag` beside it the momentary one (IEC 61850-7-3, 6.5)."""

    async def test():
        table = PointTable(
            (
                Point("m", "p_mw", "M/MMXU1.TotW.mag.f[MX]", deadband=0.01),
                Point("m", "q_mvar", "M/MMXU1.TotVAr.mag.f[MX]"),
                Point("n", "p_mw", "M/MMXU1.TotW.instMag.f[MX]"),
            )
        )
        async with serving(PointTable(table.points[:2])) as server, connected(table, server.address) as link:
            one = table.all[:1]
            server.publish(Batch.of(one, np.array([1.0]), 0, SOURCE_NS))
            server.publish(Batch.of(one, np.array([1.005]), 0, SOURCE_NS + 1_000_000))
            batch = await link.read(at(0, 2))
            assert batch.value.tolist() == [1.0, float(np.float32(1.005))]
            server.publish(Batch.of(one, np.array([1.02]), 0, SOURCE_NS))
            assert (await link.read(one)).value.tolist() == [float(np.float32(1.02))]

    run(test)


def test_a_buffer_keeps_what_a_loss_took():
    """Changes while nobody listened: the block comes back with the entry after the last that arrived (7-2, 17.2.3.2)."""

    async def test():
        async with serving() as server, Relay(server.address) as relay, connected(DER, relay.address) as link:
            rows = DER.readable[:1]
            async with followed(link) as got:
                await until(lambda: bool(got), "a first picture")
                server.publish(Batch.of(rows, np.array([0.1]), 0, SOURCE_NS))
                await until(lambda: len(got) > 1, "a report")
            server.connections[0].pipe.end("cut")
            await until(lambda: link.state == LinkState.DOWN, "the loss is seen")
            for k in range(1, 4):
                server.publish(Batch.of(rows, np.array([0.1 + 0.1 * k]), 0, SOURCE_NS + k))
            await asyncio.sleep(0.05)
            await link.connect(PATIENCE_S)
            async with followed(link) as got:
                await until(lambda: bool(got), "a picture again")
            assert link.resumed == 3
            assert "report" not in link.log.counts
            assert got[0].value[0] == DER.quantise(rows, np.array([0.4]))[0][0]

    run(test)


def test_what_a_report_lacks_is_told_and_read():
    """A number that is missing in the sequence, and a whole report that is not whole."""

    async def test():
        async with serving() as server, connected(DER, server.address, reports="unbuffered") as link:
            rows = DER.readable
            async with followed(link) as got:
                await until(lambda: bool(got), "a first picture")
                (block,) = [block for block in server.mms.reports.controls.values() if block.enabled]
                server.publish(Batch.of(rows[:1], np.array([0.1]), 0, SOURCE_NS))
                await until(lambda: len(got) > 1, "a report")
                server.publish(Batch.of(rows[1:2], np.array([0.2])))
                server.mms.reports._untold.clear()  # this report is lost
                block.set_attr("SqNum", UIntData(5))
                server.publish(Batch.of(rows[:1], np.array([0.3]), 0, SOURCE_NS))
                await until(lambda: any(rows[1] in batch.point for batch in got[1:]), "the lost row is read")
                assert link.log.counts["report"] == 1
                whole = dict.fromkeys(range(len(block.members()) - 1), ReasonCode(integrity=True))
                server.mms.reports._deliver(block, server.mms.reports._new_entry(block, whole))
                await until(lambda: link.log.counts["report"] == 2, "the part is told")

    run(test)


def test_integrity_reports_come_by_themselves():
    async def test():
        async with serving() as server, connected(DER, server.address, integrity_s=0.05) as link, followed(link) as got:
            await until(lambda: bool(got), "a first picture")
            (block,) = link._subscriptions.blocks
            await until(lambda: block.sequence >= 2, "whole reports")
            assert "report" not in link.log.counts
            assert len(got) == 1  # nothing changed

    run(test)


def test_more_clients_than_blocks():
    """Whom no block is left for reads by period."""

    async def test():
        rows = DER.readable
        async with (
            serving(options=Options(clients=1)) as server,
            connected(DER, server.address) as one,
            connected(DER, server.address) as two,
            connected(DER, server.address) as three,
            followed(one) as a,
            followed(two) as b,
            followed(three) as c,
        ):
            await until(lambda: bool(a and b and c), "first pictures")
            assert sorted(len(link._subscriptions.blocks) for link in (one, two, three)) == [0, 1, 1]
            server.publish(Batch.of(rows, np.full(len(rows), 0.25), 0, SOURCE_NS))
            for got in (a, b, c):
                await until(lambda got=got: len(got) > 1 and 0.25 in got[-1].value, "the change")

    run(test)


def test_tls_on_both_sides():
    async def test():
        ours, other = Authority(), Authority()
        past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
        async with serving(tls=ours.server()) as server:
            async with connected(DER, server.address, tls=ours.client()) as link:
                assert (await link.write(at(LIMIT), np.array([0.5]), timeout_s=PATIENCE_S)).accepted
                assert (await link.read()).n == len(DER.readable)
            for wrong in (ours.client(shows=other), other.client(), ours.client(not_after=past), None):
                await refused(server.address, wrong)
        async with serving(tls=ours.server(not_after=past)) as server:
            await refused(server.address, ours.client())
        async with serving(tls=ours.server(shows=other)) as server:
            await refused(server.address, ours.client())
        await asyncio.sleep(0.2)  # asyncio closes what never shook hands in its own time

    run(test)


async def refused(address, tls):
    link = Iec61850Link(DER, address, clock=wall_ns, tls=tls)
    with pytest.raises(LinkError):
        await link.connect(1.0)
    assert link.state == LinkState.DOWN
    await link.close()


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


def test_truncated_and_random_octets():
    async def test():
        async with serving() as server, Recorder(server.address) as recorder:
            async with connected(DER, recorder.address) as link:
                await link.read()
                await link.write(at(LIMIT, LEASE), np.array([0.5, 10.0]))
            whole = b"".join(recorder.sent)
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


def _unit(octets):
    """One unit in TPDUs of a thousand octets."""
    out = b""
    for place in range(0, len(octets), 1000):
        part = octets[place : place + 1000]
        head = bytes([2, 0xF0, 0x80 if place + 1000 >= len(octets) else 0])
        out += b"\x03\x00" + (len(part) + 7).to_bytes(2, "big") + head + part
    return out


class Recorder(Relay):
    """Keeps what the client sends."""

    def __init__(self, target):
        super().__init__(target)
        self.sent = []

    async def _pass(self, source, sink):
        if sink.get_extra_info("peername")[1] == self.target[1]:
            read = source.read

            async def keep(n):
                self.sent.append(await read(n))
                return self.sent[-1]

            source.read = keep
        await super()._pass(source, sink)


def test_a_client_that_takes_nothing_in_is_cut_off(monkeypatch):
    """It neither holds up the publishing nor the other clients."""
    monkeypatch.setattr(iso, "LONGEST_QUEUE", 20_000)

    async def test():
        async with (
            serving() as server,
            connected(DER, server.address) as link,
            connected(DER, server.address, reports="unbuffered") as idle,
            followed(idle) as got,
        ):
            await until(lambda: bool(got), "a first picture")
            idle._mms._iso.transport.pause_reading()
            _narrow(idle._mms._iso, socket.SO_RCVBUF)
            (block,) = [block for block in server.mms.reports.controls.values() if block.enabled]
            _narrow(block.owner.pipe, socket.SO_SNDBUF)
            rows = DER.readable
            for k in range(10_000):
                server.publish(Batch.of(rows, np.full(len(rows), float(k)), 0, SOURCE_NS + k))
                await asyncio.sleep(0)
                if not block.enabled:
                    break
            assert server.log.counts["connection ended"] == 1
            assert (await link.read()).n == len(rows)

    run(test)


def _narrow(end, which):
    end.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, which, 4096)


def test_nothing_is_left_behind():
    """No threads and no tasks: the library's own are not used."""

    async def test():
        before = threading.active_count()
        async with serving() as server, connected(DER, server.address) as link, followed(link) as got:
            await until(lambda: bool(got), "a first picture")
            assert threading.active_count() == before
        await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(test)


def test_a_port_that_is_taken_and_a_server_that_starts_again():
    async def test():
        async with serving() as server:
            with pytest.raises(LinkError):
                async with serving(address=server.address):
                    pass
            await server.stop()
            await server.stop()
            await server.start()
            async with connected(DER, server.address) as link:
                assert (await link.read()).n == len(DER.readable)
                assert (await link.write(at(FOLLOW), np.array([0.5]), timeout_s=PATIENCE_S)).accepted

    run(test)


def test_a_server_without_a_handler_refuses():
    async def test():
        async with serving(decide=None) as server, connected(DER, server.address) as link:
            outcome = await link.write(at(LIMIT, LEASE), np.array([0.5, 5.0]), timeout_s=PATIENCE_S)
            assert outcome.status.tolist() == [Status.REJECTED] * 2
            outcome = await link.write(at(LIMIT), np.array([np.nan]))
            assert outcome.status.tolist() == [Status.OUT_OF_RANGE]

    run(test)
