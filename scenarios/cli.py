"""Commands about scenarios and what came of them: run, check, list, report, schema."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from scenarios.schema import Scenario

DIVERGED: Final = 3
UNUSABLE: Final = 2
INTERRUPTED: Final = 130
RUNS: Final = Path("runs")

ScenarioArgument = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="A YAML file, or the name of a shipped scenario.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=C", help="Change a value, e.g. time.days=7 or fleet.roof.scale=2; may be repeated."),
]


class Wiring(StrEnum):
    """How the parts of a run are put together. The decisions are the same in all three."""

    mosaik = "mosaik"
    direct = "direct"
    far = "far"


def run(
    scenario: ScenarioArgument,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where run directories go.", file_okay=False)] = RUNS,
    seed: Annotated[int | None, typer.Option(help="Another seed than the scenario's.", show_default=False)] = None,
    wiring: Annotated[
        Wiring, typer.Option(help="mosaik: co-simulation; direct: one loop; far: the fleet in another process.")
    ] = Wiring.mosaik,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the run directory.")] = False,
) -> None:
    """Run a scenario and tell how it went.

    The record goes to DIR/NAME-HASH; the same scenario with the same seed and --set takes the same place again.
    """
    from rich.console import Console
    from rich.text import Text

    from scenarios.load import load
    from scenarios.report.progress import Watch
    from scenarios.report.terminal import print_findings, summary
    from scenarios.site import site_of

    _hush()
    wanted = load(scenario, [*(overrides or ()), *([f"seed={seed}"] if seed is not None else [])])
    console = Console()
    try:
        with Watch(wanted.name, quiet=quiet) as watch:
            warnings = site_of(wanted).warnings
            if warnings and not quiet:
                print_findings(warnings)
            result = wanted.run(out=out, wiring=wiring.value, progress=watch)
    except KeyboardInterrupt:
        _say_interrupted(wanted, out)
        raise typer.Exit(INTERRUPTED) from None
    if quiet:
        typer.echo(result.path)
    else:
        console.print(summary(result.manifest), "")
        for words, command in (("look at it", "dash"), ("one HTML file", "report")):
            console.print(Text.assemble(f"{words:13}  ", (f"vpp {command} {result.path}", "cyan")), soft_wrap=True)
    if result.diverged_steps:
        text = f"{result.diverged_steps} steps have no power-flow solution: exit code {DIVERGED}"
        Console(stderr=True).print(Text(text, "red"), soft_wrap=True)
        raise typer.Exit(DIVERGED)


def _hush() -> None:
    """Keep what mosaik logs of its ordinary work off the terminal: the progress says it all."""
    import sys

    from loguru import logger

    logger.remove()
    logger.add(sys.stderr, level="WARNING")


def _say_interrupted(scenario: Scenario, out: Path) -> None:
    """Say what an interrupted run has left, and how to look at it."""
    import logging

    from rich.console import Console
    from rich.text import Text

    from vpp.historian.read import read_manifest
    from vpp.kernel.errors import RunError

    logging.getLogger("asyncio").disabled = True  # it would tell of each task that mosaik can no longer finish
    path = out / f"{scenario.name}-{scenario.hash[:10]}"
    try:
        manifest = read_manifest(path)
    except RunError:
        manifest = {}
    console = Console(stderr=True)
    if manifest.get("status") != "interrupted":
        console.print(Text("interrupted before the first step; nothing was recorded", "yellow"))
        return
    steps = f"{manifest['steps_recorded']} of {manifest['steps_planned']}"
    console.print(Text(f"interrupted; {steps} steps are kept in {path}", "yellow"), soft_wrap=True)
    console.print(Text.assemble("look at them with  ", (f"vpp report {path}", "cyan")), soft_wrap=True)


def check(scenario: ScenarioArgument, overrides: Overrides = None) -> None:
    """Say what is wrong with a scenario before it runs: words, units, signs, buses, profiles, limits."""
    from rich.console import Console
    from rich.text import Text

    from scenarios.load import load
    from scenarios.report.terminal import print_findings
    from scenarios.site import site_of

    wanted = load(scenario, overrides or ())
    warnings = site_of(wanted).warnings
    console = Console()
    console.print(Text(wanted.describe()), soft_wrap=True)
    if warnings:
        print_findings(warnings)
    console.print(Text("ok", "bold green"))


def list_(
    runs: Annotated[Path | None, typer.Option(metavar="DIR", help="Where run directories are; default: runs.")] = None,
) -> None:
    """List the shipped scenarios, and the runs."""
    from rich.console import Console
    from rich.text import Text

    from scenarios.library import list_scenarios
    from scenarios.report.terminal import run_table, scenario_table

    console = Console()
    console.print(scenario_table(list_scenarios()))
    if runs is None and not RUNS.is_dir():
        console.print(Text("\nno runs yet: vpp run SCENARIO makes one", "dim"))
        return
    from vpp.historian.read import list_runs

    found = list_runs(runs or RUNS)
    console.print("", run_table(found) if found else Text(f"no runs in {runs or RUNS}", "dim"))


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory, finished or not.", show_default=False)],
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Where the HTML goes; default: RUN/report.html.")] = None,
    no_html: Annotated[bool, typer.Option("--no-html", help="Tables on the terminal only.")] = False,
    outages: Annotated[
        bool, typer.Option("--outages", help="Solve every outage at the fullest step, whatever the scenario says.")
    ] = False,
    at: Annotated[
        str, typer.Option(metavar="WHEN", help="The same at a local time, e.g. 12:00 or 2016-06-21T12:00.", show_default=False)
    ] = "",
) -> None:
    """Show a run: tables here, plots in one HTML file that needs nothing from outside.

    Works for runs that go on, were interrupted or killed. What is damaged is left out and named; the exit code is then 2.
    """
    from rich.console import Console
    from rich.text import Text

    from scenarios.report.data import read_run
    from scenarios.report.terminal import summary

    console = Console()
    data = read_run(run)
    if outages or at:
        data.manifest["contingencies"] = _outages(run, at or "worst")
    console.print(summary(data.manifest))
    if not no_html:
        from scenarios.report.page import write_page

        target = html or run / "report.html"
        write_page(data, target)
        console.print(Text.assemble("\nplots  ", (str(target), "cyan")), soft_wrap=True)
    if data.damage:
        _say_damaged(Console(stderr=True), data.damage)
        raise typer.Exit(UNUSABLE)


def _outages(run: Path, at: str) -> dict[str, Any]:
    """What outages would do at a moment of a run."""
    from pydantic import ValidationError

    from scenarios.outages import outages_of_run
    from scenarios.schema.plant import Contingencies
    from vpp.historian.read import read_manifest

    stated = read_manifest(run).get("scenario", {}).get("contingencies") or {}
    try:
        wanted = Contingencies.model_validate({**stated, "at": at})
    except ValidationError as error:
        raise typer.BadParameter(f"{at!r} is no time: write 12:00 or 2016-06-21T12:00", param_hint="--at") from error
    return outages_of_run(run, wanted)


def _say_damaged(console: Console, damage: list[str]) -> None:
    from rich.text import Text

    for what in damage:
        console.print(Text.assemble(("damaged ", "bold red"), what), soft_wrap=True)


def schema(
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write to a file instead of the terminal.")] = None,
) -> None:
    """Give the JSON Schema of scenario files, for editors.

    In VS Code: "yaml.schemas": {"scenario.schema.json": "*.yaml"}.
    """
    import json

    from scenarios.load import json_schema, write_schema
    from vpp.kernel.errors import RunError

    if out is None:
        typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
        return
    try:
        write_schema(out)
    except OSError as error:
        raise RunError(str(out), f"cannot be written: {error.strerror}") from error
    typer.echo(out)
