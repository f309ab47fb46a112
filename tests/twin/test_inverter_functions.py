"""The inverter's functions one by one: where OpenDER differs, and what it does not model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.twin.sequences import VA_MAX, Sequence, generate, inverters_of, opender_of
from twin.devices.inverter import Inverters
from twin.devices.inverter.columns import ENTERING, STATUSES, TRIP
from vpp.kernel.fleet import Capability, simple_fleet
from vpp.kernel.settings import Settings
from vpp.kernel.signals import FloatArray

opender = pytest.importorskip("opender", reason="the oracle comes with the extra 'oracles'")


@pytest.fixture(autouse=True)
def _time_step(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """OpenDER keeps its time step in a class attribute and logs at every turn."""
    before = opender.DER.t_s
    caplog.set_level("CRITICAL")
    yield
    opender.DER.t_s = before


def one(
    p_min: float = 0.0, p_max: float = 1.0, s: float = 1.0, low_p: bool = False, n: int = 1, seed: int = 0, **settings: float
) -> Inverters:
    """Inverters of 1 MW with these settings; nominal 50 Hz."""
    sheet = Settings.full(n, 0.0)
    for name, value in settings.items():
        getattr(sheet, name)[:] = value
    p_pu = np.array([[0.0, 0.04999, 0.05, 0.2, 1.0], [0.0, 0.25, 0.5, 0.75, 1.0]])
    q_pu = np.array([[0.0, 0.0, 0.11, 0.44, 0.44], [1.0] * 5])
    table = np.full(n, 0 if low_p else 1, np.int32)
    capability = Capability(np.full(n, s), np.full(n, np.inf), table, p_pu, -q_pu, q_pu, np.ones(n, np.bool_))
    return Inverters.of(simple_fleet(np.full(n, p_min), np.full(n, p_max), capability=capability), np.full(n, s), sheet, seed)


DROOP = {"pf_enable": 1.0, "pf_dbof_hz": 0.2, "pf_dbuf_hz": 0.2, "pf_kof": 0.05, "pf_kuf": 0.05}
SERVICE = {
    "es_enable": 1.0, "es_v_low_pu": 0.9, "es_v_high_pu": 1.1, "es_f_low_hz": 47.5, "es_f_high_hz": 50.1, "es_delay_s": 60.0,
    "es_ramp_s": 600.0,
}  # fmt: skip
TRIPS = {
    "trip_enable": 1.0, "ov1_trip_v_pu": 1.1, "ov1_trip_t_s": 2.0, "ov2_trip_v_pu": 1.2, "ov2_trip_t_s": 0.16,
    "uv1_trip_v_pu": 0.88, "uv1_trip_t_s": 2.0, "uv2_trip_v_pu": 0.5, "uv2_trip_t_s": 0.16, "of1_trip_f_hz": 51.5,
    "of1_trip_t_s": 0.1, "of2_trip_f_hz": 52.0, "of2_trip_t_s": 0.1, "uf1_trip_f_hz": 47.5,
    "uf1_trip_t_s": 0.1, "uf2_trip_f_hz": 47.0, "uf2_trip_t_s": 0.1,
}  # fmt: skip


def both_on(battery: bool) -> Sequence:
    """Active power limit and volt-watt both on, a ramp of 100 steps."""
    sequence = next(s for s in map(generate, range(99)) if s.battery == battery and s.set["QV_MODE_ENABLE"])
    given = {
        "AP_LIMIT_ENABLE": True, "AP_LIMIT": 0.8, "PV_MODE_ENABLE": True, "PF_MODE_ENABLE": False, "ES_RAMP_RATE": 10.0,
        "ES_DELAY": 0.1, "ES_RANDOMIZED_DELAY_ACTUAL": 0.0, "ES_F_LOW": 59.5, "ES_F_HIGH": 60.1, "NP_CTE_RESP_T": 0.0,
        "MC_RETURN_T": 0.0, "NP_P_MAX": VA_MAX * 1e6, "NP_P_MAX_CHARGE": VA_MAX * 1e6, "QV_MODE_ENABLE": False,
    }  # fmt: skip
    return replace(sequence, set={**sequence.set, **given}, dt_s=0.1)


@pytest.mark.parametrize("battery", [False, True])
def test_opender_omits_the_ramp_with_limit_and_volt_watt(battery: bool) -> None:
    """IEEE 1547-2018, 4.10.3 asks for the enter-service ramp whatever else is on; OpenDER 2.2.0 jumps to the limit.

    A battery that is asked for 0.3 pu even discharges at the limit of 0.8 pu.
    """
    sequence, name, asked = both_on(battery), "p_dem_w" if battery else "p_dc_w", 0.3
    opender.DER.t_s = 0.1
    der, ours = opender_of(sequence, opender), inverters_of([sequence])
    least = -VA_MAX if battery else 0.0
    f = 60.0 * sequence.nominal_hz / 60.0
    for k in range(100):
        permit = k > 10
        der.der_file._ES_PERMIT_SERVICE = permit
        der.update_der_input(**{name: asked * VA_MAX * 1e6}, v_pu=1.0, f=60.0)
        theirs = float(der.run()[0]) / (VA_MAX * 1e6)
        mine = ours.step(0.1, 1.0, f, asked * VA_MAX, p_min_mw=least, p_max_mw=VA_MAX, permit=permit)[0, 0] / VA_MAX
        since = max(k - 10 - 1, 0) * 0.1 / 10.0
        if permit and 12 < k < 30:
            assert math.isclose(mine, min(since, asked), abs_tol=0.0101)
            assert theirs > 0.299
    assert math.isclose(mine, 0.3, abs_tol=1e-9)
    assert math.isclose(theirs, 0.8 if battery else 0.3, abs_tol=1e-9)


@pytest.mark.parametrize("v", [0.9, 0.6, 0.45])
def test_current_limit(v: float) -> None:
    """Active current gives way to reactive current; OpenDER finds the active one on a grid of 1e-4."""
    base = generate(0)
    off = {f"{name}_ENABLE": False for name in ("AP_LIMIT", "PV_MODE", "PF_MODE", "CONST_PF_MODE", "QP_MODE", "QV_MODE", "MC")}
    times = {f"{name}_TRIP_T": 100.0 for name in ("OV1", "OV2", "UV1", "UV2")}
    given = {
        **base.set,
        **off,
        **times,
        "CONST_Q_MODE_ENABLE": True,
        "CONST_Q": 0.4,
        "NP_CURRENT_PU": 1.1,
        "NP_P_MAX": VA_MAX * 1e6,
    }
    sequence = replace(base, set={**given, "NP_ABNORMAL_OP_CAT": "CAT_III"})
    opender.DER.t_s = 0.05
    der, ours = opender_of(sequence, opender), inverters_of([sequence])
    der.update_der_input(p_dc_w=0.9 * VA_MAX * 1e6, v_pu=1.0, f=60.0)
    der.run()
    ours.step(1e5, 1.0, sequence.nominal_hz, 0.9 * VA_MAX)
    der.update_der_input(v_pu=v, f=60.0)
    expected = np.array(der.run(), float) / 1e6
    got = ours.step(0.05, v, sequence.nominal_hz, 0.9 * VA_MAX)[:, 0]
    assert np.abs(got - expected).max() < 1.1e-4 * VA_MAX
    assert np.hypot(*got) <= 1.1 * v * VA_MAX * (1 + 1e-12)
    assert math.isclose(np.hypot(*got), min(1.1 * v, np.hypot(0.9, 0.4)) * VA_MAX, rel_tol=1e-12)


def test_active_priority_never_raises_active_power() -> None:
    """IEEE 1547-2018, 5.2: outside the required range active power is kept, and reactive power takes what is left.

    OpenDER 2.2.0 cuts reactive power to the requirement and then delivers all of the circle that is left as active
    power, more than is there.
    """
    inverter = one(s=1.0, const_q_enable=1.0, const_q_pu=0.8, np_prio_active=1.0, np_q_req_inj_pu=0.44, np_q_req_abs_pu=0.44)
    p, q = inverter.step(900.0, 1.0, 50.0, 0.7)[:, 0]
    assert p == pytest.approx(0.7, abs=1e-12)
    assert q == pytest.approx(math.sqrt(1 - 0.49), abs=1e-12)
    p, q = inverter.step(900.0, 1.0, 50.0, 1.0)[:, 0]
    assert (p, q) == pytest.approx((math.sqrt(1 - 0.44**2), 0.44), abs=1e-12)
    reactive = one(s=1.0, const_q_enable=1.0, const_q_pu=0.8)
    assert reactive.step(900.0, 1.0, 50.0, 0.7)[:, 0] == pytest.approx((0.6, 0.8), abs=1e-12)


def test_watt_var_leaves_the_circle_on_its_curve() -> None:
    """Where the curve crosses the nameplate circle, the inverter stands at the crossing (OpenDER finds it within 1e-3)."""
    inverter = one(
        s=1.0, qp_enable=1.0, qp_p1_gen_pu=0.2, qp_p2_gen_pu=0.5, qp_p3_gen_pu=1.0, qp_q3_gen_pu=-0.44, qp_p1_load_pu=-0.2,
        qp_p2_load_pu=-0.5, qp_p3_load_pu=-1.0, qp_q3_load_pu=0.44, p_min=-1.0,
    )  # fmt: skip
    for sign in (1.0, -1.0):
        p, q = inverter.step(900.0, 1.0, 50.0, sign, p_min_mw=-1.0, p_max_mw=1.0)[:, 0]
        assert np.hypot(p, q) == pytest.approx(1.0, abs=1e-12)
        assert q == pytest.approx(-sign * 0.44 * (abs(p) - 0.5) / 0.5, abs=1e-9)


def test_droop_while_entering() -> None:
    """Outside the deadband while entering service droop acts on the ramp.

    OpenDER 2.2.0 goes back to the power from before the trip at once, past the ramp that 4.10.3 asks for.
    """
    inverter = one(**DROOP, **{**SERVICE, "es_f_high_hz": 50.5, "es_delay_s": 1.0, "es_ramp_s": 100.0})
    inverter.step(1.0, 1.0, 50.0, 1.0, permit=0.0)
    got = [inverter.step(1.0, 1.0, 50.3, 1.0)[0, 0] for _ in range(60)]
    assert inverter.status()[0] == ENTERING
    ramp = 0.01 * np.arange(1, 61)
    assert np.allclose(got, np.maximum(ramp - 0.1 / (50 * 0.05), 0.0), atol=1e-9)


@pytest.mark.parametrize("basis", [0.0, 1.0])
def test_over_frequency_on_rated_or_momentary_power(basis: float) -> None:
    """EN 50549-1:2019, 4.6.1, and VDE-AR-N 4105:2018-11: 40 % of the *momentary* power for each Hz above 50.2."""
    inverter = one(**DROOP, pf_basis_of=basis)
    for start in (0.5, 1.0):
        inverter.step(1.0, 1.0, 50.0, start)
        got = [inverter.step(1.0, 1.0, f, start)[0, 0] for f in (50.2, 50.7, 51.2, 50.7, 50.1)]
        by_hertz = 0.4 * (start if basis else 1.0)
        assert np.allclose(got, [start, start - 0.5 * by_hertz, start - by_hertz, start - 0.5 * by_hertz, start], atol=1e-12)


def test_under_frequency_uses_what_is_there() -> None:
    """Droop raises PV up to its available power and a battery up to its bounds, charging or discharging."""
    curtailed = one(**DROOP)
    assert curtailed.step(1.0, 1.0, 50.0, 0.4, p_max_mw=0.6)[0, 0] == pytest.approx(0.4)
    assert curtailed.step(1.0, 1.0, 49.55, 0.4, p_max_mw=0.6)[0, 0] == pytest.approx(0.5)
    assert curtailed.step(1.0, 1.0, 48.0, 0.4, p_max_mw=0.6)[0, 0] == pytest.approx(0.6)
    battery = one(p_min=-1.0, **DROOP)
    for f, p in ((50.0, -0.5), (49.3, -0.3), (48.8, -0.1), (50.0, -0.5), (50.7, -0.7), (52.0, -0.9)):
        assert battery.step(1.0, 1.0, f, -0.5, p_min_mw=-0.9, p_max_mw=0.2)[0, 0] == pytest.approx(p, abs=1e-12)


def test_lower_setpoint_is_obeyed_above_the_deadband() -> None:
    """Droop holds the power of the beginning; what is asked less than that later, is less."""
    battery = one(p_min=-1.0, **DROOP)
    battery.step(1.0, 1.0, 50.0, 0.8, p_min_mw=-1.0, p_max_mw=1.0)
    assert battery.step(1.0, 1.0, 50.7, 0.8, p_min_mw=-1.0, p_max_mw=1.0)[0, 0] == pytest.approx(0.6)
    assert battery.step(1.0, 1.0, 50.7, 0.1, p_min_mw=-1.0, p_max_mw=1.0)[0, 0] == pytest.approx(0.1)


def test_cos_phi_by_power() -> None:
    """VDE-AR-N 4105, cos phi (P): 1 up to half power, 0.9 under-excited at full power, straight in between."""
    inverter = one(s=1.2, pfp_enable=1.0, pfp_p1_pu=0.5, pfp_pf1=1.0, pfp_p2_pu=1.0, pfp_pf2=0.9, const_pf_excitation=-1.0)
    for p, pf in ((0.2, 1.0), (0.5, 1.0), (0.75, 0.95), (1.0, 0.9)):
        got = inverter.step(900.0, 1.0, 50.0, p)[:, 0]
        assert got == pytest.approx((p, -p * math.tan(math.acos(pf))), abs=1e-12)


def test_reconnection_after_a_trip() -> None:
    """VDE-AR-N 4105: 60 s inside the window, then 10 % of rated power a minute."""
    inverter = one(**SERVICE, **TRIPS)
    assert inverter.step(1.0, 1.0, 50.0, 1.0)[0, 0] == 1.0
    assert inverter.step(1.0, 1.0, 51.6, 1.0)[0, 0] == 0.0
    assert STATUSES[inverter.status()[0]] == "Trip"
    got = np.array([inverter.step(1.0, 1.0, f, 1.0)[0, 0] for f in [50.2] * 20 + [50.05] * 720])
    assert (got[:79] == 0.0).all()
    assert np.allclose(got[79:], np.minimum(np.arange(1, 662) / 600.0, 1.0), atol=1e-9)


@pytest.mark.parametrize("dt_s", [900.0, 60.0])
def test_long_steps_pass_through_every_timer(dt_s: float) -> None:
    """A trip time of 0.16 s passes within a step of 900 s, and so does the delay of entering service."""
    inverter = one(**{**SERVICE, "es_ramp_s": 0.0}, **TRIPS)
    got = [inverter.step(dt_s, v, 50.0, 1.0)[0, 0] for v in (1.0, 1.25, 1.0, 1.0, 0.4, 1.0)]
    assert got == [1.0, 0.0, 1.0, 1.0, 0.0, 1.0]


def test_randomised_delay_is_drawn_by_the_seed() -> None:
    """Each device waits for a time of its own; the same for the same seed."""
    late = {**SERVICE, "es_delay_s": 1.0, "es_ramp_s": 0.0, "es_randomized_delay_s": 100.0}

    def first_power(seed: int) -> FloatArray:
        inverters = one(n=50, seed=seed, **late)
        inverters.step(1.0, 1.0, 50.0, 1.0, permit=0.0)
        on = np.array([inverters.step(1.0, 1.0, 50.0, 1.0)[0] > 0 for _ in range(105)])
        return np.asarray(on.argmax(axis=0))

    assert np.array_equal(first_power(3), first_power(3))
    assert not np.array_equal(first_power(3), first_power(4))
    assert np.ptp(first_power(3)) > 50


def test_momentary_cessation_and_return() -> None:
    """Ceases after its response time, delivers again after its return time, then active current rises at its rate."""
    inverter = one(
        rt_category=3.0, mc_enable=1.0, mc_lvrt_v1_pu=0.5, mc_hvrt_v1_pu=1.1, mc_resp_s=0.25, mc_return_s=0.35, rt_ramp_s=1.0
    )
    got = [inverter.step(0.1, v, 50.0, 0.5)[0, 0] for v in [1.0] + [0.3] * 5 + [1.0] * 10]
    assert np.allclose(got, [0.5] * 3 + [0.0] * 6 + [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5][:7], atol=1e-12)


def charging_capability(q: float) -> tuple[float, float]:
    inverter = one(p_min=-1.0, s=1.2, const_q_enable=1.0, const_q_pu=q, np_q_max_inj_charge_pu=0.2, np_q_max_abs_charge_pu=0.1)
    p_min: Any = {"p_min_mw": -1.0, "p_max_mw": 1.0}
    return float(inverter.step(900.0, 1.0, 50.0, 0.5, **p_min)[1, 0]), float(inverter.step(900.0, 1.0, 50.0, -0.5, **p_min)[1, 0])


def test_capability_while_charging() -> None:
    """A storage may have other reactive limits while charging, and others for injecting than for absorbing."""
    assert charging_capability(0.4) == pytest.approx((0.48, 0.24))
    assert charging_capability(-0.4) == pytest.approx((-0.48, -0.12))


def test_settings_act_after_their_delay() -> None:
    """Adopted settings wait for the execution delay, then act; the lanes' state goes on."""
    inverters = one(n=20, set_exe_time_s=2.5, const_q_enable=1.0, const_q_pu=0.2, const_q_rt_s=10.0)
    inverters.step(1e3, 1.0, 50.0, 0.5)
    at = np.arange(3, 7)
    sheet = Settings(inverters.settings.block[:, at].copy())
    sheet.const_q_pu = -0.2
    inverters.adopt(sheet, at)
    got = np.array([inverters.step(1.0, 1.0, 50.0, 0.5)[1] for _ in range(6)])
    others = np.ones(20, np.bool_)
    others[at] = False
    assert np.allclose(got[:, others], 0.2)
    assert np.allclose(got[:3, at], 0.2)
    t = np.arange(1, 4)[:, None]
    assert np.allclose(got[3:, at], 0.2 - 0.4 * (1 - 10 ** (-t / 10.0)), atol=1e-12)
    with pytest.raises(ValueError, match="without an inverter"):
        inverters.adopt(sheet, np.arange(18, 22))


def test_restored_inverters_go_on_with_the_same_bytes() -> None:
    """State and restore in a new object, settings in waiting included."""
    rng = np.random.default_rng(5)
    sheet = {**SERVICE, **TRIPS, **DROOP, "es_delay_s": 3.0, "es_ramp_s": 5.0, "qv_vref_auto": 1.0, "qv_vref_time_s": 20.0}
    sheet |= {
        "qv_enable": 1.0,
        "qv_v1_pu": 0.9,
        "qv_v2_pu": 0.98,
        "qv_v3_pu": 1.02,
        "qv_v4_pu": 1.1,
        "qv_q1_pu": 0.4,
        "qv_q4_pu": -0.4,
    }
    sheet |= {"qv_olrt_s": 3.0, "set_exe_time_s": 12.0, "pf_olrt_s": 2.0, "qv_vref_min_pu": 0.95, "qv_vref_max_pu": 1.05}
    made = [one(n=40, s=1.1, **sheet) for _ in range(2)]
    v, f = np.repeat(rng.uniform(0.85, 1.13, (5, 40)), 8, axis=0), rng.uniform(49.6, 50.4, 40)
    changed = Settings(made[0].settings.block[:, :5].copy())
    changed.qv_enable = 0.0
    for k in range(20):
        if k == 15:
            made[0].adopt(changed, np.arange(5))
        made[0].step(0.5, v[k], f[k], 0.8)
    made[1].restore(made[0].state())
    expected, got = (np.array([inverters.step(0.5, v[k], f[k], 0.8) for k in range(20, 40)]) for inverters in made)
    assert expected.tobytes() == got.tobytes()
    assert made[0].settings.qv_enable[0] == 0.0
    assert set(made[0].status()) >= {TRIP, ENTERING}
    assert np.ptp(expected[:, 0], axis=0).max() > 0.1


def test_plain_sets_are_the_general_ones_at_rest() -> None:
    """A set that asks for little is answered by a shorter kernel: the same powers, slopes and lags."""
    from twin.devices.inverter import columns as c
    from twin.devices.inverter.respond import respond

    rng = np.random.default_rng(4)
    curve = {
        "qv_v1_pu": 0.92,
        "qv_v2_pu": 0.98,
        "qv_v3_pu": 1.02,
        "qv_v4_pu": 1.08,
        "qv_q1_pu": 0.44,
        "qv_q4_pu": -0.44,
        "qv_olrt_s": 5.0,
    }
    watt = {"pv_v1_pu": 1.03, "pv_v2_pu": 1.08, "pv_p1_pu": 1.0, "pv_p2_pu": 0.2, "pv_olrt_s": 3.0}
    for low_p, sheet in (
        (True, {"qv_enable": 1.0}),
        (False, {"pv_enable": 1.0}),
        (True, {"qv_enable": 1.0, "pv_enable": 1.0}),
        (True, {}),
    ):
        x = one(n=200, p_min=-1.0, s=1.05, low_p=low_p, **{**curve, **watt, **sheet})
        assert x.table[0, c.PLAIN] == 1.0
        for row, value in (("V", rng.normal(1.0, 0.06, 200)), ("P_WANT", rng.uniform(-1, 1, 200)), ("Q_OFFER", 0.3)):
            x.set(row, value)
        x.set("P_MIN", -1.0)
        x.set("FOLLOWS", rng.random(200) < 0.2)
        found = []
        for plain in (1.0, 0.0):
            x.table[0, c.PLAIN] = plain
            found.append(x.output())
            respond(0, 1, x.start, x.table, x.lag(1.0), x.lanes, found[-1])
        assert np.allclose(found[0], found[1], rtol=0, atol=1e-13)


def test_parts_of_a_step_are_the_step() -> None:
    """Status, response and lags apart, as the coupling asks for them, are what the standalone step does."""
    from twin.devices.inverter import columns as c
    from twin.devices.inverter.advance import advance, settle
    from twin.devices.inverter.respond import respond

    made = [
        one(n=20, s=1.1, **{**SERVICE, **TRIPS, **DROOP, "const_q_enable": 1.0, "const_q_pu": 0.3, "const_q_rt_s": 2.0})
        for _ in range(2)
    ]
    rng = np.random.default_rng(9)
    for _ in range(30):
        v, f = rng.uniform(0.8, 1.2, 20), rng.uniform(49.0, 51.0, 20)
        whole = made[0].step(0.5, v, f, 0.7)
        x = made[1]
        for row, value in (("V", v), ("F", f), ("P_WANT", 0.7), ("P_MIN", 0.0), ("P_MAX", 0.7)):
            x.set(row, value)
        out, lag = x.output(), x.lag(0.5)
        advance(0, len(x.table), x.start, x.table, lag, x.lanes, 0.5, 0.0)
        respond(0, len(x.table), x.start, x.table, lag, x.lanes, out)
        settle(0, len(x.table), x.start, x.table, x.lanes, out)
        parts = out.reshape(-1, c.OUT, c.W).transpose(1, 0, 2).reshape(c.OUT, -1)[:2, x.lane]
        assert np.array_equal(whole, parts)
