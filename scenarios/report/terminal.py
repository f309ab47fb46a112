"""What the terminal shows: findings, lists and the summary of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from scenarios.report.grid_rows import Row, estimate_rows, limit_rows, outage_rows
from vpp.kernel.time import to_datetime

if TYPE_CHECKING:
    from vpp.historian.read import RunInfo
    from vpp.kernel.errors import Finding

STATUS_STYLE = {"complete": "green", "running": "cyan", "interrupted": "yellow", "killed": "yellow"}  # others: red


def print_findings(findings: Sequence[Finding]) -> None:
    """Print findings to stderr, one a line, and how many there are."""
    console = Console(stderr=True)
    for finding in findings:
        console.print(_finding(finding), soft_wrap=True)
    errors = sum(f.severity == "error" for f in findings)
    counts = [f"{n} {word}{'s' * (n != 1)}" for n, word in ((errors, "error"), (len(findings) - errors, "warning")) if n]
    console.print(Text(", ".join(counts), "bold red" if errors else "bold yellow"))


def _finding(finding: Finding) -> Text:
    """Render as ``Finding.__str__`` does, in colour, with the file as seen from here."""
    file = finding.file
    if file and Path(file).is_absolute() and Path(file).is_relative_to(Path.cwd()):
        file = str(Path(file).relative_to(Path.cwd()))
    text = Text()
    if file:
        text.append(f"{file}:{finding.line}: " if finding.line else f"{file}: ", "bold")
    text.append(f"{finding.severity}: ", "red" if finding.severity == "error" else "yellow")
    if finding.path:
        text.append(f"{finding.path}: ", "cyan")
    text.append(finding.message)
    if finding.value:
        text.append(f" (got {finding.value})", "dim")
    return text


def scenario_table(scenarios: Iterable[tuple[str, str]]) -> Table:
    """Names and purposes of scenarios."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("scenario", style="cyan", no_wrap=True)
    table.add_column("purpose")
    for name, purpose in scenarios:
        table.add_row(name, Text(purpose))
    return table


def run_table(runs: Sequence[RunInfo]) -> Table:
    """Runs with how they ended."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("run", style="cyan", overflow="fold")
    table.add_column("status")
    table.add_column("steps", justify="right")
    table.add_column("decisions")
    table.add_column("")
    for run in runs:
        diverged = run.manifest.get("counts", {}).get("diverged_steps", 0)
        remark = run.reason or (f"{diverged} steps diverged" if diverged else "")
        steps = f"{run.steps_recorded}/{run.steps_planned}" if run.steps_planned else ""
        decisions = str(run.manifest.get("decision_hash", ""))[:10]
        status = Text(run.status, STATUS_STYLE.get(run.status, "red"))
        table.add_row(str(run.path), status, steps, decisions, Text(remark, "yellow"))
    return table


def summary(manifest: Mapping[str, Any]) -> RenderableType:
    """Everything that the end of a run has to say."""
    columns = Table.grid(padding=(0, 6, 0, 0))
    columns.add_row(_rows("Energy", energy_rows(manifest)), _rows("Network", network_rows(manifest)))
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    for name, text in facts_of(manifest):
        facts.add_row(name, text)
    network = [part for table in grid_tables(manifest) for part in (table, "")]
    return Group(_headline(manifest), "", columns, "", *network, facts)


def grid_tables(manifest: Mapping[str, Any]) -> Iterator[Table]:
    """What there is to say of the network: its estimate, its limits where one broke, its outages."""
    if told := manifest.get("estimate"):
        yield _rows("Estimate", estimate_rows(told))
    if (told := manifest.get("limits")) and told["violated"]:
        yield _rows("Limits", limit_rows(told))
    if told := manifest.get("contingencies"):
        yield _rows("Outages", outage_rows(told, partial(local_time, zone=str(manifest.get("zone", "UTC")))))


def local_time(ns: int, zone: str) -> str:
    """A moment as the clocks there show it."""
    return f"{to_datetime(ns).astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M:%S}".removesuffix(":00")


def _headline(manifest: Mapping[str, Any]) -> Text:
    status = str(manifest.get("status", "?"))
    total_s = manifest.get("shares", {}).get("total_s")
    speed = f" in {total_s:.3g} s" if total_s else ""
    steps = f"{manifest.get('steps_recorded', 0)} of {manifest.get('steps_planned', '?')} steps{speed}"
    text = Text.assemble((str(manifest.get("name", "run")), "bold"), "  ", (status, f"bold {STATUS_STYLE.get(status, 'red')}"))
    text.append(f"  {steps}\n")
    text.append(str(manifest.get("purpose", "")), "dim")
    if reason := manifest.get("reason"):
        text.append(f"\n{reason}", "red")
    return text


def _rows(title: str, rows: Iterable[Row]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right" if title in ("Energy", "Network") else "left", overflow="fold")
    table.add_row(Text(title, "bold"), "")
    for name, value, bad in rows:
        table.add_row(name, Text(value, "bold red" if bad else ""))
    return table


def energy_rows(manifest: Mapping[str, Any]) -> Iterator[Row]:
    """Energy and what it cost."""
    s = manifest.get("summary", {})
    for name in ("import", "export", "generated", "consumed"):
        yield _energy_name(name), _energy(s.get(f"energy_{name}_mwh")), False
    yield "losses", _energy(s.get("losses_mwh")), False
    yield "curtailed", _energy(s.get("curtailed_mwh")), False
    if (s.get("unserved_mwh") or 0.0) > 1e-6:
        yield "missed by a departure", _energy(s.get("unserved_mwh")), True
    if s.get("cost_eur") is not None:
        word = "cost" if s["cost_eur"] >= 0 else "earned"
        yield f"{word} at the market", _number(abs(s["cost_eur"]), ",.2f", "EUR"), False


def _energy_name(name: str) -> str:
    return {"import": "imported", "export": "exported"}.get(name, name)


def network_rows(manifest: Mapping[str, Any]) -> Iterator[Row]:
    """Voltages, loading and convergence."""
    s, counts = manifest.get("summary", {}), manifest.get("counts", {})
    yield "lowest voltage", _number(s.get("vm_min_pu"), ".4f", "pu"), False
    yield "highest voltage", _number(s.get("vm_max_pu"), ".4f", "pu"), False
    hours = s.get("voltage_violation_bus_hours")
    yield "voltage out of limits", _number(hours, ",.4g", "bus-hours"), bool(hours)
    peak = s.get("loading_max")
    yield "highest loading", _number(None if peak is None else 100 * peak, ".1f", "%"), False
    hours = s.get("loading_violation_branch_hours")
    yield "loading above limit", _number(hours, ",.4g", "branch-hours"), bool(hours)
    diverged = counts.get("diverged_steps")
    yield "steps without solution", _number(diverged, ",d", ""), bool(diverged)


def facts_of(manifest: Mapping[str, Any]) -> Iterator[tuple[str, Text]]:
    """The rest of a summary: name and text."""
    counts = manifest.get("counts", {})
    if counts.get("diverged_steps"):
        first = ", ".join(map(str, counts.get("first_diverged", ())))
        more = " …" if counts["diverged_steps"] > len(counts.get("first_diverged", ())) else ""
        yield "diverged", Text(f"in steps {first}{more}: recorded as unknown, not counted in the sums", "red")
    if events := manifest.get("events_by_kind"):
        yield "events", Text(" · ".join(f"{n} {kind}" for kind, n in events.items()))
    shares = {k: v for k, v in manifest.get("shares", {}).items() if k != "total_s"}
    if any(share for name, share in shares.items() if name != "mosaik"):  # on the wall clock nobody is measured
        yield "time", Text(" · ".join(f"{name} {share:.0%}" for name, share in shares.items()))
    if engine := manifest.get("engine"):
        yield "power flow", Text(f"{engine.get('name')}: {engine.get('reason')}")
    if "seed" in manifest:
        yield "scenario", Text(f"{str(manifest.get('scenario_hash'))[:10]}, seed {manifest['seed']}")
    if decided := manifest.get("decision_hash"):
        yield "decisions", Text(str(decided))


def _energy(mwh: float | None) -> str:
    return _number(mwh, ",.3f" if mwh is None or abs(mwh) < 1000 else ",.1f", "MWh")


def _number(value: float | None, form: str, unit: str) -> str:
    return "–" if value is None else f"{value:{form}} {unit}".rstrip()
