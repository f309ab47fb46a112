"""What a report needs of a run: read once, a block of steps at a time, reduced to what a plot can show.

A run may be large, unfinished or damaged. What cannot be read is left out and named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from scenarios.report.grid_data import GridData, read_grid
from vpp.historian.read import open_run, read_events, read_manifest
from vpp.kernel.errors import RunError
from vpp.kernel.signals import FloatArray, IntArray

if TYPE_CHECKING:
    import xarray as xr

POINTS: Final = 4000  # more are not seen on a screen
BLOCK: Final = 672
TOP: Final = 10
Reduce = Callable[[FloatArray, IntArray], FloatArray]
_HIDDEN: Final = ("nobody", "unknown")  # causes that say nothing


@dataclass(frozen=True, slots=True)
class Band:
    """Lowest, middle and highest of many values, (T,) each."""

    low: FloatArray
    middle: FloatArray
    high: FloatArray


@dataclass(slots=True)
class RunData:
    """A run as a report shows it.

    Attributes:
        path: the run directory.
        manifest: its manifest; a run without a summary (it goes on, or was killed) has one from its series.
        time_ns: (T,) begin of each point.
        per: steps that a point stands for: means, and lowest and highest of bands.
        system: series of one value a step, (T,) each.
        voltage: of all buses.
        soc: of all batteries.
        power: what each kind of resource delivers, (T,) each.
        loading: the branches that were loaded most, (T,) each.
        causes: how many resources each owner binds, (T,) each.
        events: as recorded, in order.
        damage: what could not be read.
        grid: the network's estimate and limits.
    """

    path: Path
    manifest: dict[str, Any]
    time_ns: IntArray
    per: int = 1
    system: dict[str, FloatArray] = field(default_factory=dict)
    voltage: Band | None = None
    soc: Band | None = None
    power: dict[str, FloatArray] = field(default_factory=dict)
    loading: dict[str, FloatArray] = field(default_factory=dict)
    causes: dict[str, FloatArray] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    grid: GridData = field(default_factory=GridData)


def read_run(path: Path) -> RunData:
    """Read a run, finished or not.

    Raises:
        RunError: no run here, or nothing of it can be read.
    """
    manifest = read_manifest(path)
    tree = open_run(path, skip_damaged=True)
    time_ns = tree.coords["time"].values.astype(np.int64) if "time" in tree.coords else np.zeros(0, np.int64)
    data = RunData(path, manifest, time_ns, damage=list(tree.attrs.get("damaged", ())))
    try:
        data.events = [{str(k): v for k, v in row.items()} for row in read_events(path).to_dict("records")]
    except RunError as error:
        data.damage.append(error.reason)
    if not len(time_ns):
        return data
    _system(data, tree)
    _voltage_and_soc(data, tree)
    _power(data, tree)
    _loading(data, tree)
    _causes(data, tree)
    data.grid = read_grid(tree, manifest, time_ns, data.damage)
    if "summary" not in manifest:
        manifest["summary"] = _summary(data)
    if "counts" not in manifest and "converged" in data.system:
        manifest["counts"] = {"diverged_steps": int(np.sum(data.system["converged"] == 0))}
    _thin(data)
    return data


def _series(tree: xr.DataTree, group: str, name: str) -> Any:
    """A recorded series, None where it was not recorded or cannot be read."""
    return tree[f"{group}/{name}"] if group in tree.children and name in tree[group].data_vars else None


def _blocks(series: Any, damage: list[str]) -> Iterator[tuple[slice, Any]]:
    """The values of a series, some steps at a time; damaged ones are left out and named."""
    for low in range(0, series.sizes["time"], BLOCK):
        part = slice(low, low + BLOCK)
        try:
            yield part, series.isel(time=part).values
        except RunError as error:
            damage.append(error.reason)


def _filled(series: Any, n: int, damage: list[str]) -> FloatArray:
    """A series of one value a step as floats, NaN where it is damaged."""
    out = np.full(n, np.nan)
    for part, values in _blocks(series, damage):
        out[part] = np.where(values == 255, np.nan, values) if values.dtype == np.uint8 else values
    return out


def _system(data: RunData, tree: xr.DataTree) -> None:
    n = len(data.time_ns)
    for name in tree["system"].data_vars if "system" in tree.children else ():
        data.system[str(name)] = _filled(tree[f"system/{name}"], n, data.damage)


def _voltage_and_soc(data: RunData, tree: xr.DataTree) -> None:
    data.voltage = _band(_series(tree, "buses", "vm_pu"), data)
    data.soc = _band(_series(tree, "resources", "soc"), data)


def _band(series: Any, data: RunData) -> Band | None:
    """Lowest, middle and highest over the columns, which may be NaN; None where all are."""
    if series is None:
        return None
    band = np.full((3, len(data.time_ns)), np.nan)
    for part, values in _blocks(series, data.damage):
        rows = np.flatnonzero(np.isfinite(values).any(axis=1))
        known = values[rows]
        at = np.arange(len(data.time_ns))[part][rows]
        band[:, at] = np.nanmin(known, axis=1), np.nanmedian(known, axis=1), np.nanmax(known, axis=1)
    return Band(*band) if np.isfinite(band).any() else None


def _power(data: RunData, tree: xr.DataTree) -> None:
    """What each kind delivers."""
    series = _series(tree, "resources", "delivered_p_mw")
    if series is None or "kind" not in series.coords:
        return
    kinds, of = np.unique(series.coords["kind"].values.astype(str), return_inverse=True)
    total = np.full((len(kinds), len(data.time_ns)), np.nan)
    for part, values in _blocks(series, data.damage):
        for k in range(len(kinds)):
            total[k, part] = values[:, of == k].sum(axis=1)
    data.power = dict(zip(kinds.tolist(), total))


def _loading(data: RunData, tree: xr.DataTree) -> None:
    """The most loaded branches: found first, then read."""
    series = _series(tree, "branches", "loading")
    if series is None:
        return
    peak = np.full(series.shape[1], -np.inf)
    for _, values in _blocks(series, data.damage):
        peak = np.fmax(peak, np.fmax.reduce(values, axis=0))
    top = [i for i in np.argsort(-peak, kind="stable")[:TOP].tolist() if peak[i] > 0]
    if not top:
        return
    columns = np.full((len(top), len(data.time_ns)), np.nan)
    for part, values in _blocks(series.isel({series.dims[1]: top}), []):
        columns[:, part] = values.T
    ids = series.coords[series.dims[1]].values[top].tolist()
    names = series.coords["name"].values[top].tolist() if "name" in series.coords else ids
    data.loading = {f"{name} ({i})" if name != i else i: column for name, i, column in zip(names, ids, columns)}


def _causes(data: RunData, tree: xr.DataTree) -> None:
    """How many resources each owner binds."""
    series = _series(tree, "resources", "cause")
    if series is None:
        return
    codes, names = series.attrs["flag_values"], series.attrs["flag_meanings"].split()
    counts = np.zeros((len(names), len(data.time_ns)))
    for part, values in _blocks(series, data.damage):
        for k, code in enumerate(codes):
            counts[k, part] = (values == code).sum(axis=1)
    data.causes = {name: row for name, row in zip(names, counts) if name not in _HIDDEN and row.any()}


def _summary(data: RunData) -> dict[str, float | None]:
    """The sums of a run that has not said them itself, as far as its series tell."""
    hours, s, nothing = float(data.manifest.get("step_s", 0.0)) / 3600, data.system, np.zeros(0)
    exchange = s.get("exchange_p_mw", nothing)
    bought, sold = np.fmax(-exchange, 0) * hours, np.fmax(exchange, 0) * hours
    total = np.array(list(data.power.values())) if data.power else None
    found: dict[str, Any] = {
        "energy_import_mwh": np.nansum(bought) if exchange.size else None,
        "energy_export_mwh": np.nansum(sold) if exchange.size else None,
        "energy_generated_mwh": np.nansum(np.fmax(total, 0)) * hours if total is not None else None,
        "energy_consumed_mwh": np.nansum(np.fmax(-total, 0)) * hours if total is not None else None,
        "losses_mwh": np.nansum(s["losses_mw"]) * hours if "losses_mw" in s else None,
        "curtailed_mwh": np.nansum(s["curtailed_mw"]) * hours if "curtailed_mw" in s else None,
        "vm_min_pu": np.nanmin(data.voltage.low) if data.voltage else None,
        "vm_max_pu": np.nanmax(data.voltage.high) if data.voltage else None,
        "loading_max": max((np.nanmax(column) for column in data.loading.values()), default=None),
    }
    buy, sell = s.get("price_import_eur_per_mwh", nothing), s.get("price_export_eur_per_mwh", nothing)
    if exchange.size and buy.size and sell.size and np.isfinite(buy).all():
        found["cost_eur"] = np.nansum(bought * buy - sold * sell)
    return {name: None if value is None else float(value) for name, value in found.items()}


def _thin(data: RunData) -> None:
    """Let a point stand for several steps where there are more than a plot can show."""
    n = len(data.time_ns)
    data.per = per = -(-n // POINTS)
    if per == 1:
        return
    pieces = np.arange(0, n, per)

    def mean(values: FloatArray, at: IntArray) -> FloatArray:
        known = np.add.reduceat(np.isfinite(values).astype(float), at)
        return np.asarray(np.add.reduceat(np.nan_to_num(values), at) / np.where(known > 0, known, np.nan))

    tables: tuple[tuple[dict[str, FloatArray], Reduce], ...] = (
        (data.system, mean),
        (data.power, mean),
        (data.causes, mean),
        (data.loading, np.fmax.reduceat),
        (data.grid.estimate, mean),
        (data.grid.broken, np.fmax.reduceat),
        *((curve.values, mean) for curve in data.grid.curves),
    )
    for table, how in tables:
        for name, values in table.items():
            table[name] = how(values, pieces)
    data.voltage, data.soc = (
        band and Band(np.fmin.reduceat(band.low, pieces), mean(band.middle, pieces), np.fmax.reduceat(band.high, pieces))
        for band in (data.voltage, data.soc)
    )
    data.time_ns = data.time_ns[pieces]
