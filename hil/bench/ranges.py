"""What settings can be set to where equipment does not say so itself, by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Final

from hil.bench.ports import Limits

# Wider than the ranges of IEEE 1547-2018 (Tables 7 to 14, 18, 21 and 24): they bound what the bench writes, no more.
_RANGES: Final = (
    (r".*_enable|.*_auto|pf_basis_.*|np_prio_active", Limits(0.0, 1.0, code=True)),
    (r"rt_category", Limits(0.0, 3.0, code=True)),
    (r"const_pf_excitation", Limits(-1.0, 1.0, code=True)),
    (r"f_nom_hz", Limits(50.0, 60.0, code=True)),
    (r"const_pf|pfp_pf.", Limits(0.0, 1.0)),
    (r"pf_k.f", Limits(0.02, 0.07)),
    (r"pf_db.f_hz", Limits(0.01, 1.0)),
    (r".*_hz", Limits(40.0, 66.0)),
    (r".*_v\d?_pu|.*_v_(low|high)_pu|[qp]v_v\d_pu|qv_vref.*_pu|mc_.*_v1_pu", Limits(0.0, 1.5)),
    (r".*_pu", Limits(-1.0, 1.2)),
    (r".*_s", Limits(0.0, 1000.0)),
)

# Points that must stay in order, ascending.
CHAINS: Final = (
    ("qv_v1_pu", "qv_v2_pu", "qv_v3_pu", "qv_v4_pu"),
    ("qv_q4_pu", "qv_q3_pu", "qv_q2_pu", "qv_q1_pu"),
    ("pv_v1_pu", "pv_v2_pu"),
    ("pv_p2_pu", "pv_p1_pu"),
    ("qp_p1_gen_pu", "qp_p2_gen_pu", "qp_p3_gen_pu"),
    ("qp_p3_load_pu", "qp_p2_load_pu", "qp_p1_load_pu"),
    ("pfp_p1_pu", "pfp_p2_pu"),
    ("qv_vref_min_pu", "qv_vref_pu", "qv_vref_max_pu"),
    ("es_v_low_pu", "es_v_high_pu"),
    ("es_f_low_hz", "es_f_high_hz"),
    ("uv2_trip_v_pu", "uv1_trip_v_pu", "ov1_trip_v_pu", "ov2_trip_v_pu"),
    ("uf2_trip_f_hz", "uf1_trip_f_hz", "of1_trip_f_hz", "of2_trip_f_hz"),
    *((f"{kind}2_trip_t_s", f"{kind}1_trip_t_s") for kind in ("uv", "ov", "uf", "of")),
    ("mc_lvrt_v1_pu", "mc_hvrt_v1_pu"),
)


def usual_limits(names: Iterable[str]) -> dict[str, Limits]:
    """Limits of these settings by their names."""
    return {name: _usual(name) for name in names}


@cache
def _usual(name: str) -> Limits:
    return next(limits for pattern, limits in _RANGES if re.fullmatch(pattern, name))


def another(name: str, value: float, limits: Limits, held: dict[str, float]) -> float:
    """A value that differs from the one held, within the limits, that leaves points in order and fits the step."""
    if limits.code:
        return limits.low if abs(value - limits.high) < 1e-9 else limits.high
    low, high = limits.low, limits.high
    for chain in CHAINS:
        if name in chain:
            k = chain.index(name)
            low = max([low, *(held[n] for n in chain[:k] if n in held)])
            high = min([high, *(held[n] for n in chain[k + 1 :] if n in held)])
    target = value + (high - value) / 4.0 if high - value >= value - low else value - (value - low) / 4.0
    if limits.step > 0.0:
        steps = round((target - value) / limits.step) or (1 if target > value else -1)
        target = value + steps * limits.step
    return target
