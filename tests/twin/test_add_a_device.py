"""The page on adding a device: its code is what stands there, and it runs in a scenario."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "add-a-device.md"
BLOCK = re.compile(r"^```(?:python|yaml) (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The line in `DEVICES`, said from outside; an entry point does the same.
RUN = """
import json, sys
import numpy as np
from electrolyser import Electrolyser
from twin.devices import DEVICES
if "electrolyser" not in DEVICES:
    DEVICES["electrolyser"] = Electrolyser
from scenarios import load
result = load("electrolyser.yaml", sys.argv[1:]).run(wiring="direct")
r = result.open()["resources"]
mine = r["kind"].values == "electrolyser"
print(json.dumps({
    "p": r["delivered_p_mw"].values[:, mine].tolist(), "soc": r["soc"].values[:, mine].tolist(),
    "diverged": result.diverged_steps, "registered": sorted(DEVICES),
}))
"""
PLUG = """
from scenarios import load
from twin.devices import DEVICES
load("electrolyser.yaml")
print(DEVICES["electrolyser"].__module__)
"""
SCENARIO_FAULT = "fleet.h2.efficiency=1.5"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page's files, and a run of them."""
    path = tmp_path_factory.mktemp("add-a-device")
    blocks = dict(BLOCK.findall(PAGE.read_text("utf-8")))
    assert sorted(blocks) == ["electrolyser.py", "electrolyser.yaml"]
    for name, text in blocks.items():
        (path / name).write_text(text, "utf-8")
    (path / "run.py").write_text(RUN, "utf-8")
    return path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "run.py", *arguments], cwd=folder, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": f"{folder}:{PAGE.parents[2]}", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


def follows_the_page(out: str) -> None:
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    assert found["diverged"] == 0
    assert len(found["p"]) == 96
    for j in range(2):
        p, soc = [row[j] for row in found["p"]], [row[j] for row in found["soc"]]
        assert min(p) == pytest.approx(-0.03)
        for k in range(95):
            gained = (-p[k] * 0.65 - 0.004) * 0.25 / 0.2
            assert soc[k + 1] == pytest.approx(min(max(soc[k] + gained, 0.0), 1.0), abs=5e-6)
        assert all(x == 0 or x <= -0.003 + 1e-6 for x in p)


def test_the_code_of_the_page_runs(folder: Path) -> None:
    done = run(folder)
    assert done.returncode == 0, done.stderr
    follows_the_page(done.stdout)


def test_an_entry_point_registers_it(folder: Path) -> None:
    """A distribution that names it in the group ``vpp.devices`` is enough."""
    about = folder / "electrolyser-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: electrolyser\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[vpp.devices]\nelectrolyser = electrolyser:Electrolyser\n")
    (folder / "plug.py").write_text(PLUG)
    done = subprocess.run(
        [sys.executable, "plug.py"], cwd=folder, capture_output=True, text=True, check=False,
        env={"PYTHONPATH": f"{folder}:{PAGE.parents[2]}", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "electrolyser"


def test_its_limits_are_checked(folder: Path) -> None:
    done = run(folder, SCENARIO_FAULT)
    assert done.returncode != 0
    assert "efficiency is a fraction 0…1" in done.stderr
