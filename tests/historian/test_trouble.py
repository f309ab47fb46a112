"""Killed runs, full disks and damaged files: nothing recorded is lost, and every error says what is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.historian.small import SERIES, assert_holds, values, write, writer
from vpp.historian.diff import diff_runs
from vpp.historian.read import list_runs, open_run, read_events, read_manifest
from vpp.kernel.errors import RunError

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


@pytest.mark.parametrize("enough", [3, 500])
def test_a_killed_run_loses_no_recorded_step(tmp_path: Path, enough: int) -> None:
    command = [sys.executable, "-m", "tests.historian.killed_run", str(tmp_path / "run")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    last = -1
    for line in process.stdout:
        last = int(line)
        if last >= enough:
            break
    assert read_manifest(tmp_path / "run")["status"] == "running"
    process.send_signal(signal.SIGKILL)
    last = max([last, *(int(line) for line in process.stdout if line.endswith("\n"))])
    process.stdout.close()
    process.wait()
    manifest = read_manifest(tmp_path / "run")
    assert manifest["status"] == "killed"
    assert last + 1 <= manifest["steps_recorded"] <= last + 2
    assert_holds(open_run(tmp_path / "run"), manifest["steps_recorded"])
    assert read_events(tmp_path / "run")["k"].tolist()[: last + 1] == list(range(last + 1))
    assert [r.status for r in list_runs(tmp_path)] == ["killed"]


def _on_a_disk_of_8_mb(place: Path) -> dict[str, Any]:
    """Run ``full_disk.py`` on a small tmpfs in a mount namespace of its own: as root, or as a user who may map it."""
    script = f"mount -t tmpfs -o size=8m tmpfs {place} && exec {sys.executable} {HERE / 'full_disk.py'} {place}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for command in (
        ["unshare", "--mount", "sh", "-c", script],
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script],
        [sys.executable, str(HERE / "full_disk.py"), str(place), "emulate"],
    ):
        try:
            done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=60)
        except FileNotFoundError:
            continue
        if done.returncode == 0:
            print("full disk by:", command[:3])
            return dict(json.loads(done.stdout))
        reason = done.stderr
    raise AssertionError(reason)


def test_a_full_disk_is_named_and_costs_no_step(tmp_path: Path) -> None:
    found = _on_a_disk_of_8_mb(tmp_path)
    assert "disk full" in found["start"]["error"]
    assert not found["start"]["left"]
    during = found["during"]
    assert during["put"] > 300
    assert during["rows"] == during["put"]
    assert during["equal"]
    assert during["events"] == 0
    assert len(during["told"]) == 3
    for text in during["told"]:
        assert "disk full" in text
        assert f"{during['put']} steps are safe" in text
    assert during["manifest"]["status"] == "failed"
    assert "disk full" in during["manifest"]["reason"]


def _cut(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


CHUNK = "series.zarr/resources/asked_p_mw/c.1.0"


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda run: _flip(run / CHUNK), "chunk c.1.0 is damaged"),
        (lambda run: _cut(run / CHUNK, 20), "chunk c.1.0 is damaged"),
        (lambda run: _cut(run / CHUNK, 0), "chunk c.1.0 is damaged"),
        (lambda run: (run / CHUNK).unlink(), "chunk c.1.0 is missing"),
    ],
)
def test_a_damaged_chunk_is_named_when_it_is_used(tmp_path: Path, spoil: Callable[[Path], None], word: str) -> None:
    path = write(tmp_path / "run", 50)
    spoil(path)
    series = open_run(path)["resources/asked_p_mw"]
    for use in (lambda: series.values, lambda: series[20, 1].values, lambda: diff_runs(path, path)):
        with pytest.raises(RunError, match=word) as caught:
            use()
        assert "resources/asked_p_mw, steps" in str(caught.value)
        assert "can still be read" in str(caught.value)
    assert np.isfinite(series[:16].values).all()
    assert np.isfinite(series[32:].values).all()


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda run: _cut(run / "manifest.json", 30), "manifest.json is damaged"),
        (lambda run: (run / "manifest.json").write_text("[]"), "manifest.json is damaged"),
        (lambda run: (run / "manifest.json").unlink(), "not a run directory"),
        (lambda run: _cut(run / "record.json", 99), "record.json is damaged"),
        (lambda run: (run / "record.json").write_text('{"format": 99}'), "format 99"),
        (lambda run: (run / "record.json").unlink(), "record.json is missing"),
        (lambda run: (run / "progress.json").write_text('{"rows": "many"}'), "progress.json is damaged"),
        (lambda run: (run / "progress.json").unlink(), "progress.json is damaged"),
    ],
)
def test_a_damaged_frame_is_named(tmp_path: Path, spoil: Callable[[Path], None], word: str) -> None:
    path = write(tmp_path / "run", 20)
    spoil(path)
    for use in (lambda: open_run(path), lambda: read_manifest(path)):
        with pytest.raises(RunError, match=word):
            use()
    assert [r.status for r in list_runs(tmp_path)] == ["damaged"]


def test_damaged_metadata_is_named_and_can_be_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "run", 20)
    _cut(path / "series.zarr/buses/vm_pu/zarr.json", 50)
    with pytest.raises(RunError, match="metadata of buses/vm_pu") as caught:
        open_run(path)
    assert f"{len(SERIES) - 1} of {len(SERIES)} series and 20 steps can still be read" in str(caught.value)
    tree = open_run(path, skip_damaged=True)
    assert "vm_pu" not in tree["buses"].data_vars
    assert tree["resources/asked_p_mw"].shape == (20, 3)
    assert "buses/vm_pu" in tree.attrs["damaged"][0]


def test_a_damaged_tail_leaves_the_stored_blocks(tmp_path: Path) -> None:
    run = writer(tmp_path / "run", 100)
    for k in range(40):
        run.put(k, values(k))
    while run._compactor.rows < 32:
        pass
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(tmp_path / "run"), str(copy)], check=True)
    run.close("interrupted")
    _cut(copy / "tail-0.bin", 4500)
    with pytest.raises(RunError, match=r"tail-0.bin has 4500 bytes.*32 steps can still be read"):
        open_run(copy)
    assert_holds(open_run(copy, skip_damaged=True), 32)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    for name, word in (("folder", "not a run"), ("file", "no such directory"), ("nowhere", "no such directory")):
        for use in (open_run, read_manifest, read_events):
            with pytest.raises(RunError, match=word if use is not read_events or name != "folder" else "events cannot be read"):
                use(tmp_path / name)
    with pytest.raises(RunError, match="no such directory"):
        list_runs(tmp_path / "nowhere")


def test_damaged_events_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "run", 2)
    _cut(path / "events.parquet", 10)
    with pytest.raises(RunError, match="events cannot be read"):
        read_events(path)
    assert_holds(open_run(path), 2)
