"""The planning problem as a Pyomo model: the reference to read, and the door for unusual constraints.

A test holds its objective equal to that of `controllers.dispatch.direct`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from controllers.dispatch.direct import OPTIONS
from controllers.dispatch.problem import HALVES, Problem, Solution
from vpp.kernel.errors import Infeasible, SolveError


def build(problem: Problem) -> Any:
    """Write the model. Powers in MW, contents in MWh; the objective is in EUR."""
    import pyomo.environ as pyo

    p, s = problem, problem.storages
    side = s.side
    most = np.maximum(s.low_mwh - s.start_mwh, s.start_mwh - s.high_mwh)
    floor = p.energy_floor_mwh()

    m = pyo.ConcreteModel()
    m.T, m.K, m.L = pyo.RangeSet(0, p.steps - 1), pyo.RangeSet(0, len(s.node) - 1), pyo.RangeSet(0, len(p.l_node) - 1)
    m.N, m.H = pyo.RangeSet(0, len(p.nodes.name) - 1), pyo.RangeSet(0, HALVES - 1)
    m.OUT = pyo.Set(initialize=[int(k) for k in np.flatnonzero(side)])

    m.charge = pyo.Var(m.T, m.K, bounds=lambda _, t, k: (0, float(s.charge_mw[k] * p.may_charge[t, k])))
    m.discharge = pyo.Var(m.T, m.K, m.H, bounds=lambda _, t, k, h: (0, float(s.discharge_mw[k] * p.may_discharge[t, k] / HALVES)))
    m.energy = pyo.Var(m.T, m.K, bounds=lambda _, t, k: (float(floor[t, k]), float(s.high_mwh[k])))
    m.out = pyo.Var(m.T, m.OUT, bounds=lambda _, t, k: (0, float(most[k])))
    m.limited = pyo.Var(m.T, m.L, bounds=lambda _, t, i: (float(p.l_low_mw[t, i]), float(p.l_high_mw[t, i])))
    m.band = pyo.Var(m.T, m.N, bounds=lambda _, t, n: (_bound(float(p.nodes.low_mw[n])), _bound(float(p.nodes.high_mw[n]))))
    m.over = pyo.Var(m.T, m.N, within=pyo.NonNegativeReals)
    m.under = pyo.Var(m.T, m.N, within=pyo.NonNegativeReals)

    def exchange(t: int, n: int) -> Any:
        return m.band[t, n] + m.over[t, n] - m.under[t, n]

    def content(t: int, k: int) -> Any:
        if t < 0:
            return float(s.start_mwh[k])
        return m.energy[t, k] + (float(side[k]) * m.out[t, k] if side[k] else 0.0)

    def discharge(t: int, k: int) -> Any:
        return sum(m.discharge[t, k, h] for h in m.H)

    @m.Constraint(m.T, m.N)  # type: ignore[untyped-decorator]
    def balance(m: Any, t: int, n: int) -> Any:
        storages = sum(discharge(t, k) - m.charge[t, k] for k in m.K if s.node[k] == n)
        limitables = sum(m.limited[t, i] for i in m.L if p.l_node[i] == n)
        inside = sum(exchange(t, i) for i in m.N if p.nodes.parent[i] == n)
        return exchange(t, n) == float(p.fixed_mw[t, n]) + storages + limitables + inside

    @m.Constraint(m.T, m.K)  # type: ignore[untyped-decorator]
    def storing(m: Any, t: int, k: int) -> Any:
        gained = float(s.eff_charge[k]) * m.charge[t, k] - discharge(t, k) / float(s.eff_discharge[k])
        return content(t, k) == content(t - 1, k) + gained * p.dt_h

    left = sum(content(p.steps - 1, k) for k in m.K)
    m.cost = pyo.Objective(expr=_cost(m, p) - (p.prefer.energy_value_eur_per_mwh or 0.0) * left)
    return m


def _cost(m: Any, p: Problem) -> Any:
    """Bill, wear, breaches and outside the band, tie-breaks."""
    prefer, early, reluctant = p.prefer, p.earliness(), p.reluctance()
    hourly: Any = 0.0
    for t in m.T:
        hourly += float(p.buy[t]) * m.under[t, 0] - float(p.sell[t]) * m.over[t, 0]
        hourly += prefer.breach_eur_per_mwh * sum(m.over[t, n] + m.under[t, n] for n in m.N if n > 0)
        hourly += prefer.band_eur_per_mwh_h * sum(m.out[t, k] for k in m.OUT)
        hourly += sum((prefer.wear_eur_per_mwh + float(early[t, k])) * m.charge[t, k] for k in m.K)
        for h in m.H:
            cost = prefer.wear_eur_per_mwh + h * prefer.tie_eur_per_mwh
            hourly += sum((cost + float(early[t, k]) / 10) * m.discharge[t, k, h] for k in m.K)
        hourly -= sum(float(reluctant[i]) * m.limited[t, i] for i in m.L)
    return p.dt_h * hourly


def solve(problem: Problem) -> Solution:
    """Build and solve with HiGHS, serially. Raises SolveError where there is no optimum."""
    import pyomo.environ as pyo
    from pyomo.opt import TerminationCondition

    model = build(problem)
    solver = pyo.SolverFactory("appsi_highs")
    solver.highs_options = {name: value for name, value in OPTIONS.items() if name != "output_flag"}
    solver.config.load_solution = False
    results = solver.solve(model, load_solutions=False)
    found = results.solver.termination_condition
    if found == TerminationCondition.infeasible:
        raise Infeasible("day ahead: the constraints contradict one another")
    if found != TerminationCondition.optimal:
        raise SolveError(f"day ahead: HiGHS found no optimum ({found})")
    solver.load_vars()
    times, storages, limitables = range(problem.steps), range(len(problem.storages.node)), range(len(problem.l_node))
    return Solution(
        np.array([[model.charge[t, k].value for k in storages] for t in times], np.float64),
        np.array([[sum(model.discharge[t, k, h].value for h in model.H) for k in storages] for t in times], np.float64),
        np.array([[model.limited[t, i].value for i in limitables] for t in times], np.float64),
        float(pyo.value(model.cost)),
    )


def _bound(limit: float) -> float | None:
    """A bound as Pyomo takes it."""
    return limit if np.isfinite(limit) else None
