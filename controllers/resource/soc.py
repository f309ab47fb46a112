"""Keep storage inside its usable band of charge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numba import njit

from vpp.kernel.envelope import Envelope, heard
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_NONE, Fleet
from vpp.kernel.ports import Safe, State
from vpp.kernel.seen import Event, Seen
from vpp.kernel.setpoints import Setpoints
from vpp.kernel.signals import BoolArray, ByteArray, FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry

NS_PER_H: Final = 3.6e12

_T_P, _T_SOC, _S_P = Telemetry.p_mw.row, Telemetry.soc.row, Setpoints.p_mw.row


@dataclass(slots=True, eq=False)
class SocGuard:
    """Guard: no discharge below, no charge above the usable band by the end of the tick in which the decision acts.

    Until the decision acts the last one holds, so the charge is first carried to that moment: with the power
    that was measured or that was asked, whichever is worse. What is left then is spread over one tick. A charge
    that comes late is first carried from its source time to now with what was asked meanwhile. Where no
    charge is heard, the last one is carried on with what was asked; after ``hold_s``, or before the first one,
    it counts as unknown and the resource may move in neither direction.

    Attributes:
        fleet: the resources; those without ``e_mwh`` or without control are left alone.
        soc_min, soc_max: a tighter band for all, 0…1; None: each resource's own.
        hold_s: how long a charge is carried on without being heard.
        name: the name that stands as cause.
    """

    fleet: Fleet
    soc_min: float | None = None
    soc_max: float | None = None
    hold_s: float = 3600.0
    name: str = "soc"
    safe: Safe = Safe.STOP
    _unknown: ByteArray = field(init=False, repr=False)
    _carried: FloatArray = field(init=False, repr=False)
    _storage: IntArray = field(init=False, repr=False)
    _follows: BoolArray = field(init=False, repr=False)
    _energy: FloatArray = field(init=False, repr=False)
    _cap: FloatArray = field(init=False, repr=False)
    _floor: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Pick out the storage."""
        fleet, n = self.fleet, self.fleet.n
        self._unknown = np.zeros(n, np.uint8)
        self._storage = np.flatnonzero((fleet.e_mwh > 0.0) & (fleet.control != CONTROL_NONE))
        # Charge now as last heard and carried on since, hours since it was heard, and what was asked before the last.
        self._carried = np.zeros((3, self._storage.size))
        self._carried[0] = np.nan
        self._follows = fleet.control[self._storage] == CONTROL_FOLLOW
        low = fleet.soc_min if self.soc_min is None else np.maximum(fleet.soc_min, self.soc_min)
        high = fleet.soc_max if self.soc_max is None else np.minimum(fleet.soc_max, self.soc_max)
        # At the terminals: energy that the full content gives, energy that filling it takes.
        gives, takes = fleet.e_mwh * fleet.eff_discharge, fleet.e_mwh / fleet.eff_charge
        self._energy = np.array([low, high, gives, takes])[:, self._storage]
        self._cap, self._floor = np.full(n, np.inf), np.full(n, -np.inf)

    def step(self, now_ns: int, seen: Seen, allowed: Envelope) -> Sequence[Event]:
        """Cap discharge and floor charge."""
        if not self._storage.size:
            return ()
        fleet, telemetry = self.fleet, seen.telemetry
        newly, first = _bounds(
            self._storage, self._follows, self._energy, telemetry.block, telemetry.quality, telemetry.time_ns[_T_SOC],
            now_ns, seen.last.setpoints.block, allowed.dt_s / 3600.0, self.hold_s / 3600.0, self._carried, self._unknown,
            self._cap, self._floor,
        )  # fmt: skip
        allowed.band_p(self._floor, self._cap)
        if newly == 0:
            return ()
        text = f"charge of {newly} more resources is not known, first {fleet.id[first]}; they neither charge nor discharge"
        return (Event(now_ns, self.name, "soc-unknown", text, fleet.id[first], float(newly)),)

    def state(self) -> State:
        """Every charge as carried on, and whose is not known."""
        return {"carried": self._carried.copy(), "unknown": self._unknown.copy()}

    def restore(self, state: State) -> None:
        """Go back to a remembered state."""
        self._carried[:], self._unknown[:] = state["carried"], state["unknown"]


@njit(cache=True)
def _bounds(
    storage: IntArray, follows: BoolArray, energy: FloatArray, tele: FloatArray, quality: ByteArray, source_ns: IntArray,
    now_ns: int, last: FloatArray,
    dt_h: float, hold_h: float, carried: FloatArray, unknown: ByteArray, cap: FloatArray, floor: FloatArray,
) -> tuple[int, int]:  # fmt: skip
    """Fill ``cap`` and ``floor`` [MW] of the storage; returns how many are newly unknown, and the first of them."""
    newly, first = 0, -1
    for k, i in enumerate(storage):
        soc = tele[_T_SOC, i]
        low, high, gives, takes = energy[0, k], energy[1, k], energy[2, k], energy[3, k]
        if heard(soc, quality[_T_SOC, i]):
            age_h = (now_ns - source_ns[i]) / NS_PER_H if source_ns[i] > 0 else 0.0
            late = carried[2, k] * min(max(age_h, 0.0), hold_h)
            soc = min(max(soc - late / (gives if late > 0.0 else takes), 0.0), 1.0)
            carried[1, k] = 0.0
        else:
            soc = carried[0, k]
            carried[1, k] += dt_h
        asked = last[_S_P, i]
        carried[2, k] = asked
        if not (np.isfinite(soc) and carried[1, k] <= hold_h + 1e-9):
            carried[0, k] = np.nan
            cap[i] = 0.0
            floor[i] = 0.0 if follows[k] else -np.inf
            if not unknown[i]:
                unknown[i] = 1
                newly += 1
                first = i if first < 0 else first
            continue
        unknown[i] = 0
        measured = tele[_T_P, i] if heard(tele[_T_P, i], quality[_T_P, i]) else asked
        drawn = asked * dt_h
        carried[0, k] = min(max(soc - drawn / (gives if drawn > 0.0 else takes), 0.0), 1.0)
        most, least = max(asked, measured) * dt_h, min(asked, measured) * dt_h
        lowest = soc - most / (gives if most > 0.0 else takes)
        highest = soc - least / (gives if least > 0.0 else takes)
        cap[i] = max(lowest - low, 0.0) * gives / dt_h
        floor[i] = -max(high - highest, 0.0) * takes / dt_h if follows[k] else -np.inf
    return newly, first
