"""What a pandapower network states about tap changers and switched shunts, as tables of the compiled network."""

from __future__ import annotations

from typing import Any

import numpy as np

from vpp.grid.network import BRANCH_KINDS
from vpp.grid.tables import BoolArray, ByteArray, FloatArray, Int32Array, IntArray, Shunts, Taps

WHOLE = 1e-9  # how far a position may be from a whole number


def tap_table(net: Any, branch_kind: ByteArray, branch_id: IntArray) -> Taps:
    """Collect the first tap changer of every transformer in service, where it alters the ratio alone.

    Left out, and so fixed where they are: phase shifters, steps with an angle, tables of characteristics, taps at the
    star point, second tap changers. Without stated ends the position cannot move.
    """
    parts: list[list[Any]] = []
    for kind in ("trafo", "trafo3w"):
        table = net[kind]
        if not len(table) or "tap_pos" not in table or "tap_changer_type" not in table:
            continue
        rows = np.flatnonzero(branch_kind == BRANCH_KINDS.index(kind))
        good = _plain_ratio(table)
        side = table["tap_side"].astype(str).to_numpy()
        legs = ("hv", "lv") if kind == "trafo" else ("hv", "mv", "lv")
        for k, leg in enumerate(legs):
            here = np.flatnonzero(good & (side == leg))
            first = 0 if kind == "trafo" else k * len(table)
            branch = rows[first : first + len(table)][here]
            if not np.array_equal(branch_id[branch], table.index.to_numpy()[here]):
                raise ValueError(f"{kind}: the branches are not in the order of the table")
            numbers = {c: _column(table, f"tap_{c}")[here] for c in ("pos", "min", "max", "neutral", "step_percent")}
            low = np.where(np.isfinite(numbers["min"]), numbers["min"], numbers["pos"])
            high = np.where(np.isfinite(numbers["max"]), numbers["max"], numbers["pos"])
            step = numbers["step_percent"] / 100.0
            parts.append([branch, np.full(len(here), leg == "hv"), numbers["pos"], low, high, numbers["neutral"], step])
    none = np.zeros(0)
    branch, at_from, pos, low, high, neutral, step = (np.concatenate([none, *(p[k] for p in parts)]) for k in range(7))
    at, lowest, highest, middle = (x.astype(np.int32) for x in (pos, low, high, neutral))
    return Taps(branch.astype(np.int32), at_from.astype(np.bool_), at, lowest, highest, middle, step)


def _plain_ratio(table: Any) -> BoolArray:
    """Which rows alter the ratio alone, by whole steps."""
    pos, neutral = _column(table, "tap_pos"), _column(table, "tap_neutral")
    good = table["in_service"].to_numpy(bool) & table["tap_changer_type"].astype(str).isin(["Ratio"]).to_numpy()
    good &= np.nan_to_num(_column(table, "tap_step_degree")) == 0.0
    good &= np.nan_to_num(_column(table, "tap_step_percent")) != 0.0
    good &= np.isfinite(pos) & np.isfinite(neutral)
    for values in (pos, neutral, _column(table, "tap_min"), _column(table, "tap_max")):
        good &= ~(np.abs(values - np.round(values)) > WHOLE)
    for column in ("tap_dependency_table", "tap_at_star_point"):
        if column in table:
            good &= ~(table[column].astype(object).map(lambda v: v is True or v == 1).to_numpy(bool))
    out: BoolArray = good
    return out


def shunt_table(net: Any, position: Int32Array, sn_mva: float) -> Shunts:
    """Collect the shunts in service that switch in equal steps; others are only part of the admittance matrix."""
    table = net["shunt"]
    rows = table.in_service.to_numpy(bool) if len(table) else np.zeros(0, bool)
    if "step_dependency_table" in table:
        rows = rows & ~table["step_dependency_table"].astype(object).map(lambda v: v is True or v == 1).to_numpy(bool)
    table = table[rows]
    bus = position[table.bus.to_numpy().astype(np.int64)]
    kv = net.bus.vn_kv.to_numpy(float)[bus]
    rated = _column(table, "vn_kv")
    ratio = np.where(np.isfinite(rated), kv / rated, 1.0) ** 2
    y = (_column(table, "p_mw") - 1j * _column(table, "q_mvar")) * ratio / sn_mva
    step, most = (_column(table, c).astype(np.int32) for c in ("step", "max_step"))
    names = (
        tuple("" if v is None or v != v else str(v) for v in table["name"].tolist()) if "name" in table else ("",) * len(table)
    )
    return Shunts(table.index.to_numpy().astype(np.int64), bus, step, np.maximum(step, most), y, names)


def _column(table: Any, name: str) -> FloatArray:
    """A column as float64, NaN where it or a value is missing."""
    import pandas as pd

    if name not in table:
        return np.full(len(table), np.nan)
    return np.array(pd.to_numeric(table[name], errors="coerce"), dtype=np.float64)


def apply_steps(net: Any, taps: Taps, branch_kind: ByteArray, branch_id: IntArray, shunts: Shunts) -> None:
    """Write positions and steps into the pandapower network that they came from."""
    for kind in ("trafo", "trafo3w"):
        mine = branch_kind[taps.branch] == BRANCH_KINDS.index(kind)
        if mine.any():
            net[kind].loc[branch_id[taps.branch[mine]], "tap_pos"] = taps.pos[mine]
    if len(shunts):
        net["shunt"].loc[shunts.id, "step"] = shunts.step
