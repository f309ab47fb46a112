"""Addresses of a point table on IEC 61850."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from open61850.mms.pdu import ObjectName

from vpp.kernel.errors import Finding, PointError
from vpp.wire.points import Point, PointTable

ADDRESS: Final = re.compile(r"([A-Za-z]\w{0,63})/([A-Za-z]\w*)\.(\w+(?:\.\w+)+)\[([A-Z]{2})\]", re.ASCII)
NODE: Final = re.compile(r"(LLN0)|([A-Za-z]\w*?)?([A-Z]{4})(\d{1,12})", re.ASCII)
READ: Final = ("MX", "ST", "SP", "CF")
WRITTEN: Final = ("SP", "CF", "CO")
WIRES: Final = (
    "bool", "double_point", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "float32", "float64",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Address:
    """One attribute: logical device, logical node, path from the data object down, functional constraint."""

    ld: str
    ln: str
    path: tuple[str, ...]
    fc: str

    @property
    def item(self) -> str:
        """Its MMS name in the domain."""
        return "$".join((self.ln, self.fc, *self.path))

    @property
    def object(self) -> ObjectName:
        """The data object that it belongs to, in its functional constraint."""
        return ObjectName(f"{self.ln}${self.fc}${self.path[0]}", self.ld)

    def beside(self, fc: str, *path: str) -> ObjectName:
        """An attribute of the same data object."""
        return ObjectName("$".join((self.ln, fc, self.path[0], *path)), self.ld)


def parse(point: Point) -> Address:
    """The address of a point. Raises `PointError`."""
    found = ADDRESS.fullmatch(point.address)
    if found is None or NODE.fullmatch(found[2]) is None:
        raise PointError(
            point.id, f"{point.address!r} is not LD/LN.DO.DA[FC], the node LLN0 or a class of four letters and a number"
        )
    address = Address(found[1], found[2], tuple(found[3].split(".")), found[4])
    if point.wire not in WIRES:
        raise PointError(point.id, f"a {point.wire} does not exist in IEC 61850: {', '.join(WIRES)}")
    if point.quality == "sentinel":
        raise PointError(point.id, "IEC 61850 carries quality itself: the quality rule is native or none")
    if address.fc == "CO":
        if point.access != "w" or address.path[1:3] != ("Oper", "ctlVal") or len(address.path) > 4:
            raise PointError(point.id, "a control is DO.Oper.ctlVal[CO], or .f or .i below, and only written")
    elif address.fc not in READ or ("w" in point.access and address.fc not in WRITTEN):
        raise PointError(
            point.id, f"{address.fc} cannot be {point.access}: {', '.join(READ)} are read, {', '.join(WRITTEN)} written"
        )
    if {"f": "float32", "i": "int32"}.get(address.path[-1], point.wire) != point.wire:
        raise PointError(point.id, f"an analogue value's .f is float32, its .i int32, not {point.wire}")
    return address


def check_addresses(points: Sequence[Point]) -> list[Finding]:
    """Every point whose address cannot be used."""
    findings = []
    for point in points:
        try:
            parse(point)
        except PointError as error:
            findings.append(Finding(error.reason, path=point.id))
    return findings


def addresses(table: PointTable) -> list[Address]:
    """The address of every row. Raises `PointError`."""
    return [parse(point) for point in table.points]
