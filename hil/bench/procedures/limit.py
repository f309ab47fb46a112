"""Limit active power: IEEE 1547-2018, 4.6.2; three limits, three times, with droop and volt-watt on."""

from __future__ import annotations

from hil.bench import expected
from hil.bench.ports import Nameplate
from hil.bench.procedure import Expect, Procedure, Row, Step, settled_after, step_row
from hil.bench.tables import table

CLAUSE = "limit active power: IEEE 1547-2018, 4.6.2"
SLOWEST_S = 30.0
RESPONSES = {"pf_olrt_s": 5.0, "pv_olrt_s": 10.0, "ap_rt_s": SLOWEST_S}
VOLT_WATT = {"pv_enable": 1.0, "pv_v1_pu": 1.06, "pv_v2_pu": 1.10, "pv_p1_pu": 1.0, "pv_p2_pu": 0.0}
DROOP = {"pf_enable": 1.0, "pf_kof": 0.05, "pf_kuf": 0.05}


def procedures(n: Nameplate) -> list[Procedure]:
    """Each repetition: to a limit, then steps of frequency and voltage."""
    data, db = table("limit_active_power"), 0.036 * n.f_nom_hz / 60.0
    values = {**VOLT_WATT, **DROOP, **RESPONSES, "pf_dbof_hz": db, "pf_dbuf_hz": db, "ap_limit_enable": 1.0, "ap_limit_pu": 1.0}
    found = []
    for turn in range(1, data["repeat"] + 1):
        for limit in data["limits"]:
            rows = _rows(limit, values, n)
            found.append(Procedure("limit-active-power", f"{limit:.0%}, time {turn}", values, tuple(rows), ready_s=90.0))
    return found


def _rows(limit: float, values: dict[str, float], n: Nameplate) -> list[Row]:
    """The limit within 30 s; then droop from it (above it too, as in the table of priorities), and volt-watt under it."""
    data, hold_s = table("limit_active_power"), settled_after(SLOWEST_S)
    to = Expect("p", expected.constant(limit), "", SLOWEST_S, "due")
    writes = {"ap_limit_enable": 1.0, "ap_limit_pu": limit}
    rows = [step_row(f"to {limit:.0%}", CLAUSE, Step((to,), hold_s, writes=writes), needs=frozenset())]
    law = expected.droop(values, n, limit)
    for f in data["f_hz"]:
        hz = f * n.f_nom_hz / 60.0
        rows.append(step_row(f"{hz:.2f} Hz", CLAUSE, Step((Expect("p", law, "f"),), hold_s, f_hz=hz)))
    under = expected.volt_watt(values).clipped(-1.0, limit)
    for v in data["v_pu"]:
        expect = Expect("p", under, "v", sided="both" if v == 1.0 else "upper")
        rows.append(step_row(f"{v:.2f} pu", CLAUSE, Step((expect,), hold_s, v_pu=v)))
    return rows
