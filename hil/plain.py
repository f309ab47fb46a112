"""The plain table: every signal of a fleet as it stands here, one device behind the other, for a wire without a standard.

It is what the emulator serves where no device map is named, and what decision parity is measured with: every signal passes, so
that nothing but the wire lies between a run in process and one over it. Only the moment at which a setpoint ends goes by Modbus
alone: no 32-bit number holds it, and the others' leases are lengths of time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from hil.devicemap import DeviceMap
from vpp.kernel.fleet import Fleet
from vpp.kernel.grid_points import PointLayout
from vpp.kernel.setpoints import Setpoints
from vpp.kernel.signals import Signals
from vpp.kernel.telemetry import Telemetry
from vpp.wire.points import Point, PointTable
from vpp.wire.types import WIRE_TYPES

NAME: Final = "plain"
STRIDE: Final = 128  # Modbus: registers a device
PER_UNIT: Final = 500
OBJECTS: Final = 64  # IEC 104: objects a device
PER_STATION: Final = 1000
METER_UNIT: Final = 247
METER_STATION: Final = 65000
INPUTS: Final = 20  # DNP3: analogue inputs a device
BIG: Final = 1e4  # MW or Mvar: more than any resource has; stands for "no limit"
ENDS: Final = "valid_until_ns"
FIRST: Final = re.compile(r"^([A-Z]*)1(?=[:/])")  # where the first device's number stands in an address
SHEETS: Final[dict[str, type[Signals]]] = {"telemetry": Telemetry, "applied": Setpoints, "setpoints": Setpoints}

# Signal -> (wire type, scale) where values go as integers; the steps are finer than any meter.
INTEGERS: Final = {
    "p_mw": ("int32", 1e-5), "q_mvar": ("int32", 1e-5), "p_limit_mw": ("int32", 1e-5), "p_avail_min_mw": ("int32", 1e-5),
    "p_avail_max_mw": ("int32", 1e-5), "e_need_mwh": ("int32", 1e-5), "vm_pu": ("uint16", 1e-4), "v_ref_pu": ("uint16", 1e-4),
    "f_hz": ("uint16", 1e-3), "f_ref_hz": ("uint16", 1e-3), "soc": ("uint16", 1e-4), "t_depart_s": ("uint32", 1.0),
    "mode": ("int16", 1.0), "q_mode": ("int16", 1.0), "connect": ("int16", 1.0), "step": ("int16", 1.0),
    "loading": ("uint16", 1e-4),
}  # fmt: skip
Rows = Iterator[Point]


@dataclass(frozen=True, slots=True)
class Plain:
    """How the plain table lies on a protocol.

    Attributes:
        kind: how values go where nothing else is asked for: "float32", "float64", or "integer".
        device: (resource, its number in the fleet, kind) -> its points.
        meter: (name, quantity, its number, resources in the fleet, kind) -> its point.
    """

    kind: str
    device: Callable[[str, int, str], Rows]
    meter: Callable[[str, str, int, int, str], Point]


def plain_table(
    fleet: Fleet, layout: PointLayout, wire: str = "", only: Sequence[str] | None = None, protocol: str = "modbus"
) -> PointTable:
    """The table of a fleet and its meters.

    Args:
        fleet: the resources.
        layout: the network's meters.
        wire: "float32", "float64", or "integer" for scaled integers; "": as is usual on the protocol.
        only: resources that are served; None: all. The places of the others stay free.
        protocol: a key of `PLAIN`.
    """
    lies = PLAIN[protocol]
    kind = wire or lies.kind
    points: list[Point] = []
    wanted = frozenset(only or ())
    for i, name in enumerate(fleet.id):
        if only is None or name in wanted:
            points += lies.device(name, i, kind)
    number = 0
    for name, quantity in zip(layout.id, layout.quantity):
        point = lies.meter(name, quantity, number, fleet.n, kind)
        points.append(point)
        number += _words(point) if protocol == "modbus" else 1
    return PointTable(tuple(points))


def plain_map(protocol: str, wire: str = "") -> DeviceMap:
    """The plain table of one device as a device map: what stands at each unit, station or outstation."""
    rows = []
    for point in PLAIN[protocol].device("device", 0, wire or PLAIN[protocol].kind):
        row: dict[str, object] = {"sheet": point.sheet, "signal": point.signal, "wire": point.wire, "scale": point.scale}
        row |= {"quality": point.quality, "access": point.access, "low": point.low, "high": point.high}
        row["address"] = FIRST.sub(r"\g<1>{unit}", point.address)
        rows.append(row)
    return DeviceMap(NAME, "Every signal as it stands in the fleet.", protocol, (), "none", 0.0, tuple(rows))


def _modbus(name: str, i: int, kind: str) -> Rows:
    unit, read = 1 + i // PER_UNIT, (i % PER_UNIT) * STRIDE
    write = read
    for sheet, face in SHEETS.items():
        space = "holding" if sheet == "setpoints" else "input"
        for signal in face.signals:
            at = write if sheet == "setpoints" else read
            point = _point(name, signal.name, sheet, f"{unit}:{space}:{at}", kind)
            write += _words(point) if sheet == "setpoints" else 0
            read += 0 if sheet == "setpoints" else _words(point)
            yield point


def _dnp3(name: str, i: int, kind: str) -> Rows:
    read = write = i * INPUTS
    for sheet, face in SHEETS.items():
        for signal in face.signals:
            if signal.name == ENDS:
                continue
            if sheet == "setpoints":
                yield _native(name, signal.name, sheet, f"AO:{write}", kind)
                write += 1
            else:
                yield _native(name, signal.name, sheet, f"AI:{read}", kind)
                read += 1


def _iec104(name: str, i: int, kind: str) -> Rows:
    station, number = 1 + i // PER_STATION, 1 + (i % PER_STATION) * OBJECTS
    for sheet, face in SHEETS.items():
        for signal in face.signals:
            if signal.name != ENDS:
                yield _native(name, signal.name, sheet, f"{station}:{number}", kind)
                number += 1


def _point(name: str, signal: str, sheet: str, address: str, kind: str, quality: str = "") -> Point:
    """A point; ``quality`` "": a sentinel where there is one."""
    if signal == ENDS:
        type_, scale = "float64", 1.0  # nanoseconds since 1970 fit into nothing smaller
    else:
        type_, scale = INTEGERS[signal] if kind == "integer" else (kind, 1.0)
    rule = quality or ("sentinel" if type_.startswith(("int", "uint")) else "none")
    if quality and kind == "integer":
        type_ = "int32"  # these wires know no other
    band = (-BIG, BIG) if sheet == "setpoints" and signal in ("p_mw", "q_mvar", "p_limit_mw") else (-float("inf"), float("inf"))
    access = "w" if sheet == "setpoints" else "r"
    return Point(name, signal, address, sheet, type_, scale, quality=rule, access=access, low=band[0], high=band[1])


def _native(name: str, signal: str, sheet: str, address: str, kind: str) -> Point:
    """A point on a wire that carries quality itself."""
    return _point(name, signal, sheet, address, kind, "native")


def _words(point: Point) -> int:
    return WIRE_TYPES[point.wire].bits // 16


def _iec61850(name: str, i: int, kind: str) -> Rows:
    """Generic inputs and outputs (IEC 61850-7-4, GGIO), a logical device for each."""
    read = write = 1
    for sheet, face in SHEETS.items():
        for signal in face.signals:
            if signal.name == ENDS:
                continue
            if sheet == "setpoints":
                yield _native(name, signal.name, sheet, f"DER{i + 1}/GGIO1.AnOut{write}.Oper.ctlVal.f[CO]", kind)
                write += 1
            else:
                yield _native(name, signal.name, sheet, f"DER{i + 1}/GGIO1.AnIn{read}.mag.f[MX]", kind)
                read += 1


PLAIN: Final[dict[str, Plain]] = {
    "modbus": Plain("float32", _modbus, lambda name, of, k, n, kind: _point(name, of, "points", f"{METER_UNIT}:input:{k}", kind)),
    "dnp3": Plain("integer", _dnp3, lambda name, of, k, n, kind: _native(name, of, "points", f"AI:{n * INPUTS + k}", kind)),
    "iec104": Plain(
        "float32", _iec104, lambda name, of, k, n, kind: _native(name, of, "points", f"{METER_STATION}:{1 + k}", kind)
    ),
    "iec61850": Plain(
        "float32", _iec61850, lambda name, of, k, n, kind: _native(name, of, "points", f"GRID/GGIO1.AnIn{1 + k}.mag.f[MX]", kind)
    ),
}
