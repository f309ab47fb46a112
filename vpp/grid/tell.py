"""What the commands of ``vpp grid`` share: bands and lists in their options, rows as records, CSV or a table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from vpp.kernel.errors import NetworkError


def with_scheme(spec: str) -> str:
    """A specification as it stands, a bare path as ``file:<path>``."""
    return spec if ":" in spec else f"file:{spec}"


def is_threephase(spec: str) -> bool:
    """Whether a specification is of a three-phase network: an OpenDSS script."""
    return spec.startswith("dss:") or spec.lower().endswith(".dss")


def balanced(spec: str, command: str) -> str:
    """The specification of a balanced network; NetworkError for a three-phase one, which the command does not take."""
    if is_threephase(spec):
        raise NetworkError(spec, f"is three-phase; vpp grid {command} takes balanced networks")
    return with_scheme(spec)


def split(text: str) -> list[str]:
    """Split a list with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def band_of(text: str) -> tuple[float, float] | None:
    """Read a voltage band ``0.9:1.1``, None for an empty text; BadParameter where it is none."""
    if not text:
        return None
    first, _, second = text.partition(":")
    try:
        return float(first), float(second)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no band, write 0.9:1.1", param_hint="--vm") from error


def records(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Rows as records."""
    return [dict(zip(head, row, strict=True)) for row in rows]


def print_csv(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Rows as CSV on standard output."""
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]], red: Callable[[Any], bool]) -> None:
    """Rows as a table, in columns without a frame where nobody looks."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console = Console(width=250)
    typer.echo(title)
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None)
    for k, name in enumerate(head):
        table.add_column(name, justify="right" if rows and isinstance(rows[0][k], int | float) else "left")
    for row in rows:
        texts = (f"{x:.4g}" if isinstance(x, float) else "-" if x is None else str(x) for x in row)
        table.add_row(*(Text(text) for text in texts), style="red" if red(row) else None)
    console.print(table)
