"""Channels and faults: one run in every wiring; every kind of fault is noticed in time; a clean day brings no alarm."""

from __future__ import annotations

import pickle
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenarios import load
from scenarios.build import System, build
from scenarios.check import check
from scenarios.journal import replay
from scenarios.schema.faults import plan_of
from scenarios.site import site_of
from tests.golden.bites import CASE, WIRINGS, Kept, chunks, run
from tests.golden.test_restart import Told, steps
from tests.golden.watched import watched
from twin.faults import EXPECTED, KINDS, verdicts
from vpp.historian.events import read_events
from vpp.kernel.seen import Event
from vpp.kernel.setpoints import Asked

CHANNELS = (
    "communications={channels: ["
    "{name: radio, resources: [roof, battery], latency_s: 900, jitter_s: 1800, loss: 0.1, lease_s: 3600, stale_s: 1800,"
    " meters: true, mtbf_h: 8, mttr_h: 0.7},"
    "{name: wire, resources: [pv, house], loss: 0.1, per_resource: true, latency_s: 500, in_order: false}]}"
)
FAULTS = (
    "faults={scripted: ["
    "{kind: trip, resources: roof-11, at: '11:00', until: '12:00'},"
    "{kind: reboot, resources: battery-3, at: '03:00'},"
    "{kind: meter_swap, resources: roof-0*, at: '11:00', until: '12:00'},"
    "{kind: drifting_sensor, resources: house-01, at: '10:00', rate_per_h: 0.2},"
    "{kind: stuck_setpoint, resources: battery-4, at: '03:00'},"
    "{kind: frozen_sensor, resources: battery-5, at: '05:00'},"
    "{kind: wrong_sign, resources: battery-6, at: '02:00'},"
    "{kind: wrong_meter_sign, resources: house-02, at: '06:00', until: '09:00'},"
    "{kind: derating, part: 0.3, resources: roof-12, at: '13:00', until: '14:00'},"
    "{kind: lost_link, resources: roof-13, at: '15:00', until: '16:00'}],"
    "random: {trip: 20, reboot: 30, meter_swap: 20, drifting_sensor: 30}}"
)
DISTURBED = (CHANNELS, FAULTS)
EVERYTHING = "record=[asked, delivered, soc, voltage, loading, cause, telemetry, quality, seen]"
# Which finding is the right one, and not only one of those that would do.
RIGHT = {
    "trip": "not-responding", "derating": "deviation", "stuck_setpoint": "stuck-setpoint", "wrong_sign": "wrong-sign",
    "wrong_meter_sign": "wrong-sign", "frozen_sensor": "frozen", "lost_link": "silent", "reboot": "silent",
    "meter_swap": "swapped",
}  # fmt: skip
DRIFTS = {"p_mw": "deviation", "vm_pu": "implausible", "soc": "implausible"}
BAD_DAY = sorted(plan_of(load("bad-day").faults).scripted, key=lambda fault: fault.at)  # as they begin


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The case in which every controller bites, disturbed, in each wiring."""
    out = tmp_path_factory.mktemp("disturbed")
    return {wiring: run(out, wiring, (EVERYTHING, *DISTURBED)) for wiring in WIRINGS}


def test_one_run_in_every_wiring(runs: dict[str, Any]) -> None:
    """With the fleet in another process what is adopted there meets the same channels and faults."""
    first = runs["direct"]
    assert {result.decision_hash for result in runs.values()} == {first.decision_hash}
    for wiring in WIRINGS[1:]:
        assert chunks(runs[wiring]) == chunks(first)
        for name in ("summary", "events_by_kind", "counts", "faults", "noticed"):
            assert runs[wiring].manifest[name] == first.manifest[name]
        assert read_events(runs[wiring].path).equals(read_events(first.path))


@pytest.mark.parametrize("less", [(CHANNELS,), (FAULTS,), ()])
def test_channels_and_faults_both_change_what_is_decided(less: tuple[str, ...], runs: dict[str, Any], tmp_path: Path) -> None:
    assert run(tmp_path, overrides=less).decision_hash != runs["direct"].decision_hash


def test_another_seed_breaks_other_things(runs: dict[str, Any], tmp_path: Path) -> None:
    other = run(tmp_path, overrides=("seed=2", *DISTURBED))
    assert other.decision_hash != runs["direct"].decision_hash
    assert other.manifest["faults"] != runs["direct"].manifest["faults"]


@pytest.mark.parametrize("wiring", WIRINGS)
def test_replay_decides_as_recorded(wiring: str, runs: dict[str, Any]) -> None:
    assert replay(runs[wiring].path, build(load(CASE, DISTURBED)).chain) == runs[wiring].decision_hash


def test_the_record_tells_of_every_fault(runs: dict[str, Any]) -> None:
    manifest, events = runs["direct"].manifest, read_events(runs["direct"].path)
    told = events[events.kind == "fault"]
    assert len(told) == len(manifest["faults"]) == manifest["events_by_kind"]["fault"] > 10
    for row, event in zip(sorted(manifest["faults"], key=lambda f: f["begin_ns"]), told.sort_values("time_ns").itertuples()):
        assert row["begin_ns"] == event.time_ns
        its = manifest["faults"][int(event.value)]
        assert its["begin_ns"] == event.time_ns
        assert event.text.startswith(its["kind"].replace("_", " "))
        assert event.subject == its["resources"][0]


@pytest.mark.parametrize("at", [13, 40, 61])
def test_restored_in_fresh_objects_the_rest_is_the_same(at: int) -> None:
    def fresh() -> System:
        system = build(load(CASE, DISTURBED))
        system.desk.close()
        return system

    system = build(load(CASE, DISTURBED))
    try:
        last, _, _ = steps(system, system.desk, Asked.nothing(system.plant.fleet.n), 0, at)
        saved = pickle.dumps((system.plant.state(), system.chain.state(), last))
        _, news, expected = steps(system, system.desk, last, at, 96)
    finally:
        system.desk.close()
    other = fresh()
    plant, chain, last = pickle.loads(saved)
    other.plant.restore(plant)
    other.chain.restore(chain)
    assert steps(other, Told(news), last, at, 96)[2] == expected


@cache
def bad_day(clean: bool = False) -> tuple[Kept, list[Event]]:
    """The shipped day on which everything breaks, and the same day on which nothing does; what the guard said."""
    quiet = ("faults=[]", "communications={channels: []}") if clean else ()
    kept = watched("bad-day", quiet)
    return kept, [e for record in kept.records for e in record.decision.events if e.source == "performance"]


@pytest.mark.parametrize("number", range(len(BAD_DAY)), ids=[f"{f.kind}-{f.quantity or ''}" for f in BAD_DAY])
def test_every_fault_is_noticed_in_time(number: int) -> None:
    """By the right finding, about the one who has it, and not before it begins."""
    kept, events = bad_day()
    disturbed = kept.system.plant.devices.spec.disturbed
    assert disturbed is not None
    assert disturbed.faults is not None
    fault = disturbed.faults.faults[number]
    right = DRIFTS[("p_mw", "q_mvar", "vm_pu", "soc")[fault.quantity]] if fault.kind == "drifting_sensor" else RIGHT[fault.kind]
    names = {kept.system.plan.id[i] for i in fault.resource}
    said = [e.time_ns for e in events if e.kind == right and e.subject in names]
    within_ns = round(disturbed.faults.within_s(fault) * 1e9)
    assert any(fault.begin_ns <= t <= fault.begin_ns + within_ns for t in said), (fault.kind, right)
    assert right in EXPECTED[fault.kind].says
    (verdict,) = [v for v in verdicts(disturbed.faults, kept.system.plan.id, events) if v.fault == number]
    assert verdict.in_time


def test_the_bad_day_has_every_kind_of_fault() -> None:
    assert {fault.kind for fault in BAD_DAY} == set(KINDS)


def test_nobody_else_is_suspected_on_the_bad_day() -> None:
    """Apart from silence, which the channels bring too, findings are about whoever has a fault then, or stands beside it."""
    kept, events = bad_day()
    disturbed = kept.system.plant.devices.spec.disturbed
    assert disturbed is not None
    assert disturbed.faults is not None
    ids, node = kept.system.plan.id, kept.system.plant.fleet.terminal.node
    for event in events:
        if event.kind in ("silent", "recovered"):
            continue
        i = ids.index(event.subject)
        guilty = [f for f in disturbed.faults.faults if np.isin(node[f.resource], node[i]).any()]
        assert any(f.begin_ns <= event.time_ns <= f.end_ns + 3600 * 10**9 for f in guilty), event


def test_a_clean_day_with_noise_brings_no_alarm() -> None:
    kept, events = bad_day(clean=True)
    assert len(kept.records) == 1440
    assert events == []


def test_the_shipped_scenario_has_no_finding() -> None:
    scenario = load("bad-day")
    site = site_of(scenario)
    assert check(scenario, site.network, site.profiles) == []
