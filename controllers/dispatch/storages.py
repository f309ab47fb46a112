"""What is stored and moved by power, as the solver takes it: columns that hold in every step, or step by step."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from vpp.kernel.flex import Flex
from vpp.kernel.signals import BoolArray, FloatArray, IntArray


def _nothing() -> FloatArray:
    return np.zeros(0)


@dataclass(frozen=True, slots=True)
class Storages:
    """Storages, or classes of them, as columns: (k,) where a value holds in every step, else (steps, k).

    Attributes:
        node: (k,) node.
        charge_mw, discharge_mw: largest power, magnitudes.
        eff_charge, eff_discharge: content gained by a MWh taken up, MWh given per content used.
        low_mwh, high_mwh: usable band of the content at the end of each step.
        start_mwh: (k,) content at the start.
        charge_low_mw, discharge_low_mw: smallest power where it cannot rest, magnitudes.
        flow_mwh: what flows in (out: negative) beside power, in each step.
        leave_mwh: what is wanted as each step begins, see `Flex.e_leave_mwh`.
        gap_mw: (k,) smallest power other than zero.
    """

    node: IntArray
    charge_mw: FloatArray
    discharge_mw: FloatArray
    eff_charge: FloatArray
    eff_discharge: FloatArray
    low_mwh: FloatArray
    high_mwh: FloatArray
    start_mwh: FloatArray
    charge_low_mw: FloatArray = field(default_factory=_nothing)
    discharge_low_mw: FloatArray = field(default_factory=_nothing)
    flow_mwh: FloatArray = field(default_factory=_nothing)
    leave_mwh: FloatArray = field(default_factory=_nothing)
    gap_mw: FloatArray = field(default_factory=_nothing)

    def __post_init__(self) -> None:
        """What is not given is nothing."""
        for name in ("charge_low_mw", "discharge_low_mw", "flow_mwh", "leave_mwh", "gap_mw"):
            if getattr(self, name).shape[-1] != len(self.node):
                object.__setattr__(self, name, np.zeros(len(self.node)))

    @classmethod
    def of_flex(cls, flex: Flex, resource: IntArray, node: IntArray) -> Storages:
        """These resources of a fleet's flexibility, (k,) each, at their nodes."""
        lo, hi = flex.p_lo_mw[:, resource], flex.p_hi_mw[:, resource]
        charge, discharge, charge_low, discharge_low = (_steady(np.maximum(power, 0.0)) for power in (-lo, hi, -hi, lo))
        eff_in, eff_out, low, high, flow, leave = (
            _steady(sheet[:, resource])
            for sheet in (flex.eff_in, flex.eff_out, flex.e_lo_mwh, flex.e_hi_mwh, flex.e_flow_mwh, flex.e_leave_mwh)
        )
        return cls(
            node, charge, discharge, eff_in, eff_out, low, high, flex.e_start_mwh[resource], charge_low, discharge_low, flow,
            leave, flex.p_gap_mw[resource],
        )  # fmt: skip

    @property
    def side(self) -> FloatArray:
        """(k,) -1 where the start is below the first band, +1 above, 0 inside."""
        low, high = at_start(self.low_mwh), at_start(self.high_mwh)
        return np.where(self.start_mwh < low, -1.0, np.where(self.start_mwh > high, 1.0, 0.0))

    @property
    def same_band(self) -> BoolArray:
        """(k,) whether the band of the content is the same in every step."""
        same = np.ones(len(self.node), np.bool_)
        for band in (self.low_mwh, self.high_mwh):
            same &= (band == at_start(band)).all(axis=0) if band.ndim == 2 else True
        return same

    @property
    def soft(self) -> BoolArray:
        """(k,) storages that power alone cannot always keep inside their band."""
        soft = ~self.same_band | (self.gap_mw > 0.0)
        for column in (self.charge_low_mw, self.discharge_low_mw, self.flow_mwh, self.leave_mwh):
            soft |= (column != 0.0).any(axis=0) if column.ndim == 2 else column != 0.0
        return soft

    @property
    def comfort(self) -> BoolArray:
        """(k,) storages that only take power up and are drawn from otherwise (heat): their band is a wish, not a wall."""
        drawn, gives, wanted = (
            (column.any(axis=0) if column.ndim == 2 else column)
            for column in (self.flow_mwh < 0.0, self.discharge_mw > 0.0, self.leave_mwh > 0.0)
        )
        return np.asarray(drawn & ~gives & ~wanted)

    def only_what_is_wanted(self, steps: int, dt_h: float) -> Storages:
        """The same, but that who only takes up, and only for others to take away, takes no more than is wanted next (cars).

        Put together, such members would otherwise fill one of them with what another one needs. A step at the smallest
        power may go beyond it.
        """
        shape = (steps, len(self.node))
        leave, high = np.broadcast_to(self.leave_mwh, shape), np.broadcast_to(self.high_mwh, shape)
        gives = np.broadcast_to(self.discharge_mw > 0.0, shape).any(axis=0)
        cars = (leave > 0.0).any(axis=0) & ~gives
        if not cars.any():
            return self
        goal, brought, flow = np.empty(shape), self.start_mwh, np.broadcast_to(self.flow_mwh, shape)
        goal[-1] = np.broadcast_to(self.low_mwh, shape)[-1]
        for t in range(steps - 2, -1, -1):
            goal[t] = np.where(leave[t + 1] > 0.0, leave[t + 1], goal[t + 1])
        for t in range(steps):
            brought = np.where(leave[t] > 0.0, 0.0, brought) + flow[t]
            goal[t] = np.maximum(goal[t], brought)  # who brings more than it needs keeps it
        goal = goal + np.where(goal > 0.0, self.gap_mw * self.eff_charge * dt_h, 0.0)
        return replace(self, high_mwh=np.where(cars, np.minimum(high, goal), high))

    def required_mwh(self, steps: int, dt_h: float) -> FloatArray:
        """(steps, k) least content at each step's end that still serves all that is wanted later, charging all the time."""
        shape = (steps, len(self.node))
        low, high, leave, flow = (np.broadcast_to(x, shape) for x in (self.low_mwh, self.high_mwh, self.leave_mwh, self.flow_mwh))
        gain = np.broadcast_to(self.charge_mw * self.eff_charge * dt_h, shape)
        out = low.astype(np.float64)
        for t in range(steps - 2, -1, -1):
            out[t] = np.minimum(np.maximum(low[t], out[t + 1] + leave[t + 1] - flow[t + 1] - gain[t + 1]), high[t])
        return out


def at(column: FloatArray, t: int) -> FloatArray:
    """(k,) what holds in a step."""
    return column if column.ndim == 1 else np.asarray(column[t])


def at_start(column: FloatArray) -> FloatArray:
    """(k,) what holds in the first step."""
    return at(column, 0)


def at_end(column: FloatArray) -> FloatArray:
    """(k,) what holds in the last step."""
    return at(column, -1)


def _steady(column: FloatArray) -> FloatArray:
    """One row where all are the same."""
    return np.asarray(column[0] if (column == column[:1]).all() else column)
