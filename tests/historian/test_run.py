"""Writing a run and reading it back."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.historian.small import AXES, OWNERS, QUARTER_NS, SERIES, assert_holds, values, write, writer
from vpp.historian.read import list_runs, open_run, read_events, read_manifest
from vpp.historian.run import Axis, RunWriter, Series
from vpp.kernel.errors import RunError
from vpp.kernel.setpoints import Setpoints


def test_a_finished_run_reads_back_within_half_a_resolution(tmp_path: Path) -> None:
    path = write(tmp_path / "run", 100)
    tree = open_run(path)
    assert_holds(tree, 100)
    assert read_manifest(path) == {
        "name": "small", "seed": 1, "status": "complete", "steps_planned": 100, "steps_recorded": 100
    }  # fmt: skip
    assert tree.attrs["Conventions"] == "CF-1.11"
    assert tree.attrs["sign_convention"] == "injection (generator) positive"
    p = tree["resources/asked_p_mw"]
    assert p.dims == ("time", "resource")
    assert p.attrs["units"] == "MW"
    assert p.dtype == np.float64
    assert tree["resources"].coords["kind"].values.tolist() == ["pv", "battery", "ev"]
    assert float(p.sel(resource="ev-1", time="1970-01-01T01:00")) == pytest.approx(0.3 * 5 / 7, abs=1e-6)
    assert tree["system/p_pcc_mw"].dims == ("time",)
    assert sorted(f.name for f in path.iterdir()) == [
        "events.parquet", "manifest.json", "progress.json", "record.json", "series.zarr"
    ]  # fmt: skip


def test_any_indexing_gives_what_numpy_gives(tmp_path: Path) -> None:
    series = open_run(write(tmp_path / "run", 50, 40))["resources/t_depart_s"]
    whole = series.values
    for key in (
        np.s_[3], np.s_[-1, 2], np.s_[5:5], np.s_[14:35:3], np.s_[::-1], np.s_[30:2:-7, 1], np.s_[:, [2, 0]], np.s_[[33, 1, 17]],
        np.s_[20:, ::-2], np.s_[[1, 39], 1],
    ):  # fmt: skip
        np.testing.assert_array_equal(series[key].values, whole[key])


def test_what_has_no_number_becomes_nan_and_an_unknown_code_says_so(tmp_path: Path) -> None:
    with writer(tmp_path / "run", 1) as run:
        odd = np.array([np.nan, np.inf, -1e9])
        run.put(0, [odd, np.array([np.nan, -1.0, 2.0]), np.array([np.nan, 1.0]), odd, np.array([-np.inf])])
    tree = open_run(tmp_path / "run")
    assert np.isnan(tree["resources/asked_p_mw"].values).all()
    np.testing.assert_array_equal(tree["resources/t_depart_s"].values[0], odd)
    assert tree["system/p_pcc_mw"].values[0] == -np.inf
    cause = tree["resources/cause_p"]
    assert cause.dtype == np.uint8
    assert cause.values.tolist() == [[255, 255, 2]]
    assert cause.attrs["flag_meanings"].split() == ["schedule", "soc_guard", "operator_order", "unknown"]
    assert list(cause.attrs["flag_values"]) == [0, 1, 2, 255]
    assert len(OWNERS) == 3


def test_many_flags_take_two_bytes_and_a_signal_brings_its_own(tmp_path: Path) -> None:
    many = Series("system", "code", "1", "a code", flags=tuple(f"f{i}" for i in range(300)))
    mode = Series.of("resources", "asked_mode", Setpoints.mode)
    assert mode.flags == Setpoints.mode.flags
    with RunWriter(tmp_path / "run", {}, AXES, (many, mode), np.array([0, 1], np.int64)) as run:
        run.put(0, [np.array([299], np.int16), np.array([0.0, 3.0, 1.0])])
        run.put(1, [np.array([300], np.int16), np.array([0.0, 4.0, 1.0])])
    tree = open_run(tmp_path / "run")
    assert tree["system/code"].values.tolist() == [299, -1]
    assert tree["resources/asked_mode"].values.tolist() == [[0, 3, 1], [0, 255, 1]]


def test_the_store_is_plain_zarr_that_xarray_opens_without_us(tmp_path: Path) -> None:
    path = write(tmp_path / "run", 50)
    plain, ours = xr.open_datatree(path / "series.zarr", engine="zarr", consolidated=False), open_run(path)
    for series in SERIES:
        name = f"{series.group}/{series.name}"
        np.testing.assert_array_equal(plain[name].values, ours[name].values)
    np.testing.assert_array_equal(plain["time"].values, ours["time"].values)
    assert "kind" in plain["resources"].coords


def test_a_running_run_can_be_read_at_every_step(tmp_path: Path) -> None:
    run = writer(tmp_path / "run", 40, block_steps=8)
    for k in range(40):
        run.put(k, values(k))
        if k in (0, 7, 8, 20, 39):
            assert read_manifest(tmp_path / "run")["status"] == "running"
            assert_holds(open_run(tmp_path / "run"), k + 1)
    run.close()
    assert_holds(open_run(tmp_path / "run"), 40)


def test_a_reader_beside_a_fast_writer_never_sees_a_gap_or_a_torn_row(tmp_path: Path) -> None:
    steps, seen = 20_000, [0]
    series = (Series("resources", "p_mw", "MW", "power", 1e-3), Series("system", "k", "1", "the step"))
    run = RunWriter(tmp_path / "run", {}, AXES, series, np.arange(steps), 50)

    def write_all() -> None:
        for k in range(steps):
            run.put(k, [np.full(3, float(k)), np.array([float(k)])])

    thread = threading.Thread(target=write_all)
    thread.start()
    while thread.is_alive():
        tree = open_run(tmp_path / "run")
        count = tree.sizes["time"]
        assert count >= seen[-1]
        seen.append(count)
        np.testing.assert_array_equal(tree["system/k"].values, np.arange(count))
        np.testing.assert_allclose(tree["resources/p_mw"].values, np.arange(count)[:, None] * np.ones(3), atol=1e-9)
    thread.join()
    run.close()
    assert len(set(seen)) > 2


@pytest.mark.parametrize("rows", [0, 5, 16, 20])
def test_an_interrupted_run_is_cut_to_its_steps(tmp_path: Path, rows: int) -> None:
    with pytest.raises(KeyboardInterrupt), writer(tmp_path / "run", 50) as run:  # noqa: PT012
        for k in range(rows):
            run.put(k, values(k))
        raise KeyboardInterrupt
    manifest = read_manifest(tmp_path / "run")
    assert (manifest["status"], manifest["steps_recorded"], manifest["steps_planned"]) == ("interrupted", rows, 50)
    tree = open_run(tmp_path / "run")
    assert tree.sizes["time"] == rows
    if rows:
        assert_holds(tree, rows)


def test_a_failing_run_names_its_reason(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), writer(tmp_path / "run", 50) as run:  # noqa: PT012
        run.put(0, values(0))
        run.update_manifest(diverged_steps=3)
        raise ZeroDivisionError("no load")
    manifest = read_manifest(tmp_path / "run")
    assert (manifest["status"], manifest["reason"], manifest["diverged_steps"]) == ("failed", "no load", 3)


def test_events_come_back_in_order_before_and_after_the_end(tmp_path: Path) -> None:
    run = writer(tmp_path / "run", 2)
    run.event({"time_ns": 2**60 + 1, "kind": "alarm", "source": "soc"})
    run.events([{"time_ns": 5, "kind": "order", "value": np.float64(1.5)}, {"kind": "note", "value": 2, "detail": {"a": [1]}}])
    before = read_events(tmp_path / "run")
    run.close("interrupted")
    after = read_events(tmp_path / "run")
    for frame in (before, after):
        assert frame["kind"].tolist() == ["alarm", "order", "note"]
        assert frame["time_ns"].tolist()[:2] == [2**60 + 1, 5]
        assert frame["value"].tolist()[1:] == [1.5, 2.0]
        assert frame["detail"].tolist()[2] == '{"a": [1]}'


def test_a_torn_last_event_is_left_out(tmp_path: Path) -> None:
    run = writer(tmp_path / "run", 2)
    assert read_events(tmp_path / "run").empty
    run.event({"kind": "alarm"})
    with open(tmp_path / "run" / "events.jsonl", "ab") as file:
        file.write(b'{"kind": "or')
    assert read_events(tmp_path / "run")["kind"].tolist() == ["alarm"]
    run.close()


def test_the_same_steps_give_the_same_bytes(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, 60) / "series.zarr" for name in ("a", "b")]
    files = [sorted(p.relative_to(path) for p in path.rglob("*") if p.is_file()) for path in paths]
    assert files[0] == files[1]
    assert sum(f.name.startswith("c.") for f in files[0]) > 15
    for file in files[0]:
        assert (paths[0] / file).read_bytes() == (paths[1] / file).read_bytes(), file


def test_a_place_that_is_taken_is_left_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "run", 2)
    with pytest.raises(RunError, match="exists already"):
        writer(path, 2)
    write(path, 3, replace=True)
    assert_holds(open_run(path), 3)
    running = writer(tmp_path / "live", 2)
    with pytest.raises(RunError, match="being written by another"):
        writer(tmp_path / "live", 2, replace=True)
    running.close("interrupted")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    with pytest.raises(RunError, match="no run"):
        writer(tmp_path / "other", 2, replace=True)


def test_steps_come_in_order_and_whole(tmp_path: Path) -> None:
    run = writer(tmp_path / "run", 2)
    run.put(0, values(0))
    for k, arrays in ((0, values(0)), (2, values(2)), (1, values(1)[:-1]), (1, [*values(1)[:-1], np.zeros(2)])):
        with pytest.raises(ValueError):  # noqa: PT011
            run.put(k, arrays)
    run.put(1, values(1))
    run.close()
    run.close()
    with pytest.raises((ValueError, RunError)):
        run.put(2, values(2))
    assert_holds(open_run(tmp_path / "run"), 2)


def test_a_plan_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    time_ns = np.arange(2) * QUARTER_NS
    for axes, series, times in (
        (AXES, (*SERIES, SERIES[0]), time_ns),
        ((*AXES, AXES[0]), SERIES, time_ns),
        (AXES, SERIES, time_ns[::-1]),
        (AXES, (*SERIES, Series("resources", "kind", "1", "taken by a coordinate")), time_ns),
    ):
        with pytest.raises(ValueError):  # noqa: PT011
            RunWriter(tmp_path / "run", {}, axes, series, times)
    assert not (tmp_path / "run").exists()


def test_runs_are_listed_with_their_state(tmp_path: Path) -> None:
    write(tmp_path / "a", 3)
    live = writer(tmp_path / "b", 5)
    live.put(0, values(0))
    (write(tmp_path / "c", 2) / "manifest.json").write_text("{")
    (tmp_path / "nothing").mkdir()
    found = {r.path.name: (r.status, r.steps_recorded) for r in list_runs(tmp_path)}
    assert found == {"a": ("complete", 3), "b": ("running", 1), "c": ("damaged", 0)}
    live.close()


def test_wide_groups_are_cut_into_chunks_and_an_empty_one_has_none(tmp_path: Path) -> None:
    n, steps = 30_000, 130
    axes = (Axis("wide", "column", tuple(map(str, range(n)))), Axis("none", "nothing", ()))
    series = (Series("wide", "x", "1", "a number", 0.5), Series("none", "y", "1", "nothing"))
    with RunWriter(tmp_path / "run", {}, axes, series, np.arange(steps)) as run:
        for k in range(steps):
            run.put(k, [np.arange(n) + k / 2.0, np.zeros(0)])
    assert len(list((tmp_path / "run/series.zarr/wide/x").glob("c.0.*"))) > 2
    tree = open_run(tmp_path / "run")
    np.testing.assert_array_equal(
        tree["wide/x"][100:, [5, 29_999, 12_000]].values, [[5 + k / 2, 29_999 + k / 2, 12_000 + k / 2] for k in range(100, 130)]
    )
    assert tree["none/y"].values.shape == (steps, 0)
