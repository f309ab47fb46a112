"""The envelope: for every resource a band that may only narrow, and what is wanted inside it.

Proposers set the want, guards narrow the band. Each bound and each want remembers its owner, so that
the decision can say who binds. A non-finite value is "no opinion"; a cap below the floor stops at the
floor, because what came first was safety too.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from vpp.kernel import quality as q
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE, CONTROL_STEP, Fleet
from vpp.kernel.seen import Seen
from vpp.kernel.setpoints import LIMIT, Setpoints
from vpp.kernel.signals import BoolArray, ByteArray, FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry

WANT_P: Final = 0
WANT_Q: Final = 1  # beside the other want: a failing proposer's wants are undone as one block
LO_P: Final = 2
HI_P: Final = 3
REACH_P: Final = 4
LO_Q: Final = 5
HI_Q: Final = 6
ROWS: Final = 7

OWNERS: Final = ("nobody", "rating", "availability", "silence", "capability", "step")
NOBODY, RATING, AVAILABILITY, SILENCE, CAPABILITY, STEP = range(len(OWNERS))
OwnerArray = npt.NDArray[np.int16]

_S_P, _S_LIMIT, _S_MODE = Setpoints.p_mw.row, Setpoints.p_limit_mw.row, Setpoints.mode.row
_T_P, _T_MIN, _T_MAX = Telemetry.p_mw.row, Telemetry.p_avail_min_mw.row, Telemetry.p_avail_max_mw.row


class Envelope:
    """Bands and wants of all resources and limits of all groups, for one tick.

    Attributes:
        fleet: the resources.
        acts_ns: when the decision begins to act: the next tick.
        dt_s: seconds from this tick to the next.
        block: (7, n) float64: wanted active and reactive power; lowest, highest and reachable active power; lowest and
            highest reactive power. The want of reactive power is NaN where the local curve shall lead.
        owner: (7, n) int16: who set each of these, an index into ``Chain.owners``.
        stepped: whether any resource has steps or a gap.
        switched: resources that are controlled by steps.
        step: (2, s) of these: wanted step, NaN where their own control shall lead, and who wants it.
        group_lo, group_hi: (g,) band of each group's sum of active power [MW].
    """

    __slots__ = (
        "acts_ns", "block", "dt_s", "fleet", "frozen", "group_hi", "group_hi_by", "group_lo", "group_lo_by", "owner", "speaker",
        "step", "stepped", "switched",
    )  # fmt: skip

    def __init__(self, fleet: Fleet) -> None:
        """Make room for a fleet; `reset` fills it."""
        n, g = fleet.n, fleet.groups.n
        self.fleet = fleet
        self.acts_ns, self.dt_s = 0, 0.0
        self.block: FloatArray = np.zeros((ROWS, n))
        self.owner: OwnerArray = np.zeros((ROWS, n), np.int16)
        self.group_lo, self.group_hi = np.full(g, -np.inf), np.full(g, np.inf)
        self.group_lo_by, self.group_hi_by = np.zeros(g, np.int16), np.zeros(g, np.int16)
        self.speaker, self.frozen = 0, False
        self.switched: IntArray = np.flatnonzero((fleet.control == CONTROL_STEP) & fleet.member)
        self.step: FloatArray = np.full((2, self.switched.size), np.nan)
        self.stepped = bool(np.any(fleet.p_step_mw > 0.0) or np.any(fleet.p_gap_mw > 0.0))

    @classmethod
    def full(cls, fleet: Fleet, now_ns: int, dt_ns: int, seen: Seen, hold_ns: int) -> Envelope:
        """A new envelope at its physical bounds: see :meth:`reset`."""
        allowed = cls(fleet)
        allowed.reset(now_ns, dt_ns, seen, hold_ns)
        return allowed

    def reset(self, now_ns: int, dt_ns: int, seen: Seen, hold_ns: int) -> None:
        """Open to the physical bounds: ratings, availability and, for a silent resource, what was asked last.

        Args:
            now_ns: this tick.
            dt_ns: time to the next tick, when the decision begins to act.
            seen: what the tick sees.
            hold_ns: a resource silent for longer than this is taken to its safe value.
        """
        fleet, tele = self.fleet, seen.telemetry
        self.acts_ns, self.dt_s = now_ns + dt_ns, dt_ns / 1e9
        self.group_lo.fill(-np.inf)
        self.group_hi.fill(np.inf)
        self.group_lo_by.fill(NOBODY)
        self.group_hi_by.fill(NOBODY)
        self.speaker, self.frozen = NOBODY, False
        self.step[0], self.step[1] = np.nan, NOBODY
        _open(
            fleet.control, fleet.member, fleet.by_itself, fleet.p_min_mw, fleet.p_max_mw, fleet.p_safe_mw,
            fleet.capability.s_max_mva, tele.block, tele.quality[_T_P], tele.time_ns[_T_P], seen.last.setpoints.block, now_ns,
            hold_ns, self.block, self.owner,
        )  # fmt: skip

    @property
    def n(self) -> int:
        """Number of resources."""
        return self.fleet.n

    def propose_p(self, want_mw: FloatArray) -> None:
        """Want this active power [MW, (n,)]; non-finite entries leave the want as it is."""
        self._want(WANT_P, want_mw)

    def propose_q(self, want_mvar: FloatArray) -> None:
        """Want this reactive power [Mvar, (n,)]; non-finite entries leave it to whoever led before."""
        self._want(WANT_Q, want_mvar)

    def propose_step(self, want: FloatArray) -> None:
        """Want these steps [(n,)] of what is controlled by steps; non-finite entries leave it to whoever led before."""
        if self.frozen:
            raise PermissionError("a guard may only narrow; it proposed a step")
        wanted = want[self.switched]
        there = np.isfinite(wanted)
        self.step[0, there], self.step[1, there] = wanted[there], self.speaker

    def cap_p(self, hi_mw: FloatArray) -> None:
        """Allow no more active power than this [MW, (n,)]; injection is less, or consumption more."""
        _narrow(self.block[HI_P], self.owner[HI_P], self.block[LO_P], hi_mw, 1.0, self.speaker)

    def floor_p(self, lo_mw: FloatArray) -> None:
        """Allow no less active power than this [MW, (n,)]."""
        _narrow(self.block[LO_P], self.owner[LO_P], self.block[HI_P], lo_mw, -1.0, self.speaker)

    def band_p(self, lo_mw: FloatArray, hi_mw: FloatArray) -> None:
        """Allow active power only in this band [MW, (n,)]: `cap_p`, then `floor_p`, at one go."""
        _band(self.block, self.owner, lo_mw, hi_mw, self.speaker)

    def cap_q(self, hi_mvar: FloatArray) -> None:
        """Allow no more reactive power than this [Mvar, (n,)]."""
        _narrow(self.block[HI_Q], self.owner[HI_Q], self.block[LO_Q], hi_mvar, 1.0, self.speaker)

    def floor_q(self, lo_mvar: FloatArray) -> None:
        """Allow no less reactive power than this [Mvar, (n,)]."""
        _narrow(self.block[LO_Q], self.owner[LO_Q], self.block[HI_Q], lo_mvar, -1.0, self.speaker)

    def limit_group(self, group: int, lo_mw: float = -np.inf, hi_mw: float = np.inf) -> None:
        """Keep the sum of a group's active power in [lo_mw, hi_mw]; the tightest of all such limits counts."""
        if math.isfinite(hi_mw) and hi_mw < self.group_hi[group]:
            self.group_hi[group], self.group_hi_by[group] = max(hi_mw, self.group_lo[group]), self.speaker
        if math.isfinite(lo_mw) and lo_mw > self.group_lo[group]:
            self.group_lo[group], self.group_lo_by[group] = min(lo_mw, self.group_hi[group]), self.speaker

    def hold(self, last: Setpoints) -> None:
        """Let no controllable resource go further from zero than it was asked to be (`Safe.HOLD`)."""
        _toward_zero(self.block, self.owner, self.fleet.control, last.block, 1.0, self.speaker)

    def stop(self) -> None:
        """Take every controllable resource to zero, as far as its band allows (`Safe.STOP`)."""
        _toward_zero(self.block, self.owner, self.fleet.control, np.zeros((len(Setpoints.signals), self.n)), 0.0, self.speaker)

    def freeze_want(self) -> None:
        """From here on only narrowing: a guard that proposes is a mistake in its code."""
        self.frozen = True

    def _want(self, row: int, value: FloatArray) -> None:
        if self.frozen:
            raise PermissionError("a guard may only narrow; it proposed a want")
        _propose(self.block[row], self.owner[row], self.fleet.control, value, self.speaker)


@njit(cache=True)
def heard(value: float, quality: int) -> bool:
    """Whether a measured value is known and its quality lets it into a decision (`quality.usable`, compiled)."""
    return math.isfinite(value) and not quality & (q.INVALID | q.BLOCKED)  # the reserved validity 3 has invalid's bit


@njit(cache=True)
def within(value: float, least: float, most: float, otherwise: float) -> float:
    """Clip to a band, and give something else for what is not a number."""
    return min(max(value, least), most) if math.isfinite(value) else otherwise


@njit(cache=True)
def _propose(want: FloatArray, by: OwnerArray, control: IntArray, value: FloatArray, speaker: int) -> None:
    for i in range(want.size):
        x = value[i]
        if np.isfinite(x) and control[i] != CONTROL_NONE:
            want[i] = x
            by[i] = speaker


@njit(cache=True)
def _narrow(bound: FloatArray, by: OwnerArray, other: FloatArray, value: FloatArray, sign: float, speaker: int) -> None:
    """Move a bound inwards (sign +1: an upper bound down, -1: a lower bound up), never past the opposite one."""
    for i in range(bound.size):
        x = value[i]
        if np.isfinite(x) and sign * x < sign * bound[i]:
            bound[i] = x if sign * x > sign * other[i] else other[i]
            by[i] = speaker


@njit(cache=True)
def _band(block: FloatArray, owner: OwnerArray, lo: FloatArray, hi: FloatArray, speaker: int) -> None:
    for i in range(lo.size):
        low, high = block[LO_P, i], block[HI_P, i]
        if hi[i] < high and np.isfinite(hi[i]):
            high = max(hi[i], low)
            block[HI_P, i] = high
            owner[HI_P, i] = speaker
        if lo[i] > low and np.isfinite(lo[i]):
            block[LO_P, i] = min(lo[i], high)
            owner[LO_P, i] = speaker


@njit(cache=True)
def _toward_zero(block: FloatArray, owner: OwnerArray, control: IntArray, last: FloatArray, keep: float, speaker: int) -> None:
    for i in range(control.size):
        if control[i] == CONTROL_NONE:
            continue
        held = last[_S_P, i] * keep
        cap = min(max(max(held, 0.0), block[LO_P, i]), block[HI_P, i])
        floor = max(min(min(held, 0.0), block[HI_P, i]), block[LO_P, i])
        if cap < block[HI_P, i]:
            block[HI_P, i] = cap
            owner[HI_P, i] = speaker
        if floor > block[LO_P, i]:
            block[LO_P, i] = min(floor, block[HI_P, i])
            owner[LO_P, i] = speaker


@njit(cache=True)
def _open(
    control: IntArray, member: BoolArray, by_itself: BoolArray, p_min: FloatArray, p_max: FloatArray, p_safe: FloatArray,
    s_max: FloatArray, tele: FloatArray, tele_quality: ByteArray, tele_time: IntArray, last: FloatArray, now_ns: int,
    hold_ns: int, block: FloatArray, owner: OwnerArray,
) -> None:  # fmt: skip
    """Fill the envelope with physical bounds (see `Envelope.reset`)."""
    for i in range(control.size):
        lo, hi = p_min[i], p_max[i]
        reach = hi
        by_lo = by_hi = RATING
        measured = tele[_T_P, i]
        known = heard(measured, tele_quality[i])
        fresh = known or now_ns - tele_time[i] <= hold_ns
        kind = control[i]
        want, by_want = 0.0, NOBODY
        if not member[i]:
            lo = hi = reach = 0.0
        elif kind == CONTROL_NONE:
            expected = within(measured if known else last[_S_P, i], lo, hi, p_safe[i])
            lo = hi = reach = want = expected
            by_want = NOBODY if known else SILENCE
        elif known:
            most, least = tele[_T_MAX, i], tele[_T_MIN, i]
            if np.isfinite(most) and most < hi:
                reach = max(most, lo)
            if kind == CONTROL_LIMIT:
                want = hi
            else:
                if by_itself[i]:
                    want = within(measured, lo, hi, 0.0)  # left to itself it goes on as it does
                if reach < hi:
                    hi, by_hi = reach, AVAILABILITY
                if np.isfinite(least) and least > lo:
                    lo, by_lo = min(least, hi), AVAILABILITY
        elif kind == CONTROL_LIMIT:
            # The last limit stays for the hold time, then the safe value is the limit.
            kept = last[_S_LIMIT, i] if last[_S_MODE, i] == LIMIT else hi
            hi = within(kept if fresh else p_safe[i], lo, hi, lo)
            reach = want = hi
            by_hi = SILENCE
        elif kind == CONTROL_FOLLOW:
            kept = within(last[_S_P, i] if fresh else p_safe[i], lo, hi, p_safe[i])
            lo, hi = max(lo, min(kept, 0.0)), min(hi, max(kept, 0.0))
            reach = hi
            want, by_want = kept, SILENCE
            by_lo = by_hi = SILENCE
        block[WANT_P, i], block[LO_P, i], block[HI_P, i], block[REACH_P, i] = want, lo, hi, reach
        block[WANT_Q, i], block[LO_Q, i], block[HI_Q, i] = np.nan, -s_max[i], s_max[i]
        owner[WANT_P, i], owner[LO_P, i], owner[HI_P, i], owner[REACH_P, i] = by_want, by_lo, by_hi, AVAILABILITY
        owner[WANT_Q, i], owner[LO_Q, i], owner[HI_Q, i] = NOBODY, RATING, RATING
