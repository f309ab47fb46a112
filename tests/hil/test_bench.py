"""The bench passes on what is right and names the clause of what is wrong; it says why it does not run, and restores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from hil.bench.laboratory import Laboratory
from hil.bench.ports import Reading
from hil.bench.procedures import SUITES, procedures_for
from hil.bench.results import Basis, Outcome, Verdict, by_clause
from hil.bench.session import Session, run_all
from hil.bench.simulated import SimEut, World, laboratory
from scenarios.bench import InverterModel, model
from tests.hil.mutants import MUTANTS
from vpp.kernel.errors import LinkError


def verdicts_of(lab: Laboratory, *suites: str) -> list[Verdict]:
    with Session(lab) as session:
        run_all(session, procedures_for(lab.eut, suites))
    assert session.troubles == []
    assert session.after == session.before
    return session.verdicts


def failures(verdicts: list[Verdict]) -> list[str]:
    return [f"{v.name}: {v.reason}" for v in verdicts if v.outcome is Outcome.FAILED]


@pytest.fixture
def opender_lab() -> Iterator[Laboratory]:
    opender = pytest.importorskip("opender", reason="the oracle comes with the extra 'oracles'")
    from tests.hil.opender_target import opender as make

    before = opender.DER.t_s
    yield make()
    opender.DER.t_s = before


NOT_HERE = {  # reasons why rows are not run on a model of category III
    "of this equipment", "the equipment is of category III", "the source has no phase angle",
}  # fmt: skip


def check_all(lab: Laboratory, rows: int) -> None:
    verdicts = verdicts_of(lab)
    assert failures(verdicts) == []
    idle = [v for v in verdicts if v.outcome is Outcome.NOT_RUN]
    assert all(any(reason in v.reason for reason in NOT_HERE) for v in idle)
    assert (len(verdicts), len(idle)) == (rows, 24)
    by_outcome = {(c.clause.partition(":")[0], c.outcome) for c in by_clause(verdicts)}
    assert {name for name, outcome in by_outcome if outcome is Outcome.NOT_RUN} == {"phase-angle change ride-through"}


def test_every_suite_passes_on_the_twins_inverter() -> None:
    check_all(model(), 462)


def test_the_first_suites_pass_on_opender(opender_lab: Laboratory) -> None:
    verdicts = verdicts_of(opender_lab, "interoperability", "volt-var", "enter-service")
    assert failures(verdicts) == []
    assert sum(v.outcome is Outcome.PASSED for v in verdicts) == 79 + 62 + 6


@pytest.mark.long
def test_every_suite_passes_on_opender(opender_lab: Laboratory) -> None:
    check_all(opender_lab, 438)


def test_category_two_rides_through_its_own_sequences() -> None:
    lab = laboratory(InverterModel(f_nom_hz=50.0, category="II"), "II")
    verdicts = verdicts_of(lab, "ride-through", "frequency-droop")
    assert failures(verdicts) == []
    ran = {v.procedure for v in verdicts if v.outcome is Outcome.PASSED and v.suite == "ride-through"}
    assert ran == {"voltage low II", "voltage high II", "frequency"}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_fails_its_clause(name: str) -> None:
    """The first row that fails belongs to the clause that the mistake is about."""
    make, suite, clause = MUTANTS[name]
    lab = laboratory(make(), name)
    with Session(lab) as session:
        for procedure in procedures_for(lab.eut, (suite,)):
            for k in range(len(procedure.rows)):
                verdict = session.verdict(procedure, k)
                if verdict.outcome is Outcome.FAILED:
                    break
            if session.verdicts[-1].outcome is Outcome.FAILED:
                break
    assert verdict.outcome is Outcome.FAILED
    assert verdict.basis is (Basis.SELF_REPORTED if suite == "interoperability" else Basis.INSTRUMENTED)
    assert verdict.clause.startswith(f"{clause}: IEEE 1547-2018")
    assert "allowed" in verdict.reason


@pytest.mark.long
@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_fails_nothing_else_of_its_suite(name: str) -> None:
    make, suite, clause = MUTANTS[name]
    lab = laboratory(make(), name)
    with Session(lab) as session:
        run_all(session, procedures_for(lab.eut, (suite,)))
    failed = {c.clause.partition(":")[0] for c in by_clause(session.verdicts) if c.outcome is Outcome.FAILED}
    allowed = {"reactive power capability"} if name == "reactive power, of capability" else set()
    assert failed - allowed == {clause}


def test_a_row_alone_ends_as_it_does_in_order() -> None:
    """A row that is asked for alone is led up to by those before it."""
    lab = model()
    with Session(lab) as session:
        curve = procedures_for(lab.eut, ("volt-var",))[0]
        in_order = [session.verdict(curve, k) for k in range(9)][-1]
        alone = session.verdict(curve, 8)
    for one, other in zip(in_order.finding.checks, alone.finding.checks, strict=True):
        assert other.value == pytest.approx(one.value, abs=2e-3)


def test_without_sources_it_says_what_it_lacks() -> None:
    lab = model()
    lab.grid = lab.dc = None
    verdicts = verdicts_of(lab, "volt-var", "watt-var", "constant-reactive-power", "limit-active-power")
    reasons = {(v.suite, v.reason) for v in verdicts if v.outcome is Outcome.NOT_RUN and "no source" in v.reason}
    assert ("volt-var", "no source: AC (GridSource)") in reasons
    assert ("watt-var", "no source: DC (DcSource)") in reasons
    assert sorted(v.suite for v in verdicts if v.outcome is Outcome.PASSED) == [
        *["constant-reactive-power"] * 6, *["limit-active-power"] * 9,
    ]  # fmt: skip


def test_sampled_too_slowly_is_not_run() -> None:
    lab = model()
    lab.fastest_s = 0.5
    verdicts = verdicts_of(lab, "volt-var")
    idle = {v.procedure for v in verdicts if "too slowly for a response time of 1 s" in v.reason}
    assert idle == {"curve 2"}
    assert failures(verdicts) == []


def test_without_a_meter_it_is_self_reported() -> None:
    lab = model()
    lab.meter = None
    verdicts = verdicts_of(lab, "volt-watt", "interoperability")
    assert {v.basis for v in verdicts if v.outcome is Outcome.PASSED} == {Basis.SELF_REPORTED}
    assert all(v.reason == "no meter to compare with" for v in verdicts if v.procedure == "monitoring")
    assert {c.basis for c in by_clause(verdicts) if c.outcome is Outcome.PASSED} == {Basis.SELF_REPORTED}


class Liar(SimEut):
    """Says that it delivers more than it does."""

    def measure(self) -> Reading:
        return replace(super().measure(), p_mw=super().measure().p_mw + 0.1 * self.nameplate.p_max_mw)


def test_a_liar_fails_monitoring() -> None:
    world = World(InverterModel())
    lab = model()
    lab = Laboratory(Liar(world), world, lab.grid, lab.dc, world)
    clauses = {c.clause.partition(":")[0]: c for c in by_clause(verdicts_of(lab, "interoperability"))}
    assert clauses["monitoring by the interface"].outcome is Outcome.FAILED
    assert clauses["settings by the interface"].outcome is Outcome.PASSED


def test_a_broken_link_is_not_a_failure_and_settings_are_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = model()

    def broken() -> Reading:
        raise LinkError("meter", "no answer")

    with Session(lab) as session:
        curve = procedures_for(lab.eut, ("volt-var",))[0]
        monkeypatch.setattr(lab.meter, "measure", broken)
        verdict = session.verdict(curve, 0)
        assert verdict.spoken == "not run"
        assert "no answer" in verdict.reason
        assert lab.eut.read(["qv_enable"]) == {"qv_enable": 1.0}
    assert session.after == session.before
    assert lab.eut.read(["qv_enable"]) == {"qv_enable": 0.0}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_whatever_happens_settings_are_restored(error: type[BaseException]) -> None:
    lab = model()

    def interrupted() -> None:
        with Session(lab) as session:
            curve = procedures_for(lab.eut, ("volt-var",))[0]
            session.verdict(curve, 2)
            raise error

    with pytest.raises(error):
        interrupted()
    assert lab.eut.read(["qv_enable", "es_enable", "trip_enable"]) == {"qv_enable": 0.0, "es_enable": 1.0, "trip_enable": 1.0}
    assert (lab.v_pu, lab.f_hz, lab.p_pu) == (1.0, 60.0, 1.0)


def test_what_cannot_be_restored_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = model()
    session = Session(lab)
    with session:
        lab.eut.write({"qv_olrt_s": 7.0})
        monkeypatch.setattr(lab.eut, "write", lambda values: None)
    assert session.troubles == ["qv_olrt_s is 7.0 and was 5.0"]


def test_there_is_a_mutant_for_every_suite() -> None:
    assert {suite for _, suite, _ in MUTANTS.values()} == set(SUITES)
    assert len(MUTANTS) >= 12


def test_every_mutant_says_that_it_is_right() -> None:
    makers: list[Callable[[], InverterModel]] = [make for make, _, _ in MUTANTS.values()]
    right = InverterModel()
    names = sorted(right.limits())
    assert all(make().read(names) == right.read(names) for make in makers)
