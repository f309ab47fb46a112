"""The journal: every bit of what a decision saw and said, step by step, for replay.

    journal/
        journal.json     names, types, shapes and the number of planned steps
        <name>.npy       one array of shape (steps, …), memory-mapped, its blocks reserved
        rows.bin         steps recorded: an int64, counted up after the arrays of a step
        news.jsonl       what is not an array, a line each

It is large and short-lived; the run directory's series are what is kept.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from vpp.historian.events import read_lines
from vpp.historian.files import allocate, failed, read_json, to_json, write_all, write_json
from vpp.kernel.errors import RunError

FOLDER: Final = "journal"


class Journal:
    """A lossless record of named arrays. A killed process loses no step for which ``put`` returned."""

    def __init__(self, path: str | Path, *, write: bool = False) -> None:
        """Open an existing journal, to read it or to go on writing; ``path`` is the run directory."""
        self.path = Path(path) / FOLDER
        try:
            about = read_json(self.path / "journal.json")
            self.steps = int(about["steps"])
            mode: Any = "r+" if write else "r"
            self._arrays = {n: np.load(self.path / f"{n}.npy", mmap_mode=mode, allow_pickle=False) for n in about["arrays"]}
            with open(self.path / "rows.bin", "r+b" if write else "rb") as file:
                access = mmap.ACCESS_WRITE if write else mmap.ACCESS_READ
                self._rows: npt.NDArray[np.int64] = np.frombuffer(mmap.mmap(file.fileno(), 8, access=access), np.int64)
            self._news = os.open(self.path / "news.jsonl", os.O_WRONLY | os.O_APPEND) if write else -1
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise failed(self.path, "opening the journal", error) from error

    @classmethod
    def create(cls, path: str | Path, shapes: Mapping[str, tuple[npt.DTypeLike, tuple[int, ...]]], steps: int) -> Self:
        """Make a journal in a run directory, with the room for all its steps reserved.

        Raises:
            RunError: no room on the disk, or there is a journal already.
        """
        folder = Path(path) / FOLDER
        try:
            folder.mkdir(parents=True)
            for name, (dtype, shape) in shapes.items():
                if np.dtype(dtype).hasobject:
                    raise ValueError(f"{name} holds Python objects, which a journal does not keep")
                array = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype=np.dtype(dtype), shape=(steps, *shape))
                del array
                allocate(folder / f"{name}.npy", (folder / f"{name}.npy").stat().st_size)
            allocate(folder / "rows.bin", 8)
            (folder / "news.jsonl").touch()
            write_json(folder / "journal.json", {"steps": steps, "arrays": list(shapes)})
        except OSError as error:
            raise failed(folder, "making the journal", error) from error
        return cls(path, write=True)

    @property
    def rows(self) -> int:
        """Steps recorded."""
        return int(self._rows[0])

    def put(self, k: int, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Record step ``k``, every declared array of it; steps come in order."""
        if k != self.rows or k >= self.steps or self._news < 0:
            raise ValueError(f"step {k} of {self.steps} cannot be recorded, it is the turn of step {self.rows}")
        if arrays.keys() != self._arrays.keys():
            raise ValueError(f"the journal keeps {', '.join(self._arrays)}, not {', '.join(arrays)}")
        for name, array in self._arrays.items():
            np.copyto(array[k, ...], arrays[name], casting="no")
        self._rows[0] = k + 1

    def news(self, k: int, entry: Any) -> None:
        """Record something of step ``k`` that JSON can say; before ``put(k)``, so that a recorded step is whole."""
        try:
            write_all(self._news, to_json({"k": k, "entry": entry}) + b"\n")
        except OSError as error:
            raise failed(self.path, "recording news", error, f"{self.rows} steps are safe") from error

    def read(self, k: int) -> dict[str, npt.NDArray[Any]]:
        """Give the arrays of a recorded step, as copies."""
        if not 0 <= k < self.rows:
            raise RunError(str(self.path), f"step {k} is not recorded, the journal has {self.rows} steps")
        return {name: np.array(array[k]) for name, array in self._arrays.items()}

    def read_news(self) -> list[tuple[int, Any]]:
        """Give all news of recorded steps as (step, entry), in the order in which they came."""
        try:
            return [(line["k"], line["entry"]) for line in read_lines(self.path / "news.jsonl") if line["k"] < self.rows]
        except (OSError, ValueError, KeyError) as error:
            raise RunError(str(self.path), f"news.jsonl is damaged: {error}") from error

    def close(self) -> None:
        """Release the files; what is recorded stays."""
        if self._news >= 0:
            os.close(self._news)
        self._news = -1
        self._arrays = {}
