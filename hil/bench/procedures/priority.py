"""Priorities of functions on active power, with each way to lead reactive power: IEEE 1547-2018, 4.7."""

from __future__ import annotations

from collections.abc import Mapping

from hil.bench import expected
from hil.bench.expected import Curve
from hil.bench.ports import Nameplate
from hil.bench.procedure import Expect, Procedure, Step, settled_after, step_row
from hil.bench.procedures import limit, reactive, volt_var, watt_var
from hil.bench.tables import table

CLAUSE = "priority of responses: IEEE 1547-2018, 4.7"


def procedures(n: Nameplate) -> list[Procedure]:
    """Eight rows of voltage and frequency for each way to lead reactive power."""
    factor, constant = reactive.factor_settings(0.9, -1.0), reactive.constant_settings(0.5 * n.q_inj_pu)
    volts, watts = volt_var.settings("1", n), watt_var.settings("2", n)
    modes: dict[str, tuple[Mapping[str, float], Curve, str]] = {
        "no reactive power": ({}, expected.constant(0.0), ""),
        "volt-var": (volts, expected.volt_var(volts, n), "v"),
        "constant power factor": (factor, expected.power_factor(factor, n), "p"),
        "constant reactive power": (constant, expected.reactive_power(constant, n), ""),
        "watt-var": (watts, expected.watt_var(watts, n), "p"),
    }
    return [_mode(name, *mode, n) for name, mode in modes.items()]


def _mode(name: str, values: Mapping[str, float], law: Curve, x: str, n: Nameplate) -> Procedure:
    data, scale, hold_s = table("priority"), n.f_nom_hz / 60.0, settled_after(limit.SLOWEST_S)
    active = {**limit.VOLT_WATT, **limit.DROOP, **limit.RESPONSES, "pv_p2_pu": data["volt_watt_p2"]}
    active |= {"pf_dbof_hz": 0.036 * scale, "pf_dbuf_hz": 0.036 * scale, "ap_limit_enable": 1.0, "ap_limit_pu": data["limit"]}
    q = Expect("q", law, x)  # type: ignore[arg-type]
    rows = []
    for k, row in enumerate(data["rows"], start=1):
        p = Expect("p", expected.constant(row["p"]))
        step = Step((p, q), hold_s, v_pu=row["v"], f_hz=row["f"] * scale)
        rows.append(step_row(f"{k} {row['v']:.2f} pu, {row['f'] * scale:.2f} Hz", CLAUSE, step))
    return Procedure("priority", name, {**active, **values}, tuple(rows), ready_s=90.0)
