"""``vpp grid`` with the commands of all rooms that look at a network."""

from __future__ import annotations

from controllers.estimation.cli import estimate
from vpp.grid.cli import app

__all__ = ["app"]

app.command()(estimate)
