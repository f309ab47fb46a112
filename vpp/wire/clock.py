"""The clocks of the wire: ports, so that a test or a replay passes its own."""

from __future__ import annotations

import time
from collections.abc import Callable

WallClock = Callable[[], int]  # nanoseconds since 1970, UTC


def wall_ns() -> int:
    """Nanoseconds since 1970, UTC, of this machine: what a real link stamps its samples with, and nothing else."""
    return time.time_ns()  # noqa: TID251 - the one place where the wire asks for the time


def steady(clock: WallClock) -> WallClock:
    """What ages, waits and leases are counted by; only differences count.

    The machine's wall clock is set, forwards and backwards, so its monotonic one takes its place. A clock that a test or a
    replay passes goes as they let it, and serves for both.
    """
    return time.monotonic_ns if clock is wall_ns else clock
