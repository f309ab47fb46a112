"""The page on ``vpp grid``, carried out as it stands."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.cases import ROOT as CASES
from tests.scenarios.small_runs import vpp

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "howto" / "grid.md"
SAYS = {
    "info tests/cases/feeder33/feeder33.json": "tree sweep",
    "validate tests/cases/ieee34/feeder.dss": "0 error",
    "flow tests/cases/ieee34/feeder.dss": "unbalance",
    "n1 tests/cases/feeder33/feeder33.json": "restored by",
    "losses tests/cases/feeder33/feeder33.json": "139.6 kW",
    "estimate three.json": "not determined: bus 4",
}


def commands() -> list[tuple[list[str], int]]:
    """The words of every command on the page, and the exit code that it states."""
    out = []
    for line in "".join(re.findall(r"^```console\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)).splitlines():
        command, _, remark = line.partition("#")
        program, *words = command.split()
        assert program == "vpp"
        out.append((words, int("ends with 1" in remark)))
    return out


def test_the_page_is_carried_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(CASES, tmp_path / "tests" / "cases")
    for name, content in re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        (tmp_path / name).write_text(content, "utf-8")
    monkeypatch.chdir(tmp_path)
    said: set[str] = set()
    done = commands()
    assert {words[1] for words, _ in done} == {"info", "validate", "flow", "n1", "losses", "estimate", "convert"}
    for words, code in done:
        assert vpp(*words) == code, words
        text = capsys.readouterr().out
        for command, expected in SAYS.items():
            if " ".join(words[1:]).startswith(command):
                assert expected in text, words
                said.add(command)
    assert said == set(SAYS)
    assert (tmp_path / "again.json").is_file()
