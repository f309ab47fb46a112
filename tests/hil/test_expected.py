"""Expected values: properties of curves and bands, the standard's numbers, and OpenDER's steady states."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.bench import expected
from hil.bench.expected import Curve
from hil.bench.ports import Limits, Nameplate
from hil.bench.procedures import reactive, volt_var, volt_watt, watt_var
from hil.bench.ranges import another, usual_limits
from hil.bench.uncertainty import required
from scenarios.bench import InverterModel
from vpp.kernel.settings import Settings

PLATE = Nameplate(0.1, 0.1, 0.044, 0.044)
NUMBER = st.floats(-2.0, 2.0).map(lambda x: round(x, 6))
SMALL = st.floats(0.0, 0.5)


@st.composite
def curves(draw: st.DrawFn) -> Curve:
    x = sorted(draw(st.lists(NUMBER, min_size=1, max_size=6, unique=True)))
    return Curve(tuple(x), tuple(draw(st.lists(NUMBER, min_size=len(x), max_size=len(x)))))


@given(curves(), NUMBER, SMALL, SMALL, st.floats(-1.0, 1.0))
def test_a_band_holds_the_law_at_every_place_within(law: Curve, x: float, u_x: float, u_y: float, part: float) -> None:
    low, high = expected.steady_band(law, x, u_x, u_y)
    assert low - 1e-9 <= law(x + part * u_x) <= high + 1e-9
    wider = expected.steady_band(law, x, 2 * u_x, 2 * u_y)
    assert wider[0] <= low + 1e-9
    assert wider[1] >= high - 1e-9


@given(curves(), NUMBER, NUMBER, NUMBER)
def test_a_clipped_law_is_the_law_between_its_bounds(law: Curve, x: float, a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    assert law.clipped(low, high)(x) == pytest.approx(min(max(law(x), low), high), abs=1e-6)


@given(NUMBER, NUMBER, st.floats(0.01, 100.0), st.floats(0.0, 3.0))
def test_a_response_runs_from_before_to_after_and_is_at_nine_tenths_in_time(y0: float, y1: float, tr: float, t: float) -> None:
    assert expected.response(y0, y1, 0.0, tr) == y0
    assert expected.response(y0, y1, tr, tr) == pytest.approx(y0 + 0.9 * (y1 - y0), abs=1e-9)
    assert min(y0, y1) - 1e-9 <= expected.response(y0, y1, t * tr, tr) <= max(y0, y1) + 1e-9
    low, high = expected.transient_band(y0, y1, t * tr, tr, 0.015, 0.05)
    assert low + 0.05 - 1e-9 <= expected.response(y0, y1, t * tr, tr) <= high - 0.05 + 1e-9


def test_the_band_is_that_of_the_standard() -> None:
    """For a falling law f(x + 1.5 MRA) − 1.5 MRA ≤ y ≤ f(x − 1.5 MRA) + 1.5 MRA; MRA 1 % V, 10 mHz, 5 % S, 1 % time."""
    u = required(PLATE)
    assert (u.v_pu, u.f_hz, u.q_pu, u.t) == pytest.approx((0.015, 0.015, 0.075, 0.015))
    assert required(Nameplate(0.12, 0.1, 0.05, 0.05)).p_pu == pytest.approx(0.075 * 1.2)
    law = expected.volt_var(volt_var.settings("1", PLATE), PLATE)
    low, high = expected.steady_band(law, 1.05, u.v_pu, u.q_pu)
    assert low == pytest.approx(-0.44 * (1.065 - 1.02) / 0.06 - 0.075)
    assert high == pytest.approx(-0.44 * (1.035 - 1.02) / 0.06 + 0.075)
    assert u.of_time(21.0) == pytest.approx(0.315)
    assert u.of_time(0.16) == pytest.approx(2.0 / 60.0)
    assert required(PLATE, 0.5).q_pu == pytest.approx(0.0375)


def test_droop_starts_from_what_was_delivered_and_counts_it_once() -> None:
    """At 66 % and 60.5 Hz IEEE 1547-2018, Table 23 gives 0.505 (and OpenDER too); scaling by power twice would give 0.368."""
    held = {"pf_dbof_hz": 0.036, "pf_dbuf_hz": 0.036, "pf_kof": 0.05, "pf_kuf": 0.05}
    law = expected.droop(held, PLATE, 0.66)
    assert law(60.5) == pytest.approx(0.5053, abs=1e-4)
    assert law(60.036) == law(59.964) == pytest.approx(0.66)
    assert law(59.5) == pytest.approx(0.66 + (0.5 - 0.036) / 3.0)
    assert law(64.0) == 0.0
    assert law(57.0) == 1.0


def test_power_factor_is_of_both_powers() -> None:
    law = expected.power_factor({"const_pf": 0.9, "const_pf_excitation": -1.0}, PLATE)
    assert law(0.5) == pytest.approx(-math.sqrt(0.25 * (1 / 0.81 - 1)))
    assert law(1.0) == pytest.approx(-0.44)


def test_the_steps_of_voltage_follow_the_rule() -> None:
    """24 steps: each vertex ± a, the middles, the ends of the range, up, then down; clipped to the equipment's range."""
    steps = volt_var.voltages("1", PLATE)
    assert len(steps) == 24
    assert [round(v, 3) for _, v, _ in steps[:7]] == [1.005, 1.035, 1.05, 1.065, 1.095, 1.085, 1.095]
    assert steps[11][1] == steps[23][1] == 1.0
    skipped = [what for what, _, why in steps if why]
    assert skipped == ["V4 + a", "V4 + a"]
    assert all("above VH - a" in why for _, _, why in steps if why)


@pytest.mark.parametrize("name", Settings.names)
def test_another_value_differs_and_keeps_points_in_order(name: str) -> None:
    model = InverterModel()
    held = model.read(Settings.names)
    limits = usual_limits([name])[name]
    for step in (0.0, 0.01):
        value = another(name, held[name], Limits(limits.low, limits.high, step, limits.code), held)
        assert value != held[name]
        assert limits.low - step <= value <= limits.high + step
    after = held | {name: value}
    assert after["qv_v1_pu"] <= after["qv_v2_pu"] <= after["qv_v3_pu"] <= after["qv_v4_pu"]
    assert after["uv2_trip_v_pu"] <= after["uv1_trip_v_pu"] <= after["ov1_trip_v_pu"] <= after["ov2_trip_v_pu"]


@pytest.fixture
def oracle() -> Iterator[object]:
    opender = pytest.importorskip("opender", reason="the oracle comes with the extra 'oracles'")
    from tests.hil.opender_target import OpenderModel

    before = opender.DER.t_s
    model = OpenderModel()
    off = {name: 0.0 for name in model.limits() if name.endswith("_enable")}
    model.write(off | {"rt_category": 3.0})
    yield model
    opender.DER.t_s = before


LAWS = {
    **{f"volt-var {k}": (volt_var.settings(k, PLATE), expected.volt_var, "v", "q") for k in "123"},
    **{f"watt-var {k}": (watt_var.settings(k, PLATE), expected.watt_var, "p", "q") for k in "123"},
    **{f"volt-watt {k}": (volt_watt.settings(k, PLATE), lambda s, n: expected.volt_watt(s), "v", "p") for k in "123"},
    "power factor": (reactive.factor_settings(0.95, -1.0), expected.power_factor, "p", "q"),
    "reactive power": (reactive.constant_settings(0.3), expected.reactive_power, "p", "q"),
}


@pytest.mark.parametrize("name", LAWS)
def test_opender_settles_where_the_law_says(name: str, oracle: object) -> None:
    """Within its grid of 1e-3; apparent power never binds (power is 0.85 at most where reactive power is asked for)."""
    values, make, x, y = LAWS[name]
    law = make(values, PLATE)  # type: ignore[operator]
    oracle.write(values)  # type: ignore[attr-defined]
    places = [0.90 + 0.01 * k for k in range(20)] if x == "v" else [0.2 + 0.05 * k for k in range(14)]
    for place in places:
        v, p = (place, 0.85 if y == "q" else 1.0) if x == "v" else (1.0, place)
        for _ in range(3):
            found = oracle.step(1000.0, v, 60.0, p * 0.1, True)  # type: ignore[attr-defined]
        assert found[y == "q"] / 0.1 == pytest.approx(law(place), abs=1e-3), place


@pytest.mark.parametrize("f", [58.9, 59.5, 59.97, 60.0, 60.03, 60.5, 61.1])
def test_opender_droops_as_the_law_says(f: float, oracle: object) -> None:
    values = {"pf_enable": 1.0, "pf_dbof_hz": 0.036, "pf_dbuf_hz": 0.036, "pf_kof": 0.05, "pf_kuf": 0.05}
    values |= {"ap_limit_enable": 1.0, "ap_limit_pu": 0.66, "pf_olrt_s": 1.0, "ap_rt_s": 1.0}
    oracle.write(values)  # type: ignore[attr-defined]
    for hz in (*[60.0] * 5, *[f] * 5):
        found = oracle.step(100.0, 1.0, hz, 0.1, True)  # type: ignore[attr-defined]
    assert found[0] / 0.1 == pytest.approx(expected.droop(values, PLATE, 0.66)(f), abs=1e-3)
