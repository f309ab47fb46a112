"""Three-phase state estimation: against power-grid-model's asymmetric one, the truth, and gross errors in one phase."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from controllers.estimation.estimator import StateEstimator
from controllers.estimation.measured import Grid
from tests.controllers.metered import tellable
from tests.controllers.metered_phases import MeteredPhases, PhasePeer, european_feeder, small_feeder
from vpp.grid.threephase import branch_flows, compile_feeder
from vpp.grid.threephase.feeder import Feeder, Line, Source
from vpp.kernel.errors import NetworkError


@cache
def small() -> tuple[MeteredPhases, StateEstimator]:
    """The small feeder and its estimator."""
    case = small_feeder()
    return case, StateEstimator(case.grid, case.meters)


def test_perfect_meters_give_the_truth_on_the_european_feeder() -> None:
    """906 buses in three phases, 55 consumers in one, behind a delta-wye transformer; only the consumers' buses are metered."""
    case = european_feeder()
    found = StateEstimator(case.grid, case.meters).estimate(case.z)
    assert found.observability.directions == 0
    assert np.abs(found.v - case.v).max() < 1e-8
    full = np.zeros(case.network.n_node, complex)
    full[case.network.node_on] = found.v
    flows = np.abs(branch_flows(case.network, full).i_ka)
    first = np.concatenate([[s + j for j in range(min(m - s, e - m))] for s, m, e in zip(
        case.network.branch_start, case.network.branch_split, case.network.branch_start[1:], strict=False)])  # fmt: skip
    assert np.allclose(found.i_ka[:, 0], flows[first.astype(int)], atol=1e-9)


def test_no_worse_than_power_grid_model() -> None:
    """Root mean square error of all magnitudes over noisy draws, within one per cent of the asymmetric estimate."""
    case, estimator = small()
    peer, rng, ours, theirs = PhasePeer(case), np.random.default_rng(5), [], []
    for _ in range(200):
        z = case.noisy(rng)
        at = peer.estimate(z)
        bus = np.isfinite(at)
        ours.append((np.abs(estimator.estimate(z).v) - np.abs(case.v))[bus] ** 2)
        theirs.append((at - np.abs(case.v))[bus] ** 2)
    assert np.sqrt(np.mean(ours)) == pytest.approx(np.sqrt(np.mean(theirs)), rel=0.01)


def test_intervals_cover_the_truth_and_nothing_is_taken_out() -> None:
    case, estimator = small()
    rng, inside, false, chi = np.random.default_rng(11), [], 0, []
    for _ in range(500):
        found = estimator.estimate(case.noisy(rng))
        inside.append(np.abs(np.abs(found.v) - np.abs(case.v)) <= 1.96 * found.vm_sigma_pu)
        false += len(found.suspects)
        chi.append(found.chi_square / found.freedom)
    assert 0.93 <= np.mean(inside) <= 0.97
    assert false <= 5
    assert np.mean(chi) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize(("errors", "share"), [(1, 0.99), (2, 0.95)])
def test_gross_errors_in_single_phases_are_found_and_named(errors: int, share: float) -> None:
    case, estimator = small()
    rng, which, right = np.random.default_rng(3), np.array(tellable(case, estimator)), 0
    assert len(which) > 20
    for _ in range(300):
        z, bad = case.noisy(rng), rng.choice(which, errors, replace=False)
        z[bad] = case.z[bad] + 10.0 * case.meters.sigma[bad] * rng.choice([-1.0, 1.0], errors)
        right += {s.measurement for s in estimator.estimate(z).suspects} == set(bad.tolist())
    assert right >= share * 300


def test_a_carried_neutral_is_refused() -> None:
    nodes = tuple(tuple((bus, k) for k in (1, 2, 3, 4)) for bus in "ab")
    source = Source("s", nodes[0][:3], 230.0 * np.exp(-2j * np.pi / 3.0 * np.arange(3)), np.eye(3, dtype=complex) * 0.01, 0.4)
    earth = Source("e", nodes[0][3:], np.zeros(1, complex), np.eye(1, dtype=complex) * 0.01, 0.4)
    line = Line("l", *nodes, np.eye(4, dtype=complex) * 0.1, np.zeros((4, 4), complex))
    feeder = Feeder("four", 50.0, sources=[source, earth], lines=[line])
    with pytest.raises(NetworkError, match="neutral"):
        Grid.of_threephase(compile_feeder(feeder))
