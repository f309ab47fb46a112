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
    if settings or found is not None:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        for heading in ("", f"A  {run_a}", f"B  {run_b}"):
            table.add_column(heading, overflow="fold")
        for path, in_a, in_b in settings:
            table.add_row(path, in_a, in_b)
        hashes = [str(m.get("decision_hash", "none"))[:16] for m in (a, b)]
        table.add_row("decision hash", *(Text(h, "yellow" if hashes[0] != hashes[1] else "") for h in hashes))
        console.print(table, "")
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
