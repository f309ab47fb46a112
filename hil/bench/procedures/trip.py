"""Voltage and frequency trips: IEEE 1547-2018, 6.4.1 and 6.5.1; what must not trip, and how long what must takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hil.bench.laboratory import Laboratory
from hil.bench.ports import Nameplate
from hil.bench.procedure import Procedure, Row
from hil.bench.results import Check, Finding, Trace

VOLTAGE = "voltage trip: IEEE 1547-2018, 6.4.1"
FREQUENCY = "frequency trip: IEEE 1547-2018, 6.5.1"
ALIVE, DEAD = 0.5, 0.05  # of rated: more is in service, less has ceased
SAMPLES, CYCLE_S = 400, 1.0 / 60.0


@dataclass(frozen=True, slots=True)
class Trip:
    """One trip function.

    Attributes:
        kind: "ov1" and so on.
        v: of voltage; else of frequency.
        sign: +1 trips above, -1 below.
    """

    kind: str
    v: bool
    sign: float

    @property
    def value(self) -> str:
        """Name of its threshold."""
        return f"{self.kind}_trip_{'v_pu' if self.v else 'f_hz'}"

    @property
    def time(self) -> str:
        """Name of its clearing time."""
        return f"{self.kind}_trip_t_s"

    def apply(self, lab: Laboratory, threshold: float, beyond: float) -> None:
        """Voltage or frequency by so many uncertainties beyond the threshold."""
        u = lab.u.v_pu if self.v else lab.u.f_hz
        at = threshold + self.sign * beyond * u
        lab.apply(v_pu=at) if self.v else lab.apply(f_hz=at)


TRIPS = tuple(
    Trip(f"{side}{what}{k}", what == "v", 1.0 if side == "o" else -1.0) for what in "vf" for side in "ou" for k in (1, 2)
)


@dataclass(frozen=True, slots=True)
class Holds:
    """Just inside the threshold for longer than the clearing time: the equipment stays in service."""

    trip: Trip

    def enter(self, lab: Laboratory) -> None:
        """Nothing remains of this row."""

    def run(self, lab: Laboratory) -> Finding:
        """Apply, wait, look whether it still delivers."""
        held = lab.eut.read([self.trip.value, self.trip.time])
        duration_s = 1.5 * held[self.trip.time] + 0.5
        self.trip.apply(lab, held[self.trip.value], -1.0)
        trace = lab.watch(duration_s, duration_s / SAMPLES)
        lab.nominal()
        least = float(trace.p_pu.min())
        what = f"least active power in {duration_s:.4g} s just inside {self.trip.value}"
        return Finding((Check(what, least, ALIVE, 2.0, "pu of rated", "p", float(trace.t_s[-1])),), trace)


@dataclass(frozen=True, slots=True)
class Trips:
    """Just beyond the threshold: the equipment ceases at its clearing time."""

    trip: Trip

    def enter(self, lab: Laboratory) -> None:
        """Nothing remains of this row."""

    def run(self, lab: Laboratory) -> Finding:
        """Apply, and find when power ceases."""
        held = lab.eut.read([self.trip.value, self.trip.time])
        time_s = held[self.trip.time]
        every_s = max(time_s / SAMPLES, CYCLE_S / 2.0, lab.fastest_s)
        self.trip.apply(lab, held[self.trip.value], 1.0)
        trace = lab.watch(1.3 * time_s + 0.5, every_s)
        lab.nominal()
        found = ceased_after(trace)
        u = lab.u.of_time(time_s) + every_s
        return Finding((Check(f"clearing time of {self.trip.kind.upper()}", found, time_s - u, time_s + u, "s"),), trace)


def ceased_after(trace: Trace) -> float:
    """Seconds from the beginning of a trace to when power is gone for good; inf where it is not."""
    alive = (trace.p_pu > DEAD) | (trace.q_pu > DEAD) | (trace.q_pu < -DEAD)
    if alive[-1]:
        return float("inf")
    last = int(alive.nonzero()[0][-1]) if alive.any() else 0
    return float(trace.t_s[min(last + 1, trace.t_s.size - 1)] - trace.t_s[0])


def procedures(n: Nameplate, held: Mapping[str, float]) -> list[Procedure]:
    """For voltage and frequency: each trip held and tripped, at the settings that the equipment came with."""
    return [_of(True, held), _of(False, held)]


def _of(v: bool, held: Mapping[str, float]) -> Procedure:
    values = {"trip_enable": 1.0, "es_enable": 1.0, "es_delay_s": 0.0, "es_ramp_s": 0.0, "mc_enable": 0.0}
    rows, clause = list[Row](), VOLTAGE if v else FREQUENCY
    for trip in (t for t in TRIPS if t.v == v):
        values |= {name: held[name] for name in (trip.value, trip.time) if name in held}
        response_s, skip = held.get(trip.time, 0.0), _skip(trip, held)
        rows.append(Row(f"{trip.kind.upper()} does not trip inside", clause, Holds(trip), response_s=response_s, skip=skip))
        rows.append(Row(f"{trip.kind.upper()} trips in time", clause, Trips(trip), response_s=response_s, skip=skip))
    return Procedure("trip", "voltage" if v else "frequency", values, tuple(rows), chained=False, ready_s=30.0)


def _skip(trip: Trip, held: Mapping[str, float]) -> str:
    return "" if held.get(trip.value, 0.0) > 0.0 else f"the equipment has no {trip.value}"
