"""Battery storage: follows its setpoint inside power and energy limits; one-way efficiencies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np
from numba import njit
from pydantic import Field

from twin.devices.entry import STORAGE_TABLE, Columns, Entry, InverterEntry, Places
from twin.devices.model import DeviceModel, Offer, StepInput
from vpp.fields import Fraction, MwhRating, Soc, Where
from vpp.kernel.fleet import CONTROL_FOLLOW
from vpp.kernel.setpoints import FOLLOW, Setpoints
from vpp.kernel.signals import FloatArray, IntArray

_P, _Q, _FOLLOW = Offer.p_mw.row, Offer.q_mvar.row, Offer.follow_q.row
_MIN, _MAX, _SOC = Offer.p_avail_min_mw.row, Offer.p_avail_max_mw.row, Offer.soc.row
_S_P, _S_MODE, _S_CONNECT = Setpoints.p_mw.row, Setpoints.mode.row, Setpoints.connect.row
_S_Q, _S_Q_MODE = Setpoints.q_mvar.row, Setpoints.q_mode.row


class BatteryEntry(InverterEntry):
    """Batteries: energy, state of charge and one-way efficiency."""

    native: ClassVar[str] = "storages"
    controls: ClassVar[int] = CONTROL_FOLLOW

    kind: Literal["battery"]
    e_mwh: MwhRating | None = Field(None, description="usable energy of each [MWh]; default: the storage's own")
    soc: Soc | None = Field(None, description="state of charge at the start, 0…1; default: the storage's own, else 0.5")
    soc_min: Soc = Field(0.05, description="lowest state of charge, 0…1")
    soc_max: Soc = Field(0.95, description="highest state of charge, 0…1")
    efficiency: Fraction = Field(0.95, description="one-way efficiency, charging and discharging each [1]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """The state of charge lies in its band."""
        yield from super().contradictions()
        if self.e_mwh is None and self.place != self.native:
            yield ("e_mwh",), f"e_mwh is missing: only places of {self.native} bring an energy of their own"
        if self.soc_min >= self.soc_max:
            yield ("soc_min",), f"soc_min is not below soc_max ({self.soc_max:g})"
        elif self.soc is not None and not self.soc_min <= self.soc <= self.soc_max:
            yield ("soc",), f"soc is outside soc_min…soc_max ({self.soc_min:g}…{self.soc_max:g})"
        if self.efficiency == 0:
            yield ("efficiency",), "efficiency must be more than 0"

    def lay_out(self, places: Places) -> Columns:
        """A store that follows its setpoint both ways."""
        columns, m = super().lay_out(places), places.m
        columns.p_min_mw, columns.p_safe_mw = -columns.p_max_mw, np.zeros(m)
        soc = np.full(m, np.nan) if places.table is None else np.asarray(places.table.soc[places.row], np.float64)
        soc = np.where(np.isfinite(soc), soc, 0.5) if self.soc is None else np.full(m, self.soc)
        own = self.e_mwh is None and places.table is not None
        energy = places.table.e_mwh[places.row] if own else np.full(m, self.e_mwh, np.float64)
        columns.e_mwh = places.factor * energy.astype(np.float64)
        columns.soc = np.clip(soc, self.soc_min, self.soc_max)
        columns.soc_min, columns.soc_max = np.full(m, self.soc_min), np.full(m, self.soc_max)
        columns.eff_charge = columns.eff_discharge = np.full(m, self.efficiency)
        columns.capability = np.full(m, STORAGE_TABLE)
        return columns


class Battery(DeviceModel):
    """Batteries behind inverters: discharging positive; the state of charge is of the nominal energy."""

    kind: ClassVar[str] = "battery"
    entry: ClassVar[type[Entry]] = BatteryEntry

    def offer(self, given: StepInput, out: FloatArray) -> None:
        """The setpoint, as far as power and stored energy carry it through the step."""
        f = self.spec.fleet
        _offer(
            self.at, f.p_min_mw, f.p_max_mw, f.e_mwh, f.eff_charge, f.eff_discharge, given.soc, given.dt_s / 3600.0,
            given.applied, out,
        )  # fmt: skip

    def settle(self, given: StepInput, p_mw: FloatArray) -> None:
        """Count delivered energy into the state of charge."""
        f = self.spec.fleet
        _settle(self.at, f.e_mwh, f.eff_charge, f.eff_discharge, p_mw, given.dt_s / 3600.0, given.soc)


@njit(cache=True, nogil=True)
def _offer(
    at: IntArray, p_min: FloatArray, p_max: FloatArray, e_mwh: FloatArray, eff_in: FloatArray, eff_out: FloatArray,
    soc: FloatArray, hours: float, applied: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    for j in range(at.size):
        i = at[j]
        most = min(p_max[i], max(soc[i], 0.0) * e_mwh[i] * eff_out[i] / hours)
        least = max(p_min[i], -max(1.0 - soc[i], 0.0) * e_mwh[i] / (eff_in[i] * hours))
        on = applied[_S_CONNECT, i]
        asked = applied[_S_P, i] if applied[_S_MODE, i] == FOLLOW else 0.0
        out[_P, i] = min(max(asked, least), most) * on
        out[_Q, i] = applied[_S_Q, i] * on
        out[_FOLLOW, i] = 1.0 if applied[_S_Q_MODE, i] == FOLLOW or on == 0.0 else 0.0
        out[_MIN, i], out[_MAX, i], out[_SOC, i] = least * on, most * on, soc[i]


@njit(cache=True, nogil=True)
def _settle(
    at: IntArray, e_mwh: FloatArray, eff_in: FloatArray, eff_out: FloatArray, p_mw: FloatArray, hours: float, soc: FloatArray
) -> None:
    for j in range(at.size):
        i = at[j]
        p = p_mw[i]
        drawn = p / eff_out[i] if p > 0.0 else p * eff_in[i]
        soc[i] = min(max(soc[i] - drawn * hours / e_mwh[i], 0.0), 1.0)
