"""A step without a network solution in the middle of a run: NaN, counted, named, and over with the next step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import scenarios.build
from scenarios.build import RunResult, System, build
from scenarios.journal import replay
from scenarios.schema import Scenario
from tests.golden.bites import WIRINGS, run
from vpp.historian.journal import Journal
from vpp.kernel import quality

STEP = 30
RECORD = "record=[asked, delivered, soc, voltage, loading, cause, quality, telemetry, seen]"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunResult]:
    """The case in each wiring, with all consumption 500-fold in one quarter of an hour."""

    def doctored(scenario: Scenario, outside: Sequence[str] = ()) -> System:
        system = build(scenario, outside)
        profiles = system.plant.devices.spec.profiles
        profiles.factor[profiles.row[STEP]] *= 500
        return system

    out = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenarios.build, "build", doctored)
        return {wiring: run(out, wiring, (RECORD, "sensors.delay_s=0", "sensors.loss=0")) for wiring in WIRINGS}


def test_it_is_counted_and_the_run_completes(runs: dict[str, RunResult]) -> None:
    for result in runs.values():
        assert result.diverged_steps == 1
        counts = result.manifest["counts"]
        assert (counts["diverged_steps"], counts["first_diverged"]) == (1, [STEP])
        assert (result.manifest["status"], result.manifest["steps_recorded"]) == ("complete", 96)
        assert all(value is not None and np.isfinite(value) for value in result.manifest["summary"].values())
    assert len({result.decision_hash for result in runs.values()}) == 1


@pytest.mark.parametrize("wiring", WIRINGS)
def test_everything_of_it_is_nan_and_nothing_else(wiring: str, runs: dict[str, RunResult]) -> None:
    tree = runs[wiring].open()
    others = np.arange(96) != STEP
    assert np.array_equal(tree["system/converged"].values, others)
    for name in ("resources/delivered_p_mw", "resources/delivered_q_mvar", "buses/vm_pu", "branches/loading"):
        values = tree[name].values
        known = np.isfinite(values[others]).all(axis=0)
        assert known.any(), name
        assert np.isnan(values[STEP]).all(), name
    for name in ("exchange_p_mw", "exchange_q_mvar", "losses_mw", "delivered_p_mw", "curtailed_mw"):
        values = tree[f"system/{name}"].values
        assert np.isnan(values[STEP]), name
        assert np.isfinite(values[others]).all(), name
    assert np.isfinite(tree["resources/asked_p_mw"].values).all()
    assert np.isfinite(tree["resources/soc"].values[:, -8:]).all()


@pytest.mark.parametrize("wiring", WIRINGS)
def test_controllers_see_that_nothing_is_known(wiring: str, runs: dict[str, RunResult]) -> None:
    journal = Journal(runs[wiring].path)
    bad = [k for k in range(96) if (journal.read(k)["quality"] != quality.GOOD).any()]
    assert bad == [STEP]
    row = journal.read(STEP)
    assert (row["quality"] == quality.INVALID).all()
    assert np.isnan(row["telemetry"][:3]).all()
    assert (row["source_ns"] == journal.read(STEP - 1)["time_ns"]).all()
    assert np.isnan(row["points"]).all()
    assert (row["points_quality"] == quality.INVALID).all()


def test_it_can_be_replayed(runs: dict[str, RunResult]) -> None:
    result = runs["mosaik"]
    from scenarios import load

    chain = build(load("every-controller-bites", ("sensors.delay_s=0", "sensors.loss=0"))).chain
    assert replay(result.path, chain) == result.decision_hash


def test_the_step_after_is_as_if_it_had_not_been(runs: dict[str, RunResult], tmp_path: Path) -> None:
    """But for what controllers and batteries did because of it: loads, and PV where nobody limits it, deliver the same."""
    plain = run(tmp_path, overrides=(RECORD, "sensors.delay_s=0", "sensors.loss=0")).open()
    tree = runs["direct"].open()
    load_ = tree["resources"]["kind"].values == "load"
    before, after = plain["resources/delivered_p_mw"].values, tree["resources/delivered_p_mw"].values
    assert np.array_equal(before[:STEP], after[:STEP])
    assert np.array_equal(before[STEP + 1 :, load_], after[STEP + 1 :, load_])
    assert np.isfinite(after[STEP + 1]).all()
