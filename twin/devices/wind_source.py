"""Wind power from weather: a turbine's power curve of windpowerlib's library over the wind at its hub, as a source.

The wind grows with height by the logarithmic profile, the temperature falls by 6.5 K/km, the curve is corrected for the
air's density after L. Svenningsen (Proposal of an improved power curve correction, EMD International, 2010), as
windpowerlib does it. The library's tables are read once a process; no part of it runs in a step.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numba import njit

from twin.series import Surroundings
from vpp.kernel.signals import FloatArray

MEASURED_M = 10.0  # height of the weather's wind
NEAR_GROUND_M = 2.0  # height of its temperature
STANDARD_KG_M3 = 1.225


@dataclass(frozen=True, slots=True)
class Turbine:
    """A turbine of the library.

    Attributes:
        p_mw: greatest power of its curve, nominal power at least.
        hub_m: the lowest hub height that it is sold with; NaN where the library says none.
        rotor_m: diameter of the rotor.
        wind_m_s: wind speeds of the power curve, ascending, of standard air.
        power: power there, of ``p_mw``.
    """

    p_mw: float
    hub_m: float
    rotor_m: float
    wind_m_s: FloatArray
    power: FloatArray


@dataclass(frozen=True, slots=True)
class WindSource:
    """Power of a turbine over time, of its greatest power.

    Attributes:
        cell: weather cell.
        turbine: name in windpowerlib's library.
        hub_height_m: height of the hub.
        roughness_m: roughness length of the ground around.
        wake_share: share of the energy that neighbours' wakes take.
        density: whether the curve is corrected for the air's density.
        hysteresis_m_s: after the cut-out in a storm it starts again where the wind is this much less.
    """

    cell: int
    turbine: str
    hub_height_m: float
    roughness_m: float
    wake_share: float
    density: bool
    hysteresis_m_s: float

    @property
    def quarters(self) -> bool:
        """One value a step."""
        return False

    @property
    def name(self) -> str:
        """All that it depends on, in one line."""
        return "wind " + " ".join(f"{f.name}={getattr(self, f.name)}" for f in fields(self))

    def values(self, around: Surroundings) -> FloatArray:
        """(T,) power of each step, of the greatest power."""
        if around.weather is None:
            raise KeyError("wind turbines follow the weather, and there is none")
        sky = {name: values[:, self.cell] for name, values in around.weather.channels.items()}
        turbine = turbines()[self.turbine]
        wind = sky["wind_m_s"] * _growth(self.hub_height_m, self.roughness_m)
        air = _density(sky["temp_c"], sky["pressure_pa"], self.hub_height_m)
        ratio = STANDARD_KG_M3 / air if self.density else np.ones(len(wind))
        exponent = np.interp(turbine.wind_m_s, [7.5, 12.5], [1 / 3, 2 / 3])
        power = np.empty(len(wind))
        _power(turbine.wind_m_s, exponent, turbine.power, wind, ratio, self.hysteresis_m_s, power)
        return power * (1.0 - self.wake_share)


def _growth(hub_height_m: float, roughness_m: float) -> float:
    """Wind at the hub, of that at 10 m: ln(h / z0) / ln(10 / z0)."""
    return math.log(hub_height_m / roughness_m) / math.log(MEASURED_M / roughness_m)


def _density(temp_c: FloatArray, pressure_pa: FloatArray, hub_height_m: float) -> FloatArray:
    """Density of the air at the hub [kg/m3]: 1/8 hPa less a metre (E. Hau, Windkraftanlagen, 4th ed. 2008, p. 560).

    The pressure is of the ground, as weather stations and typical years state it.
    """
    hub_k = temp_c + 273.15 - 0.0065 * (hub_height_m - NEAR_GROUND_M)
    hub_hpa = pressure_pa / 100.0 - hub_height_m / 8.0
    return np.asarray(hub_hpa * STANDARD_KG_M3 * 288.15 / (1013.3 * hub_k))


@njit(cache=True, nogil=True)
def _power(
    curve_m_s: FloatArray, exponent: FloatArray, curve: FloatArray, wind: FloatArray, ratio: FloatArray, less_m_s: float,
    out: FloatArray,
) -> None:  # fmt: skip
    """Power of each step, the curve's wind speeds stretched by (1.225 / density) ** exponent; 0 outside of the curve.

    Beyond its end the turbine stops, and starts again where the wind is ``less_m_s`` beneath it.
    """
    last = curve_m_s.size - 1
    stopped = False
    for k in range(wind.size):
        v, r = wind[k], ratio[k]
        end = curve_m_s[last] * r ** exponent[last]
        stopped = v > end or (stopped and v > end - less_m_s)
        if stopped or v < curve_m_s[0] * r ** exponent[0]:
            out[k] = 0.0
            continue
        low, high = 0, last
        while high - low > 1:
            middle = (low + high) // 2
            if curve_m_s[middle] * r ** exponent[middle] <= v:
                low = middle
            else:
                high = middle
        a, b = curve_m_s[low] * r ** exponent[low], curve_m_s[high] * r ** exponent[high]
        out[k] = curve[low] + (curve[high] - curve[low]) * (v - a) / (b - a)


@cache
def turbines() -> Mapping[str, Turbine]:
    """The turbines of windpowerlib's library that have a power curve (data: Open Energy Database, by type)."""
    found = find_spec("windpowerlib")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("windpowerlib is not installed", name="windpowerlib")
    folder = Path(found.origin).parent / "oedb"
    with (folder / "power_curves.csv").open(newline="", encoding="utf-8") as stream:
        head, *rows = csv.reader(stream)
    curves = {row[0]: _curve(head[1:], row[1:]) for row in rows}
    with (folder / "turbine_data.csv").open(newline="", encoding="utf-8") as stream:
        about = {row["turbine_type"]: row for row in csv.DictReader(stream)}
    return {
        name: _turbine(about[name], wind, watts)
        for name, (wind, watts) in sorted(curves.items())
        if name in about and len(wind) > 1
    }


def _turbine(about: Mapping[str, str], wind_m_s: FloatArray, watts: FloatArray) -> Turbine:
    """A turbine; some curves go a little beyond the nominal power."""
    most = max(float(about["nominal_power"]), float(watts.max()))
    return Turbine(most / 1e6, _lowest(about["hub_height"]), _lowest(about["rotor_diameter"]), wind_m_s, watts / most)


def _curve(head: list[str], row: list[str]) -> tuple[FloatArray, FloatArray]:
    """Wind speeds [m/s] and powers [W] of the points that a row has."""
    points = [(float(v), float(p)) for v, p in zip(head, row) if p.strip()]
    table = np.array(points, np.float64).reshape(-1, 2)
    return table[:, 0].copy(), table[:, 1].copy()


def _lowest(text: str) -> float:
    """The smallest of some numbers in a text such as "68,5;80,0;100,0" or "75/85"; NaN where there is none."""
    numbers = [float(n.replace(",", ".")) for n in re.findall(r"\d+(?:[.,]\d+)?", text)]
    return min(numbers, default=math.nan)
