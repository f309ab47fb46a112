"""What a report needs of the network's estimate and limits, read a block of steps at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from scenarios.limits import limits_told
from vpp.grid.watch import LimitWatch
from vpp.historian.moments import described
from vpp.kernel.errors import RunError
from vpp.kernel.signals import BoolArray, FloatArray, IntArray

BLOCK: Final = 672
HALF: Final = 1.959963984540054  # of the 95 % interval, in standard deviations


@dataclass(slots=True)
class Curve:
    """One bus over time, (T,) each: true, estimated for the same moment, measured (NaN where nothing was).

    Attributes:
        name: the bus.
        values: "true", "estimated", "low" and "high" (ends of the 95 % interval), "measured", "suspect" (measured, but
            taken for a gross error).
    """

    name: str
    values: dict[str, FloatArray] = field(default_factory=dict)


@dataclass(slots=True)
class GridData:
    """The network's part of a run.

    Attributes:
        estimate: of the estimate in force, (T,) each; empty: nobody estimated, or it was not recorded.
        broken: number of limits that are broken, by quantity, (T,) each.
        curves: the bus that was estimated worst, and the one that came nearest to a limit.
    """

    estimate: dict[str, FloatArray] = field(default_factory=dict)
    broken: dict[str, FloatArray] = field(default_factory=dict)
    curves: list[Curve] = field(default_factory=list)


def read_grid(tree: Any, manifest: dict[str, Any], time_ns: IntArray, damage: list[str]) -> GridData:
    """Read it; a run without a summary of its own (it goes on, or was killed) gets one from its series."""
    data, n = GridData(), len(time_ns)
    for group, table in (("estimate", data.estimate), ("limits", data.broken)):
        for name in tree[group].data_vars if group in tree.children else ():
            table[str(name)] = _whole(tree[f"{group}/{name}"], n, damage)
    if "limits" not in manifest:
        manifest["limits"] = _limits(tree, manifest, time_ns, damage)
    if data.estimate and "estimate" not in manifest:
        manifest["estimate"] = _estimate(tree, data.estimate, time_ns, damage)
    if data.estimate and _has(tree, "buses", "est_vm_pu") and _has(tree, "buses", "vm_pu"):
        data.curves = _curves(tree, manifest, time_ns, described(time_ns, data.estimate["age_s"]), damage)
    return data


def _has(tree: Any, group: str, name: str) -> bool:
    return group in tree.children and name in tree[group].data_vars


def _whole(series: Any, n: int, damage: list[str]) -> FloatArray:
    """A series as floats, (n,) or (n, columns); NaN where it is damaged."""
    out = np.full((n, *series.shape[1:]), np.nan)
    for part, values in _blocks(series, damage):
        out[part] = values
    return out


def _blocks(series: Any, damage: list[str]) -> Iterator[tuple[slice, FloatArray]]:
    for low in range(0, series.sizes["time"], BLOCK):
        part = slice(low, low + BLOCK)
        try:
            yield part, np.asarray(series.isel(time=part).values, np.float64)
        except RunError as error:
            damage.append(error.reason)


def names_of(tree: Any, group: str) -> list[str]:
    """What people call a group's columns."""
    node = tree[group]
    dim = next(str(d) for d in node.dims if d != "time")
    ids = [str(i) for i in node[dim].values]
    names = [str(x) for x in node["name"].values] if "name" in node.coords else ids
    return [name or i for name, i in zip(names, ids, strict=True)]


def _limits(tree: Any, manifest: dict[str, Any], time_ns: IntArray, damage: list[str]) -> dict[str, Any]:
    """The limits over what was recorded."""
    stated = manifest.get("scenario", {}).get("limits", {})
    bus, branch = (names_of(tree, group) if group in tree.children else [] for group in ("buses", "branches"))
    reverse = np.nan if stated.get("reverse_mw") is None else stated["reverse_mw"]
    watch = LimitWatch(
        np.full(len(branch), stated.get("loading", 1.0)), np.full(len(bus), stated.get("vm_low_pu", 0.9)),
        np.full(len(bus), stated.get("vm_high_pu", 1.1)), np.full(len(branch), reverse),
    )  # fmt: skip
    wanted = (("buses", "vm_pu", len(bus)), ("branches", "loading", len(branch)), ("branches", "reverse_mw", len(branch)))
    n = len(time_ns)
    for low in range(0, n, BLOCK):
        rows = min(BLOCK, n - low)
        parts = []
        for group, name, columns in wanted:
            part = tree[f"{group}/{name}"].isel(time=slice(low, low + BLOCK)) if _has(tree, group, name) else None
            parts.append(np.full((rows, columns), np.nan) if part is None else _values(part, damage))
        for vm, loading, back in zip(*parts, strict=True):
            watch(vm, loading, back)
    step_s = float(manifest.get("step_s", 0.0))
    return limits_told(watch, bus.__getitem__, branch.__getitem__, time_ns, step_s)


def _values(series: Any, damage: list[str]) -> FloatArray:
    try:
        return np.asarray(series.values, np.float64)
    except RunError as error:
        damage.append(error.reason)
        return np.full(series.shape, np.nan)


def _estimate(tree: Any, rows: dict[str, FloatArray], time_ns: IntArray, damage: list[str]) -> dict[str, Any]:
    """How good the estimates were, from what was recorded of each."""
    age = rows["age_s"]
    known = np.flatnonzero(np.isfinite(age))
    moment = time_ns[known] - np.round(age[known] * 1e9).astype(np.int64)
    first = known[np.unique(moment, return_index=True)[1]]  # every estimate once
    rmse, sigma, inside, unknown = (rows[name][first] for name in ("rmse_pu", "sigma_pu", "inside", "unknown"))
    judged = np.isfinite(rmse)
    nothing = (unknown > 0) & ~judged
    none = {"voltages": 0, "rmse_pu": None, "sigma_pu": None, "inside_95": None}
    everything = none if not judged.any() else {
        "voltages": int(judged.sum()), "rmse_pu": float(np.sqrt(np.mean(rmse[judged] ** 2))),
        "sigma_pu": float(np.sqrt(np.mean(sigma[judged] ** 2))), "inside_95": float(np.mean(inside[judged])),
    }  # fmt: skip
    return {
        "estimates": len(first), "judged": int(judged.sum()), "diverged": int(nothing.sum()),
        "unobservable": int((unknown > 0).sum() - nothing.sum()), "unknown_voltages": int(np.nansum(unknown)),
        "all": everything, "measured": none, "expected": none, "worst": None, "gross_errors": [], "wanted": [],
        "suspects": _marked(tree, "meters", "suspect", "point", first, time_ns, age, damage),
        "doubted": _marked(tree, "branches", "est_doubted", "branch", first, time_ns, age, damage),
    }  # fmt: skip


def _marked(
    tree: Any, group: str, name: str, word: str, rows: IntArray, time_ns: IntArray, age: FloatArray, damage: list[str]
) -> list[dict[str, Any]]:
    """Columns that some estimates marked: how many, and which were the first and the last."""
    if not _has(tree, group, name):
        return []
    marked: BoolArray = _whole(tree[f"{group}/{name}"], len(time_ns), damage)[rows] == 1
    moment = time_ns[rows] - np.round(age[rows] * 1e9).astype(np.int64)
    names, out = names_of(tree, group), []
    for column in np.flatnonzero(marked.any(axis=0)).tolist():
        when = moment[marked[:, column]]
        out.append({word: names[column], "estimates": len(when), "first_ns": int(when[0]), "last_ns": int(when[-1])})
    return out


def _curves(tree: Any, manifest: dict[str, Any], time_ns: IntArray, row: IntArray, damage: list[str]) -> list[Curve]:
    """The bus with the largest error, and the one nearest to a limit of its voltage."""
    of = np.flatnonzero(row >= 0)
    square = np.zeros(len(tree["buses"]["vm_pu"][0]))
    for low in range(0, len(of), BLOCK):
        at = of[low : low + BLOCK]
        truth = _values(tree["buses/vm_pu"].isel(time=at), damage)
        found = _values(tree["buses/est_vm_pu"].isel(time=row[at]), damage)
        square += np.nansum((found - truth) ** 2, axis=0)
    chosen = [int(np.argmax(square))] if square.any() else []
    worst = manifest.get("limits", {}).get("worst", {})
    near = sorted((worst[q] for q in ("vm_low", "vm_high") if q in worst), key=lambda r: float(r["margin"]))
    chosen += [r["position"] for r in near[:1] if r["position"] not in chosen]
    names = names_of(tree, "buses")
    return [_curve(tree, bus, names[bus], time_ns, row, damage) for bus in chosen]


def _curve(tree: Any, bus: int, name: str, time_ns: IntArray, row: IntArray, damage: list[str]) -> Curve:
    n, at = len(time_ns), np.maximum(row, 0)

    def column(group: str, series: str, position: int) -> FloatArray:
        return _values(tree[f"{group}/{series}"][:, position], damage)

    found, sigma = (np.where(row >= 0, column("buses", s, bus)[at], np.nan) for s in ("est_vm_pu", "est_sigma_pu"))
    curve = Curve(name, {"true": column("buses", "vm_pu", bus), "estimated": found})
    curve.values |= {"low": found - HALF * sigma, "high": found + HALF * sigma}
    meters = tree["meters"] if "meters" in tree.children else None
    if meters is None:
        return curve
    here = np.flatnonzero((meters["bus"].values == bus) & (meters["quantity"].values == "vm_pu"))
    for position in here[:1].tolist():
        value, age = column("meters", "value", position), column("meters", "age_s", position)
        suspect = np.where(row >= 0, column("meters", "suspect", position)[at], 0.0) == 1
        source = np.searchsorted(time_ns, time_ns - np.round(np.nan_to_num(age) * 1e9).astype(np.int64))
        measured = np.full(n, np.nan)
        heard = np.isfinite(age) & np.isfinite(value)
        measured[source[heard]] = value[heard]
        curve.values |= {"measured": np.where(suspect, np.nan, measured), "suspect": np.where(suspect, measured, np.nan)}
    return curve
