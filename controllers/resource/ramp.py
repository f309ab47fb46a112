"""Keep the change from tick to tick within each resource's ramp."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numba import njit

from vpp.kernel.envelope import Envelope, heard
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_NONE, Fleet
from vpp.kernel.ports import Safe, State
from vpp.kernel.seen import Event, Seen
from vpp.kernel.setpoints import AUTONOMOUS, LIMIT, Setpoints
from vpp.kernel.signals import BoolArray, ByteArray, FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry

_T_P = Telemetry.p_mw.row
_S_P, _S_LIMIT, _S_MODE = Setpoints.p_mw.row, Setpoints.p_limit_mw.row, Setpoints.mode.row


@dataclass(slots=True, eq=False)
class RampGuard:
    """Guard: no setpoint further from the last one than the ramp allows in one tick.

    Whoever was not asked anything yet starts from what it is measured to do. A resource that takes limits
    moves by itself beneath them; there the ramp bounds how fast a limit comes down from the present power,
    and how fast it goes up again. It belongs behind the guards that protect: a floor that stands first wins.

    Attributes:
        fleet: the resources.
        ramp_mw_per_s: a slower ramp for all [MW/s]; None: each resource's own.
        name: the name that stands as cause.
    """

    fleet: Fleet
    ramp_mw_per_s: float | None = None
    name: str = "ramp"
    safe: Safe = Safe.HOLD
    _follows: BoolArray = field(init=False, repr=False)
    _ramp: FloatArray = field(init=False, repr=False)
    _ramped: IntArray = field(init=False, repr=False)
    _cap: FloatArray = field(init=False, repr=False)
    _floor: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Pick out the resources with a ramp."""
        fleet, n = self.fleet, self.fleet.n
        own = fleet.ramp_mw_per_s
        ramp = own if self.ramp_mw_per_s is None else np.minimum(own, self.ramp_mw_per_s)
        self._ramped = np.flatnonzero(np.isfinite(ramp) & (fleet.control != CONTROL_NONE))
        self._ramp = ramp[self._ramped]
        self._follows = fleet.control[self._ramped] == CONTROL_FOLLOW
        self._cap, self._floor = np.full(n, np.inf), np.full(n, -np.inf)

    def step(self, now_ns: int, seen: Seen, allowed: Envelope) -> Sequence[Event]:
        """Cap and floor around what was asked last."""
        if self._ramped.size:
            telemetry = seen.telemetry
            _bounds(
                self._ramped, self._follows, self._ramp, telemetry.block[_T_P], telemetry.quality[_T_P],
                seen.last.setpoints.block, allowed.dt_s, self._cap, self._floor,
            )  # fmt: skip
            allowed.band_p(self._floor, self._cap)
        return ()

    def state(self) -> State:
        """Nothing is remembered: what was asked last is seen."""
        return {}

    def restore(self, state: State) -> None:
        """Nothing to go back to."""


@njit(cache=True)
def _bounds(
    ramped: IntArray, follows: BoolArray, ramp: FloatArray, p_mw: FloatArray, quality: ByteArray, last: FloatArray,
    dt_s: float, cap: FloatArray, floor: FloatArray,
) -> None:  # fmt: skip
    for k, i in enumerate(ramped):
        change = ramp[k] * dt_s
        asked, led = last[_S_P, i], last[_S_MODE, i]
        measured = p_mw[i] if heard(p_mw[i], quality[i]) else asked
        if follows[k]:
            start = measured if led == AUTONOMOUS else asked
            cap[i], floor[i] = start + change, start - change
        elif led == LIMIT:
            limit = last[_S_LIMIT, i]
            cap[i], floor[i] = limit + change, min(limit, measured) - change
        else:
            cap[i], floor[i] = np.inf, measured - change
