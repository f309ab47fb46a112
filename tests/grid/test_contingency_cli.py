"""``vpp grid flow`` and ``vpp grid n1``."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.scenarios.small_runs import vpp

RING = "simbench:1-MV-rural--0-sw"
UNUSABLE = 2


def test_flow_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("grid", "flow", RING, "--reverse", 1, "--top", 3) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("1-MV-rural--0-sw: radial (1 tree, 101 nodes)")
    assert told[1].split() == ["quantity", "element", "value", "limit", "margin", "violated"]
    assert told[2].split()[0] == "reverse"
    assert len(told) == 6
    assert told[-1] == "2 of 297 limits broken"
    assert vpp("grid", "flow", RING) == 0


def test_flow_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("grid", "flow", RING, "--vm", "1.01:1.02", "--rating", "line=0.5,line:3=0.4", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    limits = found["limits"]
    assert found["violations"] == sum(x["violated"] for x in limits) > 10
    assert all(x["violated"] == (x["margin"] < 0) for x in limits)
    assert {x["limit"] for x in limits if x["quantity"] == "loading"} == {0.5, 0.4, 1.0}
    assert {x["limit"] for x in limits if x["quantity"] == "vm_high"} == {1.02}
    assert vpp("grid", "flow", RING, "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == len(limits)


def test_every_outage_and_what_restores_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("grid", "n1", RING, "--restore", "--top", 2) == 0
    told = capsys.readouterr().out
    assert "101 outages, the worst first" in told
    assert "close MV1.101 loop_line_switch 2.2" in told
    assert "0 without a solution, 93 cut buses off, 0 leave islands; 0 violations caused" in told


def test_pairs_and_violations(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--pairs", "line:3,line:7,trafo:0", "--vm", "0.95:1.05", "--emergency", "line=1.2", "--json")
    assert vpp("grid", "n1", "pandapower:case118", *options) == 1
    found = json.loads(capsys.readouterr().out)
    assert {x["outage"] for x in found["cases"]} == {"line 3 + line 7", "line 3 + trafo 0", "line 7 + trafo 0"}
    assert sum(x["violations"] for x in found["cases"]) == len(found["violations"])
    caused = [x for x in found["violations"] if x["caused"]]
    assert caused
    assert all(x["margin"] < 0 for x in caused)
    assert vpp("grid", "n1", "pandapower:case118", "--kinds", "trafo", "--csv") in (0, 1)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 13


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("n1", RING, "--kinds", "cable"), "no kind of branch 'cable'"),
        (("n1", RING, "--pairs", "line:9999"), "no line 9999"),
        (("n1", RING, "--emergency", "1.x"), "could not convert"),
        (("flow", RING, "--vm", "1"), "'1' is no band"),
        (("flow", RING, "--vm", "1.1:0.9"), "0 < vm_low_pu <= vm_high_pu"),
        (("flow", RING, "--reverse", "-1"), "0 or more"),
        (("flow", "nothing.json"), "no file"),
    ],
)
def test_what_cannot_be_used_is_said(options: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("grid", *options) == UNUSABLE
    told = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert text in told


def test_no_solution_is_an_error_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("grid", "n1", RING, "--scale", 500) == 1
    assert "does not converge" in capsys.readouterr().err


def test_the_howto_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs/howto/contingencies.md").read_text("utf-8")
    code = text.partition("```python\n")[2].partition("```")[0]
    exec(compile(code, "contingencies.md", "exec"), {})
    told = capsys.readouterr().out
    assert "MV1.101 Line 45 lost 3.24" in told
    assert "loop_line_switch" in told


def test_reverse_power_after_an_outage(capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("grid", "n1", RING, "--kinds", "trafo", "--reverse", 5, "--vm", "0.8:1.2", "--json") == 1
    found = json.loads(capsys.readouterr().out)["violations"]
    assert {x["quantity"] for x in found} == {"reverse"}
    assert all(x["caused"] and x["value"] > x["limit"] == 5.0 > x["base"] for x in found)
