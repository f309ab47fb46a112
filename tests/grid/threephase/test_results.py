"""Currents, losses, unbalance and limits."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tests.grid.threephase import oracle
from vpp.grid.threephase import CurrentInjection, PhaseSolution, ThreePhaseNetwork, branch_flows, load_threephase
from vpp.grid.threephase.results import (
    current_limits,
    delivered,
    injected_currents,
    sequences,
    three_phase_buses,
    unbalance_limits,
    voltage_limits,
)


@cache
def solved() -> tuple[ThreePhaseNetwork, PhaseSolution]:
    net = load_threephase(f"dss:{oracle.path('ieee13')}")
    return net, CurrentInjection(net).solve(*net.rated_injections())


def test_power_is_conserved() -> None:
    """What the source gives is what the legs take and the branches lose."""
    net, solution = solved()
    p, q = net.rated_injections()
    flows = branch_flows(net, solution.v)
    inner = np.isin(net.conductor_node, net.fixed_node)
    given = flows.s_mva[inner].sum()
    taken = delivered(net, solution.v, p, q).sum()
    lost = np.add.reduceat(flows.s_mva, net.branch_start[:-1]).sum()
    assert abs(given + taken - lost) < 1e-7
    assert flows.p_loss_mw.sum() == pytest.approx(lost.real, abs=1e-12)


def test_kirchhoff_at_every_node() -> None:
    net, solution = solved()
    flows = branch_flows(net, solution.v)
    balance = -injected_currents(net, solution.v, *net.rated_injections())
    np.add.at(balance, net.conductor_node, flows.i_ka * 1e3)
    free = np.setdiff1d(np.arange(net.n_node), net.fixed_node)
    assert np.abs(balance[free]).max() < 1e-4  # A, of several hundred


def test_sequences_and_unbalance() -> None:
    net, solution = solved()
    buses, parts = sequences(net, solution.v)
    names = [net.bus_name[k] for k in buses]
    assert "671" in names
    assert "645" not in names  # two phases
    k = names.index("671")
    at = net.node_index()
    va, vb, vc = (solution.v[at[f"671.{phase}"]] for phase in (1, 2, 3))
    a = np.exp(2j * np.pi / 3)
    assert parts[k] == pytest.approx([(va + vb + vc) / 3, (va + a * vb + a**2 * vc) / 3, (va + a**2 * vb + a * vc) / 3])
    limits = unbalance_limits(net, solution.v, 0.01)
    assert limits.value[k] == pytest.approx(abs(parts[k, 2]) / abs(parts[k, 1]))
    assert limits.margin == pytest.approx(0.01 - limits.value)
    assert (limits.margin < 0.0).any()
    many = unbalance_limits(net, np.stack([solution.v, solution.v]), 0.01)
    assert many.value.shape == (2, len(buses))


def test_voltage_limits_name_the_phase() -> None:
    net, solution = solved()
    low, high = voltage_limits(net, solution.v, 0.98, 1.05)
    under = {net.node_name(k) for k in low.where[low.margin < 0.0]}
    over = {net.node_name(k) for k in high.where[high.margin < 0.0]}
    at = net.node_index()
    assert under == {n for n, k in at.items() if abs(solution.v[k]) < 0.98}
    assert over == {n for n, k in at.items() if abs(solution.v[k]) > 1.05}
    assert "675.3" in under
    assert "675.2" in over


def test_current_limits_count_each_phase() -> None:
    net, solution = solved()
    flows = branch_flows(net, solution.v)
    assert len(current_limits(net, flows).where) == 0  # the feeder states no ratings
    assert np.isnan(flows.loading).all()
    rating = np.full(len(net.conductor_node), np.nan)
    k = net.branch_name.index("692_675")
    rows = np.arange(net.branch_start[k], net.branch_start[k + 1])
    rating[rows] = 0.15
    limits = current_limits(net, flows, rating)
    assert limits.where.tolist() == rows.tolist()
    assert limits.value == pytest.approx(np.abs(flows.i_ka[rows]))
    assert (limits.margin < 0.0).sum() == 2  # phase A carries 205 A at both ends, the others less than 150 A


def test_nan_voltages_give_nan_results() -> None:
    net, solution = solved()
    flows = branch_flows(net, np.full_like(solution.v, np.nan))
    assert np.isnan(flows.i_ka).all()
    assert np.isnan(flows.p_loss_total_mw)


def test_buses_with_three_phases() -> None:
    net, _ = solved()
    buses, nodes = three_phase_buses(net)
    assert (net.node_bus[nodes] == buses[:, None]).all()
    assert (net.node_phase[nodes] == [1, 2, 3]).all()
