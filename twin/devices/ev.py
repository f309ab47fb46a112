"""Charging points for cars: sessions come and go, each with an energy that its car needs by its departure.

A car is plugged in from the step in which it arrives to the step in which it leaves. Left alone it charges at once, up
to what it needs; asked to, it follows a setpoint or a limit, pauses below the smallest current of its connector
(IEC 61851-1: 6 A a phase) and, where the point is bidirectional, gives back. Charging power falls where the car is
nearly full. The state of charge is that of the car that is plugged in, NaN where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
from numba import njit
from pydantic import Field

from twin.devices.entry import STORAGE_TABLE, Columns, Entry, InverterEntry, Places
from twin.devices.model import Ahead, DeviceModel, Offer, StepInput
from twin.devices.piecewise import Points, curve_at, rows_of
from twin.devices.sessions import AFTER_DAYS, Habit, Sessions, drawn, file_findings, from_file
from twin.series import Source, Surroundings
from twin.spec import FleetSpec
from vpp.fields import FileRef, Fraction, MwhRating, MwRating, Ratio, Soc, Where
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_NONE
from vpp.kernel.flex import Flex
from vpp.kernel.setpoints import FOLLOW, LIMIT, Setpoints
from vpp.kernel.signals import FloatArray, IntArray

_P, _Q, _FOLLOW = Offer.p_mw.row, Offer.q_mvar.row, Offer.follow_q.row
_MIN, _MAX, _SOC = Offer.p_avail_min_mw.row, Offer.p_avail_max_mw.row, Offer.soc.row
_NEED, _DEPART = Offer.e_need_mwh.row, Offer.t_depart_s.row
_S_P, _S_LIMIT, _S_MODE = Setpoints.p_mw.row, Setpoints.p_limit_mw.row, Setpoints.mode.row
_S_Q, _S_Q_MODE, _S_CONNECT = Setpoints.q_mvar.row, Setpoints.q_mode.row, Setpoints.connect.row

VOLTS: Final = 230.0
LEAST_A: Final = 6.0  # IEC 61851-1: smallest current that a control pilot can offer
PHASES: Final = {"ac1": 1, "ac3": 3, "dc": 0}
TAPER: Final = {"ac1": ((0.95, 1.0), (1.0, 0.4)), "ac3": ((0.9, 1.0), (1.0, 0.3)), "dc": ((0.55, 1.0), (0.8, 0.5), (1.0, 0.08))}
# Rows of the table of sessions, and of the points' parameters.
ARRIVE, LEAVE, CAP, E_ARRIVE, E_TARGET = range(5)
RATED, BACK, GAP, EFF, LEAST_SOC = range(5)
# Rows of the points' memory.
ROW, PLUGGED, CONTENT, UNSERVED, SHORT, SERVED = range(6)


class EvEntry(InverterEntry):
    """Charging points, each with its own sequence of cars."""

    no_series: ClassVar[tuple[str, ...]] = ("at", "sessions")
    controls: ClassVar[int] = CONTROL_FOLLOW
    by_itself: ClassVar[bool] = True

    kind: Literal["ev"]
    connector: Literal["ac1", "ac3", "dc"] = Field("ac3", description="AC with one phase, AC with three phases, or DC")
    current_a: Ratio = Field(16.0, description="largest current of an AC connector [A]")
    p_mw: MwRating | None = Field(None, description="rated power of each [MW]; default: current_a at 230 V, DC 0.05")
    p_back_mw: MwRating | None = Field(
        None, description="power that a bidirectional point gives back at most [MW]; default: none"
    )
    habit: Habit = Field("home", description="when cars come and go: home, work or public")
    sessions: FileRef | None = Field(
        None, description="file:<csv> of point, arrive, depart, e_need_mwh, local times, instead of a habit"
    )
    e_car_mwh: MwhRating = Field(0.06, description="what a car can hold [MWh]")
    need_mwh: MwhRating = Field(0.008, description="mean energy that a car is short of when it comes, for habits [MWh]")
    soc_need: Soc = Field(0.8, description="state of charge that a car wants at its departure, 0…1")
    soc_min: Soc = Field(0.2, description="a car gives nothing back below this state of charge, 0…1")
    efficiency: Fraction = Field(0.92, description="one-way efficiency between connector and car battery [1]")
    charging_curve: Points | None = Field(
        None, description="[state of charge, highest power of rating] points; default: falling above 0.9 (AC) or 0.55 (DC)"
    )

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """A connector carries its current, and a file can be read."""
        yield from (
            (where, message) for where, message in super().contradictions() if where != ("p_mw",)
        )  # it has one of its own
        if self.s_mva is not None and self.p_back_mw is None:
            yield ("s_mva",), "a point that gives nothing back has no inverter: s_mva needs p_back_mw"
        if PHASES[self.connector] and not LEAST_A <= self.current_a <= 63:
            yield ("current_a",), "an AC connector has 6…63 A (IEC 61851-1)"
        if self.p_back_mw is not None and self.p_back_mw > self.power_mw:
            yield ("p_back_mw",), f"p_back_mw is above the connector's power ({self.power_mw:g})"
        if self.power_mw < self.least_mw:
            yield ("p_mw",), f"p_mw is below the smallest current of 6 A ({self.least_mw:.4g} MW)"
        if PHASES[self.connector] != 1 and self.phase != "all":
            yield ("phase",), f"{self.connector} takes all three phases"
        if self.efficiency == 0 or self.soc_need == 0:
            yield (), "efficiency and soc_need must be more than 0"
        if self.charging_curve is not None and any(not 0 <= x <= 1 or not 0 < y <= 1 for x, y in self.charging_curve):
            yield ("charging_curve",), "state of charge is 0…1, power of rating more than 0 and at most 1"
        if self.sessions is not None:
            yield from ((("sessions",), message) for message in file_findings(self.sessions))

    @property
    def power_mw(self) -> float:
        """Rated power of the connector."""
        if self.p_mw is not None:
            return self.p_mw
        return self.current_a * VOLTS * PHASES[self.connector] / 1e6 if PHASES[self.connector] else 0.05

    @property
    def least_mw(self) -> float:
        """Power at the smallest current; 0 for DC."""
        return LEAST_A * VOLTS * PHASES[self.connector] / 1e6

    def phases(self, m: int) -> IntArray:
        """A connector of one phase is on one: spread over the three where it is not said on which."""
        alone = self.connector == "ac1" and self.phase == "all"
        return 1 + np.arange(m) % 3 if alone else super().phases(m)

    def rating(self, places: Places) -> FloatArray:
        """(m,) rated power of the connectors, never below their smallest current."""
        return np.maximum(places.factor * self.power_mw, self.least_mw)

    def lay_out(self, places: Places) -> Columns:
        """Consumption that follows a setpoint while a car is there; no store of the fleet: it drives away."""
        columns, m = super().lay_out(places), places.m
        back = np.minimum(places.factor * (self.p_back_mw or 0.0), columns.p_mw)
        columns.sign, columns.capability = np.full(m, -1.0), np.full(m, STORAGE_TABLE)
        columns.p_min_mw, columns.p_max_mw = -columns.p_mw, back
        columns.p_gap_mw = np.full(m, self.least_mw)
        columns.p_safe_mw = -columns.p_gap_mw
        columns.eff_charge = columns.eff_discharge = np.full(m, self.efficiency)
        if self.p_back_mw is None:
            columns.s_mva = np.zeros(m)  # a rectifier at a power factor of one
        at = places.time_ns, places.dt_s, places.zone
        if self.sessions is not None:
            sessions = from_file(self.sessions, m, *at)
        else:
            sessions = drawn(self.habit, m, *at, self.need_mwh, places.random)
        columns.own["point"] = np.stack(
            [columns.p_mw, back, columns.p_gap_mw, columns.eff_charge, np.full(m, self.soc_min)], axis=1
        )
        columns.own["curve_x"], columns.own["curve_y"] = rows_of(self.charging_curve or TAPER[self.connector], m)
        columns.events = {"device": sessions.device, "session": self._table(sessions, columns)}
        if not self.controllable:
            columns.series["p"] = self._alone(columns, places)
        return columns

    def _table(self, sessions: Sessions, columns: Columns) -> FloatArray:
        """(sessions, 5) when, what a car holds, has and wants; who came before the run has charged at once since."""
        target = np.full(len(sessions.device), self.soc_need * self.e_car_mwh)
        has = np.maximum(target - sessions.need_mwh, 0.02 * self.e_car_mwh)
        since = np.maximum(-sessions.arrive_s, 0.0) / 3600.0
        has = np.minimum(has + since * columns.p_mw[sessions.device] * self.efficiency, np.maximum(target, has))
        cap = np.full(len(target), self.e_car_mwh)
        return np.stack([np.maximum(sessions.arrive_s, 0.0), sessions.depart_s, cap, has, target], axis=1)

    def _alone(self, columns: Columns, places: Places) -> list[Source | None]:
        """What each point takes when nobody leads it, as a factor on its rating."""
        m, steps = places.m, len(places.time_ns) + round(AFTER_DAYS * 86400 / places.dt_s)
        power = _left_alone(
            columns.own["point"], columns.own["curve_x"], columns.own["curve_y"], *_rows(columns.events["device"], m),
            columns.events["session"], places.dt_s, steps,
        )  # fmt: skip
        return [ChargesAtOnce(f"ev:{self.id}-{j + 1}", power[j].astype(np.float32)) for j in range(m)]


@dataclass(frozen=True, slots=True)
class ChargesAtOnce:
    """Power of a charging point that nobody leads, of its rating, step by step from the start of the run."""

    name: str
    power: npt.NDArray[np.float32] = field(compare=False, repr=False)
    quarters: bool = False

    def values(self, around: Surroundings) -> FloatArray:
        """(T,) factor on the rating; nothing is known of later cars."""
        known = np.zeros(len(around.time_ns))
        count = min(len(known), len(self.power))
        known[:count] = self.power[:count]
        return known


class Ev(DeviceModel):
    """Charging points.

    ``memory["points"]`` (6, m): the row of the present or next session; whether a car is plugged in; its content; what
    cars were short of at their departures so far [MWh], how many were, and how many left in all.
    """

    kind: ClassVar[str] = "ev"
    entry: ClassVar[type[Entry]] = EvEntry

    def __init__(self, at: IntArray, spec: FleetSpec) -> None:
        """Find each point's rows in the table of sessions."""
        super().__init__(at, spec)
        self._first, self._end = _rows(self.own["device"], len(at))
        self._session = np.ascontiguousarray(self.own["session"])
        points = np.zeros((6, len(at)))
        points[ROW] = self._first
        self.memory = {"points": points}

    @property
    def unserved_mwh(self) -> FloatArray:
        """(m,) content that cars were short of at their departures so far."""
        return np.asarray(self.memory["points"][UNSERVED])

    def offer(self, given: StepInput, out: FloatArray) -> None:
        """Cars leave and come; then the setpoint as far as connector, car and need carry it."""
        points = self.memory["points"]
        _come_and_go(self.at, self._end, self._session, given.t_s, points, given.soc)
        _offer(
            self.at, self.own["point"], self.own["curve_x"], self.own["curve_y"], self._session, points, given.t_s,
            given.dt_s / 3600.0, given.applied, self.spec.s_rated_mva, given.soc, out,
        )  # fmt: skip

    def settle(self, given: StepInput, p_mw: FloatArray) -> None:
        """Count delivered energy into the cars."""
        points = self.memory["points"]
        _settle(self.at, self.own["point"], self._session, points, p_mw, given.dt_s / 3600.0, given.soc)

    def flex(self, ahead: Ahead, flex: Flex) -> None:
        """When a car is there, what it holds and what it takes along; the sessions ahead count as known."""
        led = self.spec.fleet.control[self.at] != CONTROL_NONE
        at = self.at[led]
        flex.e_lo_mwh[:, at], flex.e_hi_mwh[:, at], flex.e_start_mwh[at] = 0.0, 0.0, 0.0
        flex.p_lo_mw[:, at], flex.p_hi_mw[:, at] = 0.0, 0.0
        _flex(
            self.at, led, self.own["point"], self._first, self._end, self._session, ahead.t_s, ahead.step_s, ahead.soc,
            flex.p_lo_mw, flex.p_hi_mw, flex.e_lo_mwh, flex.e_hi_mwh, flex.e_start_mwh, flex.e_flow_mwh, flex.e_leave_mwh,
        )  # fmt: skip


def _rows(device: IntArray, m: int) -> tuple[IntArray, IntArray]:
    """First row of each point in the table of sessions, and the one behind its last."""
    numbers = np.arange(m)
    return np.searchsorted(device, numbers), np.searchsorted(device, numbers, side="right")


@njit(cache=True, nogil=True)
def _come_and_go(at: IntArray, end: IntArray, session: FloatArray, t_s: float, points: FloatArray, soc: FloatArray) -> None:
    """Who is due leaves, and what is missing is counted; who has come is plugged in."""
    for j in range(at.size):
        row = int(points[ROW, j])
        while row < end[j] and session[row, LEAVE] <= t_s:
            if points[PLUGGED, j] > 0.0:
                short = session[row, E_TARGET] - points[CONTENT, j]
                points[UNSERVED, j] += max(short, 0.0)
                points[SHORT, j] += 1.0 if short > 1e-9 else 0.0
                points[SERVED, j] += 1.0
            points[PLUGGED, j] = points[CONTENT, j] = 0.0
            row += 1
        points[ROW, j] = row
        if row < end[j] and points[PLUGGED, j] == 0.0 and session[row, ARRIVE] <= t_s:
            points[PLUGGED, j], points[CONTENT, j] = 1.0, session[row, E_ARRIVE]
        soc[at[j]] = points[CONTENT, j] / session[row, CAP] if points[PLUGGED, j] > 0.0 else math.nan


@njit(cache=True, nogil=True)
def _limits(
    point: FloatArray, x: FloatArray, y: FloatArray, cap: float, content: float, target: float, hours: float
) -> tuple[float, float, float]:
    """Power that a car can take, takes when left alone, and can give back over a step, magnitudes [MW]."""
    limit = point[RATED] * curve_at(content / cap, x, y)
    takes = min(limit, max(cap - content, 0.0) / (point[EFF] * hours))
    alone = min(limit, max(target - content, 0.0) / (point[EFF] * hours))
    gives = min(point[BACK], max(content - point[LEAST_SOC] * cap, 0.0) * point[EFF] / hours)
    return takes, alone, gives


@njit(cache=True, nogil=True)
def _offer(
    at: IntArray, point: FloatArray, x: FloatArray, y: FloatArray, session: FloatArray, points: FloatArray, t_s: float,
    hours: float, applied: FloatArray, s_rated: FloatArray, soc: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    for j in range(at.size):
        i, row = at[j], int(points[ROW, j])
        on = applied[_S_CONNECT, i] * points[PLUGGED, j]
        out[_SOC, i] = soc[i]
        out[_P, i] = out[_Q, i] = out[_MIN, i] = out[_MAX, i] = 0.0
        out[_FOLLOW, i] = 1.0
        if points[PLUGGED, j] == 0.0:
            continue
        content, target, gap = points[CONTENT, j], session[row, E_TARGET], point[j, GAP]
        takes, alone, gives = _limits(point[j], x[j], y[j], session[row, CAP], content, target, hours)
        p, mode = -alone, applied[_S_MODE, i]
        if mode == LIMIT:
            p = min(p, applied[_S_LIMIT, i])
        if mode == FOLLOW:
            p = applied[_S_P, i]
        # Less than the smallest current is a pause; a car that is nearly full may well draw less than it is offered.
        p = 0.0 if mode != 0.0 and abs(p) < gap * (1.0 - 1e-9) and not (mode == LIMIT and p == -alone) else p
        out[_P, i] = min(max(p, -takes), gives) * on
        out[_MIN, i] = -max(takes, gap) * on if takes > 0.0 else 0.0
        out[_MAX, i] = gives * on
        out[_NEED, i], out[_DEPART, i] = max(target - content, 0.0) / point[j, EFF], session[row, LEAVE] - t_s
        if s_rated[i] > 0.0 and on > 0.0:
            out[_Q, i] = applied[_S_Q, i]
            out[_FOLLOW, i] = 1.0 if applied[_S_Q_MODE, i] == FOLLOW else 0.0


@njit(cache=True, nogil=True)
def _settle(
    at: IntArray, point: FloatArray, session: FloatArray, points: FloatArray, p_mw: FloatArray, hours: float, soc: FloatArray
) -> None:  # fmt: skip
    for j in range(at.size):
        if points[PLUGGED, j] == 0.0:
            continue
        p, eff, cap = p_mw[at[j]], point[j, EFF], session[int(points[ROW, j]), CAP]
        gained = -p / eff if p > 0.0 else -p * eff
        points[CONTENT, j] = min(max(points[CONTENT, j] + gained * hours, 0.0), cap)
        soc[at[j]] = points[CONTENT, j] / cap


@njit(cache=True, nogil=True)
def _left_alone(
    point: FloatArray, x: FloatArray, y: FloatArray, first: IntArray, end: IntArray, session: FloatArray, dt_s: float, steps: int
) -> FloatArray:
    """(m, steps) power that points take when nobody leads them, of rating."""
    out = np.zeros((first.size, steps))
    for j in range(first.size):
        for row in range(first[j], end[j]):
            content = session[row, E_ARRIVE]
            for k in range(round(session[row, ARRIVE] / dt_s), min(round(session[row, LEAVE] / dt_s), steps)):
                alone = _limits(point[j], x[j], y[j], session[row, CAP], content, session[row, E_TARGET], dt_s / 3600.0)[1]
                content += alone * point[j, EFF] * dt_s / 3600.0
                out[j, k] = alone / point[j, RATED]
    return out


@njit(cache=True, nogil=True)
def _flex(
    at: IntArray, led: npt.NDArray[np.bool_], point: FloatArray, first: IntArray, end: IntArray, session: FloatArray, t_s: float,
    step_s: float, soc: FloatArray, p_lo: FloatArray, p_hi: FloatArray, e_lo: FloatArray, e_hi: FloatArray, e_start: FloatArray,
    flow: FloatArray, leave: FloatArray,
) -> None:  # fmt: skip
    steps = p_lo.shape[0]
    for j in range(at.size):
        free = 0  # first step that no earlier car takes part in
        for row in range(first[j], end[j] if led[j] else first[j]):
            i, cap = at[j], session[row, CAP]
            come, go = (session[row, ARRIVE] - t_s) / step_s, (session[row, LEAVE] - t_s) / step_s
            if go <= 0.0 or come >= steps:
                continue
            has, begin = session[row, E_ARRIVE], max(math.floor(come + 1e-9), free)
            if come <= 1e-9:
                has = soc[i] * cap if np.isfinite(soc[i]) else has
                e_start[i] = has
            elif begin < steps:
                flow[begin, i] += has
            last = math.ceil(go - 1e-9)
            for k in range(begin, min(last, steps)):
                part = min(go, k + 1.0) - max(come, float(k))
                p_lo[k, i], p_hi[k, i] = -point[j, RATED] * part, point[j, BACK] * part
                e_hi[k, i], e_lo[k, i] = cap, min(point[j, LEAST_SOC] * cap, session[row, E_ARRIVE], has)
            wants = max(session[row, E_TARGET], session[row, E_ARRIVE])
            if last < steps:
                leave[last, i] += wants
            elif last >= steps and begin < steps:
                # A car that leaves behind the horizon must by then have what the rest of its stay cannot give.
                later = (go - steps) * step_s / 3600.0 * point[j, RATED] * point[j, EFF]
                e_lo[steps - 1, i] = max(e_lo[steps - 1, i], min(wants - later, cap))
            free = last
