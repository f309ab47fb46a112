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
    floor = p.energy_floor_mwh()
    out_of, side, most, _ = p.outside()
    leaving, missing, more = p.leaving()
    spilling = p.spilling()
    high, charge_mw, least_mw, eff_charge, eff_discharge, half_low, half_mw, moved = (
        np.broadcast_to(x, (p.steps, len(s.node))).tolist()
        for x in (
            s.high_mwh, s.charge_mw * p.may_charge, s.charge_low_mw * p.may_charge, s.eff_charge, s.eff_discharge,
            s.discharge_low_mw * p.may_discharge / HALVES, s.discharge_mw * p.may_discharge / HALVES, s.flow_mwh - s.leave_mwh,
        )
    )  # fmt: skip

    m = pyo.ConcreteModel()
    m.T, m.K, m.L = pyo.RangeSet(0, p.steps - 1), pyo.RangeSet(0, len(s.node) - 1), pyo.RangeSet(0, len(p.l_node) - 1)
    m.N, m.H = pyo.RangeSet(0, len(p.nodes.name) - 1), pyo.RangeSet(0, HALVES - 1)
    m.OUT, m.LEAVING = pyo.RangeSet(0, len(out_of) - 1), pyo.RangeSet(0, len(leaving) - 1)
    m.SPILLING = pyo.Set(initialize=spilling.tolist())

    m.charge = pyo.Var(m.T, m.K, bounds=lambda _, t, k: (least_mw[t][k], charge_mw[t][k]))
    m.discharge = pyo.Var(m.T, m.K, m.H, bounds=lambda _, t, k, h: (half_low[t][k], half_mw[t][k]))
    m.energy = pyo.Var(m.T, m.K, bounds=lambda _, t, k: (_bound(float(floor[t, k])), _bound(high[t][k])))
    m.out = pyo.Var(m.T, m.OUT, bounds=lambda _, t, i: (0, _bound(float(most[i]))))
    m.missing = pyo.Var(m.T, m.LEAVING, bounds=lambda _, t, i: (0, float(missing[t, i])))
    m.more = pyo.Var(m.T, m.LEAVING, bounds=lambda _, t, i: (0, _bound(float(more[t, i]))))
    m.spill = pyo.Var(m.T, m.SPILLING, within=pyo.NonNegativeReals)
    m.limited = pyo.Var(m.T, m.L, bounds=lambda _, t, i: (float(p.l_low_mw[t, i]), float(p.l_high_mw[t, i])))
    m.band = pyo.Var(m.T, m.N, bounds=lambda _, t, n: (_bound(float(p.nodes.low_mw[n])), _bound(float(p.nodes.high_mw[n]))))
    m.over = pyo.Var(m.T, m.N, within=pyo.NonNegativeReals)
    m.under = pyo.Var(m.T, m.N, within=pyo.NonNegativeReals)

    def exchange(t: int, n: int) -> Any:
        return m.band[t, n] + m.over[t, n] - m.under[t, n]

    def content(t: int, k: int) -> Any:
        if t < 0:
            return float(s.start_mwh[k])
        return m.energy[t, k] + sum(float(side[i]) * m.out[t, i] for i in m.OUT if out_of[i] == k)

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
        gained = eff_charge[t][k] * m.charge[t, k] - discharge(t, k) / eff_discharge[t][k]
        left = sum(m.missing[t, i] - m.more[t, i] for i in m.LEAVING if leaving[i] == k)
        spilt = m.spill[t, k] if k in m.SPILLING else 0.0
        return content(t, k) == content(t - 1, k) + gained * p.dt_h + moved[t][k] + left - spilt

    left = sum(content(p.steps - 1, k) for k in m.K)
    m.cost = pyo.Objective(expr=_cost(m, p) - (p.prefer.energy_value_eur_per_mwh or 0.0) * left)
    return m


def _cost(m: Any, p: Problem) -> Any:
    """Bill, wear, breaches and outside the band, tie-breaks."""
    prefer, early, reluctant = p.prefer, p.earliness(), p.reluctance()
    outside = p.outside()[3]
    hourly: Any = 0.0
    for t in m.T:
        hourly += float(p.buy[t]) * m.under[t, 0] - float(p.sell[t]) * m.over[t, 0]
        hourly += prefer.breach_eur_per_mwh * sum(m.over[t, n] + m.under[t, n] for n in m.N if n > 0)
        hourly += sum(float(outside[t, i]) * m.out[t, i] for i in m.OUT)
        hourly += (
            sum(prefer.need_eur_per_mwh * m.missing[t, i] + prefer.tie_eur_per_mwh * m.more[t, i] for i in m.LEAVING) / p.dt_h
        )
        hourly += prefer.tie_eur_per_mwh / p.dt_h * sum(m.spill[t, k] for k in m.SPILLING)
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
