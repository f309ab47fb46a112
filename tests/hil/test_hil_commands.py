"""``vpp hil`` against an emulator in a process of its own, and the mixed scenario that ships."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hil.bench.simulated import World
from hil.timed import WATCHES
from scenarios.bench import InverterModel
from tests.hil.scpi_server import V_NOM, Instrument
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
    short = ("--set", "time.steps=12", "--set", "orders.0.at=2016-06-21T12:00:02")
    assert vpp("hil", "run", "hil-mixed", *short, "--map", f"lab={address}?emulated=yes", "--out", tmp_path) == 0
    told = capsys.readouterr()
    assert "lab-1" in told.err
    assert all(words in told.out for words in ("complete", " ticks, ", "begin after the deadline", "vpp dash"))
    (run,) = list_runs(tmp_path)
    assert read_manifest(run.path)["wiring"] == "hil"
    resources = open_run(run.path)["resources"]
    assert resources.sizes["resource"] == 1000
    lab = resources["delivered_p_mw"].sel(resource="lab-1").values
    assert 0.3 < lab[0] < 1.0
    assert lab[-1] < 0.3
    assert np.all(np.isfinite(resources["delivered_p_mw"].values))
    assert "link" in set(read_events(run.path)["kind"].values.tolist())
    assert compare(run.path, run.path).ticks == 12
    beside = open_run(run.path / "hil")
    assert beside.attrs["steps_recorded"] == 12
    assert beside["links"]["state"].values[-1].tolist() == [2]
    assert beside["outside"]["applied_p_limit_mw"].values[-1, 0] < 0.301
    counts = beside["latency"]["count"].values[-1].reshape(len(WATCHES), -1).sum(axis=1)
    assert np.all(counts > 0)
    assert {"1:holding:40080"} < set(beside["points"]["address"].values.tolist())


@pytest.mark.parametrize("how", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_an_end_by_hand_takes_everything_back(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: int) -> None:
    """The device is limited; Ctrl-C: it leads itself at once, long before its lease is over, and the record says so."""
    emulated = f"lab={address}?emulated=yes"
    orders = ("--set", "orders.0.at=2016-06-21T12:00:01", "--set", "orders.0.until=2016-06-21T12:30")
    process = start("hil", "run", "hil-mixed", "--set", "time.steps=600", *orders, "--map", emulated, "--out", tmp_path)

    def power() -> float:
        while vpp("hil", "read", address, "telemetry.p_mw"):  # a machine that is busy may answer too late
            assert time.monotonic() < end, capsys.readouterr()
        words = capsys.readouterr().out.split()
        return float(words[words.index("telemetry.p_mw") + 1])

    end = time.monotonic() + 150
    while power() > 0.003:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the device is never limited"
        time.sleep(0.2)
    process.send_signal(how)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "what was asked was taken back on every link" in told
    end = time.monotonic() + 20
    while power() < 0.003:
        assert time.monotonic() < end, "the device stays limited"
    (run,) = list_runs(tmp_path)
    assert run.status == open_run(run.path / "hil").attrs["status"] == "interrupted"
    assert run.steps_recorded == open_run(run.path / "hil").attrs["steps_recorded"] > 0


def test_a_driven_device(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A source over SCPI holds the device at the voltage of its node in the twin, and at nominal when the run is over."""
    with Instrument(World(InverterModel())) as instrument:
        source = f"outside.0.source={{at: 'scpi://127.0.0.1:{instrument.port}', v_nom: {V_NOM}}}"
        words = ("--set", "time.steps=6", "--set", source, "--map", f"lab={address}?emulated=yes", "--out", tmp_path)
        assert vpp("hil", "run", "hil-mixed", *words) == 0
        told = capsys.readouterr()
        assert f"driven by scpi://127.0.0.1:{instrument.port}, ACME" in told.err
        assert "it stands at 1 pu, 50 Hz" in told.out
        assert (instrument.world.vm_pu, instrument.world.f_hz) == (1.0, 50.0)
        told_v = [float(line.split()[1]) / V_NOM for line in instrument.log if line.startswith("SOUR:VOLT")]
    (run,) = list_runs(tmp_path)
    assert run.manifest["outside"]["lab-1"]["standing"] == "driven"
    outside = open_run(run.path / "hil")["outside"]
    assert outside["standing"].values.tolist() == ["driven"]
    held = outside["held_vm_pu"].values[:, 0]
    assert (told_v[0], told_v[-1]) == (1.0, 1.0)
    assert np.abs(held - 1.0).max() > 1e-3  # it was moved
    assert set(np.round(held, 4)) <= {round(v, 4) for v in told_v}
    whole = open_run(run.path)
    bus = int(whole["resources"]["bus"].sel(resource="lab-1").values)
    # From 1 pu to the twin's first voltage, in as many steps as the slew allows.
    assert np.abs(np.array(told_v[:3]) - whole["buses"]["vm_pu"].values[0, bus]).min() < 1e-5


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("run", "lv-rural-street"), "no resource is outside"),
        (("run", "hil-mixed", "--map", "lob=sunspec://127.0.0.1:1"), "no such resource"),
        (("run", "hil-mixed", "--map", "lab=sunspec://127.0.0.1:1"), "link 127.0.0.1:1"),
        (("run", "hil-mixed", "--arm"), "--max-kw"),
        (("run", "hil-mixed", "--set", "outside.0.source=tcp://lab"), "must be scpi://host:port"),
        (("emulate", "hil-inverter", "--fault", "drip"), "must be one of drop"),
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
