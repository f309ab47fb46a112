"""PV power from weather: pvlib's chain from sun and sky over the panel, its cells and its inverter, as a source.

Plane-of-array irradiance after Hay and Davies, reflection by Fresnel's and Snell's laws (or Sandia's polynomial), cell
temperature after SAPM, PVsyst or Faiman, the panel after PVWatts, the CEC's one-diode model or SAPM, the inverter after
PVWatts or Sandia. One value a step for the whole run at once: a single step would cost as much as thousands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np

from twin.series import Surroundings
from twin.weather.sun import airmass, extraterrestrial
from vpp.kernel.signals import FloatArray

STC_W_M2 = 1000.0
# pvlib's parameter sets by model and mounting.
MOUNTINGS = {
    "sapm": {"open": "open_rack_glass_polymer", "roof": "close_mount_glass_glass"},
    "pvsyst": {"open": "freestanding", "roof": "insulated"},
    "faiman": {"open": ""},
}


@dataclass(frozen=True, slots=True)
class PvSource:
    """Power of a panel and its inverter over time, of the panel's rated power; the keys of `Panels`, settled.

    Attributes:
        cell: weather cell.
        tilt_degree, azimuth_degree: of the panel; azimuth from north over east.
        module: name in the CEC's or Sandia's database, "" for PVWatts.
        inverter: name in the CEC's database, "" for PVWatts.
        modules_per_string, strings: at an inverter of the database; 0: its voltage, and its power over ``ac_ratio``, decide.
        ac_ratio: rated power of the inverter, of the panel's.
        gamma_per_k: change of a PVWatts panel's power with temperature.
        efficiency: nominal efficiency of a PVWatts inverter.
        soiling, losses: shares lost before the panel and behind it.
        albedo: of the ground.
        temperature: "sapm", "pvsyst" or "faiman".
        mounting: "open" or "roof".
    """

    cell: int
    tilt_degree: float
    azimuth_degree: float
    module: str
    inverter: str
    modules_per_string: int
    strings: int
    ac_ratio: float
    gamma_per_k: float
    efficiency: float
    soiling: float
    losses: float
    albedo: float
    temperature: str
    mounting: str

    @property
    def quarters(self) -> bool:
        """One value a step."""
        return False

    @property
    def name(self) -> str:
        """All that it depends on, in one line."""
        return "pv " + " ".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self))

    def values(self, around: Surroundings) -> FloatArray:
        """(T,) AC power of each step, of the panel's rated power, 0 or more."""
        if around.weather is None:
            raise KeyError("PV panels follow the weather, and there is none")
        sky = {name: values[:, self.cell] for name, values in around.weather.channels.items()}
        sky["outside_w_m2"] = extraterrestrial(around.weather.time_ns + round(around.weather.dt_s * 5e8))
        day = np.flatnonzero((sky["zenith_degree"] < 90.0) & (sky["ghi_w_m2"] + sky["dni_w_m2"] > 0.0))
        out = np.zeros(len(around.weather.time_ns))
        if day.size:
            out[day] = self._power({name: values[day] for name, values in sky.items()})
        return out

    def _power(self, sky: Mapping[str, FloatArray]) -> FloatArray:
        """AC power while the sun is up, of rated power."""
        effective, cell_c = self._panel(sky)
        if not self.module:
            dc = effective / STC_W_M2 * (1.0 + self.gamma_per_k * (cell_c - 25.0))
            return self._pvwatts(np.maximum(dc, 0.0) * (1.0 - self.losses))
        volts, dc_w, rated_w = self._module(effective, cell_c)
        if not self.inverter:
            return self._pvwatts(dc_w / rated_w * (1.0 - self.losses))
        from pvlib.inverter import sandia

        unit = database("cecinverter")[self.inverter]
        series = self.modules_per_string or fitting_modules(self.module, self.inverter)
        parallel = self.strings or max(1, round(unit["Paco"] / self.ac_ratio / (series * rated_w)))
        ac_w = sandia(volts * series, dc_w * series * parallel * (1.0 - self.losses), unit)
        return np.asarray(np.maximum(ac_w, 0.0) / (rated_w * series * parallel))

    def _panel(self, sky: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
        """Irradiance that the cells turn into power [W/m2], and their temperature [degree Celsius]."""
        from pvlib import iam, irradiance, pvsystem

        plane = (self.tilt_degree, self.azimuth_degree, sky["zenith_degree"], sky["azimuth_degree"])
        angle = irradiance.aoi(*plane)
        poa = irradiance.get_total_irradiance(
            *plane, sky["dni_w_m2"], sky["ghi_w_m2"], sky["dhi_w_m2"], dni_extra=sky["outside_w_m2"], albedo=self.albedo,
            model="haydavies",
        )  # fmt: skip
        cell_c = self._cell(poa["poa_global"], sky["temp_c"], sky["wind_m_s"])
        if self.module in database("sandiamod", self.module):
            mass = airmass(sky["zenith_degree"], sky["pressure_pa"])
            module = database("sandiamod")[self.module]
            effective = pvsystem.sapm_effective_irradiance(poa["poa_direct"], poa["poa_diffuse"], mass, angle, module)
        else:
            effective = poa["poa_direct"] * iam.physical(angle) + poa["poa_diffuse"]
        return np.asarray(effective * (1.0 - self.soiling)), cell_c

    def _cell(self, poa_w_m2: FloatArray, temp_c: FloatArray, wind_m_s: FloatArray) -> FloatArray:
        """Temperature of the cells."""
        from pvlib import temperature

        if self.temperature == "faiman":
            return np.asarray(temperature.faiman(poa_w_m2, temp_c, wind_m_s))
        parameters = temperature.TEMPERATURE_MODEL_PARAMETERS[self.temperature][MOUNTINGS[self.temperature][self.mounting]]
        model = temperature.sapm_cell if self.temperature == "sapm" else temperature.pvsyst_cell
        return np.asarray(model(poa_w_m2, temp_c, wind_m_s, **parameters))

    def _module(self, effective_w_m2: FloatArray, cell_c: FloatArray) -> tuple[FloatArray, FloatArray, float]:
        """Voltage [V] and power [W] of one module at its maximum power point, and its power under standard conditions."""
        from pvlib import pvsystem

        if self.module in database("sandiamod", self.module):
            module = database("sandiamod")[self.module]
            point = pvsystem.sapm(effective_w_m2, cell_c, module)
            return np.asarray(point["v_mp"]), np.maximum(point["p_mp"], 0.0), module["Impo"] * module["Vmpo"]
        module = database("cecmod")[self.module]
        names = ("alpha_sc", "a_ref", "I_L_ref", "I_o_ref", "R_sh_ref", "R_s", "Adjust")
        seen = np.maximum(effective_w_m2, 1e-3)
        diode = pvsystem.calcparams_cec(seen, cell_c, *(module[name] for name in names))
        point = pvsystem.max_power_point(*diode, method="newton")
        return np.asarray(point["v_mp"]), np.maximum(point["p_mp"], 0.0), module["STC"]

    def _pvwatts(self, dc: FloatArray) -> FloatArray:
        """AC power of a PVWatts inverter, of the panel's rated power."""
        from pvlib.inverter import pvwatts

        return np.asarray(pvwatts(dc, self.ac_ratio / self.efficiency, self.efficiency))


def fitting_modules(module: str, inverter: str) -> int:
    """Modules in a string whose voltage is nearest to what an inverter likes best."""
    return max(1, round(float(database("cecinverter")[inverter]["Vdco"]) / module_volts(module)))


def module_volts(module: str) -> float:
    """Voltage of a module's maximum power point under standard conditions [V]."""
    cec = database("cecmod", module)
    return float(cec[module]["V_mp_ref"] if module in cec else database("sandiamod")[module]["Vmpo"])


def database(table: str, only: str | None = None) -> Mapping[str, Mapping[str, Any]]:
    """Parameters of modules and inverters by name: "cecmod", "sandiamod" or "cecinverter" of NREL's SAM, as pvlib ships them.

    Nothing is read where ``only`` is the empty name.
    """
    return {} if only == "" else _database(table)


@cache
def _database(table: str) -> Mapping[str, Mapping[str, Any]]:
    """A table of pvlib's, its columns turned into plain mappings when they are asked for."""
    from pvlib.pvsystem import retrieve_sam

    return _Table(retrieve_sam(table))


class _Table(Mapping[str, Mapping[str, Any]]):
    """The columns of a data frame as mappings."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        return dict(self._frame[name])

    def __contains__(self, name: object) -> bool:
        return name in self._frame.columns

    def __iter__(self) -> Any:
        return iter(self._frame.columns)

    def __len__(self) -> int:
        return len(self._frame.columns)
