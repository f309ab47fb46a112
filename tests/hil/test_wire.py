"""The bench over registers: whole numbers with scale factors, refusals, silence."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hil.bench.laboratory import Laboratory
from hil.bench.ports import Limits
from hil.bench.procedures import procedures_for
from hil.bench.results import Basis, Outcome, by_clause
from hil.bench.session import Session, run_all
from hil.bench.simulated import SimDc, SimGrid, World
from hil.bench.wire import WireEut
from scenarios.bench import InverterModel
from tests.hil.mutants import ForgetsWhatIsWritten
from tests.hil.registers import FakeRegisters
from vpp.kernel.errors import LinkError


@pytest.fixture
def registers() -> FakeRegisters:
    return FakeRegisters(World(InverterModel()))


@pytest.fixture
def lab(registers: FakeRegisters) -> Iterator[Laboratory]:
    with WireEut(registers, timeout_s=2.0) as eut:
        world = registers.world
        yield Laboratory(eut, world, SimGrid(world), SimDc(world), None, name="wire")


def passed_clauses(lab: Laboratory, *suites: str) -> set[str]:
    with Session(lab) as session:
        run_all(session, procedures_for(lab.eut, suites))
    assert session.troubles == []
    assert session.identity["firmware"] == "7"
    assert [f"{v.name}: {v.reason}" for v in session.verdicts if v.outcome is Outcome.FAILED] == []
    passed = [c for c in by_clause(session.verdicts) if c.outcome is Outcome.PASSED]
    assert {c.basis for c in passed} == {Basis.SELF_REPORTED}
    return {c.clause.partition(":")[0] for c in passed}


def test_suites_pass_over_registers(lab: Laboratory) -> None:
    found = passed_clauses(lab, "interoperability", "volt-watt", "constant-power-factor")
    assert found == {"nameplate by the interface", "settings by the interface", "volt-watt", "constant power factor"}


@pytest.mark.long
def test_every_suite_passes_over_registers(lab: Laboratory) -> None:
    """All but monitoring, for which there is no meter, and the phase angle."""
    assert len(passed_clauses(lab)) == 19 - 2


def test_only_what_the_device_has_is_written(lab: Laboratory, registers: FakeRegisters) -> None:
    with Session(lab) as session:
        session.verdict(procedures_for(lab.eut, ("volt-var",))[0], 0)
    assert {name for values in registers.writes for name in values} <= set(registers.names())
    assert registers.writes[-1] == {"connect": 1.0}


def test_only_what_differs_is_written(lab: Laboratory, registers: FakeRegisters) -> None:
    with Session(lab) as session:
        session.ready(procedures_for(lab.eut, ("volt-watt",))[0])
        settings = [values for values in registers.writes if "connect" not in values]
        assert settings == [{"es_enable": 0.0, "trip_enable": 0.0, "mc_enable": 0.0}, {"pv_enable": 1.0}]
        session.ready(procedures_for(lab.eut, ("volt-watt",))[0])
    assert [values for values in registers.writes if "pv_olrt_s" in values] == []


def test_what_the_device_lacks_is_not_run(lab: Laboratory, registers: FakeRegisters) -> None:
    del registers._limits["qv_olrt_s"]
    with Session(lab) as session:
        verdict = session.verdict(procedures_for(lab.eut, ("volt-var",))[0], 0)
    assert (verdict.spoken, verdict.reason) == ("not run", "the equipment has no setting qv_olrt_s")


def test_a_refusal_is_not_run(lab: Laboratory, registers: FakeRegisters) -> None:
    registers._limits["qv_olrt_s"] = Limits(0.0, 5000.0, 1e-3)
    with Session(lab) as session:
        settings = procedures_for(lab.eut, ("interoperability",))[1]
        number = next(k for k, row in enumerate(settings.rows) if row.name == "qv_olrt_s")
        verdict = session.verdict(settings, number)
    assert verdict.outcome is Outcome.NOT_RUN
    assert verdict.reason == "refused: link fake: qv_olrt_s is out of range"
    assert session.troubles == []


def test_silence_ends_at_the_deadline(registers: FakeRegisters) -> None:
    registers.mute = True
    with pytest.raises(LinkError, match=r"no answer within 0\.1 s"), WireEut(registers, timeout_s=0.1):
        pytest.fail("a mute device was entered")


def test_a_nameplate_that_lacks_its_ratings_is_refused(registers: FakeRegisters) -> None:
    registers._plate["s_mva"] = 0.0
    with pytest.raises(LinkError, match="its nameplate lacks s_mva"), WireEut(registers):
        pytest.fail("a device without ratings was entered")


def test_a_mutant_is_found_over_registers() -> None:
    registers = FakeRegisters(World(ForgetsWhatIsWritten()))
    with WireEut(registers) as eut:
        world = registers.world
        lab = Laboratory(eut, world, SimGrid(world), SimDc(world), name="wire")
        with Session(lab) as session:
            run_all(session, procedures_for(eut, ("interoperability",)))
    assert [v.row for v in session.verdicts if v.outcome is Outcome.FAILED] == ["qv_v3_pu"]
