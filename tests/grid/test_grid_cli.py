"""``vpp grid``: info, validate, convert."""

from __future__ import annotations

import json
from pathlib import Path

import pandapower as pp
import pytest

from tests.grid.handmade import spec_of
from tests.grid.test_topology import ring
from tests.scenarios.small_runs import vpp
from vpp.grid.source import quiet

UNUSABLE = 2


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("grid", "info", spec_of("handmade:radial")) == 0
    told = capsys.readouterr().out
    for text in ("handmade radial", "12 (", "2 without supply in 1 parts", "2 feeders", "tree sweep", "MW"):
        assert text in told


def test_validate_says_what_and_how_and_ends_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = ring()
    net.line.loc[1, "r_ohm_per_km"] = -1.0
    with quiet():
        pp.to_json(net, str(tmp_path / "net.json"))
    assert vpp("grid", "validate", tmp_path / "net.json") == 1
    told = capsys.readouterr().out
    assert "line 1: the resistance is negative; correct it (ohm per km) [impossible-impedance]" in told
    assert "bus 7: they have no source; close switch 1 [no-supply]" in told
    assert "1 error, 2 warning, 0 info" in told
    assert vpp("grid", "validate", tmp_path / "net.json", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert {"rule": "impossible-impedance", "level": "error", "kind": "line", "ids": [1]}.items() <= found[0].items()
    assert vpp("grid", "validate", "pandapower:case33bw") == 0


def test_a_network_that_cannot_be_compiled_is_validated_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = ring()
    net.line.loc[1, "to_bus"] = 77
    with quiet():
        pp.to_json(net, str(tmp_path / "net.json"))
    assert vpp("grid", "validate", tmp_path / "net.json") == 1
    told = capsys.readouterr().out
    assert "[not-compiled]" in told
    assert "line 1: to_bus is no bus of the network" in told


def test_there_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = tmp_path / "ours.json", tmp_path / "theirs.json"
    assert vpp("grid", "convert", spec_of("handmade:radial"), ours) == 0
    assert capsys.readouterr().out.split() == [str(ours), str(ours.with_suffix(".npz"))]
    assert vpp("grid", "convert", ours, theirs, "--to", "pandapower") == 0
    assert capsys.readouterr().out.split() == [str(theirs)]
    with quiet():
        assert len(pp.from_json(str(theirs)).bus) == 12
    assert vpp("grid", "convert", theirs, ours) == UNUSABLE
    assert "is there already; --force replaces it" in capsys.readouterr().err
    before = ours.with_suffix(".npz").read_bytes()
    assert vpp("grid", "convert", theirs, ours, "--force") == 0
    assert ours.with_suffix(".npz").read_bytes() == before


def test_what_cannot_be_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("grid", "convert", "pandapower:case9", tmp_path / "net.txt") == UNUSABLE
    assert vpp("grid", "convert", "pandapower:case9", tmp_path / "no" / "net.json") == UNUSABLE
    assert vpp("grid", "info", "pandapower:case33") == UNUSABLE
    told = capsys.readouterr().err
    assert "its suffix is not .json" in told
    assert "cannot be written: No such file" in told
    assert "did you mean case33bw" in told
    net = ring()
    with quiet():
        pp.create_motor(net, 2, 0.1, 0.9)
        pp.to_json(net, str(tmp_path / "motor.json"))
    assert vpp("grid", "convert", tmp_path / "motor.json", tmp_path / "out.json") == UNUSABLE
    assert "has elements that cannot be converted: 1 motor" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()
