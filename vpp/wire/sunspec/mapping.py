"""From a discovered device to a point table: which of its registers are our signals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from vpp.wire.points import Point, PointTable
from vpp.wire.sunspec.discover import Discovered
from vpp.wire.sunspec.layout import Register
from vpp.wire.sunspec.models import TYPES

# (sheet, signal) -> registers that may tell, the best first, with the unit on the wire.
READS: Final[Mapping[tuple[str, str], tuple[tuple[str, str], ...]]] = {
    ("telemetry", "p_mw"): (("701.W", "W"), ("103.W", "W")),
    ("telemetry", "q_mvar"): (("701.Var", "var"), ("103.VAr", "var")),
    ("telemetry", "vm_pu"): (("701.LNV", "V"), ("103.PhVphA", "V")),
    ("telemetry", "f_hz"): (("701.Hz", "Hz"), ("103.Hz", "Hz")),
    ("telemetry", "soc"): (("713.SoC", "%"), ("802.SoC", "%"), ("124.ChaState", "%")),
    ("telemetry", "p_avail_max_mw"): (("122.WAval", "W"),),
}
SETPOINTS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "p_mw": (("704.WSet", "W"),),
    "p_limit_mw": (("704.WMaxLimPct", "%"), ("123.WMaxLimPct", "%")),
    "q_mvar": (("704.VarSet", "var"), ("123.VArWMaxPct", "%")),
    "mode": (("704.WSetEna", "1"), ("123.WMaxLim_Ena", "1")),
    "q_mode": (("704.VarSetEna", "1"), ("123.VArPct_Ena", "1")),
    "connect": (("703.ES", "1"), ("123.Conn", "1")),
    "valid_until_ns": (("704.WMaxLimPctRvrtTms", "s"), ("123.WMaxLimPct_RvrtTms", "s")),
}
# What tells whether a setpoint is in force.
ENABLES: Final = ("704.WSetEna", "704.WMaxLimPctEna", "704.VarSetEna", "123.WMaxLim_Ena", "123.VArPct_Ena")


def w_max_mw(found: Discovered) -> float:
    """What 100 % of active power is."""
    return _first(found, "702.WMax", "702.WMaxRtg", "121.WMax", "120.WRtg") * 1e-6


def points(found: Discovered, resource: str) -> PointTable:
    """The device's measurements, its setpoints, those as they are held ("applied"), and the switches behind them."""
    rows = [_point(found, resource, sheet, signal, options) for (sheet, signal), options in READS.items()]
    for signal, options in SETPOINTS.items():
        setpoint = _point(found, resource, "setpoints", signal, options)
        if setpoint is not None:
            rows.append(replace(setpoint, access="w"))
            if signal != "valid_until_ns":
                rows.append(replace(setpoint, sheet="applied"))
    taken = {row.address for row in rows if row is not None and "r" in row.access}
    rows += [point for point in enables(found, resource).values() if point.address not in taken]
    return PointTable(tuple(row for row in rows if row is not None))


def enables(found: Discovered, resource: str) -> dict[str, Point]:
    """The registers behind `ENABLES` that are there, as points of a helper resource each."""
    return {
        path: Point(f"{resource}#{path}", "connect", _address(found, found.layout.find(path)), "applied", "uint16")
        for path in ENABLES
        if path in found.layout
    }


def _point(found: Discovered, resource: str, sheet: str, signal: str, options: tuple[tuple[str, str], ...]) -> Point | None:
    for path, unit in options:
        # A measurement that is not implemented comes from the next model; a setpoint only needs to be there.
        if path not in found.layout or (sheet == "telemetry" and np.isnan(found.value(path))):
            continue
        register = found.layout.find(path)
        return Point(
            resource=resource,
            signal=signal,
            address=_address(found, register),
            sheet=sheet,
            wire=TYPES[register.point.type][1],
            scale=float(found.image.scale(register)[0]),
            unit=unit,
            base=_base(found, signal, unit),
            quality="sentinel",
        )
    return None


def _base(found: Discovered, signal: str, unit: str) -> float:
    """What 1 pu or 100 % is."""
    if signal == "vm_pu":
        return _first(found, "702.VNom", "702.VNomRtg", "121.VRef") or 1.0
    return w_max_mw(found) if unit == "%" and signal.endswith(("_mw", "_mvar")) else 0.0


def _first(found: Discovered, *paths: str) -> float:
    known = (found.value(path) for path in paths)
    return next((value for value in known if value > 0), 0.0)


def _address(found: Discovered, register: Register) -> str:
    return f"{found.unit}:holding:{found.layout.base + register.at}"
