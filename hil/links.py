"""Links and servers by the name of their protocol: `SCHEMES` is the one table of it."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from vpp.kernel.errors import LinkError
from vpp.kernel.signals import ByteArray, IntArray
from vpp.wire.clock import WallClock, wall_ns
from vpp.wire.link import Link, Served
from vpp.wire.points import Point, PointTable
from vpp.wire.tls import Credentials, client_context, server_context

YES: Final = ("yes", "true", "1")
OPTIONS: Final = ("map", "emulated", "tls", "tls_name")  # of every address; a device map may add its ratings
PIPELINE: Final = 16  # requests at once towards our own Modbus server; a device is asked one thing at a time


@dataclass(frozen=True, slots=True)
class Where:
    """An address as a user writes it: ``protocol://host:port/unit?key=value&…``.

    Attributes:
        protocol: a key of `SCHEMES`.
        host, port: where it listens.
        unit: who is meant of those behind the port: Modbus unit, DNP3 outstation address, 104 station, number of
            a 61850 device.
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
        scheme = SCHEMES.get(parts.scheme)
        if scheme is None:
            raise LinkError(text, f"there is no protocol {parts.scheme!r}; there are {', '.join(SCHEMES)}")
        try:
            port = scheme.port if parts.port is None else parts.port
            unit = int(parts.path.strip("/") or scheme.unit)
            options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
        except ValueError as error:
            raise LinkError(text, f"is not protocol://host:port/unit?key=value: {error}") from None
        if not parts.hostname or unit not in scheme.units:
            low, high = scheme.units[0], scheme.units[-1]
            example = f"{parts.scheme}://192.0.2.7:{scheme.port}/{scheme.unit}"
            article = "an" if scheme.word[0] in "aeio" else "a"
            raise LinkError(text, f"a host and {article} {scheme.word} of {low} … {high} are needed, as in {example}")
        return cls(parts.scheme, parts.hostname, port, unit, options)

    def __str__(self) -> str:
        """The address without its options."""
        return f"{self.protocol}://{self.host}:{self.port}/{self.unit}"

    @property
    def scheme(self) -> Scheme:
        """What is known of its protocol."""
        return SCHEMES[self.protocol]

    @property
    def emulated(self) -> bool:
        """Whether there is a model behind it, as the address says."""
        return self.options.get("emulated", "no") in YES

    @property
    def tls(self) -> ssl.SSLContext | None:
        """For ``tls=FOLDER`` with certificate.pem, key.pem and authority.pem; ``tls_name=no``: any name in the peer's.

        Raises:
            LinkError: they cannot be read.
        """
        if "tls" not in self.options:
            return None
        return client_context(credentials(Path(self.options["tls"]), self.options.get("tls_name", "yes") in YES))

    @property
    def peers(self) -> tuple[str, str, int, int, bool]:
        """What those have in common who share a connection."""
        return self.scheme.wire, self.host, self.port, 0 if self.scheme.shared else self.unit, self.emulated


def credentials(folder: Path, check_name: bool = True) -> Credentials:
    """What a folder with certificate.pem, key.pem and authority.pem holds."""
    return Credentials(folder / "certificate.pem", folder / "key.pem", folder / "authority.pem", check_name)


MakeLink = Callable[[PointTable, Where, str, WallClock], Link]
MakeServed = Callable[[PointTable, tuple[str, int], int, WallClock, ssl.SSLContext | None], Served]
Carried = Callable[[PointTable, IntArray, ByteArray], ByteArray]


@dataclass(frozen=True, slots=True)
class Scheme:
    """A protocol.

    Attributes:
        wire: what is spoken; two schemes of one wire share connections.
        port, unit: where it listens if nothing else is said, and who is meant there.
        units: who can be meant.
        word: what such a one is called.
        link: makes a client: (table, where, name, clock).
        served: makes a server of a table at an address: (table, (host, port), unit, clock, TLS).
        parse: reads a point's address; raises `PointError` where it is none.
        carried: what arrives of a quality on the way from server to client: (table, rows, quality); None: nothing.
        shared: all units behind a port are reached by one connection.
        reports: the device reports by itself what changes; what it does not report is as it was.
        maps: kind of resource -> the shipped device map for it.
    """

    wire: str
    port: int
    unit: int
    units: range
    word: str
    link: MakeLink
    served: MakeServed
    parse: Callable[[Point], object]
    carried: Carried | None = None
    shared: bool = True
    reports: bool = False
    maps: Mapping[str, str] = field(default_factory=dict)


def _later(what: str) -> Callable[..., Any]:
    """What ``module:name`` is, loaded when it is called: some stacks need an extra."""
    module, _, name = what.partition(":")

    def call(*args: Any, **more: Any) -> Any:
        return getattr(import_module(module), name)(*args, **more)

    return call


def _link(what: str) -> MakeLink:
    made = _later(what)
    return lambda table, where, name, clock: made(table, (where.host, where.port), clock=clock, name=name, tls=where.tls)


def _served(what: str) -> MakeServed:
    made = _later(what)
    return lambda table, address, unit, clock, tls: made(table, address, clock=clock, tls=tls)


def _modbus_link(table: PointTable, where: Where, name: str, clock: WallClock) -> Link:
    from vpp.wire.modbus.channel import TcpChannel
    from vpp.wire.modbus.client import ModbusLink

    channel = TcpChannel(where.host, where.port, tls=where.tls, in_flight=PIPELINE if where.emulated else 1)
    return ModbusLink(table, channel, clock=clock, name=name)


def _dnp3_link(table: PointTable, where: Where, name: str, clock: WallClock) -> Link:
    from vpp.wire.dnp3.client import Dnp3Link, Session

    session = Session(outstation=where.unit)
    return Dnp3Link(table, (where.host, where.port), clock=clock, session=session, name=name, tls=where.tls)


def _dnp3_served(table: PointTable, address: tuple[str, int], unit: int, clock: WallClock, tls: ssl.SSLContext | None) -> Served:
    from vpp.wire.dnp3.server import Dnp3Served

    return Dnp3Served(table, address, clock=clock, outstation=unit, tls=tls)


_SUNSPEC_MAPS: Final = {"pv": "sunspec-inverter", "wind": "sunspec-inverter", "battery": "sunspec-battery"}
_PARKS: Final = {"pv": "park_104", "wind": "park_104"}
_DERS: Final = {"pv": "der_61850", "wind": "der_61850", "battery": "der_61850"}
_MODBUS: Final = _modbus_link, _served("vpp.wire.modbus.served:ModbusServed"), _later("vpp.wire.modbus.address:parse")
SCHEMES: Final[dict[str, Scheme]] = {
    "modbus": Scheme("modbus", 502, 1, range(256), "unit", *_MODBUS),
    "sunspec": Scheme("modbus", 502, 1, range(256), "unit", *_MODBUS, maps=_SUNSPEC_MAPS),
    "dnp3": Scheme(
        "dnp3", 20000, 10, range(65520), "outstation", _dnp3_link, _dnp3_served,
        _later("vpp.wire.dnp3.address:parse"), _later("vpp.wire.dnp3.quality:carried"),
        shared=False, reports=True, maps={"battery": "mesa_der"},
    ),
    "iec104": Scheme(
        "iec104", 2404, 1, range(1, 65535), "station",
        _link("vpp.wire.iec104.client:Iec104Link"), _served("vpp.wire.iec104.server:Iec104Served"),
        _later("vpp.wire.iec104.points:parse"), _later("vpp.wire.iec104.points:carried"),
        reports=True, maps=_PARKS,
    ),
    "iec61850": Scheme(
        "iec61850", 102, 1, range(1, 10000), "device",
        _link("vpp.wire.iec61850.client:Iec61850Link"), _served("vpp.wire.iec61850.server:Iec61850Served"),
        _later("vpp.wire.iec61850.address:parse"), _later("vpp.wire.iec61850.quality:carried"),
        reports=True, maps=_DERS,
    ),
}  # fmt: skip


def link(table: PointTable, where: Where, name: str = "", clock: WallClock = wall_ns) -> Link:
    """A client of a table at an address; nothing is opened."""
    return where.scheme.link(table, where, name or str(where), clock)


def served(table: PointTable, where: Where, clock: WallClock = wall_ns) -> Served:
    """A server of a table at an address (port 0: a free one; ``tls``: for clients its authority knows); nothing is opened."""
    tls = server_context(credentials(Path(where.options["tls"]))) if "tls" in where.options else None
    return where.scheme.served(table, (where.host, where.port), where.unit, clock, tls)
