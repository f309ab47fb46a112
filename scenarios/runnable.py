"""A scenario that can run itself: ``load("lv-rural-street").run()``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from scenarios.schema import Scenario

if TYPE_CHECKING:
    from scenarios.build import Progress, RunResult, Wiring


class RunnableScenario(Scenario):
    """What `load` gives. The schema itself knows nothing of building and running."""

    def run(
        self, *, out: Path = Path("runs"), wiring: Wiring = "mosaik", progress: Progress | None = None, replace: bool = True
    ) -> RunResult:
        """Build and run it into a run directory; see `scenarios.build.run`."""
        from scenarios.build import run

        return run(self, out=out, wiring=wiring, progress=progress, replace=replace)
