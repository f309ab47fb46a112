"""Forming buses in a network's specification: what is a slack then, what is cached, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandapower as pp
import pytest

from tests.grid.handmade import radial
from vpp.grid import load_network, to_pandapower
from vpp.grid.islands import connected, split_forming, with_forming
from vpp.grid.powerflow import choose
from vpp.kernel.errors import NetworkError


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The handmade network as a file, and a cache of its own."""
    monkeypatch.setenv("VPP_CACHE_DIR", str(tmp_path / "cache"))
    pp.to_json(radial(), str(tmp_path / "net.json"))
    return f"file:{tmp_path / 'net.json'}"


def test_a_specification_can_be_taken_apart_again() -> None:
    forming: dict[int | str, float] = {"LV 1 # main": 1.02, 7: 0.99, "7": 1.0}
    assert split_forming(with_forming("simbench:x", forming)) == ("simbench:x", forming)
    assert with_forming("simbench:x", {}) == "simbench:x"
    with pytest.raises(NetworkError, match="by its id"):
        with_forming("simbench:x", {"a,b": 1.0})


def test_a_formed_island_takes_the_public_grid_away(spec: str) -> None:
    """Bus 22 forms everything that the public grid at bus 3 fed; no engine differs."""
    network = load_network(spec, forming={22: 1.03})
    assert network.slack_node.tolist() == [network.node_of_bus[network.bus_position(22)]]
    assert network.slack_v.tolist() == [1.03 + 0j]
    assert (connected(network, network.slack_node.tolist()) == 0).all()
    p, q = network.rated_injections()
    found = [choose(network, name)[0].solve(p, q) for name in ("lightsim2grid", "pandapower")]
    assert found[0].converged
    np.testing.assert_allclose(found[0].v, found[1].v, atol=1e-8)
    assert "forming" in to_pandapower(network).ext_grid.name.tolist()


def test_a_bus_behind_an_open_switch_forms_an_island_beside_the_public_grid(spec: str) -> None:
    network = load_network(spec, forming={"B50": 1.0})
    plain = load_network(spec)
    dark = plain.node_of_bus[plain.bus_position(50)]
    assert dark < 0
    assert len(network.slack_node) == 2
    label = connected(network, [int(network.node_of_bus[network.bus_position(50)])])
    inside = [label[network.node_of_bus[network.bus_position(bus)]] for bus in (50, 51, 22, 3)]
    assert inside == [0, 0, -1, -1]


def test_the_cache_keeps_them_apart(spec: str) -> None:
    plain, formed, other = load_network(spec), load_network(spec, forming={22: 1.0}), load_network(spec, forming={22: 1.01})
    assert len({plain.digest, formed.digest, other.digest}) == 3
    again = load_network(spec, forming={22: 1.0})
    assert again.digest == formed.digest
    assert again.slack_node.tolist() == formed.slack_node.tolist()
    assert load_network(spec).slack_node.tolist() == plain.slack_node.tolist()


def test_a_bus_that_is_not_there_is_named(spec: str) -> None:
    with pytest.raises(NetworkError, match="no bus 'B99' to form an island at"):
        load_network(spec, forming={"B99": 1.0})


def test_of_two_connected_nodes_the_first_counts(spec: str) -> None:
    network = load_network(spec)
    nodes = [int(network.node_of_bus[network.bus_position(bus)]) for bus in (20, 30)]
    assert set(connected(network, nodes).tolist()) == {0}
