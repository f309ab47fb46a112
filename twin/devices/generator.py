"""What generators with an engine or a turbine share: how they start and ramp, and what reactive power they feed in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from numba import njit
from pydantic import Field

from twin.devices.entry import STORAGE_TABLE, Columns, InverterEntry, Places
from twin.devices.machine import RESTED_S, by_device
from twin.devices.model import DeviceModel, Offer
from twin.spec import FleetSpec
from vpp.fields import Fraction, Ratio, Seconds, Where
from vpp.kernel.fleet import CONTROL_FOLLOW
from vpp.kernel.setpoints import FOLLOW, Setpoints
from vpp.kernel.signals import FloatArray, IntArray

_P, _Q, _FOLLOW = Offer.p_mw.row, Offer.q_mvar.row, Offer.follow_q.row
_S_Q, _S_Q_MODE = Setpoints.q_mvar.row, Setpoints.q_mode.row
# The rows with which every generator's memory begins: power at the end of the last step, start time that is left, time
# of run or rest.
NOW, WAIT_S, HELD_S = range(3)


class GeneratorEntry(InverterEntry):
    """A synchronous machine or a turbine behind an inverter: inside its nameplate it gives reactive power while it runs."""

    controls: ClassVar[int] = CONTROL_FOLLOW

    min_load: Fraction = Field(0.0, description="minimum load, of p_mw [1]")
    start_s: Seconds = Field(30.0, description="from the order to the first power [s]")
    ramp_per_s: Ratio = Field(0.05, description="fastest change of power that it makes, of p_mw a second [1/s]")
    min_up_s: Seconds = Field(600.0, description="shortest run [s]")
    min_down_s: Seconds = Field(300.0, description="shortest rest [s]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Minimum load below the rating, and a power that can change."""
        yield from super().contradictions()
        if self.min_load >= 1:
            yield ("min_load",), "min_load is not below the rating (1): it could never be modulated"
        if self.ramp_per_s == 0:
            yield ("ramp_per_s",), "ramp_per_s must be more than 0"

    def lay_out(self, places: Places) -> Columns:
        """Generation between minimum load and rating, or none."""
        columns, m = super().lay_out(places), places.m
        least = self.min_load * columns.p_max_mw
        columns.capability = np.full(m, STORAGE_TABLE)
        columns.p_gap_mw, columns.p_safe_mw = least, np.zeros(m)
        plain = {"start_s": self.start_s, "up_s": self.min_up_s, "down_s": self.min_down_s}
        columns.own = {name: np.full(m, value) for name, value in plain.items()}
        columns.own |= {"least": least, "most": columns.p_max_mw, "ramp": self.ramp_per_s * columns.p_max_mw}
        return columns


class Generator(DeviceModel):
    """Engines and turbines: a machine's parameters and its memory each side by side; all begin at rest.

    ``parameters`` names the rows of ``par``, ``rows`` is the number of rows of the memory.
    """

    parameters: ClassVar[Sequence[str]]
    rows: ClassVar[int]

    def __init__(self, at: IntArray, spec: FleetSpec) -> None:
        """Begin at rest; what has no start time needs no start."""
        super().__init__(at, spec)
        self.par = by_device([self.own[name] for name in self.parameters])
        state = np.zeros((self.rows, at.size), order="F")
        state[WAIT_S], state[HELD_S] = self.own["start_s"], RESTED_S
        self.memory = {"state": state}


@njit(cache=True, nogil=True)
def reactive(at: IntArray, applied: FloatArray, out: FloatArray) -> None:
    """Reactive power while it runs: as commanded, else by its voltage regulator's functions, which act in `inverter`."""
    for j in range(at.size):
        i = at[j]
        runs = out[_P, i] > 0.0
        out[_Q, i] = applied[_S_Q, i] if runs else 0.0
        out[_FOLLOW, i] = 0.0 if runs and applied[_S_Q_MODE, i] != FOLLOW else 1.0
