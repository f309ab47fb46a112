"""What the scenario tests share: writing YAML, collecting findings, and a tiny network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scenarios import load
from vpp.kernel.errors import Finding, ScenarioError

GOOD = """\
# A test.
network: simbench:1-LV-rural1--0-sw
time: {start: 2016-06-21, zone: Europe/Berlin}
fleet:
  - {id: house, kind: load, at: loads}
  - {id: pv, kind: pv, at: sgens}
  - {id: battery, kind: battery, at: storages}
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a file into an empty working folder."""
    monkeypatch.chdir(tmp_path)

    def write_file(text: str, name: str = "case.yaml") -> Path:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write_file


def findings(path: Path | str, overrides: tuple[str, ...] = ()) -> tuple[Finding, ...]:
    """Everything that loading complains about."""
    with pytest.raises(ScenarioError) as error:
        load(path, overrides)
    return error.value.findings


def network(n: int = 4) -> Any:
    """A street of ``n`` LV buses behind one MV bus: a load at each LV bus, an sgen at the second, a storage at the third."""
    bus = np.arange(1, n + 1, dtype=np.int32)
    loads = SimpleNamespace(bus=bus, p_mw=-0.001 * bus, q_mvar=-0.0001 * bus, profile=("H0-A",) * (n - 1) + ("",), name=("",) * n)
    sgens = SimpleNamespace(
        bus=np.array([2], np.int32), p_mw=np.array([0.01]), q_mvar=np.zeros(1), s_mva=np.array([0.012]),
        type=("PV",), profile=("PV3",), name=("s",),
    )  # fmt: skip
    storages = SimpleNamespace(
        bus=np.array([3], np.int32), p_mw=np.array([0.005]), e_mwh=np.array([0.01]), soc=np.array([np.nan]),
        profile=("",), name=("b",),
    )  # fmt: skip
    return SimpleNamespace(
        bus_id=np.arange(100, 101 + n), bus_name=("MV", *(f"LV {i}" for i in bus)),
        bus_vn_kv=np.array([20.0] + [0.4] * n), node_of_bus=np.arange(n + 1, dtype=np.int32),
        branch_from_bus=np.arange(n, dtype=np.int32), branch_to_bus=bus, branch_on=np.ones(n, np.bool_),
        branch_i_max_from_ka=np.full(n, np.nan), branch_i_max_to_ka=np.full(n, np.nan),
        loads=loads, sgens=sgens, storages=storages, gens=SimpleNamespace(bus=np.zeros(0, np.int32)), slack_node=bus[:0],
    )  # fmt: skip
