"""``vpp hil``: real and emulated devices on the bench."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hil.bench.results import ClauseVerdict, Verdict
    from hil.watchdog import Arming

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Real and emulated devices: test them.")

FAILED = 1
COLOURS = {"passed": "green", "failed": "bold red", "not run": "dim"}


@app.callback()
def _room() -> None:
    """Keep ``bench`` a command of its own, even while it is the only one."""


@app.command()
def bench(
    target: Annotated[
        str,
        typer.Option(
            help="model, emulator, sunspec://HOST:PORT/UNIT?grid=HOST:PORT&dc=…&meter=…&v_nom=V (SCPI instruments), "
            "or module:function that gives a laboratory."
        ),
    ] = "model",
    suite: Annotated[list[str] | None, typer.Option(help="A suite; may be given several times. Default: all.")] = None,
    out: Annotated[Path | None, typer.Option(help="Directory for report.html, junit.xml, raw.zarr and manifest.json.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    arm: Annotated[bool, typer.Option("--arm", help="A device that is not emulated may be written to, within limits.")] = False,
    max_kw: Annotated[float | None, typer.Option(help="With --arm: most power; its rated power is needed [kW].")] = None,
    max_kwh: Annotated[float | None, typer.Option(help="With --arm: most energy through the device [kWh].")] = None,
    for_min: Annotated[float | None, typer.Option(help="With --arm: how long the leave holds [min].")] = None,
) -> None:
    """Run the procedures of IEEE 1547.1 on a device and judge them clause by clause; its settings are restored.

    Exit code 1: a clause failed, or settings could not be restored.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from hil.bench.procedures import SUITES, procedures_for
    from hil.bench.record import write_record
    from hil.bench.results import Outcome, by_clause
    from hil.bench.session import Session, run_all
    from hil.bench.targets import open_target

    unknown = sorted(set(suite or ()) - set(SUITES))
    if unknown:
        raise typer.BadParameter(f"no suite {', '.join(unknown)}; there are {', '.join(SUITES)}", param_hint="--suite")
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=32), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    bar = Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)
    arming = _arming(arm, max_kw, max_kwh, for_min)
    with open_target(target, arming) as lab, Session(lab) as session, bar:
        task = bar.add_task(lab.name, total=None)

        def told(done: int, total: int, verdict: Verdict) -> None:
            bar.update(task, completed=done, total=total, description=verdict.suite)

        run_all(session, procedures_for(lab.eut, tuple(suite or ())), told)
    clauses = by_clause(session.verdicts)
    _table(clauses)
    for trouble in session.troubles:
        console.print(f"[bold red]not restored[/] {trouble}", soft_wrap=True)
    if out is not None:
        console.print(f"report: {write_record(session, out)}", soft_wrap=True)
    if session.troubles or any(c.outcome is Outcome.FAILED for c in clauses):
        raise typer.Exit(FAILED)


def _arming(arm: bool, max_kw: float | None, max_kwh: float | None, for_min: float | None) -> Arming | None:
    """The leave that somebody gives on the command line."""
    from hil.bench.guard import armed

    if not arm:
        if (max_kw, max_kwh, for_min) != (None, None, None):
            raise typer.BadParameter("the limits belong to --arm", param_hint="--max-kw, --max-kwh, --for-min")
        return None
    if max_kw is None or max_kwh is None or for_min is None or min(max_kw, max_kwh, for_min) <= 0:
        raise typer.BadParameter("needs --max-kw, --max-kwh and --for-min, each above 0", param_hint="--arm")
    return armed(max_kw, max_kwh, for_min)


@app.command()
def device(
    model: Annotated[str, typer.Option(help="module:function that gives a model.")] = "scenarios.bench:InverterModel",
    host: Annotated[str, typer.Option(help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Of the device, SunSpec over Modbus; 0: any free one.")] = 5020,
    control_port: Annotated[int, typer.Option(help="Of the laboratory around it, SCPI; 0: any free one.")] = 5025,
    lock_step: Annotated[bool, typer.Option("--lock-step", help="Time stands until the laboratory's clock is moved on.")] = False,
    attached: Annotated[bool, typer.Option("--attached", help="End with the standard input.")] = False,
) -> None:
    """Serve one emulated inverter and the laboratory around it (AC and DC source, meter, clock), until Ctrl-C.

    Prints the address that ``vpp hil bench --target`` takes.
    """
    import sys
    import time

    from hil.bench.device import DeviceServer, DeviceWorld, serving
    from hil.bench.targets import load

    made = DeviceServer(DeviceWorld(load(model, model)()), host, port, control_port, free_running=not lock_step)
    with serving(made) as served:
        print(served.address(), flush=True)  # noqa: T201  # for programs
        try:
            while sys.stdin.read(1) if attached else True:
                time.sleep(0.0 if attached else 1.0)
        except KeyboardInterrupt:
            return


def _table(clauses: list[ClauseVerdict]) -> None:
    """Print the clauses."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in ("clause", "verdict", "passed", "failed", "not run"):
        table.add_column(name, justify="left" if name in ("clause", "verdict") else "right")
    for c in clauses:
        verdict = Text(c.spoken, COLOURS[str(c.outcome)])
        table.add_row(c.clause, verdict, str(c.passed), str(c.failed), str(c.not_run))
    console = Console()
    console.print(table)
    for c in clauses:
        if c.reason:
            console.print(Text.assemble((f"{c.clause}: ", COLOURS[str(c.outcome)]), c.reason), soft_wrap=True)
