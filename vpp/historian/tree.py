"""The tree of a run: stored chunks and tail rows behind one lazily read xarray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
import xarray as xr
import zarr
from xarray.backends import BackendArray
from xarray.core import indexing

from vpp.historian.layout import Layout, Slot
from vpp.historian.store import STORE
from vpp.historian.tail import Snapshot, cells_of
from vpp.kernel.errors import RunError


class Recorded(BackendArray):
    """One series as xarray's lazy indexing asks for it: rows of the store, then rows of the tails."""

    def __init__(self, run: Path, slot: Slot, array: Any, block_steps: int, stock: Snapshot) -> None:
        """Join the stored array with its columns of the tail."""
        self.shape = (stock.rows, slot.n) if slot.dim else (stock.rows,)
        self.dtype = np.dtype(slot.dtype)
        self._run, self._slot, self._array, self._block_steps = run, slot, array, block_steps
        self._compacted = stock.compacted
        columns: Any = slice(slot.start, slot.start + slot.n) if slot.dim else slot.start
        self._tail = [cells_of(part, slot.dtype)[:, columns] for part in stock.tail]

    def __getitem__(self, key: Any) -> Any:
        """Give the values of an explicit indexer."""
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._get)

    def _get(self, key: tuple[Any, ...]) -> Any:
        """Read the range of steps that covers the wanted ones, then pick."""
        wanted = np.arange(self.shape[0])[key[0]]
        if wanted.size == 0:
            return np.empty((0, *np.empty(self.shape[1:], np.bool_)[key[1:]].shape), self.dtype)
        low, high = int(wanted.min()), int(wanted.max()) + 1
        values = self._read(low, high, key[1:])
        return values if isinstance(key[0], slice) and key[0].step in (None, 1) else values[wanted - low]

    def _read(self, low: int, high: int, columns: tuple[Any, ...]) -> npt.NDArray[Any]:
        parts = []
        if low < self._compacted:
            parts.append(self._read_store(low, min(high, self._compacted), columns))
        first = self._compacted
        for cells in self._tail:
            inside = cells[max(0, low - first) : max(0, high - first)]
            if len(inside):
                parts.append(inside[(slice(None), *columns)])
            first += len(cells)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _read_store(self, low: int, high: int, columns: tuple[Any, ...]) -> npt.NDArray[Any]:
        chunks = self._chunks(low, high, columns)
        missing = [p.name for p in chunks if not p.exists()]  # zarr would give fill values without a word
        if missing:
            raise self._damaged(f"chunk {', '.join(missing)} is missing", low, high)
        try:
            return np.asarray(self._array.oindex[(slice(low, high), *columns)])
        except Exception as error:  # whatever zarr and its codecs raise, the reader gets one type
            raise self._damaged(_name_damage(chunks) or str(error), low, high) from error

    def _chunks(self, low: int, high: int, columns: tuple[Any, ...]) -> list[Path]:
        wanted = np.unique(np.arange(self._slot.n)[columns] // self._slot.width) if self._slot.dim else np.zeros(1, np.int64)
        blocks = range(low // self._block_steps, -(-high // self._block_steps))
        directory = self._run / STORE / self._slot.path
        return [directory / self._slot.chunk_name(b, int(c)) for b in blocks for c in wanted]

    def _damaged(self, what: str, low: int, high: int) -> RunError:
        return RunError(
            str(self._run), f"{self._slot.path}, steps {low} to {high - 1}: {what}; other steps and series can still be read"
        )


def _name_damage(chunks: list[Path]) -> str:
    """Which of these chunk files do not fit their checksum."""
    bad = []
    for path in chunks:
        data = path.read_bytes()
        if google_crc32c.value(data[:-4]).to_bytes(4, "little") != data[-4:]:
            bad.append(path.name)
    return f"chunk {', '.join(bad)} is damaged" if bad else ""


def build_tree(run: Path, layout: Layout, stock: Snapshot) -> tuple[xr.DataTree, list[str]]:
    """Give the tree, and what had to be left out of it because it is damaged."""
    damage: list[str] = []
    store = run / STORE
    rows = stock.rows
    root: dict[str, Any] = {}
    attributes: dict[str, dict[str, Any]] = {}
    for group in dict.fromkeys(("", *layout.axes, *(slot.group for slot in layout.slots))):
        opened = _opened(store, group, damage, group=True)
        attributes[group] = dict(opened.attrs) if opened is not None else {}
    time = _loaded(store, "time", damage)
    if time is not None:
        root["time"] = xr.Variable("time", time[:rows].view("datetime64[ns]"), {"long_name": "time of the step, UTC"})
    nodes = {"/": xr.Dataset(coords=root, attrs=attributes[""])}
    for group in list(attributes)[1:]:
        variables = _coordinates(store, group, layout, damage)
        for slot in layout.slots:
            array = _opened(store, slot.path, damage) if slot.group == group else None
            if array is not None:
                lazy = indexing.LazilyIndexedArray(Recorded(run, slot, array, layout.block_steps, stock))
                dims = ("time", slot.dim) if slot.dim else ("time",)
                variables[slot.name] = xr.Variable(dims, lazy, dict(array.attrs))
        # Times are decoded above; a unit such as "s" must stay a unit.
        nodes[f"/{group}"] = xr.decode_cf(
            xr.Dataset(variables, attrs=attributes[group]), decode_times=False, decode_timedelta=False
        )
    return xr.DataTree.from_dict(nodes), damage


def _coordinates(store: Path, group: str, layout: Layout, damage: list[str]) -> dict[str, Any]:
    dim, names = layout.axes.get(group, ("", ()))
    found = {name: _loaded(store, f"{group}/{name}", damage) for name in ((dim, *names) if dim else ())}
    return {name: xr.Variable(dim, values) for name, values in found.items() if values is not None}


def _opened(store: Path, path: str, damage: list[str], *, group: bool = False) -> Any:
    try:
        return (zarr.open_group if group else zarr.open_array)(store, path=path, mode="r")
    except Exception as error:  # noqa: BLE001  zarr and json raise a dozen types for damaged metadata
        damage.append(f"metadata of {path or STORE} cannot be read ({type(error).__name__}: {error})")
        return None


def _loaded(store: Path, path: str, damage: list[str]) -> npt.NDArray[Any] | None:
    array = _opened(store, path, damage)
    if array is None:
        return None
    try:
        values = np.asarray(array[:])
    except Exception as error:  # noqa: BLE001
        damage.append(f"{path} cannot be read ({type(error).__name__}: {error})")
        return None
    return values.astype(object) if values.dtype.kind == "T" else values
