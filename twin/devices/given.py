"""Values over time as an entry of the fleet states them: one number, a local day, a file, or the weather."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, Discriminator, Tag

from twin.devices.entry import Places
from twin.series import DaySeries, FileProfile, Source, WeatherSeries
from vpp.fields import FileRef, Number, Where, bad, by_shape


def _day(values: tuple[float, ...]) -> tuple[float, ...]:
    if len(values) not in (24, 96):
        raise bad(f"a day has 24 hours or 96 quarter-hours, not {len(values)} values")
    return values


OverTime = Annotated[
    Annotated[Number, Tag("number")]
    | Annotated[tuple[Number, ...], AfterValidator(_day), Tag("list")]
    | Annotated[FileRef, Tag("text")],
    Discriminator(by_shape),
]


def sources_of(given: float | tuple[float, ...] | str | None, places: Places, channel: str = "") -> list[Source | None]:
    """A source for each place: what is given, else a channel of the weather in each one's cell."""
    if given is None:
        return [WeatherSeries(channel, int(cell)) for cell in places.cell]
    if isinstance(given, str):
        return [FileProfile(given)] * places.m
    return [DaySeries(given if isinstance(given, tuple) else (float(given),), places.zone)] * places.m


def refused(
    key: str, given: float | tuple[float, ...] | str | None, ok: Callable[[float], bool], why: str
) -> list[tuple[Where, str]]:
    """Which of the values written into the scenario are impossible, and why."""
    if isinstance(given, tuple):
        return [((key, i), why) for i, value in enumerate(given) if not ok(value)]
    return [((key,), why)] if isinstance(given, float | int) and not ok(given) else []
