"""Charging sessions: when cars come and go, with what, and what they need; drawn by a seed, or read from a file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal
from zoneinfo import ZoneInfo

import numpy as np

from vpp.kernel.signals import FloatArray, IntArray
from vpp.kernel.time import NS_PER_S, to_datetime, to_ns

BEFORE_DAYS: Final = 2  # so that the night before the run is there
AFTER_DAYS: Final = 8  # behind the run: as far as a plan may look
HEADING: Final = ("point", "arrive", "depart", "e_need_mwh")

Habit = Literal["home", "work", "public"]


@dataclass(frozen=True, slots=True)
class Day:
    """How cars come and go on one kind of day; times are local hours, normally distributed.

    Attributes:
        chance: probability that a car comes at all, in each of ``turns``.
        arrive_h, arrive_spread_h: arrival.
        depart_h, depart_spread_h: departure, counted from the same midnight (31 is seven in the next morning).
        stay_h: mean length of an exponential stay instead of a departure; 0: none.
        turns: how many cars one after another.
    """

    chance: float
    arrive_h: float
    arrive_spread_h: float
    depart_h: float
    depart_spread_h: float
    stay_h: float = 0.0
    turns: int = 1


# Working day, weekend. Assumptions for a first study, no survey: use a file of sessions where it matters.
HABITS: Final[dict[str, tuple[Day, Day]]] = {
    "home": (Day(0.75, 17.8, 1.6, 31.5, 1.0), Day(0.55, 16.5, 3.0, 33.5, 1.8)),
    "work": (Day(0.75, 8.2, 0.8, 16.8, 1.0), Day(0.04, 9.0, 1.0, 15.0, 1.5)),
    "public": (Day(0.8, 13.0, 4.0, 0.0, 0.0, 1.4, 4), Day(0.8, 14.0, 4.0, 0.0, 0.0, 1.8, 3)),
}


@dataclass(frozen=True, slots=True)
class Sessions:
    """Sessions by device and time; times in seconds since the start of the run, on the run's steps.

    Attributes:
        device: (s,) charging point, 0…m-1, ascending.
        arrive_s, depart_s: (s,) first and last moment; a point has one car at a time.
        need_mwh: (s,) content that the car is short of when it arrives.
    """

    device: IntArray
    arrive_s: FloatArray
    depart_s: FloatArray
    need_mwh: FloatArray

    def tidy(self, dt_s: float) -> Sessions:
        """On whole steps (arrival up, departure down), ascending, one car at a time, none that is over at the start."""
        arrive, depart = np.ceil(self.arrive_s / dt_s - 1e-9) * dt_s, np.floor(self.depart_s / dt_s + 1e-9) * dt_s
        order = np.lexsort((arrive, self.device))
        keep, last, until = [], -1, -np.inf
        for s in order.tolist():
            device = int(self.device[s])
            until = until if device == last else -np.inf
            last = device
            if depart[s] > max(arrive[s], 0.0) and arrive[s] >= until:
                keep.append(s)
                until = depart[s]
        return Sessions(self.device[keep], arrive[keep], depart[keep], self.need_mwh[keep])


def drawn(
    habit: str, m: int, time_ns: IntArray, dt_s: float, zone: str, need_mwh: float, random: np.random.Generator
) -> Sessions:
    """Draw the sessions of m points for the run and the days around it.

    Needs are log-normal around their mean, as daily distances are.
    """
    start_ns = int(time_ns[0])
    first = to_datetime(start_ns).astimezone(ZoneInfo(zone)).date() - timedelta(days=BEFORE_DAYS)
    days = int(len(time_ns) * dt_s // 86400) + 1 + BEFORE_DAYS + AFTER_DAYS
    parts: list[tuple[FloatArray, ...]] = []
    for k in range(days):
        date = first + timedelta(days=k)
        day = HABITS[habit][date.weekday() >= 5]
        midnight = datetime(date.year, date.month, date.day, tzinfo=ZoneInfo(zone))
        from_s = (to_ns(midnight) - start_ns) / NS_PER_S
        for _ in range(day.turns):
            comes = random.random(m) < day.chance
            arrive = from_s + 3600.0 * np.clip(random.normal(day.arrive_h, day.arrive_spread_h, m), 0.0, 23.9)
            leave = from_s + 3600.0 * random.normal(day.depart_h, day.depart_spread_h, m)
            stay = 3600.0 * random.exponential(max(day.stay_h, 1e-9), m)
            sigma = 0.6
            need = need_mwh * np.exp(random.normal(-sigma * sigma / 2, sigma, m))
            depart = arrive + stay if day.stay_h else leave
            parts.append(tuple(x[comes] for x in (np.arange(m, dtype=np.float64), arrive, depart, need)))
    device, arrive, depart, need = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Sessions(device.astype(np.int64), arrive, depart, need).tidy(dt_s)


def from_file(ref: str, m: int, time_ns: IntArray, dt_s: float, zone: str) -> Sessions:
    """Sessions of a CSV file, its points 1…m; ValueError as in `file_findings`."""
    rows = [row for row in _rows(ref) if row[0] <= m]
    start_ns, tz = int(time_ns[0]), ZoneInfo(zone)
    seconds = [[(to_ns(t.replace(tzinfo=tz)) - start_ns) / NS_PER_S for t in row[1:3]] for row in rows]
    times = np.array(seconds, np.float64).reshape(-1, 2)
    device, need = np.array([row[0] - 1 for row in rows], np.int64), np.array([row[3] for row in rows], np.float64)
    return Sessions(device, times[:, 0], times[:, 1], need).tidy(dt_s)


def file_findings(ref: str) -> Iterator[str]:
    """What is wrong with a file of sessions, naming its first bad line."""
    try:
        list(_rows(ref))
    except ValueError as error:
        yield str(error)


def _rows(ref: str) -> Iterator[tuple[int, datetime, datetime, float]]:
    """Rows of a file of sessions: point, arrival, departure, need."""
    path = Path(ref.removeprefix("file:"))
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in HEADING if name not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(f"{path.name} has no column {', '.join(missing)}; its first line names {', '.join(HEADING)}")
            for row in reader:
                try:
                    point, need = int(row["point"]), float(row["e_need_mwh"])
                    arrive, depart = (datetime.fromisoformat(row[name]) for name in ("arrive", "depart"))
                except (TypeError, ValueError):
                    raise ValueError(f"{path.name}, line {reader.line_num}: a point, two local times and MWh expected") from None
                if point < 1 or not 0 <= need < 1e3 or depart <= arrive or arrive.tzinfo or depart.tzinfo:
                    raise ValueError(
                        f"{path.name}, line {reader.line_num}: points from 1, local times in order, need zero or more"
                    )
                yield point, arrive, depart, need
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from None
