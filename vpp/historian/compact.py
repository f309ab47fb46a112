"""The one background thread of a run: full tails become chunks while the loop goes on."""

from __future__ import annotations

import threading
from pathlib import Path
from queue import SimpleQueue

from vpp.historian.files import write_json
from vpp.historian.layout import Layout
from vpp.historian.store import BlockWriter
from vpp.historian.tail import PROGRESS, Tail


class Compactor:
    """Writes submitted tails to the store, one after the other, and publishes the row count last.

    ``error`` is the first failure. From then on nothing more is written, and the tails stay as they are.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        """Start the thread; a daemon, so that a dying run is not held up: its tails are safe on disk."""
        self.error: Exception | None = None
        self.rows = 0
        self._progress, self._layout = path / PROGRESS, layout
        self._blocks = BlockWriter(path, layout)
        self._jobs: SimpleQueue[tuple[Tail, threading.Event] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="vpp-historian", daemon=True)
        self._thread.start()

    def submit(self, tail: Tail) -> threading.Event:
        """Hand over a tail; the event is set once it may be reused (or something failed)."""
        done = threading.Event()
        self._jobs.put((tail, done))
        return done

    def stop(self) -> None:
        """Finish what was submitted and end the thread."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            tail, done = job
            if self.error is None:
                try:
                    self._compact(tail)
                except Exception as error:  # noqa: BLE001  whatever it is, the loop must hear of it
                    self.error = error
            done.set()

    def _compact(self, tail: Tail) -> None:
        rows, block = tail.rows, tail.block
        self._blocks.write(tail.bytes[:rows], block)
        self.rows = block * self._layout.block_steps + rows
        write_json(self._progress, {"rows": self.rows})
