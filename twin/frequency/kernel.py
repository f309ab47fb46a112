"""The swing equation of each island, in sub-steps, compiled.

    M df/dt = P + sum of the units' power - D (f - f_ref),   M = 2 H S / f_nom   [MW s/Hz]

A *unit* is whatever answers to frequency: a governor with its turbine, all inverters with the same droop together,
the loads' self-regulation, the forming resource. It wants -G (f - f_ref) beyond its deadband plus its part of the
secondary control, inside its limits; a valve and a turbine follow, each a first-order lag (a time of 0 is no lag).

One sub-step is a step of the classical fourth-order Runge-Kutta scheme. Their number depends on the length of the
step alone. Between sub-steps stages of load shedding count their time, and a frequency outside the island's limits
ends its life: a dead island stays at 0 Hz.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from vpp.kernel.signals import BoolArray, FloatArray, IntArray

# Columns of the table of units: gains below and above the reference [MW/Hz], deadbands [Hz], limits of the power that
# is added [MW], times of valve and turbine [s], part of the power that does not pass the turbine, part of the
# secondary control, fastest change of the valve [MW/s].
G_UF, G_OF, DB_UF, DB_OF, LOW, HIGH, T_VALVE, T_TURBINE, FAST, SECONDARY, RATE = range(11)
UNIT_COLUMNS: Final = 11
# Rows of the units' memory: valve and turbine [MW].
VALVE, TURBINE = range(2)
# Columns of the table of islands: inertia [MW s/Hz], damping [MW/Hz], reference and limits [Hz], secondary control
# [MW/(Hz s)] and the most that it asks for [MW], 1 where a swing is computed.
M, D, F_REF, F_MIN, F_MAX, K_SEC, SEC_MAX, SWINGS = range(8)
ISLAND_COLUMNS: Final = 8
# Columns of the islands' memory: frequency [Hz], secondary control [MW], 1 once the island is dead.
F, SEC, DEAD = range(3)
# Columns of what comes out: frequency at the end, mean, lowest, highest [Hz], largest rate of change [Hz/s].
END, MEAN, NADIR, ZENITH, ROCOF = range(5)
# Columns of the table of events: island, from, until [s], power that is added [MW].
E_ISLAND, E_FROM, E_UNTIL, E_P = range(4)
# Columns of the table of shedding stages: frequency [Hz], delay [s], load of the rest of the system [MW] and of the
# fleet [MW]; the fleet's part counts only in the step in which the stage acts, from then on its loads are off.
ST_F, ST_DELAY, ST_REST, ST_FLEET = range(4)
SUBSTEP_S: Final = 0.05
EPS_S: Final = 1e-9
# An island whose frequency changes by less than this [Hz/s], and whose units would not change that within a second, is
# still: the rest of the step passes at once if nothing is scripted in it.
STILL: Final = 1e-10


@njit(cache=True, nogil=True)
def slope(
    a: int, b: int, island: FloatArray, unit: FloatArray, f: float, sec: float, p: float, x: FloatArray, out: FloatArray
) -> float:
    """Rate of change of the frequency [Hz/s] at this state; units a…b-1.

    ``x`` (2, U) is their memory, ``out`` (3, U) is filled with its rate of change [MW/s] and with the power [MW].
    """
    dev = f - island[F_REF]
    total = p - island[D] * dev
    for u in range(a, b):
        want = unit[u, SECONDARY] * sec - unit[u, G_UF] * min(dev + unit[u, DB_UF], 0.0)
        want -= unit[u, G_OF] * max(dev - unit[u, DB_OF], 0.0)
        want = min(max(want, unit[u, LOW]), unit[u, HIGH])
        valve, turbine = x[VALVE, u], x[TURBINE, u]
        out[VALVE, u] = out[TURBINE, u] = 0.0
        if unit[u, T_VALVE] > 0.0:
            out[VALVE, u] = min(max((want - valve) / unit[u, T_VALVE], -unit[u, RATE]), unit[u, RATE])
        else:
            valve = want
        if unit[u, T_TURBINE] > 0.0:
            out[TURBINE, u] = (valve - turbine) / unit[u, T_TURBINE]
        else:
            turbine = valve
        out[2, u] = unit[u, FAST] * valve + (1.0 - unit[u, FAST]) * turbine
        total += out[2, u]
    return float(total / island[M])


@njit(cache=True, nogil=True)
def _substep(
    h: float, a: int, b: int, island: FloatArray, unit: FloatArray, memory: FloatArray, p: float, x: FloatArray,
    work: FloatArray,
) -> tuple[float, float]:  # fmt: skip
    """Advance one sub-step in place; returns the rates of change of the frequency that it began and ended with.

    ``work`` (5, 3, U): rates at the four looks, and the state between.
    """
    f, sec = memory[F], memory[SEC]
    k1 = slope(a, b, island, unit, f, sec, p, x, work[0])
    s1 = -island[K_SEC] * (f - island[F_REF])
    for u in range(a, b):
        for r in range(2):
            work[4, r, u] = x[r, u] + 0.5 * h * work[0, r, u]
    k2 = slope(a, b, island, unit, f + 0.5 * h * k1, sec + 0.5 * h * s1, p, work[4], work[1])
    s2 = -island[K_SEC] * (f + 0.5 * h * k1 - island[F_REF])
    for u in range(a, b):
        for r in range(2):
            work[4, r, u] = x[r, u] + 0.5 * h * work[1, r, u]
    k3 = slope(a, b, island, unit, f + 0.5 * h * k2, sec + 0.5 * h * s2, p, work[4], work[2])
    s3 = -island[K_SEC] * (f + 0.5 * h * k2 - island[F_REF])
    for u in range(a, b):
        for r in range(2):
            work[4, r, u] = x[r, u] + h * work[2, r, u]
    k4 = slope(a, b, island, unit, f + h * k3, sec + h * s3, p, work[4], work[3])
    s4 = -island[K_SEC] * (f + h * k3 - island[F_REF])
    for u in range(a, b):
        for r in range(2):
            x[r, u] += h / 6.0 * (work[0, r, u] + 2.0 * work[1, r, u] + 2.0 * work[2, r, u] + work[3, r, u])
    memory[F] = f + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    sec += h / 6.0 * (s1 + 2.0 * s2 + 2.0 * s3 + s4)
    memory[SEC] = min(max(sec, -island[SEC_MAX]), island[SEC_MAX])
    return k1, slope(a, b, island, unit, memory[F], memory[SEC], p, x, work[3])


@njit(cache=True, nogil=True)
def _power_now(i: int, t_s: float, p: float, events: FloatArray, stage: FloatArray, shed: BoolArray, before: BoolArray) -> float:
    """What drives the island in this sub-step: the network, scripted events, load that was shed."""
    for e in range(events.shape[0]):
        if events[e, E_ISLAND] == i and events[e, E_FROM] <= t_s + EPS_S and t_s + EPS_S < events[e, E_UNTIL]:
            p += events[e, E_P]
    for s in range(shed.size):
        if shed[s]:
            p += stage[s, ST_REST] if before[s] else stage[s, ST_REST] + stage[s, ST_FLEET]
    return p


@njit(cache=True, nogil=True)
def _shed(f: float, h: float, stage: FloatArray, timer: FloatArray, shed: BoolArray) -> None:
    """Let the stages count the time below their frequency, and act."""
    for s in range(shed.size):
        timer[s] = timer[s] + h if f < stage[s, ST_F] else 0.0
        if timer[s] >= stage[s, ST_DELAY] - EPS_S and timer[s] > 0.0:
            shed[s] = True


@njit(cache=True, nogil=True)
def _is_still(
    i: int, now_s: float, end_s: float, a: int, b: int, island: FloatArray, memory: FloatArray, rate: float, events: FloatArray,
    timer: FloatArray, rates: FloatArray,
) -> bool:  # fmt: skip
    """Whether nothing moves at the end of a sub-step and nothing will until the end of the step."""
    if abs(rate) > STILL or abs(island[K_SEC] * (memory[F] - island[F_REF])) > STILL * island[M]:
        return False
    for u in range(a, b):
        if abs(rates[VALVE, u]) > STILL * island[M] or abs(rates[TURBINE, u]) > STILL * island[M]:
            return False
    for s in range(timer.size):
        if timer[s] > 0.0:
            return False
    for e in range(events.shape[0]):
        for edge in (events[e, E_FROM], events[e, E_UNTIL]):
            if events[e, E_ISLAND] == i and now_s - EPS_S <= edge < end_s:
                return False
    return True


@njit(cache=True, nogil=True)
def swing_island(
    i: int, t_s: float, h: float, n: int, a: int, b: int, island: FloatArray, unit: FloatArray, memory: FloatArray, p: float,
    events: FloatArray, stage: FloatArray, timer: FloatArray, shed: BoolArray, x: FloatArray, work: FloatArray,
    out: FloatArray, mean_mw: FloatArray,
) -> None:  # fmt: skip
    """Carry island ``i`` through ``n`` sub-steps of ``h`` seconds; its units are a…b-1, their mean power ``mean_mw``."""
    before = shed.copy()
    f = memory[F]
    out[NADIR] = out[ZENITH] = f
    out[ROCOF] = total = 0.0
    mean_mw[a:b] = 0.0
    for k in range(n):
        p_now = _power_now(i, t_s + k * h, p, events, stage, shed, before)
        d0, d1 = _substep(h, a, b, island, unit, memory, p_now, x, work)
        for u in range(a, b):  # by Simpson's rule, its middle from the looks in between
            mean_mw[u] += (work[0, 2, u] + 2.0 * work[1, 2, u] + 2.0 * work[2, 2, u] + work[3, 2, u]) / (6.0 * n)
        out[ROCOF] = d0 if abs(d0) > abs(out[ROCOF]) else out[ROCOF]
        # A cubic between the ends: its mean, and where it turns (to third order).
        total += 0.5 * (f + memory[F]) + h * (d0 - d1) / 12.0
        if d0 * d1 < 0.0:
            turn = f + 0.5 * d0 * h * d0 / (d0 - d1)
            out[NADIR], out[ZENITH] = min(out[NADIR], turn), max(out[ZENITH], turn)
        f = memory[F]
        out[NADIR], out[ZENITH] = min(out[NADIR], f), max(out[ZENITH], f)
        if not (island[F_MIN] < f < island[F_MAX]):
            memory[F] = memory[SEC] = out[END] = out[MEAN] = out[NADIR] = 0.0
            memory[DEAD] = 1.0
            x[:, a:b] = 0.0
            mean_mw[a:b] = 0.0
            return
        _shed(f, h, stage, timer, shed)
        if _is_still(i, t_s + (k + 1) * h, t_s + n * h, a, b, island, memory, d1, events, timer, work[3]):
            total += (n - k - 1) * f
            for u in range(a, b):
                mean_mw[u] += (n - k - 1) * work[3, 2, u] / n
            break
    out[END], out[MEAN] = f, total / n


@njit(cache=True, nogil=True)
def swing(
    t_s: float, h: float, n: int, start: IntArray, island: FloatArray, unit: FloatArray, memory: FloatArray, p_mw: FloatArray,
    events: FloatArray, stage: FloatArray, timer: FloatArray, shed: BoolArray, x: FloatArray, out: FloatArray,
    mean_mw: FloatArray,
) -> None:  # fmt: skip
    """Carry every island that swings through a step of ``n`` sub-steps of ``h`` seconds, in place.

    Args:
        t_s: beginning of the step since the start of the run.
        h: length of a sub-step.
        n: number of sub-steps.
        start: (I + 1,) first unit of each island.
        island: (I, 8) parameters of the islands.
        unit: (U, 11) parameters of the units.
        memory: (I, 3) frequency, secondary control, dead.
        p_mw: (I,) power that drives each island at its reference frequency, generation positive.
        events: (E, 4) scripted events.
        stage: (I, S, 4) stages of load shedding.
        timer: (I, S) seconds that each stage has been waiting.
        shed: (I, S) which stages have acted.
        x: (2, U) valves and turbines.
        out: (I, 5) out.
        mean_mw: (U,) out, mean power of each unit.
    """
    work = np.zeros((5, 3, unit.shape[0]))
    for i in range(island.shape[0]):
        if island[i, SWINGS] == 0.0:
            continue
        if memory[i, DEAD] > 0.0:
            out[i] = 0.0
            mean_mw[start[i] : start[i + 1]] = 0.0
            continue
        swing_island(
            i, t_s, h, n, start[i], start[i + 1], island[i], unit, memory[i], p_mw[i], events, stage[i], timer[i], shed[i], x,
            work, out[i], mean_mw,
        )  # fmt: skip
