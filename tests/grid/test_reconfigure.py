"""Reconfiguration for losses: the published optimum, and what holds of every result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandapower as pp
import pytest

from vpp.grid import BRANCH_KINDS, Network, load_network
from vpp.grid.losses import Limits, reconfigure
from vpp.grid.losses.reconfigure import all_closed, open_ties, without
from vpp.grid.powerflow.lightsim2grid_engine import LightSim2Grid
from vpp.grid.powerflow.tree import TreeSweep, is_radial
from vpp.grid.source import load_source, quiet
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


def with_switches(tmp_path: Path, energised: bool = True) -> str:
    """The feeder of 33 buses with a switch between buses at the far end of each of its five ties."""
    net = load_source("pandapower:case33bw")[0]
    for k in range(32, 37):
        end = int(net.line.at[k, "to_bus"])
        new = pp.create_bus(net, 12.66, in_service=energised)
        net.line.loc[k, ["to_bus", "in_service"]] = new, True
        pp.create_switch(net, new, end, et="b", closed=False, name=f"tie {k}")
    with quiet():
        pp.to_json(net, str(tmp_path / "net.json"))
    return f"file:{tmp_path / 'net.json'}"


def test_ties_that_are_switches_between_buses_are_closed_as_lines_are(tmp_path: Path) -> None:
    """The same optimum as with ties that are lines: their switches close where those lines did."""
    network = load_network(with_switches(tmp_path))
    assert len(open_ties(network)) == 5
    found = reconfigure(network, *network.rated_injections())
    whole = found.network
    kind = [BRANCH_KINDS[whole.branch_kind[b]] for b in found.to_close]
    assert kind == ["switch"] * 4
    assert [whole.branch_name[b] for b in found.to_close] == ["tie 32", "tie 33", "tie 34", "tie 35"]
    assert [whole.branch_id[b] + 1 for b in found.to_open] == [7, 9, 14, 32]
    assert found.loss_mw == pytest.approx(0.13955, abs=5e-6)
    assert found.before_mw == pytest.approx(0.20268, abs=5e-6)
    assert is_radial(whole) == ""
    assert np.all(whole.node_of_bus >= 0)
    again = TreeSweep(whole).solve(*found_injections(network, whole))
    assert whole.branch_flows(again.v).p_loss_total_mw == pytest.approx(found.loss_mw, rel=1e-8)


def found_injections(network: Network, whole: Network) -> tuple[np.ndarray, np.ndarray]:
    """The loads by the nodes of the other network."""
    return whole.scatter(network.loads.bus, network.loads.p_mw), whole.scatter(network.loads.bus, network.loads.q_mvar)


def test_a_switch_to_a_bus_out_of_service_is_no_tie(tmp_path: Path) -> None:
    network = load_network(with_switches(tmp_path, energised=False))
    assert len(open_ties(network)) == 0
    found = reconfigure(network, *network.rated_injections())
    assert found.to_open == found.to_close == ()
    assert found.loss_mw == pytest.approx(found.before_mw)


def test_a_meshed_network_is_refused() -> None:
    network = load_network("pandapower:case118")
    with pytest.raises(NetworkError, match="not radial"):
        reconfigure(network, *network.rated_injections())
