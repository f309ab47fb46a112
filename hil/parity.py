"""The other side of decision parity: a plant in process whose values pass the point table's quantiser and no wire at all.

It shares nothing with links, sessions and servers but the table, so that what the two agree on is the wire's doing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from hil.emulator import Stepped
from hil.links import Carried
from vpp.kernel import quality as q
from vpp.kernel.fleet import Fleet
from vpp.kernel.grid_points import GridPoints
from vpp.kernel.seen import Observation
from vpp.kernel.setpoints import Asked, Setpoints
from vpp.kernel.signals import BoolArray, ByteArray, FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry
from vpp.wire.points import PointTable


@dataclass
class Quantised:
    """A `Plant` around a stepped one: what is read and written has the table's steps, ranges and quality.

    A value's time is the tick that reads it. What cannot be written is not, and what was written before holds on.

    Attributes:
        plant: the true one.
        table: rows for every resource.
        carried: what the protocol makes of a quality; None: it carries none.
    """

    plant: Stepped
    table: PointTable
    carried: Carried | None = None
    _given: Setpoints = field(init=False)
    _cells: dict[str, tuple[IntArray, IntArray, IntArray]] = field(init=False)
    _native: BoolArray = field(init=False)
    _high: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        """Find the cells once."""
        ids = self.fleet.id
        self._cells = {sheet: self.table.cells(sheet, ids) for sheet in ("telemetry", "applied", "setpoints")}
        self._native = np.array([p.quality == "native" for p in self.table.points], np.bool_)
        self._given = Setpoints.neutral(self.fleet.n)
        self._high = np.array([p.high for p in self.table.points])

    @property
    def fleet(self) -> Fleet:
        """The resources."""
        return self.plant.fleet

    def read(self, now_ns: int) -> Observation:
        """What is measured, as it would arrive."""
        seen = self.plant.read(now_ns)
        told = seen.telemetry
        rows, signals, columns = self._cells["telemetry"]
        out = Telemetry(np.full_like(told.block, np.nan), np.full_like(told.quality, q.INVALID), np.zeros_like(told.time_ns))
        value, quality = self._pass(rows, told.block[signals, columns], told.quality[signals, columns])
        out.block[signals, columns], out.quality[signals, columns] = value, quality
        out.time_ns[signals, columns] = now_ns
        rows, signals, columns = self._cells["applied"]
        applied = Setpoints.neutral(self.fleet.n)
        good = np.zeros(len(rows), np.uint8)
        applied.block[signals, columns] = self._pass(rows, seen.applied.block[signals, columns], good)[0]
        return Observation(out, self._meters(now_ns, seen.points), applied)

    def write(self, now_ns: int, asked: Asked) -> None:
        """What is asked, as it would arrive."""
        rows, signals, columns = self._cells["setpoints"]
        values = asked.setpoints.block[signals, columns]
        values = np.where(np.isposinf(values) & np.isfinite(self._high[rows]), self._high[rows], values)
        raw, quality = self.table.encode(rows, values)
        goes = ~self.table.out_of_band(rows, values) & (quality == q.GOOD)
        self._given.block[signals[goes], columns[goes]] = self.table.decode(rows, raw)[0][goes]
        self.plant.write(now_ns, Asked(asked.time_ns, self._given.copy(), asked.cause_p, asked.cause_q))

    def _meters(self, now_ns: int, points: GridPoints) -> GridPoints:
        m = len(points.layout.id)
        rows, _, meters = self.table.cells("points", points.layout.id)
        value, quality, source = np.full(m, np.nan), np.full(m, q.INVALID, np.uint8), np.zeros(m, np.int64)
        value[meters], quality[meters] = self._pass(rows, points.value[meters], points.quality[meters])
        source[meters] = now_ns
        return GridPoints(points.layout, value, quality, source)

    def _pass(self, rows: IntArray, values: FloatArray, quality: ByteArray) -> tuple[FloatArray, ByteArray]:
        """Through the quantiser; quality only as far as the protocol has a place for it."""
        raw, flags = self.table.encode(rows, values, quality)
        flags = np.zeros_like(flags) if self.carried is None else self.carried(self.table, rows, flags)
        return self.table.decode(rows, raw, np.where(self._native[rows], flags, 0).astype(np.uint8))
