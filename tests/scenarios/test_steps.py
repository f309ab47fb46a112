"""Tap changers and capacitors in the closed loop: their own control, orders, and the Volt/VAR optimum that leads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scenarios import load
from scenarios.build import System, build, run
from vpp.grid.powerflow.lightsim2grid_engine import LightSim2Grid
from vpp.grid.taps import stepped as tried
from vpp.kernel.setpoints import AUTONOMOUS, FOLLOW, Asked
from vpp.kernel.tick import Record, tick

Write = Callable[..., Path]
RING = """\
# A 20 kV ring behind two transformers with tap changers.
network: simbench:1-MV-comm--0-sw
time: {start: 2016-06-21T10:00, steps: %s, step_s: 900, zone: Europe/Berlin}
fleet:
  - {id: load, kind: load, at: loads}
  - {id: der, kind: pv, at: sgens}
  - {id: tap, kind: tap_changer, at: taps}
"""
ORDER = "orders: [{at: 2016-06-21T10:30, until: 2016-06-21T11:30, resources: tap, step: 4}]\n"
ONLY = "control: {proposers: [%s], guards: []}\n"


def stepped(system: System, steps: int) -> list[tuple[Any, Record]]:
    """The first steps: the truth and the tick."""
    plant, last, out = system.plant, Asked.nothing(system.plant.fleet.n), []
    for k in range(steps):
        truth, _ = plant.advance()
        record = tick(int(plant.time_ns[k]), plant, system.desk, system.chain, last)
        last = record.decision.asked
        out.append((truth, record))
    system.desk.close()
    return out


def column(told: list[tuple[Any, Record]], system: System, kind: str, sheet: str) -> list[Any]:
    """A column of what is held ("applied") or asked of the resources of a kind."""
    at = system.plant.fleet.where(kind)
    name, _, signal = sheet.partition(".")
    return [(r.seen.applied if name == "applied" else r.decision.asked.setpoints).__getattribute__(signal)[at] for _, r in told]


def test_left_alone_it_keeps_its_voltage_and_the_network_is_solved_where_it_is(write: Write) -> None:
    system = build(load(write(RING % 6 + ONLY % "{use: orders}")))
    told = stepped(system, 6)
    at = system.plant.fleet.where("tap_changer")
    vm = [truth.solved.delivered.vm_pu[at] for truth, _ in told]
    assert np.all(vm[0] > 1.0125)  # the ring is fed at 1.025 pu; the regulator's band is 1 ± 0.0125
    assert np.all(np.abs(vm[1] - 1.0) <= 0.0125)
    steps = column(told, system, "tap_changer", "applied.step")
    assert steps[0].tolist() == [0.0, 0.0]
    assert np.all(steps[1] == 1.0)  # one more turn on the high-voltage side lowers the other
    assert np.all(np.array(column(told, system, "tap_changer", "asked.mode")) == AUTONOMOUS)
    network = system.plant.grid.coupling.network
    assert network.taps.pos.tolist() == steps[-1].tolist()
    truth = told[-1][0].solved
    v = (truth.v_re + 1j * truth.v_im)[system.plant.grid.coupling.order]
    p, q = (np.zeros(network.n_node) for _ in range(2))
    terminal, delivered = system.plant.fleet.terminal, truth.delivered
    np.add.at(p, terminal.node, delivered.p_mw[terminal.resource] * terminal.share)
    np.add.at(q, terminal.node, delivered.q_mvar[terminal.resource] * terminal.share)
    assert np.abs(LightSim2Grid(network).solve(p, q).v - v).max() < 1e-6


def test_an_order_leads_it_and_lets_it_go(write: Write) -> None:
    system = build(load(write(RING % 8 + ORDER + ONLY % "{use: orders}")))
    told = stepped(system, 8)
    steps, mode = (np.array(column(told, system, "tap_changer", x)) for x in ("applied.step", "asked.mode"))
    asked = np.array(column(told, system, "tap_changer", "asked.step"))
    assert mode[:, 0].tolist() == [0, 1, 1, 1, 1, 0, 0, 0]
    assert asked[1:5, 0].tolist() == [4.0] * 4
    assert steps[2:6, 0].tolist() == [4.0] * 4  # what is asked in one step acts in the next
    assert np.all(steps[-1] < 4.0)  # its own control takes it back
    said = [event.text for _, record in told for event in record.decision.events if event.kind == "order"]
    assert said == ["order order-1 of operator begins for 2 resources: step 4"]


def test_the_optimum_takes_the_steps_that_the_band_needs(write: Write) -> None:
    text = RING % 6 + "limits: {vm_low_pu: 0.95, vm_high_pu: 1.035}\n"
    still = text.replace("at: taps}", "at: taps, local: false}")
    alone = stepped(build(load(write(still + ONLY % "{use: orders}"))), 2)
    assert np.nanmax(alone[1][0].vm_pu) > 1.04
    system = build(load(write(text + ONLY % "{use: volt_var, margin_pu: 0.01, step_gain: 0.0}")))
    told = stepped(system, 6)
    assert np.all(np.array(column(told, system, "tap_changer", "asked.mode"))[:] == FOLLOW)
    assert min(np.nanmin(truth.vm_pu) for truth, _ in told[1:]) >= 0.95
    assert max(np.nanmax(truth.vm_pu) for truth, _ in told[1:]) <= 1.035
    pv = system.plant.fleet.where("pv")
    q = np.array([truth.solved.delivered.q_mvar[pv] for truth, _ in told])
    asked = np.array(column(told, system, "pv", "asked.q_mvar"))
    assert np.isclose(q[1:], asked[:-1], atol=1e-6).mean() > 0.97  # where the sun rises meanwhile, active power goes first
    assert np.all(np.abs(q[1:]) <= np.abs(asked[:-1]) + 1e-6)
    moved = [event for _, record in told for event in record.decision.events if event.kind == "step"]
    assert {event.source for event in moved} == {"volt_var"}


def test_steps_that_spare_little_are_not_taken(write: Write) -> None:
    text = RING % 3 + ONLY % "{use: volt_var, margin_pu: 0.0, step_gain: 0.9}"
    system = build(load(write(text)))
    told = stepped(system, 3)
    assert np.all(np.array(column(told, system, "tap_changer", "applied.step")) == 0.0)
    assert not [event for _, record in told for event in record.decision.events if event.kind == "step"]


def test_a_capacitor_bank_follows_and_keeps_its_voltage(write: Write) -> None:
    import pandapower as pp
    import pandapower.networks as pn

    net = pn.case33bw()
    pp.create_shunt(net, 17, q_mvar=-0.3, p_mw=0.0, step=0, max_step=3, name="bank")
    pp.to_json(net, "feeder.json")
    text = """\
# A feeder with a bank at its end.
network: file:feeder.json
time: {start: 2016-06-21T10:00, steps: 8, step_s: 60, zone: Europe/Berlin}
fleet:
  - {id: load, kind: load, at: loads}
  - {id: bank, kind: capacitor, at: {buses: [17]}, vm_set_pu: 0.94, deadband_pu: 0.015, delay_s: 60, next_s: 60}
"""
    system = build(load(write(text + ONLY % "{use: orders}")))
    told = stepped(system, 8)
    steps = np.array(column(told, system, "capacitor", "applied.step"))[:, 0]
    low = np.array([truth.solved.delivered.vm_pu[-1] for truth, _ in told])
    assert low[0] < 0.925
    assert steps.tolist() == sorted(steps.tolist())
    assert steps[0] == 0.0
    assert steps[-1] >= 1.0
    assert np.all(np.diff(low)[np.diff(steps) > 0] > 0.0)  # every step raises the voltage
    assert low[-1] >= 0.925 or steps[-1] == 3.0
    led = build(load(write(text + ONLY % "{use: volt_var, every_s: 60, margin_pu: 0.0}")))
    best = column(stepped(led, 3), led, "capacitor", "applied.step")[-1].tolist()
    base, losses = led.network, []
    for step in range(4):  # every step tried by a power flow: which loses least
        network = tried(base, base.taps.pos, np.array([step]))
        v = LightSim2Grid(network).solve(*base.rated_injections()).v
        losses.append(network.branch_flows(v).p_loss_total_mw)
    assert best == [float(np.argmin(losses))]
    assert min(losses) < 0.95 * losses[0]


def test_runs_are_the_same_in_every_wiring_and_after_a_restart(write: Write, tmp_path: Path) -> None:
    path = write(RING % 5 + ORDER + ONLY % "{use: volt_var}, {use: orders}" + "record: [asked, step]\n")
    runs = {how: run(load(path), out=tmp_path / how, wiring=how) for how in ("direct", "mosaik", "far")}
    assert len({one.decision_hash for one in runs.values()}) == 1
    tree = runs["far"].open()
    assert {"asked_step", "step"} <= set(tree["resources"].data_vars)
    whole, first, second = (build(load(path)) for _ in range(3))
    told = stepped(whole, 5)
    stepped(first, 3)
    second.plant.restore(first.plant.state())
    second.chain.restore(first.chain.state())
    truth, _ = second.plant.advance()
    assert truth.vm_pu.tobytes() == told[3][0].vm_pu.tobytes()
    assert second.plant.devices.applied.step.tobytes() == told[3][1].seen.applied.step.tobytes()
    second.desk.close()


def test_an_estimator_knows_where_the_taps_are(write: Write) -> None:
    meters = "meters: [{kind: voltage}, {kind: heads}, {kind: smart, delay_s: 0}]\nestimation: {pseudo: false}\n"
    system = build(load(write(RING % 4 + meters + ONLY % "{use: orders}")))
    told = stepped(system, 4)
    assert system.plant.grid.coupling.network.taps.pos.tolist() != [0, 0]
    state, truth = told[-1][1].seen.news.grid_state, told[-2][0]
    assert state is not None
    assert np.nanmax(np.abs(state.vm_pu - truth.vm_pu) / state.vm_sigma_pu) < 6.0
    assert state.suspects == ()
    again = system.desk.estimating.estimator  # type: ignore[union-attr]
    other = build(load(write(RING % 4 + meters + ONLY % "{use: orders}")))
    other.desk.estimating.estimator.restore(again.state())  # type: ignore[union-attr]
    assert {k: v.tobytes() for k, v in other.desk.estimating.estimator.state().items()} == {  # type: ignore[union-attr]
        k: v.tobytes() for k, v in again.state().items()
    }
    other.desk.close()
