"""Heat pumps: hplib's performance, the house as a store, comfort and compressor protected whatever is asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.twin.laid_out import alone, asked, content, flex_of, follow, laid_out, restored_runs_on, run
from twin.devices.heat_pump import HELD_S, MASS, ROOM_C, UA, WATER, HeatPump, _performance
from twin.devices.heat_pump_types import heat_pump_type
from twin.fleet import FleetModel
from vpp.kernel.setpoints import FOLLOW, LIMIT

AIR = {"kind": "heat_pump", "p_mw": 0.003, "ambient_c": 0.0}
ON_OFF = {**AIR, "group": 4}


def pump(model: FleetModel) -> HeatPump:
    (found,) = [m for m in model.models if isinstance(m, HeatPump)]
    return found


@pytest.mark.parametrize("group", [1, 2, 4, 5, 6])
def test_performance_is_hplib_s(group: int) -> None:
    """Power and COP of every generic group over the whole range of temperatures, against `hplib.simulate`."""
    import hplib.hplib as hpl

    parameters = hpl.get_parameters("Generic", group_id=group, t_in=-7, t_out=52, p_th=10000)
    ref = float(parameters["P_el_h_ref [W]"].array[0])
    model = pump(laid_out({**AIR, "group": group, "p_mw": ref / 1e6}))
    for flow in (30.0, 40.0, 55.0):
        for outside in np.arange(-20.0, 18.0, 1.5):
            source = outside if group in (1, 4) else (0.0 if group in (2, 5) else 10.0)
            theirs = hpl.simulate(source, flow - 5.0, parameters, outside)
            _, p, _, cop = _performance(model.par, 0, outside, flow)
            assert p * 1e6 == pytest.approx(theirs["P_el"][0], rel=1e-6)
            assert cop == pytest.approx(theirs["COP"][0], rel=1e-6)


@pytest.mark.parametrize("name", ["i-SHWAK V4 06", "i-SHWAK V4 16T"])
def test_a_year_s_energy_is_hplib_s(name: str) -> None:
    """A house heated for a year by its own thermostat: electricity and heat as hplib gives for the same hours. Within 1 %."""
    import hplib.hplib as hpl

    hours = np.arange(8760)
    outside = 10.0 - 11.0 * np.cos(2 * np.pi * (hours / 8760 - 0.05)) + 4.0 * np.sin(2 * np.pi * (hours - 9) / 24)
    model = laid_out({"kind": "heat_pump", "model": name, "ambient_c": 0.0}, dt_s=3600.0, steps=8760)
    object.__setattr__(model.spec.profiles, "fine", outside.astype(np.float32)[:, None])
    object.__setattr__(model.spec.profiles, "row", np.zeros(8760, np.int64))
    device, heat = pump(model), np.zeros(8760)
    powers, delivered = np.zeros(8760), None
    for k in range(8760):
        delivered = model.step(k, 3600.0, None, delivered).p_mw.copy()
        powers[k], heat[k] = -delivered[0], device.memory["state"][6, 0]
    flow = np.clip(20.0 + 20.0 * (20.0 - outside) / 30.0, 25.0, 40.0)
    parameters = hpl.get_parameters(name)
    theirs = hpl.simulate(outside, flow - 5.0, parameters, outside)
    cop, p_el = theirs["COP"][0], theirs["P_el"][0] / 1e6
    runs = powers > 0
    assert runs.mean() > 0.3
    assert heat.sum() == pytest.approx((powers * cop)[runs].sum(), rel=0.01)
    # Heat that the house needed, made by hplib at its own operating power for as long as that takes.
    took_h = heat[runs] / (p_el * cop)[runs]
    assert powers.sum() == pytest.approx((p_el[runs] * took_h).sum(), rel=0.01)


def test_without_heat_the_house_cools_with_its_time_constant() -> None:
    model = laid_out({**AIR, "loss_mw_per_k": 0.0002, "mass_mwh_per_k": 0.01, "comfort_c": [15.0, 22.0], "room_c": 22.0})
    run(model, [asked(1, connect=0.0)] * 96)
    assert pump(model).memory["state"][ROOM_C, 0] == pytest.approx(22.0 * np.exp(-24.0 * 0.0002 / 0.01), abs=1e-6)


@pytest.mark.parametrize("dt_s", [60.0, 900.0, 3600.0])
def test_heat_is_neither_lost_nor_found(dt_s: float) -> None:
    """Heat made less heat lost is what the mass took up; the loss is that of the mean temperature of each step, exactly."""
    model = laid_out({**AIR, "gain_mw": 0.0002, "ambient_c": -3.0}, steps=200, dt_s=dt_s)
    device, delivered, hours = pump(model), None, dt_s / 3600.0
    ua, mass = device.par[UA, 0], device.par[MASS, 0]
    made = lost = 0.0
    first = device.memory["state"][ROOM_C, 0]
    for k in range(200):
        delivered = model.step(k, dt_s, None, delivered).p_mw.copy()
        heat, room = device.memory["state"][6, 0], device.memory["state"][ROOM_C, 0]
        goes = -3.0 + (heat + 0.0002) / ua
        keeps = np.exp(-hours * ua / mass)
        lost += ua * hours * (goes - (goes - room) * (1 - keeps) / (hours * ua / mass) + 3.0)
        made += (heat + 0.0002) * hours
    model.step(200, dt_s, None, delivered)
    assert mass * (device.memory["state"][ROOM_C, 0] - first) == pytest.approx(made - lost, abs=1e-9)
    assert made > 0


@pytest.mark.parametrize("entry", [AIR, ON_OFF, {**AIR, "group": 2}, {**AIR, "ambient_c": -8.0}, {**ON_OFF, "ambient_c": -8.0}])
@pytest.mark.parametrize("p_mw", [0.0, -1.0, -0.001])
def test_comfort_holds_whatever_is_asked(entry: dict[str, Any], p_mw: float) -> None:
    """Two days of nothing, of everything and of a little: the room stays in its band (a step's heat or loss beyond)."""
    model = laid_out(entry, steps=192)
    device, rooms, delivered = pump(model), [], None
    for k in range(192):
        delivered = model.step(k, 900.0, asked(1, mode=FOLLOW, p_mw=p_mw), delivered).p_mw.copy()
        rooms.append(device.memory["state"][ROOM_C, 0])
    assert min(rooms) > 19.9
    assert max(rooms) < 22.1
    assert np.ptp(rooms) > (0.5 if p_mw in (0.0, -1.0) else 0.0)


def test_left_alone_it_keeps_the_middle_and_led_it_uses_the_band() -> None:
    free, cold, hot = (laid_out({**AIR, "ambient_c": 5.0}, steps=192) for _ in range(3))
    a, b, c = alone(free, 192), follow(cold, [0.0], steps=192), follow(hot, [-1.0], steps=192)
    assert abs(a["soc"][96:].mean() - 0.5) < 0.21
    assert b["soc"][-1] < 0.1
    assert c["soc"][-1] > 0.9


def test_follow_is_followed_inside_the_band() -> None:
    model = laid_out(AIR)
    gap, most = model.spec.fleet.p_gap_mw[0], 0.003
    wants = [0.0, -gap, -1.5 * gap, -most, -0.4 * gap]
    got = follow(laid_out({**AIR, "min_up_s": 0.0, "min_down_s": 0.0}), np.array(wants)[:, None])["p_mw"][:, 0]
    assert got[0] == 0.0
    assert got[2:4] == pytest.approx(wants[2:4], rel=1e-6)
    assert got[4] == 0.0
    limited = run(laid_out({**AIR, "min_down_s": 0.0}), [asked(1, mode=LIMIT, p_limit_mw=-0.002)] * 2)["p_mw"][:, 0]
    assert limited == pytest.approx([-0.002, -0.002])


def test_compressor_keeps_minimum_run_and_rest() -> None:
    """Asked on and off by chance each minute it switches as its minimum times let it."""
    model = laid_out({**ON_OFF, "min_up_s": 300.0, "min_down_s": 600.0}, steps=120, dt_s=60.0)
    on = follow(model, np.random.default_rng(1).choice([0.0, -1.0], (120, 1)), 60.0)["p_mw"][:, 0] < 0
    edges = np.flatnonzero(np.diff(on.astype(int)))
    lengths, runs = np.diff(edges), on[edges[:-1] + 1]
    assert lengths[runs].min() == 5
    assert lengths[~runs].min() == 10


def test_hot_water_goes_first_and_costs_more() -> None:
    dry, wet = laid_out({**AIR, "ambient_c": 12.0}), laid_out({**AIR, "ambient_c": 12.0, "water_mwh_per_day": 0.006})
    a, b = alone(dry, 96)["p_mw"].sum(), alone(wet, 96)["p_mw"].sum()
    tank = pump(wet).memory["state"][WATER, 0]
    assert tank > 0
    used_mwh = (a - b) / 4.0
    assert 0.0008 < used_mwh < 0.006 / 1.5


def test_availability_brackets_the_offer() -> None:
    r = follow(laid_out(AIR, ON_OFF), np.random.default_rng(1).uniform(-0.004, 0.0, (96, 2)))
    assert (r["p_avail_min_mw"] <= r["p_mw"] + 1e-12).all()
    assert (r["p_mw"] <= r["p_avail_max_mw"] + 1e-12).all()


def test_flex_states_heat_loss_cop_and_gap() -> None:
    model = laid_out({**AIR, "ambient_c": [float(h) for h in range(-4, 20)]})
    flex = flex_of(model, 96)
    assert (np.diff(flex.eff_in[:, 0]) >= 0).all()
    assert flex.eff_in[0, 0] > 1.5
    assert (flex.e_flow_mwh <= 0).all()
    assert flex.p_gap_mw[0] > 0
    assert (flex.p_hi_mw == 0).all()
    never, always = np.zeros((96, 1)), flex.p_lo_mw
    assert content(flex, never)[-1, 0] < 0.0 < flex.e_hi_mwh[0, 0]
    assert content(flex, always)[-1, 0] > flex.e_hi_mwh[0, 0]


def test_flex_foretells_the_room() -> None:
    """A plan that `Flex` allows is one that the pump follows: the state of charge ends where the plan said."""
    entry = {**AIR, "ambient_c": 2.0, "min_up_s": 0.0, "min_down_s": 0.0}
    model = laid_out(entry)
    flex = flex_of(model, 48)
    plan = np.where(np.arange(48) % 4 < 2, -0.0016, 0.0)[:, None]
    got = follow(model, plan)
    assert got["p_mw"] == pytest.approx(plan, abs=1e-9)
    assert model.soc[0] == pytest.approx(content(flex, plan)[-1, 0] / flex.e_hi_mwh[0, 0], abs=0.05)


def test_restored_runs_on() -> None:
    entries = (AIR, {**ON_OFF, "water_mwh_per_day": 0.006})
    plan = np.random.default_rng(2).uniform(-0.004, 0.0, (80, 2))
    restored_runs_on(laid_out(*entries), laid_out(*entries), plan)


def test_it_follows_the_weather() -> None:
    """Without a temperature of its own it takes that of its cell; windows let the sun in."""
    shade = {"kind": "heat_pump", "p_mw": 0.003}
    model = laid_out(shade, {**shade, "solar_m2": 8.0}, start="2016-03-01", weather=True)
    fine = model.spec.profiles.fine
    assert fine is not None
    outside, gain, _ = pump(model)._around(fine)
    assert np.ptp(outside) > 0.5
    assert (gain[:, 0] == 0).all()
    assert gain[:, 1].max() == pytest.approx(8e-6 * fine.max(), rel=1e-6)
    shaded, sunny = -alone(model, 96)["p_mw"].sum(axis=0)
    assert 0 < sunny < 0.95 * shaded


def test_types_are_looked_up() -> None:
    assert heat_pump_type("i-SHWAK V4 06", 1).p_el_mw == pytest.approx(2866e-6)
    with pytest.raises(KeyError, match="did you mean 'i-SHWAK V4 06'"):
        heat_pump_type("i-SHWAK V4 6", 1)


def test_uncontrolled_it_is_no_store() -> None:
    model = laid_out({**AIR, "controllable": False})
    assert model.spec.fleet.control[0] == 0
    assert model.spec.fleet.e_mwh[0] == 0.0
    assert -model.expect(np.zeros((2, 1), np.float32))[0, 0] > 0.0001
    assert pump(model).memory["state"][HELD_S, 0] < 0
