"""The day-ahead planner on cases that can be computed by hand."""

from dataclasses import replace

import numpy as np
import pytest

from controllers.dispatch import PLANNERS
from controllers.dispatch.day_ahead import DayAheadPlanner
from vpp.kernel.errors import SolveError
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE, simple_fleet
from vpp.kernel.groups import Groups
from vpp.kernel.ports import Frame
from vpp.kernel.schedule import Forecast
from vpp.kernel.telemetry import Telemetry

HOUR = 3_600_000_000_000
KINDS = {"battery": CONTROL_FOLLOW, "pv": CONTROL_LIMIT, "load": CONTROL_NONE}
PLAIN = {"wear_eur_per_mwh": 0.0, "energy_value_eur_per_mwh": 0.0}


def frame(buy, sell=None, *, batteries=1, soc=0.0, pv=None, load=None, eff=1.0, limits=None, parents=None, of=None, **columns):
    """Hourly steps; batteries of 1 MW and 2 MWh, then a PV and a load where a series is given."""
    steps, series = len(buy), [np.zeros(len(buy))] * batteries
    kind = ["battery"] * batteries
    for name, values in (("pv", pv), ("load", load)):
        if values is not None:
            kind.append(name)
            series.append(np.asarray(values, float))
    is_battery = np.array(kind) == "battery"
    n = len(kind)
    fleet = simple_fleet(
        np.where(np.array(kind) == "pv", 0.0, np.where(is_battery, -1.0, -10.0)),
        np.where(is_battery, 1.0, np.where(np.array(kind) == "pv", 10.0, 0.0)),
        **{
            "kind": tuple(kind), "control": np.array([KINDS[k] for k in kind]), "e_mwh": np.where(is_battery, 2.0, 0.0),
            "eff_charge": np.full(n, eff), "eff_discharge": np.full(n, eff),
            "groups": Groups.from_names(parents or {"pcc": None}, of or ["pcc"] * n), **columns,
        },
    )  # fmt: skip
    telemetry = Telemetry.full(n)
    telemetry.soc = np.where(is_battery, soc, np.nan)
    buy = np.asarray(buy, float)
    prices = buy, buy if sell is None else np.broadcast_to(np.asarray(sell, float), buy.shape)
    forecast = Forecast(HOUR, HOUR, np.stack(series, axis=1), *prices, np.zeros(steps))
    imports, exports = ({g: pair[side] for g, pair in (limits or {}).items()} for side in (0, 1))
    return Frame(0, HOUR, fleet, telemetry, forecast, imports, exports)


def content(plan, fleet, start):
    """(steps, n) stored energy after each step under a plan."""
    p = np.nan_to_num(plan.p_mw)
    return start + np.cumsum(np.where(p > 0, -p / fleet.eff_discharge, -p * fleet.eff_charge), axis=0)


def test_two_prices_charge_low_discharge_high():
    plan = DayAheadPlanner(**PLAIN).plan(frame([20, 20, 20, 80, 80, 80], eff=0.9))
    # 2 MWh of room take 2 / 0.9 MWh: charge earlier; 1.8 MWh come out: evenly, in halves, and then earlier.
    np.testing.assert_allclose(plan.p_mw[:, 0], [-1, -1, -2 / 0.9 + 2, 0.8, 0.5, 0.5], atol=1e-6)
    assert plan.cost_eur == pytest.approx(20 * 2 / 0.9 - 80 * 1.8)
    assert (plan.start_ns, plan.step_ns, plan.layout, plan.events) == (HOUR, HOUR, 1, ())


@pytest.mark.parametrize(("high", "pays"), [(24.6, False), (24.8, True)])
def test_arbitrage_pays_only_above_the_round_trip(high, pays):
    plan = DayAheadPlanner(**PLAIN).plan(frame([20, 20, high, high], eff=0.9))  # 20 / 0.81 = 24.69
    assert (abs(plan.p_mw).max() > 0) == pays


def test_wear_counts_for_both_directions():
    case = frame([20, 20, 25, 25])
    assert abs(DayAheadPlanner(wear_eur_per_mwh=2.4).plan(case).p_mw).max() == pytest.approx(1)
    assert abs(DayAheadPlanner(wear_eur_per_mwh=2.6).plan(case).p_mw).max() == 0


def test_self_consumption_where_selling_pays_less():
    case = frame([30] * 4, sell=8, pv=[1, 1, 0, 0], load=[-0.4, -0.4, -0.6, -0.6])
    plan = DayAheadPlanner(**PLAIN).plan(case)
    np.testing.assert_allclose(plan.p_mw[:, 0], [-0.6, -0.6, 0.6, 0.6], atol=1e-6)
    assert plan.cost_eur == pytest.approx(0, abs=1e-6)
    assert np.isnan(plan.p_mw[:, 1:]).all()  # nothing curtailed, and nobody plans a load


def test_as_much_at_the_end_as_at_the_start():
    plan = DayAheadPlanner(wear_eur_per_mwh=0).plan(frame([80, 80, 20, 20, 20], soc=0.5))
    np.testing.assert_allclose(plan.p_mw[:, 0], [0.5, 0.5, -1, 0, 0], atol=1e-6)


def test_stored_energy_may_have_a_value():
    case = frame([50, 50], soc=0.5)
    assert DayAheadPlanner(energy_value_eur_per_mwh=40).plan(case).p_mw[:, 0].sum() == pytest.approx(1)
    assert DayAheadPlanner(energy_value_eur_per_mwh=60).plan(case).p_mw[:, 0].sum() == pytest.approx(-1)


def test_export_limit_charges_then_curtails():
    case = frame([30] * 4, sell=20, pv=[3, 3, 3, 0], limits={"pcc": (np.inf, 1.5)})
    plan = DayAheadPlanner(**PLAIN).plan(case)
    np.testing.assert_allclose(plan.p_mw[:, 0], [-1, -1, 0, 1.5 - 0.5], atol=1e-6)
    np.testing.assert_allclose(plan.p_mw[:, 1], [2.5, 2.5, 1.5, np.nan], atol=1e-6)
    assert plan.events == ()


def test_nested_limits_hold_inside_and_outside():
    parents = {"pcc": None, "yard": "pcc", "free": "pcc"}
    case = frame(
        [10, 10, 90, 90], batteries=3, parents=parents, of=["yard", "yard", "free"],
        limits={"pcc": (1.6, np.inf), "yard": (0.5, 1.2)},
    )  # fmt: skip
    plan = DayAheadPlanner(**PLAIN).plan(case)
    yard, total = plan.p_mw[:, :2].sum(axis=1), plan.p_mw.sum(axis=1)
    np.testing.assert_allclose(yard[:2], -0.5, atol=1e-6)
    np.testing.assert_allclose(total[:2], -1.5, atol=1e-6)
    assert yard.max() <= 1.2 + 1e-6
    assert yard[2:].sum() == pytest.approx(1)


def test_what_cannot_be_held_is_breached_and_said():
    plan = DayAheadPlanner(**PLAIN).plan(frame([30, 30, 30], soc=0.5, load=[0, -3, -3], limits={"pcc": (1.25, np.inf)}))
    np.testing.assert_allclose(plan.p_mw[:, 0], [-1, 1, 1], atol=1e-6)
    (event,) = plan.events
    assert (event.kind, event.subject, event.time_ns) == ("shortfall", "pcc", 2 * HOUR)
    assert event.value == pytest.approx(0.75)
    assert "import limit of pcc" in event.text


def test_losses_count_at_a_pcc_that_holds_everything():
    case = frame([30, 30], load=[-1, -1], limits={"pcc": (1.1, np.inf)})
    case = replace(case, forecast=replace(case.forecast, losses_mw=np.array([-0.2, -0.2])))
    assert DayAheadPlanner().plan(case).events[0].value == pytest.approx(0.1)


@pytest.mark.parametrize(("soc", "first"), [(0.0, -0.4), (1.0, 0.4)])
def test_a_soc_outside_its_band_is_moved_back(soc, first):
    case = frame([50, 50, 50], sell=40, soc=soc, soc_min=np.array([0.2]), soc_max=np.array([0.8]))
    plan = DayAheadPlanner().plan(case)
    np.testing.assert_allclose(plan.p_mw[:, 0], [first, 0, 0], atol=1e-6)


def test_a_soc_outside_its_band_does_not_break_a_group_limit():
    case = frame([50] * 3, soc=0.0, soc_min=np.array([0.5, 0.0]), load=[-1, -1, -1], limits={"pcc": (1.3, np.inf)})
    plan = DayAheadPlanner().plan(case)
    np.testing.assert_allclose(plan.p_mw[:, 0], [-0.3, -0.3, -0.3], atol=1e-6)
    assert plan.events == ()


def test_negative_price_never_charges_and_discharges_at_once():
    case = frame([-50, -50, -50], soc=1.0, eff=0.8)  # to burn energy in the losses would pay, and cannot be done
    plan = DayAheadPlanner(**PLAIN).plan(case)
    stored = content(plan, case.fleet, 2.0)
    assert stored.min() >= -1e-9
    assert stored.max() <= 2 + 1e-9
    assert plan.cost_eur <= 1e-9  # doing nothing costs nothing
    case = frame([-50, -50, 50], eff=0.8)
    plan = DayAheadPlanner(**PLAIN).plan(case)
    np.testing.assert_allclose(plan.p_mw[:, 0], [-1, -1, 0.8 * 1.6], atol=0.3)
    assert content(plan, case.fleet, 0.0).max() <= 2 + 1e-9


def test_negative_selling_price_curtails():
    plan = DayAheadPlanner().plan(frame([30, 30], sell=[-5, 5], batteries=0, pv=[1, 1]))
    np.testing.assert_allclose(plan.p_mw[:, 0], [0, np.nan])


def test_selling_above_buying_is_no_money_machine():
    plan = DayAheadPlanner(**PLAIN).plan(frame([20, 20], sell=[30, 30], pv=[1, 1]))
    assert plan.cost_eur == pytest.approx(-60)
    assert abs(plan.p_mw[:, 0]).max() == 0


def test_spare_slots_and_fleets_without_storage():
    case = frame([20, 80], load=[-1, -1], member=np.array([False, True]))
    case.forecast.p_mw[:, 0] = np.nan
    plan = DayAheadPlanner().plan(case)
    assert np.isnan(plan.p_mw).all()
    assert plan.cost_eur == pytest.approx(100)


def test_a_frame_that_is_not_complete_is_refused_with_the_reason():
    case = frame([20, 80])
    late = replace(case, forecast=replace(case.forecast, start_ns=0))
    unknown = replace(case, import_limit_mw={"yard": 1.0})
    negative = replace(case, export_limit_mw={"pcc": -1.0})
    prices = replace(case, forecast=replace(case.forecast, price_buy_eur_per_mwh=np.array([1, np.nan])))
    powers = replace(case, forecast=replace(case.forecast, p_mw=np.array([[0], [np.nan]])))
    empty = replace(case, forecast=replace(case.forecast, p_mw=np.zeros((0, 1))))
    for bad, reason in (
        (late, "begins at 0 ns"), (unknown, "'yard'"), (negative, "magnitude"),
        (prices, "price_buy_eur_per_mwh"), (powers, "'r1' at step 1"), (empty, "empty"),
    ):  # fmt: skip
        with pytest.raises(SolveError, match=reason):
            DayAheadPlanner().plan(bad)


def test_parameters_are_checked():
    assert PLANNERS["day_ahead"] is DayAheadPlanner
    for wrong in ({"builder": "abacus"}, {"max_classes": 0}, {"wear_eur_per_mwh": -1.0}, {"tie_eur_per_mwh": np.nan}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            DayAheadPlanner(**wrong)
