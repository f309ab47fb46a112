"""The report as one HTML file: plotly.js, data and style are all inside, nothing is fetched from anywhere."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from scenarios.report.clock import axis
from scenarios.report.data import RunData
from scenarios.report.figures import Figure, figures
from scenarios.report.grid_figures import grid_figures
from scenarios.report.grid_page import grid_sections
from scenarios.report.grid_rows import Row
from scenarios.report.terminal import energy_rows, facts_of, local_time, network_rows
from vpp.kernel.errors import RunError
from vpp.kernel.time import NS_PER_S, seconds

EVENTS: Final = 500
# The browser itself holds that nothing comes from outside.
POLICY: Final = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


def write_page(data: RunData, target: Path) -> None:
    """Write the report; raises RunError where that is not possible."""
    spare = target.with_name(target.name + ".new")
    try:
        spare.write_text(page(data), encoding="utf-8")
        os.replace(spare, target)
    except OSError as error:
        raise RunError(str(target), f"the report cannot be written: {error.strerror or error}") from error


def page(data: RunData) -> str:
    """The whole HTML."""
    m, plots = data.manifest, list(figures(data)) if len(data.time_ns) else []
    topics = list(grid_figures(data.grid, m)) if len(data.time_ns) else []
    cards: dict[str, list[str]] = {}
    for number, (topic, figure) in enumerate(topics, len(plots)):
        cards.setdefault(topic, []).append(_card(number, figure))
    name, status = str(m.get("name", data.path.name)), str(m.get("status", "?"))
    body = [
        f'<header><h1>{escape(name)}</h1><span class="status {escape(status)}">{escape(status)}</span>',
        f'<span class="soft">{escape(_extent(data))}</span><p class="purpose">{escape(str(m.get("purpose", "")))}</p></header>',
        *(f'<p class="bad">{escape(text)}</p>' for text in _troubles(data)),
        f'<div class="tiles">{"".join(map(_tile, [*energy_rows(m), *network_rows(m)]))}</div>',
        f'<div class="plots">{"".join(_card(i, figure) for i, figure in enumerate(plots))}</div>',
        *grid_sections(m, cards),
        _facts(m),
        _events(data),
        f"<section class=card><details><summary>Manifest</summary><pre>{escape(_json(m, indent=2))}</pre></details></section>",
        f"<footer>{escape(_footer(data))}</footer>",
    ]
    scripts = [
        f'<script type="application/json" id="data">{_embedded(data, [*plots, *(figure for _, figure in topics)])}</script>',
        f"<script>{_resource('plotly', 'package_data', 'plotly.min.js')}</script>",
        f"<script>{_resource('scenarios.report', 'page.js')}</script>",
    ]
    head = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(name)}</title>
<style>{_resource("scenarios.report", "page.css")}</style></head><body><main>"""
    return "\n".join([head, *body, "</main>", *(scripts if plots or topics else ()), "</body></html>"])


def _resource(package: str, *path: str) -> str:
    return files(package).joinpath(*path).read_text(encoding="utf-8")


def _json(value: Any, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str, **options)


def _embedded(data: RunData, plots: Sequence[Figure]) -> str:
    """The plots as JSON that cannot end its script element."""
    x, xaxis = axis(data.time_ns, data.per * _step_ns(data), _zone(data)) if plots else ({}, {})
    drawn = [{"traces": figure.traces, "layout": figure.layout()} for figure in plots]
    return _json({"x": x, "xaxis": xaxis, "figures": drawn}).replace("</", "<\\/")


def _step_ns(data: RunData) -> int:
    return seconds(float(data.manifest.get("step_s", 0.0))) or NS_PER_S


def _zone(data: RunData) -> str:
    return str(data.manifest.get("zone", "UTC"))


def _local(data: RunData, ns: int) -> str:
    return local_time(ns, _zone(data))


def _extent(data: RunData) -> str:
    m = data.manifest
    steps = f"{m.get('steps_recorded', 0)} of {m.get('steps_planned', '?')} steps of {float(m.get('step_s', 0)):g} s"
    return f"{steps} from {_local(data, int(data.time_ns[0]))}, {_zone(data)}" if len(data.time_ns) else steps


def _troubles(data: RunData) -> Iterator[str]:
    """What must not be overlooked."""
    if reason := data.manifest.get("reason"):
        yield str(reason)
    if diverged := data.manifest.get("counts", {}).get("diverged_steps"):
        yield f"{diverged} steps have no power-flow solution: they are gaps in the plots and not counted in the sums."
    yield from (f"damaged: {what}" for what in data.damage)


def _tile(row: Row) -> str:
    name, value, bad = row
    return f'<div class="tile"><span>{escape(name)}</span><b{" class=bad" if bad else ""}>{escape(value)}</b></div>'


def _card(number: int, figure: Figure) -> str:
    title = f"<h2>{escape(figure.title)}<small>{escape(figure.note)}</small></h2>"
    return f'<div class="card">{title}<div class="plot" id="plot-{number}"></div></div>'


def _facts(manifest: Mapping[str, Any]) -> str:
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text.plain)}</td></tr>" for name, text in facts_of(manifest))
    return f'<section class="card"><h2>Run</h2><table>{rows}</table></section>' if rows else ""


def _events(data: RunData) -> str:
    if not data.events:
        return ""
    rows = "".join(
        f'<tr><td class="time">{_local(data, int(e["time_ns"])) if "time_ns" in e else ""}</td>'
        f'<td class="kind">{escape(str(e.get("kind", "")))}</td><td class="kind">{escape(str(e.get("source", "")))}</td>'
        f"<td>{escape(str(e.get('text', '')))}</td></tr>"
        for e in data.events[:EVENTS]
    )
    shown = f"the first {EVENTS} of {len(data.events)}" if len(data.events) > EVENTS else f"{len(data.events)}"
    head = "<tr><th>local time</th><th>kind</th><th>source</th><th>what</th></tr>"
    title = f"<h2>Events<small>{shown}</small></h2>"
    return f'<section class="card">{title}<div class="scroll"><table>{head}{rows}</table></div></section>'


def _footer(data: RunData) -> str:
    versions = data.manifest.get("versions", {})
    parts = [f"vpp-core {versions.get('vpp-core', '?')}", str(data.manifest.get("cpu", ""))]
    if data.per > 1:
        parts.append(f"a point stands for {data.per} steps (mean; lowest and highest in bands; highest loading)")
    if str(data.manifest.get("scenario", {}).get("network", "")).startswith("simbench:"):
        parts.append("network and profiles: SimBench, ODbL")
    return " · ".join(filter(None, parts))
