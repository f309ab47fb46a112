"""The decision log: every setpoint of every tick, to the bit, beside the rounded series of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vpp.historian.journal import Journal
from vpp.historian.verify import DECISIONS
from vpp.kernel.setpoints import Setpoints
from vpp.kernel.tick import Record


class DecisionLog:
    """Keeps what was asked and why."""

    def __init__(self, path: Path, n: int, steps: int) -> None:
        """Make the log in a run directory, for ``n`` resources."""
        shapes = {
            "time_ns": ("<i8", ()),
            "asked": ("<f8", (len(Setpoints.signals), n)),
            "cause_p": ("<i2", (n,)),
            "cause_q": ("<i2", (n,)),
        }
        self._journal = Journal.create(path / DECISIONS, shapes, steps)

    def __call__(self, k: int, record: Record) -> None:
        """Keep tick ``k``."""
        asked = record.decision.asked
        self._journal.put(
            k,
            {
                "time_ns": np.array(record.time_ns, np.int64),
                "asked": asked.setpoints.block,
                "cause_p": asked.cause_p,
                "cause_q": asked.cause_q,
            },
        )

    def close(self) -> None:
        """Release the files."""
        self._journal.close()


def keep_all(keepers: Sequence[Callable[[int, Record], None]]) -> Callable[[int, Record], None] | None:
    """One keeper of records for many; None for none."""
    if not keepers:
        return None

    def keep(k: int, record: Record) -> None:
        for keeper in keepers:
            keeper(k, record)

    return keep
