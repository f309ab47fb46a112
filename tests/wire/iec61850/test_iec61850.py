"""What is the protocol's own: controls by their models, settings, TLS, and how it begins and ends."""

import asyncio
import datetime as dt
import socket
import threading

import numpy as np
import pytest
from open61850.data import BoolData, FloatData, IntData
from open61850.mms.errors import DataAccessError
from open61850.mms.pdu import ObjectName

from tests.wire.authority import Authority
from tests.wire.iec61850.bench import DER, connected, followed, run, serving
from vpp.kernel import quality as q
from vpp.kernel.errors import LinkError
from vpp.testing.link_bench import PATIENCE_S, SOURCE_NS, until
from vpp.wire.clock import wall_ns
from vpp.wire.iec61850 import iso
from vpp.wire.iec61850.browse import browse
from vpp.wire.iec61850.client import Iec61850Link
from vpp.wire.iec61850.control import DIRECT, DIRECT_ENHANCED, SELECT, SELECT_ENHANCED
from vpp.wire.iec61850.scl import Options
from vpp.wire.link import ACCEPT, Answer, Batch, LinkState, Mode, Status

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


def test_a_command_that_only_tries_is_not_done():
    """`Test` set, while the device is on: refused, blocked by mode."""

    async def test():
        seen = []
        async with (
            serving(decide=lambda command: seen.append(command) or ACCEPT) as server,
            connected(DER, server.address) as link,
        ):
            oper = link._layout.controls[LIMIT].services["Oper"]
            value = link._commands._value(oper, ("f",), 500_000.0, 1, SOURCE_NS)
            value.members[[name for name, _ in oper.components].index("Test")] = BoolData(True)
            told = []
            link._commands.hear = lambda report: told.append(report.results[0].members[-1].value)
            assert await link._mms.write(ObjectName("DWMX1$CO$WLimSpt$Oper", "DER1"), value) == DataAccessError(3)
            assert (told, seen) == ([8], [])

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


def test_a_late_termination_belongs_to_no_later_command():
    """What bears another ctlNum is of a command that was given up before."""

    async def test():
        async with (
            serving(options=Options(DIRECT_ENHANCED)) as server,
            connected(DER, server.address) as link,
        ):
            late = []
            server.mms.controls._send_termination = lambda *arguments: late.append(arguments)
            outcome = await link.write(at(LIMIT), np.array([0.5]), timeout_s=0.2)
            assert outcome.status.tolist() == [Status.TIMEOUT]
            waiting = asyncio.create_task(link.write(at(LIMIT), np.array([0.25]), timeout_s=PATIENCE_S))
            await until(lambda: len(late) == 2, "the second command was executed")
            del server.mms.controls._send_termination
            server.mms.controls._send_termination(*late[0])
            await asyncio.sleep(0.05)
            assert not waiting.done()
            server.mms.controls._send_termination(*late[1])
            assert (await waiting).accepted

    run(test)


def test_an_answer_longer_than_was_agreed_on():
    """The server says that it is too much; the client asks for less at once."""

    async def test():
        async with serving() as server, connected(DER, server.address) as link:
            whole = link._mms
            (connection,) = server.connections
            assert (connection.pdu_size, whole._each) == (65_000, 50)
            connection.pdu_size = 200
            batch = await link.read()
            assert batch.n == len(DER.readable)
            assert not (batch.quality & q.COMM_LOST).any()
            names = [place.name for place in link._layout.places.values()]
            assert not any(isinstance(one, DataAccessError) for one in await whole.read(names))

    run(test)


def test_browsing():
    async def test():
        async with serving() as server:
            found = await browse(server.address, PATIENCE_S)
            assert found.who == ("VPP Core", "DER", "1")
            assert found.nodes["DER1"][:3] == ("DCTE1", "DSTO1", "DVAR1")
            address = server.address
        with pytest.raises(LinkError):
            await browse(address, PATIENCE_S)

    run(test)
