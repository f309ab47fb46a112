"""The page on functional mock-up units, executed as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vpp.historian.read import list_runs, open_run

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "howto" / "fmu.md"
PROGRAMS = {"pythonfmu": "pythonfmu", "vpp": "vpp.cli"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's files, and its commands carried out among them."""
    path, text = tmp_path_factory.mktemp("page"), PAGE.read_text("utf-8")
    for name, content in re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        (path / name).write_text(content, "utf-8")
    for line in "".join(re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)).splitlines():
        program, *words = line.split()
        command = [sys.executable, "-m", PROGRAMS[program], *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return path


def test_the_page_is_carried_out(folder: Path) -> None:
    assert {"boiler.py", "street.yaml", "Boiler.fmu"} <= {path.name for path in folder.iterdir()}


def test_the_boilers_are_heated_as_ordered(folder: Path) -> None:
    """The order holds from 11 to 15 local time; the charge is power less what is drawn."""
    (run,) = list_runs(folder / "runs")
    tree = open_run(run.path)
    kind = tree["resources/kind"].values
    p = tree["resources/delivered_p_mw"].values[:, kind == "fmu"]
    soc = tree["resources/soc"].values[:, kind == "fmu"]
    assert p.shape == (96, 3)
    heated = np.zeros(96, np.bool_)
    heated[44:60] = True
    assert (p[~heated] == 0.0).all()
    assert p[44:49] == pytest.approx(-0.003)
    assert (np.diff(soc, axis=0)[:44] < 0.0).all()
    assert (np.diff(soc, axis=0)[44:49] > 0.0).all()
    assert soc.max() <= 1.0
