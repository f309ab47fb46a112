"""Load, PV and battery: what they offer, and what is counted into the charge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.twin.small import Resources
from twin.devices.model import Offer
from twin.fleet import FleetModel
from twin.series import ProfileTable
from vpp.kernel.setpoints import AUTONOMOUS, FOLLOW, LIMIT, Setpoints

HOUR_S = 3600.0


def asked(n: int, **values: Any) -> Setpoints:
    """Setpoints, neutral but for the signals named."""
    sheet = Setpoints.neutral(n)
    for name, value in values.items():
        setattr(sheet, name, value)
    return sheet


def batteries(count: int, soc: float = 0.5, efficiency: float = 0.9) -> FleetModel:
    """Batteries of 10 kW, 11 kVA and 20 kWh."""
    fleet = Resources()
    for _ in range(count):
        fleet.add("battery", 0, p_mw=0.01, s_mva=0.011, e_mwh=0.02, soc=soc, efficiency=efficiency)
    return FleetModel(fleet.spec())


def test_load_follows_its_profiles() -> None:
    """Active and reactive power have a profile each; without one the rating holds. Nothing can be asked of a load."""
    factor = np.array([[0.5, 2.0], [0.25, 3.0], [1.0, 0.0]], np.float32)
    fleet = Resources()
    fleet.add("load", 0, p_mw=0.01, q_mvar=-0.002, profile_p=0, profile_q=1)
    fleet.add("load", 0, p_mw=0.01, q_mvar=-0.002)
    fleet.add("load", 0, p_mw=0.01, profile_p=1)
    model = FleetModel(fleet.spec(profiles=ProfileTable(factor, np.array([2, 0, 0, 1]))))
    setpoints = asked(3, mode=FOLLOW, p_mw=0.0, q_mode=FOLLOW, connect=0.0)
    for k, row in enumerate((2, 0, 0, 1, 1)):  # a step beyond the last keeps the last row
        offer = model.step(k, 900.0, setpoints, None)
        a, b = factor[row]
        assert np.allclose(offer.p_mw, [-0.01 * a, -0.01, -0.01 * b], rtol=1e-12)
        assert np.allclose(offer.q_mvar, [-0.002 * b, -0.002, 0.0], rtol=1e-12)
        assert np.array_equal(offer.p_avail_min_mw, offer.p_mw)
        assert np.array_equal(offer.p_avail_max_mw, offer.p_mw)
        assert (offer.follow_q == 1.0).all()
        assert np.isnan(offer.soc).all()


def test_load_with_a_negative_profile_injects() -> None:
    fleet = Resources().add("load", 0, p_mw=0.01, profile_p=0)
    model = FleetModel(fleet.spec(profiles=ProfileTable.constant(2, np.array([-0.5]))))
    assert model.step(0, 900.0, None, None).p_mw[0] == 0.005


@pytest.mark.parametrize(
    ("setpoint", "expected"),
    [
        ({}, [0.006, 0.011]),
        ({"mode": LIMIT, "p_limit_mw": 0.004}, [0.004, 0.004]),
        ({"mode": LIMIT, "p_limit_mw": 0.008}, [0.006, 0.008]),
        ({"mode": LIMIT, "p_limit_mw": -1.0}, [0.0, 0.0]),
        ({"mode": AUTONOMOUS, "p_limit_mw": 0.004, "p_mw": 0.0}, [0.006, 0.011]),
        ({"mode": FOLLOW, "p_mw": 0.005, "p_limit_mw": 0.001}, [0.005, 0.005]),
        ({"mode": FOLLOW, "p_mw": 0.5}, [0.006, 0.011]),
        ({"mode": FOLLOW, "p_mw": -0.5}, [0.0, 0.0]),
        ({"mode": LIMIT, "p_limit_mw": 0.004, "connect": 0.0}, [0.0, 0.0]),
    ],
)
def test_pv_is_limited_by_sun_inverter_and_command(setpoint: dict[str, Any], expected: list[float]) -> None:
    """20 kW of panels: one at 30 % of sun, one at 80 % that its inverter of 11 kVA does not let through."""
    fleet = Resources()
    fleet.add("pv", 0, p_mw=0.02, s_mva=0.011, profile_p=0)
    fleet.add("pv", 0, p_mw=0.02, s_mva=0.011, profile_p=1)
    model = FleetModel(fleet.spec(profiles=ProfileTable.constant(1, np.array([0.3, 0.8]))))
    offer = model.step(0, 900.0, asked(2, **setpoint), None)
    on = setpoint.get("connect", 1.0)
    assert np.allclose(offer.p_mw, expected, atol=1e-9)
    assert np.allclose(offer.p_avail_max_mw, np.array([0.006, 0.011]) * on, atol=1e-9)
    assert (offer.p_avail_min_mw == 0.0).all()


def test_reactive_command_leads_only_where_it_is_asked() -> None:
    model = batteries(3)
    sheet = asked(3, q_mvar=0.003)
    sheet.q_mode = [AUTONOMOUS, FOLLOW, FOLLOW]
    sheet.connect = [1.0, 1.0, 0.0]
    offer = model.step(0, 900.0, sheet, None)
    assert offer.follow_q.tolist() == [0.0, 1.0, 1.0]
    assert offer.q_mvar.tolist() == [0.003, 0.003, 0.0]


@pytest.mark.parametrize(
    ("setpoint", "p_mw"),
    [
        ({}, 0.0),
        ({"p_mw": 0.005}, 0.0),  # autonomous: nobody leads, a battery rests
        ({"mode": FOLLOW, "p_mw": 0.005}, 0.005),
        ({"mode": FOLLOW, "p_mw": -0.005}, -0.005),
        ({"mode": FOLLOW, "p_mw": 1.0}, 0.01),
        ({"mode": FOLLOW, "p_mw": -1.0}, -0.01),
        ({"mode": FOLLOW, "p_mw": 0.005, "connect": 0.0}, 0.0),
    ],
)
def test_battery_follows_inside_its_rating(setpoint: dict[str, Any], p_mw: float) -> None:
    offer = batteries(1).step(0, 900.0, asked(1, **setpoint), None)
    on = setpoint.get("connect", 1.0)
    assert (offer.p_mw[0], offer.p_avail_min_mw[0], offer.p_avail_max_mw[0]) == (p_mw, -0.01 * on, 0.01 * on)


def test_battery_keeps_the_books() -> None:
    """A random day: what is drawn from the store is delivered / efficiency, what goes in is taken · efficiency."""
    rng = np.random.default_rng(5)
    model = batteries(50)
    taken = given = np.zeros(50)
    delivered = None
    for k in range(200):
        offer = model.step(k, 300.0, asked(50, mode=FOLLOW, p_mw=rng.uniform(-0.012, 0.012, 50)), delivered)
        delivered = offer.p_mw.copy()
        given = given + np.maximum(delivered, 0.0) * 300.0 / HOUR_S
        taken = taken + np.maximum(-delivered, 0.0) * 300.0 / HOUR_S
        assert (offer.soc >= 0.0).all()
        assert (offer.soc <= 1.0).all()
    final = model.step(200, 300.0, None, delivered).soc
    assert np.allclose(0.02 * (final - 0.5), taken * 0.9 - given / 0.9, atol=1e-12)
    assert np.ptp(final) > 0.1
    assert given.min() > 0.01


def test_battery_counts_what_was_delivered_not_what_it_offered() -> None:
    model = batteries(2)
    model.step(0, HOUR_S, asked(2, mode=FOLLOW, p_mw=0.009), None)
    offer = model.step(1, HOUR_S, None, np.array([0.0045, -0.004]))
    assert np.allclose(offer.soc, [0.5 - 0.0045 / 0.9 / 0.02, 0.5 + 0.004 * 0.9 / 0.02])


def test_diverged_step_counts_the_offer() -> None:
    """Where the network had no solution nothing is known of the delivery: the device goes on by its own meter."""
    model = batteries(2)
    model.step(0, HOUR_S, asked(2, mode=FOLLOW, p_mw=[0.009, -0.009]), None)
    offer = model.step(1, HOUR_S, None, np.full(2, np.nan))
    assert np.allclose(offer.soc, [0.0, 0.5 + 0.009 * 0.9 / 0.02], atol=1e-15)


@pytest.mark.parametrize("efficiency", [1.0, 0.9])
def test_battery_stops_exactly_at_empty_and_full(efficiency: float) -> None:
    """The last step delivers what is left, and from then on nothing goes in this direction; the other still does."""
    model = batteries(2, efficiency=efficiency)
    sheet, delivered, energy = asked(2, mode=FOLLOW, p_mw=[0.01, -0.01]), None, np.zeros(2)
    for k in range(30):
        offer = model.step(k, 900.0, sheet, delivered)
        delivered = offer.p_mw.copy()
        energy += delivered * 900.0 / HOUR_S
    assert np.allclose(offer.soc, [0.0, 1.0], atol=1e-12)
    assert np.allclose(energy, [0.5 * 0.02 * efficiency, -0.5 * 0.02 / efficiency], rtol=1e-9)
    assert np.abs(delivered).max() < 1e-12
    assert np.allclose(offer.p_avail_max_mw, [0.0, 0.01], atol=1e-12)
    assert np.allclose(offer.p_avail_min_mw, [-0.01, 0.0], atol=1e-12)
    back = model.step(30, 900.0, asked(2, mode=FOLLOW, p_mw=[-0.01, 0.01]), delivered)
    assert np.allclose(back.p_mw, [-0.01, 0.01])


def test_the_last_step_fills_or_empties_exactly() -> None:
    """Within one step, at once: what the store still takes is more at the terminals, what it gives is less."""
    model = batteries(2)
    model.soc[:] = [0.97, 0.03]
    offer = model.step(0, 900.0, asked(2, mode=FOLLOW, p_mw=[-0.01, 0.01]), None)
    assert np.allclose(offer.p_mw, [-0.03 * 0.02 / 0.9 / 0.25, 0.03 * 0.02 * 0.9 / 0.25], rtol=1e-12)
    assert np.allclose(model.step(1, 900.0, None, offer.p_mw).soc, [1.0, 0.0], atol=1e-15)


def test_applied_is_what_was_asked_last() -> None:
    model = batteries(1)
    assert np.array_equal(model.applied.block, Setpoints.neutral(1).block)
    sheet = asked(1, mode=FOLLOW, p_mw=0.004)
    model.step(0, 900.0, sheet, None)
    model.step(1, 900.0, None, np.array([0.004]))
    assert np.array_equal(model.applied.block, sheet.block)


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no device model for toaster; there are load, pv, battery"):
        FleetModel(Resources().add("toaster", 0).spec())


def test_offer_is_a_new_sheet_every_step() -> None:
    """Records and other processes keep what they were given."""
    model = batteries(1)
    first = model.step(0, 900.0, asked(1, mode=FOLLOW, p_mw=0.004), None)
    kept = first.block.copy()
    second = model.step(1, 900.0, asked(1, mode=FOLLOW, p_mw=0.002), first.p_mw)
    assert isinstance(second, Offer)
    assert np.array_equal(first.block, kept, equal_nan=True)
