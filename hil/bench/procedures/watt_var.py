"""Watt-var: IEEE 1547-2018, 5.3.4; active power from its least to rated and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from hil.bench import expected
from hil.bench.ports import Limits, Nameplate
from hil.bench.procedure import Expect, Procedure, Step, settled_after, sided, step_row
from hil.bench.tables import table

CLAUSE = "watt-var: IEEE 1547-2018, 5.3.4"


def procedures(n: Nameplate, limits: Mapping[str, Limits]) -> list[Procedure]:
    """Three curves."""
    return [_curve(name, n, sided("qp_rt_s", limits)) for name in table("watt_var")]


def settings(name: str, n: Nameplate) -> dict[str, float]:
    """The settings of one of the curves."""
    data = table("watt_var")[name]
    least = max(0.2, n.p_min_mw / n.p_max_mw)
    values = {f"qp_p{k + 1}_gen_pu": max(p, least) for k, p in enumerate(data["p"])}
    values |= {f"qp_q{k + 1}_gen_pu": q for k, q in enumerate(data["q"])}
    return values | {"qp_enable": 1.0, "qp_rt_s": float(data["tr_s"])}


def _curve(name: str, n: Nameplate, side: Literal["both", "due"]) -> Procedure:
    values, tr_s = settings(name, n), float(table("watt_var")[name]["tr_s"])
    p1, p2, p3 = (values[f"qp_p{k}_gen_pu"] for k in (1, 2, 3))
    up = [("P1", p1), ("P1 to P2", (p1 + p2) / 2), ("P2", p2), ("P2 to P3", (p2 + p3) / 2), ("P3", p3)]
    expect = Expect("q", expected.watt_var(values, n), "p", tr_s, side)
    rows = [
        step_row(f"{k:02d} {what}, {p:.2f} pu", CLAUSE, Step((expect,), settled_after(tr_s), p_pu=p), needs=frozenset({"dc"}))
        for k, (what, p) in enumerate([*up, *reversed(up[:-1])], start=1)
    ]
    return Procedure("watt-var", f"curve {name}", values, tuple(rows), ready_s=settled_after(tr_s) + 20.0)
