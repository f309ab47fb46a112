"""The inverter's state machine in the network: decided by the voltage of the step before, restored with its settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.twin.small import STEP_NS, B, coupling, feeder, offer, plant, village
from twin.coupling import Coupling
from twin.spec import FleetSpec
from vpp.grid.powerflow import ENGINES
from vpp.kernel.setpoints import Asked, Setpoints
from vpp.kernel.settings import Settings
from vpp.kernel.signals import FloatArray

SERVICE = {
    "es_enable": 1.0, "es_v_low_pu": 0.917, "es_v_high_pu": 1.05, "es_f_low_hz": 49.5, "es_f_high_hz": 50.1, "es_delay_s": 3.0,
    "es_ramp_s": 10.0, "rt_category": 3.0, "trip_enable": 1.0, "ov1_trip_v_pu": 1.1, "ov1_trip_t_s": 2.0, "ov2_trip_v_pu": 1.2,
    "ov2_trip_t_s": 0.16, "uv1_trip_v_pu": 0.88, "uv1_trip_t_s": 2.0, "uv2_trip_v_pu": 0.5, "uv2_trip_t_s": 0.16,
    "of1_trip_f_hz": 51.0, "of1_trip_t_s": 2.0, "of2_trip_f_hz": 52.0, "of2_trip_t_s": 0.1, "uf1_trip_f_hz": 48.5,
    "uf1_trip_t_s": 2.0, "uf2_trip_f_hz": 47.0, "uf2_trip_t_s": 0.1,
}  # fmt: skip
DROOP = {"pf_enable": 1.0, "pf_dbof_hz": 0.2, "pf_dbuf_hz": 0.2, "pf_kof": 0.05, "pf_kuf": 0.05}


def equipped(engine: str = "tree", **settings: float) -> tuple[Coupling, FleetSpec]:
    """The village with these settings in every inverter."""
    network = feeder()
    spec = village(B).spec(network)
    for name, value in settings.items():
        getattr(spec.settings, name)[spec.s_rated_mva > 0] = value
    return Coupling(network, ENGINES[engine](network), spec), spec


def of_pv(spec: FleetSpec, block: FloatArray) -> FloatArray:
    """The PV's columns, those on live buses."""
    return block[..., (np.array(spec.fleet.kind) == "pv") & (spec.fleet.terminal.node >= 0)]


@pytest.mark.parametrize("engine", ["tree", "lightsim2grid"])
def test_frequency_trips_and_devices_come_back(engine: str) -> None:
    """A trip empties the feeder; after the delay power rises on the ramp, and the network is solved with it all the while."""
    couple, spec = equipped(engine, **SERVICE)
    sheet = offer(spec, factor=0.3)
    powers, volts = [], []
    for f in [50.0] * 2 + [51.5] * 4 + [50.0] * 16:
        solved = couple.solve(sheet.block, 1.0, f)
        assert solved.converged
        powers.append(of_pv(spec, solved.delivered.p_mw) / of_pv(spec, sheet.p_mw))
        volts.append(of_pv(spec, solved.delivered.vm_pu).max())
    share = np.array(powers)
    assert np.allclose(share[:3], 1.0)
    assert (share[3:8] == 0.0).all()
    assert np.allclose(share[8:, 0], np.minimum(0.1 * np.arange(1, 15) / 0.3, 1.0), atol=1e-9)
    assert max(volts[3:8]) < volts[0] - 0.01
    assert min(volts[-3:]) > max(volts[3:8]) + 0.01


def test_status_is_of_the_voltage_before() -> None:
    """Too high a voltage trips in the step after it, and only the one it is too high for."""
    far = {**SERVICE, "ov1_trip_t_s": 0.5, "ov1_trip_v_pu": 1.5, "ov2_trip_v_pu": 1.5, "es_v_high_pu": 1.5, "qv_enable": 0.0}
    couple, spec = equipped(**far)
    normal = of_pv(spec, couple.solve(offer(spec).block, 1.0).delivered.vm_pu)
    border = float(np.sort(normal)[-2] + np.sort(normal)[-1]) / 2
    couple, spec = equipped(**{**far, "ov1_trip_v_pu": border})
    sheet = offer(spec)
    first, second = (of_pv(spec, couple.solve(sheet.block, 1.0).delivered.p_mw) for _ in range(2))
    assert (first > 0).all()
    assert (second == 0).sum() == 1
    assert (second == 0)[normal.argmax()]


def test_steps_of_a_quarter_hour_stay_explicit() -> None:
    """At 900 s a device that is tripped by the voltage that it makes trips and returns in turn, one step late, and solves."""
    couple, spec = equipped(**{**SERVICE, "qv_enable": 0.0, "ov1_trip_v_pu": 1.03, "es_v_high_pu": 1.03})
    sheet = offer(spec)
    on = []
    for _ in range(8):
        solved = couple.solve(sheet.block, 900.0)
        assert solved.converged
        on.append(bool((of_pv(spec, solved.delivered.p_mw) > 0).any()))
    assert on == [True, False] * 4


def test_droop_of_a_fleet() -> None:
    """Above the deadband everything gives way in proportion to its rating, batteries below zero."""
    couple, spec = equipped(**DROOP)
    sheet = offer(spec, factor=0.8)
    before = couple.solve(sheet.block, 1.0, 50.0).delivered.p_mw.copy()
    after = couple.solve(sheet.block, 1.0, 50.7).delivered.p_mw.copy()
    live = (spec.s_rated_mva > 0) & (spec.fleet.terminal.node >= 0)
    rated = np.maximum(spec.fleet.p_max_mw, -spec.fleet.p_min_mw)
    assert np.allclose((before - after)[live], 0.2 * rated[live], atol=1e-12)
    assert np.array_equal(before[~live], after[~live])
    battery = np.array(spec.fleet.kind) == "battery"
    assert (after[battery] < 0).all()


@pytest.mark.parametrize("delay_s", [0.0, 1800.0])
def test_a_setpoint_ceases_to_energise(delay_s: float) -> None:
    """``connect`` 0 is the permit service of IEEE 1547-2018, 4.6.1: out at once, and back by the criteria."""
    twin = plant(village(B), 9)
    for name, value in {**SERVICE, "es_delay_s": delay_s, "es_ramp_s": 0.0, "es_v_high_pu": 1.3, "ov1_trip_v_pu": 1.3}.items():
        getattr(twin.grid.coupling.spec.settings, name)[:] = value
    twin.grid.coupling = Coupling(twin.grid.coupling.network, twin.grid.coupling.engine, twin.devices.spec)
    n, got = twin.fleet.n, []
    for k in range(9):
        result, _ = twin.advance()
        got.append(bool((of_pv(twin.devices.spec, result.solved.delivered.p_mw) > 0).all()))
        asked = Setpoints.neutral(n)
        asked.connect = 0.0 if k in (1, 2) else 1.0
        twin.write(k * STEP_NS, Asked(0, asked, np.zeros(n, np.int16), np.zeros(n, np.int16)))
    late = 0 if delay_s == 0 else 1
    assert got == [True, True, False, False] + [False] * late + [True] * (5 - late)


def test_settings_are_adopted_and_restored() -> None:
    """A coupling that adopted settings and tripped goes on in another object with the same bytes."""
    couple, spec = equipped(**{**SERVICE, **DROOP, "set_exe_time_s": 2.0})
    other, _ = equipped(**{**SERVICE, **DROOP, "set_exe_time_s": 2.0})
    sheet = offer(spec)
    some = np.flatnonzero(spec.s_rated_mva > 0)[:3]
    changed = Settings(spec.settings.block[:, some].copy())
    changed.qv_q4_pu, changed.ap_limit_enable, changed.ap_limit_pu = -0.2, 1.0, 0.5
    f = [50.0, 50.3, 51.3, 51.3, 51.3, 50.0, 50.0, 50.0, 50.4, 50.0, 50.0, 50.0]
    before = [couple.solve(sheet.block, 1.0, f[k]).delivered.block.copy() for k in range(3)]
    couple.inverters.adopt(changed, some)
    before += [couple.solve(sheet.block, 1.0, f[k]).delivered.block.copy() for k in range(3, 7)]
    state = couple.state()
    other.restore(state)
    runs: list[list[Any]] = [[c.solve(sheet.block, 1.0, x).delivered.block.copy() for x in f[7:]] for c in (couple, other)]
    assert np.array(runs[0]).tobytes() == np.array(runs[1]).tobytes()
    assert (couple.inverters.settings.qv_q4_pu == -0.2).sum() == 3
    assert np.ptp(np.array(runs[0])[:, 0, some[0]]) > 0.001
    assert before[5][0, some[0]] == 0.0


def test_functions_at_rest_change_no_byte() -> None:
    """Where every limit is far away, a device with all of them delivers what one without them does."""
    couple, spec = equipped(**{**SERVICE, **DROOP})
    bare, _ = coupling(village(B), feeder())
    for k in range(6):
        sheet = offer(spec, factor=0.3 + 0.02 * k)
        with_all, without = (c.solve(sheet.block, 5.0, 50.0).delivered.block for c in (couple, bare))
        assert np.allclose(with_all, without, rtol=0, atol=1e-12, equal_nan=True)
