"""The two builders agree, classes cost little, members get what they can do, and a plan is a pure function."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from controllers.dispatch.aggregate import Classes, hand_back
from controllers.dispatch.day_ahead import DayAheadPlanner
from controllers.dispatch.problem import Storages
from vpp.kernel.fleet import simple_fleet
from vpp.kernel.groups import Groups
from vpp.kernel.ports import Frame
from vpp.kernel.schedule import Forecast
from vpp.kernel.telemetry import Telemetry

HOUR = 3_600_000_000_000


def random_frame(seed, batteries=6, others=8, steps=32):
    """A site of nested groups; prices, some below zero; SoC here and there outside its band; tight limits."""
    r, n = np.random.default_rng(seed), batteries + 2 * others
    kind = ("battery",) * batteries + ("pv",) * others + ("load",) * others
    power, pv, load = r.uniform(0.1, 1, batteries), r.uniform(0.1, 1, others), r.uniform(0.1, 0.5, others)
    names = ["pcc", "a", "b", "deep"]
    groups = Groups.from_names({"pcc": None, "a": "pcc", "b": "pcc", "deep": "a"}, [names[i] for i in r.integers(0, 4, n)])
    rest = np.zeros(2 * others)
    fleet = simple_fleet(
        np.concatenate([-power, np.zeros(others), -load]),
        np.concatenate([power * r.uniform(0.5, 1, batteries), pv, np.zeros(others)]),
        kind=kind, control=np.array([{"battery": 2, "pv": 1, "load": 0}[k] for k in kind]), groups=groups,
        e_mwh=np.concatenate([power * r.uniform(1, 4, batteries), rest]), soc_min=np.full(n, 0.1), soc_max=np.full(n, 0.9),
        eff_charge=r.uniform(0.85, 1, n), eff_discharge=r.uniform(0.85, 1, n),
    )  # fmt: skip
    telemetry = Telemetry.full(n)
    telemetry.soc = np.where(fleet.e_mwh > 0, r.uniform(0, 1, n), np.nan)
    sun = np.maximum(np.sin(np.arange(steps) / steps * 2 * np.pi), 0)[:, None]
    expected = np.concatenate([np.zeros((steps, batteries)), sun * pv, -load * r.uniform(0.5, 1, (steps, others))], axis=1)
    buy = r.normal(40, 40, steps)
    sell = buy - r.uniform(-5, 40, steps)  # now and then above
    forecast = Forecast(HOUR, HOUR // 4, expected, buy, sell, r.uniform(-0.1, 0, steps))
    return Frame(0, HOUR, fleet, telemetry, forecast, {"pcc": load.sum() * 0.9, "deep": 0.3}, {"pcc": pv.sum() * 0.5, "a": 0.4})


def contents(frame, plan):
    """(steps + 1, batteries) stored energy under a plan."""
    fleet = frame.fleet
    stores = np.flatnonzero(fleet.e_mwh > 0)
    p, start = plan.p_mw[:, stores], (frame.telemetry.soc * fleet.e_mwh)[stores]
    gain = np.where(p > 0, -p / fleet.eff_discharge[stores], -p * fleet.eff_charge[stores]) * (plan.step_ns / HOUR)
    return np.concatenate([[start], start + np.cumsum(gain, axis=0)])


@pytest.mark.parametrize("seed", range(6))
def test_both_builders_find_the_same_optimum(seed):
    frame = random_frame(seed)
    direct, pyomo = (DayAheadPlanner(builder=b, rounds=0).plan(frame) for b in ("direct", "pyomo"))
    assert direct.objective_eur == pytest.approx(pyomo.objective_eur, rel=1e-6)


@pytest.mark.parametrize("value", [None, 45.0])
def test_both_builders_plan_the_same_when_prices_are_above_zero(value):
    frame = random_frame(11)
    prices = np.abs(frame.forecast.price_buy_eur_per_mwh) + 5
    frame = replace(frame, forecast=replace(frame.forecast, price_buy_eur_per_mwh=prices, price_sell_eur_per_mwh=prices / 2))
    plans = [DayAheadPlanner(builder=b, energy_value_eur_per_mwh=value).plan(frame) for b in ("direct", "pyomo")]
    assert plans[0].objective_eur == pytest.approx(plans[1].objective_eur, rel=1e-6)
    assert plans[0].cost_eur == pytest.approx(plans[1].cost_eur, rel=1e-5)
    np.testing.assert_allclose(plans[0].p_mw, plans[1].p_mw, atol=1e-5)


@pytest.mark.parametrize("max_classes", [60, 2])
@pytest.mark.parametrize("seed", range(4))
def test_every_battery_can_do_its_plan(seed, max_classes):
    frame = random_frame(seed, batteries=20)
    fleet, plan = frame.fleet, DayAheadPlanner(max_classes=max_classes).plan(frame)
    stores = fleet.e_mwh > 0
    p, e = plan.p_mw[:, stores], contents(frame, plan)
    assert np.all(p >= fleet.p_min_mw[stores] - 1e-9)
    assert np.all(p <= fleet.p_max_mw[stores] + 1e-9)
    low, high = (fleet.e_mwh * fleet.soc_min)[stores], (fleet.e_mwh * fleet.soc_max)[stores]
    assert np.all(e >= np.minimum(low, e[0]) - 1e-9)
    assert np.all(e <= np.maximum(high, e[0]) + 1e-9)
    limited = plan.p_mw[:, fleet.control == 1]
    known = ~np.isnan(limited)
    assert np.all(limited[known] >= 0)
    assert np.all(limited[known] <= frame.forecast.p_mw[:, fleet.control == 1][known])


def test_closing_a_direction_beats_netting_alone():
    """Where the program would burn energy in the losses, the second solve plans with what can be done."""
    frame = random_frame(3)
    prices = np.where(np.arange(32) < 24, -50.0, 50.0)
    frame = replace(frame, import_limit_mw={}, forecast=replace(frame.forecast, price_buy_eur_per_mwh=prices))
    bound, plan = (DayAheadPlanner(rounds=rounds).plan(frame) for rounds in (0, 8))
    assert plan.objective_eur > bound.objective_eur  # the relaxation did both at once
    assert plan.cost_eur <= bound.cost_eur


def test_classes_cost_little():
    frame = random_frame(5, batteries=90)
    exact, classes = (DayAheadPlanner(max_classes=m).plan(frame) for m in (90, 20))
    idle = float(exact.cost_eur)
    none = replace(frame, fleet=replace(frame.fleet, control=np.where(frame.fleet.control == 2, 0, frame.fleet.control)))
    worth = DayAheadPlanner().plan(none).cost_eur - idle
    assert worth > 0
    assert abs(classes.cost_eur - exact.cost_eur) < 0.1 * worth


def test_like_storages_share_one_class_and_lose_nothing():
    each = Storages(*(np.full(8, x) for x in (0, 0.5, 0.5, 0.9, 0.9, 0.2, 1.8, 1.0)))
    each = replace(each, node=np.zeros(8, np.int64))
    classes = Classes.of_storages(each, 3)
    assert len(classes.whole.node) == 1
    power = np.array([[2.0], [-4.0], [1.0]])
    np.testing.assert_allclose(hand_back(power, classes, each, 0.25), np.repeat(power / 8, 8, axis=1))


def test_full_and_empty_members_are_handed_what_they_can_do():
    ones = np.ones(2)
    each = Storages(np.zeros(2, np.int64), ones, ones, ones, ones, 0 * ones, 2 * ones, np.array([2.0, 0.5]))
    classes = Classes(np.zeros(2, np.int64), Storages(*(np.atleast_1d(np.sum(c)) for c in (0, 2, 2, 1, 1, 0, 4, 2.5))))
    given = hand_back(np.array([[1.25], [1.25], [1.0], [-2.0]]), classes, each, 1.0)
    np.testing.assert_allclose(given, [[1, 0.25], [1, 0.25], [0, 0], [-1, -1]])


def test_a_plan_is_a_pure_function_of_its_frame():
    frame, planner = random_frame(1, batteries=12), DayAheadPlanner(max_classes=5)
    before = pickle.dumps(frame.forecast)
    plans = [planner.plan(frame), planner.plan(frame), pickle.loads(pickle.dumps(planner)).plan(frame)]
    assert len({p.p_mw.tobytes() for p in plans}) == 1
    assert len({(p.cost_eur, p.objective_eur) for p in plans}) == 1
    assert pickle.dumps(frame.forecast) == before
    later = replace(frame, now_ns=frame.due_ns - 4)  # when it was asked does not matter, only when it is due
    assert planner.plan(later).p_mw.tobytes() == plans[0].p_mw.tobytes()


@pytest.mark.parametrize("threads", [1, 2])
def test_another_solve_with_threads_in_the_process_changes_nothing(threads):
    import highspy

    frame, before = random_frame(1), DayAheadPlanner().plan(random_frame(1))
    highspy.Highs.resetGlobalScheduler(True)
    other = highspy.Highs()
    for name, value in (("output_flag", False), ("threads", threads), ("parallel", "on")):
        other.setOptionValue(name, value)
    other.addVariable(1, 2, 3)
    assert other.run() == highspy.HighsStatus.kOk
    for builder in ("direct", "pyomo"):
        assert DayAheadPlanner(builder=builder).plan(frame).objective_eur == pytest.approx(before.objective_eur, rel=1e-6)
    assert DayAheadPlanner().plan(frame).p_mw.tobytes() == before.p_mw.tobytes()
    highspy.Highs.resetGlobalScheduler(True)
