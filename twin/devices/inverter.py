"""The inverter's own functions, as they act in the device: volt-var, volt-watt, capability, priority.

IEEE 1547-2018: volt-var 5.3.3, volt-watt 5.4.2, reactive capability 5.2 (reduced below 20 % of rated active
power, none below 5 %), reactive power has priority over active power. An open-loop response time T is a
first-order lag that covers 90 % of a step in T, hence a time constant T / ln 10.

The kernel works on *lanes*: the inverters of the fleet, those with an active curve first. Inverters with the same
settings stand together, so that the inner loop reads its curve from registers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit

from twin.spec import FleetSpec
from vpp.kernel.fleet import Capability
from vpp.kernel.settings import Settings
from vpp.kernel.signals import FloatArray, Int32Array, IntArray

# Rows of the block of lanes: voltage [pu]; active and commanded reactive power before the curves [MW, Mvar]; 1 where
# the command leads; nameplate and rated active power [MVA, MW]; lagged volt-var and volt-watt references [of rating].
VM, P_OFFER, Q_OFFER, FOLLOWS, S, PR, Q_LAG, P_LAG = range(8)
# Columns of the table of curves, a row for each set of settings that occurs.
QV, V1, W1, V2, W2, V3, W3, Q1, D1, D2, D3, PV, U1, UW, P1, DP, QCAP, LOWP, QV_T, PV_T = range(20)
COLUMNS: Final = 20
BIG: Final = 1e300


@dataclass(slots=True)
class Inverters:
    """The inverters of a fleet as lanes, sorted so that lanes with equal settings stand together.

    Attributes:
        resource: (m,) column of each lane; lanes with an active curve first.
        active: number of lanes with volt-var or volt-watt on.
        node: (m,) node of each lane, -1 where not energised.
        block: (8, m) what the curves read of each lane, see the row names above.
        table: (c, 20) settings of each curve set: voltages in pu, inverse widths, powers of rating.
        start: (c + 1,) first lane of each curve set.
        active_sets: number of curve sets that are active; they stand first.
    """

    resource: IntArray
    active: int
    node: Int32Array
    block: FloatArray
    table: FloatArray
    start: IntArray
    active_sets: int

    @classmethod
    def of(cls, spec: FleetSpec) -> Inverters:
        """Compile the settings of a fleet's inverters (``s_rated_mva`` > 0) into lanes."""
        fleet = spec.fleet
        resource = np.flatnonzero(spec.s_rated_mva > 0)
        rows = _curve_rows(Settings(spec.settings.block[:, resource]), fleet.capability, resource)
        active = (rows[:, QV] > 0) | (rows[:, PV] > 0)
        table, which = np.unique(rows, axis=0, return_inverse=True)
        # Active sets first: the sets are renumbered so, and lanes sorted by their set.
        rank = np.argsort(~((table[:, QV] > 0) | (table[:, PV] > 0)), kind="stable")
        place = np.empty_like(rank)
        place[rank] = np.arange(rank.size)
        lane_set = place[which.ravel()]
        order = np.argsort(lane_set, kind="stable")
        resource = resource[order]
        start = np.searchsorted(lane_set[order], np.arange(rank.size + 1))
        node = np.full(fleet.n, -1, np.int32)
        node[fleet.terminal.resource] = fleet.terminal.node
        rated = np.maximum(np.maximum(fleet.p_max_mw, -fleet.p_min_mw)[resource], 1e-12)
        block = np.zeros((8, resource.size))
        block[VM], block[S], block[PR] = 1.0, spec.s_rated_mva[resource], rated
        block[P_LAG] = table[rank][lane_set[order], P1] if resource.size else 0.0
        sets = int(((table[:, QV] > 0) | (table[:, PV] > 0)).sum())
        return cls(resource, int(active.sum()), node[resource], block, np.ascontiguousarray(table[rank]), start, sets)

    def slopes(self) -> tuple[FloatArray, FloatArray]:
        """Steepest |dq/dv| and |dp/dv| of each lane's curves [Mvar/pu, MW/pu]; 0 where a function is off."""
        t = self.table
        steps = np.abs(np.stack([t[:, D1] * t[:, W1], t[:, D2] * t[:, W2], t[:, D3] * t[:, W3]]))
        sizes = np.diff(self.start)
        q_slope = np.repeat(steps.max(axis=0, initial=0.0) * t[:, QV], sizes) * self.block[S]
        return q_slope, np.repeat(np.abs(t[:, DP] * t[:, UW]) * t[:, PV], sizes) * self.block[PR]

    def lag(self, dt_s: float) -> FloatArray:
        """Share of a change that comes through within a step, (2, curve sets).

        A step longer than three response times is steady: 1, the curve holds exactly.
        """
        times = self.table[:, [QV_T, PV_T]].T
        share = -np.expm1(-dt_s * math.log(10.0) / np.maximum(times, 1e-9))
        return np.where(dt_s > 3.0 * times, 1.0, share)


def _curve_rows(sheet: Settings, capability: Capability, resource: IntArray) -> FloatArray:
    """The settings of each inverter as a row of the table of curves, (m, 20)."""
    rows = np.empty((resource.size, COLUMNS))
    rows[:, QV], rows[:, PV] = sheet.qv_enable, sheet.pv_enable
    volts = (sheet.qv_v1_pu, sheet.qv_v2_pu, sheet.qv_v3_pu, sheet.qv_v4_pu)
    vars_ = (sheet.qv_q1_pu, sheet.qv_q2_pu, sheet.qv_q3_pu, sheet.qv_q4_pu)
    for k, (v, w, d) in enumerate(((V1, W1, D1), (V2, W2, D2), (V3, W3, D3))):
        rows[:, v], rows[:, w] = volts[k], _inverse(volts[k + 1] - volts[k])
        rows[:, d] = vars_[k + 1] - vars_[k]
    rows[:, Q1] = vars_[0]
    rows[:, U1], rows[:, UW] = sheet.pv_v1_pu, _inverse(sheet.pv_v2_pu - sheet.pv_v1_pu)
    rows[:, P1], rows[:, DP] = sheet.pv_p1_pu, sheet.pv_p2_pu - sheet.pv_p1_pu
    table = capability.table[resource]
    rows[:, QCAP] = capability.q_max_pu.max(axis=1)[table]
    # The low-power table of PV starts at zero reactive power; storage keeps its band at any power.
    rows[:, LOWP] = capability.q_max_pu[table, 0] <= 0.0
    rows[:, QV_T], rows[:, PV_T] = sheet.qv_olrt_s, sheet.pv_olrt_s
    return rows


def _inverse(width: FloatArray) -> FloatArray:
    """1 / width; a width of zero is a step (both ends of it count as passed)."""
    return 1.0 / np.maximum(width, 1e-9)


@njit(cache=True, nogil=True)
def curves(
    first: int, last: int, start: IntArray, table: FloatArray, lag: FloatArray, block: FloatArray, out: FloatArray
) -> None:
    """Active and reactive power of all lanes of curve sets first…last-1 at the voltages in ``block``.

    Args:
        first: first curve set.
        last: one past the last curve set.
        start: (c + 1,) first lane of each set.
        table: (c, 20) settings of each set.
        lag: (2, c) share of a change that comes through in this step.
        block: (8, m) lanes; the lagged references are those before the step and stay so, see `advance`.
        out: (4, m) out, active [MW] and reactive power [Mvar], and how they answer to voltage [MW/pu, Mvar/pu].
    """
    for k in range(first, last):
        _curve_set(start[k], start[k + 1], table[k], lag[0, k], lag[1, k], block, out)


@njit(cache=True, nogil=True, error_model="numpy")
def _curve_set(begin: int, end: int, t: FloatArray, lag_q: float, lag_p: float, block: FloatArray, out: FloatArray) -> None:
    """Lanes of one curve set; without branches, unsigned indices and settings in registers, so that it vectorises."""
    v1, w1, v2, w2, v3, w3 = t[V1], t[W1], t[V2], t[W2], t[V3], t[W3]
    q1, d1, d2, d3, var_on = t[Q1], t[D1], t[D2], t[D3], t[QV]
    u1, uw, p1, dp, watt_on, cap, low_p = t[U1], t[UW], t[P1], t[DP], t[PV], t[QCAP], t[LOWP]
    steep1, steep2, steep3, steep_p = d1 * w1, d2 * w2, d3 * w3, dp * uw
    for j in range(np.uint64(begin), np.uint64(end)):
        v, s, rated, offer, follows = block[VM, j], block[S, j], block[PR, j], block[P_OFFER, j], block[FOLLOWS, j]
        a = min(max((v - v1) * w1, 0.0), 1.0)
        b = min(max((v - v2) * w2, 0.0), 1.0)
        c = min(max((v - v3) * w3, 0.0), 1.0)
        q = q1 + a * d1 + b * d2 + c * d3
        q = block[Q_LAG, j] + lag_q * (q - block[Q_LAG, j])
        u = min(max((v - u1) * uw, 0.0), 1.0)
        limit = p1 + u * dp
        limit = block[P_LAG, j] + lag_p * (limit - block[P_LAG, j])
        p = offer + watt_on * (min(offer, limit * rated) - offer)
        led = (1.0 - follows) * var_on * s
        q = follows * block[Q_OFFER, j] + led * q
        at = abs(p) / rated
        low = min(max((at - 0.04999) * 1e5, 0.0), 1.0) * min(at * 5.0, 1.0)
        most = min(cap * (1.0 - low_p * (1.0 - low)), 1.0) * s
        # 1 on a slope and where no limit binds, 0 elsewhere: x (1 - x) is zero on the flat parts and only there.
        on_a, on_b, on_c = min(a * (1.0 - a) * BIG, 1.0), min(b * (1.0 - b) * BIG, 1.0), min(c * (1.0 - c) * BIG, 1.0)
        free = min(max(most - abs(q), 0.0) * BIG, 1.0)
        binds = min(u * (1.0 - u) * BIG, 1.0) * min(max(offer - limit * rated, 0.0) * BIG, 1.0)
        out[2, j] = watt_on * lag_p * rated * steep_p * binds
        out[3, j] = led * lag_q * free * (steep1 * on_a + steep2 * on_b + steep3 * on_c)
        q = min(max(q, -most), most)
        room = math.sqrt(max(s * s - q * q, 0.0))
        out[0, j] = min(max(p, -room), room)
        out[1, j] = q


@njit(cache=True, nogil=True)
def advance(start: IntArray, table: FloatArray, lag: FloatArray, block: FloatArray) -> None:
    """Carry the lagged references to the end of the step, in place, at the voltages that the curves saw."""
    for k in range(table.shape[0]):
        t = table[k]
        for j in range(start[k], start[k + 1]):
            v = block[VM, j]
            a = min(max((v - t[V1]) * t[W1], 0.0), 1.0)
            b = min(max((v - t[V2]) * t[W2], 0.0), 1.0)
            c = min(max((v - t[V3]) * t[W3], 0.0), 1.0)
            q = t[Q1] + a * t[D1] + b * t[D2] + c * t[D3]
            limit = t[P1] + min(max((v - t[U1]) * t[UW], 0.0), 1.0) * t[DP]
            block[Q_LAG, j] += lag[0, k] * (q - block[Q_LAG, j])
            block[P_LAG, j] += lag[1, k] * (limit - block[P_LAG, j])
