"""The golden test of the border: one decision hash in every wiring, with its negative controls.

Hashes are compared between runs on this machine, never with a constant.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scenarios import load
from scenarios.build import RunResult, build
from scenarios.journal import replay
from tests.golden.bites import CASE, CHANGED, WIRINGS, causes, chunks, run
from vpp.historian.diff import diff_runs
from vpp.historian.journal import Journal

EVERYTHING = "record=[asked, delivered, soc, voltage, loading, cause, telemetry, quality, seen]"
# One parameter of each controller of the chain, moved a little.
MOVED = {
    "orders": "orders.1.limit_mw=0.0031",
    "over_voltage": CHANGED,
    "under_voltage": "control.guards.under_voltage.vm_low_pu=1.0195",
    "soc": "control.guards.soc.soc_min=0.11",
    "ramp": "control.guards.ramp.ramp_mw_per_s=0.0000079",
    "pcc:storage": "control.guards.4.export_mw=0.021",
    "pcc:homes": "control.guards.5.export_mw=0.041",
    "pcc": "control.guards.6.export_mw=0.079",
    "schedule": "planner.wear_eur_per_mwh=30",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunResult]:
    """The case in each wiring, everything recorded."""
    out = tmp_path_factory.mktemp("runs")
    return {wiring: run(out, wiring, (EVERYTHING,)) for wiring in WIRINGS}


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunResult]:
    """The same with one limit of one controller changed."""
    out = tmp_path_factory.mktemp("changed")
    return {wiring: run(out, wiring, (EVERYTHING, CHANGED)) for wiring in WIRINGS}


def test_one_hash_in_every_wiring(runs: dict[str, RunResult]) -> None:
    assert len({result.decision_hash for result in runs.values()}) == 1
    assert {result.diverged_steps for result in runs.values()} == {0}
    assert all(result.manifest["counts"]["steps"] == 96 for result in runs.values())


def test_one_record_in_every_wiring(runs: dict[str, RunResult]) -> None:
    """Not the setpoints alone: truth, what was seen, causes and events are the same bytes."""
    first = chunks(runs["direct"])
    assert len(first) > 30
    for wiring in WIRINGS[1:]:
        assert chunks(runs[wiring]) == first
        assert diff_runs(runs["direct"].path, runs[wiring].path) is None
        for name in ("summary", "events_by_kind", "counts"):
            assert runs[wiring].manifest[name] == runs["direct"].manifest[name]
    journals = [Journal(result.path) for result in runs.values()]
    for k in range(96):
        rows = [{name: array.tobytes() for name, array in journal.read(k).items()} for journal in journals]
        assert rows[1] == rows[0]
        assert rows[2] == rows[0]
    assert journals[0].read_news() == journals[1].read_news() == journals[2].read_news()


def test_every_controller_of_the_chain_binds(runs: dict[str, RunResult]) -> None:
    found = set(causes(runs["direct"]).ravel().tolist())
    chain = build(load(CASE)).chain
    assert {controller.name for controller in chain.controllers} <= found
    assert {"nobody", "availability", "silence"} <= found
    assert len(chain.controllers) == 9


@pytest.mark.parametrize("controller", MOVED)
def test_every_controller_decides_something(controller: str, runs: dict[str, RunResult], tmp_path: Path) -> None:
    """A small change of one parameter of any of them changes the hash."""
    assert run(tmp_path, overrides=(MOVED[controller],)).decision_hash != runs["direct"].decision_hash


def test_one_changed_limit_changes_all_wirings_alike(runs: dict[str, RunResult], changed: dict[str, RunResult]) -> None:
    assert len({result.decision_hash for result in changed.values()}) == 1
    assert changed["direct"].decision_hash != runs["direct"].decision_hash


@pytest.mark.parametrize("wiring", WIRINGS)
def test_diff_names_the_first_tick_and_signal(wiring: str, runs: dict[str, RunResult], changed: dict[str, RunResult]) -> None:
    """The same tick and signal as comparing the arrays by hand."""
    found = diff_runs(runs[wiring].path, changed[wiring].path)
    assert found is not None
    a, b = runs[wiring].open(), changed[wiring].open()
    first: dict[str, int] = {}
    for group in a.children:
        for name in a[group].data_vars:
            x, y = a[group][name].values, b[group][name].values
            unequal = (x != y) & ~((x != x) & (y != y))
            rows = np.flatnonzero(unequal.reshape(len(x), -1).any(axis=1))
            if rows.size:
                first[f"{group}/{name}"] = int(rows[0])
    step = min(first.values())
    assert found.step == step > 0
    assert set(found.signals) == {name for name, k in first.items() if k == step}
    assert (found.group, found.signal) == ("resources", "asked_p_mw")
    assert found.time == a["time"].values[step]
    assert found.count > 0
    assert all(name.startswith(("roof", "pv", "battery")) for name in found.ids)
    assert f"(step {step}), resources/asked_p_mw" in str(found)


def test_another_seed_gives_another_hash(runs: dict[str, RunResult], tmp_path: Path) -> None:
    assert run(tmp_path, overrides=("seed=2",)).decision_hash != runs["direct"].decision_hash


def test_the_same_again_is_the_same_to_the_byte(runs: dict[str, RunResult], tmp_path: Path) -> None:
    again = run(tmp_path, "mosaik", (EVERYTHING,))
    assert again.path.name == runs["mosaik"].path.name
    assert again.decision_hash == runs["mosaik"].decision_hash
    assert chunks(again) == chunks(runs["mosaik"])


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_changes_nothing(threads: int, runs: dict[str, RunResult], tmp_path: Path) -> None:
    names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    code = (
        "import os, pathlib, sys; from scenarios import load;"
        f"result = load({CASE!r}).run(out=pathlib.Path(sys.argv[1]), wiring='direct');"
        "import numba; print(numba.config.NUMBA_NUM_THREADS, result.decision_hash)"
    )
    env = {**os.environ, **dict.fromkeys(names, str(threads))}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=env, capture_output=True, text=True, check=True)
    used, digest = done.stdout.split()
    assert int(used) == threads
    assert digest == runs["direct"].decision_hash


@pytest.mark.parametrize("wiring", WIRINGS)
def test_replay_decides_as_recorded(wiring: str, runs: dict[str, RunResult]) -> None:
    """Today's controllers over what was seen then, in a fresh chain: the recorded hash."""
    assert replay(runs[wiring].path, build(load(CASE)).chain) == runs[wiring].decision_hash


@pytest.mark.parametrize("controller", [name for name in MOVED if name not in ("orders", "schedule")])
def test_replay_with_a_changed_controller_differs(controller: str, runs: dict[str, RunResult]) -> None:
    """Orders and plans are part of what was seen; a guard's own limit is not."""
    assert replay(runs["direct"].path, build(load(CASE, (MOVED[controller],))).chain) != runs["direct"].decision_hash


def test_without_controllers_nothing_is_asked_in_any_wiring(tmp_path: Path) -> None:
    """An uncontrolled run: the devices' own curves only, and no simulator that stands for controllers."""
    nobody = ("control.proposers=[]", "control.guards=[]", "planner=null", "orders=[]")
    results = {wiring: run(tmp_path / wiring, wiring, nobody) for wiring in WIRINGS}
    first = results["direct"]
    assert {result.decision_hash for result in results.values()} == {first.decision_hash}
    assert chunks(results["mosaik"]) == chunks(results["far"]) == chunks(first)
    opened = first.open()
    assert np.all(opened["resources/asked_p_mw"].values == 0.0)
    assert np.all(causes(first) == "nobody")
    assert float(opened["system/curtailed_mw"].max()) == 0.0
