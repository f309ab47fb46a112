from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from vpp.kernel import quality as q
from vpp.kernel.envelope import heard
from vpp.kernel.fleet import simple_fleet
from vpp.kernel.schedule import Schedule
from vpp.kernel.time import iso, seconds, to_datetime, to_ns


@pytest.mark.parametrize(
    ("quality", "good"),
    [
        (q.GOOD, True), (q.QUESTIONABLE, True), (q.INVALID, False), (3, False), (q.BLOCKED, False),
        (q.SUBSTITUTED | q.STALE, True), (q.INVALID | q.STALE | q.COMM_LOST, False), (q.OVERFLOW, True),
    ],
)  # fmt: skip
def test_what_may_enter_a_decision(quality, good):
    assert q.usable(quality) is good


def test_the_compiled_rule_is_the_same_for_every_quality_byte():
    assert [heard(1.0, k) for k in range(256)] == [q.usable(k) for k in range(256)]
    assert not any(heard(x, q.GOOD) for x in (np.nan, np.inf, -np.inf))


def test_describe_names_everything():
    assert q.describe(q.INVALID | q.STALE | q.COMM_LOST) == "invalid + stale + comm-lost"
    assert q.describe(q.GOOD) == "good"


def test_time_is_exact_and_utc():
    moment = datetime(2016, 3, 27, 2, 30, tzinfo=timezone(timedelta(hours=1)))
    now = to_ns(moment)
    assert to_datetime(now) == moment
    assert iso(now) == "2016-03-27T01:30:00Z"
    assert iso(now + 1500) == "2016-03-27T01:30:00.000001Z"
    assert to_ns(datetime(1970, 1, 1, tzinfo=UTC)) == 0
    assert seconds(0.1) == 100_000_000
    with pytest.raises(ValueError, match="has no time zone"):
        to_ns(datetime(2016, 1, 1))


def test_a_schedule_has_a_horizon():
    plan = Schedule(100, 10, np.arange(6.0).reshape(3, 2))
    assert plan.at(99) is None
    assert plan.at(130) is None
    assert np.array_equal(plan.at(100), [0, 1])
    assert np.array_equal(plan.at(129), [4, 5])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ("a", "a")}, "not unique"), ({"e_mwh": np.zeros(3)}, "another length in e_mwh"),
    ],
)  # fmt: skip
def test_a_fleet_checks_its_columns(columns, message):
    with pytest.raises(ValueError, match=message):
        simple_fleet(np.zeros(2), np.ones(2), **columns)


@pytest.mark.parametrize(("p_min", "p_max", "who"), [([0, 2], [1, 1], "r2"), ([0, 0], [np.nan, 1], "r1")])
def test_a_fleet_refuses_a_turned_band(p_min, p_max, who):
    with pytest.raises(ValueError, match=f"above p_max_mw.*{who}"):
        simple_fleet(p_min, p_max)
