"""The network's own meters: voltages, exchange and flows as one array of measured values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vpp.kernel.signals import ByteArray, FloatArray, IntArray

QUANTITIES = {"vm_pu": "pu", "p_mw": "MW", "q_mvar": "Mvar", "i_ka": "kA", "loading": "1"}


@dataclass(frozen=True, slots=True)
class PointLayout:
    """Which meter stands where in the array.

    Attributes:
        id: (m,) names of the points, unique.
        quantity: (m,) one of ``QUANTITIES``; powers are exchange over the PCC, injection into the public grid positive.
        group: (m,) name of the group whose border the point measures, "" for none.
        element: (m,) what a meter of the network stands at, as "bus 5" or "line 3", "" for none; empty: none anywhere. There
            powers at a bus are injections, powers at a branch flow into it.
        side: (m,) end of a branch, "from" or "to", "" at a bus.
        sigma: (m,) standard deviation that the meter states, in the point's unit; 0: none stated.
    """

    id: tuple[str, ...] = ()
    quantity: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    element: tuple[str, ...] = ()
    side: tuple[str, ...] = ()
    sigma: tuple[float, ...] = ()

    def followed_by(self, other: PointLayout) -> PointLayout:
        """The points of both, these first."""
        m, k = len(self.id), len(other.id)
        filled = {"element": ("",), "side": ("",), "sigma": (0.0,)}
        plain = ("id", "quantity", "group")
        names: dict[str, tuple[Any, ...]] = {name: getattr(self, name) + getattr(other, name) for name in plain}
        for name, blank in filled.items():
            names[name] = (getattr(self, name) or blank * m) + (getattr(other, name) or blank * k)
        return PointLayout(**names)

    def find(self, quantity: str, group: str) -> int:
        """Index of the point that measures this quantity at this group's border, -1 if there is none."""
        for i, found in enumerate(zip(self.quantity, self.group, strict=True)):
            if found == (quantity, group):
                return i
        return -1


@dataclass(slots=True)
class GridPoints:
    """Measured values of the network's points; NaN = not known.

    Attributes:
        layout: which point is which.
        value: (m,) in the unit of the point's quantity.
        quality: (m,) quality byte.
        time_ns: (m,) source time.
    """

    layout: PointLayout = field(default_factory=PointLayout)
    value: FloatArray = field(default_factory=lambda: np.zeros(0))
    quality: ByteArray = field(default_factory=lambda: np.zeros(0, np.uint8))
    time_ns: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def of(cls, layout: PointLayout, value: FloatArray, now_ns: int) -> GridPoints:
        """Good values, all measured now."""
        m = len(layout.id)
        return cls(layout, np.asarray(value, float), np.zeros(m, np.uint8), np.full(m, now_ns))
