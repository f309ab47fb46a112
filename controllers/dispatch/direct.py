"""The planning problem as columns of a linear program, straight into HiGHS. The production builder.

Rows stand step by step: first the nodes' balances, then the storages' contents. The same model, to be read,
is `controllers.dispatch.pyomo_model`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from controllers.dispatch.problem import HALVES, Problem, Solution
from vpp.kernel.errors import Infeasible, SolveError
from vpp.kernel.signals import BoolArray, FloatArray, IntArray

OPTIONS: dict[str, bool | int | str] = {
    "output_flag": False,
    "parallel": "off",  # and no "threads": HiGHS refuses to run where its process began with another number
    "random_seed": 0,
    "solver": "simplex",
    "simplex_strategy": 1,  # dual, serial
    "simplex_dual_edge_weight_strategy": 1,  # Devex: twice as fast as steepest edge from the basis below
}
"""Fixed, and without a time limit: what a solver gives must not depend on the machine's mood."""


class Columns:
    """Blocks of columns of shape (steps, m), gathered in compressed column form."""

    def __init__(self) -> None:
        """Begin empty."""
        self.lower: list[FloatArray] = []
        self.upper: list[FloatArray] = []
        self.cost: list[FloatArray] = []
        self.rows: list[IntArray] = []
        self.values: list[FloatArray] = []
        self.counts: list[IntArray] = [np.zeros(1, np.int64)]
        self.basic: list[BoolArray] = []
        self.n = 0

    def add(
        self, shape: tuple[int, int], lower: npt.ArrayLike, upper: npt.ArrayLike, cost: npt.ArrayLike,
        *entries: tuple[IntArray, npt.ArrayLike], basic: npt.ArrayLike = False,
    ) -> slice:  # fmt: skip
        """Add a block: bounds, cost, for each entry its row (-1: none) and coefficient. Gives its place.

        ``basic`` marks the columns of the first basis, one a row.
        """
        for part, value in ((self.lower, lower), (self.upper, upper), (self.cost, cost)):
            part.append(np.broadcast_to(np.asarray(value, np.float64), shape).ravel())
        rows = np.stack([np.broadcast_to(row, shape) for row, _ in entries], axis=-1)
        values = np.stack([np.broadcast_to(np.asarray(value, np.float64), shape) for _, value in entries], axis=-1)
        self.basic.append(np.broadcast_to(np.asarray(basic, np.bool_), shape).ravel())
        there = rows >= 0
        self.rows.append(rows[there])
        self.values.append(values[there])
        self.counts.append(there.sum(axis=-1).ravel())
        first, self.n = self.n, self.n + shape[0] * shape[1]
        return slice(first, self.n)


def solve(problem: Problem) -> Solution:
    """Solve with HiGHS, serially. Raises SolveError where there is no optimum."""
    import highspy

    columns, charge, discharge, limited = _columns(problem)
    rhs = np.concatenate([problem.fixed_mw, np.zeros((problem.steps, len(problem.storages.node)))], axis=1)
    rhs[:, len(problem.nodes.name) :] += problem.storages.flow_mwh - problem.storages.leave_mwh
    rhs[0, len(problem.nodes.name) :] += problem.storages.start_mwh
    highs = highspy.Highs()
    for name, value in OPTIONS.items():
        highs.setOptionValue(name, value)
    highs.passModel(_lp(highspy, columns, rhs.ravel()))
    highs.setBasis(_idle(highspy, columns, rhs.size))
    highs.run()
    status = highs.getModelStatus()
    if status == highspy.HighsModelStatus.kInfeasible:
        raise Infeasible("day ahead: the constraints contradict one another")
    if status != highspy.HighsModelStatus.kOptimal:
        raise SolveError(f"day ahead: HiGHS found no optimum ({highs.modelStatusToString(status)})")
    x = np.asarray(highs.getSolution().col_value)
    return Solution(
        x[charge].reshape(problem.steps, -1),
        sum(x[half].reshape(problem.steps, -1) for half in discharge),  # type: ignore[arg-type]
        x[limited].reshape(problem.steps, -1),
        float(highs.getObjectiveValue()) * problem.dt_h,
    )


def _columns(problem: Problem) -> tuple[Columns, slice, list[slice], slice]:
    """Every variable with its bounds, cost (EUR/MWh: an hour's worth) and place in the rows."""
    p, s, prefer, dt = problem, problem.storages, problem.prefer, problem.dt_h
    nodes, k = len(p.nodes.name), len(s.node)
    step = np.arange(p.steps)[:, None] * (nodes + k)
    content = step + nodes + np.arange(k)
    following = np.where(step < step[-1], content + nodes + k, -1)
    columns, shape = Columns(), (p.steps, k)

    early, wear = p.earliness(), prefer.wear_eur_per_mwh
    charge = columns.add(
        shape, np.where(p.may_charge, s.charge_low_mw, 0.0), np.where(p.may_charge, s.charge_mw, 0.0), wear + early,
        (step + s.node, 1.0), (content, -s.eff_charge * dt),
    )  # fmt: skip
    least_mw, half_mw = (np.where(p.may_discharge, power / HALVES, 0.0) for power in (s.discharge_low_mw, s.discharge_mw))
    discharge = [
        columns.add(
            shape, least_mw, half_mw, wear + half * prefer.tie_eur_per_mwh + early / 10,
            (step + s.node, -1.0), (content, dt / s.eff_discharge),
        )
        for half in range(HALVES)
    ]  # fmt: skip
    value = np.zeros((p.steps, 1))
    value[-1] = (prefer.energy_value_eur_per_mwh or 0.0) / dt
    columns.add(shape, p.energy_floor_mwh(), s.high_mwh, -value, (content, 1.0), (following, -1.0), basic=True)

    out, side, most, price = p.outside()
    columns.add((p.steps, len(out)), 0.0, most, price - side * value, (content[:, out], side), (following[:, out], -side))
    _leaving(columns, p, content)

    shape = (p.steps, len(p.l_node))
    limited = columns.add(shape, p.l_low_mw, p.l_high_mw, -p.reluctance(), (step + p.l_node, -1.0))
    _exchanges(columns, p, step)
    return columns, charge, discharge, limited


def _leaving(columns: Columns, p: Problem, content: IntArray) -> None:
    """What is missing where content is wanted, what leaves beyond it, and what overflows."""
    which, missing, more = p.leaving()
    shape, tie = (p.steps, len(which)), p.prefer.tie_eur_per_mwh
    if len(which):
        columns.add(shape, 0.0, missing, p.prefer.need_eur_per_mwh / p.dt_h, (content[:, which], -1.0))
        columns.add(shape, 0.0, more, tie / p.dt_h, (content[:, which], 1.0))
    which = p.spilling()
    if len(which):
        columns.add((p.steps, len(which)), 0.0, np.inf, tie / p.dt_h, (content[:, which], 1.0))


def _exchanges(columns: Columns, p: Problem, step: IntArray) -> None:
    """Each node's exchange: its band, and what goes over and under it."""
    nodes = len(p.nodes.name)
    shape, own = (p.steps, nodes), step + np.arange(nodes)
    outer = np.where(p.nodes.parent >= 0, step + p.nodes.parent, -1)
    over, under = (np.full(shape, p.prefer.breach_eur_per_mwh) for _ in range(2))
    over[:, 0], under[:, 0] = -p.sell, p.buy
    columns.add(shape, p.nodes.low_mw, p.nodes.high_mw, 0.0, (own, 1.0), (outer, -1.0), basic=np.arange(nodes) > 0)
    columns.add(shape, 0.0, np.inf, over, (own, 1.0), (outer, -1.0))
    columns.add(shape, 0.0, np.inf, under, (own, -1.0), (outer, 1.0), basic=np.arange(nodes) == 0)


def _idle(highspy: Any, columns: Columns, rows: int) -> Any:
    """The basis to begin with: storages idle, groups inside their limits, the whole importing. Halves the iterations."""
    status, basis = highspy.HighsBasisStatus, highspy.HighsBasis()
    basis.col_status = [status.kBasic if basic else status.kLower for basic in np.concatenate(columns.basic).tolist()]
    basis.row_status = [status.kLower] * rows
    basis.valid, basis.alien = True, False
    return basis


def _lp(highspy: Any, columns: Columns, rhs: FloatArray) -> Any:
    """The columns as HiGHS takes them."""
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = columns.n, len(rhs)
    lp.col_cost_ = np.concatenate(columns.cost)
    lp.col_lower_ = np.concatenate(columns.lower)
    lp.col_upper_ = np.concatenate(columns.upper)
    lp.row_lower_ = lp.row_upper_ = rhs
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_ = np.cumsum(np.concatenate(columns.counts)).astype(np.int32)
    lp.a_matrix_.index_ = np.concatenate(columns.rows).astype(np.int32)
    lp.a_matrix_.value_ = np.concatenate(columns.values)
    return lp
