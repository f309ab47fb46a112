"""What weather is here: channels over time and cells, and the grid of cells over an area."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vpp.kernel.signals import FloatArray, IntArray

KM_PER_DEGREE = 111.195  # along a meridian of a sphere of 6,371 km
CHANNELS = ("ghi_w_m2", "dni_w_m2", "dhi_w_m2", "temp_c", "wind_m_s", "pressure_pa")


@dataclass(frozen=True, slots=True)
class Weather:
    """Weather of some cells over time.

    Attributes:
        time_ns: (T,) beginning of every step.
        dt_s: length of a step.
        latitude, longitude: (cells,) middle of each cell [degree].
        altitude_m: height above the sea.
        channels: (T, cells) by name, means over the step: ``ghi_w_m2``, ``dni_w_m2``, ``dhi_w_m2``, ``temp_c``,
            ``wind_m_s`` (at 10 m), ``pressure_pa``; and the sun in the middle of the step: ``zenith_degree``
            (apparent, with refraction) and ``azimuth_degree`` (from north over east).
    """

    time_ns: IntArray
    dt_s: float
    latitude: FloatArray
    longitude: FloatArray
    altitude_m: float
    channels: dict[str, FloatArray]


@dataclass(frozen=True, slots=True)
class Cells:
    """A regular grid of cells over an area, those that hold something.

    Attributes:
        x_km, y_km: (cells,) middle of each, east and north of the area's own middle.
        latitude, longitude: (cells,) of the middles [degree].
        altitude_m: height above the sea.
        of_place: (places,) cell of each place.
    """

    x_km: FloatArray
    y_km: FloatArray
    latitude: FloatArray
    longitude: FloatArray
    altitude_m: float
    of_place: IntArray

    @classmethod
    def single(cls, latitude: float, longitude: float, altitude_m: float, places: int) -> Cells:
        """One cell for all places."""
        zero = np.zeros(1)
        return cls(zero, zero, zero + latitude, zero + longitude, altitude_m, np.zeros(places, np.int64))

    @classmethod
    def over(cls, xy_degree: FloatArray, cell_km: float, latitude: float, longitude: float, altitude_m: float) -> Cells:
        """A grid of squares of ``cell_km`` over places, each place in the square that it lies in, whose middle is the nearest.

        Args:
            xy_degree: (places, 2) longitude and latitude of the places.
            cell_km: side of a cell.
            latitude: where the middle of the places' extent is taken to be; they may lie elsewhere on the globe.
            longitude: likewise.
            altitude_m: height above the sea.
        """
        east, north = _kilometres(xy_degree)
        size = [max(1, math.ceil(round(float(np.ptp(x)) / cell_km, 9))) for x in (east, north)]
        column, row = (np.clip(np.floor(x / cell_km + n / 2), 0, n - 1).astype(np.int64) for x, n in zip((east, north), size))
        used, of_place = np.unique(row * size[0] + column, return_inverse=True)
        x_km = (used % size[0] + 0.5 - size[0] / 2) * cell_km
        y_km = (used // size[0] + 0.5 - size[1] / 2) * cell_km
        across = KM_PER_DEGREE * max(math.cos(math.radians(latitude)), 0.01)
        return cls(
            x_km, y_km, latitude + y_km / KM_PER_DEGREE, longitude + x_km / across, altitude_m, of_place.ravel().astype(np.int64)
        )

    @property
    def n(self) -> int:
        """Number of cells."""
        return len(self.x_km)


def middle(xy_degree: FloatArray) -> tuple[float, float]:
    """Latitude and longitude of the middle of the extent of places, (places, 2) longitude and latitude."""
    low, high = xy_degree.min(axis=0), xy_degree.max(axis=0)
    return float(low[1] + high[1]) / 2, float(low[0] + high[0]) / 2


def _kilometres(xy_degree: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Kilometres east and north of the middle of the extent."""
    latitude, longitude = middle(xy_degree)
    across = KM_PER_DEGREE * math.cos(math.radians(latitude))
    return (xy_degree[:, 0] - longitude) * across, (xy_degree[:, 1] - latitude) * KM_PER_DEGREE


def standard_pressure(altitude_m: float) -> float:
    """Pressure of the standard atmosphere (ISO 2533) at a height of the troposphere [Pa]."""
    return float(101325.0 * (1.0 - 2.25577e-5 * altitude_m) ** 5.25588)
