"""Fleets as a scenario would lay them out, on a street that needs no power flow, for the tests of single devices."""

from __future__ import annotations

from typing import Any

import numpy as np

from scenarios.expand import expand
from scenarios.fleet import fleet_spec
from scenarios.schema.scenario import Scenario
from scenarios.weather import weather_of
from tests.scenarios.conftest import network
from twin.devices.model import Ahead
from twin.fleet import FleetModel
from twin.series import Surroundings
from vpp.kernel.flex import Flex
from vpp.kernel.setpoints import FOLLOW, Setpoints
from vpp.kernel.signals import FloatArray


def laid_out(
    *entries: dict[str, Any], steps: int = 96, dt_s: float = 900.0, start: str = "2016-02-01", weather: bool = False
) -> FleetModel:
    """A fleet of these entries, each at one bus unless it says otherwise; with synthetic weather or without."""
    fleet = [{"id": f"r{i}", "at": {"buses": [101]}, **entry} for i, entry in enumerate(entries)]
    time = {"start": start, "zone": "UTC", "steps": steps, "step_s": dt_s}
    said: dict[str, Any] = {"name": "t", "purpose": "t", "network": "simbench:x", "time": time, "fleet": fleet}
    if weather:
        said["weather"] = {"latitude": 50.0, "longitude": 10.0}
    scenario, street = Scenario.model_validate(said), network()
    street.source = "file:street"  # a network without a map: one cell of weather
    times = scenario.time.step_times_ns
    around = Surroundings(times, dt_s, None, weather_of(scenario, street, times, dt_s))
    return FleetModel(fleet_spec(expand(scenario, street), street, around))


def asked(n: int, **values: Any) -> Setpoints:
    """Setpoints, neutral but for the signals named."""
    sheet = Setpoints.neutral(n)
    for name, value in values.items():
        setattr(sheet, name, value)
    return sheet


def follow(model: FleetModel, p_mw: Any, dt_s: float = 900.0, steps: int | None = None) -> dict[str, FloatArray]:
    """Step a fleet with setpoints for active power, (n,) or (steps, n); what it offered, each signal (steps, n)."""
    n = model.spec.fleet.n
    rows = np.broadcast_to(np.asarray(p_mw, float), (steps or len(np.atleast_2d(p_mw)), n))
    return run(model, [asked(n, mode=FOLLOW, p_mw=row) for row in rows], dt_s)


def alone(model: FleetModel, steps: int, dt_s: float = 900.0) -> dict[str, FloatArray]:
    """Step a fleet that nobody leads."""
    return run(model, [asked(model.spec.fleet.n)] * steps, dt_s)


def run(model: FleetModel, sheets: list[Setpoints], dt_s: float = 900.0) -> dict[str, FloatArray]:
    """Step a fleet with these setpoints, everything offered being delivered, and count the last step too."""
    delivered, kept = None, []
    for k, sheet in enumerate(sheets):
        offer = model.step(k, dt_s, sheet, delivered)
        delivered = offer.p_mw.copy()
        kept.append(offer)
    model.step(len(sheets), dt_s, None, delivered)
    return {
        name: np.array([getattr(o, name) for o in kept]) for name in ("p_mw", "q_mvar", "soc", "p_avail_min_mw", "p_avail_max_mw")
    }


def flex_of(model: FleetModel, steps: int, step_s: float = 900.0) -> Flex:
    """What the devices say that they can do from the start on."""
    start = model.spec.profiles.start_ns
    profile = model.spec.profiles.window(start, round(step_s * 1e9), steps)
    return model.flex(Ahead(0.0, step_s, profile, model.soc.copy()), model.expect(profile), start)


def content(flex: Flex, p_mw: FloatArray) -> FloatArray:
    """(steps, n) stored energy that a plan leads to, by the rule of `Flex`."""
    hours, e = flex.step_ns / 3.6e12, flex.e_start_mwh.copy()
    out = np.empty_like(flex.e_flow_mwh)
    for t, p in enumerate(p_mw):
        e = e + flex.e_flow_mwh[t] - flex.e_leave_mwh[t] - np.where(p > 0, p / flex.eff_out[t], p * flex.eff_in[t]) * hours
        out[t] = e
    return out


def restored_runs_on(model: FleetModel, again: FleetModel, p_mw: FloatArray, dt_s: float = 900.0) -> None:
    """Run half the setpoints, save, restore into ``again``, run on in both: the same bytes."""
    half = len(p_mw) // 2
    follow(model, p_mw[:half], dt_s)
    again.restore(model.state())
    one, other = follow(model, p_mw[half:], dt_s), follow(again, p_mw[half:], dt_s)
    for name in one:
        assert one[name].tobytes() == other[name].tobytes(), name
    for name, array in model.state().items():
        assert array.tobytes() == again.state()[name].tobytes(), name
