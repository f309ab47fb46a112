"""Linearised constraints: they say what the power flow says, and leave out only what cannot bind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vpp.grid import Network, load_network
from vpp.grid.constraints import QUANTITIES, Band, Bands, Constraints, constraints, rows_at, tightest
from vpp.grid.powerflow.lightsim2grid_engine import LightSim2Grid

MV = "simbench:1-MV-urban--0-sw"


def case(spec: str, width: float) -> tuple[Network, Any, Any, Any, Bands]:
    """A network, its injections and state, and the static generators or loads as resources of some width."""
    network = load_network(spec)
    p, q = network.rated_injections()
    table = network.sgens if len(network.sgens) else network.loads
    bus, own_p, own_q = table.bus[::3], table.p_mw[::3], table.q_mvar[::3]
    size = np.full(len(bus), width)
    bands = Bands(bus, own_p, own_q, own_p - size, own_p + size, own_q - size, own_q + size)
    return network, p, q, LightSim2Grid(network).solve(p, q).v, bands


def moved(network: Network, p: Any, q: Any, bands: Bands, dp: Any, dq: Any) -> Any:
    """Voltages with the resources elsewhere."""
    solution = LightSim2Grid(network).solve(p + network.scatter(bands.bus, dp), q + network.scatter(bands.bus, dq))
    assert solution.converged
    return solution.v


def value(network: Network, v: Any, rows: Constraints) -> Any:
    """What each row limits, as a distance to its limit, from a power flow."""
    flows, vm = network.branch_flows(v), np.abs(v)
    out = np.empty(len(rows))
    for k, (quantity, element) in enumerate(zip(rows.quantity.tolist(), rows.element.tolist())):
        name = QUANTITIES[quantity]
        bus = network.node_of_bus == element
        if name == "vm_low":
            out[k] = vm[element] - network.vm_min_pu[bus].max()
        elif name == "vm_high":
            out[k] = network.vm_max_pu[bus].min() - vm[element]
        elif name == "i_from":
            out[k] = 1.0 - flows.i_from_ka[element] / network.branch_i_max_from_ka[element]
        else:
            out[k] = 1.0 - flows.i_to_ka[element] / network.branch_i_max_to_ka[element]
    return out


@pytest.mark.parametrize("spec", ["pandapower:case33bw", MV, "pandapower:case118"])
def test_rows_are_the_power_flow_in_the_small(spec: str) -> None:
    network, p, q, v, bands = case(spec, 1e3)  # wide: everything can bind
    rows = constraints(network, v, bands)
    np.testing.assert_allclose(value(network, v, rows), rows.room, atol=1e-9)
    random, h = np.random.default_rng(3), 1e-3
    dp, dq = (random.normal(size=len(bands.bus)) * h for _ in range(2))
    two = [value(network, moved(network, p, q, bands, s * dp, s * dq), rows) for s in (1.0, -1.0)]
    slope, difference = rows.dp @ dp + rows.dq @ dq, (two[1] - two[0]) / 2.0
    np.testing.assert_allclose(slope, difference, rtol=1e-3, atol=1e-3 * np.abs(difference).max())


def test_only_what_can_bind_is_given() -> None:
    network, _, _, v, bands = case(MV, 0.5)
    few, many = constraints(network, v, bands), constraints(network, v, case(MV, 1e3)[4])
    assert len(few) < len(many)
    assert np.all(few.reach > few.room)
    given = set(zip(few.quantity.tolist(), few.element.tolist()))
    swing = np.abs(many.dp).sum(axis=1) * 0.5 + np.abs(many.dq).sum(axis=1) * 0.5
    for k, key in enumerate(zip(many.quantity.tolist(), many.element.tolist())):
        assert (key in given) == bool(swing[k] > many.room[k])


def test_a_margin_narrows_and_a_broken_limit_is_negative() -> None:
    network, _, _, v, bands = case(MV, 1e3)
    plain, narrow = constraints(network, v, bands), constraints(network, v, bands, margin=0.01)
    np.testing.assert_allclose(narrow.room, plain.room - 0.01)
    tight = constraints(network, v, bands, loading=0.05)
    assert (tight.room < 0).any()
    assert np.all((tight.excess(bands.p_mw, bands.q_mvar) > 0) == (tight.room < 0))


@pytest.mark.parametrize("spec", ["pandapower:case33bw", MV, "pandapower:case118"])
def test_chosen_rows_over_nodes_are_the_same_rows(spec: str) -> None:
    network, _, _, v, bands = case(spec, 1e3)
    all_rows = constraints(network, v, bands)
    low, high = np.full(network.n_node, -np.inf), np.full(network.n_node, np.inf)
    on = np.flatnonzero(network.node_of_bus >= 0)
    np.maximum.at(low, network.node_of_bus[on], network.vm_min_pu[on])
    np.minimum.at(high, network.node_of_bus[on], network.vm_max_pu[on])
    band = Band(low, high, np.ones(network.n_branch))
    few = np.arange(0, len(all_rows), 3)
    rows = rows_at(network, v, band, all_rows.quantity[few], all_rows.element[few])
    node = network.node_of_bus[bands.bus]
    np.testing.assert_allclose(rows.room, all_rows.room[few], atol=1e-12)
    np.testing.assert_allclose(rows.dp[:, node], all_rows.dp[few], rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(rows.dq[:, node], all_rows.dq[few], rtol=1e-8, atol=1e-12)
    rooms = band.rooms(network, v)
    quantity, element = tightest(network, rooms, 0.5, 2)
    for code, room in enumerate(rooms):
        found = room[element[quantity == code]]
        assert len(found) <= 2
        assert np.all(np.diff(found) >= 0.0)
        assert len(found) == 0 or found[0] == room.min()
