"""Compiled looks of the performance guard, each one pass: 1 wrong, 0 right, -1 nothing can be said."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from vpp.kernel import quality as q
from vpp.kernel.envelope import heard
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT
from vpp.kernel.setpoints import FOLLOW, LIMIT, Setpoints
from vpp.kernel.signals import BoolArray, ByteArray, FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry

OFF, STUCK, SILENT, FROZEN, VOLTAGE, ENERGY, SWAPPED = range(7)
LOOKS: Final = 7
DEPTH: Final = 8  # ticks for which it is known what was asked
HELD: Final = 3  # ticks back that a read-back may be
PAIRS: Final = 64  # deviating resources among which swapped meters are looked for
NS_PER_H: Final = 3.6e12
SOC_RELAX_H: Final = 2.0  # in which the charge by energy forgets its errors
SignArray = npt.NDArray[np.int8]

_T_P, _T_Q, _T_VM, _T_F = Telemetry.p_mw.row, Telemetry.q_mvar.row, Telemetry.vm_pu.row, Telemetry.f_hz.row
_T_SOC, _T_MIN, _T_MAX = Telemetry.soc.row, Telemetry.p_avail_min_mw.row, Telemetry.p_avail_max_mw.row
_S_P, _S_LIMIT, _S_MODE = Setpoints.p_mw.row, Setpoints.p_limit_mw.row, Setpoints.mode.row


def fresh(quality: ByteArray) -> BoolArray:
    """Whether values of this quality have just been heard."""
    return np.asarray(quality & (q.INVALID | q.BLOCKED | q.STALE | q.COMM_LOST) == 0)


@njit(cache=True)
def _new(value: float, quality: int) -> bool:
    return heard(value, quality) and not quality & q.STALE


@njit(cache=True)
def _held(control: int, p: float, limit: float, mode: float, p_max: float) -> float:
    """What a setpoint comes to: the power of one that follows, the limit of one that can be limited, else NaN."""
    if control == CONTROL_FOLLOW:
        return p if mode == FOLLOW else math.nan
    if control == CONTROL_LIMIT:
        return min(limit, p_max) if mode == LIMIT else p_max
    return math.nan


@njit(cache=True)
def remember(control: IntArray, last: FloatArray, p_max: FloatArray, asked: FloatArray) -> None:
    """Keep what was asked a tick ago."""
    for i in range(control.size):
        asked[i] = _held(control[i], last[_S_P, i], last[_S_LIMIT, i], last[_S_MODE, i], p_max[i])


@njit(cache=True)
def follow(
    control: IntArray, p_max: FloatArray, rating: FloatArray, tele: FloatArray, quality: ByteArray, source_ns: IntArray,
    now_ns: int, dt_s: float, tick: int, limits: FloatArray, asked: FloatArray, band: FloatArray, raised: ByteArray,
    expected: FloatArray, shape: ByteArray, bad: SignArray,
) -> None:  # fmt: skip
    """Hold each power against what was asked when it was measured; ``band`` is the fading range of what is expected."""
    tolerance, vm_high, f_band, fade = limits[0], limits[1], limits[2], limits[3]
    for i in range(control.size):
        p = tele[_T_P, i]
        if not _new(p, quality[i]):
            continue
        age = max(round((now_ns - source_ns[i]) / (dt_s * 1e9)), 0) if source_ns[i] > 0 else 0
        if age >= DEPTH or age > tick:
            continue
        x, least, most = asked[(tick - age) % DEPTH, i], tele[_T_MIN, i], tele[_T_MAX, i]
        if control[i] == CONTROL_LIMIT and not (p_max[i] > 0.0 and math.isfinite(most)):
            continue
        if not math.isfinite(x):
            band[0, i] = band[1, i] = math.nan
            continue
        x = min(x, most) if math.isfinite(most) else x
        x = max(x, least) if math.isfinite(least) and control[i] == CONTROL_FOLLOW else x
        low, high = band[0, i], band[1, i]
        low = x if not low < x else low + (x - low) * fade
        high = x if not high > x else high + (x - high) * fade
        band[0, i], band[1, i], expected[i] = low, high, x
        margin = tolerance * rating[i]
        under = p < low - margin
        if under and (tele[_T_VM, i] > vm_high or min(abs(tele[_T_F, i] - 50.0), abs(tele[_T_F, i] - 60.0)) > f_band):
            continue  # its own curve may have taken power back
        wrong = under or p > high + margin
        # A finding ends only where it would show: a dark PV does not prove that it is well again.
        if wrong or not raised[i] or abs(x) > 2.0 * margin:
            bad[i] = wrong
        if abs(x) > 2.0 * margin and abs(p) <= margin:
            shape[i] = 1
        elif abs(x) > 2.0 * margin and abs(p + x) <= margin:
            shape[i] = 2


@njit(cache=True)
def read_back(
    control: IntArray, applied: FloatArray, p_max: FloatArray, rating: FloatArray, tick: int, tolerance: float,
    quality: ByteArray, asked: FloatArray, bad: SignArray,
) -> None:  # fmt: skip
    """Hold the setpoint that a device says it holds against those of the last ticks; a silent one can hold none of them."""
    for i in range(control.size):
        if quality[i] & (q.STALE | q.COMM_LOST):
            continue
        held = _held(control[i], applied[_S_P, i], applied[_S_LIMIT, i], applied[_S_MODE, i], p_max[i])
        least, most = math.inf, -math.inf
        for back in range(min(HELD, tick + 1)):
            x = asked[(tick - back) % DEPTH, i]
            if not math.isfinite(x):
                least = math.inf
                break
            least, most = min(least, x), max(most, x)
        if least > most:
            continue
        margin = tolerance * rating[i]
        bad[i] = not least - margin <= held <= most + margin


@njit(cache=True)
def silence(quality: ByteArray, p: FloatArray, bad: SignArray) -> None:
    """Who has sent nothing."""
    for i in range(p.size):
        bad[i] = (quality[i] & (q.STALE | q.COMM_LOST)) != 0 or (not math.isfinite(p[i]) and not quality[i])


@njit(cache=True)
def stand_still(
    tele: FloatArray, quality: ByteArray, source_ns: IntArray, dt_s: float, moved: float, shown: FloatArray, shown_ns: IntArray,
    bad: SignArray,
) -> None:  # fmt: skip
    """Whose values all stay the same, report after report, though the mean voltage of all moves."""
    total, count = 0.0, 0
    for i in range(source_ns.size):
        if _new(tele[_T_VM, i], quality[i]):
            total += tele[_T_VM, i]
            count += 1
    mean = total / max(count, 1)
    for i in range(source_ns.size):
        p, react, vm = tele[_T_P, i], tele[_T_Q, i], tele[_T_VM, i]
        if not _new(vm, quality[i]) or source_ns[i] == shown_ns[i]:
            continue
        if p == shown[0, i] and react == shown[1, i] and vm == shown[2, i]:
            shown[4, i] = max(shown[4, i], abs(mean - shown[3, i]))
            if shown[4, i] > moved:
                bad[i] = 1
        else:
            shown[0, i], shown[1, i], shown[2, i], shown[3, i], shown[4, i] = p, react, vm, mean, 0.0
            bad[i] = 0


@njit(cache=True)
def neighbours(vm: FloatArray, quality: ByteArray, node: IntArray, nodes: int, tolerance: float, bad: SignArray) -> None:
    """Whose voltage is furthest from the mean of the others at its node, and too far."""
    total, count = np.zeros(nodes), np.zeros(nodes)
    for i in range(vm.size):
        if node[i] >= 0 and _new(vm[i], quality[i]):
            total[node[i]] += vm[i]
            count[node[i]] += 1.0
    worst = np.zeros(nodes)
    for i in range(vm.size):
        k = node[i]
        if k >= 0 and _new(vm[i], quality[i]) and count[k] > 1.0:
            worst[k] = max(worst[k], abs(vm[i] * count[k] - total[k]) / (count[k] - 1.0))
    for i in range(vm.size):
        k = node[i]
        if k >= 0 and _new(vm[i], quality[i]) and count[k] > 1.0:
            off = abs(vm[i] * count[k] - total[k]) / (count[k] - 1.0)
            bad[i] = off > tolerance and off > worst[k] - 1e-9


@njit(cache=True)
def energy(
    battery: IntArray, e_mwh: FloatArray, eff_in: FloatArray, eff_out: FloatArray, tele: FloatArray, quality: ByteArray,
    source_ns: IntArray, shown_ns: IntArray, tolerance: float, memory: FloatArray, bad: SignArray,
) -> None:  # fmt: skip
    """Whose charge is not explained by what it has delivered; a slow forgetting covers efficiencies that are not quite so."""
    for i in battery:
        soc, p = tele[_T_SOC, i], tele[_T_P, i]
        if not (_new(soc, quality[_T_SOC, i]) and _new(p, quality[_T_P, i])):
            memory[0, i] = math.nan
            continue
        if source_ns[i] == shown_ns[i]:
            continue
        hours = (source_ns[i] - shown_ns[i]) / NS_PER_H
        model, drawn = memory[0, i], memory[1, i] * hours
        model -= drawn / (e_mwh[i] * eff_out[i]) if drawn > 0.0 else drawn * eff_in[i] / e_mwh[i]
        memory[1, i] = p
        if not math.isfinite(model):
            memory[0, i] = soc
            continue
        bad[i] = abs(soc - model) > tolerance
        memory[0, i] = model + (soc - model) * (1.0 - math.exp(-hours / SOC_RELAX_H))


@njit(cache=True)
def swaps(p: FloatArray, expected: FloatArray, margin: FloatArray, off: SignArray, partner: IntArray, bad: SignArray) -> None:
    """Of those that deviate, pairs of which each shows what is expected of the other, tick after tick the same pair."""
    who = np.flatnonzero(off == 1)
    for i in range(off.size):
        if off[i] == 0:
            bad[i] = 0
    for i in who[:PAIRS]:
        best, least = -1, math.inf
        for j in who[:PAIRS]:
            mine, other = abs(p[i] - expected[j]), abs(p[j] - expected[i])
            if j != i and mine <= margin[i] + margin[j] and other <= margin[i] + margin[j] and mine + other < least:
                best, least = j, mine + other
        bad[i] = best >= 0 and best == partner[i]
        partner[i] = best


@njit(cache=True)
def count(bad: SignArray, since: FloatArray, raised: ByteArray, need_s: FloatArray, clear_s: float, dt_s: float) -> int:
    """Count for how long each look has been wrong (positive) or right (negative), and raise and clear; returns changes."""
    changed = 0
    for look in range(bad.shape[0]):
        for i in range(bad.shape[1]):
            if bad[look, i] < 0:
                continue
            s = since[look, i]
            s = max(s, 0.0) + dt_s if bad[look, i] else min(s, 0.0) - dt_s
            since[look, i] = s
            now = s >= need_s[look] - 1e-9 or (raised[look, i] and s > 1e-9 - clear_s)
            if now != raised[look, i]:
                raised[look, i] = now
                changed += 1
    return changed


@njit(cache=True)
def sums(p: FloatArray, quality: ByteArray, rating: FloatArray, last: FloatArray) -> tuple[float, float, float, bool]:
    """Sum of all power, of all magnitudes and of all ratings [MW]; known where nine tenths by rating have been heard.

    Whoever was not heard counts with what was asked or expected.
    """
    total = flows = ratings = unknown = 0.0
    for i in range(p.size):
        ratings += rating[i]
        x = p[i]
        if not _new(x, quality[i]):
            x = last[_S_P, i]
            unknown += rating[i]
        total += x
        flows += abs(x)
    return total, flows, ratings, unknown <= 0.1 * ratings
