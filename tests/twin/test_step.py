"""Tap changers and capacitor banks: led by setpoints at the pace of their mechanism, by themselves within a band."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from scenarios.check import check
from scenarios.expand import expand
from scenarios.fleet import fleet_spec
from scenarios.schema.scenario import Scenario
from twin.fleet import FleetModel
from twin.series import Surroundings
from vpp.grid import load_network
from vpp.grid.stepping import SteppedNetwork, step_devices
from vpp.kernel.fleet import CONTROL_NONE, CONTROL_STEP
from vpp.kernel.setpoints import AUTONOMOUS, FOLLOW, Setpoints

LV = "simbench:1-LV-rural1--0-sw"  # one transformer, taps -2 … 2 of 2.5 % on the high-voltage side


def fleet(dt_s: float = 1.0, network: str = LV, **entry: Any) -> FleetModel:
    """A tap changer in its network."""
    said = {"id": "tap", "kind": "tap_changer", "at": "taps", "deadband_pu": 0.02, **entry}
    time = {"start": "2016-06-21", "zone": "UTC", "steps": 60, "step_s": dt_s}
    scenario = Scenario.model_validate({"name": "t", "purpose": "t", "network": network, "time": time, "fleet": [said]})
    net = load_network(network)
    plan = expand(scenario, net)
    return FleetModel(fleet_spec(plan, net, Surroundings(scenario.time.step_times_ns, dt_s, None, None)))


def run(model: FleetModel, vm: list[float], step: float | None = None, dt_s: float = 1.0, start: int = 0) -> list[float]:
    """The steps held while the voltage of the step before is ``vm``, led to a step or not."""
    sheet = Setpoints.neutral(model.spec.fleet.n)
    if step is not None:
        sheet.step, sheet.mode = step, FOLLOW
    out = []
    for k, v in enumerate(vm, start):
        model.step(k, dt_s, sheet, np.zeros(model.spec.fleet.n), np.full(model.spec.fleet.n, v), 50.0)
        out.append(float(model.applied.step[0]))
    return out


def test_it_is_a_resource_without_power_that_has_steps() -> None:
    model = fleet()
    columns = model.spec.fleet
    assert columns.control.tolist() == [CONTROL_STEP]
    assert (columns.step_min.tolist(), columns.step_max.tolist()) == ([-2.0], [2.0])
    assert columns.p_min_mw.tolist() == columns.p_max_mw.tolist() == [0.0]
    assert fleet(controllable=False).spec.fleet.control.tolist() == [CONTROL_NONE]
    assert run(model, [1.0] * 3) == [0.0] * 3


def test_by_itself_it_waits_steps_and_steps_again() -> None:
    held = run(fleet(delay_s=3.0, next_s=2.0, move_s=0.0), [1.05] * 9)
    assert held == [0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 2.0]  # the last one is its end
    assert run(fleet(delay_s=3.0), [0.95] * 4)[-1] == -1.0
    assert run(fleet(delay_s=3.0), [1.05, 1.05, 1.0, 1.05, 1.05, 1.05]) == [0.0] * 5 + [1.0]  # inside for a moment: it waits anew
    assert run(fleet(delay_s=3.0), [np.nan] * 5) == [0.0] * 5
    assert run(fleet(delay_s=0.0, local=False), [1.05] * 5) == [0.0] * 5


def test_a_long_step_of_the_simulation_takes_as_many_as_are_needed() -> None:
    model = fleet(900.0, delay_s=30.0, next_s=10.0)
    assert run(model, [1.05], dt_s=900.0) == [2.0]  # 0.03 pu beyond the band, 0.025 a step
    assert run(fleet(900.0, delay_s=30.0, next_s=10.0), [1.03], dt_s=900.0) == [1.0]
    assert run(fleet(900.0, delay_s=895.0, next_s=10.0), [1.05], dt_s=900.0) == [1.0]  # no time for a second one


def test_led_it_goes_at_the_pace_of_its_mechanism_whatever_the_voltage() -> None:
    assert run(fleet(move_s=3.0), [1.05] * 7, step=-2.0) == [0.0, 0.0, 0.0, -1.0, -1.0, -1.0, -2.0]
    assert run(fleet(move_s=0.0), [1.05], step=2.0) == [2.0]
    assert run(fleet(900.0), [1.0], step=1.0, dt_s=900.0) == [1.0]
    assert run(fleet(move_s=0.0), [1.0], step=7.0) == [2.0]  # no further than its end
    model = fleet(move_s=0.0, delay_s=2.0)
    assert run(model, [1.0] * 2, step=-1.0) == [-1.0, -1.0]
    assert run(model, [1.05] * 2, start=2) == [-1.0, 0.0]  # let go, its own control leads on from there
    assert model.applied.mode[0] == AUTONOMOUS


def test_a_saved_state_goes_on_alike() -> None:
    for step in (None, 2.0):
        straight, first = fleet(delay_s=4.0, move_s=2.0), fleet(delay_s=4.0, move_s=2.0)
        whole = run(straight, [1.05] * 12, step)
        head = run(first, [1.05] * 5, step)
        second = fleet(delay_s=4.0, move_s=2.0)
        second.restore(first.state())
        assert head + run(second, [1.05] * 7, step, start=5) == whole


def test_the_network_goes_where_the_resources_are() -> None:
    net, model = load_network(LV), fleet(move_s=0.0)
    stepped = SteppedNetwork(net, step_devices(model.spec.own, model.spec.fleet.kind))
    assert not stepped.take(model.applied.step)
    assert stepped.now is net
    run(model, [1.0], step=1.0)
    assert stepped.take(model.applied.step)
    assert stepped.now.taps.pos.tolist() == [1]
    assert not stepped.take(np.array([np.nan]))  # not known: as before
    assert stepped.positions().tolist() == [1]


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"p_mw": 0.1}, "a tap_changer has no rating of power: leave p_mw out"),
        ({"at": "buses"}, "a tap_changer stands at taps, or at {buses: [...]} whose voltage it moves"),
    ],
)
def test_what_makes_no_sense_is_refused(entry: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        fleet(**entry)


def test_places_without_one_two_holders_and_a_band_that_would_hunt_are_findings() -> None:
    def found(*entries: dict[str, Any]) -> list[str]:
        fleet = [{"kind": "tap_changer", "at": "taps", "deadband_pu": 0.02, "id": f"t{i}", **e} for i, e in enumerate(entries)]
        time = {"start": "2016-06-21", "zone": "UTC", "steps": 4}
        said = {"name": "t", "purpose": "t", "network": LV, "time": time, "fleet": fleet}
        findings = check(Scenario.model_validate(said), load_network(LV))
        return [f.message for f in findings if f.severity == "error"]

    assert found({}) == []
    assert found({}, {}) == ["t1-1 is the same device as t0-1"]
    assert found({"deadband_pu": 0.01}) == ["a step of t0-1 is 0.025 pu, its band only 0.02 pu wide: it would hunt"]
    assert "none of these buses has a tap_changer" in found({"at": {"buses": [0]}})[0]
    assert "the network has no shunts" in found({"kind": "capacitor", "at": "shunts"})[0]
