"""Where two runs first differ: the tick, the signal, the resources and both values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from vpp.historian.read import open_run, read_layout

if TYPE_CHECKING:
    import xarray as xr

_SHOWN: Final = 5


@dataclass(frozen=True)
class Difference:
    """The first difference of two runs A and B.

    Attributes:
        remarks: how the runs differ as a whole: status, length, series or ids that only one of them has.
        step: position of the first differing tick in A; None where all shared values are equal.
        time: its time.
        group: group of the first differing signal, by A's order of recording.
        signal: its name.
        ids: the first few columns that differ (empty for a series of one value a step).
        a: their values in A, codes by name.
        b: their values in B.
        count: how many columns of this signal differ at this tick.
        columns: how many were compared.
        signals: every signal that differs at this tick, as group/name.
    """

    remarks: tuple[str, ...] = ()
    step: int | None = None
    time: np.datetime64 | None = None
    group: str = ""
    signal: str = ""
    ids: tuple[str, ...] = ()
    a: tuple[float | str, ...] = ()
    b: tuple[float | str, ...] = ()
    count: int = 0
    columns: int = 0
    signals: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Tell it in lines, the tick first."""
        if self.step is None:
            return "\n".join(("all shared values are equal", *self.remarks))
        when = np.datetime_as_string(self.time, unit="s") + "Z" if self.time is not None else "?"
        head = f"first difference at {when} (step {self.step}), {self.group}/{self.signal}"
        lines = [f"{head}: {self.count} of {self.columns} differ"]
        for name, a, b in zip(self.ids or ("value",), self.a, self.b):
            lines.append(f"  {name}: {a} | {b}")
        others = [s for s in self.signals if s != f"{self.group}/{self.signal}"]
        if others:
            lines.append(f"  at this step also: {', '.join(others)}")
        return "\n".join((*lines, *self.remarks))


@dataclass(frozen=True)
class _Pair:
    """One series that both runs have, with the columns that both have."""

    group: str
    name: str
    a: xr.DataArray
    b: xr.DataArray
    columns_a: npt.NDArray[np.int64] | None
    columns_b: npt.NDArray[np.int64] | None
    ids: tuple[str, ...]

    def read(self, at_a: npt.NDArray[np.int64], at_b: npt.NDArray[np.int64]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Values of both at these positions in time, as (steps, columns); codes become names where the names differ."""
        a, b = _values(self.a, at_a, self.columns_a), _values(self.b, at_b, self.columns_b)
        if self.a.attrs.get("flag_meanings") != self.b.attrs.get("flag_meanings"):
            a, b = _named(self.a, a), _named(self.b, b)
        return a, b


def diff_runs(a: str | Path, b: str | Path) -> Difference | None:
    """Compare what two runs share, a block of steps at a time; None when they are equal in everything.

    NaN equals NaN. Steps are matched by time, columns by id. Raises ``RunError`` when a run cannot be read.
    """
    tree_a, tree_b = open_run(a), open_run(b)
    about = ((name, tree_a.attrs[name], tree_b.attrs[name]) for name in ("status", "steps_recorded", "steps_planned"))
    remarks = [f"{name}: {in_a} | {in_b}" for name, in_a, in_b in about if in_a != in_b]
    time_a, time_b = _time(tree_a), _time(tree_b)
    times, at_a, at_b = np.intersect1d(time_a, time_b, assume_unique=True, return_indices=True)
    if not (len(times) == len(time_a) == len(time_b)):
        remarks.append(f"times shared: {len(times)} of {len(time_a)} | {len(time_b)}")
    pairs = _pairs(tree_a, tree_b, remarks)
    block = read_layout(Path(a)).block_steps
    for low in range(0, len(times), block):
        part = slice(low, low + block)
        first = min((row for p in pairs if (row := _first_row(*p.read(at_a[part], at_b[part]))) is not None), default=None)
        if first is not None:
            return _describe(pairs, at_a[low + first], at_b[low + first], times[low + first], remarks)
    return Difference(tuple(remarks)) if remarks else None


def _time(tree: xr.DataTree) -> npt.NDArray[np.datetime64]:
    return np.asarray(tree.coords["time"].values)


def _pairs(tree_a: xr.DataTree, tree_b: xr.DataTree, remarks: list[str]) -> list[_Pair]:
    pairs = []
    for group in dict.fromkeys((*tree_a.children, *tree_b.children)):
        if group not in tree_a.children or group not in tree_b.children:
            remarks.append(f"{group}: only in {'A' if group in tree_a.children else 'B'}")
            continue
        a, b = tree_a.children[group].to_dataset(), tree_b.children[group].to_dataset()
        shared: dict[str, tuple[Any, Any, tuple[str, ...]]] = {}
        for name in dict.fromkeys((*a.data_vars, *b.data_vars)):
            if name not in a.data_vars or name not in b.data_vars:
                remarks.append(f"{group}/{name}: only in {'A' if name in a.data_vars else 'B'}")
                continue
            dim = str(a[name].dims[-1])
            if a[name].dims != b[name].dims:
                remarks.append(f"{group}/{name}: dimensions {a[name].dims} | {b[name].dims}")
                continue
            if dim not in shared:
                shared[dim] = _columns(group, dim, a, b, remarks) if dim != "time" else (None, None, ())
            pairs.append(_Pair(group, str(name), a[name], b[name], *shared[dim]))
    return pairs


def _columns(group: str, dim: str, a: xr.Dataset, b: xr.Dataset, remarks: list[str]) -> tuple[Any, Any, tuple[str, ...]]:
    """Positions of the shared ids in both, in A's order; None where they are the same throughout."""
    ids_a, ids_b = a[dim].values.tolist(), b[dim].values.tolist()
    if ids_a == ids_b:
        return None, None, tuple(ids_a)
    place = {name: i for i, name in enumerate(ids_b)}
    both = [(i, place[name]) for i, name in enumerate(ids_a) if name in place]
    only_a, only_b = len(ids_a) - len(both), len(ids_b) - len(both)
    same = "the same ids in another order" if not only_a and not only_b else f"{only_a} ids only in A, {only_b} only in B"
    remarks.append(f"{group}: {same}")
    at = np.array(both, np.int64).reshape(-1, 2)
    return at[:, 0], at[:, 1], tuple(ids_a[i] for i in at[:, 0])


def _values(series: xr.DataArray, at: npt.NDArray[np.int64], columns: npt.NDArray[np.int64] | None) -> npt.NDArray[Any]:
    contiguous = len(at) == 0 or at[-1] - at[0] == len(at) - 1
    values = series.isel(time=slice(int(at[0]), int(at[-1]) + 1) if contiguous and len(at) else at).values
    values = values.reshape(len(at), -1)
    return values if columns is None else values[:, columns]


def _named(series: xr.DataArray, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if "flag_meanings" not in series.attrs:
        return values.astype(object)
    names = dict(zip(series.attrs["flag_values"], series.attrs["flag_meanings"].split()))
    return np.array([names.get(value, str(value)) for value in values.reshape(-1).tolist()], object).reshape(values.shape)


def _unequal(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    different = np.asarray(a != b)
    if a.dtype.kind == b.dtype.kind == "f" and different.any():
        different &= ~(np.isnan(a) & np.isnan(b))
    return different


def _first_row(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> int | None:
    rows = _unequal(a, b).any(axis=1)
    return int(rows.argmax()) if rows.any() else None


def _describe(pairs: list[_Pair], at_a: np.int64, at_b: np.int64, time: np.datetime64, remarks: list[str]) -> Difference:
    """Look at every signal of the first differing tick."""
    found: list[tuple[_Pair, Any, Any, npt.NDArray[np.int64]]] = []
    for pair in pairs:
        a, b = pair.read(np.array([at_a]), np.array([at_b]))
        where = np.flatnonzero(_unequal(a, b)[0])
        if where.size:
            found.append((pair, a[0], b[0], where))
    pair, a, b, where = found[0]
    return Difference(
        remarks=tuple(remarks),
        step=int(at_a),
        time=time,
        group=pair.group,
        signal=pair.name,
        ids=tuple(pair.ids[i] for i in where[:_SHOWN]) if pair.ids else (),
        a=_shown(pair.a, a[where[:_SHOWN]]),
        b=_shown(pair.b, b[where[:_SHOWN]]),
        count=int(where.size),
        columns=len(a),
        signals=tuple(f"{p.group}/{p.name}" for p, _, _, _ in found),
    )


def _shown(series: xr.DataArray, values: npt.NDArray[Any]) -> tuple[float | str, ...]:
    if "flag_meanings" in series.attrs and values.dtype.kind in "iu":
        values = _named(series, values)
    return tuple(values.tolist())
