"""The network: a single-line diagram at one step, a slider over all steps, and one bus over time."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import plotly.graph_objects as go
from dash import ClientsideFunction, Dash, Input, Output, Patch, State, ctx, dcc, html, no_update
from dash.development.base_component import Component
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from dashboards.figures import clock
from dashboards.figures.branch import branch_chart
from dashboards.figures.bus import bus_chart, cursor
from dashboards.figures.diagram import (
    LOADING_COLORS,
    LOADING_WIDTHS,
    OPEN_COLOR,
    UNKNOWN_COLOR,
    VOLTAGE_COLORS,
    Diagram,
)
from dashboards.known import known
from dashboards.page import Page
from dashboards.totals import highest
from dashboards.view import RunView

PLAY_MS: Final = 250
WORST: Final = 4


def layout(view: RunView) -> Component:
    """The diagram with its controls beneath, what is worth knowing beside it."""
    diagram = Diagram(view)
    k = first_step(view)
    return html.Div(
        [
            html.Div(
                [
                    html.Div(id="diagram", className="diagram"),
                    *([_layers()] if diagram.estimates.present else []),
                    _legend(diagram),
                    _controls(view, k),
                ],
                className="panel wide",
            ),
            html.Div(
                [
                    html.Div(id="moment", className="moment"),
                    html.Div(id="known", className="known"),
                    dcc.Graph(id="bus-chart", className="chart", config={"displayModeBar": False}, responsive=True),
                ],
                className="panel side",
            ),
            dcc.Store(id="bus", data=worst_bus(diagram, k)),
            dcc.Store(id="branch", data=-1),
            dcc.Store(id="drawn"),
            dcc.Store(id="coloured"),
            dcc.Interval(id="play", interval=PLAY_MS, disabled=True),
        ],
        className="page columns",
    )


def _controls(view: RunView, k: int) -> Component:
    buttons = [("first", "|◀", "first step"), ("back", "◀", "one step back"), ("toggle", "▶ Play", "play or pause")]
    buttons += [("forward", "▶", "one step on"), ("last", "▶|", "newest step; a running run is followed from there")]
    return html.Div(
        [
            html.Div(
                [html.Button(text, id=f"step-{name}", title=title, n_clicks=0) for name, text, title in buttons],
                className="buttons",
            ),
            dcc.Slider(
                id="step",
                min=0,
                max=max(view.rows - 1, 0),
                step=1,
                value=k,
                marks=marks(view),
                updatemode="drag",
                allow_direct_input=False,
                className="slider",
            ),
        ],
        className="controls",
    )


def _layers() -> Component:
    """What the colours of the diagram show, where more than the truth is known."""
    words = {"true": "true", "estimated": "estimated", "measured": "measured"}
    marks = [
        html.Span("▲", className="mark"), html.Span("a meter taken for wrong", className="bound"),
        html.Span("◆", className="mark"), html.Span("a branch whose state is doubted", className="bound"),
    ]  # fmt: skip
    choice = dcc.RadioItems(id="layer", options=words, value="true", inline=True, className="choice")
    return html.Div([html.Span("Colours show", className="name"), choice, *marks], className="legend layers")


def _legend(diagram: Diagram) -> Component:
    volts = [f"{v:.3f}".rstrip("0") for v in diagram.voltage_bounds]
    loads = [f"{100 * v:.0f}" for v in diagram.loading_bounds]
    return html.Div(
        [
            html.Span("Voltage [pu]", className="name"),
            *_swatches(list(VOLTAGE_COLORS), volts, [10.0] * len(VOLTAGE_COLORS)),
            html.Span("Loading [%]", className="name"),
            *_swatches(list(LOADING_COLORS), loads, list(LOADING_WIDTHS)),
            html.Span("┄┄", className="name", style={"color": OPEN_COLOR}),
            html.Span("open", className="bound"),
            html.Span("⊗ ╌╌", className="name", style={"color": UNKNOWN_COLOR}),
            html.Span("unknown", className="bound"),
        ],
        className="legend",
    )


def _swatches(colors: list[str], bounds: list[str], heights: list[float]) -> list[Component]:
    """Colours in a row, with the bound between each two."""
    parts: list[Component] = []
    for i, (color, height) in enumerate(zip(colors, heights, strict=True)):
        parts.append(html.Span(className="swatch", style={"background": color, "height": f"{height}px"}))
        if i < len(bounds):
            parts.append(html.Span(bounds[i], className="bound"))
    return parts


def first_step(view: RunView) -> int:
    """Where to begin: a running run at its newest step, any other where its network is loaded most."""
    if view.running or not view.rows:
        return max(view.rows - 1, 0)
    load = highest(view, "branches/loading")[:, 2]
    return int(np.nanargmax(load)) if np.isfinite(load).any() else view.rows - 1


def worst_bus(diagram: Diagram, k: int) -> int:
    """The bus whose voltage is furthest from 1 pu."""
    if not diagram.view.rows or not len(diagram.buses):
        return 0
    away = np.abs(diagram.voltages(k) - 1)
    return int(np.nanargmax(away)) if np.isfinite(away).any() else 0


def marks(view: RunView) -> dict[int, str]:
    """About seven local times beneath the slider."""
    if view.rows < 2:
        return {}
    steps = np.unique(np.linspace(0, view.rows - 1, 7).round().astype(int))
    texts = [clock.short(int(view.time_ns[k]), view.zone) for k in steps]
    one_day = view.time_ns[view.rows - 1] - view.time_ns[0] < 86_400 * 10**9
    return {int(k): text[7:] if one_day else text for k, text in zip(steps, texts, strict=True)}


def connect(server: FastAPI, app: Dash, view: RunView) -> None:
    """Routes for the canvas, callbacks for the rest. Drawing a step asks the server once, for 5 bytes an element."""
    diagram = Diagram(view)

    @server.get("/api/network")
    def geometry() -> JSONResponse:
        return JSONResponse(diagram.geometry())

    @server.get("/api/network/{k}")
    def step(k: int) -> Response:
        if not 0 <= k < view.rows:
            return Response(status_code=204)  # not recorded, or not yet
        return Response(diagram.step(k), media_type="application/octet-stream")

    _connect_browser(app)

    @app.callback(
        Output("step", "max"), Output("step", "marks"), Output("step", "value"),
        Input("rows", "data"), State("step", "max"), State("step", "value"),
    )  # fmt: skip
    def grow(_rows: Any, most: int, k: int) -> tuple[Any, Any, Any]:
        newest = max(view.rows - 1, 0)
        if newest == most:
            return no_update, no_update, no_update
        return newest, marks(view), newest if k >= most else no_update

    @app.callback(Output("moment", "children"), Input("step", "value"), Input("rows", "data"))
    def tell(k: int, _rows: Any) -> list[Component]:
        return moment(diagram, min(k, view.rows - 1)) if view.rows else []

    @app.callback(
        Output("known", "children"),
        *(Input("step", "value"), Input("bus", "data"), Input("branch", "data"), Input("rows", "data")),
    )
    def compare(k: int, bus: int, branch: int, _rows: Any) -> list[Component]:
        if not view.rows or not diagram.estimates.present:
            return []
        name = diagram.bus_names[bus] if branch < 0 else diagram.branch_names[branch]
        return known(diagram.estimates, name, bus, branch, min(k, view.rows - 1))

    @app.callback(
        Output("bus-chart", "figure"),
        *(Input("bus", "data"), Input("branch", "data"), Input("rows", "data"), Input("step", "value")),
    )
    def draw(bus: int, branch: int, _rows: Any, k: int) -> go.Figure | Patch:
        k = max(0, min(k, view.rows - 1))
        if ctx.triggered_id == "step":
            moved = Patch()
            moved["layout"]["shapes"][0] = cursor(view.time_ns[k : k + 1], view.time_ns, view.zone)
            return moved
        return bus_chart(diagram, bus, k) if branch < 0 else branch_chart(diagram, branch, k)


def _connect_browser(app: Any) -> None:
    """What happens in the browser alone (``assets/diagram.js``)."""
    app.clientside_callback(
        ClientsideFunction("vpp", "draw"),
        Output("drawn", "data"),
        Input("step", "value"),
        Input("bus", "data"),
        Input("branch", "data"),
    )
    app.clientside_callback(ClientsideFunction("vpp", "colour"), Output("coloured", "data"), Input("layer", "value"))
    app.clientside_callback(
        ClientsideFunction("vpp", "move"),
        Output("step", "value", allow_duplicate=True),
        *(Input(f"step-{name}", "n_clicks") for name in ("first", "back", "forward", "last")),
        Input("play", "n_intervals"),
        State("step", "value"),
        State("step", "max"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        ClientsideFunction("vpp", "toggle"),
        Output("play", "disabled"),
        Output("step-toggle", "children"),
        Input("step-toggle", "n_clicks"),
        Input("step", "value"),
        State("step", "max"),
        State("play", "disabled"),
        prevent_initial_call=True,
    )


def moment(diagram: Diagram, k: int) -> list[Component]:
    """One step in words: its time, the system, and where the network is worst off."""
    view = diagram.view
    vm, load = diagram.voltages(k), diagram.loadings(k)
    low, high = view.limit("vm_low_pu", 0.9), view.limit("vm_high_pu", 1.1)
    system = [
        ("P at PCC", "exchange_p_mw", "MW"), ("Q at PCC", "exchange_q_mvar", "Mvar"), ("Losses", "losses_mw", "MW"),
        ("Resources", "delivered_p_mw", "MW"),
    ]  # fmt: skip
    numbers = [(name, _number(view.line(f"system/{key}")[k]), unit) for name, key, unit in system]
    order = np.argsort(vm)[: np.isfinite(vm).sum()]
    loads = np.argsort(load)[: np.isfinite(load).sum()][::-1]
    dark = int((~np.isfinite(vm)).sum())
    ends = [*order[-1:-3:-1], *order[:2][::-1]] if len(order) > 3 else list(order[::-1])
    return [
        html.H2([clock.label(int(view.time_ns[k]), view.zone), html.Span(f"step {k + 1:,} of {view.rows:,}", className="note")]),
        html.Div([html.Div([html.Span(n), html.B(v), html.Span(u)]) for n, v, u in numbers], className="numbers"),
        *([html.Div(f"{dark:,} buses without a voltage", className="unknown")] if dark else []),
        html.Div(
            [
                _list("Highest and lowest voltage", diagram.bus_names, vm, ends, lambda v: (f"{v:.4f} pu", not low <= v <= high)),
                _list(
                    "Highest loading",
                    diagram.branch_names,
                    load,
                    list(loads[:WORST]),
                    lambda v: (f"{100 * v:.1f} %", v > view.limit("loading", 1.0)),
                ),
            ],
            className="lists",
        ),
    ]


def _list(title: str, names: list[str], values: Any, which: list[Any], tell: Any) -> Component:
    rows = []
    for i in which:
        text, abnormal = tell(float(values[i]))
        rows.append(html.Tr([html.Td(names[i], title=names[i]), html.Td(text)], className="abnormal" if abnormal else ""))
    return html.Div([html.H3(title), html.Table(html.Tbody(rows))])


def _number(value: float) -> str:
    return f"{value:,.3f}".replace("-", "−") if np.isfinite(value) else "–"


PAGE = Page("/network", "Network", layout, connect)
