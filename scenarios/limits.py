"""What a summary says of limits over time: the worst of each quantity, every violation, how long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from vpp.grid.limits import QUANTITIES, VM_HIGH, VM_LOW
from vpp.grid.watch import LimitWatch
from vpp.kernel.signals import IntArray

MOST: Final = 100  # violations that a summary names
UNITS: Final = {"loading": "1", "vm_low": "pu", "vm_high": "pu", "reverse": "MW"}
Title = Callable[[int], str]


def limits_told(watch: LimitWatch, bus: Title, branch: Title, time_ns: IntArray, step_s: float) -> dict[str, Any]:
    """A summary as JSON can say it.

    Args:
        watch: what was seen.
        bus: gives a bus's name by its position.
        branch: gives a branch's.
        time_ns: (T,) time of every step.
        step_s: how long one lasts.
    """
    found = watch.found()
    hours = step_s / 3600.0

    def row(i: int) -> dict[str, Any]:
        quantity, element = int(found.quantity[i]), int(found.element[i])
        name = (bus if quantity in (VM_LOW, VM_HIGH) else branch)(element)
        first = int(found.first[i])
        return {
            "quantity": QUANTITIES[quantity], "element": name, "position": element, "unit": UNITS[QUANTITIES[quantity]],
            "value": float(found.value[i]), "limit": float(found.limit[i]), "margin": float(found.margin[i]),
            "at_ns": int(time_ns[found.at[i]]), "first_ns": int(time_ns[first]) if first >= 0 else None,
            "hours": float(found.steps[i]) * hours, "longest_h": float(found.longest[i]) * hours,
        }  # fmt: skip

    worst, counts = {}, {}
    for number, name in enumerate(QUANTITIES):
        of = np.flatnonzero(found.quantity == number)
        if len(of):
            worst[name] = row(int(of[np.argmax(found.severity[of])]))
            broken = int(found.violated[of].sum())
            counts[name] = {"elements": broken, "element_hours": float(found.steps[of].sum()) * hours}
    order = found.worst()
    return {"worst": worst, "counts": counts, "violated": len(order), "violations": [row(i) for i in order[:MOST].tolist()]}
