"""Foreign peers in both roles: libiec61850 as a server, iec61850 (Rust) as a client and as a server, two of them over TLS."""

import asyncio
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import iec61850 as rust
import numpy as np
import pytest

from tests.wire.certificates import make
from tests.wire.iec61850.bench import DER, HOST, connected, decide, followed, run, serving
from vpp.kernel import quality as q
from vpp.testing.link_bench import PATIENCE_S, SOURCE_NS, until
from vpp.wire.iec61850.control import DIRECT, SELECT_ENHANCED
from vpp.wire.iec61850.scl import Options, generate
from vpp.wire.link import Batch, Mode, Status
from vpp.wire.points import Point, PointTable
from vpp.wire.tls import client_context, server_context

PEER = Path(__file__).with_name("libiec.py")
# The model that the peer makes by calls of its own.
THEIRS = PointTable(
    (
        Point("a", "p_mw", "IEDLD0/MMXU1.TotW.mag.f[MX]", unit="W"),
        Point("a", "q_mvar", "IEDLD0/MMXU1.TotVAr.mag.f[MX]", unit="var"),
        Point("a", "p_mw", "IEDLD0/GGIO1.AnOut1.Oper.ctlVal.f[CO]", sheet="setpoints", access="w"),
        Point("a", "q_mvar", "IEDLD0/GGIO1.AnOut2.Oper.ctlVal.f[CO]", sheet="setpoints", access="w"),
        Point("a", "connect", "IEDLD0/GGIO1.SPCSO1.Oper.ctlVal[CO]", sheet="setpoints", wire="bool", access="w"),
        Point("b", "connect", "IEDLD0/GGIO1.SPCSO9.Oper.ctlVal[CO]", sheet="setpoints", wire="bool", access="w"),
        Point("b", "p_mw", "IEDLD0/MMXU9.TotW.mag.f[MX]", unit="W"),
    )
)


class Libiec:
    """The process with libiec61850 in it."""

    def __init__(self, process, port):
        self.process, self.address = process, (HOST, port)

    async def line(self):
        async with asyncio.timeout(PATIENCE_S):
            return (await self.process.stdout.readline()).decode().split()

    async def power(self, watts, time_ms, quality):
        self.process.stdin.write(f"power {watts} {time_ms} {quality}\n".encode())
        assert await self.line() == ["set"]


@asynccontextmanager
async def libiec():
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PEER), str(port), stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL
    )
    peer = Libiec(process, port)
    try:
        assert await peer.line() == ["up"]
        yield peer
        process.stdin.write(b"end\n")
        async with asyncio.timeout(PATIENCE_S):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        process.stdin.close()


@pytest.mark.parametrize("kind", ["buffered", "unbuffered"])
def test_reports_of_libiec61850(kind):
    """One member is a whole object, the other a bare attribute; quality and time come with the first alone."""

    async def test():
        async with libiec() as peer, connected(THEIRS, peer.address, reports=kind) as link:
            await peer.power(1.5e6, SOURCE_NS // 1_000_000, 0)
            batch = await link.read()
            assert batch.value[0] == 1.5
            assert batch.time_ns[0] == SOURCE_NS
            assert batch.quality.tolist() == [q.GOOD, q.GOOD, q.INVALID]
            async with followed(link) as got:
                await until(lambda: bool(got), "a first picture")
                assert link._subscriptions.covered == {0, 1}
                await peer.power(2e6, SOURCE_NS // 1_000_000 + 5, 3)
                await until(lambda: len(got) > 1, "a report")
                assert got[-1].point.tolist() == [0]
                assert got[-1].value.tolist() == [2.0]
                assert got[-1].quality.tolist() == [q.QUESTIONABLE]
                assert got[-1].time_ns.tolist() == [SOURCE_NS + 5_000_000]
            assert await link.heartbeat(PATIENCE_S) > 0.0

    run(test)


def test_controls_of_libiec61850():
    """Direct, selected by reading, selected with the value and enhanced security; refused in the check and in the execution."""

    async def test():
        async with libiec() as peer, connected(THEIRS, peer.address) as link:
            points = THEIRS.writable
            outcome = await link.write(points, np.array([0.5, 0.5, 1.0, 1.0]), timeout_s=PATIENCE_S)
            assert outcome.status.tolist() == [Status.ACCEPTED] * 3 + [Status.UNKNOWN_POINT]
            done = [await peer.line() for _ in range(3)]
            assert sorted(done) == [["did", "AnOut1", "0.5"], ["did", "AnOut2", "0.5"], ["did", "SPCSO1", "1.0"]]
            outcome = await link.write(points[:3], np.array([0.25, 0.25, 0.0]), mode=Mode.SELECT, timeout_s=PATIENCE_S)
            assert outcome.status.tolist() == [Status.NOT_SUPPORTED, Status.ACCEPTED, Status.ACCEPTED]
            outcome = await link.write(points[:2], np.array([2.0, 2.0]), timeout_s=PATIENCE_S)
            assert outcome.status.tolist() == [Status.REJECTED] * 2
            assert outcome.code.tolist() == [10, 10]  # blocked by interlocking
            # Its own execution fails: with enhanced security the termination says so, with normal security nobody asks.
            outcome = await link.write(points[:2], np.array([0.95, 0.95]), timeout_s=PATIENCE_S)
            assert outcome.status.tolist() == [Status.ACCEPTED, Status.DEVICE_FAILED]
            assert outcome.code.tolist() == [-1, 13]  # blocked by health

    run(test)


def test_the_rust_client_reads_and_hears_reports():
    async def test():
        async with serving() as server:
            rows = DER.readable
            server.publish(Batch.of(rows, np.full(len(rows), 0.5), q.QUESTIONABLE | q.STALE, SOURCE_NS))
            peer = await rust.IedConnection.connect(f"{HOST}:{server.address[1]}")
            assert await peer.get_server_directory() == ["DER1"]
            assert "DWMX1" in await peer.get_logical_device_directory("DER1")
            assert await peer.read_float("DER1/MMXU1.TotW.mag.f", rust.FC.MX) == 500_000.0
            quality = await peer.read_quality("DER1/MMXU1.TotW.q", rust.FC.MX)
            assert quality.validity == rust.Validity.QUESTIONABLE
            assert quality.detail.old_data
            stamp = await peer.read_timestamp("DER1/MMXU1.TotW.t", rust.FC.MX)
            assert round(stamp.timestamp() * 1e6) * 1000 == SOURCE_NS
            for block, power in (("RP.urcb_1_01", 0.25), ("BR.brcb_1_01", 0.75)):
                await hears(server, peer, f"DER1/LLN0.{block}", power)
            await peer.disconnect()

    run(test)


async def hears(server, peer, name, power):
    """Whole reports when asked for, and a change."""
    got, rows = [], DER.readable
    block = await peer.get_rcb_values(name)
    await peer.install_report_handler(name, got.append, rpt_id=block.rpt_id)
    block.rpt_ena = True
    await peer.set_rcb_values(block, rust.RcbWriteMask.fields("rpt_ena"))
    await peer.trigger_gi(name)
    await heard(peer, got)
    assert all(entry.reason.general_interrogation for entry in got[0].entries)
    assert len(got[0].entries) == len(rows)
    got.clear()
    server.publish(Batch.of(rows[:1], np.array([power]), 0, SOURCE_NS))
    await heard(peer, got)
    assert got[0].entries[0].value[0] == [power * 1e6]
    assert got[0].entries[0].reason.data_change


async def heard(peer, got):
    async with asyncio.timeout(PATIENCE_S):
        while not got:
            await peer.poll_reports(50)


@pytest.mark.parametrize("model", [DIRECT, SELECT_ENHANCED])
def test_the_rust_client_commands(model):
    """Its controls take plain values alone, no analogue ones."""

    async def test():
        seen = []
        async with serving(decide=lambda c: seen.append(c) or decide(c), options=Options(model)) as server:
            peer = await rust.IedConnection.connect(f"{HOST}:{server.address[1]}")
            kind = rust.ControlModel.DIRECT_NORMAL if model == DIRECT else rust.ControlModel.SBO_ENHANCED
            control = peer.create_control_object("DER1/DCTE1.CeaEgzReqCtl", kind)
            if model == SELECT_ENHANCED:
                assert (await control.select_with_value(True)).success
            assert (await control.operate(True)).success
            assert [c.value[0] for c in seen if not c.select_only] == [0.0]  # cease to energise
            await peer.write_int32("DER1/DWMX1.RvrtTms.setVal", rust.FC.SP, 1)
            assert seen[-1].value[0] == 1.0
            with pytest.raises(rust.IedDataAccessError):
                await peer.write_int32("DER1/DWMX1.RvrtTms.setVal", rust.FC.SP, 60)
            await peer.disconnect()

    run(test)


@pytest.mark.parametrize("model", [1, 2, 3, 4])
def test_the_rust_server(model):
    """Made of the same SCL; it offers no usable report control blocks, so it is read by period."""

    async def test():
        names = ["", "direct-normal", "sbo-normal", "direct-enhanced", "sbo-enhanced"]
        peer = rust.IedServer.from_scl_str(generate(DER, Options(model)), ied_name="DER")
        peer.bind(f"{HOST}:0")
        seen = []
        for name in ("DWMX1.WLimSpt", "DCTE1.CeaEgzReqCtl"):
            peer.on_control(f"DER1/{name}", ctl_model=names[model], operate=lambda path, value, more: seen.append((path, value)))
        await peer.start()
        try:
            for name in ("DWMX1.WLimSpt", "DCTE1.CeaEgzReqCtl"):
                peer.update_int32(f"DER1/{name}.ctlModel", model)  # it passes over the value in the SCL
            peer.update_float32("DER1/MMXU1.TotW.mag.f", 250_000.0)
            address = HOST, int(peer.bound_addr.rpartition(":")[2])
            async with connected(DER, address) as link, followed(link) as got:
                await until(lambda: bool(got), "a first picture")
                assert got[0].value[0] == 0.25
                assert len(got[0].point) == len(DER.readable)
                peer.update_float32("DER1/MMXU1.TotW.mag.f", 500_000.0)
                await until(lambda: got[-1].value[0] == 0.5, "the change, by reading")
                rows = np.array([DER.find("bat1", "p_limit_mw", "setpoints"), DER.find("bat1", "connect", "setpoints")])
                outcome = await link.write(rows, np.array([0.75, 0.0]), timeout_s=PATIENCE_S)
                assert outcome.accepted, outcome
                assert sorted(seen) == [("DER1/DCTE1.CeaEgzReqCtl", True), ("DER1/DWMX1.WLimSpt", [750_000.0])]
        finally:
            await peer.stop()

    run(test)


def test_the_rust_peers_over_tls(tmp_path):
    made = make(tmp_path)

    def pem(name, ending):
        return (tmp_path / f"{name}.{ending}").read_bytes()

    async def test():
        async with serving(tls=server_context(made["server"])) as server:
            for who, lets_in in (("client", True), ("stranger", False), ("expired", False)):
                tls = rust.TlsConfig(ca_pem=pem("ca", "pem"), client_cert_pem=pem(who, "pem"), client_key_pem=pem(who, "key"))
                try:
                    peer = await rust.IedConnection.connect_tls(f"{HOST}:{server.address[1]}", tls, HOST)
                except rust.IedError:
                    assert not lets_in
                    continue
                assert lets_in
                assert await peer.get_server_directory() == ["DER1"]
                await peer.disconnect()
        peer = rust.IedServer.from_scl_str(generate(DER, Options()), ied_name="DER")
        peer.bind(f"{HOST}:0")
        peer.with_tls(pem("server", "pem"), pem("server", "key"), client_ca_pem=pem("ca", "pem"))
        await peer.start()
        try:
            address = HOST, int(peer.bound_addr.rpartition(":")[2])
            async with connected(DER, address, tls=client_context(made["client"])) as link:
                assert (await link.read()).n == len(DER.readable)
        finally:
            await peer.stop()

    run(test)
