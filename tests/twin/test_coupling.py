"""Devices and network solved together: it is a fixed point, the network's equations hold, and nothing stale survives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandapower as pp
import pytest

from tests.twin.small import CUSTOM, HOUSES, VOLT_WATT, A, B, Curve, Resources, coupling, feeder, offer, village
from twin.coupling import Coupling, Solved
from twin.devices.model import Offer
from twin.spec import FleetSpec
from vpp.grid import Network, load_network, to_pandapower
from vpp.grid.powerflow import ENGINES, choose
from vpp.grid.source import quiet
from vpp.kernel.signals import FloatArray

STEADY_S = 900.0
# Steep enough for plain iteration to swing on a weak feeder.
STEEP: Curve = ((0.98, 0.99, 1.01, 1.02), (0.44, 0.0, 0.0, -0.44), 5.0)
CASES: dict[str, tuple[Curve | None, Curve | None]] = {
    "A": (A, None),
    "B": (B, None),
    "custom": (CUSTOM, None),
    "volt-watt": (None, VOLT_WATT),
    "B and volt-watt": (B, VOLT_WATT),
    "steep": (STEEP, None),
}


def curve(points: Curve | None, v: FloatArray, otherwise: float) -> FloatArray:
    """A curve by numpy, apart from the twin's own kernel."""
    return np.full_like(v, otherwise) if points is None else np.interp(v, points[0], points[1])


def asked_by_curves(spec: FleetSpec, p_offer: FloatArray, vm: FloatArray, case: tuple[Curve | None, Curve | None]) -> Any:
    """P and Q of inverters at these voltages by the standard's words: volt-watt, volt-var, capability, Q before P."""
    s, rated = spec.s_rated_mva, np.maximum(spec.fleet.p_max_mw, -spec.fleet.p_min_mw)
    p = np.minimum(p_offer, curve(case[1], vm, np.inf) * rated)
    reduced = np.interp(np.abs(p) / rated, [0.0, 0.04999, 0.05, 0.2, 1.0], [0.0, 0.0, 0.11, 0.44, 0.44])
    most = np.where(np.array(spec.fleet.kind) == "pv", reduced, 0.44) * s
    q = np.clip(curve(case[0], vm, 0.0) * s, -most, most)
    room = np.sqrt(s**2 - q**2)
    return np.clip(p, -room, room), q


def runpp(network: Network, spec: FleetSpec, solved: Solved) -> FloatArray:
    """Voltage of every bus by pandapower alone, from what was delivered."""
    with quiet():
        net = to_pandapower(network)
        node_bus = network.bus_id[network.node_bus]
        for element in ("load", "sgen", "storage"):
            net[element]["in_service"] = False
        for c, i in enumerate(spec.fleet.terminal.resource):
            node = spec.fleet.terminal.node[c]
            if node >= 0:
                d = solved.delivered
                pp.create_sgen(net, int(node_bus[node]), float(d.p_mw[i]), float(d.q_mvar[i]))
        pp.runpp(net, calculate_voltage_angles=True, lightsim2grid=False, tolerance_mva=1e-10, max_iteration=50)
        return net.res_bus.vm_pu.loc[network.bus_id].to_numpy()


@pytest.mark.parametrize("weak", [0.32, 1.5])
@pytest.mark.parametrize("case", CASES)
def test_it_is_a_fixed_point_of_curves_and_network(case: str, weak: float) -> None:
    """Each inverter delivers what its curves ask at the final voltage; the network agrees with pandapower's own solve."""
    network = feeder(weak)
    couple, spec = coupling(village(*CASES[case]), network)
    for factor in (1.0, 0.3):
        sheet = offer(spec, factor=factor)
        solved = couple.solve(sheet.block, STEADY_S)
        assert solved.converged
        inverter = (spec.s_rated_mva > 0) & (spec.fleet.terminal.node >= 0)
        with np.errstate(invalid="ignore"):
            p, q = asked_by_curves(spec, sheet.p_mw, solved.delivered.vm_pu, CASES[case])
        gap = np.abs(np.stack([solved.delivered.p_mw - p, solved.delivered.q_mvar - q]))[:, inverter] / spec.s_rated_mva[inverter]
        assert gap.max() < 1e-6
        expected = runpp(network, spec, solved)
        assert np.array_equal(np.isnan(couple.vm_of_bus()), np.isnan(expected))
        assert np.nanmax(np.abs(couple.vm_of_bus() - expected)) < 1e-6
        at_bus = couple.vm_of_bus()[village().bus]
        assert np.array_equal(solved.delivered.vm_pu, at_bus, equal_nan=True)


def plain_iteration(couple: Coupling, spec: FleetSpec, sheet: Offer, case: tuple[Curve | None, Curve | None]) -> float:
    """Largest change of P or Q, of rating, in the last of 40 rounds of curve and power flow in turn, without relaxation."""
    network, on = couple.network, (spec.s_rated_mva > 0) & (spec.fleet.terminal.node >= 0)
    node = spec.fleet.terminal.node
    vm, before, change = np.ones(spec.fleet.n), np.zeros((2, spec.fleet.n)), np.inf
    energised = node >= 0
    for _ in range(40):
        p, q = asked_by_curves(spec, sheet.p_mw, vm, case)
        p, q = np.where(on, p, sheet.p_mw), np.where(on, q, sheet.q_mvar)
        add = [np.bincount(node[energised], x[energised], network.n_node) for x in (p, q)]
        solution = couple.engine.solve(*add)
        if not solution.converged:
            return np.inf
        vm = np.where(energised, np.abs(solution.v[np.maximum(node, 0)]), 1.0)
        change = float((np.abs(np.stack([p, q]) - before)[:, on] / spec.s_rated_mva[on]).max())
        before = np.stack([p, q])
    return change


@pytest.mark.parametrize("name", ["steep", "volt-watt", "B and volt-watt"])
def test_converges_where_plain_iteration_swings(name: str) -> None:
    network, case = feeder(1.5), CASES[name]
    couple, spec = coupling(village(*case), network)
    sheet = offer(spec, factor=0.2 if name == "steep" else 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        assert plain_iteration(couple, spec, sheet, case) > 0.1
    solved = couple.solve(sheet.block, STEADY_S)
    assert solved.converged
    inverter = (spec.s_rated_mva > 0) & (spec.fleet.terminal.node >= 0)
    with np.errstate(invalid="ignore"):
        p, q = asked_by_curves(spec, sheet.p_mw, solved.delivered.vm_pu, case)
    gap = np.abs(solved.delivered.block[:2] - np.stack([p, q]))[:, inverter] / spec.s_rated_mva[inverter]
    assert gap.max() < 1e-6


@pytest.mark.parametrize("case", ["B", "volt-watt", "steep"])
def test_all_engines_agree(case: str) -> None:
    """Tree sweep with the fused loop, and the two Newtons with the loop around them, also from a warm start."""
    found = []
    for engine in ENGINES:
        couple, spec = coupling(village(*CASES[case]), feeder(0.32), engine)
        for factor in (1.0, 0.8):
            solved = couple.solve(offer(spec, factor=factor).block, STEADY_S)
            assert solved.converged
            found.append(solved.delivered.block.copy())
    for other in found[2::2]:
        assert np.nanmax(np.abs(other - found[0])) < 1e-6
    for other in found[3::2]:
        assert np.nanmax(np.abs(other - found[1])) < 1e-6
    assert np.nanmax(np.abs(found[1] - found[0])) > 1e-4


def test_meshed_network_agrees_with_pandapower() -> None:
    network = feeder(0.64, mesh=True)
    engine, _ = choose(network)
    assert engine.name == "lightsim2grid"
    couple, spec = coupling(village(B, VOLT_WATT), network, engine.name)
    solved = couple.solve(offer(spec).block, STEADY_S)
    assert np.nanmax(np.abs(couple.vm_of_bus() - runpp(network, spec, solved))) < 1e-6


@pytest.mark.parametrize("engine", ["tree", "lightsim2grid"])
@pytest.mark.parametrize("case", ["A", "B", "custom", "volt-watt", "B and volt-watt"])
def test_long_step_is_the_short_steps_settled(case: str, engine: str) -> None:
    """900 s at once give what short steps come to: the open-loop response changes the way, not the end."""
    dt_s = 0.5 if case == "custom" else 1.0  # its response time is 2 s
    long, spec = coupling(village(*CASES[case]), feeder(0.32), engine)
    short, _ = coupling(village(*CASES[case]), feeder(0.32), engine)
    for factor in (1.0, 0.2):
        sheet = offer(spec, factor=factor)
        expected = long.solve(sheet.block, STEADY_S).delivered
        first = short.solve(sheet.block, dt_s).delivered.block.copy()
        for _ in range(150):
            settled = short.solve(sheet.block, dt_s).delivered
        assert factor == 0.2 or np.nanmax(np.abs(settled.block - first)) > 1e-3
        assert np.nanmax(np.abs(settled.vm_pu - expected.vm_pu)) < 1e-6
        assert np.nanmax(np.abs(settled.block[:2] - expected.block[:2])) < 1e-6 * spec.s_rated_mva.max()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dt_s", [STEADY_S, 1.0])
def test_diverged_step_is_nan_and_forgotten(engine: str, dt_s: float) -> None:
    """Nothing of a step without a solution goes on into the next one."""
    couple, spec = coupling(village(None if dt_s == 1.0 else B, None), feeder(), engine)
    other, _ = coupling(village(None if dt_s == 1.0 else B, None), feeder(), engine)
    sheet, heavy = offer(spec), offer(spec, factor=50.0)
    load = np.array(spec.fleet.kind) == "load"
    heavy.p_mw = np.where(load, heavy.p_mw * 10, 0.0)
    couple.solve(sheet.block, dt_s)
    diverged = couple.solve(heavy.block, dt_s)
    assert not diverged.converged
    assert diverged.iterations > 0
    assert np.isnan(diverged.delivered.block).all()
    assert np.isnan(couple.vm_of_bus()).all()
    expected = other.solve(sheet.block, dt_s)
    for _ in range(2):
        again = couple.solve(sheet.block, dt_s)
        assert again.converged
        assert np.nanmax(np.abs(again.delivered.block - expected.delivered.block)) < 1e-7


def test_nan_offer_diverges_and_is_forgotten() -> None:
    """One device that says nonsense makes this step NaN, and no later one."""
    for engine in ENGINES:
        couple, spec = coupling(village(B), feeder(), engine)
        bad = offer(spec)
        bad.block[Offer.p_mw.row, 1] = np.nan
        assert not couple.solve(bad.block, STEADY_S).converged
        good = couple.solve(offer(spec).block, STEADY_S)
        assert good.converged, engine
        assert np.isfinite(good.delivered.p_mw).all()


def test_without_supply_nothing_is_delivered() -> None:
    """Behind the open switch: no voltage, no power; and the rest is as if they were not there."""
    couple, spec = coupling(village(B))
    solved = couple.solve(offer(spec).block, STEADY_S)
    dead = spec.fleet.terminal.node < 0
    assert dead.sum() == 2
    assert (offer(spec).p_mw[dead] != 0).all()
    assert (solved.delivered.block[:2, dead] == 0.0).all()
    assert np.isnan(solved.delivered.vm_pu[dead]).all()
    alone = village(B)
    for column in (alone.kind, alone.bus, alone.columns, alone.curves):
        del column[-2:]
    couple, fewer = coupling(alone)
    assert np.array_equal(couple.solve(offer(fewer).block, STEADY_S).delivered.block, solved.delivered.block[:, ~dead])


def test_shares_of_a_resource_spread_over_its_nodes() -> None:
    """A load at one bus equals two halves at two terminals of it."""
    fleet = Resources().add("load", 3, p_mw=0.02, q_mvar=-0.005)
    couple, spec = coupling(fleet)
    whole = couple.solve(offer(spec).block, STEADY_S)
    terminal = spec.fleet.terminal
    for name, value in (
        ("resource", np.zeros(2, np.int64)),
        ("node", np.repeat(terminal.node, 2)),
        ("share", np.array([0.25, 0.75])),
    ):
        object.__setattr__(terminal, name, value)
    split = Coupling(couple.network, ENGINES["tree"](couple.network), spec).solve(offer(spec).block, STEADY_S)
    assert np.allclose(split.delivered.block, whole.delivered.block, rtol=0, atol=1e-12)


@pytest.mark.parametrize("spec_name", ["simbench:1-LV-rural1--0-sw", "simbench:1-MV-comm--0-sw"])
def test_public_networks_agree_with_pandapower(spec_name: str) -> None:
    """An inverter with volt-var B at every tenth bus, loads everywhere."""
    network = load_network(spec_name)
    rng = np.random.default_rng(3)
    fleet = Resources()
    energised = np.flatnonzero((network.node_of_bus >= 0) & ~np.isin(network.node_of_bus, network.slack_node))
    size = float(np.abs(network.rated_injections()[0]).sum()) / len(energised)
    for bus in energised:
        fleet.add("load", bus, p_mw=float(rng.uniform(0.2, 0.8)) * size, q_mvar=-0.1 * size)
    for bus in rng.choice(energised, max(len(energised) // 10, 3), replace=False):
        fleet.add("pv", bus, B, p_mw=5 * size, s_mva=5.5 * size)
    couple, spec = coupling(fleet, network, choose(network)[0].name)
    solved = couple.solve(offer(spec).block, STEADY_S)
    assert solved.converged
    assert np.abs(solved.delivered.q_mvar[spec.s_rated_mva > 0]).max() > 1e-3 * spec.s_rated_mva.max()
    assert np.nanmax(np.abs(couple.vm_of_bus() - runpp(network, spec, solved))) < 1e-6


def test_positions_are_those_of_the_fleet() -> None:
    """Every house of the village hangs on its own bus: HOUSES voltages, falling in order at night."""
    couple, spec = coupling(village(None))
    night = offer(spec)
    night.p_mw = np.where(np.array(spec.fleet.kind) == "load", night.p_mw, 0.0)
    vm = couple.solve(night.block, STEADY_S).delivered.vm_pu[: 2 * HOUSES : 2]
    assert (np.diff(vm) < 0).all()
