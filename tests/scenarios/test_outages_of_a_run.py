"""N-1 at one moment of a run: from the record, the same as from the state itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from scenarios import load
from scenarios.build import RunResult, build, run
from scenarios.outages import outages_of_run
from scenarios.schema.plant import Contingencies
from tests.scenarios.conftest import GOOD, findings
from vpp.grid.contingency import analyse, single_outages
from vpp.grid.limits import Limits
from vpp.kernel.errors import RunError

TEXT = """\
# Outages of an open ring at its fullest quarter-hour.
extends: mv-open-ring
planner: null
market: null
time: {start: 2016-06-21T09:00, days: null, steps: 12}
contingencies: {emergency: 1.2}
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    folder = tmp_path_factory.mktemp("outages")
    path = folder / "ring.yaml"
    path.write_text(TEXT)
    return run(load(path), out=folder / "runs", wiring="direct")


def test_every_outage_of_the_fullest_step_is_told(result: RunResult) -> None:
    told, tree = result.manifest["contingencies"], result.open()
    peak = np.nanmax(tree["branches/loading"].values, axis=1)
    assert (told["step"], told["why"]) == (int(np.argmax(peak)), "highest loading")
    network = build(load("mv-open-ring")).network
    bus = tree["resources/bus"].values.astype(np.int32)
    p, q = (
        network.scatter(bus, tree[f"resources/delivered_{name}"].values[told["step"]].astype(float))
        for name in ("p_mw", "q_mvar")
    )
    direct = analyse(network, single_outages(network), p, q, Limits(0.9, 1.1, 1.0, 1.2))
    order = direct.ranking()
    assert told["outages"] == len(direct.outages) > 100
    assert [c["outage"] for c in told["cases"]] == [direct.outages.outages[k].name for k in order[:60]]
    assert [c["lost_load_mw"] for c in told["cases"]] == direct.lost.load_mw[order[:60]].tolist()
    assert told["cut_off"] == (direct.lost.buses > 0).sum()
    assert told["unsolved"] == (~direct.converged).sum()
    assert told["caused"] == direct.violations.caused.sum()
    base = tree["branches/loading"].values[told["step"]]
    loading = network.branch_flows(direct.v_base).loading
    np.testing.assert_allclose(loading[np.isfinite(base)], base[np.isfinite(base)], atol=2e-5)


def test_what_is_cut_off_is_named_with_the_tie_that_helps(result: RunResult) -> None:
    """In an open ring every line cuts something off, and most of it can be supplied from the other side."""
    cases = result.manifest["contingencies"]["cases"]
    lost = [c for c in cases if c["state"] == "lost"]
    assert lost
    assert all(c["lost_buses"] > 0 for c in lost)
    assert [c for c in cases[:12] if c["restored_by"]], "a ring has ties"
    assert all(c["restored_by"] is None for c in cases[12:])


def test_another_moment_and_other_kinds(result: RunResult) -> None:
    told = outages_of_run(result.path, Contingencies(at="10:00", kinds=("trafo",)))
    assert (told["step"], told["why"]) == (4, "at 10:00")
    assert 0 < told["outages"] < 10
    assert outages_of_run(result.path) == result.manifest["contingencies"]
    steps: list[tuple[int, int]] = []
    outages_of_run(result.path, progress=lambda done, all_: steps.append((done, all_)))
    assert steps[-1][0] == steps[-1][1] == result.manifest["contingencies"]["outages"]


def test_what_cannot_be_told_is_said(result: RunResult, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="12:30 is not in the 12 steps"):
        outages_of_run(result.path, Contingencies(at="12:30"))
    bare = tmp_path / "bare.yaml"
    bare.write_text("# B.\nextends: lv-rural-street\nplanner: null\ntime: {days: null, steps: 2}\nrecord: [voltage]\n")
    path = run(load(bare), out=tmp_path / "runs", wiring="direct").path
    with pytest.raises(RunError, match="record: \\[delivered"):
        outages_of_run(path)
    manifest = (path / "manifest.json").read_text()
    copy = tmp_path / "copy"
    shutil.copytree(result.path, copy)
    (copy / "manifest.json").write_text(manifest)
    with pytest.raises(RunError, match="other buses"):
        outages_of_run(copy)


def test_without_loading_the_highest_exchange_counts(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    path.write_text("# B.\nextends: lv-rural-street\nplanner: null\ntime: {days: null, steps: 8}\nrecord: [delivered]\n")
    result = run(load(path), out=tmp_path / "runs", wiring="direct")
    told = outages_of_run(result.path)
    exchange = np.abs(result.open()["system/exchange_p_mw"].values)
    assert (told["step"], told["why"]) == (int(np.argmax(exchange)), "highest exchange")
    assert "contingencies" not in result.manifest


def test_an_analysis_that_cannot_be_made_leaves_a_complete_run(tmp_path: Path) -> None:
    path = tmp_path / "case.yaml"
    text = "# B.\nextends: lv-rural-street\nplanner: null\ntime: {days: null, steps: 2}\ncontingencies: {at: '12:00'}\n"
    path.write_text(text)
    manifest = run(load(path), out=tmp_path / "runs", wiring="direct").manifest
    assert manifest["status"] == "complete"
    assert "12:00 is not in the 2 steps" in manifest["contingencies"]["trouble"]


def test_delivered_has_to_be_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("case.yaml").write_text(GOOD + "contingencies: {}\nrecord: [voltage]\n")
    (found,) = findings("case.yaml")
    assert "add delivered to record" in found.message
