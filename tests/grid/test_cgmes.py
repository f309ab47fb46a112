"""CGMES through pandapower's converter: a sample of five elements written by hand, against the same network by hand."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandapower as pp
import pytest

from tests.cases import ROOT
from tests.grid.test_format import differing
from vpp.grid import load_network
from vpp.grid.compile import compile_network
from vpp.grid.format import read_network, save_network
from vpp.grid.model import NetworkModel
from vpp.grid.powerflow import choose
from vpp.grid.source import load_source, quiet
from vpp.grid.validate import validate
from vpp.kernel.errors import NetworkError

DATA = ROOT / "village"


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """The four profiles (equipment, steady-state hypothesis, topology, state variables) in one archive."""
    path = tmp_path / "village.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(DATA.glob("*.xml")):
            archive.write(file, file.name)
    return path


def by_hand() -> pp.pandapowerNet:
    """The same: 25 MVA 110/20 kV Yd5, 3 km of cable, 4 MW and 1 Mvar; impedances in ohm at the 110 kV side."""
    net = pp.create_empty_network()
    z_base = 110.0**2 / 25.0
    with quiet():
        for kv in (110.0, 20.0, 20.0):
            pp.create_bus(net, kv)
        pp.create_ext_grid(net, 0, vm_pu=112.2 / 110.0)
        pp.create_transformer_from_parameters(
            net, 0, 1, 25.0, 110.0, 20.0, 100 * 2.178 / z_base, 100 * np.hypot(2.178, 58.04) / z_base,
            5e-7 * 110.0**2 * 1e3, 100 * np.hypot(1e-6, 5e-7) * z_base, shift_degree=150.0,
        )  # fmt: skip
        pp.create_line_from_parameters(net, 1, 2, 3.0, 0.6 / 3, 0.36 / 3, 2.4e-4 / 3 / (2 * np.pi * 50.0) * 1e9, np.nan)
        pp.create_load(net, 2, 4.0, 1.0)
    return net


def test_it_is_the_network_that_it_says(sample: Path) -> None:
    network = load_network(f"file:{sample}", cache=False)
    assert network.bus_name == ("HV busbar", "MV busbar", "village")
    assert network.loads.p_mw.tolist() == [-4.0]
    expected = compile_network(by_hand(), "hand", "hand")
    ours, theirs = (choose(n)[0].solve(*n.rated_injections()) for n in (network, expected))
    assert ours.converged
    assert np.allclose(ours.v, theirs.v, rtol=0, atol=1e-6)
    assert 0.005 < 1.02 - abs(ours.v[-1]) < 0.02


def test_it_goes_into_our_own_format(sample: Path, tmp_path: Path) -> None:
    net, notes = load_source(f"file:{sample}")
    model = NetworkModel.of_pandapower(net, notes)
    save_network(model, tmp_path / "net.json")
    with quiet():
        again = read_network(tmp_path / "net.json").to_pandapower()
    assert differing(compile_network(net, "a", "a"), compile_network(again, "a", "a")) == []
    assert [f.rule for f in validate(model) if f.level != "info"] == []


def test_an_archive_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "net.zip"
    path.write_text("no archive")
    with pytest.raises(NetworkError, match="is no ZIP file"):
        load_network(f"file:{path}", cache=False)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "nothing")
    with pytest.raises(NetworkError, match="is no CGMES archive"):
        load_network(f"file:{path}", cache=False)
