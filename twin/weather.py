"""The weather over the area of a network."""

from __future__ import annotations

from dataclasses import dataclass

from vpp.kernel.signals import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Weather:
    """Weather of some cells over time.

    Attributes:
        time_ns: (T,) beginning of every step.
        dt_s: length of a step.
        latitude, longitude: (cells,) middle of each cell [degree].
        altitude_m: height above the sea.
        channels: (T, cells) by name, means over the step: ``ghi_w_m2``, ``dni_w_m2``, ``dhi_w_m2``, ``temp_c``,
            ``wind_m_s`` (at 10 m), ``pressure_pa``.
    """

    time_ns: IntArray
    dt_s: float
    latitude: FloatArray
    longitude: FloatArray
    altitude_m: float
    channels: dict[str, FloatArray]
