"""Times in the scenario's zone, as texts and as an axis; days of 23 and 25 hours included."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from vpp.kernel.time import to_datetime, to_ns

_TICK_HOURS: Final = (1, 2, 3, 6, 12, 24, 48, 72, 168, 720)


def local(now_ns: int, zone: str) -> datetime:
    """The moment on the clocks of a zone."""
    return to_datetime(int(now_ns)).astimezone(ZoneInfo(zone))


def label(now_ns: int, zone: str) -> str:
    """For example "Tue 21 Jun 2016, 14:15 CEST"; seconds where there are some."""
    moment = local(now_ns, zone)
    return moment.strftime("%a %d %b %Y, %H:%M:%S %Z" if moment.second else "%a %d %b %Y, %H:%M %Z")


def short(now_ns: int, zone: str) -> str:
    """For example "21 Jun 14:15"."""
    moment = local(now_ns, zone)
    return moment.strftime("%d %b %H:%M:%S" if moment.second else "%d %b %H:%M")


def abscissae(time_ns: npt.NDArray[np.int64], zone: str) -> list[str]:
    """Positions on the axis: the zone's clock as it stood at the start, so that they rise without a gap."""
    if not len(time_ns):
        return []
    shift = int(_offset(int(time_ns[0]), zone) / timedelta(microseconds=1)) * 1000
    return [str(text) for text in np.datetime_as_string((time_ns + shift).astype("datetime64[ns]"), unit="s")]


def axis(time_ns: npt.NDArray[np.int64], zone: str) -> dict[str, Any]:
    """Range, ticks and title of a time axis.

    Where the clocks are changed within the run, the ticks are written by hand, so that each tells local time.
    """
    if not len(time_ns):
        return {"title": _title(f"local time, {zone}")}
    first, last = int(time_ns[0]), int(time_ns[-1])
    ends = abscissae(time_ns[[0, -1]], zone)
    title = f"local time, {zone} ({local(first, zone):%Z})"
    days = (last - first) / 8.64e13
    form = "%H:%M\n%a %d %b %Y" if days <= 10 else "%d %b\n%Y"
    common = {"type": "date", "range": ends, "hoverformat": "%a %d %b %Y, %H:%M", "tickformat": form}
    if not changes(time_ns, zone):
        return {**common, "title": _title(title)}
    ticks = np.array(_ticks(first, last, zone), np.int64)
    x = abscissae(np.concatenate([time_ns[:1], ticks]), zone)[1:]
    texts = [short(int(t), zone) if local(int(t), zone).hour == 0 else f"{local(int(t), zone):%H:%M}" for t in ticks]
    title = f"local time, {zone} ({local(first, zone):%Z}, then {local(last, zone):%Z})"
    return {**common, "title": _title(title), "tickmode": "array", "tickvals": x, "ticktext": texts}


def _title(text: str) -> dict[str, Any]:
    return {"text": text, "font": {"size": 11}, "standoff": 6}


def changes(time_ns: npt.NDArray[np.int64], zone: str) -> bool:
    """Whether the clocks are changed within these times."""
    return bool(len(time_ns)) and len({_offset(int(t), zone) for t in np.linspace(time_ns[0], time_ns[-1], 27)}) > 1


def _offset(now_ns: int, zone: str) -> timedelta:
    return local(now_ns, zone).utcoffset() or timedelta()


def _ticks(first: int, last: int, zone: str) -> list[int]:
    """About a dozen full local hours."""
    wanted = (last - first) / 3.6e12 / 13
    hours = next((h for h in _TICK_HOURS if h >= wanted), _TICK_HOURS[-1])
    midnight = local(first, zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    count = int((last - first) / 3.6e12 / hours) + 26
    walls = (midnight + timedelta(hours=hours * i) for i in range(count))
    moments = (to_ns(wall.replace(tzinfo=ZoneInfo(zone))) for wall in walls)
    return sorted({m for m in moments if first <= m <= last})
