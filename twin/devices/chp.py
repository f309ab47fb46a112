"""Combined heat and power: an engine that heats a tank and a demand, led by heat or by power.

Fuel and heat are straight lines between minimum load and rating. The state of charge of one that is led by heat is the
*room* in its heat tank: 1 when it is cold, 0 when it is hot. So it falls while electricity is made, as in every other
store, and the heat demand is its inflow. A boiler covers what tank and engine cannot; heat that finds no place (a minimum
run with a full tank, or an engine led by power) is dumped and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
from numba import njit
from pydantic import Field

from twin.devices.entry import Columns, Entry, Places
from twin.devices.generator import Generator, GeneratorEntry, reactive
from twin.devices.given import OverTime, refused, sources_of
from twin.devices.machine import allowed, choose, feasible_flow, held_after, ramped
from twin.devices.model import Ahead, Offer, StepInput
from vpp.fields import Flag, Fraction, MwhRating, MwMagnitude, Seconds, Soc, Where
from vpp.kernel.fleet import CONTROL_FOLLOW
from vpp.kernel.flex import Flex
from vpp.kernel.setpoints import FOLLOW, LIMIT, Setpoints
from vpp.kernel.signals import FloatArray, IntArray

_P, _MIN, _MAX, _SOC = Offer.p_mw.row, Offer.p_avail_min_mw.row, Offer.p_avail_max_mw.row, Offer.soc.row
_S_P, _S_LIMIT, _S_MODE, _S_CONNECT = (
    Setpoints.p_mw.row, Setpoints.p_limit_mw.row, Setpoints.mode.row, Setpoints.connect.row,
)  # fmt: skip

PARAMETERS: Final = (
    "least", "most", "ramp", "start_s", "up_s", "down_s", "heat_least", "heat_most", "fuel_least", "fuel_most",
    "heat_led", "store", "boiler", "heat_mw",
)  # fmt: skip
(
    LEAST, MOST, RAMP, START_S, UP_S, DOWN_S, HEAT_LEAST, HEAT_MOST, FUEL_LEAST, FUEL_MOST,
    HEAT_LED, STORE, BOILER, HEAT_MW,
) = range(len(PARAMETERS))  # fmt: skip
# Rows of the memory: power at the end of the last step, start time that is left, time of run or rest, 1 while the tank
# calls for heat; fuel, heat of the boiler, heat dumped, demand not met [MWh]; of the step being offered: mean power, power
# at its end, start time left then.
NOW, WAIT_S, HELD_S, CALLS, FUEL, BOILED, DUMPED, UNMET, P_OFFERED, END, LEFT_S = range(11)
ROWS: Final = 11
COLD, HOT = 0.3, 0.9  # of the tank: where an engine that leads itself starts and stops


class ChpEntry(GeneratorEntry):
    """Combined heat and power."""

    by_itself: ClassVar[bool] = True

    kind: Literal["chp"]
    lead: Literal["heat", "power"] = Field("heat", description="heat: tank and demand bound it; power: surplus heat is dumped")
    min_load: Fraction = Field(0.5, description="minimum load, of p_mw [1]")
    start_s: Seconds = Field(60.0, description="from the order to the first power [s]")
    min_up_s: Seconds = Field(1800.0, description="shortest run [s]")
    efficiency_el: tuple[Fraction, Fraction] = Field(
        (0.30, 0.34), description="electrical efficiency at minimum load, at rating [1]"
    )
    efficiency_th: tuple[Fraction, Fraction] = Field(
        (0.58, 0.54), description="thermal efficiency at minimum load, at rating [1]"
    )
    heat_mw: MwMagnitude = Field(description="heat demand where its series is 1 [MW]")
    heat: OverTime = Field(1.0, description="heat demand over time, a factor: a number, a day, file:<csv>")
    store_mwh: MwhRating | None = Field(None, description="heat tank [MWh]; default: two hours at rating")
    heat_fill: Soc = Field(0.5, description="how hot the tank is at the start, 0…1")
    boiler: Flag = Field(True, description="a boiler covers what tank and engine cannot")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """No engine gives more than its fuel."""
        yield from super().contradictions()
        for k, load in enumerate(("minimum load", "rating")):
            total = self.efficiency_el[k] + self.efficiency_th[k]
            if self.efficiency_el[k] == 0:
                yield ("efficiency_el", k), "efficiency must be more than 0"
            if total > 1:
                yield ("efficiency_th", k), f"electrical and thermal efficiency at {load} are {total:.3g} together, above 1"
        least, most = (th / max(el, 1e-9) for el, th in zip(self.efficiency_el, self.efficiency_th))
        if self.efficiency_th[1] == 0 or self.min_load * least >= most:
            yield ("efficiency_th",), "more power must give more heat"
        yield from refused("heat", self.heat, lambda x: x >= 0, "heat demand is a magnitude and never negative")
        if self.lead == "power" and "store_mwh" in self.model_fields_set:
            yield ("store_mwh",), "an engine led by power has no tank: its surplus heat is dumped"

    def lay_out(self, places: Places) -> Columns:
        """Generation that follows; the store is room for heat."""
        columns, m = super().lay_out(places), places.m
        own, led = columns.own, self.lead == "heat"
        for k, at in enumerate(("least", "most")):
            own[f"fuel_{at}"] = own[at] / self.efficiency_el[k]
            own[f"heat_{at}"] = own[f"fuel_{at}"] * self.efficiency_th[k]
        store = 2.0 * own["heat_most"] if self.store_mwh is None else places.factor * self.store_mwh
        own |= {"store": store * led, "heat_mw": places.factor * self.heat_mw}
        own |= {"heat_led": np.full(m, float(led)), "boiler": np.full(m, float(self.boiler))}
        columns.series = {"heat": sources_of(self.heat, places)}
        if led:
            columns.soc = np.full(m, 1.0 - self.heat_fill)
            columns.e_mwh = store * float(self.controllable)
            columns.eff_discharge = own["most"] / np.maximum(own["heat_most"], 1e-12)
        return columns


class Chp(Generator):
    """Engines with heat, generation positive."""

    kind: ClassVar[str] = "chp"
    entry: ClassVar[type[Entry]] = ChpEntry
    parameters: ClassVar[Sequence[str]] = PARAMETERS
    rows: ClassVar[int] = ROWS

    def offer(self, given: StepInput, out: FloatArray) -> None:
        """The setpoint, or its own control, as far as engine and tank let it."""
        demand = self._demand(given.profile[None])[0]
        _offer(self.at, self.par, self.memory["state"], demand, given.dt_s, given.applied, given.soc, out)
        reactive(self.at, given.applied, out)

    def settle(self, given: StepInput, p_mw: FloatArray) -> None:
        """Heat into the tank, demand out of it."""
        _settle(self.at, self.par, self.memory["state"], self._demand(given.profile[None])[0], given.dt_s, p_mw, given.soc)

    def _demand(self, profile: npt.NDArray[np.float32]) -> FloatArray:
        """(steps, m) heat demand [MW]."""
        return np.asarray(self.par[HEAT_MW] * profile[:, self.own["heat"]], np.float64)

    def expect(self, profile: npt.NDArray[np.float32]) -> FloatArray:
        """Led by heat and left alone it covers the demand on the average; otherwise it stands still."""
        share = self._demand(profile) / np.maximum(self.par[HEAT_MOST], 1e-12)
        alone = (self.spec.fleet.control[self.at] != CONTROL_FOLLOW) & (self.par[HEAT_LED] > 0)
        return np.where(alone, self.par[MOST] * np.minimum(share, 1.0), 0.0)

    def flex(self, ahead: Ahead, flex: Flex) -> None:
        """The demand makes room in the tank; the boiler takes what the engine could never cover."""
        mine = (self.spec.fleet.control[self.at] == CONTROL_FOLLOW) & (self.par[HEAT_LED] > 0)
        at, hours = self.at[mine], ahead.step_s / 3600.0
        inflow = self._demand(ahead.profile)[:, mine] * hours
        most = np.broadcast_to(self.par[HEAT_MOST, mine] * hours, inflow.shape)
        flex.e_flow_mwh[:, at] = feasible_flow(inflow, flex.e_start_mwh[at], self.spec.fleet.e_mwh[at], most)


@njit(cache=True, nogil=True)
def _output(p: float, par: FloatArray, j: int, at_least: int, at_most: int) -> float:
    """Heat or fuel [MW] at a power: straight between minimum load and rating, in proportion below (starting, stopping)."""
    low, high = par[LEAST, j], par[MOST, j]
    if p <= low:
        return float(par[at_least, j] * p / low) if low > 0.0 else 0.0
    return float(par[at_least, j] + (par[at_most, j] - par[at_least, j]) * (p - low) / (high - low))


@njit(cache=True, nogil=True)
def _power_for(heat: float, par: FloatArray, j: int) -> float:
    """Power at which the engine gives this heat; at most its rating."""
    low, high = par[HEAT_LEAST, j], par[HEAT_MOST, j]
    if heat >= high:
        return float(par[MOST, j])
    if heat <= low:
        return float(par[LEAST, j] * max(heat, 0.0) / low) if low > 0.0 else 0.0
    return float(par[LEAST, j] + (par[MOST, j] - par[LEAST, j]) * (heat - low) / (high - low))


@njit(cache=True, nogil=True)
def _offer(
    at: IntArray, par: FloatArray, mem: FloatArray, demand: FloatArray, dt_s: float, applied: FloatArray, soc: FloatArray,
    out: FloatArray,
) -> None:  # fmt: skip
    for j in range(at.size):
        i = at[j]
        on, most, must, want = applied[_S_CONNECT, i], par[MOST, j], 0.0, 0.0
        if par[HEAT_LED, j] > 0.0:
            room = soc[i] * par[STORE, j] * 3600.0 / dt_s
            hot = (1.0 - soc[i]) * par[STORE, j] * 3600.0 / dt_s
            most = _power_for(room + demand[j], par, j)
            must = 0.0 if par[BOILER, j] > 0.0 else _power_for(demand[j] - hot, par, j)
            must = max(must, min(par[LEAST, j], most)) if must > 0.0 else 0.0
            if 1.0 - soc[i] <= COLD:
                mem[CALLS, j] = 1.0
            elif 1.0 - soc[i] >= HOT:
                mem[CALLS, j] = 0.0
            want = par[MOST, j] * mem[CALLS, j]
        if applied[_S_MODE, i] == FOLLOW:
            want = applied[_S_P, i]
        elif applied[_S_MODE, i] == LIMIT:
            want = min(want, applied[_S_LIMIT, i])
        must, most = allowed(mem[HELD_S, j], par[UP_S, j], par[DOWN_S, j], must, par[LEAST, j], most, dt_s)
        must, most = must * on, most * on
        target = choose(want, must, par[LEAST, j], most)
        wait = mem[WAIT_S, j] if target > 0.0 else par[START_S, j]
        p, end = ramped(mem[NOW, j], target, par[RAMP, j] if on > 0.0 else np.inf, wait, dt_s)
        mem[P_OFFERED, j], mem[END, j], mem[LEFT_S, j] = p, end, max(wait - dt_s, 0.0) if target > 0.0 else wait
        out[_P, i], out[_MIN, i], out[_MAX, i], out[_SOC, i] = p, min(must, p), max(most, p), soc[i]


@njit(cache=True, nogil=True)
def _settle(
    at: IntArray, par: FloatArray, mem: FloatArray, demand: FloatArray, dt_s: float, p_mw: FloatArray, soc: FloatArray
) -> None:
    hours = dt_s / 3600.0
    for j in range(at.size):
        i, p = at[j], max(p_mw[at[j]], 0.0)
        runs = p > 1e-12
        trips = mem[P_OFFERED, j] > 1e-12 and not runs
        mem[NOW, j] = 0.0 if trips else mem[END, j]
        mem[WAIT_S, j] = par[START_S, j] if trips else mem[LEFT_S, j]
        mem[HELD_S, j] = held_after(mem[HELD_S, j], runs, dt_s)
        mem[FUEL, j] += _output(p, par, j, FUEL_LEAST, FUEL_MOST) * hours
        store = par[STORE, j]
        room = (soc[i] * store if store > 0.0 else 0.0) + (demand[j] - _output(p, par, j, HEAT_LEAST, HEAT_MOST)) * hours
        short, over = max(room - store, 0.0), max(-room, 0.0)
        mem[BOILED, j] += short * par[BOILER, j]
        mem[UNMET, j] += short * (1.0 - par[BOILER, j])
        mem[DUMPED, j] += over
        if store > 0.0:
            soc[i] = min(max(room / store, 0.0), 1.0)
