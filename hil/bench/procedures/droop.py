"""Frequency droop: IEEE 1547-2018, 6.5.2.7; above from rated power, below from half of it."""

from __future__ import annotations

from hil.bench import expected
from hil.bench.ports import Nameplate
from hil.bench.procedure import Expect, Procedure, Step, settled_after, step_row
from hil.bench.tables import table
from hil.bench.uncertainty import required

CLAUSE = "frequency droop: IEEE 1547-2018, 6.5.2.7"
HALF = 0.5


def procedures(n: Nameplate) -> list[Procedure]:
    """Two settings, above and below nominal."""
    return [_one(name, above, n) for name in table("frequency_droop") for above in (True, False)]


def settings(name: str, n: Nameplate) -> dict[str, float]:
    """One of the settings; hertz in proportion to the nominal frequency."""
    data, scale = table("frequency_droop")[name], n.f_nom_hz / 60.0
    both = {"pf_dbof_hz": data["db_hz"] * scale, "pf_dbuf_hz": data["db_hz"] * scale, "pf_kof": data["k"], "pf_kuf": data["k"]}
    return both | {"pf_enable": 1.0, "pf_olrt_s": float(data["tr_s"])}


def _one(name: str, above: bool, n: Nameplate) -> Procedure:
    values, tr_s, a = settings(name, n), float(table("frequency_droop")[name]["tr_s"]), required(n).f_hz
    before = 1.0 if above else HALF
    if not above:  # room to rise: power is limited, and droop goes above that limit (as in the table of priorities)
        values |= {"ap_limit_enable": 1.0, "ap_limit_pu": HALF}
    sign, edge = (1.0, n.f_band_hz[1]) if above else (-1.0, n.f_band_hz[0])
    f_n, db = n.f_nom_hz, values["pf_dbof_hz"]
    small = table("frequency_droop_small_step")["p_pu"] * f_n * values["pf_kof"]
    up = [
        ("deadband - a", f_n + sign * (db - a)),
        ("deadband + a", f_n + sign * (db + a)),
        ("deadband and a little", f_n + sign * (db + small)),
    ]
    steps = [*up, ("end of the range", edge - sign * a), *reversed(up), ("nominal", f_n)]
    expect = Expect("p", expected.droop(values, n, before), "f", tr_s)
    rows = [
        step_row(f"{k:02d} {what}, {f:.3f} Hz", CLAUSE, Step((expect,), settled_after(tr_s), f_hz=f))
        for k, (what, f) in enumerate(steps, start=1)
    ]
    return Procedure("frequency-droop", f"setting {name}, {'above' if above else 'below'}", values, tuple(rows))
