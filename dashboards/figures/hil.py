"""Charts of the HIL page: histograms of durations, and one device outside over time."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboards.figures import clock, style
from dashboards.figures.traces import style_name
from dashboards.hil import STATES, Device, Histogram
from dashboards.totals import MOST_POINTS, thin
from dashboards.view import FloatArray, RunView

MARGIN = {"l": 48, "r": 10, "t": 34, "b": 44}
SHORT_NS = 7200 * 10**9


def duration(seconds: float) -> str:
    """A duration as people say it: "20 µs", "5 ms", "2 s"."""
    if seconds < 1e-3:
        return f"{1e6 * seconds:.3g} µs"
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def histogram(parts: dict[str, Histogram], title: str) -> go.Figure:
    """Bars for each class in which something is, and those between; several histograms stand beside one another."""
    counted = np.array([h.counts for h in parts.values()])
    used = np.flatnonzero(counted.sum(axis=0)) if counted.size else np.zeros(0, np.int64)
    if not used.size:
        hidden = {"visible": False}
        words = [style.heading(title, 1.0), style.note("nothing measured yet", (0.0, 1.0))]
        return go.Figure(layout=style.layout(xaxis=hidden, yaxis=hidden, margin=MARGIN, annotations=words))
    low, high = max(int(used[0]) - 1, 0), min(int(used[-1]) + 2, counted.shape[1])
    edges = next(iter(parts.values())).edges[low:high]
    names = [f"≤ {duration(edge)}" if np.isfinite(edge) else "beyond" for edge in edges]
    traces = [
        go.Bar(
            x=names, y=h.counts[low:high].astype(int).tolist(), name=name, marker={"color": style.SERIES[i]},
            hovertemplate="%{y:,}",
        )
        for i, (name, h) in enumerate(parts.items())
    ]  # fmt: skip
    axes = {
        "xaxis": {"type": "category", "tickfont": {"size": 10}, "linecolor": style.GRID, "showline": True, "tickangle": -35},
        "yaxis": style.y_axis("times", (0.0, 1.0)),
    }
    legend = {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.02, "yanchor": "bottom", "font": {"size": 10}}
    words = [style.heading(title, 1.0)]
    return go.Figure(
        traces, style.layout(**axes, margin=MARGIN, annotations=words, legend=legend, showlegend=len(parts) > 1, bargap=0.15)
    )


def state_chart(view: RunView, states: dict[str, list[str]]) -> go.Figure:
    """Where links stood over time."""
    merged = max(1, -(-view.rows // MOST_POINTS))
    time_ns = view.time_ns[: view.rows : merged]
    x = clock.abscissae(time_ns, view.zone)
    traces = [
        go.Scatter(
            x=x, y=values[::merged], name=style_name(name), mode="lines", hovertemplate="%{y}",
            line={"color": style.SERIES[i % len(style.SERIES)], "width": 1.8, "shape": "hv"},
        )
        for i, (name, values) in enumerate(states.items())
    ]  # fmt: skip
    rows = {"type": "category", "categoryorder": "array", "categoryarray": list(STATES), "range": [-0.3, len(STATES) - 0.7]}
    axes = {
        "xaxis": time_axis(time_ns, view.zone),
        "yaxis": {**rows, "gridcolor": style.GRID, "tickfont": {"size": 10}, "tickvals": list(STATES)},
    }
    margin = {"l": 76, "r": 10, "t": 8, "b": 40}
    return go.Figure(traces, style.layout(**axes, margin=margin))


def time_axis(time_ns: Any, zone: str) -> dict[str, Any]:
    """A time axis that tells seconds where the run is short."""
    axis = style.x_axis(**(clock.axis(time_ns, zone) | {"title": None, "nticks": 9}))
    if len(time_ns) and time_ns[-1] - time_ns[0] < SHORT_NS:
        axis |= {"tickformat": "%H:%M:%S\n%a %d %b %Y", "hoverformat": "%a %d %b %Y, %H:%M:%S"}
    return axis


def device_chart(view: RunView, device: Device) -> go.Figure:
    """Asked, applied and delivered power; voltage and frequency as controllers see them, and as a source holds them."""
    if not view.rows:
        return go.Figure(layout=style.nothing_yet())
    merged = max(1, -(-view.rows // MOST_POINTS))
    time_ns = view.time_ns[: view.rows : merged]
    x = clock.abscissae(time_ns, view.zone)
    domains = style.stacked([1.7, 1.0, 0.8], 0.1)
    v = {name: thin(values, merged) for name, values in device.lines.items()}
    traces = [
        _line(x, v["applied"], "applied", "MW", style.SAND, "y", width=3.5, opacity=0.6),
        _line(x, v["asked"], "asked", "MW", style.INK, "y", dash="5px,3px"),
        _line(x, v["delivered"], "delivered", "MW", style.STEEL, "y"),
        _line(x, v["vm_pu"], "voltage", "pu", style.STEEL, "y2", digits=4),
        _line(x, v["f_hz"], "frequency", "Hz", style.STEEL, "y3", digits=3),
    ]
    if device.source:
        traces += [
            _line(x, v["held_vm_pu"], "voltage of the source", "pu", style.SAND, "y2", dash="5px,3px", digits=4),
            _line(x, v["held_f_hz"], "frequency of the source", "Hz", style.SAND, "y3", dash="5px,3px", digits=3),
        ]
    size = f", in the network's size: {device.scale:g} × the device" if device.scale != 1.0 else ""
    grid = "held by the source (dashed)" if device.source else "of the twin: the device itself hangs on the mains"
    words = [
        style.heading(f"<b>Active power of {style_name(device.name)}</b>   injection positive{size}", domains[0][1]),
        style.heading(f"<b>Voltage</b>   {grid}", domains[1][1]),
        style.heading("<b>Frequency</b>", domains[2][1]),
    ]
    axes: dict[str, Any] = {
        "xaxis": {**time_axis(time_ns, view.zone), "anchor": "y3"},
        "yaxis": style.y_axis("MW", domains[0], zeroline=True, zerolinecolor=style.MUTED, zerolinewidth=0.8),
        "yaxis2": style.y_axis("pu", domains[1], tickformat=".3f"),
        "yaxis3": style.y_axis("Hz", domains[2], tickformat=".2f"),
    }
    legend = {"orientation": "h", "x": 1, "xanchor": "right", "y": 1.005, "yanchor": "bottom", "font": {"size": 10}}
    margin = {"l": 58, "r": 12, "t": 24, "b": 40}
    return go.Figure(traces, style.layout(**axes, annotations=words, margin=margin, legend=legend, showlegend=True))


def _line(
    x: list[str],
    values: FloatArray,
    name: str,
    unit: str,
    color: str,
    axis: str,
    *,
    digits: int = 4,
    opacity: float = 1.0,
    **line: Any,
) -> go.Scatter:
    y = [None if value != value else round(value, 7) for value in values.tolist()]
    return go.Scatter(
        x=x, y=y, name=name, mode="lines", yaxis=axis, opacity=opacity, showlegend=axis == "y",
        line={"color": color, "width": 1.5, "shape": "hv", **line}, hovertemplate=f"%{{y:.{digits}f}} {unit}",
    )  # fmt: skip
