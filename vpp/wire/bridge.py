"""From a native library's threads onto the event loop: a bounded deque and one wake-up for whatever lies in it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

LIMIT: int = 100_000


class Bridge:
    """Takes items from any thread and hands them over on the loop, in their order, many at once.

    Nothing of the library is called from its own callback, and a callback never waits.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, take: Callable[[list[Any]], None], limit: int = LIMIT) -> None:
        """``take`` is called on the loop; what comes while ``limit`` items wait is dropped and counted in ``dropped``."""
        self._loop, self._take, self._limit = loop, take, limit
        self._items: deque[Any] = deque()
        self._woken = False
        self.dropped = 0

    def push(self, item: Any) -> None:
        """Hand over an item, from any thread."""
        if len(self._items) >= self._limit:
            self.dropped += 1
            return
        self._items.append(item)
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._drain)
            except RuntimeError:  # the loop is closed: nobody is left who could want it
                self._items.clear()

    def _drain(self) -> None:
        self._woken = False  # before the taking: what comes from here on wakes again
        items = [self._items.popleft() for _ in range(len(self._items))]
        if items:
            self._take(items)
