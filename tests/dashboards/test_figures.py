"""From data to what is drawn."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import numpy as np
import pytest

from dashboards.figures import clock
from dashboards.figures.bus import bus_chart
from dashboards.figures.diagram import UNKNOWN, Diagram, classes, tree_layout, voltage_bounds
from dashboards.figures.overview import overview
from dashboards.pages.network import first_step, moment, worst_bus
from dashboards.pages.overview import events, options
from dashboards.totals import curves
from dashboards.view import RunView
from tests.dashboards.runs import AUTUMN, DARK_STEP, FULL_BRANCH, FULL_STEP, HIGH_BUS, HIGH_STEP, Small
from vpp.kernel.time import to_datetime


@pytest.fixture(scope="module")
def view(tmp_path_factory) -> RunView:
    return RunView(Small().write(tmp_path_factory.mktemp("run") / "small"))


def draw(view: RunView, singles: tuple[str, ...] = ()):
    return overview(curves(view, list(singles)), view.zone, (0.9, 1.1))


def named(figure, name: str):
    return next(trace for trace in figure.data if trace.name == name)


def test_the_overview_draws_the_recorded_values(view: RunView) -> None:
    figure = draw(view)
    assert list(named(figure, "P at PCC").y) == [None if k == DARK_STEP else 3.0 if k % 2 else -1.0 for k in range(96)]
    assert set(named(figure, "scheduled").y) == {2.0}
    assert set(named(figure, "delivered").y) == {1.9}
    assert named(figure, "voltage, highest").y[HIGH_STEP] == 1.125
    above = named(figure, "above the limit").y
    assert [k for k, value in enumerate(above) if value is not None] == [HIGH_STEP]
    assert named(figure, "SoC of battery, middle").y[48] == pytest.approx(100 * (0.2 + 0.3 + 0.05))
    assert (figure.layout.yaxis.title.text, figure.layout.yaxis6.title.text) == ("MW", "€/MWh")


def test_values_travel_as_lists(view: RunView) -> None:
    assert "bdata" not in draw(view).to_json()


def test_single_resources_are_drawn_when_chosen(view: RunView) -> None:
    assert options(view, "", []) == [f"battery-{i}" for i in range(2, 20, 3)]
    assert options(view, "-17", ["battery-2"]) == ["battery-2", "battery-17"]
    assert named(draw(view, ("battery-5",)), "SoC of battery-5").y[0] == pytest.approx(30.0)


def test_an_empty_panel_says_so(view: RunView, tmp_path) -> None:
    found = curves(view, [])
    for name in ("price_import_eur_per_mwh", "price_export_eur_per_mwh", "exchange_q_mvar"):
        found.system[name] = np.full_like(found.system[name], np.nan)
    figure = overview(found, view.zone, (0.9, 1.1))
    assert [word.text for word in figure.layout.annotations].count("nothing recorded") == 2
    figure = draw(RunView(Small().write(tmp_path / "run", rows=0)))
    assert [word.text for word in figure.layout.annotations] == ["no step yet"]


def test_time_is_local(view: RunView) -> None:
    trace = named(draw(view), "P at PCC")
    assert (trace.x[0], trace.x[-1]) == ("2016-06-21T00:00:00", "2016-06-21T23:45:00")
    assert clock.label(view.time_ns[50], view.zone) == "Tue 21 Jun 2016, 12:30 CEST"


def test_a_day_of_25_hours_rises_and_tells_each_hour_once(tmp_path) -> None:
    view = RunView(Small(day=AUTUMN, steps=100).write(tmp_path / "run"))
    figure = draw(view)
    trace = named(figure, "P at PCC")
    assert len(set(trace.x)) == 100
    assert list(trace.x) == sorted(trace.x)
    assert trace.x[-1] == "2016-10-31T00:45:00"  # 23:45 on the clocks, by the clock of the morning
    assert trace.customdata[-1] == "Sun 30 Oct 2016, 23:45 CET"
    ticks = dict(zip(figure.layout.xaxis.ticktext, figure.layout.xaxis.tickvals))
    assert ticks["02:00"] == "2016-10-30T02:00:00"
    assert ticks["12:00"] == "2016-10-30T13:00:00"
    assert "CEST, then CET" in figure.layout.xaxis.title.text


@pytest.mark.parametrize("days", [1, 7, 30, 366])
def test_ticks_of_a_long_run_are_few_and_local(days: int) -> None:
    start = 1_451_602_800 * 10**9  # 2016-01-01, midnight in Berlin
    ticks = clock._ticks(start, start + days * 86_400 * 10**9, "Europe/Berlin")
    assert 8 <= len(ticks) <= 16
    assert all(to_datetime(t).astimezone(ZoneInfo("Europe/Berlin")).minute == 0 for t in ticks)


def test_classes_keep_the_limits_and_tell_the_unknown_apart() -> None:
    bounds = voltage_bounds(0.9, 1.1)
    values = np.array([0.899, 0.9, 0.96, 1.0, 1.06, 1.1, 1.101, np.nan], np.float32)
    assert classes(values, bounds).tolist() == [0, 1, 3, 4, 6, 7, 8, UNKNOWN]
    assert classes(np.array([0.0, 1.0, 1.01], np.float32), np.array([0.25, 0.5, 0.75, 1.0])).tolist() == [0, 3, 4]


def test_the_diagram_knows_each_step(view: RunView) -> None:
    diagram = Diagram(view)
    n = 15
    data = diagram.step(HIGH_STEP)
    assert len(data) == 5 * (n + n - 1)
    vm = np.frombuffer(data, "<f4", n)
    np.testing.assert_allclose(vm, Small().vm_pu(HIGH_STEP), atol=1e-6)
    kinds = np.frombuffer(data, np.uint8, offset=4 * (2 * n - 1))
    assert (kinds[HIGH_BUS], kinds[0]) == (8, 4)
    assert set(np.frombuffer(diagram.step(DARK_STEP), np.uint8, offset=4 * (2 * n - 1))) == {UNKNOWN}
    assert np.frombuffer(diagram.step(FULL_STEP), np.uint8)[-(n - 1) + FULL_BRANCH] == 4
    geometry = diagram.geometry()
    assert geometry["branches"]["from"] == list(range(14))
    assert geometry["buses"]["resources"][:6] == [2, 2, 2, 2, 2, 1]


def test_a_finished_run_opens_where_it_is_loaded_most(view: RunView) -> None:
    assert first_step(view) == FULL_STEP
    assert worst_bus(Diagram(view), HIGH_STEP) == HIGH_BUS
    assert worst_bus(Diagram(view), DARK_STEP) == 0


def test_a_step_in_words(view: RunView) -> None:
    high, dark = str(moment(Diagram(view), HIGH_STEP)), str(moment(Diagram(view), DARK_STEP))
    assert "Tue 21 Jun 2016, 12:30 CEST" in high
    assert "1.1250 pu" in high
    assert "15 buses without a voltage" in dark


def test_one_bus_over_the_day(view: RunView) -> None:
    figure = bus_chart(Diagram(view), 2, FULL_STEP)
    assert [trace.name for trace in figure.data] == ["voltage", "battery-2", "battery-17"]
    assert figure.data[1].y[4] == pytest.approx(0.01 * 3 + 0.004)
    assert figure.layout.shapes[0].x0 == "2016-06-21T10:00:00"
    assert "‹2›" in figure.layout.annotations[0].text


def test_many_resources_at_a_bus_are_drawn_by_kind(tmp_path) -> None:
    view = RunView(Small(buses=2, resources=24).write(tmp_path / "run", rows=1))
    figure = bus_chart(Diagram(view), 1, 0)
    assert [trace.name for trace in figure.data] == ["voltage", "4 × battery", "4 × load", "4 × pv"]
    assert figure.data[2].y[0] == pytest.approx(0.01 * (4 + 10 + 16 + 22))


def test_a_network_without_places_is_laid_out_as_a_tree() -> None:
    x, y = tree_layout(6, np.array([0, 0, 1, 1, -1]), np.array([1, 2, 3, 4, 5]))
    assert y.tolist() == [0, -1, -1, -2, -2, 0]
    assert len({*zip(x, y)}) == 6


def test_events_are_newest_first(view: RunView) -> None:
    text = str(events(view))
    assert text.index(f"step {DARK_STEP}") < text.index(f"step {HIGH_STEP}")
    assert "2 alarm" in text
    assert "21 Jun 13:00" in text
