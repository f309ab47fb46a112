"""The network's sections of the report: estimate, limits and outages, each in numbers, plots and tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from html import escape
from typing import Any, Final

from scenarios.report.grid_rows import QUANTITIES, Row, case_words, estimate_rows, limit_rows, outage_rows, shown
from scenarios.report.terminal import local_time

Cell = str | tuple[str, bool]  # a text, and whether it is bad
UNITS: Final = {"loading": "1", "vm_low": "pu", "vm_high": "pu", "reverse": "MW"}


def grid_sections(manifest: Mapping[str, Any], cards: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Sections for which there is something to say.

    Args:
        manifest: the run's.
        cards: plots by topic ("estimate", "limits", "outages"), as HTML.
    """
    clock = partial(local_time, zone=str(manifest.get("zone", "UTC")))
    if told := manifest.get("estimate"):
        tables = [_suspects(told, clock), _doubted(told, clock), _wanted(told)]
        yield _section(
            "Estimate", "of the network's state, against the truth", estimate_rows(told), cards.get("estimate", ()), tables
        )
    if (told := manifest.get("limits")) and told["worst"]:
        yield _section("Limits", "of the whole run", limit_rows(told), cards.get("limits", ()), [_violations(told, clock)])
    if told := manifest.get("contingencies"):
        tables = [] if "trouble" in told else [_cases(told), _caused(told)]
        yield _section("Outages", "one at a time", outage_rows(told, clock), cards.get("outages", ()), tables)


def _section(title: str, note: str, rows: Iterable[Row], cards: Sequence[str], tables: Iterable[str]) -> str:
    numbers = "".join(f"<tr><th>{escape(n)}</th><td{' class=bad' if bad else ''}>{escape(v)}</td></tr>" for n, v, bad in rows)
    plots = f'<div class="plots">{"".join(cards)}</div>' if cards else ""
    head = f"<h2>{escape(title)}<small>{escape(note)}</small></h2><table>{numbers}</table>"
    return f'<section class="topic" id="{title.lower()}"><div class="card">{head}</div>{plots}{"".join(tables)}</section>'


def _table(title: str, note: str, head: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    lines = ["".join(_cell(cell) for cell in row) for row in rows]
    if not lines:
        return ""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    title = f"<h2>{escape(title)}<small>{escape(note)}</small></h2>"
    return f'<div class="card">{title}<div class="scroll"><table class="data"><tr>{top}</tr>{body}</table></div></div>'


def _cell(cell: Cell) -> str:
    text, bad = (cell, False) if isinstance(cell, str) else cell
    return f"<td{' class=bad' if bad else ''}>{escape(text)}</td>"


def _suspects(told: Mapping[str, Any], clock: Any) -> str:
    """Gross errors that there were, found or not, and what was taken for one besides."""
    rows: list[list[Cell]] = []
    for error in told["gross_errors"]:
        found = error["found_ns"]
        late = "" if found is None else f"after {(found - error['from_ns']) / 60e9:.4g} min"
        when = f"{clock(error['from_ns'])} to {clock(error['until_ns'])}"
        rows.append([error["point"], f"{error['value']:+.4g}", when, (late or "not found", not late)])
    there = {error["point"] for error in told["gross_errors"]}
    innocent = [suspect for suspect in told["suspects"] if suspect["point"] not in there]
    rows += [[suspect["point"], "none", _times(suspect, clock), ("suspected", True)] for suspect in innocent]
    return _table("Gross errors", "of meters, and what was taken for one", ("point", "error", "when", "found"), rows)


def _times(named: Mapping[str, Any], clock: Any) -> str:
    return f"{clock(named['first_ns'])} to {clock(named['last_ns'])}, {named['estimates']} estimates"


def _doubted(told: Mapping[str, Any], clock: Any) -> str:
    there = {branch["branch"] for branch in told.get("stale", ())}
    rows: list[list[Cell]] = [[d["branch"], _times(d, clock), "stale" if d["branch"] in there else ""] for d in told["doubted"]]
    missed = [b["branch"] for b in told.get("stale", ()) if b["found_ns"] is None]
    rows += [[name, "never", ("stale, not found", True)] for name in missed]
    return _table("Branches doubted", "the measurements speak against their believed state", ("branch", "when", "in truth"), rows)


def _wanted(told: Mapping[str, Any]) -> str:
    rows = [[w["text"], str(w["estimates"])] for w in told["wanted"]]
    return _table("Not observable", "which measurements were wanted", ("wanted", "estimates"), rows)


def _violations(told: Mapping[str, Any], clock: Any) -> str:
    rows = [
        [
            QUANTITIES[r["quantity"]], r["element"], (shown(r["value"], r["unit"]), True), shown(r["limit"], r["unit"]),
            shown(r["margin"], r["unit"]), clock(r["at_ns"]), f"{r['hours']:.4g} h", f"{r['longest_h']:.4g} h",
        ]
        for r in told["violations"]
    ]  # fmt: skip
    head = ("limit of", "at", "worst", "limit", "margin", "when", "broken for", "without a break")
    return _table("Violations", f"{_of(rows, told['violated'])}, the most severe first", head, rows)


def _cases(told: Mapping[str, Any]) -> str:
    rows = [
        [str(i), c["outage"], (c["state"], c["state"] == "no solution"), case_words(c)] for i, c in enumerate(told["cases"], 1)
    ]
    return _table(
        "Outages, ranked", f"{_of(rows, told['outages'])}, the worst first", ("", "outage", "state", "what it does"), rows
    )


def _caused(told: Mapping[str, Any]) -> str:
    rows = []
    for v in told["violations"]:
        unit = UNITS[v["quantity"]]
        before = "–" if v["before"] is None else shown(v["before"], unit)
        value = (shown(v["value"], unit), True)
        rows.append(
            [
                v["outage"],
                QUANTITIES[v["quantity"]],
                v["element"],
                before,
                value,
                shown(v["limit"], unit),
                shown(v["margin"], unit),
            ]
        )
    head = ("outage", "limit of", "at", "before", "after", "limit", "margin")
    return _table("Limits that outages break", _of(rows, told["caused"]), head, rows)


def _of(rows: Sequence[Any], count: int) -> str:
    return f"the first {len(rows)} of {count}" if count > len(rows) else f"{count}"
