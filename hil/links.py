"""Links and servers by the name of their protocol."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from vpp.kernel.errors import LinkError
from vpp.wire.clock import WallClock, wall_ns
from vpp.wire.link import Link, Served
from vpp.wire.points import PointTable

PORTS = {"modbus": 502, "sunspec": 502}


@dataclass(frozen=True, slots=True)
class Where:
    """An address as a user writes it: ``protocol://host:port/unit?key=value&…``.

    Attributes:
        protocol: modbus or sunspec.
        host, port: where it listens.
        unit: Modbus unit identifier.
        options: what stands behind the question mark.
    """

    protocol: str
    host: str
    port: int
    unit: int
    options: dict[str, str]

    @classmethod
    def of(cls, text: str, default: str = "modbus") -> Where:
        """Read an address; without a protocol it is ``default``. Raises `LinkError`."""
        parts = urlsplit(text if "://" in text else f"{default}://{text}")
        if parts.scheme not in PORTS:
            raise LinkError(text, f"there is no protocol {parts.scheme!r}; there are {', '.join(PORTS)}")
        try:
            port = parts.port or PORTS[parts.scheme]
            unit = int(parts.path.strip("/") or 1)
            options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        except ValueError as error:
            raise LinkError(text, f"is not protocol://host:port/unit?key=value: {error}") from None
        if not parts.hostname or not 0 <= unit <= 255:
            raise LinkError(text, "a host and a unit of 0 … 255 are needed, as in modbus://192.0.2.7:502/1")
        return cls(parts.scheme, parts.hostname, port, unit, options)

    def __str__(self) -> str:
        """The address without its options."""
        return f"{self.protocol}://{self.host}:{self.port}/{self.unit}"


def modbus_link(table: PointTable, host: str, port: int, *, name: str, clock: WallClock = wall_ns, in_flight: int = 1) -> Link:
    """A Modbus TCP client of a table; ``in_flight`` requests at once, 1 for devices that do not know pipelining."""
    from vpp.wire.modbus.channel import TcpChannel
    from vpp.wire.modbus.client import ModbusLink

    return ModbusLink(table, TcpChannel(host, port, in_flight=in_flight), clock=clock, name=name)


def modbus_served(table: PointTable, host: str, port: int, *, clock: WallClock = wall_ns) -> Served:
    """A Modbus TCP server of a table."""
    from vpp.wire.modbus.served import ModbusServed

    return ModbusServed(table, (host, port), clock=clock)
