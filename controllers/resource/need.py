"""Give resources with a deadline (cars) the energy that they need by then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numba import njit

from vpp.kernel.envelope import NOBODY, WANT_P, Envelope, OwnerArray, heard
from vpp.kernel.fleet import CONTROL_FOLLOW, Fleet
from vpp.kernel.ports import Safe, State
from vpp.kernel.seen import Event, Seen
from vpp.kernel.signals import ByteArray, FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry

_T_NEED, _T_DEPART, _T_MIN = Telemetry.e_need_mwh.row, Telemetry.t_depart_s.row, Telemetry.p_avail_min_mw.row


@dataclass(slots=True, eq=False)
class NeedProposer:
    """Proposer: who needs energy by a deadline takes it at once if nobody wants anything of it, else as late as it can.

    Where a plan leads, it is only corrected: what could not be taken up in the time that is left after the next tick is
    wanted now. Stands behind the schedule and before orders. Without a word of need, no opinion.

    Attributes:
        fleet: the resources.
        reserve: part of full power that is not counted on in the time that is left (charging slows down at the end).
        name: the name that stands as cause.
    """

    fleet: Fleet
    reserve: float = 0.1
    name: str = "need"
    safe: Safe = Safe.WITHDRAW
    _want: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Make room."""
        if not 0.0 <= self.reserve < 1.0:
            raise ValueError(f"reserve must be a part of 1 (got {self.reserve})")
        self._want = np.full(self.fleet.n, np.nan)

    def step(self, now_ns: int, seen: Seen, allowed: Envelope) -> Sequence[Event]:
        """Want the power that serves the need."""
        t = seen.telemetry
        if _needs(
            self.fleet.control, self.fleet.p_gap_mw, t.block, t.quality, allowed.block[WANT_P], allowed.owner[WANT_P],
            allowed.dt_s, 1.0 - self.reserve, self._want,
        ):  # fmt: skip
            allowed.propose_p(self._want)
        return ()

    def state(self) -> State:
        """Nothing is remembered."""
        return {}

    def restore(self, state: State) -> None:
        """Nothing is remembered."""


@njit(cache=True)
def _needs(
    control: IntArray, gap: FloatArray, tele: FloatArray, quality: ByteArray, wanted: FloatArray, by: OwnerArray, dt_s: float,
    share: float, out: FloatArray,
) -> bool:  # fmt: skip
    """Fill ``out`` with what is wanted, NaN for no opinion; returns whether there is any."""
    some = False
    for i in range(out.size):
        need, left_s, most = tele[_T_NEED, i], tele[_T_DEPART, i], -tele[_T_MIN, i]
        known = heard(need, quality[_T_NEED, i]) and heard(left_s, quality[_T_DEPART, i]) and heard(most, quality[_T_MIN, i])
        out[i] = np.nan
        if control[i] != CONTROL_FOLLOW or not known or need <= 1e-9 or most <= 0.0:
            continue
        if by[i] == NOBODY:
            out[i] = -most
        else:
            # The decision acts in one tick and holds for one: what the time behind that cannot give is taken in it.
            later = max(left_s - 2.0 * dt_s, 0.0) / 3600.0 * most * share
            must = min(max(need - later, 0.0) * 3600.0 / dt_s, most)
            if must <= 0.0 or wanted[i] <= -must:
                continue
            out[i] = -min(max(must, gap[i]), most)
        some = True
    return some
