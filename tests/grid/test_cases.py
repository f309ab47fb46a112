"""The case library: ``vpp grid`` takes every file of it, in every command that makes sense for it."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers.estimation.measured import VM, Grid, P, Q
from controllers.estimation.table import Places
from tests.cases import BALANCED, ROOT, THREE_PHASE
from tests.controllers.metered import true_values
from tests.scenarios.small_runs import vpp
from vpp.grid import load_network
from vpp.grid.powerflow import choose
from vpp.grid.threephase import CurrentInjection, load_threephase

UNUSABLE = 2
MESHED = ("nine/nine.m", "nine/nine.mat", "nine/nine.json", "nine/pandapower.json")
BROKEN = {"ieee13/feeder.dss"}  # limits that these break at their own loads


def told(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> Any:
    """What a command says as JSON."""
    assert vpp("grid", *words, "--json") == code
    return json.loads(capsys.readouterr().out)


def test_every_case_is_listed_and_described() -> None:
    page = (ROOT / "README.md").read_text("utf-8")
    there = {
        str(path.relative_to(ROOT))
        for path in ROOT.glob("*/*")
        if path.suffix in (".m", ".mat", ".json", ".dss") and (path.suffix != ".dss" or path.stem == "feeder")
    }
    assert there | {"village"} == {*BALANCED, *THREE_PHASE}
    for name in {case.partition("/")[0] for case in (*BALANCED, *THREE_PHASE)}:
        assert f"`{name}" in page, name


@pytest.mark.parametrize("case", [*BALANCED, *THREE_PHASE])
def test_info_and_validate(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("grid", "info", ROOT / case) == 0
    said = capsys.readouterr().out
    for word in ("name", "base", "buses", "elements", "load", "connected", "power flow"):
        assert f"{word:12}" in said
    found = told(capsys, "validate", ROOT / case)
    assert [f for f in found if f["level"] == "error"] == []
    assert all(f["message"] and f["mend"] for f in found)


@pytest.mark.parametrize("case", BALANCED)
def test_flow_n1_and_losses(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    flow = told(capsys, "flow", ROOT / case, code=int(case in BROKEN))
    assert np.isfinite(flow["loss_mw"])
    assert len(flow["limits"]) > 0
    losses = told(capsys, "losses", ROOT / case)
    assert losses["losses_kw"]["total"] == pytest.approx(flow["loss_mw"] * 1e3, rel=1e-6)
    vpp("grid", "n1", ROOT / case, "--json")
    network = load_network(f"file:{ROOT / case}")
    cases = json.loads(capsys.readouterr().out)["cases"]
    branches = {(int(k), int(i)) for k, i in zip(network.branch_kind, network.branch_id) if k < 4}
    assert len(cases) == len(branches) - int(np.sum(~network.branch_on[network.branch_kind < 4]))


@pytest.mark.parametrize("case", BALANCED)
def test_convert_and_estimate(case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What comes out in our own format is the same network, and perfect meters in it are estimated as what they measure."""
    assert vpp("grid", "convert", ROOT / case, tmp_path / "net.json") == 0
    capsys.readouterr()
    network, again = load_network(f"file:{ROOT / case}"), load_network(f"file:{tmp_path / 'net.json'}")
    v = choose(network)[0].solve(*network.rated_injections()).v
    converted = again.bus_values(choose(again)[0].solve(*again.rated_injections()).v)
    np.testing.assert_allclose(converted, network.bus_values(v), rtol=0, atol=1e-9)
    grid = Grid.of_network(network)
    named = [name if name.startswith("bus ") else "" for name in grid.node_name]
    write_meters(tmp_path / "meters.csv", grid, v, named)
    found = told(capsys, "estimate", tmp_path / "net.json", "--meters", tmp_path / "meters.csv")
    expected = np.abs(network.bus_values(v))[[int(np.flatnonzero(network.bus_id == b["id"])[0]) for b in found["buses"]]]
    assert np.abs([b["vm_pu"] for b in found["buses"]] - expected).max() < 1e-7


@pytest.mark.parametrize("case", THREE_PHASE)
def test_three_phase_flow_and_losses(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    flow = told(capsys, "flow", ROOT / case, code=int(case in BROKEN))
    network = load_threephase(f"file:{ROOT / case}")
    solution = CurrentInjection(network).solve(*network.rated_injections())
    at = network.node_index()
    assert {row["node"] for row in flow["nodes"]} == set(at)
    for row in flow["nodes"]:
        assert row["vm_pu"] == pytest.approx(abs(solution.v[at[row["node"]]]), abs=1e-9)
        assert row["v"] == pytest.approx(row["vm_pu"] * network.node_v_base[at[row["node"]]])
    for row in flow["unbalance"]:
        three = np.array([solution.v[at[f"{row['bus']}.{phase}"]] for phase in (1, 2, 3)])
        turn = np.exp(2j * np.pi / 3.0)
        parts = [abs(three @ np.array([1.0, turn**k, turn ** (2 * k)])) / 3.0 for k in (1, 2)]
        assert row["unbalance"] == pytest.approx(parts[1] / parts[0], abs=1e-9)
    assert flow["violations"] == sum(row["violated"] for row in flow["limits"])
    losses = told(capsys, "losses", ROOT / case)["losses_kw"]
    assert losses["total"] == pytest.approx(flow["loss_mw"] * 1e3)
    assert sum(kw for kind, kw in losses.items() if kind != "total") == pytest.approx(losses["total"])


@pytest.mark.parametrize("case", ["ieee34/feeder.dss", "european_lv/feeder.dss"])
def test_three_phase_estimate(case: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    network = load_threephase(f"file:{ROOT / case}")
    grid, solution = Grid.of_threephase(network), CurrentInjection(network).solve(*network.rated_injections())
    named = ["" if name.startswith("(source)") else f"bus {name}" for name in grid.node_name]
    write_meters(tmp_path / "meters.csv", grid, solution.v[network.node_on], named)
    found = told(capsys, "estimate", ROOT / case, "--meters", tmp_path / "meters.csv")
    at = network.node_index()
    assert len(found["buses"]) == len(at)
    for bus in found["buses"]:
        assert bus["vm_pu"] == pytest.approx(abs(solution.v[at[bus["name"]]]), abs=1e-6)


def write_meters(path: Path, grid: Grid, v: np.ndarray, named: list[str]) -> None:
    """Perfect meters: the voltage of every node that has a name, P and Q wherever something injects."""
    rows = [("quantity", "element", "value", "sigma")]
    for kind, quantity, sigma in (
        (VM, "vm_pu", 1e-3),
        (P, "p_mw", 1e-3 * grid.p_base_mva),
        (Q, "q_mvar", 1e-3 * grid.p_base_mva),
    ):
        at = np.array([k for k in range(grid.n) if named[k] and (kind == VM or not grid.zero[k])])
        z = true_values(grid, v, np.full(len(at), kind), at) * (1.0 if kind == VM else grid.p_base_mva)
        rows += [(quantity, named[k], f"{value:.15g}", f"{sigma:.6g}") for k, value in zip(at.tolist(), z.tolist())]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    path.write_text(text.getvalue())


def test_names_of_phases_that_are_wrong_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.csv").write_text(
        "quantity,element,value,sigma\nvm_pu,bus 671,1.0,0.01\np_mw,line 632_670.1 from,1.0,0.1\np_mw,line 632.1 from,1,1\n"
    )
    assert vpp("grid", "estimate", ROOT / "ieee13/feeder.dss", "--meters", tmp_path / "m.csv") == UNUSABLE
    said = " ".join(capsys.readouterr().err.split())
    assert "line 2: no phase 671 of a bus, did you mean" in said
    assert "line 4: no line 632.1" in said
    assert "line 3" not in said
    network = load_threephase(f"file:{ROOT / 'ieee13/feeder.dss'}")
    grid = Grid.of_threephase(network)
    assert len(Places.of_threephase(network, grid).branch) == len(grid.branch_name)  # no two share a name


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("n1",), "takes balanced networks"),
        (("losses", "--reconfigure"), "takes balanced networks"),
        (("convert", "out.json"), "takes balanced networks"),
        (("flow", "--reverse", 0), "--reverse"),
        (("flow", "--rating", "0.9"), "--rating"),
        (("flow", "--vm", "low"), "is no band"),
    ],
)
def test_what_makes_no_sense_for_three_phases(words: tuple[Any, ...], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, *more = words
    assert vpp("grid", command, ROOT / "ieee13/feeder.dss", *more) == UNUSABLE
    assert says in capsys.readouterr().err


def test_three_phase_flow_in_words_and_as_csv(capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("grid", "flow", ROOT / "ieee13/feeder.dss", "--top", 3) == 1
    said = capsys.readouterr().out
    for text in ("losses 110.5 kW", "rg60.3", "unbalance of the three-phase buses", "675", "1 of 93 limits broken"):
        assert text in said
    assert vpp("grid", "flow", ROOT / "ieee13/feeder.dss", "--unbalance", 0.03, "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 41
    assert vpp("grid", "flow", ROOT / "ieee13/feeder.dss", "--scale", 30, "--vm", "0.5:1.5") == 1
    assert "does not converge" in capsys.readouterr().err


def test_all_forms_of_one_network_are_the_same_network() -> None:
    first = None
    for case in MESHED:
        network = load_network(f"file:{ROOT / case}")
        v = network.bus_values(choose(network)[0].solve(*network.rated_injections()).v)
        first = v if first is None else first
        assert np.abs(v - first).max() < 1e-9, case


def test_a_folder_of_profiles_is_its_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "village.zip", "w") as archive:
        for file in sorted((ROOT / "village").glob("*.xml")):
            archive.write(file, file.name)
    folder, packed = load_network(f"file:{ROOT / 'village'}"), load_network(f"file:{tmp_path / 'village.zip'}")
    assert folder.bus_name == packed.bus_name
    assert np.array_equal(folder.y_data, packed.y_data)


def test_what_is_no_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.dss").write_text("new circuit.c basekv=4.16 bus1=a\nnew lode.l bus1=a\nnew load.m bus1=a kw=\n")
    found = told(capsys, "validate", tmp_path / "bad.dss", code=1)
    assert {f["rule"] for f in found} == {"not-read"}
    assert any(f"{tmp_path / 'bad.dss'}:2:" in f["message"] for f in found)
    assert any(f"{tmp_path / 'bad.dss'}:3:" in f["message"] for f in found)
    for path, says in ((tmp_path, "no CGMES profile"), (tmp_path / "none.dss", "no file"), (tmp_path / "none.mat", "no file")):
        assert vpp("grid", "validate", path) == UNUSABLE
        assert says in capsys.readouterr().err
