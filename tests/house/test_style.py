"""One form and checked types: ruff and mypy have nothing to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.tree import ROOT, python

CHECKS = {
    "ruff check": ["ruff", "check", "--output-format=concise", "--no-cache"],
    "ruff format": ["ruff", "format", "--check", "--no-cache"],
    "mypy": ["mypy"],
}
LAWLESS = {
    "ruff check": '"""A clock of its own."""\n\nimport time\n\nNOW = time.time()\n',
    "ruff format": '"""Not in the one form."""\nX = [ 1,2 ]\n',
    "mypy": '"""Not annotated."""\n\n\ndef half(x):\n    return x / 2\n',
}


@pytest.mark.parametrize("check", CHECKS)
def test_nothing_to_say(check: str) -> None:
    result = python("-m", *CHECKS[check])
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("check", CHECKS)
def test_something_to_say(check: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(LAWLESS[check], "utf-8")
    result = python("-m", *CHECKS[check], f"--config={ROOT / 'pyproject.toml'}", str(bad))
    assert result.returncode == 1, result.stdout + result.stderr


@pytest.mark.parametrize(
    "line",
    [
        "import datetime\n\nX = datetime.datetime.now(datetime.UTC)",
        "from datetime import date\n\nX = date.today()",
        "import time\n\nX = time.time()",
        "from time import time_ns\n\nX = time_ns()",
        "import random\n\nX = random.random()",
        "import numpy as np\n\nX = np.random.normal()",
    ],
)
def test_clocks_and_global_chance_are_banned(line: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(f'"""Bad."""\n\n{line}\n', "utf-8")
    ruff = ("ruff", "check", "--output-format=concise", f"--config={ROOT / 'pyproject.toml'}", "--select=TID251,NPY002")
    assert "bad.py:" in python("-m", *ruff, str(bad)).stdout
