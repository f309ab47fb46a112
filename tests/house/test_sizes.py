"""Small modules, short functions, no import circles."""

from __future__ import annotations

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp

from tests.house.tree import PACKAGES, ROOT, files, package_files

MODULE_LINES = 400
FUNCTION_LINES = 60
LONG_SHARE = 0.01


def long_modules(paths: list[Path]) -> list[str]:
    """Modules of too many lines."""
    counts = {path: len(path.read_text("utf-8").splitlines()) for path in paths}
    return [f"{path}: {lines} lines" for path, lines in counts.items() if lines > MODULE_LINES]


def function_lines(paths: list[Path]) -> dict[str, int]:
    """Every function with its lines, from ``def`` to its end."""
    return {
        f"{path}:{node.lineno} {node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in paths
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def circle(*packages: str) -> list[str]:
    """The first import circle; imports inside functions count, those for type checkers do not."""
    graph = grimp.build_graph(*packages, exclude_type_checking_imports=True, cache_dir=None)
    try:
        TopologicalSorter({m: graph.find_modules_directly_imported_by(m) for m in graph.modules}).prepare()
    except CycleError as found:
        return list(found.args[1])
    return []


def test_no_module_is_too_long() -> None:
    assert long_modules(files(pattern="*.py")) == []


def test_hardly_a_function_is_too_long() -> None:
    lines = function_lines(package_files())
    long = {name: count for name, count in lines.items() if count > FUNCTION_LINES}
    print(f"{len(long)} of {len(lines)} functions have more than {FUNCTION_LINES} lines:")
    for name, count in sorted(long.items(), key=lambda item: -item[1]):
        print(f"  {count:4d}  {Path(name).relative_to(ROOT)}")
    assert len(long) < LONG_SHARE * len(lines)


def test_nothing_imports_in_a_circle() -> None:
    assert circle(*PACKAGES, "tests") == []


def test_the_measures_bite(tmp_path: Path) -> None:
    long = tmp_path / "long.py"
    long.write_text("def f():\n" + "    pass\n" * 400)
    assert long_modules([long]) == [f"{long}: 401 lines"]
    assert function_lines([long]) == {f"{long}:1 f": 401}


def test_a_circle_is_found(tmp_path: Path, monkeypatch) -> None:
    package = tmp_path / "ring"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("from ring import b\n")
    (package / "b.py").write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ring import a\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert circle("ring") == []
    (package / "b.py").write_text("def f():\n    from ring import a\n")
    assert set(circle("ring")) == {"ring.a", "ring.b"}
