"""Local days, the clock, and SimBench's year."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scenarios.schema.control import ScheduledOrder
from scenarios.schema.series import read_series, series_at
from scenarios.schema.time import Time, clock_times_ns, ns_of_day
from vpp.grid.profiles import profile_index
from vpp.kernel.time import NS_PER_S, iso


def day(start: str, zone: str = "Europe/Berlin", **more: object) -> Time:
    return Time.model_validate({"start": start, "zone": zone, **more})


@pytest.mark.parametrize(
    ("start", "zone", "quarters", "first"),
    [
        ("2016-06-21", "Europe/Berlin", 96, "2016-06-20T22:00:00Z"),
        ("2016-03-27", "Europe/Berlin", 92, "2016-03-26T23:00:00Z"),
        ("2016-10-30", "Europe/Berlin", 100, "2016-10-29T22:00:00Z"),
        ("2016-10-30", "UTC", 96, "2016-10-30T00:00:00Z"),
        ("2016-03-13", "America/New_York", 92, "2016-03-13T05:00:00Z"),
        ("2016-10-02", "Australia/Lord_Howe", 94, "2016-10-01T13:30:00Z"),
    ],
)
def test_a_day_is_a_local_day(start: str, zone: str, quarters: int, first: str) -> None:
    times = day(start, zone).step_times_ns
    assert times.dtype == np.int64
    assert len(times) == quarters
    assert iso(int(times[0])) == first
    assert np.all(np.diff(times) == 900 * NS_PER_S)


def test_length_by_end_days_and_steps() -> None:
    assert day("2016-03-26", days=3).n_steps == day("2016-03-26", end="2016-03-29").n_steps == 3 * 96 - 4
    assert day("2016-06-21T06:00", steps=5, step_s=1).n_steps == 5
    assert day("2016-01-01", days=366).n_steps == 35136


def test_an_offset_says_which_hour_is_meant() -> None:
    first, second = (day(f"2016-10-30T02:30{offset}", steps=1).start_ns for offset in ("+02:00", "+01:00"))
    assert second - first == 3600 * NS_PER_S
    assert day("2016-10-30T02:30+02:00").n_steps == 100


def test_the_local_clock_on_a_short_day() -> None:
    hours = ns_of_day(day("2016-03-27").step_times_ns, "Europe/Berlin") // (3600 * NS_PER_S)
    assert sorted(set(hours.tolist())) == [0, 1, *range(3, 24)]


def test_profile_index_counts_in_cet() -> None:
    year = day("2016-01-01", days=366).step_times_ns
    assert np.array_equal(profile_index(year), np.arange(35136))
    assert profile_index(day("2016-06-21").step_times_ns)[0] == 172 * 96 - 4  # midnight CEST is 23:00 CET
    seconds = day("2016-01-01", steps=1800, step_s=1).step_times_ns
    assert np.array_equal(profile_index(seconds), np.repeat([0, 1], 900))


def test_profile_index_of_other_years() -> None:
    assert profile_index(day("2023-03-01", "Etc/GMT-1", steps=1).step_times_ns)[0] == 60 * 96
    assert profile_index(day("2024-02-29", "Etc/GMT-1", steps=1).step_times_ns)[0] == 59 * 96
    assert profile_index(day("1969-12-31", "Etc/GMT-1", steps=1).step_times_ns)[0] == 365 * 96


def test_clock_times() -> None:
    time = day("2016-03-26", days=3)
    times = clock_times_ns("02:30", time.start_ns, time.end_ns, time.zone)
    assert [iso(int(t)) for t in times] == ["2016-03-26T01:30:00Z", "2016-03-27T01:30:00Z", "2016-03-28T00:30:00Z"]
    assert len(clock_times_ns("00:00", time.start_ns, time.end_ns, time.zone)) == 3


def test_order_windows() -> None:
    time = day("2016-06-21", days=2)
    nightly = ScheduledOrder(at="23:00", until="01:00", resources="x", p_mw=1.0).windows(time)
    assert [(a - time.start_ns) // (3600 * NS_PER_S) for a, _ in nightly] == [0, 23, 47]
    assert [(b - a) // (3600 * NS_PER_S) for a, b in nightly] == [1, 2, 1]
    once = ScheduledOrder(at="2016-06-22T12:00", until="2016-06-22T13:00", resources="x", p_mw=1.0)
    assert len(once.windows(time)) == 1
    assert once.windows(day("2016-07-01")) == []


def test_series(tmp_path: Path) -> None:
    short = day("2016-03-27").step_times_ns
    assert series_at(7.0, short, "Europe/Berlin").tolist() == [7.0] * 92
    hours = series_at(tuple(range(24)), short, "Europe/Berlin")
    assert hours[0] == 0
    assert hours[8] == 3
    assert hours[-1] == 23
    (tmp_path / "year.csv").write_text("\n".join(map(str, range(8784))))
    year = series_at(f"file:{tmp_path}/year.csv", day("2016-01-02", steps=8).step_times_ns, "Europe/Berlin")
    assert year.tolist() == [24.0] * 4 + [25.0] * 4
    (tmp_path / "odd.csv").write_text("1\n2\n")
    with pytest.raises(ValueError, match="has 2 values"):
        read_series(f"file:{tmp_path}/odd.csv")
