"""The connectivity tracker: against pandapower's own search, by hand, and undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandapower as pp
import pandapower.topology as top
import pytest

from tests.grid.handmade import spec_of
from vpp.grid import load_network
from vpp.grid.compile import compile_network
from vpp.grid.model import NetworkModel
from vpp.grid.source import load_source, quiet, resolve
from vpp.grid.topology import Operation, Topology


def loaded(spec: str) -> tuple[Topology, Any]:
    """The tracker of a network, and pandapower's network."""
    net, _ = load_source(resolve(spec_of(spec)))
    return Topology(NetworkModel.of_pandapower(net)), net


def ring() -> Any:
    """Two transformers on one busbar; a ring of four buses with an open point; a spur; a bus behind an open switch.

    0 HV — 1 busbar — 2 — 3 ~open~ 4 — 5 — 1;  3 — 6;  7 behind the open switch 1 at bus 6;  8 and 9 without a source.
    """
    net = pp.create_empty_network("ring")
    with quiet():
        for k in range(10):
            pp.create_bus(net, 110.0 if k == 0 else 20.0, index=k)
        pp.create_ext_grid(net, 0)
        for _ in range(2):
            pp.create_transformer(net, 0, 1, "25 MVA 110/20 kV")
        for k, (a, b) in enumerate([(1, 2), (2, 3), (3, 4), (4, 5), (5, 1), (3, 6), (8, 9)]):
            pp.create_line_from_parameters(net, a, b, 1.0, 0.2, 0.1, 200, 0.3, index=k)
        pp.create_switch(net, 4, 2, et="l", closed=False, index=0)
        pp.create_switch(net, 6, 7, et="b", closed=False, index=1)
        pp.create_switch(net, 2, 1, et="l", closed=True, index=2)
    return net


@pytest.fixture
def made() -> Topology:
    return Topology(NetworkModel.of_pandapower(ring()))


def test_the_ring_at_rest(made: Topology) -> None:
    now = made.now
    assert now.energised.tolist() == [True] * 7 + [False] * 3
    assert now.islanded.tolist() == [False] * 7 + [True] * 3
    assert np.flatnonzero(now.looped).tolist() == [0, 1]  # two transformers side by side
    assert now.island.tolist() == [0] * 7 + [1, 2, 2]
    assert now.feeder.tolist() == [-1, -1, 0, 0, 1, 1, 0, -1, -1, -1]
    assert [made.edge_name(e) for e in now.feeder_edge] == ["line 0", "line 4"]
    assert [made.edge_name(e) if e >= 0 else "" for e in now.upstream_edge] == [
        "source 0", "trafo 0", "line 0", "line 1", "line 3", "line 4", "line 5", "", "", "",
    ]  # fmt: skip


def test_closing_the_ring_and_opening_elsewhere(made: Topology) -> None:
    """The work of an operator: close the open point, open another one; nobody loses supply, bus 3 and 6 change feeders."""
    effect = made.operate(Operation("switch", 0, True), 1, "operator")
    assert effect.looped.tolist() == [2, 3, 4, 5]
    assert (len(effect.lost), len(effect.won), len(effect.moved)) == (0, 0, 0)
    effect = made.operate(Operation("switch", 2, False), 2, "operator")
    assert (effect.opened.tolist(), effect.moved.tolist()) == ([2, 3, 4, 5], [3, 6])
    assert len(effect.lost) == 0
    assert made.now.feeder.tolist() == [-1, -1, 0, 1, 1, 1, 1, -1, -1, -1]
    assert [(c.time_ns, c.author, c.was) for c in made.log] == [(1, "operator", False), (2, "operator", True)]
    assert [c.operation.id for c in made.undo(2)] == [2, 0]
    assert made.log == []
    test_the_ring_at_rest(made)
    with pytest.raises(IndexError, match="0 changes can be undone, not 1"):
        made.undo()


def test_preview_says_what_would_be_lost_and_changes_nothing(made: Topology) -> None:
    assert made.preview(Operation("line", 0, False)).lost.tolist() == [2, 3, 6]
    assert made.preview(Operation("trafo", 0, False)).lost.tolist() == []
    assert made.preview(Operation("trafo", 0, False)).opened.tolist() == [0, 1]
    both = made.preview(Operation("trafo", 0, False), Operation("trafo", 1, False))
    assert both.lost.tolist() == [1, 2, 3, 4, 5, 6]
    assert made.preview(Operation("source", 0, False)).lost.tolist() == list(range(7))
    assert made.preview(Operation("switch", 1, True)).won.tolist() == [7]
    assert made.preview(Operation("line", 0, False), Operation("switch", 0, True)).moved.tolist() == [2, 3, 6]
    assert made.preview(Operation("line", 6, False)).nothing
    test_the_ring_at_rest(made)
    assert made.log == []


def test_operations_that_cannot_be(made: Topology) -> None:
    with pytest.raises(KeyError, match="no switch 9"):
        made.operate(Operation("switch", 9, True), 0)
    with pytest.raises(KeyError, match="no element 'lines', did you mean 'line'"):
        made.preview(Operation("lines", 0, True))
    assert made.log == []
    test_the_ring_at_rest(made)


def test_state_goes_into_another_object(made: Topology) -> None:
    made.operate(Operation("line", 0, False), 5, "protection")
    made.operate(Operation("switch", 0, True), 6)
    other = Topology(made.model)
    other.restore(made.state())
    assert np.array_equal(other.now.feeder, made.now.feeder)
    assert other.log == made.log
    other.undo(2)
    test_the_ring_at_rest(other)
    assert not made.now.energised[2] or made.switch_closed[0]


def supplied(net: Any) -> np.ndarray[Any, Any]:
    """Which buses are supplied, as pandapower finds it."""
    with quiet():
        out = top.unsupplied_buses(net)
    on = net.bus.in_service.to_numpy(bool)
    return np.array([bus not in out for bus in net.bus.index]) & on


def circles(topology: Topology) -> np.ndarray[Any, Any]:
    """Edges on a circle by networkx: those that are no bridges, in a graph where every edge has a vertex of its own."""
    edges, closed = topology._edges, topology.now.edge_closed
    graph = nx.Graph()
    for e in np.flatnonzero(closed):
        graph.add_edges_from([(("v", int(edges.a[e])), ("e", int(e))), (("e", int(e)), ("v", int(edges.b[e])))])
    bridges = {frozenset(pair) for pair in nx.bridges(graph)}
    looped = np.zeros(len(closed), np.bool_)
    for e in np.flatnonzero(closed):
        looped[e] = edges.a[e] != edges.b[e] and frozenset((("v", int(edges.a[e])), ("e", int(e)))) not in bridges
    reached = topology.now.energised
    return looped & np.append(reached, np.ones(topology._vertices - len(reached), np.bool_))[edges.a]


@pytest.mark.parametrize("spec", ["handmade:radial", "handmade:meshed", "simbench:1-MV-rural--0-sw", "pandapower:case118"])
def test_random_operations_agree_with_pandapower_and_networkx(spec: str) -> None:
    topology, net = loaded(spec)
    rng = np.random.default_rng(4)
    names = {"switch": "switch", "line": "line", "trafo": "trafo", "trafo3w": "trafo3w"}
    choices = [(kind, int(i)) for kind, theirs in names.items() for i in net[theirs].index]
    begin = before = supplied(net)
    for step in range(12):
        kind, number = choices[rng.integers(len(choices))]
        column = "closed" if kind == "switch" else "in_service"
        value = bool(rng.random() < 0.4)
        effect = topology.operate(Operation(kind, number, value), step)
        net[names[kind]].loc[number, column] = value
        after = supplied(net)
        assert np.array_equal(topology.now.energised, after), (kind, number, value)
        assert effect.lost.tolist() == np.flatnonzero(before & ~after).tolist()
        assert effect.won.tolist() == np.flatnonzero(after & ~before).tolist()
        assert np.array_equal(topology.now.edge_looped, circles(topology)), (kind, number, value)
        before = after
    topology.undo(12)
    assert np.array_equal(topology.now.energised, begin)


def test_switched_network_compiles_as_it_is_switched() -> None:
    topology, net = loaded("handmade:radial")
    closed = int(net.switch.index[~net.switch.closed][0])
    topology.operate(Operation("switch", closed, True), 0)
    topology.operate(Operation("line", int(net.line.index[0]), False), 0)
    net.switch.loc[closed, "closed"] = True
    net.line.loc[net.line.index[0], "in_service"] = False
    with quiet():
        ours = compile_network(topology.switched().to_pandapower(), "a", "a")
    theirs = compile_network(net, "a", "a")
    assert np.array_equal(ours.node_of_bus, theirs.node_of_bus)
    assert np.allclose(ours.y_data, theirs.y_data, rtol=1e-13, atol=0)
    assert np.array_equal(ours.node_of_bus >= 0, topology.now.energised)


@pytest.mark.parametrize("spec", ["simbench:1-LV-rural1--0-sw", "pandapower:cigre_mv", "handmade:meshed"])
def test_energised_buses_are_those_with_a_node(spec: str) -> None:
    topology, _ = loaded(spec)
    assert np.array_equal(topology.now.energised, load_network(spec_of(spec)).node_of_bus >= 0)


def test_the_page_on_networks(capsys: pytest.CaptureFixture[str]) -> None:
    """Its example runs as it stands: line 3 of the rural network is needed by somebody, and undone in the end."""
    page = (Path(__file__).parents[2] / "docs" / "howto" / "networks.md").read_text("utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    names: dict[str, Any] = {}
    exec(compile(code, "networks.md", "exec"), names)
    lost, left = capsys.readouterr().out.strip().split("\n")[:2]
    assert len(lost.strip("[]").split()) + int(left.split()[0]) == names["topology"].model.n_bus
    assert names["topology"].now.energised.all()
    assert names["topology"].log == []
