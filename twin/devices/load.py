"""Base load: active and reactive power follow a profile; nothing can be asked of it."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
from numba import njit

from twin.devices.model import DeviceModel, Offer, StepInput
from vpp.kernel.signals import FloatArray, Int32Array, IntArray

_P, _Q, _FOLLOW = Offer.p_mw.row, Offer.q_mvar.row, Offer.follow_q.row
_MIN, _MAX, _SOC = Offer.p_avail_min_mw.row, Offer.p_avail_max_mw.row, Offer.soc.row


class Load(DeviceModel):
    """Loads with their profiles, consumption negative."""

    kind: ClassVar[str] = "load"

    def offer(self, given: StepInput, out: FloatArray) -> None:
        """Power by the profile of this step."""
        s = self.spec
        _offer(self.at, s.p_rated_mw, s.q_rated_mvar, s.profile_p, s.profile_q, given.profile, out)


@njit(cache=True, nogil=True)
def _offer(
    at: IntArray, p_rated: FloatArray, q_rated: FloatArray, profile_p: Int32Array, profile_q: Int32Array,
    factor: npt.NDArray[np.float32], out: FloatArray,
) -> None:  # fmt: skip
    for j in range(at.size):
        i = at[j]
        p = -p_rated[i] * (factor[profile_p[i]] if profile_p[i] >= 0 else 1.0)
        q = q_rated[i] * (factor[profile_q[i]] if profile_q[i] >= 0 else 1.0)
        out[_P, i], out[_Q, i], out[_FOLLOW, i] = p, q, 1.0
        out[_MIN, i] = out[_MAX, i] = p
        out[_SOC, i] = np.nan
