"""Follow the plan in force."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from vpp.kernel.envelope import Envelope
from vpp.kernel.fleet import Fleet
from vpp.kernel.ports import Safe, State
from vpp.kernel.seen import Event, Seen
from vpp.kernel.signals import FloatArray, IntArray
from vpp.kernel.time import iso

UNPLANNED: Final = 0
FOLLOWING: Final = 1
OUTSIDE: Final = 2
MISMATCH: Final = 3


@dataclass(slots=True, eq=False)
class ScheduleFollower:
    """Proposer: wants what the schedule plans for the moment at which the decision begins to act.

    A NaN of the plan is no opinion, and so are a moment outside its horizon and a plan made for another
    layout of the fleet; the last two are said once, when they begin.

    Attributes:
        fleet: the resources.
        name: the name that stands as cause.
    """

    fleet: Fleet
    name: str = "schedule"
    safe: Safe = Safe.WITHDRAW
    _status: IntArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Begin without a plan."""
        self._status = np.array([UNPLANNED])

    def step(self, now_ns: int, seen: Seen, allowed: Envelope) -> Sequence[Event]:
        """Propose the planned active power."""
        before, status, row = int(self._status[0]), UNPLANNED, None
        plan = seen.news.schedule
        if plan is not None:
            row = plan.at(allowed.acts_ns)
            if plan.layout != self.fleet.layout or plan.p_mw.shape[1] != self.fleet.n:
                status = MISMATCH
            else:
                status = OUTSIDE if row is None else FOLLOWING
        if row is not None and status == FOLLOWING:
            allowed.propose_p(np.ascontiguousarray(row, np.float64))
        self._status[0] = status
        if status == before or plan is None:
            return ()
        return (self._event(now_ns, status, plan.p_mw, plan.layout, allowed.acts_ns),)

    def _event(self, now_ns: int, status: int, p_mw: FloatArray, layout: int, acts_ns: int) -> Event:
        if status == FOLLOWING:
            return Event(now_ns, self.name, "schedule", f"follows the schedule from {iso(acts_ns)}")
        if status == OUTSIDE:
            return Event(now_ns, self.name, "no-schedule", f"{iso(acts_ns)} is outside the schedule's horizon; no opinion")
        ours = f"layout {self.fleet.layout} with {self.fleet.n} resources"
        text = f"the schedule is for layout {layout} with {p_mw.shape[1]} resources, the fleet is {ours}; no opinion"
        return Event(now_ns, self.name, "layout", text)

    def state(self) -> State:
        """Whether the plan is followed."""
        return {"status": self._status.copy()}

    def restore(self, state: State) -> None:
        """Go back to a remembered state."""
        self._status[:] = state["status"]
