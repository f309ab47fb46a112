"""``vpp hil`` against an emulator in a process of its own, and the mixed scenario that ships."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hil.timed import WATCHES
from tests.scenarios.small_runs import start, vpp
from vpp.historian.read import list_runs, open_run, read_events, read_manifest
from vpp.historian.verify import compare


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An inverter emulated in another process; gives its address."""
    told = tmp_path_factory.mktemp("emulator") / "addresses"
    process = start("hil", "emulate", "hil-inverter", "--port", "0", "--addresses", told)
    end = time.monotonic() + 120
    while not (told.exists() and told.read_text().endswith("\n")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the emulator does not come"
        time.sleep(0.1)
    yield told.read_text().strip().partition("=")[2].partition("?")[0]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)


def test_scan_finds_models_and_nameplate(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("hil", "scan", address.removeprefix("sunspec://").partition("/")[0], "--units", "1-2") == 0
    told = capsys.readouterr().out
    for words in ("unit 1  sunspec", "701, 702", "10000 W", "inverter-1"):
        assert words in told
    assert "unit 2" not in told


def test_read_has_units_and_quality(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("hil", "read", address) == 0
    told = capsys.readouterr().out
    assert all(word in told for word in ("telemetry.p_mw", "MW", "good", "applied.p_limit_mw"))
    assert vpp("hil", "read", address, "nix") == 1
    assert "is not in the device map" in capsys.readouterr().err


def test_write_needs_arming_and_is_read_back(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("hil", "write", address, "setpoints.p_limit_mw", 0.004) == 1
    assert "not armed" in capsys.readouterr().err
    assert vpp("hil", "write", f"{address}?emulated=yes", "setpoints.p_limit_mw", 0.004) == 0
    assert "asked 0.004, holds 0.004 MW" in capsys.readouterr().out
    assert vpp("hil", "write", address, "setpoints.p_limit_mw", -1, "--arm") == 1
    assert "takes 0" in capsys.readouterr().err
    assert vpp("hil", "write", address, "telemetry.p_mw", 1, "--arm") == 1
    assert "cannot be written" in capsys.readouterr().err


def test_watch_and_latency(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("hil", "watch", address, "p_mw", "--count", 2, "--every", 0.05) == 0
    assert "telemetry.p_mw" in capsys.readouterr().out
    assert vpp("hil", "latency", address, "--count", 20) == 0
    assert "20 readings of 6 points" in capsys.readouterr().out


def test_the_mixed_scenario_runs(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """999 simulated devices and the emulated one, which is limited by an order and obeys; one line names it."""
    short = ("--set", "time.steps=8", "--set", "orders.0.at=2016-06-21T12:00:02")
    assert vpp("hil", "run", "hil-mixed", *short, "--map", f"lab={address}?emulated=yes", "--out", tmp_path) == 0
    told = capsys.readouterr().out
    assert "lab-1" in told
    assert "ticks" in told
    (run,) = list_runs(tmp_path)
    assert read_manifest(run.path)["wiring"] == "hil"
    resources = open_run(run.path)["resources"]
    assert resources.sizes["resource"] == 1000
    lab = resources["delivered_p_mw"].sel(resource="lab-1").values
    assert 0.3 < lab[0] < 1.0
    assert lab[-1] < 0.3
    assert np.all(np.isfinite(resources["delivered_p_mw"].values))
    assert "link" in set(read_events(run.path)["kind"].values.tolist())
    assert compare(run.path, run.path).ticks == 8
    beside = open_run(run.path / "hil")
    assert beside.attrs["steps_recorded"] == 8
    assert beside["links"]["state"].values[-1].tolist() == [2]
    assert beside["outside"]["applied_p_limit_mw"].values[-1, 0] < 0.301
    counts = beside["latency"]["count"].values[-1].reshape(len(WATCHES), -1).sum(axis=1)
    assert np.all(counts > 0)
    assert {"1:holding:40080"} < set(beside["points"]["address"].values.tolist())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "lv-rural-street"), "no resource is outside"),
        (("run", "hil-mixed", "--map", "lob=sunspec://127.0.0.1:1"), "no such resource"),
        (("run", "hil-mixed", "--map", "lab=sunspec://127.0.0.1:1"), "link 127.0.0.1:1"),
        (("run", "hil-mixed", "--arm"), "--max-kw"),
        (("run", "hil-mixed", "--max-kw", "3"), "belong to --arm"),
        (("scan", "127.0.0.1:1"), "link 127.0.0.1:1"),
        (("scan", "127.0.0.1:1", "--units", "a"), "--units"),
        (("emulate", "hil-inverter", "--device", "nix"), "no such resource"),
        (("emulate", "hil-inverter", "--family", "old"), "modern, legacy or both"),
        (("parity", "lv-rural-street", "--wire", "smoke"), "must be one of"),
    ],
)
def test_what_is_wrong_is_told(words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("hil", *words) in (1, 2)
    assert told in capsys.readouterr().err.replace("\n", " ")
