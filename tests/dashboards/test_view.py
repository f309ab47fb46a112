"""What the dashboards read from a run directory, and what they add up from it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from dashboards.totals import curves, envelope, key_figures, spread, sums, thin
from dashboards.view import RunView
from tests.dashboards.runs import DARK_STEP, HIGH_BUS, HIGH_STEP, Small
from vpp.historian.run import Axis, RunWriter, Series
from vpp.kernel.errors import RunError


@pytest.fixture(scope="module")
def view(tmp_path_factory) -> RunView:
    return RunView(Small().write(tmp_path_factory.mktemp("run") / "small", block_steps=20))


def test_rows_and_columns_are_what_was_recorded(view: RunView) -> None:
    small = Small()
    for k in (0, 19, 20, DARK_STEP, 95):
        np.testing.assert_allclose(view.row("buses/vm_pu", k), small.vm_pu(k), atol=1e-6)
    expected = [small.values(k)[0][[2, 5]] for k in range(96)]
    np.testing.assert_allclose(view.columns("resources/delivered_p_mw", np.array([2, 5])), expected, atol=1e-6)


def test_sums_are_those_of_the_recorded_steps(view: RunView) -> None:
    s = sums(view)
    exported, imported = 48 * 3.0 / 4, 47 * 1.0 / 4  # one of the even steps is dark
    assert s.export_mwh == pytest.approx(exported)
    assert s.import_mwh == pytest.approx(imported)
    assert s.cost_eur == pytest.approx(imported * 50 - exported * 40)
    assert (s.losses_mwh, s.curtailed_mwh) == (pytest.approx(2.4), pytest.approx(4.8))
    assert (s.voltage_violations, s.loading_violations, s.unsolved_steps) == (1, 1, 1)
    assert [figure.name for figure in key_figures(view) if figure.abnormal] == [
        "Voltage violations", "Loading violations", "Unsolved steps",
    ]  # fmt: skip


def test_a_run_that_grows_is_read_as_far_as_it_is(tmp_path) -> None:
    small = Small()
    with small.writer(tmp_path / "run", block_steps=20) as run:
        for k in range(30):
            run.put(k, small.values(k))
        view = RunView(tmp_path / "run")
        assert (view.rows, view.running, view.refresh()) == (30, True, False)
        before = curves(view, [])
        for k in range(30, 55):
            run.put(k, small.values(k))
        assert view.refresh()
        after = curves(view, [])
        assert (len(before.voltage.mid), len(after.voltage.mid)) == (30, 55)
        assert after.voltage.high[HIGH_STEP] == pytest.approx(1.125, abs=1e-6)
        assert small.vm_pu(54)[HIGH_BUS] == pytest.approx(view.row("buses/vm_pu", 54)[HIGH_BUS], abs=1e-6)
    assert view.refresh()
    assert not view.running


def test_a_killed_run_is_shown_as_far_as_it_came(tmp_path) -> None:
    small = Small()
    with small.writer(tmp_path / "run", block_steps=20) as run:
        for k in range(30):
            run.put(k, small.values(k))
        shutil.copytree(tmp_path / "run", tmp_path / "copy")  # the same files, and nobody who writes them
    view = RunView(tmp_path / "copy")
    assert (view.manifest["status"], view.running, view.rows) == ("killed", False, 30)
    assert sums(view).export_mwh == pytest.approx(15 * 3 / 4)


def test_a_run_without_a_step_and_one_that_recorded_nothing_else(tmp_path) -> None:
    empty = RunView(Small().write(tmp_path / "empty", rows=0))
    assert (empty.rows, sums(empty).unsolved_steps, len(curves(empty, []).time_ns)) == (0, 0, 0)
    axis = Axis("buses", "bus", ("a",))
    with RunWriter(tmp_path / "bare", {}, [axis], [Series("buses", "vm_pu", "pu", "voltage")], np.arange(3) * 10**9) as run:
        run.put(0, [np.array([1.0])])
    bare = RunView(tmp_path / "bare")
    assert np.isnan(curves(bare, []).system["exchange_p_mw"]).all()
    assert {figure.note for figure in key_figures(bare)} >= {"not recorded"}


def test_what_is_damaged_is_named_and_the_rest_is_shown(tmp_path) -> None:
    run = Small().write(tmp_path / "run", block_steps=20)
    (run / "series.zarr" / "buses" / "vm_pu" / "c.1.0").write_bytes(b"nonsense")
    view = RunView(run)
    voltage = curves(view, []).voltage.mid
    assert np.isfinite(voltage[:20]).all()
    assert np.isnan(voltage[20:40]).all()
    assert "vm_pu" in view.damage["buses/vm_pu"]


def test_no_run_is_said_so(tmp_path) -> None:
    with pytest.raises(RunError):
        RunView(tmp_path / "none")


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ([[3.0, 1.0, 2.0]], [1, 2, 3]),
        ([[3.0, np.nan, 2.0]], [2, 2.5, 3]),
        ([[np.nan, np.nan]], [np.nan] * 3),
        (np.empty((1, 0)), [np.nan] * 3),
    ],
)
def test_spread_and_envelope_leave_out_what_is_not_known(block, expected) -> None:
    values = np.array(block, np.float32)
    np.testing.assert_allclose(spread(values)[0], expected)
    np.testing.assert_allclose(envelope(values)[0], expected)  # here mean and median are the same


def test_many_steps_are_merged_without_losing_the_extremes() -> None:
    values = np.array([1.0, 5.0, np.nan, 2.0, 2.0, np.nan, np.nan])
    np.testing.assert_allclose(thin(values, 3), [3, 2, np.nan])
    np.testing.assert_allclose(thin(values, 3, "high"), [5, 2, np.nan])
    np.testing.assert_allclose(thin(values, 3, "low"), [1, 2, np.nan])
