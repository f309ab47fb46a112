"""Values over a day or a year, written into the scenario or kept in a CSV file beside it.

One number holds always; 24 or 96 are the hours or quarter-hours of the local day; 8,784 or 35,136 those of
SimBench's year 2016 (CET without summer time), to which another year is mapped by month and day.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Discriminator, Tag

from scenarios.schema.time import QUARTER_NS, ns_of_day
from twin.series import read_csv, read_series
from vpp.fields import FileRef, Price, bad, by_shape
from vpp.grid.profiles import profile_index
from vpp.kernel.signals import FloatArray, IntArray

__all__ = ["Prices", "read_csv", "read_series", "series_at"]


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


def series_at(values: float | Sequence[float] | FloatArray | str, time_ns: IntArray, zone: str) -> FloatArray:
    """Take the value in force at each instant, (T,); ``values`` as in a scenario: a number, a list or "file:…"."""
    series = read_series(values) if isinstance(values, str) else np.atleast_1d(np.asarray(values, np.float64))
    if len(series) == 1:
        return np.full(len(time_ns), series[0])
    if len(series) <= 96:
        return np.asarray(series[ns_of_day(time_ns, zone) // (QUARTER_NS * (96 // len(series)))])
    return np.asarray(series[profile_index(time_ns) // (35136 // len(series))])
