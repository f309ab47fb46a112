"""What a twin is built from: plain arrays, so that a fleet can also be handed to another process."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from vpp.kernel.fleet import Fleet
from vpp.kernel.settings import Settings
from vpp.kernel.signals import FloatArray, Int32Array, IntArray


@dataclass(frozen=True, slots=True)
class ProfileTable:
    """Profiles of all devices, and the row that holds in each step.

    Attributes:
        factor: (rows, profiles) float32, of each device's rating; row-major so that a step reads one line.
        row: (T,) row of each step of the run.
    """

    factor: npt.NDArray[np.float32]
    row: IntArray

    def at(self, k: int) -> npt.NDArray[np.float32]:
        """The factors of step ``k`` (a step beyond the last keeps the last row)."""
        return np.asarray(self.factor[self.row[min(k, len(self.row) - 1)]], np.float32)

    @classmethod
    def constant(cls, steps: int, values: FloatArray) -> ProfileTable:
        """The same factors in every step; for tests and examples."""
        return cls(np.asarray(values, np.float32)[None, :], np.zeros(steps, np.int64))


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """Parameters of every device, one column a resource.

    Attributes:
        fleet: the resources as the controllers know them.
        p_rated_mw: (n,) rated active power, a magnitude: peak of a load, DC rating of a PV, power of a battery.
        q_rated_mvar: (n,) rated reactive power of loads at the peak of their profile, injection positive.
        s_rated_mva: (n,) nameplate apparent power of the inverter; 0 where there is none.
        soc0: (n,) state of charge at the start; NaN where nothing is stored.
        profile_p, profile_q: (n,) column of the profile table, -1 for none (factor 1).
        settings: the inverter functions' settings at the start.
        profiles: the profile table.
    """

    fleet: Fleet
    p_rated_mw: FloatArray
    q_rated_mvar: FloatArray
    s_rated_mva: FloatArray
    soc0: FloatArray
    profile_p: Int32Array
    profile_q: Int32Array
    settings: Settings
    profiles: ProfileTable
