"""A network of 10,458 buses in one closed loop: loaded, validated, solved and estimated, every step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from scenarios import load
from scenarios.build import run
from scenarios.check import check
from vpp.grid import load_network
from vpp.grid.model import NetworkModel
from vpp.grid.source import load_source
from vpp.grid.validate import validate

Write = Callable[..., Path]
SPEC = "simbench:1-MVLV-urban-all-1-sw"
STEPS = 6
TEXT = f"""\
# Ten thousand buses.
network: {SPEC}
time: {{start: 2016-06-21T11:00, steps: {STEPS}, step_s: 300, zone: Europe/Berlin}}
fleet:
  - {{id: load, kind: load, at: loads}}
  - {{id: sgen, kind: pv, at: sgens, volt_var: B}}
  - {{id: storage, kind: battery, at: storages}}
control:
  guards:
    - {{use: over_voltage, vm_high_pu: 1.05}}
meters:
  - {{kind: simbench}}
  - {{kind: smart, share: 0.3, delay_s: 300}}
estimation: {{pseudo: true}}
record: [voltage, estimate]
"""


def test_it_validates() -> None:
    net, notes = load_source(SPEC)
    found = validate(NetworkModel.of_pandapower(net, notes), load_network(SPEC))
    assert [str(f) for f in found if f.level == "error"] == []


def test_it_runs_and_is_estimated(write: Write, tmp_path: Path) -> None:
    """Every step has a solution and, once all meters have spoken, an estimate of every bus with a sigma that covers the truth."""
    scenario, network = load(write(TEXT)), load_network(SPEC)
    assert network.n_bus == 10_458
    assert [str(f) for f in check(scenario, network) if f.severity == "error"] == []
    result = run(scenario, out=tmp_path / "runs", wiring="direct")
    assert result.diverged_steps == 0
    buses = result.open()["buses"].to_dataset()
    truth, estimate, sigma = (buses[name].values for name in ("vm_pu", "est_vm_pu", "est_sigma_pu"))
    assert truth.shape == (STEPS, network.n_bus)
    assert np.isfinite(truth).all()
    assert np.isnan(estimate[0]).all()
    assert 0 < np.isnan(estimate[1]).sum() < network.n_bus / 2  # the smart meters' first values are still under way
    assert np.isfinite(estimate[2:]).all()
    error = np.abs(estimate[2:] - truth[1:-1])
    assert np.sqrt(np.mean(error**2)) < 0.003
    assert np.mean(error <= 1.96 * sigma[2:]) > 0.9
