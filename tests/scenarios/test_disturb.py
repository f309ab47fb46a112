"""What a scenario says of meters, channels and faults: read, refused with file and line, checked, and built."""
# ruff: noqa: E501  (tables: one case a line)

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenarios import load
from scenarios.check import check
from scenarios.disturb import channels_of, disturbances, faults_of, sensors_of
from scenarios.expand import expand
from scenarios.fleet import fleet_spec
from scenarios.schema.faults import plan_of
from tests.scenarios.conftest import GOOD, findings, network
from tests.scenarios.test_load import HEAD, HOUSE
from twin.faults import EXPECTED, KINDS
from vpp.kernel.grid_points import PointLayout

Write = Callable[..., Path]
PLAIN = GOOD + "control: {guards: [{use: performance}]}\n"  # 8 lines
CHANNELS = HEAD + HOUSE + "communications:\n  channels:\n    - {name: a, resources: [house]%s}\n"
FAULT = HEAD + HOUSE + "faults:\n  - {kind: %s, resources: house, at: '12:00'%s}\n"

# text of the file, line, path, part of the message
BAD = {
    "no such class": (HEAD + HOUSE + "sensors: {p_class: 0.3}\n", 5, "sensors.p_class", "no accuracy class; did you mean 0.2?"),
    "class of an entry": (HEAD + "fleet:\n  - id: house\n    kind: load\n    at: loads\n    sensor:\n      v_class: 0.05\n      q_class: 4\n", 10, "fleet.0.sensor.q_class", "no accuracy class"),
    "mean of nothing": (HEAD + HOUSE + "sensors: {sample: mean, interval_s: 0}\n", 5, "sensors.sample", "needs an interval_s"),
    "loss in per cent": (CHANNELS % ", loss: 5", 7, "communications.channels.0.loss", "did you mean 0.05?"),
    "no resources": (HEAD + HOUSE + "communications:\n  channels:\n    - {name: a, resources: []}\n", 7, "communications.channels.0.resources", "at least one name"),
    "negative latency": (CHANNELS % ", latency_s: -1", 7, "communications.channels.0.latency_s", "never negative"),
    "unknown law": (CHANNELS % ", law: lognormall", 7, "communications.channels.0.law", "did you mean 'lognormal'?"),
    "lognormal without median": (CHANNELS % ", law: lognormal", 7, "communications.channels.0.law", "needs its median"),
    "lease without setpoints": (CHANNELS % ", direction: up, lease_s: 900", 7, "communications.channels.0.lease_s", "no effect"),
    "outage backwards": (CHANNELS % ", outages: [{at: 2016-06-21T12:00, until: 2016-06-21T11:00}]", 7, "communications.channels.0.outages.0.until", "ends before it begins"),
    "same channel twice": (CHANNELS % "" + "    - {name: a, resources: [house]}\n", 8, "communications.channels.1.name", "'a' is there already"),
    "meters on two channels": (CHANNELS % ", meters: true" + "    - {name: b, resources: [house], meters: true}\n", 8, "communications.channels.1.meters", "another channel already"),
    "unknown kind": (FAULT % ("tripp", ""), 6, "faults.0.kind", "did you mean 'trip'?"),
    "derating by nothing": (FAULT % ("derating", ""), 6, "faults.0", "part is missing"),
    "derating to all": (FAULT % ("derating", ", part: 1"), 6, "faults.0.part", "no fault"),
    "drift without rate": (FAULT % ("drifting_sensor", ""), 6, "faults.0", "rate_per_h is missing"),
    "part of a trip": (FAULT % ("trip", ", part: 0.5"), 6, "faults.0.part", "belongs to derating"),
    "end of a reboot": (FAULT % ("reboot", ", until: '13:00'"), 6, "faults.0.until", "give boot_s"),
    "mixed times": (FAULT % ("trip", ", until: 2016-06-21T13:00"), 6, "faults.0.until", "both be a time of day"),
    "rates of nothing": (HEAD + HOUSE + "faults:\n  random: {mean_h: 3}\n", 6, "faults.random", "no rate is given"),
    "neither list nor mapping": (HEAD + HOUSE + "faults: trip\n", 5, "faults", "must be a list or a mapping"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_finding_names_file_line_path_and_remedy(case: str, write: Write) -> None:
    text, line, path, message = BAD[case]
    found = findings(write(text))
    assert len(found) == 1, found
    assert (found[0].file, found[0].line, found[0].path) == ("case.yaml", line, path)
    assert message in found[0].message


C = "communications:\n  channels:\n    - {name: a, resources: [%s]%s}\n"  # the channel in line 11
X = "faults:\n  - {kind: %s, resources: %s, at: '12:00'%s}\n"  # the fault in line 10
# what stands behind the plain scenario, line, severity, part of the message
FOUND = {
    "channel for nobody": (C % ("hous", ""), 11, "error", "'hous' matches no resource, did you mean 'house'"),
    "channel twice": (C % ("house", "") + "    - {name: b, resources: ['*']}\n", 12, "warning", "house-1 is behind a channel above"),
    "latency too short to show": (C % ("house", ", latency_s: 5, jitter_s: 60"), 11, "warning", "shorter than half a step of 900 s"),
    "latency for ever": (C % ("house", ", latency_s: 1000000"), 11, "error", "nothing would ever arrive"),
    "narrow line": (C % ("house", ", kbit_per_s: 0.001"), 11, "error", "most are lost"),
    "short lease": (C % ("house", ", lease_s: 900"), 11, "error", "ends before it acts"),
    "outage on another day": (C % ("house", ", outages: [{at: 2016-07-01T12:00, until: 2016-07-01T13:00}]"), 11, "warning", "never while the scenario runs"),
    "fault of nobody": (X % ("trip", "pvv", ""), 10, "error", "'pvv' matches no resource, did you mean 'pv'"),
    "fault on another day": ("faults:\n  - {kind: trip, resources: pv, at: 2016-07-01T12:00}\n", 10, "warning", "never holds"),
    "stuck load": (X % ("stuck_setpoint", "house", ""), 10, "error", "none of these resources is controllable"),
    "charge of a PV": (X % ("drifting_sensor", "pv", ", quantity: soc, rate_per_h: 0.1"), 10, "error", "stores energy"),
    "lonely meter": (X % ("meter_swap", "pv", ""), 10, "error", "none to change places with"),
    "odd meters": (X % ("meter_swap", "'house-[123]'", ""), 10, "warning", "house-3 is left over"),
    "random faults of nobody": ("faults:\n  random:\n    resources: nobody\n    trip: 1\n", 11, "error", "'nobody' matches no resource"),
    "short samples": ("sensors: {interval_s: 60}\n", 9, "warning", "a step has 900 s"),
    "short samples of the PCC": ("sensors:\n  pcc: {interval_s: 60}\n", 10, "warning", "a step has 900 s"),
}  # fmt: skip


@pytest.mark.parametrize("case", FOUND)
def test_check(case: str, write: Write) -> None:
    rest, line, severity, message = FOUND[case]
    (found,) = check(load(write(PLAIN + rest)), network())
    assert (found.file, found.line, found.severity) == ("case.yaml", line, severity)
    assert message in found.message


def test_a_meter_that_could_see_nothing(write: Write) -> None:
    text = PLAIN.replace("at: sgens}", "at: sgens, sensor: {p_resolution_mw: 0.02, p_deadband_mw: 0.02}}")
    found = check(load(write(text)), network())
    assert [(f.line, f.path, f.severity) for f in found] == [
        (6, "fleet.1.sensor.p_resolution_mw", "error"),
        (6, "fleet.1.sensor.p_deadband_mw", "error"),
    ]
    assert "the rating of 0.01 MW" in found[0].message


def test_faults_that_nobody_watches(write: Write) -> None:
    (found,) = check(load(write(GOOD + X % ("trip", "pv", ""))), network())
    assert (found.line, found.severity) == (8, "warning")
    assert "nobody will notice" in found.message


def laid(write: Write, rest: str) -> tuple[Any, Any]:
    scenario = load(write(PLAIN + rest))
    return scenario, expand(scenario, network())


def test_who_is_on_which_channel(write: Write) -> None:
    rest = (
        C % ("pv, battery", ", kbit_per_s: 2, message_bytes: 250") + "    - {name: b, resources: ['house-[12]'], meters: true}\n"
    )
    scenario, plan = laid(write, rest)
    found = channels_of(scenario, plan)
    assert found is not None
    assert found.of.tolist() == [1, 1, 2, 2, 0, 0]
    assert found.points == 1
    assert found.channels[0].service_s == pytest.approx(2 * 250 * 8 / 2000)
    assert found.channels[1].service_s == 0.0


def test_outages_are_local_times(write: Write) -> None:
    scenario, plan = laid(write, C % ("pv", ", outages: [{at: '22:00', until: '02:00'}, {at: '12:00', until: '12:30'}]"))
    found = channels_of(scenario, plan)
    assert found is not None
    assert found.outages[0].tolist() == [[0.0, 7200.0], [43200.0, 45000.0], [79200.0, 86400.0]]


def test_faults_are_laid_out(write: Write) -> None:
    rest = (
        "faults:\n"
        "  - {kind: reboot, resources: battery, at: '06:00', boot_s: 1200}\n"
        "  - {kind: meter_swap, resources: 'house-[123]', at: 2016-06-21T03:00, until: 2016-06-21T04:00}\n"
        "  - {kind: drifting_sensor, resources: pv, quantity: vm_pu, rate_per_h: -0.1, at: '05:00', within_s: 77}\n"
    )
    scenario, plan = laid(write, rest)
    start, hour = scenario.time.start_ns, 3600 * 10**9
    swap, drift, boot = faults_of(scenario, plan)
    assert (swap.resource.tolist(), swap.begin_ns, swap.end_ns) == ([0, 1], start + 3 * hour, start + 4 * hour)
    assert (drift.quantity, drift.value, drift.end_ns) == (2, -0.1, scenario.time.end_ns)
    assert (drift.detection.within_s, swap.detection) == (77.0, EXPECTED["meter_swap"])
    assert (boot.begin_ns, boot.end_ns - boot.begin_ns) == (start + 6 * hour, 1200 * 10**9)


def test_random_faults_go_by_the_seed(write: Write) -> None:
    rest = "faults: {random: {resources: house, trip: 400, reboot: 400, meter_swap: 400}}\n"
    drawn = []
    for seed in (0, 0, 1):
        scenario, plan = laid(write, rest + f"seed: {seed}\n")
        drawn.append([(f.kind, f.begin_ns, f.resource.tolist()) for f in faults_of(scenario, plan)])
        assert all(scenario.time.start_ns <= f.begin_ns < f.end_ns <= scenario.time.end_ns for f in faults_of(scenario, plan))
    assert drawn[0] == drawn[1] != drawn[2]
    assert {kind for kind, _, _ in drawn[0]} == {"trip", "reboot", "meter_swap"}
    assert {i for _, _, who in drawn[0] for i in who} <= {0, 1, 2, 3}


def test_an_entry_s_own_meters(write: Write) -> None:
    text = PLAIN.replace("at: sgens}", "at: sgens, sensor: {p_class: 1, interval_s: 1800, loss: 0.2}}")
    scenario = load(write(text + "sensors: {p_error: 0.01, p_class: 0.2, v_class: 0.5, delay_s: 900, pcc: {p_class: 0.5}}\n"))
    plan = expand(scenario, network())
    fleet: Any = type("Fleet", (), {"n": plan.n})()
    points = PointLayout(("p",), ("p_mw",), ("pcc",))
    sensors = sensors_of(scenario, plan, fleet, np.ones(plan.n), points, None)
    assert sensors.kind_of is not None
    assert sensors.kind_of.tolist() == [0, 0, 0, 0, 1, 0]
    default, own = sensors.errors, sensors.kinds[0]
    assert (default.p_class, default.q_class, default.v_class, default.delay_steps) == (0.2, 0.2, 0.5, 1)
    assert (own.p_class, own.q_class, own.v_class, own.p_error) == (1.0, 1.0, 0.5, 0.01)
    assert sensors.meters.interval_ns.tolist() == [0, 0, 0, 0, 1800 * 10**9, 0]
    assert sensors.meters.loss.tolist() == [0, 0, 0, 0, 0.2, 0]
    assert sensors.point_errors is not None
    assert (sensors.point_errors.p_class, sensors.point_errors.p_error) == (0.5, 0.01)


def test_without_channels_and_faults_nothing_is_in_the_way(write: Write) -> None:
    scenario, plan = laid(write, "")
    assert disturbances(scenario, plan, fleet_spec) is None  # type: ignore[arg-type]  # not even looked at


def test_both_forms_of_faults_say_the_same(write: Write) -> None:
    one = plan_of(load(write(PLAIN + X % ("trip", "pv", ""))).faults)
    other = plan_of(load(write(PLAIN + "faults:\n  scripted: [{kind: trip, resources: pv, at: '12:00'}]\n")).faults)
    assert one == other
    assert one.random is None


def test_the_guide_names_every_kind_and_what_is_said_of_it() -> None:
    guide = (Path(__file__).parents[2] / "docs/howto/faults.md").read_text("utf-8")
    rows = {line.split("`")[1]: line for line in guide.splitlines() if line.startswith("| `")}
    assert set(rows) == set(KINDS)
    for kind, row in rows.items():
        named = [says for says in EXPECTED[kind].says if f"`{says}`" in row]
        assert named, row
        hours = EXPECTED[kind].within_s / 3600
        assert row.rstrip().endswith(f"| {hours:g} h |" if hours > 2 else f"| {EXPECTED[kind].within_s:g} s |")
