"""Finding where two runs first differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.historian.small import AXES, QUARTER_NS, SERIES, values, write, writer
from vpp.historian.diff import diff_runs
from vpp.historian.run import Axis, RunWriter, Series


def test_equal_runs_have_no_difference(tmp_path: Path) -> None:
    assert diff_runs(write(tmp_path / "a", 50), write(tmp_path / "b", 50, block_steps=7)) is None


def test_the_first_differing_tick_and_signal_are_found(tmp_path: Path) -> None:
    a = write(tmp_path / "a", 50)
    with writer(tmp_path / "b", 50) as run:
        for k in range(50):
            row = values(k)
            if k == 37:
                row[0] = row[0] + np.array([0.0, 0.5, 0.25])
                row[4] = row[4] + 1
            if k == 38:
                row[1] = row[1] + 1
            run.put(k, row)
    d = diff_runs(a, tmp_path / "b")
    assert d is not None
    assert (d.step, d.group, d.signal, d.count, d.columns, d.ids) == (37, "resources", "asked_p_mw", 2, 3, ("bat-1", "ev-1"))
    assert d.time == np.datetime64(37 * QUARTER_NS, "ns")
    np.testing.assert_allclose(np.subtract(d.b, d.a), [0.5, 0.25], atol=1e-9)
    assert d.signals == ("resources/asked_p_mw", "system/p_pcc_mw")
    assert not d.remarks
    assert "1970-01-01T09:15:00Z (step 37), resources/asked_p_mw: 2 of 3" in str(d)


def test_an_earlier_difference_in_a_later_series_wins(tmp_path: Path) -> None:
    a = write(tmp_path / "a", 20)
    with writer(tmp_path / "b", 20) as run:
        for k in range(20):
            row = values(k)
            row[0] = row[0] + (k == 9)
            row[1] = np.where(k >= 8, 0, row[1]).astype(np.uint8)
            run.put(k, row)
    d = diff_runs(a, tmp_path / "b")
    assert d is not None
    assert (d.step, d.signal, d.a, d.b) == (8, "cause_p", ("operator_order", "soc_guard"), ("schedule", "schedule"))


def test_a_shorter_run_differs_only_in_length_and_status(tmp_path: Path) -> None:
    a = write(tmp_path / "a", 30)
    with writer(tmp_path / "b", 30) as run:
        for k in range(10):
            run.put(k, values(k))
        run.close("interrupted")
    d = diff_runs(a, tmp_path / "b")
    assert d is not None
    assert d.step is None
    assert "status: complete | interrupted" in d.remarks
    assert "steps_recorded: 30 | 10" in d.remarks
    assert str(d).startswith("all shared values are equal")


def test_runs_of_another_layout_are_compared_on_what_they_share(tmp_path: Path) -> None:
    a = write(tmp_path / "a", 10)
    axes = (Axis("resources", "resource", ("ev-1", "new-1", "pv-1")), AXES[1])
    renamed = Series("resources", "cause_p", "1", "who", flags=("soc guard", "schedule", "operator order"))
    series = (SERIES[0], renamed, SERIES[2], Series("resources", "extra", "1", "more"))
    with RunWriter(tmp_path / "b", {}, axes, series, np.arange(3, 9) * QUARTER_NS) as run:
        for i in range(6):
            row = values(i + 3)
            p, cause = row[0][[2, 1, 0]], np.array([1, 0, 2])[row[1][[2, 1, 0]]]
            p[0] += 0.1 * (i == 4)
            run.put(i, [p, cause, row[2], p])
    d = diff_runs(a, tmp_path / "b")
    assert d is not None
    assert (d.step, d.ids, d.columns, d.signals) == (7, ("ev-1",), 2, ("resources/asked_p_mw",))
    text = str(d)
    for part in ("1 ids only in A, 1 only in B", "resources/extra: only in B", "system: only in A", "times shared: 6 of 10 | 6"):
        assert part in text


def test_nan_equals_nan(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with writer(tmp_path / name, 1) as run:
            run.put(0, [np.full(3, np.nan), np.zeros(3, np.uint8), np.full(2, np.nan), np.full(3, np.nan), np.full(1, np.nan)])
    assert diff_runs(tmp_path / "a", tmp_path / "b") is None
