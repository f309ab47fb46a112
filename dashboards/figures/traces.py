"""Traces of the charts beside the diagram: lines, an estimate in its interval, measured values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboards.estimate import HALF
from dashboards.figures import style
from dashboards.totals import thin
from dashboards.view import Values


def style_name(name: str) -> str:
    """A name as a chart shows it: no markup, not endless."""
    plain = name.replace("<", "‹").replace(">", "›")
    return plain if len(plain) <= 42 else plain[:40] + "…"


def trace(x: Sequence[str], values: Any, name: str, unit: str, digits: int, color: str, axis: str, shape: str) -> go.Scatter:
    """A line; NaN are gaps. Only those of the second panel stand in the legend."""
    y = [None if value != value else round(value, 6) for value in values.tolist()]
    return go.Scatter(
        x=x, y=y, name=style_name(name), mode="lines", yaxis=axis, line={"color": color, "width": 1.5, "shape": shape},
        hovertemplate=f"%{{y:.{digits}f}} {unit}", showlegend=axis == "y2",
    )  # fmt: skip


def guessed(x: Any, found: Values, sigma: Values, merged: int, name: str, unit: str, digits: int, axis: str) -> list[go.Scatter]:
    """The estimate in its 95 % interval; the band only where there is no gap, for it would be filled right across it."""
    middle, spread = thin(found, merged), HALF * thin(sigma, merged)
    low, high = (trace(x, middle + side * spread, name, unit, digits, style.SAND, axis, "linear") for side in (-1, 1))
    for edge in (low, high):
        edge.update(line={"width": 0}, hoverinfo="skip", hovertemplate=None, showlegend=False)
    known = np.flatnonzero(np.isfinite(middle))
    if len(known) and known[-1] - known[0] + 1 == len(known):
        high.update(fill="tonexty", fillcolor="rgba(163,137,106,0.28)")
    line = trace(x, middle, name, unit, digits, style.SAND, axis, "linear")
    line.update(showlegend=True)
    return [low, high, line]


def dots(x: Any, value: Values, suspect: Any, merged: int, unit: str, digits: int, axis: str) -> list[go.Scatter]:
    """Measured values, those taken for gross errors apart; where steps are drawn together, the first of each."""
    out = []
    for name, which, color, symbol in (
        ("measured", ~suspect, style.MUTED, "circle"), ("taken for an error", suspect, style.ALARM, "triangle-up"),
    ):  # fmt: skip
        some = np.where(which, value, np.nan)[::merged]
        if np.isfinite(some).any():
            points = trace(x, some, name, unit, digits, color, axis, "linear")
            points.update(mode="markers", marker={"color": color, "size": 4 if symbol == "circle" else 7, "symbol": symbol})
            points.update(showlegend=True)
            out.append(points)
    return out
