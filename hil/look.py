"""Looking at a device without a scenario: its values with units and quality."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hil.connect import LOOK_S, map_at, ratings_at
from hil.devicemap import DeviceMap, load_map
from hil.links import Where, link
from hil.watchdog import NOT_ARMED
from vpp.kernel.errors import Finding, PointError, ScenarioError
from vpp.wire.link import Batch, Link, Status
from vpp.wire.modbus.channel import TcpChannel
from vpp.wire.points import Point, PointTable
from vpp.wire.sunspec.discover import Discovered, discover

DEVICE = "device"


@dataclass
class Look:
    """An open link to one device, with its map."""

    link: Link
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
    made = map_at(where)
    findings: tuple[Finding, ...] = ()
    if where.protocol == "sunspec":
        table, findings = await _discovered(where, made)
    elif made is None:
        raise ScenarioError([Finding(f"{where.protocol} needs a device map: …?map=NAME", value=str(where))])
    else:
        table = made.on_wire(DEVICE, where.unit, ratings_at(where, made))
    opened = link(table, where)
    try:
        await opened.connect(LOOK_S)
    except BaseException:
        await opened.close()
        raise
    return Look(opened, findings)


async def _discovered(where: Where, made: DeviceMap | None) -> tuple[PointTable, tuple[Finding, ...]]:
    """What a SunSpec device says of itself, by its map or the one that fits best."""
    channel = TcpChannel(where.host, where.port, tls=where.tls)
    await channel.open(LOOK_S, lambda reason: None)
    try:
        found = await discover(channel, where.unit)
    finally:
        await channel.close()
    table, missing = (made or _fitting(found)).on_sunspec(DEVICE, found)
    return table, tuple(missing)


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
    same = [i for i, p in enumerate(table.points) if p.address == point.address and "r" in p.access]
    return same[0] if same else table.find(point.resource, point.signal, "applied")


async def _value(link: Link, row: int) -> float:
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
