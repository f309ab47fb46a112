"""When a scenario plays: local start and end in a stated zone, steps as int64 nanoseconds UTC.

A day is a *local* day: 96 quarter-hours, but 92 and 100 on the days when the clocks change.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from datetime import time as clocks
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
from pydantic import AfterValidator, Field

from scenarios.near import did_you_mean
from vpp.fields import Count, Moment, Part, StepSeconds, Where, bad, seconds_of_day
from vpp.kernel.signals import IntArray
from vpp.kernel.time import NS_PER_S, seconds, to_datetime, to_ns

QUARTER_NS = 900 * NS_PER_S
_HOUR_NS = 3600 * NS_PER_S
_DAY_NS = 24 * _HOUR_NS


def _zone(value: str) -> str:
    if value not in available_timezones():
        raise bad(f"no time zone {value!r}{did_you_mean(value, sorted(available_timezones()))} (an IANA name is needed)")
    return value


Zone = Annotated[str, AfterValidator(_zone)]


class Time(Part):
    """Start, length and step of a scenario."""

    start: Moment = Field(description="local start: 2016-06-21 or 2016-06-21T06:00; an offset may say which 02:30")
    zone: Zone = Field(description="IANA time zone of every local time in the scenario, e.g. Europe/Berlin")
    end: Moment | None = Field(None, description="local end, exclusive; this, days or steps")
    days: Count | None = Field(None, description="length in local days; 1 where nothing is said")
    steps: Count | None = Field(None, description="length in steps")
    step_s: StepSeconds = Field(900.0, description="length of a step [s]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Say what is wrong with the start, the end and the step."""
        if sum(x is not None for x in (self.end, self.days, self.steps)) > 1:
            yield ("days" if self.days is not None else "steps",), "say only one of end, days and steps"
        ok = True
        for key, moment in (("start", self.start), ("end", self.end)):
            problem = _wall_problem(moment, self.zone) if moment else ""
            if problem:
                ok = False
                yield (key,), problem
        if not ok:
            return
        length = self.end_ns - self.start_ns
        if length <= 0:
            yield ("end",), "the end is not after the start"
        elif self.step_ns < 1_000_000:
            yield ("step_s",), "a step has at least a millisecond"
        elif length % self.step_ns:
            yield ("step_s",), f"{length / NS_PER_S:g} s are not a whole number of steps of {self.step_s:g} s"

    @property
    def start_ns(self) -> int:
        """Start in nanoseconds UTC."""
        return to_ns(self._aware(self.start))

    @property
    def end_ns(self) -> int:
        """End, exclusive, in nanoseconds UTC."""
        if self.steps is not None:
            return self.start_ns + self.steps * self.step_ns
        if self.end is not None:
            return to_ns(self._aware(self.end))
        wall = self._aware(self.start).astimezone(ZoneInfo(self.zone)).replace(tzinfo=None)
        return to_ns(self._aware(wall + timedelta(days=self.days or 1)))

    @property
    def step_ns(self) -> int:
        """Length of a step in nanoseconds."""
        return seconds(self.step_s)

    @property
    def n_steps(self) -> int:
        """Number of steps."""
        return (self.end_ns - self.start_ns) // self.step_ns

    @property
    def step_times_ns(self) -> IntArray:
        """Beginning of each step, int64 (T,), nanoseconds UTC."""
        return self.start_ns + self.step_ns * np.arange(self.n_steps, dtype=np.int64)

    def _aware(self, moment: datetime) -> datetime:
        return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(self.zone))


def _wall_problem(moment: datetime, zone: str) -> str:
    """Say why a local time names no instant, or two; "" where it names one."""
    if moment.tzinfo is not None:
        return ""
    first, second = (moment.replace(tzinfo=ZoneInfo(zone), fold=fold) for fold in (0, 1))
    early, late = first.utcoffset(), second.utcoffset()
    if early is None or late is None or early == late:
        return ""
    if early < late:
        return f"there is no {moment:%H:%M} on {moment:%Y-%m-%d} in {zone}: the clocks go forward"
    choices = " or ".join(m.isoformat(timespec="minutes") for m in (first, second))
    return f"{moment:%H:%M} comes twice on {moment:%Y-%m-%d} in {zone}; write {choices}"


def local_ns(time_ns: IntArray, zone: str) -> IntArray:
    """Wall-clock nanoseconds (as if 1970-01-01 local were the epoch) of instants, (T,) -> (T,) int64."""
    quarter, where = np.unique(np.asarray(time_ns, np.int64) // QUARTER_NS, return_inverse=True)
    tz = ZoneInfo(zone)
    moments = (to_datetime(int(q) * QUARTER_NS).astimezone(tz) for q in quarter)
    offset = [(m.utcoffset() or timedelta()) // timedelta(seconds=1) for m in moments]
    return np.asarray(time_ns, np.int64) + np.array(offset, np.int64)[where] * NS_PER_S


def ns_of_day(time_ns: IntArray, zone: str) -> IntArray:
    """What the local clock shows, in nanoseconds since midnight, (T,) int64."""
    return local_ns(time_ns, zone) % _DAY_NS


def clock_times_ns(clock: str, start_ns: int, end_ns: int, zone: str) -> IntArray:
    """Instants in [start, end) at which the local clock shows ``clock``, once a local day, ascending.

    On the day on which that time is left out it comes an hour later; where it comes twice, the first counts.
    """
    tz, day = ZoneInfo(zone), timedelta(days=1)
    at = timedelta(seconds=seconds_of_day(clock))
    today: date = to_datetime(start_ns).astimezone(tz).date() - day
    last: date = to_datetime(end_ns).astimezone(tz).date()
    out = []
    while today <= last:
        instant = to_ns(datetime.combine(today, clocks.min, tz) + at)  # wall-clock arithmetic
        if start_ns <= instant < end_ns:
            out.append(instant)
        today += day
    return np.array(out, np.int64)
