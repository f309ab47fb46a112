"""Devices that cannot be: every such parameter is a finding with its file and line."""
# ruff: noqa: E501  (tables: one case a line)

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenarios import load
from scenarios.check import check
from tests.scenarios.conftest import GOOD, findings, network

Write = Callable[..., Path]
LINE = GOOD.count("\n") + 1
HP = "kind: heat_pump, ambient_c: 0, "
CHP = "kind: chp, p_mw: 0.05, heat_mw: 0.05, "
HYDRO = "kind: hydro, head_m: 10, flow_m3_s: 2, inflow_m3_s: 1, "
GENSET = "kind: genset, p_mw: 0.1, "
FLEX = "kind: flexible_load, p_mw: 0.1, "
WASH = "kind: shiftable_load, p_mw: 0.01, "

# what the entry says, path below it, part of the message
IMPOSSIBLE: dict[str, tuple[str, str, str]] = {
    "efficiency above 1": ("kind: battery, p_mw: 1, e_mwh: 2, efficiency: 1.05", "efficiency", "is a fraction 0…1; did you mean 0.0105?"),
    "negative capacity": ("kind: battery, p_mw: 1, e_mwh: -2", "e_mwh", "wrong sign: e_mwh is a magnitude and never negative; did you mean 2?"),
    "negative rating": ("kind: genset, p_mw: -0.1", "p_mw", "wrong sign"),
    "genset efficiency above 1": (GENSET + "efficiency: 1.2", "efficiency", "is a fraction 0…1"),
    "genset without efficiency": (GENSET + "efficiency: 0", "efficiency", "more than 0"),
    "genset that idles at full thirst": (GENSET + "idle_fuel: 0.9", "idle_fuel", "below 0.5"),
    "negative tank": (GENSET + "tank_mwh: -1", "tank_mwh", "wrong sign"),
    "minimum load above the rating": (GENSET + "min_load: 1.3", "min_load", "is a fraction 0…1"),
    "minimum load at the rating": (GENSET + "min_load: 1", "min_load", "not below the rating"),
    "never ramps": (GENSET + "ramp_per_s: 0", "ramp_per_s", "more than 0"),
    "nameplate below power": (CHP + "s_mva: 0.04", "s_mva", "below p_mw"),
    "more out than in": (CHP + "efficiency_el: [0.4, 0.5], efficiency_th: [0.5, 0.6]", "efficiency_th.1", "at rating are 1.1 together, above 1"),
    "chp efficiency above 1": (CHP + "efficiency_el: [0.3, 1.4]", "efficiency_el.1", "is a fraction 0…1"),
    "less heat at more power": (CHP + "min_load: 0.9, efficiency_el: [0.2, 0.5], efficiency_th: [0.7, 0.3]", "efficiency_th", "more power must give more heat"),
    "negative heat": (CHP + "heat: -1", "heat", "never negative"),
    "a tank without a use": (CHP + "lead: power, store_mwh: 1", "store_mwh", "has no tank"),
    "hydro rated twice": (HYDRO + "p_mw: 1", "p_mw", "follows from head, flow and efficiency"),
    "no head": (HYDRO.replace("head_m: 10", "head_m: 0"), "head_m", "more than 0"),
    "negative flow": (HYDRO.replace("flow_m3_s: 2, in", "flow_m3_s: -2, in"), "flow_m3_s", "wrong sign"),
    "negative inflow": (HYDRO.replace("inflow_m3_s: 1", "inflow_m3_s: -1"), "inflow_m3_s", "never negative"),
    "turbine efficiency above 1": (HYDRO + "turbine: [[0.2, 0.8], [1.0, 1.1]]", "turbine.1.1", "fraction 0…1"),
    "turbine curve turned": (HYDRO + "turbine: [[0.6, 0.8], [0.3, 0.9]]", "turbine", "must ascend"),
    "less power from more water": (HYDRO + "turbine: [[0.8, 0.9], [1.0, 0.6]]", "turbine", "more water must give more power"),
    "comfort band turned": (HP + "p_mw: 0.003, comfort_c: [22, 20]", "comfort_c", "turned band: 22 °C is not below 20 °C"),
    "a room outside its band": (HP + "p_mw: 0.003, room_c: 25", "room_c", "outside comfort_c (20…22 °C)"),
    "a house that loses nothing": (HP + "p_mw: 0.003, loss_mw_per_k: 0", "loss_mw_per_k", "more than 0"),
    "a house that weighs less than nothing": (HP + "p_mw: 0.003, mass_mwh_per_k: -0.01", "mass_mwh_per_k", "wrong sign"),
    "kelvin": (HP.replace("ambient_c: 0", "ambient_c: 273") + "p_mw: 0.003", "ambient_c", "-60…60 °C"),
    "a short day": (HP.replace("ambient_c: 0", "ambient_c: [1, 2]") + "p_mw: 0.003", "ambient_c", "24 hours or 96 quarter-hours, not 2"),
    "boiling flow": (HP + "p_mw: 0.003, flow_c: 110", "flow_c", "25…75 °C"),
    "unknown heat pump": (HP + "model: i-SHWAK V4 6", "model", "did you mean 'i-SHWAK V4 06'?"),
    "no such group": (HP + "p_mw: 0.003, group: 3", "model", "no generic heat pump of group 3"),
    "two ratings": (HP + "model: i-SHWAK V4 06, p_mw: 0.003", "p_mw", "is the model's own"),
    "hot water without a tank": (HP + "p_mw: 0.003, water_mwh_per_day: 0.006, tank_l: 0", "tank_l", "needs a tank"),
    "no power factor": (FLEX + "power_factor: 0", "power_factor", "more than 0"),
    "flexibility turned": (FLEX + "p_low: 0.8, p_high: 0.5", "p_low", "not below p_high"),
    "rebound of three": (FLEX + "rebound: 3", "rebound", "never caught up"),
    "interruption of no length": (FLEX + "mode: interrupt, longest_s: 0", "longest_s", "more than 0"),
    "window too short": (WASH + "programme: [1, 1, 1], window: ['09:00', '09:30']", "window", "0.5 h does not hold 3 quarter-hours"),
    "window off the quarter": (WASH + "programme: [1], window: ['09:05', '10:00']", "window", "at quarter-hours"),
    "programme of nothing": (WASH + "programme: [0, 1], window: ['09:00', '10:00']", "programme", "the first with some power"),
}  # fmt: skip


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_what_cannot_be_is_a_finding(case: str, write: Write) -> None:
    says, path, message = IMPOSSIBLE[case]
    found = findings(write(GOOD + f"  - {{id: x, at: loads, {says.rstrip(', ')}}}\n"))
    assert len(found) == 1, found
    assert (found[0].file, found[0].line, found[0].path) == ("case.yaml", LINE, f"fleet.3.{path}")
    assert message in found[0].message


@pytest.mark.parametrize(
    ("says", "path", "message"),
    [
        ("kind: pv, p_mw: 0.18, s_mva: 0.2, connection_mva: 0.05", "s_mva", "x-1 has 200 kVA on a connection of 50 kVA"),
        ("kind: battery, p_mw: 0.1, e_mwh: 0.2, connection_mva: 0.105", "p_mw", "x-1 has 110 kVA on a connection of 105 kVA"),
        ("kind: load, p_mw: 0.06, connection_mva: 0.05", "p_mw", "x-1 has 60 kVA on a connection of 50 kVA"),
        (HP + "model: i-SHWAK V4 16T, connection_mva: 0.003", "id", "on a connection of 3 kVA"),
    ],
)
def test_more_than_its_connection(says: str, path: str, message: str, write: Write) -> None:
    found = [f for f in check(load(write(GOOD + f"  - {{id: x, at: loads, {says}}}\n")), network()) if f.severity == "error"]
    assert len(found) == 1, found
    assert (found[0].file, found[0].line, found[0].path) == ("case.yaml", LINE, f"fleet.3.{path}")
    assert message in found[0].message


def test_more_than_the_bus_carries(write: Write) -> None:
    """Lines of 0.1 kA at 0.4 kV carry 69 kVA each; the last bus has one, those before it two; an unrated one carries anything."""
    scenario = load(write(GOOD + "  - {id: x, kind: pv, at: {buses: [LV 3, LV 4]}, p_mw: 0.1}\n"))
    street: Any = network()
    street.branch_i_max_from_ka, street.branch_i_max_to_ka = np.full(4, 0.1), np.full(4, 0.1)
    (found,) = check(scenario, street)
    assert (found.line, found.severity) == (LINE, "warning")
    assert "x-2 has 110 kVA at a bus whose lines and transformers carry 69.28 kVA" in found.message
    street.branch_i_max_to_ka[3] = np.nan
    assert len(check(scenario, street)) == 1, "one rated side is enough"
    street.branch_i_max_from_ka[3] = np.nan
    assert check(scenario, street) == []


def test_a_file_of_values_is_read_at_once(write: Write) -> None:
    write("heat\n" + "1\n" * 23 + "x\n", "heat.csv")
    (found,) = findings(write(GOOD + "  - {id: x, at: loads, kind: chp, p_mw: 0.05, heat_mw: 0.05, heat: file:heat.csv}\n"))
    assert (found.line, found.path) == (LINE, "fleet.3.heat")
    assert "heat.csv, line 25" in found.message
