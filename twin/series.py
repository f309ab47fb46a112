"""What devices follow over time: named sources, and the table of their values that a run steps through.

A source is hashable: equal ones are one column of the table, however many devices follow it. Whatever is not decided
inside the simulation comes in this way: profile factors, temperatures, wind, inflow.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from twin.weather import Weather
from twin.weather.resample import resample
from vpp.grid.profiles import QUARTERS, STEP_S, Profiles, profile_index
from vpp.kernel.signals import FloatArray, IntArray
from vpp.kernel.time import to_datetime

LENGTHS = (1, 24, 96, 8784, 35136)
QUARTER_NS = STEP_S * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a source's values are taken from.

    Attributes:
        time_ns: (T,) beginning of every step that values are wanted for.
        dt_s: length of a step.
        profiles: SimBench's profiles, None where there are none.
        weather: the weather, None where there is none.
        smooth: whether quarter-hours run into one another where steps are shorter; else their values are held.
    """

    time_ns: IntArray
    dt_s: float
    profiles: Profiles | None = None
    weather: Weather | None = None
    smooth: bool = False


class Source(Hashable, Protocol):
    """A series over time. ``quarters``: it is one year of SimBench's quarter-hours, (35136,), whatever the steps are."""

    @property
    def name(self) -> str:
        """What it is called in messages and in the record."""
        ...

    @property
    def quarters(self) -> bool:
        """Whether `values` gives the 35,136 quarter-hours of the profile year instead of one value a step."""
        ...

    def values(self, around: Surroundings) -> FloatArray:
        """(T,) value of each step, or (35136,)."""
        ...


@dataclass(frozen=True, slots=True)
class NetworkProfile:
    """A column of SimBench's profiles, by its name ("H0-A_pload", "PV3")."""

    name: str
    quarters: bool = True

    def values(self, around: Surroundings) -> FloatArray:
        """The year of quarter-hours; KeyError where no such profile is at hand."""
        if around.profiles is None:
            raise KeyError(f"no profile {self.name!r}: no SimBench profiles are at hand")
        return np.asarray(around.profiles.factor[around.profiles.index(self.name)], np.float64)


@dataclass(frozen=True, slots=True)
class FileProfile:
    """A day or a year of values in the user's own CSV file, "file:<path>"."""

    name: str
    quarters: bool = True

    def values(self, around: Surroundings) -> FloatArray:
        """The file laid out to a year of quarter-hours."""
        series = read_series(self.name)
        repeat = QUARTERS // len(series) if len(series) > 96 else 96 // max(len(series), 1)
        return np.resize(np.repeat(series, repeat), QUARTERS)


@dataclass(frozen=True, slots=True)
class DaySeries:
    """A local day of values, the same every day: one that always holds, 24 hours or 96 quarter-hours."""

    day: tuple[float, ...]
    zone: str
    quarters: bool = False

    @property
    def name(self) -> str:
        """By its content."""
        return "day:" + hashlib.sha256(f"{self.zone}:{self.day}".encode()).hexdigest()[:16]

    def values(self, around: Surroundings) -> FloatArray:
        """What holds at the beginning of each step by the local clock."""
        quarter, where = np.unique(around.time_ns // QUARTER_NS, return_inverse=True)
        zone = ZoneInfo(self.zone)
        offset = [(to_datetime(int(q) * QUARTER_NS).astimezone(zone).utcoffset() or timedelta()).total_seconds() for q in quarter]
        of_day = (around.time_ns // 10**9 + np.array(offset, np.int64)[where]) % 86400
        return np.asarray(np.asarray(self.day, np.float64)[of_day * len(self.day) // 86400])


@dataclass(frozen=True, slots=True)
class WeatherSeries:
    """A channel of the weather in one cell."""

    channel: str
    cell: int
    quarters: bool = False

    @property
    def name(self) -> str:
        """Channel and cell."""
        return f"weather:{self.channel}:{self.cell}"

    def values(self, around: Surroundings) -> FloatArray:
        """Mean over each step; KeyError where there is no weather."""
        if around.weather is None:
            raise KeyError(f"no weather for {self.name}")
        return np.asarray(around.weather.channels[self.channel][:, self.cell], np.float64)


def profile_named(name: str) -> Source | None:
    """The source that a scenario means by a profile's name; None for an empty one (a constant)."""
    if not name:
        return None
    return FileProfile(name) if name.startswith("file:") else NetworkProfile(name)


@dataclass(frozen=True, slots=True)
class ProfileTable:
    """The values of all sources, one column each.

    Attributes:
        factor: (rows, columns) float32, row-major so that a step reads one line.
        row: (T,) row of each step of the run, and of the horizon behind it.
        fine: (T, more columns) float32 values that change with every step; their columns come behind those of ``factor``.
        start_ns, step_ns: beginning of the first step, length of a step; for `window` only.
    """

    factor: npt.NDArray[np.float32]
    row: IntArray
    fine: npt.NDArray[np.float32] | None = None
    start_ns: int = 0
    step_ns: int = 1

    def at(self, k: int) -> npt.NDArray[np.float32]:
        """The values of step ``k`` (a step beyond the last keeps the last row)."""
        k = min(k, len(self.row) - 1)
        coarse = self.factor[self.row[k]]
        return np.asarray(coarse if self.fine is None else np.concatenate([coarse, self.fine[k]]), np.float32)

    def window(self, start_ns: int, step_ns: int, steps: int) -> npt.NDArray[np.float32]:
        """(steps, columns) mean values of coarser or equal steps, from a moment on."""
        begin = start_ns + step_ns * np.arange(steps + 1, dtype=np.int64)
        parts = max(1, step_ns // max(min(QUARTER_NS, step_ns), self.step_ns))
        inner = begin[:-1, None] + (step_ns // parts) * np.arange(parts, dtype=np.int64)
        coarse = self.factor[self.row[self._steps(inner)]].mean(axis=1, dtype=np.float64).astype(np.float32)
        if self.fine is None:
            return np.asarray(coarse)
        edge = self._steps(begin)
        sums = [self.fine[a : max(b, a + 1)].mean(axis=0, dtype=np.float64) for a, b in pairwise(edge.tolist())]
        return np.concatenate([coarse, np.asarray(sums, np.float32)], axis=1)

    def _steps(self, time_ns: IntArray) -> IntArray:
        return np.clip((time_ns - self.start_ns) // self.step_ns, 0, len(self.row) - 1)

    @classmethod
    def constant(cls, steps: int, values: FloatArray) -> ProfileTable:
        """The same values in every step; for tests and examples."""
        return cls(np.asarray(values, np.float32)[None, :], np.zeros(steps, np.int64))


@dataclass(frozen=True, slots=True)
class _Smoothed:
    """A profile of quarter-hours as values of shorter steps, with the energy of each quarter-hour kept."""

    profile: Source
    quarters: bool = False

    @property
    def name(self) -> str:
        """The profile's name."""
        return self.profile.name

    def values(self, around: Surroundings) -> FloatArray:
        """(T,) mean of each step."""
        year = self.profile.values(around)
        start_ns, dt_ns, steps = int(around.time_ns[0]), round(around.dt_s * 1e9), len(around.time_ns)
        first, last = start_ns // QUARTER_NS - 1, -(-(start_ns + steps * dt_ns) // QUARTER_NS) + 1
        quarter_ns = QUARTER_NS * np.arange(first, last, dtype=np.int64)
        means = year[profile_index(quarter_ns)]
        return resample(means, int(quarter_ns[0]), QUARTER_NS, start_ns, dt_ns, steps, positive=bool(means.min() >= 0.0))


def tabulate(sources: Sequence[Source], around: Surroundings) -> ProfileTable:
    """The table of all sources: those of quarter-hours first (see `ordered`), in their order."""
    if around.smooth and around.dt_s < STEP_S:
        sources = [_Smoothed(s) if s.quarters else s for s in sources]
    quarters = [s for s in sources if s.quarters]
    fine = [s for s in sources if not s.quarters]
    if list(sources) != [*quarters, *fine]:
        raise ValueError("sources of quarter-hours come before all others")
    row = profile_index(around.time_ns) if quarters else np.zeros(len(around.time_ns), np.int64)
    columns = [np.asarray(s.values(around), np.float32) for s in quarters] or [np.ones(1, np.float32)] * (not fine)
    factor = np.ascontiguousarray(np.stack(columns, axis=1)) if columns else np.zeros((1, 0), np.float32)
    table = np.stack([np.asarray(s.values(around), np.float32) for s in fine], axis=1) if fine else None
    step_ns = round(around.dt_s * 1e9)
    return ProfileTable(factor, row, None if table is None else np.ascontiguousarray(table), int(around.time_ns[0]), step_ns)


def ordered(sources: set[Source]) -> tuple[Source, ...]:
    """Sources in the order of their columns: quarter-hours first, then by name."""
    return tuple(sorted(sources, key=lambda s: (not s.quarters, s.name)))


def read_csv(ref: str, columns: int = 1) -> FloatArray:
    """Read the last ``columns`` columns of a CSV file ("file:<path>"), (rows, columns); the first row may be a heading.

    Raises:
        ValueError: naming the line that holds no finite numbers, or a file that cannot be read.
    """
    path = Path(ref.removeprefix("file:"))
    rows: list[list[float]] = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            for number, fields in enumerate(csv.reader(stream), start=1):
                if not any(f.strip() for f in fields):
                    continue
                try:
                    row = [float(f) for f in fields[-columns:]]
                except ValueError:
                    row = []
                if len(row) == columns and all(map(math.isfinite, row)):
                    rows.append(row)
                elif number > 1:
                    raise ValueError(f"{path.name}, line {number}: {columns} finite number(s) expected, got {','.join(fields)!r}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from None
    return np.array(rows, np.float64).reshape(-1, columns)


def read_series(ref: str) -> FloatArray:
    """Read a day or a year of values from a CSV file, one a row; ValueError where the number of rows fits neither."""
    values = read_csv(ref)[:, 0]
    if len(values) not in LENGTHS:
        raise ValueError(f"{Path(ref).name} has {len(values)} values; expected one of {', '.join(map(str, LENGTHS))}")
    return values
