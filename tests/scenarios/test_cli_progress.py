"""How far a run is: a line every few seconds, or a bar on a terminal."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from scenarios.report import progress
from scenarios.report.progress import Watch


class Clock:
    """A second a step."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "monotonic", Clock())


def told(steps: int, total: int, *, quiet: bool = False, terminal: bool = False) -> str:
    """What a run of these steps says."""
    out = StringIO()
    console = Console(file=out, force_terminal=terminal, width=120)
    with Watch("small", quiet=quiet, console=console) as watch:
        for k in range(steps):
            watch(k + 1, total)
    return out.getvalue()


@pytest.mark.usefixtures("_clock")
def test_plain_lines_come_every_few_seconds() -> None:
    assert told(12, 4000).splitlines() == [
        "loading small",
        "6 of 4000 steps (0%), 1 steps/s, 1:06:34 left",
        "11 of 4000 steps (0%), 1 steps/s, 1:06:29 left",
    ]


@pytest.mark.usefixtures("_clock")
def test_the_end_is_told_and_quiet_is_quiet() -> None:
    assert told(7, 7).splitlines()[-1] == "7 of 7 steps (100%), 1 steps/s"
    assert told(12, 12, quiet=True) == ""
    assert told(12, 12, quiet=True, terminal=True) == ""


def test_a_run_of_a_moment_says_nothing_more() -> None:
    assert told(96, 96) == "loading small\n"


@pytest.mark.usefixtures("_clock")
def test_a_terminal_has_a_bar() -> None:
    text = told(50, 100, terminal=True)
    assert "Running small" in text
    assert "50/100" in text
    assert "steps/s" in text
