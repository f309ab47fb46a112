"""Interrupted runs can be read; saved and restored, chain and twin go on as if nothing had happened."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenarios import load
from scenarios.build import System, build
from scenarios.journal import replay
from tests.golden.bites import CASE, CHANGED, WIRINGS, run
from vpp.historian.read import list_runs, open_run, read_manifest
from vpp.kernel.seen import News, Seen
from vpp.kernel.setpoints import Asked
from vpp.kernel.tick import DecisionHash, tick

HALF, SAVED, ALL = 48, 40, 96
RECORD = "record=[asked, delivered, soc, voltage, loading, cause, seen]"


@pytest.mark.parametrize("wiring", WIRINGS)
def test_an_interrupted_run_is_readable_with_all_its_steps(wiring: str, tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", wiring, (RECORD,)).open()

    def stop(done: int, steps: int) -> None:
        assert steps == ALL
        if done == HALF:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "part", wiring, (RECORD,), progress=stop)
    (found,) = list_runs(tmp_path / "part" / wiring)
    assert (found.status, found.steps_recorded, found.steps_planned) == ("interrupted", HALF, ALL)
    manifest = read_manifest(found.path)
    assert manifest["counts"]["steps"] == HALF
    assert manifest["summary"]["energy_import_mwh"] > 0
    part = open_run(found.path)
    compared = 0
    for group in whole.children:
        for name in whole[group].data_vars:
            a, b = whole[group][name].values, part[group][name].values
            assert len(b) == HALF
            assert np.array_equal(a[:HALF], b, equal_nan=a.dtype.kind == "f"), name
            compared += 1
    assert compared > 15
    assert part["time"].values.tolist() == whole["time"].values[:HALF].tolist()
    assert replay(found.path, build(load(CASE)).chain) == manifest["decision_hash"]


def test_a_failing_run_says_why_and_is_readable(tmp_path: Path) -> None:
    def fail(done: int, steps: int) -> None:
        if done == HALF:
            raise RuntimeError("the lamp fell over")

    with pytest.raises(RuntimeError, match="lamp"):
        run(tmp_path, progress=fail)
    (found,) = list_runs(tmp_path / "direct")
    assert (found.status, found.steps_recorded, found.reason) == ("failed", HALF, "the lamp fell over")
    assert open_run(found.path)["resources/delivered_p_mw"].shape[0] == HALF


@dataclass
class Told:
    """An inbox that tells again what a former run was told."""

    news: dict[int, News]

    def take(self, now_ns: int) -> News:
        """Give the news of this tick."""
        return self.news[now_ns]

    def note(self, now_ns: int, seen: Seen) -> None:
        """Nobody plans here."""


def steps(system: System, inbox: Any, last: Asked, begin: int, end: int) -> tuple[Asked, dict[int, News], str]:
    """Run some steps: the last asked, the news, the decision hash of these steps."""
    plant, news, digest = system.plant, {}, DecisionHash(system.plant.fleet.n)
    for k in range(begin, end):
        now_ns = int(plant.time_ns[k])
        plant.advance()
        record = tick(now_ns, plant, inbox, system.chain, last)
        last, news[now_ns] = record.decision.asked, record.seen.news
        digest.add(last)
    return last, news, digest.hexdigest()


def struck(overrides: tuple[str, ...] = ()) -> System:
    """The case with no network solution in the last step before it is saved: the first tick after has no good meter."""
    system = build(load(CASE, overrides))
    profiles = system.plant.devices.spec.profiles
    profiles.factor[profiles.row[SAVED - 1]] *= 500
    return system


@pytest.mark.parametrize("engine", ["tree", "lightsim2grid"])
def test_restored_in_fresh_objects_the_rest_is_the_same(engine: str) -> None:
    """96 steps, against 40, saved as bytes, restored in a fresh system, and the other 56; a changed limit shows."""
    overrides = (f"engine={engine}",)
    system = struck(overrides)
    try:
        last, _, _ = steps(system, system.desk, Asked.nothing(system.plant.fleet.n), 0, SAVED)
        saved = pickle.dumps((system.plant.state(), system.chain.state(), last))
        _, news, expected = steps(system, system.desk, last, SAVED, ALL)
    finally:
        system.desk.close()
    for extra in ((), (CHANGED,)):
        fresh = struck((*overrides, *extra))
        fresh.desk.close()
        plant, chain, last = pickle.loads(saved)
        fresh.plant.restore(plant)
        fresh.chain.restore(chain)
        _, _, found = steps(fresh, Told(news), last, SAVED, ALL)
        assert (found == expected) == (extra == ())


@pytest.mark.parametrize("forgetful", ["over_voltage", "under_voltage", "pcc"])
def test_without_a_controller_s_state_the_rest_differs(forgetful: str) -> None:
    """The negative control: they do remember something."""
    system = struck()
    try:
        last, _, _ = steps(system, system.desk, Asked.nothing(system.plant.fleet.n), 0, SAVED)
        plant, chain = system.plant.state(), system.chain.state()
        _, news, expected = steps(system, system.desk, last, SAVED, ALL)
    finally:
        system.desk.close()
    fresh = struck()
    fresh.desk.close()
    chain[forgetful] = fresh.chain.state()[forgetful]
    fresh.plant.restore(plant)
    fresh.chain.restore(chain)
    assert steps(fresh, Told(news), last, SAVED, ALL)[2] != expected


def test_chain_state_is_arrays() -> None:
    """What can be saved can be sent: arrays by name, nothing else."""
    system = build(load(CASE))
    system.desk.close()
    state = system.chain.state()
    assert set(state) == {controller.name for controller in system.chain.controllers}
    for values in state.values():
        assert all(isinstance(value, np.ndarray) for value in values.values())
