"""What a session leaves behind, the pytest plugin, and the command."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import zarr

from hil.bench.figures import figures
from hil.bench.laboratory import Laboratory
from hil.bench.plugin import Bench
from hil.bench.procedures import procedures_for
from hil.bench.record import write_record
from hil.bench.results import Outcome
from hil.bench.session import Session, run_all
from hil.bench.simulated import laboratory
from scenarios.bench import model
from tests.hil.mutants import MUTANTS
from tests.house.tree import python
from tests.scenarios.small_runs import vpp
from vpp.kernel.errors import DeviceError


def late() -> Laboratory:
    """A target of the tests: a mutant."""
    return laboratory(MUTANTS["volt-watt, late"][0](), "late")


def test_what_is_not_finite_is_written_as_words(tmp_path: Path) -> None:
    lab = laboratory(MUTANTS["trip, overfrequency never"][0](), "never")
    with Session(lab) as session:
        frequency = procedures_for(lab.eut, ("trip",))[1]
        session.verdict(frequency, 3)
    write_record(session, tmp_path)
    (row,) = json.loads((tmp_path / "verdicts.json").read_text("utf-8"))
    assert row["checks"][0]["value"] == "inf"
    assert row["outcome"] == "failed"


def test_a_session_is_recorded(tmp_path: Path) -> None:
    lab = late()
    with Session(lab) as session:
        run_all(session, procedures_for(lab.eut, ("volt-watt", "enter-service", "ride-through")))
    assert write_record(session, tmp_path / "out") == tmp_path / "out" / "report.html"
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    assert manifest["equipment"]["model"] == "inverter of the twin"
    assert manifest["restored"] is True
    assert manifest["settings"]["before"] == manifest["settings"]["after"]
    assert sum(manifest["counts"].values()) == len(session.verdicts)
    verdict = next(c for c in manifest["clauses"] if c["suite"] == "volt-watt")["verdict"]
    assert verdict == "failed, instrumented"

    cases = list(ET.parse(tmp_path / "out" / "junit.xml").iter("testcase"))
    assert len(cases) == len(session.verdicts)
    for outcome, tag in ((Outcome.FAILED, "failure"), (Outcome.NOT_RUN, "skipped")):
        told = [c for c in cases if c.find(tag) is not None]
        assert len(told) == manifest["counts"][str(outcome)] > 0
        assert all(c.find(tag).get("message") for c in told)  # type: ignore[union-attr]

    raw = zarr.open_group(str(tmp_path / "out" / "raw.zarr"), mode="r")
    begin, t, p = (np.asarray(raw[name]) for name in ("begin", "t_s", "p_pu"))
    assert begin[-1] == t.size == p.size
    for k, v in enumerate(session.verdicts):
        assert np.array_equal(p[begin[k] : begin[k + 1]], v.finding.trace.p_pu)

    html = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert not re.search(r"(?:src|href)=", html[: html.index("<script")])
    for word in ("default-src 'none'", "failed, instrumented", "the source has no phase angle", "Settings before and after"):
        assert word in html


def test_the_allowed_band_is_drawn_around_what_passes() -> None:
    lab = model()
    with Session(lab) as session:
        run_all(session, procedures_for(lab.eut, ("volt-var",))[:1])
    (figure,) = figures(session.verdicts)
    names = {trace["name"]: trace for trace in figure.traces}
    assert set(names) == {"allowed", "measured", "passed"}
    band, judged = names["allowed"], names["passed"]
    assert band["fill"] == "toself"
    assert len(judged["x"]) == 2 * (24 - 2)
    lows = [y - down for y, down in zip(judged["y"], judged["error_y"]["arrayminus"])]
    highs = [y + up for y, up in zip(judged["y"], judged["error_y"]["array"])]
    assert all(low <= y <= high for low, y, high in zip(lows, judged["y"], highs))
    assert min(y for y in band["y"] if y is not None) == pytest.approx(min(lows), abs=0.02)


PYTEST = ("-m", "pytest", "-p", "hil.bench.plugin", "--pyargs", "hil.bench.suite", "-p", "no:cacheprovider")


def test_the_plugin_makes_a_test_of_every_row(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = python(*PYTEST, "--bench-suite", "volt-watt", "--bench-target", f"{__name__}:late", "--bench-out", str(out), "-rs")
    assert result.returncode == 1, result.stdout + result.stderr
    assert re.search(r"10 failed, 19 passed, 10 skipped", result.stdout), result.stdout
    assert "volt-watt: IEEE 1547-2018, 5.4.2" in result.stdout
    assert "above VH - a" in result.stdout
    assert json.loads((out / "manifest.json").read_text("utf-8"))["restored"] is True


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"bench_suite": ["nothing"]}, "no suite nothing; there are interoperability"),
        ({"bench_target": "modl"}, "did you mean model?"),
        ({"bench_arm": "10,60"}, "--bench-arm is KW,KWH,MIN, not '10,60'"),
    ],
)
def test_the_plugin_knows_its_suites_and_targets(options: dict[str, object], told: str) -> None:
    given = {"bench_target": "model", "bench_suite": [], "bench_out": "", "bench_arm": "", **options}
    with pytest.raises((pytest.UsageError, DeviceError), match=re.escape(told)):
        Bench(SimpleNamespace(getoption=given.__getitem__))  # type: ignore[arg-type]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("hil", "bench", "--suite", "volt-watt", "--out", str(tmp_path / "out")) == 0
    told = capsys.readouterr()
    assert "passed, instrumented" in told.out
    assert (tmp_path / "out" / "report.html").exists()
    assert vpp("hil", "bench", "--suite", "volt-watt", "--target", f"{__name__}:late", "-q") == 1
    told = capsys.readouterr()
    assert "failed, instrumented" in told.out
    assert "allowed" in told.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--suite", "nothing"), "no suite nothing"),
        (("--target", "modl"), "did you mean model?"),
        (("--target", "nowhere.at.all:x"), "the target cannot be loaded"),
    ],
)
def test_what_the_command_cannot_use(words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("hil", "bench", *words) != 0
    assert told in capsys.readouterr().err
