"""Grid codes and single functions as a scenario states them, and the settings that they become."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scenarios import load
from scenarios.check import check
from scenarios.expand import expand
from scenarios.schema import Scenario
from tests.scenarios.conftest import GOOD, network
from twin.devices.inverter.columns import EXPLICIT
from twin.devices.inverter.table import compile_table
from vpp.kernel.errors import ScenarioError
from vpp.kernel.fleet import Capability
from vpp.kernel.settings import Settings

Write = Callable[..., Path]
HEAD = GOOD.split("fleet:", maxsplit=1)[0]


def scenario(write: Write, functions: str, *overrides: str) -> Scenario:
    return load(write(HEAD + f"fleet:\n  - {{id: a, kind: pv, at: sgens, {functions}}}\n"), overrides)


def settings(write: Write, functions: str, *overrides: str) -> Settings:
    return expand(scenario(write, functions, *overrides), network()).settings


CASES = {
    "nothing": (
        "scale: 1.0",
        {"qv_enable": 0, "trip_enable": 0, "es_enable": 0, "rt_category": 0, "pf_enable": 0, "qv_v1_pu": 0.92, "f_nom_hz": 50},
    ),
    "a code": (
        "grid_code: ieee1547-2018",
        {
            "trip_enable": 1,
            "es_enable": 1,
            "rt_category": 3,
            "mc_enable": 1,
            "qv_enable": 0,
            "ov1_trip_t_s": 13,
            "of2_trip_f_hz": 62 * 5 / 6,
        },
    ),
    "a category": (
        'grid_code: {code: ieee1547-2018, category: A, ride_through: I}, volt_var: "on"',
        {"qv_enable": 1, "qv_q1_pu": 0.25, "rt_category": 1, "uv1_trip_v_pu": 0.7, "mc_enable": 0},
    ),
    "European": (
        'grid_code: vde-ar-n-4105-2018-11, volt_var: "on", droop: "on"',
        {"qv_v1_pu": 0.93, "pf_dbof_hz": 0.2, "pf_basis_of": 1, "es_ramp_s": 600, "rt_category": 0},
    ),
    "own curve": (
        "grid_code: ieee1547-2018, volt_var: {v_pu: [0.9, 0.95, 1.05, 1.1], q_pu: [0.3, 0, 0, -0.3], follow_s: 300}",
        {"qv_v2_pu": 0.95, "qv_vref_auto": 1, "qv_vref_time_s": 300, "qv_vref_max_pu": 1.05},
    ),
    "watt-var": (
        "watt_var: {p_pu: [0.2, 0.5, 0.9], q_pu: [0, 0, -0.3]}",
        {"qp_enable": 1, "qp_p3_gen_pu": 0.9, "qp_q3_gen_pu": -0.3, "qp_p3_load_pu": -1},
    ),
    "power factor": (
        "constant_pf: {pf: 0.95, excitation: absorbs}",
        {"const_pf_enable": 1, "const_pf": 0.95, "const_pf_excitation": -1},
    ),
    "cos phi (P)": (
        "grid_code: vde-ar-n-4110, pf_by_power: {pf: [1.0, 0.92]}",
        {"pfp_enable": 1, "pfp_pf2": 0.92, "const_pf_excitation": -1},
    ),
    "constant q": ("constant_q: {q_pu: -0.2}", {"const_q_enable": 1, "const_q_pu": -0.2, "const_q_rt_s": 5}),
    "droop": (
        "droop: {over_hz: 0.2, under_hz: 0.2, over_droop: 0.04, basis: momentary}",
        {"pf_enable": 1, "pf_kof": 0.04, "pf_kuf": 0.05, "pf_basis_of": 1, "trip_enable": 0},
    ),
    "trips": (
        "trips: {ov1: [1.1, 2], uf1: [47.5, 0.2]}",
        {"trip_enable": 1, "ov1_trip_v_pu": 1.1, "ov1_trip_t_s": 2, "uf1_trip_f_hz": 47.5, "es_enable": 0},
    ),
    "no trips": ('grid_code: ieee1547-2018, trips: "off"', {"trip_enable": 0, "es_enable": 1}),
    "service": (
        "enter_service: {delay_s: 20, ramp_s: 0, f_hz: [49.9, 50.1]}",
        {"es_enable": 1, "es_delay_s": 20, "es_ramp_s": 0, "es_f_low_hz": 49.9, "es_v_low_pu": 0.917},
    ),
    "limit and current": (
        "limit: {p_pu: 0.7}, current_pu: 1.1, execution_delay_s: 3, volt_watt: {v_pu: [1.05, 1.1]}",
        {"ap_limit_enable": 1, "ap_limit_pu": 0.7, "np_current_pu": 1.1, "set_exe_time_s": 3, "pv_v1_pu": 1.05},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_settings(write: Write, case: str) -> None:
    functions, expected = CASES[case]
    sheet = settings(write, functions)
    assert {name: float(getattr(sheet, name)[0]) for name in expected} == pytest.approx(expected)


def test_nominal_frequency_is_the_scenarios(write: Write) -> None:
    sheet = settings(write, "grid_code: ieee1547-2018", "frequency.nominal_hz=60.0")
    assert (sheet.f_nom_hz[0], sheet.of2_trip_f_hz[0]) == (60.0, 62.0)


def test_without_a_code_nothing_needs_the_state_machine(write: Write) -> None:
    for functions, expected in (('volt_var: B, volt_watt: "on"', 0.0), ("grid_code: ieee1547-2018", 1.0)):
        sheet = settings(write, functions)
        table = compile_table(sheet, Capability.circle(np.ones(sheet.n)), np.arange(sheet.n)).table
        assert table[0, EXPLICIT] == expected


def test_active_priority_reaches_controllers_and_device(write: Write) -> None:
    assert settings(write, "priority: active").np_prio_active[0] == 1.0


WRONG = {
    "unknown code": ("grid_code: ieee1548", "fleet.0.grid_code", "did you mean"),
    "unknown category": ("grid_code: {code: ieee1547-2018, category: C}", "fleet.0.grid_code.category", "there are A, B"),
    "no such choice": (
        "grid_code: {code: vde-ar-n-4110, ride_through: II}",
        "fleet.0.grid_code.ride_through",
        "has no ride_through",
    ),
    "two leaders": ("volt_var: B, constant_q: {q_pu: 0.1}", "fleet.0.constant_q", "only one function"),
    "window upside down": ("enter_service: {v_pu: [1.1, 0.9]}", "fleet.0.enter_service.v_pu", "above the lowest"),
    "droop of nothing": ("droop: {over_droop: 0}", "fleet.0.droop.over_droop", "more than 0"),
    "percent": ("trips: {ov1: [110, 2]}", "fleet.0.trips.ov1", "did you mean 1.1"),
    "power factor of nothing": ("constant_pf: {pf: 0}", "fleet.0.constant_pf.pf", "at least 0.1"),
    "powers fall": ("watt_var: {p_pu: [0.5, 0.2, 0.9], q_pu: [0, 0, 0]}", "fleet.0.watt_var.p_pu", "must ascend"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_functions_are_findings(write: Write, case: str) -> None:
    functions, path, message = WRONG[case]
    with pytest.raises(ScenarioError) as error:
        scenario(write, functions)
    finding = next(f for f in error.value.findings if f.path.startswith(path))
    assert message in finding.message
    assert finding.line > 0


def test_unverified_values_are_a_warning(write: Write) -> None:
    found = [f for f in check(scenario(write, "grid_code: vde-ar-n-4105-2018-11"), network()) if "unverified" in f.message]
    assert [f.severity for f in found] == ["warning"]
    assert found[0].line > 0
    assert not [f for f in check(scenario(write, "grid_code: ieee1547-2018"), network()) if "unverified" in f.message]
