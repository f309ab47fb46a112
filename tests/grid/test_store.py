"""Loading: names, files, errors, and the cache."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandapower as pp
import pytest

from tests.grid.handmade import radial
from vpp.grid import Network, load_network, load_profiles, to_pandapower
from vpp.grid.source import digest, quiet, resolve
from vpp.kernel.errors import NetworkError

SIMPLE = "pandapower:case9"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("case33bw", "expected simbench:<code>, pandapower:<name> or file:<path>"),
        ("simbnch:1-LV-rural1--0-sw", "did you mean simbench:?"),
        ("simbench:", "expected"),
        ("simbench:1-LV-rurl1--0-sw", "did you mean 1-LV-rural1--0-sw"),
        ("pandapower:case33", "did you mean case33bw"),
        ("pandapower:cigre_vm", "did you mean cigre_mv"),
        ("pandapower:cigre_mv?with_dr=all", "takes no argument 'with_dr'; did you mean with_der?"),
        ("file:nowhere.json", "no file"),
        ("file:notes.txt", "not read"),
        ("file:netz.json", "did you mean net.json?"),
        ("file:broken.json", "cannot be read"),
        ("file:other.json", "cannot be read"),
    ],
)
def test_bad_specifications(spec: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "net.json").write_text("{}")
    (tmp_path / "broken.json").write_text("{ not json")
    (tmp_path / "other.json").write_text("[1, 2]")
    with pytest.raises(NetworkError) as caught:
        load_network(spec, base=tmp_path, cache=False)
    assert message in str(caught.value)
    assert caught.value.spec == spec


def test_short_names_and_arguments() -> None:
    assert load_network("pandapower:cigre_mv").n_bus == load_network("pandapower:create_cigre_network_mv").n_bus == 15
    assert len(load_network("pandapower:cigre_mv?with_der=pv_wind").sgens) > 5


def test_relative_path_and_json(tmp_path: Path) -> None:
    with quiet():
        pp.to_json(radial(), str(tmp_path / "net.json"))
    network = load_network("file:net.json", base=tmp_path, cache=False)
    assert network.source == f"file:{tmp_path / 'net.json'}"
    assert network.name == "handmade radial"
    assert len(to_pandapower(network).bus) == network.n_bus
    (tmp_path / "net.json").write_text((tmp_path / "net.json").read_text() + " ")
    with pytest.raises(NetworkError, match="has changed since it was compiled"):
        to_pandapower(network)


def _equal(a: Network, b: Network) -> bool:
    for field in dataclasses.fields(a):
        x, y = getattr(a, field.name), getattr(b, field.name)
        if dataclasses.is_dataclass(x):
            for inner in dataclasses.fields(x):
                u, v = getattr(x, inner.name), getattr(y, inner.name)
                same = np.array_equal(u, v, equal_nan=u.dtype.kind == "f") if isinstance(u, np.ndarray) else u == v
                if not same or type(u) is not type(v):
                    return False
        elif isinstance(x, np.ndarray):
            if x.dtype != y.dtype or not np.array_equal(x, y, equal_nan=x.dtype.kind in "fc"):
                return False
        elif x != y or type(x) is not type(y):
            return False
    return True


def test_cache_returns_the_same_and_survives_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPP_CACHE_DIR", str(tmp_path))
    fresh = load_network(SIMPLE)
    (file,) = (tmp_path / "vpp-core" / "networks").iterdir()
    assert file.name == f"{fresh.digest}.npz"
    assert _equal(fresh, load_network(SIMPLE))
    whole = file.read_bytes()
    for damaged in (b"", b"PK nonsense", whole[: len(whole) // 2], whole[:400] + b"\x55" * 64 + whole[464:]):
        file.write_bytes(damaged)
        assert _equal(fresh, load_network(SIMPLE))
        assert file.read_bytes() == whole
    assert [f.suffix for f in file.parent.iterdir()] == [".npz"]  # no temporary files stay


def test_cache_follows_the_content_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VPP_CACHE_DIR", str(tmp_path / "cache"))
    net = radial()
    path = tmp_path / "net.json"
    with quiet():
        pp.to_json(net, str(path))
    first = load_network(f"file:{path}")
    net.load.loc[8, "p_mw"] = 0.2
    with quiet():
        pp.to_json(net, str(path))
    second = load_network(f"file:{path}")
    assert first.loads.p_mw[0] == -0.12
    assert second.loads.p_mw[0] == -0.2
    assert digest(resolve(f"file:{path}")) == second.digest != first.digest


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VPP_CACHE_DIR", str(tmp_path / "file"))
    assert load_network(SIMPLE).n_bus == 9


def test_from_the_cache_nothing_heavy_is_imported() -> None:
    load_network("pandapower:case33bw")
    load_profiles("simbench:1-LV-rural1--0-sw")
    code = (
        "import sys; from vpp.grid import load_network, load_profiles; from vpp.grid.powerflow import choose; "
        "n = load_network('pandapower:case33bw'); choose(n)[0].solve(*n.rated_injections()); "
        "load_profiles('simbench:1-LV-rural1--0-sw'); "
        "print([m for m in ('pandapower', 'simbench', 'pandas', 'lightsim2grid', 'scipy.sparse') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_profiles(tmp_path: Path) -> None:
    profiles = load_profiles("simbench:1-LV-rural1--0-sw")
    assert profiles.factor.shape == (len(profiles.names), 35136)
    assert profiles.factor.dtype == np.float32
    assert profiles.names == tuple(sorted(profiles.names))
    assert {"PV5", "H0-A_pload", "H0-A_qload"} <= set(profiles.names)
    assert profiles.step_s == 900
    assert np.datetime64(profiles.start_ns, "ns") + np.timedelta64(1, "h") == profiles.start
    network = load_network("simbench:1-LV-rural1--0-sw")
    rows = profiles.rows(network.loads.profile, "_pload")
    assert profiles.names[rows[0]] == f"{network.loads.profile[0]}_pload"
    assert profiles.rows(("", "PV5")).tolist() == [-1, profiles.index("PV5")]
    with pytest.raises(KeyError, match="did you mean PV5"):
        profiles.index("PV55")
    with pytest.raises(NetworkError, match="only SimBench networks"):
        load_profiles("pandapower:case9")


def test_damaged_profiles_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd

    from vpp.grid import source

    calls = []

    def fake(resolved: str, *, shown: str) -> tuple[dict[str, object], tuple[str, ...]]:
        calls.append(shown)
        table = pd.DataFrame({"time": ["a", "b"], "PV1": [0.5, 0.25], "H_pload": [1.0, 2.0]})
        return {"profiles": {"load": table, "storage": table.iloc[:0]}}, ()

    monkeypatch.setenv("VPP_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(source, "load_source", fake)
    spec = "simbench:1-LV-rural1--0-sw"
    for damage in (None, b"broken", b""):
        for file in (tmp_path / "vpp-core" / "networks").glob("*.npy"):
            if damage is not None:
                file.write_bytes(damage)
        for _ in range(2):
            profiles = load_profiles(spec)
            assert profiles.names == ("H_pload", "PV1")
            assert profiles.factor.tolist() == [[1.0, 2.0], [0.5, 0.25]]
            del profiles
    assert len(calls) == 3
