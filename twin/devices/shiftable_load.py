"""Shiftable load: a whole programme (a washing machine, a batch) that begins inside a daily window and runs through.

The state of charge is how much of today's programme is done; it falls to zero when the window closes. Left to itself it
begins when the window opens. Led, it begins when it is asked for at least half of its first power, and at the latest when
the window only just suffices; once begun, nothing that is asked stops it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
from numba import njit
from pydantic import AfterValidator, Field

from twin.devices.entry import Columns, Entry, Places
from twin.devices.given import sources_of
from twin.devices.model import Ahead, DeviceModel, Offer, StepInput
from twin.spec import FleetSpec
from vpp.fields import Clock, Flag, Fraction, Where, bad, seconds_of_day
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_NONE
from vpp.kernel.flex import Flex
from vpp.kernel.setpoints import FOLLOW, Setpoints
from vpp.kernel.signals import FloatArray, IntArray

_P, _Q, _FOLLOW = Offer.p_mw.row, Offer.q_mvar.row, Offer.follow_q.row
_MIN, _MAX, _SOC = Offer.p_avail_min_mw.row, Offer.p_avail_max_mw.row, Offer.soc.row
_NEED, _DEPART = Offer.e_need_mwh.row, Offer.t_depart_s.row
_S_P, _S_MODE, _S_CONNECT = Setpoints.p_mw.row, Setpoints.mode.row, Setpoints.connect.row
QUARTER_S: Final = 900.0
QUARTERS: Final = 32  # longest programme


def _programme(values: tuple[float, ...]) -> tuple[float, ...]:
    if not 1 <= len(values) <= QUARTERS or values[0] == 0:
        raise bad(f"a programme has 1…{QUARTERS} quarter-hours, the first with some power")
    return values


class ShiftableLoadEntry(Entry):
    """Programmes that run once a day as a whole."""

    by_itself: ClassVar[bool] = True

    kind: Literal["shiftable_load"]
    programme: Annotated[tuple[Fraction, ...], AfterValidator(_programme)] = Field(
        description="power in each quarter-hour, of p_mw [1]"
    )
    window: tuple[Clock, Clock] = Field(
        description='local times between which it runs, e.g. ["09:00", "17:00"]; may pass midnight'
    )
    controllable: Flag = Field(True, description="false: begins when the window opens, controllers only see it")

    @property
    def open_h(self) -> tuple[float, ...]:
        """(96,) hours until the window closes at the beginning of each quarter-hour of the day; 0 while it is closed."""
        begin, end = (seconds_of_day(clock) / 3600.0 for clock in self.window)
        length = (end - begin) % 24.0
        into = (np.arange(96) / 4.0 - begin) % 24.0
        return tuple(np.where(into < length, length - into, 0.0).tolist())

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """The window holds the programme."""
        yield from super().contradictions()
        if any(seconds_of_day(clock) % QUARTER_S for clock in self.window):
            yield ("window",), "a window opens and closes at quarter-hours"
        elif max(self.open_h) * 4 < len(self.programme):
            yield ("window",), f"a window of {max(self.open_h):g} h does not hold {len(self.programme)} quarter-hours"

    def lay_out(self, places: Places) -> Columns:
        """Consumption that follows; the store is the programme."""
        rating, m = self.rating(places), places.m
        columns = Columns.consuming(rating)
        columns.control = np.full(m, CONTROL_FOLLOW if self.controllable else CONTROL_NONE)
        done = np.concatenate([[0.0], np.cumsum(self.programme) / 4.0])
        done = np.concatenate([done, np.full(QUARTERS + 1 - len(done), done[-1])])
        columns.own = {"energy": rating[:, None] * done, "length_s": np.full(m, len(self.programme) * QUARTER_S)}
        columns.series = {"open": sources_of(self.open_h, places)}
        columns.e_mwh, columns.soc = rating * done[-1] * float(self.controllable), np.zeros(m)
        return columns


class ShiftableLoad(DeviceModel):
    """Programmes, consumption negative."""

    kind: ClassVar[str] = "shiftable_load"
    entry: ClassVar[type[Entry]] = ShiftableLoadEntry

    def __init__(self, at: IntArray, spec: FleetSpec) -> None:
        """Begin with nothing done."""
        super().__init__(at, spec)
        self.memory = {"into_s": np.zeros(at.size)}

    def offer(self, given: StepInput, out: FloatArray) -> None:
        """The programme's next part where it runs or begins."""
        left_s = given.profile[self.own["open"]].astype(np.float64) * 3600.0
        energy, length_s = self.own["energy"], self.own["length_s"]
        _offer(self.at, energy, length_s, self.memory["into_s"], left_s, given.dt_s, given.applied, given.soc, out)

    def settle(self, given: StepInput, p_mw: FloatArray) -> None:
        """Go on in the programme; it waits where nothing was delivered, and starts afresh when the window has closed."""
        left_s = given.profile[self.own["open"]].astype(np.float64) * 3600.0
        energy, length_s = self.own["energy"], self.own["length_s"]
        _settle(self.at, energy, length_s, self.memory["into_s"], left_s, given.dt_s, p_mw, given.soc)

    def expect(self, profile: npt.NDArray[np.float32]) -> FloatArray:
        """Where nobody leads it: its energy evenly over as much of the window's beginning as the programme is long."""
        left_h = profile[:, self.own["open"]].astype(np.float64)
        into_h = left_h.max(axis=0) - left_h
        length_h = self.own["length_s"] / 3600.0
        runs = (left_h > 0) & (into_h < length_h) & (self.spec.fleet.control[self.at] != CONTROL_FOLLOW)
        return np.where(runs, -self.own["energy"][:, -1] / length_h, 0.0)

    def flex(self, ahead: Ahead, flex: Flex) -> None:
        """Everything done by the window's end, when the content goes as an electric car's does."""
        mine = np.flatnonzero(self.spec.fleet.control[self.at] == CONTROL_FOLLOW)
        at, hours = self.at[mine], ahead.step_s / 3600.0
        energy = self.own["energy"][mine]
        peak = np.diff(energy, axis=1).max(axis=1) * 4.0
        left_h = ahead.profile[:, self.own["open"][mine]].astype(np.float64)
        opened = left_h > 0
        flex.p_lo_mw[:, at], flex.p_hi_mw[:, at] = np.where(opened, -peak, 0.0), 0.0
        content = flex.e_start_mwh[at]
        for t in range(ahead.steps):
            ended = ~opened[t] & (opened[t - 1] if t else True)
            flex.e_leave_mwh[t, at] = np.where(ended, content, 0.0)
            content = np.where(ended, 0.0, np.minimum(content + np.where(opened[t], peak * hours, 0.0), energy[:, -1]))


@njit(cache=True, nogil=True)
def _mean(energy: FloatArray, from_s: float, dt_s: float) -> float:
    """Mean power of the programme over a step [MW]."""
    at, end = from_s / QUARTER_S, (from_s + dt_s) / QUARTER_S
    k, n = min(int(at), energy.size - 1), min(int(end), energy.size - 1)
    first = energy[k] + (energy[min(k + 1, energy.size - 1)] - energy[k]) * (at - k)
    last = energy[n] + (energy[min(n + 1, energy.size - 1)] - energy[n]) * (end - n)
    return float((last - first) * 3600.0 / dt_s)


@njit(cache=True, nogil=True)
def _offer(
    at: IntArray, energy: FloatArray, length_s: FloatArray, into_s: FloatArray, left_s: FloatArray, dt_s: float,
    applied: FloatArray, soc: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    for j in range(at.size):
        i = at[j]
        on, left = applied[_S_CONNECT, i], length_s[j] - into_s[j]
        ready = left_s[j] > 0.0 and left > 0.0
        p = _mean(energy[j], into_s[j], dt_s) * on if ready else 0.0
        # The time left is known by quarter-hours: shorter steps begin up to one earlier than they need to.
        free = ready and into_s[j] == 0.0 and left_s[j] >= left + max(dt_s, QUARTER_S)
        waits = free and applied[_S_MODE, i] == FOLLOW and -applied[_S_P, i] < 0.5 * p
        out[_P, i], out[_Q, i], out[_FOLLOW, i] = 0.0 if waits else 0.0 - p, 0.0, 1.0
        out[_MIN, i], out[_MAX, i], out[_SOC, i] = 0.0 - p, 0.0 if free else 0.0 - p, soc[i]
        if ready:
            out[_NEED, i], out[_DEPART, i] = energy[j, -1] * (1.0 - soc[i]), left_s[j]


@njit(cache=True, nogil=True)
def _settle(
    at: IntArray, energy: FloatArray, length_s: FloatArray, into_s: FloatArray, left_s: FloatArray, dt_s: float,
    p_mw: FloatArray, soc: FloatArray,
) -> None:  # fmt: skip
    for j in range(at.size):
        i = at[j]
        if left_s[j] <= 0.0:
            into_s[j] = 0.0
        elif into_s[j] < length_s[j]:
            p = _mean(energy[j], into_s[j], dt_s)
            part = min(max(-p_mw[i], 0.0) / p, 1.0) if p > 0.0 else 1.0
            into_s[j] = min(into_s[j] + part * dt_s, length_s[j])
        soc[i] = _mean(energy[j], 0.0, into_s[j]) * into_s[j] / (3600.0 * energy[j, -1]) if into_s[j] > 0.0 else 0.0
