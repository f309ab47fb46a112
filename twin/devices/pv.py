"""Photovoltaics by profile or by weather: available power, limited by command. Its inverter's functions are in `inverter`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from numba import njit
from pydantic import AfterValidator, Field

from twin.devices.entry import Columns, Entry, InverterEntry, Places
from twin.devices.model import DeviceModel, Offer, StepInput
from twin.devices.pv_source import MOUNTINGS, PvSource, database, fitting_modules, module_volts
from twin.series import Source, profile_named
from vpp.fields import Count, Fraction, Number, Part, Where, bad
from vpp.grid.source import suggest
from vpp.kernel.fleet import CONTROL_LIMIT
from vpp.kernel.setpoints import FOLLOW, LIMIT, Setpoints
from vpp.kernel.signals import FloatArray, Int32Array, IntArray

_P, _Q, _FOLLOW = Offer.p_mw.row, Offer.q_mvar.row, Offer.follow_q.row
_MIN, _MAX, _SOC = Offer.p_avail_min_mw.row, Offer.p_avail_max_mw.row, Offer.soc.row
_S_LIMIT, _S_MODE, _S_CONNECT = Setpoints.p_limit_mw.row, Setpoints.mode.row, Setpoints.connect.row
_S_Q, _S_Q_MODE, _S_P = Setpoints.q_mvar.row, Setpoints.q_mode.row, Setpoints.p_mw.row


AZIMUTHS, TILTS = (-1.0, -0.5, 0.0, 0.5, 1.0), (-1.0, 0.0, 1.0)  # classes of a spread: each is a series of its own


def _tilt(value: float) -> float:
    if not 0 <= value <= 90:
        raise bad("a tilt lies between 0 (flat) and 90 degree (upright)")
    return value


def _azimuth(value: float) -> float:
    if not 0 <= value <= 360:
        raise bad("an azimuth lies between 0 and 360 degree, from north over east: south is 180")
    return value


def _half_turn(value: float) -> float:
    if not 0 <= value <= 180:
        raise bad("a spread lies between 0 and 180 degree")
    return value


def _per_kelvin(value: float) -> float:
    if not -0.01 <= value <= 0:
        raise bad("power falls with temperature, by at most 0.01 a kelvin: between -0.01 and 0")
    return value


Degrees = Annotated[Number, AfterValidator(_half_turn)]


class Panels(Part):
    """Panels and inverters that follow the weather, after pvlib."""

    tilt_degree: Annotated[Number, AfterValidator(_tilt)] = Field(30.0, description="tilt, 0 is flat [degree]")
    azimuth_degree: Annotated[Number, AfterValidator(_azimuth)] = Field(
        180.0, description="where they look, from north over east: 180 is south [degree]"
    )
    tilt_spread_degree: Degrees = Field(0.0, description="tilts vary by ± this, in three classes, by the seed [degree]")
    azimuth_spread_degree: Degrees = Field(0.0, description="azimuths vary by ± this, in five classes, by the seed [degree]")
    module: str = Field("", description="module of the CEC's or Sandia's database as pvlib names it; default: PVWatts")
    inverter: str = Field("", description="inverter of the CEC's database as pvlib names it; default: PVWatts")
    modules_per_string: Count | None = Field(None, description="modules in a string; default: by the inverter's voltage")
    strings: Count | None = Field(None, description="strings at an inverter; default: by p_mw / s_mva")
    gamma_per_k: Annotated[Number, AfterValidator(_per_kelvin)] = Field(
        -0.0035, description="change of power with temperature, of a PVWatts panel [1/K]"
    )
    efficiency: Fraction = Field(0.96, description="nominal efficiency of a PVWatts inverter [1]")
    soiling: Fraction = Field(0.02, description="share of the irradiance that dirt takes [1]")
    losses: Fraction = Field(0.10, description="share of DC power lost to wiring, mismatch, shading and age [1]")
    albedo: Fraction = Field(0.2, description="share of the irradiance that the ground reflects [1]")
    temperature: Literal["sapm", "pvsyst", "faiman"] = Field("sapm", description="model of the cells' temperature")
    mounting: Literal["open", "roof"] = Field("open", description="air behind the panels, or close to a roof")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Names are in the databases, and models have what they need."""
        if self.module and self.module not in (cec := database("cecmod")) and self.module not in database("sandiamod"):
            hint = suggest(self.module, [*cec, *database("sandiamod")])
            yield ("module",), f"no module {self.module!r} in pvlib's databases{hint}"
        if self.inverter and self.inverter not in (units := database("cecinverter")):
            yield ("inverter",), f"no inverter {self.inverter!r} in pvlib's database{suggest(self.inverter, list(units))}"
        if self.inverter and not self.module:
            yield ("inverter",), "an inverter of the database needs a module: its efficiency depends on their voltage"
        yield from self._string()
        for key in ("modules_per_string", "strings"):
            if getattr(self, key) is not None and not self.inverter:
                yield (key,), f"{key} belongs to an inverter of the database"
        if self.mounting not in MOUNTINGS[self.temperature]:
            yield ("mounting",), f"{self.temperature} knows no panels close to a roof"
        if self.efficiency == 0:
            yield ("efficiency",), "efficiency must be more than 0"

    def _string(self) -> Iterator[tuple[Where, str]]:
        """A string's voltage is one that its inverter can work at."""
        known = self.module in database("cecmod", self.module) or self.module in database("sandiamod", self.module)
        if not known or self.inverter not in database("cecinverter", self.inverter):
            return
        unit = database("cecinverter")[self.inverter]
        modules = self.modules_per_string or fitting_modules(self.module, self.inverter)
        volts, low, high = modules * module_volts(self.module), float(unit["Mppt_low"]), float(unit["Vdcmax"])
        if not low <= volts <= high:
            key = "inverter" if self.modules_per_string is None else "modules_per_string"
            yield (key,), f"strings of {modules} have {volts:.0f} V, and the inverter works between {low:g} and {high:g} V"

    def source(self, cell: int, tilt: float, azimuth: float, ac_ratio: float) -> PvSource:
        """What panels of this tilt and azimuth give in a weather cell."""
        return PvSource(
            cell, min(max(self.tilt_degree + tilt * self.tilt_spread_degree, 0.0), 90.0),
            (self.azimuth_degree + azimuth * self.azimuth_spread_degree) % 360.0, self.module, self.inverter,
            self.modules_per_string or 0, self.strings or 0, ac_ratio, self.gamma_per_k, self.efficiency, self.soiling,
            self.losses, self.albedo, self.temperature, self.mounting,
        )  # fmt: skip


class PvEntry(InverterEntry):
    """Sources whose available power follows a profile or the weather: PV, and any other sgen of the network."""

    native: ClassVar[str] = "sgens"
    controls: ClassVar[int] = CONTROL_LIMIT

    kind: Literal["pv"]
    profile: str | None = Field(
        None, description="SimBench profile or file:<csv>, factor of the rating; default: the sgen's own, else PV by the seed"
    )
    panels: Panels | None = Field(None, description="panels that follow the scenario's weather, in place of a profile")

    @property
    def needs_weather(self) -> bool:
        """Panels do."""
        return self.panels is not None

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Either a profile leads or the weather."""
        yield from super().contradictions()
        if self.panels is not None and self.profile is not None:
            yield ("profile",), "profile and panels: only one of them can say what the sun gives"

    def lay_out(self, places: Places) -> Columns:
        """Generation that can be limited."""
        columns = super().lay_out(places)
        columns.series["p"] = self._profiles(places) if self.panels is None else self._sun(self.panels, places, columns)
        return columns

    def _profiles(self, places: Places) -> list[Source | None]:
        """The profile of each."""
        drawn = [places.pv_profiles[i] for i in places.random.integers(len(places.pv_profiles), size=places.m)]
        names = [places.table.profile[i] for i in places.row] if self.place == "sgens" else drawn
        return [profile_named(name) for name in (names if self.profile is None else [self.profile] * places.m)]

    def _sun(self, panels: Panels, places: Places, columns: Columns) -> list[Source | None]:
        """The panels of each, in one of a few classes of tilt and azimuth."""
        tilt = np.array(TILTS)[places.random.integers(len(TILTS), size=places.m)]
        azimuth = np.array(AZIMUTHS)[places.random.integers(len(AZIMUTHS), size=places.m)]
        ratio = np.round(columns.s_mva / np.maximum(columns.p_mw, 1e-12), 3)  # few values, so that few series are made
        return [panels.source(*of) for of in zip(places.cell.tolist(), tilt.tolist(), azimuth.tolist(), ratio.tolist())]


class Pv(DeviceModel):
    """PV plants: rated power times profile, at most the inverter's rating and the commanded limit."""

    kind: ClassVar[str] = "pv"
    entry: ClassVar[type[Entry]] = PvEntry

    def offer(self, given: StepInput, out: FloatArray) -> None:
        """Available power of this step, limited."""
        s = self.spec
        _offer(self.at, s.p_rated_mw, s.s_rated_mva, s.profile_p, given.profile, given.applied, out)

    def expect(self, profile: npt.NDArray[np.float32]) -> FloatArray:
        """Available power: what the sun gives, as far as the inverter carries it."""
        return np.minimum(super().expect(profile), self.spec.s_rated_mva[self.at])


@njit(cache=True, nogil=True)
def _offer(
    at: IntArray, p_rated: FloatArray, s_rated: FloatArray, profile_p: Int32Array, factor: npt.NDArray[np.float32],
    applied: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    for j in range(at.size):
        i = at[j]
        available = min(p_rated[i] * (factor[profile_p[i]] if profile_p[i] >= 0 else 1.0), s_rated[i])
        mode = applied[_S_MODE, i]
        p = min(available, applied[_S_LIMIT, i]) if mode == LIMIT else available
        p = min(available, applied[_S_P, i]) if mode == FOLLOW else p
        on = applied[_S_CONNECT, i]
        out[_P, i] = max(p, 0.0) * on
        out[_Q, i] = applied[_S_Q, i] * on
        out[_FOLLOW, i] = 1.0 if applied[_S_Q_MODE, i] == FOLLOW or on == 0.0 else 0.0
        out[_MIN, i], out[_MAX, i], out[_SOC, i] = 0.0, available * on, np.nan
