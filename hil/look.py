"""Looking at a device without a scenario: what it is, and its values with units and quality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hil.devicemap import DeviceMap, load_map
from hil.links import Where
from hil.watchdog import NOT_ARMED
from vpp.kernel.errors import Finding, LinkError, PointError, ScenarioError
from vpp.wire.clock import wall_ns
from vpp.wire.link import Batch, Status
from vpp.wire.modbus.channel import TcpChannel
from vpp.wire.modbus.client import ModbusLink
from vpp.wire.modbus.pdu import ModbusError, Space, ask_read, told
from vpp.wire.points import Point, PointTable
from vpp.wire.sunspec.discover import Discovered, discover

DEVICE = "device"
NAMEPLATE = (
    ("active power", "702.WMaxRtg", "W"), ("apparent power", "702.VAMaxRtg", "VA"), ("charging power", "702.WChaRteMaxRtg", "W"),
    ("voltage", "702.VNomRtg", "V"), ("active power", "120.WRtg", "W"), ("apparent power", "120.VARtg", "VA"),
    ("energy", "713.WHRtg", "Wh"), ("energy", "802.WHRtg", "Wh"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unit:
    """What was found behind a unit identifier.

    Attributes:
        unit: the identifier.
        protocol: "sunspec", or "modbus" where it answers without speaking SunSpec.
        models: the device's models.
        plate: (what, value, unit) of its nameplate.
        texts: maker, model, version, serial number.
        findings: what is not as its definition says.
    """

    unit: int
    protocol: str
    models: tuple[int, ...] = ()
    plate: tuple[tuple[str, float, str], ...] = ()
    texts: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


async def scan(where: Where, units: range, timeout_s: float) -> list[Unit]:
    """Look for devices behind units; nothing is written. Raises `LinkError` where nobody listens."""
    channel = TcpChannel(where.host, where.port)
    await channel.open(max(timeout_s, 2.0), lambda reason: None)
    found = []
    try:
        for unit in units:
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
        told(pdu, await channel.ask(unit, pdu, timeout_s))
    except ModbusError as error:
        return error.code not in (10, 11)
    except (TimeoutError, ValueError):
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


@dataclass
class Look:
    """An open link to one device, with its map."""

    link: ModbusLink
    findings: tuple[Finding, ...]

    def rows(self, names: tuple[str, ...]) -> list[int]:
        """Rows of the table by ``signal`` or ``sheet.signal``; all readable ones for no name. Raises `PointError`."""
        points = self.link.table.points
        if not names:
            return [int(row) for row in self.link.table.readable]
        out = []
        for name in names:
            at = [i for i, p in enumerate(points) if name in (p.signal, f"{p.sheet}.{p.signal}", p.address)]
            if not at:
                known = ", ".join(sorted({f"{p.sheet}.{p.signal}" for p in points}))
                raise PointError(name, f"is not in the device map; there are {known}")
            out += at
        return out


async def open_look(where: Where) -> Look:
    """Connect to a device by its address; ``?map=`` names its map. Raises `LinkError`, `ScenarioError`."""
    channel = TcpChannel(where.host, where.port)
    name = where.options.get("map", "")
    if not name and where.protocol == "modbus":
        raise ScenarioError([Finding("plain Modbus needs a device map: …?map=NAME", value=str(where))])
    findings: tuple[Finding, ...] = ()
    if where.protocol == "modbus":
        table = load_map(name).on_modbus(DEVICE, where.unit)
    else:
        await channel.open(5.0, lambda reason: None)
        try:
            found = await discover(channel, where.unit)
        finally:
            await channel.close()
        table, missing = (load_map(name) if name else _fitting(found)).on_sunspec(DEVICE, found)
        findings = tuple(missing)
    link = ModbusLink(table, channel, clock=wall_ns, name=str(where))
    await link.connect()
    return Look(link, findings)


def _fitting(found: Discovered) -> DeviceMap:
    """The shipped map that fits a device best."""
    if 704 not in found.models:
        return load_map("legacy-inverter")
    return load_map("sunspec-battery" if 713 in found.models else "sunspec-inverter")


@dataclass(frozen=True, slots=True)
class Wrote:
    """What became of a write: before, asked, and read back (NaN where it cannot be read), with the status."""

    point: Point
    before: float
    asked: float
    after: float
    status: Status
    reason: str


async def write(look: Look, row: int, value: float, armed: bool, emulated: bool) -> Wrote:
    """Write one point and read it back. Raises `PointError` where it must not be written."""
    table = look.link.table
    point = table.points[row]
    if "w" not in point.access:
        raise PointError(point.address, "cannot be written")
    if not (armed or emulated):
        raise PointError(point.address, NOT_ARMED)
    if table.out_of_band(np.array([row]), np.array([value]))[0]:
        raise PointError(point.address, f"takes {point.low:g} … {point.high:g} {point.signal_unit}")
    back = _read_back(table, row)
    before = await _value(look.link, back)
    outcome = await look.link.write(np.array([row]), np.array([value]))
    return Wrote(point, before, value, await _value(look.link, back), Status(int(outcome.status[0])), outcome.reason)


def _read_back(table: PointTable, row: int) -> int:
    """The row at which a written point can be read, -1 for none."""
    point = table.points[row]
    if "r" in point.access:
        return row
    return next((i for i, p in enumerate(table.points) if p.address == point.address and "r" in p.access), -1)


async def _value(link: ModbusLink, row: int) -> float:
    return float((await link.read(np.array([row]))).value[0]) if row >= 0 else float("nan")


def lines(table: PointTable, batch: Batch) -> list[tuple[str, str, str, str, str]]:
    """A batch for people: point, value, unit, quality, address."""
    from vpp.kernel.quality import describe

    out = []
    for row, value, quality in zip(batch.point, batch.value, batch.quality):
        p = table.points[row]
        shown = "not known" if np.isnan(value) else f"{value:.6g}"
        out.append((f"{p.sheet}.{p.signal}", shown, str(p.signal_unit), describe(int(quality)), p.address))
    return out
