"""Battery storage: follows its setpoint inside power and energy limits; one-way efficiencies."""

from __future__ import annotations

from typing import ClassVar

from numba import njit

from twin.devices.model import DeviceModel, Offer, StepInput
from vpp.kernel.setpoints import FOLLOW, Setpoints
from vpp.kernel.signals import FloatArray, IntArray

_P, _Q, _FOLLOW = Offer.p_mw.row, Offer.q_mvar.row, Offer.follow_q.row
_MIN, _MAX, _SOC = Offer.p_avail_min_mw.row, Offer.p_avail_max_mw.row, Offer.soc.row
_S_P, _S_MODE, _S_CONNECT = Setpoints.p_mw.row, Setpoints.mode.row, Setpoints.connect.row
_S_Q, _S_Q_MODE = Setpoints.q_mvar.row, Setpoints.q_mode.row


class Battery(DeviceModel):
    """Batteries behind inverters: discharging positive; the state of charge is of the nominal energy."""

    kind: ClassVar[str] = "battery"

    def offer(self, given: StepInput, out: FloatArray) -> None:
        """The setpoint, as far as power and stored energy carry it through the step."""
        f = self.spec.fleet
        _offer(
            self.at, f.p_min_mw, f.p_max_mw, f.e_mwh, f.eff_charge, f.eff_discharge, given.soc, given.dt_s / 3600.0,
            given.applied, out,
        )  # fmt: skip

    def settle(self, given: StepInput, p_mw: FloatArray) -> None:
        """Count delivered energy into the state of charge."""
        f = self.spec.fleet
        _settle(self.at, f.e_mwh, f.eff_charge, f.eff_discharge, p_mw, given.dt_s / 3600.0, given.soc)


@njit(cache=True, nogil=True)
def _offer(
    at: IntArray, p_min: FloatArray, p_max: FloatArray, e_mwh: FloatArray, eff_in: FloatArray, eff_out: FloatArray,
    soc: FloatArray, hours: float, applied: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    for j in range(at.size):
        i = at[j]
        most = min(p_max[i], max(soc[i], 0.0) * e_mwh[i] * eff_out[i] / hours)
        least = max(p_min[i], -max(1.0 - soc[i], 0.0) * e_mwh[i] / (eff_in[i] * hours))
        on = applied[_S_CONNECT, i]
        asked = applied[_S_P, i] if applied[_S_MODE, i] == FOLLOW else 0.0
        out[_P, i] = min(max(asked, least), most) * on
        out[_Q, i] = applied[_S_Q, i] * on
        out[_FOLLOW, i] = 1.0 if applied[_S_Q_MODE, i] == FOLLOW or on == 0.0 else 0.0
        out[_MIN, i], out[_MAX, i], out[_SOC, i] = least * on, most * on, soc[i]


@njit(cache=True, nogil=True)
def _settle(
    at: IntArray, e_mwh: FloatArray, eff_in: FloatArray, eff_out: FloatArray, p_mw: FloatArray, hours: float, soc: FloatArray
) -> None:
    for j in range(at.size):
        i = at[j]
        p = p_mw[i]
        drawn = p / eff_out[i] if p > 0.0 else p * eff_in[i]
        soc[i] = min(max(soc[i] - drawn * hours / e_mwh[i], 0.0), 1.0)
