"""A plan enters exactly at its frame + budget, however long it took to compute; and the simulation waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from scenarios.build import System
from tests.golden.bites import Kept, watch
from vpp.kernel.errors import SolveError
from vpp.kernel.ports import Frame, Planner
from vpp.kernel.schedule import Schedule

BUDGET_TICKS = 4
OVERRIDES = (f"planner.budget_s={BUDGET_TICKS * 900}", "planner.at='06:00'")
FRAMES = (0, 24)  # a plan is begun at the start, and at six


class AtOnce(Executor):
    """Computes while the tick waits."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Give a finished future."""
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future

    def after(self, k: int) -> None:
        """Nothing is left to do."""


class AfterTicks(Executor):
    """Really computes aside, in a thread that is held until so many ticks have passed."""

    def __init__(self, ticks: int) -> None:
        """Hold every plan for ``ticks`` ticks."""
        self.ticks, self.now = ticks, 0
        self.held: list[tuple[int, threading.Event]] = []
        self.pool = ThreadPoolExecutor(1)
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Begin; the result comes after the stated ticks."""
        gate = threading.Event()
        self.held.append((self.now + self.ticks, gate))

        def later() -> Any:
            gate.wait()
            return fn(*args, **kwargs)

        self.futures.append(self.pool.submit(later))
        return self.futures[-1]

    def after(self, k: int) -> None:
        """Tick ``k`` is over; until its time has come no plan is there."""
        self.now = k + 1
        for (due, gate), future in zip(self.held, self.futures):
            assert gate.is_set() or not future.done()
            if due <= self.now:
                gate.set()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let everybody go."""
        for _, gate in self.held:
            gate.set()
        self.pool.shutdown(wait=wait)


class Waited(Future[Any]):
    """A plan that is not there before somebody waits for it."""

    work: Callable[[], Any]

    def result(self, timeout: float | None = None) -> Any:
        """Only now it is computed."""
        assert not self.done()
        self.set_result(self.work())
        return super().result(timeout)


class NotBeforeAsked(Executor):
    """Plans that take longer than their budget: whoever takes them has to wait."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Give a future that is late."""
        future = Waited()
        future.work = lambda: fn(*args, **kwargs)
        return future

    def after(self, k: int) -> None:
        """Nothing happens by itself."""


EXECUTORS: dict[str, Callable[[], Any]] = {
    "at once": AtOnce,
    "1 tick": lambda: AfterTicks(1),
    "4 ticks": lambda: AfterTicks(BUDGET_TICKS),
    "not before it is waited for": NotBeforeAsked,
}


def with_executor(name: str, wiring: str = "direct") -> Kept:
    """The case with plans computed so."""

    def prepare(system: System) -> Callable[[int], None]:
        executor = EXECUTORS[name]()
        if system.desk.executor is not None:
            system.desk.executor.shutdown()
        system.desk.executor = executor
        after: Callable[[int], None] = executor.after
        return after

    return watch(OVERRIDES, wiring, prepare)


@pytest.fixture(scope="module")
def plain() -> Kept:
    """The case as it is shipped, but for the plans' times."""
    return watch(OVERRIDES)


@pytest.mark.parametrize("name", EXECUTORS)
def test_time_to_compute_changes_nothing(name: str, plain: Kept) -> None:
    kept = with_executor(name)
    assert kept.digest == plain.digest
    assert kept.entered == plain.entered


@pytest.mark.parametrize("wiring", ["mosaik", "far"])
def test_in_every_wiring(wiring: str, plain: Kept) -> None:
    assert with_executor("4 ticks", wiring).digest == plain.digest


def test_plans_enter_exactly_at_frame_plus_budget(plain: Kept) -> None:
    time_ns = plain.system.plant.time_ns
    ticks = [frame + BUDGET_TICKS for frame in FRAMES]
    assert plain.entered == ticks
    assert plain.events("plan") == [time_ns[k] for k in ticks]
    for k in ticks:
        schedule = plain.records[k].seen.news.schedule
        assert schedule is not None
        assert schedule.start_ns == time_ns[k]
    assert all(record.seen.news.schedule is None for record in plain.records[: ticks[0]])


def test_another_budget_is_another_run(plain: Kept) -> None:
    """The negative control: when a plan enters does matter."""
    sooner = watch((f"planner.budget_s={(BUDGET_TICKS - 1) * 900}", OVERRIDES[1]))
    assert sooner.entered == [k - 1 for k in plain.entered]
    assert sooner.digest != plain.digest


def test_a_budget_of_nothing_enters_at_the_next_tick() -> None:
    assert watch(("planner.budget_s=0", OVERRIDES[1])).entered == [frame + 1 for frame in FRAMES]


class SecondFails:
    """A planner whose second plan has no solution."""

    def __init__(self, planner: Planner) -> None:
        """Plan like this one, once."""
        self.planner, self.frames = planner, [0]

    def plan(self, frame: Frame) -> Schedule:
        """Plan, or not."""
        self.frames.append(frame.now_ns)
        if len(self.frames) > 2:
            raise SolveError("nothing fits")
        return self.planner.plan(frame)


def test_a_plan_that_fails_leaves_the_last_one_and_says_so(plain: Kept) -> None:
    def prepare(system: System) -> None:
        assert system.desk.planning is not None
        system.desk.planning.planner = SecondFails(system.desk.planning.planner)

    kept = watch(OVERRIDES, prepare=prepare)
    assert kept.entered == plain.entered[:1]
    due = plain.entered[1]
    assert [e.text for e in kept.records[due].decision.events if e.source == "planner"] == ["no new plan: nothing fits"]
    assert kept.records[-1].seen.news.schedule is kept.records[due - 1].seen.news.schedule
    same = [np.array_equal(*(x.records[k].decision.asked.setpoints.block for x in (kept, plain))) for k in range(due)]
    assert all(same)


def test_on_the_wall_clock_a_missing_plan_is_late_and_enters_when_it_is_there() -> None:
    """Nobody waits there: one event says so, and the plan enters at the first tick that finds it done."""

    def prepare(system: System) -> Callable[[int], None]:
        executor = AfterTicks(BUDGET_TICKS + 3)
        if system.desk.executor is not None:
            system.desk.executor.shutdown()
        system.desk.executor, system.desk.wait = executor, False

        def after(k: int) -> None:
            executor.after(k)
            if k + 1 >= BUDGET_TICKS + 3 and executor.held[0][1].is_set():
                executor.futures[0].result(timeout=60)

        return after

    kept = watch(OVERRIDES, "direct", prepare)
    time_ns = kept.system.plant.time_ns
    assert kept.events("late")[0] == time_ns[BUDGET_TICKS]
    assert kept.entered[0] == BUDGET_TICKS + 3
    assert len(kept.events("late")) == len(FRAMES)
