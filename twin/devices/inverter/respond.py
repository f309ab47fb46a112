"""What an inverter delivers at a voltage: the implicit part, asked again and again within a step.

IEEE 1547-2018: volt-var 5.3.3, volt-watt 5.4.2, constant power factor 5.3.2, watt-var 5.3.4, constant reactive power
5.3.5, reactive capability 5.2 (reduced below 20 % of rated active power, none below 5 %). An open-loop response time T
is a first-order lag that covers 90 % of a step in T, hence a time constant T / ln 10.

The loops have no branches, so that they vectorise; what a set of settings says stays in registers.
"""

from __future__ import annotations

import math

import numpy as np

from twin.devices.inverter import columns as c
from twin.devices.inverter.compiled import kernel
from vpp.kernel.signals import FloatArray, IntArray


@kernel
def respond(first: int, last: int, start: IntArray, table: FloatArray, lag: FloatArray, lanes: c.Lanes, out: FloatArray) -> None:
    """Active and reactive power of all lanes of the sets first…last-1 at the voltages in ``lanes``.

    Args:
        first: first set.
        last: one past the last set.
        start: (sets + 1,) first block of each set.
        table: (sets, COLUMNS) settings of each set.
        lag: (5, sets) what a step lets through, see `Inverters.lag`.
        lanes: the lanes; the lags in them are those before the step and stay so, see `settle`.
        out: blocks of what comes out, flat.
    """
    for k in range(first, last):
        if table[k, c.PLAIN] > 0.0:
            _plain(start[k], start[k + 1], table[k], lag[0, k], lag[1, k], lanes, out)
        elif table[k, c.BY_POWER] > 0.0:
            by_power(start[k], start[k + 1], table[k], lag[0, k], lag[1, k], lag[4, k], lanes, out, 0)
        else:
            by_voltage(start[k], start[k + 1], table[k], lag[0, k], lag[1, k], lag[4, k], lanes, out, 0)


@kernel
def unit(x: float) -> float:
    """Clip to 0…1."""
    return min(max(x, 0.0), 1.0)


@kernel
def inside(x: float) -> float:
    """1 strictly between 0 and 1, 0 elsewhere: x (1 - x) is zero on the flat parts and only there."""
    return min(x * (1.0 - x) * c.BIG, 1.0)


@kernel
def delivers(status: int) -> float:
    """1 where an inverter of this status delivers, 0 where it has tripped or its output is blocked."""
    return 1.0 if (status > c.TRIP) & (status < c.CEASED) else 0.0


@kernel
def share_at(at: float, low_p: float) -> float:
    """Share of the reactive capability at this active power of rated (IEEE 1547-2018, 5.2, Figure 3)."""
    low = unit((at - 0.04999) * 1e5) * min(at * 5.0, 1.0)
    return 1.0 - low_p * (1.0 - low)


@kernel
def _plain(begin: int, end: int, t: FloatArray, lag_q: float, lag_p: float, x: c.Lanes, out: FloatArray) -> None:
    """Lanes of one set with volt-var, volt-watt, a constant and the capability only: `by_voltage` where it asks nothing more."""
    v1, w1, v2, w2, v3, w3 = t[c.V1], t[c.W1], t[c.V2], t[c.W2], t[c.V3], t[c.W3]
    q1, d1, d2, d3, constant, var_on = t[c.Q1], t[c.D1], t[c.D2], t[c.D3], t[c.CONST_Q], t[c.QV]
    u1, uw, p1, dp, watt_on, cap_inj, cap_abs, low_p = (
        t[c.U1], t[c.UW], t[c.P1], t[c.DP], t[c.PV], t[c.CAP_INJ], t[c.CAP_ABS], t[c.LOW_P],
    )  # fmt: skip
    steep1, steep2, steep3, steep_p = d1 * w1, d2 * w2, d3 * w3, dp * uw
    a, marks = x.asked, x.marks
    for block in range(np.uint64(begin), np.uint64(end)):
        base, base_n, o = block * c.A_SIZE, block * c.K_SIZE, block * c.OUT_SIZE
        for lane in range(np.uint64(c.W)):
            i, n = base + lane, base_n + lane
            follows = float(marks[n + c.FOLLOWS])
            v, s, rated, want, led = a[i + c.V], a[i + c.S], a[i + c.PR], a[i + c.P_WANT], 1.0 - follows
            low, mid, high = unit((v - v1) * w1), unit((v - v2) * w2), unit((v - v3) * w3)
            q = constant + q1 + low * d1 + mid * d2 + high * d3
            q = a[i + c.Q_LAG] + lag_q * (q - a[i + c.Q_LAG])
            u = unit((v - u1) * uw)
            limit = a[i + c.P_LAG] + lag_p * (p1 + u * dp - a[i + c.P_LAG])
            out[o + lane + c.Q_LAGGED], out[o + lane + c.P_LAGGED] = q, limit
            p = want + watt_on * (min(want, limit * rated) - want)
            q = follows * a[i + c.Q_OFFER] + led * q * s
            part = share_at(abs(p) / rated, low_p)
            inject, absorb = min(cap_inj * part, 1.0) * s, min(cap_abs * part, 1.0) * s
            free = min(max(inject - q, 0.0) * c.BIG, 1.0) * min(max(absorb + q, 0.0) * c.BIG, 1.0)
            binds = inside(u) * min(max(want - limit * rated, 0.0) * c.BIG, 1.0)
            steep = steep1 * inside(low) + steep2 * inside(mid) + steep3 * inside(high)
            out[o + lane + c.P_BY_V] = watt_on * lag_p * rated * steep_p * binds
            out[o + lane + c.Q_BY_V] = led * lag_q * free * var_on * s * steep
            q = min(max(q, -absorb), inject)
            room = math.sqrt(max(s * s - q * q, 0.0))
            out[o + lane + c.P] = min(max(p, -room), room)
            out[o + lane + c.Q] = q


@kernel
def by_voltage(
    begin: int, end: int, t: FloatArray, lag_q: float, lag_p: float, rise: float, x: c.Lanes, out: FloatArray, origin: int
) -> None:
    """Lanes of one set whose reactive power is led by volt-var, by a constant, or by nothing.

    ``out`` begins with the block ``origin``.
    """
    v1, w1, v2, w2, v3, w3 = t[c.V1], t[c.W1], t[c.V2], t[c.W2], t[c.V3], t[c.W3]
    q1, d1, d2, d3, constant = t[c.Q1], t[c.D1], t[c.D2], t[c.D3], t[c.CONST_Q]
    reference, tracks, lowest, highest = t[c.VREF_SET], t[c.VREF_AUTO], t[c.VREF_MIN], t[c.VREF_MAX]
    u1, uw, p1, dp, charges, watt_on = t[c.U1], t[c.UW], t[c.P1], t[c.DP], t[c.P2_NEG], t[c.PV]
    cap_inj, cap_abs, cap_inj_c, cap_abs_c, low_p = t[c.CAP_INJ], t[c.CAP_ABS], t[c.CAP_INJ_C], t[c.CAP_ABS_C], t[c.LOW_P]
    prio, req_inj, req_abs, i_max, var_on = t[c.PRIO_P], t[c.REQ_INJ], t[c.REQ_ABS], t[c.I_MAX], t[c.QV]
    steep1, steep2, steep3 = d1 * w1, d2 * w2, d3 * w3
    # A row that the settings multiply by zero is not fetched; one that is at hand stands in for it.
    vref, ratio = c.VREF if tracks > 0.0 else c.P_OUT, c.RATIO if charges != 0.0 else c.P_OUT
    a, m, marks = x.asked, x.more, x.marks
    for block in range(np.uint64(begin), np.uint64(end)):
        base, base_j, base_n = block * c.A_SIZE, block * c.M_SIZE, block * c.K_SIZE
        o = (block - np.uint64(origin)) * c.OUT_SIZE
        for lane in range(np.uint64(c.W)):
            i, j, n = base + lane, base_j + lane, base_n + lane
            follows, on = float(marks[n + c.FOLLOWS]), delivers(marks[n + c.STATUS])
            v, s, rated, want, led = a[i + c.V], a[i + c.S], a[i + c.PR], a[i + c.P_WANT], 1.0 - follows
            shift = reference + tracks * (min(max(m[j + vref], lowest), highest) - reference) - 1.0
            moved = v - shift
            low, mid, high = unit((moved - v1) * w1), unit((moved - v2) * w2), unit((moved - v3) * w3)
            q = constant + q1 + low * d1 + mid * d2 + high * d3
            q = a[i + c.Q_LAG] + lag_q * (q - a[i + c.Q_LAG])
            u = unit((v - u1) * uw)
            fall = dp + charges * (m[j + ratio] - 1.0)
            limit = a[i + c.P_LAG] + lag_p * (p1 + u * fall - a[i + c.P_LAG])
            out[o + lane + c.Q_LAGGED], out[o + lane + c.P_LAGGED] = q, limit
            p = want + watt_on * (max(min(want, limit * rated), min(want, m[j + c.P_MIN])) - want)
            q = follows * a[i + c.Q_OFFER] + led * q * s
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
            room = min(math.sqrt(max(current * current - q * q, 0.0)), abs(m[j + c.P_OUT]) + rise * v * s)
            out[o + lane + c.P] = on * min(max(p, -room), room)
            out[o + lane + c.Q] = on * q


@kernel
def by_power(
    begin: int, end: int, t: FloatArray, lag_q: float, lag_p: float, rise: float, x: c.Lanes, out: FloatArray, origin: int
) -> None:
    """Lanes of one set whose reactive power is led by active power: power factor, cos phi (P), or watt-var."""
    if t[c.PF_SIGN] != 0.0:
        _by_factor(begin, end, t, lag_q, lag_p, rise, x, out, origin)
    else:
        _by_curve(begin, end, t, lag_q, lag_p, rise, x, out, origin)


@kernel
def _watt(
    v: float, i: np.uint64, j: np.uint64, u1: float, uw: float, p1: float, fall: float, lag_p: float, on: float, a: FloatArray,
    m: FloatArray,
) -> tuple[float, float, float]:  # fmt: skip
    """Active power by volt-watt [MW], its limit at the end of the step [pu], and its answer to voltage [MW/pu]."""
    rated, want = a[i + c.PR], a[i + c.P_WANT]
    u = unit((v - u1) * uw)
    limit = a[i + c.P_LAG] + lag_p * (p1 + u * fall - a[i + c.P_LAG])
    p = want + on * (max(min(want, limit * rated), min(want, m[j + c.P_MIN])) - want)
    return p, limit, on * lag_p * rated * fall * uw * inside(u) * min(max(want - limit * rated, 0.0) * c.BIG, 1.0)


@kernel
def _by_factor(
    begin: int, end: int, t: FloatArray, lag_q: float, lag_p: float, rise: float, x: c.Lanes, out: FloatArray, origin: int
) -> None:
    """Constant power factor or cos phi (P). Outside the circle both powers shrink along the line of the power factor."""
    u1, uw, p1, dp, charges, watt_on = t[c.U1], t[c.UW], t[c.P1], t[c.DP], t[c.P2_NEG], t[c.PV]
    sign, begins, width, cosine, change = t[c.PF_SIGN], t[c.PF_P], t[c.PF_W], t[c.PF_COS], t[c.PF_D]
    cap_inj, cap_abs, cap_inj_c, cap_abs_c, low_p = t[c.CAP_INJ], t[c.CAP_ABS], t[c.CAP_INJ_C], t[c.CAP_ABS_C], t[c.LOW_P]
    i_max, ratio = t[c.I_MAX], c.RATIO if charges != 0.0 else c.P_OUT
    a, m, marks = x.asked, x.more, x.marks
    for block in range(np.uint64(begin), np.uint64(end)):
        base, base_j, base_n = block * c.A_SIZE, block * c.M_SIZE, block * c.K_SIZE
        o = (block - np.uint64(origin)) * c.OUT_SIZE
        for lane in range(np.uint64(c.W)):
            i, j, n = base + lane, base_j + lane, base_n + lane
            follows, on = float(marks[n + c.FOLLOWS]), delivers(marks[n + c.STATUS])
            v, s, rated, led = a[i + c.V], a[i + c.S], a[i + c.PR], 1.0 - follows
            p, limit, answer = _watt(v, i, j, u1, uw, p1, dp + charges * (m[j + ratio] - 1.0), lag_p, watt_on, a, m)
            factor = cosine + unit((abs(p) / rated - begins) * width) * change
            tangent = sign * math.sqrt(max(1.0 / (factor * factor) - 1.0, 0.0))
            q = a[i + c.Q_LAG] + lag_q * (tangent * p / s - a[i + c.Q_LAG])
            out[o + lane + c.Q_LAGGED], out[o + lane + c.P_LAGGED] = q, limit
            part = share_at(abs(p) / rated, low_p)
            inject = min((cap_inj if p >= 0.0 else cap_inj_c) * part, 1.0) * s
            absorb = min((cap_abs if p >= 0.0 else cap_abs_c) * part, 1.0) * s
            scale = s / math.sqrt(max(p * p + q * q * s * s, s * s))
            scale = scale if led > 0.5 else 1.0
            asked = led * q * s * scale + follows * a[i + c.Q_OFFER]
            current = min(i_max * v, 1.0) * s
            q = min(max(asked, -min(absorb, current)), min(inject, current))
            free = 1.0 if (q == asked) & (scale >= 1.0) else 0.0
            p = p * (scale if q == asked else 1.0)
            room = min(math.sqrt(max(current * current - q * q, 0.0)), abs(m[j + c.P_OUT]) + rise * v * s)
            out[o + lane + c.P] = on * min(max(p, -room), room)
            out[o + lane + c.Q] = on * q
            out[o + lane + c.P_BY_V] = on * answer
            out[o + lane + c.Q_BY_V] = on * answer * lag_q * led * free * tangent


@kernel
def _points(t: FloatArray) -> tuple[float, ...]:
    """What a watt-var curve consists of: beginnings, inverse widths and differences of its five pieces, its first value."""
    return (
        t[c.X1], t[c.X2], t[c.X3], t[c.X4], t[c.X5], t[c.XW1], t[c.XW2], t[c.XW3], t[c.XW4], t[c.XW5],
        t[c.E1], t[c.E2], t[c.E3], t[c.E4], t[c.E5], t[c.Y1],
    )  # fmt: skip


@kernel
def watt_var(p: float, k: tuple[float, ...]) -> tuple[float, float]:
    """Reactive power of nameplate by active power of rated, and its slope: five pieces between six points."""
    u1, u2, u3 = unit((p - k[0]) * k[5]), unit((p - k[1]) * k[6]), unit((p - k[2]) * k[7])
    u4, u5 = unit((p - k[3]) * k[8]), unit((p - k[4]) * k[9])
    q = k[15] + u1 * k[10] + u2 * k[11] + u3 * k[12] + u4 * k[13] + u5 * k[14]
    slope = inside(u1) * k[10] * k[5] + inside(u2) * k[11] * k[6] + inside(u3) * k[12] * k[7]
    return q, slope + inside(u4) * k[13] * k[8] + inside(u5) * k[14] * k[9]


@kernel
def _crossing(size: float, sign: float, k: tuple[float, ...], s: float, side: float) -> float:
    """Magnitude of the active power at which the curve's piece at ``size`` meets the nameplate circle, in closed form."""
    q, slope = watt_var(sign * size / side, k)
    b = slope * s * sign / side
    a = q * s - b * size
    root = math.sqrt(max(s * s * (1.0 + b * b) - a * a, 0.0))
    return max((root - a * b) / (1.0 + b * b), 0.0)


@kernel
def _by_curve(
    begin: int, end: int, t: FloatArray, lag_q: float, lag_p: float, rise: float, x: c.Lanes, out: FloatArray, origin: int
) -> None:
    """Watt-var; what stands outside the nameplate circle is led back to it, in blocks where there is any."""
    u1, uw, p1, dp, charges, watt_on, k = t[c.U1], t[c.UW], t[c.P1], t[c.DP], t[c.P2_NEG], t[c.PV], _points(t)
    a, m, marks = x.asked, x.more, x.marks
    for block in range(np.uint64(begin), np.uint64(end)):
        base, base_j, base_n = block * c.A_SIZE, block * c.M_SIZE, block * c.K_SIZE
        o, outside = (block - np.uint64(origin)) * c.OUT_SIZE, 0
        for lane in range(np.uint64(c.W)):
            i, j = base + lane, base_j + lane
            v, s, rated, ratio, led = (
                a[i + c.V],
                a[i + c.S],
                a[i + c.PR],
                m[j + c.RATIO],
                1.0 - float(marks[base_n + lane + c.FOLLOWS]),
            )
            p, limit, answer = _watt(v, i, j, u1, uw, p1, dp + charges * (ratio - 1.0), lag_p, watt_on, a, m)
            side = rated if p >= 0.0 else rated * ratio
            curve, slope = watt_var(p / side, k)
            q = a[i + c.Q_LAG] + lag_q * (curve - a[i + c.Q_LAG])
            out[o + lane + c.Q_LAGGED], out[o + lane + c.P_LAGGED] = q, limit
            out[o + lane + c.P], out[o + lane + c.Q] = p, q * s
            out[o + lane + c.P_BY_V], out[o + lane + c.Q_BY_V] = answer, answer * lag_q * led * slope * s / side
            outside |= int((p * p + q * q * s * s > s * s) & (led > 0.5))
        if outside != 0:
            _to_circle(base, base_j, base_n, o, k, x, out)
        _within(base, base_j, base_n, o, t, rise, x, out)


@kernel
def _to_circle(
    base: np.uint64, base_j: np.uint64, base_n: np.uint64, o: np.uint64, k: tuple[float, ...], x: c.Lanes, out: FloatArray
) -> None:
    """Lanes of a block that are outside: to where their curve crosses the circle; a second look finds the right piece."""
    a, m, marks = x.asked, x.more, x.marks
    for lane in range(np.uint64(c.W)):
        s, rated, led = a[base + lane + c.S], a[base + lane + c.PR], 1.0 - float(marks[base_n + lane + c.FOLLOWS])
        p, q = out[o + lane + c.P], out[o + lane + c.Q]
        over = (p * p + q * q > s * s) & (led > 0.5)
        sign = 1.0 if p >= 0.0 else -1.0
        side = rated if p >= 0.0 else rated * m[base_j + lane + c.RATIO]
        size = _crossing(min(abs(p), s), sign, k, s, side)
        size = min(_crossing(min(size, s), sign, k, s, side), abs(p))
        most = abs(watt_var(sign * size / side, k)[0]) * s
        out[o + lane + c.P] = sign * size if over else p
        out[o + lane + c.Q] = min(max(q, -most), most) if over else q
        out[o + lane + c.Q_BY_V] = 0.0 if over else out[o + lane + c.Q_BY_V]


@kernel
def _within(
    base: np.uint64, base_j: np.uint64, base_n: np.uint64, o: np.uint64, t: FloatArray, rise: float, x: c.Lanes, out: FloatArray
) -> None:
    """What the curve asks of a block's lanes, or a command, within capability, current limit and ramp."""
    cap_inj, cap_abs, cap_inj_c, cap_abs_c, low_p = t[c.CAP_INJ], t[c.CAP_ABS], t[c.CAP_INJ_C], t[c.CAP_ABS_C], t[c.LOW_P]
    i_max, a, m, marks = t[c.I_MAX], x.asked, x.more, x.marks
    for lane in range(np.uint64(c.W)):
        i, j, n = base + lane, base_j + lane, base_n + lane
        v, s, p, follows = a[i + c.V], a[i + c.S], out[o + lane + c.P], float(marks[n + c.FOLLOWS])
        on = delivers(marks[n + c.STATUS])
        part = share_at(abs(p) / a[i + c.PR], low_p)
        inject = min((cap_inj if p >= 0.0 else cap_inj_c) * part, 1.0) * s
        absorb = min((cap_abs if p >= 0.0 else cap_abs_c) * part, 1.0) * s
        asked = (1.0 - follows) * out[o + lane + c.Q] + follows * a[i + c.Q_OFFER]
        current = min(i_max * v, 1.0) * s
        q = min(max(asked, -min(absorb, current)), min(inject, current))
        room = min(math.sqrt(max(current * current - q * q, 0.0)), abs(m[j + c.P_OUT]) + rise * v * s)
        out[o + lane + c.P], out[o + lane + c.Q] = on * min(max(p, -room), room), on * q
        out[o + lane + c.P_BY_V] *= on
        out[o + lane + c.Q_BY_V] *= on if q == asked else 0.0
