"""Little scenes for tests: what a tick sees, and an envelope open to it."""

from __future__ import annotations

from typing import Any

import numpy as np

from vpp.kernel.envelope import Envelope
from vpp.kernel.fleet import Fleet
from vpp.kernel.grid_points import GridPoints
from vpp.kernel.ports import Controller, Safe, State
from vpp.kernel.quality import INVALID
from vpp.kernel.seen import Event, News, Seen
from vpp.kernel.setpoints import FOLLOW, Asked
from vpp.kernel.telemetry import Telemetry

S = 1_000_000_000
NAN = float("nan")
INF = float("inf")


def see(
    fleet: Fleet,
    *,
    now_ns: int = 0,
    bad: tuple[str, ...] = (),
    last_p: Any = None,
    last: Asked | None = None,
    points: GridPoints | None = None,
    news: News | None = None,
    **signals: Any,
) -> Seen:
    """All telemetry good and now, p_mw 0 unless given, the other signals unknown unless given; ``bad`` names invalid rows."""
    telemetry = Telemetry.full(fleet.n)
    telemetry.p_mw = 0.0
    telemetry.time_ns[:] = now_ns
    for name, value in signals.items():
        setattr(telemetry, name, value)
    for name in bad:
        telemetry.quality[getattr(Telemetry, name).row] = INVALID
    if last is None:
        last = Asked.nothing(fleet.n)
        if last_p is not None:
            last.setpoints.p_mw = last_p
            last.setpoints.mode = FOLLOW
    return Seen(telemetry, points or GridPoints(), last.setpoints.copy(), last, news or News())


def opened(fleet: Fleet, seen: Seen, now_ns: int = 0, dt_s: float = 60.0) -> Envelope:
    """An envelope at its physical bounds, somebody speaking."""
    allowed = Envelope.full(fleet, now_ns, round(dt_s * S), seen, 900 * S)
    allowed.speaker = 9
    return allowed


class Voice:
    """A controller made of one function; what it remembers is how often it spoke."""

    def __init__(self, name: str, does: Any, safe: Safe = Safe.WITHDRAW) -> None:
        self.name, self.does, self.safe, self.count = name, does, safe, np.zeros(1, np.int64)

    def step(self, now_ns: int, seen: Seen, allowed: Envelope) -> list[Event]:
        self.count += 1
        return self.does(allowed) or []

    def state(self) -> State:
        return {"count": self.count.copy()}

    def restore(self, state: State) -> None:
        self.count[:] = state["count"]


_: type[Controller] = Voice
