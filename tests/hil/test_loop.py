"""The wall-clock loop in virtual time: deadlines, misses, overruns."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field

import numpy as np
import pytest

from hil.loop import Histogram, Loop, from_start
from hil.pace import MonotonicPace, VirtualPace
from tests.hil.small import START_NS, S, TwoDevices, fleet
from vpp.kernel.ports import Safe, State
from vpp.kernel.seen import News, Seen
from vpp.kernel.tick import Chain, Record


class NoNews:
    def take(self, now_ns: int) -> News:
        return News()

    def note(self, now_ns: int, seen: Seen) -> None:
        return None


@dataclass
class Slow:
    """A controller that lets virtual time go by: so much in each step."""

    pace: VirtualPace
    took_s: list[float]
    name: str = "slow"
    safe: Safe = Safe.WITHDRAW
    steps: list[int] = field(default_factory=list)

    def step(self, now_ns: int, seen: Seen, allowed: object) -> tuple[()]:
        self.steps.append(now_ns)
        self.pace.pass_by(round(self.took_s[len(self.steps) - 1] * S))
        return ()

    def state(self) -> State:
        return {}

    def restore(self, state: State) -> None:
        return None


def run(took_s: list[float], ticks: int, budget_s: float = 1e6) -> tuple[Loop, Slow, list[Record]]:
    pace = VirtualPace(123_456)
    slow = Slow(pace, took_s)
    chain = Chain(fleet(), [slow], [], S, budget_ns=round(budget_s * S))
    records: list[Record] = []
    loop = Loop(TwoDevices(), chain, NoNews(), pace, from_start(START_NS, S), lambda k, record: records.append(record))
    asyncio.run(loop.run(ticks))
    return loop, slow, records


def test_ticks_have_their_scheduled_time_and_not_the_clocks() -> None:
    loop, slow, records = run([0.3, 0.0, 0.9, 0.1], 4)
    assert slow.steps == [START_NS + k * S for k in range(4)]
    assert [record.time_ns for record in records] == slow.steps
    assert (loop.timing.ticks, loop.timing.missed) == (4, 0)
    assert loop.timing.late.worst_s == 0.0
    assert loop.timing.took.worst_s == 0.9


def test_what_a_tick_took_does_not_add_up() -> None:
    """A hundred ticks of 0.9 s each end with the hundredth deadline, not 90 s later."""
    loop, _, _ = run([0.9] * 100, 100)
    assert loop.timing.missed == 0
    assert loop.pace() == 123_456 + 99 * S + round(0.9 * S)


def test_missed_deadlines_are_left_out_and_counted() -> None:
    """2.5 s in tick 1: the deadlines of 2 and 3 pass; the loop goes on at 4, at its time, and never in a bunch."""
    loop, slow, _ = run([0.0, 2.5, 0.0, 0.0], 6)
    assert [(t - START_NS) // S for t in slow.steps] == [0, 1, 4, 5]
    assert (loop.timing.ticks, loop.timing.missed, loop.timing.slips) == (4, 2, 1)


def test_an_end_in_the_middle_of_missed_deadlines() -> None:
    loop, slow, _ = run([0.0, 100.0], 5)
    assert len(slow.steps) == 2
    assert loop.timing.missed == 3


def test_an_overrun_switches_a_controller_off_from_the_next_tick() -> None:
    _, slow, records = run([0.0, 0.2, 0.0], 5, budget_s=0.1)
    assert len(slow.steps) == 2
    kinds = [[event.kind for event in record.decision.events] for record in records]
    assert kinds[1] == ["overrun"]
    assert "slow" in records[2].seen.news.off
    assert "slow" not in records[1].seen.news.off


def test_the_histogram() -> None:
    h = Histogram()
    assert math.isnan(h.quantile(0.5))
    for value in [1e-4] * 98 + [0.015, 30.0]:
        h.add(value)
    assert h.n == 100
    assert h.quantile(0.5) == pytest.approx(1e-4)
    assert h.quantile(0.99) == pytest.approx(0.02)
    assert h.quantile(1.0) == 30.0
    assert h.rows() == [(pytest.approx(1e-4), 98), (pytest.approx(0.02), 1), (np.inf, 1)]


def test_the_machines_clock_waits() -> None:
    pace = MonotonicPace()
    begin = pace()
    asyncio.run(pace.until(begin + 20_000_000))
    assert pace() >= begin + 20_000_000
    asyncio.run(pace.until(begin))  # what is past is not waited for
