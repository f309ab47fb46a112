"""Limits as arrays with value, limit and margin, against pandapower's results."""

from __future__ import annotations

import numpy as np
import pandapower as pp
import pytest

from vpp.grid import Network, load_network, to_pandapower
from vpp.grid.limits import LOADING, QUANTITIES, REVERSE, VM_HIGH, VM_LOW, Checks, Limits, check, factors
from vpp.grid.network import BRANCH_KINDS
from vpp.grid.powerflow import choose
from vpp.grid.source import quiet

SPEC = "simbench:1-MV-rural--0-sw"


def checked(limits: Limits, scale: float = 1.0, *, outage: bool = False, spec: str = SPEC) -> tuple[Network, Checks]:
    """The limits of a network with its injections times a factor."""
    network = load_network(spec)
    p, q = network.rated_injections()
    return network, check(network, choose(network)[0].solve(scale * p, scale * q).v, limits, outage=outage)


def test_every_limit_has_value_limit_and_margin() -> None:
    network, checks = checked(Limits(vm_low_pu=0.99, vm_high_pu=1.02, rating=0.3))
    net = to_pandapower(network)
    with quiet():
        pp.runpp(net, tolerance_mva=1e-8)
    vm = net.res_bus.vm_pu.loc[network.bus_id].to_numpy()
    for quantity, limit, sign in ((VM_LOW, 0.99, 1.0), (VM_HIGH, 1.02, -1.0)):
        at = checks.quantity == quantity
        assert np.max(np.abs(checks.value[at] - vm[checks.element[at]])) < 1e-8
        assert np.max(np.abs(checks.margin[at] - sign * (vm[checks.element[at]] - limit))) < 1e-8
        assert at.sum() == np.isfinite(vm).sum()
    at = checks.quantity == LOADING
    lines = at & (network.branch_kind[np.where(at, checks.element, 0)] == BRANCH_KINDS.index("line"))
    expected = net.res_line.loading_percent.loc[network.branch_id[checks.element[lines]]].to_numpy() / 100
    assert np.max(np.abs(checks.value[lines] - expected)) < 1e-6
    assert np.all(checks.limit[at] == 0.3)
    np.testing.assert_array_equal(checks.violated, checks.margin < 0)
    worst = checks.worst()
    assert len(worst) == checks.violated.sum() > 0
    assert np.all(np.diff(checks.severity[worst]) <= 0)
    assert not np.any(checks.quantity == REVERSE)


def test_reverse_power_at_transformers() -> None:
    """More generation than consumption: what the transformers pass upwards is pandapower's -p_hv_mw."""
    network, checks = checked(Limits(reverse_mw=2.0))
    net = to_pandapower(network)
    with quiet():
        pp.runpp(net, tolerance_mva=1e-8)
    at = np.flatnonzero(checks.quantity == REVERSE)
    assert len(at) == len(net.trafo) == 2
    expected = -net.res_trafo.p_hv_mw.loc[network.branch_id[checks.element[at]]].to_numpy()
    assert np.max(np.abs(checks.value[at] - expected)) < 1e-6
    assert np.all(expected > 2.0)
    assert np.all(checks.violated[at])
    rated = net.trafo.sn_mva.loc[network.branch_id[checks.element[at]]].to_numpy()
    assert checks.severity[at] == pytest.approx((expected - 2.0) / rated)
    turned = checked(Limits(reverse_mw=2.0), -1.0)[1]
    assert np.all(turned.value[at] < 0)


def test_three_windings_have_one_high_side() -> None:
    _, checks = checked(Limits(reverse_mw=0.0), spec="pandapower:example_multivoltage")
    network = load_network("pandapower:example_multivoltage")
    at = checks.element[checks.quantity == REVERSE]
    three = network.branch_kind[at] == BRANCH_KINDS.index("trafo3w")
    assert three.sum() == 1
    assert np.all(network.branch_from_bus[at] >= 0)


def test_bands_and_factors() -> None:
    network, checks = checked(Limits())
    at = checks.quantity == VM_LOW
    np.testing.assert_array_equal(checks.limit[at], network.vm_min_pu[checks.element[at]])
    rating = factors(network, {"line:3": 0.5, "line": 0.9})
    line = network.branch_kind == BRANCH_KINDS.index("line")
    assert set(rating[line].tolist()) == {0.9, 0.5}
    assert np.all(rating[~line] == 1.0)
    limits = Limits(rating=rating, emergency=1.2)
    assert np.array_equal(limits.loading(network), rating)
    assert np.allclose(limits.loading(network, outage=True), 1.2 * rating)
    emergency = checked(limits, outage=True)[1]
    loads = emergency.quantity == LOADING
    assert np.allclose(emergency.limit[loads], 1.2 * rating[emergency.element[loads]])
    assert QUANTITIES[LOADING] == "loading"


def test_bad_limits() -> None:
    network = load_network(SPEC)
    for limits, text in (
        (Limits(vm_low_pu=1.0, vm_high_pu=0.9), "0 < vm_low_pu <= vm_high_pu"),
        (Limits(vm_high_pu=np.ones(2)), r"vm_high_pu has shape \(2,\)"),
        (Limits(rating=-1.0), "positive"),
        (Limits(reverse_mw=-1.0), "0 or more"),
    ):
        with pytest.raises(ValueError, match=text):
            check(network, np.ones(network.n_node, complex), limits)
    with pytest.raises(ValueError, match="no kind of branch 'tube'"):
        factors(network, {"tube": 1.0})
    with pytest.raises(ValueError, match="no trafo 77"):
        factors(network, {"trafo:77": 1.0})


def test_what_has_no_voltage_has_no_entry() -> None:
    network, checks = checked(Limits(), np.nan)
    assert len(checks) == 0
    assert len(checks.worst()) == 0
    assert network.n_bus > 0


def test_a_source_whose_band_is_one_voltage_keeps_it() -> None:
    """MATPOWER's cases pin the source so; at exactly that voltage nothing is broken."""
    network, checks = checked(Limits(), spec="pandapower:case33bw")
    source = network.node_bus[network.slack_node[0]]
    at = (checks.element == source) & (checks.quantity != LOADING)
    assert checks.limit[at].tolist() == [1.0, 1.0]
    assert checks.margin[at].tolist() == [0.0, 0.0]
    assert not checks.violated[at].any()
