"""Weather out of files: typical years (EPW, TMY3) and the user's own series (CSV, parquet).

A series of one's own has a column ``time``, the beginning of each interval with its offset from UTC
("2016-06-21T00:00+02:00"), evenly spaced, and ``ghi_w_m2``, ``temp_c`` and ``wind_m_s`` (at 10 m), means over the
interval. ``dni_w_m2`` and ``dhi_w_m2`` may come together, ``pressure_pa`` alone; what is missing is derived.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from twin.weather.data import CHANNELS, Cells, Weather, standard_pressure
from twin.weather.resample import Way, resample, resample_sun
from twin.weather.sun import SUN_CHANNELS, clear_sky, divided, extraterrestrial, sun_position
from vpp.kernel.signals import BoolArray, FloatArray, IntArray
from vpp.kernel.time import to_datetime, to_ns

NEEDED = ("ghi_w_m2", "temp_c", "wind_m_s")
RANGES = {
    "ghi_w_m2": (0.0, 1500.0), "dni_w_m2": (0.0, 1500.0), "dhi_w_m2": (0.0, 1000.0), "temp_c": (-90.0, 60.0),
    "wind_m_s": (0.0, 100.0), "pressure_pa": (30_000.0, 110_000.0),
}  # fmt: skip
_HOUR_NS, _DAY_NS = 3_600_000_000_000, 86_400_000_000_000
_HOURS_BEFORE_MONTH = 24 * np.cumsum([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30])
YEAR = 8760


@dataclass(frozen=True, slots=True)
class Record:
    """What a file holds.

    Attributes:
        begin_ns: beginning of the first interval; of a typical year the offset of its local time from UTC.
        step_ns: length of an interval.
        channels: (n,) means over the intervals by name, as far as the file has them.
        place: latitude, longitude [degree] and altitude [m] that the file states, None where it states none.
        typical: it is a year of 8,760 hours that stands for any year.
    """

    begin_ns: int
    step_ns: int
    channels: dict[str, FloatArray]
    place: tuple[float, float, float] | None
    typical: bool

    def problem(self, start_ns: int, end_ns: int) -> str:
        """Say why it does not cover a run; "" where it does. Beyond the run the last day of a series comes again."""
        last_ns = self.begin_ns + self.step_ns * len(self.channels["temp_c"])
        if self.typical or (self.begin_ns <= start_ns and end_ns <= last_ns):
            return ""
        span = [f"{to_datetime(ns):%Y-%m-%dT%H:%MZ}" for ns in (self.begin_ns, last_ns, start_ns, end_ns)]
        return f"holds {span[0]} to {span[1]}, and the run goes from {span[2]} to {span[3]}"

    def around(self, start_ns: int, end_ns: int) -> tuple[int, dict[str, FloatArray]]:
        """Intervals that cover a stretch of time and one more on either side: beginning of the first, and their values."""
        zero = -self.begin_ns % _HOUR_NS if self.typical else self.begin_ns
        first, last = (start_ns - zero) // self.step_ns - 1, -((zero - end_ns) // self.step_ns) + 1
        number = np.arange(first, last, dtype=np.int64)
        begin_ns = zero + first * self.step_ns
        n = len(self.channels["temp_c"])
        if self.typical:
            row = _hour_of_year(begin_ns + self.step_ns * np.arange(len(number)) + self.begin_ns)
        else:
            day = min(n, max(1, _DAY_NS // self.step_ns))
            row = np.where(number < n, np.maximum(number, 0), n - day + (number - n) % day)
        return begin_ns, {name: values[row] for name, values in self.channels.items()}


def from_file(record: Record, cells: Cells, time_ns: IntArray, dt_s: float, way: Way) -> Weather:
    """Weather of the one cell of ``cells`` over steps of ``dt_s`` that begin at ``time_ns``, (T,)."""
    dt_ns, steps, start_ns = round(dt_s * 1e9), len(time_ns), int(time_ns[0])
    begin_ns, channels = record.around(start_ns, start_ns + steps * dt_ns)
    old = (begin_ns, record.step_ns, start_ns, dt_ns, steps)
    middle_ns = begin_ns + record.step_ns * np.arange(len(channels["temp_c"])) + record.step_ns // 2
    if "dni_w_m2" not in channels:
        zenith = sun_position(middle_ns, cells.latitude, cells.longitude)[0][:, 0]
        channels["dni_w_m2"], channels["dhi_w_m2"] = divided(channels["ghi_w_m2"], zenith, extraterrestrial(middle_ns))
    if "pressure_pa" not in channels:
        channels["pressure_pa"] = np.full(len(middle_ns), standard_pressure(cells.altitude_m))

    def clear(name: str, moments: IntArray) -> FloatArray:
        return clear_sky(moments, cells.latitude, cells.longitude, cells.altitude_m, 3.0)[name][:, 0]

    out = {}
    for name in CHANNELS:
        if name in SUN_CHANNELS and way == "smooth":
            fine = resample_sun(channels[name], *old, lambda moments, name=name: clear(name, moments))  # type: ignore[misc]
        else:
            fine = resample(channels[name], *old, way=way, positive=name != "temp_c")
        out[name] = fine[:, None]
    middle = np.asarray(time_ns, np.int64) + dt_ns // 2
    out["zenith_degree"], out["azimuth_degree"] = sun_position(middle, cells.latitude, cells.longitude)
    return Weather(time_ns, dt_s, cells.latitude, cells.longitude, cells.altitude_m, out)


def read_record(path: Path) -> Record:
    """Read a weather file, its kind by its ending.

    Raises:
        ValueError: naming the file, and the line or row where something is wrong.
    """
    ending = path.suffix.lower()
    try:
        if ending == ".epw":
            return _typical_year(path, 9)
        if ending in (".tmy3", ".tmy"):
            return _typical_year(path, 3)
        if ending == ".parquet":
            return _own(path, _parquet(path), "row")
        if ending == ".csv":
            with path.open(newline="", encoding="utf-8-sig") as stream:
                head = stream.readline()
                if "time" in [word.strip() for word in head.split(",")]:
                    return _own(path, csv.reader([head, *stream]), "line")
            return _typical_year(path, 3)  # a TMY3 file by its other usual name
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from None
    raise ValueError(f"{path.name}: weather comes from .epw, .tmy3, .csv or .parquet files")


def _typical_year(path: Path, first_line: int) -> Record:
    """A year of 8,760 hours, read by pvlib; the values of a line hold for the hour that ends at its time."""
    from pvlib.iotools import read_epw, read_tmy3

    epw = path.suffix.lower() == ".epw"
    try:
        table, about = read_epw(str(path)) if epw else read_tmy3(str(path), map_variables=True)
        names = ["ghi", "dni", "dhi", "temp_air", "wind_speed", "atmospheric_pressure" if epw else "pressure"]
        columns = dict(zip(CHANNELS, table[names].to_numpy(np.float64).T))
    except Exception as error:  # noqa: BLE001  a foreign parser on a foreign file: whatever it meets, the file is not one of its own
        what = "an EPW file" if epw else "a TMY3 file, and a series of one's own has a column called time"
        raise ValueError(f"{path.name} is not {what} ({type(error).__name__}: {error})") from None
    if not epw:
        columns["pressure_pa"] = columns["pressure_pa"] * 100.0  # mbar
    if len(table) != YEAR:
        raise ValueError(f"{path.name} has {len(table)} hours; a typical year has {YEAR}")
    for name, values in columns.items():
        for row in np.flatnonzero(~_fits(name, values))[:1].tolist():
            raise ValueError(f"{path.name}, line {first_line + row}: {_range(name)}, got {values[row]:g}")
    place = (float(about["latitude"]), float(about["longitude"]), float(about["altitude"]))
    return Record(round(float(about["TZ"]) * _HOUR_NS), _HOUR_NS, columns, place, typical=True)


def _own(path: Path, rows: Iterable[Sequence[object]], what: str) -> Record:
    """A series of the user's own, from rows of which the first names the columns."""
    lines = iter(rows)
    head = [str(word).strip() for word in next(lines, [])]
    missing = [name for name in ("time", *NEEDED) if name not in head]
    if ("dni_w_m2" in head) != ("dhi_w_m2" in head):
        missing.append("dhi_w_m2" if "dni_w_m2" in head else "dni_w_m2")
    if missing:
        raise ValueError(f"{path.name}: no column {', '.join(missing)}; columns are {', '.join(('time', *CHANNELS))}")
    time_ns, values = _numbers(path, head, lines, what)
    if len(time_ns) < 2:
        raise ValueError(f"{path.name} has {len(time_ns)} rows; two at least are needed")
    step = np.diff(time_ns)
    for row in np.flatnonzero(step != step[0])[:1].tolist():
        raise ValueError(f"{path.name}, {what} {row + 3}: the intervals are not even, {step[0] / 1e9:g} s before this one")
    if step[0] <= 0:
        raise ValueError(f"{path.name}, {what} 3: the times must ascend")
    return Record(int(time_ns[0]), int(step[0]), values, None, typical=False)


def _numbers(
    path: Path, head: Sequence[str], lines: Iterator[Sequence[object]], what: str
) -> tuple[IntArray, dict[str, FloatArray]]:
    """Times and channels of all rows."""
    clock = head.index("time")
    used = [name for name in CHANNELS if name in head]
    at = [head.index(name) for name in used]
    times: list[int] = []
    table: list[list[float]] = []
    for number, row in enumerate(lines, start=2):
        if not row:
            continue
        try:
            times.append(_moment(row[clock]))
            table.append([float(row[k]) for k in at])  # type: ignore[arg-type]
        except (ValueError, TypeError, IndexError) as error:
            raise ValueError(f"{path.name}, {what} {number}: {error}") from None
        for name, value in zip(used, table[-1]):
            low, high = RANGES[name]
            if not low <= value <= high:
                raise ValueError(f"{path.name}, {what} {number}: {_range(name)}, got {value:g}")
    columns = np.array(table, np.float64).reshape(-1, len(used))
    return np.array(times, np.int64), {name: columns[:, k].copy() for k, name in enumerate(used)}


def _moment(value: object) -> int:
    """Nanoseconds UTC of a time with its offset."""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
    if moment.tzinfo is None:
        raise ValueError(f"the time {value} needs its offset, as in 2016-06-21T00:00+02:00")
    return to_ns(moment.astimezone(timezone(timedelta(0))))


def _parquet(path: Path) -> Iterator[Sequence[object]]:
    """Rows of a parquet file, its column names first."""
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    try:
        table = read_table(path)
    except ArrowException as error:
        raise ValueError(f"{path.name} cannot be read: {error}") from None
    yield table.column_names
    yield from zip(*(column.to_pylist() for column in table.columns))


def _fits(name: str, values: FloatArray) -> BoolArray:
    low, high = RANGES[name]
    return np.asarray((values >= low) & (values <= high))


def _range(name: str) -> str:
    low, high = RANGES[name]
    return f"{name} lies between {low:g} and {high:g}"


def _hour_of_year(local_ns: IntArray) -> IntArray:
    """Hour 0…8,759 of a year without a leap day, (T,); 29 February is 28 February once more."""
    moment = np.asarray(local_ns, np.int64).astype("datetime64[ns]")
    month = moment.astype("datetime64[M]")
    which = month.astype(np.int64) % 12
    into = (moment - month.astype("datetime64[ns]")).astype(np.int64) // _HOUR_NS
    return np.asarray(_HOURS_BEFORE_MONTH[which] + np.where((which == 1) & (into >= 28 * 24), into - 24, into), np.int64)
