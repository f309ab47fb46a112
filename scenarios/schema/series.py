"""Values over a day or a year, written into the scenario or kept in a CSV file beside it.

One number holds always; 24 or 96 are the hours or quarter-hours of the local day; 8,784 or 35,136 those of
SimBench's year 2016 (CET without summer time), to which another year is mapped by month and day.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Discriminator, Tag

from scenarios.schema.time import QUARTER_NS, ns_of_day, profile_index
from scenarios.schema.units import FileRef, Price, bad, by_shape
from vpp.kernel.signals import FloatArray, IntArray

LENGTHS = (1, 24, 96, 8784, 35136)


def _day(values: tuple[float, ...]) -> tuple[float, ...]:
    if len(values) not in (24, 96):
        raise bad(f"a day has 24 hours or 96 quarter-hours, not {len(values)} values")
    return values


Prices = Annotated[
    Annotated[Price, Tag("number")]
    | Annotated[tuple[Price, ...], AfterValidator(_day), Tag("list")]
    | Annotated[FileRef, Tag("text")],
    Discriminator(by_shape),
]


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


def series_at(values: float | Sequence[float] | FloatArray | str, time_ns: IntArray, zone: str) -> FloatArray:
    """Take the value in force at each instant, (T,); ``values`` as in a scenario: a number, a list or "file:…"."""
    series = read_series(values) if isinstance(values, str) else np.atleast_1d(np.asarray(values, np.float64))
    if len(series) == 1:
        return np.full(len(time_ns), series[0])
    if len(series) <= 96:
        return np.asarray(series[ns_of_day(time_ns, zone) // (QUARTER_NS * (96 // len(series)))])
    return np.asarray(series[profile_index(time_ns) // (35136 // len(series))])
