"""Volt-var: IEEE 1547-2018, 5.3.3; steps of voltage at and between the curve's points."""

from __future__ import annotations

from hil.bench import expected
from hil.bench.ports import Nameplate
from hil.bench.procedure import Expect, Procedure, Row, Step, settled_after, step_row
from hil.bench.tables import table
from hil.bench.uncertainty import required

CLAUSE = "volt-var: IEEE 1547-2018, 5.3.3"


def procedures(n: Nameplate) -> list[Procedure]:
    """Three curves."""
    return [_curve(name, n) for name in table("volt_var")]


def settings(name: str, n: Nameplate) -> dict[str, float]:
    """The settings of one of the curves."""
    data = table("volt_var")[name]
    base = {True: (n.q_abs_pu, n.q_inj_pu), False: (1.0, 1.0)}[data["base"] == "q"]
    values = {f"qv_v{k + 1}_pu": v for k, v in enumerate(data["v"])}
    values |= {f"qv_q{k + 1}_pu": q * base[q > 0] for k, q in enumerate(data["q"])}
    return values | {"qv_enable": 1.0, "qv_olrt_s": float(data["tr_s"]), "qv_vref_pu": 1.0}


def voltages(name: str, n: Nameplate) -> list[tuple[str, float, str]]:
    """The 24 steps: what they are, voltage, and why they cannot be run (or "")."""
    v1, v2, v3, v4 = table("volt_var")[name]["v"]
    a = required(n).v_pu
    low, high = n.v_low_pu + a, n.v_high_pu - a
    up = [("V3 - a", v3 - a), ("V3 + a", v3 + a), ("V3 to V4", (v3 + v4) / 2), ("V4 - a", v4 - a), ("V4 + a", v4 + a)]
    down = [("V2 + a", v2 + a), ("V2 - a", v2 - a), ("V1 to V2", (v1 + v2) / 2), ("V1 + a", v1 + a), ("V1 - a", v1 - a)]
    steps = [*up, ("VH - a", high), *reversed(up), ("Vref", 1.0), *down, ("VL + a", low), *reversed(down), ("Vref", 1.0)]
    return [(what, v, _outside(what, v, low, high)) for what, v in steps]


def _outside(what: str, v: float, low: float, high: float) -> str:
    """Why a voltage cannot be applied: a point of the curve lies too close to, or beyond, the equipment's range."""
    if v > high + 1e-9:
        return f"{what} is {v:.3f} pu, above VH - a, {high:.3f} pu of this equipment"
    return f"{what} is {v:.3f} pu, below VL + a, {low:.3f} pu of this equipment" if v < low - 1e-9 else ""


def _curve(name: str, n: Nameplate) -> Procedure:
    values, tr_s = settings(name, n), float(table("volt_var")[name]["tr_s"])
    expect = Expect("q", expected.volt_var(values, n), "v", tr_s)
    rows: list[Row] = []
    for k, (what, v, skip) in enumerate(voltages(name, n), start=1):
        rows.append(step_row(f"{k:02d} {what}, {v:.3f} pu", CLAUSE, Step((expect,), settled_after(tr_s), v_pu=v), skip=skip))
    return Procedure("volt-var", f"curve {name}", values, tuple(rows), ready_s=settled_after(tr_s) + 20.0)
