"""Point tables as files: CSV with the keys of a `Point` in its head, or YAML with a list of mappings under ``points``."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import yaml

from vpp.kernel.errors import Finding, ScenarioError
from vpp.wire.points import KEYS, Point, PointTable, check

_KINDS: Mapping[str, type] = {"float": float, "int": int, "str": str, "bool": bool}
_BOOLS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}


def load_points(path: Path, ids: Sequence[str] | None = None) -> PointTable:
    """Read a table; ``ids`` are the resources that may stand in it. Raises `ScenarioError` with every finding."""
    points, findings = read_points(path, ids)
    if findings:
        raise ScenarioError(findings)
    return PointTable(points)


def read_points(path: Path, ids: Sequence[str] | None = None) -> tuple[tuple[Point, ...], list[Finding]]:
    """Read rows from a file: (what could be read, everything that is wrong)."""
    file = str(path)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return (), [Finding(f"cannot be read: {error}", file)]
    try:
        rows = _csv_rows(text) if path.suffix == ".csv" else _yaml_rows(text)
    except (csv.Error, yaml.YAMLError, ValueError) as error:
        return (), [Finding(f"cannot be read: {' '.join(str(error).split())}", file)]
    points: list[Point] = []
    lines: list[int] = []
    findings: list[Finding] = []
    for line, row in rows:
        made, wrong = _point(row, file, line)
        findings += wrong
        if made is not None:
            points.append(made)
            lines.append(line)
    return tuple(points), findings + check(points, ids, file, lines)


def to_csv(table: PointTable) -> str:
    """The table as CSV text; `load_points` reads it back to the same table."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(KEYS)
    for point in table.points:
        writer.writerow([getattr(point, key) for key in KEYS])
    return out.getvalue()


def to_yaml(table: PointTable) -> str:
    """The table as YAML text, defaults left out; `load_points` reads it back to the same table."""
    rows = [
        {key: value for key, f in KEYS.items() if (value := getattr(point, key)) != f.default or f.default is MISSING}
        for point in table.points
    ]
    return yaml.safe_dump({"points": rows}, sort_keys=False, allow_unicode=True)


def _point(row: Mapping[str, Any], file: str, line: int) -> tuple[Point | None, list[Finding]]:
    """One row of a file as a point, or what keeps it from being one."""
    findings = [Finding("there is no such key", file, line, key) for key in row if key not in KEYS]
    needed = [key for key, f in KEYS.items() if f.default is MISSING and row.get(key) in (None, "")]
    findings += [Finding("is missing", file, line, key) for key in needed]
    values: dict[str, Any] = {}
    for key, value in row.items():
        kind = _KINDS[str(KEYS[key].type)] if key in KEYS else str
        if value is None or value == "" or key not in KEYS:
            continue
        try:
            values[key] = _BOOLS[str(value).lower()] if kind is bool else kind(value)
        except (KeyError, TypeError, ValueError):
            findings.append(Finding(f"must be a {kind.__name__}", file, line, key, str(value)))
    return (None if findings else Point(**values)), findings


def _csv_rows(text: str) -> list[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    rows: list[tuple[int, Mapping[str, Any]]] = []
    for row in reader:
        if None in row or None in row.values():
            raise ValueError(f"line {reader.line_num} has not as many cells as the head")
        rows.append((reader.line_num, row))
    return rows


def _yaml_rows(text: str) -> list[tuple[int, Mapping[str, Any]]]:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    whole = yaml.safe_load(text)
    if not isinstance(whole, dict) or not isinstance(whole.get("points"), list):
        raise ValueError("there must be a list under the key points")
    assert isinstance(root, yaml.MappingNode)
    nodes = next(value for key, value in root.value if key.value == "points").value
    rows: list[tuple[int, Mapping[str, Any]]] = []
    for node, row in zip(nodes, whole["points"]):
        if not isinstance(row, dict):
            raise ValueError(f"line {node.start_mark.line + 1} is not a mapping")
        rows.append((node.start_mark.line + 1, row))
    return rows
