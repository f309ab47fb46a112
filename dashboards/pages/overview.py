"""The overview: the numbers of the run, its curves over time, its events."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np
import plotly.graph_objects as go
from dash import Dash, Input, Output, dcc, html
from dash.development.base_component import Component
from fastapi import FastAPI

from dashboards.figures import clock
from dashboards.figures.overview import overview
from dashboards.page import Page
from dashboards.totals import KeyFigure, curves, key_figures, storage
from dashboards.view import RunView

MOST_EVENTS: Final = 200
MOST_SINGLES: Final = 5
MOST_OPTIONS: Final = 50
ABNORMAL: Final = frozenset({"alarm", "shortfall", "diverged", "overrun", "late", "violation"})


def layout(view: RunView) -> Component:
    """Key figures on top, the chart beside the events."""
    return html.Div(
        [
            html.Div(id="key-figures", className="key-figures"),
            html.Div(
                [
                    dcc.Graph(id="overview", className="panel chart", config={"displaylogo": False}, responsive=True),
                    html.Div([_picker(view), html.Div(id="events", className="events")], className="panel side"),
                ],
                className="columns",
            ),
        ],
        className="page",
    )


def _picker(view: RunView) -> Component:
    return html.Div(
        [
            html.H2("Single state of charge"),
            dcc.Dropdown(
                id="singles",
                multi=True,
                options=options(view, "", []),
                placeholder=f"up to {MOST_SINGLES} resources",
                disabled=not len(storage(view)),
            ),
        ],
        className="picker",
    )


def options(view: RunView, search: str, chosen: list[str]) -> list[str]:
    """Resources with a state of charge whose id contains the text; what is chosen stays."""
    ids = view.ids("resources")[storage(view)]
    found = [str(name) for name in ids if search.lower() in name.lower()]
    return list(dict.fromkeys([*chosen, *found[:MOST_OPTIONS]]))


def connect(_server: FastAPI, app: Dash, view: RunView) -> None:
    """Redraw when the run has grown or other resources are chosen."""

    @app.callback(Output("overview", "figure"), Input("rows", "data"), Input("singles", "value"))
    def draw(_rows: Any, singles: list[str] | None) -> go.Figure:
        limits = view.limit("vm_low_pu", 0.9), view.limit("vm_high_pu", 1.1)
        return overview(curves(view, (singles or [])[:MOST_SINGLES]), view.zone, limits)

    @app.callback(Output("key-figures", "children"), Output("events", "children"), Input("rows", "data"))
    def tell(_rows: Any) -> tuple[list[Component], list[Component]]:
        return [_tile(figure) for figure in key_figures(view)], events(view)

    @app.callback(Output("singles", "options"), Input("singles", "search_value"), Input("singles", "value"))
    def find(search: str | None, chosen: list[str] | None) -> list[str]:
        return options(view, search or "", chosen or [])


def _tile(figure: KeyFigure) -> Component:
    return html.Div(
        [
            html.Div(figure.name, className="name"),
            html.Div([html.Span(figure.value, className="value"), html.Span(figure.unit, className="unit")]),
            html.Div(figure.note, className="note"),
        ],
        className="tile abnormal" if figure.abnormal else "tile",
    )


def events(view: RunView) -> list[Component]:
    """The events, newest first, under a count of their kinds."""
    rows = view.events()
    kinds = Counter(_text(row.get("kind")) for row in rows)
    counts = ", ".join(f"{count:,} {kind or 'other'}" for kind, count in kinds.most_common(4))
    heading = html.H2(["Events", html.Span(counts or "none", className="note")])
    if not rows:
        return [heading]
    head = html.Thead(html.Tr([html.Th(name) for name in ("Time", "Source", "Event")]))
    body = html.Tbody([_event(row, view.zone) for row in rows[:MOST_EVENTS]])
    rest = f"and {len(rows) - MOST_EVENTS:,} earlier ones" if len(rows) > MOST_EVENTS else ""
    return [heading, html.Div([html.Table([head, body]), html.Div(rest, className="note")], className="scroll")]


def _event(row: dict[str, Any], zone: str) -> Component:
    kind, subject, text = (_text(row.get(name)) for name in ("kind", "subject", "text"))
    when = row.get("time_ns")
    return html.Tr(
        [
            html.Td(clock.short(int(when), zone) if when is not None and when == when else "", className="time"),
            html.Td(_text(row.get("source"))),
            html.Td([html.B(kind), " ", f"{subject}: " if subject and subject not in text else "", text]),
        ],
        className="abnormal" if kind in ABNORMAL else "",
    )


def _text(value: Any) -> str:
    """A cell as text; a missing one is empty."""
    return "" if value is None or (isinstance(value, float) and np.isnan(value)) else str(value)


PAGE = Page("/", "Overview", layout, connect)
