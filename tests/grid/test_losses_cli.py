"""``vpp grid losses``."""

from __future__ import annotations

import json

import pytest

from tests.grid.handmade import spec_of
from tests.scenarios.small_runs import vpp


def test_losses_say_where_and_what_could_be_saved(capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("grid", "losses", "pandapower:case33bw", "--reconfigure") == 0
    told = capsys.readouterr().out
    for text in ("202.7 kW (line 202.7)", "0 inverters", "139.6 kW, 31.1% less", "close line 32, line 33"):
        assert text in told


def test_losses_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("grid", "losses", spec_of("handmade:radial"), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    kinds = found["losses_kw"]
    assert set(kinds) == {"line", "trafo", "trafo3w", "total"}
    assert sum(kw for kind, kw in kinds.items() if kind != "total") == pytest.approx(kinds["total"])
    assert found["volt_var"]["inverters"] == 1
    assert found["volt_var"]["loss_kw"] <= kinds["total"] or found["volt_var"]["breaches_before"]
    assert "reconfiguration" not in found


def test_a_meshed_network_has_no_open_points(capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("grid", "losses", "pandapower:case9", "--reconfigure") == 2
    assert "not radial" in capsys.readouterr().err
