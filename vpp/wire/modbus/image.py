"""The register image of one device: what a master reads, and what becomes of what it writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vpp.kernel.signals import BoolArray, FloatArray, IntArray
from vpp.wire.clock import WallClock
from vpp.wire.link import Answer, Command, Mode, Status
from vpp.wire.modbus.address import Address, Codec
from vpp.wire.modbus.pdu import Code, ModbusError, Space, Words
from vpp.wire.points import PointTable

# How a refusal is told. "Rejected" has no code of its own on Modbus.
EXCEPTIONS: Mapping[Status, Code] = {
    Status.REJECTED: Code.DEVICE_FAILURE,
    Status.OUT_OF_RANGE: Code.ILLEGAL_VALUE,
    Status.UNKNOWN_POINT: Code.ILLEGAL_ADDRESS,
    Status.NOT_WRITABLE: Code.ILLEGAL_ADDRESS,
    Status.BUSY: Code.BUSY,
    Status.NOT_SUPPORTED: Code.ILLEGAL_FUNCTION,
}
Decide = Callable[[Command], Answer]


@dataclass
class Area:
    """A span of one address space of one unit; the arrays are views into the image's.

    Attributes:
        start: its first address.
        words: the values.
        mapped: what is there; a reading of anything else is exception 2.
        missing: what is there but not known, on a wire that has no word for that: a reading is exception 4.
        owner: row of the writable point that holds a value, -1: it cannot be written.
    """

    start: int
    words: Words
    mapped: BoolArray
    missing: BoolArray
    owner: IntArray

    def at(self, start: int, count: int) -> slice:
        """The places of a request. Raises `ModbusError` where something is not mapped."""
        begin = start - self.start
        where = slice(begin, begin + count)
        if begin < 0 or begin + count > len(self.words) or not self.mapped[where].all():
            raise ModbusError(Code.ILLEGAL_ADDRESS)
        return where


class TableImage:
    """The registers of every unit of a table, in one array of words."""

    def __init__(self, table: PointTable, addresses: Sequence[Address], decide: Decide, clock: WallClock) -> None:
        """Lay out the points; ``decide`` is asked about every command."""
        self.table, self.decide, self.clock = table, decide, clock
        spans: dict[tuple[int, Space], tuple[int, int]] = {}
        for a in addresses:
            begin, end = spans.get((a.unit, a.space), (a.number, a.number))
            spans[a.unit, a.space] = min(begin, a.number), max(end, a.number + a.words)
        size = sum(end - begin for begin, end in spans.values())
        self.words, self.owner = np.zeros(size, np.uint16), np.full(size, -1, np.int64)
        self.mapped, self.missing = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
        self.known = np.ones(len(table), np.bool_)
        self.units: dict[int, TableUnit] = {}
        origin: dict[tuple[int, Space], int] = {}
        at = 0
        for (unit, space), (begin, end) in sorted(spans.items()):
            w = slice(at, at + end - begin)
            area = Area(begin, self.words[w], self.mapped[w], self.missing[w], self.owner[w])
            self.units.setdefault(unit, TableUnit(self)).areas[space] = area
            origin[unit, space] = at - begin
            at = w.stop
        first = np.array([origin[a.unit, a.space] + a.number for a in addresses], np.int64)
        self.span = [slice(int(f), int(f) + a.words) for f, a in zip(first, addresses)]
        self.codec = Codec(table, addresses, table.all, first)
        for row, where in enumerate(self.span):
            self.mapped[where] = True
            if "w" in table.points[row].access:
                self.owner[where] = row

    def put(self, rows: IntArray, raw: FloatArray, known: BoolArray) -> None:
        """Put raw numbers in; what is not known, and has no raw value that says so, is answered by exception 4."""
        self.codec.put(rows, raw, self.words)
        for row in rows[known != self.known[rows]]:
            self.missing[self.span[row]] = self.known[row]
        self.known[rows] = known


class TableUnit:
    """A unit whose registers are points of a table."""

    def __init__(self, image: TableImage) -> None:
        """Stand in an image; the areas are given afterwards."""
        self.image = image
        self.areas: dict[Space, Area] = {}

    def read(self, space: Space, start: int, count: int) -> Words:
        """Give registers or bits."""
        area = self._area(space)
        where = area.at(start, count)
        if area.missing[where].any():
            raise ModbusError(Code.DEVICE_FAILURE)
        return area.words[where]

    def write(self, space: Space, start: int, values: Words, peer: str) -> None:
        """Take a command if the band, the table and the handler agree; then it stands in the image."""
        area, image = self._area(space), self.image
        where = area.at(start, len(values))
        rows = np.unique(area.owner[where])
        if rows[0] < 0:
            raise ModbusError(Code.ILLEGAL_ADDRESS)
        before = area.words[where].copy()
        area.words[where] = values
        wanted, _ = image.table.decode(rows, image.codec.raw(image.words, rows))
        code: int = 0
        if image.table.out_of_band(rows, wanted).any():
            code = Code.ILLEGAL_VALUE
        else:
            answer = image.decide(Command(rows, wanted, Mode.DIRECT, False, peer, image.clock()))
            if answer.status != Status.ACCEPTED:
                code = EXCEPTIONS.get(answer.status, Code.DEVICE_FAILURE)
        if code:
            area.words[where] = before
            raise ModbusError(code)
        area.missing[where] = False
        image.known[rows] = True

    def _area(self, space: Space) -> Area:
        area = self.areas.get(space)
        if area is None:
            raise ModbusError(Code.ILLEGAL_ADDRESS)
        return area
