"""The desk: where scripted orders and plans wait until the tick takes them.

A plan is begun from a frame that a tick saw, computed aside, and enters exactly at ``frame + budget`` in every
wiring. The simulation waits for it then; how long it took to compute cannot change a result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from vpp.kernel.errors import SolveError
from vpp.kernel.fleet import Fleet
from vpp.kernel.flex import Flex
from vpp.kernel.orders import Order
from vpp.kernel.ports import Frame, Planner
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
class Desk:
    """The inbox of a simulated site.

    Attributes:
        fleet: the resources.
        orders: all scripted orders.
        planning: who plans, None for nobody.
        dt_ns: time between ticks; an order is shown as soon as a decision could act on it.
        executor: computes plans; by default one thread of its own.
        wait: the tick waits for a plan that is due. A loop on the wall clock cannot: there it is a ``late`` event, and
            the plan enters at the first tick that finds it done.
    """

    fleet: Fleet
    orders: Sequence[Order]
    planning: Planning | None
    dt_ns: int
    executor: Executor | None = None
    wait: bool = True
    _late: bool = False
    _news: News = field(default_factory=News)
    _pending: Future[Schedule] | None = None
    _due_ns: int = 0
    _next_plan: int = 0
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
        """Freeze a frame and begin a plan if it is time."""
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

    def close(self) -> None:
        """Let go of the executor; a plan still being computed is no longer wanted."""
        if self.executor is not None:
            self.executor.shutdown(wait=True, cancel_futures=True)
