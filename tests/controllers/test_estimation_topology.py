"""Wrong states of branches, seeded: the estimator believes one network, the measurements come from another."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from controllers.estimation.estimator import StateEstimator
from tests.controllers.metered import GROSS, Metered, metered, true_values
from vpp.grid.source import load_source


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A function: case33bw with its first two ties closed and ``off`` switched off, with its meters."""
    folder = tmp_path_factory.mktemp("switched")

    @cache
    def make(*off: int) -> Metered:
        net, _ = load_source("pandapower:case33bw")
        net.line.loc[[32, 33], "in_service"] = True
        net.line.loc[list(off), "in_service"] = False
        path = folder / f"off{'_'.join(map(str, off))}.json"
        return metered(f"file:{_written(net, path)}")

    return make


def _written(net: Any, path: Path) -> Path:
    import pandapower

    pandapower.to_json(net, str(path))
    return path


def seen_by(believed: Metered, true: Metered, rng: np.random.Generator) -> np.ndarray:
    """What meters placed by the believed network show in the true one; a branch that is off there carries nothing."""
    grid, m = true.grid, believed.meters
    row = m.row.copy()
    n = believed.grid.n
    dead = np.zeros(len(row), np.bool_)
    for k in np.flatnonzero(m.row >= n).tolist():
        branch, side = (int(a[0]) for a in np.nonzero(believed.grid.branch_row == m.row[k]))
        row[k] = grid.branch_row[branch, side]
        dead[k] = row[k] < 0
    z = true_values(grid, true.v, m.kind, np.where(dead, 0, row))
    return np.where(dead, 0.0, z) + rng.normal(size=m.m) * m.sigma


@pytest.mark.parametrize("branch", [4, 9, 12, 32, 33])
@pytest.mark.parametrize("closed", [True, False])
def test_a_wrong_state_is_doubted(both: Any, branch: int, closed: bool) -> None:
    """The branch is named first and alone, whether believed closed or open, in 19 of 20 noisy draws."""
    whole, without = both(), both(branch)
    believed, true = (whole, without) if closed else (without, whole)
    estimator, rng, right = StateEstimator(believed.grid, believed.meters), np.random.default_rng(branch), 0
    for _ in range(20):
        found = estimator.estimate(seen_by(believed, true, rng))
        right += [(d.branch, d.believed_closed, d.group) for d in found.doubted] == [(branch, closed, (branch,))]
    assert right >= 19


def test_gross_errors_and_noise_leave_the_branches_alone(both: Any) -> None:
    case = both()
    estimator, rng, doubts = StateEstimator(case.grid, case.meters), np.random.default_rng(2), 0
    for k in range(200):
        z, i = case.noisy(rng), rng.integers(case.meters.m)
        if k % 2:
            z[i] = case.z[i] + GROSS * case.meters.sigma[i]
        doubts += len(estimator.estimate(z).doubted)
    assert doubts <= 2
