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

    Attributes:
        start_ns, step_ns: beginning of the first step, length of each.
        p_lo_mw, p_hi_mw: (steps, n) band of active power, injection positive.
        e_lo_mwh, e_hi_mwh: (steps, n) band of stored energy at the end of each step; -inf/inf where nothing is stored.
        e_start_mwh: (n,) stored energy now.
    """

    start_ns: int
    step_ns: int
    p_lo_mw: FloatArray
    p_hi_mw: FloatArray
    e_lo_mwh: FloatArray
    e_hi_mwh: FloatArray
    e_start_mwh: FloatArray

    @classmethod
    def of_fleet(cls, fleet: Fleet, soc: FloatArray, expected_mw: FloatArray, start_ns: int, step_ns: int) -> Flex:
        """State the flexibility of a fleet from its ratings.

        Args:
            fleet: the resources.
            soc: (n,) state of charge now; NaN counts as the middle of the usable band.
            expected_mw: (steps, n) expected uncontrolled power (:attr:`Forecast.p_mw`).
            start_ns: beginning of the horizon.
            step_ns: length of a step.
        """
        steps = len(expected_mw)
        follow, limit = fleet.control == 2, fleet.control == 1
        lo = np.where(follow, fleet.p_min_mw, np.where(limit, np.clip(0.0, fleet.p_min_mw, fleet.p_max_mw), expected_mw))
        hi = np.where(follow, fleet.p_max_mw, expected_mw)
        stores = fleet.e_mwh > 0
        known = np.where(np.isfinite(soc), np.clip(soc, 0.0, 1.0), (fleet.soc_min + fleet.soc_max) / 2)
        e_lo = np.where(stores, fleet.e_mwh * fleet.soc_min, -np.inf)
        e_hi = np.where(stores, fleet.e_mwh * fleet.soc_max, np.inf)
        shape = (steps, fleet.n)
        return cls(
            start_ns, step_ns, np.minimum(lo, hi), hi, np.broadcast_to(e_lo, shape), np.broadcast_to(e_hi, shape),
            fleet.e_mwh * known,
        )  # fmt: skip
