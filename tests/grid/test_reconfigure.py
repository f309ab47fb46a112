"""Reconfiguration for losses: the published optimum, and what holds of every result."""

from __future__ import annotations

import numpy as np
import pytest

from vpp.grid import load_network
from vpp.grid.losses import Limits, reconfigure
from vpp.grid.losses.reconfigure import all_closed, without
from vpp.grid.powerflow.lightsim2grid_engine import LightSim2Grid
from vpp.grid.powerflow.tree import TreeSweep, is_radial
from vpp.kernel.errors import NetworkError


def test_case33bw_comes_to_the_published_optimum() -> None:
    """Lines 7, 9, 14, 32 and 37 open and 139.55 kW: what the literature on this feeder gives as its optimum."""
    network = load_network("pandapower:case33bw")
    p, q = network.rated_injections()
    found = reconfigure(network, p, q)
    assert [b + 1 for b in found.open_lines] == [7, 9, 14, 32, 37]
    assert found.before_mw == pytest.approx(0.20268, abs=5e-6)  # Baran and Wu 1989: 202.7 kW
    assert found.loss_mw == pytest.approx(0.13955, abs=5e-6)
    assert np.abs(found.v).min() == pytest.approx(0.9378, abs=1e-4)
    again = TreeSweep(found.network).solve(p, q)
    assert found.network.branch_flows(again.v).p_loss_total_mw == pytest.approx(found.loss_mw, rel=1e-8)
    assert len(found.to_open) == len(found.to_close) == 4


@pytest.mark.parametrize("spec", ["pandapower:case33bw", "simbench:1-MV-urban--0-sw", "simbench:1-MV-semiurb--0-sw"])
@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_a_result_is_radial_supplied_and_never_worse(spec: str, scale: float) -> None:
    network = load_network(spec)
    p, q = network.rated_injections()
    found = reconfigure(network, p * scale, q * scale)
    assert is_radial(found.network) == ""
    energised = network.node_of_bus >= 0
    assert np.all(found.network.node_of_bus[energised] >= 0)
    price = Limits.of(network).price
    beyond = [sum(abs(b.value - b.limit) for b in part) for part in (found.breaches, found.breaches_before)]
    worth = [loss / found.before_mw + price * b for loss, b in zip((found.loss_mw, found.before_mw), beyond)]
    assert worth[0] <= worth[1] + 1e-9
    assert len(found.to_open) == len(found.to_close)


def test_the_start_is_the_network_as_it_is() -> None:
    network = load_network("simbench:1-MV-urban--0-sw")
    p, q = network.rated_injections()
    found = reconfigure(network, p, q)
    own = network.branch_flows(LightSim2Grid(network).solve(p, q).v).p_loss_total_mw
    assert found.before_mw == pytest.approx(own, rel=2e-3)  # an open cable hangs on neither end here


def test_an_open_branch_is_as_if_it_were_not_there() -> None:
    whole = all_closed(load_network("pandapower:case33bw"))
    network = load_network("pandapower:case33bw")
    open_lines = frozenset(np.flatnonzero(~network.branch_closed).tolist())
    again = without(whole, open_lines)
    np.testing.assert_array_equal(again.y_indices, network.y_indices)
    np.testing.assert_allclose(again.y_data, network.y_data, rtol=1e-9)


def test_a_meshed_network_is_refused() -> None:
    network = load_network("pandapower:case118")
    with pytest.raises(NetworkError, match="not radial"):
        reconfigure(network, *network.rated_injections())
