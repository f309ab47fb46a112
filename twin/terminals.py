"""Compiled kernels of the terminals: what devices inject where, and the common fixed point on a radial network.

Words: a *lane* is an inverter, a *spot* a node with active inverters; see `twin.coupling`.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from twin.devices.inverter import columns as c
from twin.devices.inverter.compiled import kernel
from twin.devices.inverter.respond import respond
from twin.devices.model import Delivered, Offer
from vpp.grid.powerflow.tree import tree_linear_solve
from vpp.kernel.signals import BoolArray, FloatArray, Int32Array, IntArray

# Rows of the block of spots: voltage at the last look and its change since the look before; the change that the
# linear answer uses; sums over the spot's lanes of P and Q and of their answers to voltage; the largest answers that
# there could be; and how much the spot's voltage moves if all lanes everywhere answer at their steepest.
V_LOOK, V_MOVED, U, P_SUM, Q_SUM, P_SLOPE, Q_SLOPE, P_STEEP, Q_STEEP, P_GAIN, Q_GAIN = range(11)
SPOT_ROWS: Final = 11
# Where a sweep costs more than a look, the next look comes as soon as this part of the way is left.
ROUGH: Final = 0.02
# Damping of loop gains: a half would be best if they were known exactly (no pattern of voltages then shrinks by less
# than k / (2 + k)); they are known without load only.
DAMPING: Final = 0.6
# Straight lines that have not met by then (a look on one flat part of a curve, the next on another) are given up for
# small steps, which always meet.
SMALL_STEPS_AFTER: Final = 80

_O_P, _O_Q, _O_FOLLOW = Offer.p_mw.row, Offer.q_mvar.row, Offer.follow_q.row
_O_MIN, _O_MAX = Offer.p_avail_min_mw.row, Offer.p_avail_max_mw.row
_D_P, _D_Q, _D_VM = Delivered.p_mw.row, Delivered.q_mvar.row, Delivered.vm_pu.row


@kernel
def at(j: int, row: np.uint64, size: np.uint64) -> np.uint64:
    """Where the number of lane ``j`` in this row stands in flat blocks of ``size``."""
    lane, w = np.uint64(j), np.uint64(c.W)
    return (lane // w) * size + row + lane % w


@kernel
def gather(offer: FloatArray, connect: FloatArray, resource: IntArray, f_hz: FloatArray, lanes: c.Lanes) -> None:
    """Take the offers of the inverters, their permission to be in service and the frequency into their lanes."""
    first = np.uint64(0)
    for j in range(resource.size):
        i, a, m, n = resource[j], at(j, first, c.A_SIZE), at(j, first, c.M_SIZE), at(j, first, c.K_SIZE)
        lanes.more[m + c.F] = f_hz[max(i, 0)]
        if i >= 0:
            lanes.asked[a + c.P_WANT], lanes.asked[a + c.Q_OFFER] = offer[_O_P, i], offer[_O_Q, i]
            lanes.more[m + c.P_MIN], lanes.more[m + c.P_MAX] = offer[_O_MIN, i], offer[_O_MAX, i]
            lanes.marks[n + c.FOLLOWS], lanes.marks[n + c.PERMIT] = offer[_O_FOLLOW, i] > 0.5, connect[i] > 0.5


@kernel
def scatter(
    offer: FloatArray, resource: IntArray, place: Int32Array, share: FloatArray, is_lane: BoolArray,
    p_node: FloatArray, q_node: FloatArray,
) -> None:  # fmt: skip
    """Add the power of everything that is no inverter to its nodes."""
    for m in range(resource.size):
        i, k = resource[m], place[m]
        if k >= 0 and not is_lane[i]:
            p_node[k] += offer[_O_P, i] * share[m]
            q_node[k] += offer[_O_Q, i] * share[m]


@kernel
def add_lanes(first: int, place: Int32Array, now: FloatArray, p_node: FloatArray, q_node: FloatArray) -> None:
    """Add the power of the lanes from ``first`` on to their nodes."""
    for j in range(first, place.size):
        if place[j] >= 0:
            o = at(j, c.P, c.OUT_SIZE)
            p_node[place[j]] += now[o]
            q_node[place[j]] += now[o + c.Q]


@kernel
def look(
    small_steps: bool, sets: int, start: IntArray, table: FloatArray, lag: FloatArray, lanes: c.Lanes,
    lane_spot: Int32Array, spot_place: Int32Array, v_re: FloatArray, v_im: FloatArray, spot: FloatArray, now: FloatArray,
    after: FloatArray,
) -> float:  # fmt: skip
    """Ask the active curves at the solved voltages, and sum their powers and answers at the spots.

    With ``small_steps`` each lane goes only a part of the way to what its curve asks, 1 / (1 + k) for a loop gain
    of k, and does not answer in between. Returns the largest difference, of rating, between what the curves ask
    and what was expected of them.
    """
    spots = spot_place.size
    for s in range(spots):
        k = spot_place[s]
        v = math.sqrt(v_re[k] * v_re[k] + v_im[k] * v_im[k])
        spot[V_MOVED, s], spot[V_LOOK, s], spot[U, s] = v - spot[V_LOOK, s], v, 0.0
    # One more spot takes blanks and lanes on dead nodes: at nominal voltage, and added to nothing.
    spot[V_LOOK, spots], spot[V_MOVED, spots] = 1.0, 0.0
    spot[P_SUM : Q_SLOPE + 1] = 0.0
    for j in range(start[sets] * c.W):
        lanes.asked[at(j, c.V, c.A_SIZE)] = spot[V_LOOK, lane_spot[j]]
    respond(0, sets, start, table, lag, lanes, after)
    gap = 0.0
    for j in range(start[sets] * c.W):
        s, o = lane_spot[j], at(j, c.P, c.OUT_SIZE)
        moved = spot[V_MOVED, s]
        dp = after[o + c.P] - now[o + c.P] - now[o + c.P_BY_V] * moved
        dq = after[o + c.Q] - now[o + c.Q] - now[o + c.Q_BY_V] * moved
        gap = max(gap, max(abs(dp), abs(dq)) / lanes.asked[at(j, c.S, c.A_SIZE)]) if s < spots else gap
        if small_steps:
            part = 1.0 / (1.0 + spot[P_GAIN, s] + spot[Q_GAIN, s])
            now[o + c.P] += part * (after[o + c.P] - now[o + c.P])
            now[o + c.Q] += part * (after[o + c.Q] - now[o + c.Q])
            now[o + c.P_BY_V] = now[o + c.Q_BY_V] = 0.0
        else:
            now[o + c.P], now[o + c.Q] = after[o + c.P], after[o + c.Q]
            now[o + c.P_BY_V], now[o + c.Q_BY_V] = after[o + c.P_BY_V], after[o + c.Q_BY_V]
        spot[P_SUM, s] += now[o + c.P]
        spot[Q_SUM, s] += now[o + c.Q]
        spot[P_SLOPE, s] += now[o + c.P_BY_V]
        spot[Q_SLOPE, s] += now[o + c.Q_BY_V]
    return gap


@kernel
def keep_voltages(
    first: int, last: int, start: IntArray, table: FloatArray, place: Int32Array, v_re: FloatArray, v_im: FloatArray,
    lanes: c.Lanes,
) -> None:  # fmt: skip
    """Give the solved voltages to the lanes of the sets first…last-1 whose state machine reads them in the next step."""
    for s in range(first, last):
        if table[s, c.EXPLICIT] > 0.0:
            for j in range(start[s] * c.W, start[s + 1] * c.W):
                k = place[j]
                if k >= 0:
                    lanes.asked[at(j, c.V, c.A_SIZE)] = math.sqrt(v_re[k] * v_re[k] + v_im[k] * v_im[k])


@kernel
def gains(spot: FloatArray, spots: int) -> tuple[float, float]:
    """Largest part of their steepest answer that active and reactive power give at any spot just now."""
    part_p = part_q = 0.0
    for s in range(spots):
        part_p = max(part_p, -spot[P_SLOPE, s] / max(spot[P_STEEP, s], 1e-12))
        part_q = max(part_q, -spot[Q_SLOPE, s] / max(spot[Q_STEEP, s], 1e-12))
    return min(part_p, 1.0), min(part_q, 1.0)


@kernel
def answer(spot: FloatArray, spot_place: Int32Array, v_re: FloatArray, v_im: FloatArray, part_p: float, part_q: float) -> float:
    """Move the linear answers of all spots towards the present voltages; returns how far they still are [pu]."""
    far = 0.0
    for s in range(spot_place.size):
        k = spot_place[s]
        off = math.sqrt(v_re[k] * v_re[k] + v_im[k] * v_im[k]) - spot[V_LOOK, s] - spot[U, s]
        far = max(far, abs(off))
        spot[U, s] += off / (1.0 + DAMPING * (part_p * spot[P_GAIN, s] + part_q * spot[Q_GAIN, s]))
    return far


@kernel
def add_spots(
    spot: FloatArray, spot_place: Int32Array, p_node: FloatArray, q_node: FloatArray, p: FloatArray, q: FloatArray
) -> None:
    """Set the injections of the spots' nodes: the others' power and the lanes' with their linear answer."""
    for s in range(spot_place.size):
        k = spot_place[s]
        p[k] = p_node[k] + spot[P_SUM, s] + spot[P_SLOPE, s] * spot[U, s]
        q[k] = q_node[k] + spot[Q_SUM, s] + spot[Q_SLOPE, s] * spot[U, s]


@kernel
def tree_fixed_point(
    arrays: Any, p_node: FloatArray, q_node: FloatArray, sn_mva: float, sets: int, start: IntArray, table: FloatArray,
    lag: FloatArray, lanes: c.Lanes, lane_spot: Int32Array, spot_place: Int32Array, spot: FloatArray, now: FloatArray,
    after: FloatArray, v_re: FloatArray, v_im: FloatArray, tol: float, tol_power: float, max_iter: int,
) -> int:  # fmt: skip
    """Devices and tree sweep to their common fixed point, all in tree order; see `Coupling`.

    Returns the number of sweeps, -1 where there is no solution; voltages are NaN then.
    """
    n, active = v_re.size, start[sets] * c.W
    total = 0.0
    for k in range(n):
        total += v_re[k] * v_re[k] + v_im[k] * v_im[k]
    if not (total > 0.0 and total < np.inf):
        v_re[:], v_im[:] = arrays.v0_re, arrays.v0_im
    p, q = p_node.copy(), q_node.copy()
    i_re, i_im = np.empty(n), np.empty(n)
    per_sn, sweeps, change, far = 1.0 / sn_mva, 0, np.inf, np.inf
    rough = ROUGH if 0 < active < n else 0.0
    while sweeps < max_iter:
        small_steps, gap = sweeps >= SMALL_STEPS_AFTER, 0.0
        if active > 0:
            gap = look(small_steps, sets, start, table, lag, lanes, lane_spot, spot_place, v_re, v_im, spot, now, after)
        if change <= tol * tol and far <= tol and gap <= tol_power:
            return sweeps
        part_p, part_q = gains(spot, spot_place.size)
        enough, settled = -1.0, False
        while sweeps < max_iter and not settled:
            add_spots(spot, spot_place, p_node, q_node, p, q)
            for k in range(n):
                a, b = v_re[k], v_im[k]
                w = per_sn / (a * a + b * b)
                i_re[k] = (p[k] * a + q[k] * b) * w
                i_im[k] = (p[k] * b - q[k] * a) * w
            change = tree_linear_solve(arrays, i_re, i_im, v_re, v_im)
            sweeps += 1
            if not change < 1e12:
                break
            far = answer(spot, spot_place, v_re, v_im, part_p, part_q)
            enough = max(tol * tol, rough * rough * change) if enough < 0.0 else enough
            settled = (change <= enough and far * far <= enough) or sweeps >= SMALL_STEPS_AFTER
            far = 0.0 if small_steps else far
        if not change < 1e12:
            break
    v_re[:] = np.nan
    v_im[:] = np.nan
    return -1


@kernel
def deliver(
    offer: FloatArray, resource: IntArray, now: FloatArray, first: Int32Array, v_re: FloatArray, v_im: FloatArray,
    converged: bool, out: FloatArray,
) -> None:  # fmt: skip
    """Fill the `Delivered` block: everything NaN without a solution, no power at a dead node."""
    for i in range(first.size):
        k = first[i]
        if not converged:
            out[_D_P, i] = out[_D_Q, i] = out[_D_VM, i] = np.nan
        elif k < 0:
            out[_D_P, i], out[_D_Q, i], out[_D_VM, i] = 0.0, 0.0, np.nan
        else:
            out[_D_P, i], out[_D_Q, i] = offer[_O_P, i], offer[_O_Q, i]
            out[_D_VM, i] = math.sqrt(v_re[k] * v_re[k] + v_im[k] * v_im[k])
    if converged:
        for j in range(resource.size):
            i = resource[j]
            if i >= 0 and first[i] >= 0:
                o = at(j, c.P, c.OUT_SIZE)
                out[_D_P, i], out[_D_Q, i] = now[o + c.P], now[o + c.Q]


@kernel
def bus_voltages(v_re: FloatArray, v_im: FloatArray, order: Int32Array, node_of_bus: Int32Array) -> FloatArray:
    """Voltage magnitude of every bus; NaN where it is not energised."""
    out = np.empty(node_of_bus.size)
    for b in range(node_of_bus.size):
        node = node_of_bus[b]
        if node < 0:
            out[b] = np.nan
        else:
            k = order[node]
            out[b] = math.sqrt(v_re[k] * v_re[k] + v_im[k] * v_im[k])
    return out
