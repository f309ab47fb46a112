"""Settings of the smart inverter as SunSpec registers, both ways: what a curve, a trip or a criterion means in each.

Values are arrays over devices (or over one). Of the models with stored curves, curve 0 is the one in force and cannot be
written; others are written and then adopted. SunSpec DER Information Model Specification V1.0; IEEE 1547-2018, 10.6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

import numpy as np

from vpp.kernel.signals import FloatArray

Get = Callable[[str], FloatArray]
Values = dict[str, FloatArray]

# Model -> the repeating group of its curves, and the stem of its adopt registers.
CURVES: Final[Mapping[int, tuple[str, str]]] = {
    705: ("Crv", "AdptCrv"), 706: ("Crv", "AdptCrv"), 707: ("Crv", "AdptCrv"), 708: ("Crv", "AdptCrv"),
    709: ("Crv", "AdptCrv"), 710: ("Crv", "AdptCrv"), 711: ("Ctl", "AdptCtl"), 712: ("Crv", "AdptCrv"),
}  # fmt: skip

# Setting -> (register, factor from the register's unit). {c} is the number of the curve.
PLAIN: Final[Mapping[str, tuple[str, float]]] = {
    "qv_enable": ("705.Ena", 1.0),
    **{f"qv_v{k + 1}_pu": (f"705.Crv[{{c}}].Pt[{k}].V", 0.01) for k in range(4)},
    "qv_olrt_s": ("705.Crv[{c}].RspTms", 1.0),
    "qv_vref_pu": ("705.Crv[{c}].VRef", 0.01),
    "qv_vref_auto": ("705.Crv[{c}].VRefAutoEna", 1.0),
    "qv_vref_time_s": ("705.Crv[{c}].VRefAutoTms", 1.0),
    "pv_enable": ("706.Ena", 1.0),
    **{f"pv_v{k + 1}_pu": (f"706.Crv[{{c}}].Pt[{k}].V", 0.01) for k in range(2)},
    **{f"pv_p{k + 1}_pu": (f"706.Crv[{{c}}].Pt[{k}].W", 0.01) for k in range(2)},
    "pv_olrt_s": ("706.Crv[{c}].RspTms", 1.0),
    "pf_enable": ("711.Ena", 1.0),
    "pf_dbof_hz": ("711.Ctl[{c}].DbOf", 1.0),
    "pf_dbuf_hz": ("711.Ctl[{c}].DbUf", 1.0),
    "pf_kof": ("711.Ctl[{c}].KOf", 1.0),
    "pf_kuf": ("711.Ctl[{c}].KUf", 1.0),
    "pf_olrt_s": ("711.Ctl[{c}].RspTms", 1.0),
    "qp_enable": ("712.Ena", 1.0),
    **{f"qp_p{k}_load_pu": (f"712.Crv[{{c}}].Pt[{3 - k}].W", 0.01) for k in (3, 2, 1)},
    **{f"qp_p{k}_gen_pu": (f"712.Crv[{{c}}].Pt[{2 + k}].W", 0.01) for k in (1, 2, 3)},
    "es_v_low_pu": ("703.ESVLo", 0.01),
    "es_v_high_pu": ("703.ESVHi", 0.01),
    "es_f_low_hz": ("703.ESHzLo", 1.0),
    "es_f_high_hz": ("703.ESHzHi", 1.0),
    "es_delay_s": ("703.ESDlyTms", 1.0),
    "es_randomized_delay_s": ("703.ESRndTms", 1.0),
    "es_ramp_s": ("703.ESRmpTms", 1.0),
    "mc_lvrt_v1_pu": ("707.Crv[{c}].MomCess.Pt[0].V", 0.01),
    "mc_hvrt_v1_pu": ("708.Crv[{c}].MomCess.Pt[0].V", 0.01),
    "const_pf_enable": ("704.PFWInjEna", 1.0),
    "const_pf": ("704.PFWInj.PF", 1.0),
    "const_q_enable": ("704.VarSetEna", 1.0),
    "ap_limit_enable": ("704.WMaxLimPctEna", 1.0),
    "ap_limit_pu": ("704.WMaxLimPct", 0.01),
}
# Setting -> register of reactive power, whose unit the curve's DeptRef tells.
REACTIVE: Final[Mapping[str, str]] = {
    **{f"qv_q{k + 1}_pu": f"705.Crv[{{c}}].Pt[{k}].Var" for k in range(4)},
    **{f"qp_q{k}_load_pu": f"712.Crv[{{c}}].Pt[{3 - k}].Var" for k in (3, 2, 1)},
    **{f"qp_q{k}_gen_pu": f"712.Crv[{{c}}].Pt[{2 + k}].Var" for k in (1, 2, 3)},
}
# Model -> (its two trips, slow and fast; quantity; factor; name in the settings, 1 where a trip is above and -1 below).
TRIPS: Final[Mapping[int, tuple[str, str, str, float, int]]] = {
    707: ("uv1", "uv2", "V", 0.01, -1),
    708: ("ov1", "ov2", "V", 0.01, 1),
    709: ("uf1", "uf2", "Hz", 1.0, -1),
    710: ("of1", "of2", "Hz", 1.0, 1),
}
POINTS: Final[Mapping[int, int]] = {705: 4, 706: 2, 707: 3, 708: 3, 709: 3, 710: 3, 712: 6}
# Where momentary cessation stands; it is off where neither has a point in use.
CESSATION: Final = ("707.Crv[{c}].MomCess.ActPt", "708.Crv[{c}].MomCess.ActPt")
VA_MAX_PCT: Final = 3.0  # in DeptRef of a curve, and in VarSetMod
VARS: Final = 4.0
OVER_EXCITED: Final = 0.0


def register_of(setting: str) -> tuple[str, float] | None:
    """The register that says a setting ({c}: number of the curve) and the factor from its unit; None: there is none."""
    if setting in PLAIN:
        return PLAIN[setting]
    if setting in REACTIVE:
        return REACTIVE[setting], 0.01
    for model, (slow, fast, quantity, factor, _) in TRIPS.items():
        unit = "v_pu" if quantity == "V" else "f_hz"
        for name, point in ((fast, 0), (slow, 2)):
            if setting == f"{name}_trip_{unit}":
                return f"{model}.Crv[{{c}}].MustTrip.Pt[{point}].{quantity}", factor
            if setting == f"{name}_trip_t_s":
                return f"{model}.Crv[{{c}}].MustTrip.Pt[{point}].Tms", 1.0
    others = {
        "const_pf_excitation": ("704.PFWInj.Ext", 1.0), "const_q_pu": ("704.VarSetPct", 0.01), "trip_enable": ("707.Ena", 1.0),
        "mc_enable": (CESSATION[0], 1.0),
    }  # fmt: skip
    return others.get(setting)


def to_registers(settings: Mapping[str, FloatArray], curve: int) -> Values:
    """Registers that say these settings, curves as number ``curve``; only what is named is said."""
    said: Values = {}
    for signal, (path, factor) in PLAIN.items():
        if signal in settings:
            said[path.format(c=curve)] = settings[signal] / factor
    for signal, path in REACTIVE.items():
        if signal in settings:
            said[path.format(c=curve)] = settings[signal] * 100.0
            said[path[:3] + f".Crv[{curve}].DeptRef"] = np.full_like(settings[signal], VA_MAX_PCT)
    if "const_pf_excitation" in settings:
        said["704.PFWInj.Ext"] = np.where(settings["const_pf_excitation"] < 0, 1.0, OVER_EXCITED)
    if "const_q_pu" in settings:
        said["704.VarSetPct"] = settings["const_q_pu"] * 100.0
        said["704.VarSetMod"] = np.full_like(settings["const_q_pu"], VA_MAX_PCT)
    if "mc_enable" in settings:
        said.update({path.format(c=curve): np.where(settings["mc_enable"] > 0, 1.0, 0.0) for path in CESSATION})
    for model, trip in TRIPS.items():
        said.update(_say_trip(settings, model, trip, curve))
    for model in (705, 706, 712):
        points = [path for path in said if path.startswith(f"{model}.") and ".Pt[" in path]
        if points:
            said[f"{model}.Crv[{curve}].ActPt"] = np.full_like(said[points[0]], POINTS[model])
    return said


def from_registers(get: Get, var_per_va: FloatArray, w_per_va: FloatArray, models: frozenset[int], curve: int = 0) -> Values:
    """Settings that a device holds, as far as its models say them.

    Args:
        get: scaled value of a path.
        var_per_va: largest reactive power over nameplate VA, for curves that refer to it.
        w_per_va: the same of active power.
        models: that the device has.
        curve: 0 is in force.
    """
    meant: Values = {}
    for signal, (path, factor) in PLAIN.items():
        if int(path[:3]) in models:
            meant[signal] = get(path.format(c=curve)) * factor
    for model in (705, 712):
        if model in models:
            reference = _reference(get(f"{model}.Crv[{curve}].DeptRef"), var_per_va, w_per_va)
            for signal, path in REACTIVE.items():
                if path.startswith(str(model)):
                    meant[signal] = get(path.format(c=curve)) * 0.01 * reference
    if 704 in models:
        meant["const_pf_excitation"] = np.where(get("704.PFWInj.Ext") == OVER_EXCITED, 1.0, -1.0)
        meant["const_q_pu"] = _constant(get, var_per_va, w_per_va, models)
    ceases = [get(path.format(c=curve)) for path in CESSATION if int(path[:3]) in models]
    if ceases:
        meant["mc_enable"] = np.minimum(np.max(ceases, axis=0), 1.0)
    enabled = []
    for model, trip in TRIPS.items():
        if model in models:
            meant.update(_hear_trip(get, model, trip, curve))
            enabled.append(get(f"{model}.Ena"))
    if enabled:
        meant["trip_enable"] = np.max(enabled, axis=0)
    return meant


def _reference(code: FloatArray, var_per_va: FloatArray, w_per_va: FloatArray) -> FloatArray:
    """What 100 % is, of nameplate VA. Percent of what is available means nothing without the moment: NaN."""
    known = np.select([code == 0, code == 1, code == VA_MAX_PCT], [w_per_va, var_per_va, np.ones_like(code)], np.nan)
    return np.asarray(known, np.float64)


def _constant(get: Get, var_per_va: FloatArray, w_per_va: FloatArray, models: frozenset[int]) -> FloatArray:
    """Constant reactive power of nameplate VA, by the unit that the device's mode tells; NaN where that is of the moment."""
    mode = get("704.VarSetMod")
    share = get("704.VarSetPct") * 0.01 * _reference(mode, var_per_va, w_per_va)
    return np.where(mode == VARS, get("704.VarSet") / get("702.VAMaxRtg"), share) if 702 in models else share


def _say_trip(
    settings: Mapping[str, FloatArray], model: int, trip: tuple[str, str, str, float, int], curve: int
) -> Iterator[tuple[str, FloatArray]]:
    """A trip as a stair of three points: the fast one, its corner, the slow one."""
    slow, fast, quantity, factor, _ = trip
    unit = "v_pu" if quantity == "V" else "f_hz"
    if "trip_enable" in settings:
        yield f"{model}.Ena", settings["trip_enable"]
    wanted = [f"{fast}_trip_{unit}", f"{fast}_trip_t_s", f"{slow}_trip_{unit}", f"{slow}_trip_t_s"]
    if not all(name in settings for name in wanted):
        return
    fast_x, fast_t, slow_x, slow_t = (settings[name] for name in wanted)
    where = f"{model}.Crv[{curve}].MustTrip"
    for k, (x, t) in enumerate(((fast_x, fast_t), (fast_x, slow_t), (slow_x, slow_t))):
        yield f"{where}.Pt[{k}].{quantity}", x / factor
        yield f"{where}.Pt[{k}].Tms", t
    yield f"{where}.ActPt", np.full_like(fast_x, 3.0)


def _hear_trip(get: Get, model: int, trip: tuple[str, str, str, float, int], curve: int) -> Iterator[tuple[str, FloatArray]]:
    """The two trips of a stair, however many points it has: at its shortest and at its longest time."""
    slow, fast, quantity, factor, sign = trip
    unit = "v_pu" if quantity == "V" else "f_hz"
    where = f"{model}.Crv[{curve}].MustTrip"
    used = get(f"{where}.ActPt")
    x = np.array([get(f"{where}.Pt[{k}].{quantity}") for k in range(POINTS[model])]) * factor
    t = np.array([get(f"{where}.Pt[{k}].Tms") for k in range(POINTS[model])])
    there = (np.arange(len(x))[:, None] < used) & ~np.isnan(x) & ~np.isnan(t)
    for name, pick, worst in ((fast, np.min, np.inf), (slow, np.max, -np.inf)):
        time = pick(np.where(there, t, worst), axis=0)
        # The trip begins where the stair is nearest to nominal.
        edge = sign * np.min(np.where(there & (t == time), sign * x, np.inf), axis=0)
        none = ~there.any(axis=0)
        yield f"{name}_trip_{unit}", np.where(none, np.nan, edge)
        yield f"{name}_trip_t_s", np.where(none, np.nan, time)
