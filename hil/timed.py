"""A link with stopwatches: how long whatever it is asked for takes, as whoever asks sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from hil.loop import Histogram
from vpp.kernel.signals import FloatArray, IntArray
from vpp.wire.link import TIMEOUT_S, Batch, Link, LinkState, Mode, Outcome, Status, Watcher
from vpp.wire.points import PointTable

# A sign of life there and back; a command until its answer; a reading, such as the read-back behind a command; how old the
# newest sample of a link is when a tick takes it.
WATCHES: Final = ("heartbeat", "command", "reading", "age")


@dataclass
class Stopwatches:
    """Durations of all links together, by what took them.

    Attributes:
        clock: a monotonic clock, ns.
        histograms: one for each of `WATCHES`.
    """

    clock: Callable[[], int]
    histograms: dict[str, Histogram] = field(default_factory=lambda: {name: Histogram() for name in WATCHES})

    def add(self, what: str, begin_ns: int) -> None:
        """Something that began then has ended now."""
        self.histograms[what].add((self.clock() - begin_ns) / 1e9)

    def counts(self) -> IntArray:
        """(watches · classes,) how often, watch after watch."""
        return np.concatenate([self.histograms[name].counts for name in WATCHES])


@dataclass
class TimedLink:
    """`vpp.wire.link.Link` around another one; what got no answer is not a duration and is not counted.

    Attributes:
        inner: the link.
        watches: where its durations are counted.
    """

    inner: Link
    watches: Stopwatches

    @property
    def name(self) -> str:
        """The link's name."""
        return self.inner.name

    @property
    def table(self) -> PointTable:
        """Its points."""
        return self.inner.table

    @property
    def state(self) -> LinkState:
        """Where it stands."""
        return self.inner.state

    def watch(self, watcher: Watcher) -> None:
        """Have every change of state told."""
        self.inner.watch(watcher)

    async def connect(self, timeout_s: float = TIMEOUT_S) -> None:
        """Connect once."""
        await self.inner.connect(timeout_s)

    async def close(self) -> None:
        """Disconnect."""
        await self.inner.close()

    async def read(self, points: IntArray | None = None) -> Batch:
        """Read points."""
        begin = self.watches.clock()
        batch = await self.inner.read(points)
        self.watches.add("reading", begin)
        return batch

    def subscribe(self, points: IntArray | None = None, period_s: float = 1.0) -> AsyncIterator[Batch]:
        """Follow points."""
        return self.inner.subscribe(points, period_s)

    async def write(
        self, points: IntArray, values: FloatArray, *, mode: Mode = Mode.DIRECT, timeout_s: float = TIMEOUT_S
    ) -> Outcome:
        """Write values."""
        begin = self.watches.clock()
        outcome = await self.inner.write(points, values, mode=mode, timeout_s=timeout_s)
        if not np.isin(outcome.status, (Status.TIMEOUT, Status.NOT_SENT)).any():
            self.watches.add("command", begin)
        return outcome

    async def sync_time(self, now_ns: int) -> bool:
        """Set the device's clock."""
        return await self.inner.sync_time(now_ns)

    async def heartbeat(self, timeout_s: float = TIMEOUT_S) -> float:
        """Ask for a sign of life; the link's own measure counts."""
        took_s = await self.inner.heartbeat(timeout_s)
        self.watches.histograms["heartbeat"].add(took_s)
        return took_s
