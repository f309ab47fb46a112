"""One bus over time: its voltage, and the power of what is connected to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboards.figures import clock, style
from dashboards.figures.diagram import Diagram
from dashboards.figures.traces import dots, guessed, style_name, trace
from dashboards.totals import MOST_POINTS, thin

MOST_RESOURCES = 5


def bus_chart(diagram: Diagram, bus: int, k: int) -> go.Figure:
    """Draw one bus over all steps, with a line at step ``k``."""
    view = diagram.view
    if not view.rows:
        return go.Figure(layout=style.nothing_yet())
    merged = max(1, -(-view.rows // MOST_POINTS))
    time_ns = view.time_ns[: view.rows : merged]
    x = clock.abscissae(time_ns, view.zone)
    domains = style.stacked([1, 1.25], 0.13)
    vm = view.columns("buses/vm_pu", np.array([bus]))[:, 0]
    traces = [trace(x, thin(vm, merged), "voltage", "pu", 4, style.STEEL, "y", "linear")]
    traces += _estimated(diagram, bus, x, merged, traces[0])
    shapes = [cursor(view.time_ns[k : k + 1], view.time_ns, view.zone)]
    limits = [limit for limit in (view.limit("vm_low_pu", 0.9), view.limit("vm_high_pu", 1.1)) if style.near(vm, limit)]
    shapes += [style.limit_line(limit, "y") for limit in limits]
    lines = _powers(diagram, bus)
    for i, (name, values) in enumerate(lines):
        color = style.SERIES[i % len(style.SERIES)]
        traces.append(trace(x, thin(values, merged), name, "MW", 4, color, "y2", "hv"))
    words = [
        style.heading(f"<b>Voltage</b>   {style_name(diagram.bus_names[bus])}", domains[0][1]),
        style.heading("<b>Power delivered here</b>   injection positive", domains[1][1]),
    ]
    if not lines:
        words.append(style.note("no resource at this bus", domains[1]))
    axes = {
        "xaxis": style.x_axis(**(clock.axis(time_ns, view.zone) | {"title": None, "nticks": 5}), anchor="y2"),
        "yaxis": style.y_axis("pu", domains[0], tickformat=".3f"),
        "yaxis2": style.y_axis("MW", domains[1], zeroline=True, zerolinecolor=style.MUTED, zerolinewidth=0.8),
    }
    shown = bool(lines) or diagram.estimates.present
    layout = style.layout(**axes, annotations=words, shapes=shapes, margin=style.BESIDE, legend=style.BELOW, showlegend=shown)
    return go.Figure(traces, layout)


def _estimated(diagram: Diagram, bus: int, x: Sequence[str], merged: int, true: go.Scatter) -> list[go.Scatter]:
    """The estimated voltage, and what a meter there shows."""
    estimates = diagram.estimates
    if not estimates.present:
        return []
    true.update(showlegend=True)
    found, sigma = (estimates.columns(f"buses/{name}", bus) for name in ("est_vm_pu", "est_sigma_pu"))
    traces = guessed(x, found, sigma, merged, "estimated voltage", "pu", 4, "y")
    here = np.flatnonzero((estimates.bus == bus) & (estimates.quantity == "vm_pu"))
    return traces + (dots(x, *estimates.at_source(int(here[0])), merged, "pu", 4, "y") if len(here) else [])


def cursor(now_ns: Any, time_ns: Any, zone: str) -> dict[str, Any]:
    """A line at one moment; ``time_ns`` are the times of the axis."""
    at = clock.abscissae(np.concatenate([time_ns[:1], now_ns]), zone)[-1]
    return {
        "type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1,
        "line": {"color": style.INK, "width": 1.2, "dash": "2px,2px"},
    }  # fmt: skip


def _powers(diagram: Diagram, bus: int) -> list[tuple[str, Any]]:
    """Delivered power of each resource, or of each kind where there are many."""
    view = diagram.view
    which = np.flatnonzero(diagram.at == bus)
    if not len(which):
        return []
    power = view.columns("resources/delivered_p_mw", which)
    ids = view.ids("resources")[which]
    if len(which) <= MOST_RESOURCES:
        return [(str(name), values) for name, values in zip(ids, power.T, strict=True)]
    kinds = view.coordinate("resources", "kind")
    kinds = np.full(len(which), "resources") if kinds is None else kinds[which]
    return [(f"{(kinds == kind).sum()} × {kind}", power[:, kinds == kind].sum(axis=1)) for kind in np.unique(kinds)]
