"""Our own network format: what is written is read again, older versions too, and damage is noticed."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pytest

from tests.cases import ROOT
from tests.grid.handmade import spec_of
from vpp.grid import load_network
from vpp.grid.compile import compile_network
from vpp.grid.format import VERSION, is_network, read_network, save_network
from vpp.grid.model import SCHEMA, NetworkModel
from vpp.grid.network import Network
from vpp.grid.source import load_source, quiet, resolve
from vpp.kernel.errors import NetworkError

SPECS = (
    "handmade:radial", "handmade:meshed", "simbench:1-LV-rural1--0-sw", "pandapower:case118", "pandapower:cigre_mv?with_der=all",
)  # fmt: skip
OLD = ROOT / "version_1" / "version_1.json"


def model_of(spec: str) -> tuple[NetworkModel, Any]:
    """The elements of a network, and pandapower's own."""
    net, notes = load_source(resolve(spec_of(spec)))
    return NetworkModel.of_pandapower(net, notes), net


def differing(a: Network, b: Network) -> list[str]:
    """Fields in which two compiled networks differ."""
    leaves = [(f.name, getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a)]
    for table in ("loads", "sgens", "storages", "gens", "switches"):
        x, y = getattr(a, table), getattr(b, table)
        leaves += [(f"{table}.{f.name}", getattr(x, f.name), getattr(y, f.name)) for f in dataclasses.fields(x)]
    found = []
    for name, x, y in leaves:
        if name in ("source", "digest", "notes") or dataclasses.is_dataclass(x):
            continue
        if isinstance(x, np.ndarray):
            same = x.shape == y.shape and x.dtype == y.dtype
            same = same and (np.allclose(x, y, 1e-14, 0, True) if x.dtype.kind in "fc" else np.array_equal(x, y))
        else:
            same = x == y
        if not same:
            found.append(name)
    return found


@pytest.mark.parametrize("spec", SPECS)
def test_written_read_and_exported_it_compiles_to_the_same(spec: str, tmp_path: Path) -> None:
    """pandapower -> ours -> file -> ours -> pandapower: nothing that the compiled network knows is lost."""
    model, net = model_of(spec)
    assert model.unsupported == {}
    save_network(model, tmp_path / "net.json")
    again = read_network(tmp_path / "net.json")
    with quiet():
        exported = again.to_pandapower()
    assert differing(compile_network(net, "a", "a"), compile_network(exported, "a", "a")) == []


def test_a_file_is_loaded_like_any_other(tmp_path: Path) -> None:
    model, _ = model_of("handmade:radial")
    path = tmp_path / "net.json"
    save_network(model, path)
    assert is_network(path)
    first = load_network(f"file:{path}", cache=False)
    assert differing(load_network(spec_of("handmade:radial")), first) == []
    assert first.name == "handmade radial"
    model.tables["load"]["p_mw"][0] *= 2.0
    save_network(model, path)
    assert load_network(f"file:{path}", cache=False).digest != first.digest


def test_the_power_flow_is_the_same(tmp_path: Path) -> None:
    model, net = model_of("handmade:meshed")
    with quiet():
        exported = model.to_pandapower()
        pp.runpp(net)
        pp.runpp(exported)
    assert np.allclose(net.res_bus.vm_pu, exported.res_bus.vm_pu, rtol=0, atol=1e-12, equal_nan=True)


def test_signs_are_ours() -> None:
    """Loads and charging are negative, and so is what a ward takes; the state of charge is a fraction."""
    model, net = model_of("handmade:radial")
    assert np.array_equal(model.tables["load"]["p_mw"], -net.load.p_mw)
    assert model.tables["storage"]["p_mw"].tolist() == [-0.05]
    assert model.tables["storage"]["soc"].tolist() == [0.4]
    assert np.array_equal(model.tables["ward"]["ps_mw"], -net.ward.ps_mw)
    assert np.array_equal(model.tables["sgen"]["p_mw"], net.sgen.p_mw)


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    model, _ = model_of("handmade:radial")
    for name in "ab":
        (tmp_path / name).mkdir()
        save_network(model, tmp_path / name / "net.json")
    for suffix in ("json", "npz"):
        assert (tmp_path / "a" / f"net.{suffix}").read_bytes() == (tmp_path / "b" / f"net.{suffix}").read_bytes()


def test_version_1_is_read() -> None:
    """Stored when version 1 was written: consumption positive, percent; the same network today."""
    assert json.loads(OLD.read_text())["version"] == 1
    old, (today, _) = read_network(OLD), model_of("handmade:radial")
    for kind, columns in SCHEMA.items():
        for column in columns:
            a, b = old.tables[kind][column.name], today.tables[kind][column.name]
            same = np.allclose(a, b, rtol=1e-14, atol=0, equal_nan=True) if column.dtype == "f8" else np.array_equal(a, b)
            assert same, (kind, column.name)
            assert a.dtype == b.dtype


def copy_of(tmp_path: Path, **changes: Any) -> Path:
    """The stored sample with changes in its JSON file."""
    for suffix in (".json", ".npz"):
        shutil.copy(OLD.with_suffix(suffix), tmp_path / f"version_1{suffix}")
    path = tmp_path / "version_1.json"
    raw = json.loads(path.read_text())
    for key, value in changes.items():
        raw[key] = value
    path.write_text(json.dumps(raw, sort_keys=True, indent=1))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": VERSION + 1}, f"is of version {VERSION + 1}; this program reads up to {VERSION}"),
        ({"version": 0}, "is no vpp-network"),
        ({"version": "1"}, "is no vpp-network"),
        ({"format": "other"}, "is no vpp-network"),
        ({"numbers": {"file": "gone.npz", "sha256": ""}}, "cannot be read: No such file"),
        ({"numbers": {"file": "version_1.npz", "sha256": "0"}}, "is not the file that it was written with"),
        ({"tables": {}}, "is damaged: KeyError"),
        ({"sn_mva": None}, "is damaged"),
    ],
)
def test_what_cannot_be_read(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=message):
        read_network(copy_of(tmp_path, **changes))


def test_rows_that_do_not_fit(tmp_path: Path) -> None:
    raw = json.loads(OLD.read_text())
    raw["tables"]["bus"]["rows"] += 1
    with pytest.raises(NetworkError, match=r"bus\.id has 12 rows instead of 13"):
        read_network(copy_of(tmp_path, tables=raw["tables"]))


def test_no_json_at_all(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_bytes(b"\xff\xfe")
    assert not is_network(path)
    assert not is_network(tmp_path / "gone.json")
    path.write_text('{"format": "vpp-network", "version"')
    with pytest.raises(NetworkError, match="is damaged"):
        read_network(path)


def test_elements_that_are_not_kept_are_named() -> None:
    _, net = model_of("handmade:radial")
    with quiet():
        pp.create_dcline(net, 3, 20, 0.1, 1.0, 0.0, 1.0, 1.0)
        pp.create_motor(net, 20, 0.1, 0.9)
    assert NetworkModel.of_pandapower(net).unsupported == {"dcline": 1, "motor": 1}
