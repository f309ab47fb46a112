"""Hydro power: run of river, and small storage whose reservoir is the store; spilt water is counted.

Power of a flow Q [m³/s] at a net head H [m] is ρ g Q H η(Q) = 0.00980665 · H · Q · η [MW], with a head that stays. The
efficiency is given at some flows; power is straight between them, so that flow by power is the exact inverse. The state
of charge is the water in the reservoir; its energy is that of the water itself, without the turbine's efficiency.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
from numba import njit
from pydantic import Discriminator, Field, Tag

from twin.devices.entry import Columns, Entry, Places
from twin.devices.generator import Generator, GeneratorEntry, reactive
from twin.devices.given import OverTime, refused, sources_of
from twin.devices.machine import allowed, choose, feasible_flow, held_after, ramped
from twin.devices.model import Ahead, Offer, StepInput
from vpp.fields import Fraction, Ratio, Seconds, Soc, Where, by_shape
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT
from vpp.kernel.flex import Flex
from vpp.kernel.setpoints import FOLLOW, LIMIT, Setpoints
from vpp.kernel.signals import FloatArray, IntArray

_P, _MIN, _MAX, _SOC = Offer.p_mw.row, Offer.p_avail_min_mw.row, Offer.p_avail_max_mw.row, Offer.soc.row
_S_P, _S_LIMIT, _S_MODE, _S_CONNECT = (
    Setpoints.p_mw.row, Setpoints.p_limit_mw.row, Setpoints.mode.row, Setpoints.connect.row,
)  # fmt: skip

MW_PER_M4_S: Final = 0.00980665  # ρ g, with 1000 kg/m³ and 9.80665 m/s²
# Efficiency of turbine and generator together at parts of the design flow, typical shapes, not of any maker: a Kaplan runs
# at a fifth of its flow, a Francis at two fifths, a Pelton at a tenth. The first point is the smallest flow.
Points = tuple[tuple[Fraction, Fraction], ...]
TURBINES: Final[dict[str, Points]] = {
    "kaplan": ((0.2, 0.70), (0.4, 0.85), (0.7, 0.88), (1.0, 0.86)),
    "francis": ((0.4, 0.68), (0.6, 0.81), (0.85, 0.88), (1.0, 0.86)),
    "pelton": ((0.1, 0.70), (0.3, 0.84), (0.6, 0.87), (1.0, 0.85)),
}
KNOTS: Final = 6

PARAMETERS: Final = ("least", "most", "ramp", "start_s", "up_s", "down_s", "per_flow", "residual", "part", "store")
LEAST, MOST, RAMP, START_S, UP_S, DOWN_S, PER_FLOW, RESIDUAL, PART, STORE = range(len(PARAMETERS))
# Rows of the memory: power at the end of the last step, start time that is left, time of run or rest, water spilt
# [MWh of its own energy]; of the step being offered: mean power, power at its end, start time left then.
NOW, WAIT_S, HELD_S, SPILT, P_OFFERED, END, LEFT_S = range(7)
ROWS: Final = 7


class HydroEntry(GeneratorEntry):
    """Run-of-river plants and small storage plants."""

    by_itself: ClassVar[bool] = True

    kind: Literal["hydro"]
    head_m: Ratio = Field(description="net head [m]")
    flow_m3_s: Ratio = Field(description="design flow [m³/s]")
    turbine: Annotated[
        Annotated[Literal["kaplan", "francis", "pelton"], Tag("text")] | Annotated[Points, Tag("list")], Discriminator(by_shape)
    ] = Field(
        "francis", description="kaplan, francis, pelton, or [part of design flow, efficiency] pairs from the smallest flow to 1"
    )
    inflow_m3_s: OverTime = Field(description="water that arrives [m³/s]: a number, a day, file:<csv>")
    residual_m3_s: Ratio = Field(0.0, description="water that must stay in the river [m³/s]")
    store_m3: Ratio = Field(0.0, description="usable reservoir [m³]; 0: run of river")
    soc: Soc = Field(0.5, description="how full the reservoir is at the start, 0…1")
    min_up_s: Seconds = Field(0.0, description="shortest run [s]")
    min_down_s: Seconds = Field(0.0, description="shortest rest [s]")

    @property
    def points(self) -> Points:
        """Parts of the design flow and efficiencies there."""
        return TURBINES[self.turbine] if isinstance(self.turbine, str) else self.turbine

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """A head, a flow, a curve; power follows from them."""
        power = MW_PER_M4_S * self.head_m * self.flow_m3_s * (self.points[-1][1] if self.points else 0.0)
        for where, message in super().contradictions():
            if where != ("p_mw",):
                yield where, message
        if self.p_mw is not None:
            yield ("p_mw",), f"p_mw follows from head, flow and efficiency ({power:.4g} MW)"
        for key in ("head_m", "flow_m3_s"):
            if getattr(self, key) == 0:
                yield (key,), f"{key} must be more than 0"
        if self.s_mva is not None and self.s_mva < power:
            yield ("s_mva",), f"s_mva is below the turbine's power ({power:.4g} MW)"
        yield from self._curve()
        yield from refused("inflow_m3_s", self.inflow_m3_s, lambda q: q >= 0, "inflow is a magnitude and never negative")

    def _curve(self) -> Iterator[tuple[Where, str]]:
        """The points ascend to the design flow, and more water is more power."""
        p = self.points
        if not 2 <= len(p) <= KNOTS:
            yield ("turbine",), f"a curve has 2…{KNOTS} points"
        elif p[0][0] == 0 or p[-1][0] != 1 or any(b[0] <= a[0] for a, b in pairwise(p)):
            yield ("turbine",), "parts of the design flow must ascend, from the smallest flow (above 0) to 1"
        elif any(b[0] * b[1] <= a[0] * a[1] for a, b in pairwise(p)):
            yield ("turbine",), "more water must give more power"

    def rating(self, places: Places) -> FloatArray:
        """Power at design flow."""
        return np.asarray(places.factor * MW_PER_M4_S * self.head_m * self.flow_m3_s * self.points[-1][1])

    def lay_out(self, places: Places) -> Columns:
        """Generation: run of river can be limited, storage follows."""
        columns, m = super().lay_out(places), places.m
        own, per_flow = columns.own, MW_PER_M4_S * self.head_m
        points = np.array([*self.points, *[self.points[-1]] * (KNOTS - len(self.points))])
        own["flow_knots"] = places.factor[:, None] * self.flow_m3_s * points[:, 0]
        own["power_knots"] = own["flow_knots"] * per_flow * points[:, 1]
        own["most"] = np.minimum(own["power_knots"][:, -1], columns.p_max_mw)
        own["least"] = np.maximum(own["power_knots"][:, 0], own["least"])
        own |= {"per_flow": np.full(m, per_flow), "residual": places.factor * self.residual_m3_s, "part": places.factor}
        own["store"] = places.factor * per_flow * self.store_m3 / 3600.0
        columns.p_gap_mw = own["least"]
        columns.series = {"inflow": sources_of(self.inflow_m3_s, places)}
        if self.store_m3 > 0:
            columns.e_mwh = own["store"] * float(self.controllable)
            columns.soc, columns.eff_discharge = np.full(m, self.soc), np.full(m, self.points[-1][1])
        elif self.controllable:
            columns.control, columns.p_safe_mw = np.full(m, CONTROL_LIMIT), columns.p_max_mw
        return columns


class Hydro(Generator):
    """Hydro plants, generation positive."""

    kind: ClassVar[str] = "hydro"
    entry: ClassVar[type[Entry]] = HydroEntry
    parameters: ClassVar[Sequence[str]] = PARAMETERS
    rows: ClassVar[int] = ROWS

    def offer(self, given: StepInput, out: FloatArray) -> None:
        """What the river gives, or what is asked of the reservoir."""
        _offer(
            self.at, self.par, self.own["flow_knots"], self.own["power_knots"], self.memory["state"],
            self.own["inflow"], given.profile, given.dt_s, given.applied, given.soc, out,
        )  # fmt: skip
        reactive(self.at, given.applied, out)

    def settle(self, given: StepInput, p_mw: FloatArray) -> None:
        """Water through the turbine, into the reservoir and over its edge."""
        _settle(
            self.at, self.par, self.own["flow_knots"], self.own["power_knots"], self.memory["state"],
            self.own["inflow"], given.profile, given.dt_s, p_mw, given.soc,
        )  # fmt: skip

    def _usable(self, profile: npt.NDArray[np.float32]) -> FloatArray:
        """(steps, m) inflow that may be used [m³/s]."""
        inflow = self.par[PART] * profile[:, self.own["inflow"]]
        return np.asarray(np.maximum(inflow - self.par[RESIDUAL], 0.0), np.float64)

    def expect(self, profile: npt.NDArray[np.float32]) -> FloatArray:
        """What the river gives; nothing where it is led."""
        usable, out = self._usable(profile), np.empty((len(profile), self.at.size))
        _river(usable, self.par[LEAST], self.par[MOST], self.own["flow_knots"], self.own["power_knots"], out)
        return np.where(self.spec.fleet.control[self.at] == CONTROL_FOLLOW, 0.0, out)

    def flex(self, ahead: Ahead, flex: Flex) -> None:
        """Inflow fills the reservoir; what would be spilt whatever is done is left out."""
        mine = (self.spec.fleet.control[self.at] == CONTROL_FOLLOW) & (self.par[STORE] > 0)
        at, hours = self.at[mine], ahead.step_s / 3600.0
        inflow = self._usable(ahead.profile)[:, mine] * self.par[PER_FLOW, mine] * hours
        most = np.broadcast_to(self.own["flow_knots"][mine, -1] * self.par[PER_FLOW, mine] * hours, inflow.shape)
        flex.e_flow_mwh[:, at] = feasible_flow(inflow, flex.e_start_mwh[at], self.spec.fleet.e_mwh[at], most)


@njit(cache=True, nogil=True)
def _along(x: float, xs: FloatArray, ys: FloatArray, j: int) -> float:
    """Value at ``x`` of straight lines from nothing through device j's points, held constant behind the last."""
    x0 = y0 = 0.0
    for k in range(xs.shape[1]):
        x1, y1 = xs[j, k], ys[j, k]
        if x <= x1:
            return float(y0 + (y1 - y0) * (max(x, 0.0) - x0) / (x1 - x0))
        x0, y0 = x1, y1
    return float(y0)


@njit(cache=True, nogil=True)
def _flow_for(p: float, flows: FloatArray, powers: FloatArray, j: int) -> float:
    """Flow at a mean power; below the smallest the turbine runs for a part of the time."""
    return _along(p, powers, flows, j)


@njit(cache=True, nogil=True)
def _power_of(flow: float, flows: FloatArray, powers: FloatArray, j: int) -> float:
    """Mean power of a flow, the inverse of `_flow_for`."""
    return _along(flow, flows, powers, j)


@njit(cache=True, nogil=True)
def _river(
    usable: FloatArray, least: FloatArray, most: FloatArray, flows: FloatArray, powers: FloatArray, out: FloatArray
) -> None:
    """Power of a river without a reservoir: nothing below the turbine's smallest flow."""
    for t in range(usable.shape[0]):
        for j in range(usable.shape[1]):
            p = min(_power_of(usable[t, j], flows, powers, j), most[j])
            out[t, j] = p if p >= least[j] else 0.0


@njit(cache=True, nogil=True)
def _offer(
    at: IntArray, par: FloatArray, flows: FloatArray, powers: FloatArray, mem: FloatArray,
    inflow: IntArray, profile: npt.NDArray[np.float32], dt_s: float, applied: FloatArray, soc: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    for j in range(at.size):
        i = at[j]
        on, least, mode = applied[_S_CONNECT, i], par[LEAST, j], applied[_S_MODE, i]
        usable = max(par[PART, j] * profile[inflow[j]] - par[RESIDUAL, j], 0.0)
        by_river = min(_power_of(usable, flows, powers, j), par[MOST, j])
        if par[STORE, j] == 0.0:
            most = by_river * on if by_river >= least else 0.0
            p = min(most, applied[_S_LIMIT, i]) if mode == LIMIT else most
            p = min(most, applied[_S_P, i]) if mode == FOLLOW else p
            p = p if p >= least else 0.0
            mem[P_OFFERED, j] = mem[END, j] = p
            out[_P, i], out[_MIN, i], out[_MAX, i], out[_SOC, i] = p, 0.0, most, np.nan
            continue
        water = soc[i] * par[STORE, j] * 3600.0 / (dt_s * par[PER_FLOW, j])
        holds = min(_power_of(water + usable, flows, powers, j), par[MOST, j])
        want = by_river
        if mode == FOLLOW:
            want = applied[_S_P, i]
        elif mode == LIMIT:
            want = min(want, applied[_S_LIMIT, i])
        must, most = allowed(mem[HELD_S, j], par[UP_S, j], par[DOWN_S, j], 0.0, least, holds, dt_s)
        must, most = min(must, holds) * on, min(most, holds) * on  # without water nothing runs
        target = choose(want, must, least, most)
        wait = mem[WAIT_S, j] if target > 0.0 else par[START_S, j]
        p, end = ramped(mem[NOW, j], target, par[RAMP, j] if on > 0.0 else np.inf, wait, dt_s)
        p = min(p, holds)
        mem[P_OFFERED, j], mem[END, j], mem[LEFT_S, j] = p, end, max(wait - dt_s, 0.0) if target > 0.0 else wait
        out[_P, i], out[_MIN, i], out[_MAX, i], out[_SOC, i] = p, min(must, p), max(most, p), soc[i]


@njit(cache=True, nogil=True)
def _settle(
    at: IntArray, par: FloatArray, flows: FloatArray, powers: FloatArray, mem: FloatArray,
    inflow: IntArray, profile: npt.NDArray[np.float32], dt_s: float, p_mw: FloatArray, soc: FloatArray,
) -> None:  # fmt: skip
    hours = dt_s / 3600.0
    for j in range(at.size):
        i, p = at[j], max(p_mw[at[j]], 0.0)
        runs = p > 1e-12
        trips = mem[P_OFFERED, j] > 1e-12 and not runs
        mem[NOW, j] = 0.0 if trips else mem[END, j]
        mem[WAIT_S, j] = par[START_S, j] if trips else mem[LEFT_S, j]
        mem[HELD_S, j] = held_after(mem[HELD_S, j], runs, dt_s)
        usable = max(par[PART, j] * profile[inflow[j]] - par[RESIDUAL, j], 0.0)
        stays = (usable - _flow_for(p, flows, powers, j)) * par[PER_FLOW, j] * hours
        if par[STORE, j] == 0.0:
            mem[SPILT, j] += max(stays, 0.0)
            continue
        content = soc[i] * par[STORE, j] + stays
        mem[SPILT, j] += max(content - par[STORE, j], 0.0)
        soc[i] = min(max(content / par[STORE, j], 0.0), 1.0)
