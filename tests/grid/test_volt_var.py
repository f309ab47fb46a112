"""Volt/VAR optimisation against IPOPT and runopp, its derivatives against differences, its promises."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.grid.opf import EXACT, ipopt, opp_network, runopp
from vpp.grid import Network, load_network
from vpp.grid.losses import Devices, Limits, VoltVarOptimiser, volt_var
from vpp.grid.losses.model import Linear, Model
from vpp.grid.losses.quadratic import Quadratic, QuadraticSolver
from vpp.grid.powerflow.lightsim2grid_engine import LightSim2Grid
from vpp.grid.taps import step_entries, stepped
from vpp.kernel.errors import Diverged

SHARE = 1e-4


def band(network: Network, low: float, high: float) -> Limits:
    """The same band everywhere but where the voltage is held; no branch is limited."""
    vm_min, vm_max = np.full(network.n_node, low), np.full(network.n_node, high)
    held = np.concatenate([network.slack_node, network.pv_node])
    vm_min[held], vm_max[held] = -np.inf, np.inf
    return Limits(vm_min, vm_max, loading=np.inf)


def with_inverters(network: Network, every: int) -> tuple[Devices, Any, Any, Any]:
    """An inverter at every k-th bus, with some active power: devices, its P, all injections."""
    at = np.arange(1, network.n_bus, every).astype(np.int32)
    at = at[(network.node_of_bus[at] >= 0) & ~np.isin(network.node_of_bus[at], [*network.slack_node, *network.pv_node])]
    p, q = network.rated_injections()
    size = np.full(len(at), 0.8 * np.abs(p).sum() / len(at))
    devices = Devices.inverters(at, 0.6 * size, size, steps=False, network=network)
    return devices, 0.6 * size, p + network.scatter(at, 0.6 * size), q


@pytest.mark.parametrize(
    ("spec", "every", "low", "high"),
    [
        ("pandapower:case33bw", 4, 0.9, 1.1),
        ("pandapower:case33bw", 4, 0.9615, 1.0),
        ("pandapower:case33bw", 1, 0.967, 1.0),
        ("pandapower:cigre_mv", 2, 0.95, 1.085),
        ("simbench:1-MV-urban--0-sw", 6, 0.96, 1.038),
        ("pandapower:case118", 5, 0.9, 1.045),
    ],
)
def test_losses_equal_ipopt(spec: str, every: int, low: float, high: float) -> None:
    network = load_network(spec)
    devices, _, p, q = with_inverters(network, every)
    limits = band(network, low, high)
    best, q_best = ipopt(network, p, q, devices, limits)
    found = volt_var(network, p, q, devices, limits)
    assert found.settled
    assert not found.breaches
    assert found.loss_mw <= best * (1.0 + SHARE)
    assert found.loss_mw >= best * (1.0 - SHARE)
    assert found.loss_mw <= found.before_mw or found.breaches_before
    assert np.all((found.q_mvar >= devices.q_min_mvar) & (found.q_mvar <= devices.q_max_mvar))
    assert len(q_best) == len(found.q_mvar)
    again = LightSim2Grid(network).solve(p, q + network.scatter(devices.bus, found.q_mvar))
    assert network.branch_flows(again.v).p_loss_total_mw == pytest.approx(found.loss_mw, rel=1e-7)


def test_losses_are_at_most_those_of_runopp() -> None:
    network = load_network("pandapower:case33bw")
    devices, own, p, q = with_inverters(network, 4)
    for limits in (band(network, 0.9, 1.1), band(network, 0.9615, 1.0)):
        net = opp_network(network, own, devices, limits)
        found = volt_var(network, p, q, devices, limits)
        assert not found.breaches
        # Its default tolerances are absolute on the whole cost, about 1 % of the losses: then ours are lower. Exact, they agree.
        assert found.loss_mw < runopp(net)
        assert found.loss_mw == pytest.approx(runopp(net, **EXACT), rel=SHARE)


def test_derivatives_are_those_of_the_functions() -> None:
    network = load_network("simbench:1-MV-urban--0-sw")
    p, q = network.rated_injections()
    taps, inverters = len(network.taps), network.sgens.bus[:6]
    limits = Limits.of(network)
    model = Model(network, network.node_of_bus[inverters].astype(np.int64), limits)
    model.device = np.arange(taps + len(network.shunts))
    size = 6 + len(model.device)

    def at(u: Any) -> tuple[Network, Any, Any]:
        pos = network.taps.pos + u[6 : 6 + taps]
        moved = stepped(network, pos, network.shunts.step + u[6 + taps :])
        q_all = q + np.bincount(model.node, u[:6], network.n_node)
        return moved, LightSim2Grid(moved, tol_pu=1e-10).solve(p, q_all).v, pos

    u, h = np.concatenate([np.full(6, 0.1), np.full(size - 6, 0.3)]), 1e-3
    multipliers = np.random.default_rng(1).random(len(model.values(network, at(u)[1]))) * 1e-2
    multipliers[len(model.limited.low) + len(model.limited.high) :] *= 0.0

    def gradient(u: Any) -> Any:
        moved, v, pos = at(u)
        local = Linear(model, moved, v, step_entries(moved, pos)).local()
        return local.gradient + multipliers @ local.jacobian

    def value(u: Any) -> float:
        moved, v, _ = at(u)
        return float(model.losses(moved, v) + multipliers @ model.values(moved, v))

    moved, v, pos = at(u)
    ours = Linear(model, moved, v, step_entries(moved, pos))
    ours.local()
    first = np.array([(value(u + h * e) - value(u - h * e)) / (2 * h) for e in np.eye(size)])
    second = np.array([(gradient(u + h * e) - gradient(u - h * e)) / (2 * h) for e in np.eye(size)])
    np.testing.assert_allclose(gradient(u), first, atol=SHARE * np.abs(first).max())
    np.testing.assert_allclose(ours.hessian(multipliers), second, atol=SHARE * np.abs(second).max())


def test_taps_and_shunts_come_out_whole_and_help() -> None:
    network = load_network("simbench:1-MV-urban--0-sw")
    p, q = network.rated_injections()
    devices = Devices.of(network)
    q_rest = q - network.scatter(devices.bus, devices.q_mvar)
    found = volt_var(network, p, q_rest, devices)
    taps = found.network.taps
    assert np.all((taps.pos >= taps.min) & (taps.pos <= taps.max))
    assert not np.array_equal(taps.pos, network.taps.pos)
    assert found.relaxed_mw * (1 - 1e-6) <= found.loss_mw < found.before_mw
    again = LightSim2Grid(found.network).solve(p, q_rest + network.scatter(devices.bus, found.q_mvar))
    assert found.network.branch_flows(again.v).p_loss_total_mw == pytest.approx(found.loss_mw, rel=1e-7)
    near = [np.clip(taps.pos + np.array(move), taps.min, taps.max) for move in ((1, 0), (0, 1), (1, 1))]
    for pos in near:  # no neighbour within the limits is better
        other = stepped(network, pos, network.shunts.step)
        fixed = dataclasses.replace(devices, taps=np.zeros(len(taps), bool), shunts=np.zeros(len(network.shunts), bool))
        there = volt_var(other, p, q_rest, fixed)
        assert there.breaches or there.loss_mw >= found.loss_mw * (1 - 1e-9)


def test_what_cannot_be_kept_is_reported_not_refused() -> None:
    network = load_network("pandapower:case33bw")
    devices, _, p, q = with_inverters(network, 8)
    found = volt_var(network, p, q, devices, band(network, 0.999, 1.001))
    assert found.breaches
    assert {b.quantity for b in found.breaches} <= {"vm_low", "vm_high"}
    worst = sum(abs(b.value - b.limit) for b in found.breaches)
    assert worst < sum(abs(b.value - b.limit) for b in found.breaches_before)


def test_currents_are_limited() -> None:
    network = load_network("pandapower:cigre_mv")
    devices, _, p, q = with_inverters(network, 2)
    free = volt_var(network, p, q, devices, band(network, 0.9, 1.1))
    most = float(np.nanmax(network.branch_flows(free.v).loading))
    tight = dataclasses.replace(band(network, 0.9, 1.1), loading=most * 0.995)
    found = volt_var(network, p, q, devices, tight)
    assert found.loss_mw >= free.loss_mw * (1 - 1e-9)
    loading = float(np.nanmax(found.network.branch_flows(found.v).loading))
    assert loading < most


def test_one_optimiser_solves_state_after_state_alike() -> None:
    network = load_network("pandapower:case33bw")
    devices, _, p, q = with_inverters(network, 4)
    limits = band(network, 0.95, 1.05)
    kept = VoltVarOptimiser(network, devices, limits)
    kept.solve(0.3 * p, 0.3 * q)
    found, fresh = kept.solve(p, q), volt_var(network, p, q, devices, limits)
    assert np.array_equal(found.q_mvar, fresh.q_mvar)
    assert found.loss_mw == fresh.loss_mw


def test_bad_devices_and_states_are_named() -> None:
    network = load_network("pandapower:case33bw")
    p, q = network.rated_injections()
    one = np.zeros(1, np.int32), np.ones(1), -np.ones(1), np.zeros(1)
    with pytest.raises(ValueError, match="lowest reactive power"):
        volt_var(network, p, q, Devices(*one))
    with pytest.raises(Diverged):
        volt_var(network, 100 * p, 100 * q)


def test_a_quadratic_problem_with_a_soft_row() -> None:
    hessian, gradient = np.diag([2.0, 2.0]), np.array([-2.0, -4.0])
    rows, limit = np.array([[1.0, 1.0]]), np.array([2.0])
    bounds = (np.full(2, -9.0), np.full(2, 9.0))
    x, multiplier = QuadraticSolver().solve(Quadratic(hessian, gradient, rows, limit, 100.0, *bounds)) or (None, None)
    np.testing.assert_allclose(x, [0.5, 1.5], atol=1e-6)
    np.testing.assert_allclose(multiplier, [1.0], atol=1e-5)
    x, multiplier = QuadraticSolver().solve(Quadratic(hessian, gradient, rows, limit, 0.1, *bounds)) or (None, None)
    np.testing.assert_allclose(x, [0.95, 1.95], atol=1e-6)  # the price is paid
    np.testing.assert_allclose(multiplier, [0.1], atol=1e-6)
