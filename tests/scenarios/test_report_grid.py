"""The report's sections of the network: estimate, limits and outages, in numbers, plots and tables."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from scenarios import load
from scenarios.build import RunResult
from scenarios.report import data as reading
from scenarios.report.data import read_run
from scenarios.report.grid_figures import grid_figures
from scenarios.report.grid_rows import estimate_rows
from scenarios.report.page import page, write_page
from tests.scenarios.small_runs import vpp
from tests.scenarios.test_report import FLAGS

TEXT = """\
# A street with meters, of which one goes wrong.
extends: lv-rural-street
planner: null
time: {start: 2016-06-21T10:00, days: null, steps: 24, step_s: 300}
meters:
  - {kind: voltage}
  - {kind: heads}
  - {kind: smart}
meter_errors:
  - {meter: vm bus 5, at: "10:30", until: "11:00", error: -0.05}
estimation: {}
limits: {vm_low_pu: 1.0, vm_high_pu: 1.029, loading: 0.3, reverse_mw: 0.02}
contingencies: {}
record: [asked, delivered, voltage, loading, reverse, estimate]
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    folder = tmp_path_factory.mktemp("street")
    path = folder / "street.yaml"
    path.write_text(TEXT.replace("{kind: smart}", "{kind: smart, delay_s: 0}"))
    return load(path).run(out=folder / "runs", wiring="direct")


def unpacked(numbers: dict[str, Any]) -> np.ndarray:
    """What plotly reads."""
    return np.frombuffer(base64.b64decode(numbers["bdata"]), f"<{numbers['dtype']}")


def drawn(path: Path) -> dict[str, list[Any]]:
    """Figures by topic."""
    data = read_run(path)
    out: dict[str, list[Any]] = {}
    for topic, figure in grid_figures(data.grid, data.manifest):
        out.setdefault(topic, []).append(figure)
    return out


def test_an_estimate_is_drawn_at_the_moment_that_it_describes(result: RunResult) -> None:
    tree = result.open()
    error = tree["buses/est_vm_pu"].values[1:] - tree["buses/vm_pu"].values[:-1]
    worst = int(np.argmax(np.sum(error**2, axis=0)))
    figure = drawn(result.path)["estimate"][0]
    assert figure.title == f"Voltage at {tree['buses']['name'].values[worst]}"
    traces = {trace["name"]: unpacked(trace["y"]) for trace in figure.traces if trace["name"]}
    np.testing.assert_allclose(traces["true"][:-1], tree["buses/vm_pu"].values[:, worst], atol=1e-6)
    np.testing.assert_allclose(traces["estimated"][:23], tree["buses/est_vm_pu"].values[1:, worst], atol=1e-6)
    assert np.isnan(traces["estimated"][23:]).all()  # nobody has estimated the last step yet
    low = tree["buses/est_vm_pu"].values[1:, worst] - 1.96 * tree["buses/est_sigma_pu"].values[1:, worst]
    np.testing.assert_allclose(traces["95 % interval"][:23], low, atol=2e-6)
    assert any(trace.get("fill") for trace in figure.traces)


def test_measured_values_stand_at_their_moment_and_false_ones_are_marked(tmp_path: Path) -> None:
    """Bus 5 comes nearest to its limit by the false meter alone; told 10 minutes late, a value is drawn where it was measured."""
    path = tmp_path / "late.yaml"
    text = TEXT.replace("{kind: smart}", "{kind: smart, delay_s: 600}").replace("error: -0.05", "error: -0.2")
    path.write_text(text.replace("vm_low_pu: 1.0,", "vm_low_pu: 0.9,"))
    late = load(path).run(out=tmp_path / "runs", wiring="direct")
    tree, found = late.open(), read_run(late.path)
    for curve in found.grid.curves:
        if "measured" not in curve.values:
            continue
        bus = tree["buses"]["name"].values.tolist().index(curve.name)
        meters = tree["meters"]
        (m,) = np.flatnonzero((meters["bus"].values == bus) & (meters["quantity"].values == "vm_pu"))
        seen = np.where(np.isfinite(curve.values["measured"]), curve.values["measured"], curve.values["suspect"])
        shift = round(float(np.nanmax(meters["age_s"].values[:, m])) / 300)
        np.testing.assert_allclose(seen[: 24 - shift], meters["value"].values[shift:, m], atol=1e-6)
        assert np.isnan(seen[24 - shift :]).all()
    assert any("measured" in curve.values for curve in found.grid.curves)


def test_broken_limits_and_outages_are_drawn_as_they_were_told(result: RunResult) -> None:
    figures = drawn(result.path)
    tree = result.open()
    (broken,) = figures["limits"]
    traces = {trace["name"]: unpacked(trace["y"])[:-1] for trace in broken.traces}
    assert traces["reverse power"].tolist() == tree["limits/reverse"].values.tolist()
    assert traces["loading"].tolist() == tree["limits/loading"].values.tolist()
    cut = figures["outages"][0]
    cases = [c for c in result.manifest["contingencies"]["cases"] if c["lost_load_mw"] + c["lost_generation_mw"] > 0][:15]
    assert cut.traces[0]["x"] == [case["lost_load_mw"] for case in cases]
    assert cut.traces[0]["y"] == [case["outage"] for case in cases]
    assert cut.layout()["xaxis"]["title"]["text"] == "MW"


def test_suspicions_are_drawn(result: RunResult) -> None:
    figure = next(f for f in drawn(result.path)["estimate"] if f.title == "Suspicions")
    traces = {trace["name"]: unpacked(trace["y"])[:-1] for trace in figure.traces}
    assert np.flatnonzero(traces["points taken out"] == 1).tolist() == list(range(7, 13))


def test_the_page_says_it_in_words_and_tables(result: RunResult) -> None:
    text = re.sub(r"<script\b.*?</script>", "", page(read_run(result.path)), flags=re.DOTALL)
    for title in ("Estimate", "Limits", "Outages", "Gross errors", "Violations", "Outages, ranked", "Limits that outages break"):
        assert f"<h2>{title}" in text, title
    assert "<td>vm bus 5</td><td>-0.05</td><td>2016-06-21 10:30 to 2016-06-21 11:00</td><td>after 5 min</td>" in text
    worst = result.manifest["contingencies"]["cases"][0]
    assert f"<td>1</td><td>{worst['outage']}</td><td>lost</td>" in text


def test_a_run_without_them_has_none_of_the_sections(tmp_path: Path) -> None:
    path = tmp_path / "plain.yaml"
    path.write_text("# P.\nextends: lv-rural-street\nplanner: null\ntime: {days: null, steps: 3}\n")
    plain = load(path).run(out=tmp_path / "runs", wiring="direct")
    text = page(read_run(plain.path))
    assert '<section class="topic" id="limits">' in text
    assert 'id="estimate"' not in text
    assert 'id="outages"' not in text


def test_a_killed_run_tells_the_same_from_its_series(result: RunResult, tmp_path: Path) -> None:
    shutil.copytree(result.path, tmp_path / "copy")
    manifest = json.loads((tmp_path / "copy" / "manifest.json").read_text())
    said = {name: manifest.pop(name) for name in ("estimate", "limits", "contingencies")}
    (tmp_path / "copy" / "manifest.json").write_text(json.dumps(manifest | {"status": "running"}))
    found = read_run(tmp_path / "copy").manifest
    assert found["status"] == "killed"
    for name in ("estimates", "judged", "diverged", "unobservable"):
        assert found["estimate"][name] == said["estimate"][name]
    assert found["estimate"]["all"]["rmse_pu"] == pytest.approx(said["estimate"]["all"]["rmse_pu"], rel=1e-3)
    assert found["estimate"]["all"]["inside_95"] == pytest.approx(said["estimate"]["all"]["inside_95"], abs=1e-4)
    want = [{k: s[k] for k in ("point", "estimates", "first_ns", "last_ns")} for s in said["estimate"]["suspects"]]
    assert sorted(found["estimate"]["suspects"], key=lambda s: s["point"]) == sorted(want, key=lambda s: s["point"])
    assert found["limits"]["counts"] == said["limits"]["counts"]
    for a, b in zip(found["limits"]["violations"], said["limits"]["violations"], strict=True):
        assert (a["quantity"], a["position"], a["at_ns"], a["hours"]) == (b["quantity"], b["position"], b["at_ns"], b["hours"])
        assert a["value"] == pytest.approx(b["value"], abs=2e-5)
    assert list(estimate_rows(found["estimate"]))


def test_many_steps_become_few_points(result: RunResult, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_run(result.path)
    monkeypatch.setattr(reading, "POINTS", 12)
    few = read_run(result.path)
    assert len(few.time_ns) == 12
    np.testing.assert_allclose(
        few.grid.broken["loading"], whole.grid.broken["loading"].reshape(12, 2).max(axis=1)
    )  # fmt: skip
    assert {len(values) for curve in few.grid.curves for values in curve.values.values()} == {12}


def test_it_opens_in_a_browser(result: RunResult, tmp_path: Path) -> None:
    write_page(read_run(result.path), tmp_path / "report.html")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert chromium, "no chromium found (Debian: apt-get install chromium)"
    told: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        tab = browser.new_page(viewport={"width": 1400, "height": 1000})
        tab.on("console", lambda message: told.append(message.text))
        tab.on("pageerror", lambda error: told.append(str(error)))
        tab.goto((tmp_path / "report.html").as_uri())
        tab.locator("#outages .plot .main-svg").first.wait_for(state="attached")
        bars = tab.evaluate("document.querySelectorAll('#outages .plot .bars .point').length")
        ranges = "Array.from(document.querySelectorAll('.plot'), p => p.layout.xaxis.type)"
        tab.evaluate("Plotly.relayout('plot-0', {'xaxis.range[0]': '2016-06-21 10:30', 'xaxis.range[1]': '2016-06-21 11:00'})")
        zoomed = "document.querySelector('#estimate .plot').layout.xaxis.range[0].startsWith('2016-06-21 10:30')"
        assert tab.evaluate(
            f"new Promise(done => {{ const look = () => {zoomed} ? done(true) : setTimeout(look, 20); look(); }})"
        )
        types = tab.evaluate(ranges)
        browser.close()
    assert bars >= 2
    assert "linear" in types  # outages have no time axis, and zooming the others leaves them alone
    assert "date" in types
    assert told == []


def test_the_command_solves_outages_of_any_run(result: RunResult, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert vpp("report", result.path, "--no-html", "--at", "11:00") == 0
    assert "2016-06-21 11:00 (at 11:00)" in capsys.readouterr().out
    assert vpp("report", result.path, "--outages", "--html", tmp_path / "r.html") == 0
    assert "(highest loading)" in capsys.readouterr().out
    assert vpp("report", result.path, "--at", "noon") == 2
    assert "'noon' is no time" in capsys.readouterr().err
    assert vpp("report", result.path, "--no-html", "--at", "23:00") != 0
    assert "23:00 is not in the 24 steps" in capsys.readouterr().err
