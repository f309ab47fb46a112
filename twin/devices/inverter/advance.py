"""The inverter's state machine, carried once a step: trips, ride-through, enter service, limit, droop, reference.

IEEE 1547-2018: enter service 4.10, limit active power 4.6.2, voltage trips and ride-through 6.4 (Tables 11 to 16),
frequency trips, ride-through and droop 6.5 (Tables 18, 19, 23 and 24), Vref tracking 5.3.3. A status depends on voltage
and frequency alone (the times that the standard gives say how long a device must stay, and it stays until it trips);
so a step longer than every timer passes through all of it at once.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from twin.devices.inverter import columns as c
from twin.devices.inverter.respond import by_power, by_voltage
from vpp.kernel.signals import FloatArray, IntArray

CHUNK = 2  # blocks of lanes that go through all parts of a step together: they stay in the cache


@njit(cache=True, nogil=True)
def advance(
    first: int, last: int, start: IntArray, table: FloatArray, lag: FloatArray, lanes: FloatArray, dt_s: float, known: float
) -> None:
    """Carry the state of the sets first…last-1 into a step; sets without such functions are passed over.

    Args:
        first: first set.
        last: one past the last set.
        start: (sets + 1,) first block of each set.
        table: (sets, COLUMNS) settings of each set.
        lag: (4, sets) share of a change that comes through in this step.
        lanes: blocks of lanes, flat; voltage and frequency in them decide.
        dt_s: length of the step.
        known: 1 where the voltages are those of this step, so that volt-watt's lag can be carried at once; else 0.
    """
    for k in range(first, last):
        if table[k, c.EXPLICIT] > 0.0:
            _status(start[k], start[k + 1], table[k], lanes, dt_s)
            _power(start[k], start[k + 1], table[k], lag[:, k], lanes, dt_s, known)


@njit(cache=True, nogil=True)
def timer(t: float, over: bool, under: bool, dt_s: float) -> float:
    """Time for which a quantity has been outside: above zero on the high side, below zero on the low side."""
    return max(t, 0.0) + dt_s if over else (min(t, 0.0) - dt_s if under else 0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _status(begin: int, end: int, t: FloatArray, x: FloatArray, dt_s: float) -> None:
    """Trip, ride through, enter service: the status of each lane."""
    ov1, ov1_t, ov2, ov2_t, uv1, uv1_t, uv2, uv2_t = (
        t[c.OV1],
        t[c.OV1_T],
        t[c.OV2],
        t[c.OV2_T],
        t[c.UV1],
        t[c.UV1_T],
        t[c.UV2],
        t[c.UV2_T],
    )
    of1, of1_t, of2, of2_t, uf1, uf1_t, uf2, uf2_t = (
        t[c.OF1],
        t[c.OF1_T],
        t[c.OF2],
        t[c.OF2_T],
        t[c.UF1],
        t[c.UF1_T],
        t[c.UF2],
        t[c.UF2_T],
    )
    v_low, v_high, f_low, f_high, delay, random = (
        t[c.ES_V_LOW],
        t[c.ES_V_HIGH],
        t[c.ES_F_LOW],
        t[c.ES_F_HIGH],
        t[c.ES_DELAY],
        t[c.ES_RANDOM],
    )
    mand_low, mand_high, perm_low, perm_high = t[c.MAND_LOW], t[c.MAND_HIGH], t[c.PERM_LOW], t[c.PERM_HIGH]
    cease_low, cease_high, mc_low, mc_high = t[c.CEASE_LOW], t[c.CEASE_HIGH], t[c.MC_LOW], t[c.MC_HIGH]
    slow, fast, slowest, fastest = t[c.F_LOW], t[c.F_HIGH], t[c.F_LOWEST], t[c.F_HIGHEST]
    mc_resp, mc_return, cte_resp, rise = t[c.MC_RESP], t[c.MC_RETURN], t[c.CTE_RESP], dt_s * t[c.ES_RATE]
    for block in range(np.uint64(begin), np.uint64(end)):
        base = block * c.SIZE
        for lane in range(np.uint64(c.W)):
            i = base + lane
            v, f, permit = x[i + c.V], x[i + c.F], x[i + c.PERMIT] > 0.5
            tv1 = timer(x[i + c.T_V1], v > ov1, v < uv1, dt_s)
            tv2 = timer(x[i + c.T_V2], v > ov2, v < uv2, dt_s)
            tf1 = timer(x[i + c.T_F1], f > of1, f < uf1, dt_s)
            tf2 = timer(x[i + c.T_F2], f > of2, f < uf2, dt_s)
            out = (tv1 > 0.0) & (tv1 >= ov1_t) | (tv1 < 0.0) & (-tv1 >= uv1_t)
            out |= (tv2 > 0.0) & (tv2 >= ov2_t) | (tv2 < 0.0) & (-tv2 >= uv2_t)
            out |= (tf1 > 0.0) & (tf1 >= of1_t) | (tf1 < 0.0) & (-tf1 >= uf1_t)
            out |= (tf2 > 0.0) & (tf2 >= of2_t) | (tf2 < 0.0) & (-tf2 >= uf2_t)
            fits = (v >= v_low) & (v <= v_high) & (f >= f_low) & (f <= f_high) & permit
            es = x[i + c.T_ES] + dt_s if fits else 0.0
            before = x[i + c.STATUS]
            ceased = before >= c.CEASED
            before -= c.CEASED if ceased else 0.0
            waits = (before == c.TRIP) & ~(fits & (es >= delay + random * x[i + c.WAIT]))
            out = out | waits | ~permit
            status = c.ENTERING if x[i + c.P_ES] <= 1.0 else c.CONTINUOUS
            status = c.MANDATORY if (v < mand_low) | (v > mand_high) | (f <= slow) | (f >= fast) else status
            status = c.PERMISSIVE if (v < perm_low) | (v > perm_high) else status
            status = c.CEASE if (v < cease_low) | (v > cease_high) else status
            status = c.MOMENTARY if (v <= mc_low) | (v >= mc_high) else status
            status = c.NOT_DEFINED if (f < slowest) | (f > fastest) else status
            status = c.TRIP if out else status
            cease, moment = status == c.CEASE, status == c.MOMENTARY
            same = (cease == (before == c.CEASE)) & (moment == (before == c.MOMENTARY))
            blocked = x[i + c.T_BLOCK] + dt_s if same else dt_s
            back = ~(cease | moment | out) & (blocked >= mc_return)
            ceases = cease & (blocked >= cte_resp) | moment & (blocked >= mc_resp) | ceased & ~back | out
            x[i + c.T_V1], x[i + c.T_V2], x[i + c.T_F1], x[i + c.T_F2] = tv1, tv2, tf1, tf2
            x[i + c.T_ES], x[i + c.T_BLOCK] = es, blocked
            x[i + c.P_ES] = 0.0 if out else min(x[i + c.P_ES] + rise, c.ES_DONE)
            x[i + c.STATUS] = status + c.CEASED if ceases else status


@njit(cache=True, nogil=True, error_model="numpy")
def _power(begin: int, end: int, t: FloatArray, lag: FloatArray, x: FloatArray, dt_s: float, known: float) -> None:
    """Active power before volt-watt: offer, ramp of entering service, limit, droop; and the lags that a trip resets."""
    u1, uw, p1, dp, charges, watt_on, lag_p = t[c.U1], t[c.UW], t[c.P1], t[c.DP], t[c.P2_NEG], t[c.PV], lag[1] * known
    limit, step, lag_f, lag_v, keeps_q = t[c.AP_LIMIT], t[c.AP_RATE] * dt_s, lag[2], lag[3], t[c.KEEPS_Q]
    f_of, f_uf, g_of, g_uf, mom_of, mom_uf, rise = (
        t[c.F_OF],
        t[c.F_UF],
        t[c.G_OF],
        t[c.G_UF],
        t[c.MOM_OF],
        t[c.MOM_UF],
        t[c.RT_RATE] * dt_s,
    )
    for block in range(np.uint64(begin), np.uint64(end)):
        base = block * c.SIZE
        for lane in range(np.uint64(c.W)):
            i = base + lane
            v, f, rated, out, given = x[i + c.V], x[i + c.F], x[i + c.PR], x[i + c.P_OUT], x[i + c.STATUS]
            tripped = given == c.TRIP + c.CEASED
            runs = 0.0 if tripped else 1.0
            offer, most, least = x[i + c.P_OFFER] / rated, x[i + c.P_MAX] / rated, x[i + c.P_MIN] / rated
            fall = p1 + min(max((v - u1) * uw, 0.0), 1.0) * (dp + charges * (x[i + c.RATIO] - 1.0))
            pv = x[i + c.P_LAG] + lag_p * (fall - x[i + c.P_LAG])
            pv = 1.0 if tripped else pv
            seen = v if (x[i + c.VREF] == 0.0) | tripped else x[i + c.VREF] + lag_v * (v - x[i + c.VREF])
            aim = limit + min(limit, 0.0) * (x[i + c.RATIO] - 1.0)
            cap = 1.0 if tripped else min(max(aim, x[i + c.P_CAP] - step), x[i + c.P_CAP] + step)
            ramp, was = x[i + c.P_ES], x[i + c.PF_EVENT]
            plain = min(max(min(offer, ramp), -ramp), cap)
            event = 1.0 if f > f_of else (-1.0 if f < f_uf else 0.0)
            entering = (given == c.ENTERING) | (out > c.FAR * 0.5)
            pre = plain if entering else out
            pre = x[i + c.PF_PRE] if (event != 0.0) & (event == was) & ~entering else pre
            size = abs(pre)
            down = pre - (f - f_of) * g_of * (1.0 + mom_of * (size - 1.0))
            up = pre + (f_uf - f) * g_uf * (1.0 + mom_uf * (size - 1.0))
            rest = min(plain, 1.0 + watt_on * (pv - 1.0))
            aim = max(down, least) if event > 0.0 else (min(up, most) if event < 0.0 else rest)
            droop = x[i + c.PF_LAG] + (lag_f if (event != 0.0) | (was != 0.0) else 1.0) * (aim - x[i + c.PF_LAG])
            stays = (was != 0.0) & (abs(droop - aim) >= c.SETTLED)
            back = 0.5 if was > 0.0 else -0.5
            now = runs * (event if event != 0.0 else (back if stays else 0.0))
            drooped = min(min(offer if now > 0.0 else most, droop), 1.0)
            want = drooped if now != 0.0 else min(plain, 1.0)
            x[i + c.P_WANT] = min(max(want, least), most) * rated
            x[i + c.P_TOP] = abs(out) * rated + rise * v * x[i + c.S]
            x[i + c.PF_LAG], x[i + c.PF_PRE], x[i + c.PF_EVENT] = runs * droop, pre, now
            x[i + c.P_LAG], x[i + c.VREF], x[i + c.P_CAP] = pv, seen, cap
            x[i + c.Q_LAG] *= runs + (1.0 - runs) * keeps_q


@njit(cache=True, nogil=True)
def settle(first: int, last: int, start: IntArray, table: FloatArray, lanes: FloatArray, out: FloatArray) -> None:
    """Keep what came out of the step: the lags at its end, and active power for the droop of the next one."""
    for k in range(first, last):
        _keep(start[k], start[k + 1], table[k, c.KEEPS_Q], lanes, out, 0)


@njit(cache=True, nogil=True, error_model="numpy")
def _keep(begin: int, end: int, keeps_q: float, x: FloatArray, out: FloatArray, origin: int) -> None:
    for block in range(np.uint64(begin), np.uint64(end)):
        base, o = block * c.SIZE, (block - np.uint64(origin)) * c.OUT_SIZE
        for lane in range(np.uint64(c.W)):
            i = base + lane
            tripped = x[i + c.STATUS] == c.TRIP + c.CEASED
            runs = 0.0 if tripped else 1.0
            x[i + c.Q_LAG] = out[o + lane + c.Q_LAGGED] * (runs + (1.0 - runs) * keeps_q)
            x[i + c.P_LAG] = 1.0 if tripped else out[o + lane + c.P_LAGGED]
            x[i + c.P_OUT] = out[o + lane + c.P] / x[i + c.PR]


@njit(cache=True, nogil=True)
def alone(start: IntArray, table: FloatArray, lag: FloatArray, lanes: FloatArray, power: FloatArray, dt_s: float) -> None:
    """One step of all lanes at voltages that are given: status, power, response and lags, some blocks at a time.

    Args:
        start: (sets + 1,) first block of each set.
        table: (sets, COLUMNS) settings of each set.
        lag: (4, sets) share of a change that comes through in this step.
        lanes: blocks of lanes, flat, what is given every step filled in.
        power: blocks of active and reactive power [MW, Mvar], flat.
        dt_s: length of the step.
    """
    out = np.empty(CHUNK * int(c.OUT_SIZE))
    for k in range(table.shape[0]):
        t, explicit, lag_p = table[k], table[k, c.EXPLICIT] > 0.0, lag[1, k]
        for begin in range(start[k], start[k + 1], CHUNK):
            end = min(begin + CHUNK, start[k + 1])
            if explicit:
                _status(begin, end, t, lanes, dt_s)
                _power(begin, end, t, lag[:, k], lanes, dt_s, 1.0)
            left = 0.0 if explicit else lag_p
            if t[c.BY_POWER] > 0.0:
                by_power(begin, end, t, lag[0, k], left, lanes, out, begin)
            else:
                by_voltage(begin, end, t, lag[0, k], left, lanes, out, begin)
            _keep(begin, end, t[c.KEEPS_Q], lanes, out, begin)
            for block in range(np.uint64(begin), np.uint64(end)):
                to, o = block * c.POWER_SIZE, (block - np.uint64(begin)) * c.OUT_SIZE
                for j in range(c.POWER_SIZE):
                    power[to + j] = out[o + j]
