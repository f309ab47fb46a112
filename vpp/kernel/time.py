"""Integer-nanosecond time, UTC. Nothing here asks for the present: time comes in as an argument."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

NS_PER_S = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def seconds(value: float) -> int:
    """Seconds as integer nanoseconds, rounded to the nearest."""
    return round(value * NS_PER_S)


def to_ns(moment: datetime) -> int:
    """An aware datetime as nanoseconds since 1970-01-01 UTC, exact to the microsecond."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone")
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def to_datetime(now_ns: int) -> datetime:
    """Nanoseconds since 1970 as an aware UTC datetime (microseconds, truncated)."""
    return _EPOCH + timedelta(microseconds=now_ns // 1000)


def iso(now_ns: int) -> str:
    """Nanoseconds since 1970 as ISO 8601 with a Z, without fractions when there are none."""
    return to_datetime(now_ns).isoformat().replace("+00:00", "Z")
