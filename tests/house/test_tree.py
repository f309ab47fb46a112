"""What stands in the files: nothing of one machine, a face for every package, chance and threads in their place."""

from __future__ import annotations

import ast
import re
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.tree import CONFIG, PACKAGES, ROOT, files, package_files

# Spelt in two parts, so that this file does not find itself.
MACHINE = re.compile(r"(?<![\w.])/(?:work|opt|home|root|Users|mnt)/" + r"|\.\./" + r"shared|file:/" + "/|index-" + "url")
BINARY = {".mat", ".npz", ".parquet", ".png", ".woff2"}
DECIDES = ("vpp/kernel", "controllers")


def places_of_a_machine(paths: list[Path]) -> list[str]:
    """Lines that name a folder which only one machine has, or a neighbour of the project."""
    texts = [(path, path.read_text("utf-8")) for path in paths if path.suffix not in BINARY]
    return [f"{path}: {line.strip()}" for path, text in texts for line in text.splitlines() if MACHINE.search(line)]


def faceless(root: Path, *folders: str) -> list[str]:
    """Folders with Python files but no ``__init__.py``, and ``__init__.py`` with code but no docstring."""
    missing = {path.parent for folder in folders for path in files(root / folder, "*.py")}
    wrong = [f"{folder}: no __init__.py" for folder in sorted(missing) if not (folder / "__init__.py").exists()]
    inits = [folder / "__init__.py" for folder in sorted(missing) if (folder / "__init__.py").exists()]
    modules = [(path, ast.parse(path.read_text("utf-8"))) for path in inits]
    return wrong + [f"{path}: no docstring" for path, module in modules if module.body and not ast.get_docstring(module)]


def names_used(path: Path) -> set[str]:
    """Dotted names and keyword arguments that a file uses or imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute):
            names.add(ast.unparse(node))
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.keyword) and node.arg and not (isinstance(node.value, ast.Constant) and not node.value.value):
            names.add(f"{node.arg}=")
    return names


def chance(path: Path) -> bool:
    """Whether a file draws random numbers."""
    return any(re.match(r"(np|numpy)\.random\b", name) for name in names_used(path))


def unsteady(path: Path) -> bool:
    """Whether a file computes in an order, or with rules, that may change from run to run."""
    return bool(names_used(path) & {"numba.prange", "parallel=", "fastmath=", "np.dot", "np.linalg.solve", "np.linalg.inv"})


def test_nothing_knows_this_machine() -> None:
    assert places_of_a_machine(files()) == []


def test_every_package_has_a_face() -> None:
    assert faceless(ROOT, *PACKAGES, "tests") == []


def test_chance_lives_in_the_twin_and_in_a_scenarios_sample_alone() -> None:
    elsewhere = [path for path in package_files() if path.relative_to(ROOT).parts[0] not in {"twin", "scenarios"}]
    assert [str(path) for path in elsewhere if chance(path)] == []


def test_the_decision_path_is_steady() -> None:
    assert [str(path) for folder in DECIDES for path in files(ROOT / folder, "*.py") if unsteady(path)] == []


def test_every_dependency_is_pinned_and_installed_so() -> None:
    project = CONFIG["project"]
    wanted = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    lines = (ROOT / "constraints.txt").read_text("utf-8").split()
    pins = {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}
    assert {canonicalize_name(Requirement(line).name) for line in wanted} <= set(pins)
    assert {name: distribution(name).version for name in pins} == pins


@pytest.mark.parametrize(
    "line", ["/" + "work/x", "open('/" + "home/me/x')", "../" + "shared/DESIGN.md", "see file:/" + "//x", "--index-" + "url=x"]
)
def test_a_place_of_a_machine_is_found(line: str, tmp_path: Path) -> None:
    (tmp_path / "x.md").write_text(f"fine\n{line}\n")
    assert len(places_of_a_machine(files(tmp_path))) == 1


def test_a_package_without_face_is_found(tmp_path: Path) -> None:
    for name, text in {"none/a.py": "", "bare/__init__.py": "x = 1\n", "empty/__init__.py": ""}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    assert len(faceless(tmp_path, "none", "bare", "empty")) == 2


@pytest.mark.parametrize("line", ["import numpy as np\nnp.random.default_rng(1)", "from numpy.random import Generator"])
def test_chance_is_found(line: str, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(line)
    assert chance(tmp_path / "x.py")


@pytest.mark.parametrize("line", ["from numba import prange", "f = njit(parallel=True)(g)", "f = njit(fastmath={'nnan'})(g)"])
def test_an_unsteady_computation_is_found(line: str, tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text(line)
    assert unsteady(tmp_path / "x.py")
    (tmp_path / "x.py").write_text("f = njit(cache=True, parallel=False)(g)")
    assert not unsteady(tmp_path / "x.py")
