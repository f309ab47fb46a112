"""Standard normal numbers, drawn some steps ahead in a thread of their own.

Drawing is the dearest part of a meter. The order of the numbers is that of the generator alone, so neither the
thread nor its pace can change a result; a state is the generator's at the start of the block, and the row.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import numpy.typing as npt

BLOCK: Final = 1 << 20
Block = tuple[Mapping[str, Any], npt.NDArray[np.float32]]


class Noise:
    """Rows of ``width`` standard normal numbers (float32), one a step."""

    def __init__(self, width: int, seed: int) -> None:
        """Seed; nothing is drawn before the first row is asked for."""
        self._rng = np.random.Generator(np.random.SFC64(seed))
        self._shape = (max(1, BLOCK // max(width, 1)), width)
        self._ahead: Future[Block] | None = None
        self._now: Block | None = None
        self._row = 0
        self._worker: ThreadPoolExecutor | None = None

    def row(self) -> npt.NDArray[np.float32]:
        """The next row; it holds until the one after it is asked for."""
        if self._now is None or self._row == self._shape[0]:
            used = self._now[1] if self._now is not None else np.empty(self._shape, np.float32)
            self._now = self._ahead.result() if self._ahead is not None else self._draw(np.empty(self._shape, np.float32))
            if self._worker is None:
                self._worker = ThreadPoolExecutor(1, "noise")
            self._ahead = self._worker.submit(self._draw, used)
            self._row = 0
        self._row += 1
        row: npt.NDArray[np.float32] = self._now[1][self._row - 1]
        return row

    def _draw(self, out: npt.NDArray[np.float32]) -> Block:
        before = self._rng.bit_generator.state
        self._rng.standard_normal(dtype=np.float32, out=out)
        return before, out

    def state(self) -> dict[str, Any]:
        """Where the next row comes from."""
        return {"rng": self._rng.bit_generator.state if self._now is None else self._now[0], "row": self._row}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a remembered state."""
        if self._ahead is not None:
            self._ahead.result()
        self._rng.bit_generator.state = state["rng"]
        self._ahead, self._now, self._row = None, None, 0
        for _ in range(state["row"]):
            self.row()
