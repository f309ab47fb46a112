"""``vpp grid estimate``: a table of measurements in, a table of voltages out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from controllers.estimation.measured import VM, P
from scenarios.grid_cli import app
from tests.controllers.metered import Metered, metered
from vpp.kernel.errors import NetworkError

SPEC = "pandapower:case33bw"


def table(case: Metered, z: np.ndarray, skip: frozenset[int] = frozenset()) -> str:
    """The case's measurements as text."""
    grid, base = case.grid, case.grid.p_base_mva
    lines = ["# as metered", "quantity, element, value, sigma"]
    place = {int(r): f"{grid.branch_name[b]} {('from', 'to')[side]}" for (b, side), r in np.ndenumerate(grid.branch_row)}
    for i, (kind, row) in enumerate(zip(case.meters.kind, case.meters.row.tolist(), strict=True)):
        name = "vm_pu" if kind == VM else ("p_mw" if kind == P else "q_mvar")
        scale = 1.0 if kind == VM else base
        where = grid.node_name[row] if row < grid.n else place[row]
        if i not in skip:
            lines.append(f"{name},{where},{z[i] * scale:.12g},{case.meters.sigma[i] * scale:.6g}")
    return "\n".join(lines)


def run(tmp_path: Path, text: str, *more: str) -> tuple[int, str]:
    """The command's exit code and what it says."""
    path = tmp_path / "meters.csv"
    path.write_text(text)
    done = CliRunner().invoke(app, ["estimate", SPEC, "--meters", str(path), *more], env={"COLUMNS": "200"})
    if isinstance(done.exception, NetworkError):
        return 2, str(done.exception)
    return done.exit_code, done.output


def test_perfect_meters(tmp_path: Path) -> None:
    case = metered(SPEC)
    code, text = run(tmp_path, table(case, case.z), "--json")
    told = json.loads(text)
    assert code == 0
    assert told["suspects"] == told["doubted"] == told["wanted"] == []
    assert np.allclose([bus["vm_pu"] for bus in told["buses"]], np.abs(case.v), atol=1e-9)
    flows = case.network.branch_flows(case.v)
    on = case.network.branch_on
    assert np.allclose(
        [b["i_ka"] for b in told["branches"]], np.maximum(flows.i_from_ka, flows.i_to_ka)[on], atol=1e-9
    )  # fmt: skip


def test_a_gross_error_is_named(tmp_path: Path) -> None:
    case = metered(SPEC)
    z = case.z.copy()
    i = int(np.flatnonzero((case.meters.kind == VM) & (case.meters.row == 17))[0])
    z[i] += 0.05
    code, text = run(tmp_path, table(case, z))
    assert code == 1
    assert "suspect vm_pu bus 17" in text


def test_what_is_not_known_is_told(tmp_path: Path) -> None:
    case = metered(SPEC)
    near = np.concatenate([[16, 17], case.grid.branch_row[16]])
    last = [i for i, row in enumerate(case.meters.row.tolist()) if row in near and not (case.meters.kind[i] == VM and row == 16)]
    code, text = run(tmp_path, table(case, case.z, frozenset(last)))
    assert code == 1
    assert "wanted not determined: bus 17" in text
    assert "line 16" in text


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("vm_pu,bus 99,1.0,0.01", "line 2: no bus 99"),
        ("vm,bus 1,1.0,0.01", "line 2: no quantity 'vm'"),
        ("p_mw,line 3 middle,1.0,0.01", "is no element"),
        ("p_mw,line 32 from,1.0,0.01", "line 32 is switched off"),
        ("p_mw,bus 1,much,0.01", "'much' is no number"),
        ("p_mw,bus 1,1.0,0", "sigma must be above zero"),
        ("i_ka,bus 1,1.0,0.1", "a current is measured at a branch"),
    ],
)
def test_bad_lines_are_told_with_their_number(tmp_path: Path, line: str, says: str) -> None:
    code, text = run(tmp_path, f"quantity,element,value,sigma\n{line}\n")
    assert code == 2
    assert says in text


def test_missing_columns_are_told(tmp_path: Path) -> None:
    assert run(tmp_path, "a,b\n1,2\n")[0] == 2
