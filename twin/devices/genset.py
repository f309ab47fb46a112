"""Gensets: an engine that starts, ramps, keeps a minimum load and minimum times, and stops when its tank is empty.

Nobody leading it, it stands still. Fuel is a straight line over power from no-load consumption to that at rating, as
makers' sheets give it at four loads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final, Literal

import numpy as np
from numba import njit
from pydantic import Field

from twin.devices.entry import Columns, Entry, Places
from twin.devices.generator import Generator, GeneratorEntry, reactive
from twin.devices.machine import allowed, choose, held_after, ramped
from twin.devices.model import Offer, StepInput
from vpp.fields import Fraction, MwhRating, Soc, Where
from vpp.kernel.fleet import CONTROL_FOLLOW
from vpp.kernel.setpoints import FOLLOW, Setpoints
from vpp.kernel.signals import FloatArray, IntArray

_P, _MIN, _MAX, _SOC = Offer.p_mw.row, Offer.p_avail_min_mw.row, Offer.p_avail_max_mw.row, Offer.soc.row
_S_P, _S_MODE, _S_CONNECT = Setpoints.p_mw.row, Setpoints.mode.row, Setpoints.connect.row

PARAMETERS: Final = ("least", "most", "ramp", "start_s", "up_s", "down_s", "idle", "slope")
LEAST, MOST, RAMP, START_S, UP_S, DOWN_S, IDLE, SLOPE = range(len(PARAMETERS))
# Rows of the memory: power at the end of the last step, start time that is left, time of run or rest, fuel burnt [MWh]; of
# the step being offered: mean power, power at its end, start time left then.
NOW, WAIT_S, HELD_S, FUEL, P_OFFERED, END, LEFT_S = range(7)
ROWS: Final = 7


class GensetEntry(GeneratorEntry):
    """Diesel or gas gensets."""

    controls: ClassVar[int] = CONTROL_FOLLOW

    kind: Literal["genset"]
    min_load: Fraction = Field(0.3, description="minimum load, of p_mw [1]")
    efficiency: Fraction = Field(0.40, description="electrical efficiency at rating, of the fuel's lower heating value [1]")
    idle_fuel: Fraction = Field(0.08, description="no-load fuel consumption, of that at rating [1]")
    tank_mwh: MwhRating | None = Field(None, description="fuel in a full tank [MWh]; default: never empty")
    soc: Soc = Field(1.0, description="how full the tank is at the start, 0…1")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """An engine needs fuel."""
        yield from super().contradictions()
        if self.efficiency == 0:
            yield ("efficiency",), "efficiency must be more than 0"
        if self.idle_fuel >= 0.5:
            yield ("idle_fuel",), "no-load consumption is a small part of that at rating, below 0.5"

    def lay_out(self, places: Places) -> Columns:
        """Generation that follows; the tank is a store that nothing fills."""
        columns, m = super().lay_out(places), places.m
        fuel = columns.p_max_mw / self.efficiency
        columns.own |= {"idle": fuel * self.idle_fuel, "slope": np.full(m, (1 - self.idle_fuel) / self.efficiency)}
        if self.tank_mwh is not None:
            columns.e_mwh, columns.soc = places.factor * self.tank_mwh, np.full(m, self.soc)
            columns.eff_discharge = np.full(m, self.efficiency)
        return columns


class Genset(Generator):
    """Gensets, generation positive."""

    kind: ClassVar[str] = "genset"
    entry: ClassVar[type[Entry]] = GensetEntry
    parameters: ClassVar[Sequence[str]] = PARAMETERS
    rows: ClassVar[int] = ROWS

    def offer(self, given: StepInput, out: FloatArray) -> None:
        """The setpoint, as far as start, ramp, minimum load, minimum times and fuel let it."""
        e_mwh, state = self.spec.fleet.e_mwh, self.memory["state"]
        _offer(self.at, self.par, state, e_mwh, given.soc, given.dt_s, given.applied, out)
        reactive(self.at, given.applied, out)

    def settle(self, given: StepInput, p_mw: FloatArray) -> None:
        """Burn fuel for what was delivered."""
        _settle(self.at, self.par, self.memory["state"], self.spec.fleet.e_mwh, given.dt_s, p_mw, given.soc)


@njit(cache=True, nogil=True)
def _offer(
    at: IntArray, par: FloatArray, mem: FloatArray, e_mwh: FloatArray, soc: FloatArray, dt_s: float, applied: FloatArray,
    out: FloatArray,
) -> None:  # fmt: skip
    for j in range(at.size):
        i = at[j]
        on, most = applied[_S_CONNECT, i], par[MOST, j]
        if e_mwh[i] > 0.0:
            fuel = soc[i] * e_mwh[i] * 3600.0 / dt_s
            most = min(most, max(fuel - par[IDLE, j], 0.0) / par[SLOPE, j])
        must, bears = allowed(mem[HELD_S, j], par[UP_S, j], par[DOWN_S, j], 0.0, par[LEAST, j], most, dt_s)
        must, bears = min(must, most) * on, min(bears, most) * on  # without fuel nothing runs, whatever its minimum run
        want = applied[_S_P, i] if applied[_S_MODE, i] == FOLLOW else 0.0
        target = choose(want, must, par[LEAST, j], bears)
        wait = mem[WAIT_S, j] if target > 0.0 else par[START_S, j]
        p, end = ramped(mem[NOW, j], target, par[RAMP, j] if on > 0.0 else np.inf, wait, dt_s)
        p = min(p, most)
        mem[P_OFFERED, j], mem[END, j], mem[LEFT_S, j] = p, end, max(wait - dt_s, 0.0) if target > 0.0 else wait
        out[_P, i], out[_MIN, i], out[_MAX, i], out[_SOC, i] = p, min(must, p), max(bears, p), soc[i]


@njit(cache=True, nogil=True)
def _settle(
    at: IntArray, par: FloatArray, mem: FloatArray, e_mwh: FloatArray, dt_s: float, p_mw: FloatArray, soc: FloatArray
) -> None:
    for j in range(at.size):
        i, p = at[j], max(p_mw[at[j]], 0.0)
        runs = p > 1e-12
        trips = mem[P_OFFERED, j] > 1e-12 and not runs
        mem[NOW, j] = 0.0 if trips else mem[END, j]
        mem[WAIT_S, j] = par[START_S, j] if trips else mem[LEFT_S, j]
        mem[HELD_S, j] = held_after(mem[HELD_S, j], runs, dt_s)
        # No-load consumption counts for the whole step in which it runs, as far as there is fuel.
        fuel = (par[IDLE, j] + par[SLOPE, j] * p) * dt_s / 3600.0 if runs else 0.0
        mem[FUEL, j] += fuel
        if e_mwh[i] > 0.0:
            soc[i] = max(soc[i] - fuel / e_mwh[i], 0.0)
