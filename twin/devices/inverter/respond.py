"""What an inverter delivers at a voltage: the implicit part, asked again and again within a step.

IEEE 1547-2018: volt-var 5.3.3, volt-watt 5.4.2, constant power factor 5.3.2, watt-var 5.3.4, constant reactive power
5.3.5, reactive capability 5.2 (reduced below 20 % of rated active power, none below 5 %). An open-loop response time T
is a first-order lag that covers 90 % of a step in T, hence a time constant T / ln 10.

The loops have no branches, so that they vectorise; what a set of settings says stays in registers.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from twin.devices.inverter import columns as c
from vpp.kernel.signals import FloatArray, IntArray


@njit(cache=True, nogil=True)
def respond(
    first: int, last: int, start: IntArray, table: FloatArray, lag: FloatArray, lanes: FloatArray, out: FloatArray
) -> None:
    """Active and reactive power of all lanes of the sets first…last-1 at the voltages in ``lanes``.

    Args:
        first: first set.
        last: one past the last set.
        start: (sets + 1,) first block of each set.
        table: (sets, COLUMNS) settings of each set.
        lag: (4, sets) share of a change that comes through in this step, see `Inverters.lag`.
        lanes: blocks of lanes, flat; the lags in them are those before the step and stay so, see `settle`.
        out: blocks of what comes out, flat.
    """
    for k in range(first, last):
        if table[k, c.BY_POWER] > 0.0:
            by_power(start[k], start[k + 1], table[k], lag[0, k], lag[1, k], lanes, out)
        else:
            by_voltage(start[k], start[k + 1], table[k], lag[0, k], lag[1, k], lanes, out)


@njit(cache=True, nogil=True)
def unit(x: float) -> float:
    """Clip to 0…1."""
    return min(max(x, 0.0), 1.0)


@njit(cache=True, nogil=True)
def inside(x: float) -> float:
    """1 strictly between 0 and 1, 0 elsewhere: x (1 - x) is zero on the flat parts and only there."""
    return min(x * (1.0 - x) * c.BIG, 1.0)


@njit(cache=True, nogil=True)
def share_at(at: float, low_p: float) -> float:
    """Share of the reactive capability at this active power of rated (IEEE 1547-2018, 5.2, Figure 3)."""
    low = unit((at - 0.04999) * 1e5) * min(at * 5.0, 1.0)
    return 1.0 - low_p * (1.0 - low)


@njit(cache=True, nogil=True, error_model="numpy")
def by_voltage(begin: int, end: int, t: FloatArray, lag_q: float, lag_p: float, x: FloatArray, out: FloatArray) -> None:
    """Lanes of one set whose reactive power is led by volt-var, by a constant, or by nothing."""
    v1, w1, v2, w2, v3, w3 = t[c.V1], t[c.W1], t[c.V2], t[c.W2], t[c.V3], t[c.W3]
    q1, d1, d2, d3, constant = t[c.Q1], t[c.D1], t[c.D2], t[c.D3], t[c.CONST_Q]
    reference, follows, lowest, highest = t[c.VREF_SET], t[c.VREF_AUTO], t[c.VREF_MIN], t[c.VREF_MAX]
    u1, uw, p1, dp, charges, watt_on = t[c.U1], t[c.UW], t[c.P1], t[c.DP], t[c.P2_NEG], t[c.PV]
    cap_inj, cap_abs, cap_inj_c, cap_abs_c, low_p = t[c.CAP_INJ], t[c.CAP_ABS], t[c.CAP_INJ_C], t[c.CAP_ABS_C], t[c.LOW_P]
    prio, req_inj, req_abs, i_max, var_on = t[c.PRIO_P], t[c.REQ_INJ], t[c.REQ_ABS], t[c.I_MAX], t[c.QV]
    steep1, steep2, steep3 = d1 * w1, d2 * w2, d3 * w3
    for block in range(np.uint64(begin), np.uint64(end)):
        base, o = block * c.SIZE, block * c.OUT_SIZE
        for lane in range(np.uint64(c.W)):
            i = base + lane
            v, s, rated, want, led = x[i + c.V], x[i + c.S], x[i + c.PR], x[i + c.P_WANT], 1.0 - x[i + c.FOLLOWS]
            on = 1.0 if abs(x[i + c.STATUS] - 4.0) < 3.5 else 0.0
            shift = reference + follows * (min(max(x[i + c.VREF], lowest), highest) - reference) - 1.0
            moved = v - shift
            low, mid, high = unit((moved - v1) * w1), unit((moved - v2) * w2), unit((moved - v3) * w3)
            q = constant + q1 + low * d1 + mid * d2 + high * d3
            q = x[i + c.Q_LAG] + lag_q * (q - x[i + c.Q_LAG])
            u = unit((v - u1) * uw)
            fall = dp + charges * (x[i + c.RATIO] - 1.0)
            limit = x[i + c.P_LAG] + lag_p * (p1 + u * fall - x[i + c.P_LAG])
            out[o + lane + c.Q_LAGGED], out[o + lane + c.P_LAGGED] = q, limit
            p = want + watt_on * (max(min(want, limit * rated), min(want, x[i + c.P_MIN])) - want)
            q = x[i + c.FOLLOWS] * x[i + c.Q_OFFER] + led * q * s
            part = share_at(abs(p) / rated, low_p)
            inject = min((cap_inj if p >= 0.0 else cap_inj_c) * part, 1.0) * s
            absorb = min((cap_abs if p >= 0.0 else cap_abs_c) * part, 1.0) * s
            room = math.sqrt(max(s * s - p * p, 0.0))
            inject = min(inject, s + prio * (max(room, req_inj * s) - s))
            absorb = min(absorb, s + prio * (max(room, req_abs * s) - s))
            current = min(i_max * v, 1.0) * s
            inject, absorb = min(inject, current), min(absorb, current)
            free = min(max(inject - q, 0.0) * c.BIG, 1.0) * min(max(absorb + q, 0.0) * c.BIG, 1.0)
            binds = inside(u) * min(max(want - limit * rated, 0.0) * c.BIG, 1.0)
            steep = steep1 * inside(low) + steep2 * inside(mid) + steep3 * inside(high)
            out[o + lane + c.P_BY_V] = on * watt_on * lag_p * rated * fall * uw * binds
            out[o + lane + c.Q_BY_V] = on * led * lag_q * free * var_on * s * steep
            q = min(max(q, -absorb), inject)
            room = min(math.sqrt(max(current * current - q * q, 0.0)), x[i + c.P_TOP])
            out[o + lane + c.P] = on * min(max(p, -room), room)
            out[o + lane + c.Q] = on * q


@njit(cache=True, nogil=True)
def _cosine_tangent(p: float, beginning: float, width: float, cosine: float, change: float) -> float:
    """Reactive over active power at this active power of rated, a magnitude: constant power factor or cos phi (P)."""
    pf = cosine + unit((p - beginning) * width) * change
    return math.sqrt(max(1.0 / (pf * pf) - 1.0, 0.0))


@njit(cache=True, nogil=True)
def _watt_var(p: float, t: FloatArray) -> tuple[float, float]:
    """Reactive power of nameplate by active power of rated, and its slope: five pieces between six points."""
    u1, u2, u3 = unit((p - t[c.X1]) * t[c.XW1]), unit((p - t[c.X2]) * t[c.XW2]), unit((p - t[c.X3]) * t[c.XW3])
    u4, u5 = unit((p - t[c.X4]) * t[c.XW4]), unit((p - t[c.X5]) * t[c.XW5])
    q = t[c.Y1] + u1 * t[c.E1] + u2 * t[c.E2] + u3 * t[c.E3] + u4 * t[c.E4] + u5 * t[c.E5]
    slope = inside(u1) * t[c.E1] * t[c.XW1] + inside(u2) * t[c.E2] * t[c.XW2] + inside(u3) * t[c.E3] * t[c.XW3]
    return q, slope + inside(u4) * t[c.E4] * t[c.XW4] + inside(u5) * t[c.E5] * t[c.XW5]


@njit(cache=True, nogil=True, error_model="numpy")
def _on_circle(p: float, t: FloatArray, s: float, rated: float, ratio: float) -> float:
    """Magnitude of the active power at which the watt-var curve leaves the nameplate circle, at most ``p``'s.

    Straight pieces meet a circle in closed form; the second round takes the piece on which the first one ended.
    """
    sign = 1.0 if p >= 0.0 else -1.0
    size = min(abs(p), s)
    for _ in range(2):
        base = rated if p >= 0.0 else rated * ratio
        q, slope = _watt_var(sign * size / base, t)
        b = slope * s * sign / base
        a = q * s - b * size
        root = math.sqrt(max(s * s * (1.0 + b * b) - a * a, 0.0))
        size = max((root - a * b) / (1.0 + b * b), 0.0)
    return min(size, abs(p))


@njit(cache=True, nogil=True, error_model="numpy")
def by_power(begin: int, end: int, t: FloatArray, lag_q: float, lag_p: float, x: FloatArray, out: FloatArray) -> None:
    """Lanes of one set whose reactive power is led by active power: power factor, cos phi (P), or watt-var."""
    u1, uw, p1, dp, charges, watt_on = t[c.U1], t[c.UW], t[c.P1], t[c.DP], t[c.P2_NEG], t[c.PV]
    sign, begins, width, cosine, change = t[c.PF_SIGN], t[c.PF_P], t[c.PF_W], t[c.PF_COS], t[c.PF_D]
    for block in range(np.uint64(begin), np.uint64(end)):
        base, o = block * c.SIZE, block * c.OUT_SIZE
        for lane in range(np.uint64(c.W)):
            i = base + lane
            v, s, rated, ratio, want = x[i + c.V], x[i + c.S], x[i + c.PR], x[i + c.RATIO], x[i + c.P_WANT]
            on = 1.0 if abs(x[i + c.STATUS] - 4.0) < 3.5 else 0.0
            u = unit((v - u1) * uw)
            fall = dp + charges * (ratio - 1.0)
            limit = x[i + c.P_LAG] + lag_p * (p1 + u * fall - x[i + c.P_LAG])
            p = want + watt_on * (max(min(want, limit * rated), min(want, x[i + c.P_MIN])) - want)
            side = rated if p >= 0.0 else rated * ratio
            tangent = _cosine_tangent(abs(p) / rated, begins, width, cosine, change)
            curve, slope = _watt_var(p / side, t)
            q = x[i + c.Q_LAG] + lag_q * (sign * tangent * p / s + curve - x[i + c.Q_LAG])
            out[o + lane + c.Q_LAGGED], out[o + lane + c.P_LAGGED] = q, limit
            answer = watt_on * lag_p * rated * fall * uw * inside(u) * min(max(want - limit * rated, 0.0) * c.BIG, 1.0)
            led = 1.0 - x[i + c.FOLLOWS]
            p, q, free = _within(p, q * s, led, x[i + c.Q_OFFER], t, s, rated, ratio)
            current = min(t[c.I_MAX] * v, 1.0) * s
            q = min(max(q, -current), current)
            room = min(math.sqrt(max(current * current - q * q, 0.0)), x[i + c.P_TOP])
            out[o + lane + c.P] = on * min(max(p, -room), room)
            out[o + lane + c.Q] = on * q
            out[o + lane + c.P_BY_V] = on * answer
            out[o + lane + c.Q_BY_V] = on * answer * lag_q * led * free * (sign * tangent + slope * s / side)


@njit(cache=True, nogil=True, error_model="numpy")
def _within(
    p: float, q: float, led: float, commanded: float, t: FloatArray, s: float, rated: float, ratio: float
) -> tuple[float, float, float]:
    """Bring a point on a power-factor line or a watt-var curve into the circle along it, and into the capability.

    Returns active and reactive power [MW, Mvar], and 1 where nothing binds. A commanded reactive power leads instead
    and goes before active power.
    """
    over = p * p + q * q > s * s
    part = share_at(abs(p) / rated, t[c.LOW_P])
    inject = min((t[c.CAP_INJ] if p >= 0.0 else t[c.CAP_INJ_C]) * part, 1.0) * s
    absorb = min((t[c.CAP_ABS] if p >= 0.0 else t[c.CAP_ABS_C]) * part, 1.0) * s
    q = q if led > 0.5 else commanded
    if t[c.PF_SIGN] != 0.0 and led > 0.5:
        scale = s / math.sqrt(p * p + q * q) if over else 1.0
        clipped = min(max(q * scale, -absorb), inject)
        beyond = min(abs(p), math.sqrt(max(s * s - clipped * clipped, 0.0))) * (1.0 if p >= 0.0 else -1.0)
        return (p * scale if clipped == q * scale else beyond), clipped, (0.0 if over or clipped != q * scale else 1.0)
    if over and led > 0.5:
        size = _on_circle(p, t, s, rated, ratio)
        p = size if p >= 0.0 else -size
        most = abs(_watt_var(p / (rated if p >= 0.0 else rated * ratio), t)[0]) * s
        q = min(max(q, -most), most)
    clipped = min(max(q, -absorb), inject)
    return p, clipped, (1.0 if clipped == q and not over else 0.0)
