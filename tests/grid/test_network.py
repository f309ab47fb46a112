"""What a compiled network says of its source."""

from __future__ import annotations

import copy

import numpy as np
import pandapower as pp
import pytest

from tests.cases import ROOT
from tests.grid.handmade import radial, spec_of
from vpp.grid import BRANCH_KINDS, Network, load_network, to_pandapower
from vpp.grid.compile import compile_network
from vpp.grid.powerflow.tree import TreeSweep
from vpp.grid.source import quiet, resolve_taps
from vpp.kernel.errors import NetworkError


@pytest.fixture(scope="module")
def made() -> Network:
    return load_network(spec_of("handmade:radial"))


def test_ids_with_gaps_and_names(made: Network) -> None:
    assert made.bus_id.tolist() == [3, 7, 8, 20, 21, 22, 30, 31, 40, 50, 51, 60]
    assert made.bus_name[made.bus_position(22)] == "B22"
    assert made.sn_mva == 10.0
    assert made.f_hz == 50.0
    with pytest.raises(KeyError):
        made.bus_position(4)


def test_closed_switch_fuses_open_switch_parts_island_has_no_node(made: Network) -> None:
    node = {int(b): int(n) for b, n in zip(made.bus_id, made.node_of_bus, strict=True)}
    assert node[20] == node[21] >= 0
    assert node[50] == node[51] == -1  # behind the open switch
    assert node[60] == -1  # out of service
    assert len({n for n in node.values() if n >= 0}) == 8
    assert made.node_bus[node[21]] == made.bus_position(20)
    inner = int(np.sum(made.node_bus < 0))
    assert inner == 3  # the star point, the end of the line that is open at one end, and that at the dead bus


def test_signs_and_scaling(made: Network) -> None:
    assert made.loads.id.tolist() == [8, 9, 11, 12]  # the one out of service is left out
    assert np.allclose(made.loads.p_mw, [-0.12, -1.2, -0.5, -3.0])
    assert np.allclose(made.loads.q_mvar, [-0.04, -0.32, -0.1, -1.0])
    assert made.loads.name[0] == "H"
    assert made.sgens.p_mw.tolist() == [0.3]
    assert made.sgens.s_mva.tolist() == [0.35]
    assert made.sgens.type == ("PV",)
    assert made.storages.p_mw.tolist() == [0.05]
    assert made.storages.p_set_mw.tolist() == [-0.05]  # charging: pandapower counts it positive
    assert made.storages.q_set_mvar.tolist() == [-0.01]
    assert made.storages.soc.tolist() == [0.4]
    assert made.storages.e_mwh.tolist() == [0.2]
    p, _ = made.rated_injections()
    assert np.isclose(p.sum(), -0.12 - 1.2 - 3.0 + 0.3 - 0.05)  # nothing of the island
    assert np.isclose(made.fixed_p_mw.sum(), -0.2)  # the ward's constant part


def test_limits_have_defaults(made: Network) -> None:
    assert made.vm_min_pu[made.bus_position(7)] == 0.95
    assert made.vm_min_pu[made.bus_position(20)] == 0.9
    assert np.all(made.vm_max_pu == 1.1)


def test_branches(made: Network) -> None:
    kinds = [BRANCH_KINDS[k] for k in made.branch_kind]
    assert kinds.count("trafo3w") == 3
    assert kinds.count("trafo") == 1
    line = {int(i): k for k, i in enumerate(made.branch_id) if kinds[k] == "line"}
    assert made.branch_i_max_from_ka[line[9]] == 0.6  # two in parallel
    assert not made.branch_on[line[14]]
    assert not made.branch_on[line[12]]
    assert made.branch_on[line[15]]  # energised from one end
    trafo = kinds.index("trafo")
    assert np.isclose(made.branch_i_max_from_ka[trafo], 0.63 * 2 * 0.9 / (np.sqrt(3) * 20.5))
    star = [k for k, kind in enumerate(kinds) if kind == "trafo3w"]
    assert [made.branch_name[k] for k in star] == ["T3 (hv)", "T3 (mv)", "T3 (lv)"]
    assert sum(made.branch_from_bus[k] == -1 or made.branch_to_bus[k] == -1 for k in star) == 3


def test_three_winding_loading_is_the_largest_leg(made: Network) -> None:
    net = to_pandapower(made)
    pp.runpp(net, lightsim2grid=False)
    flows = made.branch_flows(TreeSweep(made).solve(*made.rated_injections()).v)
    legs = flows.loading[made.branch_kind == BRANCH_KINDS.index("trafo3w")]
    assert np.isclose(legs.max() * 100, net.res_trafo3w.loading_percent.iloc[0], rtol=1e-6)
    off = ~made.branch_on
    assert np.all(flows.i_from_ka[off] == 0)
    nan = made.branch_flows(np.full(made.n_node, np.nan + 0j))
    assert np.isnan(nan.i_from_ka[~off]).all()
    assert np.isnan(nan.p_loss_total_mw)


def test_switches(made: Network) -> None:
    s = made.switches
    assert s.id.tolist() == [2, 3, 6, 8]
    assert s.closed.tolist() == [True, False, False, True]
    assert (s.other_bus >= 0).tolist() == [True, True, False, False]
    assert made.branch_id[s.branch[2]] == 15


def test_generated_drawing_is_complete_and_repeats(made: Network) -> None:
    assert np.isfinite(made.bus_xy).all()
    assert len(np.unique(made.bus_xy.round(9), axis=0)) == made.n_bus
    again = load_network(spec_of("handmade:radial"), cache=False)
    assert np.array_equal(made.bus_xy, again.bus_xy)


def test_given_coordinates_are_kept() -> None:
    network = load_network("simbench:1-LV-rural1--0-sw")
    assert np.isfinite(network.bus_xy).all()
    assert 11.3 < network.bus_xy[0, 0] < 11.5


def test_meshed_drawing_keeps_buses_apart() -> None:
    xy = load_network("pandapower:case118").bus_xy
    gap = np.sqrt(((xy[:, None] - xy[None]) ** 2).sum(axis=2)) + np.eye(len(xy))
    assert gap.min() > 1e-3 * np.ptp(xy, axis=0).max()


def test_taps_without_a_type_are_applied() -> None:
    """SimBench's taps: off neutral and without a type, pandapower 3 ignores them; we do not (the trap)."""
    network = load_network("simbench:1-MVLV-urban-all-1-sw")
    assert network.notes == ("trafo: 135 tap changers without a type taken as Ratio, 11 off neutral",)
    made = load_network(spec_of("handmade:radial"))
    resolved = to_pandapower(made)
    assert set(resolved.trafo.tap_changer_type) == set(resolved.trafo3w.tap_changer_type) == {"Ratio"}
    ignored = copy.deepcopy(resolved)
    ignored.trafo["tap_changer_type"] = None
    pp.runpp(resolved, lightsim2grid=False)
    pp.runpp(ignored, lightsim2grid=False)
    v = made.bus_values(TreeSweep(made).solve(*made.rated_injections()).v)
    at = made.bus_position(30)
    assert np.isclose(abs(v[at]), resolved.res_bus.vm_pu[30], atol=1e-8)
    assert abs(resolved.res_bus.vm_pu[30] - ignored.res_bus.vm_pu[30]) > 0.04  # two steps of 2.5 %


def test_taps_with_a_type_are_left() -> None:
    net = radial()
    net.trafo["tap_changer_type"] = "Ideal"
    assert resolve_taps(net) == ["trafo3w: 1 tap changers without a type taken as Ratio, 1 off neutral"]
    assert net.trafo.tap_changer_type.tolist() == ["Ideal"]


def test_matpower_file() -> None:
    network = load_network(f"file:{ROOT / 'three' / 'three.m'}", cache=False)
    assert network.n_bus == network.n_node == 3
    assert network.n_branch == 2
    assert np.isclose(network.loads.p_mw.sum(), -3.0)
    p, q = network.rated_injections()
    v = TreeSweep(network).solve(p, q).v
    y1, y2 = 1 / (0.01 + 0.02j), 1 / (0.02 + 0.03j)  # the same by hand, Gauss-Seidel on the admittances
    y = np.array([[y1, -y1, 0], [-y1, y1 + y2, -y2], [0, -y2, y2]]) + 1j * np.diag([0.0005, 0.001, 0.0005 + 0.02])
    hand = np.array([1.02, 1, 1], dtype=complex)
    for _ in range(500):
        for k, s in ((1, -(0.2 + 0.05j)), (2, -(0.1 + 0.03j))):
            hand[k] = (np.conj(s / hand[k]) - y[k] @ hand + y[k, k] * hand[k]) / y[k, k]
    assert np.max(np.abs(network.bus_values(v) - hand)) < 1e-8
    assert network.vm_max_pu.tolist() == [1.1, 1.1, 1.05]


def test_facts_are_refused_not_dropped() -> None:
    net = radial()
    pp.create_svc(net, 21, 1, -10, 1.0, 90)
    with pytest.raises(NetworkError, match="svc elements are not supported"):
        compile_network(net, "file:x.json", "0")


def test_voltage_dependent_loads_are_noted() -> None:
    net = radial()
    net.load.loc[8, "const_z_p_percent"] = 50.0
    with quiet():
        network = compile_network(net, "file:x.json", "0")
    assert network.notes == ("1 voltage-dependent loads taken as constant power",)


def test_simbench_storage_rating_and_sign() -> None:
    storages = load_network("simbench:1-MVLV-urban-all-1-sw").storages
    assert len(storages) == 668
    assert np.all(storages.p_mw > 0)
    assert np.all(storages.p_set_mw > 0)  # SimBench states discharging; factor x rating is an injection
    assert np.all((storages.efficiency > 0.5) & (storages.efficiency <= 1))
    assert storages.profile[0].startswith("Storage_")


def test_an_open_ring_has_branches_that_are_not_closed() -> None:
    """SimBench runs its rings open by a switch at one end of a line: the line is energised and connects nothing."""
    network = load_network("simbench:1-MV-comm--0-sw")
    open_ones = ~network.branch_closed
    assert 0 < open_ones.sum() < 20
    assert (network.branch_on & open_ones).any()
    assert load_network("pandapower:case14").branch_closed.all()
