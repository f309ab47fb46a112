"""Finding out what listens at a port: Modbus and SunSpec, IEC 60870-5-104, DNP3, MMS. Nothing is written to anybody.

Each protocol is asked by a frame that is harmless to the others, on a connection of its own. Mind that a connection alone is
something: an outstation serves one master at a time, and drops the one that it has for the newcomer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from hil.links import SCHEMES, Where
from vpp.kernel.errors import Finding, LinkError
from vpp.wire.iec104 import asdu
from vpp.wire.iec104.connection import STARTDT, STARTDT_CON, TESTFR, TESTFR_CON, Connection, Parameters
from vpp.wire.modbus.channel import TcpChannel
from vpp.wire.modbus.pdu import ModbusError, Space, ask_read, told, told_values
from vpp.wire.sunspec.discover import Discovered, discover

T = TypeVar("T")
NAMEPLATE: Final = (
    ("active power", "702.WMaxRtg", "W"), ("apparent power", "702.VAMaxRtg", "VA"), ("charging power", "702.WChaRteMaxRtg", "W"),
    ("voltage", "702.VNomRtg", "V"), ("active power", "120.WRtg", "W"), ("apparent power", "120.VARtg", "VA"),
    ("energy", "713.WHRtg", "Wh"), ("energy", "802.WHRtg", "Wh"),
)  # fmt: skip
OUTSTATIONS: Final = (*range(17), 1024)  # asked where nobody says which: what makers deliver
MASTER: Final = 1
MMS_PORT: Final = 102
# RFC 1006 and ISO 8073: a TPKT with a connection request, class 0, as MMS uses it (selectors 00 01, TPDUs of 8192 octets).
COTP_REQUEST: Final = bytes.fromhex("0300001611e00000000100c0010dc2020001c1020001")
COTP_CONFIRM: Final = 0xD0


@dataclass(frozen=True, slots=True)
class Unit:
    """What was found behind a port.

    Attributes:
        unit: its identifier there: Modbus unit, outstation, station; -1: it has none.
        protocol: "sunspec", "modbus" where it answers without speaking SunSpec, "iec104", "dnp3" or "iec61850".
        models: a SunSpec device's models.
        plate: (what, value, unit) of its nameplate.
        texts: maker, model, version, serial number; or what else can be told.
        findings: what is not as its definition says.
    """

    unit: int
    protocol: str
    models: tuple[int, ...] = ()
    plate: tuple[tuple[str, float, str], ...] = ()
    texts: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def title(self) -> str:
        """What it is called."""
        scheme = SCHEMES.get(self.protocol)
        return f"{scheme.word if scheme else 'server'} {self.unit}" if self.unit >= 0 else "server"


async def scan(text: str, units: Sequence[int], timeout_s: float) -> list[Unit]:
    """Look for devices at ``host:port``, or at ``protocol://host:port`` with that protocol alone.

    Args:
        text: the address.
        units: Modbus units, outstations or stations to ask; none: unit 1, the usual outstations, all stations.
        timeout_s: how long an answer may take.

    Raises:
        LinkError: nobody listens.
    """
    named = "://" in text
    where = Where.of(text)
    if named:
        order: tuple[str, ...] = (SCHEMES[where.protocol].wire,)
    else:
        usual = {scheme.port: scheme.wire for scheme in SCHEMES.values()} | {MMS_PORT: "iec61850"}
        first = usual.get(where.port, "modbus")
        order = (first, *(name for name in PROBES if name != first))
    for name in order:
        found = await PROBES[name](where, tuple(units), timeout_s, named)
        if found:
            return found
    return []


async def _modbus(where: Where, units: Sequence[int], timeout_s: float, named: bool) -> list[Unit]:
    channel = TcpChannel(where.host, where.port, tls=where.tls)
    await channel.open(max(timeout_s, 2.0), lambda reason: None)
    found = []
    try:
        for unit in units or (1,):
            if not await _answers(channel, unit, timeout_s):
                continue
            try:
                found.append(_described(await discover(channel, unit, timeout_s=timeout_s)))
            except LinkError:
                found.append(Unit(unit, "modbus"))
    finally:
        await channel.close()
    return found


async def _answers(channel: TcpChannel, unit: int, timeout_s: float) -> bool:
    """Whether somebody is there: a value, or an exception that is the device's own and not its gateway's."""
    pdu = ask_read(Space.HOLDING, 40000, 2)
    try:
        told_values(Space.HOLDING, 2, told(pdu, await channel.ask(unit, pdu, timeout_s)))
    except ModbusError as error:
        return error.code not in (10, 11)
    except (TimeoutError, ValueError, LinkError):
        return False
    return True


def _described(found: Discovered) -> Unit:
    texts = tuple(_text(found, path) for path in ("1.Mn", "1.Md", "1.Vr", "1.SN"))
    plate = tuple(
        (what, found.value(path), unit) for what, path, unit in NAMEPLATE if path in found.layout and found.value(path) > 0
    )
    return Unit(found.unit, "sunspec", tuple(sorted(found.models)), plate, texts, found.findings)


def _text(found: Discovered, path: str) -> str:
    if path not in found.layout:
        return ""
    register = found.layout.find(path)
    words = found.image.words[0, register.at : register.at + register.point.words].astype(">u2")
    return bytes(words.tobytes()).rstrip(b"\0 ").decode("utf-8", "replace")


async def _iec104(where: Where, units: Sequence[int], timeout_s: float, named: bool) -> list[Unit]:
    """Test the connection. Only who names the protocol has data transfer started: of a group it takes the other's over."""
    connection, tested = Connection(Parameters(), server=False), asyncio.Event()
    connection.on_tested = lambda rtt_s: tested.set()
    await _connect(
        where, lambda: asyncio.get_running_loop().create_connection(lambda: connection, where.host, where.port), timeout_s
    )
    try:
        connection.ask(TESTFR, TESTFR_CON)
        if not await _set(tested, timeout_s):
            return []
        if named:
            return await _stations(connection, units, timeout_s)
        text = f"answers TESTFR; iec104://{where.host}:{where.port} starts data transfer and lists its stations"
        return [Unit(-1, "iec104", texts=(text,))]
    finally:
        connection.end("looked")


async def _stations(connection: Connection, units: Sequence[int], timeout_s: float) -> list[Unit]:
    """Start data transfer and interrogate: who answers within the time, and with how many points of which type."""
    counts: dict[int, dict[str, int]] = {}
    started = asyncio.Event()

    def take(octets: bytes) -> None:
        try:
            told_ = asdu.decode(octets)
        except ValueError:
            return  # a type that is not ours to know
        if told_.type in asdu.MONITORED and told_.cause == asdu.Cause.INTERROGATED:
            of, name = counts.setdefault(told_.station, {}), asdu.MONITORED[told_.type].name.lower()
            of[name] = of.get(name, 0) + len(told_.objects)

    connection.on_asdu, connection.on_started = take, lambda on: started.set()
    connection.ask(STARTDT, STARTDT_CON)
    if not await _set(started, timeout_s):
        return [Unit(-1, "iec104", texts=("answers TESTFR, but does not start data transfer",))]
    for station in units or (asdu.BROADCAST,):
        order = asdu.Asdu(asdu.INTERROGATION, asdu.Cause.ACTIVATION, station, (asdu.Object(0, 0.0, asdu.STATION),))
        connection.send(asdu.encode(order))
    await asyncio.sleep(timeout_s)
    if not counts:
        return [Unit(-1, "iec104", texts=("starts data transfer, but no station brings a point",))]
    texts = {station: ", ".join(f"{n} × {name}" for name, n in of.items()) for station, of in sorted(counts.items())}
    return [Unit(station, "iec104", texts=(text,)) for station, text in texts.items()]


async def _dnp3(where: Where, units: Sequence[int], timeout_s: float, named: bool) -> list[Unit]:
    """Ask for the link status of outstations (IEEE 1815-2012, 9.2.4.1.4)."""
    reader, writer = await _streams(where, timeout_s)
    answer = b""
    try:
        for outstation in units or OUTSTATIONS:
            writer.write(link_status_request(outstation, MASTER))
        async with asyncio.timeout(timeout_s):
            while piece := await reader.read(4096):
                answer += piece
    except (TimeoutError, OSError):
        found = outstations(answer)  # who has not answered by now, does not
    else:
        found = outstations(answer)
    finally:
        writer.transport.abort()
    return [Unit(one, "dnp3", texts=("answers with its link status",)) for one in found]


def link_status_request(outstation: int, master: int) -> bytes:
    """A frame from a master (DIR, PRM, function 9)."""
    head = b"\x05\x64\x05\xc9" + outstation.to_bytes(2, "little") + master.to_bytes(2, "little")
    return head + _crc(head)


def outstations(octets: bytes) -> list[int]:
    """Who answers with a link status (function 11 of a secondary frame), in ascending order."""
    found, at = set(), octets.find(b"\x05\x64")
    while 0 <= at <= len(octets) - 10:
        head = octets[at : at + 8]
        if head[3] & 0x4F == 0x0B and octets[at + 8 : at + 10] == _crc(head):
            found.add(int.from_bytes(head[6:8], "little"))
        at = octets.find(b"\x05\x64", at + 2)
    return sorted(found)


def _crc(octets: bytes) -> bytes:
    """IEEE 1815-2012, 9.2.5: x¹⁶ + x¹³ + x¹² + x¹¹ + x¹⁰ + x⁸ + x⁶ + x⁵ + x² + 1, inverted."""
    crc = 0
    for octet in octets:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ 0xA6BC if crc & 1 else crc >> 1
    return (crc ^ 0xFFFF).to_bytes(2, "little")


async def _mms(where: Where, units: Sequence[int], timeout_s: float, named: bool) -> list[Unit]:
    """Ask for a COTP connection (RFC 1006)."""
    reader, writer = await _streams(where, timeout_s)
    try:
        writer.write(COTP_REQUEST)
        async with asyncio.timeout(timeout_s):
            answer = await reader.readexactly(7)
    except (TimeoutError, OSError, asyncio.IncompleteReadError):
        return []
    finally:
        writer.transport.abort()
    if answer[0] != 3 or answer[5] & 0xF0 != COTP_CONFIRM:
        return []
    return [Unit(-1, "iec61850", texts=("accepts a COTP connection, as MMS does: IEC 61850 or TASE.2",))]


Probe = Callable[[Where, Sequence[int], float, bool], Awaitable[list[Unit]]]
PROBES: Final[dict[str, Probe]] = {"modbus": _modbus, "iec104": _iec104, "dnp3": _dnp3, "iec61850": _mms}


async def _streams(where: Where, timeout_s: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await _connect(where, lambda: asyncio.open_connection(where.host, where.port), timeout_s)


async def _connect(where: Where, connect: Callable[[], Awaitable[T]], timeout_s: float) -> T:
    """Connect in one of asyncio's ways. Raises `LinkError`."""
    try:
        async with asyncio.timeout(max(timeout_s, 2.0)):
            return await connect()
    except (OSError, TimeoutError) as error:
        raise LinkError(f"{where.host}:{where.port}", str(error) or "no connection in time") from error


async def _set(event: asyncio.Event, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
