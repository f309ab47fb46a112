"""Charging points: sessions, what a car takes and gives, what it needs, and what it is short of when it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from controllers.dispatch.day_ahead import DayAheadPlanner
from tests.twin.laid import START_NS, places, spec_of
from tests.twin.test_devices import asked
from twin.devices.ev import EvEntry
from twin.devices.model import Ahead
from twin.devices.sessions import HABITS, drawn
from twin.fleet import FleetModel
from vpp.kernel.ports import Frame
from vpp.kernel.schedule import Forecast
from vpp.kernel.setpoints import FOLLOW, LIMIT, Setpoints
from vpp.kernel.telemetry import Telemetry

QUARTER = 900.0
DAY = 96
AC3_MW, GAP_MW = 16 * 230 * 3 / 1e6, 6 * 230 * 3 / 1e6


def entry(tmp_path: Path | None = None, rows: str = "", **keys: Any) -> EvEntry:
    """An entry of one point; with rows, of a file of sessions."""
    if tmp_path is not None:
        path = tmp_path / "sessions.csv"
        path.write_text("point,arrive,depart,e_need_mwh\n" + rows)
        keys["sessions"] = f"file:{path}"
    return EvEntry(**{"kind": "ev", "id": "ev", "at": {"buses": ["x"]}, **keys})


def run(model: FleetModel, steps: int, setpoint: Setpoints | None = None, dt_s: float = QUARTER) -> tuple[Any, Any]:
    """Step with one setpoint; what was delivered and the state of charge, (steps, n)."""
    delivered, p, soc = None, [], []
    for k in range(steps):
        offer = model.step(k, dt_s, setpoint, delivered)
        delivered = offer.p_mw.copy()
        p.append(delivered)
        soc.append(offer.soc.copy())
    return np.array(p), np.array(soc)


ONE = "1,2016-06-21T02:00,2016-06-21T06:00,0.02\n"


def test_left_alone_a_car_charges_at_once_up_to_its_need(tmp_path: Path) -> None:
    model = FleetModel(spec_of(entry(tmp_path, ONE, efficiency=0.9), places()))
    p, soc = run(model, 30)
    assert np.isnan(soc[:8]).all()
    assert np.isnan(soc[24:]).all()
    assert soc[8, 0] == pytest.approx(0.8 - 0.02 / 0.06)
    np.testing.assert_allclose(p[8:16, 0], -AC3_MW)
    assert -p.sum() / 4 * 0.9 == pytest.approx(0.02)
    assert soc[23, 0] == pytest.approx(0.8)
    assert model.models[0].memory["points"][3:, 0].tolist() == pytest.approx([0, 0, 1])


def test_what_a_car_is_short_of_is_counted_once(tmp_path: Path) -> None:
    rows = ONE + "1,2016-06-21T06:00,2016-06-21T08:00,0.01\n"
    model = FleetModel(spec_of(entry(tmp_path, rows), places()))
    run(model, 40, asked(1, mode=FOLLOW, p_mw=0.0))
    assert model.models[0].memory["points"][3:, 0].tolist() == pytest.approx([0.03, 2, 2])


def test_need_and_departure_are_seen(tmp_path: Path) -> None:
    model = FleetModel(spec_of(entry(tmp_path, ONE, efficiency=0.9), places()))
    for k in range(10):
        offer = model.step(k, QUARTER, None, np.zeros(1))
    assert offer.e_need_mwh[0] == pytest.approx(0.02 / 0.9)
    assert offer.t_depart_s[0] == pytest.approx(3.75 * 3600)
    assert np.isnan(model.step(24, QUARTER, None, np.zeros(1)).e_need_mwh[0])


@pytest.mark.parametrize(
    ("setpoint", "p_mw"),
    [
        ({"mode": FOLLOW, "p_mw": -0.006}, -0.006),
        ({"mode": FOLLOW, "p_mw": -0.9 * GAP_MW}, 0.0),  # less than 6 A is a pause
        ({"mode": FOLLOW, "p_mw": -GAP_MW}, -GAP_MW),
        ({"mode": FOLLOW, "p_mw": -1.0}, -AC3_MW),
        ({"mode": FOLLOW, "p_mw": 0.008}, 0.005),
        ({"mode": LIMIT, "p_limit_mw": 0.005}, -AC3_MW),
        ({"mode": FOLLOW, "p_mw": -0.006, "connect": 0.0}, 0.0),
    ],
)
def test_commands(tmp_path: Path, setpoint: dict[str, Any], p_mw: float) -> None:
    model = FleetModel(spec_of(entry(tmp_path, ONE, p_back_mw=0.005), places()))
    assert run(model, 10, asked(1, **setpoint))[0][9, 0] == pytest.approx(p_mw, abs=1e-12)


def test_a_car_gives_back_down_to_its_floor_and_no_further(tmp_path: Path) -> None:
    rows = "1,2016-06-21T02:00,2016-06-21T23:00,0.0\n"
    model = FleetModel(spec_of(entry(tmp_path, rows, p_back_mw=0.01, soc_min=0.3), places()))
    _, soc = run(model, 60, asked(1, mode=FOLLOW, p_mw=0.01))
    assert soc[59, 0] == pytest.approx(0.3)


def test_power_falls_where_the_car_is_nearly_full(tmp_path: Path) -> None:
    rows = "1,2016-06-21T00:00,2016-06-21T23:00,0.05\n"
    car = entry(tmp_path, rows, connector="dc", p_mw=0.1, soc_need=1.0, charging_curve=((0.5, 1.0), (1.0, 0.1)))
    p, soc = run(FleetModel(spec_of(car, places(steps=1440, dt_s=60.0))), 120, dt_s=60.0)
    taking = p[:, 0] < -1e-6
    expected = np.clip(0.1 * np.interp(soc[:, 0], [0.5, 1.0], [1.0, 0.1]), 0.0, (1 - soc[:, 0]) * 0.06 * 60 / 0.92)
    np.testing.assert_allclose(-p[taking, 0], expected[taking], rtol=1e-9)
    assert soc[-1, 0] == pytest.approx(1.0)


def test_what_is_expected_of_cars_that_nobody_leads_is_what_they_do() -> None:
    at = places(m=20, steps=2 * DAY)
    spec = spec_of(entry(controllable=False), at)
    model = FleetModel(spec)
    p, _ = run(model, 2 * DAY)
    window = spec.profiles.window(START_NS, 900 * 10**9, 2 * DAY)
    np.testing.assert_allclose(model.expect(window), p, atol=1e-8)
    assert p.min() < -0.01


@pytest.mark.parametrize("habit", HABITS)
def test_habits(habit: str) -> None:
    """Times of day, weekends, stays and mean needs of 60 days, 200 points; summer time begins in between."""
    start = 1_456_786_800 * 10**9  # 2016-03-01 in Berlin, a Tuesday
    at = places(m=200, steps=60 * DAY, start_ns=start)
    found = drawn(habit, 200, at.time_ns, QUARTER, "Europe/Berlin", 0.008, np.random.default_rng(2))
    inside = found.arrive_s >= 0
    local = (found.arrive_s[inside] + 3600 * (found.arrive_s[inside] > 26 * 86400 + 2 * 3600)) / 3600  # the 27th: two is three
    weekend = ((local // 24) % 7 == 4) | ((local // 24) % 7 == 5)
    work, free = HABITS[habit]
    for mask, day, share in ((~weekend, work, 5 / 7), (weekend, free, 2 / 7)):
        if day.chance > 0.3:
            assert np.mean(local[mask] % 24) == pytest.approx(np.clip(day.arrive_h, 0, 24), abs=0.5)
        if day.turns == 1:
            days = 60 * share
            assert mask.sum() / (200 * days) == pytest.approx(day.chance, abs=0.2 * day.chance + 0.02)
    assert found.need_mwh.mean() == pytest.approx(0.008, rel=0.05)
    for device in range(200):
        mine = found.device == device
        assert (found.arrive_s[mine][1:] >= found.depart_s[mine][:-1]).all()
    assert (found.depart_s > found.arrive_s).all()


def test_state_and_restore_give_the_same_bytes() -> None:
    spec = spec_of(entry(p_back_mw=0.005), places(m=30, steps=2 * DAY))
    rng = np.random.default_rng(1)
    sheets = [asked(30, mode=FOLLOW, p_mw=rng.uniform(-0.011, 0.005, 30)) for _ in range(2 * DAY)]
    a, b = FleetModel(spec), FleetModel(spec)
    delivered = None
    for k in range(2 * DAY):
        if k == DAY:
            b.restore(a.state())
        offer = a.step(k, QUARTER, sheets[k], delivered)
        if k >= DAY:
            assert b.step(k, QUARTER, sheets[k], delivered).block.tobytes() == offer.block.tobytes()
        delivered = offer.p_mw.copy()
    assert {n: x.tobytes() for n, x in a.state().items()} == {n: x.tobytes() for n, x in b.state().items()}


def planned(model: FleetModel, start_step: int, steps: int, price: Any, soc: Any, max_classes: int = 60) -> Any:
    """A plan for the fleet from a step on, by what it says of itself."""
    spec = model.spec
    n, start_ns = spec.fleet.n, START_NS + start_step * 900 * 10**9
    telemetry = Telemetry.full(n)
    telemetry.soc = soc
    nothing = np.zeros((steps, n))
    forecast = Forecast(start_ns, 900 * 10**9, nothing, price, price, np.zeros(steps))
    ahead = Ahead(start_step * QUARTER, QUARTER, spec.profiles.window(start_ns, 900 * 10**9, steps), soc)
    frame = Frame(start_ns, start_ns, spec.fleet, telemetry, forecast, {}, {}, model.flex(ahead, nothing, start_ns))
    return DayAheadPlanner(max_classes=max_classes).plan(frame)


def test_a_plan_of_its_flexibility_serves_every_car_that_can_be_served() -> None:
    """Planned from what the points state and followed step by step: dearer hours are left out, and nobody is short."""
    steps = 2 * DAY
    spec = spec_of(entry(charging_curve=((0.0, 1.0), (1.0, 1.0))), places(m=25, steps=steps))
    price = np.tile(np.repeat([100.0, 60.0, 80.0, 300.0], DAY // 4), 2)
    model = FleetModel(spec)
    model.step(0, QUARTER, None, None)
    plan = planned(FleetModel(spec), 0, steps, price, model.soc.copy())
    led, alone, delivered, other = FleetModel(spec), FleetModel(spec), None, None
    cost = np.zeros(2)
    for k in range(steps):
        delivered = led.step(k, QUARTER, asked(25, mode=FOLLOW, p_mw=plan.p_mw[k]), delivered).p_mw.copy()
        other = alone.step(k, QUARTER, None, other).p_mw.copy()
        cost -= np.array([delivered.sum(), other.sum()]) * price[k] / 4
        np.testing.assert_allclose(delivered, plan.p_mw[k], atol=2e-6)
    short = [m.models[0].memory["points"][3].sum() for m in (led, alone)]
    assert short[0] <= short[1] + 1e-6
    assert alone.models[0].memory["points"][5].sum() > 15
    assert cost[0] < 0.8 * cost[1]


def test_cars_put_together_cost_little_more_and_are_all_served() -> None:
    """A hundred cars in at most 60 and at most 15 classes against one class each."""
    steps = 2 * DAY
    spec = spec_of(entry(), places(m=100, steps=steps))
    price = np.tile(np.repeat([100.0, 60.0, 80.0, 300.0], DAY // 4), 2)
    model = FleetModel(spec)
    model.step(0, QUARTER, None, None)
    plans = [planned(FleetModel(spec), 0, steps, price, model.soc.copy(), classes) for classes in (100, 60, 15)]
    cost = []
    for plan in plans:
        led, delivered, total = FleetModel(spec), None, 0.0
        for k in range(steps):
            delivered = led.step(k, QUARTER, asked(100, mode=FOLLOW, p_mw=plan.p_mw[k]), delivered).p_mw.copy()
            total -= float(delivered.sum()) * price[k] / 4
        assert led.models[0].memory["points"][3].sum() < 1e-6
        cost.append(total)
    assert cost[1] < 1.1 * cost[0]
    assert cost[2] < 1.2 * cost[0]


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"current_a": 5.0}, "6…63 A"), ({"p_back_mw": 0.02}, "p_back_mw is above"), ({"p_mw": 0.003}, "smallest current"),
        ({"s_mva": 0.02}, "gives nothing back"), ({"efficiency": 1.2}, "fraction"), ({"e_car_mwh": -1.0}, "wrong sign"),
        ({"sessions": "file:/nowhere.csv"}, "cannot be read"), ({"charging_curve": ((1.0, 1.0), (0.5, 1.0))}, "ascend"),
    ],
)  # fmt: skip
def test_impossible_parameters_are_findings(keys: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        entry(**keys)


@pytest.mark.parametrize(
    "row", ["0,2016-06-21T02:00,2016-06-21T06:00,1", "1,now,2016-06-21T06:00,1", "1,2016-06-21T06:00,2016-06-21T02:00,1"]
)
def test_a_bad_row_of_sessions_is_named(tmp_path: Path, row: str) -> None:
    with pytest.raises(ValidationError, match="line 3"):
        entry(tmp_path, ONE + row + "\n")
