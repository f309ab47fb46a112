"""From settings to the table that the kernels read: one row for each distinct set of settings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from twin.devices.inverter import columns as c
from vpp.kernel.fleet import Capability
from vpp.kernel.settings import Settings
from vpp.kernel.signals import BoolArray, FloatArray, IntArray

# IEEE 1547-2018, Tables 14 to 16 as regions of voltage [pu], by category I, II, III: where mandatory operation begins
# below and above, permissive operation below and above, cease to energise below and above.
_FAR = c.FAR
_REGIONS = np.array(
    [
        [-_FAR, _FAR, -_FAR, _FAR, -_FAR, _FAR],
        [0.88, _FAR, 0.70, 1.1, 0.50, 1.2],
        [0.88, _FAR, 0.65, 1.1, 0.30, 1.2],
        [0.88, 1.1, -_FAR, _FAR, -_FAR, _FAR],
    ]
)
# IEEE 1547-2018, Table 19, in pu of nominal frequency: mandatory operation below, above; not defined below, above.
_FREQUENCIES = np.array([58.8, 61.2, 57.0, 61.8]) / 60.0


@dataclass(frozen=True, slots=True)
class Compiled:
    """The distinct sets of settings, and which one each inverter has.

    Attributes:
        table: (sets, COLUMNS), sets that look at the voltage first.
        which: (m,) set of each inverter.
        active_sets: number of sets that look at the voltage within the step.
    """

    table: FloatArray
    which: IntArray
    active_sets: int


def compile_table(sheet: Settings, capability: Capability, resource: IntArray) -> Compiled:
    """Find the distinct sets of settings and compile each of them once."""
    table_of = capability.table[resource].astype(np.int64)
    key = _keys(np.vstack([sheet.block, table_of[None, :].astype(np.float64)]))
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    rows = _rows(Settings(sheet.block[:, first]), capability, table_of[first])
    # Sets that look at the voltage first, otherwise in the order in which they occur.
    order = np.lexsort((first, rows[:, c.ACTIVE] == 0.0))
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    return Compiled(np.ascontiguousarray(rows[order]), place[which.ravel()], int(rows[:, c.ACTIVE].sum()))


def _keys(block: FloatArray) -> IntArray:
    """A 64-bit key of each column: equal columns have equal keys (FNV-1a over whole words)."""
    bits = np.ascontiguousarray(block + 0.0).view(np.uint64)
    key = np.full(block.shape[1], 0xCBF29CE484222325, np.uint64)
    for row in bits:
        key = (key ^ row) * np.uint64(0x100000001B3)
        key ^= key >> np.uint64(29)
    return key.view(np.int64)


def _rows(s: Settings, capability: Capability, table_of: IntArray) -> FloatArray:
    """The table's rows of these settings."""
    t = np.zeros((s.n, c.COLUMNS))
    mode = _modes(s)
    _volt_var(t, s, mode == 2)
    _volt_watt(t, s)
    _by_power(t, s, mode)
    _limits(t, s, capability, table_of)
    _droop_and_limit(t, s)
    _service(t, s)
    _trips(t, s)
    _ride_through(t, s)
    times = (np.zeros(s.n), s.const_pf_rt_s, s.qv_olrt_s, s.qp_rt_s, s.const_q_rt_s)
    t[:, c.Q_T] = np.choose(mode, times)
    t[:, c.BY_POWER] = (mode == 1) | (mode == 3)
    t[:, c.ACTIVE] = (mode == 2) | (s.pv_enable > 0)
    t[:, c.EXPLICIT] = _any(
        s.pf_enable,
        s.ap_limit_enable,
        s.es_enable,
        s.trip_enable,
        s.rt_category,
        s.mc_enable,
        s.rt_ramp_s,
        (mode == 2) * s.qv_vref_auto,
    )
    bare = (t[:, c.EXPLICIT] == 0) & (t[:, c.BY_POWER] == 0) & (t[:, c.PRIO_P] == 0) & (t[:, c.I_MAX] == c.FAR)
    same = (t[:, c.CAP_INJ] == t[:, c.CAP_INJ_C]) & (t[:, c.CAP_ABS] == t[:, c.CAP_ABS_C])
    t[:, c.PLAIN] = bare & same & (t[:, c.VREF_SET] == 1.0) & (t[:, c.P2_NEG] == 0.0)
    return t


def _any(*switches: FloatArray) -> BoolArray:
    return np.asarray(np.any(np.stack(switches) > 0, axis=0))


def _modes(s: Settings) -> IntArray:
    """Who leads reactive power: 0 nobody, 1 power factor, 2 volt-var, 3 watt-var, 4 a constant."""
    on = ((s.const_pf_enable > 0) | (s.pfp_enable > 0), s.qv_enable > 0, s.qp_enable > 0, s.const_q_enable > 0)
    return np.select(on, [1, 2, 3, 4], 0)


def _inverse(width: FloatArray) -> FloatArray:
    """1 / width; a width of zero is a step (both ends of it count as passed)."""
    return 1.0 / np.maximum(width, 1e-9)


def _rate(time_s: FloatArray) -> FloatArray:
    """1 / time; a time of zero is at once."""
    return np.where(time_s > 0, 1.0 / np.maximum(time_s, 1e-9), c.FAR)


def _or(value: FloatArray, default: float) -> FloatArray:
    """The value, or the default where it is 0."""
    return np.where(value == 0.0, default, value)


def _volt_var(t: FloatArray, s: Settings, leads: BoolArray) -> None:
    t[:, c.QV] = leads
    volts = (s.qv_v1_pu, s.qv_v2_pu, s.qv_v3_pu, s.qv_v4_pu)
    vars_ = (s.qv_q1_pu, s.qv_q2_pu, s.qv_q3_pu, s.qv_q4_pu)
    for k, (v, w, d) in enumerate(((c.V1, c.W1, c.D1), (c.V2, c.W2, c.D2), (c.V3, c.W3, c.D3))):
        t[:, v], t[:, w] = volts[k], _inverse(volts[k + 1] - volts[k])
        t[:, d] = (vars_[k + 1] - vars_[k]) * leads
    t[:, c.Q1] = vars_[0] * leads
    t[:, c.VREF_SET], t[:, c.VREF_AUTO] = _or(s.qv_vref_pu, 1.0), s.qv_vref_auto > 0
    t[:, c.VREF_MIN], t[:, c.VREF_MAX], t[:, c.VREF_T] = s.qv_vref_min_pu, s.qv_vref_max_pu, s.qv_vref_time_s


def _volt_watt(t: FloatArray, s: Settings) -> None:
    t[:, c.PV], t[:, c.PV_T] = s.pv_enable > 0, s.pv_olrt_s
    t[:, c.U1], t[:, c.UW] = s.pv_v1_pu, _inverse(s.pv_v2_pu - s.pv_v1_pu)
    t[:, c.P1], t[:, c.DP] = s.pv_p1_pu, s.pv_p2_pu - s.pv_p1_pu
    t[:, c.P2_NEG] = np.minimum(s.pv_p2_pu, 0.0)


def _by_power(t: FloatArray, s: Settings, mode: IntArray) -> None:
    """Constant reactive power, power factor (a constant is a curve of two equal points), watt-var."""
    t[:, c.CONST_Q], t[:, c.KEEPS_Q] = s.const_q_pu * (mode == 4), mode == 4
    by_p = s.const_pf_enable == 0
    t[:, c.PF_SIGN] = (mode == 1) * np.sign(s.const_pf_excitation)
    t[:, c.PF_P], t[:, c.PF_W] = s.pfp_p1_pu, by_p * _inverse(s.pfp_p2_pu - s.pfp_p1_pu)
    cosine = np.where(by_p, s.pfp_pf1, s.const_pf)
    t[:, c.PF_COS] = np.where(mode == 1, np.clip(cosine, 1e-3, 1.0), 1.0)
    t[:, c.PF_D] = np.where((mode == 1) & by_p, s.pfp_pf2 - s.pfp_pf1, 0.0)
    x = (s.qp_p3_load_pu, s.qp_p2_load_pu, s.qp_p1_load_pu, s.qp_p1_gen_pu, s.qp_p2_gen_pu, s.qp_p3_gen_pu)
    y = (s.qp_q3_load_pu, s.qp_q2_load_pu, s.qp_q1_load_pu, s.qp_q1_gen_pu, s.qp_q2_gen_pu, s.qp_q3_gen_pu)
    t[:, c.Y1] = y[0] * (mode == 3)
    for k in range(5):
        t[:, c.X1 + k], t[:, c.XW1 + k] = x[k], _inverse(x[k + 1] - x[k])
        t[:, c.E1 + k] = (y[k + 1] - y[k]) * (mode == 3)


def _limits(t: FloatArray, s: Settings, capability: Capability, table_of: IntArray) -> None:
    """Capability, priority and current. The low-power table of PV starts at zero, storage keeps its band at any power."""
    inject, absorb = capability.q_max_pu.max(axis=1)[table_of], -capability.q_min_pu.min(axis=1)[table_of]
    t[:, c.CAP_INJ], t[:, c.CAP_ABS] = inject, absorb
    t[:, c.CAP_INJ_C] = np.where(s.np_q_max_inj_charge_pu > 0, s.np_q_max_inj_charge_pu, inject)
    t[:, c.CAP_ABS_C] = np.where(s.np_q_max_abs_charge_pu > 0, s.np_q_max_abs_charge_pu, absorb)
    t[:, c.LOW_P] = capability.q_max_pu[table_of, 0] <= 0.0
    t[:, c.PRIO_P], t[:, c.I_MAX] = s.np_prio_active > 0, _or(s.np_current_pu, c.FAR)
    t[:, c.REQ_INJ], t[:, c.REQ_ABS] = s.np_q_req_inj_pu, s.np_q_req_abs_pu


def _droop_and_limit(t: FloatArray, s: Settings) -> None:
    nominal, on = _or(s.f_nom_hz, 50.0), s.pf_enable > 0
    t[:, c.F_OF] = np.where(on, nominal + s.pf_dbof_hz, c.FAR)
    t[:, c.F_UF] = np.where(on, nominal - s.pf_dbuf_hz, -c.FAR)
    t[:, c.G_OF] = np.where(on, 1.0 / (nominal * np.maximum(s.pf_kof, 1e-9)), 0.0)
    t[:, c.G_UF] = np.where(on, 1.0 / (nominal * np.maximum(s.pf_kuf, 1e-9)), 0.0)
    t[:, c.MOM_OF], t[:, c.MOM_UF], t[:, c.PF_T] = s.pf_basis_of > 0, s.pf_basis_uf > 0, s.pf_olrt_s
    limited = s.ap_limit_enable > 0
    t[:, c.AP_LIMIT], t[:, c.AP_RATE] = np.where(limited, s.ap_limit_pu, 1.0), np.where(limited, _rate(s.ap_rt_s), c.FAR)


def _service(t: FloatArray, s: Settings) -> None:
    on = s.es_enable > 0
    for column, value, off in (
        (c.ES_V_LOW, s.es_v_low_pu, -c.FAR), (c.ES_V_HIGH, s.es_v_high_pu, c.FAR), (c.ES_F_LOW, s.es_f_low_hz, -c.FAR),
        (c.ES_F_HIGH, s.es_f_high_hz, c.FAR), (c.ES_DELAY, s.es_delay_s, 0.0), (c.ES_RANDOM, s.es_randomized_delay_s, 0.0),
        (c.ES_RATE, _rate(s.es_ramp_s), c.FAR),
    ):  # fmt: skip
        t[:, column] = np.where(on, value, off)


def _trips(t: FloatArray, s: Settings) -> None:
    on = s.trip_enable > 0
    over = ((s.ov1_trip_v_pu, s.ov1_trip_t_s), (s.ov2_trip_v_pu, s.ov2_trip_t_s))
    under = ((s.uv1_trip_v_pu, s.uv1_trip_t_s), (s.uv2_trip_v_pu, s.uv2_trip_t_s))
    fast = ((s.of1_trip_f_hz, s.of1_trip_t_s), (s.of2_trip_f_hz, s.of2_trip_t_s))
    slow = ((s.uf1_trip_f_hz, s.uf1_trip_t_s), (s.uf2_trip_f_hz, s.uf2_trip_t_s))
    column = c.OV1
    for far, pairs in ((c.FAR, over), (-c.FAR, under), (c.FAR, fast), (-c.FAR, slow)):
        for border, time_s in pairs:
            t[:, column], t[:, column + 1] = np.where(on, border, far), np.where(on, time_s, c.FAR)
            column += 2


def _ride_through(t: FloatArray, s: Settings) -> None:
    category = s.rt_category.astype(np.int64)
    t[:, c.MAND_LOW : c.CEASE_HIGH + 1] = _REGIONS[category]
    ceases = s.mc_enable > 0
    t[:, c.MC_LOW], t[:, c.MC_HIGH] = np.where(ceases, s.mc_lvrt_v1_pu, -c.FAR), np.where(ceases, s.mc_hvrt_v1_pu, c.FAR)
    nominal = _or(s.f_nom_hz, 50.0)
    far = np.array([-c.FAR, c.FAR, -c.FAR, c.FAR])
    t[:, c.F_LOW : c.F_HIGHEST + 1] = np.where((category > 0)[:, None], nominal[:, None] * _FREQUENCIES, far)
    t[:, c.MC_RESP], t[:, c.MC_RETURN], t[:, c.CTE_RESP] = s.mc_resp_s, s.mc_return_s, s.cte_resp_s
    t[:, c.RT_RATE] = _rate(s.rt_ramp_s)
