"""SimBench's table of measurements as the twin's meters, and what ``check`` says of meters that cannot stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandapower as pp
import pytest
import simbench

from scenarios import load
from scenarios.build import System, build
from scenarios.check import check
from vpp.grid import load_network, to_pandapower
from vpp.grid.powerflow import choose
from vpp.grid.source import quiet
from vpp.kernel import quality as q
from vpp.kernel.grid_points import GridPoints
from vpp.kernel.setpoints import Asked
from vpp.kernel.tick import tick

Write = Callable[..., Path]
CODE = "1-MV-rural--0-sw"
TEXT = f"""\
# The meters that SimBench lists.
network: simbench:{CODE}
time: {{start: 2016-06-21T10:00, steps: 4, step_s: 300, zone: Europe/Berlin}}
fleet:
  - {{id: load, kind: load, at: loads}}
  - {{id: sgen, kind: pv, at: sgens}}
meters: %s
%s
"""
WAYS = {"v": "vm_pu", "p": "p_mw", "q": "q_mvar", "i": "i_ka"}


def points(system: System) -> GridPoints:
    """What the network's meters show in the first step."""
    system.plant.advance()
    record = tick(int(system.plant.time_ns[0]), system.plant, system.desk, system.chain, Asked.nothing(system.plant.fleet.n))
    system.desk.close()
    return record.seen.points


def test_every_measurement_that_can_be_made_is_made(write: Write) -> None:
    """V, P and Q at buses, P, Q and I at branches, as SimBench's own table has them, read by SimBench's own reader."""
    with quiet():
        net = simbench.get_simbench_net(CODE)
    system = build(load(write(TEXT % ("[{kind: simbench}]", ""))))
    network = load_network(f"simbench:{CODE}")
    layout = points(system).layout
    at = [k for k, element in enumerate(layout.element) if element]
    node = {int(i): int(n) for i, n in zip(network.bus_id, network.node_of_bus, strict=True)}
    known = {(layout.quantity[k], where(layout.element[k], node), layout.side[k]) for k in at}
    expected, busy = set(), {*network.slack_node.tolist(), *(node[bus] for bus in (*net.load.bus, *net.sgen.bus))}
    for m in net.measurement.itertuples():
        if m.element_type == "bus":
            if m.measurement_type == "v" or node[m.element] in busy:  # elsewhere zero is known
                expected.add((WAYS[m.measurement_type], ("node", node[m.element]), ""))
        else:
            side = {"from": "from", "hv": "from", "to": "to", "lv": "to"}[m.side]
            expected.add((WAYS[m.measurement_type], (m.element_type, m.element), side))
    assert known == expected
    assert {layout.quantity[k] for k in at} == set(WAYS.values())
    assert len(set(layout.id)) == len(layout.id)


def where(element: str, node: dict[int, int]) -> tuple[str, int]:
    """An element, a bus as its node."""
    kind, _, number = element.partition(" ")
    return ("node", node[int(number)]) if kind == "bus" else (kind, int(number))


def test_each_shows_what_pandapower_computes_there(write: Write) -> None:
    """Perfect meters at the network's own loads: res_bus, res_line and res_trafo of a plain ``runpp``."""
    meters = build(load(write(TEXT % ("[{kind: simbench}]", "")))).plant.grid.meters
    assert meters is not None
    network = meters.network
    net = to_pandapower(network)
    with quiet():
        pp.runpp(net, calculate_voltage_angles=True, tolerance_mva=1e-9, lightsim2grid=False)
    shown = meters.truth(choose(network)[0].solve(*network.rated_injections()).v)
    layout, unit = meters.layout, {"vm_pu": "vm_pu", "p_mw": "p_{}mw", "q_mvar": "q_{}mvar", "i_ka": "i_{}ka"}
    for k, (quantity, element, side) in enumerate(zip(layout.quantity, layout.element, layout.side, strict=True)):
        kind, number = element.split()
        end = {"bus": "", "line": f"{side}_", "trafo": {"from": "hv_", "to": "lv_"}.get(side, "")}[kind]
        value = float(net[f"res_{kind}"].at[int(number), unit[quantity].format(end)])
        if kind == "bus" and quantity != "vm_pu":  # pandapower counts consumption, of each bus for itself
            node = network.node_of_bus[network.bus_position(int(number))]
            same = network.bus_id[network.node_of_bus == node]
            value = -float(net.res_bus.loc[same, unit[quantity].format("")].sum())
        assert shown[k] == pytest.approx(value, abs=1e-6), layout.id[k]


ESTIMATE = "estimation: {pseudo: true}\nrecord: [voltage, estimate]"


def test_they_are_what_the_estimate_is_made_of(write: Write) -> None:
    """With load profiles for the rest; the substation is known by meters, the feeders' ends are substituted."""
    system = build(load(write(TEXT % ("[{kind: simbench}]", ESTIMATE))))
    last, states = Asked.nothing(system.plant.fleet.n), []
    for k in range(4):
        truth, _ = system.plant.advance()
        record = tick(int(system.plant.time_ns[k]), system.plant, system.desk, system.chain, last)
        last = record.decision.asked
        states.append((truth.vm_pu.copy(), record.seen.news.grid_state))
    system.desk.close()
    truth, state = states[-2][0], states[-1][1]
    assert state is not None
    assert state.suspects == state.wanted == ()
    assert np.isfinite(state.vm_pu).all()
    assert {q.GOOD, q.SUBSTITUTED} == set(state.quality.tolist())
    assert np.all(np.abs(state.vm_pu - truth) < 3.0 * state.vm_sigma_pu)
    assert state.vm_sigma_pu.max() < 0.01


@pytest.mark.parametrize(
    ("meters", "line", "path", "says", "severity"),
    [
        ("\n  - {kind: voltage, at: sources}\n  - {kind: voltage, at: [1, 9999]}", 9, "meters.1.at.1", "no bus 9999", "error"),
        ("\n  - kind: voltage\n    at:\n      - 1\n      - 1000", 11, "meters.0.at.1", "no bus 1000", "error"),
    ],
)
def test_buses_that_are_not_there(write: Write, meters: str, line: int, path: str, says: str, severity: str) -> None:
    path_of = write(TEXT % (meters, ""))
    found = [f for f in check(load(path_of), load_network(f"simbench:{CODE}")) if f.path.startswith("meters")]
    assert [(f.line, f.path, f.severity) for f in found] == [(line, path, severity)]
    assert Path(found[0].file).name == "case.yaml"
    assert says in found[0].message


def test_a_network_without_a_table(write: Write) -> None:
    text = TEXT.replace(CODE, "1-LV-rural1--0-sw") % ("[{kind: simbench}]", "")
    found = check(load(write(text)), load_network("simbench:1-LV-rural1--0-sw"))
    (only,) = [f for f in found if f.path.startswith("meters")]
    assert only.severity == "error"
    assert "lists no measurements" in only.message
    assert only.line == 7


def test_what_is_switched_off_is_told(write: Write) -> None:
    """A measurement at the loop line, which is open at one end and energised, stands; one at a dead branch does not."""
    network = load_network(f"simbench:{CODE}")
    off = network.branch_from_node.copy()
    off[network.metered.branch[network.metered.branch >= 0][0]] = -1
    found = check(load(write(TEXT % ("[{kind: simbench}]", ""))), replace(network, branch_from_node=off))
    (only,) = [f for f in found if f.path.startswith("meters")]
    assert only.severity == "warning"
    assert "switched off" in only.message
