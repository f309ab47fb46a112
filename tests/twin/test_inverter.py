"""The inverter's own functions against OpenDER, EPRI's model of IEEE 1547-2018, and against the analytic lag.

OpenDER runs at 60 Hz and without its 20 ms lag of the current, which lies beneath our phasors. Its response filter
divides the response time by 2.3 where ln 10 = 2.302585 is exact (an open-loop response time covers 90 % of a change:
IEEE 1547-2018, 5.3.3 and 5.4.2), and is bilinear; ours is exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.twin.small import CUSTOM, VOLT_WATT, A, B, Curve, Resources
from twin.coupling import Coupling
from twin.devices.model import Offer
from vpp.grid.powerflow import Solution
from vpp.kernel.signals import FloatArray

opender = pytest.importorskip("opender", reason="the oracle comes with the extra 'oracles'")

P_MAX, VA_MAX = 0.1, 0.11
STEADY_S = 100_000.0
CASES: dict[str, tuple[Curve | None, Curve | None]] = {
    "volt-var A": (A, None),
    "volt-var B": (B, None),
    "volt-var custom": (CUSTOM, None),
    "volt-watt": (None, VOLT_WATT),
    "volt-watt to a half": (None, ((1.02, 1.05), (0.9, 0.5), 10.0)),
    "volt-var B and volt-watt": (B, VOLT_WATT),
    "custom and steep volt-watt": (CUSTOM, ((1.03, 1.031), (1.0, 0.2), 10.0)),
}


@pytest.fixture(autouse=True)
def _time_step(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """OpenDER keeps its time step in a class attribute and logs at every turn."""
    before = opender.DER.t_s
    opender.DER.t_s = STEADY_S
    caplog.set_level("CRITICAL")
    yield
    opender.DER.t_s = before


def oracle(volt_var: Curve | None, volt_watt: Curve | None, *, battery: bool = False, p_max: float = P_MAX, **more: Any) -> Any:
    """An OpenDER of the same nameplate and settings."""
    w = 1e6
    given: dict[str, Any] = {
        "NP_P_MAX": p_max * w, "NP_VA_MAX": VA_MAX * w, "NP_Q_MAX_INJ": 0.44 * VA_MAX * w, "NP_Q_MAX_ABS": 0.44 * VA_MAX * w,
        "NP_P_MAX_CHARGE": p_max * w, "NP_APPARENT_POWER_CHARGE_MAX": VA_MAX * w, "NP_AC_V_NOM": 400.0, "NP_V_DC": 800.0,
        "NP_INV_DELAY": 0.0,
        "QV_MODE_ENABLE": volt_var is not None, "PV_MODE_ENABLE": volt_watt is not None,
    }  # fmt: skip
    for prefix, y, curve in (("QV", "Q", volt_var), ("PV", "P", volt_watt)):
        if curve is not None:
            given |= {f"{prefix}_CURVE_V{k}": v for k, v in enumerate(curve[0], 1)}
            given |= {f"{prefix}_CURVE_{y}{k}": v for k, v in enumerate(curve[1], 1)}
            given[f"{prefix}_OLRT"] = curve[2]
    return (opender.DER_BESS if battery else opender.DER_PV)(**given, **more)


def ask(der: Any, p: float, v: float, *, battery: bool = False) -> tuple[float, float]:
    """One run of an OpenDER: MW and Mvar."""
    der.update_der_input(**{"p_dem_w" if battery else "p_dc_w": p * 1e6}, v_pu=v, f=60.0)
    p_w, q_var = der.run()
    assert der.der_status == "Continuous Operation"
    return float(p_w) / 1e6, float(q_var) / 1e6


class Stiff:
    """A power-flow engine whose voltages are given: every inverter stands on a node of its own, and moves nothing."""

    name = "stiff"

    def __init__(self, vm: FloatArray) -> None:
        """Keep the voltages and say what a coupling asks of a network."""
        self.v = vm.astype(complex)
        zero = np.zeros(len(vm))
        at = np.arange(len(vm), dtype=np.int32)
        self.network: Any = SimpleNamespace(n_node=len(vm), sn_mva=1.0, fixed_p_mw=zero, fixed_q_mvar=zero, node_of_bus=at)

    def solve(self, p_mw: FloatArray, q_mvar: FloatArray, v_start: Any = None) -> Solution:
        """Whatever flows, the voltages stay."""
        return Solution(self.v.copy(), True, 1, 0.0)


class Bench:
    """Inverters of one kind and setting on a test bench with a stiff voltage, through the twin's own coupling."""

    def __init__(self, kind: str, volt_var: Curve | None, volt_watt: Curve | None, count: int, p_max: float = P_MAX) -> None:
        """Put up ``count`` of them, at 1 pu."""
        fleet = Resources()
        for bus in range(count):
            fleet.add(kind, bus, volt_var, volt_watt, p_mw=p_max, s_mva=VA_MAX, e_mwh=1.0)
        self.engine = Stiff(np.ones(count))
        self.coupling = Coupling(self.engine.network, self.engine, fleet.spec(self.engine.network))  # type: ignore[arg-type]

    def run(self, vm: Any, p: Any, dt_s: float = 900.0, q: float = 0.0, follow: float = 0.0) -> FloatArray:
        """P and Q of all of them at the end of a step of ``dt_s``."""
        self.engine.v[:] = vm
        offer = Offer(np.zeros((len(Offer.signals), len(self.engine.v))))
        offer.p_mw, offer.q_mvar, offer.follow_q = p, q, follow
        solved = self.coupling.solve(offer.block, dt_s)
        assert solved.converged
        return solved.delivered.block[:2]


def points(seed: int, low: float) -> tuple[FloatArray, FloatArray]:
    """Random voltages (inside OpenDER's trip limits) and powers, a third of them near a tenth of rating, and the corners."""
    rng = np.random.default_rng(seed)
    v = rng.uniform(0.885, 1.099, 240)
    p = np.concatenate([rng.uniform(low, 1.0, 160), rng.uniform(max(low, -0.25), 0.25, 80)])
    corner_v = np.repeat([0.9, 0.92, 0.98, 1.0, 1.02, 1.06, 1.08, 1.099], 6)
    corner_p = np.tile([low, 0.04998, 0.05, 0.2, 0.999, 1.0], 8)
    return np.concatenate([v, corner_v]), np.concatenate([p, corner_p])


@pytest.mark.parametrize("case", CASES)
def test_pv_agrees_with_opender(case: str) -> None:
    v, p = points(11, 0.0)
    expected = np.array([ask(der, x * P_MAX, u) for der in [oracle(*CASES[case])] for u, x in zip(v, p)]).T
    got = Bench("pv", *CASES[case], len(v)).run(v, p * P_MAX)
    assert np.abs(got - expected).max() < 1e-6 * VA_MAX
    assert np.ptp(expected[0]) > 0.05
    assert CASES[case][0] is None or np.ptp(expected[1]) > 0.04


@pytest.mark.parametrize("case", ["volt-var B", "volt-var custom", "volt-watt", "custom and steep volt-watt"])
def test_battery_agrees_with_opender(case: str) -> None:
    """Charging and discharging; a storage inverter keeps its reactive capability at any power (5.2)."""
    v, p = points(12, -1.0)
    der = oracle(*CASES[case], battery=True, NP_BESS_P_RAMP_TIME=0.0)
    expected = np.array([ask(der, x * P_MAX, u, battery=True) for u, x in zip(v, p)]).T
    got = Bench("battery", *CASES[case], len(v)).run(v, p * P_MAX)
    assert np.abs(got - expected).max() < 1e-6 * VA_MAX
    assert expected[0].min() < -0.08


@pytest.mark.parametrize("battery", [False, True])
def test_reactive_power_comes_first(battery: bool) -> None:
    """Where the circle binds, active power gives way (OpenDER's NP_PRIO_OUTSIDE_MIN_Q_REQ = REACTIVE).

    Up to the 44 % that 5.2 asks for, OpenDER's ACTIVE says the same.
    """
    kind = "battery" if battery else "pv"
    v, p = points(13, -1.0 if battery else 0.0)
    got = Bench(kind, B, None, len(v), VA_MAX).run(v, p * VA_MAX)
    for priority in ("REACTIVE", "ACTIVE"):
        more = {"NP_BESS_P_RAMP_TIME": 0.0} if battery else {}
        der = oracle(B, None, battery=battery, p_max=VA_MAX, NP_PRIO_OUTSIDE_MIN_Q_REQ=priority, **more)
        expected = np.array([ask(der, x * VA_MAX, u, battery=battery) for u, x in zip(v, p)]).T
        assert np.abs(got - expected).max() < 1e-6 * VA_MAX
    gave_way = np.abs(got[0]) < np.abs(p * VA_MAX) - 1e-9
    assert gave_way.sum() >= 10
    assert np.allclose(np.hypot(*got[:, gave_way]), VA_MAX, rtol=1e-12)


def test_capability_at_low_power() -> None:
    """IEEE 1547-2018, 5.2: nothing below 5 % of rated active power, in proportion up to 20 %, 44 % of nameplate above."""
    p = np.array([0.0, 0.02, 0.0499, 0.05, 0.1, 0.15, 0.2, 0.5])
    _, q = Bench("pv", B, None, len(p)).run(1.09, p * P_MAX)
    assert np.allclose(q, -0.44 * VA_MAX * np.array([0, 0, 0, 0.25, 0.5, 0.75, 1, 1]), atol=1e-12)
    _, q = Bench("battery", B, None, len(p)).run(1.09, p * P_MAX)
    assert np.allclose(q, -0.44 * VA_MAX, atol=1e-12)


def test_command_leads_over_the_curve_but_not_over_capability() -> None:
    bench = Bench("pv", B, None, 3)
    p, q = bench.run(1.09, np.array([0.1, 0.1, 0.01]), q=0.02, follow=1.0)
    assert np.allclose(q, [0.02, 0.02, 0.02])
    assert np.allclose(p, [0.1, 0.1, 0.01])
    _, q = bench.run(1.09, np.array([0.1, 0.02, 0.01]), q=1.0, follow=1.0)
    assert np.allclose(q, np.array([1.0, 1.0, 0.5]) * 0.44 * VA_MAX)


def in_the_end(case: str, v: float) -> tuple[float, float]:
    """P and Q at this voltage in the steady state."""
    p, q = Bench("pv", *CASES[case], 1).run(v, P_MAX)
    return float(p[0]), float(q[0])


@pytest.mark.parametrize("dt_s", [0.1, 1.0, 2.5])
@pytest.mark.parametrize("case", ["volt-var A", "volt-var B", "volt-watt"])
def test_open_loop_response_is_the_exact_lag(case: str, dt_s: float) -> None:
    """A jump in voltage: 1 - 10^(-t / T) of the change has come through at t, 90 % at T, at any sampling."""
    volt_var, volt_watt = CASES[case]
    row, olrt = (0, volt_watt[2]) if volt_watt else (1, volt_var[2] if volt_var else 0.0)
    steps = math.ceil(2 * olrt / dt_s)
    bench = Bench("pv", volt_var, volt_watt, 1)
    start, end = (P_MAX, 0.0)[row], in_the_end(case, 1.09)[row]
    got = np.array([bench.run(1.09, P_MAX, dt_s)[row, 0] for _ in range(steps)])
    t = dt_s * np.arange(1, steps + 1)
    assert abs(end - start) > 0.02
    assert np.abs(got - (start + (end - start) * -np.expm1(-math.log(10) * t / olrt))).max() < 1e-12
    assert math.isclose(got[round(olrt / dt_s) - 1] - start, 0.9 * (end - start), rel_tol=1e-9)


@pytest.mark.parametrize("case", ["volt-var A", "volt-var B", "volt-watt"])
def test_open_loop_response_agrees_with_opender(case: str) -> None:
    """OpenDER at 10 ms steps: it differs by its 2.3 for ln 10 (4e-4 of the change) and half a step of its filter."""
    dt_s = 0.01
    opender.DER.t_s = dt_s
    der, bench = oracle(*CASES[case]), Bench("pv", *CASES[case], 1)
    row, olrt = (0, 10.0) if case == "volt-watt" else (1, (CASES[case][0] or B)[2])
    ask(der, P_MAX, 1.0)
    pairs = np.array([(ask(der, P_MAX, 1.09)[row], bench.run(1.09, P_MAX, dt_s)[row, 0]) for _ in range(1200)])
    change = abs(pairs[-1, 1] - (P_MAX, 0.0)[row])
    assert np.abs(pairs[:, 0] - pairs[:, 1]).max() < (0.5 * dt_s * math.log(10) / olrt + 5e-4) * change
    assert change > 0.01


def test_steady_begins_above_three_response_times() -> None:
    """At three response times the lag still leaves 0.1 % of the change; longer steps count as steady."""
    for case, longest in (("volt-var B", 5.0), ("volt-var A", 10.0), ("volt-var B and volt-watt", 10.0)):
        p, q = in_the_end(case, 1.09)
        for dt_s, steady in ((3.0 * longest, False), (3.0 * longest + 0.01, True)):
            bench = Bench("pv", *CASES[case], 1)
            bench.run(1.09, P_MAX, 1e-3)
            got = bench.run(1.09, P_MAX, dt_s)[:, 0]
            assert np.array_equal(got, (p, q)) == steady, (case, dt_s)
            assert np.allclose(got, (p, q), atol=1.01e-3 * P_MAX)


def test_slopes_bound_the_curves() -> None:
    """The steepest slope that the coupling relaxes by is never exceeded anywhere on the curve."""
    v = np.linspace(0.85, 1.15, 3001)
    for volt_var, volt_watt in CASES.values():
        bench = Bench("battery", volt_var, volt_watt, len(v))
        q_slope, p_slope = bench.coupling.inverters.slopes()
        for values, slope, curve in ((bench.run(v, 0.02)[1], q_slope, volt_var), (bench.run(v, 0.06)[0], p_slope, volt_watt)):
            steepest = np.abs(np.diff(values)).max() / (v[1] - v[0])
            assert steepest <= slope.max() * (1 + 1e-6) + 1e-9
            assert (steepest > 0.1) == (curve is not None)
