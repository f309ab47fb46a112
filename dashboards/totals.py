"""What the overview tells of a run: values over time, each aggregated over the columns, and their sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from dashboards.view import FloatArray, RunView, Values

MOST_POINTS: Final = 3000
SYSTEM: Final = (
    "exchange_p_mw", "exchange_q_mvar", "scheduled_p_mw", "scheduled_delivered_p_mw",
    "price_import_eur_per_mwh", "price_export_eur_per_mwh",
)  # fmt: skip


def spread(block: Values) -> Values:
    """Lowest, median and highest known value of each step; NaN where nothing is known."""
    if block.shape[1] == 0:
        return np.full((len(block), 3), np.nan, np.float32)
    ordered = np.sort(block, axis=1)  # NaN comes last
    known = np.isfinite(ordered).sum(axis=1)
    at = np.arange(len(block))
    middle = (ordered[at, np.maximum(known - 1, 0) // 2] + ordered[at, np.minimum(known // 2, block.shape[1] - 1)]) / 2
    return np.stack([ordered[:, 0], np.where(known > 0, middle, np.nan), ordered[at, np.maximum(known - 1, 0)]], axis=1)


def envelope(block: Values) -> Values:
    """Lowest, mean and highest known value of each step."""
    known = np.isfinite(block)
    mean = np.where(known, block, 0).sum(axis=1) / np.where(known.any(axis=1), known.sum(axis=1), np.nan)
    low = np.fmin.reduce(block, axis=1, initial=np.nan)
    high = np.fmax.reduce(block, axis=1, initial=np.nan)
    return np.stack([low, mean, high], axis=1).astype(np.float32)


def thin(values: npt.NDArray[np.floating], steps: int, how: str = "mean") -> FloatArray:
    """One value for every ``steps`` steps: "mean", "low" or "high" of those known."""
    if steps == 1 or len(values) == 0:
        return values.astype(np.float64)
    starts = np.arange(0, len(values), steps)
    if how != "mean":
        least_or_most: np.ufunc = np.fmin if how == "low" else np.fmax
        reduced: FloatArray = least_or_most.reduceat(values.astype(np.float64), starts)
        return reduced
    known = np.isfinite(values)
    count = np.add.reduceat(known.astype(np.float64), starts)
    total = np.add.reduceat(np.where(known, values, 0.0).astype(np.float64), starts)
    means: FloatArray = np.divide(total, count, out=np.full(len(starts), np.nan), where=count > 0)
    return means


@dataclass(frozen=True)
class Band:
    """Lowest, middle and highest of many columns over time."""

    low: FloatArray
    mid: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class Curves:
    """Everything that the overview draws, at most ``MOST_POINTS`` points a curve; ``merged`` steps make a point."""

    time_ns: npt.NDArray[np.int64]
    merged: int
    system: dict[str, FloatArray]
    voltage: Band
    soc: dict[str, Band]  # by kind
    single_soc: dict[str, FloatArray]  # by resource


def storage(view: RunView) -> npt.NDArray[np.intp]:
    """The columns with a state of charge, as the first recorded step shows them."""
    if not view.rows or not view.has("resources/soc"):
        return np.empty(0, np.intp)
    return np.flatnonzero(np.isfinite(view.row("resources/soc", 0)))


def curves(view: RunView, singles: list[str]) -> Curves:
    """Aggregate a run for drawing."""
    merged = max(1, -(-view.rows // MOST_POINTS))

    def band(values: Values) -> Band:
        low, mid, high = values.T
        return Band(thin(low, merged, "low"), thin(mid, merged), thin(high, merged, "high"))

    ids = view.ids("resources")
    chosen = np.flatnonzero(np.isin(ids, singles))
    single = view.columns("resources/soc", chosen) if len(chosen) else np.empty((view.rows, 0), np.float32)
    return Curves(
        view.time_ns[: view.rows : merged],
        merged,
        {name: thin(view.line(f"system/{name}"), merged) for name in SYSTEM},
        band(view.reduce("buses/vm_pu", "spread", spread)),
        {kind: band(values) for kind, values in _soc(view).items()},
        {str(ids[column]): thin(values, merged) for column, values in zip(chosen, single.T, strict=True)},
    )


def _soc(view: RunView) -> dict[str, Values]:
    with_soc = storage(view)
    if not len(with_soc):
        return {}
    kinds = view.coordinate("resources", "kind")
    kinds = np.full(len(with_soc), "storage") if kinds is None else kinds[with_soc]
    columns = {str(kind): with_soc[kinds == kind] for kind in np.unique(kinds)}

    def of(kind: str) -> Values:
        return view.reduce("resources/soc", f"envelope of {kind}", lambda block: envelope(block[:, columns[kind]]))

    return {kind: of(kind) for kind in columns}


@dataclass(frozen=True)
class KeyFigure:
    """One number of the overview. ``abnormal`` gives it a colour."""

    name: str
    value: str
    unit: str
    note: str = ""
    abnormal: bool = False


@dataclass(frozen=True)
class Sums:
    """The numbers of a run so far. Energies in MWh; violations are counted by element and step."""

    import_mwh: float
    export_mwh: float
    cost_eur: float
    losses_mwh: float
    curtailed_mwh: float
    voltage_violations: int
    loading_violations: int
    unsolved_steps: int


def sums(view: RunView) -> Sums:
    """Add up a run; what is not known counts as nothing, and ``unsolved_steps`` says how often."""
    hours = view.step_s / 3600
    exchange = view.line("system/exchange_p_mw")
    taken, given = np.maximum(-exchange, 0), np.maximum(exchange, 0)
    cost = taken * view.line("system/price_import_eur_per_mwh") - given * view.line("system/price_export_eur_per_mwh")
    low, high = view.limit("vm_low_pu", 0.9), view.limit("vm_high_pu", 1.1)
    most = view.limit("loading", 1.0)
    out = view.reduce("buses/vm_pu", f"outside {low}-{high}", lambda b: _count((b < low) | (b > high)))
    over = view.reduce("branches/loading", f"above {most}", lambda b: _count(b > most))
    solved = view.line("system/converged") if view.has("system/converged") else np.isfinite(exchange).astype(np.float64)
    return Sums(
        float(np.nansum(taken) * hours),
        float(np.nansum(given) * hours),
        float(np.nansum(cost) * hours),
        float(np.nansum(view.line("system/losses_mw")) * hours),
        float(np.nansum(view.line("system/curtailed_mw")) * hours),
        int(out.sum()),
        int(over.sum()),
        int((solved != 1).sum()),
    )


def _count(beyond: npt.NDArray[np.bool_]) -> Values:
    counts: Values = beyond.sum(axis=1, keepdims=True).astype(np.float32)
    return counts


def highest(view: RunView, name: str) -> FloatArray:
    """Lowest, median and highest value over all steps, shape (steps, 3)."""
    return view.reduce(name, "spread", spread).astype(np.float64)


def key_figures(view: RunView) -> list[KeyFigure]:
    """The numbers at the head of the overview."""
    s = sums(view)
    volts = highest(view, "buses/vm_pu")
    load = highest(view, "branches/loading")[:, 2]
    range_ = f"{_least(volts[:, 0]):.3f} … {_most(volts[:, 2]):.3f} pu" if np.isfinite(volts).any() else "not recorded"
    peak = f"peak {100 * _most(load):.0f} %" if np.isfinite(load).any() else "not recorded"
    share = f"{100 * s.losses_mwh / (s.import_mwh + s.export_mwh):.1f} % of exchange" if s.import_mwh + s.export_mwh else ""
    gain = "paid" if s.cost_eur >= 0 else "earned"
    return [
        KeyFigure("Import", f"{s.import_mwh:,.1f}", "MWh"),
        KeyFigure("Export", f"{s.export_mwh:,.1f}", "MWh"),
        KeyFigure("Cost", f"{s.cost_eur:,.0f}".replace("-", "−"), "€", gain),
        KeyFigure("Losses", f"{s.losses_mwh:,.2f}", "MWh", share),
        KeyFigure("Curtailed", f"{s.curtailed_mwh:,.2f}", "MWh"),
        KeyFigure("Voltage violations", f"{s.voltage_violations:,}", "bus-steps", range_, s.voltage_violations > 0),
        KeyFigure("Loading violations", f"{s.loading_violations:,}", "branch-steps", peak, s.loading_violations > 0),
        KeyFigure("Unsolved steps", f"{s.unsolved_steps:,}", f"of {view.rows:,}", "", s.unsolved_steps > 0),
    ]


def _least(values: FloatArray) -> float:
    return float(np.fmin.reduce(values))


def _most(values: FloatArray) -> float:
    return float(np.fmax.reduce(values))
