"""The time axis of a report: the scenario's local time, true also when the clocks change."""

from __future__ import annotations

import base64
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from scenarios.schema.time import local_ns
from vpp.kernel.signals import IntArray
from vpp.kernel.time import NS_PER_S, to_datetime

_LONG_NS: Final = 14 * 86_400 * NS_PER_S
_QUARTER_NS: Final = 900 * NS_PER_S
_TICKS: Final = 13
_DAY_MS: Final = 86_400_000
_FORMATS: Final = (  # distance of the ticks up to which each holds
    (60_000, "%H:%M:%S\n%-d %b %Y"),
    (_DAY_MS - 1, "%H:%M\n%-d %b %Y"),
    (27 * _DAY_MS, "%-d %b\n%Y"),
    (None, "%b\n%Y"),
)


def axis(time_ns: IntArray, step_ns: int, zone: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the x values that all plots share, and their axis.

    Where the clocks change during a short run, x goes on evenly and the ticks tell the local time. In a long run
    x is the local time itself: an hour is left out, or written over, once a year.

    Args:
        time_ns: (T,) begin of each point, UTC.
        step_ns: length of a point; the last value holds until its end.
        zone: IANA time zone.

    Returns:
        Milliseconds of T + 1 moments as a typed array of plotly's, and the layout of the axis.
    """
    ends = np.append(time_ns, time_ns[-1] + step_ns)
    wall = local_ns(ends, zone)
    offsets = wall - ends
    layout: dict[str, Any] = {"type": "date", "title": {"text": f"local time, {zone}"}, "hoverformat": "%a %-d %b %Y %H:%M"}
    layout["tickformatstops"] = [{"dtickrange": [None, most], "value": form} for most, form in _FORMATS]
    if offsets.min() == offsets.max() or ends[-1] - ends[0] > _LONG_NS:
        return packed(wall / 1e6, "f8"), layout
    layout["title"]["text"] += " (the clocks change)"
    layout["hoverformat"] = f"%a %-d %b %H:%M UTC{_offset(int(offsets[0]))}"
    return packed((ends + offsets[0]) / 1e6, "f8"), {**layout, **_ticks(int(ends[0]), int(ends[-1]), int(offsets[0]), zone)}


def _offset(ns: int) -> str:
    minutes = ns // NS_PER_S // 60
    return f"{'+' if minutes >= 0 else '-'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def _ticks(start_ns: int, end_ns: int, offset_ns: int, zone: str) -> dict[str, Any]:
    """Ticks at full local hours, about a dozen at most."""
    every = next((h for h in (1, 2, 3, 6, 12) if (end_ns - start_ns) / (h * 3600 * NS_PER_S) <= _TICKS), 24)
    values, texts = [], []
    for ns in range(-(-start_ns // _QUARTER_NS) * _QUARTER_NS, end_ns + 1, _QUARTER_NS):
        local = to_datetime(ns).astimezone(ZoneInfo(zone))
        if local.minute == 0 and local.hour % every == 0:
            values.append((ns + offset_ns) / 1e6)
            texts.append(f"{local:%H:%M}" if local.hour else f"{local:%H:%M}<br>{local.day} {local:%b}")
    return {"tickmode": "array", "tickvals": values, "ticktext": texts}


def packed(values: Any, dtype: str = "f4") -> dict[str, Any]:
    """Numbers as plotly takes them in JSON without losing time on digits."""
    return {"dtype": dtype, "bdata": base64.b64encode(np.asarray(values, f"<{dtype}").tobytes()).decode()}
