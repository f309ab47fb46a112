"""The day-ahead planner with stated flexibility: windows, flows, needs, smallest powers. Powers in MW, hourly steps."""

from dataclasses import replace

import numpy as np
import pytest

from controllers.dispatch.day_ahead import DayAheadPlanner
from tests.controllers.test_day_ahead import HOUR, PLAIN, frame
from tests.controllers.test_day_ahead_builders import random_frame
from vpp.kernel.errors import SolveError
from vpp.kernel.flex import Flex


def flexible(case, **columns):
    """The frame with its fleet's flexibility, some columns of it replaced."""
    flex = Flex.of_fleet(case.fleet, case.telemetry.soc, case.forecast.p_mw, case.due_ns, case.forecast.step_ns)
    shape = flex.p_lo_mw.shape
    made = {name: np.broadcast_to(np.asarray(value, float), shape if name not in ("e_start_mwh", "p_gap_mw") else shape[1:])
            for name, value in columns.items()}  # fmt: skip
    return replace(case, flex=replace(flex, **made))


def column(*values):
    """One resource over time."""
    return np.array(values, float)[:, None]


def contents(plan, flex, dt_h=1.0):
    """(steps, n) content after each step, what is wanted taken away as far as it is there, and all with a car that leaves."""
    p, e, out, missing = np.nan_to_num(plan.p_mw), flex.e_start_mwh.copy(), [], np.zeros(len(flex.e_start_mwh))
    for t in range(len(p)):
        leave = flex.e_leave_mwh[t]
        missing += np.maximum(leave - np.maximum(e, 0.0), 0.0)
        e = np.where(leave > 0, np.maximum(e - leave, 0) * 0, e) + flex.e_flow_mwh[t]
        e = e + np.where(p[t] > 0, -p[t] / flex.eff_out[t], -p[t] * flex.eff_in[t]) * dt_h
        out.append(e)
    return np.array(out), missing


def car(buy, leave_at=3, need=1.0, **columns):
    """A car that is plugged in for the first steps and then leaves with ``need`` MWh; 1 MW, hourly steps."""
    steps = len(buy)
    here = np.arange(steps) < leave_at
    leave = np.zeros(steps)
    leave[leave_at] = need
    given = {
        "p_lo_mw": -column(*here), "p_hi_mw": 0.0, "e_lo_mwh": 0.0, "e_hi_mwh": 2.0 * column(*here),
        "e_leave_mwh": column(*leave), "e_start_mwh": 0.0,
    }  # fmt: skip
    return flexible(frame(buy), **{**given, **columns})


BUILDERS = pytest.mark.parametrize("builder", ["direct", "pyomo"])


def test_without_narrowing_flexibility_changes_nothing():
    for seed in range(3):
        case = random_frame(seed)
        a, b = DayAheadPlanner().plan(case), DayAheadPlanner().plan(flexible(case))
        assert a.p_mw.tobytes() == b.p_mw.tobytes()
        assert a.objective_eur == b.objective_eur


@BUILDERS
def test_a_car_is_full_enough_when_it_leaves_and_charges_where_it_is_cheap(builder):
    plan = DayAheadPlanner(builder=builder, **PLAIN).plan(car([50, 20, 50, 10, 10], need=1.0))
    np.testing.assert_allclose(plan.p_mw[:, 0], [0, -1, 0, 0, 0], atol=1e-6)
    assert plan.cost_eur == pytest.approx(20)


@BUILDERS
def test_a_need_that_cannot_be_met_is_missed_at_its_price(builder):
    plan = DayAheadPlanner(builder=builder, **PLAIN).plan(car([50, 50, 50, 10, 10], need=5.0))
    assert plan.p_mw.sum() == pytest.approx(-2.0)  # full: 2 MWh fit
    assert plan.objective_eur == pytest.approx(2 * 50 + 3 * 1000, rel=1e-3)


@BUILDERS
def test_a_car_gives_back_what_it_does_not_need(builder):
    case = car([90, 90, 10, 50], leave_at=3, need=1.0, p_hi_mw=column(1, 1, 1, 0), e_start_mwh=1.5)
    plan = DayAheadPlanner(builder=builder, **PLAIN).plan(case)
    assert plan.p_mw[:2, 0].sum() == pytest.approx(1.5)
    assert plan.p_mw[2, 0] == pytest.approx(-1.0)


@BUILDERS
def test_needs_give_way_to_group_limits(builder):
    case = car([50, 50, 50, 10], need=2.0)
    plan = DayAheadPlanner(builder=builder, **PLAIN).plan(replace(case, import_limit_mw={"pcc": 0.5}))
    np.testing.assert_allclose(plan.p_mw[:3, 0], -0.5, atol=1e-6)
    assert plan.events == ()


@BUILDERS
@pytest.mark.parametrize("gap", [0.6, 0.9])
def test_no_power_inside_the_gap(builder, gap):
    """The relaxed plan would spread over equal prices; rounded, it rests or runs at the smallest power at least."""
    case = car([50, 50, 30, 50], need=1.2, p_gap_mw=gap)
    plan = DayAheadPlanner(builder=builder, **PLAIN).plan(case)
    power = -plan.p_mw[:, 0]
    assert ((power < 1e-6) | (power >= gap - 1e-6)).all()
    assert power.sum() >= 1.2 - 1e-6


@BUILDERS
def test_a_heat_pump_keeps_its_store_in_its_band(builder):
    """COP 3; heat is drawn in every step, and the store is small: most of it cannot wait."""
    case = flexible(
        frame([10, 80, 80, 80]), p_lo_mw=-1.0, p_hi_mw=0.0, eff_in=3.0, e_lo_mwh=0.0, e_hi_mwh=2.0, e_start_mwh=1.0,
        e_flow_mwh=-0.9,
    )  # fmt: skip
    plan = DayAheadPlanner(builder=builder, wear_eur_per_mwh=0).plan(case)
    np.testing.assert_allclose(plan.p_mw[0, 0], -1.9 / 3, atol=1e-6)
    assert -plan.p_mw.sum() * 3 == pytest.approx(4 * 0.9)  # at the end as much as at the start


@BUILDERS
def test_what_cannot_rest_runs_and_a_reservoir_overflows(builder):
    must = flexible(frame([10, 10]), p_lo_mw=-1.0, p_hi_mw=-0.4, e_lo_mwh=0.0, e_hi_mwh=2.0)
    np.testing.assert_allclose(DayAheadPlanner(builder=builder).plan(must).p_mw[:, 0], -0.4, atol=1e-6)
    hydro = flexible(frame([10, 90], sell=[10, 90]), p_lo_mw=0.0, p_hi_mw=1.0, e_hi_mwh=2.0, e_start_mwh=1.5, e_flow_mwh=3.0)
    plan = DayAheadPlanner(builder=builder, **PLAIN).plan(hydro)
    np.testing.assert_allclose(plan.p_mw[:, 0], [1, 1], atol=1e-6)
    assert plan.objective_eur < 0.0  # water that overflows costs nothing


def random_flex(seed, cars=6):
    """The random site with the first batteries made into cars that come and go, heat stores, and a battery of its own."""
    r = np.random.default_rng(100 + seed)
    case = random_frame(seed, batteries=cars + 4)
    flex = flexible(case).flex
    steps = case.forecast.steps
    for i in range(cars):
        come, go = sorted(r.choice(np.arange(0, steps), 2, replace=False))
        here = (np.arange(steps) >= come) & (np.arange(steps) < go)
        cap = case.fleet.e_mwh[i]
        flex.p_lo_mw[:, i] *= here
        flex.p_hi_mw[:, i] *= here * (i % 2)
        flex.e_lo_mwh[:, i], flex.e_hi_mwh[:, i] = 0.0, cap * here
        flex.e_start_mwh[i] = 0.0
        flex.e_flow_mwh[come, i] += 0.2 * cap
        flex.e_leave_mwh[go, i] += cap * r.uniform(0.3, 0.9)
        flex.p_gap_mw[i] = 0.3 * -case.fleet.p_min_mw[i] * (i % 3 == 0)
    heat = cars
    flex.p_hi_mw[:, heat], flex.eff_in[:, heat] = 0.0, r.uniform(2.5, 4, steps)
    flex.e_flow_mwh[:, heat] -= r.uniform(0, 0.3, steps) * -case.fleet.p_min_mw[heat]
    return replace(case, flex=flex)


@pytest.mark.parametrize("rounds", [0, 8])
@pytest.mark.parametrize("seed", range(5))
def test_both_builders_find_the_same_optimum_with_flexibility(seed, rounds):
    case = random_flex(seed)
    if rounds:  # rounding follows the first solution: only where that is one and the same do the second ones agree
        case.flex.p_gap_mw[:] = 0.0
        price = np.abs(case.forecast.price_buy_eur_per_mwh) + 5
        case = replace(case, forecast=replace(case.forecast, price_buy_eur_per_mwh=price, price_sell_eur_per_mwh=price / 2))
    direct, pyomo = (DayAheadPlanner(builder=b, rounds=rounds).plan(case) for b in ("direct", "pyomo"))
    if rounds or not case.flex.p_gap_mw.any():
        assert direct.objective_eur == pytest.approx(pyomo.objective_eur, rel=1e-6)
    else:
        assert direct.objective_eur == pytest.approx(pyomo.objective_eur, rel=2e-2)


@pytest.mark.parametrize("max_classes", [60, 12, 3])
@pytest.mark.parametrize("seed", range(3))
def test_cars_can_do_their_plan_and_leave_with_what_they_need(seed, max_classes):
    """In classes of their own or put together: inside the powers of each step, out of the gap, and no need forgotten."""
    case = random_flex(seed, cars=24)
    case = replace(case, import_limit_mw={}, export_limit_mw={})
    plan, flex = DayAheadPlanner(max_classes=max_classes).plan(case), case.flex
    p = plan.p_mw[:, :24]
    assert (p >= flex.p_lo_mw[:, :24] - 1e-6).all()
    assert (p <= flex.p_hi_mw[:, :24] + 1e-6).all()
    gap = flex.p_gap_mw[:24]
    assert ((np.abs(p) < 1e-5) | (np.abs(p) > gap - 1e-5)).all()
    best = DayAheadPlanner(max_classes=60).plan(case)
    dt_h = plan.step_ns / HOUR
    missing = [contents(x, flex, dt_h)[1][:24].sum() for x in (plan, best)]
    wanted = flex.e_leave_mwh[:, :24].sum()
    assert missing[0] <= missing[1] + 0.01 * wanted
    stored = contents(plan, flex, dt_h)[0][:, :24]
    assert (stored >= -1e-6).all()


def test_a_flexibility_of_other_steps_is_refused():
    case = flexible(frame([20, 80]))
    for flex, reason in (
        (replace(case.flex, start_ns=0), "forecast's steps"),
        (replace(case.flex, p_lo_mw=np.zeros((1, 1))), "a flexibility of"),
    ):
        with pytest.raises(SolveError, match=reason):
            DayAheadPlanner().plan(replace(case, flex=flex))
