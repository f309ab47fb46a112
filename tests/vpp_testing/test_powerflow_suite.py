"""The power-flow suite finds what it is there to find: engines that are wrong in one thing each."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

from vpp.grid.powerflow.port import BatchSolution, Solution
from vpp.grid.powerflow.tree import TreeSweep
from vpp.testing.powerflow import PowerFlowSuite

SPEC = "pandapower:case33bw"


class Stale(TreeSweep):
    """Repeats its last result instead of NaN."""

    last: Any = None

    def solve(self, p_mw: Any, q_mvar: Any, v_start: Any = None) -> Solution:
        solution = super().solve(p_mw, q_mvar, v_start)
        self.last = solution if solution.converged else self.last
        return self.last


class Turned(TreeSweep):
    """Counts loads positive."""

    def solve(self, p_mw: Any, q_mvar: Any, v_start: Any = None) -> Solution:
        return super().solve(-p_mw, -q_mvar, v_start)


class Infectious(TreeSweep):
    """One NaN spoils its whole batch."""

    def solve_batch(self, p_mw: Any, q_mvar: Any) -> BatchSolution:
        batch = super().solve_batch(p_mw, q_mvar)
        bad = np.zeros_like(batch.v) + (0 if batch.converged.all() else np.nan)
        return BatchSolution(batch.v + bad, batch.converged & batch.converged.all(), batch.iterations)


class Careless(TreeSweep):
    """Stops too early."""

    def __init__(self, network: Any) -> None:
        super().__init__(network, tol_pu=1e-3)


class Greedy(TreeSweep):
    """Writes into its inputs."""

    def solve(self, p_mw: Any, q_mvar: Any, v_start: Any = None) -> Solution:
        solution = super().solve(p_mw, q_mvar, v_start)
        p_mw *= 0.99
        return solution


@pytest.mark.parametrize(
    ("engine", "finding"),
    [
        (Stale, "test_diverged_is_nan_and_forgotten"),
        (Stale, "test_nan_injection"),
        (Turned, "test_agrees_with_runpp"),
        (Turned, "test_power_balance"),
        (Infectious, "test_nan_injection"),
        (Careless, "test_agrees_with_runpp"),
        (Greedy, "test_leaves_its_inputs_alone"),
    ],
)
def test_suite_finds(engine: type[TreeSweep], finding: str) -> None:
    class Suite(PowerFlowSuite):
        specs: ClassVar = (SPEC,)

        def make(self, network: Any) -> Any:
            return engine(network)

    with pytest.raises(AssertionError):
        getattr(Suite(), finding)(SPEC)


def test_suite_passes_a_sound_engine() -> None:
    class Suite(PowerFlowSuite):
        specs: ClassVar = (SPEC,)

        def make(self, network: Any) -> Any:
            return TreeSweep(network)

    tests = [name for name in dir(Suite) if name.startswith("test_")]
    assert len(tests) == 9
    for name in tests:
        getattr(Suite(), name)(SPEC)
