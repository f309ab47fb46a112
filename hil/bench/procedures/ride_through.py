"""Ride-through: IEEE 1547-2018, 6.4.2 and 6.5.2; sequences of residual voltage, and of frequency; a phase change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hil.bench.laboratory import Laboratory
from hil.bench.ports import Nameplate
from hil.bench.procedure import Procedure, Row
from hil.bench.procedures.trip import DEAD
from hil.bench.results import Check, Finding, Trace
from hil.bench.tables import table

VOLTAGE = "voltage ride-through: IEEE 1547-2018, 6.4.2"
FREQUENCY = "frequency ride-through: IEEE 1547-2018, 6.5.2"
PHASE = "phase-angle change ride-through: IEEE 1547-2018, 6.5.2.6"
CEASES_S = 0.1  # IEEE 1547-2018, Table 16: momentary cessation within 0.083 s
CALM_S = 10.0


@dataclass(frozen=True, slots=True)
class Phase:
    """A piece of constant voltage and frequency, and what the equipment must do at its end."""

    name: str
    v_pu: float
    f_hz: float
    duration_s: float
    keeps: bool
    ceases: bool


@dataclass(frozen=True, slots=True)
class Sequence:
    """Phases one after the other; then nominal again, where all of the power must return."""

    phases: tuple[Phase, ...]

    def enter(self, lab: Laboratory) -> None:
        """Nothing remains of this row."""

    def run(self, lab: Laboratory) -> Finding:
        """Apply the phases and judge each at its end."""
        before, u = lab.look()[3], lab.u.p_pu
        parts, checks = [], []
        for phase in self.phases:
            lab.apply(phase.v_pu, phase.f_hz)
            trace = lab.watch(phase.duration_s, min(max(phase.duration_s / 100.0, 0.004), 0.25))
            parts.append(trace)
            end, p = float(trace.t_s[-1]), float(trace.p_pu[-1])
            if phase.keeps:
                least = before * min(1.0, phase.v_pu) - u
                checks.append(Check(f"{phase.name}: active power kept", p, least, 2.0, "pu of rated", "p", end))
            if phase.ceases and phase.duration_s > CEASES_S:
                checks.append(Check(f"{phase.name}: active power ceased", p, -DEAD, DEAD, "pu of rated", "p", end))
        lab.nominal()
        back = lab.watch(CALM_S, 0.02)
        end = float(back.t_s[-1])
        checks.append(Check("active power after it all", float(back.p_pu[-1]), before - u, 2.0, "pu of rated", "p", end))
        return Finding(tuple(checks), Trace.joined([*parts, back]))


@dataclass(frozen=True, slots=True)
class Jump:
    """A jump of the phase angle: the equipment stays in service."""

    angle_degree: float

    def enter(self, lab: Laboratory) -> None:
        """Nothing remains of this row."""

    def run(self, lab: Laboratory) -> Finding:
        """Apply it where the source has a phase."""
        if lab.grid is None or not lab.grid.has_phase:
            return Finding(reason="the source has no phase angle (models are of phasors' magnitudes)")
        before, u = lab.look()[3], lab.u.p_pu
        lab.grid.apply(lab.v_pu, lab.f_hz, self.angle_degree)
        trace = lab.watch(CALM_S, 0.02)
        check = Check(
            "active power after the jump", float(trace.p_pu[-1]), before - u, 2.0, "pu of rated", "p", float(trace.t_s[-1])
        )
        return Finding((check,), trace)


def procedures(n: Nameplate, held: Mapping[str, float]) -> list[Procedure]:
    """The sequences of the equipment's category; the other category's are not run."""
    found = [_voltage(name, data, n, held) for name, data in table("voltage_ride_through").items()]
    scale = n.f_nom_hz / 60.0
    rows = []
    for side in ("low", "high"):
        data = table("frequency_ride_through")[side]
        phase = Phase("hold", 1.0, data["f_hz"] * scale, data["t_s"], keeps=True, ceases=False)
        rows.append(Row(f"{side}, {phase.f_hz:.2f} Hz for {phase.duration_s:g} s", FREQUENCY, Sequence((phase,))))
    frequency = Procedure("ride-through", "frequency", _settings(held, 0), tuple(rows), chained=False)
    angle = table("phase_change")["angle_degree"]
    jump = Row(f"{angle:g}°", PHASE, Jump(angle))
    return [*found, frequency, Procedure("ride-through", "phase-angle change", _settings(held, 0), (jump,), chained=False)]


def _settings(held: Mapping[str, float], category: int) -> dict[str, float]:
    """Voltage trips as wide as the category allows; all else that makes it cease, and stay away, as the equipment came."""
    kept = {name: held[name] for name in held if "_trip_" in name or name.startswith(("mc_", "es_"))}
    widest = table("widest_trips").get(str(category), {})
    return {**kept, **{name: float(v) for name, v in widest.items()}, "trip_enable": 1.0, "es_enable": 1.0}


def _voltage(name: str, data: Mapping[str, object], n: Nameplate, held: Mapping[str, float]) -> Procedure:
    category, mine = int(str(data["category"])), int(held.get("rt_category", n.category))
    rows: list[tuple[str, float, int, float]] = data["rows"]  # type: ignore[assignment]
    accuracy = table("accuracy")["steady"]["v_pu"]
    pieces = [(what, v + times * accuracy, duration_s) for what, v, times, duration_s in rows]
    primed = {what for what, _, _ in pieces if what.endswith("'")}
    plain = [piece for piece in pieces if piece[0] not in primed]
    other = [piece for piece in pieces if f"{piece[0]}'" not in primed]
    made = [Row(f"{name}, {_path(plain)}", VOLTAGE, _sequence(plain, category, n))]
    if primed:
        made.append(Row(f"{name}, {_path(other)}", VOLTAGE, _sequence(other, category, n)))
    skip = "" if mine == category else f"the equipment is of category {'I' * mine or 'none'}"
    return Procedure("ride-through", f"voltage {name}", _settings(held, category), tuple(made), chained=False, skip=skip)


def _path(pieces: list[tuple[str, float, float]]) -> str:
    return " ".join(what for what, _, _ in pieces)


def _sequence(pieces: list[tuple[str, float, float]], category: int, n: Nameplate) -> Sequence:
    regions = table("regions")[str(category)]
    (keeps_low, keeps_high), (ceases_low, ceases_high) = regions["keeps"], regions["ceases"]
    phases = []
    for what, v, duration_s in pieces:
        keeps, ceases = keeps_low <= v <= keeps_high, v < ceases_low or v > ceases_high
        phases.append(Phase(f"{what} {v:.3f} pu", v, n.f_nom_hz, duration_s, keeps, ceases))
    return Sequence(tuple(phases))
