"""The HIL page: what is read from the record, and what stands in the browser, for a run that ended and one that goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import BrowserContext

from dashboards import hil
from dashboards.figures.hil import device_chart, duration, histogram
from dashboards.pages.hil import point_table
from dashboards.view import RunView
from hil.logbook import FATES, STATES
from hil.timed import WATCHES
from tests.dashboards.browser import Visit, browsing, serving, visiting
from tests.dashboards.runs import Small
from tests.hil.scripted import Outdoor
from tests.hil.small import START_NS
from vpp.kernel import quality as q
from vpp.wire.link import LinkState

TICKS = 30
TEXT = "document.querySelector('{}')?.innerText ?? ''"
LINE = "document.querySelector('#hil-chart .js-plotly-plot')?.data?.find(t => t.name === '{}')?.y"


def written(run: Path, ticks: int = TICKS) -> Path:
    """A run of two devices: the PV is limited from tick 10 on, the battery's link breaks at tick 20."""
    site = Outdoor()
    with site.logbook(run, TICKS) as book:
        for i in range(2):
            site.up(i)
        for k in range(ticks):
            follow(site, book, k)
    return run


def follow(site: Outdoor, book, k: int) -> None:
    site.tell(0, 0.008 if k < 11 else 0.004, 1.01, time_ns=START_NS)
    if k < 20:
        site.tell(1, -0.002, 0.99)
    elif k == 20:
        site.links[1].board.enter(LinkState.DOWN, "gone")
        site.plant.stations[1].keeper.statistics.breaks += 1
        site.plant.stations[1].keeper.image.quality |= np.uint8(q.COMM_LOST)
    site.watches.histograms["heartbeat"].add(0.0015)
    site.tick(book, k, p_limit_mw=np.inf if k < 10 else 0.004)


def bench_at(folder: Path) -> Path:
    """What a session of the test bench leaves, as far as the page reads it."""
    folder.mkdir(parents=True)
    clauses = [
        {"suite": "volt-var", "clause": "5.14.4", "verdict": "passed, instrumented", "passed": 9, "failed": 0, "not run": 0},
        {"suite": "priority", "clause": "5.14.9", "verdict": "failed, self-reported", "passed": 1, "failed": 2, "not run": 0},
    ]
    manifest = {"what": "test bench", "target": "lab inverter", "equipment": {"manufacturer": "ACME"}, "clauses": clauses,
                "counts": {"passed": 10, "failed": 2, "not run": 0}, "troubles": []}  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "verdicts.json").write_text("[]")
    (folder / "report.html").write_text(
        "<!doctype html><link rel=icon href='data:,'><title>r</title><p>the report of the bench</p>"
    )
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    bench_at(root / "bench-1")
    return written(Small().write(root / "small", rows=TICKS))


@pytest.fixture(scope="module")
def book(run: Path) -> RunView:
    found = hil.Book(run).look()
    assert found is not None
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    with browsing() as browser:
        yield browser


@pytest.fixture
def visit(browser: BrowserContext, run: Path) -> Iterator[Visit]:
    with serving(run) as url, visiting(browser, url) as visit:
        visit.page.goto(f"{url}/hil")
        visit.page.wait_for_selector("#hil-chart .main-svg")
        yield visit


def test_the_words_are_those_of_the_record() -> None:
    """The dashboards know the record, not who writes it: the meanings of its codes must be the same."""
    assert tuple(state.upper() for state in hil.STATES) == STATES
    assert [fate.lower().replace("_", " ") for fate in FATES[:-1]] == list(hil.FATES[:-1])
    assert len(FATES) == len(hil.FATES)
    assert WATCHES == hil.WATCHES


def test_links_are_read(book: RunView) -> None:
    before, after = hil.links(book, 19), hil.links(book, TICKS - 1)
    assert [(one.state, one.resources, one.emulated, one.open) for one in before] == [
        ("up", "pv", True, True), ("up", "battery", False, False),
    ]  # fmt: skip
    assert [one.state for one in after] == ["up", "down"]
    assert (after[1].count["breaks"], after[1].reconnects, after[0].lease_s) == (1, 0, 60.0)
    assert after[0].rtt_s == pytest.approx(0.003)
    assert np.isnan(after[0].completeness)  # nobody interrogated


def test_clock_and_latency_are_read(book: RunView) -> None:
    late, took = (hil.jitter(book, name, TICKS - 1) for name in ("late", "took"))
    assert (late.counts.sum(), late.quantile(0.99), took.quantile(0.5), took.quantile(0.99)) == (TICKS, 5e-4, 0.005, 0.05)
    assert hil.latency(book, "heartbeat", 9).counts.sum() == 10
    assert np.isnan(hil.latency(book, "command", 9).quantile(0.5))
    assert hil.clock(book, TICKS - 1)["ticks"] == TICKS


def test_a_device_is_read(book: RunView) -> None:
    pv, battery = hil.device(book, 0), hil.device(book, 1)
    assert np.isnan(pv.lines["asked"][:10]).all()
    assert pv.lines["asked"][10:] == pytest.approx(0.004)
    assert pv.lines["applied"][10:] == pytest.approx(0.004)
    assert pv.lines["delivered"][[9, 12]] == pytest.approx([0.008, 0.004])
    assert (pv.standing, pv.source, pv.scale) == ("open", "", 100.0)
    assert (battery.standing, battery.source) == ("driven", "scpi://192.0.2.9:5025")
    names = {trace.name for trace in device_chart(book, battery).data}
    assert {"voltage of the source", "frequency of the source"} <= names
    assert "voltage of the source" not in {trace.name for trace in device_chart(book, pv).data}


def test_raw_points_are_read_to_the_last_bit(book: RunView) -> None:
    power, voltage, limit = hil.points(book, 5, "pv")
    assert (power.address, power.wire, power.raw, power.value, power.unit) == ("1:holding:100", "int16", 800.0, 0.008, "MW")
    assert (power.quality, power.source_s) == ("good", pytest.approx(START_NS / 1e9, abs=1e-6))
    assert voltage.raw == float(np.float32(1.01))
    assert (limit.name, limit.command, limit.quality) == ("setpoints.p_limit_mw", "", hil.UNREAD)
    assert np.isnan([limit.raw, limit.received_s]).all()
    assert len(hil.points(book, 5)) == 6
    (lost, *_) = hil.points(book, 25, "battery")
    assert (lost.value, lost.quality) == (-0.002, "good + stale + comm-lost")
    assert hil.owners(book) == ["pv", "battery"]
    assert "and 6 more" not in str(point_table(book, 5, ""))


@pytest.mark.parametrize(("seconds", "text"), [(2e-5, "20 µs"), (0.005, "5 ms"), (2.0, "2 s")])
def test_durations_are_told(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_histogram_without_anything_says_so() -> None:
    nothing = histogram({"late": hil.Histogram(np.array([1.0, np.inf]), np.zeros(2))}, "Clock")
    assert "nothing measured yet" in str(nothing.layout.annotations)


def test_benches_are_found_beside_the_run_and_given(run: Path, tmp_path: Path) -> None:
    other = bench_at(tmp_path / "elsewhere")
    assert [path.name for path in hil.benches(run, (other,))] == ["elsewhere", "bench-1"]
    assert hil.bench(other)["target"] == "lab inverter"


def test_the_page_shows_links_clock_and_points(visit: Visit) -> None:
    visit.until("document.querySelectorAll('#hil-figures .tile').length === 7")
    figures = visit.page.inner_text("#hil-figures")
    assert "1 of 2" in figures
    assert "Points good\n2of 4" in figures
    assert "Ticks missed" in figures
    links = visit.page.inner_text("#hil-links")
    assert all(word in links for word in ("192.0.2.1:502", "up", "down", "open, emulated", "closed"))
    assert visit.page.locator("#hil-links tr.abnormal").count() == 1
    visit.until("document.querySelector('#hil-states .js-plotly-plot')?.data?.length === 2")
    assert set(visit.page.evaluate("document.querySelector('#hil-states .js-plotly-plot').data[1].y")) == {"up", "down"}
    visit.until("document.querySelector('#hil-jitter .js-plotly-plot')?.data?.length === 2")
    assert sum(visit.page.evaluate("document.querySelector('#hil-latency .js-plotly-plot').data[0].y")) == TICKS
    points = visit.page.inner_text("#hil-points")
    assert all(word in points for word in ("1:holding:100", "int16", "400", "0.004", "MW", "good", "UTC"))


def test_a_device_a_watch_and_an_owner_are_chosen(visit: Visit) -> None:
    assert visit.page.inner_text("#hil-standing") == "open"
    visit.until(f"{LINE.format('delivered')}?.length === {TICKS}")
    visit.page.click("#hil-device")
    visit.page.get_by_role("option", name="battery").click()
    visit.until(f"({TEXT.format('#hil-standing')}) === 'driven by scpi://192.0.2.9:5025'")
    visit.until(f"{LINE.format('voltage of the source')}?.[0] === 1.02")
    visit.page.click("#hil-owner")
    visit.page.get_by_role("option", name="battery").click()
    visit.until(f"({TEXT.format('#hil-points')}).includes('comm-lost')")
    visit.page.click("#hil-watch")
    visit.page.get_by_role("option", name="age").click()
    visit.until("document.querySelector('#hil-latency .js-plotly-plot')?.data?.[0].name === 'age'")


def test_bench_results_and_their_report(visit: Visit) -> None:
    visit.until(f"({TEXT.format('#hil-verdicts')}).includes('lab inverter')")
    verdicts = visit.page.inner_text("#hil-verdicts")
    assert all(word in verdicts for word in ("5.14.4", "passed, instrumented", "failed, self-reported", "10 passed, 2 failed"))
    assert visit.page.locator("#hil-verdicts tr.abnormal").count() == 1
    href = visit.page.locator("#hil-verdicts a").get_attribute("href")
    visit.page.goto(f"{visit.url}{href}")
    assert "the report of the bench" in visit.page.inner_text("body")


def test_a_running_run_is_followed(browser: BrowserContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened before any device was found; then the devices come, and the page follows without being asked."""
    monkeypatch.setattr("dashboards.app.PULSE_MS", 300)
    small, site = Small(), Outdoor()
    with small.writer(tmp_path / "run") as run, serving(tmp_path / "run") as url, visiting(browser, url) as visit:
        visit.page.goto(f"{url}/hil")
        visit.until(f"({TEXT.format('#hil-links')}).includes('No device was outside')")
        with site.logbook(tmp_path / "run", TICKS) as book:
            for i in range(2):
                site.up(i)
            for k in range(TICKS):
                follow(site, book, k)
                run.put(k, small.values(k))
                if k == 4:
                    visit.until(f"({TEXT.format('#hil-figures')}).includes('2 of 2')")
                    visit.until(f"{LINE.format('delivered')}?.length === 5")
                    visit.until(f"({TEXT.format('#hil-points')}).includes('800')")
                    visit.page.click("#hil-owner")
                    visit.page.get_by_role("option", name="battery").click()
                    visit.until(f"({TEXT.format('#hil-points')}).includes('−200')")
            visit.until(f"({TEXT.format('#hil-figures')}).includes('1 of 2')")
            visit.until(f"{LINE.format('delivered')}?.length === {TICKS}")


def test_a_run_without_devices_outside_says_so(browser: BrowserContext, tmp_path: Path) -> None:
    with serving(Small().write(tmp_path / "small", rows=3)) as url, visiting(browser, url) as visit:
        visit.page.goto(f"{url}/hil")
        visit.until(f"({TEXT.format('#hil-links')}).includes('No device was outside')")
        visit.until(f"({TEXT.format('#hil-verdicts')}).includes('vpp hil bench')")
