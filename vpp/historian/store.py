"""The zarr v3 store of a run: made once at full size, filled block by block, nothing ever rewritten.

The chunk files are written here directly: what zarr would write, byte for byte, without its cost for
each chunk, which would take the interpreter's lock from the run loop. The chunks keep rows by time;
measured against device-major chunks, LZ4 with bit-shuffle came out as small and much faster.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from vpp.historian.files import write_all
from vpp.historian.layout import FILLS, Axis, Layout, Series, Slot
from vpp.historian.tail import cells_of

STORE: Final = "series.zarr"
TIME_ATTRIBUTES: Final[dict[str, Any]] = {
    "long_name": "time of the step, UTC",
    "standard_name": "time",
    "units": "nanoseconds since 1970-01-01",
    "calendar": "proleptic_gregorian",
}
_CNAME: Final = "lz4"
_LEVEL: Final = 5


def create_store(
    path: Path,
    manifest: Mapping[str, Any],
    axes: Sequence[Axis],
    series: Sequence[Series],
    layout: Layout,
    time_ns: npt.NDArray[np.int64],
) -> None:
    """Write all metadata and coordinates, and no chunk of a series yet; raises OSError."""
    import zarr
    from zarr.codecs import BloscCodec, Crc32cCodec

    conventions = {"Conventions": "CF-1.11", "sign_convention": "injection (generator) positive"}
    about = {k: v for k, v in manifest.items() if isinstance(v, str | int | float | bool)}
    root = zarr.create_group(path / STORE, attributes={"title": str(manifest.get("name", path.name)), **about, **conventions})
    time = root.create_array("time", shape=time_ns.shape, dtype="int64", dimension_names=("time",), attributes=TIME_ATTRIBUTES)
    time[:] = time_ns
    groups: dict[str, Any] = {}
    for axis in axes:
        groups[axis.group] = root.create_group(axis.group, attributes=conventions | _named(axis))
        ids = np.asarray(axis.ids, dtype=object)
        for name, values in {axis.dim: ids, **axis.coordinates}.items():
            text = np.asarray(values).dtype.kind in "OUST"
            array = groups[axis.group].create_array(
                name, shape=(len(axis.ids),), dtype=str if text else np.asarray(values).dtype, dimension_names=(axis.dim,)
            )
            if axis.ids:
                array[:] = np.asarray(values, dtype=object) if text else values
    for one, slot in zip(series, layout.slots, strict=True):
        if slot.group not in groups:
            groups[slot.group] = root.create_group(slot.group, attributes=conventions)
        item = np.dtype(slot.dtype).itemsize
        groups[slot.group].create_array(
            slot.name,
            shape=(layout.steps, slot.n) if slot.dim else (layout.steps,),
            chunks=(layout.block_steps, slot.width) if slot.dim else (layout.block_steps,),
            dtype=slot.dtype,
            fill_value=FILLS[slot.dtype] if slot.dtype == "<f8" else int(FILLS[slot.dtype]),
            compressors=[BloscCodec(typesize=item, cname=_CNAME, clevel=_LEVEL, shuffle="bitshuffle"), Crc32cCodec()],
            chunk_key_encoding={"name": "default", "separator": "."},  # files side by side: no directory a block
            dimension_names=("time", slot.dim) if slot.dim else ("time",),
            attributes=one.attributes(),
        )


def _named(axis: Axis) -> dict[str, str]:
    """CF names the arrays of a group that are coordinates; the dimension's own needs no mention."""
    return {"coordinates": " ".join(axis.coordinates)} if axis.coordinates else {}


class BlockWriter:
    """Turns rows of the tail into the chunk files of one block."""

    def __init__(self, path: Path, layout: Layout) -> None:
        """Prepare the codecs; nothing is written yet."""
        from numcodecs import Blosc

        self._path, self._layout = path / STORE, layout
        self._codecs = {d: Blosc(_CNAME, _LEVEL, Blosc.BITSHUFFLE, typesize=np.dtype(d).itemsize) for d in FILLS}
        self._buffers: dict[tuple[str, int], npt.NDArray[Any]] = {}

    def write(self, rows: npt.NDArray[np.uint8], block: int) -> None:
        """Write every chunk of a block; missing rows at its end are fill values. Raises OSError."""
        for slot in self._layout.slots:
            cells = cells_of(rows, slot.dtype)[:, slot.start : slot.start + slot.n]
            for column in range(slot.chunks):
                part = cells[:, column * slot.width : (column + 1) * slot.width]
                self._write_chunk(self._path / slot.path / slot.chunk_name(block, column), slot, part)

    def _write_chunk(self, path: Path, slot: Slot, part: npt.NDArray[Any]) -> None:
        import google_crc32c

        shape = (self._layout.block_steps, slot.width)
        buffer = self._buffers.setdefault((slot.dtype, slot.width), np.empty(shape, slot.dtype))
        if part.shape != shape:
            buffer[:] = FILLS[slot.dtype]
        buffer[: part.shape[0], : part.shape[1]] = part
        data = self._codecs[slot.dtype].encode(buffer)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            write_all(fd, data)
            write_all(fd, google_crc32c.value(data).to_bytes(4, "little"))
        finally:
            os.close(fd)
