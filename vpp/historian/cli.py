"""``vpp diff``: where two runs part."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

RunPath = Annotated[Path, typer.Argument(help="Run directory.", show_default=False)]


def diff(run_a: RunPath, run_b: RunPath) -> None:
    """Find the first tick and signal in which two runs differ.

    Ends with 0 when they are the same in everything recorded, with 1 when they differ, with 2 when one cannot be read.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from vpp.historian.diff import diff_runs
    from vpp.historian.read import read_manifest

    a, b = read_manifest(run_a), read_manifest(run_b)
    console = Console()
    found = diff_runs(run_a, run_b)
    settings = list(_unequal(a.get("scenario"), b.get("scenario")))
    for letter, path, manifest in (("A", run_a, a), ("B", run_b, b)):
        decisions = str(manifest.get("decision_hash", "none yet"))[:16]
        console.print(Text.assemble((letter, "bold"), f"  {path}  ", (f"decisions {decisions}", "dim")), soft_wrap=True)
    if settings:
        table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
        table.add_column("\nchanged", no_wrap=True, style="cyan")
        table.add_column("\nA", overflow="fold")
        table.add_column("\nB", overflow="fold")
        for setting in settings:
            table.add_row(*map(Text, setting))
        console.print(table)
    console.print()
    if found is None:
        console.print(Text(f"same: every recorded value of {a.get('steps_recorded')} steps is equal", "green"), soft_wrap=True)
        return
    first, *rest = str(found).splitlines()
    console.print(Text(first, "bold yellow"), soft_wrap=True)
    for line in rest:
        console.print(Text(line), soft_wrap=True)
    raise typer.Exit(1)


def _unequal(a: Any, b: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Where two scenarios differ: path, and both values as text."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys((*a, *b)):
            yield from _unequal(a.get(key), b.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (one, other) in enumerate(zip(a, b)):
            yield from _unequal(one, other, f"{path}.{i}")
    elif a != b:
        yield path, str(a), str(b)
