"""Interoperability: IEEE 1547-2018, clause 10; nameplate, write and read-back of every setting, monitoring."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

from hil.bench.laboratory import Laboratory
from hil.bench.ports import Limits, Nameplate, Refused
from hil.bench.procedure import Procedure, Row
from hil.bench.ranges import another
from hil.bench.results import Check, Finding

SETTINGS = "settings by the interface: IEEE 1547-2018, 10.6"
NAMEPLATE = "nameplate by the interface: IEEE 1547-2018, 10.3"
MONITORING = "monitoring by the interface: IEEE 1547-2018, 10.5"
EXACT = 1e-6  # relative: float32 on the wire


@dataclass(frozen=True, slots=True)
class WriteRead:
    """Another value is written, read back, and the old one written again."""

    name: str
    limits: Limits

    def enter(self, lab: Laboratory) -> None:
        """Nothing remains of this row."""

    def run(self, lab: Laboratory) -> Finding:
        """Write and read back, twice."""
        held = lab.eut.read(lab.eut.limits())
        old = held[self.name]
        new = another(self.name, old, self.limits, held)
        if new == old:
            return Finding(reason=f"{self.name} can be set to {old:g} only")
        checks = []
        for what, value in (("written", new), ("written back", old)):
            try:
                lab.eut.write({self.name: value})
            except Refused as refusal:
                if what == "written":
                    return Finding(reason=f"refused: {refusal}")
                raise
            margin = self.limits.step / 2.0 + EXACT * max(abs(value), 1.0)
            got = lab.eut.read([self.name])[self.name]
            checks.append(Check(f"{self.name}, {what}", got, value - margin, value + margin, ""))
        return Finding(tuple(checks), instrumented=False)


@dataclass(frozen=True, slots=True)
class Plate:
    """What the nameplate says makes sense."""

    def enter(self, lab: Laboratory) -> None:
        """Nothing remains of this row."""

    def run(self, lab: Laboratory) -> Finding:
        """Look at every number."""
        n = lab.eut.nameplate
        finite = sum(math.isfinite(float(getattr(n, f.name))) for f in fields(n))
        checks = [
            Check("numbers of the nameplate that are known", finite, len(fields(n)), len(fields(n)), ""),
            Check("rated active power", n.p_max_mw, 1e-9, n.s_mva, "MW"),
            Check("most injection of reactive power", n.q_inj_mvar, 1e-9, n.s_mva, "Mvar"),
            Check("most absorption of reactive power", n.q_abs_mvar, 1e-9, n.s_mva, "Mvar"),
        ]
        return Finding(tuple(checks), instrumented=False)


@dataclass(frozen=True, slots=True)
class Monitors:
    """The equipment's measurements against the meter's, within the uncertainty of the bench."""

    p_pu: float

    def enter(self, lab: Laboratory) -> None:
        """Nothing remains of this row."""

    def run(self, lab: Laboratory) -> Finding:
        """Apply a power, wait, compare."""
        if lab.meter is None:
            return Finding(reason="no meter to compare with")
        lab.apply(p_pu=self.p_pu)
        trace = lab.watch(20.0, 1.0)
        own, n = lab.eut.measure(), lab.eut.nameplate
        _, v, f, p, q = lab.look()
        at = float(trace.t_s[-1])
        found = (
            ("active power", own.p_mw / n.p_max_mw, p, lab.u.p_pu, "pu of rated", "p"),
            ("reactive power", own.q_mvar / n.s_mva, q, lab.u.q_pu, "pu of VA", "q"),
            ("voltage", own.vm_pu, v, lab.u.v_pu, "pu", ""),
            ("frequency", own.f_hz, f, lab.u.f_hz, "Hz", ""),
        )
        checks = [Check(f"{what}, as it says", says, is_ - u, is_ + u, unit, y, at) for what, says, is_, u, unit, y in found]
        return Finding(tuple(checks), trace)


def procedures(n: Nameplate, limits: Mapping[str, Limits]) -> list[Procedure]:
    """Nameplate, every setting, monitoring at three powers."""
    plate = Row("makes sense", NAMEPLATE, Plate(), needs=frozenset())
    rows = [Row(name, SETTINGS, WriteRead(name, limits[name]), needs=frozenset()) for name in limits]
    watches = [Row(f"at {p:.0%}", MONITORING, Monitors(p), needs=frozenset({"dc"})) for p in (1.0, 0.66, 0.2)]
    return [
        Procedure("interoperability", "nameplate", {}, (plate,), chained=False, ready_s=0.0),
        Procedure("interoperability", "settings", {}, tuple(rows), chained=False, ready_s=0.0),
        Procedure("interoperability", "monitoring", {}, tuple(watches), chained=False, ready_s=20.0),
    ]
