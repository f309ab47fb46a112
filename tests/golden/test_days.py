"""Days of 92 and 100 quarter-hours, run: steps, orders, plans and prices keep to the local clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from tests.golden.bites import Kept, run, watch

ZONE = ZoneInfo("Europe/Berlin")
SHORT, LONG = "2016-03-27", "2016-10-30"
STEPS = {SHORT: 92, LONG: 100}


def ns(text: str) -> int:
    """Nanoseconds of an instant written in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 10**9


def local(time_ns: int) -> datetime:
    """What the clock on the wall shows, by the standard library."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time_ns // 10**9)).astimezone(ZONE)


@pytest.mark.parametrize("day", STEPS)
def test_the_record_has_every_quarter_hour_of_the_day(day: str, tmp_path: Path) -> None:
    result = run(tmp_path, overrides=(f"time.start={day}",))
    tree = result.open()
    time_ns = tree["time"].values.astype("datetime64[ns]").astype(np.int64)
    assert len(time_ns) == STEPS[day] == result.manifest["steps_recorded"]
    assert (np.diff(time_ns) == 900 * 10**9).all()
    first, last = local(int(time_ns[0])), local(int(time_ns[-1]))
    assert (first.date().isoformat(), first.hour, first.minute) == (day, 0, 0)
    assert (last.date().isoformat(), last.hour, last.minute) == (day, 23, 45)
    price = tree["system/price_import_eur_per_mwh"].values
    table = result.manifest["scenario"]["market"]["import_eur_per_mwh"]
    assert price.tolist() == [table[local(t).hour] for t in time_ns.tolist()]
    assert np.isfinite(tree["resources/delivered_p_mw"].values).all()
    assert result.diverged_steps == 0


@pytest.mark.parametrize(
    ("day", "at", "begun"),
    [
        (SHORT, "06:00", "2016-03-27T04:00"),
        (LONG, "06:00", "2016-10-30T05:00"),
        (SHORT, "02:30", "2016-03-27T01:30"),  # left out: an hour later by the wall, at once by the sun
        (LONG, "02:30", "2016-10-30T00:30"),  # comes twice: the first counts, and only once
        ("2016-06-21", "06:00", "2016-06-21T04:00"),
    ],
)
def test_plans_are_begun_by_the_local_clock(day: str, at: str, begun: str) -> None:
    kept = watch((f"time.start={day}", f"planner.at='{at}'", "planner.budget_s=1800"))
    time_ns = kept.system.plant.time_ns
    due = [int(time_ns[0]) + 1800 * 10**9, ns(begun) + 1800 * 10**9]
    assert kept.events("plan") == due
    assert [int(time_ns[k]) for k in kept.entered] == due


def test_two_days_across_the_change() -> None:
    """The day before has 96 quarter-hours; six o'clock is 23 hours after six o'clock."""
    kept = watch(("time.start=2016-03-26", "time.days=2", "planner.at='06:00'"))
    assert len(kept.records) == 96 + 92
    first, second, third = kept.events("plan")
    assert first == kept.system.plant.time_ns[1]
    assert third - second == 23 * 3600 * 10**9


@pytest.mark.parametrize(
    ("day", "begins", "ends"),
    [
        (SHORT, "2016-03-27T01:00", "2016-03-27T03:00"),  # 02:00 is left out
        (LONG, "2016-10-30T00:00", "2016-10-30T04:00"),  # four hours from the first 02:00 to 05:00
        ("2016-06-21", "2016-06-21T00:00", "2016-06-21T03:00"),
    ],
)
def test_orders_hold_by_the_local_clock(day: str, begins: str, ends: str) -> None:
    """An order of 02:00 to 05:00: its setpoints are asked one tick ahead, so that they act in time."""
    kept = watch((f"time.start={day}", "planner=null"))
    step = 900 * 10**9
    assert first(kept, "order") == ns(begins) - step
    assert first(kept, "order-end") == ns(ends) - step


def first(kept: Kept, kind: str) -> int:
    """When the first event of a kind was."""
    return kept.events(kind)[0]
