"""Addresses of a point table on Modbus, and the registers that each point takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vpp.kernel.errors import Finding, PointError
from vpp.kernel.signals import FloatArray, IntArray
from vpp.wire.modbus.pdu import Space
from vpp.wire.points import Point, PointTable
from vpp.wire.types import WIRE_TYPES

# Wire type -> as it lies in its registers, the high byte first.
LAYOUTS: Final = {
    "int16": ">i2", "uint16": ">u2", "int32": ">i4", "uint32": ">u4", "int64": ">i8", "uint64": ">u8",
    "float32": ">f4", "float64": ">f8",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Address:
    """Where a point stands.

    Attributes:
        unit: identifier 0 … 255.
        space: one of the four.
        number: the first register or bit, from 0.
        words: registers that it takes (a bit: 1).
        swap: the low word comes first.
    """

    unit: int
    space: Space
    number: int
    words: int
    swap: bool = False


def parse(point: Point) -> Address:
    """The address of a point. Raises `PointError`."""
    parts = point.address.split(":")
    swap = parts[3:] == ["swap"]
    try:
        unit, number = int(parts[0]), int(parts[2])
        space = Space[parts[1].upper()]
    except (ValueError, KeyError, IndexError):
        raise PointError(point.id, f"{point.address!r} is not unit:space:number") from None
    if space.bits != (point.wire == "bool") or (not space.bits and point.wire not in LAYOUTS):
        raise PointError(point.id, f"a {point.wire} does not stand in a {space.name.lower()} space")
    words = 1 if space.bits else WIRE_TYPES[point.wire].bits // 16
    if len(parts) > 3 and (not swap or words == 1):
        raise PointError(point.id, f"{point.address!r}: only swap, for values of several registers, may follow the number")
    if not (0 <= unit <= 255 and number >= 0 and number + words <= 0x10000):
        raise PointError(point.id, f"{point.address!r}: the unit is 0 … 255, the number 0 … 65535")
    if "w" in point.access and space in (Space.DISCRETE, Space.INPUT):
        raise PointError(point.id, f"a {space.name.lower()} cannot be written")
    return Address(unit, space, number, words, swap)


def check_addresses(points: Sequence[Point]) -> list[Finding]:
    """Every point whose address cannot be used."""
    findings = []
    for point in points:
        try:
            parse(point)
        except PointError as error:
            findings.append(Finding(error.reason, path=point.id))
    return findings


@dataclass(frozen=True, slots=True)
class _Lane:
    """Points of one wire type and word order."""

    layout: str
    order: IntArray  # places of the words, the high one first, from the point's first


class Codec:
    """Turns words into raw numbers and back, a whole type at a time.

    ``first`` says where each point's words begin in one array of words.
    """

    def __init__(self, table: PointTable, addresses: Sequence[Address], points: IntArray, first: IntArray) -> None:
        """Sort the points by type."""
        kinds: dict[tuple[str, bool], int] = {}
        self.first = first
        self.lane = np.array([kinds.setdefault(_kind(table.points[row], addresses[row]), len(kinds)) for row in points], np.int64)
        self.lanes = [_Lane(layout, _order(layout, swap)) for layout, swap in kinds]
        self.everything = np.arange(len(points))

    def raw(self, words: npt.NDArray[np.uint16], places: IntArray | None = None) -> FloatArray:
        """The raw numbers of points (None: of all)."""
        places = self.everything if places is None else places
        out = np.empty(len(places))
        for number, lane in enumerate(self.lanes):
            here = np.flatnonzero(self.lane[places] == number)
            taken = words[self.first[places[here]][:, None] + lane.order]
            out[here] = taken[:, 0] if lane.layout == "bits" else taken.astype(">u2").view(lane.layout)[:, 0]
        return out

    def put(self, places: IntArray, raw: FloatArray, words: npt.NDArray[np.uint16]) -> None:
        """Write raw numbers of points into an array of words."""
        for number, lane in enumerate(self.lanes):
            here = np.flatnonzero(self.lane[places] == number)
            values = raw[here]
            parts = (values != 0)[:, None] if lane.layout == "bits" else whole(values, lane.layout)[:, None].view(">u2")
            words[self.first[places[here]][:, None] + lane.order] = parts


def _kind(point: Point, address: Address) -> tuple[str, bool]:
    return "bits" if address.space.bits else LAYOUTS[point.wire], address.swap


def _order(layout: str, swap: bool) -> IntArray:
    order = np.arange(1 if layout == "bits" else int(layout[2:]) // 2)
    return order[::-1].copy() if swap else order


def whole(values: FloatArray, layout: str) -> npt.NDArray[np.generic]:
    """Floats as big-endian integers or floats; the ends of 64-bit integers, which a float64 cannot hold, are met exactly."""
    if layout == ">u8":
        top = values >= 2.0**64
        return np.where(top, np.uint64(2**64 - 1), np.where(top, 0.0, values).astype(np.uint64)).astype(layout)
    if layout == ">i8":
        top = values >= 2.0**63
        return np.where(top, np.int64(2**63 - 1), np.where(top, 0.0, values).astype(np.int64)).astype(layout)
    return values.astype(layout)
