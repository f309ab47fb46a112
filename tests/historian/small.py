"""A small run that every test of the historian can write and predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vpp.historian.run import Axis, RunWriter, Series

QUARTER_NS = 900 * 10**9
OWNERS = ("schedule", "soc guard", "operator order")
AXES = (
    Axis("resources", "resource", ("pv-1", "bat-1", "ev-1"), {"kind": np.array(["pv", "battery", "ev"]), "node": np.arange(3)}),
    Axis("buses", "bus", ("b0", "b1"), {"vn_kv": np.array([20.0, 0.4])}),
)
SERIES = (
    Series("resources", "asked_p_mw", "MW", "active power asked for, injection positive", 1e-6),
    Series("resources", "cause_p", "1", "who binds active power", flags=OWNERS),
    Series("buses", "vm_pu", "pu", "voltage magnitude", 1e-6),
    Series("resources", "t_depart_s", "s", "time to departure"),
    Series("system", "p_pcc_mw", "MW", "active power at the point of common coupling"),
)


def values(k: int) -> list[Any]:
    """What step ``k`` holds; any two steps differ in every series."""
    p = np.array([0.001, -0.02, 0.3]) * (k + 1) / 7
    return [p, np.array([k % 3, (k + 1) % 3, 1], np.uint8), 1 + p[:2] / 10, p * np.pi, np.array([p.sum()])]


def writer(path: Path, steps: int = 100, **options: Any) -> RunWriter:
    """A writer of the small run; blocks of 16 steps unless told otherwise."""
    time_ns = np.arange(steps, dtype=np.int64) * QUARTER_NS
    return RunWriter(path, {"name": "small", "seed": 1}, AXES, SERIES, time_ns, options.pop("block_steps", 16), **options)


def write(path: Path, steps: int = 100, rows: int | None = None, **options: Any) -> Path:
    """Write ``rows`` of ``steps`` planned steps and close."""
    with writer(path, steps, **options) as run:
        for k in range(steps if rows is None else rows):
            run.put(k, values(k))
    return path


def assert_holds(tree: Any, rows: int) -> None:
    """Every series of the tree has exactly the first ``rows`` steps, within half a resolution."""
    expected = [np.array(column) for column in zip(*(values(k) for k in range(rows)))]
    np.testing.assert_array_equal(tree["time"].values.astype(np.int64), np.arange(rows) * QUARTER_NS)
    for series, wanted in zip(SERIES, expected):
        found = tree[f"{series.group}/{series.name}"].values.reshape(wanted.shape)
        if series.resolution:
            assert np.abs(found - wanted).max() <= series.resolution / 2 * (1 + 1e-6)
        else:
            np.testing.assert_array_equal(found, wanted)
