"""``vpp hil``: real and emulated devices on the bench."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Real and emulated devices: test them.")


@app.callback()
def _room() -> None:
    """Keep every command one of its own."""
