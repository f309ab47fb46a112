"""Series over a horizon: what is planned (schedule) and what is expected (forecast)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpp.kernel.signals import FloatArray


@dataclass(frozen=True, slots=True)
class Schedule:
    """Planned active power, one row a step.

    Attributes:
        start_ns, step_ns: beginning of the first step, length of each.
        p_mw: (steps, n) planned active power, injection positive; NaN = no plan for this resource and step.
        layout: the fleet's layout number that the columns follow.
        cost_eur: planned cost over the horizon, NaN if not known.
    """

    start_ns: int
    step_ns: int
    p_mw: FloatArray
    layout: int = 1
    cost_eur: float = float("nan")

    def at(self, now_ns: int) -> FloatArray | None:
        """The row that holds at this moment, None outside the horizon."""
        row = (now_ns - self.start_ns) // self.step_ns
        return self.p_mw[row] if 0 <= row < len(self.p_mw) else None


@dataclass(frozen=True, slots=True)
class Forecast:
    """Expected behaviour of what is not steered, one row a step.

    Attributes:
        start_ns, step_ns: beginning of the first step, length of each.
        p_mw: (steps, n) expected uncontrolled active power, injection positive: consumption of loads,
            available power of PV, 0 for storage.
        price_buy_eur_per_mwh, price_sell_eur_per_mwh: (steps,) price of imported and of exported energy.
        losses_mw: (steps,) expected losses and consumption that no resource stands for, as injection (negative).
    """

    start_ns: int
    step_ns: int
    p_mw: FloatArray
    price_buy_eur_per_mwh: FloatArray
    price_sell_eur_per_mwh: FloatArray
    losses_mw: FloatArray

    @property
    def steps(self) -> int:
        """Number of steps."""
        return int(np.shape(self.p_mw)[0])
