"""Device maps: which registers of a kind of device are which of our signals, as YAML in ``hil/maps`` or anywhere else.

    protocol: sunspec            # or modbus, dnp3, iec104, iec61850
    kind: [pv]                   # kinds of resource that such a device can be
    fallback: lease              # what happens when we stop: lease, heartbeat, or none
    lease_s: 60
    ratings: {p_max_mw: 1.0}     # what the device is; an address may say otherwise: ?p_max_mw=0.25
    points:
      - {signal: p_mw, address: 701.W, unit: W}
      - {sheet: setpoints, signal: p_limit_mw, address: 704.WMaxLimPct, unit: "%", base: 702.WMax, access: w}

Keys of a point are those of `vpp.wire.points.Point`. On SunSpec an address is a path of the device's own models; type and
scale come from the device, and a base may be a path. Elsewhere ``{unit}`` in an address is who is meant behind the port, and
base, low and high may be a rating's name, also with a minus before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from hil.links import SCHEMES
from vpp.kernel.errors import Finding, PointError, ScenarioError
from vpp.wire.points import KEYS, Point, PointTable, check

if TYPE_CHECKING:
    from vpp.wire.sunspec.discover import Discovered

MAPS: Final = Path(__file__).with_name("maps")
FALLBACKS: Final = ("lease", "heartbeat", "none")
_HEAD: Final = ("protocol", "kind", "fallback", "lease_s", "ratings", "points")
_RATED: Final = ("base", "low", "high")
_NUMBERS: Final = {"float": float, "int": int, "str": str, "bool": bool}
_FROM_DEVICE: Final = ("wire", "scale", "offset", "quality")


@dataclass(frozen=True, slots=True)
class DeviceMap:
    """A map as it was read.

    Attributes:
        name: of the file, without its ending.
        purpose: the file's first line.
        protocol, kind, fallback, lease_s: see the module.
        rows: keys of each point, as written.
        ratings: see the module.
    """

    name: str
    purpose: str
    protocol: str
    kind: tuple[str, ...]
    fallback: str
    lease_s: float
    rows: tuple[Mapping[str, Any], ...]
    ratings: Mapping[str, float] = field(default_factory=dict)

    def on_wire(self, resource: str, unit: int, ratings: Mapping[str, float] | None = None) -> PointTable:
        """The point table of a device that says nothing of itself; ``ratings`` go before those of the map."""
        known = {**self.ratings, **(ratings or {})}
        return PointTable(tuple(_point(row, resource, unit, known) for row in self.rows))

    def on_sunspec(self, resource: str, found: Discovered) -> tuple[PointTable, list[Finding]]:
        """The point table of a discovered device, and which rows it cannot serve: what it has not, it does not have."""
        points, missing = [], []
        for row in self.rows:
            try:
                points.append(_resolved(row, resource, found))
            except KeyError as error:
                missing.append(Finding("is not in the device", path=f"{self.name}: {error.args[0]}", severity="warning"))
        return PointTable(tuple(points)), missing


def names() -> tuple[str, ...]:
    """The shipped maps."""
    return tuple(sorted(path.stem for path in MAPS.glob("*.yaml")))


def load_map(name_or_path: str) -> DeviceMap:
    """Read a shipped map by name, or a file. Raises `ScenarioError` with every finding."""
    return _file(name_or_path) if name_or_path.endswith((".yaml", ".yml")) else _shipped(name_or_path)


@cache
def _shipped(name: str) -> DeviceMap:
    """Once for a fleet of them."""
    return _file(name)


def _file(name_or_path: str) -> DeviceMap:
    path = Path(name_or_path) if name_or_path.endswith((".yaml", ".yml")) else MAPS / f"{name_or_path}.yaml"
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        shipped = ", ".join(names())
        raise ScenarioError([Finding(f"there is no such device map; shipped are {shipped}", value=name_or_path)]) from None
    try:
        whole = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScenarioError([Finding(f"is not YAML: {' '.join(str(error).split())}", str(path))]) from None
    findings = _wrong(whole, str(path), _lines(text))
    if findings:
        raise ScenarioError(findings)
    kind = whole.get("kind", [])
    first = text.lstrip().splitlines()[0] if text.strip() else ""
    return DeviceMap(
        path.stem,
        first.lstrip("# ").strip() if first.startswith("#") else "",
        whole["protocol"],
        tuple(kind) if isinstance(kind, list) else (str(kind),),
        whole.get("fallback", "none"),
        float(whole.get("lease_s", 0.0)),
        tuple(whole["points"]),
        {key: float(value) for key, value in whole.get("ratings", {}).items()},
    )


def _lines(text: str) -> list[int]:
    """Line of every item under ``points``."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        return []
    found = [value for key, value in root.value if key.value == "points" and isinstance(value, yaml.SequenceNode)]
    return [node.start_mark.line + 1 for value in found for node in value.value]


def _wrong(whole: Any, file: str, lines: Sequence[int]) -> list[Finding]:
    """Everything that is wrong with a map."""
    if not isinstance(whole, dict):
        return [Finding("is no mapping with protocol and points", file)]
    out = [Finding("there is no such key", file, path=str(key)) for key in whole if key not in _HEAD]
    protocol = whole.get("protocol")
    if protocol not in SCHEMES:
        out.append(Finding(f"must be one of {', '.join(SCHEMES)}", file, path="protocol", value=str(protocol)))
    fallback, lease_s = whole.get("fallback", "none"), whole.get("lease_s", 0.0)
    if fallback not in FALLBACKS:
        out.append(Finding(f"must be one of {', '.join(FALLBACKS)}", file, path="fallback", value=str(fallback)))
    if not isinstance(lease_s, int | float) or isinstance(lease_s, bool) or (fallback == "lease") != (lease_s > 0):
        out.append(Finding("is a time above 0 where the fallback is a lease, and nowhere else", file, path="lease_s"))
    ratings = whole.get("ratings", {})
    if not isinstance(ratings, dict) or not all(_is_number(value) and value > 0 for value in ratings.values()):
        out.append(Finding("is a mapping of names to numbers above 0", file, path="ratings"))
        ratings = {}
    rows = whole.get("points")
    if not isinstance(rows, list) or not rows:
        return [*out, Finding("must be a list with something in it", file, path="points")]
    points, at = [], []
    for row, line in zip(rows, lines):
        wrong = _wrong_row(row, protocol, ratings, file, line)
        if not wrong:
            points.append(_point(row, "device", 1, ratings, stand_in=protocol == "sunspec"))
            at.append(line)
            wrong = _wrong_address(points[-1], protocol, file, line)
        out += wrong
    return out + check(points, None, file, at)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wrong_address(point: Point, protocol: Any, file: str, line: int) -> list[Finding]:
    if protocol not in SCHEMES or protocol == "sunspec":
        return []  # a path of the device's models: it alone knows
    try:
        SCHEMES[protocol].parse(point)
    except PointError as error:
        return [Finding(error.reason, file, line, "address")]
    return []


def _wrong_row(row: Any, protocol: Any, ratings: Mapping[str, Any], file: str, line: int) -> list[Finding]:
    if not isinstance(row, dict):
        return [Finding("is no mapping", file, line, "points")]
    out = [Finding("there is no such key", file, line, key) for key in row if key not in KEYS or key == "resource"]
    out += [Finding("is missing", file, line, key) for key in ("signal", "address") if key not in row]
    if protocol == "sunspec":
        out += [Finding("comes from the device, leave it out", file, line, key) for key in _FROM_DEVICE if key in row]
    for key, value in row.items():
        if key in _RATED and isinstance(value, str) and protocol != "sunspec":
            if value.removeprefix("-") not in ratings:
                out.append(
                    Finding(f"is no number and no rating; there are {', '.join(ratings) or 'none'}", file, line, key, value)
                )
        elif key in KEYS and not (key == "base" and protocol == "sunspec" and isinstance(value, str)):
            kind = _NUMBERS[str(KEYS[key].type)]
            fits = (
                isinstance(value, bool)
                if kind is bool
                else isinstance(value, (int, float) if kind is float else (kind, int, float))
            )
            if not fits:
                out.append(Finding(f"must be a {kind.__name__}", file, line, key, str(value)))
    return out


def _point(row: Mapping[str, Any], resource: str, unit: int, ratings: Mapping[str, float], stand_in: bool = False) -> Point:
    """A row as a point; a ``stand_in`` has numbers where the device's own are not known yet."""
    keys = {key: _NUMBERS[str(KEYS[key].type)](value) for key, value in row.items() if key not in _RATED}
    keys["address"] = str(row["address"]).replace("{unit}", str(unit))
    for key in _RATED:
        value = row.get(key)
        if isinstance(value, str):
            rated = 1.0 if stand_in else ratings[value.removeprefix("-")]
            keys[key] = -rated if value.startswith("-") else rated
        elif value is not None:
            keys[key] = float(value)
    return Point(resource=resource, **keys)


def _resolved(row: Mapping[str, Any], resource: str, found: Discovered) -> Point:
    """A row on a discovered device. Raises KeyError with the path that it lacks."""
    from vpp.wire.sunspec.models import TYPES

    path, base = str(row["address"]), row.get("base", 0.0)
    for one in (path, *([base] if isinstance(base, str) else [])):
        if one not in found.layout:
            raise KeyError(one)
    register = found.layout.find(path)
    keys = {key: _NUMBERS[str(KEYS[key].type)](value) for key, value in row.items() if key not in ("base", "address")}
    value = found.value(base) if isinstance(base, str) else float(base)
    if isinstance(base, str):
        if not value > 0:
            raise KeyError(base)
        value *= 1e-6 if row.get("unit") in ("%", "pu") and str(row["signal"]).endswith(("_mw", "_mvar", "_mwh")) else 1.0
    return Point(
        resource=resource,
        address=f"{found.unit}:holding:{found.layout.base + register.at}",
        wire=TYPES[register.point.type][1],
        scale=float(found.image.scale(register)[0]),
        base=value,
        quality="sentinel",
        **keys,
    )
