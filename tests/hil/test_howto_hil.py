"""The page on devices outside, executed as it stands: its emulator in the background, the rest one after the other."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hil.devicemap import load_map
from tests.scenarios.small_runs import COMMAND
from vpp.historian.read import list_runs
from vpp.historian.verify import compare

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "howto" / "hil.md"


def start(words: list[str], folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "200"}
    command = [sys.executable, "-c", COMMAND, *words]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def carried_out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """The page's folder, and what each command said by its first words. The port is a free one, for others may run this, too."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    folder, text = tmp_path_factory.mktemp("page"), PAGE.read_text("utf-8").replace("5020", port)
    for name, content in re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        (folder / name).write_text(content, "utf-8")
    emulator, *lines = "".join(re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)).splitlines()
    background = start(shlex.split(emulator)[1:], folder)
    told: dict[str, str] = {}
    try:
        end = time.monotonic() + 120
        while not (folder / "devices.txt").exists():
            assert background.poll() is None, background.communicate()
            assert time.monotonic() < end, "the emulator does not come"
            time.sleep(0.1)
        for line in lines:
            done = start(shlex.split(line)[1:], folder)
            out, err = done.communicate(timeout=180)
            assert done.returncode == 0, line + out + err
            told[line] = out
        yield folder, told
    finally:
        background.send_signal(signal.SIGINT)
        background.communicate(timeout=30)


def said(told: dict[str, str], *words: str) -> str:
    (found,) = [out for line, out in told.items() if all(word in line for word in words)]
    return found


def links(told: str) -> list[dict[str, str]]:
    """The lines of the table of links."""
    lines = told.splitlines()
    begin = next(k for k, line in enumerate(lines) if line.startswith("link ") and "taken" in line)
    rows = itertools.takewhile(lambda line: ":" in line.split(" ")[0], lines[begin + 1 :])
    return [dict(zip(lines[begin].split(), row.split())) for row in rows]


def test_the_page_is_carried_out(carried_out: tuple[Path, dict[str, str]]) -> None:
    folder, told = carried_out
    assert re.match(r"inverter-1=sunspec://127\.0\.0\.1:\d+/1\?emulated=yes\n", (folder / "devices.txt").read_text())
    assert "unit 1  sunspec" in said(told, "scan")
    assert "telemetry.p_mw" in said(told, "hil read")
    assert "20 readings" in said(told, "latency")


def test_what_is_not_armed_is_withheld(carried_out: tuple[Path, dict[str, str]]) -> None:
    _, told = carried_out
    closed, armed = (links(said(told, word))[0] for word in ("--out withheld", "--arm"))
    assert closed["taken"] == "0/0"
    assert int(closed["withheld"]) > 0
    assert int(armed["taken"].partition("/")[0]) > 0
    assert armed["withheld"] == "0"


def test_parity_is_certified(carried_out: tuple[Path, dict[str, str]]) -> None:
    folder, told = carried_out
    assert "the same decisions, to the bit" in said(told, "parity")
    one, other = list_runs(folder / "parity")
    assert compare(one.path, other.path).equal


def test_the_map_of_the_page_is_right(carried_out: tuple[Path, dict[str, str]]) -> None:
    folder, _ = carried_out
    (point,) = load_map(str(folder / "mine.yaml")).on_wire("meter", 7).points
    assert (point.address, point.sign, point.unit) == ("7:100", -1, "kW")
