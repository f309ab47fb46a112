"""The inverter's own functions, as they act in the device: volt-var, volt-watt, capability, priority.

IEEE 1547-2018: volt-var 5.3.3, volt-watt 5.4.2, reactive capability 5.2 (reduced below 20 % of rated active
power, none below 5 %), reactive power has priority over active power. An open-loop response time T is a
first-order lag that covers 90 % of a step in T, hence a time constant T / ln 10.

The kernel works on *lanes*: the inverters of the fleet, those with an active curve first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit

from twin.spec import FleetSpec
from vpp.kernel.settings import Settings
from vpp.kernel.signals import FloatArray, Int32Array, IntArray

# Rows of the parameter block.
S, PR, QCAP, LOWP, QV, V1, W1, V2, W2, V3, W3, Q1, D1, D2, D3, PV, U1, UW, P1, DP = range(20)
ROWS: Final = 20
# Rows of the state block: lagged volt-var reference [Mvar], lagged volt-watt limit [MW].
Q_LAG, P_LAG = range(2)


@dataclass(slots=True)
class Inverters:
    """The inverters of a fleet as lanes.

    Attributes:
        resource: (m,) column of each lane; lanes with an active curve first.
        active: number of lanes with volt-var or volt-watt on.
        node: (m,) node of each lane, -1 where not energised.
        block: (20, m) parameters in MW, Mvar and pu, see the row names above.
        olrt_s: (2, m) open-loop response times of volt-var and volt-watt.
        state: (2, m) lagged references.
    """

    resource: IntArray
    active: int
    node: Int32Array
    block: FloatArray
    olrt_s: FloatArray
    state: FloatArray

    @classmethod
    def of(cls, spec: FleetSpec) -> Inverters:
        """Compile the settings of a fleet's inverters (``s_rated_mva`` > 0) into lanes."""
        settings, fleet = spec.settings, spec.fleet
        has = spec.s_rated_mva > 0
        curve = has & ((settings.qv_enable > 0) | (settings.pv_enable > 0))
        resource = np.concatenate([np.flatnonzero(curve), np.flatnonzero(has & ~curve)])
        node = np.full(fleet.n, -1, np.int32)
        node[fleet.terminal.resource] = fleet.terminal.node
        block = np.empty((ROWS, resource.size))
        s = spec.s_rated_mva[resource]
        sheet = Settings(settings.block[:, resource])
        block[S], block[PR] = s, np.maximum(np.maximum(fleet.p_max_mw, -fleet.p_min_mw)[resource], 1e-12)
        table = fleet.capability.table[resource]
        block[QCAP] = fleet.capability.q_max_pu.max(axis=1)[table] * s
        # The low-power table of PV starts at zero reactive power; storage keeps its band at any power.
        block[LOWP] = fleet.capability.q_max_pu[table, 0] <= 0.0
        block[QV], block[PV] = sheet.qv_enable, sheet.pv_enable
        volts = [sheet.qv_v1_pu, sheet.qv_v2_pu, sheet.qv_v3_pu, sheet.qv_v4_pu]
        vars_ = [sheet.qv_q1_pu * s, sheet.qv_q2_pu * s, sheet.qv_q3_pu * s, sheet.qv_q4_pu * s]
        for k, (v, w, d) in enumerate(((V1, W1, D1), (V2, W2, D2), (V3, W3, D3))):
            block[v], block[w] = volts[k], _inverse(volts[k + 1] - volts[k])
            block[d] = vars_[k + 1] - vars_[k]
        block[Q1] = vars_[0]
        block[U1], block[UW] = sheet.pv_v1_pu, _inverse(sheet.pv_v2_pu - sheet.pv_v1_pu)
        block[P1], block[DP] = sheet.pv_p1_pu * block[PR], (sheet.pv_p2_pu - sheet.pv_p1_pu) * block[PR]
        state = np.zeros((2, resource.size))
        state[P_LAG] = block[P1]
        return cls(resource, int(curve.sum()), node[resource], block, np.stack([sheet.qv_olrt_s, sheet.pv_olrt_s]), state)

    def slopes(self) -> tuple[FloatArray, FloatArray]:
        """Steepest |dq/dv| and |dp/dv| of each lane's curves [Mvar/pu, MW/pu]; 0 where a function is off."""
        b = self.block
        steps = np.abs(np.stack([b[D1] * b[W1], b[D2] * b[W2], b[D3] * b[W3]]))
        return steps.max(axis=0, initial=0.0) * b[QV], np.abs(b[DP] * b[UW]) * b[PV]

    def lag(self, dt_s: float) -> tuple[FloatArray, bool]:
        """Share of a change that comes through within a step, (2, m), and whether the step counts as steady.

        A step longer than three response times of every active curve is steady: the curves hold exactly.
        """
        active = self.olrt_s[:, : self.active]
        steady = bool(np.all(dt_s > 3.0 * active)) if self.active else True
        if steady:
            return np.ones_like(self.olrt_s), True
        with np.errstate(divide="ignore"):
            return -np.expm1(-dt_s * math.log(10.0) / np.maximum(self.olrt_s, 1e-9)), False


def _inverse(width: FloatArray) -> FloatArray:
    """1 / width; a width of zero is a step (both ends of it count as passed)."""
    return 1.0 / np.maximum(width, 1e-9)


@njit(cache=True, nogil=True, error_model="numpy")
def curves(
    first: int, last: int, block: FloatArray, lag: FloatArray, state: FloatArray, vm: FloatArray,
    p_offer: FloatArray, q_offer: FloatArray, follow: FloatArray,
    p_out: FloatArray, q_out: FloatArray, q_ref: FloatArray, p_ref: FloatArray,
) -> None:  # fmt: skip
    """Active and reactive power of lanes first…last-1 at the voltages ``vm``; written without branches.

    Args:
        first: first lane.
        last: one past the last lane.
        block: (20, m) parameters.
        lag: (2, m) share of a change that comes through in this step.
        state: (2, m) lagged references before the step; not changed.
        vm: (m,) voltage at each lane's terminals [pu].
        p_offer: (m,) active power before the curves [MW].
        q_offer: (m,) commanded reactive power [Mvar].
        follow: (m,) 1 where the command leads, 0 where the curve may.
        p_out: (m,) out, active power [MW].
        q_out: (m,) out, reactive power [Mvar].
        q_ref: (m,) out, lagged volt-var reference after the step.
        p_ref: (m,) out, lagged volt-watt limit after the step.
    """
    for j in range(first, last):
        v = vm[j]
        a = min(max((v - block[V1, j]) * block[W1, j], 0.0), 1.0)
        b = min(max((v - block[V2, j]) * block[W2, j], 0.0), 1.0)
        c = min(max((v - block[V3, j]) * block[W3, j], 0.0), 1.0)
        q = block[Q1, j] + a * block[D1, j] + b * block[D2, j] + c * block[D3, j]
        q = state[Q_LAG, j] + lag[Q_LAG, j] * (q - state[Q_LAG, j])
        q_ref[j] = q
        u = min(max((v - block[U1, j]) * block[UW, j], 0.0), 1.0)
        limit = block[P1, j] + u * block[DP, j]
        limit = state[P_LAG, j] + lag[P_LAG, j] * (limit - state[P_LAG, j])
        p_ref[j] = limit
        p = min(p_offer[j], limit) * block[PV, j] + p_offer[j] * (1.0 - block[PV, j])
        q = follow[j] * q_offer[j] + (1.0 - follow[j]) * block[QV, j] * q
        at = abs(p) / block[PR, j]
        low = min(max((at - 0.04999) * 1e5, 0.0), 1.0) * min(at * 5.0, 1.0)
        most = block[QCAP, j] * (1.0 - block[LOWP, j] * (1.0 - low))
        q = min(max(q, -most), most)
        q = min(max(q, -block[S, j]), block[S, j])
        room = math.sqrt(max(block[S, j] * block[S, j] - q * q, 0.0))
        p_out[j] = min(max(p, -room), room)
        q_out[j] = q
