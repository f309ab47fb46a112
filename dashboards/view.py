"""A run directory as the dashboards read it: decoded in blocks, reopened when it has grown."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vpp.historian.read import open_run, read_events, read_layout, read_manifest
from vpp.kernel.errors import RunError

Values = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]
CACHE_BYTES: Final = 400 << 20


class RunView:
    """What was recorded so far. Series are named "group/name"; what is not recorded reads as NaN.

    Several requests may ask at once. ``damage`` names what could not be read, one sentence a series.
    """

    def __init__(self, path: Path, benches: Sequence[Path] = ()) -> None:
        """Open a run; raises RunError when there is none, or when nothing of it can be read.

        ``benches`` are directories of the test bench to be shown with it.
        """
        self.path, self.benches = path, tuple(benches)
        self.damage: dict[str, str] = {}
        self._lock = threading.RLock()
        self._blocks: OrderedDict[tuple[str, int], Values] = OrderedDict()
        self._reduced: dict[tuple[str, str, int], Values] = {}
        self._signature: tuple[Any, ...] = ()
        read_manifest(path)  # the plainest words for what is no run
        self._block_steps = read_layout(path).block_steps
        self.refresh()

    def refresh(self) -> bool:
        """Look whether the run has grown or ended; True when it has."""
        manifest = read_manifest(self.path)
        signature = (manifest["steps_recorded"], manifest["status"])
        with self._lock:
            if signature == self._signature:
                return False
            tree = open_run(self.path, skip_damaged=True)
            self.manifest, self._tree, self._signature = manifest, tree, signature
            self.damage |= {f"part {i}": text for i, text in enumerate(tree.attrs.get("damaged", []))}
            self.rows = int(tree.attrs["steps_recorded"])
            self.time_ns: npt.NDArray[np.int64] = np.asarray(tree["time"].values).astype("datetime64[ns]").astype(np.int64)
            self._lines: dict[str, FloatArray] = {}
        return True

    @property
    def running(self) -> bool:
        """Whether somebody still writes it."""
        return bool(self.manifest["status"] == "running")

    @property
    def zone(self) -> str:
        """The scenario's time zone."""
        return str(self.manifest.get("zone") or "UTC")

    @property
    def step_s(self) -> float:
        """Length of a step."""
        if "step_s" in self.manifest:
            return float(self.manifest["step_s"])
        return float(np.diff(self.time_ns[:2])[0]) / 1e9 if self.rows > 1 else 0.0

    def limit(self, name: str, default: float) -> float:
        """One of the scenario's limits for what counts as a violation."""
        return float(self.manifest.get("scenario", {}).get("limits", {}).get(name, default))

    def has(self, name: str) -> bool:
        """Whether a series is recorded and can be opened."""
        group, series = name.split("/")
        return group in self._tree.children and series in self._tree[group].data_vars

    def ids(self, group: str) -> npt.NDArray[np.str_]:
        """The ids of a group's columns."""
        if group not in self._tree.children:
            return np.empty(0, np.str_)
        node = self._tree[group]
        dims = [str(dim) for dim in node.dims if dim != "time" and dim in node.coords]
        return np.asarray(node[dims[0]].values if dims else [], np.str_)

    def coordinate(self, group: str, name: str) -> npt.NDArray[Any] | None:
        """What else is known of each column, None when it is not recorded."""
        node = self._tree[group] if group in self._tree.children else None
        return None if node is None or name not in node.coords else np.asarray(node[name].values)

    def line(self, name: str) -> FloatArray:
        """A series of one value a step, over all steps."""
        with self._lock:
            if name not in self._lines:
                self._lines[name] = self._read(name, slice(0, self.rows)).astype(np.float64)
            return self._lines[name]

    def row(self, name: str, k: int) -> Values:
        """All columns at one step."""
        values: Values = self.block(name, k // self._block_steps)[k % self._block_steps]
        return values

    def exact(self, name: str, k: int) -> FloatArray:
        """All columns at one step, every bit of them: for numbers that a float32 would blur (registers, times)."""
        with self._lock:
            if self.has(name):
                try:
                    series: Any = self._tree[name]
                    return np.asarray(series[k].values, np.float64).reshape(-1)
                except RunError as error:
                    self.damage[name] = error.reason
            return np.full(max(len(self.ids(name.split("/")[0])), 1), np.nan)

    def columns(self, name: str, which: npt.NDArray[np.intp]) -> Values:
        """Some columns over all steps, shape (steps, columns)."""
        return self._read(name, (slice(0, self.rows), which))

    def block(self, name: str, index: int) -> Values:
        """One block of steps, kept decoded."""
        low = index * self._block_steps
        with self._lock:
            high = min(low + self._block_steps, self.rows)
            held = self._blocks.get((name, index))
            if held is None or len(held) < high - low:
                held = self._read(name, (slice(low, high), slice(None)))
                self._blocks[name, index] = held
                while sum(block.nbytes for block in self._blocks.values()) > CACHE_BYTES and len(self._blocks) > 1:
                    self._blocks.popitem(last=False)
            self._blocks.move_to_end((name, index))
            return held

    def reduce(self, name: str, label: str, function: Callable[[Values], Values]) -> Values:
        """Reduce the columns of every step, shape (steps, what the function gives a step).

        Steps are reduced once: a run that has grown costs no more than what came since.
        """
        parts = []
        for index in range(-(-self.rows // self._block_steps)):
            rows = min((index + 1) * self._block_steps, self.rows) - index * self._block_steps
            part = self._reduced.get((name, label, index))
            if part is None or len(part) < rows:
                part = self._reduced[name, label, index] = function(self.block(name, index))
            parts.append(part)
        return np.concatenate(parts) if parts else function(np.empty((0, len(self.ids(name.split("/")[0]))), np.float32))

    def events(self) -> list[dict[str, Any]]:
        """The events so far, newest first."""
        try:
            rows: list[Any] = read_events(self.path).to_dict("records")
        except RunError as error:
            self.damage["events"] = error.reason
            return []
        return rows[::-1]

    def _read(self, name: str, key: Any) -> Values:
        group = name.split("/")[0]
        with self._lock:
            if self.has(name):
                try:
                    return np.asarray(self._tree[name][key].values, np.float32 if self._tree[name].ndim > 1 else np.float64)
                except RunError as error:
                    self.damage[name] = error.reason
            if isinstance(key, slice):
                return np.full(key.stop - key.start, np.nan, np.float32)
            columns = len(self.ids(group)) if isinstance(key[1], slice) else len(key[1])
            return np.full((key[0].stop - key[0].start, columns), np.nan, np.float32)
