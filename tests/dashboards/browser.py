"""A real browser that may reach nothing but this machine, and a server to point it at."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import uvicorn
from playwright.sync_api import BrowserContext, Page, sync_playwright

from dashboards.app import create_app
from dashboards.cli import listen

ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WAIT_MS = 60_000


@contextmanager
def browsing() -> Iterator[BrowserContext]:
    """Start the browser; without one the tests fail, for a dashboard that nobody has seen is not tested."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.fail(f"no browser: the dashboard's tests need one of {', '.join(NAMES)} (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield browser.new_context(viewport={"width": 1400, "height": 900})
        finally:
            browser.close()


@contextmanager
def serving(run: Path) -> Iterator[str]:
    """Serve the dashboard of a run on a free port."""
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(create_app(run), log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


@dataclass
class Visit:
    """A page, and what went wrong on it."""

    page: Page
    url: str
    troubles: list[str] = field(default_factory=list)

    def guard(self) -> None:
        """Note errors, and requests that would leave the machine (no name resolves, so they do not get far)."""

        def check(url: str) -> None:
            if urlsplit(url).hostname != "127.0.0.1":
                self.troubles.append(f"left the machine: {url}")

        self.page.on("request", lambda request: check(request.url))
        self.page.on("websocket", lambda socket: check(socket.url))
        self.page.on("console", lambda m: self.troubles.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("response", lambda r: self.troubles.append(f"{r.status} {r.url}") if r.status >= 400 else None)

    def open(self, path: str = "/") -> None:
        """Go to a page and wait until its chart is there."""
        self.page.goto(self.url + path)
        self.charted()

    def charted(self) -> None:
        """Wait for a chart; ``.main-svg``, for Plotly's own frame never counts as visible."""
        self.page.wait_for_selector("#overview .main-svg, #bus-chart .main-svg", timeout=WAIT_MS)

    def until(self, condition: str) -> None:
        """Wait for something to become true in the page."""
        self.page.wait_for_function(condition, timeout=WAIT_MS)

    def step(self, k: int) -> None:
        """Wait until the diagram shows a step."""
        self.until(f"window.vppDiagram && window.vppDiagram.step === {k}")


@contextmanager
def visiting(browser: BrowserContext, url: str) -> Iterator[Visit]:
    """Open a guarded page; what went wrong on it fails the test."""
    page = browser.new_page()
    page.set_default_timeout(WAIT_MS)
    visit = Visit(page, url)
    visit.guard()
    try:
        yield visit
    finally:
        page.close()
    assert not visit.troubles, "\n".join(visit.troubles)
