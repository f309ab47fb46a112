"""Ties that supply again, against pandapower with the branch off and the switch closed; a network rewired."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.grid.handmade import spec_of
from tests.grid.test_contingency import RING, power_flow, solved, switched_off
from vpp.grid import Network, load_network, to_pandapower
from vpp.grid.contingency import Proposal, restore
from vpp.grid.contingency.restore import ties
from vpp.grid.contingency.rewire import moved, rewire
from vpp.grid.limits import LOADING, VM_HIGH, VM_LOW, Limits
from vpp.grid.powerflow import choose

NEAR = "simbench:1-MV-comm--0-sw"


def closed_by_pandapower(net: Any, network: Network, branches: tuple[int, ...], proposal: Proposal) -> tuple[Any, Any]:
    """Voltages and loadings with the branches off and the proposal's switch closed."""
    switch = int(network.switches.id[proposal.switch])
    assert not net.switch.closed[switch]
    switched_off(net, network, branches)
    net.switch.loc[switch, "closed"] = True
    try:
        return power_flow(net, network)
    finally:
        net.switch.loc[switch, "closed"] = False
        switched_off(net, network, branches, on=True)


@pytest.mark.parametrize("spec", [RING, NEAR])
def test_every_proposal_is_what_pandapower_finds(spec: str) -> None:
    network, result, v = solved(spec)
    net = to_pandapower(network)
    p, q = network.rated_injections()
    tried, refused = 0, 0
    for k in result.ranking()[:: max(1, len(result.outages) // 25)].tolist():
        branches = result.outages.outages[k].branches
        dead = np.isnan(network.bus_values(v[k])) & (network.node_of_bus >= 0)
        proposals = restore(network, branches, p, q)
        assert len({x.switch for x in proposals}) == len(proposals)
        for proposal in proposals:
            expected, loading = closed_by_pandapower(net, network, branches, proposal)
            assert proposal.converged
            np.testing.assert_array_equal(np.isnan(proposal.v_bus), np.isnan(expected))
            assert np.nanmax(np.abs(proposal.v_bus - expected)) < 1e-7
            assert proposal.extreme(LOADING) == pytest.approx(np.nanmax(loading), abs=1e-6)
            assert proposal.extreme(VM_LOW) == pytest.approx(np.nanmin(np.abs(expected)), abs=1e-7)
            assert proposal.restored_buses == np.sum(dead & ~np.isnan(expected))
            assert proposal.restored_mw + proposal.left_mw == pytest.approx(result.lost.load_mw[k])
            held = (loading[np.isfinite(loading)].max() <= 1.0) and np.all(
                (np.abs(expected) >= network.vm_min_pu) & (np.abs(expected) <= network.vm_max_pu) | np.isnan(expected)
            )
            assert proposal.allowed == held
            tried, refused = tried + 1, refused + (not held)
        keys = [(not x.allowed, -x.restored_mw, x.severity) for x in proposals]
        assert keys == sorted(keys)
        if not dead.any():
            assert proposals == []
    assert tried > 10
    assert refused > 0


def test_limits_decide() -> None:
    network, result, _ = solved(RING)
    worst = result.outages.outages[result.ranking()[0]].branches
    p, q = network.rated_injections()
    best = restore(network, worst, p, q, Limits(vm_low_pu=0.5, vm_high_pu=1.5, emergency=10.0))[0]
    assert best.allowed
    load = best.extreme(LOADING)
    for emergency, allowed in ((load * 1.001, True), (load * 0.999, False)):
        again = restore(network, worst, p, q, Limits(vm_low_pu=0.5, vm_high_pu=1.5, emergency=emergency))
        assert next(x for x in again if x.switch == best.switch).allowed is allowed


def test_what_cannot_be_restored_has_no_proposal() -> None:
    network = load_network("pandapower:case33bw")
    assert restore(network, (31,), *network.rated_injections()) == []
    with pytest.raises(ValueError, match="no branch 99"):
        restore(network, (99,), *network.rated_injections())
    best = Proposal(0, "", 0, 0.0, 0.0, False, np.full(2, np.nan + 0j), np.full(2, np.nan), None)
    assert not best.allowed
    assert best.severity == float("inf")
    assert np.isnan(best.extreme(LOADING))
    with pytest.raises(ValueError, match="no extreme"):
        best.extreme(VM_HIGH)


@pytest.mark.parametrize("name", ["handmade:radial", "handmade:meshed", "pandapower:example_multivoltage"])
def test_a_rewired_network_is_the_one_that_pandapower_makes(name: str) -> None:
    """Every tie closed by itself, without an outage: loops, bus-bus switches, line ends."""
    network = load_network(spec_of(name) if name.startswith("handmade") else name)
    net, found = to_pandapower(network), ties(network)
    p, q = network.rated_injections()
    assert found
    for switch, a, b in found:
        after, node = rewire(network, (), [(a, b)])
        solution = choose(after)[0].solve(moved(p, node, after.n_node), moved(q, node, after.n_node))
        net.switch.loc[int(network.switches.id[switch]), "closed"] = True
        expected, _ = power_flow(net, network)
        net.switch.loc[int(network.switches.id[switch]), "closed"] = False
        both = np.isfinite(expected) & (network.node_of_bus >= 0)
        assert both.sum() > 5
        assert np.max(np.abs(after.bus_values(solution.v)[both] - expected[both])) < 1e-6


def test_rewiring_nothing_changes_nothing() -> None:
    network = load_network("pandapower:case118")
    p, q = network.rated_injections()
    after, node = rewire(network, ())
    np.testing.assert_array_equal(node, np.arange(network.n_node))
    assert np.max(np.abs(after.y_data - network.y_data)) == 0.0
    assert np.max(np.abs(choose(after)[0].solve(p, q).v - choose(network)[0].solve(p, q).v)) < 1e-10
    slack = int(network.slack_node[0])
    without = rewire(network, np.flatnonzero((network.branch_from_node == slack) | (network.branch_to_node == slack)).tolist())[0]
    assert without.n_node == 1
