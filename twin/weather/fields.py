"""Random fields over area and time, as functions: the same seed gives the same value at a place and moment, whoever asks.

A field is a sum of plane waves, whose wave numbers and frequencies are drawn from the spectrum of the wanted correlation
(M. Shinozuka and G. Deodatis, Applied Mechanics Reviews 44 (1991) 191-204). So neither the step, nor the length of a
run, nor the other cells change the weather of a cell.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from vpp.kernel.signals import FloatArray

_BLOCK = 4096
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


@dataclass(frozen=True, slots=True)
class Field:
    """A stationary field with mean 0 and variance 1, normally distributed in the limit of many waves.

    Attributes:
        k_x, k_y: (waves,) wave numbers, eastward and northward [1/km].
        omega: (waves,) frequencies as seen from the ground [1/h].
        phase: (waves,) phases.
    """

    k_x: FloatArray
    k_y: FloatArray
    omega: FloatArray
    phase: FloatArray

    @classmethod
    def drawn(
        cls,
        seed: int,
        name: str,
        *,
        length_km: float,
        hours: float,
        drift_km_h: tuple[float, float] = (0.0, 0.0),
        waves: int = 128,
    ) -> Field:
        """Draw a field whose correlation is exp(-distance / length_km) · exp(-time / hours), seen by who moves with it.

        Over one place the time correlation is that of a first-order autoregressive process, where the field does not drift.

        Args:
            seed: of the weather.
            name: which field it is.
            length_km: distance over which the correlation falls to 1/e.
            hours: time over which it does.
            drift_km_h: speed eastward and northward with which the field moves over the ground.
            waves: number of waves.
        """
        digest = hashlib.sha256(f"{seed}:weather:{name}".encode()).digest()
        random = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
        # One draw from each of as many equal parts of the distribution as there are waves, in an order of its own.
        radial, timely = ((random.permutation(waves) + random.uniform(size=waves)) / waves for _ in range(2))
        turn = 2.0 * np.pi * (np.arange(waves) * _GOLDEN + random.uniform())
        wave = np.sqrt(1.0 / (1.0 - radial) ** 2 - 1.0) / length_km
        k_x, k_y = wave * np.cos(turn), wave * np.sin(turn)
        own = np.tan(np.pi * (timely - 0.5)) / hours
        omega = own - k_x * drift_km_h[0] - k_y * drift_km_h[1]
        return cls(k_x, k_y, omega, random.uniform(0.0, 2.0 * np.pi, waves))

    def at(self, hour: FloatArray, x_km: FloatArray, y_km: FloatArray) -> FloatArray:
        """Values at moments and places: (T,) hours and (cells,) kilometres -> (T, cells)."""
        place = np.outer(self.k_x, x_km) + np.outer(self.k_y, y_km)
        cosine, sine = np.cos(place), np.sin(place)
        out = np.empty((len(hour), len(x_km)))
        for first in range(0, len(hour), _BLOCK):
            turn = np.outer(hour[first : first + _BLOCK], self.omega) + self.phase
            block = np.einsum("tk,kc->tc", np.cos(turn), cosine)  # einsum sums in one order, whatever the threads
            block -= np.einsum("tk,kc->tc", np.sin(turn), sine)
            out[first : first + _BLOCK] = block
        return out * math.sqrt(2.0 / len(self.phase))
