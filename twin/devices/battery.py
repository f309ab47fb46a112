"""Battery storage: follows its setpoint inside power and energy limits; losses, temperature and ageing.

The state of charge is of what the battery can hold now: nominal energy times state of health. Within a step, power and
stored energy follow one piecewise-linear curve, so that what is offered is exactly what the content carries through
the step. Content changes by what was delivered, then by standby consumption and self-discharge, as far as there is any.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Final, Literal

import numpy as np
import numpy.typing as npt
from numba import njit
from pydantic import Discriminator, Field, Tag

from twin.devices import ageing
from twin.devices.ageing import CHEMISTRIES, Chemistry
from twin.devices.entry import STORAGE_TABLE, Columns, Entry, InverterEntry, Places
from twin.devices.model import Ahead, DeviceModel, Offer, StepInput
from twin.devices.piecewise import Points, curve_at, rows_of, through_origin
from twin.series import profile_named
from twin.spec import FleetSpec
from vpp.fields import FileRef, Fraction, Hours, MwhRating, MwMagnitude, Number, Ratio, Soc, Where, by_shape
from vpp.kernel.fleet import CONTROL_FOLLOW
from vpp.kernel.flex import Flex
from vpp.kernel.setpoints import FOLLOW, Setpoints
from vpp.kernel.signals import FloatArray, IntArray

_P, _Q, _FOLLOW = Offer.p_mw.row, Offer.q_mvar.row, Offer.follow_q.row
_MIN, _MAX, _SOC = Offer.p_avail_min_mw.row, Offer.p_avail_max_mw.row, Offer.soc.row
_S_P, _S_MODE, _S_CONNECT = Setpoints.p_mw.row, Setpoints.mode.row, Setpoints.connect.row
_S_Q, _S_Q_MODE = Setpoints.q_mvar.row, Setpoints.q_mode.row

# One way, inverter and cells, over power of rating: poor at low power, best near a third, falling to rated power. An
# assumption in the range of home storage systems, no measurement of one.
TYPICAL: Final = ((0.02, 0.70), (0.05, 0.86), (0.1, 0.92), (0.2, 0.95), (0.35, 0.957), (0.6, 0.953), (1.0, 0.94))
FULL_POWER: Final = ((0.0, 1.0), (1.0, 1.0))
# Lithium cells must not be charged below freezing (plating), and systems throttle when they are hot.
CHARGE_TEMP: Final = ((0.0, 0.0), (10.0, 1.0), (45.0, 1.0), (55.0, 0.0))
DISCHARGE_TEMP: Final = ((-20.0, 0.0), (-5.0, 1.0), (50.0, 1.0), (60.0, 0.0))
MONTH_H: Final = 730.0

Efficiency = Annotated[
    Annotated[Fraction, Tag("number")] | Annotated[Literal["typical"], Tag("text")] | Annotated[Points, Tag("list")],
    Discriminator(by_shape),
]
Ambient = Annotated[Annotated[Number, Tag("number")] | Annotated[FileRef, Tag("text")], Discriminator(by_shape)]


class BatteryEntry(InverterEntry):
    """Batteries: energy, state of charge, losses, and what wears them."""

    native: ClassVar[str] = "storages"
    controls: ClassVar[int] = CONTROL_FOLLOW

    kind: Literal["battery"]
    e_mwh: MwhRating | None = Field(None, description="usable energy of each when new [MWh]; default: the storage's own")
    soc: Soc | None = Field(None, description="state of charge at the start, 0…1; default: the storage's own, else 0.5")
    soc_min: Soc = Field(0.05, description="lowest state of charge, 0…1")
    soc_max: Soc = Field(0.95, description="highest state of charge, 0…1")
    efficiency: Efficiency = Field(
        0.95,
        description='one-way efficiency, each way: a number, "typical", or [power of rating, efficiency] points [1]',
    )
    standby_mw: MwMagnitude = Field(0.0, description="what control and cooling draw from the store all the time [MW]")
    self_discharge_per_month: Fraction = Field(0.0, description="part of the content that is lost in 730 hours of rest [1]")
    charge_taper: Points = Field(FULL_POWER, description="[state of charge, highest charging power of rating] points")
    discharge_taper: Points = Field(FULL_POWER, description="[state of charge, highest discharging power of rating] points")
    ambient_c: Ambient = Field(20.0, description="temperature around it: a number or file:<csv>, a day or a year [°C]")
    heating_k: Ratio = Field(8.0, description="how much warmer than its surroundings it gets at rated power, in the end [K]")
    thermal_h: Hours = Field(2.0, description="time constant of its temperature [h]")
    chemistry: Chemistry = Field("none", description="cells that age: LFP or NMC; none: no ageing")
    soh: Fraction = Field(1.0, description="state of health at the start: capacity of that when new [1]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """The state of charge lies in its band; curves stay where they mean something."""
        yield from super().contradictions()
        if self.e_mwh is None and self.place != self.native:
            yield ("e_mwh",), f"e_mwh is missing: only places of {self.native} bring an energy of their own"
        if self.soc_min >= self.soc_max:
            yield ("soc_min",), f"soc_min is not below soc_max ({self.soc_max:g})"
        elif self.soc is not None and not self.soc_min <= self.soc <= self.soc_max:
            yield ("soc",), f"soc is outside soc_min…soc_max ({self.soc_min:g}…{self.soc_max:g})"
        if self.efficiency == 0:
            yield ("efficiency",), "efficiency must be more than 0"
        if isinstance(self.efficiency, tuple):
            yield from _curve_findings(self.efficiency)
        for key in ("charge_taper", "discharge_taper"):
            if any(not 0 <= x <= 1 or not 0 <= y <= 1 for x, y in getattr(self, key)):
                yield (key,), "state of charge and power of rating are fractions 0…1"
        if self.soh < 0.2:
            yield ("soh",), "soh is a fraction of the capacity when new; a battery below 0.2 is none"
        if self.self_discharge_per_month == 1:
            yield ("self_discharge_per_month",), "self_discharge_per_month must be below 1"

    def lay_out(self, places: Places) -> Columns:
        """A store that follows its setpoint both ways."""
        columns, m = super().lay_out(places), places.m
        columns.p_min_mw, columns.p_safe_mw = -columns.p_max_mw, np.zeros(m)
        soc = np.full(m, np.nan) if places.table is None else np.asarray(places.table.soc[places.row], np.float64)
        soc = np.where(np.isfinite(soc), soc, 0.5) if self.soc is None else np.full(m, self.soc)
        own = self.e_mwh is None and places.table is not None
        energy = places.table.e_mwh[places.row] if own else np.full(m, self.e_mwh, np.float64)
        columns.e_mwh = places.factor * energy.astype(np.float64) * self.soh
        columns.soc = np.clip(soc, self.soc_min, self.soc_max)
        columns.soc_min, columns.soc_max = np.full(m, self.soc_min), np.full(m, self.soc_max)
        curve = self.curve
        columns.eff_charge = columns.eff_discharge = np.full(m, float(np.interp(0.5, *np.array(curve).T)))
        columns.capability = np.full(m, STORAGE_TABLE)
        for name, points in (("eff", curve), ("charge", self.charge_taper), ("discharge", self.discharge_taper)):
            columns.own[f"{name}_x"], columns.own[f"{name}_y"] = rows_of(points, m)
        numbers = {
            "standby_mw": self.standby_mw, "fade_per_h": -math.log(1.0 - self.self_discharge_per_month) / MONTH_H,
            "heating_k": self.heating_k, "thermal_h": self.thermal_h, "soh": self.soh, "chemistry": CHEMISTRIES[self.chemistry],
            "ambient_c": self.ambient_c if isinstance(self.ambient_c, float) else 0.0,
        }  # fmt: skip
        columns.own |= {
            name: np.full(m, value, np.int64 if name == "chemistry" else np.float64) for name, value in numbers.items()
        }
        columns.series["ambient"] = [profile_named(self.ambient_c if isinstance(self.ambient_c, str) else "")] * m
        return columns

    @property
    def curve(self) -> tuple[tuple[float, float], ...]:
        """[power of rating, one-way efficiency] points."""
        if isinstance(self.efficiency, tuple):
            return self.efficiency
        return TYPICAL if self.efficiency == "typical" else ((1.0, float(self.efficiency)),)


def _curve_findings(curve: tuple[tuple[float, float], ...]) -> Iterator[tuple[Where, str]]:
    """An efficiency is a part of one, and more power in is more power out."""
    if any(x <= 0 for x, _ in curve):
        yield ("efficiency",), "powers of rating must be more than 0"
    elif any(not 0 < y <= 1 for _, y in curve):
        yield ("efficiency",), "an efficiency is a fraction, more than 0 and at most 1"
    elif any(x1 / y1 <= x0 / y0 or x1 * y1 <= x0 * y0 for (x0, y0), (x1, y1) in pairwise(curve)):
        yield ("efficiency",), "the efficiency changes so fast that more power would move less energy"


class Battery(DeviceModel):
    """Batteries behind inverters: discharging positive; the state of charge is of what they can hold now.

    ``memory``: ``soh`` and ``temp_c`` (m,); ``ageing`` (rows, those that age), see `twin.devices.ageing`.
    """

    kind: ClassVar[str] = "battery"
    entry: ClassVar[type[Entry]] = BatteryEntry

    def __init__(self, at: IntArray, spec: FleetSpec) -> None:
        """Make the curves of power at the terminals over power in the store."""
        super().__init__(at, spec)
        f, m = spec.fleet, len(at)
        self._rated = np.maximum(np.maximum(f.p_max_mw[at], -f.p_min_mw[at]), 1e-12)
        x, y = self.own.get("eff_x"), self.own.get("eff_y")
        out, into = y, y
        if x is None or out is None or into is None:
            x, out, into = np.ones((m, 2)), f.eff_discharge[at][:, None], f.eff_charge[at][:, None]
        # Rows: at the terminals; drawn from the store when that is given; stored when that is taken. Of rated power.
        self._power = np.ascontiguousarray(np.stack(np.broadcast_arrays(x, x / out, x * into)))
        flat_taper = rows_of(FULL_POWER, m)
        self._taper = np.ascontiguousarray([
            self.own.get(f"{way}_{xy}", flat_taper[k]) for way in ("charge", "discharge") for k, xy in enumerate("xy")
        ])  # fmt: skip
        self._temp_limit = np.array([part for points in (CHARGE_TEMP, DISCHARGE_TEMP) for part in np.array(points).T])
        soh = self._own("soh", 1.0)
        self._e_new = f.e_mwh[at] / soh
        self._drains = np.array([self._own("standby_mw", 0.0), self._own("fade_per_h", 0.0)])
        self._thermal = np.array([self._own("heating_k", 0.0), self._own("thermal_h", 1.0), self._own("ambient_c", 20.0)])
        self._ambient = np.asarray(self._own("ambient", -1), np.int64)
        chemistry = np.asarray(self._own("chemistry", 0), np.int64)
        self._ages = np.flatnonzero(chemistry > 0)
        self._chemistry = chemistry[self._ages]
        start = spec.soc0[at]
        self.memory = {
            "soh": soh.copy(), "temp_c": self._thermal[2].copy(),
            "ageing": ageing.fresh(start[self._ages], 1.0 - soh[self._ages]),
        }  # fmt: skip

    def _own(self, name: str, default: float) -> npt.NDArray[Any]:
        return np.asarray(self.own.get(name, np.full(len(self.at), default)))

    def offer(self, given: StepInput, out: FloatArray) -> None:
        """The setpoint, as far as power, temperature and stored energy carry it through the step."""
        f, now = self.spec.fleet, self.memory
        if given.k <= 0:
            self._settle_temperature(given)
        _offer(
            self.at, f.p_min_mw, f.p_max_mw, self._rated, self._e_new, now["soh"], now["temp_c"], self._power, self._taper,
            self._temp_limit, self._drains, given.soc, given.dt_s / 3600.0, given.applied, out,
        )  # fmt: skip

    def _settle_temperature(self, given: StepInput) -> None:
        """At the start of a run batteries are as warm as what is around them."""
        followed = self._ambient >= 0
        self.memory["temp_c"][followed] = given.profile[self._ambient[followed]]

    def settle(self, given: StepInput, p_mw: FloatArray) -> None:
        """Count delivered energy and losses into the state of charge, warm and age."""
        now, hours = self.memory, given.dt_s / 3600.0
        _settle(
            self.at, self._rated, self._e_new, now["soh"], now["temp_c"], self._power, self._drains, self._thermal, self._ambient,
            given.profile, p_mw, hours, given.soc,
        )  # fmt: skip
        if self._ages.size:
            soc = given.soc[self.at[self._ages]]
            ageing.age(self._ages, self._chemistry, soc, now["temp_c"], hours, now["ageing"], now["soh"])

    def flex(self, ahead: Ahead, flex: Flex) -> None:
        """What drains the store by itself."""
        hours, (standby, fade) = ahead.step_s / 3600.0, self._drains
        drains = np.flatnonzero((standby > 0.0) | (fade > 0.0))
        at = self.at[drains]
        flex.e_flow_mwh[:, at] -= standby[drains] * hours + flex.e_start_mwh[at] * -np.expm1(-fade[drains] * hours)


@njit(cache=True, nogil=True)
def _offer(
    at: IntArray, p_min: FloatArray, p_max: FloatArray, rated: FloatArray, e_new: FloatArray, soh: FloatArray, temp: FloatArray,
    power: FloatArray, taper: FloatArray, temp_limit: FloatArray, drains: FloatArray, soc: FloatArray, hours: float,
    applied: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    for j in range(at.size):
        i = at[j]
        now, per_h = e_new[j] * soh[j], 1.0 / (hours * rated[j])
        content = min(max(soc[i], 0.0), 1.0) * now
        room = now - content
        content = max(content - drains[0, j] * hours, 0.0)
        gives = curve_at(soc[i], taper[2, j], taper[3, j]) * curve_at(temp[j], temp_limit[2], temp_limit[3])
        takes = curve_at(soc[i], taper[0, j], taper[1, j]) * curve_at(temp[j], temp_limit[0], temp_limit[1])
        most = min(p_max[i] * gives, through_origin(content * per_h, power[1, j], power[0, j]) * rated[j])
        least = max(p_min[i] * takes, -through_origin(room * per_h, power[2, j], power[0, j]) * rated[j])
        on = applied[_S_CONNECT, i]
        asked = applied[_S_P, i] if applied[_S_MODE, i] == FOLLOW else 0.0
        out[_P, i] = min(max(asked, least), most) * on
        out[_Q, i] = applied[_S_Q, i] * on
        out[_FOLLOW, i] = 1.0 if applied[_S_Q_MODE, i] == FOLLOW or on == 0.0 else 0.0
        out[_MIN, i], out[_MAX, i], out[_SOC, i] = least * on, most * on, soc[i]


@njit(cache=True, nogil=True)
def _settle(
    at: IntArray, rated: FloatArray, e_new: FloatArray, soh: FloatArray, temp: FloatArray, power: FloatArray, drains: FloatArray,
    thermal: FloatArray, ambient: IntArray, profile: npt.NDArray[np.float32], p_mw: FloatArray, hours: float, soc: FloatArray,
) -> None:  # fmt: skip
    for j in range(at.size):
        i = at[j]
        p, now = p_mw[i], e_new[j] * soh[j]
        size = abs(p) / rated[j]
        drawn = through_origin(size, power[0, j], power[1, j]) if p > 0.0 else -through_origin(size, power[0, j], power[2, j])
        content = min(max(soc[i] - drawn * rated[j] * hours / now, 0.0), 1.0)
        content = max(content - drains[0, j] * hours / now, 0.0)
        soc[i] = content * math.exp(-drains[1, j] * hours)
        around = float(profile[ambient[j]]) if ambient[j] >= 0 else thermal[2, j]
        # What is lost at rated power, the mean of both ways, warms by ``heating_k`` in the end.
        full = power[1, j, -1] - power[2, j, -1]
        lost = abs(drawn - p / rated[j]) * 2.0 / full if full > 1e-12 else 0.0
        temp[j] += (around + thermal[0, j] * lost - temp[j]) * -math.expm1(-hours / thermal[1, j])
