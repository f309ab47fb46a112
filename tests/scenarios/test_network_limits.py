"""The guard of the network's limits in the closed loop: without it limits are broken, with it they are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scenarios import load
from scenarios.build import build, run
from tests.scenarios.conftest import GOOD, findings
from vpp.kernel.setpoints import Asked
from vpp.kernel.tick import tick

Write = Callable[..., Path]
STREET = """\
# More sun than the street's transformer bears.
network: simbench:1-LV-rural1--0-sw
time: {start: 2016-06-21T06:00, steps: 32, step_s: 900, zone: Europe/Berlin}
fleet:
  - {id: house, kind: load, at: loads}
  - {id: pv, kind: pv, at: sgens}
  - {id: roof, kind: pv, at: loads, p_mw: 0.02, spread: 0.2}
  - {id: battery, kind: battery, at: {sample: 8, of: loads}, p_mw: 0.010, e_mwh: 0.010, soc: 0.15}
limits: {vm_high_pu: 1.04}
"""
DISTRICT = """\
# More sun than a 20 kV ring bears, and batteries that are asked to add to it.
network: simbench:1-MV-comm--0-sw
time: {start: 2016-06-21T06:00, steps: 20, step_s: 900, zone: Europe/Berlin}
fleet:
  - {id: load, kind: load, at: loads}
  - {id: der, kind: pv, at: sgens}
  - {id: roof, kind: pv, at: {sample: 100, of: mv_buses}, p_mw: 0.6, spread: 0.3}
  - {id: battery, kind: battery, at: {sample: 50, of: mv_buses}, p_mw: 0.1, e_mwh: 0.4, soc: 0.8}
limits: {vm_high_pu: 1.05}
orders:
  - {at: "06:00", until: "09:00", resources: battery, p_mw: 0.1}
"""
GUARDS = "control: {proposers: [{use: orders}], guards: [{use: soc}%s]}\n"
METERS = "meters: [{kind: voltage}, {kind: heads}, {kind: smart, delay_s: 0}]\nestimation: {pseudo: false}\n"


def worst(path: Path) -> tuple[float, float, float, list[str]]:
    """Highest voltage and loading, energy, and what the guard says, over all steps but the first, of which nobody knew."""
    system = build(load(path))
    plant, last, said = system.plant, Asked.nothing(system.plant.fleet.n), []
    vm, loading, energy = 0.0, 0.0, 0.0
    for now_ns in plant.time_ns.tolist():
        truth, _ = plant.advance()
        if last.time_ns:
            vm, loading = max(vm, np.nanmax(truth.vm_pu)), max(loading, np.nanmax(truth.loading))
        energy += truth.solved.delivered.p_mw.sum() * plant.dt_s / 3600
        record = tick(now_ns, plant, system.desk, system.chain, last)
        last = record.decision.asked
        said += [event.kind for event in record.decision.events if event.source == "network" or event.kind == "alarm"]
    system.desk.close()
    return vm, loading, energy, said


@pytest.mark.parametrize(("text", "vm_pu"), [(STREET, 1.04), (DISTRICT, 1.05)], ids=["street", "district"])
def test_limits_that_are_broken_without_hold_with_it(write: Write, text: str, vm_pu: float) -> None:
    vm, loading, energy, said = worst(write(text + GUARDS % ""))
    assert vm > vm_pu + 0.005
    assert said == []
    with_vm, with_loading, less, said = worst(write(text + GUARDS % ", {use: network, margin_pu: 0.005}"))
    assert with_vm <= vm_pu
    assert with_loading <= 1.0
    assert less > 0.6 * energy  # what it costs
    assert "network-limit" in said
    assert "alarm" not in said
    if text == STREET:
        assert loading > 1.2


def test_with_an_estimator_it_holds_as_well_and_the_bytes_are_the_same_in_every_wiring(write: Write, tmp_path: Path) -> None:
    text = STREET.replace("steps: 32", "steps: 16").replace("T06:00", "T08:00") + METERS
    path = write(text + GUARDS % ", {use: network, sigmas: 1, margin_pu: 0.005}")
    vm, loading, _, said = worst(path)
    assert vm <= 1.04
    assert loading <= 1.0
    assert "alarm" not in said
    runs = {how: run(load(path), out=tmp_path / how, wiring=how) for how in ("direct", "mosaik")}
    assert runs["direct"].decision_hash == runs["mosaik"].decision_hash
    other = run(
        load(write(text + GUARDS % ", {use: network, sigmas: 0, margin_pu: 0.005}")), out=tmp_path / "other", wiring="direct"
    )
    assert other.decision_hash != runs["direct"].decision_hash


def test_a_band_without_width_is_a_finding(write: Write) -> None:
    bad = "control: {guards: [{use: network, vm_low_pu: 1.0, vm_high_pu: 0.95}]}\n"
    found = findings(write(GOOD + bad))
    assert [f.message for f in found] == ["vm_low_pu is not below vm_high_pu (0.95)"]
