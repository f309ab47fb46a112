"""The point table: the one description of a mapping between signals and addresses on a wire.

A row says which signal of which resource stands at which address, in which type, scale, unit and sign. From it come
what is read and written, what the wire does to a value (`PointTable.quantise`), and the checks against the signals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Final

import numpy as np

from vpp.kernel import quality as q
from vpp.kernel.errors import Finding
from vpp.kernel.grid_points import QUANTITIES
from vpp.kernel.setpoints import Setpoints
from vpp.kernel.settings import Settings
from vpp.kernel.signals import BoolArray, ByteArray, FloatArray, IntArray, Signals
from vpp.kernel.telemetry import Telemetry
from vpp.wire.control import Control
from vpp.wire.types import WIRE_TYPES, unit_factor

# Sheet -> its signals; "applied" is the read-back of setpoints, "points" are the network's own meters.
SHEETS: Final[Mapping[str, type[Signals] | None]] = {
    "telemetry": Telemetry,
    "setpoints": Setpoints,
    "applied": Setpoints,
    "settings": Settings,
    "control": Control,
    "points": None,
}
ACCESS: Final = ("r", "w", "rw")
QUALITY_RULES: Final = ("native", "sentinel", "none")


@dataclass(frozen=True, slots=True)
class Point:
    """One row: a signal of a resource, and the value on the wire that stands for it.

    signal value = sign · (raw · scale + offset) · (factor from ``unit`` to the signal's unit).

    Attributes:
        resource: id of the resource, or of the network's point where the sheet is "points".
        signal: name in the sheet, or a quantity of `vpp.kernel.grid_points`.
        address: in the protocol's own notation.
        sheet: telemetry, setpoints, applied, settings, control or points.
        wire: a type of `vpp.wire.types`.
        scale, offset: from the raw number to ``unit``.
        unit: on the wire; "": the signal's own.
        base: what 1 pu or 100 % is, where the units differ by more than a factor; 0: not needed.
        sign: -1 where the wire counts the other way than we do (injection is positive here).
        quality: "native": the protocol carries it; "sentinel": a raw value says not implemented; "none": only the link tells.
        deadband: change in the signal's unit below which nothing is reported.
        event_class: 1, 2 or 3, or 0 for a static value only (IEEE 1815).
        access: r, w or rw.
        low, high: band of values that may be written, in the signal's unit.
        stored: writing wears a non-volatile memory.
        min_write_s: shortest time between two writes.
    """

    resource: str
    signal: str
    address: str
    sheet: str = "telemetry"
    wire: str = "float32"
    scale: float = 1.0
    offset: float = 0.0
    unit: str = ""
    base: float = 0.0
    sign: int = 1
    quality: str = "native"
    deadband: float = 0.0
    event_class: int = 2
    access: str = "r"
    low: float = -np.inf
    high: float = np.inf
    stored: bool = False
    min_write_s: float = 0.0

    @property
    def id(self) -> str:
        """The point's name in logs and findings."""
        return f"{self.resource}.{self.signal}" if self.sheet != "applied" else f"{self.resource}.{self.signal}.applied"

    @property
    def signal_unit(self) -> str | None:
        """Unit of the signal; None where there is no such sheet or signal."""
        if self.sheet == "points":
            return QUANTITIES.get(self.signal)
        face = SHEETS.get(self.sheet)
        found = [s.unit for s in face.signals if s.name == self.signal] if face else []
        return found[0] if found else None

    def problems(self) -> Iterator[tuple[str, str, str]]:
        """What is wrong with this row alone: (key, message, value)."""
        unit = self.signal_unit
        if self.sheet not in SHEETS:
            yield "sheet", f"must be one of {', '.join(SHEETS)}", self.sheet
        elif unit is None:
            yield "signal", f"there is no such signal in {self.sheet}", self.signal
        elif unit_factor(self.unit or unit, unit, self.base) is None:
            hint = "; is there a base too many?" if self.base else "; is a base missing?"
            yield "unit", f"cannot be turned into {unit}, the unit of {self.signal}{hint}", self.unit or unit
        for key, allowed in (("wire", WIRE_TYPES), ("quality", QUALITY_RULES), ("access", ACCESS)):
            if getattr(self, key) not in allowed:
                yield key, f"must be one of {', '.join(allowed)}", str(getattr(self, key))
        if self.scale == 0.0 or not np.isfinite([self.scale, self.offset, self.base, self.deadband, self.min_write_s]).all():
            yield (
                "scale",
                "must not be 0; scale, offset, base, deadband and min_write_s must be finite",
                str(self.scale),
            )
        if self.sign not in (1, -1):
            yield "sign", "must be 1 or -1", str(self.sign)
        if min(self.base, self.deadband, self.min_write_s) < 0:
            yield "deadband", "base, deadband and min_write_s are magnitudes", ""
        if self.event_class not in (0, 1, 2, 3):
            yield "event_class", "must be 0, 1, 2 or 3", str(self.event_class)
        if not self.low <= self.high:
            yield "low", "is above high", f"{self.low:g} > {self.high:g}"
        if not self.resource or not self.address:
            yield "address", "resource and address must not be empty", self.address


KEYS: Final = {f.name: f for f in fields(Point)}


@dataclass(frozen=True, slots=True)
class _Columns:
    """The rows as arrays: value = (raw + shift) · factor, in the signal's unit."""

    factor: FloatArray
    shift: FloatArray
    low: FloatArray
    high: FloatArray
    sentinel: FloatArray
    whole: BoolArray
    single: BoolArray


@dataclass(frozen=True, slots=True)
class PointTable:
    """Points in a fixed order; a link's arrays count its rows.

    Raises ValueError where a row is wrong in itself; `check` gives every finding beforehand.
    """

    points: tuple[Point, ...]
    _columns: _Columns = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Lay the rows out as columns."""
        wrong = check(self.points)
        if wrong:
            raise ValueError("\n".join(str(f) for f in wrong))
        types = [WIRE_TYPES[p.wire] for p in self.points]
        unit = np.array([unit_factor(p.unit or str(p.signal_unit), str(p.signal_unit), p.base) or 0.0 for p in self.points])
        scale = np.array([p.scale for p in self.points])
        sentinel = np.array([t.sentinel if p.quality == "sentinel" else np.nan for p, t in zip(self.points, types)])
        low, high = np.array([t.low for t in types]), np.array([t.high for t in types])
        columns = _Columns(
            factor=scale * unit * np.array([float(p.sign) for p in self.points]),
            shift=np.array([p.offset for p in self.points]) / scale,
            low=np.where(sentinel == low, low + 1, low),
            high=np.where(sentinel == high, high - 1, high),
            sentinel=sentinel,
            whole=np.array([t.whole for t in types], np.bool_),
            single=np.array([p.wire == "float32" for p in self.points], np.bool_),
        )
        object.__setattr__(self, "_columns", columns)

    def __len__(self) -> int:
        """Number of points."""
        return len(self.points)

    @property
    def all(self) -> IntArray:
        """Every row."""
        return np.arange(len(self.points))

    @property
    def readable(self) -> IntArray:
        """Rows that can be read."""
        return np.array([i for i, p in enumerate(self.points) if "r" in p.access], np.int64)

    @property
    def writable(self) -> IntArray:
        """Rows that can be written."""
        return np.array([i for i, p in enumerate(self.points) if "w" in p.access], np.int64)

    def find(self, resource: str, signal: str, sheet: str = "telemetry") -> int:
        """Row of a signal, -1 if there is none."""
        wanted = (resource, signal, sheet)
        return next((i for i, p in enumerate(self.points) if (p.resource, p.signal, p.sheet) == wanted), -1)

    def cells(self, sheet: str, ids: Sequence[str]) -> tuple[IntArray, IntArray, IntArray]:
        """Where the points of a sheet belong in its block: (rows of the table, rows of the block, columns of the block).

        ``ids`` are the resources in the block's order; points of other resources are left out.
        """
        face = SHEETS[sheet]
        order = {id_: column for column, id_ in enumerate(ids)}
        names = {name: row for row, name in enumerate(face.names)} if face else {}
        found = [
            (i, names.get(p.signal, 0), order[p.resource])
            for i, p in enumerate(self.points)
            if p.sheet == sheet and p.resource in order
        ]
        rows = np.array(found, np.int64).reshape(-1, 3)
        return rows[:, 0], rows[:, 1], rows[:, 2]

    def encode(self, points: IntArray, values: FloatArray, quality: ByteArray | None = None) -> tuple[FloatArray, ByteArray]:
        """Turn values into raw numbers: rounded to the nearest (halves to even), held in the type's range.

        What was out of range gets the quality overflow; what is not known (NaN) the quality invalid, and the sentinel or 0.
        """
        c = self._columns
        with np.errstate(over="ignore"):
            raw = values / c.factor[points] - c.shift[points]
        if quality is None:
            quality = np.zeros(len(points), np.uint8)
        known = ~np.isnan(raw) & ((quality & q.VALIDITY_MASK) < q.INVALID)
        low, high, whole, single = c.low[points], c.high[points], c.whole[points], c.single[points]
        raw = np.where(whole, np.rint(raw), raw)
        out = known & ((raw < low) | (raw > high))
        raw = np.clip(raw, low, high)
        raw[single] = raw[single].astype(np.float32)
        sentinel = c.sentinel[points]
        raw = np.where(known, raw, np.where(np.isnan(sentinel) & whole, 0.0, sentinel))
        flags = np.where(known, quality, (quality & ~np.uint8(q.VALIDITY_MASK)) | q.INVALID) | np.where(out, q.OVERFLOW, 0)
        return raw + 0.0, flags.astype(np.uint8)

    def decode(self, points: IntArray, raw: FloatArray, quality: ByteArray | None = None) -> tuple[FloatArray, ByteArray]:
        """Turn raw numbers into values. What is invalid, a sentinel or not a number is NaN and invalid."""
        c = self._columns
        if quality is None:
            quality = np.zeros(len(points), np.uint8)
        unknown = np.isnan(raw) | (raw == c.sentinel[points]) | ((quality & q.VALIDITY_MASK) >= q.INVALID)
        with np.errstate(over="ignore"):
            values = (raw + c.shift[points]) * c.factor[points] + 0.0
        values[unknown] = np.nan
        return values, np.where(unknown, (quality & ~np.uint8(q.VALIDITY_MASK)) | q.INVALID, quality).astype(np.uint8)

    def quantise(self, points: IntArray, values: FloatArray, quality: ByteArray | None = None) -> tuple[FloatArray, ByteArray]:
        """What the other end would hold: `decode` of `encode`."""
        return self.decode(points, *self.encode(points, values, quality))

    def out_of_band(self, points: IntArray, values: FloatArray) -> BoolArray:
        """Which values may not be written: outside ``low`` … ``high``, or not a number."""
        low = np.array([self.points[i].low for i in points])
        high = np.array([self.points[i].high for i in points])
        return ~((values >= low) & (values <= high))


def check(points: Sequence[Point], ids: Sequence[str] | None = None, file: str = "", lines: Sequence[int] = ()) -> list[Finding]:
    """Everything that is wrong with rows: units, names, doubles and, where ``ids`` are given, unknown resources."""
    findings = []
    seen: dict[tuple[str, ...], int] = {}
    for i, point in enumerate(points):
        line = lines[i] if lines else 0
        wrong = list(point.problems())
        if ids is not None and point.resource not in ids:
            wrong.append(("resource", "there is no such resource", point.resource))
        # A setpoint that is only written and its read-back may share an address.
        keys: list[tuple[str, tuple[str, ...]]] = [("signal", (point.sheet, point.resource, point.signal))]
        keys += [("address", (way, point.address)) for way in point.access]
        for what, key in keys:
            first = seen.setdefault(key, i)
            if first != i:
                place = f"line {lines[first]}" if lines else f"row {first + 1}"
                wrong.append((what, f"stands already in {place}", getattr(point, what)))
        findings += [Finding(message, file, line, f"{point.id}: {key}", value) for key, message, value in wrong]
    return findings
