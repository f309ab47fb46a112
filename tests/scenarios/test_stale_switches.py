"""An estimator that nobody has told of a switching: in the closed loop its branch is doubted, marked and named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandapower
import pytest

from scenarios import load
from scenarios.build import build
from vpp.grid.source import load_source
from vpp.kernel.errors import ScenarioError

TEXT = """\
# A ring whose estimator believes a line open that is closed.
network: file:ring.json
time: {start: 2016-06-21T10:00, steps: 5, step_s: 300, zone: Europe/Berlin}
fleet: [{id: load, kind: load, at: loads}]
meters:
  - {kind: voltage, at: all, sigma_pu: 0.0005}
  - {kind: heads}
  - {kind: smart, sigma: 0.02, sigma_pu: 0.0005, delay_s: 0}
estimation: {pseudo: false, stale: [%s]}
record: [voltage, loading, estimate]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """case33bw with two of its ties closed: every line is on a ring, and none is missed when it is open."""
    net, _ = load_source("pandapower:case33bw")
    net.line.loc[[32, 33], "in_service"] = True
    path = tmp_path_factory.mktemp("ring")
    pandapower.to_json(net, str(path / "ring.json"))
    return path


def case(folder: Path, stale: str) -> Path:
    path = folder / "stale.yaml"
    path.write_text(TEXT % stale)
    return path


@pytest.mark.parametrize("line", [4, 9])
def test_a_line_believed_open_is_doubted_and_named(folder: Path, line: int) -> None:
    result = load(case(folder, f"{{branch: line {line}, closed: false}}")).run(out=folder / "runs", wiring="direct")
    told, tree = result.manifest["estimate"], result.open()
    (doubted,) = told["doubted"]
    assert (doubted["branch"], doubted["estimates"], doubted["right"]) == (f"line {line}", 4, 4)
    start_ns = int(tree["time"].values[0].astype("datetime64[ns]").astype(np.int64))
    assert told["stale"] == [{"branch": f"line {line}", "found_ns": start_ns}]
    marks = tree["branches/est_doubted"].values == 1
    assert np.flatnonzero(marks.any(axis=0)).tolist() == [line]
    assert marks[1:, line].all()
    assert result.manifest["events_by_kind"]["doubted"] == 1


def test_an_estimator_that_knows_doubts_nothing(folder: Path) -> None:
    told = load(case(folder, "")).run(out=folder / "runs", wiring="direct").manifest["estimate"]
    assert (told["doubted"], told["stale"]) == ([], [])
    assert told["all"]["inside_95"] > 0.9


@pytest.mark.parametrize(
    ("stale", "says"),
    [
        ("{branch: line 99, closed: false}", "no branch 'line 99'"),
        ("{branch: line 4, closed: true}", "line 4 is closed indeed"),
        ("{branch: line 35, closed: false}", "line 35 is open indeed"),
        ("{branch: bus 3, closed: false}", "estimation.stale.0.branch"),
        ("{branch: line 4, closed: false}, {branch: line 4, closed: false}", "line 4 is there already"),
    ],
)
def test_what_is_not_stale_is_told(folder: Path, stale: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        build(load(case(folder, stale)))
