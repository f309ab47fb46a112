"""Between the twin's truth and what controllers see: noise, delay and loss.

Every resource sends one message a step with all its signals. A message may be lost: its values are NaN,
invalid and comm-lost, and its source time stays at the last one that came through. Noise is normal, white and
seeded; a power meter's sigma is of the resource's rating, so that a meter does not become exact at no load.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from twin.devices.model import Delivered, Offer
from twin.noise import Noise
from vpp.kernel import quality as q
from vpp.kernel.fleet import Fleet
from vpp.kernel.grid_points import GridPoints, PointLayout
from vpp.kernel.signals import ByteArray, FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry

_T_P, _T_Q, _T_VM, _T_F = Telemetry.p_mw.row, Telemetry.q_mvar.row, Telemetry.vm_pu.row, Telemetry.f_hz.row
_T_SOC, _T_MIN, _T_MAX = Telemetry.soc.row, Telemetry.p_avail_min_mw.row, Telemetry.p_avail_max_mw.row
_T_NEED, _T_DEPART = Telemetry.e_need_mwh.row, Telemetry.t_depart_s.row
_O_NEED, _O_DEPART = Offer.e_need_mwh.row, Offer.t_depart_s.row
_O_P, _O_MIN, _O_MAX, _O_SOC = Offer.p_mw.row, Offer.p_avail_min_mw.row, Offer.p_avail_max_mw.row, Offer.soc.row
_D_P, _D_Q, _D_VM = Delivered.p_mw.row, Delivered.q_mvar.row, Delivered.vm_pu.row


@dataclass(frozen=True, slots=True)
class SensorErrors:
    """Errors of the meters (standard deviations) and of the way to us.

    Attributes:
        p_error: of active and reactive power, of the resource's rating.
        v_error: of voltage magnitude [pu].
        soc_error: of the state of charge.
        delay_steps: every message arrives this many steps late.
        loss: probability that a message is lost.
    """

    p_error: float = 0.0
    v_error: float = 0.0
    soc_error: float = 0.0
    delay_steps: int = 0
    loss: float = 0.0


@dataclass(slots=True)
class Sensors:
    """The meters of a fleet and of its PCC."""

    fleet: Fleet
    rating: FloatArray
    points: PointLayout
    errors: SensorErrors
    seed: int
    _noise: Noise = field(init=False)
    _loss: np.random.Generator = field(init=False)
    _late: list[tuple[FloatArray, ByteArray, IntArray, GridPoints]] = field(init=False)
    _heard_ns: IntArray = field(init=False)
    _sigma: FloatArray = field(init=False)
    _noisy: bool = field(init=False)

    def __post_init__(self) -> None:
        """Seed the noise and empty the delay line."""
        self._noise = Noise(4 * self.fleet.n + 2, self.seed)
        self._loss = np.random.Generator(np.random.SFC64([self.seed, 1]))
        self._late = []
        self._heard_ns = np.zeros(self.fleet.n, np.int64)
        e = self.errors
        self._sigma = np.array([e.p_error, e.v_error, e.soc_error])
        self._noisy = bool(self._sigma.any())

    def observe(
        self, now_ns: int, offer: FloatArray, delivered: FloatArray, f_hz: float, exchange_mva: complex
    ) -> tuple[Telemetry, GridPoints]:
        """Measure the truth of this step.

        Args:
            now_ns: when it is measured.
            offer: `Offer` block (what devices know of themselves).
            delivered: `Delivered` block (the truth at the terminals); NaN where the network had no solution.
            f_hz: frequency.
            exchange_mva: active + j reactive power over the PCC, into the public grid positive.
        """
        n, e = self.fleet.n, self.errors
        row = self._noise.row() if self._noisy else np.zeros(0, np.float32)
        noise = row[: 4 * n].reshape(4, -1)
        block = np.empty((len(Telemetry.signals), n))
        quality = np.empty(n, np.uint8)
        lost = self._loss.random(n, np.float32) < e.loss if e.loss > 0.0 else np.zeros(0, np.bool_)
        _measure(offer, delivered, self.rating, f_hz, self._sigma, noise, lost, now_ns, block, quality, self._heard_ns)
        value = np.array([exchange_mva.real, exchange_mva.imag])
        if self._noisy:
            value = value + row[4 * n :] * e.p_error * np.abs(value)
        points = GridPoints.of(self.points, value[: len(self.points.id)], now_ns)
        points.quality[np.isnan(points.value)] = q.INVALID
        message = (block, quality, self._heard_ns.copy(), points)
        if e.delay_steps:
            self._late.append(message)
            message = self._late.pop(0) if len(self._late) > e.delay_steps else self._nothing()
        block, quality, heard, points = message
        telemetry = Telemetry(block, np.broadcast_to(quality, block.shape), np.broadcast_to(heard, block.shape))
        return telemetry, points

    def _nothing(self) -> tuple[FloatArray, ByteArray, IntArray, GridPoints]:
        """What we see before the first delayed message arrives."""
        n, m = self.fleet.n, len(self.points.id)
        points = GridPoints(self.points, np.full(m, np.nan), np.full(m, q.INVALID | q.STALE, np.uint8), np.zeros(m, np.int64))
        block = np.full((len(Telemetry.signals), n), np.nan)
        return block, np.full(n, q.INVALID | q.STALE, np.uint8), np.zeros(n, np.int64), points

    def state(self) -> dict[str, Any]:
        """Everything that the next measurement depends on."""
        late = [(b.copy(), c.copy(), h.copy(), p) for b, c, h, p in self._late]
        rng = {"noise": self._noise.state(), "loss": self._loss.bit_generator.state}
        return {**rng, "late": late, "heard_ns": self._heard_ns.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a remembered state."""
        self._noise.restore(state["noise"])
        self._loss.bit_generator.state = state["loss"]
        self._late = list(state["late"])
        self._heard_ns[:] = state["heard_ns"]


@njit(cache=True, nogil=True)
def _measure(
    offer: FloatArray, truth: FloatArray, rating: FloatArray, f_hz: float, sigma: FloatArray,
    noise: npt.NDArray[np.float32], lost: npt.NDArray[np.bool_], now_ns: int,
    out: FloatArray, quality: ByteArray, heard_ns: IntArray,
) -> None:  # fmt: skip
    n = rating.size
    noisy = noise.shape[1] > 0
    for i in range(n):
        out[_T_P, i], out[_T_Q, i], out[_T_VM, i] = truth[_D_P, i], truth[_D_Q, i], truth[_D_VM, i]
        out[_T_F, i] = f_hz
        out[_T_SOC, i] = offer[_O_SOC, i]
        out[_T_MIN, i], out[_T_MAX, i] = offer[_O_MIN, i], offer[_O_MAX, i]
        out[_T_NEED, i], out[_T_DEPART, i] = offer[_O_NEED, i], offer[_O_DEPART, i]
    if noisy:
        for i in range(n):
            out[_T_P, i] += sigma[0] * rating[i] * noise[0, i]
            out[_T_Q, i] += sigma[0] * rating[i] * noise[1, i]
            out[_T_VM, i] += sigma[1] * noise[2, i]
            soc = out[_T_SOC, i] + sigma[2] * noise[3, i]
            out[_T_SOC, i] = min(max(soc, 0.0), 1.0) if soc == soc else np.nan
    for i in range(n):
        quality[i] = q.GOOD
        if lost.size and lost[i]:
            quality[i] = q.INVALID | q.COMM_LOST
            out[:, i] = np.nan
        elif np.isnan(offer[_O_P, i]):  # the device's model has failed
            quality[i] = q.INVALID
            out[_T_P, i] = out[_T_Q, i] = np.nan
        elif np.isnan(truth[_D_VM, i]):  # no solution, or a dead node
            quality[i] = q.INVALID
        else:
            heard_ns[i] = now_ns
