"""Writing a run directory.

    runs/<name>/
        manifest.json      what was run, and how it ended ("running" until then)
        record.json        what is recorded and where each value lies; never changed
        series.zarr/       a group an axis, pre-sized, filled block by block
        progress.json      rows in series.zarr; replaced after each block
        tail-0.bin, -1     the rows behind them, memory-mapped; gone after a clean end
        events.jsonl       events as they come; events.parquet after a clean end

Recording a step costs one pass over its values. Compression and zarr are the business of a background
thread. A killed run loses no recorded step: what is not yet in the store is in the tails.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import numpy as np
import numpy.typing as npt

from vpp.historian import kernels
from vpp.historian.compact import Compactor
from vpp.historian.events import EventLog
from vpp.historian.files import failed, lock, locked, spare, write_json
from vpp.historian.layout import MANIFEST, RECORD, Axis, Layout, Series, check
from vpp.historian.store import create_store
from vpp.historian.tail import NAMES, PROGRESS, Tail
from vpp.kernel.errors import RunError

__all__ = ["Axis", "RunWriter", "Series", "Status"]

Status = Literal["complete", "interrupted", "failed"]
_Store = Callable[[npt.NDArray[Any], npt.NDArray[Any], int, int, float], None]
_KERNELS: Final[Mapping[str, _Store]] = {
    "<f8": kernels.keep,
    "<i4": kernels.quantise,
    "<i2": kernels.encode_short,
    "|u1": kernels.encode_byte,
}


class RunWriter:
    """Records a run step by step: ``put`` in the loop, ``event`` when something happens, ``close`` at the end.

    As a context manager it closes as "complete", as "interrupted" on Ctrl-C and as "failed" on any other
    exception. ``rows`` counts the steps recorded.
    """

    def __init__(
        self,
        path: str | Path,
        manifest: Mapping[str, Any],
        axes: Sequence[Axis],
        series: Sequence[Series],
        time_ns: npt.NDArray[np.int64],
        block_steps: int | None = None,
        *,
        replace: bool = False,
    ) -> None:
        """Make the directory with everything reserved that a step needs.

        Args:
            path: the run directory; it must not exist, or be empty.
            manifest: what is to be known of the run; ``status``, ``steps_planned`` and ``steps_recorded`` are added.
            axes: the columns of each group; a group without an axis has one value a step.
            series: what is recorded, in the order in which ``put`` takes it.
            time_ns: time of every planned step, rising, UTC.
            block_steps: rows of a block; by default up to a week of quarter-hours, or 64 MB.
            replace: remove a former run in this place, unless it is still being written.

        Raises:
            RunError: no room on the disk, no permission, or the place is taken.
            ValueError: the axes, series or times contradict one another.
        """
        check(axes, series, time_ns)
        self.path = Path(path)
        self.rows = 0
        self.layout = Layout.plan(axes, series, len(time_ns), block_steps)
        self._manifest = {**manifest, "status": "running", "steps_planned": len(time_ns), "steps_recorded": 0}
        self._closed = False
        self._lock = -1
        _clear(self.path, replace=replace)
        try:
            self._make(manifest, axes, series, time_ns)
        except BaseException as error:  # whatever it was, half a run directory is of no use
            shutil.rmtree(self.path, ignore_errors=True)
            if self._lock >= 0:
                os.close(self._lock)
            if isinstance(error, OSError):
                raise failed(self.path, "making the run directory", error) from error
            raise
        self._compactor = Compactor(self.path, self.layout)
        self._plans = [self._plan(tail, series) for tail in self._tails]
        self._free = [_set_event(), _set_event()]
        self._current, self._row = 0, 0
        self._tails[0].begin(0)

    def _make(
        self, about: Mapping[str, Any], axes: Sequence[Axis], series: Sequence[Series], time_ns: npt.NDArray[np.int64]
    ) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / RECORD, self.layout.to_dict())
        self._lock = lock(self.path / RECORD)
        self._tails = [Tail.create(self.path / name, self.layout) for name in NAMES]
        create_store(self.path, about, axes, series, self.layout, time_ns)
        write_json(self.path / PROGRESS, {"rows": 0})
        self._events = EventLog(self.path)
        write_json(self.path / MANIFEST, self._manifest, reserve=True)

    def _plan(self, tail: Tail, series: Sequence[Series]) -> list[tuple[_Store, npt.NDArray[Any], int, int, float]]:
        """What ``put`` needs for each series, looked up once; the kernels are compiled here, not in the loop."""
        cells = tail.cells()
        plan = []
        for one, slot in zip(series, self.layout.slots, strict=True):
            store = _KERNELS[slot.dtype]
            for dtype in (np.float64, np.uint8, np.int16) if one.flags else (np.float64,):
                store(np.zeros(slot.n, dtype), cells[slot.dtype], 0, slot.start, one.factor)
            plan.append((store, cells[slot.dtype], slot.start, slot.n, one.factor))
        return plan

    def put(self, k: int, values: Sequence[npt.NDArray[Any]]) -> None:
        """Record step ``k``: one 1-D array a series, in the declared order.

        Steps come in order, without gaps. After a ``RunError`` the step is not recorded, all former ones are.
        """
        if k != self.rows or k >= self.layout.steps:
            raise ValueError(f"step {k} of {self.layout.steps} cannot be recorded, it is the turn of step {self.rows}")
        if self._closed or self._compactor.error is not None:
            raise self._broken()
        if self._row == self.layout.block_steps:
            self._next_block()
        row = self._row
        for array, (store, cells, start, n, factor) in zip(values, self._plans[self._current], strict=True):
            if array.size != n:
                raise ValueError(f"step {k}: a series of {n} columns was given {array.size} values")
            store(array, cells, row, start, factor)
        self._tails[self._current].rows = row + 1
        self._row = row + 1
        self.rows = k + 1

    def _next_block(self) -> None:
        """Hand the full tail over and go on in the other one, as soon as that is free."""
        full = self._current
        self._free[full] = self._compactor.submit(self._tails[full])
        other = 1 - full
        self._free[other].wait()
        if self._compactor.error is not None:
            raise self._broken()
        self._tails[other].begin(self.rows // self.layout.block_steps)
        self._current, self._row = other, 0

    def event(self, entry: Mapping[str, Any]) -> None:
        """Record one event at once."""
        self.events((entry,))

    def events(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Record several events at once."""
        try:
            self._events.add(entries)
        except OSError as error:
            raise failed(self.path, "recording an event", error, self._safe()) from error

    def update_manifest(self, **entries: Any) -> None:
        """Set entries of the manifest and write it."""
        self._manifest |= entries
        self._write_manifest()

    def close(self, status: Status = "complete", **manifest: Any) -> None:
        """Flush everything and say how the run ended; a second call does nothing.

        Raises ``RunError`` when something could not be written; all recorded steps can be read nevertheless.
        """
        if self._closed:
            return
        self._closed = True
        try:
            self._flush()
            self._events.finish()
            self._manifest |= {**manifest, "status": status, "steps_recorded": self._recorded()}
            self._write_manifest()
            for name in (*NAMES, spare(self.path / MANIFEST).name):
                (self.path / name).unlink(missing_ok=True)
        except (RunError, OSError, ValueError) as error:
            reason = error if isinstance(error, RunError) else failed(self.path, "ending the run", error, self._safe())
            self._manifest |= {**manifest, "status": "failed", "steps_recorded": self._recorded(), "reason": str(reason)}
            with suppress(RunError):
                self._write_manifest()
            raise reason from error
        finally:
            self._events.close()
            os.close(self._lock)

    def _flush(self) -> None:
        tail = self._tails[self._current]
        if tail.rows and self._compactor.rows < self._recorded():
            self._compactor.submit(tail)
        self._compactor.stop()
        if self._compactor.error is not None:
            raise self._broken()

    def _write_manifest(self) -> None:
        try:
            write_json(self.path / MANIFEST, self._manifest, reserve=not self._closed)
        except OSError as error:
            raise failed(self.path, f"writing {MANIFEST}", error, self._safe()) from error

    def _recorded(self) -> int:
        """Rows by the tail's own count: right even where Ctrl-C came between two lines of ``put``."""
        tail = self._tails[self._current]
        return tail.block * self.layout.block_steps + tail.rows

    def _safe(self) -> str:
        return f"{self._recorded()} steps are safe in {self.path}"

    def _broken(self) -> RunError:
        if self._compactor.error is None:
            return RunError(str(self.path), "is closed")
        return failed(self.path, "writing the series", self._compactor.error, self._safe())

    def __enter__(self) -> Self:
        """Give the writer itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close with the status that fits the exception, and never hide that exception behind another."""
        if error is None:
            self.close()
            return
        status: Status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        try:
            self.close(status, **({"reason": str(error) or type(error).__name__} if status == "failed" else {}))
        except RunError as second:
            error.add_note(str(second))


def _set_event() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def _clear(path: Path, *, replace: bool) -> None:
    """Make sure that nothing is lost by writing a run here."""
    try:
        taken = path.exists() and (not path.is_dir() or any(path.iterdir()))
        if not taken:
            return
        if not (path / RECORD).exists():
            raise RunError(str(path), "the place is taken by something that is no run")
        if locked(path / RECORD):
            raise RunError(str(path), "is being written by another process")
        if not replace:
            raise RunError(str(path), "exists already")
        shutil.rmtree(path)
    except OSError as error:
        raise failed(path, "making the run directory", error) from error
