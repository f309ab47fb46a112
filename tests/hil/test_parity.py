"""Decision parity: in process and over Modbus on loopback the decision logs are the same bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios import load
from scenarios.hil import WIRES, in_process, over_wire, parity
from tests.scenarios.small_runs import vpp
from vpp.historian.verify import compare

# Every controller of the case bites: at one second a step, from shortly before an order on.
MINUTES = ("time.start=2016-06-21T11:59:30", "time.days=null", "time.steps=90", "time.step_s=1", "planner.step_s=900",
           "sensors.delay_s=1")  # fmt: skip
HOUR = (*MINUTES[:2], "time.steps=3600", *MINUTES[3:])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The case in process and over the wire."""
    out = tmp_path_factory.mktemp("parity")
    a, b = parity(load("every-controller-bites", MINUTES), "modbus-integer", out)
    return {"process": a.path, "wire": b.path}


def test_the_logs_are_the_same_bytes(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    found = compare(runs["process"], runs["wire"])
    assert found.equal, found
    assert found.ticks == 90
    assert found.sha[0] == found.sha[1]
    assert vpp("verify", runs["process"], runs["wire"]) == 0
    told = capsys.readouterr().out
    assert "the same decisions, to the bit" in told
    assert "wiring modbus-integer" in told


def test_one_step_of_one_scale_is_found(runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The negative control of the wire: float32 rounds otherwise than the integers do."""
    other = in_process(load("every-controller-bites", MINUTES), WIRES["modbus"](), out=tmp_path)
    found = compare(other.path, runs["wire"])
    assert not found.equal
    assert found.step >= 0
    assert found.signal
    assert vpp("verify", other.path, runs["wire"]) == 1
    told = capsys.readouterr().out
    assert f"first at tick {found.step}" in told
    assert found.signal in told


def test_one_changed_limit_is_found(runs: dict[str, Path], tmp_path: Path) -> None:
    """The negative control of the controllers: another threshold over the wire."""
    changed = load("every-controller-bites", (*MINUTES, "control.guards.over_voltage.vm_high_pu=1.031"))
    found = compare(runs["process"], over_wire(changed, WIRES["modbus-integer"](), "changed", out=tmp_path).path)
    assert not found.equal


def test_a_run_without_a_log_cannot_be_verified(runs: dict[str, Path], tmp_path: Path) -> None:
    plain = load("every-controller-bites", (*MINUTES[:2], "time.steps=2", *MINUTES[3:])).run(out=tmp_path, wiring="direct")
    assert vpp("verify", plain.path, runs["wire"]) == 2


@pytest.mark.long
@pytest.mark.parametrize("wire", WIRES)
def test_an_hour_second_by_second(wire: str, tmp_path: Path) -> None:
    a, b = parity(load("every-controller-bites", HOUR), wire, tmp_path)
    found = compare(a.path, b.path)
    assert found.equal, found
    assert found.ticks == 3600
