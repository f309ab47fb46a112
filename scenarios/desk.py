"""The desk: where scripted orders and plans wait until the tick takes them.

A plan is begun from a frame that a tick saw, computed aside, and enters exactly at ``frame + budget`` in every
wiring. The simulation waits for it then; how long it took to compute cannot change a result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from vpp.kernel.errors import SolveError
from vpp.kernel.fleet import Fleet
from vpp.kernel.flex import Flex
from vpp.kernel.grid_points import GridPoints
from vpp.kernel.grid_state import GridState
from vpp.kernel.orders import Order
from vpp.kernel.ports import Estimator, Frame, Planner
from vpp.kernel.schedule import Forecast, Schedule
from vpp.kernel.seen import Event, News, Seen
from vpp.kernel.signals import IntArray
from vpp.kernel.time import iso

Forecaster = Callable[[int, Seen], Forecast]


@dataclass(slots=True)
class Planning:
    """When plans are made, from what, and by whom.

    Attributes:
        planner: computes a schedule from a frame.
        forecast: gives the forecast for a plan that begins at a moment, from what the tick saw.
        at_ns: ascending times at which a plan is begun (at the first tick from then on).
        budget_ns: a plan is in force this long after its frame.
        import_mw, export_mw: limits by group name.
        flex: gives the fleet's flexibility over a forecast's horizon, None: by the ratings.
    """

    planner: Planner
    forecast: Forecaster
    at_ns: IntArray
    budget_ns: int
    import_mw: Mapping[str, float]
    export_mw: Mapping[str, float]
    flex: Callable[[Forecast, Seen], Flex] | None = None


@dataclass(slots=True)
class Estimating:
    """When the network's state is estimated, and by whom.

    Attributes:
        estimator: computes a state from a frame.
        every_ns: time from one estimate to the next.
        budget_ns: an estimate is in force this long after its frame, a tick at least.
    """

    estimator: Estimator
    every_ns: int
    budget_ns: int


@dataclass(slots=True)
class Desk:
    """The inbox of a simulated site.

    Attributes:
        fleet: the resources.
        orders: all scripted orders.
        planning: who plans, None for nobody.
        dt_ns: time between ticks; an order is shown as soon as a decision could act on it.
        executor: computes plans; by default one thread of its own.
        estimating: who estimates the network's state, None for nobody.
        wait: the tick waits for a plan that is due. A loop on the wall clock cannot: there it is a ``late`` event, and
            the plan enters at the first tick that finds it done.
    """

    fleet: Fleet
    orders: Sequence[Order]
    planning: Planning | None
    dt_ns: int
    executor: Executor | None = None
    wait: bool = True
    estimating: Estimating | None = None
    _late: bool = False
    _news: News = field(default_factory=News)
    _pending: Future[Schedule] | None = None
    _due_ns: int = 0
    _next_plan: int = 0
    _estimator: Executor | None = None
    _estimate: Future[GridState] | None = None
    _estimate_due_ns: int = 0
    _next_estimate_ns: int = 0
    _changes_ns: list[int] = field(init=False)

    def __post_init__(self) -> None:
        """Order the orders, and note when the set in force changes."""
        self.orders = sorted(self.orders, key=lambda order: order.from_ns)
        moments = {o.from_ns - self.dt_ns for o in self.orders} | {o.until_ns for o in self.orders}
        self._changes_ns = sorted(moments, reverse=True)
        if self.executor is None and self.planning is not None:
            self.executor = ThreadPoolExecutor(1, "planner")

    def take(self, now_ns: int) -> News:
        """Give what is in force; wait for a plan that is due."""
        news = self._news
        if news.events:
            news = replace(news, events=())
        if self._changes_ns and now_ns >= self._changes_ns[-1]:
            while self._changes_ns and now_ns >= self._changes_ns[-1]:
                self._changes_ns.pop()
            acts = now_ns + self.dt_ns
            now = tuple(o for o in self.orders if o.from_ns <= acts and o.until_ns > now_ns)
            news = replace(news, orders=now)
        if self._pending is not None and now_ns >= self._due_ns:
            if self.wait or self._pending.done():
                news = self._collect(now_ns, news, self._pending)
            elif not self._late:
                self._late = True
                event = Event(
                    now_ns, "planner", "late", f"the plan due at {iso(self._due_ns)} is not ready; the last one holds on"
                )
                news = replace(news, events=(event,))
        if self._estimate is not None and now_ns >= self._estimate_due_ns and (self.wait or self._estimate.done()):
            state, self._estimate = self._estimate.result(), None
            events = _estimated(now_ns, self._news.grid_state, state)
            news = replace(news, grid_state=state, events=(*news.events, *events))
        self._news = news
        return news

    def _collect(self, now_ns: int, news: News, pending: Future[Schedule]) -> News:
        """Take the plan that is due; one that failed leaves the last plan in force and says so."""
        self._pending, self._late = None, False
        try:
            schedule = pending.result()
        except SolveError as error:
            event = Event(now_ns, "planner", "alarm", f"no new plan: {error}")
            return replace(news, events=(event,))
        cost = "" if schedule.cost_eur != schedule.cost_eur else f", {schedule.cost_eur:.2f} EUR"
        until = iso(schedule.start_ns + schedule.step_ns * len(schedule.p_mw))
        event = Event(now_ns, "planner", "plan", f"a new plan holds until {until}{cost}", value=schedule.cost_eur)
        more: tuple[Event, ...] = getattr(schedule, "events", ())
        return replace(news, schedule=schedule, events=(event, *more))

    def note(self, now_ns: int, seen: Seen) -> None:
        """Freeze frames and begin an estimate and a plan if it is time."""
        self._note_estimate(now_ns, seen)
        p = self.planning
        if p is None or self._next_plan >= len(p.at_ns) or now_ns < p.at_ns[self._next_plan] or self._pending is not None:
            return
        while self._next_plan < len(p.at_ns) and now_ns >= p.at_ns[self._next_plan]:
            self._next_plan += 1
        self._due_ns = max(now_ns + p.budget_ns, now_ns + self.dt_ns)
        forecast = p.forecast(self._due_ns, seen)
        flex = p.flex(forecast, seen) if p.flex is not None else None
        telemetry = seen.telemetry.copy()
        frame = Frame(now_ns, self._due_ns, self.fleet, telemetry, forecast, p.import_mw, p.export_mw, flex)
        if self.executor is None:
            raise RuntimeError("planning needs an executor")
        self._pending = self.executor.submit(p.planner.plan, frame)

    def _note_estimate(self, now_ns: int, seen: Seen) -> None:
        """Begin an estimate if it is time and the last one is in."""
        e = self.estimating
        if e is None or now_ns < self._next_estimate_ns or self._estimate is not None:
            return
        self._next_estimate_ns = now_ns + e.every_ns
        self._estimate_due_ns = max(now_ns + e.budget_ns, now_ns + self.dt_ns)
        none = np.zeros(0)
        nothing = Forecast(self._estimate_due_ns, self.dt_ns, np.zeros((0, self.fleet.n)), none, none, none)
        points = seen.points
        copy = GridPoints(points.layout, points.value.copy(), points.quality.copy(), points.time_ns.copy())
        frame = Frame(
            now_ns,
            self._estimate_due_ns,
            self.fleet,
            seen.telemetry.copy(),
            nothing,
            {},
            {},
            points=copy,
            held=seen.applied.step.copy(),
        )
        if self._estimator is None:
            self._estimator = ThreadPoolExecutor(1, "estimator")
        self._estimate = self._estimator.submit(e.estimator.estimate, frame)

    def state(self) -> dict[str, Any]:
        """Everything that the next tick depends on; waits for what is being computed."""
        estimate = None if self._estimate is None else self._estimate.result()
        return {
            "news": self._news,
            "changes_ns": list(self._changes_ns),
            "plan": _outcome(self._pending),
            "plan_due_ns": self._due_ns,
            "next_plan": self._next_plan,
            "late": self._late,
            "estimate": estimate,
            "estimate_due_ns": self._estimate_due_ns,
            "next_estimate_ns": self._next_estimate_ns,
            "estimator": {} if self.estimating is None else self.estimating.estimator.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a remembered state."""
        self._news, self._changes_ns = state["news"], list(state["changes_ns"])
        self._pending, self._due_ns = _done(state["plan"]), state["plan_due_ns"]
        self._next_plan, self._late = state["next_plan"], state["late"]
        self._estimate = _done(state["estimate"])
        self._estimate_due_ns, self._next_estimate_ns = state["estimate_due_ns"], state["next_estimate_ns"]
        if self.estimating is not None:
            self.estimating.estimator.restore(state["estimator"])

    def close(self) -> None:
        """Let go of the executors; what is still being computed is no longer wanted."""
        if self._estimator is not None:
            self._estimator.shutdown(wait=True, cancel_futures=True)
        if self.executor is not None:
            self.executor.shutdown(wait=True, cancel_futures=True)


def _outcome(pending: Future[Schedule] | None) -> Schedule | SolveError | None:
    """What a plan that is being computed comes to, its error too."""
    if pending is None:
        return None
    try:
        return pending.result()
    except SolveError as error:
        return error


def _done(outcome: Any) -> Future[Any] | None:
    """A computation that has ended so; None for none."""
    if outcome is None:
        return None
    future: Future[Any] = Future()
    if isinstance(outcome, SolveError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
    return future


def _estimated(now_ns: int, before: GridState | None, state: GridState) -> list[Event]:
    """What an estimate has to say that the one before did not."""
    told = [("suspect", "the estimate takes it for a gross error", state.suspects, before.suspects if before else ())]
    told += [("doubted", "the measurements speak against its state", state.doubted, before.doubted if before else ())]
    out = [Event(now_ns, "estimator", kind, text, who) for kind, text, names, old in told for who in names if who not in old]
    if state.wanted and (before is None or state.wanted != before.wanted):
        out.append(Event(now_ns, "estimator", "unobservable", state.wanted[0], value=float(len(state.wanted))))
    return out
