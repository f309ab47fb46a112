"""Addresses and quality of a point table on IEC 60870-5-104 (docs/protocol-quality.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from vpp.kernel import quality as q
from vpp.kernel.errors import Finding, PointError
from vpp.kernel.signals import ByteArray, IntArray
from vpp.wire.iec104.asdu import Kind
from vpp.wire.points import Point, PointTable

OVERFLOW, BLOCKED, SUBSTITUTED, NOT_TOPICAL, INVALID = 0x01, 0x10, 0x20, 0x40, 0x80  # IEC 60870-5-101, 7.2.6.3
KINDS: Final = {
    "bool": Kind.SINGLE, "double_point": Kind.DOUBLE, "int16": Kind.SCALED, "float32": Kind.FLOAT, "int32": Kind.TOTAL,
}  # fmt: skip
Address = tuple[int, int, Kind]  # station, object, kind
Place = tuple[int, int]


def parse(point: Point) -> Address:
    """The address of a point. Raises `PointError`."""
    parts = point.address.split(":")
    normalised = parts[2:] == ["n"]
    try:
        station, number = int(parts[0]), int(parts[1])
    except (ValueError, IndexError):
        raise PointError(point.id, f"{point.address!r} is not station:object") from None
    if not (1 <= station <= 0xFFFE and 1 <= number <= 0xFFFFFF):
        raise PointError(point.id, f"{point.address!r}: the station is 1 … 65534, the object 1 … 16777215")
    kind = KINDS.get(point.wire)
    if kind is None or (len(parts) > 2 and not (normalised and kind == Kind.SCALED)):
        raise PointError(point.id, f"{point.address!r} as {point.wire}: {', '.join(KINDS)}, and :n only behind an int16")
    if point.quality == "sentinel":
        raise PointError(point.id, "IEC 60870-5-104 carries quality itself: the quality rule is native or none")
    if "w" in point.access and not kind.command:
        raise PointError(point.id, "there is no command for an integrated total")
    return station, number, Kind.NORMALISED if normalised else kind


def check_addresses(points: Sequence[Point]) -> list[Finding]:
    """Every point whose address cannot be used."""
    findings = []
    for point in points:
        try:
            parse(point)
        except PointError as error:
            findings.append(Finding(error.reason, path=point.id))
    return findings


def rows_by_place(table: PointTable, access: str) -> dict[Place, int]:
    """Row of each station and object that has this access, "r" or "w". Raises `PointError`."""
    return {parse(point)[:2]: row for row, point in enumerate(table.points) if access in point.access}


def _of(octet: int) -> int:
    quality = q.INVALID if octet & INVALID else q.QUESTIONABLE if octet & NOT_TOPICAL else q.GOOD
    quality |= (q.OVERFLOW if octet & OVERFLOW else 0) | (q.BLOCKED if octet & BLOCKED else 0)
    return quality | (q.SUBSTITUTED if octet & SUBSTITUTED else 0) | (q.STALE if octet & NOT_TOPICAL else 0)


def _to(quality: int) -> int:
    validity = quality & q.VALIDITY_MASK
    old = validity == q.QUESTIONABLE or quality & (q.STALE | q.COMM_LOST)
    octet = (INVALID if validity >= q.INVALID else 0) | (NOT_TOPICAL if old else 0)
    octet |= (OVERFLOW if quality & q.OVERFLOW else 0) | (BLOCKED if quality & q.BLOCKED else 0)
    return octet | (SUBSTITUTED if quality & q.SUBSTITUTED else 0)


FROM_OCTET: Final[ByteArray] = np.array([_of(octet) for octet in range(256)], np.uint8)
TO_OCTET: Final[ByteArray] = np.array([_to(quality) for quality in range(256)], np.uint8)
# Single and double points have no overflow bit (it is the value's), totals nothing but "invalid".
QUALITY_BITS: Final = {
    Kind.SINGLE: 0xF0, Kind.DOUBLE: 0xF0, Kind.NORMALISED: 0xF1, Kind.SCALED: 0xF1, Kind.FLOAT: 0xF1, Kind.TOTAL: 0x80,
}  # fmt: skip


def carried(table: PointTable, rows: IntArray, quality: ByteArray) -> ByteArray:
    """What a client makes of the quality octets that a server sends for these qualities."""
    bits = np.array([QUALITY_BITS[parse(table.points[row])[2]] for row in rows], np.uint8)
    return np.asarray(FROM_OCTET[TO_OCTET[quality] & bits], np.uint8)
