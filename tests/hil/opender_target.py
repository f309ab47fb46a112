"""OpenDER, EPRI's model of IEEE 1547-2018, as a target of the bench: settings by the kernel's names.

OpenDER always has trips and criteria to enter service; switched off here they are set so that they do nothing. It has
neither a power factor by active power nor a droop of momentary power, and no ramp after ride-through.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from hil.bench.laboratory import Laboratory
from hil.bench.ports import Limits, Nameplate
from hil.bench.ranges import usual_limits
from hil.bench.simulated import laboratory
from scenarios.bench import Q_PU, S_MVA, InverterModel

CATEGORIES = ("CAT_I", "CAT_II", "CAT_III")
SWITCHES = {
    "qv_enable": "QV_MODE_ENABLE", "const_pf_enable": "CONST_PF_MODE_ENABLE", "const_q_enable": "CONST_Q_MODE_ENABLE",
    "qp_enable": "QP_MODE_ENABLE", "pv_enable": "PV_MODE_ENABLE", "pf_enable": "PF_MODE_ENABLE",
    "ap_limit_enable": "AP_LIMIT_ENABLE", "mc_enable": "MC_ENABLE", "qv_vref_auto": "QV_VREF_AUTO_MODE",
}  # fmt: skip
NUMBERS = {
    **{f"qv_{y}{k}_pu": f"QV_CURVE_{y.upper()}{k}" for y in "vq" for k in range(1, 5)},
    **{f"qp_{y}{k}_gen_pu": f"QP_CURVE_{y.upper()}{k}_GEN" for y in "pq" for k in range(1, 4)},
    **{f"pv_{y}{k}_pu": f"PV_CURVE_{y.upper()}{k}" for y in "vp" for k in (1, 2)},
    **{f"{k}_trip_{u}": f"{k.upper()}_TRIP_{u[0].upper()}" for k in ("ov1", "ov2", "uv1", "uv2") for u in ("v_pu", "t_s")},
    **{f"{k}_trip_{u}": f"{k.upper()}_TRIP_{u[0].upper()}" for k in ("of1", "of2", "uf1", "uf2") for u in ("f_hz", "t_s")},
    "qv_olrt_s": "QV_OLRT", "qv_vref_pu": "QV_VREF", "qv_vref_time_s": "QV_VREF_TIME", "const_pf": "CONST_PF",
    "const_pf_rt_s": "CONST_PF_RT", "const_q_pu": "CONST_Q", "const_q_rt_s": "CONST_Q_RT", "qp_rt_s": "QP_RT",
    "pv_olrt_s": "PV_OLRT", "pf_dbof_hz": "PF_DBOF", "pf_dbuf_hz": "PF_DBUF", "pf_kof": "PF_KOF", "pf_kuf": "PF_KUF",
    "pf_olrt_s": "PF_OLRT", "ap_limit_pu": "AP_LIMIT", "ap_rt_s": "AP_RT", "es_v_low_pu": "ES_V_LOW",
    "es_v_high_pu": "ES_V_HIGH", "es_f_low_hz": "ES_F_LOW", "es_f_high_hz": "ES_F_HIGH", "es_delay_s": "ES_DELAY",
    "es_ramp_s": "ES_RAMP_RATE", "es_randomized_delay_s": "ES_RANDOMIZED_DELAY_ACTUAL", "mc_lvrt_v1_pu": "MC_LVRT_V1",
    "mc_hvrt_v1_pu": "MC_HVRT_V1", "mc_resp_s": "MC_RESP_T", "mc_return_s": "MC_RETURN_T", "cte_resp_s": "NP_CTE_RESP_T",
}  # fmt: skip
OWN = ("const_pf_excitation", "rt_category", "trip_enable", "es_enable")
NEVER_S = 1e9


class OpenderModel:
    """One PV inverter of OpenDER with the defaults of category B and III."""

    def __init__(self) -> None:
        """Make it, with the settings of our own grid code file (which were read from OpenDER's)."""
        import opender

        logging.getLogger("opender").setLevel(logging.CRITICAL)
        self._type = opender.DER
        watt = S_MVA * 1e6
        self._der = opender.DER_PV(
            NP_VA_MAX=watt, NP_P_MAX=watt, NP_Q_MAX_INJ=Q_PU * watt, NP_Q_MAX_ABS=Q_PU * watt, NP_AC_V_NOM=400.0,
            NP_V_DC=800.0, NP_INV_DELAY=0.0, NP_CURRENT_PU=10.0, NP_NORMAL_OP_CAT="CAT_B", NP_ABNORMAL_OP_CAT="CAT_III",
        )  # fmt: skip
        self.nameplate = Nameplate(S_MVA, S_MVA, Q_PU * S_MVA, Q_PU * S_MVA, 60.0, category=3)
        names = [*SWITCHES, *NUMBERS, *OWN]
        self._held = InverterModel().read(names)
        self.write({})

    def identity(self) -> Mapping[str, str]:
        """What it is."""
        return {"manufacturer": "EPRI", "model": "OpenDER", "firmware": version("opender")}

    def limits(self) -> Mapping[str, Limits]:
        """The settings that it has."""
        return usual_limits(self._held)

    def read(self, names: Iterable[str]) -> dict[str, float]:
        """What it holds."""
        return {name: self._held[name] for name in names}

    def write(self, values: Mapping[str, float]) -> None:
        """Set them past its setters, which judge values one by one."""
        self._held.update(values)
        held, given = self._held, dict[str, Any]()
        given |= {theirs: bool(held[ours]) for ours, theirs in SWITCHES.items()}
        given |= {theirs: held[ours] for ours, theirs in NUMBERS.items()}
        given["CONST_PF_EXCITATION"] = "INJ" if held["const_pf_excitation"] > 0 else "ABS"
        given["NP_ABNORMAL_OP_CAT"] = CATEGORIES[int(held["rt_category"]) - 1]
        if not held["trip_enable"]:
            given |= {name: NEVER_S for name in given if name.endswith("_TRIP_T")}
        if not held["es_enable"]:
            given |= {"ES_DELAY": 0.0, "ES_RAMP_RATE": 0.0, "ES_RANDOMIZED_DELAY_ACTUAL": 0.0}
        for name, value in given.items():
            setattr(self._der.der_file, f"_{name}", value)

    def step(self, dt_s: float, vm_pu: float, f_hz: float, p_mw: float, permit: bool) -> tuple[float, float]:
        """One step."""
        self._type.t_s = dt_s
        self._der.der_file._ES_PERMIT_SERVICE = permit
        self._der.update_der_input(p_dc_w=p_mw * 1e6, v_pu=vm_pu, f=f_hz)
        p, q = self._der.run()
        return float(p) / 1e6, float(q) / 1e6


def opender() -> Laboratory:
    """OpenDER in virtual time."""
    return laboratory(OpenderModel(), "opender")
