"""The chosen bus or branch at one step: measured, estimated and true, side by side."""

from __future__ import annotations

from dash import html
from dash.development.base_component import Component

from dashboards.estimate import Compared, Estimates

DIGITS = {"pu": 4, "%": 1}


def known(estimates: Estimates, title: str, bus: int, branch: int, k: int) -> list[Component]:
    """A table of everything that is known there; ``branch`` -1: of the bus."""
    rows = estimates.at_bus(bus, k) if branch < 0 else estimates.at_branch(branch, k)
    note: Component | str = ""
    if branch >= 0 and estimates.doubted(branch, k):
        note = html.Span("its state is doubted", className="note abnormal")
    elif (behind_s := estimates.behind_s(k)) > 0:
        note = html.Span(f"the newest estimate is {behind_s / 60:.4g} min older", className="note")
    head = html.Tr([html.Th(word) for word in ("", "measured", "estimated", "true")])
    return [
        html.H3([title, " ", note], title=title),
        html.Table([html.Thead(head), html.Tbody([_row(row) for row in rows])]),
    ]


def _row(row: Compared) -> Component:
    digits = DIGITS.get(row.unit, 3)
    measured: list[Component | str] = [number(row.measured, digits)]
    if row.suspect:
        measured.append(html.Span(" ▲", title="taken for a gross error"))
    if row.late_s > 0 and row.measured == row.measured:
        measured.append(html.Span(f" {row.late_s / 60:.4g} min old", className="note"))
    sigma = html.Span(f" ± {number(row.sigma, digits)}", className="note") if row.sigma == row.sigma else ""
    return html.Tr(
        [
            html.Td(f"{row.name} [{row.unit}]"), html.Td(measured, className="suspect" if row.suspect else ""),
            html.Td([number(row.estimated, digits), sigma]), html.Td(number(row.true, digits)),
        ]
    )  # fmt: skip


def number(value: float, digits: int) -> str:
    """A number, or a dash where it is not known."""
    return "–" if value != value else f"{value:,.{digits}f}".replace("-", "−")
