"""Addresses of a point table on DNP3."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

from vpp.kernel.errors import Finding, PointError
from vpp.wire.points import Point, PointTable


class Kind(IntEnum):
    """Kinds of points; the numbers travel to the worker process."""

    BI = 0
    DB = 1
    BO = 2
    CT = 3
    AI = 4
    AO = 5

    @property
    def output(self) -> bool:
        """Whether commands go to it."""
        return self in (Kind.BO, Kind.AO)


WIRES: Final = {
    Kind.BI: ("bool",),
    Kind.DB: ("double_point",),
    Kind.BO: ("bool",),
    Kind.CT: ("uint16", "uint32"),
    Kind.AI: ("int16", "int32"),
    Kind.AO: ("int16", "int32"),
}
Address = tuple[Kind, int]


def parse(point: Point) -> Address:
    """The address of a point. Raises `PointError`."""
    name, _, number = point.address.partition(":")
    try:
        kind, index = Kind[name.upper()], int(number)
    except (KeyError, ValueError):
        kinds = ", ".join(Kind.__members__)
        raise PointError(point.id, f"{point.address!r} is not kind:index, the kind one of {kinds}") from None
    if not 0 <= index <= 0xFFFF:
        raise PointError(point.id, f"{point.address!r}: the index is 0 … 65535")
    if point.wire not in WIRES[kind]:
        raise PointError(point.id, f"a {point.wire} does not stand at a {kind.name}: {' or '.join(WIRES[kind])}")
    if point.quality == "sentinel":
        raise PointError(point.id, "DNP3 carries quality itself: the quality rule is native or none")
    if "w" in point.access and not kind.output:
        raise PointError(point.id, f"a {kind.name} cannot be written, only BO and AO")
    return kind, index


def check_addresses(points: Sequence[Point]) -> list[Finding]:
    """Every point whose address cannot be used."""
    findings = []
    for point in points:
        try:
            parse(point)
        except PointError as error:
            findings.append(Finding(error.reason, path=point.id))
    return findings


def rows_by_address(table: PointTable, access: str) -> dict[Address, int]:
    """Row of each address that has this access, "r" or "w". Raises `PointError`."""
    return {parse(point): row for row, point in enumerate(table.points) if access in point.access}
