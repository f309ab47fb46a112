"""The pages in a headless browser: what stands there, what moves, and that nothing leaves the machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext

from tests.dashboards.browser import Visit, browsing, serving, visiting
from tests.dashboards.runs import DARK_STEP, FULL_BRANCH, FULL_STEP, HIGH_BUS, HIGH_STEP, Small

CURVE = "document.querySelector('#overview .js-plotly-plot')?.data?.find(t => t.name === '{}')?.y"
THUMB = "Number(document.querySelector('#step [role=slider]').ariaValueNow)"
NUMBERS = "Array.from(document.querySelectorAll('.tile'), t => t.innerText.split('\\n').map(s => s.trim()))"


@pytest.fixture(scope="module")
def browser() -> Iterator[BrowserContext]:
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Iterator[str]:
    with serving(Small().write(tmp_path_factory.mktemp("run") / "small")) as url:
        yield url


@pytest.fixture(scope="module")
def large(tmp_path_factory) -> Iterator[str]:
    """10,000 buses and resources over a week of quarter-hours."""
    with serving(Small(10_000, 10_000, steps=672).write(tmp_path_factory.mktemp("run") / "large")) as url:
        yield url


@pytest.fixture
def visit(browser: BrowserContext, small: str) -> Iterator[Visit]:
    with visiting(browser, small) as visit:
        yield visit


def value(visit: Visit, name: str, i: int) -> float:
    return visit.page.evaluate(f"window.vppDiagram.{name}[{i}]")


def drag(visit: Visit, share: float) -> None:
    """Move the slider's thumb with the mouse."""
    box = visit.page.locator("#step [role=slider]").bounding_box()
    track = visit.page.locator(".dash-slider-root").bounding_box()
    assert box is not None
    assert track is not None
    y = box["y"] + box["height"] / 2
    visit.page.mouse.move(box["x"] + box["width"] / 2, y)
    visit.page.mouse.down()
    visit.page.mouse.move(track["x"] + share * track["width"], y, steps=5)
    visit.page.mouse.up()
    visit.until(f"window.vppDiagram.step === {THUMB}")


def test_the_overview_shows_the_numbers_of_the_run(visit: Visit) -> None:
    visit.open()
    visit.until("document.querySelectorAll('.tile').length === 8")
    numbers = {tile[0]: tile[1] for tile in visit.page.evaluate(NUMBERS)}
    assert numbers["Import"].startswith("11.8")
    assert numbers["Export"].startswith("36.0")
    assert numbers["Cost"].startswith("−852")
    assert numbers["Voltage violations"].startswith("1")
    assert visit.page.evaluate(CURVE.format("P at PCC"))[:3] == [-1, 3, -1]
    assert "A feeder that one can predict." in visit.page.inner_text("header")
    assert "complete" in visit.page.inner_text("#state")
    assert "0123456789" in visit.page.inner_text("#state")
    first = visit.page.locator("#events tbody tr").first
    assert "21 Jun 13:00" in first.inner_text()


def test_one_pointer_tells_all_panels(visit: Visit) -> None:
    visit.open()
    box = visit.page.locator("#overview .main-svg").first.bounding_box()
    assert box is not None
    visit.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 0.1 * box["height"])
    text = visit.page.wait_for_selector("#overview .hoverlayer .legend").text_content()
    assert text is not None
    assert all(word in text for word in ("P at PCC", "voltage, lowest", "import price", "MWh", "21 Jun 2016"))


def test_a_chosen_resource_is_drawn(visit: Visit) -> None:
    visit.open()
    visit.page.click("#singles")
    visit.page.click("text=battery-5")
    visit.until(f"{CURVE.format('SoC of battery-5')}?.[0] === 30")


def test_the_slider_moves_the_diagram(visit: Visit) -> None:
    visit.open("/network")
    visit.step(FULL_STEP)
    assert value(visit, "loading", FULL_BRANCH) == pytest.approx(1.2)
    assert value(visit, "loadingClass", FULL_BRANCH) == 4
    before = visit.page.locator("#diagram canvas").screenshot()
    drag(visit, HIGH_STEP / 95)
    k = visit.page.evaluate("window.vppDiagram.step")
    assert abs(k - HIGH_STEP) < 5
    while k != HIGH_STEP:
        visit.page.click("#step-back" if k > HIGH_STEP else "#step-forward")
        k += 1 if k < HIGH_STEP else -1
        visit.step(k)
    assert value(visit, "vm", HIGH_BUS) == pytest.approx(1.125)
    assert value(visit, "vmClass", HIGH_BUS) == 8
    visit.until("document.querySelector('#moment').innerText.includes('12:30')")
    assert "1.1250 pu" in visit.page.inner_text("#moment .abnormal")
    assert visit.page.locator("#diagram canvas").screenshot() != before


def test_what_is_not_known_is_shown_as_such(visit: Visit) -> None:
    visit.open("/network")
    visit.step(FULL_STEP)
    for k in range(FULL_STEP + 1, DARK_STEP + 1):
        visit.page.click("#step-forward")
        visit.step(k)
    assert visit.page.evaluate("Number.isNaN(window.vppDiagram.vm[3])")
    assert value(visit, "vmClass", 3) == value(visit, "loadingClass", 3) == 255
    visit.until("document.querySelector('#moment').innerText.includes('15 buses without a voltage')")


def test_a_bus_is_told_and_chosen(visit: Visit) -> None:
    visit.open("/network")
    visit.step(FULL_STEP)
    box = visit.page.locator("#diagram").bounding_box()
    where = visit.page.evaluate("window.vppDiagram.where(2)")
    assert box is not None
    visit.page.mouse.move(box["x"] + where["x"], box["y"] + where["y"])
    tip = visit.page.inner_text(".tip")
    assert tip.split("\n")[0] == "Bus <2>"
    assert f"{Small().vm_pu(FULL_STEP)[2]:.4f} pu" in tip
    assert "kV" in tip
    visit.page.mouse.down()
    visit.page.mouse.up()
    visit.until("document.querySelector('#bus-chart .js-plotly-plot')?.data?.some(t => t.name === 'battery-17')")


def test_play_goes_on_by_itself_and_stops(visit: Visit) -> None:
    visit.open("/network")
    visit.step(FULL_STEP)
    visit.page.click("#step-toggle")
    visit.step(FULL_STEP + 2)
    visit.page.click("#step-toggle")
    visit.until("document.querySelector('#step-toggle').innerText.includes('Play')")


def test_pages_can_be_left_and_entered(visit: Visit) -> None:
    visit.open()
    for _ in range(2):
        visit.page.click("nav >> text=Network")
        visit.page.wait_for_selector("#bus-chart .main-svg")
        visit.until("document.querySelector('#diagram canvas') && document.querySelector('#diagram canvas').width > 300")
        visit.page.click("nav >> text=Overview")
        visit.page.wait_for_selector("#overview .main-svg")
    assert visit.page.locator("nav a.here").inner_text() == "Overview"


def test_a_running_run_grows_and_is_followed(browser: BrowserContext, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("dashboards.app.PULSE_MS", 300)
    small = Small()
    with small.writer(tmp_path / "run", block_steps=20) as run:
        for k in range(10):
            run.put(k, small.values(k))
        with serving(tmp_path / "run") as url, visiting(browser, url) as visit:
            visit.open("/network")
            visit.step(9)
            assert "running" in visit.page.inner_text("#state")
            for k in range(10, 25):
                run.put(k, small.values(k))
            visit.step(24)
            visit.page.click("#step-first")
            visit.step(0)
            for k in range(25, 30):
                run.put(k, small.values(k))
            visit.until("document.querySelector('#state').innerText.includes('30 of 96')")
            visit.until("document.querySelector('#moment').innerText.includes('of 30')")
            assert visit.page.evaluate("window.vppDiagram.step") == 0
            visit.page.click("nav >> text=Overview")
            visit.charted()
            visit.until(f"{CURVE.format('P at PCC')}?.length === 30")
            with visiting(browser, url) as second:
                second.open()
                run.put(30, small.values(30))
                for one in (visit, second):
                    one.until(f"{CURVE.format('P at PCC')}?.length === 31")
            run.close("interrupted")
            visit.until("document.querySelector('#state .abnormal')?.innerText === 'interrupted'")


@pytest.mark.parametrize("rows", [0, 1])
def test_a_run_that_hardly_began_has_its_pages(browser: BrowserContext, tmp_path, rows: int) -> None:
    with serving(Small().write(tmp_path / "run", rows=rows)) as url, visiting(browser, url) as visit:
        visit.open("/network")
        visit.page.click("nav >> text=Overview")
        visit.page.wait_for_selector("#overview .main-svg")


def test_ten_thousand_of_each(browser: BrowserContext, large: str) -> None:
    with visiting(browser, large) as visit:
        visit.open()
        assert len(visit.page.evaluate(CURVE.format("voltage, lowest"))) == 672
        assert visit.page.evaluate("document.querySelector('#overview .js-plotly-plot').data.length") < 20
        visit.page.click("nav >> text=Network")
        visit.charted()
        visit.step(FULL_STEP)
        drag(visit, 0.6)
        k = visit.page.evaluate("window.vppDiagram.step")
        assert k > FULL_STEP + 100
        assert value(visit, "vm", 4321) == pytest.approx(Small(10_000).vm_pu(k)[4321], abs=1e-6)


def test_the_guard_sees_what_leaves_the_machine(browser: BrowserContext, small: str) -> None:
    guarded = visiting(browser, small)
    visit = guarded.__enter__()
    visit.open()
    visit.page.evaluate("fetch('https://example.org/font.woff2').catch(() => 0)")
    visit.page.wait_for_timeout(100)
    with pytest.raises(AssertionError, match=r"left the machine: https://example\.org"):
        guarded.__exit__(None, None, None)
