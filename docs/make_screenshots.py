"""Take the pictures of the dashboard in ``docs/screenshots``.

    python docs/make_screenshots.py [RUN [ESTIMATED]]

Without run directories the newest runs of mv-open-ring and of estimated-ring beneath ``runs`` are shown; they are run first
if there are none.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn
from playwright.sync_api import Page, sync_playwright

from dashboards.app import create_app
from dashboards.cli import listen

SCENARIOS = ("mv-open-ring", "estimated-ring")
SIZE = {"width": 1400, "height": 900}
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ROOT = Path(__file__).parents[1]
FOLDER = Path(__file__).parent / "screenshots"


def newest(scenario: str) -> Path:
    """The newest run of a scenario, made now if there is none."""
    runs = ROOT / "runs"
    if not list(runs.glob(f"{scenario}-*")):
        subprocess.run([Path(sys.executable).with_name("vpp"), "run", scenario], cwd=ROOT, check=True)
    return max(runs.glob(f"{scenario}-*"), key=lambda run: run.stat().st_mtime)


def overview(page: Page) -> None:
    """As it opens."""
    page.wait_for_selector("#overview .main-svg")
    page.wait_for_selector("#events h2")
    page.screenshot(path=FOLDER / "overview.png")


def network(page: Page) -> None:
    """The step of the highest loading, the pointer where it is."""
    page.click("nav >> text=Network")
    page.wait_for_selector("#bus-chart .main-svg")
    page.wait_for_function("window.vppDiagram.step >= 0")
    page.wait_for_selector("#moment table")
    box = page.locator("#diagram").bounding_box()
    where = page.evaluate(
        "(() => { const b = vppDiagram.loading.indexOf(Math.max(...vppDiagram.loading)); "
        "return vppDiagram.where(vppDiagram.geometry.branches.to[b]); })()"
    )
    if box is not None:
        page.mouse.move(box["x"] + where["x"], box["y"] + where["y"])
    page.wait_for_timeout(300)
    page.screenshot(path=FOLDER / "network.png")


def estimate(page: Page) -> None:
    """The estimated state while a meter is wrong, and the branch behind the other wrong meter beside its truth."""
    page.wait_for_selector("#known table")
    page.wait_for_function("window.vppDiagram.step >= 0")
    page.click("#layer label:has-text('estimated')")
    at = "vppDiagram.geometry.branches.name.findIndex(name => name.endsWith('Line 52'))"
    page.evaluate(f"dash_clientside.set_props('branch', {{data: {at}}})")
    page.wait_for_function("document.querySelector('#known h3')?.innerText.includes('Line 52')")
    page.wait_for_timeout(1500)
    page.screenshot(path=FOLDER / "estimate.png")


def main(run: Path, estimated: Path) -> None:
    """Serve the runs, and take the pictures."""
    take(run, "/", (overview, network))
    take(estimated, "/network", (estimate,))


def take(run: Path, path: str, pictures: Sequence[Callable[[Page], None]]) -> None:
    """Serve a run, open one of its pages, and take pictures from there."""
    browser_path = shutil.which("chromium") or shutil.which("google-chrome")
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(create_app(run), log_level="warning"))
    threading.Thread(target=server.run, args=([listener],), daemon=True).start()
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=ARGUMENTS)
        page = browser.new_page(viewport=SIZE)
        page.goto(f"http://127.0.0.1:{listener.getsockname()[1]}{path}")
        for picture in pictures:
            picture(page)
        browser.close()
    server.should_exit = True
    print(f"{FOLDER} shows {run}")


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:3]]
    main(*(*given, *(newest(scenario) for scenario in SCENARIOS[len(given) :])))
