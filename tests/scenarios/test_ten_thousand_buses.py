"""Ten thousand buses, medium and low voltage together: loaded, validated, solved and estimated in one closed loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scenarios import load
from vpp.grid.model import NetworkModel
from vpp.grid.source import load_source
from vpp.grid.validate import validate

NETWORK = "simbench:1-MVLV-urban-all-1-sw"
TEXT = f"""\
# A town and its villages.
network: {NETWORK}
time: {{start: 2016-05-26T12:00, steps: 4, zone: Europe/Berlin, step_s: 900}}
fleet:
  - {{id: house, kind: load, at: loads}}
  - {{id: pv, kind: pv, at: sgens}}
meters: [{{kind: voltage}}, {{kind: heads}}, {{kind: smart, delay_s: 0}}]
estimation: {{}}
contingencies: {{kinds: [trafo]}}
record: [delivered, voltage, loading, estimate]
"""


@pytest.mark.long
def test_it_has_no_errors() -> None:
    findings = validate(NetworkModel.of_pandapower(*load_source(NETWORK)))
    assert [f for f in findings if f.severity == "error"] == []


def test_it_is_solved_and_estimated_in_a_closed_loop(tmp_path: Path) -> None:
    path = tmp_path / "town.yaml"
    path.write_text(TEXT)
    result = load(path).run(out=tmp_path / "runs", wiring="direct")
    told, tree = result.manifest["estimate"], result.open()
    assert len(tree["buses"]["bus"]) > 10_000
    assert result.diverged_steps == 0
    assert (told["judged"], told["unobservable"], told["diverged"], told["suspects"]) == (3, 0, 0, [])
    assert told["all"]["voltages"] > 30_000
    assert 0.93 <= told["all"]["inside_95"] <= 0.97
    error = tree["buses/est_vm_pu"].values[1:] - tree["buses/vm_pu"].values[:-1]
    assert told["all"]["rmse_pu"] == pytest.approx(np.sqrt(np.nanmean(error**2)), rel=1e-2)
    outages = result.manifest["contingencies"]
    assert outages["outages"] > 100
    assert outages["unsolved"] == 0
