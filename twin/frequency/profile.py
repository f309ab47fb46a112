"""A frequency that is given: what a public grid shows when nothing here can move it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpp.kernel.signals import FloatArray


@dataclass(frozen=True, slots=True)
class FrequencyProfile:
    """Piecewise-linear frequency, held before the first and after the last point.

    Attributes:
        t_s: (m,) seconds since the start of the run, ascending.
        f_hz: (m,) frequency there.
    """

    t_s: FloatArray
    f_hz: FloatArray

    @classmethod
    def constant(cls, f_hz: float) -> FrequencyProfile:
        """One value for ever."""
        return cls(np.zeros(1), np.full(1, f_hz))

    def at(self, t_s: float) -> float:
        """Frequency [Hz] at this moment of the run."""
        return float(np.interp(t_s, self.t_s, self.f_hz))
