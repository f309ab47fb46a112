"""Every benchmark still runs, on a few steps; what it measures is nobody's business here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FEW = {
    "batch_powerflow.py": ["--steps", "200", "--repeats", "1", "--runpp-steps", "5"],
    "contingencies.py": ["--cases", "40", "--pandapower-cases", "5", "--repeats", "1"],
    "cosimulation.py": ["--steps", "6", "--peer-steps", "3"],
    "decide.py": ["--n", "4000"],
    "hil_fleet.py": ["--seconds", "3", "--devices", "20", "--peer-seconds", "2"],
    "state_estimation.py": ["--ticks", "20", "--pandapower-ticks", "1"],
    "threephase_year.py": ["--steps", "64", "--chunk", "48", "--newton-steps", "8"],
    "device_kernels.py": ["--sizes", "1000", "--mixed", "2000", "--seconds", "0.05"],
    "devices.py": ["--sizes", "2000"],
    "volt_var.py": ["--repeats", "2", "--runopp", "1"],
    "year_closed_loop.py": ["--steps", "60"],
}


def test_all_benchmarks_are_named_here() -> None:
    assert sorted(FEW) == sorted(p.name for p in (ROOT / "benchmarks").glob("[a-z]*.py"))


@pytest.mark.long
@pytest.mark.parametrize("name", FEW)
def test_benchmark_runs(name: str) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / name), *FEW[name]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ratio" in done.stdout
