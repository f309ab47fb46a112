"""Model definitions as data: read from the JSON files of pysunspec2, never typed by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from vpp.kernel.errors import PointError

# SunSpec type -> (layout of the registers, wire type of a point table, "not implemented").
# Device Information Model Specification V1.1, section 4.2.1.
TYPES: Final[Mapping[str, tuple[str, str, float]]] = {
    "int16": (">i2", "int16", -0x8000),
    "uint16": (">u2", "uint16", 0xFFFF),
    "count": (">u2", "uint16", 0xFFFF),
    "acc16": (">u2", "uint16", 0.0),
    "enum16": (">u2", "uint16", 0xFFFF),
    "bitfield16": (">u2", "uint16", 0xFFFF),
    "pad": (">u2", "uint16", 0x8000),
    "raw16": (">u2", "uint16", 0xFFFF),
    "sunssf": (">i2", "int16", -0x8000),
    "int32": (">i4", "int32", -0x80000000),
    "uint32": (">u4", "uint32", 0xFFFFFFFF),
    "acc32": (">u4", "uint32", 0.0),
    "enum32": (">u4", "uint32", 0xFFFFFFFF),
    "bitfield32": (">u4", "uint32", 0xFFFFFFFF),
    "ipaddr": (">u4", "uint32", 0.0),
    "int64": (">i8", "int64", -(2.0**63)),
    "uint64": (">u8", "uint64", 2.0**64),
    "acc64": (">u8", "uint64", 0.0),
    "bitfield64": (">u8", "uint64", 2.0**64),
    "float32": (">f4", "float32", float("nan")),
    "float64": (">f8", "float64", float("nan")),
}


@dataclass(frozen=True, slots=True)
class PointDef:
    """A point of a model.

    Attributes:
        name, type: as the definition has them; "string" and the addresses have no number.
        words: registers that it takes.
        sf: name of its scale factor, or the scale factor itself, "" for none.
        units, label: for people.
        writable: access is RW.
        symbols: name -> value of an enumeration.
        value: a constant (model ID; length where it is fixed).
    """

    name: str
    type: str
    words: int
    sf: str
    units: str
    label: str
    writable: bool
    symbols: Mapping[str, int]
    value: int | None


@dataclass(frozen=True, slots=True)
class GroupDef:
    """A group of points; ``count`` is a number or the name of the point that says how often it repeats, "" for once."""

    name: str
    count: str
    points: tuple[PointDef, ...]
    groups: tuple[GroupDef, ...]


@cache
def definition(model: int) -> GroupDef:
    """The definition of a model. Raises `PointError` where there is none."""
    source = files("sunspec2").joinpath("models", "json", f"model_{model}.json")
    try:
        found = json.loads(source.read_text("utf-8"))
    except FileNotFoundError:
        raise PointError(f"model {model}", "there is no such SunSpec model") from None
    return _group(found["group"])


def _group(node: Mapping[str, Any]) -> GroupDef:
    points = tuple(_point(point) for point in node.get("points", ()))
    groups = tuple(_group(group) for group in node.get("groups", ()))
    return GroupDef(node["name"], str(node.get("count", "")), points, groups)


def _point(node: Mapping[str, Any]) -> PointDef:
    return PointDef(
        name=node["name"],
        type=node["type"],
        words=int(node["size"]),
        sf=str(node.get("sf", "")),
        units=node.get("units", ""),
        label=node.get("label", ""),
        writable=node.get("access") == "RW",
        symbols={symbol["name"]: int(symbol["value"]) for symbol in node.get("symbols", ())},
        value=node.get("value"),
    )
