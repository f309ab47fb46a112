"""The report: its numbers agree with the run's own, its axis tells local time, its page needs nothing from outside."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, sync_playwright

from scenarios import load
from scenarios.report import data as reading
from scenarios.report.clock import axis
from scenarios.report.data import read_run
from scenarios.report.figures import figures
from scenarios.report.page import page, write_page
from vpp.kernel.time import to_ns

QUARTER_NS = 900 * 10**9
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
TITLES = {
    "Exchange with the public grid", "Schedule and delivery", "Power by kind", "Voltage", "State of charge", "Branch loading",
    "Curtailment", "Who binds", "Prices",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day in which everything happens."""
    return Path(load("every-controller-bites").run(out=tmp_path_factory.mktemp("runs"), wiring="direct").path)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser without a window."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert chromium, "no chromium found (Debian: apt-get install chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield browser
        browser.close()


def unpacked(numbers: dict[str, Any]) -> np.ndarray:
    """What plotly reads."""
    return np.frombuffer(base64.b64decode(numbers["bdata"]), f"<{numbers['dtype']}")


def test_everything_recorded_has_its_plot(run: Path) -> None:
    data = read_run(run)
    assert {figure.title for figure in figures(data)} == TITLES
    assert data.damage == []
    assert len(data.loading) == 10
    assert {"over_voltage", "soc", "ramp"} <= set(data.causes)
    for figure in figures(data):
        assert {len(unpacked(trace["y"])) for trace in figure.traces} == {97}, figure.title
    soc = next(figure for figure in figures(data) if figure.title == "State of charge")
    low, high = (unpacked(soc.traces[i]["y"]) for i in (1, 0))
    assert (low <= high + 1e-6).all()


def test_a_run_without_a_summary_has_one_from_its_series(run: Path, tmp_path: Path) -> None:
    data = read_run(run)
    said, found = data.manifest["summary"], reading._summary(data)
    for name, value in found.items():
        if name not in ("energy_generated_mwh", "energy_consumed_mwh"):  # of single resources there, of kinds here
            assert value == pytest.approx(said[name], rel=1e-3, abs=1e-4), name


def test_many_steps_become_few_points(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_run(run)
    monkeypatch.setattr(reading, "POINTS", 40)
    few = read_run(run)
    assert (few.per, len(few.time_ns)) == (3, 32)
    assert whole.voltage is not None
    assert few.voltage is not None
    np.testing.assert_allclose(few.voltage.high, whole.voltage.high.reshape(32, 3).max(axis=1))
    np.testing.assert_allclose(few.voltage.low, whole.voltage.low.reshape(32, 3).min(axis=1))
    exchange = whole.system["exchange_p_mw"].reshape(32, 3).mean(axis=1)
    np.testing.assert_allclose(few.system["exchange_p_mw"], exchange)
    assert "a point stands for 3 steps" in page(few)


def test_steps_without_solution_are_gaps(tmp_path: Path, run: Path) -> None:
    data = read_run(run)
    band = reading._band(_Series(np.array([[1.0, 2.0, 3.0], [np.nan] * 3, [4.0, np.nan, 2.0]])), _Like(3))
    assert band is not None
    np.testing.assert_array_equal(band.low, [1, np.nan, 2])
    np.testing.assert_array_equal(band.middle, [2, np.nan, 3])
    np.testing.assert_array_equal(band.high, [3, np.nan, 4])
    assert reading._band(_Series(np.full((3, 2), np.nan)), _Like(3)) is None
    assert data.voltage is not None


class _Series:
    """As much of a recorded series as a band reads."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.sizes = values, {"time": len(values)}

    def isel(self, time: slice) -> _Series:
        return _Series(self.values[time])


class _Like:
    """As much of a run as a band reads."""

    def __init__(self, steps: int) -> None:
        self.time_ns, self.damage = np.arange(steps), []


def start(*moment: int) -> int:
    """A moment in UTC."""
    return to_ns(datetime(*moment, tzinfo=UTC))  # type: ignore[misc]


def test_the_axis_shows_local_time() -> None:
    x, layout = axis(start(2016, 6, 20, 22) + QUARTER_NS * np.arange(96), QUARTER_NS, "Europe/Berlin")
    shown = unpacked(x).astype("datetime64[ms]")
    assert (str(shown[0]), str(shown[-1])) == ("2016-06-21T00:00:00.000", "2016-06-22T00:00:00.000")
    assert "tickvals" not in layout
    assert "Europe/Berlin" in layout["title"]["text"]


@pytest.mark.parametrize(
    ("moment", "steps", "ticks"),
    [((2016, 10, 29, 22), 100, "00:00 02:00 02:00 04:00 06:00"), ((2016, 3, 26, 23), 92, "00:00 04:00 06:00 08:00 10:00")],
)
def test_ticks_stay_right_when_the_clocks_change(moment: tuple[int, ...], steps: int, ticks: str) -> None:
    x, layout = axis(start(*moment) + QUARTER_NS * np.arange(steps), QUARTER_NS, "Europe/Berlin")
    assert np.all(np.diff(unpacked(x)) == 900_000)
    texts = [text.partition("<br>")[0] for text in layout["ticktext"]]
    assert " ".join(texts).startswith(ticks)
    assert layout["hoverformat"].endswith("UTC+02:00" if steps == 100 else "UTC+01:00")


def test_a_year_keeps_to_the_wall_clock() -> None:
    x, layout = axis(start(2015, 12, 31, 23) + QUARTER_NS * np.arange(35136), QUARTER_NS, "Europe/Berlin")
    shown = unpacked(x).astype("datetime64[ms]")
    assert (str(shown[0]), str(shown[-1])) == ("2016-01-01T00:00:00.000", "2017-01-01T00:00:00.000")
    assert "tickvals" not in layout


def test_the_page_names_nothing_outside(run: Path) -> None:
    text = page(read_run(run))
    bare = re.sub(r"<script\b.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"""(src|href|action|data|url|@import)\s*[=(]?\s*["']?\s*(https?:)?//""", bare)
    assert not re.search(r"<(link|img|iframe|script[^>]+src)\b", bare)
    assert text.count("plotly.js v") == 1


def test_text_of_a_user_stays_text(run: Path) -> None:
    data = read_run(run)
    bad = "</script><img src=x onerror=alert(1)>"
    data.manifest["purpose"], data.manifest["name"] = bad, bad
    data.loading = {bad: next(iter(data.loading.values()))}
    text = page(data)
    assert "<img" not in re.sub(r"<script\b.*?</script>", "", text, flags=re.DOTALL)
    assert text.count("</script>") == 3


def test_a_run_of_no_steps_has_a_page(run: Path) -> None:
    data = read_run(run)
    data.time_ns = data.time_ns[:0]
    assert "<h1>every-controller-bites</h1>" in page(data)


def test_it_opens_in_a_browser_with_all_plots_and_asks_for_nothing(run: Path, tmp_path: Path, browser: Browser) -> None:
    write_page(read_run(run), tmp_path / "report.html")
    tab = browser.new_page(viewport={"width": 1400, "height": 1000})
    told: list[str] = []
    tab.on("console", lambda message: told.append(message.text))
    tab.on("pageerror", lambda error: told.append(str(error)))
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    address = (tmp_path / "report.html").as_uri()
    tab.goto(address)
    tab.locator(".plot .main-svg").nth(3 * len(TITLES) - 1).wait_for(state="attached")
    lines = tab.evaluate("[...document.querySelectorAll('.plot')].map(p => p.querySelectorAll('path.js-line').length)")
    assert len(lines) == len(TITLES)
    assert min(lines) >= 1
    tab.evaluate("Plotly.relayout('plot-0', {'xaxis.range[0]': '2016-06-21 06:00', 'xaxis.range[1]': '2016-06-21 12:00'})")
    zoomed = "document.getElementById('plot-3').layout.xaxis.range[0].startsWith('2016-06-21 06:00')"
    assert tab.evaluate(f"new Promise(done => {{ const look = () => {zoomed} ? done(true) : setTimeout(look, 20); look(); }})")
    assert told == []
    assert asked == [address]
    tab.close()
