"""The loop on the wall clock: tick after tick at absolute deadlines, whatever a tick took.

A deadline is counted from the first one, never from the tick before, so that no error adds up. A tick that comes late
is measured; deadlines that passed meanwhile are left out and counted: ticks never come in a bunch.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from hil.pace import Pace
from vpp.kernel.ports import Inbox, Plant
from vpp.kernel.setpoints import Asked
from vpp.kernel.signals import FloatArray, IntArray
from vpp.kernel.tick import Chain, Record, only_watch, tick

# Upper edges of the histogram's classes [s]: three a decade, from 10 µs to 10 s; beyond stands one more.
EDGES_S: Final = np.array([m * 10.0**e for e in range(-5, 1) for m in (1.0, 2.0, 5.0)] + [10.0])

Take = Callable[[int, Record], None]
Times = Callable[[int], int]


@dataclass(slots=True)
class Histogram:
    """Durations in classes, with the largest and the sum.

    Attributes:
        counts: (classes + 1,) how often; the last class is beyond every edge.
        worst_s: the largest.
        total_s: the sum.
    """

    counts: IntArray = field(default_factory=lambda: np.zeros(len(EDGES_S) + 1, np.int64))
    worst_s: float = 0.0
    total_s: float = 0.0

    def add(self, duration_s: float) -> None:
        """Count one."""
        self.counts[int(np.searchsorted(EDGES_S, duration_s))] += 1
        self.worst_s = max(self.worst_s, duration_s)
        self.total_s += duration_s

    @property
    def n(self) -> int:
        """Number of durations."""
        return int(self.counts.sum())

    def quantile(self, part: float) -> float:
        """Upper edge of the class in which this part of all durations ends (the largest, where it is beyond); NaN: none."""
        if self.n == 0:
            return float("nan")
        rank = min(int(np.searchsorted(np.cumsum(self.counts), part * self.n)), len(EDGES_S))
        return float(min(EDGES_S[rank], self.worst_s)) if rank < len(EDGES_S) else self.worst_s

    def rows(self) -> list[tuple[float, int]]:
        """(upper edge [s], count) of every class in which something is; inf for the last."""
        edges: FloatArray = np.append(EDGES_S, np.inf)
        return [(float(edge), int(count)) for edge, count in zip(edges, self.counts) if count]


@dataclass(slots=True)
class Timing:
    """How well the clock was kept.

    Attributes:
        late: from the deadline to the begin of its tick.
        took: from the begin of a tick to its end.
        ticks: ticks run.
        missed: deadlines that were left out, because the tick before them was not done.
        slips: how often that happened.
    """

    late: Histogram = field(default_factory=Histogram)
    took: Histogram = field(default_factory=Histogram)
    ticks: int = 0
    missed: int = 0
    slips: int = 0


@dataclass
class Loop:
    """Ticks on a clock.

    Attributes:
        plant: what is controlled.
        chain: who controls.
        inbox: news.
        pace: the monotonic clock; controllers' overruns are measured by it, too.
        time_ns: scheduled UTC time of tick k: the only time that a decision knows.
        take: called after every tick with its number and record.
        timing: how well the clock is kept.
        stopping: set to end the loop after the tick under way.
    """

    plant: Plant
    chain: Chain
    inbox: Inbox
    pace: Pace
    time_ns: Times
    take: Take | None = None
    timing: Timing = field(default_factory=Timing)
    stopping: bool = False
    last: Asked = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is asked before the first tick."""
        self.last = Asked.nothing(self.plant.fleet.n)

    async def run(self, ticks: int | None = None) -> Timing:
        """Run until ``ticks`` deadlines have come (None: until `stopping` is set); the first is now."""
        gc.collect()
        gc.freeze()  # what exists by now is not looked through again while ticks are due
        try:
            return await self._run(ticks)
        finally:
            gc.unfreeze()

    async def _run(self, ticks: int | None) -> Timing:
        dt_ns, begin = self.chain.dt_ns, self.pace()
        k = 0
        while not self.stopping and (ticks is None or k < ticks):
            await self.pace.until(begin + k * dt_ns)
            started = self.pace()
            self.timing.late.add(max(started - begin - k * dt_ns, 0) / 1e9)
            self.tick(k)
            ended = self.pace()
            self.timing.took.add((ended - started) / 1e9)
            self.timing.ticks += 1
            due = max((ended - begin) // dt_ns, k)  # the last deadline that has passed
            left_out = due - k if ticks is None else min(due, ticks - 1) - k
            if left_out:
                self.timing.missed += left_out
                self.timing.slips += 1
            k += 1 + left_out
        return self.timing

    def tick(self, k: int) -> Record:
        """Run tick ``k`` now."""
        now_ns = self.time_ns(k)
        if self.chain.controllers:
            record = tick(now_ns, self.plant, self.inbox, self.chain, self.last, self.pace)
            self.last = record.decision.asked
        else:
            record = only_watch(now_ns, self.plant.read(now_ns), self.last)
        if self.take is not None:
            self.take(k, record)
        return record


def from_start(start_ns: int, dt_ns: int) -> Times:
    """Times of ticks that begin at a moment and follow one another."""
    return lambda k: start_ns + k * dt_ns
