"""The report of a session as one HTML file: plotly.js, data and style are inside, nothing is fetched from anywhere."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any, Final

from hil.bench.figures import Figure, figures
from hil.bench.results import ClauseVerdict, Outcome, Verdict

POLICY: Final = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


def page(manifest: Mapping[str, Any], clauses: Sequence[ClauseVerdict], verdicts: Sequence[Verdict]) -> str:
    """The whole HTML."""
    plots = list(figures(verdicts))
    drawn = json.dumps([{"traces": f.traces, "layout": f.layout} for f in plots]).replace("</", "<\\/")
    title = f"Test bench: {manifest['target']}"
    equipment = ", ".join(str(value) for value in manifest["equipment"].values())
    body = [
        f"<header><h1>{escape(title)}</h1>{_counts(manifest['counts'])}<p>{escape(equipment)}</p></header>",
        *(f'<p class="failed">{escape(text)}</p>' for text in manifest["troubles"]),
        _clauses(clauses),
        f'<div class="plots">{"".join(_card(i, figure) for i, figure in enumerate(plots))}</div>',
        _rows(verdicts),
        _settings(manifest["settings"]),
        f"<section><details><summary>Manifest</summary><pre>{escape(json.dumps(manifest, indent=1))}</pre></details></section>",
    ]
    scripts = [
        f'<script type="application/json" id="data">{drawn}</script>',
        f"<script>{files('plotly').joinpath('package_data', 'plotly.min.js').read_text('utf-8')}</script>",
        f"<script>{_own('page.js')}</script>",
    ]
    head = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>
<style>{_own("page.css")}</style></head><body><main>"""
    return "\n".join([head, *body, "</main>", *(scripts if plots else ()), "</body></html>"])


def _own(name: str) -> str:
    return files("hil.bench").joinpath(name).read_text("utf-8")


def _class(outcome: str) -> str:
    return outcome.replace(" ", "-")


def _counts(counts: Mapping[str, int]) -> str:
    return "".join(f'<span class="pill {_class(name)}">{count} {escape(name)}</span>' for name, count in counts.items() if count)


def _clauses(clauses: Sequence[ClauseVerdict]) -> str:
    rows = "".join(
        f'<tr><td>{escape(c.suite)}</td><td>{escape(c.clause)}</td><td class="{_class(c.outcome)}">{escape(c.spoken)}</td>'
        f"<td>{c.passed}</td><td>{c.failed}</td><td>{c.not_run}</td><td>{escape(c.reason)}</td></tr>"
        for c in clauses
    )
    names = ("suite", "clause", "verdict", "passed", "failed", "not run", "first reason")
    return f"<section><h2>Clauses</h2><table>{_head(*names)}{rows}</table></section>"


def _head(*names: str) -> str:
    return f"<tr>{''.join(f'<th>{name}</th>' for name in names)}</tr>"


def _card(number: int, figure: Figure) -> str:
    return f'<section><h2>{escape(figure.title)}</h2><div class="plot" id="plot-{number}"></div></section>'


def _rows(verdicts: Sequence[Verdict]) -> str:
    rows = "".join(
        f"<tr><td>{escape(v.suite)}</td><td>{escape(v.procedure)}</td><td>{escape(v.row)}</td>"
        f'<td class="{_class(v.outcome)}">{escape(v.spoken)}</td>'
        f"<td>{escape(v.reason if v.outcome is not Outcome.PASSED else '; '.join(map(str, v.finding.checks)))}</td></tr>"
        for v in verdicts
    )
    head = _head("suite", "procedure", "row", "verdict", "what was found")
    return f"<section><details><summary>All {len(verdicts)} rows</summary><table>{head}{rows}</table></details></section>"


def _settings(settings: Mapping[str, Mapping[str, float]]) -> str:
    before, after = settings["before"], settings["after"]
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td>{value:g}</td><td class="{"" if after.get(name) == value else "failed"}">'
        f"{after.get(name, float('nan')):g}</td></tr>"
        for name, value in before.items()
    )
    head = _head("setting", "before", "after")
    return f"<section><details><summary>Settings before and after</summary><table>{head}{rows}</table></details></section>"
