"""The glossary says what the code says."""

from __future__ import annotations

import runpy

import pytest

from tests.house.tree import ROOT
from vpp.kernel.setpoints import Setpoints
from vpp.kernel.settings import Settings
from vpp.kernel.telemetry import Telemetry


@pytest.fixture(scope="module")
def made() -> str:
    """What `make glossary` would write."""
    return runpy.run_path(str(ROOT / "docs" / "make_glossary.py"))["glossary"]()


def test_the_file_is_up_to_date(made: str) -> None:
    assert (ROOT / "docs" / "glossary.md").read_text("utf-8") == made, "run `make glossary`"


def test_every_signal_is_in_it(made: str) -> None:
    for signal in (*Telemetry.signals, *Setpoints.signals, *Settings.signals):
        assert f"| `{signal.name}` |" in made


def test_a_changed_signal_is_seen(made: str, monkeypatch) -> None:
    monkeypatch.setattr(Telemetry.soc, "meaning", "something else")
    assert runpy.run_path(str(ROOT / "docs" / "make_glossary.py"))["glossary"]() != made
