"""The command line: ``vpp``. Commands live in their rooms and are loaded when they are named; errors end here."""

from __future__ import annotations

import importlib
import signal
import sys
from collections import UserDict
from collections.abc import Iterable, Sequence
from types import FrameType
from typing import Annotated, Any, Final, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command

from vpp import __version__
from vpp.kernel.errors import NetworkError, RunError, ScenarioError, VppError

__all__ = ["main"]

FAILED: Final = 1
UNUSABLE: Final = 2
BUG: Final = 70
INTERRUPTED: Final = 130

HELP: Final = """
A digital twin of a virtual power plant: a fleet, its grid and its controllers, simulated.

[bold]Engineers[/]    [cyan]vpp run mv-open-ring[/]                 a day, from scenario to summary
             [cyan]vpp check my.yaml[/]                    what is wrong, with file and line
[bold]Planners[/]     [cyan]vpp run … --set fleet.roof.scale=2[/]   what if? [cyan]vpp diff A B[/] shows it
[bold]Operators[/]    [cyan]vpp dash runs/…[/]                      a run in the browser, also live
[bold]HIL testers[/]  [cyan]vpp run … --wiring far[/]               the fleet in another process
             [cyan]vpp hil emulate hil-inverter[/]         devices on real protocols; [cyan]vpp hil run hil-mixed[/] talks to them
             [cyan]vpp hil bench --target model[/]         IEEE 1547.1, clause by clause
"""
EPILOG: Final = """
[bold]Exit codes[/]
[cyan]  0[/]  done; [dim]diff:[/] the runs are the same
[cyan]  1[/]  the run failed (no first power flow, disk full …); [dim]diff:[/] the runs differ
[cyan]  2[/]  command line, scenario, network or run directory cannot be used
[cyan]  3[/]  the run is complete, but steps of it have no power-flow solution
[cyan] 70[/]  a mistake of this program; [cyan]--debug[/] shows where
[cyan]130[/]  ended by Ctrl-C or SIGTERM; what was recorded can be read
"""

SIMULATE, LOOK, WRITE, NETWORKS, DEVICES = "Simulate", "Look at runs", "Write scenarios", "Networks", "Devices"
COMMANDS: Final = {  # name -> where it lives, and its panel in the help
    "run": ("scenarios.cli:run", SIMULATE),
    "check": ("scenarios.cli:check", SIMULATE),
    "list": ("scenarios.cli:list_", SIMULATE),
    "report": ("scenarios.cli:report", LOOK),
    "dash": ("dashboards.cli:dash", LOOK),
    "diff": ("vpp.historian.cli:diff", LOOK),
    "verify": ("vpp.historian.verify:verify", LOOK),
    "schema": ("scenarios.cli:schema", WRITE),
    "grid": ("scenarios.grid_cli:app", NETWORKS),
    "hil": ("scenarios.hil_cli:app", DEVICES),
}
EXTRAS: Final = {"dash": "dashboard", "fastapi": "dashboard", "uvicorn": "dashboard"}  # library -> who brings it


class _Commands(UserDict[str, Any]):
    """The commands by name, each made when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        place, panel = COMMANDS[name]
        module, _, function = place.partition(":")
        found = getattr(importlib.import_module(module), function)
        if isinstance(found, typer.Typer):  # a room with commands of its own
            group = typer.Typer(cls=TyperGroup, rich_markup_mode="rich", add_completion=False)
            group.add_typer(found, name=name, rich_help_panel=panel)
            made: Any = get_command(group)
            return made.commands[name]
        only = typer.Typer(rich_markup_mode="rich", add_completion=False)
        only.command(name, rich_help_panel=panel)(found)
        return get_command(only)


class _Rooms(TyperGroup):
    """The group of all commands."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands(dict.fromkeys(COMMANDS))


app = typer.Typer(cls=_Rooms, rich_markup_mode="rich", no_args_is_help=True, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vpp-core {__version__}")
        raise typer.Exit


@app.callback(help=HELP, epilog=EPILOG)
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Tell the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere.")] = False,
) -> None:
    """Take the options of all commands; ``main`` has already looked for ``--debug``."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and leave with its exit code; whatever goes wrong is told in a few clean lines."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        get_command(app)(words, prog_name="vpp")
    except Exception as error:
        if debug:
            raise
        sys.exit(_told(error, command=next((word for word in words if not word.startswith("-")), "")))
    sys.exit(0)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Treat SIGTERM as Ctrl-C, so that a run is closed and stays readable."""
    raise KeyboardInterrupt


def _told(error: Exception, command: str) -> int:
    """Print what went wrong and give the exit code."""
    if isinstance(error, ScenarioError):
        from scenarios.report.terminal import print_findings

        print_findings(error.findings)
        return UNUSABLE
    if isinstance(error, VppError):
        _print_error([str(error), *getattr(error, "__notes__", ())])
        # A run that cannot be read is what the user gave us; one that cannot be written has failed.
        unusable = isinstance(error, NetworkError) or (isinstance(error, RunError) and command != "run")
        return UNUSABLE if unusable else FAILED
    if isinstance(error, ModuleNotFoundError) and (extra := EXTRAS.get(str(error.name).partition(".")[0])):
        _print_error([f"vpp {command} needs the extra {extra!r}, which is not installed: pip install 'vpp-core[{extra}]'"])
        return FAILED
    reason = " ".join(str(error).split())
    _print_error([f"{type(error).__name__}: {reason}", "This is a mistake of vpp, not of yours; add --debug to see where it is."])
    return BUG


def _print_error(lines: Iterable[str]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    first, *rest = lines
    console.print(Text.assemble(("error ", "bold red"), first), soft_wrap=True)
    for line in rest:
        console.print(Text(f"      {line}"), soft_wrap=True)


if __name__ == "__main__":
    main()
