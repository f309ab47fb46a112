"""The plain table: every signal of a fleet as it stands here, one device behind the other, for a wire without a standard.

It is what the emulator serves on bare Modbus, and what decision parity is measured with: every signal passes, so that
nothing but the wire lies between a run in process and one over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vpp.kernel.fleet import Fleet
from vpp.kernel.grid_points import PointLayout
from vpp.kernel.setpoints import Setpoints
from vpp.kernel.telemetry import Telemetry
from vpp.wire.points import Point, PointTable
from vpp.wire.types import WIRE_TYPES

STRIDE: Final = 64  # registers a device
PER_UNIT: Final = 1000
METER_UNIT: Final = 247
BIG: Final = 1e4  # MW or Mvar: more than any resource has; stands for "no limit"

# Signal -> (wire type, scale) where values go as integers; the steps are finer than any meter.
INTEGERS: Final = {
    "p_mw": ("int32", 1e-5), "q_mvar": ("int32", 1e-5), "p_limit_mw": ("int32", 1e-5), "p_avail_min_mw": ("int32", 1e-5),
    "p_avail_max_mw": ("int32", 1e-5), "e_need_mwh": ("int32", 1e-5), "vm_pu": ("uint16", 1e-4), "v_ref_pu": ("uint16", 1e-4),
    "f_hz": ("uint16", 1e-3), "f_ref_hz": ("uint16", 1e-3), "soc": ("uint16", 1e-4), "t_depart_s": ("uint32", 1.0),
    "mode": ("int16", 1.0), "q_mode": ("int16", 1.0), "connect": ("int16", 1.0), "step": ("int16", 1.0),
    "valid_until_ns": ("float64", 1.0), "loading": ("uint16", 1e-4),
}  # fmt: skip


def plain_table(fleet: Fleet, layout: PointLayout, wire: str = "float32", only: Sequence[str] | None = None) -> PointTable:
    """The table of a fleet and its meters on Modbus.

    Args:
        fleet: the resources.
        layout: the network's meters.
        wire: "float32", "float64", or "integer" for scaled integers with their "not implemented".
        only: resources that are served; None: all. The places of the others stay free.
    """
    points = []
    wanted = frozenset(only or ())
    for i, name in enumerate(fleet.id):
        if only is not None and name not in wanted:
            continue
        unit, first = 1 + i // PER_UNIT, (i % PER_UNIT) * STRIDE
        read, write = first, first
        for sheet, face in (("telemetry", Telemetry), ("applied", Setpoints)):
            for signal in face.signals:
                point = _point(name, signal.name, sheet, f"{unit}:input:{read}", wire)
                points.append(point)
                read += _words(point)
        for signal in Setpoints.signals:
            point = _point(name, signal.name, "setpoints", f"{unit}:holding:{write}", wire)
            points.append(point)
            write += _words(point)
    number = 0
    for name, quantity in zip(layout.id, layout.quantity):
        point = _point(name, quantity, "points", f"{METER_UNIT}:input:{number}", wire)
        points.append(point)
        number += _words(point)
    return PointTable(tuple(points))


def _point(name: str, signal: str, sheet: str, address: str, wire: str) -> Point:
    if signal == "valid_until_ns":
        type_, scale = "float64", 1.0  # nanoseconds since 1970 fit into nothing smaller
    else:
        type_, scale = INTEGERS[signal] if wire == "integer" else (wire, 1.0)
    rule = "sentinel" if type_.startswith(("int", "uint")) else "none"
    band = (-BIG, BIG) if sheet == "setpoints" and signal in ("p_mw", "q_mvar", "p_limit_mw") else (-float("inf"), float("inf"))
    access = "w" if sheet == "setpoints" else "r"
    return Point(name, signal, address, sheet, type_, scale, quality=rule, access=access, low=band[0], high=band[1])


def _words(point: Point) -> int:
    return WIRE_TYPES[point.wire].bits // 16
