"""Tap changers and capacitor banks: resources without power that hold a step of the network.

Led by a setpoint they go towards its step, each step taking the time of the mechanism. Left to themselves they keep a voltage:
outside a band they wait, take a step, and a further one after a shorter time while it stays outside (as `vpp.grid.step_control`
does for a network alone). Where a step of the simulation is long, as many steps are taken as there is time for and as are
needed to come back into the band.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from typing import ClassVar, Final, Literal

import numpy as np
from numba import njit
from pydantic import Field

from twin.devices.entry import AtBuses, Columns, Entry, Places
from twin.devices.model import DeviceModel, Offer, StepInput
from vpp.fields import Flag, Pu, Ratio, Seconds, Where
from vpp.kernel.fleet import CONTROL_NONE, CONTROL_STEP
from vpp.kernel.setpoints import FOLLOW, Setpoints
from vpp.kernel.signals import FloatArray, IntArray

_SOC, _FOLLOW = Offer.soc.row, Offer.follow_q.row
_S_STEP, _S_MODE = Setpoints.step.row, Setpoints.mode.row

PARAMETERS: Final = ("step_min", "step_max", "low_pu", "high_pu", "up", "effect_pu", "delay_s", "next_s", "move_s", "local")
STEP_MIN, STEP_MAX, LOW, HIGH, UP, EFFECT, DELAY_S, NEXT_S, MOVE_S, LOCAL = range(len(PARAMETERS))
# Rows of the memory: position, time outside the band, whether a first step was taken since, time towards the next commanded one.
POS, WAITED_S, AGAIN, MOVING_S = range(4)


class StepEntry(Entry):
    """What everything that is switched in steps shares: its own voltage control, its mechanism, and being led."""

    by_itself: ClassVar[bool] = True

    vm_set_pu: Pu = Field(1.0, description="voltage that it keeps by itself [pu]")
    deadband_pu: Ratio = Field(gt=0, description="it is content within this much of vm_set_pu [pu]")
    delay_s: Seconds = Field(description="how long the voltage is outside before its first step [s]")
    next_s: Seconds = Field(10.0, description="and before each further one [s]")
    move_s: Seconds = Field(description="time that the mechanism takes for a step [s]")
    local: Flag = Field(True, description="false: no control of its own, it stays where it is")
    controllable: Flag = Field(True, description="false: runs by itself, controllers only see it")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """It has no power, and stands where the network has one."""
        for key in ("p_mw", "scale", "spread", "connection_mva"):
            if key in self.model_fields_set:
                yield (key,), f"a {self.kind} has no rating of power: leave {key} out"
        if not isinstance(self.at, AtBuses) and self.place != self.native:
            yield ("at",), f"a {self.kind} stands at {self.native}, or at {{buses: [...]}} whose voltage it moves"

    def objections(self, count: int, step_s: float, profiles: Container[str]) -> Iterator[tuple[Where, str]]:
        """There is one."""
        if count == 0 and isinstance(self.at, AtBuses):
            yield ("at", "buses"), f"none of these buses has a {self.kind}"

    def lay_out(self, places: Places) -> Columns:
        """No power; the step and the control's band."""
        columns, m, table, row = Columns.generating(np.zeros(places.m)), places.m, places.table, places.row
        columns.control = np.full(m, CONTROL_STEP if self.controllable else CONTROL_NONE)
        columns.own = {
            "step_device": table.device[row], "start": table.pos[row].astype(np.float64),
            "step_min": table.low[row].astype(np.float64), "step_max": table.high[row].astype(np.float64),
            "low_pu": np.full(m, self.vm_set_pu - self.deadband_pu), "high_pu": np.full(m, self.vm_set_pu + self.deadband_pu),
            "up": table.up[row].astype(np.float64), "effect_pu": table.effect_pu[row], "delay_s": np.full(m, self.delay_s),
            "next_s": np.full(m, self.next_s), "move_s": np.full(m, self.move_s), "local": np.full(m, float(self.local)),
        }  # fmt: skip
        return columns


class TapChangerEntry(StepEntry):
    """On-load tap changers of the network's transformers, with the automatic voltage regulator that each has."""

    native: ClassVar[str] = "taps"

    kind: Literal["tap_changer"]
    deadband_pu: Ratio = Field(0.0125, gt=0, description="it is content within this much of vm_set_pu [pu]")
    delay_s: Seconds = Field(30.0, description="how long the voltage is outside before its first step [s]")
    move_s: Seconds = Field(5.0, description="time that the mechanism takes for a step [s]")


class CapacitorEntry(StepEntry):
    """Capacitor banks and reactors of the network that switch in steps, with a voltage control of their own."""

    native: ClassVar[str] = "shunts"

    kind: Literal["capacitor"]
    deadband_pu: Ratio = Field(0.02, gt=0, description="it is content within this much of vm_set_pu [pu]")
    delay_s: Seconds = Field(60.0, description="how long the voltage is outside before its first step [s]")
    next_s: Seconds = Field(60.0, description="and before each further one [s]")
    move_s: Seconds = Field(1.0, description="time that the switch takes for a step [s]")


class Stepper(DeviceModel):
    """What switches in steps."""

    def __init__(self, at: IntArray, spec: object) -> None:
        """Begin where the network was compiled."""
        super().__init__(at, spec)  # type: ignore[arg-type]
        self.par = np.stack([self.own[name] for name in PARAMETERS]).astype(np.float64)
        self.memory["steps"] = np.zeros((4, len(at)))
        self.memory["steps"][POS] = self.own["start"]

    def offer(self, given: StepInput, out: FloatArray) -> None:
        """No power; go to where it is in this step."""
        out[:, self.at] = 0.0
        out[_SOC, self.at], out[_FOLLOW, self.at] = np.nan, 1.0
        vm = np.full(given.soc.size, np.nan) if given.vm_pu is None else given.vm_pu
        _go(self.at, self.par, given.applied, vm, given.dt_s, self.memory["steps"])

    def steps(self) -> FloatArray:
        """(m,) step that each holds."""
        return np.asarray(self.memory["steps"][POS])


class TapChanger(Stepper):
    """Tap changers."""

    kind: ClassVar[str] = "tap_changer"
    entry: ClassVar[type[Entry]] = TapChangerEntry


class Capacitor(Stepper):
    """Capacitor banks and reactors."""

    kind: ClassVar[str] = "capacitor"
    entry: ClassVar[type[Entry]] = CapacitorEntry


@njit(cache=True, nogil=True)
def _go(at: IntArray, par: FloatArray, applied: FloatArray, vm: FloatArray, dt_s: float, memory: FloatArray) -> None:
    """Move every device into this step. It holds where it is at the middle of the step."""
    for j in range(at.size):
        i, p = at[j], par[:, j]
        pos, low, high = memory[POS, j], p[STEP_MIN], p[STEP_MAX]
        if applied[_S_MODE, i] == FOLLOW:
            target = min(max(np.rint(applied[_S_STEP, i]), low), high)
            far = abs(target - pos)
            steps = far
            if p[MOVE_S] > 0.0:
                steps = min(far, max(math.floor((memory[MOVING_S, j] + dt_s / 2.0) / p[MOVE_S] + 1e-9), 0.0))
            memory[MOVING_S, j] = memory[MOVING_S, j] + dt_s - steps * p[MOVE_S] if steps < far else 0.0
            memory[POS, j] = pos + np.sign(target - pos) * steps
            memory[WAITED_S, j], memory[AGAIN, j] = 0.0, 0.0
            continue
        memory[MOVING_S, j] = 0.0
        beyond = max(p[LOW] - vm[i], vm[i] - p[HIGH], 0.0) if math.isfinite(vm[i]) else 0.0
        way = p[UP] if vm[i] < p[LOW] else -p[UP]
        room = high - pos if way > 0.0 else pos - low
        if beyond == 0.0 or room <= 0.0 or p[LOCAL] == 0.0:
            memory[WAITED_S, j], memory[AGAIN, j] = 0.0, 0.0
            continue
        most = min(math.ceil(beyond / p[EFFECT]) if p[EFFECT] > 0.0 else 1.0, room)
        waited, steps = memory[WAITED_S, j] + dt_s, 0.0
        need = max(p[NEXT_S], p[MOVE_S]) if memory[AGAIN, j] > 0.0 else p[DELAY_S]
        while steps < most and waited >= need:
            steps += 1.0
            waited -= need
            need = max(p[NEXT_S], p[MOVE_S])
        if steps > 0.0:
            memory[AGAIN, j] = 1.0
        memory[POS, j] = pos + way * steps
        memory[WAITED_S, j] = 0.0 if steps == most else waited
