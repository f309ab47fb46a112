"""Outages case by case against pandapower, with its own switching off; what is lost, what is broken, what is ranked."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pytest

from vpp.grid import Network, load_network, to_pandapower
from vpp.grid.contingency import Contingencies, Outage, Outages, analyse, outages_named, pairs, single_outages
from vpp.grid.contingency.solve import OutageSolver
from vpp.grid.limits import LOADING, REVERSE, VM_HIGH, VM_LOW, Limits, factors, reverse_power
from vpp.grid.network import BRANCH_KINDS
from vpp.grid.powerflow import choose
from vpp.grid.source import quiet
from vpp.kernel.errors import Diverged

RING, SMALL, LARGE, MIXED = (
    "simbench:1-MV-rural--0-sw", "pandapower:case118", "pandapower:case1354pegase", "pandapower:example_multivoltage",
)  # fmt: skip
AGREE_PU, AGREE_LOADING = 1e-7, 1e-6


@cache
def solved(spec: str) -> tuple[Network, Contingencies, np.ndarray]:
    """Every outage of a network: the network, the analysis, voltages by bus (cases, n_bus)."""
    network = load_network(spec)
    blocks: list[np.ndarray] = []
    kept = analyse(network, single_outages(network), *network.rated_injections(), keep=lambda _, v: blocks.append(v))
    return network, kept, np.concatenate(blocks)


def switched_off(net: Any, network: Network, branches: Iterable[int], *, on: bool = False) -> None:
    """Switch branches of a pandapower network off, or on again."""
    for b in branches:
        net[BRANCH_KINDS[network.branch_kind[b]]].loc[network.branch_id[b], "in_service"] = on


def power_flow(net: Any, network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Voltages (n_bus,) and loadings (n_branch,) of lines and transformers by pandapower; NaN where it has none."""
    with quiet():
        pp.runpp(net, calculate_voltage_angles=True, tolerance_mva=1e-7, max_iteration=30, lightsim2grid=False)
    vm = net.res_bus.vm_pu.loc[network.bus_id].to_numpy()
    v = vm * np.exp(1j * np.deg2rad(net.res_bus.va_degree.loc[network.bus_id].to_numpy()))
    loading = np.full(network.n_branch, np.nan)
    for kind in ("line", "trafo"):
        at = network.branch_kind == BRANCH_KINDS.index(kind)
        loading[at] = net[f"res_{kind}"].loading_percent.loc[network.branch_id[at]].to_numpy() / 100.0
    return v, loading


def agree(network: Network, branches: Iterable[int], v: np.ndarray, expected: tuple[np.ndarray, np.ndarray]) -> None:
    """One case: the same buses dead, the same voltages and loadings."""
    v_bus, loading = network.bus_values(v), network.branch_flows(v).loading
    loading[list(branches)] = np.nan
    np.testing.assert_array_equal(np.isnan(v_bus), np.isnan(expected[0]))
    assert np.nanmax(np.abs(v_bus - expected[0])) < AGREE_PU
    both = np.isfinite(loading) & np.isfinite(expected[1])
    assert both.sum() >= 0.5 * np.isfinite(loading).sum()
    assert np.max(np.abs(loading[both] - expected[1][both]), initial=0.0) < AGREE_LOADING
    dead = network.branch_on & np.isnan(v[network.branch_from_node]) & np.isfinite(expected[1])
    assert not np.any(expected[1][dead])  # what we call dead carries nothing there


@pytest.mark.parametrize("spec", [SMALL, RING, MIXED])
def test_every_outage_agrees_with_pandapower(spec: str) -> None:
    network, result, v = solved(spec)
    net = to_pandapower(network)
    lost = 0
    for k, outage in enumerate(result.outages.outages):
        switched_off(net, network, outage.branches)
        try:
            expected = power_flow(net, network)
        except pp.LoadflowNotConverged:
            assert not result.converged[k], outage.name
            continue
        finally:
            switched_off(net, network, outage.branches, on=True)
        assert result.converged[k], outage.name
        agree(network, outage.branches, v[k], expected)
        energised = np.isfinite(network.bus_values(np.ones(network.n_node)))
        assert result.lost.buses[k] == np.sum(energised & np.isnan(expected[0])), outage.name
        assert result.islanding(k) == ("lost" if result.lost.buses[k] else "")
        lost += bool(result.lost.buses[k])
    assert lost > 0
    in_service = sum(int(net[kind].in_service.sum()) for kind in ("line", "trafo", "trafo3w", "impedance"))
    assert len(result.outages) >= in_service - 4  # none is dropped but what has no voltage anyhow


def test_large_network_sampled() -> None:
    """Every hundredth outage, those that only Newton-Raphson solves, and all that have no solution."""
    network, result, v = solved(LARGE)
    net = to_pandapower(network)
    hard = [328, 649, 1400]
    for k in [*range(0, len(result.outages), 100), *hard, *np.flatnonzero(~result.converged).tolist()]:
        branches = result.outages.outages[k].branches
        switched_off(net, network, branches)
        if result.converged[k]:
            agree(network, branches, v[k], power_flow(net, network))
        else:
            with pytest.raises(pp.LoadflowNotConverged):
                power_flow(net, network)
        switched_off(net, network, branches, on=True)
    assert (~result.converged).sum() == 2
    assert np.sum([len(lost) > 0 for lost in result.outages.lost]) > 500


@pytest.mark.parametrize(("spec", "keys", "least_lost"), [(SMALL, ("line", "trafo"), 5), (RING, ("line", "trafo"), 30)])
def test_two_outages_at_once(spec: str, keys: tuple[str, ...], least_lost: int) -> None:
    network = load_network(spec)
    listed = outages_named(network, keys)[::7]
    both = pairs(network, listed)
    assert len(both) == len(listed) * (len(listed) - 1) // 2
    blocks: list[np.ndarray] = []
    result = analyse(network, both, *network.rated_injections(), keep=lambda _, v: blocks.append(v))
    v, net = np.concatenate(blocks), to_pandapower(network)
    lost = 0
    for k in range(0, len(both), max(1, len(both) // 60)):
        branches = both.outages[k].branches
        assert len(branches) == 2
        switched_off(net, network, branches)
        try:
            agree(network, branches, v[k], power_flow(net, network))
            assert result.converged[k]
        except pp.LoadflowNotConverged:
            assert not result.converged[k]
        switched_off(net, network, branches, on=True)
        lost += bool(result.lost.buses[k])
    assert lost >= least_lost
    assert len(pairs(network, listed[:2], listed[2:5])) == 6


def test_newton_raphson_finds_the_same() -> None:
    """One chord iteration solves nothing, so every case is left to the other way."""
    network = load_network(SMALL)
    p, q = network.rated_injections()
    base, outages = choose(network)[0].solve(p, q).v, single_outages(network)
    ways = [OutageSolver(network, max_iter=n).blocks(outages, p, q, base) for n in (30, 1)]
    for (_, _, v, good), (_, _, v_newton, good_newton) in zip(*ways, strict=True):
        np.testing.assert_array_equal(good, good_newton)
        np.testing.assert_array_equal(np.isnan(v), np.isnan(v_newton))
        assert np.nanmax(np.abs(v - v_newton)) < 1e-8


def two_sources(tmp_path: Path) -> str:
    """Two public grids joined by a line, one of them behind a transformer's open switch: parts that live on."""
    net = pp.create_empty_network()
    a, b, c = (pp.create_bus(net, 20.0, name=name) for name in "abc")
    pp.create_ext_grid(net, a)
    pp.create_ext_grid(net, b, vm_pu=1.01)
    for x, y in ((a, b), (b, c)):
        pp.create_line(net, x, y, 3.0, "NAYY 4x150 SE", name=f"{net.bus.name[x]}{net.bus.name[y]}")
    pp.create_load(net, c, 0.5, 0.1)
    pp.create_sgen(net, c, 0.2)
    with quiet():
        pp.to_json(net, str(tmp_path / "two.json"))
    return f"file:{tmp_path / 'two.json'}"


def test_islands_that_live_on_are_told_from_what_is_lost(tmp_path: Path) -> None:
    network = load_network(two_sources(tmp_path))
    singles = single_outages(network)
    result = analyse(network, singles, *network.rated_injections())
    assert [result.islanding(k) for k in range(2)] == ["parted", "lost"]
    assert result.converged.all()
    assert result.lost.load_mw.tolist() == pytest.approx([0.0, 0.3])
    both = analyse(network, pairs(network, singles.outages), *network.rated_injections())
    assert both.islanding(0) == "lost, parted"


def test_violations_are_arrays_with_limit_value_and_margin() -> None:
    network, _, v = solved(RING)
    rating, emergency = factors(network, {"line": 0.9, "line:3": 0.5}), factors(network, {"trafo": 1.2})
    limits = Limits(vm_low_pu=1.01, vm_high_pu=1.02, rating=0.3 * rating, emergency=emergency)
    outages = single_outages(network)
    result = analyse(network, outages, *network.rated_injections(), limits)
    allowed = 0.3 * rating * emergency
    expected = set()
    for k, outage in enumerate(outages.outages):
        vm, loading = np.abs(network.bus_values(v[k])), network.branch_flows(v[k]).loading
        loading[list(outage.branches)] = np.nan
        expected |= {(k, LOADING, int(b)) for b in np.flatnonzero(loading > allowed)}
        expected |= {(k, VM_LOW, int(b)) for b in np.flatnonzero(vm < 1.01)}
        expected |= {(k, VM_HIGH, int(b)) for b in np.flatnonzero(vm > 1.02)}
        assert result.extremes.vm_min_pu[k] == pytest.approx(np.nanmin(vm))
        assert result.extremes.vm_max_pu[k] == pytest.approx(np.nanmax(vm))
        assert result.extremes.loading_max[k] == pytest.approx(np.nanmax(loading))
    found = result.violations
    assert {(int(c), int(q), int(e)) for c, q, e in zip(found.case, found.quantity, found.element)} == expected
    assert len(found.case) == len(expected) == result.extremes.violations.sum() > 1024  # more than there is room for at first
    assert {LOADING, VM_LOW, VM_HIGH} == set(found.quantity.tolist())
    low = found.quantity == VM_LOW
    np.testing.assert_array_equal(found.margin, np.where(low, found.value - found.limit, found.limit - found.value))
    assert np.all(found.margin < 0)
    assert np.allclose(found.limit[found.quantity == LOADING], allowed[found.element[found.quantity == LOADING]])
    vm_base = np.abs(network.bus_values(result.v_base))
    np.testing.assert_array_equal(found.base[low], vm_base[found.element[low]])


def test_ranking() -> None:
    _, result, _ = solved(LARGE)
    order = result.ranking()
    assert sorted(order.tolist()) == list(range(len(order)))
    key = list(zip(result.converged, -result.lost.load_mw, -result.lost.generation_mw, -result.extremes.severity))
    assert [key[k] for k in order] == sorted(key)
    case = result.violations.case
    place = np.argsort(order)[case]
    assert np.all(np.diff(place) >= 0)
    assert np.all(np.diff(result.violations.severity)[np.diff(place) == 0] <= 0)
    worst = np.zeros(len(order))
    np.maximum.at(worst, case[result.violations.caused], result.violations.severity[result.violations.caused])
    assert np.allclose(worst, result.extremes.severity)
    assert "out:" in result.describe(0)


def test_the_same_bytes_twice_and_progress() -> None:
    network, result, _ = solved(SMALL)
    done: list[tuple[int, int]] = []
    again = analyse(network, single_outages(network), *network.rated_injections(), progress=lambda a, b: done.append((a, b)))
    assert done[-1] == (len(again.outages), len(again.outages))
    for one, two in zip((*result.extremes, *result.violations), (*again.extremes, *again.violations), strict=True):
        assert one.tobytes() == two.tobytes()


def test_bad_input() -> None:
    network = load_network(SMALL)
    p, q = network.rated_injections()
    with pytest.raises(ValueError, match="no branch 999"):
        Outages.of(network, [Outage((999,), "x")])
    with pytest.raises(ValueError, match="'x' has no branch"):
        Outages.of(network, [Outage((), "x")])
    with pytest.raises(ValueError, match="no kind of branch 'cable'"):
        single_outages(network, ("cable",))
    with pytest.raises(ValueError, match="no line 4711"):
        outages_named(network, ["line:4711"])
    with pytest.raises(ValueError, match="comes the element's number"):
        outages_named(network, ["line:x"])
    few = Outages.of(network, [Outage((0,), "first")])
    with pytest.raises(ValueError, match=r"rating has shape \(3,\)"):
        analyse(network, few, p, q, Limits(rating=np.ones(3)))
    with pytest.raises(ValueError, match="vm_low_pu <= vm_high_pu"):
        analyse(network, few, p, q, Limits(vm_low_pu=1.2))
    with pytest.raises(ValueError, match="positive"):
        analyse(network, few, p, q, Limits(emergency=0.0))
    with pytest.raises(Diverged):
        analyse(network, few, 50 * p, 50 * q)
    nothing = analyse(network, Outages.of(network, []), p, q)
    assert len(nothing.violations.case) == len(nothing.ranking()) == 0


def test_reverse_power_after_an_outage_is_among_the_ranked_violations() -> None:
    """Two transformers feed back together; without one of them the other is over its limit, as pandapower's flows say."""
    network = load_network("simbench:1-MV-rural--0-sw")
    p, q = (0.8 * x for x in network.rated_injections())  # more generation than load
    trafos = np.flatnonzero(network.branch_kind == BRANCH_KINDS.index("trafo"))
    together = float(reverse_power(network, choose(network)[0].solve(p, q).v)[0][trafos].sum())
    limits = Limits(vm_low_pu=0.5, vm_high_pu=1.5, rating=10.0, reverse_mw=0.7 * together)
    result = analyse(network, Outages.of(network, outages_named(network, ("trafo", "line"))), p, q, limits)
    found = result.violations
    assert set(found.quantity.tolist()) == {REVERSE}
    by_outage = {result.outages.outages[c].branches[0]: k for k, c in enumerate(found.case.tolist())}
    assert set(trafos.tolist()) <= set(by_outage)
    assert np.all(found.value > found.limit)
    np.testing.assert_allclose(found.margin, found.limit - found.value)
    assert result.outages.outages[result.ranking()[0]].name  # the worst is a case that can be named
    net = to_pandapower(network)
    for kind in ("load", "sgen"):
        net[kind]["scaling"] *= 0.8
    for out, other in (trafos, trafos[::-1]):
        switched_off(net, network, (int(out),))
        with quiet():
            pp.runpp(net, calculate_voltage_angles=True)
        k = by_outage[int(out)]
        assert found.element[k] == other
        assert found.value[k] == pytest.approx(-net.res_trafo.p_hv_mw.at[int(network.branch_id[other])], abs=1e-5)
        assert found.base[k] < found.limit[k]
        assert found.caused[k]
        assert "feeds back" in result.describe(k)
        rated = float(net.trafo.sn_mva.at[int(network.branch_id[other])])
        assert found.severity[k] == pytest.approx((found.value[k] - found.limit[k]) / rated)
        switched_off(net, network, (int(out),), on=True)
    case = found.case[by_outage[int(trafos[0])]]
    assert result.extremes.violations[case] >= 1
    assert result.extremes.severity[case] > 0.0
