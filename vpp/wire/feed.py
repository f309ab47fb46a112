"""Subscriptions of a link that hears changes by itself: each subscriber takes the rows that changed since it last looked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np

from vpp.kernel.signals import IntArray


class Feed:
    """One subscriber. What changes twice before it looks is told once: the last counts."""

    def __init__(self, points: IntArray) -> None:
        """Follow these rows."""
        self.points = frozenset(points.tolist())
        self._changed: dict[int, None] = {}
        self._bell = asyncio.Event()
        self._over = False

    def put(self, rows: Iterable[int]) -> None:
        """Tell of changed rows."""
        mine = [row for row in rows if row in self.points]
        if mine:
            self._changed.update(dict.fromkeys(mine))
            self._bell.set()

    def take(self) -> IntArray:
        """The rows that changed, in the order in which they first did."""
        rows = np.fromiter(self._changed, np.int64, len(self._changed))
        self._changed.clear()
        return rows

    def wake(self, over: bool = False) -> None:
        """Let the subscriber look; ``over``: for the last time."""
        self._over |= over
        self._bell.set()

    async def wait(self) -> IntArray | None:
        """Wait for changes (or to be woken, then there may be none); None when it is over."""
        await self._bell.wait()
        self._bell.clear()
        return None if self._over else self.take()


class Feeds:
    """All subscribers of a link."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._open: list[Feed] = []

    @contextmanager
    def open(self, points: IntArray) -> Iterator[Feed]:
        """A subscriber, for as long as the block lasts."""
        feed = Feed(points)
        self._open.append(feed)
        try:
            yield feed
        finally:
            self._open.remove(feed)

    def put(self, rows: Iterable[int]) -> None:
        """Tell everybody of changed rows."""
        rows = list(rows)
        for feed in self._open:
            feed.put(rows)

    def wake(self) -> None:
        """Let everybody look."""
        for feed in self._open:
            feed.wake()

    def end(self) -> None:
        """The link broke: nothing more will come."""
        for feed in self._open:
            feed.wake(over=True)
