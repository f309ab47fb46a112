"""Photovoltaics by profile: available power, limited by command. Its inverter's functions are in `inverter`."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from numba import njit
from pydantic import Field

from twin.devices.entry import Columns, Entry, InverterEntry, Places
from twin.devices.model import DeviceModel, Offer, StepInput
from twin.series import profile_named
from vpp.kernel.fleet import CONTROL_LIMIT
from vpp.kernel.setpoints import FOLLOW, LIMIT, Setpoints
from vpp.kernel.signals import FloatArray, Int32Array, IntArray

_P, _Q, _FOLLOW = Offer.p_mw.row, Offer.q_mvar.row, Offer.follow_q.row
_MIN, _MAX, _SOC = Offer.p_avail_min_mw.row, Offer.p_avail_max_mw.row, Offer.soc.row
_S_LIMIT, _S_MODE, _S_CONNECT = Setpoints.p_limit_mw.row, Setpoints.mode.row, Setpoints.connect.row
_S_Q, _S_Q_MODE, _S_P = Setpoints.q_mvar.row, Setpoints.q_mode.row, Setpoints.p_mw.row


class PvEntry(InverterEntry):
    """Sources whose available power follows a profile: PV, and any other sgen of the network."""

    native: ClassVar[str] = "sgens"
    controls: ClassVar[int] = CONTROL_LIMIT

    kind: Literal["pv"]
    profile: str | None = Field(
        None, description="SimBench profile or file:<csv>, factor of the rating; default: the sgen's own, else PV by the seed"
    )

    def lay_out(self, places: Places) -> Columns:
        """Generation that can be limited."""
        columns = super().lay_out(places)
        drawn = [places.pv_profiles[i] for i in places.random.integers(len(places.pv_profiles), size=places.m)]
        names = [places.table.profile[i] for i in places.row] if self.place == "sgens" else drawn
        columns.series["p"] = [profile_named(name) for name in (names if self.profile is None else [self.profile] * places.m)]
        return columns


class Pv(DeviceModel):
    """PV plants: rated power times profile, at most the inverter's rating and the commanded limit."""

    kind: ClassVar[str] = "pv"
    entry: ClassVar[type[Entry]] = PvEntry

    def offer(self, given: StepInput, out: FloatArray) -> None:
        """Available power of this step, limited."""
        s = self.spec
        _offer(self.at, s.p_rated_mw, s.s_rated_mva, s.profile_p, given.profile, given.applied, out)

    def expect(self, profile: npt.NDArray[np.float32]) -> FloatArray:
        """Available power: what the sun gives, as far as the inverter carries it."""
        return np.minimum(super().expect(profile), self.spec.s_rated_mva[self.at])


@njit(cache=True, nogil=True)
def _offer(
    at: IntArray, p_rated: FloatArray, s_rated: FloatArray, profile_p: Int32Array, factor: npt.NDArray[np.float32],
    applied: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    for j in range(at.size):
        i = at[j]
        available = min(p_rated[i] * (factor[profile_p[i]] if profile_p[i] >= 0 else 1.0), s_rated[i])
        mode = applied[_S_MODE, i]
        p = min(available, applied[_S_LIMIT, i]) if mode == LIMIT else available
        p = min(available, applied[_S_P, i]) if mode == FOLLOW else p
        on = applied[_S_CONNECT, i]
        out[_P, i] = max(p, 0.0) * on
        out[_Q, i] = applied[_S_Q, i] * on
        out[_FOLLOW, i] = 1.0 if applied[_S_Q_MODE, i] == FOLLOW or on == 0.0 else 0.0
        out[_MIN, i], out[_MAX, i], out[_SOC, i] = 0.0, available * on, np.nan
