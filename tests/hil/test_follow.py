"""Sources that follow the twin: how far and how fast, and what happens when they or we stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from hil.bench.scpi import ScpiGrid, ScpiLink
from hil.bench.simulated import World
from hil.follow import STEP_S, Bounds, Driver, Sources
from hil.pace import VirtualPace
from scenarios import load
from scenarios.bench import InverterModel
from tests.hil.scpi_server import V_NOM, Instrument
from tests.hil.small import until, within
from vpp.kernel.errors import LinkError, ScenarioError
from vpp.kernel.seen import Event

BOUNDS = Bounds(0.9, 1.1, 48.0, 52.0, 0.2, 2.0, 50.0)
NAN = float("nan")


@pytest.mark.parametrize(
    ("here", "there", "dt_s", "expected"),
    [
        ((1.0, 50.0), (1.01, 50.1), 1.0, (1.01, 50.1)),
        ((1.0, 50.0), (1.09, 49.0), 0.1, (1.02, 49.8)),
        ((1.09, 49.0), (1.0, 50.0), 0.1, (1.07, 49.2)),
        ((1.0, 50.0), (1.3, 60.0), 10.0, (1.1, 52.0)),
        ((1.0, 50.0), (0.0, 0.0), 10.0, (0.9, 48.0)),
        ((1.05, 49.9), (NAN, NAN), 10.0, (1.05, 49.9)),
        ((1.05, 49.9), (NAN, 50.0), 10.0, (1.05, 50.0)),
    ],
)
def test_how_far_one_comes(
    here: tuple[float, float], there: tuple[float, float], dt_s: float, expected: tuple[float, float]
) -> None:
    assert BOUNDS.toward(here, there, dt_s) == pytest.approx(expected)


class Watched(VirtualPace):
    """Virtual time; counts the waits."""

    waits = 0

    async def until(self, deadline_ns: int) -> None:
        self.waits += 1
        await super().until(deadline_ns)


@asynccontextmanager
async def sources(patience_s: float = 60.0) -> AsyncIterator[tuple[Sources, Instrument, Watched, list[Event]]]:
    """One source over SCPI, following in virtual time."""
    with Instrument(World(InverterModel())) as instrument:
        link = ScpiLink("127.0.0.1", instrument.port, timeout_s=0.3)
        pace, events = Watched(), list[Event]()
        driver = Driver("scpi://lab", "pv", ScpiGrid(link, V_NOM), BOUNDS, link.close)
        made = Sources([driver], pace, patience_s, events.append)
        await made.start()
        try:
            yield made, instrument, pace, events
        finally:
            await made.stop()


def volts(instrument: Instrument) -> list[float]:
    return [round(float(line.split()[1]) / V_NOM, 4) for line in instrument.log if line.startswith("SOUR:VOLT")]


def test_a_source_follows_step_by_step_and_goes_home() -> None:
    """Nominal first; to 1.07 pu at 0.2 pu/s in steps of a tenth of a second; back the same way in the end."""
    seen: list[float] = []

    async def test() -> None:
        async with sources() as (s, instrument, pace, events):
            assert (volts(instrument), s.held()[:, 0].tolist()) == ([1.0], [1.0, 50.0])
            s.follow(np.array([1.07]), np.array([49.9]))
            await until(lambda: bool(s.held()[0, 0] == pytest.approx(1.07)), "there")
            assert volts(instrument) == [1.0, 1.02, 1.04, 1.06, 1.07]
            assert pace.waits == 3
            assert pace.now_ns == 3 * round(STEP_S * 1e9)
            assert (instrument.world.vm_pu, instrument.world.f_hz) == (pytest.approx(1.07), 49.9)
            s.follow(np.array([1.07]), np.array([49.9]))
            await asyncio.sleep(0.05)
            assert len(volts(instrument)) == 5  # what it holds it is not told again
            assert s.holds.tolist() == [True]
            assert not events
            log = instrument
        seen.extend(volts(log))
        assert (log.world.vm_pu, log.world.f_hz) == (1.0, 50.0)

    within(test)
    assert seen[-4:] == [1.05, 1.03, 1.01, 1.0]


def test_the_twin_beyond_the_limits_is_told_once() -> None:
    async def test() -> None:
        async with sources() as (s, instrument, _, events):
            for v in (1.2, 1.25):
                s.follow(np.array([v]), np.array([50.0]))
            await until(lambda: bool(s.held()[0, 0] == pytest.approx(1.1)), "at the limit")
            assert max(volts(instrument)) == 1.1
            assert [(e.kind, e.subject) for e in events] == [("limited", "pv")]
            assert "no further than 1.1000 pu" in events[0].text

    within(test)


def test_what_the_twin_does_not_know_changes_nothing() -> None:
    """A step without a solution: the source stays where it is."""

    async def test() -> None:
        async with sources() as (s, instrument, _, events):
            s.follow(np.array([1.02]), np.array([50.0]))
            await until(lambda: bool(s.held()[0, 0] == pytest.approx(1.02)), "there")
            s.follow(np.array([NAN]), np.array([NAN]))
            await asyncio.sleep(0.05)
            assert volts(instrument)[-1] == 1.02
            assert not events

    within(test)


def test_a_source_that_is_lost_is_told_and_follows_again() -> None:
    async def test() -> None:
        async with sources() as (s, instrument, _, events):
            instrument.mood = "hangs up"
            s.follow(np.array([1.02]), np.array([50.0]))
            await until(lambda: not s.holds[0], "lost")
            s.follow(np.array([1.03]), np.array([50.0]))
            await asyncio.sleep(0.05)
            instrument.mood = ""
            s.follow(np.array([1.01]), np.array([50.0]))
            await until(lambda: bool(s.holds[0] and s.held()[0, 0] == pytest.approx(1.01)), "follows")
            await until(lambda: len(events) == 2, "both are told")
            assert [e.kind for e in events] == ["lost", "back"]

    within(test)


def test_without_ticks_a_source_goes_to_nominal() -> None:
    async def test() -> None:
        async with sources(patience_s=0.1) as (s, instrument, _, events):
            s.follow(np.array([1.05]), np.array([50.0]))
            await until(lambda: bool(events), "no tick comes")
            await until(lambda: instrument.world.vm_pu == 1.0, "nominal")
            assert [e.kind for e in events] == ["safe"]

    within(test)


def test_a_source_that_is_not_there_is_an_error_before_the_first_tick() -> None:
    async def test() -> None:
        link = ScpiLink("127.0.0.1", 1, timeout_s=0.3)
        made = Sources([Driver("s", "pv", ScpiGrid(link, V_NOM), BOUNDS, link.close)], VirtualPace(), 1.0, lambda event: None)
        with pytest.raises(LinkError, match=r"scpi://127\.0\.0\.1:1"):
            await made.start()
        await made.stop()

    within(test)


def test_a_source_in_a_scenario(tmp_path: Path) -> None:
    """A bare address, or a mapping with limits; `vpp run` is not touched by either."""
    bare = load("hil-mixed", ["outside.0.source=scpi://192.0.2.7:5025"]).outside[0].source
    assert bare is not None
    assert (bare.at, bare.v_nom, bare.vm_high_pu) == ("scpi://192.0.2.7:5025", 230.0, 1.15)
    whole = load("hil-mixed", ["outside.0.source={at: 'scpi://lab', v_nom: 120, vm_high_pu: 1.05}"]).outside[0].source
    assert whole is not None
    assert (whole.v_nom, whole.vm_high_pu) == (120.0, 1.05)
    assert load("hil-mixed").outside[0].source is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("tcp://192.0.2.7:5025", "must be scpi://host:port"),
        ("scpi://192.0.2.7:port", "must be scpi://host:port"),
        ("{at: 'scpi://lab', vm_low_pu: 1.02}", "the band must hold 1 pu"),
        ("{at: 'scpi://lab', v_slew_pu_per_s: 0}", "above 0"),
        ("{at: 'scpi://lab', v_nam: 120}", "unknown key 'v_nam'"),
        ("{v_nom: 120}", "at is missing"),
    ],
)
def test_what_is_wrong_with_a_source_is_told(value: str, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        load("hil-mixed", [f"outside.0.source={value}"])
