"""The tail: rows that are recorded but not yet compacted, in a memory-mapped file.

The page cache outlives the process, so a row is safe against a killed run from the moment the header
counts it. The file's blocks are reserved when it is made: a full disk shows at the start of a run and
never as a bus error in the middle of it.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from vpp.historian.files import allocate, read_json
from vpp.historian.layout import FILLS, Layout

HEADER_BYTES: Final = 4096
MAGIC: Final = int.from_bytes(b"VPPTAIL1", "little")
_MAGIC, _BLOCK, _ROWS = 0, 1, 2
NAMES: Final = ("tail-0.bin", "tail-1.bin")
PROGRESS: Final = "progress.json"


class Tail:
    """One buffer of ``block_steps`` rows with its header: which block it holds, and how many rows of it."""

    def __init__(self, path: Path, layout: Layout, *, write: bool) -> None:
        """Map an existing file; raises OSError, or ValueError when it is not a tail of this layout."""
        size = HEADER_BYTES + layout.block_steps * layout.row_bytes
        with open(path, "r+b" if write else "rb") as file:
            actual = file.seek(0, 2)
            if actual != size:
                raise ValueError(f"has {actual} bytes, not {size}")
            self._map = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_WRITE if write else mmap.ACCESS_READ)
        self._header: npt.NDArray[np.int64] = np.frombuffer(self._map, np.int64, HEADER_BYTES // 8)
        self.bytes: npt.NDArray[np.uint8] = np.frombuffer(self._map, np.uint8, offset=HEADER_BYTES)
        self.bytes = self.bytes.reshape(layout.block_steps, layout.row_bytes)
        if not write and self._header[_MAGIC] != MAGIC:
            raise ValueError("does not begin like a tail")

    @classmethod
    def create(cls, path: Path, layout: Layout) -> Self:
        """Make the file with its blocks reserved; raises OSError when there is no room."""
        allocate(path, HEADER_BYTES + layout.block_steps * layout.row_bytes)
        tail = cls(path, layout, write=True)
        tail.bytes.reshape(-1)[:: mmap.PAGESIZE] = 0  # take the page faults now, not in the loop
        tail._header[_BLOCK] = -1
        tail._header[_MAGIC] = MAGIC
        return tail

    def begin(self, block: int) -> None:
        """Start another block. Rows first, so that no reader counts old rows for the new block."""
        self._header[_ROWS] = 0
        self._header[_BLOCK] = block

    @property
    def block(self) -> int:
        """Number of the block held here; -1 before the first."""
        return int(self._header[_BLOCK])

    @property
    def rows(self) -> int:
        """Rows recorded so far."""
        return int(self._header[_ROWS])

    @rows.setter
    def rows(self, rows: int) -> None:
        self._header[_ROWS] = rows

    def cells(self) -> dict[str, npt.NDArray[Any]]:
        """The rows seen as items of each stored type."""
        return {dtype: cells_of(self.bytes, dtype) for dtype in FILLS}


def cells_of(rows: npt.NDArray[np.uint8], dtype: str) -> npt.NDArray[Any]:
    """See whole rows as items of one type; a row's length is a multiple of 8."""
    return rows.view(np.dtype(dtype))


@dataclass(frozen=True)
class Snapshot:
    """What was recorded at one moment: rows in the store, and copies of the rows behind them.

    ``problem`` names a tail that could not be read; its rows, if it held any, are missing.
    """

    compacted: int
    tail: tuple[npt.NDArray[np.uint8], ...]
    problem: str = ""

    @property
    def rows(self) -> int:
        """All valid rows."""
        return self.compacted + sum(map(len, self.tail))


def snapshot(path: Path, layout: Layout, *, copy: bool = True) -> Snapshot:
    """Take stock of a run directory, also while it is written to.

    The tails are copied before the progress is read: a block that is no longer in the tails is then
    in the store, whatever the writer does meanwhile. Without ``copy`` only the numbers are right.
    Raises OSError, KeyError, TypeError or ValueError when ``progress.json`` is damaged.
    """
    held: dict[int, npt.NDArray[np.uint8]] = {}
    problems = []
    for name in NAMES:
        try:
            tail = Tail(path / name, layout, write=False)
        except FileNotFoundError:
            continue  # a finished run has none
        except (OSError, ValueError) as error:
            problems.append(f"{name} {error}")
            continue
        for _ in range(8):  # a block stands for many steps: it hardly changes twice during one copy
            block, rows = tail.block, min(tail.rows, layout.block_steps)
            part = tail.bytes[:rows].copy() if copy else tail.bytes[:rows]
            if tail.block == block:
                held[block] = part
                break
    compacted = int(read_json(path / PROGRESS)["rows"])
    if not 0 <= compacted <= layout.steps:
        raise ValueError(f"counts {compacted} of {layout.steps} rows")
    parts: list[npt.NDArray[np.uint8]] = []
    block, inside = divmod(compacted, layout.block_steps)
    while not inside and block in held and sum(map(len, parts)) == len(parts) * layout.block_steps:
        parts.append(held[block])
        block += 1
    return Snapshot(compacted, tuple(parts), "; ".join(problems))
