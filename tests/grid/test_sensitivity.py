"""Sensitivities against central differences of the engines, and taps and shunts against compiling anew."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.grid.handmade import spec_of
from vpp.grid import Network, load_network, to_pandapower
from vpp.grid.compile import compile_network
from vpp.grid.powerflow.lightsim2grid_engine import LightSim2Grid
from vpp.grid.sensitivity import Pattern, Sensitivity
from vpp.grid.taps import stepped
from vpp.kernel.errors import Diverged

SPECS = (
    "pandapower:case33bw",
    "pandapower:case118",
    "simbench:1-MV-urban--0-sw",
    "pandapower:cigre_mv",
    "handmade:radial",
    "handmade:meshed",
)
SHARE = 1e-4


class State:
    """A network, its engine and its solved state."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.engine = LightSim2Grid(network, tol_pu=1e-10)
        self.p, self.q = network.rated_injections()
        self.v = self.solve(self.p, self.q)
        self.at = Sensitivity(network, self.v)

    def solve(self, p: Any, q: Any) -> Any:
        solution = self.engine.solve(p, q, getattr(self, "v", None))
        assert solution.converged
        return solution.v

    def difference(self, node: int, part: str, measure: Any) -> Any:
        """Central difference of a measure by one node's P or Q."""
        step = 1e-4 * self.network.sn_mva
        one = np.zeros(self.network.n_node)
        one[node] = step
        p, q = (one, 0.0) if part == "p" else (0.0, one)
        return (measure(self.solve(self.p + p, self.q + q)) - measure(self.solve(self.p - p, self.q - q))) / (2 * step)


@cache
def state(spec: str) -> State:
    return State(load_network(spec_of(spec)))


def chosen(network: Network) -> list[int]:
    """Nodes to disturb, spread over the network, a PV node among them."""
    return sorted({*np.linspace(0, network.n_node - 1, 7).astype(int).tolist(), *network.pv_node[:1].tolist()})


def close(ours: Any, differences: Any) -> None:
    """Equal within the share of the largest of them."""
    np.testing.assert_allclose(ours, differences, rtol=SHARE, atol=SHARE * np.abs(differences).max() + 1e-12)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("part", ["p", "q"])
def test_injections_against_differences(spec: str, part: str) -> None:
    s = state(spec)
    net = s.network
    branches = np.flatnonzero(net.branch_on & (net.branch_flows(s.v).i_from_ka > 1e-3))[::3]
    voltage, loss = getattr(s.at.voltage(np.arange(net.n_node)), f"d{part}"), s.at.loss()["pq".index(part)]
    at_from, at_to = (getattr(s.at.branch_current(branches, side), f"d{part}") for side in (False, True))
    for node in chosen(net):
        close(voltage[:, node], s.difference(node, part, np.abs))
        close(at_from[:, node], s.difference(node, part, lambda v: net.branch_flows(v).i_from_ka[branches]))
        close(at_to[:, node], s.difference(node, part, lambda v: net.branch_flows(v).i_to_ka[branches]))
        by_loss = s.difference(node, part, lambda v: net.branch_flows(v).p_loss_total_mw)
        assert loss[node] == pytest.approx(by_loss, rel=SHARE, abs=SHARE * np.abs(loss).max())


@pytest.mark.parametrize("spec", ["pandapower:case118", "simbench:1-MV-urban--0-sw", "handmade:meshed"])
def test_steps_against_differences(spec: str) -> None:
    s = state(spec)
    net = s.network
    taps, shunts = len(net.taps), len(net.shunts)
    assert taps + shunts
    found = s.at.steps()
    for k in range(taps + shunts):
        sides = []
        for sign in (1, -1):
            pos, step = net.taps.pos.astype(float), net.shunts.step.astype(float)
            (pos if k < taps else step)[k if k < taps else k - taps] += sign * 0.01
            moved = stepped(net, pos, step)
            v = LightSim2Grid(moved, tol_pu=1e-10).solve(s.p, s.q, s.v).v
            sides.append((np.abs(v), moved.branch_flows(v).p_loss_total_mw))
        close(found.dvm[k], (sides[0][0] - sides[1][0]) / 0.02)
        assert found.dloss[k] == pytest.approx((sides[0][1] - sides[1][1]) / 0.02, rel=SHARE, abs=SHARE * abs(found.dloss).max())


@pytest.mark.parametrize("spec", ["handmade:radial", "handmade:meshed", "simbench:1-MV-urban--0-sw", "pandapower:case118"])
def test_steps_equal_compiling_anew(spec: str) -> None:
    network = load_network(spec_of(spec))
    pos = np.clip(network.taps.pos + np.where(np.arange(len(network.taps)) % 2, 2, -1), network.taps.min, network.taps.max)
    step = network.shunts.step + 1
    moved = stepped(network, pos, step)
    again = compile_network(to_pandapower(moved), network.source, network.digest)
    assert np.array_equal(again.taps.pos, pos)
    assert np.array_equal(again.shunts.step, step)
    for name in ("y_data", "yff", "yft", "ytf", "ytt"):
        np.testing.assert_allclose(getattr(moved, name), getattr(again, name), rtol=1e-12, atol=1e-12)
    back = stepped(moved, network.taps.pos, network.shunts.step)
    np.testing.assert_allclose(back.y_data, network.y_data, rtol=1e-12, atol=1e-9)


def test_a_pattern_serves_other_tap_positions() -> None:
    s = state("simbench:1-MV-urban--0-sw")
    moved = stepped(s.network, s.network.taps.pos + 1, s.network.shunts.step)
    v = LightSim2Grid(moved).solve(s.p, s.q).v
    one, other = Sensitivity(moved, v, Pattern(s.network)).loss(), Sensitivity(moved, v).loss()
    assert np.array_equal(one, other)


def test_what_is_not_solved_has_no_sensitivity() -> None:
    s = state("pandapower:case33bw")
    with pytest.raises(Diverged):
        Sensitivity(s.network, np.full(s.network.n_node, np.nan + 0j))


def test_tables_travel_with_the_network() -> None:
    network = load_network(spec_of("handmade:radial"))
    assert {f.name for f in dataclasses.fields(network)} >= {"taps", "shunts"}
    assert len(network.taps) == 2
    assert network.taps.pos.tolist() == [-2, 2]
    assert network.shunts.y_step[0] == pytest.approx((0.01 + 0.4j) / network.sn_mva)
