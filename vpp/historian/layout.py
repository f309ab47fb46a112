"""What a run records, and where each value lies: in a row of the tail and in the chunks of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from vpp.kernel.signals import Signal

MANIFEST: Final = "manifest.json"
RECORD: Final = "record.json"
FORMAT: Final = 1
BLOCK_BYTES: Final = 64 << 20
BLOCK_STEPS: Final = (96, 672)  # at least a day, at most a week of quarter-hours
CHUNK_BYTES: Final = 4 << 20  # before compression: one device is read cheaply, and a store has few files
INT32_FILL: Final = -(2**31)
BYTE_FILL: Final = 255
SHORT_FILL: Final = -1
FILLS: Final[Mapping[str, float]] = {"<f8": np.nan, "<i4": INT32_FILL, "<i2": SHORT_FILL, "|u1": BYTE_FILL}
UNKNOWN: Final = "unknown"


@dataclass(frozen=True)
class Series:
    """One recorded signal of one group.

    Attributes:
        group: "resources", "buses", "branches", "system" or any other; one node of the tree.
        name: for example "asked_p_mw".
        unit: physical unit; "1" for a plain number.
        meaning: what it is and, where it has one, its sign.
        resolution: values are kept to the nearest multiple as int32; 0 keeps float64, every bit.
        flags: names of the values 0, 1, 2, … of a code, which is then kept as one byte (two above 250 names).
    """

    group: str
    name: str
    unit: str
    meaning: str
    resolution: float = 0.0
    flags: tuple[str, ...] = ()

    @classmethod
    def of(cls, group: str, name: str, signal: Signal) -> Self:
        """Take unit, meaning, resolution and flags from the signal's one line of code."""
        return cls(group, name, signal.unit, signal.meaning, signal.resolution, signal.flags)

    @property
    def dtype(self) -> str:
        """How a value is stored."""
        if self.flags:
            return "|u1" if len(self.flags) <= 250 else "<i2"
        return "<i4" if self.resolution > 0 else "<f8"

    @property
    def factor(self) -> float:
        """The number that the storing kernel needs: values per resolution, or the count of flags."""
        return float(len(self.flags)) if self.flags else 1.0 / self.resolution if self.resolution > 0 else 0.0

    def attributes(self) -> dict[str, Any]:
        """CF attributes of the stored array."""
        attributes: dict[str, Any] = {"long_name": self.meaning, "units": self.unit}
        if self.flags:
            attributes["flag_values"] = [*range(len(self.flags)), int(FILLS[self.dtype])]
            # CF separates the meanings by blanks, so a name must not hold one.
            attributes["flag_meanings"] = " ".join("_".join(f.split()) or "_" for f in (*self.flags, UNKNOWN))
        elif self.resolution > 0:
            attributes["scale_factor"] = float(self.resolution)
            attributes["_FillValue"] = INT32_FILL
        return attributes


@dataclass(frozen=True)
class Axis:
    """The columns of a group: their ids and what else is known of each.

    Attributes:
        group: the group whose series have these columns.
        dim: name of the dimension, for example "resource".
        ids: one a column.
        coordinates: further arrays of the same length, for example kind, node, vn_kv, x, y.
    """

    group: str
    dim: str
    ids: tuple[str, ...]
    coordinates: dict[str, npt.NDArray[Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Slot:
    """Where a series lies: ``n`` items from ``start`` on in a row seen as items of ``dtype``.

    ``dim`` is empty for a series of one value a step (a group without an axis); ``width`` is the
    number of columns in a chunk.
    """

    group: str
    name: str
    dtype: str
    start: int
    n: int
    dim: str
    width: int

    @property
    def path(self) -> str:
        """The array's path in the store."""
        return f"{self.group}/{self.name}"

    @property
    def chunks(self) -> int:
        """Number of chunks side by side."""
        return -(-self.n // self.width)

    def chunk_name(self, block: int, column: int) -> str:
        """File name of a chunk in the array's directory."""
        return f"c.{block}.{column}" if self.dim else f"c.{block}"


@dataclass(frozen=True)
class Layout:
    """The plan of a run's data, kept in ``record.json`` and never changed during the run."""

    steps: int
    block_steps: int
    row_bytes: int
    slots: tuple[Slot, ...]
    axes: dict[str, tuple[str, tuple[str, ...]]]  # group -> (dim, names of the further coordinates)

    @classmethod
    def plan(cls, axes: Sequence[Axis], series: Sequence[Series], steps: int, block_steps: int | None) -> Self:
        """Give every series its place in a row: widest items first, so that each is aligned."""
        columns = {a.group: a for a in axes}
        offset, starts = 0, {}
        for dtype in FILLS:
            item = np.dtype(dtype).itemsize
            for i, s in enumerate(series):
                if s.dtype == dtype:
                    starts[i] = offset // item
                    offset += item * (len(columns[s.group].ids) if s.group in columns else 1)
        row_bytes = max(8, -(-offset // 8) * 8)
        low, high = BLOCK_STEPS
        block = min(steps, block_steps or min(high, max(low, BLOCK_BYTES // row_bytes)))
        slots = tuple(_slot(s, columns.get(s.group), starts[i], block) for i, s in enumerate(series))
        return cls(steps, block, row_bytes, slots, {a.group: (a.dim, tuple(a.coordinates)) for a in axes})

    def to_dict(self) -> dict[str, Any]:
        """As written to ``record.json``."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read back; raises KeyError, TypeError or ValueError."""
        if data["format"] != FORMAT:
            raise ValueError(f"is of format {data['format']}, this version reads format {FORMAT}")
        axes = {group: (dim, tuple(names)) for group, (dim, names) in data["axes"].items()}
        slots = tuple(Slot(**slot) for slot in data["slots"])
        return cls(int(data["steps"]), int(data["block_steps"]), int(data["row_bytes"]), slots, axes)


def _slot(series: Series, axis: Axis | None, start: int, block: int) -> Slot:
    """Chunks hold as many columns as fit, shared out evenly."""
    n, dim = (len(axis.ids), axis.dim) if axis else (1, "")
    most = max(1, CHUNK_BYTES // (block * np.dtype(series.dtype).itemsize))
    chunks = max(1, -(-n // most))
    return Slot(series.group, series.name, series.dtype, start, n, dim, max(1, -(-n // chunks)))


def check(axes: Sequence[Axis], series: Sequence[Series], time_ns: npt.NDArray[np.int64]) -> None:
    """Refuse a plan that cannot be recorded: a mistake of the caller, hence ValueError."""
    if time_ns.ndim != 1 or time_ns.size == 0 or time_ns.dtype != np.int64 or np.any(np.diff(time_ns) <= 0):
        raise ValueError("time_ns must be a rising 1-D int64 array with at least one step")
    names = [f"{s.group}/{s.name}" for s in series]
    for axis in axes:
        names += [f"{axis.group}/{name}" for name in (axis.dim, *axis.coordinates)]
        if len(set(axis.ids)) != len(axis.ids):
            raise ValueError(f"axis {axis.dim!r} of group {axis.group!r} has an id twice")
        for name, values in axis.coordinates.items():
            if np.shape(values) != (len(axis.ids),):
                raise ValueError(f"coordinate {axis.group}/{name} has shape {np.shape(values)}, not ({len(axis.ids)},)")
    twice = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
    if twice or len({a.group for a in axes}) < len(axes):
        raise ValueError(f"declared twice: {', '.join(twice) or 'the axis of a group'}")
