"""Classes of like resources: put together before the solver, handed back to the members after it.

Storages of one node that have the same duration, efficiencies and usable band, and are about as full, plan
as one. Up to ``max_classes`` each storage is a class of its own and nothing is lost; above that the rounding
gets coarser until there are few enough. Limitable resources of one node are one class, which is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from controllers.dispatch.problem import Storages, sum_by
from vpp.kernel.signals import BoolArray, FloatArray, IntArray

# Rounding, finest first: bins of fill, step of ln(duration), step of efficiencies and usable band.
LEVELS: Final = (
    (16, 1e-6, 1e-6), (8, 1e-6, 1e-6), (4, 1e-6, 1e-6), (2, 1e-6, 1e-6), (1, 1e-6, 1e-6),
    (4, 0.1, 0.02), (4, 0.2, 0.02), (2, 0.2, 0.05), (1, 0.2, 0.05),
    (1, 0.4, 0.1), (1, 0.7, 0.2), (1, 1.5, 10.0), (1, 100.0, 10.0),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Classes:
    """Which class each storage is in, and the classes as storages.

    Attributes:
        of: (m,) class of each storage.
        whole: (k,) the classes, ratings and contents summed, efficiencies weighted by size.
    """

    of: IntArray
    whole: Storages

    @classmethod
    def of_storages(cls, each: Storages, max_classes: int) -> Classes:
        """Take each storage alone, or round until at most ``max_classes`` are left (or a node has one a side)."""
        of = np.arange(len(each.node))
        for level in LEVELS if len(of) > max_classes else ():
            of = _labels(each, *level)
            if of.max() < max_classes:
                break
        return cls(of, _together(each, of))


def hand_back(p_mw: FloatArray, classes: Classes, each: Storages, dt_h: float) -> FloatArray:
    """Split the classes' power over their members, feasible for every one of them.

    When discharging, a member's part follows the energy that it has left, when charging the room that it
    has left: so all become empty (or full) together, and equally full members share by size. What a
    member's rating refuses goes to the others; what nobody can give is left out.

    Args:
        p_mw: (steps, k) power of the classes, injection positive.
        classes: the classes.
        each: the members.
        dt_h: length of a step.

    Returns:
        (steps, m) power of the members.
    """
    of, k = classes.of, p_mw.shape[1]

    def total(value: FloatArray) -> FloatArray:
        return np.bincount(of, value, k).astype(np.float64)

    energy, out = each.start_mwh.copy(), np.empty((len(p_mw), len(of)))
    for t, power in enumerate(p_mw):
        ask = power[of]
        have = np.maximum(energy - each.low_mwh, 0.0) * each.eff_discharge / dt_h
        room = np.maximum(each.high_mwh - energy, 0.0) / (each.eff_charge * dt_h)
        could = np.where(ask > 0, have, room)
        most = np.minimum(could, np.where(ask > 0, each.discharge_mw, each.charge_mw))
        part = np.minimum(_ratio(np.abs(power), total(could))[of] * could, most)
        left = np.abs(power) - total(part)
        free = most - part
        part += np.clip(_ratio(left, total(free)), 0.0, 1.0)[of] * free
        out[t] = np.where(ask > 0, part, -part)
        energy += np.where(ask > 0, -part / each.eff_discharge, part * each.eff_charge) * dt_h
    return out


def limitable_classes(node: IntArray, low: FloatArray, high: FloatArray) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Put the limitable resources of each node together: class of each, node, (steps, l) low and high of each class."""
    nodes, of = np.unique(node, return_inverse=True)
    return of, nodes.astype(np.int64), sum_by(low, of, len(nodes)), sum_by(high, of, len(nodes))


def hand_back_limits(p_mw: FloatArray, of: IntArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """(steps, l) limits of the members: all at the same fraction of their bands; NaN where nothing is curtailed."""
    k = p_mw.shape[1]
    bottom, top = sum_by(low, of, k), sum_by(high, of, k)
    fraction = np.clip(_ratio(p_mw - bottom, top - bottom), 0.0, 1.0)[:, of]
    curtailed: BoolArray = (top - p_mw > 1e-7)[:, of] & (high > low)
    return np.where(curtailed, low + fraction * (high - low), np.nan)


def _labels(each: Storages, bins: int, step_duration: float, step_share: float) -> IntArray:
    """Number the storages that look alike when rounded; outside the band, below and above, are apart."""
    usable = each.high_mwh - each.low_mwh
    fill = np.clip(_ratio(each.start_mwh - each.low_mwh, usable), 0.0, 1.0)
    hours = [np.log(np.maximum(_ratio(usable, power), 1e-9)) for power in (each.charge_mw, each.discharge_mw)]
    columns = [
        each.node,
        each.side,
        np.minimum(np.floor(fill * bins), bins - 1),
        *(np.round(h / step_duration) for h in hours),
        np.round(each.eff_charge / step_share),
        np.round(each.eff_discharge / step_share),
    ]
    return np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _together(each: Storages, of: IntArray) -> Storages:
    """Sum ratings and contents; efficiencies are means weighted by rating."""
    k = int(of.max()) + 1 if len(of) else 0

    def total(value: FloatArray) -> FloatArray:
        return np.bincount(of, value, k).astype(np.float64)

    node = np.zeros(k, np.int64)
    node[of] = each.node
    weight = each.charge_mw + each.discharge_mw + 1e-12
    charge, discharge = (total(weight * eff) / total(weight) for eff in (each.eff_charge, each.eff_discharge))
    return Storages(
        node, total(each.charge_mw), total(each.discharge_mw), charge, discharge,
        total(each.low_mwh), total(each.high_mwh), total(each.start_mwh),
    )  # fmt: skip


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """Divide; 0 where there is nothing to divide by."""
    return np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=np.asarray(below) > 0)
