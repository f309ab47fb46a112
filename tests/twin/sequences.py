"""Generated settings and stimuli for inverters, and how OpenDER and the twin run them.

Settings carry OpenDER's names and 60 Hz; a 50 Hz inverter is given the same with every Hz divided by 1.2. Delays and
response times are short, so that a sequence of some tens of seconds meets all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from twin.devices.inverter import Inverters
from twin.devices.inverter.columns import LONGEST, STATUSES
from vpp.kernel.fleet import Capability, simple_fleet
from vpp.kernel.settings import Settings
from vpp.kernel.signals import BoolArray, FloatArray, IntArray

VA_MAX = 0.1
STEPS = 300
SETTLE_S = 100_000.0
CATEGORIES = ("CAT_I", "CAT_II", "CAT_III")
MODES = ("QV", "CONST_PF", "QP", "CONST_Q", "")


@dataclass(frozen=True)
class Sequence:
    """One inverter's settings and what it meets.

    Attributes:
        battery: a battery; else PV.
        set: settings by OpenDER's names.
        dt_s: length of a step.
        nominal_hz: of our inverter.
        v, f, p, permit: (STEPS,) voltage [pu], frequency [Hz at 60], power of rated (available, or asked), permission.
        steady: (STEPS,) True where nothing has changed for many response times.
    """

    battery: bool
    set: dict[str, Any]
    dt_s: float
    nominal_hz: float
    v: FloatArray
    f: FloatArray
    p: FloatArray
    permit: BoolArray
    steady: BoolArray

    @property
    def p_max(self) -> float:
        """Rated power [MW]."""
        return float(self.set["NP_P_MAX"]) / 1e6


def generate(seed: int) -> Sequence:
    """One sequence: which functions are on, how they are set, and what happens."""
    rng = np.random.default_rng([1547, seed])
    battery, mode = seed % 3 == 2, MODES[seed % 5]
    dt_s = (0.05, 0.1, 0.2)[seed % 3]
    given: dict[str, Any] = {"NP_ABNORMAL_OP_CAT": CATEGORIES[int(rng.integers(3))], "NP_NORMAL_OP_CAT": "CAT_B"}
    given |= _nameplate(rng, battery)
    given |= _reactive(rng, mode, dt_s) | _active(rng, dt_s, battery) | _service(rng, dt_s)
    if given["PF_MODE_ENABLE"]:  # droop while entering service is for tests of its own: there we differ with reason
        given |= {"ES_F_LOW": 59.98, "ES_F_HIGH": 60.02, "ES_RAMP_RATE": 0.0}
    return Sequence(battery, given, dt_s, (50.0, 60.0)[seed % 2], *_stimulus(rng, given, battery, dt_s))


def _nameplate(rng: np.random.Generator, battery: bool) -> dict[str, Any]:
    p, charge = VA_MAX * 1e6 * float(rng.choice([1.0, 0.95, 0.9, 0.8])), float(rng.choice([1.0, 0.8])) if battery else 1.0
    return {
        "NP_VA_MAX": VA_MAX * 1e6, "NP_P_MAX": p, "NP_Q_MAX_INJ": 0.44e6 * VA_MAX, "NP_Q_MAX_ABS": 0.44e6 * VA_MAX,
        "NP_P_MAX_CHARGE": p * charge, "NP_P_MIN_PU": -charge if battery else 0.0,
        "NP_APPARENT_POWER_CHARGE_MAX": VA_MAX * 1e6, "NP_AC_V_NOM": 400.0, "NP_V_DC": 800.0, "NP_INV_DELAY": 0.0,
        "NP_CURRENT_PU": 10.0, "NP_PRIO_OUTSIDE_MIN_Q_REQ": str(rng.choice(["REACTIVE", "ACTIVE"])),
    }  # fmt: skip


def _times(rng: np.random.Generator, dt_s: float, low: int, high: int, part: float = 0.4) -> float:
    """A time of so many steps, no whole number of them."""
    return float(rng.integers(low, high) + part) * dt_s


def _reactive(rng: np.random.Generator, mode: str, dt_s: float) -> dict[str, Any]:
    given: dict[str, Any] = {f"{name}_MODE_ENABLE": name == mode for name in MODES if name}
    v = 1.0 + np.cumsum(rng.uniform(0.01, 0.04, 4)) - 0.06
    q = np.sort(rng.uniform(-0.44, 0.44, 4))[::-1]
    given |= {f"QV_CURVE_V{k + 1}": float(v[k]) for k in range(4)} | {f"QV_CURVE_Q{k + 1}": float(q[k]) for k in range(4)}
    given |= {"QV_OLRT": _times(rng, dt_s, 1, 12), "QV_VREF_TIME": _times(rng, dt_s, 10, 40), "QV_VREF_MIN": 0.95}
    given |= {"QV_VREF_MAX": 1.05, "QV_VREF_AUTO_MODE": bool(rng.random() < 0.4), "QV_VREF": float(rng.uniform(0.97, 1.03))}
    given |= {"CONST_PF": float(rng.uniform(0.9, 1.0)), "CONST_PF_EXCITATION": str(rng.choice(["INJ", "ABS"]))}
    given |= {"CONST_Q": float(rng.uniform(-0.44, 0.44))}
    given |= {f"{name}_RT": _times(rng, dt_s, 1, 12) for name in ("CONST_PF", "CONST_Q", "QP")}
    gen, load = np.cumsum(rng.uniform(0.1, 0.3, 3)) + 0.1, -np.cumsum(rng.uniform(0.1, 0.3, 3))
    given |= {f"QP_CURVE_P{k + 1}_GEN": float(gen[k]) for k in range(3)}
    given |= {f"QP_CURVE_P{k + 1}_LOAD": float(load[k]) for k in range(3)}
    return given | {f"QP_CURVE_Q{k + 1}_{side}": float(rng.uniform(-0.4, 0.4)) for k in range(3) for side in ("GEN", "LOAD")}


def _active(rng: np.random.Generator, dt_s: float, battery: bool) -> dict[str, Any]:
    low = float(rng.choice([0.0, 0.2, -0.5 if battery else 0.0]))
    return {
        "PV_MODE_ENABLE": bool(rng.random() < 0.5), "PV_CURVE_V1": float(rng.uniform(1.03, 1.06)), "PV_CURVE_P1": 1.0,
        "PV_CURVE_V2": float(rng.uniform(1.065, 1.1)), "PV_CURVE_P2": low, "PV_OLRT": _times(rng, dt_s, 1, 12),
        "PF_MODE_ENABLE": bool(rng.random() < 0.6), "PF_DBOF": float(rng.uniform(0.02, 0.1)),
        "PF_DBUF": float(rng.uniform(0.02, 0.1)), "PF_KOF": float(rng.uniform(0.02, 0.05)),
        "PF_KUF": float(rng.uniform(0.02, 0.05)), "PF_OLRT": _times(rng, dt_s, 1, 12),
        "AP_LIMIT_ENABLE": bool(rng.random() < 0.4), "AP_LIMIT": float(rng.uniform(0.2, 1.0)), "AP_RT": _times(rng, dt_s, 1, 30),
    }  # fmt: skip


def _service(rng: np.random.Generator, dt_s: float) -> dict[str, Any]:
    ramp = 0.0 if rng.random() < 0.25 else _times(rng, dt_s, 3, 40)
    given: dict[str, Any] = {
        "ES_V_LOW": 0.917, "ES_V_HIGH": 1.05, "ES_F_LOW": 59.5, "ES_F_HIGH": 60.1, "ES_DELAY": _times(rng, dt_s, 2, 25),
        "ES_RAMP_RATE": ramp, "ES_RANDOMIZED_DELAY_ACTUAL": 0.0 if rng.random() < 0.7 else _times(rng, dt_s, 1, 15, 0.7),
        "OV2_TRIP_V": 1.2, "OV1_TRIP_V": 1.1, "UV1_TRIP_V": float(rng.choice([0.88, 0.7])), "UV2_TRIP_V": 0.5,
        "OF2_TRIP_F": 62.0, "OF1_TRIP_F": 61.2, "UF1_TRIP_F": 58.5, "UF2_TRIP_F": 56.5, "MC_ENABLE": bool(rng.random() < 0.5),
        "MC_LVRT_V1": float(rng.uniform(0.4, 0.6)), "MC_HVRT_V1": float(rng.uniform(1.11, 1.19)),
        "MC_RESP_T": _times(rng, dt_s, 0, 3), "MC_RETURN_T": _times(rng, dt_s, 0, 6), "NP_CTE_RESP_T": _times(rng, dt_s, 0, 4),
    }  # fmt: skip
    for name in ("OV2", "OV1", "UV1", "UV2", "OF2", "OF1", "UF1", "UF2"):
        given[f"{name}_TRIP_T"] = _times(rng, dt_s, 1, 40 if name.endswith("1") else 10)
    return given


def _stimulus(rng: np.random.Generator, given: dict[str, Any], battery: bool, dt_s: float) -> tuple[Any, ...]:
    """Pieces of constant voltage, frequency and power; some are long enough to settle."""
    v, f, p, permit, steady = (
        np.ones(STEPS),
        np.full(STEPS, 60.0),
        np.ones(STEPS),
        np.ones(STEPS, np.bool_),
        np.zeros(STEPS, np.bool_),
    )
    v[:2], p[:2] = float(rng.uniform(0.95, 1.04)), float(rng.uniform(0.3, 0.9))
    at, slowest = 2, max(value for name, value in given.items() if name.endswith(("_OLRT", "_RT")))
    calm = math.ceil(6.5 * slowest / dt_s)
    while at < STEPS:
        length = int(rng.integers(3, 30)) if rng.random() < 0.7 else calm + int(rng.integers(5, 30))
        piece = slice(at, at + length)
        kind = rng.choice(["normal", "voltage", "frequency", "both", "permit"], p=[0.4, 0.3, 0.22, 0.05, 0.03])
        v[piece], f[piece] = float(rng.uniform(0.93, 1.045)), 60.0 + float(rng.uniform(-0.015, 0.015))
        if kind in ("voltage", "both"):
            v[piece] = float(
                rng.choice([rng.uniform(0.13, 0.5), rng.uniform(0.3, 0.88), rng.uniform(0.88, 1.1), rng.uniform(1.05, 1.25)])
            )
        if kind in ("frequency", "both"):
            f[piece] = 60.0 + float(rng.choice([rng.uniform(-0.5, 0.5), rng.uniform(-1.5, 1.2), rng.uniform(-4.0, 2.5)]))
        p[piece] = float(rng.uniform(-1.0 if battery else 0.0, 1.0)) * (1.0 if rng.random() < 0.8 else 0.1)
        permit[piece] = kind != "permit"
        steady[at + calm : at + length] = True
        at += length
    return v, f, p, permit, steady


def opender_of(sequence: Sequence, opender: Any) -> Any:
    """The OpenDER object with these settings."""
    kind = opender.DER_BESS if sequence.battery else opender.DER_PV
    more = {"NP_BESS_P_RAMP_TIME": 0.0} if sequence.battery else {}
    der = kind(**sequence.set, **more)
    for name, value in sequence.set.items():  # its category resets trips, and its setters judge values one by one
        if getattr(der.der_file, name) != value:
            setattr(der.der_file, f"_{name}", value)
    return der


def run_opender(sequence: Sequence, opender: Any) -> tuple[FloatArray, IntArray]:
    """Active and reactive power [pu of nameplate] and status of each step."""
    opender.DER.t_s = sequence.dt_s
    der, rated = opender_of(sequence, opender), sequence.set["NP_P_MAX"]
    found, status = np.empty((2, STEPS)), np.empty(STEPS, np.int64)
    name = "p_dem_w" if sequence.battery else "p_dc_w"
    for k in range(STEPS):
        der.der_file._ES_PERMIT_SERVICE = bool(sequence.permit[k])
        der.update_der_input(**{name: sequence.p[k] * rated}, v_pu=sequence.v[k], f=sequence.f[k])
        p, q = der.run()
        found[:, k] = float(p), float(q)
        status[k] = STATUSES.index(der.der_status)
    return found / (VA_MAX * 1e6), status


def settings_of(sequences: list[Sequence]) -> Settings:
    """The same settings in the twin's names."""
    sheet = Settings.full(len(sequences), 0.0)
    for i, s in enumerate(sequences):
        scale, o = s.nominal_hz / 60.0, s.set
        values: dict[str, float] = {"f_nom_hz": s.nominal_hz, "es_enable": 1.0, "trip_enable": 1.0}
        values |= {"qv_enable": o["QV_MODE_ENABLE"], "pv_enable": o["PV_MODE_ENABLE"], "pf_enable": o["PF_MODE_ENABLE"]}
        values |= {"qp_enable": o["QP_MODE_ENABLE"], "const_pf_enable": o["CONST_PF_MODE_ENABLE"]}
        values |= {"const_q_enable": o["CONST_Q_MODE_ENABLE"], "ap_limit_enable": o["AP_LIMIT_ENABLE"]}
        values |= {f"qv_v{k}_pu": o[f"QV_CURVE_V{k}"] for k in range(1, 5)} | {
            f"qv_q{k}_pu": o[f"QV_CURVE_Q{k}"] for k in range(1, 5)
        }
        values |= {"qv_olrt_s": o["QV_OLRT"], "qv_vref_pu": o["QV_VREF"], "qv_vref_auto": o["QV_VREF_AUTO_MODE"]}
        values |= {"qv_vref_time_s": o["QV_VREF_TIME"], "qv_vref_min_pu": o["QV_VREF_MIN"], "qv_vref_max_pu": o["QV_VREF_MAX"]}
        values |= {"const_pf": o["CONST_PF"], "const_pf_excitation": 1.0 if o["CONST_PF_EXCITATION"] == "INJ" else -1.0}
        values |= {
            "const_pf_rt_s": o["CONST_PF_RT"],
            "const_q_pu": o["CONST_Q"],
            "const_q_rt_s": o["CONST_Q_RT"],
            "qp_rt_s": o["QP_RT"],
        }
        for y in "pq":
            for side in ("gen", "load"):
                values |= {f"qp_{y}{k}_{side}_pu": o[f"QP_CURVE_{y}{k}_{side}".upper()] for k in range(1, 4)}
        values |= {f"pv_{y}{k}_pu": o[f"PV_CURVE_{y.upper()}{k}"] for y in "vp" for k in (1, 2)} | {"pv_olrt_s": o["PV_OLRT"]}
        values |= {
            "pf_dbof_hz": o["PF_DBOF"] * scale,
            "pf_dbuf_hz": o["PF_DBUF"] * scale,
            "pf_kof": o["PF_KOF"],
            "pf_kuf": o["PF_KUF"],
        }
        values |= {"pf_olrt_s": o["PF_OLRT"], "ap_limit_pu": o["AP_LIMIT"], "ap_rt_s": o["AP_RT"]}
        values |= {"es_v_low_pu": o["ES_V_LOW"], "es_v_high_pu": o["ES_V_HIGH"], "es_f_low_hz": o["ES_F_LOW"] * scale}
        values |= {"es_f_high_hz": o["ES_F_HIGH"] * scale, "es_delay_s": o["ES_DELAY"], "es_ramp_s": o["ES_RAMP_RATE"]}
        values |= {"es_randomized_delay_s": o["ES_RANDOMIZED_DELAY_ACTUAL"]}
        for name in ("OV1", "OV2", "UV1", "UV2"):
            values |= {f"{name.lower()}_trip_v_pu": o[f"{name}_TRIP_V"], f"{name.lower()}_trip_t_s": o[f"{name}_TRIP_T"]}
        for name in ("OF1", "OF2", "UF1", "UF2"):
            values |= {f"{name.lower()}_trip_f_hz": o[f"{name}_TRIP_F"] * scale, f"{name.lower()}_trip_t_s": o[f"{name}_TRIP_T"]}
        values |= {"rt_category": 1.0 + CATEGORIES.index(o["NP_ABNORMAL_OP_CAT"]), "mc_enable": o["MC_ENABLE"]}
        values |= {"mc_lvrt_v1_pu": o["MC_LVRT_V1"], "mc_hvrt_v1_pu": o["MC_HVRT_V1"], "mc_resp_s": o["MC_RESP_T"]}
        values |= {"mc_return_s": o["MC_RETURN_T"], "cte_resp_s": o["NP_CTE_RESP_T"], "np_current_pu": o["NP_CURRENT_PU"]}
        values |= {"np_prio_active": o["NP_PRIO_OUTSIDE_MIN_Q_REQ"] == "ACTIVE", "np_q_req_inj_pu": 0.44, "np_q_req_abs_pu": 0.44}
        for name, value in values.items():
            getattr(sheet, name)[i] = float(value)
    return sheet


def inverters_of(sequences: list[Sequence]) -> Inverters:
    """The twin's inverters with these settings."""
    n = len(sequences)
    p = np.array([s.p_max for s in sequences])
    charge = np.array([s.set["NP_P_MAX_CHARGE"] / 1e6 if s.battery else 0.0 for s in sequences])
    p_pu = np.array([[0.0, 0.04999, 0.05, 0.2, 1.0], [0.0, 0.25, 0.5, 0.75, 1.0]])
    q_pu = np.array([[0.0, 0.0, 0.11, 0.44, 0.44], [0.44] * 5])
    battery = np.array([s.battery for s in sequences]).astype(np.int32)
    capability = Capability(np.full(n, VA_MAX), np.full(n, np.inf), battery, p_pu, -q_pu, q_pu, np.ones(n, np.bool_))
    fleet = simple_fleet(-charge, p, capability=capability)
    inverters = Inverters.of(fleet, np.full(n, VA_MAX), settings_of(sequences))
    inverters.set("WAIT", LONGEST)  # the whole randomised delay, as OpenDER's ES_RANDOMIZED_DELAY_ACTUAL
    return inverters


def run_twin(sequences: list[Sequence]) -> tuple[FloatArray, IntArray]:
    """The same by the twin, all sequences of one step length at once: (2, n, STEPS) and (n, STEPS)."""
    inverters, n = inverters_of(sequences), len(sequences)
    scale = np.array([s.nominal_hz / 60.0 for s in sequences])
    rated = np.array([s.p_max for s in sequences])
    least = np.array([-s.set["NP_P_MAX_CHARGE"] / 1e6 if s.battery else 0.0 for s in sequences])
    battery = least < 0
    v, f, p, permit = (np.stack([getattr(s, name) for s in sequences]) for name in ("v", "f", "p", "permit"))
    found, status = np.empty((2, n, STEPS)), np.empty((n, STEPS), np.int64)
    for k in range(STEPS):
        asked = p[:, k] * rated
        most = np.where(battery, rated, asked)
        dt_s = SETTLE_S if k == 0 else sequences[0].dt_s  # OpenDER's filters begin at their first input
        found[:, :, k] = inverters.step(dt_s, v[:, k], f[:, k] * scale, asked, p_min_mw=least, p_max_mw=most, permit=permit[:, k])
        status[:, k] = inverters.status()
    return found / VA_MAX, status
