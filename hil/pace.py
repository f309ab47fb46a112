"""The clock that a loop runs by: a port, so that a test passes virtual time and waits for nothing."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Protocol


class Pace(Protocol):
    """A monotonic clock that can be waited for. It is a `vpp.kernel.ports.Clock`, too."""

    def __call__(self) -> int:
        """Nanoseconds; only differences count. A step of the machine's wall clock does not show here."""
        ...

    async def until(self, deadline_ns: int) -> None:
        """Come back at a time, or at once where it is past; other tasks run meanwhile."""
        ...


class MonotonicPace:
    """The machine's own monotonic clock."""

    def __call__(self) -> int:
        """Nanoseconds since some moment in the past."""
        return time.monotonic_ns()

    async def until(self, deadline_ns: int) -> None:
        """Sleep until the deadline; the event loop has its turn even where there is nothing to wait for."""
        await asyncio.sleep(max(deadline_ns - time.monotonic_ns(), 0) / 1e9)


@dataclass
class VirtualPace:
    """Time that goes by only where somebody waits for it, or says so.

    Attributes:
        now_ns: the present.
    """

    now_ns: int = 0

    def __call__(self) -> int:
        """The present."""
        return self.now_ns

    async def until(self, deadline_ns: int) -> None:
        """Be there at once."""
        self.now_ns = max(self.now_ns, deadline_ns)
        await asyncio.sleep(0)

    def pass_by(self, duration_ns: int) -> None:
        """Let time go by: somebody was slow."""
        self.now_ns += duration_ns
