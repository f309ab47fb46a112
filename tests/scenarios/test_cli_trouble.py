"""Runs that are interrupted, killed or out of disk: the exit code, what is told, and what can still be read."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.scenarios.small_runs import start, vpp
from vpp.historian.read import read_manifest
from vpp.kernel.errors import RunError

YEARS = ("run", "lv-rural-street", "--set", "time.days=400")


def started(out: Path, *words: str) -> tuple[subprocess.Popen[str], Path]:
    """A long run that has recorded something."""
    process = start(*YEARS, "--out", out, *words, start_new_session=True)
    while process.poll() is None:
        for path in out.glob("lv-rural-street-*"):
            try:
                if read_manifest(path)["steps_recorded"] > 50:
                    return process, path
            except RunError:
                pass  # it is just being made
        time.sleep(0.05)
    raise AssertionError(process.communicate())


def alone(group: int) -> bool:
    """Whether a group of processes ends."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(("number", "wiring"), [(signal.SIGINT, "mosaik"), (signal.SIGTERM, "far")])
def test_an_interrupted_run_says_where_it_is_and_can_be_read(
    number: int, wiring: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process, path = started(tmp_path, "--wiring", wiring)
    if number == signal.SIGINT:  # a terminal sends Ctrl-C to all that it has started
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130, error
    assert alone(process.pid), "a process was left behind"
    manifest = read_manifest(path)
    assert manifest["status"] == "interrupted"
    assert f"{manifest['steps_recorded']} of {manifest['steps_planned']} steps are kept in {path}" in error
    assert f"vpp report {path}" in error
    assert "Traceback" not in error
    assert "Task was destroyed" not in error
    assert vpp("report", path) == 0
    assert "interrupted" in capsys.readouterr().out


def test_a_killed_and_a_running_run_are_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    process, path = started(tmp_path, "--wiring", "direct")
    assert vpp("report", path) == 0
    assert "running" in capsys.readouterr().out
    process.kill()
    process.communicate()
    assert vpp("report", path) == 0
    told = capsys.readouterr().out
    assert "killed" in told
    assert "imported" in told
    assert vpp("list", "--runs", tmp_path) == 0
    assert "killed" in capsys.readouterr().out


def on_a_small_disk(place: Path, size: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script beside a disk of this size, mounted where nobody else sees it."""
    whole = f"mount -t tmpfs -o size={size} tmpfs {place} && {{ {script}; }}"
    root = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", "--mount", *root, "sh", "-c", whole]
    if shutil.which("unshare") is None or subprocess.run([*command[:-1], "true"], check=False).returncode:
        pytest.skip("no disk can be mounted here")
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "200"}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=60)


def test_a_disk_that_is_full_from_the_start_ends_with_1(tmp_path: Path) -> None:
    done = on_a_small_disk(tmp_path, "100k", f"{sys.executable} -m vpp.cli {' '.join(YEARS)} --out {tmp_path}/runs")
    assert done.returncode == 1, done.stderr
    assert "disk full" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_disk_that_fills_up_ends_with_1_and_loses_no_step(tmp_path: Path) -> None:
    run = f"{sys.executable} -m vpp.cli {' '.join(YEARS)} --wiring direct --out {tmp_path}/runs"
    look = f"{sys.executable} -m vpp.cli report --no-html {tmp_path}/runs/*"
    done = on_a_small_disk(tmp_path, "2200k", f"{run}; echo ended with $?; {look}; echo looked with $?")
    assert "ended with 1" in done.stdout, done.stderr
    assert "looked with 0" in done.stdout, done.stderr
    assert "disk full" in done.stderr
    assert "steps are safe" in done.stderr
    assert "failed" in done.stdout
    assert "Traceback" not in done.stderr
