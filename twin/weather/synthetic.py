"""Weather made from a seed: a clear sky times moving clouds, and temperature, wind and pressure with their courses.

Every channel is a function of seed, place and moment (see `fields`): the same day comes whatever the run's length or
step. It is plausible weather of a climate, not the weather of a real day.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from twin.weather.data import Cells, Weather, standard_pressure
from twin.weather.fields import Field
from twin.weather.sun import beam_share, clear_sky, sun_position
from vpp.kernel.signals import FloatArray, IntArray

_HOUR_NS = 3_600_000_000_000
_DAY_H, _YEAR_H = 24.0, 8766.0
FINE_S = 300.0  # a step is the mean of moments at most this far apart
_BLOCK = 1 << 14  # moments computed at once
_EPOCH_NS = 1_451_606_400_000_000_000  # 2016-01-01T00:00Z; hours of the fields are counted from there


@dataclass(frozen=True, slots=True)
class Climate:
    """What the synthetic weather is like.

    Attributes:
        cloudiness: mean cloud cover [1].
        cloud_km: distance over which the correlation of clouds falls to 1/e.
        cloud_speed_m_s: speed of the clouds.
        wind_from_degree: where wind and clouds come from, from north over east.
        turbidity: Linke turbidity; None for the climatology of the place.
        temp_mean_c: mean over the year.
        temp_season_k: half the difference of summer and winter.
        temp_day_k: half the difference of day and night, under half a sky of clouds.
        temp_noise_k: standard deviation of what remains.
        wind_mean_m_s: mean wind speed at 10 m.
        wind_shape: shape of its Weibull distribution.
        wind_km: distance over which the correlation of wind (and weather at large) falls to 1/e.
        wind_hours: time over which it does.
    """

    cloudiness: float = 0.6
    cloud_km: float = 5.0
    cloud_speed_m_s: float = 10.0
    wind_from_degree: float = 240.0
    turbidity: float | None = None
    temp_mean_c: float = 10.0
    temp_season_k: float = 9.0
    temp_day_k: float = 4.0
    temp_noise_k: float = 3.0
    wind_mean_m_s: float = 5.0
    wind_shape: float = 2.0
    wind_km: float = 200.0
    wind_hours: float = 12.0


def synthetic(climate: Climate, cells: Cells, time_ns: IntArray, dt_s: float, seed: int) -> Weather:
    """Make the weather of the cells over steps of ``dt_s`` that begin at ``time_ns``, (T,)."""
    parts = max(1, math.ceil(dt_s / FINE_S))
    part_ns = round(dt_s * 1e9 / parts)
    rows = max(1, _BLOCK // parts)
    blocks: list[dict[str, FloatArray]] = []
    for first in range(0, len(time_ns), rows):  # what is between the fields and the channels stays small
        begin_ns = np.asarray(time_ns[first : first + rows], np.int64)[:, None]
        fine = _moments(climate, cells, (begin_ns + part_ns * np.arange(parts) + part_ns // 2).ravel(), seed)
        blocks.append({name: values.reshape(-1, parts, cells.n).mean(axis=1) for name, values in fine.items()})
    channels = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    middle_ns = np.asarray(time_ns, np.int64) + round(dt_s * 5e8)
    channels["zenith_degree"], channels["azimuth_degree"] = sun_position(middle_ns, cells.latitude, cells.longitude)
    return Weather(time_ns, dt_s, cells.latitude, cells.longitude, cells.altitude_m, channels)


def _moments(climate: Climate, cells: Cells, moment_ns: IntArray, seed: int) -> dict[str, FloatArray]:
    """All channels at some moments, (T, cells) each."""
    hour = (moment_ns - _EPOCH_NS) / _HOUR_NS
    wide = Field.drawn(seed, "cover", length_km=climate.wind_km, hours=climate.wind_hours).at(hour, cells.x_km, cells.y_km)
    cover, chance = clouds(climate, cells, hour, wide, seed)
    return {
        **_irradiance(climate, cells, moment_ns, cover, chance),
        "temp_c": _temperature(climate, cells, hour, chance, seed),
        "wind_m_s": _wind(climate, cells, hour, seed),
        "pressure_pa": _pressure(climate, cells, hour, seed),
    }


def clouds(climate: Climate, cells: Cells, hour: FloatArray, wide: FloatArray, seed: int) -> tuple[FloatArray, FloatArray]:
    """How much of the sun clouds cover, and the cover of the sky around, both (T, cells) in 0…1.

    Fair and dull days follow each other by the wide field. Its value sets the level below which the field of single
    clouds, which drifts with the wind, is cloud: so that the cover of the sky around has the mean that is asked for.
    """
    from scipy.special import ndtr, ndtri

    spread, edge = 1.2, 0.3
    level = ndtri(np.clip(climate.cloudiness, 1e-6, 1.0 - 1e-6)) * math.hypot(1.0, spread) + spread * wide
    towards = math.radians(climate.wind_from_degree + 180.0)
    speed = 3.6 * climate.cloud_speed_m_s
    field = Field.drawn(
        seed, "cloud", length_km=climate.cloud_km, hours=1.0, drift_km_h=(speed * math.sin(towards), speed * math.cos(towards)),
        waves=256,
    )  # fmt: skip
    single = field.at(hour, cells.x_km, cells.y_km)
    return np.clip((level - single) / edge + 0.5, 0.0, 1.0), np.asarray(ndtr(level))


def _irradiance(
    climate: Climate, cells: Cells, moment_ns: IntArray, cover: FloatArray, chance: FloatArray
) -> dict[str, FloatArray]:
    """Irradiance under clouds: thin ones in a fair sky, thick ones in a dull sky.

    Under a sky that is covered wholly a quarter of the clear sky's irradiance is left, as F. Kasten and G. Czeplak
    measured, Solar Energy 24 (1980) 177-189.
    """
    sky = clear_sky(moment_ns, cells.latitude, cells.longitude, cells.altitude_m, climate.turbidity)
    index = 1.0 - cover * (0.25 + 0.5 * chance**2)
    ghi = index * sky["ghi_w_m2"]
    dni = beam_share(index) * sky["dni_w_m2"]
    zenith, _ = sun_position(moment_ns, cells.latitude, cells.longitude)
    beam = dni * np.maximum(np.cos(np.radians(zenith)), 0.0)
    return {"ghi_w_m2": ghi, "dni_w_m2": dni, "dhi_w_m2": np.maximum(ghi - beam, 0.0)}


def _temperature(climate: Climate, cells: Cells, hour: FloatArray, chance: FloatArray, seed: int) -> FloatArray:
    """Warmest in the fourth week of July (in the south: January) and three hours after noon; clouds flatten the day."""
    noise = Field.drawn(seed, "temperature", length_km=3.0 * climate.wind_km, hours=4.0 * climate.wind_hours, waves=64)
    north = np.where(cells.latitude >= 0.0, 1.0, -1.0)
    season = north * np.cos(2.0 * np.pi * (hour / _YEAR_H - 204.0 / 365.25))[:, None]
    solar = (hour[:, None] + cells.longitude / 15.0) % _DAY_H
    day = np.cos(2.0 * np.pi * (solar - 15.0) / _DAY_H) * (1.4 - 0.8 * chance)
    rest = noise.at(hour, cells.x_km, cells.y_km)
    return np.asarray(
        climate.temp_mean_c + climate.temp_season_k * season + climate.temp_day_k * day + climate.temp_noise_k * rest
    )


def _wind(climate: Climate, cells: Cells, hour: FloatArray, seed: int) -> FloatArray:
    """Weibull-distributed wind speed, 85 % of whose variance is of the weather at large and 15 % local."""
    from scipy.special import ndtr

    wide = Field.drawn(seed, "wind", length_km=climate.wind_km, hours=climate.wind_hours)
    local = Field.drawn(seed, "gust", length_km=climate.cloud_km, hours=1.0, waves=64)
    x, y = cells.x_km, cells.y_km
    normal = math.sqrt(0.85) * wide.at(hour, x, y) + math.sqrt(0.15) * local.at(hour, x, y)
    scale = climate.wind_mean_m_s / math.gamma(1.0 + 1.0 / climate.wind_shape)
    return np.asarray(scale * (-np.log(ndtr(-normal))) ** (1.0 / climate.wind_shape))


def _pressure(climate: Climate, cells: Cells, hour: FloatArray, seed: int) -> FloatArray:
    """Highs and lows of 8 hPa standard deviation about the standard atmosphere."""
    lows = Field.drawn(seed, "pressure", length_km=3.0 * climate.wind_km, hours=6.0 * climate.wind_hours, waves=64)
    return np.asarray(standard_pressure(cells.altitude_m) + 800.0 * lows.at(hour, cells.x_km, cells.y_km))
