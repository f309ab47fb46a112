"""A laboratory: the equipment with its sources, meter and clock, in per unit of its nameplate."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hil.bench.ports import Clock, DcSource, Eut, GridSource, Meter, Reading
from hil.bench.results import Basis, Trace
from hil.bench.uncertainty import Uncertainty, required

Sample = tuple[float, float, float, float, float]

STEPS = 20  # in which time passes that nobody measures


class Recorder(Protocol):
    """A clock and meter in one that can be told to go on by itself for some time."""

    def record(self, every_s: float, count: int) -> Sequence[tuple[float, Reading]]:
        """Let time pass in steps, with a reading at the end of each: time and reading."""
        ...


class WallClock:
    """Real time: waits until deadlines that do not drift with what is done in between."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._begin = time.monotonic()
        self._due = 0.0

    def now_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._begin

    def advance(self, dt_s: float) -> None:
        """Wait until ``dt_s`` after the last deadline, or after this moment where that is long past."""
        now = self.now_s()
        self._due = self._due + dt_s if now - self._due < dt_s else now + dt_s
        time.sleep(max(self._due - now, 0.0))


@dataclass
class Laboratory:
    """What a bench works with.

    Attributes:
        eut: the equipment under test.
        clock: time.
        grid, dc, meter: sources and instrument, None where there is none.
        recorder: clock and meter in one, where a single question can have many answers.
        fastest_s: the shortest interval at which measurements can be had.
        share: of the minimum required accuracy that is measured with; below 1 for a better laboratory.
        u: uncertainties that the criteria allow for.
        name: of the target, for the record.
        v_pu, f_hz, p_pu: what is applied at present.
    """

    eut: Eut
    clock: Clock
    grid: GridSource | None = None
    dc: DcSource | None = None
    meter: Meter | None = None
    recorder: Recorder | None = None
    fastest_s: float = 0.0
    share: float = 1.0
    name: str = ""
    v_pu: float = 1.0
    p_pu: float = 1.0
    f_hz: float = field(init=False)
    u: Uncertainty = field(init=False)

    def __post_init__(self) -> None:
        """Begin at nominal."""
        self.f_hz = self.eut.nameplate.f_nom_hz
        self.u = required(self.eut.nameplate, self.share)

    @property
    def basis(self) -> Basis:
        """Whose measurements there are."""
        return Basis.SELF_REPORTED if self.meter is None else Basis.INSTRUMENTED

    def apply(self, v_pu: float | None = None, f_hz: float | None = None, p_pu: float | None = None) -> None:
        """Change what the sources give; what is None stays."""
        if p_pu is not None and p_pu != self.p_pu and self.dc is not None:
            self.p_pu = p_pu
            self.dc.apply(p_pu * self.eut.nameplate.p_max_mw)
        self.v_pu, self.f_hz = self.v_pu if v_pu is None else v_pu, self.f_hz if f_hz is None else f_hz
        if self.grid is not None and not (v_pu is None and f_hz is None):
            self.grid.apply(self.v_pu, self.f_hz)

    def nominal(self) -> None:
        """Nominal voltage and frequency, all the power that there is."""
        self.apply(1.0, self.eut.nameplate.f_nom_hz, 1.0)

    def look(self) -> Sample:
        """Time, voltage, frequency, and power in per unit."""
        return self._sample(self.clock.now_s(), (self.eut if self.meter is None else self.meter).measure())

    def _sample(self, now_s: float, reading: Reading) -> Sample:
        n = self.eut.nameplate
        return now_s, reading.vm_pu, reading.f_hz, reading.p_mw / n.p_max_mw, reading.q_mvar / n.s_mva

    def watch(self, duration_s: float, every_s: float) -> Trace:
        """Let time pass and measure; the first sample is of this moment."""
        count = max(1, math.ceil(duration_s / max(every_s, self.fastest_s, 1e-6) - 1e-9))
        samples = [self.look()]
        if self.recorder is not None and self.meter is not None:
            samples += [self._sample(*one) for one in self.recorder.record(duration_s / count, count)]
            return Trace.of(samples)
        for _ in range(count):
            self.clock.advance(duration_s / count)
            samples.append(self.look())
        return Trace.of(samples)

    def settle(self, duration_s: float) -> None:
        """Let time pass without measuring, in steps that a model follows."""
        if self.recorder is not None:
            self.recorder.record(duration_s / STEPS, STEPS)
            return
        for _ in range(STEPS):
            self.clock.advance(duration_s / STEPS)
