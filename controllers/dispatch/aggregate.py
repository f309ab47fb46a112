"""Classes of like resources: put together before the solver, handed back to the members after it.

Storages of one node that have the same duration, efficiencies and usable band, and are about as full, plan
as one. Up to ``max_classes`` each storage is a class of its own and nothing is lost; above that the rounding
gets coarser until there are few enough. Limitable resources of one node are one class, which is exact.

What changes over the horizon (cars with their departures) is put together by when content is first wanted. The sum of
such members can do more than they can one by one, so that the class's plan is only a wish: when it is handed back, each
member charges as late as its own needs allow if the plan says so, but no later (least laxity), and stays out of its
gap. What the members then do together is what the plan states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from controllers.dispatch.problem import sum_by
from controllers.dispatch.storages import Storages, at
from vpp.kernel.signals import BoolArray, FloatArray, IntArray

ENOUGH_MW: Final = 1e9  # of a store without an end
SEEN_MW: Final = 1e-6  # what is less than a watt is the solver's tolerance
# Rounding, finest first: bins of fill, step of ln(duration), step of efficiencies and usable band; cars are put together by
# the step in which they first leave alone, here so many steps wide.
LEVELS: Final = (
    (16, 1e-6, 1e-6, 1), (8, 1e-6, 1e-6, 1), (4, 1e-6, 1e-6, 2), (2, 1e-6, 1e-6, 2), (1, 1e-6, 1e-6, 4),
    (4, 0.1, 0.02, 4), (4, 0.2, 0.02, 8), (2, 0.2, 0.05, 8), (1, 0.2, 0.05, 16),
    (1, 0.4, 0.1, 16), (1, 0.7, 0.2, 32), (1, 1.5, 10.0, 64), (1, 100.0, 10.0, 100_000),
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
    of, k, steps = classes.of, p_mw.shape[1], len(p_mw)
    soft = each.soft
    shared = np.bincount(of, minlength=k)[of] > 1 if soft.any() else soft
    least = each.required_mwh(steps, dt_h) if (soft & shared).any() else each.low_mwh
    alone = soft & ~shared  # the class's plan is its own

    def total(value: FloatArray) -> FloatArray:
        return np.bincount(of, value, k).astype(np.float64)

    energy, out = each.start_mwh.copy(), np.empty((steps, len(of)))
    for t, power in enumerate(p_mw):
        energy = _moved(energy, each, soft, t)
        ask = power[of]
        eff_charge, eff_discharge = at(each.eff_charge, t), at(each.eff_discharge, t)
        have = np.maximum(energy - at(least, t), 0.0) * eff_discharge / dt_h
        room = np.maximum(at(each.high_mwh, t) - energy, 0.0) / (eff_charge * dt_h)
        could = np.minimum(np.where(ask > 0, have, room), ENOUGH_MW)
        most = np.minimum(could, np.where(ask > 0, at(each.discharge_mw, t), at(each.charge_mw, t)))
        part = np.minimum(_ratio(np.abs(power), total(could))[of] * could, most)
        left = np.abs(power) - total(part)
        free = most - part
        part += np.clip(_ratio(left, total(free)), 0.0, 1.0)[of] * free
        given = np.where(ask > 0, part, -part)
        if soft.any():
            must = np.minimum(np.maximum(at(least, t) - energy, 0.0) / (eff_charge * dt_h), at(each.charge_mw, t))
            must = np.maximum(must, at(each.charge_low_mw, t))
            gives = at(each.discharge_low_mw, t)
            given = np.where(must > SEEN_MW, np.minimum(given, -must), np.where(gives > 0.0, np.maximum(given, gives), given))
            given = np.where(soft & shared, _out_of_gap(given, must, each, of, t), np.where(alone, ask, given))
        out[t] = given
        energy += np.where(given > 0, -given / eff_discharge, -given * eff_charge) * dt_h
    return out


def _moved(energy: FloatArray, each: Storages, soft: BoolArray, t: int) -> FloatArray:
    """(m,) contents after what flows and leaves as the step begins; a car leaves with all that it has."""
    if not soft.any():
        return energy
    leave = at(each.leave_mwh, t)
    energy = energy - np.clip(energy, 0.0, leave) + at(each.flow_mwh, t)
    return np.where(leave > 0.0, np.minimum(energy, np.maximum(at(each.high_mwh, t), 0.0)), energy)


def _out_of_gap(given: FloatArray, must: FloatArray, each: Storages, of: IntArray, t: int) -> FloatArray:
    """(m,) powers of members, none inside its gap: as many of a class run as its sum allows, the most urgent first."""
    gap = np.minimum(each.gap_mw, np.where(given > 0, at(each.discharge_mw, t), at(each.charge_mw, t)))
    inside = (np.abs(given) > SEEN_MW) & (np.abs(given) < gap)
    if not inside.any():
        return given
    given = given.copy()
    for one in np.unique(of[inside]):
        members = np.flatnonzero(inside & (of == one))
        members = members[np.argsort(-must[members], kind="stable")]
        filled = np.cumsum(gap[members])
        runs = (filled <= np.abs(given[members]).sum() + gap[members] / 2) | (must[members] > SEEN_MW)
        given[members] = np.where(runs, np.sign(given[members]) * gap[members], 0.0)
    return given


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


def _labels(each: Storages, bins: int, step_duration: float, step_share: float, width: int) -> IntArray:
    """Number the storages that look alike when rounded; outside the band, below and above, are apart."""
    charge, discharge, eff_charge, eff_discharge, low, high = (
        x if x.ndim == 1 else x.mean(axis=0)
        for x in (each.charge_mw, each.discharge_mw, each.eff_charge, each.eff_discharge, each.low_mwh, each.high_mwh)
    )
    usable, alike = high - low, each.leave_mwh.any(axis=0) if each.leave_mwh.ndim == 2 else each.leave_mwh > 0.0
    fill = np.clip(_ratio(each.start_mwh - low, usable), 0.0, 1.0)
    hours = [np.log(np.maximum(_ratio(usable, power), 1e-9)) for power in (charge, discharge)]
    looks = [
        np.where(each.soft, 0.0, each.side),
        np.minimum(np.floor(fill * bins), bins - 1),
        *(np.asarray(np.round(h / step_duration)) for h in hours),
        np.asarray(np.round(eff_charge / step_share)),
        np.asarray(np.round(eff_discharge / step_share)),
    ]
    columns = [each.node, *(np.where(alike, 0.0, look) for look in looks), *_windows(each, width)]
    return np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _windows(each: Storages, width: int) -> list[FloatArray]:
    """What tells storages apart whose bands change: softness, a gap, giving back, and when content is first wanted."""
    leave, first = each.leave_mwh, np.zeros(len(each.node))
    if not each.soft.any():
        return []
    if leave.ndim == 2:
        first = np.where(leave.any(axis=0), 1 + np.argmax(leave > 0.0, axis=0) // width, 0)
    gives = (each.discharge_mw > 0.0).any(axis=0) if each.discharge_mw.ndim == 2 else each.discharge_mw > 0.0
    marks = (each.soft, each.comfort, each.gap_mw > 0.0, gives)
    return [*(np.asarray(mark, np.float64) for mark in marks), np.asarray(first, np.float64)]


def _together(each: Storages, of: IntArray) -> Storages:
    """Sum ratings and contents; efficiencies are means weighted by rating, the gap is the smallest one."""
    k = int(of.max()) + 1 if len(of) else 0

    def total(value: FloatArray) -> FloatArray:
        return np.bincount(of, value, k).astype(np.float64) if value.ndim == 1 else sum_by(value, of, k)

    node, gap = np.zeros(k, np.int64), np.full(k, np.inf)
    node[of] = each.node
    np.minimum.at(gap, of, each.gap_mw)
    weight = each.charge_mw + each.discharge_mw + 1e-12
    charge, discharge = (total(weight * eff) / total(weight) for eff in (each.eff_charge, each.eff_discharge))
    return Storages(
        node, total(each.charge_mw), total(each.discharge_mw), charge, discharge,
        total(each.low_mwh), total(each.high_mwh), total(each.start_mwh), total(each.charge_low_mw),
        total(each.discharge_low_mw), total(each.flow_mwh), total(each.leave_mwh), np.where(np.isfinite(gap), gap, 0.0),
    )  # fmt: skip


def _ratio(above: FloatArray, below: FloatArray) -> FloatArray:
    """Divide; 0 where there is nothing to divide by."""
    return np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=np.asarray(below) > 0)
