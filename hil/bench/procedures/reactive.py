"""Constant power factor and constant reactive power: IEEE 1547-2018, 5.3.2 and 5.3.5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from hil.bench import expected
from hil.bench.ports import Limits, Nameplate
from hil.bench.procedure import Expect, Procedure, Row, Step, settled_after, sided, step_row
from hil.bench.tables import table
from hil.bench.uncertainty import required

FACTOR = "constant power factor: IEEE 1547-2018, 5.3.2"
CONSTANT = "constant reactive power: IEEE 1547-2018, 5.3.5"
CAPABILITY = "reactive power capability: IEEE 1547-2018, 5.2"
SLOWEST_S = 10.0  # IEEE 1547-2018, 5.3.1: within 10 s
BEYOND = 1.25
SIDES = ((1.0, "injecting"), (-1.0, "absorbing"))


def power_factors(n: Nameplate, limits: Mapping[str, Limits]) -> list[Procedure]:
    """Power factors least and middle, each injecting and absorbing."""
    side = sided("const_pf_rt_s", limits)
    return [_factor(pf, sign, word, n, side) for pf in table("constant_power_factor")["pf"] for sign, word in SIDES]


def reactive_powers(n: Nameplate) -> list[Procedure]:
    """Reactive power most, half and more than there is, each injecting and absorbing."""
    parts = table("constant_reactive_power")["of_q_rated"]
    constants = [_constant(part, sign, word, n) for part in parts for sign, word in SIDES]
    return [*constants, *(_beyond(sign, word, n) for sign, word in SIDES)]


def _rows(clause: str, expect: Expect, powers: list[float], n: Nameplate, tr_s: float) -> list[Row]:
    """Steps of power, then of voltage."""
    a, hold_s, dc = required(n).v_pu, settled_after(tr_s), frozenset({"dc"})
    rows = [step_row(f"power {p:.2f} pu", clause, Step((expect,), hold_s, p_pu=p), dc) for p in powers]
    volts = (("VL + a", n.v_low_pu + a), ("VH - a", n.v_high_pu - a), ("nominal voltage", 1.0))
    return [*rows, *(step_row(f"{what}, {v:.3f} pu", clause, Step((expect,), hold_s, v_pu=v)) for what, v in volts)]


def factor_settings(pf: float, sign: float) -> dict[str, float]:
    """A constant power factor."""
    return {"const_pf_enable": 1.0, "const_pf": pf, "const_pf_excitation": sign, "const_pf_rt_s": SLOWEST_S}


def constant_settings(q_pu: float) -> dict[str, float]:
    """A constant reactive power."""
    return {"const_q_enable": 1.0, "const_q_pu": q_pu, "const_q_rt_s": SLOWEST_S}


def _factor(pf: float, sign: float, word: str, n: Nameplate, side: Literal["both", "due"]) -> Procedure:
    values = factor_settings(pf, sign)
    expect = Expect("q", expected.power_factor(values, n), "p", SLOWEST_S, side)
    rows = _rows(FACTOR, expect, table("constant_power_factor")["p_steps"], n, SLOWEST_S)
    return Procedure("constant-power-factor", f"{pf:.2f} {word}", values, tuple(rows))


def _constant(part: float, sign: float, word: str, n: Nameplate) -> Procedure:
    q = sign * part * (n.q_inj_pu if sign > 0.0 else n.q_abs_pu)
    values = constant_settings(q)
    expect = Expect("q", expected.reactive_power(values, n), "", SLOWEST_S, "due", bare=True)
    write = Step((expect,), settled_after(SLOWEST_S), writes=values)
    first = step_row(f"from nothing to {q:+.2f} pu", CONSTANT, write, needs=frozenset())
    rows = _rows(CONSTANT, expect, table("constant_reactive_power")["p_steps"], n, SLOWEST_S)
    begin = {**values, "const_q_pu": 0.0}
    return Procedure("constant-reactive-power", f"{part:.0%} of most {word}", begin, (first, *rows))


def _beyond(sign: float, word: str, n: Nameplate) -> Procedure:
    """More than there is: the equipment stays at its capability."""
    most = n.q_inj_pu if sign > 0.0 else n.q_abs_pu
    values = constant_settings(sign * BEYOND * most)
    expect = Expect("q", expected.reactive_power(values, n), "", 0.0)
    row = step_row(
        f"asked for {BEYOND:.0%} of most", CAPABILITY, Step((expect,), settled_after(SLOWEST_S), writes=values), needs=frozenset()
    )
    return Procedure("constant-reactive-power", f"beyond the capability {word}", {**values, "const_q_pu": 0.0}, (row,))
