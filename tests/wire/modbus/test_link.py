"""Our Modbus client and server pass the suite that every protocol passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.wire import certificates
from vpp.kernel.errors import LinkError
from vpp.testing.link import LinkSuite
from vpp.testing.link_bench import PATIENCE_S
from vpp.wire.clock import wall_ns
from vpp.wire.link import Link, Served
from vpp.wire.modbus.channel import TcpChannel
from vpp.wire.modbus.client import ModbusLink
from vpp.wire.modbus.served import ModbusServed
from vpp.wire.points import Point, PointTable
from vpp.wire.tls import Credentials, client_context, server_context

WIRES = ("float32", "int16", "uint32", "float64", "int64", "uint64", "int32", "uint16")
POINTS = (
    Point("pv1", "p_mw", "1:holding:100"),
    Point("pv1", "q_mvar", "1:holding:102", wire="int16", scale=1e-3, quality="sentinel"),
    Point("pv1", "vm_pu", "1:holding:103", wire="uint16", scale=0.1, unit="V", base=230.0),
    Point("pv1", "f_hz", "1:input:7", wire="float32"),
    Point("pv1", "soc", "2:holding:0:swap", wire="uint32", scale=1e-6),
    Point("pv1", "connect", "2:coil:5", sheet="setpoints", wire="bool", access="w"),
    Point("pv1", "p_mw", "2:holding:40:swap", sheet="setpoints", wire="int32", unit="W", low=-3.0, high=3.0, access="rw"),
    Point("pv1", "connect", "2:coil:5", sheet="applied", wire="bool"),
)


class TestModbus(LinkSuite):
    carries_time = False
    selects = False

    def table(self) -> PointTable:
        order = sorted(POINTS, key=lambda point: point.signal == "connect")
        return PointTable(tuple(order))

    def stranger(self) -> PointTable:
        extra = Point("pv1", "q_mvar", "2:holding:42", sheet="setpoints", access="rw")
        return PointTable((*self.table().points, extra))

    def many(self) -> PointTable:
        signals = [(s, w) for s in ("p_mw", "q_mvar", "vm_pu", "f_hz", "soc") for w in WIRES]
        return PointTable(
            tuple(
                Point(f"r{i}", s, f"{1 + i % 5}:holding:{(i * len(signals) + j) * 4}", wire=w, scale=1e-4)
                for i in range(300)
                for j, (s, w) in enumerate(signals[i % 8 :: 8])
            )
        )

    def served(self, table: PointTable, port: int) -> Served:
        return ModbusServed(table, ("127.0.0.1", port), clock=wall_ns)

    def link(self, table: PointTable, address: tuple[str, int]) -> Link:
        return ModbusLink(table, TcpChannel(*address), clock=wall_ns)


class TestModbusOverTls(TestModbus):
    held: dict[str, Credentials]

    @pytest.fixture(autouse=True)
    def certificates(self, tmp_path: Path) -> None:
        self.held = certificates.make(tmp_path)

    def served(self, table: PointTable, port: int) -> Served:
        return ModbusServed(table, ("127.0.0.1", port), clock=wall_ns, tls=server_context(self.held["server"]))

    def link(self, table: PointTable, address: tuple[str, int], who: str = "client") -> Link:
        channel = TcpChannel(*address, tls=client_context(self.held[who]), in_flight=4)
        return ModbusLink(table, channel, clock=wall_ns)

    async def connect_and_ask(self, link: Link) -> None:
        """TLS 1.3 tells a client of its certificate not at the handshake but with the first answer."""
        await link.connect(PATIENCE_S)
        await link.heartbeat(PATIENCE_S)

    @pytest.mark.parametrize("who", ["stranger", "expired"])
    def test_who_has_no_certificate_reads_nothing(self, who: str) -> None:
        async def test() -> None:
            async with self.serving(self.table()) as served:
                link = self.link(self.table(), served.address, who)
                with pytest.raises(LinkError):
                    await self.connect_and_ask(link)
                assert served.server.served == 0
                await link.close()

        self.run(test)

    def test_a_server_that_is_somebody_else_is_not_trusted(self) -> None:
        async def test() -> None:
            self.held["server"] = self.held["elsewhere"]
            async with self.serving(self.table()) as served:
                with pytest.raises(LinkError, match="certificate verify failed"):
                    await self.link(self.table(), served.address).connect(PATIENCE_S)

        self.run(test)

    def test_a_plain_client_reads_nothing(self) -> None:
        async def test() -> None:
            async with self.serving(self.table()) as served:
                link = super(TestModbusOverTls, self).link(self.table(), served.address)
                await link.connect(PATIENCE_S)
                with pytest.raises(LinkError):
                    await link.heartbeat(PATIENCE_S)

        self.run(test)
