"""State estimation: against power-grid-model and pandapower, its confidence against the truth, and gross errors."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from controllers.estimation.estimator import StateEstimator
from controllers.estimation.measured import ANGLE, CURRENT, VM, Meters, P
from tests.controllers.metered import GROSS, NETWORKS, Metered, metered, names, pandapower_wls, power_grid_model, powers, tellable

CASES = pytest.mark.parametrize("spec", NETWORKS)


@cache
def case_of(spec: str) -> tuple[Metered, StateEstimator]:
    """A metered network and its estimator, made once."""
    case = metered(spec)
    return case, StateEstimator(case.grid, case.meters)


@cache
def tellable_of(spec: str) -> tuple[int, ...]:
    """Measurements whose errors can be told from all others'."""
    return tellable(*case_of(spec))


@CASES
def test_perfect_meters_give_the_truth(spec: str) -> None:
    case, estimator = case_of(spec)
    found = estimator.estimate(case.z)
    assert found.converged
    assert found.suspects == ()
    assert np.abs(found.v - case.v).max() < 1e-9
    flows = case.network.branch_flows(case.v)
    assert np.allclose(found.i_ka[case.network.branch_on, 0], flows.i_from_ka[case.network.branch_on], atol=1e-9)
    assert found.chi_square < 1e-9


@CASES
def test_no_worse_than_power_grid_model(spec: str) -> None:
    """Root mean square error of magnitudes over noisy draws, on the same measurements; power-grid-model weighs the zero
    injections that hold exactly here, so that ours may be smaller."""
    case, estimator = case_of(spec)
    rng, ours, theirs = np.random.default_rng(5), [], []
    for _ in range(20):
        z = case.noisy(rng)
        ours.append(np.abs(np.abs(estimator.estimate(z).v) - np.abs(case.v)) ** 2)
        theirs.append(np.abs(np.abs(power_grid_model(case, z)) - np.abs(case.v)) ** 2)
    assert np.sqrt(np.mean(ours)) <= 1.01 * np.sqrt(np.mean(theirs))
    if not case.grid.zero.any():
        assert np.allclose(ours, theirs, atol=1e-12)


def test_the_same_as_pandapowers_wls() -> None:
    """pandapower's estimate of the same measurements (it weighs a zero injection; this network has none)."""
    case, estimator = case_of(NETWORKS[0])
    z = case.noisy(np.random.default_rng(8))
    assert np.abs(estimator.estimate(z).v - pandapower_wls(case, z)).max() < 1e-7


@CASES
def test_intervals_cover_the_truth_and_nothing_is_taken_out(spec: str) -> None:
    """Over 500 noisy draws the 95 % intervals of all magnitudes together cover 93-97 %, and no more than one clean
    measurement in a hundred draws is taken for a gross error."""
    case, estimator = case_of(spec)
    rng, inside, false, chi = np.random.default_rng(11), [], 0, []
    for _ in range(500):
        found = estimator.estimate(case.noisy(rng))
        inside.append(np.abs(np.abs(found.v) - np.abs(case.v)) <= 1.96 * found.vm_sigma_pu)
        false += len(found.suspects)
        chi.append(found.chi_square / found.freedom)
    assert 0.93 <= np.mean(inside) <= 0.97
    assert false <= 5
    assert np.mean(chi) == pytest.approx(1.0, abs=0.03)


@CASES
def test_a_gross_error_is_found_and_named(spec: str) -> None:
    """A value ten sigma off, on a measurement that can be told apart: named, and nothing else, in 99 of 100."""
    case, estimator = case_of(spec)
    rng, which = np.random.default_rng(3), tellable_of(spec)
    assert len(which) > 20
    right, draws = 0, [*which] * max(1, 300 // len(which) + 1)
    for i in draws[:300]:
        z = case.noisy(rng)
        z[i] = case.z[i] + GROSS * case.meters.sigma[i] * rng.choice([-1.0, 1.0])
        right += [s.measurement for s in estimator.estimate(z).suspects] == [i]
    assert right >= 0.99 * 300


@CASES
def test_two_gross_errors_are_found(spec: str) -> None:
    """Two at once that do not conform: both named in 95 of 100."""
    case, estimator = case_of(spec)
    rng, which = np.random.default_rng(4), np.array(tellable_of(spec))
    right = 0
    for _ in range(200):
        z, two = case.noisy(rng), rng.choice(which, 2, replace=False)
        z[two] = case.z[two] + GROSS * case.meters.sigma[two] * rng.choice([-1.0, 1.0], 2)
        right += {s.measurement for s in estimator.estimate(z).suspects} == set(two.tolist())
    assert right >= 0.95 * 200


def test_errors_that_cannot_be_told_apart_are_a_group() -> None:
    """The only two meters of the same flow: an error of either is one suspect group of both."""
    case = metered("pandapower:case33bw", flows=False)
    kind, row = np.append(case.meters.kind, P), np.append(case.meters.row, case.grid.branch_row[31, 0])
    sigma = np.append(case.meters.sigma, case.meters.sigma[-1])
    z = np.append(case.z, 0.0)
    meters = Meters(kind, row, sigma, np.zeros(len(kind), np.bool_), names(kind, row))
    estimator = StateEstimator(case.grid, meters)
    z[-1] = powers(case.grid, case.v)[case.grid.branch_row[31, 0]].real + 20 * sigma[-1]
    found = estimator.estimate(z)
    assert len(found.suspects) == 1
    assert len(meters.id) - 1 in found.suspects[0].group
    assert len(found.suspects[0].group) > 1


@CASES
def test_what_is_not_measured_is_not_known(spec: str) -> None:
    """Without the meters at one leaf of the network it alone is unknown, and the words say what would help."""
    case, _ = case_of(spec)
    degree = np.bincount(case.grid.at[case.grid.branch_row[case.grid.branch_row[:, 0] >= 0]].ravel(), minlength=case.grid.n)
    leaf = next(k for k in np.flatnonzero(degree == 1)[::-1] if not case.grid.zero[k] and k not in case.grid.reference)
    branch = int(np.flatnonzero((case.network.branch_from_node == leaf) | (case.network.branch_to_node == leaf))[0])
    ends = case.grid.branch_row[branch]
    near = np.unique(case.grid.at[ends])
    at_node = np.isin(case.meters.row, near) & (case.meters.row < case.grid.n)
    gone = (at_node & ~((case.meters.kind == VM) & (case.meters.row != leaf))) | np.isin(case.meters.row, ends)
    found = StateEstimator(case.grid, case.meters).estimate(np.where(gone, np.nan, case.z))
    assert found.converged
    assert np.flatnonzero(~found.observability.observable).tolist() == [leaf]
    assert np.isnan(found.v[leaf])
    known = np.arange(case.grid.n) != leaf
    # What is expected at the leaf acts on its neighbour by its losses, far below what the meters themselves leave open.
    assert np.all(np.abs(np.abs(found.v) - np.abs(case.v))[known] < 1e-3 * found.vm_sigma_pu[known])
    assert case.grid.branch_name[branch] in found.wanted[0]


def test_nothing_measured_is_no_exception() -> None:
    case, _ = case_of(NETWORKS[0])
    found = StateEstimator(case.grid, case.meters).estimate(np.full(case.meters.m, np.nan))
    assert np.isnan(found.v).all()
    assert found.wanted


def test_contradictions_are_no_exception() -> None:
    case, estimator = case_of(NETWORKS[1])
    found = estimator.estimate(np.random.default_rng(1).normal(size=case.meters.m) * 1e3)
    assert not found.clean or not found.converged


@CASES
def test_phasors_and_currents(spec: str) -> None:
    """Angles make every angle a state; currents help where nothing else is measured."""
    case, _ = case_of(spec)
    rows = case.grid.branch_row[case.grid.branch_row[:, 0] >= 0, 0]
    current = np.abs([case.grid.y[case.grid.start[r] : case.grid.start[r + 1]] @ case.v[
        case.grid.node[case.grid.start[r] : case.grid.start[r + 1]]] for r in rows])  # fmt: skip
    nodes = np.arange(case.grid.n)
    kind = np.concatenate([case.meters.kind, np.full(case.grid.n, ANGLE), np.full(len(rows), CURRENT)])
    row = np.concatenate([case.meters.row, nodes, rows])
    z = np.concatenate([case.z, np.angle(case.v), current])
    sigma = np.concatenate([case.meters.sigma, np.full(case.grid.n, 1e-3), 0.01 * current + 1e-3 * current.max()])
    estimator = StateEstimator(case.grid, Meters(kind, row, sigma, np.zeros(len(kind), np.bool_), names(kind, row)))
    found = estimator.estimate(z)
    assert np.abs(found.v - case.v).max() < 1e-8
    rng = np.random.default_rng(2)
    noisy = [estimator.estimate(z + rng.normal(size=len(z)) * sigma) for _ in range(400)]
    inside = [np.abs(np.angle(f.v / case.v)) <= 1.96 * f.va_sigma for f in noisy]
    assert 0.93 <= np.mean(inside) <= 0.97


def test_the_same_measurements_give_the_same_bytes() -> None:
    case, _ = case_of(NETWORKS[2])
    z = case.noisy(np.random.default_rng(9))
    one, two = (StateEstimator(case.grid, case.meters).estimate(z) for _ in range(2))
    assert one.v.tobytes() == two.v.tobytes()
    assert one.vm_sigma_pu.tobytes() == two.vm_sigma_pu.tobytes()
