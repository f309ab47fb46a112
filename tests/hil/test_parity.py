"""Decision parity: in process and over each protocol on loopback the decision logs are the same bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from hil.links import SCHEMES
from hil.plain import plain_table
from scenarios import load
from scenarios.build import System
from scenarios.hil import WIRES, Wire, in_process, over_wire, parity
from tests.hil.small import fleet
from tests.scenarios.small_runs import vpp
from vpp.historian.verify import compare
from vpp.kernel.grid_points import PointLayout
from vpp.wire.points import PointTable

# Every controller of the case bites: at one second a step, from shortly before an order on.
MINUTE = ("time.start=2016-06-21T11:59:30", "time.days=null", "time.steps=60", "time.step_s=1", "planner.step_s=900",
          "sensors.delay_s=1")  # fmt: skip
HOUR = (*MINUTE[:2], "time.steps=3600", *MINUTE[3:])
FEW = (*MINUTE[:2], "time.steps=12", *MINUTE[3:])
CASE = "every-controller-bites"


@dataclass(frozen=True)
class Spoilt(Wire):
    """A wire whose table is not the one that the run in process had: one point has another scale, or is not there."""

    resource: str = ""
    signal: str = ""
    scale: float = 0.0

    def table(self, system: System) -> PointTable:
        table = super().table(system)
        row = table.find(self.resource, self.signal)
        point = table.points[row]
        own = (replace(point, scale=point.scale * self.scale),) if self.scale else ()
        return PointTable((*table.points[:row], *own, *table.points[row + 1 :]))


@pytest.fixture(scope="module", params=WIRES)
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    """The case in process and over a wire."""
    out = tmp_path_factory.mktemp(request.param)
    a, b = parity(load(CASE, MINUTE), request.param, out)
    return request.param, a.path, b.path


def test_the_logs_are_the_same_bytes(runs: tuple[str, Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    wire, a, b = runs
    found = compare(a, b)
    assert found.equal, found
    assert found.ticks == 60
    assert found.sha[0] == found.sha[1]
    assert vpp("verify", a, b) == 0
    told = capsys.readouterr().out
    assert "the same decisions, to the bit" in told
    assert f"wiring {wire}" in told


@pytest.mark.parametrize(
    "spoilt", [{"resource": "pv-1", "signal": "vm_pu", "scale": 3.0}, {"resource": "battery-1", "signal": "soc"}], ids=str
)
def test_a_spoilt_wire_is_found(
    spoilt: dict[str, object], runs: tuple[str, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The negative control: a scale that one point has not, a point that is not there; the tick and the signal are named."""
    wire, a, _ = runs
    made = Spoilt(WIRES[wire].protocol, WIRES[wire].kind, **spoilt)
    other = over_wire(load(CASE, FEW), made, "spoilt", out=tmp_path)
    found = compare(a, other.path)
    assert not found.equal
    assert 0 <= found.step < 12
    assert vpp("verify", a, other.path) == 1
    told = capsys.readouterr().out
    assert f"first at tick {found.step}" in told
    assert found.signal
    assert found.signal in told


def test_the_case_bites(runs: tuple[str, Path, Path]) -> None:
    """What is compared is no row of zeros: setpoints change from tick to tick, and several owners bind."""
    from vpp.historian.journal import Journal
    from vpp.historian.verify import DECISIONS

    log = Journal(runs[1] / DECISIONS)
    asked = np.array([log.read(k)["asked"] for k in range(log.rows)])
    causes = {int(cause) for k in range(log.rows) for cause in log.read(k)["cause_p"]}
    assert (asked[1:] != asked[:-1]).any(axis=(1, 2)).mean() > 0.5
    assert len(causes) >= 4


def test_one_changed_limit_is_found(tmp_path: Path) -> None:
    """The negative control of the controllers: another threshold over the wire."""
    a = in_process(load(CASE, MINUTE), WIRES["modbus"], out=tmp_path)
    changed = load(CASE, (*MINUTE, "control.guards.over_voltage.vm_high_pu=1.031"))
    assert not compare(a.path, over_wire(changed, WIRES["modbus"], "changed", out=tmp_path).path).equal


def test_wires_of_one_step_decide_the_same(tmp_path: Path) -> None:
    """float32 is float32 whatever carries it; scaled integers are others."""
    logs = {name: in_process(load(CASE, FEW), WIRES[name], out=tmp_path / name).path for name in ("modbus", "iec104", "dnp3")}
    assert compare(logs["modbus"], logs["iec104"]).equal
    assert not compare(logs["modbus"], logs["dnp3"]).equal


@pytest.mark.parametrize("wire", WIRES)
def test_every_wire_says_how_a_value_goes(wire: str) -> None:
    """Each signal passes, in the type and scale that the table states; the addresses are the protocol's own."""
    made = WIRES[wire]
    layout = PointLayout(("a", "b"), ("vm_pu", "p_mw"), ("", ""))
    table = plain_table(fleet(), layout, made.kind, protocol=made.protocol)
    assert all(SCHEMES[made.protocol].parse(point) for point in table.points)
    whole = {p.wire for p in table.points if p.signal == "p_mw"}
    assert whole == ({"int32"} if wire in ("dnp3", "modbus-integer") else {"float32"})
    scales = {p.scale for p in table.points if p.signal == "p_mw" and p.sheet != "points"}
    assert scales == ({1e-5} if whole == {"int32"} else {1.0})


def test_a_run_without_a_log_cannot_be_verified(tmp_path: Path) -> None:
    plain = load(CASE, FEW).run(out=tmp_path, wiring="direct")
    assert vpp("verify", plain.path, plain.path) == 2


@pytest.mark.long
@pytest.mark.parametrize("wire", WIRES)
def test_an_hour_second_by_second(wire: str, tmp_path: Path) -> None:
    a, b = parity(load(CASE, HOUR), wire, tmp_path)
    found = compare(a.path, b.path)
    assert found.equal, found
    assert found.ticks == 3600
