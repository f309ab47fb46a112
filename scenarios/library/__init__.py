"""The shipped scenarios: one YAML each, its purpose in the first line. Light, so that listing them is fast."""

from __future__ import annotations

from pathlib import Path

from scenarios.near import did_you_mean
from vpp.kernel.errors import Finding, ScenarioError

LIBRARY = Path(__file__).parent


def find(path_or_name: str) -> Path:
    """Find the file of a scenario; ScenarioError with near names where there is none."""
    path = Path(path_or_name)
    if path.is_file():
        return path
    shipped = LIBRARY / f"{path_or_name}.yaml"
    if path.name == path_or_name and shipped.is_file():
        return shipped
    if path.suffix in (".yaml", ".yml") or path.name != path_or_name:
        beside = [str(path.parent / p.name) for p in path.parent.iterdir()] if path.parent.is_dir() else []
        raise ScenarioError([Finding(f"no such file{did_you_mean(path_or_name, beside)}", path_or_name)])
    names = [name for name, _ in list_scenarios()]
    message = f"no file and no shipped scenario of this name{did_you_mean(path_or_name, names)}"
    raise ScenarioError([Finding(message, path_or_name)])


def list_scenarios() -> list[tuple[str, str]]:
    """Names and purposes of the shipped scenarios; reads only the first line of each."""
    return [(path.stem, first_line(path)) for path in sorted(LIBRARY.glob("*.yaml"))]


def first_line(path: Path) -> str:
    """What a scenario is for: its first line, if that is a comment."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        line = stream.readline().strip()
    return line.lstrip("# ") if line.startswith("#") else ""
