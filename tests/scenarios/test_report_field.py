"""What the terminal says of a run with devices outside."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from hil.connect import Connected
from hil.loop import Timing
from scenarios.mixed import Live
from scenarios.report.field import field_summary, found, note, taken_back
from tests.hil.scripted import Outdoor
from vpp.kernel.errors import Finding
from vpp.wire.link import Outcome, Status


def said(live: Live) -> str:
    out = StringIO()
    Console(file=out, width=80).print(field_summary(live))
    return out.getvalue()


@pytest.fixture
def live() -> Live:
    site = Outdoor()
    site.up()
    return Live(plant=site.plant, timing=Timing())


def test_what_was_found_and_what_is_not_as_it_should_be() -> None:
    finding = Finding("does not fall back by itself", path="lab", severity="warning")
    lines = [line.plain for line in found(Live(connected=Connected((), (finding,), {"lab": "sunspec://192.0.2.7:502/1"})))]
    assert lines[0] == "lab  sunspec://192.0.2.7:502/1"
    assert "does not fall back" in lines[1]
    assert list(found(Live())) == []


def test_how_it_goes_in_a_few_words(live: Live) -> None:
    assert live.timing is not None
    assert note(live) == "1 of 2 links up"
    live.timing.missed = 3
    assert note(live) == "1 of 2 links up, 3 ticks missed"
    assert note(Live()) == ""


def test_the_summary_fits_a_narrow_terminal(live: Live) -> None:
    assert live.timing is not None
    assert live.plant is not None
    station = live.plant.stations[0]
    station.tally.sent, station.tally.accepted, station.keeper.statistics.samples = 12, 11, 12345
    live.timing.ticks, live.timing.missed, live.timing.slips = 600, 2, 1
    live.timing.late.add(0.0004)
    text = said(live)
    assert all(len(line) <= 80 for line in text.splitlines())
    for words in ("192.0.2.1:502", "12,345", "11/12", "600 ticks, 2 missed in 1 slips", "worst 0.4 ms"):
        assert words in text


def test_what_became_of_what_was_asked(live: Live) -> None:
    """Nothing asked; asked and given back; asked, and the link is gone in the end."""
    assert live.plant is not None
    assert taken_back(live).plain == "nothing was asked of a device"
    station = live.plant.stations[0]
    station.tally.accepted, station.tally.safe = 3, 1
    station.keeper._count(Outcome.all(np.array([2]), Status.ACCEPTED))
    assert taken_back(live).plain == "what was asked was taken back on every link"
    station.keeper._count(Outcome.all(np.array([2]), Status.NOT_SENT, reason="the link is down"))
    assert "could not be taken back on 192.0.2.1:502" in taken_back(live).plain
    assert "fall back by themselves" in said(live).replace("\n", " ")
