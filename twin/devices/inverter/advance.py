"""The inverter's state machine, carried once a step: trips, ride-through, enter service, limit, droop, reference.

IEEE 1547-2018: enter service 4.10, limit active power 4.6.2, voltage trips and ride-through 6.4 (Tables 11 to 16),
frequency trips, ride-through and droop 6.5 (Tables 18, 19, 23 and 24), Vref tracking 5.3.3. A status depends on voltage
and frequency alone (the times that the standard gives say how long a device must stay, and it stays until it trips);
so a step longer than every timer passes through all of it at once.
"""

from __future__ import annotations

import math

import numpy as np

from twin.devices.inverter import columns as c
from twin.devices.inverter.compiled import kernel
from twin.devices.inverter.respond import by_power, by_voltage
from vpp.kernel.signals import FloatArray, IntArray

CHUNK = 1  # blocks of lanes that go through all parts of a step together: they stay in the nearest cache


@kernel
def advance(
    first: int, last: int, start: IntArray, table: FloatArray, lag: FloatArray, lanes: c.Lanes, dt_s: float, known: float
) -> None:
    """Carry the state of the sets first…last-1 into a step; sets without such functions are passed over.

    Args:
        first: first set.
        last: one past the last set.
        start: (sets + 1,) first block of each set.
        table: (sets, COLUMNS) settings of each set.
        lag: (5, sets) what a step lets through, see `Inverters.lag`.
        lanes: the lanes; voltage and frequency in them decide. What is wanted takes the place of what was offered.
        dt_s: length of the step.
        known: 1 where the voltages are those of this step, so that volt-watt's lag can be carried at once; else 0.
    """
    for k in range(first, last):
        if table[k, c.EXPLICIT] > 0.0:
            _status(start[k], start[k + 1], table[k], lanes, dt_s)
            _power(start[k], start[k + 1], table[k], lag[:, k], lanes, dt_s, known)


@kernel
def ticks(dt_s: float) -> float:
    """Length of a step in whole ticks, one at least."""
    return min(max(float(np.rint(dt_s * c.PER_SECOND)), 1.0), c.LONGEST)


@kernel
def reached(time_s: float, per_s: float) -> float:
    """The first whole tick at which a time is over, one at least; a tick is so long that a step has a whole number of them."""
    found = max(math.ceil(time_s * per_s - 1e-6), 1.0)
    return np.inf if found > c.LONGEST else found


@kernel
def timer(before: int, over: bool, under: bool, step: float) -> float:
    """Ticks for which a quantity has been outside: above zero on the high side, below zero on the low side."""
    t = float(before)
    high, low = min(max(t, 0.0) + step, c.LONGEST), max(min(t, 0.0) - step, -c.LONGEST)
    return high if over else (low if under else 0.0)


@kernel
def _status(begin: int, end: int, t: FloatArray, x: c.Lanes, dt_s: float) -> None:
    """Trip, ride through, enter service: the status of each lane."""
    ov1, ov2, uv1, uv2, of1, of2, uf1, uf2 = (
        t[c.OV1], t[c.OV2], t[c.UV1], t[c.UV2], t[c.OF1], t[c.OF2], t[c.UF1], t[c.UF2],
    )  # fmt: skip
    step = ticks(dt_s)
    per_s = step / dt_s
    ov1_t, ov2_t, uv1_t, uv2_t, of1_t, of2_t, uf1_t, uf2_t = (
        reached(t[c.OV1_T], per_s), reached(t[c.OV2_T], per_s), reached(t[c.UV1_T], per_s), reached(t[c.UV2_T], per_s),
        reached(t[c.OF1_T], per_s), reached(t[c.OF2_T], per_s), reached(t[c.UF1_T], per_s), reached(t[c.UF2_T], per_s),
    )  # fmt: skip
    v_low, v_high, f_low, f_high = t[c.ES_V_LOW], t[c.ES_V_HIGH], t[c.ES_F_LOW], t[c.ES_F_HIGH]
    delay, random = t[c.ES_DELAY] * per_s - 1e-6, t[c.ES_RANDOM] * per_s / c.LONGEST
    mand_low, mand_high, perm_low, perm_high = t[c.MAND_LOW], t[c.MAND_HIGH], t[c.PERM_LOW], t[c.PERM_HIGH]
    cease_low, cease_high, mc_low, mc_high = t[c.CEASE_LOW], t[c.CEASE_HIGH], t[c.MC_LOW], t[c.MC_HIGH]
    slow, fast, slowest, fastest = t[c.F_LOW], t[c.F_HIGH], t[c.F_LOWEST], t[c.F_HIGHEST]
    mc_resp, mc_return, cte_resp = reached(t[c.MC_RESP], per_s), reached(t[c.MC_RETURN], per_s), reached(t[c.CTE_RESP], per_s)
    ramp = min(math.floor(per_s / t[c.ES_RATE] + 1e-6), c.LONGEST - 1.0)
    a, m, times, marks = x.asked, x.more, x.ticks, x.marks
    for block in range(np.uint64(begin), np.uint64(end)):
        base, base_j = block * c.A_SIZE, block * c.M_SIZE
        base_h, base_n = block * c.T_SIZE, block * c.K_SIZE
        for lane in range(np.uint64(c.W)):
            i, j, h, n = base + lane, base_j + lane, base_h + lane, base_n + lane
            v, f, permit = a[i + c.V], m[j + c.F], marks[n + c.PERMIT] != 0
            tv1 = timer(times[h + c.T_V1], v > ov1, v < uv1, step)
            tv2 = timer(times[h + c.T_V2], v > ov2, v < uv2, step)
            tf1 = timer(times[h + c.T_F1], f > of1, f < uf1, step)
            tf2 = timer(times[h + c.T_F2], f > of2, f < uf2, step)
            out = (tv1 >= ov1_t) | (tv1 <= -uv1_t) | (tv2 >= ov2_t) | (tv2 <= -uv2_t)
            out |= (tf1 >= of1_t) | (tf1 <= -uf1_t) | (tf2 >= of2_t) | (tf2 <= -uf2_t)
            fits = (v >= v_low) & (v <= v_high) & (f >= f_low) & (f <= f_high) & permit
            es = min(float(times[h + c.T_ES]) + step, c.LONGEST) if fits else 0.0
            before = marks[n + c.STATUS]
            ceased = before >= c.CEASED
            before -= c.CEASED if ceased else 0
            waits = (before == c.TRIP) & ~(fits & (es >= delay + random * float(times[h + c.WAIT])))
            out = out | waits | ~permit
            in_service = float(times[h + c.T_RAMP])
            status = c.ENTERING if in_service <= ramp else c.CONTINUOUS
            status = c.MANDATORY if (v < mand_low) | (v > mand_high) | (f <= slow) | (f >= fast) else status
            status = c.PERMISSIVE if (v < perm_low) | (v > perm_high) else status
            status = c.CEASE if (v < cease_low) | (v > cease_high) else status
            status = c.MOMENTARY if (v <= mc_low) | (v >= mc_high) else status
            status = c.NOT_DEFINED if (f < slowest) | (f > fastest) else status
            status = c.TRIP if out else status
            cease, moment = status == c.CEASE, status == c.MOMENTARY
            same = (cease == (before == c.CEASE)) & (moment == (before == c.MOMENTARY))
            blocked = min(float(times[h + c.T_BLOCK]) + step, c.LONGEST) if same else step
            back = ~(cease | moment | out) & (blocked >= mc_return)
            ceases = cease & (blocked >= cte_resp) | moment & (blocked >= mc_resp) | ceased & ~back | out
            times[h + c.T_V1], times[h + c.T_V2] = np.int32(tv1), np.int32(tv2)
            times[h + c.T_F1], times[h + c.T_F2] = np.int32(tf1), np.int32(tf2)
            times[h + c.T_ES], times[h + c.T_BLOCK] = np.int32(es), np.int32(blocked)
            times[h + c.T_RAMP] = np.int32(0.0 if out else min(in_service + step, c.LONGEST))
            marks[n + c.STATUS] = status + c.CEASED if ceases else status


@kernel
def _power(begin: int, end: int, t: FloatArray, lag: FloatArray, x: c.Lanes, dt_s: float, known: float) -> None:
    """Active power before volt-watt: offer, ramp of entering service, limit, droop; and the lags that a trip resets."""
    u1, uw, p1, dp, charges, watt_on, lag_p = t[c.U1], t[c.UW], t[c.P1], t[c.DP], t[c.P2_NEG], t[c.PV], lag[1] * known
    limit, step, lag_f, keeps_q = t[c.AP_LIMIT], t[c.AP_RATE] * dt_s, lag[2], t[c.KEEPS_Q]
    f_of, f_uf, g_of, g_uf, mom_of, mom_uf = t[c.F_OF], t[c.F_UF], t[c.G_OF], t[c.G_UF], t[c.MOM_OF], t[c.MOM_UF]
    per_tick, charging = t[c.ES_RATE] * dt_s / ticks(dt_s), min(limit, 0.0)
    # A row that the settings multiply by zero is not fetched; one that is at hand stands in for it.
    ratio = c.RATIO if (charges != 0.0) | (charging != 0.0) else c.P_OUT
    a, m, times, marks = x.asked, x.more, x.ticks, x.marks
    if t[c.VREF_AUTO] > 0.0:
        _reference(begin, end, lag[3], x)
    for block in range(np.uint64(begin), np.uint64(end)):
        base, base_j = block * c.A_SIZE, block * c.M_SIZE
        base_h, base_n = block * c.T_SIZE, block * c.K_SIZE
        for lane in range(np.uint64(c.W)):
            i, j, h, n = base + lane, base_j + lane, base_h + lane, base_n + lane
            v, f, rated, per, given = a[i + c.V], m[j + c.F], a[i + c.PR], 1.0 / a[i + c.PR], marks[n + c.STATUS]
            tripped = given == c.TRIP + c.CEASED
            runs, out = 0.0 if tripped else 1.0, m[j + c.P_OUT] * per
            offer, most, least = a[i + c.P_WANT] * per, m[j + c.P_MAX] * per, m[j + c.P_MIN] * per
            more = m[j + ratio] - 1.0
            fall = p1 + min(max((v - u1) * uw, 0.0), 1.0) * (dp + charges * more)
            pv = a[i + c.P_LAG] + lag_p * (fall - a[i + c.P_LAG])
            pv = 1.0 if tripped else pv
            aim = limit + charging * more
            cap = 1.0 if tripped else min(max(aim, m[j + c.P_CAP] - step), m[j + c.P_CAP] + step)
            ramp, was = min(float(times[h + c.T_RAMP]) * per_tick, c.ES_DONE), marks[n + c.EVENT]
            plain = min(max(min(offer, ramp), -ramp), cap)
            event = 2 if f > f_of else (-2 if f < f_uf else 0)
            entering = (given == c.ENTERING) | (m[j + c.P_OUT] > c.FAR * 0.5)
            pre = plain if entering else out
            pre = m[j + c.PF_PRE] if (event != 0) & (event == was) & ~entering else pre
            size = abs(pre)
            down = pre - (f - f_of) * g_of * (1.0 + mom_of * (size - 1.0))
            up = pre + (f_uf - f) * g_uf * (1.0 + mom_uf * (size - 1.0))
            rest = min(plain, 1.0 + watt_on * (pv - 1.0))
            aim = max(down, least) if event > 0 else (min(up, most) if event < 0 else rest)
            droop = m[j + c.PF_LAG] + (lag_f if (event != 0) | (was != 0) else 1.0) * (aim - m[j + c.PF_LAG])
            stays = (was != 0) & (abs(droop - aim) >= c.SETTLED)
            back = 1 if was > 0 else -1
            now = event if event != 0 else (back if stays else 0)
            now = 0 if tripped else now
            drooped = min(min(offer if now > 0 else most, droop), 1.0)
            want = drooped if now != 0 else min(plain, 1.0)
            a[i + c.P_WANT] = min(max(want, least), most) * rated
            m[j + c.PF_LAG], m[j + c.PF_PRE], marks[n + c.EVENT] = runs * droop, pre, now
            a[i + c.P_LAG], m[j + c.P_CAP] = pv, cap
            a[i + c.Q_LAG] *= runs + (1.0 - runs) * keeps_q


@kernel
def _reference(begin: int, end: int, lag_v: float, x: c.Lanes) -> None:
    """The reference of volt-var follows the voltage; it begins at that."""
    a, m, marks = x.asked, x.more, x.marks
    for block in range(np.uint64(begin), np.uint64(end)):
        base, base_j, base_n = block * c.A_SIZE, block * c.M_SIZE, block * c.K_SIZE
        for lane in range(np.uint64(c.W)):
            v, j = a[base + lane + c.V], base_j + lane
            anew = (m[j + c.VREF] == 0.0) | (marks[base_n + lane + c.STATUS] == c.TRIP + c.CEASED)
            m[j + c.VREF] = v if anew else m[j + c.VREF] + lag_v * (v - m[j + c.VREF])


@kernel
def settle(first: int, last: int, start: IntArray, table: FloatArray, lanes: c.Lanes, out: FloatArray) -> None:
    """Keep what came out of the step: the lags at its end, and the power where a state machine asks for it."""
    for k in range(first, last):
        if table[k, c.EXPLICIT] > 0.0:
            _keep(start[k], start[k + 1], table[k, c.KEEPS_Q], lanes, out, 0)
        else:
            _keep_lags(start[k], start[k + 1], lanes, out)


@kernel
def _keep_lags(begin: int, end: int, x: c.Lanes, out: FloatArray) -> None:
    a = x.asked
    for block in range(np.uint64(begin), np.uint64(end)):
        base, o = block * c.A_SIZE, block * c.OUT_SIZE
        for lane in range(np.uint64(c.W)):
            a[base + lane + c.Q_LAG], a[base + lane + c.P_LAG] = out[o + lane + c.Q_LAGGED], out[o + lane + c.P_LAGGED]


@kernel
def _keep(begin: int, end: int, keeps_q: float, x: c.Lanes, out: FloatArray, origin: int) -> None:
    a, m, marks = x.asked, x.more, x.marks
    for block in range(np.uint64(begin), np.uint64(end)):
        base, base_j, base_n = block * c.A_SIZE, block * c.M_SIZE, block * c.K_SIZE
        o = (block - np.uint64(origin)) * c.OUT_SIZE
        for lane in range(np.uint64(c.W)):
            i, j = base + lane, base_j + lane
            tripped = marks[base_n + lane + c.STATUS] == c.TRIP + c.CEASED
            runs = 0.0 if tripped else 1.0
            a[i + c.Q_LAG] = out[o + lane + c.Q_LAGGED] * (runs + (1.0 - runs) * keeps_q)
            a[i + c.P_LAG] = 1.0 if tripped else out[o + lane + c.P_LAGGED]
            m[j + c.P_OUT], m[j + c.Q_OUT] = out[o + lane + c.P], out[o + lane + c.Q]


@kernel
def alone(start: IntArray, table: FloatArray, lag: FloatArray, lanes: c.Lanes, dt_s: float) -> None:
    """One step of all lanes at voltages that are given: status, power, response and lags, some blocks at a time.

    Args:
        start: (sets + 1,) first block of each set.
        table: (sets, COLUMNS) settings of each set.
        lag: (5, sets) what a step lets through, see `Inverters.lag`.
        lanes: the lanes, what is given every step filled in.
        dt_s: length of the step.
    """
    out = np.empty(CHUNK * int(c.OUT_SIZE))
    for k in range(table.shape[0]):
        t, explicit, lag_p, rise = table[k], table[k, c.EXPLICIT] > 0.0, lag[1, k], lag[4, k]
        for begin in range(start[k], start[k + 1], CHUNK):
            end = min(begin + CHUNK, start[k + 1])
            if explicit:
                _status(begin, end, t, lanes, dt_s)
                _power(begin, end, t, lag[:, k], lanes, dt_s, 1.0)
            left = 0.0 if explicit else lag_p
            if t[c.BY_POWER] > 0.0:
                by_power(begin, end, t, lag[0, k], left, rise, lanes, out, begin)
            else:
                by_voltage(begin, end, t, lag[0, k], left, rise, lanes, out, begin)
            _keep(begin, end, t[c.KEEPS_Q], lanes, out, begin)
