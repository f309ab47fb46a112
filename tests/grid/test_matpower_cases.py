"""MATPOWER's cases and PEGASE, loaded, compiled and solved by us: every voltage as pandapower has it, within 1e-8."""

from __future__ import annotations

import numpy as np
import pandapower as pp
import pandapower.networks as pn
import pytest

from vpp.grid import load_network
from vpp.grid.powerflow import choose
from vpp.grid.powerflow.lightsim2grid_engine import COLLAPSED_PU, LightSim2Grid
from vpp.grid.powerflow.port import net_injections
from vpp.grid.source import quiet

CASES = (
    "case9", "case14", "case30", "case39", "case57", "case118", "case300", "case1354pegase", "case2869pegase",
)  # fmt: skip
WITHIN = 1e-8  # pu and rad


@pytest.mark.parametrize("case", CASES)
def test_voltages_as_pandapower_has_them(case: str) -> None:
    with quiet():
        net = getattr(pn, case)()
        pp.runpp(net, calculate_voltage_angles=True, tolerance_mva=1e-9, max_iteration=30, lightsim2grid=False)
    network = load_network(f"pandapower:{case}")
    engine, _ = choose(network)
    p, q = network.rated_injections()
    for solution in (engine.solve(p, q), engine.solve_batch(p[None], q[None])):
        assert np.all(solution.converged)
        v = network.bus_values(solution.v.reshape(-1))
        assert network.bus_id.tolist() == net.bus.index.tolist()
        angle = np.deg2rad(net.res_bus.va_degree.to_numpy())
        assert np.abs(np.abs(v) - net.res_bus.vm_pu.to_numpy()).max() < WITHIN
        assert np.abs(np.angle(v * np.exp(-1j * angle))).max() < WITHIN


def test_a_negative_reactance_is_no_phase_shift() -> None:
    """The 300-bus case has transformers of negative reactance (stars of three windings): linear angles near the solved ones."""
    network = load_network("pandapower:case300")
    assert (network.yft[network.branch_on].imag < -1.0).any()
    engine = LightSim2Grid(network)
    p, q = net_injections(network, *network.rated_injections())
    start = engine._direct_current(np.asarray(p + 1j * q) / network.sn_mva)
    solved = engine.solve(*network.rated_injections()).v
    assert np.abs(np.angle(start / solved)).max() < np.deg2rad(25.0)


def test_a_node_at_no_voltage_is_no_solution() -> None:
    """Where nothing is injected, 0 V balances the power; Newton's method goes there from a poor start, and we go on."""
    network = load_network("pandapower:case300")
    engine = LightSim2Grid(network)
    p, q = net_injections(network, *network.rated_injections())
    s = np.asarray(p + 1j * q) / network.sn_mva
    idle = np.flatnonzero((s == 0) & ~np.isin(np.arange(network.n_node), [*network.slack_node, *network.pv_node]))
    good = engine.solve(*network.rated_injections())
    poor = good.v.copy()
    poor[idle[0]] = 0.9 * COLLAPSED_PU
    assert engine._newton(s, poor)[0] is None or np.abs(engine._newton(s, poor)[0]).min() > COLLAPSED_PU
    again = engine.solve(*network.rated_injections(), poor)
    assert again.converged
    assert np.abs(again.v - good.v).max() < WITHIN
