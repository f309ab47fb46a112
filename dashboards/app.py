"""The dashboard of one run: a header, a navigation, and the pages of the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from dash import Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component
from fastapi import FastAPI

from dashboards.pages import PAGES
from dashboards.view import RunView

PULSE_MS: Final = 1500


def create_app(run: Path, benches: Sequence[Path] = ()) -> FastAPI:
    """Make the web application for a run directory, and directories of the test bench; raises RunError when there is none."""
    view = RunView(run, benches)
    server = FastAPI(title="VPP Core", docs_url=None, redoc_url=None, openapi_url=None)
    backend: Any = server  # Dash's annotation does not know of its own FastAPI backend
    app = Dash(
        __package__,
        server=backend,
        use_pages=False,
        serve_locally=True,
        suppress_callback_exceptions=True,  # a page's parts are not there while another page is shown
        title=f"{view.manifest.get('name', run.name)} · VPP Core",
        update_title="",
    )
    app.layout = lambda: _frame(view)
    pages = {page.path: page for page in PAGES}

    @app.callback(Output("page", "children"), Output("navigation", "children"), Input("location", "pathname"))
    def route(path: str) -> tuple[Component, list[Component]]:
        shown = pages.get(path)
        links: list[Component] = [dcc.Link(p.title, href=p.path, className="here" if p is shown else "") for p in PAGES]
        return (shown.layout(view) if shown else html.Div(f"There is no page {path}.", className="page panel")), links

    @app.callback(
        Output("rows", "data"),
        Output("state", "children"),
        Output("pulse", "disabled"),
        Input("pulse", "n_intervals"),
        State("rows", "data"),
    )
    def pulse(_n: int, seen: int) -> tuple[Any, Any, Any]:
        view.refresh()
        return (view.rows if view.rows != seen else no_update), _state(view), not view.running

    for page in PAGES:
        page.connect(server, app, view)
    _prepare(app)
    return server


def _prepare(app: Any) -> None:
    """Collect styles and scripts now.

    Dash 4.4 on FastAPI does it at the first request for "/" or for a route of its own: who came to another page
    first got neither style nor scripts.
    """
    app._setup_server()


def _frame(view: RunView) -> Component:
    """What surrounds every page; made anew for every visitor."""
    view.refresh()
    return html.Div(
        [
            dcc.Location(id="location"),
            dcc.Store(id="rows", data=view.rows),
            dcc.Interval(id="pulse", interval=PULSE_MS, disabled=not view.running),
            html.Header(
                [
                    html.Div(
                        [
                            html.H1(str(view.manifest.get("name", view.path.name))),
                            html.Div(str(view.manifest.get("purpose", "")), className="purpose"),
                        ],
                        className="title",
                    ),
                    html.Nav(id="navigation"),
                    html.Div(_state(view), id="state", className="state"),
                ]
            ),
            html.Main(id="page"),
        ]
    )


def _state(view: RunView) -> list[Component]:
    """How the run stands: status, steps, damage, decision hash."""
    manifest = view.manifest
    status = str(manifest["status"])
    calm = status in ("complete", "running")
    hash_ = str(manifest.get("decision_hash") or "")
    parts: list[Component] = [
        html.Span(status, className="pill" if calm else "pill abnormal", title=str(manifest.get("reason", ""))),
        html.Span(f"{view.rows:,} of {int(manifest.get('steps_planned', view.rows)):,} steps"),
    ]
    if hash_:
        parts.append(html.Span(["decisions ", html.Code(hash_.removeprefix("sha256:")[:10])], title=hash_))
    if view.damage:
        parts.insert(1, html.Span("damaged", className="pill abnormal", title="\n".join(view.damage.values())))
    return parts
