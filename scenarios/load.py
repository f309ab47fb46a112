"""From a scenario file, or a shipped scenario's name, to a :class:`scenarios.schema.Scenario`.

Everything that is wrong is found at once and raised as one ``ScenarioError``, each finding with its file and line.
pydantic is imported only when a scenario is read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpp.kernel.errors import Finding, ScenarioError

if TYPE_CHECKING:
    from scenarios.schema import Scenario
    from scenarios.schema.tree import Tree

LIBRARY = Path(__file__).parent / "library"


def load(path_or_name: str | Path, overrides: Sequence[str] = ()) -> Scenario:
    """Read a scenario.

    Args:
        path_or_name: a YAML file, or the name of a shipped scenario.
        overrides: "a.b=value" each, as after ``--set``; list items go by number or by their id, name or use.

    Raises:
        ScenarioError: with every finding.
    """
    from pydantic import ValidationError

    from scenarios.schema import Scenario
    from scenarios.schema.explain import explain, shown
    from scenarios.schema.tree import Tree, assign, merge, plain, walk

    findings: list[Finding] = []
    path = find(str(path_or_name))
    tree = _read(path, findings, ())
    if tree is None:
        raise ScenarioError(findings)
    said = {"name": Tree(path.stem, str(path), 1), "purpose": Tree(first_line(path), str(path), 1)}
    tree = merge(Tree(said, str(path), 1), tree)
    for override in overrides:
        tree = assign(tree, override, findings)
    tree = _absolute(tree, (), findings)
    try:
        scenario = Scenario.model_validate(plain(tree))
    except ValidationError as error:
        raise ScenarioError(_sorted([*findings, *explain(error, tree, Scenario)])) from None
    places = {at: (here.file, here.line, shown(here)) for at, here in walk(tree)}
    scenario = scenario.model_copy()
    scenario._places.update(places)
    findings += _series_findings(scenario)
    if findings:
        raise ScenarioError(_sorted(findings))
    return scenario


def find(path_or_name: str) -> Path:
    """Find the file of a scenario; ScenarioError with near names where there is none."""
    path = Path(path_or_name)
    if path.is_file():
        return path
    shipped = LIBRARY / f"{path_or_name}.yaml"
    if path.name == path_or_name and shipped.is_file():
        return shipped
    from scenarios.schema.near import did_you_mean

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


def json_schema() -> dict[str, Any]:
    """JSON Schema of a scenario file, for editors: what is inherited or taken from the file may be left out."""
    from scenarios.schema import Scenario

    schema = Scenario.model_json_schema()
    required = [key for key in schema.pop("required") if key not in ("name", "purpose")]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "anyOf": [{"required": ["extends"]}, {"required": required}],
    }


def write_schema(path: str | Path) -> None:
    """Write the JSON Schema to a file."""
    Path(path).write_text(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read(path: Path, findings: list[Finding], trail: tuple[tuple[Path, int], ...]) -> Tree | None:
    """Read a file and what it extends; ``trail`` holds the files on the way here, each with its ``extends`` line."""
    from scenarios.schema.tree import Tree, merge, read

    tree = read(path, findings)
    said = tree.value.get("extends") if tree is not None else None
    if tree is None or said is None or said.value is None:
        return tree
    tree = Tree({k: v for k, v in tree.value.items() if k != "extends"}, tree.file, tree.line)
    if not isinstance(said.value, str):
        findings.append(Finding("must be a file or the name of a shipped scenario", said.file, said.line, "extends", str(said.value)))
        return tree
    beside = Path(os.path.normpath(path.parent / said.value))
    try:
        base_path = beside if beside.is_file() else find(said.value if "/" not in said.value else str(beside))
    except ScenarioError as error:
        message = error.findings[0].message
        findings.append(Finding(message, said.file, said.line, "extends", said.value))
        return tree
    trail = (*trail, (path, said.line))
    loop = [i for i, (earlier, _) in enumerate(trail) if earlier.resolve() == base_path.resolve()]
    if loop:
        way = " → ".join(f"{p}:{line}" for p, line in trail[loop[0] :])
        findings.append(Finding(f"extends itself: {way} → {base_path}", said.file, said.line, "extends", said.value))
        return tree
    base = _read(base_path, findings, trail)
    return tree if base is None else merge(base, tree)


def _absolute(tree: Tree, at: tuple[str | int, ...], findings: list[Finding]) -> Tree:
    """Make every "file:…" absolute, from the folder of the file that names it; missing ones are findings."""
    from scenarios.schema.near import did_you_mean
    from scenarios.schema.tree import SET, Tree

    if isinstance(tree.value, dict):
        return Tree({k: _absolute(v, (*at, k), findings) for k, v in tree.value.items()}, tree.file, tree.line)
    if isinstance(tree.value, list):
        return Tree([_absolute(v, (*at, i), findings) for i, v in enumerate(tree.value)], tree.file, tree.line)
    if not (isinstance(tree.value, str) and tree.value.startswith("file:") and len(tree.value) > 5):
        return tree
    folder = Path.cwd() if tree.file == SET else Path(tree.file).parent
    path = (folder / Path(tree.value[5:]).expanduser()).resolve()
    if not path.is_file():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        where = ".".join(map(str, at))
        findings.append(Finding(f"no file {path}{did_you_mean(path.name, beside)}", tree.file, tree.line, where, tree.value))
    return Tree(f"file:{path}", tree.file, tree.line)


def _series_findings(scenario: Scenario) -> list[Finding]:
    """Read the CSV files that a scenario names, to say now what is wrong with them."""
    from scenarios.schema.series import read_csv, read_series

    named: list[tuple[tuple[str | int, ...], Any]] = [
        (("fleet", i, "profile"), getattr(entry, "profile", None)) for i, entry in enumerate(scenario.fleet)
    ]
    if scenario.market:
        named += [(("market", key), getattr(scenario.market, key)) for key in ("import_eur_per_mwh", "export_eur_per_mwh")]
    named.append((("frequency", "profile"), scenario.frequency.profile))
    found = []
    for where, ref in named:
        if isinstance(ref, str) and ref.startswith("file:") and Path(ref[5:]).is_file():
            try:
                read_csv(ref, 2) if where[0] == "frequency" else read_series(ref)
            except ValueError as error:
                found.append(scenario.finding(str(error), *where))
    return found


def _sorted(findings: list[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda f: (f.file, f.line))
