"""CHP: led by heat or by power; tank, demand, boiler and fuel add up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.twin.laid_out import alone, asked, content, flex_of, follow, laid_out, restored_runs_on, run
from twin.devices.chp import BOILED, DUMPED, FUEL, UNMET, Chp
from twin.fleet import FleetModel
from vpp.kernel.setpoints import FOLLOW, LIMIT

# 50 kW electric and 79.4 kW of heat at rating, 25 kW and 48.3 kW at minimum load.
CHP = {"kind": "chp", "p_mw": 0.05, "heat_mw": 0.05}
QUICK = {**CHP, "start_s": 0.0, "ramp_per_s": 1e15, "min_up_s": 0.0, "min_down_s": 0.0}
BELOW = 0.025**2 / 2 / 0.0025 / 900  # what a ramp over 25 kW adds to the mean of a quarter-hour
HEAT, HEAT_LEAST = 0.05 / 0.34 * 0.54, 0.025 / 0.30 * 0.58


def counted(model: FleetModel, row: int) -> float:
    (device,) = [m for m in model.models if isinstance(m, Chp)]
    return float(device.memory["state"][row, 0])


@pytest.mark.parametrize(
    ("entry", "p_mw"),
    [
        (QUICK, 0.05), (QUICK, 0.0), (QUICK, 0.03), ({**QUICK, "boiler": False}, 0.0), (CHP, 0.0),
        ({**QUICK, "heat_mw": 0.0}, 0.05), ({**QUICK, "heat_mw": 0.2}, 0.05), ({**QUICK, "heat_mw": 0.2, "boiler": False}, 0.05),
    ],
)  # fmt: skip
def test_heat_books(entry: dict[str, Any], p_mw: float) -> None:
    """Heat of the engine and the boiler less demand and what was dumped is what the tank took up; fuel as its curve says."""
    model = laid_out(entry)
    store, first = model.spec.fleet.e_mwh[0], model.soc[0]
    p = follow(model, [p_mw], steps=96)["p_mw"][:, 0]
    heat = np.interp(p, [0.0, 0.025, 0.05], [0.0, HEAT_LEAST, HEAT]).sum() / 4
    fuel = np.interp(p, [0.0, 0.025, 0.05], [0.0, 0.025 / 0.30, 0.05 / 0.34]).sum() / 4
    got = heat + counted(model, BOILED) + counted(model, UNMET) - counted(model, DUMPED) - entry["heat_mw"] * 24
    assert got == pytest.approx((first - model.soc[0]) * store, abs=1e-9)
    assert counted(model, FUEL) == pytest.approx(fuel, abs=1e-12)
    assert counted(model, UNMET if entry.get("boiler", True) else BOILED) == 0.0
    assert counted(model, DUMPED) < 1e-12


def test_led_by_heat_the_tank_bounds_it() -> None:
    """Asked for everything it fills the tank, then makes no more than the demand takes; asked for nothing the boiler heats."""
    full, cold = laid_out(QUICK), laid_out(QUICK)
    p = follow(full, [0.05], steps=96)["p_mw"][:, 0]
    follow(cold, [0.0], steps=96)
    assert full.soc[0] == pytest.approx(0.0, abs=1e-9)
    assert p[:4] == pytest.approx([0.05] * 4)
    assert p[-1] == pytest.approx(0.025 + 0.025 * (0.05 - HEAT_LEAST) / (HEAT - HEAT_LEAST), rel=1e-6)
    assert counted(full, DUMPED) == pytest.approx(0.0, abs=1e-12)
    assert cold.soc[0] == 1.0
    assert counted(cold, BOILED) == pytest.approx(24 * 0.05 - HEAT, rel=1e-9)


def test_led_by_power_heat_has_no_say() -> None:
    model = laid_out({**QUICK, "lead": "power", "heat_mw": 0.01})
    r = follow(model, [0.05], steps=96)
    assert r["p_mw"] == pytest.approx(np.full((96, 1), 0.05))
    assert np.isnan(r["soc"]).all()
    assert model.spec.fleet.e_mwh[0] == 0.0
    assert counted(model, DUMPED) == pytest.approx(24 * (HEAT - 0.01))
    assert (alone(laid_out({**QUICK, "lead": "power"}), 4)["p_mw"] == 0.0).all()


def test_without_a_boiler_a_cold_tank_makes_it_run() -> None:
    model = laid_out({**QUICK, "boiler": False, "heat_fill": 0.02})
    r = follow(model, [0.0], steps=96)
    assert counted(model, UNMET) == pytest.approx(0.0, abs=1e-9)
    assert r["p_mw"].sum() > 0
    assert (r["p_avail_min_mw"] <= r["p_mw"] + 1e-12).all()


def test_left_alone_it_runs_by_its_tank() -> None:
    model = laid_out(CHP, steps=960)
    r = alone(model, 960)
    runs = r["p_mw"][:, 0] > 0
    assert np.ptp(r["soc"][100:]) > 0.4
    assert 0.4 < runs[100:].mean() < 0.9
    assert np.diff(runs.astype(int)).clip(0).sum() < 50
    (device,) = model.models
    spread = device.expect(model.spec.profiles.window(model.spec.profiles.start_ns, 900 * 10**9, 4))
    assert (spread == 0.0).all()


def test_a_limit_caps_it() -> None:
    model = laid_out({**QUICK, "heat_fill": 0.1})
    p = run(model, [asked(1, mode=LIMIT, p_limit_mw=0.03)] * 4 + [asked(1, mode=LIMIT, p_limit_mw=0.001)] * 2)["p_mw"][:, 0]
    assert p.tolist() == pytest.approx([0.03] * 4 + [0.0] * 2)


@pytest.mark.parametrize(
    ("want", "expected"),
    [
        # A minute of starting, then 0.0025 MW/s: the mean of the first quarter-hour lacks both.
        ([0.05, 0.05], [0.05 * (900 - 60 - 10) / 900, 0.05]),
        ([0.05, 0.0, 0.0, 0.0], [0.05 * 830 / 900, 0.025 + BELOW, BELOW, 0.0]),
        ([0.01, 0.013], [0.0, (0.025 * (900 - 60) - 0.025**2 / 2 / 0.0025) / 900]),
    ],
)  # fmt: skip
def test_start_ramp_and_minimum_run(want: list[float], expected: list[float]) -> None:
    """Half an hour it must run, then it may stop; below half of its minimum load it stands still."""
    got = follow(laid_out(CHP), np.array(want)[:, None])["p_mw"][:, 0]
    assert got == pytest.approx(expected, abs=1e-12)


def test_a_full_tank_does_not_cut_a_minimum_run() -> None:
    model = laid_out({**CHP, "heat_fill": 0.85, "heat_mw": 0.0, "min_up_s": 7200.0, "start_s": 0.0})
    p = follow(model, [0.05], steps=12)["p_mw"][:, 0]
    assert (p[:8] > 0).all()
    assert (p[9:] < 1e-12).all()
    assert counted(model, DUMPED) > 0


def test_reactive_power_is_commanded_or_left_to_the_regulator() -> None:
    model = laid_out(QUICK)
    free, led = asked(1, mode=FOLLOW, p_mw=0.05), asked(1, mode=FOLLOW, p_mw=0.05, q_mode=FOLLOW, q_mvar=-0.01)
    off = asked(1, mode=FOLLOW, p_mw=0.05, q_mode=FOLLOW, q_mvar=-0.01, connect=0.0)
    got = [model.step(k, 900.0, sheet, np.array([0.05])) for k, sheet in enumerate((free, led, off))]
    assert [(o.q_mvar[0], o.follow_q[0]) for o in got] == [(0.0, 0.0), (-0.01, 1.0), (0.0, 1.0)]
    assert got[2].p_mw[0] == 0.0
    assert model.spec.s_rated_mva[0] == pytest.approx(0.055)


def test_flex_sees_room_demand_and_power_to_heat() -> None:
    model = laid_out({**QUICK, "heat": [0.5] * 12 + [1.0] * 12})
    flex = flex_of(model, 48)
    assert flex.eff_out[0, 0] == pytest.approx(0.34 / 0.54)
    assert flex.e_flow_mwh[[0, 47], 0] == pytest.approx([0.025 / 4, 0.025 / 4])
    plan = np.full((8, 1), 0.05)
    follow(model, plan)
    assert model.soc[0] * model.spec.fleet.e_mwh[0] == pytest.approx(content(flex, plan)[-1, 0], abs=1e-9)


def test_flex_leaves_to_the_boiler_what_the_engine_cannot() -> None:
    flex = flex_of(laid_out({**QUICK, "heat_mw": 0.5}), 96)
    most = content(flex, np.full((96, 1), 0.05))
    assert most.max() <= flex.e_hi_mwh[0, 0] + 1e-9


def test_restored_runs_on() -> None:
    entries = (CHP, {**CHP, "lead": "power"}, {**CHP, "boiler": False, "heat": [0.2] * 12 + [1.0] * 12})
    restored_runs_on(laid_out(*entries), laid_out(*entries), np.random.default_rng(3).uniform(-0.01, 0.06, (80, 3)))
