"""The three-phase solver against power-grid-model, and against our balanced engines."""

from __future__ import annotations

import numpy as np
import pytest

from tests.grid.handmade import spec_of
from tests.grid.threephase import oracle
from tests.grid.threephase.pgm import Peer
from vpp.grid import Network, load_network
from vpp.grid.powerflow import Unsuitable, choose
from vpp.grid.threephase import CurrentInjection, branch_flows, load_threephase
from vpp.grid.threephase.lift import lift
from vpp.grid.threephase.results import unbalance_limits

TURN = np.exp(-2j * np.pi / 3.0 * np.arange(3))
BALANCED = (
    "handmade:radial",
    "pandapower:case33bw",
    "pandapower:cigre_mv",
    "simbench:1-LV-rural1--0-sw",
    "simbench:1-LV-urban6--0-sw",
    "simbench:1-MV-urban--0-sw",
)


def test_power_grid_model_agrees_on_the_european_feeder() -> None:
    """Its transformer has no stray admittance to ground, ours a millionth of the rating: hence 1e-7 and not less."""
    net = load_threephase(f"dss:{oracle.path('european_lv')}")
    peer, engine = Peer(net), CurrentInjection(net)
    factor = np.linspace(0.0, 6.0, 5 * len(net.load_name)).reshape(len(net.load_name), 5).T
    p, q = net.load_injections(factor)
    ours = engine.solve_batch(p, q)
    assert ours.converged.all()
    for method in ("newton_raphson", "iterative_current"):
        theirs = peer.run(peer.updates(p, q), method, 1e-10)
        v = theirs["u_pu"] * np.exp(1j * theirs["u_angle"])
        assert np.abs(ours.v[:, peer.rows] - v).max() < 2e-7
    assert np.abs(ours.v[-1]).min() < 0.98  # it is loaded enough to tell engines apart


@pytest.mark.parametrize("name", BALANCED)
@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_a_balanced_network_is_solved_as_the_balanced_engines_do(name: str, scale: float) -> None:
    network = load_network(spec_of(name))
    engine, _ = choose(network)
    p, q = network.rated_injections()
    balanced = engine.solve(scale * p, scale * q)
    net = lift(network)
    p3, q3 = net.rated_injections()
    fixed = np.repeat(np.isin(np.arange(len(p3) // 3), fixed_positions(network)), 3)
    factor = np.where(fixed, 1.0, scale)
    solution = CurrentInjection(net, tol_pu=1e-12).solve(factor * p3, factor * q3)
    assert solution.converged
    assert np.abs(solution.v.reshape(-1, 3) - balanced.v[:, None] * TURN).max() < 1e-8
    flows, expected, on = branch_flows(net, solution.v), network.branch_flows(balanced.v), network.branch_on
    i = np.abs(flows.i_ka.reshape(-1, 2, 3))
    assert np.abs(i[:, 0] - expected.i_from_ka[on][:, None]).max() < 1e-6
    assert np.abs(i[:, 1] - expected.i_to_ka[on][:, None]).max() < 1e-6
    assert flows.p_loss_total_mw == pytest.approx(expected.p_loss_total_mw, abs=1e-6)
    np.testing.assert_allclose(flows.loading, expected.loading[on], atol=1e-6)
    assert unbalance_limits(net, solution.v).value.max() < 1e-10


def fixed_positions(network: Network) -> np.ndarray:
    """Positions, among what injects, of the fixed injections: they come last."""
    tables = (network.loads, network.sgens, network.storages)
    moving = sum(int((network.node_of_bus[t.bus] >= 0).sum()) for t in tables)
    return np.arange(moving, moving + network.n_node)


def test_voltage_controlled_nodes_are_refused() -> None:
    with pytest.raises(Unsuitable, match="voltage-controlled"):
        lift(load_network("pandapower:case9"))
