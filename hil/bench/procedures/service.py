"""Enter service: IEEE 1547-2018, 4.10; not outside the window, after the delay inside it, and along the ramp."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hil.bench.laboratory import Laboratory
from hil.bench.ports import Nameplate
from hil.bench.procedure import Procedure, Row
from hil.bench.procedures.trip import DEAD
from hil.bench.results import Check, Envelope, Finding

CLAUSE = "enter service: IEEE 1547-2018, 4.10"
RAMP = "enter service, ramp: IEEE 1547-2018, 4.10.3"
QUITS_S = 5.0
SAMPLES = 400
NAMES = ("es_v_low_pu", "es_v_high_pu", "es_f_low_hz", "es_f_high_hz", "es_delay_s", "es_ramp_s")


def _out(lab: Laboratory) -> None:
    """Out of service, because service is not permitted."""
    lab.eut.connect(False)
    lab.settle(QUITS_S)


@dataclass(frozen=True, slots=True)
class Outside:
    """Service is permitted, and one quantity lies just outside the window: the equipment stays out."""

    name: str

    def enter(self, lab: Laboratory) -> None:
        """Nothing remains of this row."""

    def run(self, lab: Laboratory) -> Finding:
        """Apply, permit, wait longer than the delay."""
        held = lab.eut.read(NAMES)
        _out(lab)
        sign = 1.0 if "high" in self.name else -1.0
        if self.name.startswith("es_v"):
            lab.apply(v_pu=held[self.name] + sign * lab.u.v_pu)
        else:
            lab.apply(f_hz=held[self.name] + sign * lab.u.f_hz)
        lab.eut.connect(True)
        duration_s = 1.2 * held["es_delay_s"] + 10.0
        trace = lab.watch(duration_s, duration_s / SAMPLES)
        lab.nominal()
        most = float(trace.p_pu.max())
        what = f"most active power in {duration_s:.4g} s just outside {self.name}"
        return Finding((Check(what, most, -DEAD, DEAD, "pu of rated", "p", float(trace.t_s[-1])),), trace)


@dataclass(frozen=True, slots=True)
class Enters:
    """Service is permitted inside the window: power comes after the delay, not before."""

    def enter(self, lab: Laboratory) -> None:
        """Nothing remains of this row."""

    def run(self, lab: Laboratory) -> Finding:
        """Permit, and find when power comes."""
        held = lab.eut.read(NAMES)
        _out(lab)
        delay_s, ramp_s = held["es_delay_s"], held["es_ramp_s"]
        lab.eut.connect(True)
        duration_s = 1.1 * delay_s + 0.3 * ramp_s + 5.0
        trace = lab.watch(duration_s, duration_s / SAMPLES)
        there = (trace.p_pu > DEAD).nonzero()[0]
        found = float(trace.t_s[there[0]] - trace.t_s[0]) if there.size else float("inf")
        u = lab.u.of_time(delay_s) + duration_s / SAMPLES
        rises_s = DEAD * ramp_s * (1.0 + lab.u.t)  # the ramp passes what counts as power only then
        return Finding((Check("delay", found, delay_s - u, delay_s + rises_s + u, "s"),), trace)


@dataclass(frozen=True, slots=True)
class Ramps:
    """From entering service on power follows the ramp."""

    def enter(self, lab: Laboratory) -> None:
        """Nothing remains of this row."""

    def run(self, lab: Laboratory) -> Finding:
        """Permit, wait for the beginning, and judge at quarters."""
        held = lab.eut.read(NAMES)
        _out(lab)
        delay_s, ramp_s = held["es_delay_s"], held["es_ramp_s"]
        if ramp_s <= 0.0:
            return Finding(reason="the equipment enters service at once: es_ramp_s is 0")
        lab.eut.connect(True)
        duration_s = delay_s + 1.2 * ramp_s + 5.0
        trace = lab.watch(duration_s, ramp_s / SAMPLES)
        there = (trace.p_pu > DEAD).nonzero()[0]
        if not there.size:
            return Finding((Check("active power, most", float(trace.p_pu.max()), DEAD, 1.0, "pu of rated"),), trace)
        begin = float(trace.t_s[there[0]]) - DEAD * ramp_s
        checks = []
        for part in (0.25, 0.5, 0.75, 1.0):
            at, margin = begin + part * ramp_s, lab.u.p_pu + part * lab.u.t
            value = trace.at("p", at)
            checks.append(
                Check(f"active power at {part:.0%} of the ramp", value, part - margin, part + margin, "pu of rated", "p", at)
            )
        return Finding(tuple(checks), trace, (Envelope("p", begin, begin + ramp_s, 0.0, 0.0, 1.0, lab.u.p_pu, -1.0),))


def procedures(n: Nameplate, held: Mapping[str, float]) -> list[Procedure]:
    """The window's four sides, the delay and the ramp, as the equipment came."""
    values = {"es_enable": 1.0, "es_randomized_delay_s": 0.0, **{name: held[name] for name in NAMES if name in held}}
    skip = "" if held.get("es_enable", 0.0) > 0.0 or held.get("es_delay_s", 0.0) > 0.0 else "no criteria to enter service are set"
    words = {"low": "below", "high": "above"}
    rows = [
        Row(f"not {words[name.split('_')[2]]} {name}", CLAUSE, Outside(name), skip=_reach(name, held, n)) for name in NAMES[:4]
    ]
    rows.append(Row("after the delay", CLAUSE, Enters(), needs=frozenset(), response_s=held.get("es_delay_s", 0.0)))
    rows.append(Row("along the ramp", RAMP, Ramps(), needs=frozenset(), response_s=held.get("es_ramp_s", 0.0)))
    ready_s = 1.5 * (held.get("es_delay_s", 0.0) + held.get("es_ramp_s", 0.0)) + 30.0
    return [Procedure("enter-service", "window, delay, ramp", values, tuple(rows), chained=False, ready_s=ready_s, skip=skip)]


def _reach(name: str, held: Mapping[str, float], n: Nameplate) -> str:
    """Why a side of the window cannot be tried: it lies at the edge of what the equipment knows."""
    value = held.get(name, 0.0)
    return "" if 0.0 < value < 2.0 * n.f_nom_hz else f"{name} is not set"
