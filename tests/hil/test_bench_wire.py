"""The bench over real sockets: our emulated inverter passes it, mutants behind its registers fail their clause."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import zarr

from hil.bench.address import emulator, laboratory_at
from hil.bench.device import DeviceServer, DeviceWorld
from hil.bench.laboratory import Laboratory
from hil.bench.procedures import procedures_for
from hil.bench.results import Basis, Outcome, by_clause
from hil.bench.session import Session
from hil.watchdog import Arming
from scenarios.bench import InverterModel
from tests.hil.bench_device import bench, deaf, device, first_failure, reversed_vars, unadopted, verdicts
from tests.hil.mutants import MUTANTS
from tests.scenarios.small_runs import start, vpp
from vpp.kernel.errors import LinkError
from vpp.wire.clock import wall_ns
from vpp.wire.link import Answer, Status

CLAUSES = {
    "nameplate by the interface", "settings by the interface", "monitoring by the interface", "limit active power",
    "constant power factor", "constant reactive power", "reactive power capability", "volt-var", "volt-watt", "watt-var",
    "frequency droop", "enter service", "enter service, ramp", "voltage trip", "frequency trip", "priority of responses",
    "voltage ride-through", "frequency ride-through",
}  # fmt: skip
# One mistake for every suite, each behind registers that say the right thing.
OVER_THE_WIRE = (
    "volt-var, half the slope", "volt-var, late", "volt-watt, late", "watt-var, sign", "power factor, sign",
    "reactive power, of capability", "reactive power, capability ignored", "droop, half the gain", "limit, ignored",
    "enter service, no delay", "enter service, no ramp", "trip, undervoltage early", "trip, overfrequency never",
    "priority, volt-watt forgotten", "ride-through, no cessation",
)  # fmt: skip
# What the models of SunSpec have no register for cannot be asked for, and is judged by the standard's own limit.
SLOWER_THAN_ASKED = ("reactive power, late",)
IN_THE_MODEL = ("settings, forgets", "settings, rounds")  # of the model's own interface; registers have theirs


@pytest.fixture(scope="module")
def right() -> Iterator[DeviceServer]:
    with device() as server:
        yield server


@pytest.fixture
def lab(right: DeviceServer) -> Iterator[Laboratory]:
    with bench(right) as made:
        yield made


def test_every_suite_passes_on_our_emulator_in_another_process(tmp_path: Path) -> None:
    assert vpp("hil", "bench", "--target", "emulator", "--out", tmp_path, "-q") == 0
    manifest = json.loads((tmp_path / "manifest.json").read_text("utf-8"))
    passed = {c["clause"].partition(":")[0]: c["verdict"] for c in manifest["clauses"] if c["failed"] == 0 < c["passed"]}
    assert set(passed) == CLAUSES
    by_registers = {"nameplate by the interface", "settings by the interface"}
    assert {name for name, verdict in passed.items() if verdict == "passed, self-reported"} == by_registers
    assert {verdict for name, verdict in passed.items() if name not in by_registers} == {"passed, instrumented"}
    assert (manifest["counts"]["failed"], manifest["restored"], manifest["target"]) == (0, True, "emulator")
    assert manifest["equipment"]["serial number"] == "bench-1"
    assert manifest["settings"]["before"] == manifest["settings"]["after"]
    before, after = manifest["registers"]["before"], manifest["registers"]["after"]
    assert set(before) == set(after) == {str(m) for m in (1, *range(701, 713), 714, 715)}
    assert before["703"] == after["703"]
    rows = json.loads((tmp_path / "verdicts.json").read_text("utf-8"))
    reasons = [row["reason"] for row in rows if row["outcome"] == "not run"]
    assert all(any(why in r for why in ("of this equipment", "of category III", "no phase angle")) for r in reasons)
    assert len(list(ET.parse(tmp_path / "junit.xml").iter("testcase"))) == len(rows)
    begin = np.asarray(zarr.open_group(str(tmp_path / "raw.zarr"), mode="r")["begin"])
    assert begin.size == len(rows) + 1
    assert (tmp_path / "report.html").stat().st_size > 100_000


@pytest.mark.parametrize("name", OVER_THE_WIRE)
def test_a_mutant_behind_registers_fails_its_clause(name: str) -> None:
    fails_its_clause(name)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(set(MUTANTS) - {*OVER_THE_WIRE, *SLOWER_THAN_ASKED, *IN_THE_MODEL}))
def test_every_other_mutant_behind_registers_fails_its_clause(name: str) -> None:
    fails_its_clause(name)


def fails_its_clause(name: str) -> None:
    make, suite, clause = MUTANTS[name]
    with device(make()) as server, bench(server) as lab:
        verdict = first_failure(lab, suite)
        assert verdict is not None
        assert verdict.clause.startswith(f"{clause}: IEEE 1547-2018")
        assert verdict.spoken == "failed, instrumented"
        assert "allowed" in verdict.reason


@pytest.mark.parametrize(
    ("mistake", "suite", "clause"),
    [
        (unadopted, "interoperability", "settings by the interface"),
        (reversed_vars, "interoperability", "monitoring by the interface"),
        (deaf, "limit-active-power", "limit active power"),
    ],
)
def test_a_mistake_of_the_interface_fails_its_clause(mistake: Callable[[DeviceWorld], None], suite: str, clause: str) -> None:
    with device() as server:
        mistake(server.world)
        with bench(server) as lab:
            verdict = first_failure(lab, suite)
    assert verdict is not None
    assert verdict.clause.startswith(f"{clause}: IEEE 1547-2018")


def test_category_two_at_50_hz_is_recognised_by_its_registers() -> None:
    with device(InverterModel(f_nom_hz=50.0, category="II")) as server, bench(server) as lab:
        assert (lab.eut.nameplate.f_nom_hz, lab.eut.nameplate.category) == (50.0, 2)
        done = verdicts(lab, "ride-through")
    ran = {v.procedure for v in done if v.outcome is Outcome.PASSED}
    assert ran == {"voltage low II", "voltage high II", "frequency"}
    assert [v for v in done if v.outcome is Outcome.FAILED] == []


def test_without_a_meter_the_registers_are_believed(right: DeviceServer) -> None:
    """The clock of the emulated laboratory is its meter; here the device's own registers measure."""
    with bench(right) as lab:
        lab.meter = None
        done = verdicts(lab, "volt-watt")
    assert {c.basis for c in by_clause(done)} == {Basis.SELF_REPORTED}
    assert {c.outcome for c in by_clause(done)} == {Outcome.PASSED}


def test_without_sources_only_what_the_bus_can_tell_is_run(right: DeviceServer) -> None:
    with bench(right, without=("grid", "dc")) as lab:
        done = verdicts(lab, "constant-reactive-power", "limit-active-power", "volt-var")
    ran = {v.suite for v in done if v.outcome is Outcome.PASSED}
    assert ran == {"constant-reactive-power", "limit-active-power"}
    assert {v.reason for v in done if v.outcome is Outcome.NOT_RUN and "-" not in v.reason} == {
        "no source: AC (GridSource)", "no source: DC (DcSource)",
    }  # fmt: skip


def test_a_refusal_is_not_run_and_not_a_failure(right: DeviceServer, lab: Laboratory) -> None:
    bank = right.world.ders.bank
    bank.decide = lambda row, paths: Answer(Status.REJECTED if any(p.startswith("711.Ctl") for p in paths) else Status.ACCEPTED)
    try:
        with Session(lab) as session:
            settings = procedures_for(lab.eut, ("interoperability",))[1]
            told = {
                row.name: session.verdict(settings, k)
                for k, row in enumerate(settings.rows)
                if row.name in ("pf_kof", "es_delay_s")
            }
    finally:
        bank.decide = None
    assert told["pf_kof"].outcome is Outcome.NOT_RUN
    assert "refused" in told["pf_kof"].reason
    assert told["es_delay_s"].outcome is Outcome.PASSED


def test_a_broken_connection_costs_a_row_at_most(right: DeviceServer, lab: Laboratory) -> None:
    with Session(lab) as session:
        curve = procedures_for(lab.eut, ("volt-watt",))[0]
        assert session.verdict(curve, 0).outcome is Outcome.PASSED
        for connection in list(right.modbus.open):
            connection.abort()
        found = [session.verdict(curve, k).outcome for k in (1, 2)]
    assert found[-1] is Outcome.PASSED
    assert session.troubles == []


def test_what_is_no_model_must_be_armed(right: DeviceServer) -> None:
    address, bank = right.address().replace("emulated=yes&", ""), right.world.ders.bank
    written = bank.writes
    with pytest.raises(LinkError, match="not armed"), laboratory_at(address):
        pass
    little = Arming(0.05, 1.0, wall_ns() + 10**12)
    with pytest.raises(LinkError, match="its rated 100 kW, and 50 kW are armed"), laboratory_at(address, little):
        pass
    assert bank.writes == written


@pytest.mark.parametrize(
    ("arming", "told"),
    [
        (lambda: Arming(0.1, 1.0, wall_ns()), "the time of the arming is over"),
        (lambda: Arming(0.1, 1e-12, wall_ns() + 10**13), "the energy of the arming is used up"),
    ],
)
def test_when_the_leave_is_over_nothing_more_is_written_but_what_it_came_with(
    right: DeviceServer, arming: Callable[[], Arming], told: str
) -> None:
    with laboratory_at(right.address().replace("emulated=yes&", ""), arming()) as lab:
        lab.look()
        lab.look()
        held = lab.eut.read(lab.eut.limits())
        with Session(lab) as session:
            done = [session.verdict(procedures_for(lab.eut, ("volt-watt",))[0], k) for k in (0, 1)]
            assert lab.eut.read(held) == held
            lab.eut.write({"pv_enable": held["pv_enable"]})
            lab.eut.connect(False)
    assert {v.outcome for v in done} == {Outcome.NOT_RUN}
    assert all(told in v.reason for v in done)
    assert session.troubles == []
    assert right.world.permit


def test_armed_it_runs(right: DeviceServer) -> None:
    with laboratory_at(right.address().replace("emulated=yes&", ""), Arming(0.1, 10.0, wall_ns() + 10**13)) as lab:
        assert {c.spoken for c in by_clause(verdicts(lab, "frequency-droop"))} == {"passed, instrumented"}


def test_a_device_whose_time_runs_by_itself() -> None:
    """As hardware: the wall clock, and as fast as readings can be had; what takes seconds is not run here."""
    with device(free_running=True) as server, bench(server) as lab:
        assert lab.fastest_s > 0.0
        begin = server.world.now_s()
        with Session(lab) as session:
            settings = procedures_for(lab.eut, ("interoperability",))[1]
            assert [session.verdict(settings, k).outcome for k in range(3)] == [Outcome.PASSED] * 3
        assert server.world.now_s() > begin


def test_a_device_that_came_out_of_service_stays_so(right: DeviceServer, lab: Laboratory) -> None:
    lab.eut.connect(False)
    with Session(lab) as session:
        session.verdict(procedures_for(lab.eut, ("volt-watt",))[0], 0)
        assert lab.eut.permitted()
    assert not lab.eut.permitted()
    lab.eut.connect(True)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("sunspec://127.0.0.1:1/1?emulated=yes", "127.0.0.1:1"),
        ("sunspec://127.0.0.1:1/1?gird=127.0.0.1:2", "no option 'gird'; there are grid"),
        ("modbus://127.0.0.1:1/1?map=x", "no option 'map'"),
        ("modbus://127.0.0.1:1/1", "the bench speaks SunSpec"),
        ("sunspec://127.0.0.1:1/1?v_nom=much", "v_nom must be a number"),
        ("gopher://127.0.0.1:1/1", "no protocol 'gopher'"),
    ],
)
def test_addresses_that_lead_nowhere(address: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("hil", "bench", "--target", address) == 1
    assert told in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--arm",), "--max-kw"),
        (("--max-kw", "3"), "belong to --arm"),
        (("--arm", "--max-kw", "3", "--max-kwh", "1", "--for-min", "0"), "--max-kwh and"),
    ],
)
def test_arming_needs_all_its_limits(words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("hil", "bench", "--suite", "volt-watt", *words) == 2
    assert told in capsys.readouterr().err.replace("\n", " ")


def test_a_device_that_dies_is_told_and_nothing_is_judged(capsys: pytest.CaptureFixture[str]) -> None:
    """By the wall clock, as for other people's tools; then kill -9."""
    process = start("hil", "device", "--port", "0", "--control-port", "0")
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert vpp("hil", "scan", address.removeprefix("sunspec://").partition("/")[0]) == 0
        assert "inverter of the twin" in capsys.readouterr().out
        with laboratory_at(address) as lab, Session(lab) as session:
            settings = procedures_for(lab.eut, ("interoperability",))[1]
            assert session.verdict(settings, 0).outcome is Outcome.PASSED
            process.kill()
            process.wait(30)
            dead = session.verdict(settings, 1)
    finally:
        process.kill()
        process.communicate()
    assert dead.spoken == "not run"
    assert "127.0.0.1" in dead.reason
    assert {trouble.partition(":")[0] for trouble in session.troubles} >= {"sources", "settings", "service", "reading back"}


def test_an_emulator_that_does_not_come() -> None:
    with pytest.raises(LinkError, match="does not come"), emulator("nowhere.at.all:x"):
        pass


def test_an_instrument_needs_an_address(right: DeviceServer) -> None:
    address = f"{right.address().partition('?')[0]}?emulated=yes&grid=somewhere"
    with pytest.raises(LinkError, match="scpi://HOST:PORT"), laboratory_at(address):
        pass
