"""Every engine passes the conformance suite on every network it accepts."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from tests.grid.handmade import spec_of
from vpp.grid import Network, load_network
from vpp.grid.powerflow import ENGINES, PowerFlow, Unsuitable, check_first_solve, choose
from vpp.grid.powerflow.lightsim2grid_engine import LightSim2Grid
from vpp.grid.powerflow.pandapower_engine import PandaPower
from vpp.grid.powerflow.tree import TreeSweep
from vpp.kernel.errors import Diverged, NetworkError
from vpp.testing.powerflow import PUBLIC, PowerFlowSuite, reference

RADIAL = ("handmade:radial", *PUBLIC[:7])
MESHED = ("handmade:meshed", *PUBLIC[7:])
LARGE = "simbench:1-MVLV-urban-all-1-sw"


class Suite(PowerFlowSuite):
    """The suite, with networks made by hand among the others."""

    __test__ = False

    def source(self, name: str) -> str:
        """Write a network made by hand to a file."""
        return spec_of(name)


class TestTree(Suite):
    """Tree sweep: everything that is radial."""

    __test__ = True
    specs: ClassVar = RADIAL

    def make(self, network: Network) -> PowerFlow:
        """Build it."""
        return TreeSweep(network)


class TestLightSim2Grid(Suite):
    """Newton-Raphson: everything."""

    __test__ = True
    specs: ClassVar = (*RADIAL, *MESHED)

    def make(self, network: Network) -> PowerFlow:
        """Build it."""
        return LightSim2Grid(network)


class TestPandaPower(Suite):
    """The reference engine: eight of them, for time."""

    __test__ = True
    specs: ClassVar = (*RADIAL[:4], "handmade:meshed", "pandapower:case9", "pandapower:case14", "pandapower:case30")
    batch_steps: ClassVar = 3

    def make(self, network: Network) -> PowerFlow:
        """Build it."""
        return PandaPower(network)


@pytest.mark.parametrize("name", MESHED)
def test_tree_refuses_what_is_meshed(name: str) -> None:
    network = load_network(spec_of(name))
    with pytest.raises(Unsuitable):
        TreeSweep(network)
    with pytest.raises(NetworkError, match="engine 'tree' cannot solve it"):
        choose(network, "tree")
    engine, reason = choose(network)
    assert engine.name == "lightsim2grid"
    assert "PV" in reason or "loops" in reason


def test_choice_and_reason() -> None:
    engine, reason = choose(load_network("pandapower:case33bw"))
    assert engine.name == "tree"
    assert reason == "radial (1 tree, 33 nodes), PQ only: tree sweep"
    with pytest.raises(NetworkError, match="did you mean tree"):
        choose(load_network("pandapower:case33bw"), "treee")
    assert set(ENGINES) == {"tree", "lightsim2grid", "pandapower"}


def test_a_plain_loop_is_meshed() -> None:
    network = load_network(spec_of("handmade:meshed"))
    assert choose(network, "lightsim2grid")[0].solve(*network.rated_injections()).converged


def test_large_network_tree_and_newton_agree_with_runpp() -> None:
    network = load_network(LARGE)
    p, q = network.rated_injections()
    expected = reference(LARGE, 1.0)[0]
    tree, newton = TreeSweep(network), LightSim2Grid(network)
    for engine in (tree, newton):
        got = network.bus_values(engine.solve(p, q).v)
        assert np.max(np.abs(got - expected)) < 1e-6
    batch = tree.solve_batch(np.stack([p, p * np.nan, 0.5 * p]), np.stack([q, q, 0.5 * q]))
    assert batch.converged.tolist() == [True, False, True]
    assert np.isnan(batch.v[1]).all()
    assert np.max(np.abs(batch.v[0] - tree.solve(p, q).v)) < 1e-9


def test_first_solve_explains_itself() -> None:
    network = load_network("pandapower:case33bw")
    p, q = network.rated_injections()
    engine, _ = choose(network)
    assert check_first_solve(engine, network, p, q).converged
    with pytest.raises(Diverged, match=r"does not converge at consumption 185.8 MW.* it does at 0.0.*pu at bus 17"):
        check_first_solve(engine, network, 50 * p, 50 * q)
    p[4] = np.nan
    with pytest.raises(Diverged, match="1 injections are not finite, the first at bus 4"):
        check_first_solve(engine, network, p, q)


def test_power_grid_model_agrees() -> None:
    """An oracle that shares nothing with pandapower's admittances: a SimBench LV network, built by hand in PGM."""
    from power_grid_model import ComponentType, LoadGenType, PowerGridModel, initialize_array

    from vpp.grid import to_pandapower

    network = load_network("simbench:1-LV-rural1--0-sw")
    net = to_pandapower(network)
    trafo = net.trafo.iloc[0]
    source = {"id": [1000], "node": [int(net.ext_grid.bus.iloc[0])], "status": [1], "u_ref": [net.ext_grid.vm_pu.iloc[0]]}
    per_line = net.line.length_km * net.line.parallel
    tables = {
        ComponentType.node: {"id": net.bus.index, "u_rated": net.bus.vn_kv * 1e3},
        ComponentType.line: {
            "id": 2000 + net.line.index, "from_node": net.line.from_bus, "to_node": net.line.to_bus,
            "from_status": 1, "to_status": 1, "r1": net.line.r_ohm_per_km * net.line.length_km / net.line.parallel,
            "x1": net.line.x_ohm_per_km * net.line.length_km / net.line.parallel,
            "c1": net.line.c_nf_per_km * 1e-9 * per_line, "tan1": 0.0,
        },
        ComponentType.transformer: {
            "id": [3000], "from_node": [trafo.hv_bus], "to_node": [trafo.lv_bus], "from_status": 1, "to_status": 1,
            "u1": trafo.vn_hv_kv * 1e3, "u2": trafo.vn_lv_kv * 1e3, "sn": trafo.sn_mva * 1e6,
            "uk": trafo.vk_percent / 100, "pk": trafo.vkr_percent / 100 * trafo.sn_mva * 1e6,
            "i0": trafo.i0_percent / 100, "p0": trafo.pfe_kw * 1e3, "winding_from": 2, "winding_to": 1, "clock": 5,
            "tap_side": 0, "tap_pos": int(trafo.tap_pos), "tap_min": -2, "tap_max": 2, "tap_nom": 0,
            "tap_size": trafo.tap_step_percent / 100 * trafo.vn_hv_kv * 1e3,
        },
        ComponentType.source: {**source, "sk": 1e20},
        ComponentType.sym_load: {
            "id": 4000 + net.load.index, "node": net.load.bus, "status": 1, "type": LoadGenType.const_power,
            "p_specified": net.load.p_mw * 1e6, "q_specified": net.load.q_mvar * 1e6,
        },
        ComponentType.sym_gen: {
            "id": 5000 + net.sgen.index, "node": net.sgen.bus, "status": 1, "type": LoadGenType.const_power,
            "p_specified": net.sgen.p_mw * 1e6, "q_specified": net.sgen.q_mvar * 1e6,
        },
    }  # fmt: skip
    data = {}
    for component, columns in tables.items():
        data[component] = initialize_array("input", component, len(columns["id"]))
        for column, values in columns.items():
            data[component][column] = values
    result = PowerGridModel(data).calculate_power_flow(error_tolerance=1e-10)[ComponentType.node]
    at = np.argsort(result["id"])[np.argsort(np.argsort(network.bus_id))]
    mine = network.bus_values(TreeSweep(network).solve(*network.rated_injections()).v)
    assert np.max(np.abs(np.abs(mine) - result["u_pu"][at])) < 1e-6
