"""Batteries: losses over power, drains, tapers, temperature, fading capacity, and all of it restored to the byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.twin.laid import START_NS, places, spec_of
from tests.twin.test_devices import asked
from twin.devices.battery import CHARGE_TEMP, TYPICAL, BatteryEntry
from twin.devices.model import Ahead
from twin.devices.piecewise import curve_at, rows_of, through_origin
from twin.fleet import FleetModel
from vpp.kernel.setpoints import FOLLOW, Setpoints

HOUR_S = 3600.0


def entry(**keys: Any) -> BatteryEntry:
    """A battery of 10 kW and 20 kWh."""
    return BatteryEntry(**{"kind": "battery", "id": "b", "at": {"buses": ["x"]}, "p_mw": 0.01, "e_mwh": 0.02, "soc": 0.5, **keys})


def model(m: int = 1, steps: int = 96, dt_s: float = HOUR_S, **keys: Any) -> FleetModel:
    """Batteries by this entry."""
    return FleetModel(spec_of(entry(**keys), places(m=m, steps=steps, dt_s=dt_s)))


def follow(p_mw: Any, n: int = 1) -> Setpoints:
    return asked(n, mode=FOLLOW, p_mw=p_mw)


def step(devices: FleetModel, k: int, p_mw: float, delivered: Any = None) -> Any:
    return devices.step(k, HOUR_S, follow(p_mw), delivered)


def moved(p_mw: float, **keys: Any) -> float:
    """Change of the state of charge by an hour at this power, in kWh of the new battery's content."""
    devices = model(**keys)
    offer = step(devices, 0, p_mw)
    after = step(devices, 1, 0.0, offer.p_mw.copy())
    return float(after.soc[0] - offer.soc[0]) * 20.0


@pytest.mark.parametrize(("p_pu", "efficiency"), TYPICAL)
def test_losses_over_power(p_pu: float, efficiency: float) -> None:
    """At the points of the curve; between them power in the store is linear in power at the terminals."""
    if p_pu <= 0.6:
        assert moved(p_pu / 100, efficiency="typical") == pytest.approx(-10 * p_pu / efficiency)
        assert moved(-p_pu / 100, efficiency="typical") == pytest.approx(10 * p_pu * efficiency)
    assert moved(0.00015, efficiency="typical") == pytest.approx(-0.15 / 0.70)
    between = (0.2 / 0.95 + 0.35 / 0.957) / 2 * 10
    assert moved(0.00275, efficiency="typical") == pytest.approx(-between)


@settings(max_examples=50, deadline=None)
@given(
    value=st.floats(0.0, 3.0),
    steps=st.lists(st.tuples(st.floats(0.01, 1.0), st.floats(0.01, 1.0)), min_size=2, max_size=8),
)
def test_power_curves_are_their_own_inverse(value: float, steps: list[tuple[float, float]]) -> None:
    points = np.cumsum(np.array(steps), axis=0)
    x, y = (row[0] for row in rows_of([tuple(p) for p in points.tolist()], 1))
    assert through_origin(through_origin(value, x, y), y, x) == pytest.approx(value, rel=1e-9, abs=1e-12)


def test_curves_are_level_outside_their_points() -> None:
    x, y = (row[0] for row in rows_of(((0.2, 0.5), (0.4, 1.0)), 1))
    assert [curve_at(v, x, y) for v in (0.0, 0.2, 0.3, 0.4, 0.9)] == pytest.approx([0.5, 0.5, 0.75, 1.0, 1.0])


@pytest.mark.parametrize("keys", [{}, {"efficiency": "typical"}, {"efficiency": "typical", "standby_mw": 0.0002}])
def test_what_is_offered_is_what_the_content_carries_through_the_step(keys: dict[str, Any]) -> None:
    """At the end of a step at the stated limit the battery is empty, or full but for what drains it."""
    for p_mw, end in ((1.0, 0.0), (-1.0, 1.0)):
        devices = model(soc=0.2 if p_mw > 0 else 0.8, soc_min=0.0, soc_max=1.0, **keys)
        offer = step(devices, 0, p_mw)
        assert offer.p_mw[0] in (offer.p_avail_max_mw[0], offer.p_avail_min_mw[0])
        after = step(devices, 1, 0.0, offer.p_mw.copy())
        drained = keys.get("standby_mw", 0.0) / 0.02 if p_mw < 0 else 0.0
        assert after.soc[0] == pytest.approx(end - drained, abs=1e-12)


def test_drains() -> None:
    """Rest for a month of 730 hours: a tenth is gone; standby takes what it takes until nothing is left."""
    devices, delivered = model(self_discharge_per_month=0.1), None
    for k in range(731):
        offer = step(devices, k, 0.0, delivered)
        delivered = np.zeros(1)
    assert offer.soc[0] == pytest.approx(0.45)
    devices, delivered, soc = model(standby_mw=0.001), None, []
    for k in range(13):
        soc.append(step(devices, k, 0.0, delivered).soc[0])
        delivered = np.zeros(1)
    np.testing.assert_allclose(soc, np.maximum(0.5 - 0.05 * np.arange(13), 0.0), atol=1e-12)


def test_the_drains_are_part_of_its_flexibility() -> None:
    devices = model(standby_mw=0.0001, self_discharge_per_month=0.1, m=2)
    profile = devices.spec.profiles.window(START_NS, 900 * 10**9, 4)
    flex = devices.flex(Ahead(0.0, 900.0, profile, np.full(2, 0.5)), np.zeros((4, 2)), START_NS)
    np.testing.assert_allclose(flex.e_flow_mwh, -0.0001 / 4 - 0.01 * (1 - 0.9 ** (0.25 / 730)), rtol=1e-6)


@pytest.mark.parametrize(("soc", "charge", "discharge"), [(0.1, 1.0, 0.5), (0.5, 1.0, 1.0), (0.9, 0.6, 1.0)])
def test_power_falls_towards_empty_and_full(soc: float, charge: float, discharge: float) -> None:
    devices = model(
        soc=soc, e_mwh=1.0, charge_taper=((0.8, 1.0), (1.0, 0.2)), discharge_taper=((0.0, 0.0), (0.2, 1.0)),
    )  # fmt: skip
    offer = step(devices, 0, 0.0)
    assert offer.p_avail_min_mw[0] == pytest.approx(-0.01 * charge)
    assert offer.p_avail_max_mw[0] == pytest.approx(0.01 * discharge)


@pytest.mark.parametrize(("ambient", "charge"), [(-5.0, 0.0), (5.0, 0.5), (20.0, 1.0), (50.0, 0.5)])
def test_a_cold_battery_takes_less(ambient: float, charge: float) -> None:
    assert float(np.interp(ambient, *np.array(CHARGE_TEMP).T)) == charge
    offer = step(model(ambient_c=ambient, e_mwh=1.0), 0, -1.0)
    assert offer.p_mw[0] == pytest.approx(-0.01 * charge)


def test_it_warms_by_its_losses_and_follows_what_is_around_it(tmp_path: Path) -> None:
    """At rated power both ways in turn it settles at ``heating_k`` above, with its own time constant."""
    devices, delivered = model(dt_s=HOUR_S / 4, thermal_h=1.0, heating_k=9.0, e_mwh=0.1, ambient_c=10.0), None
    temp = devices.models[0].memory["temp_c"]
    seen = []
    for k in range(96):
        delivered = devices.step(k, HOUR_S / 4, follow(0.01 * (-1) ** k), delivered).p_mw.copy()
        seen.append(float(temp[0]))
    assert seen[0] == 10.0
    assert seen[5] - 10 == pytest.approx(9.0 * (1 - np.exp(-1.25)), rel=0.05)
    assert seen[-1] == pytest.approx(19.0, rel=0.02)
    path = tmp_path / "ambient.csv"
    path.write_text("\n".join(str(10.0 + h) for h in range(24)))
    devices, delivered, seen = model(ambient_c=f"file:{path}", thermal_h=0.01), None, []
    for k in range(24):
        delivered = step(devices, k, 0.0, delivered).p_mw.copy()
        seen.append(float(devices.models[0].memory["temp_c"][0]))
    # The profile year is in winter time: midnight of a summer day is eleven in the evening there.
    np.testing.assert_allclose(seen[2:], 10.0 + (np.arange(1, 23) - 1) % 24, atol=1e-3)


def test_a_worn_battery_holds_less_and_says_so() -> None:
    """Half worn, the same energy is twice the state of charge; what it offers follows."""
    assert moved(0.002, soh=0.5) == pytest.approx(2 * moved(0.002))
    assert step(model(soh=0.5, soc_min=0.0), 0, 1.0).p_avail_max_mw[0] == pytest.approx(0.005 * 0.95)
    devices, delivered = model(chemistry="NMC", ambient_c=45.0, e_mwh=0.01), None
    for k in range(600):
        offer = devices.step(k, HOUR_S, follow(0.009 * (-1) ** (k // 2)), delivered)
        delivered = offer.p_mw.copy()
    soh = float(devices.models[0].memory["soh"][0])
    assert 0.5 < soh < 0.95
    offer = devices.step(600, HOUR_S, follow(1.0), delivered)
    soh = float(devices.models[0].memory["soh"][0])
    assert offer.p_avail_max_mw[0] == pytest.approx(min(0.01, offer.soc[0] * 0.01 * soh * 0.95))


def test_state_and_restore_give_the_same_bytes() -> None:
    keys = {"efficiency": "typical", "standby_mw": 0.00005, "self_discharge_per_month": 0.03, "chemistry": "NMC"}
    rng = np.random.default_rng(4)
    a, b = (model(m=20, steps=200, dt_s=900.0, **keys) for _ in range(2))
    delivered = None
    for k in range(200):
        if k == 90:
            b.restore(a.state())
        sheet = follow(rng.uniform(-0.01, 0.01, 20), 20)
        offer = a.step(k, 900.0, sheet, delivered)
        if k >= 90:
            assert b.step(k, 900.0, sheet, delivered).block.tobytes() == offer.block.tobytes()
        delivered = offer.p_mw.copy()
    assert {n: x.tobytes() for n, x in a.state().items()} == {n: x.tobytes() for n, x in b.state().items()}
    assert a.models[0].memory["soh"].max() < 1.0


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"efficiency": 1.1}, "fraction"), ({"efficiency": 0.0}, "more than 0"), ({"efficiency": "good"}, "typical"),
        ({"efficiency": ((0.1, 1.2), (1.0, 0.9))}, "at most 1"), ({"efficiency": ((0.5, 0.9), (0.1, 0.9))}, "ascend"),
        ({"efficiency": ((0.5, 0.9), (0.51, 0.1))}, "more power would move less"), ({"e_mwh": -1.0}, "wrong sign"),
        ({"charge_taper": ((0.0, 1.0), (80.0, 0.5))}, "fractions"), ({"soh": 0.05}, "below 0.2"),
        ({"self_discharge_per_month": 1.0}, "below 1"), ({"chemistry": "lead"}, "LFP"), ({"thermal_h": 0.0}, "more than 0"),
    ],
)  # fmt: skip
def test_impossible_parameters_are_findings(keys: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        entry(**keys)
