"""The arrays of a day-ahead planning problem: what both model builders read, and nothing that only one of them needs.

The exchange of the whole and of every limited group is a *node*. Node 0 is the whole; a group without a
limit is no node of its own, its members belong to the nearest enclosing one that has a limit. At each
node and step

    band + over - under = fixed + storages + limitables + the same of the nodes directly inside it

with ``band`` inside the node's limits. For a group ``over`` and ``under`` are breaches at a high price, so
there is always a plan. For the whole the band is zero, ``over`` is the export and ``under`` the import.

Stored energy is ``energy``, inside its band, plus ``side * out``: how far a storage is outside, priced. One that is
moved by power alone is never further outside than at the beginning; a *soft* one (its band changes, something flows
in or out of it, or it cannot rest) may be anywhere. What `Flex.e_leave_mwh` wants at a moment and does not find is
missing, once and at a price of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from controllers.dispatch.storages import Storages, at_end, at_start
from vpp.kernel.errors import SolveError
from vpp.kernel.groups import Groups
from vpp.kernel.ports import Frame
from vpp.kernel.signals import BoolArray, FloatArray, IntArray

HALVES = 2  # discharging power comes in halves, the second a tie-break dearer: it spreads over equal prices


@dataclass(frozen=True, slots=True)
class Preferences:
    """What the planner weighs beside the bill.

    Attributes:
        wear_eur_per_mwh: cost of each MWh charged and of each MWh discharged.
        breach_eur_per_mwh: price of energy beyond a group's limit.
        band_eur_per_mwh_h: price of an hour with a MWh missing to (or beyond) the usable band.
        need_eur_per_mwh: price of content that is missing where it is wanted (a car's departure), or at the end.
        tie_eur_per_mwh: largest weight of the tie-breaks: charge earlier, discharge evenly, curtail last.
        energy_value_eur_per_mwh: value of what is stored at the end; None: at least as much as at the start.
    """

    wear_eur_per_mwh: float = 1.0
    breach_eur_per_mwh: float = 10_000.0
    band_eur_per_mwh_h: float = 100.0
    need_eur_per_mwh: float = 1_000.0
    tie_eur_per_mwh: float = 0.01
    energy_value_eur_per_mwh: float | None = None


@dataclass(frozen=True, slots=True)
class Nodes:
    """The exchanges that are watched: the whole, then each limited group, outer ones first.

    Attributes:
        name: (nodes,) group names, "" for the whole.
        parent: (nodes,) enclosing node, -1 for the whole.
        low_mw, high_mw: (nodes,) band of the exchange, injection positive.
        of: (n,) node of each resource.
        losses: the node that the losses belong to: a root group that holds every resource is the PCC and
            has them within its limit; otherwise only the whole has them.
    """

    name: tuple[str, ...]
    parent: IntArray
    low_mw: FloatArray
    high_mw: FloatArray
    of: IntArray
    losses: int

    @classmethod
    def of_frame(cls, frame: Frame) -> Nodes:
        """Keep the groups that have a limit."""
        groups, member = frame.fleet.groups, frame.fleet.member
        low, high = -_limits(groups, frame.import_limit_mw, "import"), _limits(groups, frame.export_limit_mw, "export")
        node = np.zeros(groups.n + 1, np.int64)  # last entry: no group, found by index -1
        root = np.full(groups.n + 1, -1, np.int64)
        limited: list[int] = []
        parent = [-1]
        for g in range(groups.n):
            outer = int(groups.parent[g])
            node[g], root[g] = node[outer], root[outer] if outer >= 0 else g
            if np.isfinite(low[g]) or np.isfinite(high[g]):
                parent.append(int(node[g]))
                limited.append(g)
                node[g] = len(limited)
        roots = np.unique(root[groups.of[member]])
        return cls(
            ("", *(groups.names[g] for g in limited)),
            np.array(parent, np.int64),
            np.concatenate([[0.0], low[limited]]),
            np.concatenate([[0.0], high[limited]]),
            node[groups.of],
            int(node[roots[0]]) if len(roots) == 1 else 0,
        )

    def sums(self, p_mw: FloatArray, where: BoolArray) -> FloatArray:
        """(steps, nodes) sum of the columns at each node itself, without the nodes inside it."""
        return sum_by(p_mw[:, where], self.of[where], len(self.name))

    def exchange(self, own_mw: FloatArray) -> FloatArray:
        """(steps, nodes) exchange with the nodes inside included."""
        total = own_mw.copy()
        for n in range(len(self.name) - 1, 0, -1):
            total[:, self.parent[n]] += total[:, n]
        return total


@dataclass(frozen=True, slots=True)
class Problem:
    """One planning problem.

    Attributes:
        dt_h: length of a step.
        buy, sell: (steps,) EUR/MWh; sell nowhere above buy.
        nodes: the exchanges.
        fixed_mw: (steps, nodes) what is not steered.
        storages: the storages.
        may_charge, may_discharge: (steps, k) False where the direction is closed.
        l_node: (l,) node of each limitable class.
        l_low_mw, l_high_mw: (steps, l) band of each limitable class.
        prefer: the weights.
    """

    dt_h: float
    buy: FloatArray
    sell: FloatArray
    nodes: Nodes
    fixed_mw: FloatArray
    storages: Storages
    may_charge: BoolArray
    may_discharge: BoolArray
    l_node: IntArray
    l_low_mw: FloatArray
    l_high_mw: FloatArray
    prefer: Preferences

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.buy)

    def energy_floor_mwh(self) -> FloatArray:
        """(steps, k) lowest content in the band; at the end the start's, unless the end has a value or another band."""
        s = self.storages
        floor = np.tile(s.low_mwh, (self.steps, 1)) if s.low_mwh.ndim == 1 else s.low_mwh.copy()
        if self.prefer.energy_value_eur_per_mwh is None:
            same = s.same_band
            floor[-1, same] = np.clip(s.start_mwh, at_end(s.low_mwh), at_end(s.high_mwh))[same]
        return floor

    def outside(self) -> tuple[IntArray, FloatArray, FloatArray, FloatArray]:
        """Storages that may be outside their band: which, on which side (-1, +1), how far, (steps, ·) at which price an hour."""
        s, prefer = self.storages, self.prefer
        rigid, soft = np.flatnonzero((s.side != 0.0) & ~s.soft), np.flatnonzero(s.soft)
        most = np.maximum(at_start(s.low_mwh) - s.start_mwh, s.start_mwh - at_start(s.high_mwh))
        which = np.concatenate([rigid, soft, soft])
        side = np.concatenate([s.side[rigid], -np.ones(len(soft)), np.ones(len(soft))])
        # A room may be cold for an hour if that is worth it; nothing can be drawn from a car that is empty.
        dear = np.where(
            s.soft & ~s.comfort, max(prefer.breach_eur_per_mwh / 2, prefer.band_eur_per_mwh_h), prefer.band_eur_per_mwh_h
        )
        cost = np.tile(dear[which], (self.steps, 1))
        # A soft storage must not end empty because an hour outside the band is cheap.
        cost[-1, len(rigid) : len(rigid) + len(soft)] += prefer.need_eur_per_mwh / self.dt_h
        return which, side, np.concatenate([most[rigid], np.full(2 * len(soft), np.inf)]), cost

    def leaving(self) -> tuple[IntArray, FloatArray, FloatArray]:
        """Storages out of which content leaves: which, (steps, ·) how much may be missing, how much more may leave."""
        wanted = np.broadcast_to(self.storages.leave_mwh, (self.steps, len(self.storages.node)))
        which = np.flatnonzero((wanted > 0.0).any(axis=0))
        return which, wanted[:, which], np.where(wanted[:, which] > 0.0, np.inf, 0.0)

    def spilling(self) -> IntArray:
        """Storages that overflow at no price: something flows in, and power only takes out (a reservoir)."""
        s = self.storages
        fills = np.broadcast_to(s.flow_mwh > 0.0, (self.steps, len(s.node))).any(axis=0)
        return np.flatnonzero(fills & ~np.broadcast_to(s.charge_mw > 0.0, (self.steps, len(s.node))).any(axis=0))

    def earliness(self) -> FloatArray:
        """(steps, k) tie-break that grows with time, for each storage at another pace, so that no swap is free."""
        later = np.arange(1, self.steps + 1)[:, None] / self.steps
        k = len(self.storages.node)
        return self.prefer.tie_eur_per_mwh / 2 * later * (1 + np.arange(k) / max(k, 1))

    def reluctance(self) -> FloatArray:
        """(l,) what a curtailed MWh costs beside the bill, for each class another."""
        return self.prefer.tie_eur_per_mwh / 2 * (1 + np.arange(len(self.l_node)) / max(len(self.l_node), 1))


@dataclass(frozen=True, slots=True)
class Solution:
    """What a solver found.

    Attributes:
        charge_mw, discharge_mw: (steps, k) magnitudes.
        limited_mw: (steps, l) power of the limitable classes.
        objective_eur: bill, wear, breaches and tie-breaks together.
    """

    charge_mw: FloatArray
    discharge_mw: FloatArray
    limited_mw: FloatArray
    objective_eur: float


def sum_by(values: FloatArray, label: IntArray, count: int) -> FloatArray:
    """(steps, count) sums over the columns that share a label."""
    return np.array([np.bincount(label, row, count) for row in values], np.float64).reshape(len(values), count)


def check(frame: Frame) -> None:
    """Raise SolveError, with the reason, for a frame that no plan can be made of."""
    forecast, fleet = frame.forecast, frame.fleet
    if forecast.steps == 0 or forecast.step_ns <= 0:
        raise SolveError("day ahead: the forecast is empty")
    if forecast.start_ns != frame.due_ns:
        raise SolveError(f"day ahead: the forecast begins at {forecast.start_ns} ns, the plan is due at {frame.due_ns} ns")
    if forecast.p_mw.shape[1] != fleet.n:
        raise SolveError(f"day ahead: a forecast for {forecast.p_mw.shape[1]} resources, a fleet of {fleet.n}")
    for name in ("price_buy_eur_per_mwh", "price_sell_eur_per_mwh", "losses_mw"):
        series = getattr(forecast, name)
        if len(series) != forecast.steps or not np.all(np.isfinite(series)):
            raise SolveError(f"day ahead: {name} is not known at every one of the {forecast.steps} steps")
    flex = frame.flex
    if flex is not None and (flex.start_ns, flex.step_ns) != (forecast.start_ns, forecast.step_ns):
        raise SolveError("day ahead: the flexibility is not of the forecast's steps")
    if flex is not None and flex.p_lo_mw.shape != forecast.p_mw.shape:
        raise SolveError(f"day ahead: a flexibility of {flex.p_lo_mw.shape}, a forecast of {forecast.p_mw.shape}")
    unknown = ~np.isfinite(forecast.p_mw) & fleet.member
    if unknown.any():
        step, i = (int(x) for x in np.argwhere(unknown)[0])
        raise SolveError(f"day ahead: no forecast for {fleet.id[i]!r} at step {step} ({int(unknown.sum())} values are missing)")


def _limits(groups: Groups, limits: Mapping[str, float], side: str) -> FloatArray:
    """(groups,) one side's limits as magnitudes, inf for none."""
    out = np.full(groups.n, np.inf)
    for name, limit in limits.items():
        if name not in groups.names:
            raise SolveError(f"day ahead: an {side} limit for the group {name!r}, which the fleet does not have")
        if not limit >= 0.0:
            raise SolveError(f"day ahead: the {side} limit of {name!r} is a magnitude (got {limit})")
        out[groups.names.index(name)] = limit
    return out
