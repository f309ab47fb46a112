"""The wall clock of the wire: a port, so that a test or a replay passes its own."""

from __future__ import annotations

import time
from collections.abc import Callable

WallClock = Callable[[], int]  # nanoseconds since 1970, UTC


def wall_ns() -> int:
    """Nanoseconds since 1970, UTC, of this machine: what a real link stamps its samples with."""
    return time.time_ns()  # noqa: TID251 - the one place where the wire asks for the time
