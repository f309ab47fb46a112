"""A mixed plant: a few devices are real or emulated, the rest is simulated, and all stand on one solved grid.

The power that a device measures enters the twin's network at its bus, a tick after it was measured. What voltage the
device has is another matter, and every device says which:

- ``open``: it hangs on the mains. Its voltage and frequency are not the twin's; the controllers are given the twin's, marked
  as substituted, because it is the twin's grid that they have to keep.
- ``driven``: a source holds it at the twin's voltage and frequency (`Follower`); what it measures is what the twin says. While
  its source does not follow, it counts as open.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np

from vpp.kernel import quality as q
from vpp.kernel.fleet import Fleet
from vpp.kernel.ports import Plant
from vpp.kernel.seen import Event, Observation
from vpp.kernel.setpoints import Asked, Setpoints
from vpp.kernel.signals import BoolArray, FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry

_T: Final = {s.name: s.row for s in Telemetry.signals}
_POWERS: Final = np.array([_T[name] for name in ("p_mw", "q_mvar", "p_avail_min_mw", "p_avail_max_mw", "e_need_mwh")])
_GRID: Final = np.array([_T["vm_pu"], _T["f_hz"]])
_S_POWERS: Final = np.array([Setpoints.p_mw.row, Setpoints.p_limit_mw.row, Setpoints.q_mvar.row])


class Rest(Protocol):
    """The simulated rest: a twin of the whole fleet in which some resources are given from outside."""

    @property
    def fleet(self) -> Fleet:
        """All resources, the real ones among them."""
        ...

    def advance(self, now_ns: int, at: IntArray, p_mw: FloatArray, q_mvar: FloatArray) -> Any:
        """Simulate up to the step at ``now_ns``; the resources ``at`` deliver exactly this, whatever their models would do."""
        ...

    def read(self, now_ns: int) -> Observation:
        """What is measured in that step."""
        ...

    def terminals(self, at: IntArray) -> tuple[FloatArray, FloatArray]:
        """True voltage [pu] and frequency [Hz] at resources in that step, NaN where there is none."""
        ...

    def write(self, now_ns: int, asked: Asked) -> None:
        """What is asked of everybody, for the next step."""
        ...


class Follower(Protocol):
    """A source that holds devices at a voltage and a frequency."""

    @property
    def holds(self) -> BoolArray:
        """Which of the driven devices are held as they were told last."""
        ...

    def follow(self, vm_pu: FloatArray, f_hz: FloatArray) -> None:
        """The terminals' voltage and frequency from now on, one a driven device. Never blocks: the latest wins."""
        ...


@dataclass(frozen=True, slots=True)
class Standing:
    """How the real devices stand in the grid.

    Attributes:
        at: (k,) their columns.
        driven: (k,) True: a source holds them at the twin's voltage.
        scale: (k,) what one watt of the device counts in the grid: a 10 kW inverter may stand for 1 MW.
        hold_s: how long the last good power stands for a device that is silent; 0 after that.
    """

    at: IntArray
    driven: BoolArray
    scale: FloatArray
    hold_s: float = 10.0


@dataclass
class MixedPlant:
    """The `Plant` port over devices in the field and a simulated rest.

    Attributes:
        rest: the twin.
        outside: the plant of the real devices; it knows the whole fleet and hears only these.
        standing: how they stand in the grid.
        follower: holds the driven ones; None where none is.
        events: silent devices.
    """

    rest: Rest
    outside: Plant
    standing: Standing
    follower: Follower | None = None
    events: list[Event] = field(default_factory=list)
    power: FloatArray = field(init=False)
    _good_ns: IntArray = field(init=False)
    _silent: BoolArray = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is delivered until a device has said so."""
        k = len(self.standing.at)
        if self.standing.driven.any() and self.follower is None:
            raise ValueError("driven devices need a source that follows the twin")
        self.power = np.zeros((2, k))
        self._good_ns = np.full(k, np.iinfo(np.int64).min // 2)
        self._silent = np.zeros(k, np.bool_)

    @property
    def fleet(self) -> Fleet:
        """All resources."""
        return self.rest.fleet

    def read(self, now_ns: int) -> Observation:
        """Simulate one step with what the devices measured, and give the image of both."""
        s, told = self.standing, self.outside.read(now_ns)
        self._measure(now_ns, told.telemetry)
        self.rest.advance(now_ns, s.at, *self.power)
        seen = self.rest.read(now_ns)
        telemetry, applied = seen.telemetry.copy(), seen.applied.copy()
        # A broadcast quality cannot be written into.
        telemetry.quality, telemetry.time_ns = telemetry.quality.copy(), telemetry.time_ns.copy()
        self._overlay(telemetry, told.telemetry)
        applied.block[:, s.at] = told.applied.block[:, s.at]
        applied.block[np.ix_(_S_POWERS, s.at)] *= s.scale
        if self.follower is not None:
            self.follower.follow(*self.rest.terminals(s.at[s.driven]))
        return Observation(telemetry, seen.points, applied)

    def write(self, now_ns: int, asked: Asked) -> None:
        """Hand over to both; the devices are asked in their own size."""
        s = self.standing
        own = Setpoints(asked.setpoints.block.copy())
        own.block[np.ix_(_S_POWERS, s.at)] /= s.scale
        self.outside.write(now_ns, Asked(asked.time_ns, own, asked.cause_p, asked.cause_q))
        self.rest.write(now_ns, asked)

    def _measure(self, now_ns: int, told: Telemetry) -> None:
        """What the devices deliver, in the grid's size: the last good value for a while, then nothing."""
        s = self.standing
        p, r = told.p_mw[s.at], told.q_mvar[s.at]
        bad = q.INVALID | q.BLOCKED | q.COMM_LOST | q.STALE
        good = np.isfinite(p) & ((told.quality[_T["p_mw"], s.at] & bad) == 0)
        self.power[0, good] = (p * s.scale)[good]
        known = good & np.isfinite(r)
        self.power[1, known] = (r * s.scale)[known]
        self.power[1, good & ~known] = 0.0  # a device that does not measure it is counted without
        self._good_ns[good] = now_ns
        silent = now_ns - self._good_ns > round(s.hold_s * 1e9)
        self.power[:, silent] = 0.0
        for i in np.flatnonzero(silent & ~self._silent):
            name = self.fleet.id[s.at[i]]
            text = f"{name} is silent; the grid counts it as nothing until it is heard"
            self.events.append(Event(now_ns, "plant", "silent", text, name))
        self._silent = silent

    def _overlay(self, telemetry: Telemetry, told: Telemetry) -> None:
        """Put the devices' own measurements over what their models said."""
        s = self.standing
        rows = np.array([row for row in range(len(Telemetry.signals)) if row not in _GRID])
        cells = np.ix_(rows, s.at)
        telemetry.block[cells], telemetry.quality[cells] = told.block[cells], told.quality[cells]
        telemetry.time_ns[cells] = told.time_ns[cells]
        telemetry.block[np.ix_(_POWERS, s.at)] *= s.scale
        held = s.driven.copy()
        if self.follower is not None:
            held[s.driven] = self.follower.holds
        driven = np.ix_(_GRID, s.at[held])
        telemetry.block[driven], telemetry.quality[driven] = told.block[driven], told.quality[driven]
        telemetry.time_ns[driven] = told.time_ns[driven]
        telemetry.quality[np.ix_(_GRID, s.at[~held])] |= np.uint8(q.SUBSTITUTED)

    def take_events(self) -> Sequence[Event]:
        """What happened since the last call."""
        out, self.events[:] = tuple(self.events), []
        return out
