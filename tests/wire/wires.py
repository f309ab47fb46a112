"""The protocols as `tests.wire.stage` wants them; one more is one more entry."""

from __future__ import annotations

from open61850.mms import pdu
from open61850.server import protocol

from tests.wire.stage import GIVEN, TOLD, Wire
from vpp.wire.clock import wall_ns
from vpp.wire.dnp3.client import Dnp3Link
from vpp.wire.dnp3.server import Dnp3Served
from vpp.wire.iec104.client import Iec104Link
from vpp.wire.iec104.server import Iec104Served
from vpp.wire.iec61850.address import parse
from vpp.wire.iec61850.client import Iec61850Link
from vpp.wire.iec61850.server import Iec61850Served
from vpp.wire.link import Link, Served
from vpp.wire.modbus.channel import TcpChannel
from vpp.wire.modbus.client import ModbusLink
from vpp.wire.modbus.served import ModbusServed
from vpp.wire.points import Point, PointTable

HOST = "127.0.0.1"
PART = 5440  # of ten thousand points: what c104 2.2.1 brings of them


def modbus_served(table: PointTable, port: int, tls=None) -> ModbusServed:
    return ModbusServed(table, (HOST, port), clock=wall_ns, tls=tls)


def modbus_link(table: PointTable, address: tuple[str, int], tls=None) -> Link:
    return ModbusLink(table, TcpChannel(*address, tls=tls, in_flight=256), clock=wall_ns)


def modbus_fewer(table: PointTable, port: int) -> Served:
    """The second unit does not answer."""
    made = modbus_served(table, port)
    made.server.meddler = lambda answer: () if answer[6] == 2 else ((0.0, answer),)
    return made


def dnp3_served(table: PointTable, port: int, tls=None) -> Dnp3Served:
    return Dnp3Served(table, (HOST, port), clock=wall_ns, tls=tls)


def dnp3_link(table: PointTable, address: tuple[str, int], tls=None) -> Link:
    return Dnp3Link(table, address, clock=wall_ns, tls=tls)


def iec104_served(table: PointTable, port: int, tls=None) -> Iec104Served:
    return Iec104Served(table, (HOST, port), clock=wall_ns, tls=tls)


def iec104_link(table: PointTable, address: tuple[str, int], tls=None) -> Link:
    return Iec104Link(table, address, clock=wall_ns, tls=tls)


def iec61850_served(table: PointTable, port: int, tls=None) -> Iec61850Served:
    return Iec61850Served(table, (HOST, port), clock=wall_ns, tls=tls)


def iec61850_link(table: PointTable, address: tuple[str, int], tls=None) -> Link:
    return Iec61850Link(table, address, clock=wall_ns, tls=tls)


def iec61850_fewer(table: PointTable, port: int) -> Served:
    """A Read is answered with the first points alone, as if nothing more had been asked for."""
    made = iec61850_served(table, port)
    known = {f"{parse(point).item.rpartition('$mag')[0]}" for point in table.points[: PART // 10]}

    class Short(list):
        def append(self, connection):
            service = connection._service

            def answer(request):
                if request.service != pdu.SERVICE_READ:
                    return service(request)
                names, _ = protocol.read_request(request.content)
                told = [made.model.read(name) for name in names if "$MX$" not in name.item or name.item in known]
                return protocol.confirmed_response(request.invoke_id, request.service, protocol.read_response(told))

            connection._service = answer
            super().append(connection)

    made.connections = Short()
    return made


def analogue(resource: str, signal: str, address: str, scale: float = 1e-6, **more) -> Point:
    return Point(resource, signal, address, wire="int32", scale=scale, **more)


WIRES = (
    Wire(
        "modbus",
        (
            Point("pv", "p_mw", "1:input:0"),
            Point("pv", "q_mvar", "1:input:2"),
            Point("pv", "p_limit_mw", "1:input:4", sheet="applied"),
            Point("pv", "p_limit_lease_s", "1:holding:0", **TOLD),
            Point("pv", "p_limit_mw", "1:holding:2", **GIVEN),
            Point("pv", "p_limit_on", "1:coil:0", wire="bool", **TOLD),
        ),
        lambda i: Point(f"m{i}", "p_mw", f"{1 + (i >= PART)}:holding:{2 * i}"),
        modbus_served,
        modbus_link,
        modbus_fewer,
    ),
    Wire(
        "dnp3",
        (
            analogue("pv", "p_mw", "AI:0"),
            analogue("pv", "q_mvar", "AI:1"),
            analogue("pv", "p_limit_mw", "AI:2", sheet="applied"),
            analogue("pv", "p_limit_lease_s", "AO:0", 1e-3, **TOLD),
            analogue("pv", "p_limit_mw", "AO:1", **GIVEN),
            Point("pv", "p_limit_on", "BO:0", wire="bool", **TOLD),
        ),
        lambda i: analogue(f"m{i}", "p_mw", f"AI:{i}"),
        dnp3_served,
        dnp3_link,
        lambda table, port: dnp3_served(PointTable(table.points[:PART]), port),
        worker=True,
        checked=True,
    ),
    Wire(
        "iec104",
        (
            Point("pv", "p_mw", "1:1"),
            Point("pv", "q_mvar", "1:2"),
            Point("pv", "p_limit_mw", "1:3", sheet="applied"),
            Point("pv", "p_limit_lease_s", "1:11", **TOLD),
            Point("pv", "p_limit_mw", "1:12", **GIVEN),
            Point("pv", "p_limit_on", "1:13", wire="bool", **TOLD),
        ),
        lambda i: Point(f"m{i}", "p_mw", f"1:{1 + i}"),
        iec104_served,
        iec104_link,
        lambda table, port: iec104_served(PointTable(table.points[:PART]), port),
    ),
    Wire(
        "iec61850",
        (
            Point("pv", "p_mw", "D/MMXU1.TotW.mag.f[MX]"),
            Point("pv", "q_mvar", "D/MMXU1.TotVAr.mag.f[MX]"),
            Point("pv", "p_limit_mw", "D/DWMX1.WLimSpt.mxVal.f[MX]", sheet="applied"),
            Point("pv", "p_limit_lease_s", "D/DWMX1.RvrtTms.setVal[SP]", wire="int32", **TOLD),
            Point("pv", "p_limit_mw", "D/DWMX1.WLimSpt.Oper.ctlVal.f[CO]", **GIVEN),
            Point("pv", "p_limit_on", "D/DWMX1.Mod.Oper.ctlVal[CO]", wire="int8", scale=-0.25, offset=1.25, **TOLD),
        ),
        lambda i: Point(f"m{i}", "p_mw", f"D/GGIO1.AnIn{1 + i}.mag.f[MX]"),
        iec61850_served,
        iec61850_link,
        iec61850_fewer,
        count=1_000,
    ),
)
