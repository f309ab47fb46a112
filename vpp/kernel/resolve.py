"""From an envelope to setpoints: clip, capability, groups, steps and gaps, and one last clamp.

The last clamp knows nothing of the envelope: whatever went before, no setpoint leaves its resource's
ratings, and none is NaN or infinite.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from vpp.kernel import envelope as e
from vpp.kernel.capability import q_band, s_limit
from vpp.kernel.envelope import Envelope, OwnerArray, heard, within
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE
from vpp.kernel.groups import breaches, share
from vpp.kernel.seen import Seen
from vpp.kernel.setpoints import AUTONOMOUS, FOLLOW, LIMIT, Asked, CauseArray, Setpoints
from vpp.kernel.signals import BoolArray, ByteArray, FloatArray, Int32Array, IntArray
from vpp.kernel.telemetry import Telemetry

TOLERANCE_MW = 1e-9
OWN_BOUNDS = len(e.OWNERS)  # owners below are a resource's own bounds, those above are controllers

_P, _P_LIMIT, _Q = Setpoints.p_mw.row, Setpoints.p_limit_mw.row, Setpoints.q_mvar.row
_V_REF, _F_REF, _MODE = Setpoints.v_ref_pu.row, Setpoints.f_ref_hz.row, Setpoints.mode.row
_Q_MODE, _CONNECT = Setpoints.q_mode.row, Setpoints.connect.row
_STEP, _VALID = Setpoints.step.row, Setpoints.valid_until_ns.row
_T_VM = Telemetry.vm_pu.row


def resolve(allowed: Envelope, seen: Seen, now_ns: int) -> tuple[Asked, FloatArray]:
    """Turn an envelope into setpoints.

    Returns:
        What is asked, and for each group by how much its band cannot be held [MW]: positive above its
        upper limit, negative below its lower one.
    """
    fleet, groups, cap = allowed.fleet, allowed.fleet.groups, allowed.fleet.capability
    n, g = fleet.n, groups.n
    work = np.empty((4, n))
    want, lo, hi, given = work
    vm, vm_quality = seen.telemetry.vm_pu, seen.telemetry.quality[_T_VM]
    binding = np.empty(n, np.int32)
    by_p = np.empty(n, np.int16)
    _clip(
        fleet.control, fleet.p_min_mw, fleet.p_max_mw, fleet.p_step_mw, allowed.block, allowed.owner, vm, vm_quality,
        cap.s_max_mva, cap.i_max_pu, cap.table, cap.p_pu, cap.q_min_pu, cap.q_max_pu, cap.q_priority, want, lo, hi, by_p,
    )  # fmt: skip
    shortfall = np.zeros(g)
    share(groups.parent, groups.of, allowed.group_lo, allowed.group_hi, want, lo, hi, given, binding, shortfall, np.empty((8, g)))
    if allowed.stepped:
        _discrete(fleet.control, fleet.p_step_mw, fleet.p_gap_mw, want, lo, hi, given, by_p)
    asked = Asked(now_ns, Setpoints(np.empty((len(Setpoints.signals), n))), np.empty(n, np.int16), np.empty(n, np.int16))
    _encode(
        fleet.control, fleet.by_itself, allowed.block, allowed.owner, vm, vm_quality, cap.s_max_mva, cap.i_max_pu, cap.table,
        cap.p_pu, cap.q_min_pu, cap.q_max_pu, given, binding, allowed.group_lo_by, allowed.group_hi_by, want, by_p,
        fleet.p_min_mw, fleet.p_max_mw, fleet.p_safe_mw, seen.last.setpoints.block, asked.setpoints.block, asked.cause_p,
        asked.cause_q,
    )  # fmt: skip
    if allowed.switched.size:
        _switch(allowed, seen, asked)
    # Steps and gaps may cost a little more than the sharing knew: say what the setpoints really breach.
    breaches(groups.parent, groups.of, asked.setpoints.p_mw, allowed.group_lo, allowed.group_hi, shortfall)
    return asked, shortfall


def _switch(allowed: Envelope, seen: Seen, asked: Asked) -> None:
    """Whole steps within their ends where somebody wants one; elsewhere the device's own control leads, from where it is."""
    fleet, at, (want, by) = allowed.fleet, allowed.switched, allowed.step
    led = np.isfinite(want)
    held = seen.applied.step[at]
    step = np.rint(np.where(led, want, np.where(np.isfinite(held), held, 0.0)))
    asked.setpoints.step[at] = np.clip(step, fleet.step_min[at], fleet.step_max[at]) + 0.0
    asked.setpoints.mode[at] = np.where(led, FOLLOW, AUTONOMOUS)
    asked.cause_p[at] = np.where(led, by, e.NOBODY).astype(np.int16)


@njit(cache=True)
def _clip(
    control: IntArray, p_min: FloatArray, p_max: FloatArray, step: FloatArray, block: FloatArray, owner: OwnerArray,
    vm: FloatArray, vm_quality: ByteArray, s_max: FloatArray, i_max: FloatArray, table: Int32Array,
    p_pu: FloatArray, q_min_pu: FloatArray, q_max_pu: FloatArray, q_priority: BoolArray,
    want: FloatArray, lo: FloatArray, hi: FloatArray, by: CauseArray,
) -> None:  # fmt: skip
    """Wants into their bands; where reactive power has priority, active power makes room for it first."""
    for i in range(want.size):
        # Whatever was written into the block: one bad number must not spoil what a whole group gets.
        low, high = within(block[e.LO_P, i], p_min[i], p_max[i], p_min[i]), within(block[e.HI_P, i], p_min[i], p_max[i], p_max[i])
        by_low, by_high = owner[e.LO_P, i], owner[e.HI_P, i]
        if control[i] == CONTROL_LIMIT and step[i] > 0.0 and high < p_max[i]:
            high = max(math.floor(high / step[i] + 1e-9) * step[i], p_min[i])
        low = min(low, high)
        if low != block[e.LO_P, i] or high != block[e.HI_P, i]:
            block[e.LO_P, i], block[e.HI_P, i] = low, high
        reach = block[e.REACH_P, i]
        if reach < high:
            # What is not there cannot be had, whatever a floor says.
            high, by_high = max(reach, p_min[i]), e.AVAILABILITY
            low = min(low, high)
        if s_max[i] > 0.0:
            room = s_limit(s_max[i], i_max[i], vm[i] if heard(vm[i], vm_quality[i]) else math.nan)
            if q_priority[i] and np.isfinite(block[e.WANT_Q, i]):
                p = min(max(block[e.WANT_P, i], low), high)
                # The table alone: the circle is what active power gives way to.
                q_lo, q_hi = q_band(p, math.inf, s_max[i], p_pu[table[i]], q_min_pu[table[i]], q_max_pu[table[i]])
                q = within(block[e.WANT_Q, i], max(-room, block[e.LO_Q, i], q_lo), min(room, block[e.HI_Q, i], q_hi), 0.0)
                room = math.sqrt(max(room * room - q * q, 0.0))
            if high > room:
                high, by_high = max(room, p_min[i]), e.CAPABILITY
                low = min(low, high)
            if low < -room:
                low, by_low = min(-room, p_max[i]), e.CAPABILITY
                high = max(low, high)
        w, by_want = block[e.WANT_P, i], owner[e.WANT_P, i]
        if not math.isfinite(w):
            w, by_want = 0.0, e.NOBODY
        # Selects, not branches: whether a want is clipped is hard to predict, and a wrong guess costs more than all of this.
        by_want = by_high if w > high else by_want
        by[i] = by_low if w < low else by_want
        want[i], lo[i], hi[i] = min(max(w, low), high), low, high


@njit(cache=True)
def _discrete(
    control: IntArray, step: FloatArray, gap: FloatArray, want: FloatArray, lo: FloatArray, hi: FloatArray, given: FloatArray,
    by: CauseArray,
) -> None:  # fmt: skip
    """Snap to steps and out of gaps: towards the side that a group's limit asked for, else towards zero."""
    for i in range(given.size):
        if step[i] <= 0.0 and gap[i] <= 0.0:
            continue
        p = given[i]
        moved = given[i] - want[i]
        if control[i] == CONTROL_LIMIT and moved == 0.0 and by[i] == e.AVAILABILITY:
            continue  # beneath its limit a resource does what it can: only the limit itself comes in steps
        if step[i] > 0.0:
            k = p / step[i]
            if abs(k - round(k)) > 1e-9:
                upwards = moved > 0.0 or (moved == 0.0 and k < 0.0)
                p = (math.ceil(k) if upwards else math.floor(k)) * step[i]
                if p < lo[i]:
                    p = math.ceil(lo[i] / step[i] - 1e-9) * step[i]
                elif p > hi[i]:
                    p = math.floor(hi[i] / step[i] + 1e-9) * step[i]
        if 0.0 < abs(p) < gap[i]:
            if moved < 0.0 and p < 0.0 and -gap[i] >= lo[i]:
                p = -gap[i]
            elif moved > 0.0 and p > 0.0 and gap[i] <= hi[i]:
                p = gap[i]
            else:
                p = 0.0
        p = min(max(p, lo[i]), hi[i])
        if p != given[i]:
            given[i] = p
            by[i] = e.STEP


@njit(cache=True)
def _encode(
    control: IntArray, by_itself: BoolArray, block: FloatArray, owner: OwnerArray, vm: FloatArray, vm_quality: ByteArray,
    s_max: FloatArray, i_max: FloatArray, table: Int32Array, p_pu: FloatArray, q_min_pu: FloatArray, q_max_pu: FloatArray,
    given: FloatArray, binding: Int32Array, lo_by: OwnerArray, hi_by: OwnerArray, want: FloatArray, by: CauseArray,
    p_min: FloatArray, p_max: FloatArray, p_safe: FloatArray, last: FloatArray, out: FloatArray, cause_p: CauseArray,
    cause_q: CauseArray,
) -> None:  # fmt: skip
    """Write the setpoints and the cause of each."""
    out[_CONNECT], out[_STEP], out[_VALID] = 1.0, 0.0, 0.0
    for i in range(given.size):
        p = given[i]
        mode, limit = AUTONOMOUS, p_max[i]
        cause = by[i]
        grouped = binding[i] >= 0
        if grouped:
            cause = hi_by[binding[i]] if p < want[i] else lo_by[binding[i]]
        if control[i] == CONTROL_FOLLOW:
            # Nobody wants anything of it, nor does anybody bind it: its own control leads.
            free = by_itself[i] and not grouped and owner[e.WANT_P, i] == e.NOBODY and cause < OWN_BOUNDS and cause != e.SILENCE
            mode = AUTONOMOUS if free else FOLLOW
            limit = block[e.HI_P, i]
        elif control[i] == CONTROL_LIMIT:
            # A limit that does not bind now must still reach the device: the sun may come out before the next tick.
            limit = block[e.HI_P, i]
            if grouped or (block[e.WANT_P, i] < limit and owner[e.WANT_P, i] != e.NOBODY):
                limit = p
            mode = LIMIT if limit < p_max[i] else AUTONOMOUS
        q, q_mode, by_q = 0.0, AUTONOMOUS, e.NOBODY
        wanted = block[e.WANT_Q, i]
        if np.isfinite(wanted) and control[i] != CONTROL_NONE:
            q_mode, q, by_q = FOLLOW, wanted, owner[e.WANT_Q, i]
            if q > block[e.HI_Q, i]:
                q, by_q = block[e.HI_Q, i], owner[e.HI_Q, i]
            if q < block[e.LO_Q, i]:
                q, by_q = block[e.LO_Q, i], owner[e.LO_Q, i]
            t, room = table[i], s_limit(s_max[i], i_max[i], vm[i] if heard(vm[i], vm_quality[i]) else math.nan)
            q_lo, q_hi = q_band(p, room, s_max[i], p_pu[t], q_min_pu[t], q_max_pu[t])
            if q > q_hi + TOLERANCE_MW or q < q_lo - TOLERANCE_MW:
                by_q = e.CAPABILITY
            q = min(max(q, q_lo), q_hi)
        p, limit, q = _clamped(p, limit, q, p_min[i], p_max[i], p_safe[i], s_max[i])
        out[_P, i], out[_P_LIMIT, i], out[_Q, i] = p, limit, q
        out[_MODE, i] = mode
        out[_Q_MODE, i] = q_mode
        out[_V_REF, i] = last[_V_REF, i] if math.isfinite(last[_V_REF, i]) else 1.0
        out[_F_REF, i] = last[_F_REF, i] if math.isfinite(last[_F_REF, i]) else 0.0
        cause_p[i], cause_q[i] = cause, by_q


@njit(cache=True)
def _clamped(
    p: float, limit: float, q: float, p_min: float, p_max: float, p_safe: float, s_max: float
) -> tuple[float, float, float]:
    """The last clamp: finite, inside the ratings and the circle; zero is spelt in one way, so equal numbers are equal bytes."""
    p = within(p, p_min, p_max, p_safe)
    room = math.sqrt(max(s_max * s_max - p * p, 0.0))
    return p + 0.0, within(limit, p_min, p_max, p_max) + 0.0, within(q, -room, room, 0.0) + 0.0
