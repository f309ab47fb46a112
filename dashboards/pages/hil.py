"""HIL: links, clock and latencies, devices outside, raw points, and results of the test bench."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import plotly.graph_objects as go
from dash import Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component
from fastapi import FastAPI, Response
from fastapi.responses import FileResponse

from dashboards import hil
from dashboards.figures import clock, style
from dashboards.figures.hil import device_chart, duration, histogram, state_chart
from dashboards.page import Page
from dashboards.view import RunView
from vpp.kernel.errors import RunError

MOST_ROWS: Final = 300
MOST_STATES: Final = 12
ALL: Final = "all points"
QUIET: Final[Any] = {"displayModeBar": False}
NOBODY: Final = "No device was outside in this run: vpp hil run SCENARIO makes one with devices at real or emulated addresses."
COLUMNS: Final = ("Point", "Address", "Type", "Raw", "Value", "Unit", "Quality", "Source time", "Received", "Last command")


def layout(view: RunView) -> Component:
    """Figures on top, links beside the clock, a device beside the bench, raw points beneath."""
    book = hil.Book(view.path).look()
    devices = [] if book is None else [str(name) for name in book.ids("outside")]
    owners = [] if book is None else hil.owners(book)
    k = max(hil.newest(book), 0)
    return html.Div(
        [
            html.Div(id="hil-figures", className="key-figures"),
            html.Div([_links_panel(), _clock_panel()], className="columns"),
            html.Div([_device_panel(devices), _bench_panel(view)], className="columns tall"),
            _points_panel(owners, k),
        ],
        className="page flow",
    )


def _links_panel() -> Component:
    states = dcc.Graph(id="hil-states", className="chart", config=QUIET, responsive=True)
    return html.Div([html.H2("Links"), html.Div(id="hil-links", className="scroll half"), states], className="panel wide padded")


def _clock_panel() -> Component:
    watch = dcc.Dropdown(id="hil-watch", options=list(hil.WATCHES), value=hil.WATCHES[0], clearable=False)
    return html.Div(
        [
            dcc.Graph(id="hil-jitter", className="chart", config=QUIET, responsive=True),
            html.Div([html.Span("Latency of"), watch], className="inline"),
            dcc.Graph(id="hil-latency", className="chart", config=QUIET, responsive=True),
        ],
        className="panel side",
    )


def _device_panel(devices: list[str]) -> Component:
    choice = dcc.Dropdown(id="hil-device", options=devices, value=devices[0] if devices else None, clearable=False)
    return html.Div(
        [
            html.Div([html.Span("Device outside"), choice, html.Span(id="hil-standing")], className="inline"),
            dcc.Graph(id="hil-chart", className="chart", config={"displaylogo": False}, responsive=True),
        ],
        className="panel wide padded",
    )


def _bench_panel(view: RunView) -> Component:
    found = hil.benches(view.path, view.benches)
    options = [{"label": path.name, "value": i} for i, path in enumerate(found)]
    choice = dcc.Dropdown(id="hil-bench", options=options, value=0 if found else None, clearable=False, disabled=not found)
    parts = [html.H2("Test bench"), choice, html.Div(id="hil-verdicts", className="scroll")]
    return html.Div(parts, className="panel side")


def _points_panel(owners: list[str], k: int) -> Component:
    choice = dcc.Dropdown(id="hil-owner", options=[ALL, *owners], value=owners[0] if owners else ALL, clearable=False)
    slider = dcc.Slider(id="hil-step", min=0, max=k, step=1, value=k, marks=None, updatemode="mouseup", allow_direct_input=False)
    head = html.Div(
        [html.Span("Raw points of"), choice, html.Div(slider, className="slider"), html.Span(id="hil-when")], className="inline"
    )
    return html.Div([head, html.Div(id="hil-points", className="scroll")], className="panel padded points")


def connect(server: FastAPI, app: Dash, view: RunView) -> None:
    """Redraw when the run has grown or something else is chosen."""
    record = hil.Book(view.path)

    @app.callback(
        Output("hil-figures", "children"), Output("hil-links", "children"), Output("hil-states", "figure"),
        Output("hil-jitter", "figure"), Output("hil-latency", "figure"), Input("rows", "data"), Input("hil-watch", "value"),
    )  # fmt: skip
    def overview(_rows: Any, watch: str) -> tuple[Any, Any, go.Figure, go.Figure, go.Figure]:
        book = record.look()
        k = hil.newest(book)
        if book is None or k < 0:
            nothing = go.Figure(layout=style.nothing_yet())
            return [], [html.Div(NOBODY if book is None else "No tick yet.", className="note")], nothing, nothing, nothing
        jitter = {"late": hil.jitter(book, "late", k), "took": hil.jitter(book, "took", k)}
        lines = hil.links(book, k)
        late = histogram(jitter, "<b>Clock</b>   ticks")
        delays = histogram({watch: hil.latency(book, watch, k)}, f"<b>{watch.capitalize()}</b>   {LATENCIES[watch]}")
        stood = state_chart(book, hil.states(book, MOST_STATES))
        return figures(book, lines, jitter, k), link_table(lines), stood, late, delays

    @app.callback(
        Output("hil-chart", "figure"), Output("hil-standing", "children"), Output("hil-standing", "className"),
        Input("rows", "data"), Input("hil-device", "value"),
    )  # fmt: skip
    def draw(_rows: Any, name: str | None) -> tuple[go.Figure, str, str]:
        book = record.look()
        names = [] if book is None else [str(one) for one in book.ids("outside")]
        if book is None or not names:
            return go.Figure(layout=style.nothing_yet()), "", ""
        device = hil.device(book, names.index(name) if name in names else 0)
        behind = f" by {device.source}" if device.source else ""
        return device_chart(book, device), f"{device.standing}{behind}", "pill"

    _connect_points(app, record)
    _connect_bench(server, app, view)


def _connect_points(app: Dash, record: hil.Book) -> None:
    @app.callback(
        Output("hil-step", "max"), Output("hil-step", "value"), Output("hil-device", "options"), Output("hil-owner", "options"),
        Input("rows", "data"), State("hil-step", "max"), State("hil-step", "value"), State("hil-device", "options"),
    )  # fmt: skip
    def grow(_rows: Any, most: int, k: int, known: list[Any]) -> tuple[Any, Any, Any, Any]:
        book = record.look()
        last = max(hil.newest(book), 0)
        devices: Any = no_update
        owners: Any = no_update
        if book is not None and not known:  # the page was opened before the devices were found
            devices, owners = [str(name) for name in book.ids("outside")], [ALL, *hil.owners(book)]
        if last == most:
            return no_update, no_update, devices, owners
        return last, last if k >= most else no_update, devices, owners

    @app.callback(
        Output("hil-points", "children"), Output("hil-when", "children"),
        Input("hil-step", "value"), Input("hil-owner", "value"), Input("rows", "data"),
    )  # fmt: skip
    def tell(k: int, owner: str, _rows: Any) -> tuple[list[Component], str]:
        book = record.look()
        if book is None or not book.rows:
            return [], ""
        at = max(0, min(k, book.rows - 1))
        return point_table(book, at, "" if owner == ALL else owner), clock.label(int(book.time_ns[at]), book.zone)


def _connect_bench(server: FastAPI, app: Dash, view: RunView) -> None:
    @server.get("/api/bench/{number}/report")
    def report(number: int) -> Response:
        found = hil.benches(view.path, view.benches)
        page = found[number] / "report.html" if 0 <= number < len(found) else Path()
        return FileResponse(page, media_type="text/html") if page.is_file() else Response(status_code=404)

    @app.callback(Output("hil-verdicts", "children"), Input("hil-bench", "value"))
    def judge(number: int | None) -> list[Component]:
        found = hil.benches(view.path, view.benches)
        if number is None or not 0 <= number < len(found):
            words = "None beside this run: vpp hil bench --out DIR makes one, vpp dash RUN --bench DIR shows it."
            return [html.Div(words, className="note")]
        return bench_table(found[number], number)


LATENCIES: Final = {
    "heartbeat": "a sign of life, there and back",
    "command": "from sending until the answer",
    "reading": "from asking until all values are there",
    "age": "of a link's newest sample when a tick takes it",
}


def figures(book: RunView, lines: list[hil.Link], jitter: dict[str, hil.Histogram], k: int) -> list[Component]:
    """The numbers at the head of the page."""
    told, up = hil.clock(book, k), sum(line.state == "up" for line in lines)
    good = [point.quality == "good" for point in hil.points(book, k) if point.quality != hil.UNREAD]
    lost = sum(line.count["refused"] + line.count["unanswered"] for line in lines)
    missed = int(told["missed"])
    beat = hil.latency(book, "heartbeat", k).quantile(0.99)
    taken = sum(line.count["accepted"] for line in lines)
    sent = sum(line.count["sent"] for line in lines)
    return [
        _tile("Links up", f"{up} of {len(lines)}", "", f"{sum(line.reconnects for line in lines)} reconnects", up < len(lines)),
        _tile("Ticks missed", f"{missed:,}", f"of {int(told['ticks']) + missed:,}", f"in {int(told['slips'])} slips", missed > 0),
        _tile("Begin of a tick", *_p99(jitter["late"]), f"p99 after its deadline, worst {duration(told['late_s'])}"),
        _tile("A tick takes", *_p99(jitter["took"]), f"p99, worst {duration(told['took_s'])}"),
        _tile("Round trip", duration(beat) if beat == beat else "–", "", "p99 of signs of life"),
        _tile("Values taken", f"{taken:,}", f"of {sent:,}", f"{lost} refused or unanswered", lost > 0),
        _tile("Points good", f"{sum(good)}", f"of {len(good)}", f"row {k + 1:,}", not all(good)),
    ]


def _p99(h: hil.Histogram) -> tuple[str, str]:
    found = h.quantile(0.99)
    return (duration(found) if found < float("inf") else "beyond 10 s") if found == found else "–", ""


def _tile(name: str, value: str, unit: str, note: str, abnormal: bool = False) -> Component:
    parts = [html.Span(value, className="value"), html.Span(unit, className="unit")]
    return html.Div(
        [html.Div(name, className="name"), html.Div(parts), html.Div(note, className="note", title=note)],
        className="tile abnormal" if abnormal else "tile",
    )


def link_table(lines: list[hil.Link]) -> list[Component]:
    """A row for each link: state, reconnects, completeness, what became of commands."""
    names = ("Link", "State", "Resources", "Reconnects", "Breaks", "Round trip", "Samples", "Complete", "Values taken", "Refused")
    head = html.Tr([html.Th(name) for name in (*names, "Unanswered", "Withheld", "Taken back", "Writes")])
    return [html.Table([html.Thead(head), html.Tbody([_link(line) for line in lines[:MOST_ROWS]])])]


def _link(line: hil.Link) -> Component:
    n, calm = line.count, line.state == "up"
    whole = "–" if line.completeness != line.completeness else f"{100 * line.completeness:.4g} %"
    leave = ("open" if line.open else "closed") + (", emulated" if line.emulated else "")
    rtt = duration(line.rtt_s) if line.rtt_s == line.rtt_s else "–"
    cells: list[Any] = [
        line.name, html.Span(line.state, className="pill" if calm else "pill abnormal"), line.resources,
        f"{line.reconnects:,}", f"{n['breaks']:,}", rtt, f"{n['samples']:,}", whole, f"{n['accepted']:,} of {n['sent']:,}",
        f"{n['refused']:,}", f"{n['unanswered']:,}", f"{n['withheld']:,}", f"{n['safe']:,}", leave,
    ]  # fmt: skip
    return html.Tr([html.Td(cell) for cell in cells], className="" if calm else "abnormal")


def point_table(book: RunView, k: int, owner: str) -> list[Component]:
    """Raw points at a row."""
    rows = hil.points(book, k, owner)
    body = []
    for p in rows[:MOST_ROWS]:
        name = p.name if owner else f"{p.resource} {p.name}"
        known = p.value == p.value
        cells = [name, p.address, p.wire, _plain(p.raw), _plain(p.value), p.unit if known else "", p.quality]
        cells += [_utc(p.source_s), _utc(p.received_s), p.command]
        calm = p.quality in ("good", hil.UNREAD)
        body.append(html.Tr([html.Td(cell) for cell in cells], className="" if calm else "abnormal"))
    rest = f"and {len(rows) - MOST_ROWS:,} more: choose a resource" if len(rows) > MOST_ROWS else ""
    head = html.Thead(html.Tr([html.Th(name) for name in COLUMNS]))
    return [html.Table([head, html.Tbody(body)]), html.Div(rest, className="note")]


def _plain(value: float) -> str:
    return f"{value:.9g}".replace("-", "−") if value == value else "–"


def _utc(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%H:%M:%S.%f}"[:-3] + " UTC" if seconds == seconds else "–"


def bench_table(path: Path, number: int) -> list[Component]:
    """The clauses of a session of the test bench, and the way to its report."""
    try:
        manifest = hil.bench(path)
    except RunError as error:
        return [html.Div(str(error), className="note")]
    counts = ", ".join(f"{n:,} {name}" for name, n in manifest.get("counts", {}).items() if n)
    equipment = ", ".join(str(value) for value in manifest.get("equipment", {}).values())
    rows = [
        html.Tr(
            [html.Td(str(c.get("suite", ""))), html.Td(str(c.get("clause", ""))), html.Td(str(c.get("verdict", "")))],
            className="abnormal" if c.get("failed") else "",
        )
        for c in manifest["clauses"]
    ]
    head = html.Thead(html.Tr([html.Th(name) for name in ("Suite", "Clause", "Verdict")]))
    troubles = [html.Div(f"not restored: {text}", className="unknown") for text in manifest.get("troubles", [])]
    link = html.A("the whole report", href=f"/api/bench/{number}/report", target="_blank")
    return [
        html.Div([html.B(str(manifest.get("target", path.name))), f" {equipment}"]),
        html.Div([counts, " · ", link], className="note"),
        *troubles,
        html.Table([head, html.Tbody(rows)]),
    ]


PAGE = Page("/hil", "HIL", layout, connect)
