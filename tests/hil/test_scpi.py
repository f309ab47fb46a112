"""Instruments over SCPI: a procedure through them, and whatever an instrument does wrong is an error before its deadline."""

from __future__ import annotations

import math
import socket
from collections.abc import Iterator

import pytest

from hil.bench.laboratory import Laboratory
from hil.bench.procedures import procedures_for
from hil.bench.results import Basis, Outcome
from hil.bench.scpi import ScpiDc, ScpiGrid, ScpiLink, ScpiMeter
from hil.bench.session import Session
from hil.bench.simulated import SimEut, World
from scenarios.bench import InverterModel
from tests.hil.scpi_server import V_NOM, Instrument
from vpp.kernel.errors import LinkError


@pytest.fixture
def instrument() -> Iterator[Instrument]:
    with Instrument(World(InverterModel())) as served:
        yield served


@pytest.fixture
def link(instrument: Instrument) -> Iterator[ScpiLink]:
    with ScpiLink("127.0.0.1", instrument.port, timeout_s=0.2) as opened:
        yield opened


def test_a_procedure_runs_through_instruments(instrument: Instrument, link: ScpiLink) -> None:
    world = instrument.world
    link_of_meter = ScpiLink("127.0.0.1", instrument.port)
    lab = Laboratory(SimEut(world), world, ScpiGrid(link, V_NOM), ScpiDc(link), ScpiMeter(link_of_meter, V_NOM), name="scpi")
    with link_of_meter, Session(lab) as session:
        curve = procedures_for(lab.eut, ("volt-var",))[0]
        watts = procedures_for(lab.eut, ("watt-var",))[1]
        verdicts = [session.verdict(curve, k) for k in range(6)] + [session.verdict(watts, k) for k in range(3)]
    assert {v.outcome for v in verdicts if v.row[:2] != "05"} == {Outcome.PASSED}
    assert {v.basis for v in verdicts if v.outcome is Outcome.PASSED} == {Basis.INSTRUMENTED}
    assert f"SOUR:VOLT {1.085 * V_NOM:.4f}" in instrument.log
    assert "SOUR:POW 35000.000" in instrument.log
    assert (world.vm_pu, world.f_hz, world.p_avail_mw) == (1.0, 60.0, 0.1)


def test_a_meter_that_counts_inwards_is_turned(instrument: Instrument, link: ScpiLink) -> None:
    instrument.world.advance(1.0)
    out, inward = ScpiMeter(link, V_NOM), ScpiMeter(link, V_NOM, inward=True)
    assert out.measure().p_mw == pytest.approx(0.1)
    assert inward.measure().p_mw == pytest.approx(-0.1)


def test_a_phase_is_sent_where_it_changes(instrument: Instrument, link: ScpiLink) -> None:
    grid = ScpiGrid(link, V_NOM)
    grid.apply(1.0, 60.0)
    grid.apply(1.0, 60.0, 20.0)
    grid.apply(1.0, 60.0, 20.0)
    assert [line for line in instrument.log if line.startswith("SOUR:PHAS")] == ["SOUR:PHAS 20.000"]
    assert link.identity() == "ACME,Simulator 9000,1,2.0"


def test_what_the_instrument_reports_is_an_error(link: ScpiLink) -> None:
    with pytest.raises(LinkError, match=r"-222.*SOUR:VOLT 554"):
        ScpiGrid(link, V_NOM).apply(2.0, 60.0)
    ScpiGrid(link, V_NOM).apply(1.0, 60.0)


@pytest.mark.parametrize(
    ("mood", "told"),
    [
        ("mute", "no answer|timed out"),
        ("slow", "no answer|timed out"),
        ("hangs up", "closed the connection"),
        ("babbles", "where numbers were asked for"),
        ("endless", "without end|timed out|no answer"),
    ],
)
def test_an_instrument_in_a_bad_mood_is_an_error_and_the_link_recovers(
    instrument: Instrument, link: ScpiLink, mood: str, told: str
) -> None:
    instrument.mood = mood
    with pytest.raises(LinkError, match=told):
        ScpiMeter(link, V_NOM).measure()
    instrument.mood = ""
    assert ScpiMeter(link, V_NOM).measure().f_hz == 60.0


def test_not_a_number_and_a_wrong_count(link: ScpiLink) -> None:
    assert math.isnan(link.numbers("MEAS:NOTHING?", 1)[0])
    with pytest.raises(LinkError, match="answers 2 numbers"):
        link.numbers("MEAS:VOLT?;MEAS:FREQ?", 1)


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(LinkError, match=rf"scpi://127.0.0.1:{port}"):
        ScpiLink("127.0.0.1", port, timeout_s=0.2).identity()
