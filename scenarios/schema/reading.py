"""Reading a scenario: YAML files into one tree, overrides, files made absolute, validation. All findings at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from scenarios.library import find, first_line
from scenarios.near import did_you_mean
from scenarios.schema.explain import explain, shown
from scenarios.schema.scenario import Scenario
from scenarios.schema.series import read_csv, read_series
from scenarios.schema.tree import SET, Tree, assign, merge, plain, read, walk
from vpp.kernel.errors import Finding, ScenarioError

AnyScenario = TypeVar("AnyScenario", bound=Scenario)


def read_scenario(path: Path, overrides: Sequence[str], kind: type[AnyScenario]) -> AnyScenario:
    """Read a scenario file with what it extends, as this kind of scenario; ScenarioError with every finding."""
    findings: list[Finding] = []
    tree = _read(path, findings, ())
    if tree is None:
        raise ScenarioError(findings)
    gaps = bool(findings)
    said = {"name": Tree(path.stem, str(path), 1), "purpose": Tree(first_line(path), str(path), 1)}
    tree = merge(Tree(said, str(path), 1), tree)
    for override in overrides:
        tree = assign(tree, override, findings)
    tree = _absolute(tree, (), findings)
    try:
        scenario = kind.model_validate(plain(tree))
    except ValidationError as error:
        found = explain(error, tree, Scenario)
        if gaps:  # a file could not be read whole: what is missing may well stand there
            found = [f for f in found if not (f.message.endswith(" is missing") and "." not in f.path)]
        raise ScenarioError(_sorted([*findings, *found])) from None
    places = {at: (here.file, here.line, shown(here)) for at, here in walk(tree)}
    scenario = scenario.model_copy()
    scenario._places.update(places)
    findings += [*_series_findings(scenario), *_weather_findings(scenario)]
    if findings:
        raise ScenarioError(_sorted(findings))
    return scenario


def _read(path: Path, findings: list[Finding], trail: tuple[tuple[Path, int], ...]) -> Tree | None:
    """Read a file and what it extends; ``trail`` holds the files on the way here, each with its ``extends`` line."""
    tree = read(path, findings)
    said = tree.value.get("extends") if tree is not None else None
    if tree is None or said is None or said.value is None:
        return tree
    tree = Tree({k: v for k, v in tree.value.items() if k != "extends"}, tree.file, tree.line)
    if not isinstance(said.value, str):
        message = "must be a file or the name of a shipped scenario"
        findings.append(Finding(message, said.file, said.line, "extends", shown(said)))
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
    named: list[tuple[tuple[str | int, ...], Any]] = [
        (("fleet", i, key), value) for i, entry in enumerate(scenario.fleet) for key, value in entry if key not in entry.no_series
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


def _weather_findings(scenario: Scenario) -> list[Finding]:
    """Read the weather's file, likewise."""
    file = None if scenario.weather is None else scenario.weather.file
    if file is None or not file.is_file():
        return []
    from scenarios.weather import file_problems

    return file_problems(scenario)


def _sorted(findings: list[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda f: (f.file, f.line))
