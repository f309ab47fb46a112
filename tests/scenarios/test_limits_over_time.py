"""Limits over a run: in its manifest, in its record, and the same when they are counted from the series."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenarios import load
from scenarios.build import RunResult, run
from vpp.grid import load_network
from vpp.grid.limits import high_sides

Write = Callable[..., Path]
TEXT = """\
# A day in which the street feeds back through its transformer.
extends: lv-rural-street
planner: null
limits: {vm_low_pu: 1.02, vm_high_pu: 1.03, loading: 0.4, reverse_mw: 0.03}
record: [voltage, loading, reverse, delivered]
"""


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    folder = tmp_path_factory.mktemp("limits")
    path = folder / "back.yaml"
    path.write_text(TEXT)
    return run(load(path), out=folder / "runs", wiring="direct")


def told(result: RunResult, quantity: str, position: int) -> dict[str, Any] | None:
    """What the manifest says of one limit."""
    found = [r for r in result.manifest["limits"]["violations"] if (r["quantity"], r["position"]) == (quantity, position)]
    return found[0] if found else None


@pytest.mark.parametrize(
    ("quantity", "series", "limit", "sign"),
    [
        ("vm_low", "buses/vm_pu", 1.02, -1), ("vm_high", "buses/vm_pu", 1.03, 1), ("loading", "branches/loading", 0.4, 1),
        ("reverse", "branches/reverse_mw", 0.03, 1),
    ],
)  # fmt: skip
def test_the_manifest_says_what_the_record_shows(result: RunResult, quantity: str, series: str, limit: float, sign: int) -> None:
    tree = result.open()
    values, time_ns = tree[series].values, tree["time"].values.astype(np.int64)
    over = sign * (values - limit) > 0
    assert over.any(), "the case must break this limit"
    counts = result.manifest["limits"]["counts"][quantity]
    assert counts["elements"] == over.any(axis=0).sum()
    assert counts["element_hours"] == pytest.approx(over.sum() / 4)
    assert tree[f"limits/{quantity}"].values.tolist() == over.sum(axis=1).tolist()
    for position in np.flatnonzero(over.any(axis=0)).tolist():
        row = told(result, quantity, position)
        assert row is not None
        worst = int(np.nanargmax(sign * values[:, position]))
        assert row["value"] == pytest.approx(values[worst, position], abs=2e-5)
        assert row["margin"] == pytest.approx(sign * (limit - row["value"]), abs=1e-9)
        assert row["hours"] == over[:, position].sum() / 4
        assert row["first_ns"] == time_ns[np.argmax(over[:, position])]
        runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], over[:, position], [0]]))))[::2]
        assert row["longest_h"] == runs.max() / 4
        assert row["element"]


def test_reverse_power_is_what_leaves_at_the_high_side(result: RunResult) -> None:
    """With one transformer it is the exchange, and no other branch has any."""
    tree, network = result.open(), load_network("simbench:1-LV-rural1--0-sw")
    (trafo,) = np.flatnonzero(high_sides(network))
    back = tree["branches/reverse_mw"].values
    np.testing.assert_allclose(back[:, trafo], tree["system/exchange_p_mw"].values, atol=2e-6)
    assert np.isnan(np.delete(back, trafo, axis=1)).all()


def test_violations_come_the_most_severe_first(result: RunResult) -> None:
    rows = result.manifest["limits"]["violations"]
    severity = [-r["margin"] / r["limit"] for r in rows]
    assert severity == sorted(severity, reverse=True)
    assert result.manifest["limits"]["worst"]["vm_high"]["value"] == pytest.approx(result.manifest["summary"]["vm_max_pu"])
    assert result.manifest["limits"]["worst"]["loading"]["value"] == pytest.approx(result.manifest["summary"]["loading_max"])


def test_limits_that_hold_say_how_near_they_came(tmp_path: Path) -> None:
    path = tmp_path / "calm.yaml"
    path.write_text("# Calm.\nextends: lv-rural-street\nplanner: null\ntime: {days: null, steps: 4}\n")
    limits = run(load(path), out=tmp_path / "runs", wiring="direct").manifest["limits"]
    assert (limits["violated"], limits["violations"]) == (0, [])
    assert set(limits["worst"]) == {"loading", "vm_low", "vm_high"}
    assert all(row["margin"] > 0 and row["first_ns"] is None for row in limits["worst"].values())
    assert limits["worst"]["vm_low"]["at_ns"] >= load(path).time.start_ns
