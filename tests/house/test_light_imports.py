"""What one types a hundred times a day is quick: no heavy library is loaded before it is needed."""

from __future__ import annotations

import pytest

from tests.house.tree import python

# numba itself looks at scipy's version, which costs nothing: scipy's parts are what is heavy.
HEAVY = (
    "dash", "fastapi", "highspy", "lightsim2grid", "matplotlib", "mosaik", "mosaik_api_v3", "pandapower", "pandas", "plotly",
    "pvlib", "pyarrow", "pyomo", "scipy.linalg", "scipy.optimize", "scipy.sparse", "scipy.special", "simbench", "windpowerlib",
    "xarray", "zarr",
)  # fmt: skip
TELL = f"print('LOADED', *(name for name in {HEAVY} if name in sys.modules))"
COMMAND = f"""
import sys
from vpp.cli import main
code = 0
try:
    main()
except SystemExit as end:
    code = end.code
{TELL}
sys.exit(code)
"""


def loaded(*arguments: str) -> str:
    """Run Python and give the heavy libraries that it has loaded in the end."""
    result = python(*arguments)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout.rpartition("LOADED")[2].strip()


@pytest.mark.parametrize("module", ["vpp.kernel.tick", "vpp.grid", "vpp.historian", "scenarios", "controllers", "twin"])
def test_an_import_is_light(module: str) -> None:
    assert loaded("-c", f"import sys, {module}; {TELL}") == ""


@pytest.mark.parametrize("command", ["--help", "list", "schema"])
def test_a_command_is_light(command: str) -> None:
    assert loaded("-c", COMMAND, command) == ""


def test_checking_a_scenario_is_light() -> None:
    loaded("-c", COMMAND, "check", "mv-open-ring")  # its network is compiled now, if it was not
    assert loaded("-c", COMMAND, "check", "mv-open-ring") == ""


def test_a_heavy_import_is_seen() -> None:
    assert loaded("-c", f"import sys, scipy.sparse; {TELL}") == "scipy.sparse"
