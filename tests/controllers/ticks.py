"""Run a controller over a table of ticks, and say what it left of the envelope."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.kernel.scene import S, opened, see
from vpp.kernel import envelope as e
from vpp.kernel.envelope import Envelope
from vpp.kernel.fleet import Fleet
from vpp.kernel.ports import Controller
from vpp.kernel.seen import Event

DT_S = 60.0


def tick(controller: Controller, fleet: Fleet, k: int = 0, dt_s: float = DT_S, **sees: Any) -> tuple[Envelope, list[Event]]:
    """Tick ``k`` of a controller alone."""
    now_ns = round(k * dt_s * S)
    seen = see(fleet, now_ns=now_ns, **sees)
    allowed = opened(fleet, seen, now_ns, dt_s)
    return allowed, list(controller.step(now_ns, seen, allowed))


def caps(allowed: Envelope) -> list[float]:
    return allowed.block[e.HI_P].round(9).tolist()


def floors(allowed: Envelope) -> list[float]:
    return (allowed.block[e.LO_P].round(9) + 0.0).tolist()


def wants(allowed: Envelope, row: int = e.WANT_P) -> list[float | None]:
    """What this speaker wants, None where it has no opinion."""
    return [float(x) if by == 9 else None for x, by in zip(allowed.block[row], allowed.owner[row], strict=True)]


def run(controller: Controller, fleet: Fleet, ticks: list[dict[str, Any]], start: int = 0) -> list[Any]:
    """All that a controller does over some ticks, comparable."""
    out = []
    for k, sees in enumerate(ticks, start):
        allowed, events = tick(controller, fleet, k, **sees)
        arrays = (allowed.block, allowed.owner, allowed.group_lo, allowed.group_hi)
        out.append((*(x.tobytes() for x in arrays), events_of(events)))
    return out


def events_of(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.kind, event.subject) for event in events]


def continues_alike(make: Any, fleet: Fleet, ticks: list[dict[str, Any]]) -> None:
    """A controller restored at any tick goes on exactly like one that was never interrupted."""
    straight = run(make(), fleet, ticks)
    for cut in range(len(ticks) + 1):
        first = make()
        head = run(first, fleet, ticks[:cut])
        state = first.state()
        run(first, fleet, ticks[cut:], cut)  # a state is a copy: what follows must not change it
        second = make()
        run(second, fleet, ticks[: len(ticks) // 2])  # a restored one may have a past of its own
        second.restore(state)
        assert head + run(second, fleet, ticks[cut:], cut) == straight
    assert all(isinstance(x, np.ndarray) for x in make().state().values())
