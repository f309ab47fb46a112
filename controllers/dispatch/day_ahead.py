"""The day-ahead planner: price arbitrage of the storages and self-consumption under the limits of the groups.

Storages that follow a setpoint are planned, cars and whatever else states its flexibility as content too; resources
that can be limited are curtailed where that is cheaper; everything else is taken as forecast. A plan is a pure function
of its frame. It is never "infeasible": a limit that cannot be held is breached as little as possible and said in
``Plan.events``, and a need (a car's departure) that cannot be met is missed at a price.

Powers between zero and a resource's smallest one are first allowed, then rounded to one of the two so that their sum
over time is kept, and the rest is solved again around them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from controllers.dispatch import direct, pyomo_model
from controllers.dispatch.aggregate import SEEN_MW, Classes, hand_back, hand_back_limits, limitable_classes
from controllers.dispatch.problem import Nodes, Preferences, Problem, Solution, check
from controllers.dispatch.storages import Storages
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT
from vpp.kernel.flex import Flex
from vpp.kernel.ports import Frame
from vpp.kernel.schedule import Schedule
from vpp.kernel.seen import Event
from vpp.kernel.signals import BoolArray, FloatArray, IntArray, canonical

BUILDERS: Final = {"direct": direct.solve, "pyomo": pyomo_model.solve}
NS_PER_H: Final = 3_600_000_000_000


@dataclass(frozen=True, slots=True)
class Plan(Schedule):
    """A schedule that also says what it could not hold.

    Attributes:
        objective_eur: what the solver minimised: bill, wear, breaches and tie-breaks.
        events: a ``shortfall`` for each group whose limit the plan breaches.
    """

    objective_eur: float = float("nan")
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class DayAheadPlanner(Preferences):
    """Plan batteries and curtailment over the forecast's horizon.

    ``Schedule.cost_eur`` is the bill of the exchange under the plan: imports at the buying price less
    exports at the selling price, without wear and without the value of what is stored.

    What it weighs beside the bill are its `Preferences`, parameters of the planner like these.

    Attributes:
        max_classes: more storages than this are planned in classes of like ones.
        builder: "direct" (production) or "pyomo" (the reference).
        rounds: how often a plan that charges and discharges at once is solved again with one direction closed.
    """

    max_classes: int = 60
    builder: str = "direct"
    rounds: int = 8

    def __post_init__(self) -> None:
        """Check the parameters."""
        if self.builder not in BUILDERS:
            raise ValueError(f"builder must be one of {', '.join(BUILDERS)} (got {self.builder!r})")
        if self.max_classes < 1:
            raise ValueError(f"max_classes must be at least 1 (got {self.max_classes})")
        for name in ("wear_eur_per_mwh", "breach_eur_per_mwh", "band_eur_per_mwh_h", "need_eur_per_mwh", "tie_eur_per_mwh"):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be zero or more (got {getattr(self, name)})")

    def plan(self, frame: Frame) -> Plan:
        """Compute the schedule. Raises SolveError for a frame that is not complete or a solver that fails."""
        check(frame)
        work = _Work(frame, self.max_classes)
        problem = work.problem(self)
        solution = self._solve(problem)
        p_mw = work.spread(net_power(solution, problem.storages), solution.limited_mw)
        own = work.own_mw(p_mw)
        exchange = work.nodes.exchange(own)
        return Plan(
            frame.due_ns, frame.forecast.step_ns, canonical(p_mw), frame.fleet.layout,
            cost_eur=_bill(frame, exchange[:, 0], problem.dt_h),
            objective_eur=solution.objective_eur,
            events=_breaches(frame, work.nodes, exchange, problem.dt_h),
        )  # fmt: skip

    def _solve(self, problem: Problem) -> Solution:
        """Solve; round what is inside a gap, and solve again."""
        problem, solution = self._one_way(problem)
        if (problem.storages.gap_mw > 0.0).any():
            rounded = _out_of_gaps(problem, solution)
            if rounded is not problem:
                solution = self._one_way(rounded)[1]
        return solution

    def _one_way(self, problem: Problem) -> tuple[Problem, Solution]:
        """Solve; where a storage does both at once, leave it the direction of its content and solve again."""
        solve = BUILDERS[self.builder]
        solution = solve(problem)
        for _ in range(self.rounds):
            both = np.minimum(solution.charge_mw, solution.discharge_mw) > SEEN_MW
            if not both.any():
                break
            rises = _gain(solution, problem.storages) >= 0.0
            problem = replace(
                problem,
                may_charge=problem.may_charge & ~(both & ~rises),
                may_discharge=problem.may_discharge & ~(both & rises),
            )
            solution = solve(problem)
        return problem, solution


def _out_of_gaps(problem: Problem, solution: Solution) -> Problem:
    """The problem with every step of a storage with a gap either resting or at its smallest power at least.

    What is inside the gap is carried on until it fills half of it (any of it, where content is wanted: what is too
    much leaves with the car). The problem itself where nothing is inside.
    """
    s = problem.storages
    net = net_power(solution, s)
    size, shape = np.abs(net), net.shape
    most = np.where(net < 0.0, np.broadcast_to(s.charge_mw, shape), np.broadcast_to(s.discharge_mw, shape))
    gap = np.minimum(s.gap_mw, most)  # in a step where a car comes or goes the band itself is narrower
    if not ((size > SEEN_MW) & (size < gap - SEEN_MW)).any():
        return problem
    wanted = np.broadcast_to(s.leave_mwh > 0.0, shape).any(axis=0)
    fill, carry = np.where(wanted, 0.0, 0.5), np.zeros(shape[1])
    runs = np.zeros(shape, np.bool_)
    for t in range(shape[0]):
        inside = (size[t] > SEEN_MW) & (size[t] < gap[t])
        carry += np.where(inside, size[t], 0.0)
        runs[t] = (inside & (carry > fill * gap[t] + SEEN_MW)) | ((size[t] >= gap[t]) & (size[t] > SEEN_MW))
        carry -= np.where(inside & runs[t], gap[t], 0.0)
    free = s.gap_mw <= 0.0
    charges, gives = runs & (net < 0.0), runs & (net > 0.0)
    storages = replace(
        s,
        charge_low_mw=np.where(free | ~charges, s.charge_low_mw, np.maximum(s.charge_low_mw, gap)),
        discharge_low_mw=np.where(free | ~gives, s.discharge_low_mw, np.maximum(s.discharge_low_mw, gap)),
    )
    return replace(
        problem, storages=storages, may_charge=problem.may_charge & (free | charges),
        may_discharge=problem.may_discharge & (free | gives),
    )  # fmt: skip


def net_power(solution: Solution, storages: Storages) -> FloatArray:
    """(steps, k) the one power that changes the content as the solution does, injection positive, to the milliwatt."""
    gain = _gain(solution, storages)
    power: FloatArray = np.where(gain >= 0.0, -gain / storages.eff_charge, -gain * storages.eff_discharge)
    return power.round(9)


def _gain(solution: Solution, storages: Storages) -> FloatArray:
    """(steps, k) MWh gained an hour."""
    gain: FloatArray = solution.charge_mw * storages.eff_charge - solution.discharge_mw / storages.eff_discharge
    return gain


class _Work:
    """A frame sorted into what is planned, what can be limited and what is fixed."""

    def __init__(self, frame: Frame, max_classes: int) -> None:
        fleet, forecast = frame.fleet, frame.forecast
        self.frame, self.nodes = frame, Nodes.of_frame(frame)
        self.expected = np.where(fleet.member, forecast.p_mw, 0.0)
        flex = frame.flex or Flex.of_fleet(fleet, frame.telemetry.soc, self.expected, frame.due_ns, forecast.step_ns)
        bounded = np.isfinite(flex.e_lo_mwh).any(axis=0) | np.isfinite(flex.e_hi_mwh).any(axis=0)
        stores: BoolArray = fleet.member & (fleet.control == CONTROL_FOLLOW) & bounded
        limits: BoolArray = fleet.member & (fleet.control == CONTROL_LIMIT)
        self.fixed: BoolArray = ~stores & ~limits
        self.store: IntArray = np.flatnonzero(stores)
        self.limit: IntArray = np.flatnonzero(limits)
        self.low, self.high = flex.p_lo_mw[:, self.limit], flex.p_hi_mw[:, self.limit]
        self.each = Storages.of_flex(flex, self.store, self.nodes.of[self.store])
        self.dt_h = forecast.step_ns / NS_PER_H
        if len(self.store) > max_classes:
            self.each = self.each.only_what_is_wanted(forecast.steps, self.dt_h)
        self.classes = Classes.of_storages(self.each, max_classes)
        self.l_of, self.l_node, self.l_low, self.l_high = limitable_classes(self.nodes.of[self.limit], self.low, self.high)

    def problem(self, prefer: Preferences) -> Problem:
        """The arrays for the solver. A selling price above the buying price counts as the buying price."""
        forecast = self.frame.forecast
        fixed = self.nodes.sums(self.expected, self.fixed)
        fixed[:, self.nodes.losses] += forecast.losses_mw
        free = np.ones((forecast.steps, len(self.classes.whole.node)), np.bool_)
        buy = forecast.price_buy_eur_per_mwh
        return Problem(
            self.dt_h, buy, np.minimum(buy, forecast.price_sell_eur_per_mwh), self.nodes, fixed, self.classes.whole,
            free, free, self.l_node, self.l_low, self.l_high, prefer,
        )  # fmt: skip

    def spread(self, storages_mw: FloatArray, limited_mw: FloatArray) -> FloatArray:
        """(steps, n) plan of every resource; NaN where there is none."""
        p_mw = np.full(self.expected.shape, np.nan)
        p_mw[:, self.store] = hand_back(storages_mw, self.classes, self.each, self.dt_h)
        p_mw[:, self.limit] = hand_back_limits(limited_mw, self.l_of, self.low, self.high)
        return p_mw

    def own_mw(self, p_mw: FloatArray) -> FloatArray:
        """(steps, nodes) exchange at each node itself under a plan."""
        own = self.nodes.sums(np.where(np.isnan(p_mw), self.expected, p_mw), np.ones(p_mw.shape[1], np.bool_))
        own[:, self.nodes.losses] += self.frame.forecast.losses_mw
        return own


def _bill(frame: Frame, exchange_mw: FloatArray, dt_h: float) -> float:
    """EUR paid over the horizon, at the forecast's own prices."""
    buy, sell = frame.forecast.price_buy_eur_per_mwh, frame.forecast.price_sell_eur_per_mwh
    return float(np.sum(np.where(exchange_mw < 0.0, buy, sell) * -exchange_mw) * dt_h)


def _breaches(frame: Frame, nodes: Nodes, exchange_mw: FloatArray, dt_h: float) -> tuple[Event, ...]:
    """One event for each group and side that the plan breaches."""
    events = []
    for n in range(1, len(nodes.name)):
        sides = (("export", exchange_mw[:, n] - nodes.high_mw[n]), ("import", nodes.low_mw[n] - exchange_mw[:, n]))
        for side, beyond in sides:
            steps = np.flatnonzero(beyond > SEEN_MW)
            if len(steps):
                most = float(beyond[steps].max())
                when = frame.due_ns + int(steps[0]) * frame.forecast.step_ns
                name, hours = nodes.name[n], len(steps) * dt_h
                text = f"the plan exceeds the {side} limit of {name} by up to {most:.6g} MW during {hours:g} h"
                events.append(Event(when, "planner", "shortfall", text, name, most))
    return tuple(events)
