"""Hydro: power by flow, the river's books and the reservoir's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.twin.laid_out import alone, asked, content, flex_of, follow, laid_out, restored_runs_on, run
from twin.devices.hydro import MW_PER_M4_S, SPILT, TURBINES, Hydro, _flow_for, _power_of
from twin.fleet import FleetModel
from vpp.kernel.setpoints import LIMIT

RIVER = {"kind": "hydro", "head_m": 10.0, "flow_m3_s": 4.0, "inflow_m3_s": 3.0, "turbine": [[0.25, 0.8], [1.0, 0.9]]}
STORE = {**RIVER, "store_m3": 14400.0, "start_s": 0.0, "ramp_per_s": 1e15}
RATED = MW_PER_M4_S * 10 * 4 * 0.9


def hydro(model: FleetModel) -> Hydro:
    (found,) = [m for m in model.models if isinstance(m, Hydro)]
    return found


@pytest.mark.parametrize("turbine", TURBINES)
def test_flow_and_power_are_inverse_and_the_efficiency_is_met(turbine: str) -> None:
    device = hydro(laid_out({**RIVER, "turbine": turbine}))
    flows, powers = device.own["flow_knots"], device.own["power_knots"]
    for part, efficiency in TURBINES[turbine]:
        assert _power_of(4.0 * part, flows, powers, 0) == pytest.approx(9.80665e-3 * 10 * 4.0 * part * efficiency)
    for flow in np.linspace(0.0, 4.0, 33):
        assert _flow_for(_power_of(flow, flows, powers, 0), flows, powers, 0) == pytest.approx(flow, abs=1e-12)


@pytest.mark.parametrize(
    ("changes", "flow", "efficiency"),
    [
        ({}, 3.0, (1.0 * 0.8 + (4.0 * 0.9 - 0.8) * 2 / 3) / 3.0),
        ({"inflow_m3_s": 9.0}, 4.0, 0.9),
        ({"inflow_m3_s": 4.5, "residual_m3_s": 3.5}, 1.0, 0.8),
        ({"inflow_m3_s": 0.9}, 0.0, 0.0),
        ({"inflow_m3_s": 3.0, "residual_m3_s": 2.5}, 0.0, 0.0),
        ({"scale": 2.0}, 6.0, (1.0 * 0.8 + (4.0 * 0.9 - 0.8) * 2 / 3) / 3.0),
    ],
)
def test_run_of_river_takes_what_there_is(changes: dict[str, Any], flow: float, efficiency: float) -> None:
    model = laid_out({**RIVER, **changes})
    expected = MW_PER_M4_S * 10 * flow * efficiency
    p = alone(model, 4)["p_mw"][:, 0]
    assert p == pytest.approx([expected] * 4)
    assert model.expect(model.spec.profiles.window(model.spec.profiles.start_ns, 900 * 10**9, 1))[0, 0] == pytest.approx(expected)


def test_a_limited_river_spills() -> None:
    model = laid_out(RIVER)
    full = RATED / 2
    sheets = [asked(1, mode=LIMIT, p_limit_mw=full)] * 4 + [asked(1, mode=LIMIT, p_limit_mw=0.01)] * 4
    r = run(model, sheets)
    flow = _flow_for(full, hydro(model).own["flow_knots"], hydro(model).own["power_knots"], 0)
    assert r["p_mw"][:, 0].tolist() == pytest.approx([full] * 4 + [0.0] * 4)
    assert hydro(model).memory["state"][SPILT, 0] == pytest.approx(MW_PER_M4_S * 10 * ((3.0 - flow) + 3.0))
    assert (r["p_avail_max_mw"] > full).all()


@pytest.mark.parametrize("p_mw", [0.0, 0.1, 0.2, 0.3, 1.0])
@pytest.mark.parametrize("dt_s", [60.0, 900.0, 3600.0])
def test_reservoir_books(p_mw: float, dt_s: float) -> None:
    """Water that came, less what went through and over, is what is there."""
    model = laid_out(STORE, dt_s=dt_s, steps=40)
    device, store = hydro(model), model.spec.fleet.e_mwh[0]
    assert store == pytest.approx(MW_PER_M4_S * 10 * 14400 / 3600)
    p = follow(model, [p_mw], dt_s, 40)["p_mw"][:, 0]
    flows, powers = device.own["flow_knots"], device.own["power_knots"]
    used = sum(_flow_for(x, flows, powers, 0) for x in p)
    water = MW_PER_M4_S * 10 * dt_s / 3600 * (40 * 3.0 - used)
    assert store * (model.soc[0] - 0.5) == pytest.approx(water - device.memory["state"][SPILT, 0], abs=1e-9)
    assert 0.0 <= model.soc[0] <= 1.0
    assert p.max() <= RATED + 1e-12


def test_left_alone_the_reservoir_lets_the_river_through() -> None:
    model = laid_out(STORE)
    r = alone(model, 8)
    assert r["soc"] == pytest.approx(np.full((8, 1), 0.5))
    assert r["p_mw"] == pytest.approx(alone(laid_out(RIVER), 8)["p_mw"])


def test_it_stops_exactly_at_an_empty_reservoir() -> None:
    model = laid_out({**STORE, "inflow_m3_s": 0.0})
    r = follow(model, [RATED], steps=8)
    assert r["p_mw"][:2, 0] == pytest.approx([RATED] * 2)
    assert model.soc[0] == pytest.approx(0.0, abs=1e-12)
    assert r["p_mw"][-1, 0] == pytest.approx(0.0, abs=1e-12)


def test_flex_sees_the_inflow_and_leaves_out_what_must_be_spilt() -> None:
    flex = flex_of(laid_out(STORE), 4)
    assert flex.e_flow_mwh[:, 0] == pytest.approx([MW_PER_M4_S * 10 * 3.0 / 4] * 4)
    flood = flex_of(laid_out({**STORE, "inflow_m3_s": 9.0}), 96)
    assert content(flood, np.full((96, 1), RATED)).max() <= flood.e_hi_mwh[0, 0] + 1e-9
    model = laid_out(STORE)
    plan = np.full((4, 1), RATED)
    follow(model, plan)
    assert model.soc[0] * model.spec.fleet.e_mwh[0] == pytest.approx(content(flex, plan)[-1, 0], abs=1e-9)


def test_restored_runs_on() -> None:
    entries = (RIVER, STORE, {**STORE, "start_s": 120.0, "min_up_s": 1800.0, "ramp_per_s": 0.001, "inflow_m3_s": [1.0, 5.0] * 12})
    restored_runs_on(laid_out(*entries), laid_out(*entries), np.random.default_rng(6).uniform(0.0, RATED, (80, 3)))
