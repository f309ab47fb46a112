"""Reading objects' properties in physical units; what is wrong is a :class:`Unusable` that names file and line."""

from __future__ import annotations

from pathlib import Path

from vpp.grid.dss.script import DssObject
from vpp.grid.threephase.feeder import GROUND, Node, Nodes

METRES = {
    "mi": 1609.344,
    "kft": 304.8,
    "km": 1000.0,
    "m": 1.0,
    "ft": 0.3048,
    "in": 0.0254,
    "cm": 0.01,
    "mm": 0.001,
    "none": 0.0,
}


class Unusable(ValueError):
    """An object that cannot be represented."""

    def __init__(self, target: DssObject, message: str, prop: str = "") -> None:
        """Say what is wrong, at the line of the property if it was set, or of the object."""
        found = next((p for p in reversed(target.properties) if p.name == prop), None)
        self.file: Path = found.file if found else target.file
        self.line: int = found.line if found else target.line
        super().__init__(f"{target.kind}.{target.name}: {message}")


def metres(target: DssObject, unit: str) -> float:
    """Length of a unit in metres, 0 for "none"."""
    if unit not in METRES:
        raise Unusable(target, f"unit {unit!r} is not one of {', '.join(METRES)}", "units")
    return METRES[unit]


def terminal(target: DssObject, prop: str, text: tuple[str, tuple[int, ...]] | None, phases: int, extra: int = 0) -> Nodes:
    """Nodes of a terminal: ``phases`` of them, and up to ``extra`` more (a neutral; ground where it is not given)."""
    if text is None:
        raise Unusable(target, f"needs {prop}")
    bus, given = text
    numbers = given or tuple(range(1, phases + 1))
    if len(numbers) < phases or len(numbers) > phases + max(extra, 1):
        raise Unusable(target, f"{prop} names {len(numbers)} nodes, expected {phases}", prop)
    numbers = (numbers + (0,) * extra)[: phases + extra]
    live = [n for n in numbers if n]
    if len(set(live)) != len(live) or any(n == 0 for n in numbers[:phases]):
        raise Unusable(target, f"{prop} names a node twice, or ground for a phase", prop)
    return tuple(node(bus, n) for n in numbers)


def node(bus: str, number: int) -> Node:
    """Name a node; number 0 is ground."""
    return (bus, number) if number else GROUND


def connection(target: DssObject, text: str, prop: str = "conn") -> str:
    """Read wye or delta in OpenDSS's spellings."""
    if text[:1] in ("w", "y") or text == "ln":
        return "wye"
    if text[:1] == "d" or text == "ll":
        return "delta"
    raise Unusable(target, f"connection {text!r} is neither wye nor delta", prop)


def phases_of(target: DssObject, default: int = 3, *, allowed: tuple[int, ...] = (1, 2, 3)) -> int:
    """Number of phases."""
    value = int(target.get("phases", default))
    if value not in allowed:
        raise Unusable(target, f"{value} phases are outside the subset", "phases")
    return value


def check_frequency(target: DssObject, f_hz: float) -> None:
    """Refuse data of another frequency: the earth's return path would change with it, not only the reactance."""
    if target.get("basefreq", f_hz) != f_hz:
        raise Unusable(target, f"data of {target.get('basefreq'):g} Hz in a network of {f_hz:g} Hz", "basefreq")


def positive(target: DssObject, prop: str, value: float) -> float:
    """Insist on a positive value."""
    if not value > 0.0:
        raise Unusable(target, f"{prop} has to be positive, is {value:g}", prop)
    return value
