"""Take the pictures of the dashboard in ``docs/screenshots``.

    python docs/make_screenshots.py [RUN [ESTIMATED [HIL_RUN]]]

Without run directories the newest runs of mv-open-ring, of estimated-ring and, with its inverter emulated, of hil-mixed
beneath ``runs`` are shown; they are run first if there are none.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import uvicorn
from playwright.sync_api import Page, sync_playwright

from dashboards.app import create_app
from dashboards.cli import listen

SCENARIOS = ("mv-open-ring", "estimated-ring")
HIL_SCENARIO, DEVICE, PORT = "hil-mixed", "hil-inverter", 5020
SIZE = {"width": 1400, "height": 900}
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
ROOT = Path(__file__).parents[1]
VPP = Path(sys.executable).with_name("vpp")
FOLDER = Path(__file__).parent / "screenshots"


def newest(scenario: str) -> Path:
    """The newest run of a scenario, made now if there is none."""
    runs = ROOT / "runs"
    if not list(runs.glob(f"{scenario}-*")):
        subprocess.run([VPP, "run", scenario], cwd=ROOT, check=True)
    return _last(f"{scenario}-*")


def newest_hil() -> Path:
    """The newest run with a device outside, made now if there is none: its inverter is emulated in another process."""
    if not list((ROOT / "runs").glob(f"{HIL_SCENARIO}-*-hil")):
        told = ROOT / "runs" / "addresses"
        told.parent.mkdir(exist_ok=True)
        told.unlink(missing_ok=True)
        emulator = subprocess.Popen([VPP, "hil", "emulate", DEVICE, "--port", str(PORT), "--addresses", told], cwd=ROOT)
        try:
            while not told.exists():
                if emulator.poll() is not None:
                    raise SystemExit("the emulator does not start")
                time.sleep(0.2)
            subprocess.run([VPP, "hil", "run", HIL_SCENARIO, "--set", "time.steps=120"], cwd=ROOT, check=True)
        finally:
            emulator.terminate()
            emulator.wait()
    return _last(f"{HIL_SCENARIO}-*-hil")


def _last(pattern: str) -> Path:
    return max((ROOT / "runs").glob(pattern), key=lambda run: run.stat().st_mtime)


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


def hil(page: Page) -> None:
    """Links, clock, the device outside, and its raw points."""
    page.click("nav >> text=HIL")
    page.wait_for_selector("#hil-chart .main-svg")
    page.wait_for_selector("#hil-points table")
    page.wait_for_timeout(500)
    page.screenshot(path=FOLDER / "hil.png", full_page=True)


def main(run: Path, estimated: Path, hil_run: Path) -> None:
    """Serve the runs, and take the pictures."""
    take(run, "/", (overview, network))
    take(estimated, "/network", (estimate,))
    take(hil_run, "/", (hil,))


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
    given = [Path(word) for word in sys.argv[1:4]]
    made = [*given, *(newest(scenario) for scenario in SCENARIOS[len(given) :])]
    main(*made, *([newest_hil()] if len(made) < 3 else []))
