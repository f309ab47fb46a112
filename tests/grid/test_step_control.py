"""Taps and shunts under control: against pandapower's DiscreteTapControl, delays, state."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import pandapower as pp
import pytest
from pandapower.control import DiscreteTapControl

from tests.grid.handmade import spec_of
from vpp.grid import Network, load_network, to_pandapower
from vpp.grid.powerflow.lightsim2grid_engine import LightSim2Grid
from vpp.grid.source import quiet
from vpp.grid.step_control import ControlledFlow, StepControls

MV = "simbench:1-MV-urban--0-sw"


@cache
def original(source: str) -> Any:
    """The network as pandapower has it."""
    return to_pandapower(load_network(source))


def theirs(network: Network, scale: float, bands: list[tuple[int, str, float, float]]) -> Any:
    """Tap positions and voltages as pandapower's controllers leave them."""
    net = copy.deepcopy(original(network.source))
    net.controller = net.controller.iloc[:0]
    for element in ("load", "sgen", "storage"):
        net[element]["scaling"] *= scale
    for trafo, side, low, high in bands:
        DiscreteTapControl(net, trafo, low, high, side=side)
    with quiet():
        pp.runpp(net, run_control=True, calculate_voltage_angles=True, lightsim2grid=False, max_iter=200)
    return net


@pytest.mark.parametrize("scale", [0.1, 1.0, 2.5])
@pytest.mark.parametrize("band", [(0.995, 1.012), (1.03, 1.05), (0.9, 0.93)])
def test_positions_are_those_of_pandapower(scale: float, band: tuple[float, float]) -> None:
    network = load_network(MV)
    lv = network.branch_to_bus[network.taps.branch]
    ids = network.branch_id[network.taps.branch]
    net = theirs(network, scale, [(int(i), "lv", *band) for i in ids])
    controls = StepControls.of(network, np.arange(len(ids)), lv, np.full(len(ids), band[0]), np.full(len(ids), band[1]))
    p, q = network.rated_injections()
    found = ControlledFlow(network, controls).settle(p * scale, q * scale)
    assert found.at_rest
    assert found.network.taps.pos.tolist() == net.trafo.tap_pos.loc[ids].astype(int).tolist()
    at = net.res_bus.vm_pu.to_numpy()
    np.testing.assert_allclose(np.abs(network.bus_values(found.v)), at, atol=1e-8)


def test_taps_at_either_side_and_three_windings() -> None:
    network = load_network(spec_of("handmade:radial"))
    taps = network.taps
    row = taps.branch.tolist().index(network.branch_name.index("T2"))
    net = theirs(network, 1.0, [(70, "lv", 0.985, 1.02)])
    controls = StepControls.of(
        network, np.array([row]), network.branch_to_bus[taps.branch[[row]]], np.array([0.985]), np.array([1.02])
    )
    found = ControlledFlow(network, controls).settle(*network.rated_injections())
    assert found.network.taps.pos[row] == net.trafo.tap_pos.at[70]


def one(delay_s: float, next_s: float, band: tuple[float, float] = (1.03, 1.05)) -> tuple[ControlledFlow, Any, Any]:
    """The MV network with one of its taps under control."""
    network = load_network(MV)
    at = network.branch_to_bus[network.taps.branch[:1]]
    low, high = (np.array([x]) for x in band)
    controls = StepControls.of(network, np.array([0]), at, low, high, delay_s, next_s)
    return ControlledFlow(network, controls), *network.rated_injections()


def test_a_control_waits_then_moves_faster() -> None:
    flow, p, q = one(30.0, 10.0, (1.08, 1.1))
    moved = [flow.step(p, q, 10.0).moved for _ in range(6)]
    assert moved == [0, 0, 1, 1, 1, 1]


def test_waiting_begins_anew_when_the_voltage_was_inside() -> None:
    flow, p, q = one(30.0, 30.0, (1.03, 1.05))
    inside, q_in = p.copy(), q + 0.0
    node, engine = flow.controls.node[0], LightSim2Grid(flow.network)
    vm = [abs(engine.solve(inside, q + mvar * (np.arange(len(q)) == node)).v[node]) for mvar in (0.0, 10.0)]
    q_in[node] += 10.0 * (1.04 - vm[0]) / (vm[1] - vm[0])  # lifts the voltage into its band
    assert 1.03 < abs(engine.solve(inside, q_in).v[node]) < 1.05
    moved = [flow.step(p, q, 10.0).moved, flow.step(p, q, 10.0).moved, flow.step(inside, q_in, 10.0).moved]
    moved += [flow.step(p, q, 10.0).moved for _ in range(3)]
    assert moved == [0, 0, 0, 0, 0, 1]


def test_a_saved_run_goes_on_with_the_same_bytes() -> None:
    flow, p, q = one(20.0, 10.0, (1.06, 1.1))
    for _ in range(3):
        flow.step(p, q, 10.0)
    state = flow.state()
    onward = [flow.step(p * f, q * f, 10.0) for f in (1.0, 0.9, 0.5)]
    other, _, _ = one(20.0, 10.0, (1.06, 1.1))
    other.restore(state)
    again = [other.step(p * f, q * f, 10.0) for f in (1.0, 0.9, 0.5)]
    assert [a.v.tobytes() for a in onward] == [a.v.tobytes() for a in again]
    assert flow.state().tobytes() == other.state().tobytes()
    with pytest.raises(ValueError, match="a state of 2 numbers"):
        other.restore(np.zeros(2))


def test_a_switched_shunt_is_controlled_like_a_tap() -> None:
    network = load_network("pandapower:case118")
    row = int(np.argmax(network.shunts.y_step.imag))
    bus, taps = network.shunts.bus[[row]], len(network.taps)
    p, q = network.rated_injections()
    vm = float(np.abs(LightSim2Grid(network).solve(p, q).v[network.node_of_bus[bus[0]]]))
    controls = StepControls.of(network, np.array([taps + row]), bus, np.array([vm - 0.1]), np.array([vm - 1e-3]))
    found = ControlledFlow(network, controls).settle(p, q)
    assert found.network.shunts.step[row] == network.shunts.step[row] - 1
    net = to_pandapower(found.network)
    with quiet():
        pp.runpp(net, calculate_voltage_angles=True, lightsim2grid=False)
    np.testing.assert_allclose(np.abs(network.bus_values(found.v)), net.res_bus.vm_pu.to_numpy(), atol=1e-7)


def test_a_diverged_step_moves_nothing() -> None:
    flow, p, q = one(0.0, 0.0)
    before = flow.state()
    found = flow.step(1000 * p, 1000 * q, 10.0)
    assert not found.converged
    assert np.isnan(found.v).all()
    assert flow.state().tobytes() == before.tobytes()


def test_bad_controls_are_named() -> None:
    network = load_network(MV)
    at = network.branch_to_bus[network.taps.branch[:1]]
    low, high, first = np.array([0.99]), np.array([1.01]), np.array([0])
    with pytest.raises(ValueError, match="same device"):
        StepControls.of(network, np.array([0, 0]), np.repeat(at, 2), np.repeat(low, 2), np.repeat(high, 2))
    with pytest.raises(ValueError, match="band is empty"):
        StepControls.of(network, first, at, high, low)
    with pytest.raises(ValueError, match="not at its transformer"):
        StepControls.of(network, first, network.loads.bus[-1:], low, high)
