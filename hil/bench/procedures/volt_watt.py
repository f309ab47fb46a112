"""Volt-watt: IEEE 1547-2018, 5.4.2; 13 steps of voltage up and back."""

from __future__ import annotations

from hil.bench import expected
from hil.bench.ports import Nameplate
from hil.bench.procedure import Expect, Procedure, Step, settled_after, step_row
from hil.bench.tables import table
from hil.bench.uncertainty import required

CLAUSE = "volt-watt: IEEE 1547-2018, 5.4.2"


def procedures(n: Nameplate) -> list[Procedure]:
    """Three curves."""
    return [_curve(name, n) for name in table("volt_watt")]


def settings(name: str, n: Nameplate) -> dict[str, float]:
    """The settings of one of the curves."""
    data = table("volt_watt")[name]
    p2 = min(0.2, n.p_min_mw / n.p_max_mw)
    if data["p2_storage"] and n.p_charge_mw > 0.0:
        p2 = -1.0  # of rated charging power
    values = {"pv_v1_pu": data["v"][0], "pv_v2_pu": data["v"][1], "pv_p1_pu": float(data["p1"]), "pv_p2_pu": p2}
    return values | {"pv_enable": 1.0, "pv_olrt_s": float(data["tr_s"])}


def _curve(name: str, n: Nameplate) -> Procedure:
    values, tr_s = settings(name, n), float(table("volt_watt")[name]["tr_s"])
    v1, v2, a = values["pv_v1_pu"], values["pv_v2_pu"], required(n).v_pu
    high = n.v_high_pu - a
    up = [("V1 - a", v1 - a), ("V1 + a", v1 + a), ("V1 to V2", (v1 + v2) / 2), ("V2 - a", v2 - a), ("V2 + a", v2 + a)]
    steps = [("VL + a", n.v_low_pu + a), *up, ("VH - a", high), *reversed(up), ("VL + a", n.v_low_pu + a)]
    law = expected.volt_watt(_drawn(values, n))
    rows = []
    for k, (what, v) in enumerate(steps, start=1):
        skip = f"{what} is {v:.3f} pu, above VH - a, {high:.3f} pu of this equipment" if v > high + 1e-9 else ""
        step = Step((Expect("p", law, "v", tr_s),), settled_after(tr_s), v_pu=v)
        rows.append(step_row(f"{k:02d} {what}, {v:.3f} pu", CLAUSE, step, skip=skip))
    return Procedure("volt-watt", f"curve {name}", values, tuple(rows), ready_s=settled_after(tr_s) + 20.0)


def _drawn(values: dict[str, float], n: Nameplate) -> dict[str, float]:
    """The same with a power below zero in per unit of rated (not of charging) power."""
    p2 = values["pv_p2_pu"]
    return values | {"pv_p2_pu": p2 * n.p_charge_mw / n.p_max_mw if p2 < 0.0 else p2}
