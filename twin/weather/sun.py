"""The sun: where it stands, what it gives under a clear sky, and how a global irradiance divides into beam and diffuse."""

from __future__ import annotations

import numpy as np

from twin.weather.data import standard_pressure
from vpp.kernel.signals import FloatArray, IntArray

_J2000_NS = 946_728_000_000_000_000  # 2000-01-01T12:00Z
_DAY_NS = 86_400_000_000_000
SUN_CHANNELS = ("ghi_w_m2", "dni_w_m2", "dhi_w_m2")


def sun_position(time_ns: IntArray, latitude: FloatArray, longitude: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Apparent zenith (refraction counted) and azimuth from north over east, (T, cells) [degree].

    The Astronomical Almanac's low-precision formulas, as in J. Michalsky, Solar Energy 40 (1988) 227-235, with the
    refraction given there: within 0.01 degree from 1950 to 2050.
    """
    day = ((np.asarray(time_ns, np.int64) - _J2000_NS) / _DAY_NS)[:, None]
    hour = (np.asarray(time_ns, np.int64) % _DAY_NS / 3.6e12)[:, None]
    mean = np.radians(357.528 + 0.9856003 * day)
    ecliptic = np.radians(280.460 + 0.9856474 * day + 1.915 * np.sin(mean) + 0.020 * np.sin(2 * mean))
    oblique = np.radians(23.439 - 4e-7 * day)
    ascension = np.arctan2(np.cos(oblique) * np.sin(ecliptic), np.cos(ecliptic))
    declination = np.arcsin(np.sin(oblique) * np.sin(ecliptic))
    sidereal = 15.0 * ((6.697375 + 0.0657098242 * day + hour) % 24.0)
    angle = np.radians(sidereal + np.asarray(longitude)[None, :]) - ascension
    phi = np.radians(np.asarray(latitude))[None, :]
    sine = np.sin(declination) * np.sin(phi) + np.cos(declination) * np.cos(phi) * np.cos(angle)
    height = np.degrees(np.arcsin(np.clip(sine, -1.0, 1.0)))
    east = -np.cos(declination) * np.sin(angle)
    north = np.sin(declination) * np.cos(phi) - np.cos(declination) * np.sin(phi) * np.cos(angle)
    seen = np.maximum(height, -0.56)
    bent = 3.51561 * (0.1594 + 0.0196 * seen + 0.00002 * seen**2) / (1.0 + 0.505 * seen + 0.0845 * seen**2)
    return 90.0 - height - np.where(height > -0.56, bent, 0.0), np.degrees(np.arctan2(east, north)) % 360.0


def extraterrestrial(time_ns: IntArray) -> FloatArray:
    """Irradiance outside the atmosphere on a plane towards the sun, (T,) [W/m2] (Spencer 1971, solar constant 1366.1)."""
    turn = 2.0 * np.pi * ((np.asarray(time_ns, np.int64) - _J2000_NS) / _DAY_NS / 365.2425 % 1.0)
    far = 1.00011 + 0.034221 * np.cos(turn) + 0.00128 * np.sin(turn) + 0.000719 * np.cos(2 * turn) + 7.7e-05 * np.sin(2 * turn)
    return np.asarray(1366.1 * far)


def airmass(zenith_degree: FloatArray, pressure_pa: FloatArray | float) -> FloatArray:
    """Absolute air mass; 40 at and below the horizon (F. Kasten and A. Young, Applied Optics 28 (1989) 4735)."""
    z = np.minimum(zenith_degree, 90.0)
    relative = 1.0 / (np.cos(np.radians(z)) + 0.50572 * (96.07995 - z) ** -1.6364)
    return np.asarray(relative * np.asarray(pressure_pa) / 101325.0)


def clear_sky(
    time_ns: IntArray, latitude: FloatArray, longitude: FloatArray, altitude_m: float, turbidity: float | None
) -> dict[str, FloatArray]:
    """Global, beam and diffuse irradiance of a cloudless sky at some moments, (T, cells) [W/m2] by channel.

    The model of Ineichen and Perez as pvlib has it. ``turbidity`` is Linke's; None takes pvlib's climatology of the place.
    """
    from pvlib.clearsky import ineichen

    zenith, _ = sun_position(time_ns, latitude, longitude)
    linke = np.full(len(time_ns), turbidity) if turbidity is not None else _climatology(time_ns, latitude, longitude)
    with np.errstate(divide="ignore", over="ignore"):  # the sun on the horizon; pvlib bounds what comes of it
        mass = airmass(zenith, standard_pressure(altitude_m))
        sky = ineichen(zenith, mass, linke[:, None], altitude_m, extraterrestrial(time_ns)[:, None])
    up = zenith < 90.0
    return {f"{name}_w_m2": np.where(up, np.maximum(sky[name], 0.0), 0.0) for name in ("ghi", "dni", "dhi")}


def _climatology(time_ns: IntArray, latitude: FloatArray, longitude: FloatArray) -> FloatArray:
    """Linke turbidity of the area's middle over time, (T,)."""
    import pandas as pd
    from pvlib.clearsky import lookup_linke_turbidity

    days, where = np.unique(np.asarray(time_ns, np.int64) // _DAY_NS, return_inverse=True)
    moments = pd.DatetimeIndex(days * _DAY_NS, tz="UTC")
    values = lookup_linke_turbidity(moments, float(np.mean(latitude)), float(np.mean(longitude)))
    return np.asarray(values, np.float64)[where]


def beam_share(clear_index: FloatArray) -> FloatArray:
    """Beam irradiance under clouds as a part of the clear sky's, by the index k of global irradiance.

    (k - 0.38 (1 - k))^2.5, 1 from k = 1 on (A. Skartveit, J. Olseth and M. Tuft, Solar Energy 63 (1998) 173-183).
    """
    k = np.minimum(clear_index, 1.0)
    return np.asarray(np.maximum(k - 0.38 * (1.0 - k), 0.0) ** 2.5)


def divided(ghi_w_m2: FloatArray, zenith_degree: FloatArray, outside_w_m2: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Beam (normal) and diffuse (horizontal) irradiance from the global one alone.

    D. Erbs, S. Klein and J. Duffie, Solar Energy 28 (1982) 293-302; all is diffuse where the sun is lower than 3 degree.
    """
    up = np.cos(np.radians(zenith_degree))
    kt = np.clip(ghi_w_m2 / (outside_w_m2 * np.maximum(up, 0.065)), 0.0, 1.0)
    middle = 0.9511 - 0.1604 * kt + 4.388 * kt**2 - 16.638 * kt**3 + 12.336 * kt**4
    share = np.where(kt <= 0.22, 1.0 - 0.09 * kt, np.where(kt <= 0.8, middle, 0.165))
    share = np.where(zenith_degree > 87.0, 1.0, share)
    dhi = share * ghi_w_m2
    return np.asarray((ghi_w_m2 - dhi) / np.maximum(up, 0.05)), np.asarray(dhi)
