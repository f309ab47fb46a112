"""Flexible load: consumption that may be shifted in parts, or interrupted now and then, and catches up afterwards.

What demand-side management knows as a virtual store: the state of charge is the energy taken ahead of the profile (above
``neutral``) or still owed (below). Taking more than the profile charges, taking less discharges. Left to itself the load
follows its profile and goes back to neutral: the rebound.

* ``parts``: anywhere between ``p_low`` of the profile and ``p_high`` of the rating, as far as the virtual store bears it.
  What has been owed for ``window_h`` is caught up, whatever is asked.
* ``interrupt``: less than the profile for at most ``longest_s`` at a time, ``times_per_day`` times in 24 hours from the start of
  the run, with a rest between.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
from numba import njit
from pydantic import Field

from twin.devices.entry import Columns, Entry, Places
from twin.devices.machine import by_device
from twin.devices.model import Ahead, DeviceModel, Offer, StepInput
from twin.series import profile_named
from twin.spec import FleetSpec
from vpp.fields import Count, Flag, Fraction, Hours, Ratio, Seconds, Where
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_NONE
from vpp.kernel.flex import Flex
from vpp.kernel.setpoints import FOLLOW, LIMIT, Setpoints
from vpp.kernel.signals import FloatArray, IntArray

_P, _Q, _FOLLOW = Offer.p_mw.row, Offer.q_mvar.row, Offer.follow_q.row
_MIN, _MAX, _SOC = Offer.p_avail_min_mw.row, Offer.p_avail_max_mw.row, Offer.soc.row
_S_P, _S_LIMIT, _S_MODE, _S_CONNECT = (
    Setpoints.p_mw.row, Setpoints.p_limit_mw.row, Setpoints.mode.row, Setpoints.connect.row,
)  # fmt: skip

PARAMETERS: Final = (
    "most", "low", "store", "neutral", "rebound", "back_h", "window_s", "interrupts", "longest_s", "times", "rest_s", "tan_phi",
)  # fmt: skip
MOST, LOW, STORE, NEUTRAL, REBOUND, BACK_H, WINDOW_S, INTERRUPTS, LONGEST_S, TIMES, REST_S, TAN_PHI = range(len(PARAMETERS))
# Rows of the memory: content of the virtual store [MWh], how long something has been owed, length of the present
# interruption, time since the last one, interruptions today, the day that is counted.
CONTENT, OWED_S, CUT_S, SINCE_S, CUTS, DAY = range(6)
ROWS: Final = 6


class FlexibleLoadEntry(Entry):
    """Loads that can be shifted or interrupted."""

    native: ClassVar[str] = "loads"
    by_itself: ClassVar[bool] = True

    kind: Literal["flexible_load"]
    profile: str | None = Field(
        None, description="SimBench load profile or file:<csv>, factor of the rating; default: the load's own, else constant"
    )
    power_factor: Fraction = Field(1.0, description="cos φ, inductive [1]")
    mode: Literal["parts", "interrupt"] = Field(
        "parts", description="parts: shifted in parts; interrupt: interrupted now and then"
    )
    p_low: Fraction = Field(0.0, description="part of the profile that goes on whatever is asked [1]")
    p_high: Ratio = Field(1.0, description="highest power, of p_mw [1]")
    shift_h: Hours = Field(2.0, description="parts: energy that may be owed, or taken ahead, in hours at p_mw [h]")
    window_h: Hours = Field(12.0, description="parts: how long energy may be owed [h]")
    longest_s: Seconds = Field(3600.0, description="interrupt: longest interruption [s]")
    times_per_day: Count = Field(2, description="interrupt: how often in 24 hours")
    rest_s: Seconds = Field(7200.0, description="interrupt: shortest time between two interruptions [s]")
    rebound: Ratio = Field(1.0, description="part of the curtailed energy that is caught up, 0…2 [1]")
    rebound_h: Hours = Field(2.0, description="left to itself it catches up in about this time [h]")
    controllable: Flag = Field(True, description="false: follows its profile, controllers only see it")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Room to catch up in, and a length of interruption."""
        yield from super().contradictions()
        if self.power_factor == 0:
            yield ("power_factor",), "power_factor must be more than 0"
        if self.p_low >= self.p_high:
            yield ("p_low",), f"p_low is not below p_high ({self.p_high:g})"
        if self.rebound > 2:
            yield ("rebound",), "more than twice the curtailed energy is never caught up"
        if self.mode == "interrupt" and self.longest_s == 0:
            yield ("longest_s",), "longest_s must be more than 0"

    def lay_out(self, places: Places) -> Columns:
        """Consumption with a virtual store."""
        rating, m = self.rating(places), places.m
        columns = Columns.consuming(rating)
        columns.control = np.full(m, CONTROL_FOLLOW if self.controllable else CONTROL_NONE)
        columns.p_min_mw = -rating * max(self.p_high, 1.0)
        own = places.table is not None and self.profile is None
        names = [places.table.profile[i] for i in places.row] if own else [self.profile or ""] * m
        columns.series["p"] = [profile_named(n if not n or n.startswith("file:") else f"{n}_pload") for n in names]
        cuts = self.mode == "interrupt"
        hours = self.longest_s / 3600.0 * self.times_per_day if cuts else 2.0 * self.shift_h
        store, neutral = rating * hours, 1.0 if cuts else 0.5
        plain = {
            "low": self.p_low, "rebound": self.rebound, "back_h": self.rebound_h, "window_s": self.window_h * 3600.0,
            "interrupts": float(cuts), "longest_s": self.longest_s, "times": float(self.times_per_day), "rest_s": self.rest_s,
            "tan_phi": math.tan(math.acos(self.power_factor)),
        }  # fmt: skip
        columns.own = {name: np.full(m, value) for name, value in plain.items()}
        columns.own |= {"most": -columns.p_min_mw, "store": store, "neutral": store * neutral}
        columns.e_mwh, columns.soc = store * float(self.controllable), np.full(m, neutral)
        return columns


class FlexibleLoad(DeviceModel):
    """Flexible loads, consumption negative."""

    kind: ClassVar[str] = "flexible_load"
    entry: ClassVar[type[Entry]] = FlexibleLoadEntry

    def __init__(self, at: IntArray, spec: FleetSpec) -> None:
        """Begin with nothing owed and nothing taken ahead."""
        super().__init__(at, spec)
        self.par = by_device([self.own[name] for name in PARAMETERS])
        state = np.zeros((ROWS, at.size), order="F")
        state[CONTENT], state[SINCE_S] = self.par[NEUTRAL], 1e9
        self.memory = {"state": state}

    def offer(self, given: StepInput, out: FloatArray) -> None:
        """As asked inside what may be shifted or interrupted, else the profile and the rebound."""
        base = self._base(given.profile[None])[0]
        _offer(self.at, self.par, self.memory["state"], base, given.t_s, given.dt_s, given.applied, given.soc, out)

    def settle(self, given: StepInput, p_mw: FloatArray) -> None:
        """Count what was taken ahead or is owed."""
        base = self._base(given.profile[None])[0]
        _settle(self.at, self.par, self.memory["state"], base, given.t_s, given.dt_s, p_mw, given.soc)

    def _base(self, profile: npt.NDArray[np.float32]) -> FloatArray:
        """(steps, m) consumption by the profile [MW]."""
        factor = np.concatenate([profile, np.ones((len(profile), 1), np.float32)], axis=1)[:, self.spec.profile_p[self.at]]
        return np.asarray(np.maximum(self.spec.p_rated_mw[self.at] * factor, 0.0), np.float64)

    def expect(self, profile: npt.NDArray[np.float32]) -> FloatArray:
        """The profile, where it is not led."""
        return np.where(self.spec.fleet.control[self.at] == CONTROL_FOLLOW, 0.0, -self._base(profile))

    def flex(self, ahead: Ahead, flex: Flex) -> None:
        """The profile is what the virtual store gives away; with interruptions nothing is taken ahead."""
        mine = self.spec.fleet.control[self.at] == CONTROL_FOLLOW
        at, par = self.at[mine], self.par[:, mine]
        base = self._base(ahead.profile)[:, mine]
        flex.e_flow_mwh[:, at] = -base * (ahead.step_s / 3600.0)
        flex.p_lo_mw[:, at] = -np.maximum(base, par[MOST])
        flex.p_hi_mw[:, at] = -par[LOW] * base


@njit(cache=True, nogil=True)
def _may_cut(par: FloatArray, mem: FloatArray, j: int, t_s: float, dt_s: float) -> bool:
    """Whether it may take less than its profile in this step."""
    if par[INTERRUPTS, j] == 0.0:
        return True
    if mem[CUT_S, j] > 0.0:
        return bool(mem[CUT_S, j] + dt_s <= par[LONGEST_S, j] + 1e-6)
    cuts = mem[CUTS, j] if mem[DAY, j] == t_s // 86400.0 else 0.0
    rested = mem[SINCE_S, j] >= par[REST_S, j] - 1e-6
    return bool(dt_s <= par[LONGEST_S, j] + 1e-6 and cuts < par[TIMES, j] and rested)


@njit(cache=True, nogil=True)
def _offer(
    at: IntArray, par: FloatArray, mem: FloatArray, base: FloatArray, t_s: float, dt_s: float, applied: FloatArray,
    soc: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    hours = dt_s / 3600.0
    for j in range(at.size):
        i, b = at[j], base[j]
        on = applied[_S_CONNECT, i]
        owed = par[NEUTRAL, j] - mem[CONTENT, j]
        most = min(max(b, par[MOST, j]), b + (par[STORE, j] - mem[CONTENT, j]) / hours)
        least = par[LOW, j] * b if _may_cut(par, mem, j, t_s, dt_s) else b
        if par[REBOUND, j] > 0.0:
            least = max(least, b - mem[CONTENT, j] / (par[REBOUND, j] * hours))
        back = owed / max(par[BACK_H, j], hours)  # never further than to neutral
        if owed > 0.0 and mem[OWED_S, j] >= par[WINDOW_S, j]:
            least = max(least, b + back)
        least = min(least, most)
        want = b + back
        if applied[_S_MODE, i] == FOLLOW:
            want = -applied[_S_P, i]
        elif applied[_S_MODE, i] == LIMIT:
            want = max(want, -applied[_S_LIMIT, i])
        p = min(max(want, least), most) * on
        out[_P, i], out[_Q, i], out[_FOLLOW, i] = 0.0 - p, 0.0 - p * par[TAN_PHI, j], 1.0
        out[_MIN, i], out[_MAX, i], out[_SOC, i] = 0.0 - most * on, 0.0 - least * on, soc[i]


@njit(cache=True, nogil=True)
def _settle(
    at: IntArray, par: FloatArray, mem: FloatArray, base: FloatArray, t_s: float, dt_s: float, p_mw: FloatArray, soc: FloatArray
) -> None:
    hours = dt_s / 3600.0
    for j in range(at.size):
        i = at[j]
        less = base[j] + p_mw[i]
        cut = less > 1e-9 * par[MOST, j]
        change = less * par[REBOUND, j] if cut and less > 0.0 else less
        mem[CONTENT, j] = min(max(mem[CONTENT, j] - change * hours, 0.0), par[STORE, j])
        soc[i] = mem[CONTENT, j] / par[STORE, j]
        mem[OWED_S, j] = mem[OWED_S, j] + dt_s if mem[CONTENT, j] < par[NEUTRAL, j] * (1.0 - 1e-9) else 0.0
        if mem[DAY, j] != t_s // 86400.0:
            mem[DAY, j], mem[CUTS, j] = t_s // 86400.0, 0.0
        if cut:
            mem[CUTS, j] += 1.0 if mem[CUT_S, j] == 0.0 else 0.0
            mem[CUT_S, j] += dt_s
            mem[SINCE_S, j] = 0.0
        else:
            mem[CUT_S, j] = 0.0
            mem[SINCE_S, j] += dt_s
