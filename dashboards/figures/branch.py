"""One branch over time: its loading, and the power that flows into it where that is metered."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from dashboards.figures import clock, style
from dashboards.figures.bus import cursor
from dashboards.figures.diagram import Diagram
from dashboards.figures.traces import dots, guessed, style_name, trace
from dashboards.totals import MOST_POINTS, thin


def branch_chart(diagram: Diagram, branch: int, k: int) -> go.Figure:
    """Draw one branch over all steps, with a line at step ``k``."""
    view, estimates = diagram.view, diagram.estimates
    if not view.rows:
        return go.Figure(layout=style.nothing_yet())
    merged = max(1, -(-view.rows // MOST_POINTS))
    time_ns = view.time_ns[: view.rows : merged]
    x = clock.abscissae(time_ns, view.zone)
    domains = style.stacked([1, 1.25], 0.13)
    loading = 100 * view.columns("branches/loading", np.array([branch]))[:, 0]
    traces = [trace(x, thin(loading, merged), "loading", "%", 1, style.STEEL, "y", "linear")]
    if estimates.present:
        traces[0].update(showlegend=True)
        found, sigma = (100 * estimates.columns(f"branches/{name}", branch) for name in ("est_loading", "est_loading_sigma"))
        traces += guessed(x, found, sigma, merged, "estimated loading", "%", 1, "y")
    limit = 100 * view.limit("loading", 1.0)
    shapes = [cursor(view.time_ns[k : k + 1], view.time_ns, view.zone)]
    known = loading[np.isfinite(loading)]
    if len(known) and known.max() > 0.6 * limit:
        shapes.append(style.limit_line(limit, "y"))
    words = [style.heading(f"<b>Loading</b>   {style_name(diagram.branch_names[branch])}", domains[0][1])]
    flows = [i for i in np.flatnonzero(estimates.branch == branch).tolist() if estimates.quantity[i] == "p_mw"]
    if flows:
        traces += _flow(diagram, flows[0], x, merged)
        words.append(style.heading(f"<b>Power flowing in</b>   at its {estimates.side[flows[0]]} end", domains[1][1]))
    else:
        words += [style.heading("<b>Power flowing in</b>", domains[1][1]), style.note("no meter at this branch", domains[1])]
    axes = {
        "xaxis": style.x_axis(**(clock.axis(time_ns, view.zone) | {"title": None, "nticks": 5}), anchor="y2"),
        "yaxis": style.y_axis("% of rated", domains[0]),
        "yaxis2": style.y_axis("MW", domains[1], zeroline=True, zerolinecolor=style.MUTED, zerolinewidth=0.8),
    }
    layout = style.layout(**axes, annotations=words, shapes=shapes, margin=style.BESIDE, legend=style.BELOW, showlegend=True)
    return go.Figure(traces, layout)


def _flow(diagram: Diagram, point: int, x: Any, merged: int) -> list[go.Scatter]:
    """What the meter of one end shows, what it should have shown, and what is true."""
    view, estimates = diagram.view, diagram.estimates
    true = view.columns("meters/true_value", np.array([point]))[:, 0]
    found, sigma = (estimates.columns(f"meters/{name}", point) for name in ("est_value", "est_sigma"))
    return [
        trace(x, thin(true, merged), "true flow", "MW", 3, style.STEEL, "y2", "linear"),
        *guessed(x, found, sigma, merged, "estimated flow", "MW", 3, "y2"),
        *dots(x, *estimates.at_source(point), merged, "MW", 3, "y2"),
    ]
