"""The plots of a session, as plotly's JSON: what was measured, the allowed band, and the values that were judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hil.bench.expected import response
from hil.bench.results import Envelope, Trace, Verdict

BLUE, GREEN, RED, GREY = "#0072b2", "#1e7d4f", "#c0392b", "rgba(95,107,122,0.18)"
MOST: Final = 4000  # points drawn of a trace
IN_BAND: Final = 24  # points of a response's band
TITLES: Final = {"p": "active power, of rated", "q": "reactive power, of nameplate VA"}


@dataclass(frozen=True, slots=True)
class Figure:
    """One plot."""

    title: str
    traces: list[dict[str, Any]]
    layout: dict[str, Any]


def figures(verdicts: Sequence[Verdict]) -> Iterator[Figure]:
    """A plot for each procedure and each quantity that it judges."""
    for suite, procedure in dict.fromkeys((v.suite, v.procedure) for v in verdicts):
        rows = [v for v in verdicts if (v.suite, v.procedure) == (suite, procedure) and v.finding.trace.t_s.size]
        judged = {c.quantity for v in rows for c in v.finding.checks if c.quantity} or ({"p"} if rows else set())
        for quantity in sorted(judged):
            yield _figure(f"{suite}, {procedure}", quantity, rows)


def _figure(name: str, quantity: str, rows: Sequence[Verdict]) -> Figure:
    origin = float(rows[0].finding.trace.t_s[0])
    traces = [*_bands(quantity, rows, origin), _measured(quantity, rows, origin)]
    traces += [t for ok in (True, False) for t in _judged(quantity, rows, origin, ok)]
    lines = [
        {"type": "line", "x0": x, "x1": x, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": "#d3dae1", "width": 0.7}}
        for x in (round(float(v.finding.trace.t_s[0]) - origin, 4) for v in rows[:200])
    ]
    layout = {"yaxis": {"title": {"text": TITLES[quantity]}}, "shapes": lines}
    return Figure(name, traces, layout)


def _measured(quantity: str, rows: Sequence[Verdict], origin: float) -> dict[str, Any]:
    """The measurements, thinned out; pauses are gaps."""
    x: list[float | None] = []
    y: list[float | None] = []
    share = max(1, sum(v.finding.trace.t_s.size for v in rows) // MOST)
    for verdict in rows:
        trace: Trace = verdict.finding.trace
        pick = np.unique(np.r_[0 : trace.t_s.size : share, trace.t_s.size - 1])
        x += [*(trace.t_s[pick] - origin).round(4).tolist(), None]
        y += [*(v if np.isfinite(v) else None for v in trace.column(quantity)[pick].round(6).tolist()), None]
    return {"type": "scatter", "mode": "lines", "name": "measured", "x": x, "y": y, "line": {"color": BLUE, "width": 1.6}}


def _bands(quantity: str, rows: Sequence[Verdict], origin: float) -> list[dict[str, Any]]:
    """The allowed bands as polygons: there along their lower edges, back along the upper ones."""
    x: list[float | None] = []
    y: list[float | None] = []
    for envelope in (e for v in rows for e in v.finding.envelopes if e.quantity == quantity):
        edge = [(round(t - origin, 4), round(low, 6), round(high, 6)) for t, low, high in _outline(envelope)]
        x += [*(t for t, _, _ in edge), *(t for t, _, _ in reversed(edge)), edge[0][0], None]
        y += [*(low for _, low, _ in edge), *(high for _, _, high in reversed(edge)), edge[0][1], None]
    if not x:
        return []
    shape = {"type": "scatter", "mode": "lines", "fill": "toself", "fillcolor": GREY, "line": {"width": 0}}
    return [{**shape, "name": "allowed", "x": x, "y": y, "hoverinfo": "skip"}]


def _outline(e: Envelope) -> Iterator[tuple[float, float, float]]:
    """Time, lowest and highest value along an envelope; a ramp where ``tr_s`` is below zero."""
    low, high = max(e.low, -1.3), min(e.high, 1.3)
    if e.tr_s < 0.0:
        yield e.begin_s, low - e.margin, low + e.margin
        yield e.end_s, high - e.margin, high + e.margin
        return
    if e.tr_s == 0.0:
        yield e.begin_s, low, high
        yield e.end_s, low, high
        return
    for part in np.linspace(0.0, 1.0, IN_BAND) ** 2:
        after = (e.end_s - e.begin_s) * float(part)
        bottom = response(e.before - e.margin, low, after, e.tr_s)
        yield e.begin_s + after, bottom, response(e.before + e.margin, high, after, e.tr_s)


def _judged(quantity: str, rows: Sequence[Verdict], origin: float, ok: bool) -> list[dict[str, Any]]:
    """Values that were judged, with their bands as bars."""
    found = [(c, v.row) for v in rows for c in v.finding.checks if c.quantity == quantity and c.ok is ok and np.isfinite(c.value)]
    if not found:
        return []
    bars = {
        "type": "data", "symmetric": False, "color": GREEN if ok else RED, "thickness": 1, "width": 3,
        "array": [round(min(c.high, 1.3) - c.value, 6) for c, _ in found],
        "arrayminus": [round(c.value - max(c.low, -1.3), 6) for c, _ in found],
    }  # fmt: skip
    return [
        {
            "type": "scatter", "mode": "markers", "name": "passed" if ok else "failed", "error_y": bars,
            "x": [round(c.t_s - origin, 4) for c, _ in found], "y": [round(c.value, 6) for c, _ in found],
            "text": [f"{row}: {c}" for c, row in found], "hoverinfo": "text",
            "marker": {"color": GREEN if ok else RED, "size": 7, "symbol": "circle" if ok else "x"},
        }
    ]  # fmt: skip
