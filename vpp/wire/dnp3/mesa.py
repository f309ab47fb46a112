"""MESA-DER: the standard points of DNP3 AN2018-001, and a point table for one DER made of them.

Indices, names, ranges and event classes come from the table beside this file (EPRI; its notice stands at the head). Units and
scales are not in it: where a range tells them (0 … 1000 is a tenth of a per cent, 0 … 70000 a millihertz) they are fixed here,
and where it does not they are arguments.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from vpp.wire.dnp3.address import Address, Kind
from vpp.wire.points import Point, PointTable

More = Mapping[str, float | str]  # further keys of a `Point`
FILE: Final = Path(__file__).with_name("an2018_points.csv")


@dataclass(frozen=True, slots=True)
class Standard:
    """A point of the application note.

    Attributes:
        name: as tabulated.
        low, high: range of raw values; infinite where none is given.
        event_class: 1, 2 or 3.
        read_back: index of the input that shows what this output holds, -1 where there is none.
    """

    name: str
    low: float
    high: float
    event_class: int
    read_back: int


@cache
def standard_points() -> Mapping[Address, Standard]:
    """Every point of the application note."""
    lines = [line for line in FILE.read_text("utf-8").splitlines() if not line.startswith("#")]
    return {(Kind[row["type"]], int(row["index"])): _standard(row) for row in csv.DictReader(lines)}


def _standard(row: Mapping[str, str]) -> Standard:
    low, high = float(row["raw_min"] or -np.inf), float(row["raw_max"] or np.inf)
    return Standard(row["name"], low, high, int(row["event_class"] or 2), int(row["mapped_input_index"] or -1))


def mesa_der(
    resource: str, *, p_max_mw: float, q_max_mvar: float, v_base_v: float, w_per_count: float = 1.0, v_per_count: float = 0.1,
    storage: bool = False,
) -> PointTable:  # fmt: skip
    """The point table of one MESA-DER device: measurements, setpoints and their read-back.

    The modes that let a setpoint act are enabled by binary outputs, which a map names beside the table: 17 (limit), 18
    (charge and discharge), 27 (constant vars).

    Args:
        resource: id.
        p_max_mw: what 100 % of active power is.
        q_max_mvar: what 100 % of reactive power is.
        v_base_v: what 1 pu of the average line-to-line voltage is.
        w_per_count: scale of the meter's powers, W and var a count.
        v_per_count: scale of its voltages.
        storage: the device has a state of charge.
    """
    share: More = {"unit": "%", "scale": 0.1}
    p: More = {"base": p_max_mw, **share}
    q: More = {"base": q_max_mvar, **share}
    rows: list[tuple[str, str, str, More]] = [
        ("telemetry", "p_mw", "AI:537", {"unit": "W", "scale": w_per_count}),
        ("telemetry", "q_mvar", "AI:541", {"unit": "var", "scale": w_per_count}),
        ("telemetry", "vm_pu", "AI:553", {"unit": "V", "scale": v_per_count, "base": v_base_v}),
        ("telemetry", "f_hz", "AI:536", {"unit": "mHz"}),
        ("setpoints", "p_mw", "AO:93", p),
        ("applied", "p_mw", "AI:154", p),
        ("setpoints", "p_limit_mw", "AO:88", p),
        ("applied", "p_limit_mw", "AI:149", p),
        ("setpoints", "q_mvar", "AO:203", q),
        ("applied", "q_mvar", "AI:281", q),
        ("setpoints", "connect", "BO:3", {}),
        ("applied", "connect", "BI:16", {}),
    ]
    if storage:
        rows.insert(4, ("telemetry", "soc", "AI:47", share))
    return PointTable(tuple(_point(resource, *row) for row in rows))


def _point(resource: str, sheet: str, signal: str, address: str, more: More) -> Point:
    kind, _, index = address.partition(":")
    facts = standard_points()[Kind[kind], int(index)]
    wire = "bool" if kind.startswith("B") else "int32"
    access = "w" if sheet == "setpoints" else "r"
    point = replace(
        Point(resource, signal, address, sheet, wire=wire, access=access, event_class=facts.event_class),
        **more,  # type: ignore[arg-type]
    )
    if access == "r" or wire == "bool" or not np.isfinite([facts.low, facts.high]).all():
        return point
    ends, _ = PointTable((point,)).decode(np.zeros(2, np.int64), np.array([facts.low, facts.high]))
    return replace(point, low=float(ends.min()), high=float(ends.max()))
