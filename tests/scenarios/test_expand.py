"""From entries to resources, and what is found when a scenario meets its network."""
# ruff: noqa: E501  (tables: one case a line)

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scenarios import load
from scenarios.check import check
from scenarios.expand import expand
from scenarios.schema import Scenario
from tests.scenarios.conftest import GOOD, network

Write = Callable[..., Path]
HEAD = GOOD.split("fleet:", maxsplit=1)[0]


def scenario(write: Write, fleet: str, rest: str = "", *overrides: str) -> Scenario:
    lines = "".join(f"  - {{{line.strip()}}}\n" for line in fleet.strip().splitlines())
    return load(write(HEAD + "fleet:\n" + lines + rest), overrides)


def test_native_elements_keep_their_ratings(write: Write) -> None:
    plan = expand(load(write(GOOD)), network())
    assert plan.id == ("house-1", "house-2", "house-3", "house-4", "pv-1", "battery-1")
    assert plan.kind == ("load",) * 4 + ("pv", "battery")
    assert plan.bus.tolist() == [1, 2, 3, 4, 2, 3]
    assert plan.entry.tolist() == [0, 0, 0, 0, 1, 2]
    assert plan.p_mw == pytest.approx([0.001, 0.002, 0.003, 0.004, 0.01, 0.005])
    assert plan.q_mvar == pytest.approx([-0.0001, -0.0002, -0.0003, -0.0004, 0, 0])
    assert plan.s_mva[4:] == pytest.approx([0.012, 0.0055])
    assert plan.controllable.tolist() == [False] * 4 + [True] * 2
    assert plan.profile_names == ("H0-A_pload", "H0-A_qload", "PV3")
    assert plan.profile_p.tolist() == [0, 0, 0, -1, 2, -1]
    assert plan.profile_q.tolist() == [1, 1, 1, -1, -1, -1]
    assert (plan.e_mwh[5], plan.soc[5], plan.soc_max[0], plan.eff_charge[5]) == (0.01, 0.5, 1.0, 0.95)
    assert plan.group_names == ("pcc",)
    assert plan.group_parent.tolist() == [-1]
    assert not plan.group_of.any()


def test_settings(write: Write) -> None:
    fleet = """
        id: a, kind: pv, at: sgens
        id: b, kind: pv, at: sgens, volt_var: A, volt_watt: "on"
        id: c, kind: pv, at: sgens, volt_var: {v_pu: [0.9, 0.95, 1.05, 1.1], q_pu: [0.3, 0, 0, -0.3], response_s: 2}
    """
    s = expand(scenario(write, fleet), network()).settings
    assert s.qv_enable.tolist() == [0, 1, 1]
    assert s.pv_enable.tolist() == [0, 1, 0]
    assert s.qv_v1_pu.tolist() == [0.92, 0.9, 0.9]
    assert s.qv_q4_pu.tolist() == [-0.44, -0.25, -0.3]
    assert s.qv_olrt_s.tolist() == [5, 10, 2]
    assert s.pv_v1_pu.tolist() == [1.06] * 3
    assert np.isfinite(s.block).all()


def test_places(write: Write) -> None:
    fleet = """
        id: named, kind: pv, at: {buses: [LV 3, 101]}, p_mw: 0.01
        id: lv, kind: pv, at: lv_buses, p_mw: 0.01
        id: mv, kind: pv, at: mv_buses, p_mw: 0.01
        id: all, kind: load, at: buses, p_mw: 0.01, power_factor: 0.8
        id: many, kind: pv, at: {sample: 10, of: loads}, p_mw: 0.01
        id: own, kind: load, at: {sample: 2, of: loads}
    """
    plan = expand(scenario(write, fleet), network())
    where = [plan.bus[plan.entry == i].tolist() for i in range(6)]
    assert where[:4] == [[3, 1], [1, 2, 3, 4], [0], [0, 1, 2, 3, 4]]
    assert len(where[4]) == 10
    assert set(np.bincount(where[4])[1:]) == {2, 3}
    assert plan.id[-12] == "many-01"
    assert len(set(where[5])) == 2
    assert plan.p_mw[-2:] == pytest.approx(0.001 * np.array(where[5]))
    assert plan.q_mvar[plan.entry == 3] == pytest.approx(-0.0075)
    assert {plan.profile_names[i] for i in plan.profile_p[plan.entry == 4]} == {"PV3"}


def test_the_seed_decides_and_each_entry_draws_for_itself(write: Write) -> None:
    fleet = "id: a, kind: pv, at: {sample: 20, of: loads}, p_mw: 0.01, spread: 0.3"
    first, again = (expand(scenario(write, fleet), network(40)) for _ in range(2))
    assert np.array_equal(first.bus, again.bus)
    assert np.array_equal(first.p_mw, again.p_mw)
    assert first.p_mw.min() >= 0.007
    assert first.p_mw.max() <= 0.013
    assert first.p_mw.std() > 0.001
    assert first.s_mva / first.p_mw == pytest.approx(1.1)
    more = expand(scenario(write, "id: z, kind: load, at: loads\n" + fleet), network(40))
    assert np.array_equal(more.p_mw[40:], first.p_mw)
    assert not np.array_equal(expand(scenario(write, fleet, "", "seed=1"), network(40)).bus, first.bus)


def test_groups(write: Write) -> None:
    fleet = "id: house, kind: load, at: loads\nid: pv, kind: pv, at: loads, p_mw: 0.01"
    groups = "groups:\n  - {name: inner, parent: outer, members: ['pv-[12]']}\n  - {name: outer, members: [pv]}\n  - {name: end, buses: [LV 4]}\n"
    plan = expand(scenario(write, fleet, groups.replace("[pv]", "['pv-[123]']")), network())
    assert plan.group_names == ("pcc", "outer", "end", "inner")
    assert plan.group_parent.tolist() == [-1, 0, 0, 1]
    assert plan.group_of.tolist() == [0, 0, 0, 2, 3, 3, 1, 2]
    assert plan.inside("outer").tolist() == [False] * 4 + [True, True, True, False]
    assert plan.named("outer", ["house", "pv"]).sum() == 3
    assert plan.named("pv", ["house", "pv"]).sum() == 4
    clash = check(scenario(write, fleet, groups), network())
    assert any("pv-4 is in outer already, which does not enclose end" in f.message for f in clash)


def test_ten_thousand_resources(write: Write) -> None:
    plan = expand(scenario(write, "id: a, kind: pv, at: {sample: 10000, of: buses}, p_mw: 0.01"), network(500))
    assert plan.n == len(set(plan.id)) == 10_000
    assert plan.id[41] == "a-00042"


PLAIN = "id: house, kind: load, at: loads\nid: pv, kind: pv, at: sgens\nid: b, kind: battery, at: storages"
FOUND: dict[str, tuple[str, str, int, str, str]] = {
    "unknown bus": (PLAIN + "\nid: x, kind: pv, at: {buses: [LV 9]}, p_mw: 1", "", 8, "error", "no bus 'LV 9', did you mean 'LV "),
    "unknown bus id": (PLAIN + "\nid: x, kind: load, at: {sample: 1, of: [999]}, p_mw: 1", "", 8, "error", "no bus 999"),
    "unknown profile": (PLAIN + "\nid: x, kind: load, at: loads, p_mw: 0.01, profile: H0-B", "", 8, "error", "no profile 'H0-B' is at hand, did you mean 'H0-A'?"),
    "unknown source": (PLAIN + "\nid: x, kind: pv, at: loads, p_mw: 0.01, profile: PV9", "", 8, "error", "did you mean 'PV3'?"),
    "member of nothing": (PLAIN, "groups:\n  - name: g\n    members:\n      - hous-*\n", 11, "error", "'hous-*' matches no resource"),
    "unknown bus of a group": (PLAIN, "groups:\n  - {name: g, members: [pv], buses: [LV 9]}\n", 9, "error", "no bus 'LV 9'"),
    "order for nobody": (PLAIN, "orders:\n  - {at: '12:00', until: '13:00', resources: pvv, limit_mw: 0}\n", 9, "error", "matches no resource, did you mean 'pv'"),
    "order for loads": (PLAIN, "orders:\n  - {at: '12:00', until: '13:00', resources: house, p_mw: 0}\n", 9, "error", "none of these resources is controllable"),
    "order on another day": (PLAIN, "orders:\n  - {at: 2016-07-01T12:00, until: 2016-07-01T13:00, resources: pv, p_mw: 0}\n", 9, "warning", "never holds"),
    "fast battery": (PLAIN + "\nid: x, kind: battery, at: loads, p_mw: 0.1, e_mwh: 0.01", "", 8, "warning", "x-1 would be empty in 6 minutes (10 C)"),
    "kW as MW": (PLAIN + "\nid: x, kind: pv, at: loads, p_mw: 8", "", 8, "warning", "8800 kVA at a low-voltage bus"),
    "forgotten loads": ("id: pv, kind: pv, at: sgens\nid: b, kind: battery, at: storages", "", 4, "warning", "the network's 4 loads take no part"),
    "late guard": (PLAIN, "control: {guards: [{use: over_voltage, vm_high_pu: 1.1, vm_max_pu: 1.2}]}\n", 8, "warning", "above the limit of 1.1 pu"),
    "limit by ratings": (PLAIN, "control: {guards: [{use: pcc, import_mw: 0.004}]}\n", 8, "warning", "infeasible by the ratings: import of pcc cannot be brought below 0.005 MW"),
    "idle limit": (PLAIN, "groups:\n  - {name: g, members: [house]}\ncontrol: {guards: [{use: pcc, group: g, import_mw: 1}]}\n", 10, "warning", "can never act"),
}  # fmt: skip


@pytest.mark.parametrize("case", FOUND)
def test_check(case: str, write: Write) -> None:
    fleet, rest, line, severity, message = FOUND[case]
    (found,) = check(scenario(write, fleet, rest), network())
    assert (found.file, found.line, found.severity) == ("case.yaml", line, severity)
    assert message in found.message


def test_nothing_there(write: Write) -> None:
    bare: Any = network()
    bare.storages = SimpleNamespace(bus=np.zeros(0, np.int32), p_mw=np.zeros(0), e_mwh=np.zeros(0), soc=np.zeros(0), profile=())
    (found,) = check(scenario(write, PLAIN), bare)
    assert "the network has no storages" in found.message


def test_generators_of_the_network_are_said_to_run_by_themselves(write: Write) -> None:
    meshed = network()
    meshed.gens.bus = np.zeros(3, np.int32)
    (found,) = check(scenario(write, PLAIN), meshed)
    assert found.severity == "warning"
    assert "3 voltage-controlled generators run by themselves" in found.message


def test_limits_over_the_day(write: Write) -> None:
    factor = np.zeros((3, 35136))
    factor[0] = 0.5  # loads: 0.003 of 0.006 MW, and a constant one of 0.004 MW; the battery lends 0.005 MW
    factor[0, 172 * 96 + 40] = 1.0
    profiles = SimpleNamespace(names=("H0-A_pload", "H0-A_qload", "PV3"), factor=factor)
    limit = "control: {guards: [{use: pcc, import_mw: 0.003}]}\n"
    (found,) = check(scenario(write, PLAIN, limit), network(), profiles)
    assert "infeasible in 1 of 96 steps, first 2016-06-21 11:00: import of pcc cannot be brought below 0.005 MW" in found.message
    assert found.severity == "warning", "now and then: the run will say how often"
    (found,) = check(scenario(write, PLAIN, limit.replace("0.003", "0.001")), network(), profiles)
    assert "infeasible in 96 of 96 steps" in found.message
    assert found.severity == "error"
    assert check(scenario(write, PLAIN, limit.replace("0.003", "0.005")), network(), profiles) == []


def test_a_good_scenario_has_no_findings(write: Write) -> None:
    assert check(scenario(write, PLAIN), network()) == []
