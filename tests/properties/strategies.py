"""Fleets, forests and all that a mad controller could ask for."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from vpp.kernel.fleet import Capability, Fleet, simple_fleet
from vpp.kernel.groups import Groups

# The same examples every time: a test that fails must fail again. Compiling in the first one takes its time.
SETTINGS = settings(
    max_examples=150, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)

MAD = [float("nan"), float("inf"), float("-inf"), 1e300, -1e300, 5e-324, -0.0, 0.0]
SANE = st.integers(-40, 40).map(lambda k: k / 16)
ANY = st.one_of(st.sampled_from(MAD), SANE, st.floats())


def column(n: int, of: st.SearchStrategy[float]) -> st.SearchStrategy[np.ndarray[Any, Any]]:
    return st.lists(of, min_size=n, max_size=n).map(lambda values: np.array(values, float))


@st.composite
def forests(draw: st.DrawFn, n: int, most: int = 5) -> Groups:
    """A forest with each resource in one of its groups or in none."""
    g = draw(st.integers(0, most))
    parent = [draw(st.integers(-1, k - 1)) for k in range(g)]
    of = [draw(st.integers(-1, g - 1)) for _ in range(n)]
    return Groups(tuple(f"g{k}" for k in range(g)), np.array(parent, np.int32), np.array(of, np.int32))


@st.composite
def fleets(draw: st.DrawFn, most: int = 6, steps: bool = True) -> Fleet:
    """Resources of every kind of control, with steps and gaps, tables, priorities and current limits."""
    n = draw(st.integers(1, most))
    ends = np.sort(np.array([[draw(SANE), draw(SANE)] for _ in range(n)]), axis=1)
    p_min, p_max = ends[:, 0], ends[:, 1]
    s_max = np.maximum(np.abs(p_min), np.abs(p_max)) * np.array([draw(st.sampled_from([1.0, 1.1, 2.0])) for _ in range(n)])
    table = np.array([draw(st.integers(0, 1)) for _ in range(n)], np.int32)
    q_pu = np.array([[1.0, 1.0, 1.0], [0.1, 0.44, 0.3]])
    i_max = draw(column(n, st.sampled_from([np.inf, 1.0, 1.2])))
    q_priority = np.array([draw(st.booleans()) for _ in range(n)])
    capability = Capability(s_max, i_max, table, np.array([[0.0, 0.5, 1.0], [0.0, 0.2, 1.0]]), -q_pu, q_pu, q_priority)
    discrete = st.sampled_from([0.0, 0.0, 0.25, 0.3]) if steps else st.just(0.0)
    return simple_fleet(
        p_min, p_max, capability=capability, groups=draw(forests(n)),
        control=np.array([draw(st.integers(0, 2)) for _ in range(n)], np.int64),
        p_safe_mw=np.clip(draw(column(n, SANE)), p_min, p_max),
        ramp_mw_per_s=draw(column(n, st.sampled_from([np.inf, 0.0, 0.01]))),
        p_step_mw=draw(column(n, discrete)), p_gap_mw=draw(column(n, discrete)),
        e_mwh=draw(column(n, st.sampled_from([0.0, 1.0, 1e-6]))), eff_charge=draw(column(n, st.sampled_from([1.0, 0.9]))),
    )  # fmt: skip
