"""The floors: who may import whom. The contracts stand in pyproject.toml; import-linter holds them."""

from __future__ import annotations

import sys
from pathlib import Path

import grimp
import pytest

from tests.house.tree import CONFIG, PACKAGES, ROOT, python

LINT = "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command())"
CONTRACTS = {contract["id"]: contract for contract in CONFIG["tool"]["importlinter"]["contracts"]}
CLOSED_TO_CONTROLLERS = {"vpp.wire", "vpp.bus", "vpp.historian", "vpp.ledger", "vpp.security"}
LAYERS = {name.strip() for layer in CONTRACTS["floors"]["layers"] for name in layer.split("|")}
FLOORS = {name.strip("()") for name in LAYERS}


def lint(root: Path) -> tuple[int, str]:
    """Run import-linter over the tree below ``root``."""
    result = python("-c", LINT, "--no-cache", "--no-logo", cwd=root)
    return result.returncode, result.stdout + result.stderr


def strangers(root: Path = ROOT) -> list[str]:
    """What the kernel imports beside itself, numpy, numba and the standard library."""
    sys.path.insert(0, str(root))
    try:
        graph = grimp.build_graph("vpp", include_external_packages=True, cache_dir=None)
    finally:
        sys.path.remove(str(root))
    welcome = {"numpy", "numba", *sys.stdlib_module_names}
    return [
        f"{module} imports {imported}"
        for module in sorted(graph.find_descendants("vpp.kernel") | {"vpp.kernel"})
        for imported in sorted(graph.find_modules_directly_imported_by(module))
        if not f"{imported}.".startswith("vpp.kernel.") and imported not in welcome
    ]


def test_the_contracts_hold() -> None:
    code, text = lint(ROOT)
    assert code == 0, text


def test_the_kernel_stands_on_numpy_and_numba_alone() -> None:
    assert strangers() == []


def test_every_part_has_its_floor() -> None:
    parts = {f"vpp.{path.stem}" for path in (ROOT / "vpp").iterdir() if (path / "__init__.py").exists() or path.suffix == ".py"}
    assert parts - {"vpp.__init__"} | (set(PACKAGES) - {"vpp"}) <= FLOORS


def test_every_part_that_is_closed_to_controllers_is_named_so() -> None:
    there = {name for name in CLOSED_TO_CONTROLLERS if (ROOT / name.replace(".", "/")).is_dir()}
    assert set(CONTRACTS["border"]["forbidden_modules"]) == there


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A house of the same shape with nothing in it."""
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text("utf-8"), "utf-8")
    for part in ["vpp", *sorted(LAYERS & FLOORS), *CONTRACTS["border"]["forbidden_modules"]]:
        name = part.replace(".", "/")
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "__init__.py").write_text("")
    return tmp_path


def test_an_empty_house_holds_every_contract(copy: Path) -> None:
    code, text = lint(copy)
    assert code == 0, text


@pytest.mark.parametrize(
    ("file", "line", "broken"),
    [
        ("vpp/kernel/bad.py", "import vpp.grid", "floors"),
        ("vpp/grid/bad.py", "import scenarios", "floors"),
        ("controllers/bad.py", "def f():\n    import twin", "floors"),
        ("controllers/bad.py", "import mosaik", "pure"),
        ("controllers/bad.py", "import random", "pure"),
        ("vpp/grid/bad.py", "from time import sleep", "pure"),
        ("controllers/bad.py", "import vpp.historian", "border"),
    ],
)
def test_a_forbidden_import_breaks_its_contract(copy: Path, file: str, line: str, broken: str) -> None:
    (copy / file).write_text(line)
    code, text = lint(copy)
    assert code != 0
    assert f"{CONTRACTS[broken]['name']} BROKEN" in text


def test_a_stranger_in_the_kernel_is_found(copy: Path) -> None:
    (copy / "vpp/kernel/bad.py").write_text("import numpy\nimport numba\nimport math\nimport scipy\n")
    # The graph is of the copy in a process of its own: this one has the real package loaded.
    code = "from pathlib import Path; from tests.house.test_contracts import strangers; print(strangers(Path('.')))"
    told = python("-c", f"import sys; sys.path.append({str(ROOT)!r}); {code}", cwd=copy)
    assert told.stdout.strip() == "['vpp.kernel.bad imports scipy']", told.stderr
