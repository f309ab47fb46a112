"""Expectations from load profiles, where only the feeders' heads are metered."""

from __future__ import annotations

import numpy as np

from controllers.estimation.estimator import StateEstimator
from controllers.estimation.measured import VM, Grid, Meters, P, Q
from controllers.estimation.pseudo import WEEK, Pseudo
from tests.controllers.metered import names, true_values
from vpp.grid import load_network, load_profiles
from vpp.grid.powerflow import choose

SPEC = "simbench:1-MV-rural--0-sw"


def heads() -> tuple[Grid, Meters, Pseudo]:
    """The network with P and Q at the first branches behind the source and its busbars' voltages, and what is likely."""
    network = load_network(SPEC)
    grid = Grid.of_network(network)
    row = grid.branch_row[[k for k, name in enumerate(grid.branch_name) if name.startswith("trafo ")], 0]
    at = np.unique(
        np.append(grid.reference, grid.ends[[k for k, name in enumerate(grid.branch_name) if name.startswith("trafo ")]])
    )
    kind = np.repeat([VM, P, Q], [len(at), len(row), len(row)])
    where = np.concatenate([at, row, row])
    sigma = np.where(kind == VM, 0.003, 0.1 / grid.p_base_mva)
    meters = Meters(kind, where, sigma, np.zeros(len(kind), np.bool_), names(kind, where))
    return grid, meters, Pseudo.of_network(network, grid, meters, load_profiles(SPEC))


def test_without_a_profile_most_is_unknown_and_with_it_all_is_known() -> None:
    grid, meters, pseudo = heads()
    bare = StateEstimator(grid, meters).estimate(np.where(meters.kind == VM, 1.0, 0.0))
    assert bare.observability.directions >= 2 * len(pseudo.node) - 10
    assert bare.wanted
    value, sigma = pseudo.at(pseudo.start_ns)
    both = pseudo.meters(meters)
    assert both.pseudo.sum() == 2 * len(pseudo.node)
    found = StateEstimator(grid, both).estimate(
        np.concatenate([np.where(meters.kind == VM, 1.0, 0.0), value]), np.concatenate([meters.sigma, sigma])
    )
    assert found.observability.directions == 0
    assert found.wanted == ()


def test_the_intervals_hold_for_what_the_profiles_say() -> None:
    """Injections drawn as the profiles' weeks stray, meters as stated: the 95 % intervals cover 93-97 %."""
    grid, meters, pseudo = heads()
    network = load_network(SPEC)
    engine, _ = choose(network, "auto")
    both = pseudo.meters(meters)
    estimator, rng, inside = StateEstimator(grid, both), np.random.default_rng(6), []
    for k in range(300):
        value, sigma = pseudo.at(pseudo.start_ns + k * pseudo.step_ns)
        true = (value + rng.normal(size=len(value)) * sigma) * grid.p_base_mva
        p, q = np.zeros(grid.n), np.zeros(grid.n)
        p[pseudo.node], q[pseudo.node] = true[: len(pseudo.node)], true[len(pseudo.node) :]
        v = engine.solve(p, q).v
        z = true_values(grid, v, meters.kind, meters.row) + rng.normal(size=meters.m) * meters.sigma
        found = estimator.estimate(np.concatenate([z, value]), np.concatenate([meters.sigma, sigma]))
        inside.append(np.abs(np.abs(found.v) - np.abs(v)) <= 1.96 * found.vm_sigma_pu)
    assert 0.93 <= np.mean(inside) <= 0.97


def test_a_profile_is_folded_into_its_week() -> None:
    """Mean and standard deviation over the weeks, by hand; the moment picks the quarter-hour of the week."""
    _, _, pseudo = heads()
    network, profiles = load_network(SPEC), load_profiles(SPEC)
    node = int(pseudo.node[0])
    loads = np.flatnonzero(network.node_of_bus[network.loads.bus] == node)
    sgens = np.flatnonzero(network.node_of_bus[network.sgens.bus] == node)
    k = 100
    mean = sum(
        table.p_mw[i] * profiles.factor[profiles.index(table.profile[i] + end), k : 52 * WEEK : WEEK].astype(float).mean()
        for table, rows, end in ((network.loads, loads, "_pload"), (network.sgens, sgens, ""))
        for i in rows
    )
    got = pseudo.at(pseudo.start_ns + (5 * WEEK + k) * pseudo.step_ns)[0][0]
    assert np.isclose(got * network.sn_mva, mean)
