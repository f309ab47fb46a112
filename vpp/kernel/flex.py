"""Flexibility: what a resource could do over the next hours, as bounds on power and on energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vpp.kernel.signals import FloatArray

if TYPE_CHECKING:
    from vpp.kernel.fleet import Fleet


@dataclass(frozen=True, slots=True)
class Flex:
    """Bounds on power in each step and on energy content at each step's end.

    The content of a store follows from power p (injection positive) over a step of length h in hours:
    ``e[t] = e[t-1] + flow[t] - leave[t] - p·h / eff_out[t]`` where p > 0, and ``… - p·h · eff_in[t]`` where p < 0.

    Attributes:
        start_ns, step_ns: beginning of the first step, length of each.
        p_lo_mw, p_hi_mw: (steps, n) band of active power, injection positive.
        e_lo_mwh, e_hi_mwh: (steps, n) band of stored energy at the end of each step; -inf/inf where nothing is stored.
        e_start_mwh: (n,) stored energy now.
        e_flow_mwh: (steps, n) change of the content by other than power: inflow, losses, heat used, a car that arrives.
        eff_in, eff_out: (steps, n) content gained by a MWh taken up, MWh given per content used (a heat pump's COP is
            an ``eff_in`` above 1).
        p_gap_mw: (n,) smallest magnitude other than zero; 0: none.
        e_leave_mwh: (steps, n) content that is wanted, and taken away, as the step begins: what a departing car needs. A
            need, not a law: what is not there then is missing for good, and what is there beyond it may leave with it.
    """

    start_ns: int
    step_ns: int
    p_lo_mw: FloatArray
    p_hi_mw: FloatArray
    e_lo_mwh: FloatArray
    e_hi_mwh: FloatArray
    e_start_mwh: FloatArray
    e_flow_mwh: FloatArray
    eff_in: FloatArray
    eff_out: FloatArray
    p_gap_mw: FloatArray
    e_leave_mwh: FloatArray

    @classmethod
    def of_fleet(cls, fleet: Fleet, soc: FloatArray, expected_mw: FloatArray, start_ns: int, step_ns: int) -> Flex:
        """State the flexibility of a fleet from its ratings; the arrays are fresh, a device model may narrow its columns.

        Args:
            fleet: the resources.
            soc: (n,) state of charge now; NaN counts as the middle of the usable band.
            expected_mw: (steps, n) expected uncontrolled power (:attr:`Forecast.p_mw`).
            start_ns: beginning of the horizon.
            step_ns: length of a step.
        """
        follow, limit = fleet.control == 2, fleet.control == 1
        lo = np.where(follow, fleet.p_min_mw, np.where(limit, np.clip(0.0, fleet.p_min_mw, fleet.p_max_mw), expected_mw))
        hi = np.where(follow, fleet.p_max_mw, expected_mw)
        stores = fleet.e_mwh > 0
        known = np.where(np.isfinite(soc), np.clip(soc, 0.0, 1.0), (fleet.soc_min + fleet.soc_max) / 2)
        zero = np.zeros((len(expected_mw), fleet.n))
        return cls(
            start_ns, step_ns, np.minimum(lo, hi), hi,
            zero + np.where(stores, fleet.e_mwh * fleet.soc_min, -np.inf),
            zero + np.where(stores, fleet.e_mwh * fleet.soc_max, np.inf),
            fleet.e_mwh * known, zero, zero + fleet.eff_charge, zero + fleet.eff_discharge, fleet.p_gap_mw.copy(), zero.copy(),
        )  # fmt: skip
