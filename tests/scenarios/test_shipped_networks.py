"""Every engine agrees with pandapower on the network of every shipped scenario, at powers that the scenario makes."""

from __future__ import annotations

import numpy as np
import pytest

from scenarios import list_scenarios, load
from scenarios.build import build
from vpp.grid.powerflow import ENGINES, choose
from vpp.kernel.errors import NetworkError


@pytest.mark.parametrize("name", [name for name, _ in list_scenarios()])
def test_engines_agree_with_pandapower(name: str) -> None:
    system = build(load(name))
    network, plant = system.network, system.plant
    steps = (0, min(len(plant.time_ns) // 2, 96))
    powers = {}
    for k in range(steps[-1] + 1):
        truth, _ = plant.advance()
        if k in steps:
            d = truth.solved.delivered
            now = network if plant.grid.steps is None else plant.grid.steps.now  # where tap changers and capacitors stand
            powers[k] = now, network.scatter(system.plan.bus, d.p_mw), network.scatter(system.plan.bus, d.q_mvar), truth.vm_pu
    compared = set()
    for network, p, q, vm_pu in powers.values():
        reference, _ = choose(network, "pandapower")
        expected = reference.solve(p, q).v
        assert np.all(np.isfinite(expected))
        np.testing.assert_allclose(vm_pu, network.bus_values(np.abs(expected)), rtol=0, atol=1e-6)
        for engine_name in ENGINES:
            try:
                engine, _ = choose(network, engine_name)
            except NetworkError:
                continue
            np.testing.assert_allclose(engine.solve(p, q).v, expected, rtol=0, atol=1e-6, err_msg=engine_name)
            compared.add(engine_name)
    assert {"pandapower", "lightsim2grid", system.engine[0]} <= compared
