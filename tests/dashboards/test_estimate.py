"""Measured, estimated and true on the network page: the numbers, the charts, and the page in a browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import BrowserContext

from dashboards.estimate import DOUBTED, SUSPECT, Estimates
from dashboards.figures.branch import branch_chart
from dashboards.figures.bus import bus_chart
from dashboards.figures.diagram import UNKNOWN, Diagram, classes
from dashboards.known import known
from dashboards.view import RunView
from tests.dashboards.browser import Visit, browsing, serving, visiting
from tests.dashboards.runs import FULL_STEP, STEP_S, Small

SMALL = Small(estimated=True)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return SMALL.write(tmp_path_factory.mktemp("run") / "small")


@pytest.fixture(scope="module")
def view(path: Any) -> RunView:
    return RunView(path)


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    with browsing() as browser:
        yield browser


def words(parts: Any) -> str:
    """All text of a component."""
    if isinstance(parts, str):
        return parts
    if isinstance(parts, list | tuple):
        return " ".join(words(part) for part in parts)
    return "" if parts is None else words(getattr(parts, "children", None))


def test_an_estimate_is_shown_at_the_step_that_it_describes(view: RunView) -> None:
    found = Estimates(view)
    assert found.present
    for k in (0, FULL_STEP, 94):
        np.testing.assert_allclose(found.of("buses/est_vm_pu", k), SMALL.vm_pu(k) + 0.001, atol=1e-6)
        assert found.behind_s(k) == 0.0
    np.testing.assert_allclose(found.of("buses/est_vm_pu", 95), SMALL.vm_pu(94) + 0.001, atol=1e-6)  # not estimated yet
    assert found.behind_s(95) == STEP_S


def test_the_same_moment_is_compared(view: RunView) -> None:
    found = Estimates(view)
    (volts,) = found.at_bus(3, FULL_STEP)
    true = SMALL.vm_pu(FULL_STEP)[3]
    assert (volts.measured, volts.estimated, volts.sigma, volts.true) == pytest.approx(
        (true + 0.002, true + 0.001, 0.002, true), abs=1e-6
    )
    assert (volts.suspect, volts.late_s) == (False, 0.0)
    (late,) = found.at_bus(5, FULL_STEP)
    assert (late.suspect, late.late_s) == (True, 2 * STEP_S)
    assert late.measured == pytest.approx(SMALL.measured(FULL_STEP - 2)[1], abs=1e-6)
    (bare,) = found.at_bus(8, FULL_STEP)
    assert np.isnan(bare.measured)
    loading, flow = found.at_branch(4, FULL_STEP)
    assert (loading.true, loading.estimated, loading.sigma) == pytest.approx(
        (100 * SMALL.loading(FULL_STEP)[4], 110 * SMALL.loading(FULL_STEP)[4], 5.0), abs=1e-2
    )  # fmt: skip
    assert (flow.name, flow.unit, flow.measured) == ("P from", "MW", pytest.approx(0.1 + 0.001 * FULL_STEP, abs=1e-6))


def test_suspicions_are_marked_where_they_are(view: RunView) -> None:
    found = Estimates(view)
    buses, branches = found.marks(FULL_STEP)
    assert np.flatnonzero(buses).tolist() == [5]
    assert (buses[5], branches[6], branches[4]) == (SUSPECT, DOUBTED, 0)
    assert found.doubted(6, FULL_STEP)
    for k in (FULL_STEP - 1, FULL_STEP + 1):
        assert not any(marks.any() for marks in found.marks(k))


def test_a_step_carries_all_three_layers(view: RunView) -> None:
    diagram = Diagram(view)
    assert diagram.geometry()["estimate"] is True
    data, n, m = diagram.step(FULL_STEP), 15, 14
    floats = np.frombuffer(data, "<f4", 4 * n + 3 * m)
    vm, _, est, sigma, measured, _, _ = np.split(floats, np.cumsum([n, m, n, n, n, m]))
    np.testing.assert_allclose(est - vm, 0.001, atol=1e-6)
    np.testing.assert_allclose(sigma, 0.002)
    assert np.flatnonzero(np.isfinite(measured)).tolist() == [3, 5]
    octets = np.frombuffer(data, "u1", offset=4 * len(floats))
    assert len(octets) == 4 * n + 3 * m
    parts = np.split(octets, np.cumsum([n, m, n, m, n, n]))
    assert parts[2].tolist() == classes(est, diagram.voltage_bounds).tolist()
    assert (parts[4] != UNKNOWN).sum() == 2
    assert np.flatnonzero(parts[5]).tolist() == [5]
    assert np.flatnonzero(parts[6]).tolist() == [6]


def test_the_table_says_it_in_words(view: RunView) -> None:
    found = Estimates(view)
    text = words(known(found, "Bus 5", 5, -1, FULL_STEP))
    assert "▲" in text
    assert "30 min old" in text
    assert f"{SMALL.vm_pu(FULL_STEP)[5]:.4f}" in text
    assert "± 0.0020" in text
    assert "its state is doubted" in words(known(found, "Line 6", 5, 6, FULL_STEP))
    assert "the newest estimate is 15 min older" in words(known(found, "Bus 5", 5, -1, 95))
    assert words(known(found, "Bus 8", 8, -1, FULL_STEP)).count("–") == 1


def traces(figure: Any) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data}


def test_the_chart_of_a_bus_has_truth_estimate_and_meter(view: RunView) -> None:
    drawn = traces(bus_chart(Diagram(view), 5, FULL_STEP))
    np.testing.assert_allclose(drawn["estimated voltage"].y[FULL_STEP], SMALL.vm_pu(FULL_STEP)[5] + 0.001, atol=1e-6)
    assert drawn["estimated voltage"].y[95] is None
    assert drawn["measured"].y[10] == pytest.approx(
        SMALL.measured(10)[1], abs=1e-6
    )  # where it was measured, not where it was told
    assert drawn["measured"].y[FULL_STEP] is None
    assert drawn["taken for an error"].y[FULL_STEP] == pytest.approx(SMALL.measured(FULL_STEP)[1], abs=1e-6)
    plain = traces(bus_chart(Diagram(view), 8, FULL_STEP))
    assert "estimated voltage" in plain
    assert "measured" not in plain


def test_the_chart_of_a_branch(view: RunView, tmp_path: Any) -> None:
    diagram = Diagram(view)
    figure = branch_chart(diagram, 4, FULL_STEP)
    drawn = traces(figure)
    assert drawn["loading"].y[7] == pytest.approx(100 * SMALL.loading(7)[4], abs=1e-2)
    assert drawn["estimated loading"].y[7] == pytest.approx(110 * SMALL.loading(7)[4], abs=1e-2)
    assert drawn["measured"].y[7] == pytest.approx(0.107, abs=1e-6)
    assert figure.layout.shapes[0].x0 == bus_chart(diagram, 5, FULL_STEP).layout.shapes[0].x0
    assert "no meter at this branch" in [a.text for a in branch_chart(diagram, 3, FULL_STEP).layout.annotations]
    plain = Diagram(RunView(Small().write(tmp_path / "plain")))
    assert set(traces(branch_chart(plain, 3, FULL_STEP))) == {"loading"}
    empty = Diagram(RunView(Small(estimated=True).write(tmp_path / "empty", rows=0)))
    assert branch_chart(empty, 3, 0).layout.annotations[0].text == "no step yet"


def test_a_run_without_estimates_is_as_it_was(tmp_path: Any) -> None:
    diagram = Diagram(RunView(Small().write(tmp_path / "plain")))
    assert diagram.geometry()["estimate"] is False
    assert len(diagram.step(3)) == 5 * (15 + 14)
    assert not diagram.estimates.present


def test_a_run_that_grows_knows_more(tmp_path: Any) -> None:
    with SMALL.writer(tmp_path / "run", block_steps=20) as run:
        for k in range(3):
            run.put(k, SMALL.values(k))
        view = RunView(tmp_path / "run")
        found = Estimates(view)
        assert found.rows().tolist() == [1, 2, -1]
        for k in range(3, 30):
            run.put(k, SMALL.values(k))
        view.refresh()
        assert found.rows().tolist() == [*range(1, 30), -1]


@pytest.fixture
def visit(browser: BrowserContext, path: Any) -> Iterator[Visit]:
    with serving(path) as url, visiting(browser, url) as visit:
        visit.open("/network")
        visit.step(FULL_STEP)
        yield visit


def test_the_page_compares_what_is_chosen(visit: Visit) -> None:
    box = visit.page.locator("#diagram").bounding_box()
    where = visit.page.evaluate("window.vppDiagram.where(5)")
    assert box is not None
    visit.page.mouse.move(box["x"] + where["x"], box["y"] + where["y"])
    tip = visit.page.inner_text(".tip")
    true, seen = SMALL.vm_pu(FULL_STEP)[5], SMALL.measured(FULL_STEP - 2)[1]
    for line in (f"estimated {true + 0.001:.4f} ± 0.0020 pu", f"measured {seen:.4f} pu", "a meter here is taken for wrong"):
        assert line in tip
    visit.page.mouse.down()
    visit.page.mouse.up()
    visit.until("document.querySelector('#known h3')?.innerText.includes('Bus <5>')")
    assert "30 min old" in visit.page.inner_text("#known .suspect")
    visit.page.click("#step-forward")
    visit.until("document.querySelector('#known table') && !document.querySelector('#known .suspect')")


def test_a_branch_can_be_chosen(visit: Visit) -> None:
    box = visit.page.locator("#diagram").bounding_box()
    a, b = (visit.page.evaluate(f"window.vppDiagram.where({bus})") for bus in (6, 7))
    assert box is not None
    visit.page.mouse.move(box["x"] + (a["x"] + b["x"]) / 2, box["y"] + (a["y"] + b["y"]) / 2)
    tip = visit.page.inner_text(".tip")
    assert f"estimated {110 * SMALL.loading(FULL_STEP)[6]:.1f} ± 5.0 %" in tip
    assert "its state is doubted" in tip
    visit.page.mouse.down()
    visit.page.mouse.up()
    visit.until("document.querySelector('#known h3')?.innerText.includes('Line 6')")
    visit.until("document.querySelector('#bus-chart .js-plotly-plot')?.data?.some(t => t.name === 'estimated loading')")
    assert "doubted" in visit.page.inner_text("#known .abnormal")


def test_the_colours_show_what_is_wanted(visit: Visit) -> None:
    pictures = [visit.page.locator("#diagram canvas").screenshot()]
    for name in ("estimated", "measured", "true"):
        visit.page.click(f"#layer label:has-text('{name}')")
        visit.until(f"window.vppDiagram.layer === '{name}'")
        visit.page.wait_for_timeout(100)
        pictures.append(visit.page.locator("#diagram canvas").screenshot())
    assert visit.page.evaluate("Array.from(window.vppDiagram.estimate.busMark)") == [1 if i == 5 else 0 for i in range(15)]
    assert visit.page.evaluate("window.vppDiagram.estimate.branchMark[6]") == DOUBTED
    assert pictures[2] != pictures[1]  # few buses are measured
    assert pictures[0] == pictures[3]
