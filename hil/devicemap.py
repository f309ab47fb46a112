"""Device maps: which registers of a kind of device are which of our signals, as YAML in ``hil/maps`` or anywhere else.

    protocol: sunspec            # or modbus, dnp3, iec104, iec61850
    kind: [pv]                   # kinds of resource that such a device can be
    fallback: lease              # what happens when we stop: lease, heartbeat, or none
    lease_s: 60
    points:
      - {signal: p_mw, address: 701.W, unit: W}
      - {sheet: setpoints, signal: p_limit_mw, address: 704.WMaxLimPct, unit: "%", base: 702.WMax, access: w}

Keys of a point are those of `vpp.wire.points.Point`. On SunSpec an address is a path of the device's own models; type and
scale come from the device, and a base may be a path. On Modbus ``{unit}`` in an address is the unit identifier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from vpp.kernel.errors import Finding, ScenarioError
from vpp.wire.points import KEYS, Point, PointTable, check

if TYPE_CHECKING:
    from vpp.wire.sunspec.discover import Discovered

MAPS: Final = Path(__file__).with_name("maps")
PROTOCOLS: Final = ("modbus", "sunspec", "dnp3", "iec104", "iec61850")
FALLBACKS: Final = ("lease", "heartbeat", "none")
_HEAD: Final = ("protocol", "kind", "fallback", "lease_s", "points")
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
    """

    name: str
    purpose: str
    protocol: str
    kind: tuple[str, ...]
    fallback: str
    lease_s: float
    rows: tuple[Mapping[str, Any], ...]

    def on_modbus(self, resource: str, unit: int) -> PointTable:
        """The point table of a device on bare Modbus."""
        return PointTable(tuple(_point(row, resource, unit) for row in self.rows))

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
    if protocol not in PROTOCOLS:
        out.append(Finding(f"must be one of {', '.join(PROTOCOLS)}", file, path="protocol", value=str(protocol)))
    fallback, lease_s = whole.get("fallback", "none"), whole.get("lease_s", 0.0)
    if fallback not in FALLBACKS:
        out.append(Finding(f"must be one of {', '.join(FALLBACKS)}", file, path="fallback", value=str(fallback)))
    if not isinstance(lease_s, int | float) or isinstance(lease_s, bool) or (fallback == "lease") != (lease_s > 0):
        out.append(Finding("is a time above 0 where the fallback is a lease, and nowhere else", file, path="lease_s"))
    rows = whole.get("points")
    if not isinstance(rows, list) or not rows:
        return [*out, Finding("must be a list with something in it", file, path="points")]
    points, at = [], []
    for row, line in zip(rows, lines):
        wrong = _wrong_row(row, protocol, file, line)
        out += wrong
        if not wrong:
            points.append(_point(row, "device", 1, stand_in=protocol == "sunspec"))
            at.append(line)
    return out + check(points, None, file, at)


def _wrong_row(row: Any, protocol: Any, file: str, line: int) -> list[Finding]:
    if not isinstance(row, dict):
        return [Finding("is no mapping", file, line, "points")]
    out = [Finding("there is no such key", file, line, key) for key in row if key not in KEYS or key == "resource"]
    out += [Finding("is missing", file, line, key) for key in ("signal", "address") if key not in row]
    if protocol == "sunspec":
        out += [Finding("comes from the device, leave it out", file, line, key) for key in _FROM_DEVICE if key in row]
    for key, value in row.items():
        if key in KEYS and not (key == "base" and protocol == "sunspec" and isinstance(value, str)):
            kind = _NUMBERS[str(KEYS[key].type)]
            fits = (
                isinstance(value, bool)
                if kind is bool
                else isinstance(value, (int, float) if kind is float else (kind, int, float))
            )
            if not fits:
                out.append(Finding(f"must be a {kind.__name__}", file, line, key, str(value)))
    return out


def _point(row: Mapping[str, Any], resource: str, unit: int, stand_in: bool = False) -> Point:
    """A row as a point; a ``stand_in`` has numbers where the device's own are not known yet."""
    keys = {key: _NUMBERS[str(KEYS[key].type)](value) for key, value in row.items() if key != "base"}
    keys["address"] = str(row["address"]).replace("{unit}", str(unit))
    base = row.get("base", 0.0)
    keys["base"] = 1.0 if stand_in and isinstance(base, str) else float(base)
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
