"""``vpp hil emulate --protocol …`` in a process of its own, and ``vpp hil`` towards it: look, write, and a short run."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.scenarios.small_runs import start, vpp
from vpp.historian.read import list_runs, open_run

# One PV inverter and one battery on a street, both led by orders from the third second on.
SCENARIO = """\
# A PV inverter that is limited and a battery that follows, both outside.
extends: hil-inverter
time: {start: 2016-06-21T12:00, days: null, steps: 12, zone: Europe/Berlin, step_s: 1}
fleet:
  - {id: house, kind: load, at: loads}
  - {id: inverter, kind: pv, at: {sample: 1, of: loads}, p_mw: 0.010, s_mva: 0.011}
  - {id: battery, kind: battery, at: {sample: 1, of: loads}, p_mw: 0.005, e_mwh: 0.010, soc: 0.5}
control: {proposers: [{use: orders}], guards: []}
orders:
  - {at: 2016-06-21T12:00:02, until: 2016-06-21T12:10, resources: inverter, limit_mw: 0.002}
  - {at: 2016-06-21T12:00:02, until: 2016-06-21T12:10, resources: battery, p_mw: -0.003}
"""
MAPS = {"modbus": {"plain"}, "dnp3": {"plain", "mesa_der"}, "iec104": {"plain", "park_104"}, "iec61850": {"der_61850"}}


@pytest.fixture(scope="module", params=MAPS)
def emulated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, list[str]]]:
    """A protocol, the scenario, and the lines of its devices as ``--map`` takes them."""
    folder = tmp_path_factory.mktemp(request.param)
    path, told = folder / "street.yaml", folder / "addresses"
    path.write_text(SCENARIO)
    words = ("--protocol", request.param, "--port", "0", "--addresses", told, "--set", "time.steps=3600")
    process = start("hil", "emulate", path, *words)
    end = time.monotonic() + 120
    while not (told.exists() and told.read_text().endswith("\n")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the emulator does not come"
        time.sleep(0.1)
    yield request.param, path, told.read_text().split()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)


def test_devices_are_driven(emulated: tuple[str, Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    protocol, scenario, lines = emulated
    assert {line.partition("?map=")[2].partition("&")[0] for line in lines} == MAPS[protocol]
    maps = [word for line in lines for word in ("--map", line)]
    assert vpp("hil", "run", scenario, *maps, "--out", tmp_path) == 0
    told = capsys.readouterr().err
    assert f"inverter-1  {protocol}://" in told
    assert f"battery-1  {protocol}://" in told
    (run,) = list_runs(tmp_path)
    delivered = open_run(run.path)["resources"]["delivered_p_mw"]
    inverter, battery = (delivered.sel(resource=name).values for name in ("inverter-1", "battery-1"))
    assert inverter[0] > 0.003
    assert inverter[-1] == pytest.approx(0.002, abs=2e-5)
    assert battery[-1] == pytest.approx(-0.003, abs=2e-5)
    assert np.all(np.isfinite(inverter))


def test_devices_are_looked_at(emulated: tuple[str, Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    protocol, _, lines = emulated
    address = next(line for line in lines if line.startswith("battery")).partition("=")[2]
    host_port = address.partition("://")[2].partition("/")[0]
    assert vpp("hil", "scan", host_port) == 0
    assert f"  {protocol}  " in capsys.readouterr().out
    assert vpp("hil", "read", address, "p_mw", "soc") == 0
    told = capsys.readouterr().out
    assert all(word in told for word in ("telemetry.p_mw", "MW", "telemetry.soc", "good"))
    assert vpp("hil", "write", address.replace("yes", "no"), "setpoints.p_mw", 0.001) == 1
    assert "not armed" in capsys.readouterr().err
    assert vpp("hil", "write", address, "setpoints.p_mw", 0.001) == 0
    assert "asked 0.001" in capsys.readouterr().out
    assert vpp("hil", "watch", address, "p_mw", "--count", 1) == 0
    assert "telemetry.p_mw" in capsys.readouterr().out
    assert vpp("hil", "latency", address, "--count", 5) == 0
    assert "5 readings of" in capsys.readouterr().out
