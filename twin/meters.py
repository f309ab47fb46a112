"""What a meter does to the truth: accuracy, resolution, deadband, sampling, and a clock of its own.

A meter has four quantities: active and reactive power, voltage, state of charge. Its accuracy class bounds the error of
a reading; a gain and an offset are drawn once for each meter so that the bound holds, and white noise comes on top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from twin.devices.model import Delivered, Offer
from vpp.kernel import quality as q
from vpp.kernel.signals import BoolArray, ByteArray, FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry

# Limits of IEC 62053-22:2020, Table 4 (0.2 S, 0.5 S): the class in per cent of the reading from 5 % of rated current on,
# twice that from 1 % to 5 %. With these parts of the class for gain (of the reading) and offset (of the rating) both hold:
# 0.8 + 0.01 / 0.05 = 1 and 0.8 + 0.01 / 0.01 < 2.
GAIN_OF_CLASS: Final = 0.8
OFFSET_OF_CLASS: Final = 0.01
CLASSES: Final = (0.05, 0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 5.0, 10.0)  # IEC 61557-12:2018 and IEC 62053-21/-22/-23/-24
P, Q, VM, SOC = range(4)
QUANTITIES: Final = ("p_mw", "q_mvar", "vm_pu", "soc")

_T_P, _T_Q, _T_VM, _T_F = Telemetry.p_mw.row, Telemetry.q_mvar.row, Telemetry.vm_pu.row, Telemetry.f_hz.row
_T_SOC, _T_MIN, _T_MAX = Telemetry.soc.row, Telemetry.p_avail_min_mw.row, Telemetry.p_avail_max_mw.row
_T_NEED, _T_DEPART = Telemetry.e_need_mwh.row, Telemetry.t_depart_s.row
_O_NEED, _O_DEPART = Offer.e_need_mwh.row, Offer.t_depart_s.row
_O_P, _O_MIN, _O_MAX, _O_SOC = Offer.p_mw.row, Offer.p_avail_min_mw.row, Offer.p_avail_max_mw.row, Offer.soc.row
_D_P, _D_Q, _D_VM = Delivered.p_mw.row, Delivered.q_mvar.row, Delivered.vm_pu.row
# Rows of Telemetry in the order of the quantities.
_ROWS: Final = (_T_P, _T_Q, _T_VM, _T_SOC)


@dataclass(frozen=True, slots=True)
class SensorErrors:
    """Errors of the meters and of the way to us; the default is a perfect meter.

    Attributes:
        p_error: standard deviation of active and reactive power, of the resource's rating.
        v_error: of voltage magnitude [pu].
        soc_error: of the state of charge.
        delay_steps: every message arrives this many steps late.
        loss: probability that a message is lost.
        p_class, q_class, v_class: accuracy class, per cent of the reading; 0: no error of this kind.
        resolution: (4) smallest step of power [MW], reactive power [Mvar], voltage [pu] and charge; 0: none.
        deadband: (4) a value is reported when it has moved by more than this since its last report; 0: always.
        interval_s: time between samples; 0: every step.
        mean: a sample is the mean since the last one, not the value at the moment.
        clock_offset_s: the meter's clock is wrong by up to this much at the start, either way.
        clock_drift_ppm: it gains or loses up to this much [µs/s].
    """

    p_error: float = 0.0
    v_error: float = 0.0
    soc_error: float = 0.0
    delay_steps: int = 0
    loss: float = 0.0
    p_class: float = 0.0
    q_class: float = 0.0
    v_class: float = 0.0
    resolution: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    deadband: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    interval_s: float = 0.0
    mean: bool = False
    clock_offset_s: float = 0.0
    clock_drift_ppm: float = 0.0


@dataclass(frozen=True, slots=True)
class Meters:
    """The meters of n resources; rows of (4, n) are active power, reactive power, voltage, state of charge.

    Attributes:
        sigma: (4, n) standard deviation of the noise, in the quantity's unit.
        gain, offset: (4, n) systematic error, of the reading and in the quantity's unit.
        resolution, deadband: (4, n) in the quantity's unit, 0 for none.
        interval_ns: (n,) time between samples, 0: every step.
        mean: (n,) whether a sample is a mean.
        clock_ns, clock_ppm: (n,) what the clock is wrong by at the start of the run, and by how much it drifts.
        loss: (n,) probability that a message is lost.
    """

    sigma: FloatArray
    gain: FloatArray
    offset: FloatArray
    resolution: FloatArray
    deadband: FloatArray
    interval_ns: IntArray
    mean: BoolArray
    clock_ns: FloatArray
    clock_ppm: FloatArray
    loss: FloatArray

    @classmethod
    def draw(cls, kinds: Sequence[SensorErrors], kind_of: IntArray, rating: FloatArray, random: np.random.Generator) -> Meters:
        """Draw the systematic errors of meters of some kinds, (n,) ``kind_of``, for resources of these ratings [MVA]."""
        n, one = len(rating), np.ones(len(rating))
        unit = np.stack([rating, rating, one, one])

        def each(values: Sequence[Sequence[float]]) -> FloatArray:
            return np.array(values, np.float64).T.reshape(4, -1)[:, kind_of]

        def single(values: Sequence[float]) -> FloatArray:
            return np.array(values, np.float64)[kind_of]

        limit = each([(k.p_class, k.q_class, k.v_class, 0.0) for k in kinds]) / 100.0
        even = random.uniform(-1.0, 1.0, (10, n))
        return cls(
            sigma=each([(k.p_error, k.p_error, k.v_error, k.soc_error) for k in kinds]) * unit,
            gain=GAIN_OF_CLASS * limit * even[:4],
            offset=OFFSET_OF_CLASS * limit * unit * even[4:8],
            resolution=each([k.resolution for k in kinds]),
            deadband=each([k.deadband for k in kinds]),
            interval_ns=np.rint(single([k.interval_s for k in kinds]) * 1e9).astype(np.int64),
            mean=single([k.mean for k in kinds]) > 0.0,
            clock_ns=single([k.clock_offset_s for k in kinds]) * 1e9 * even[8],
            clock_ppm=single([k.clock_drift_ppm for k in kinds]) * even[9],
            loss=single([k.loss for k in kinds]),
        )

    @property
    def noisy(self) -> bool:
        """Whether there is any noise."""
        return bool(self.sigma.any())

    @property
    def plain(self) -> bool:
        """Whether every meter only adds noise: nothing is systematic, held, rounded or timed by a clock of its own."""
        own = (self.gain, self.offset, self.resolution, self.deadband, self.interval_ns, self.clock_ns, self.clock_ppm)
        return not any(x.any() for x in own)

    @property
    def signal_times(self) -> bool:
        """Whether the signals of one resource can have different source times."""
        return bool(self.deadband.any())


@dataclass(slots=True)
class MeterMemory:
    """What the meters remember: the values last reported, sums since the last sample.

    Attributes:
        held: (signals, n) as last reported.
        held_ns: (1 or signals, n) their source times, by each meter's own clock.
        quality: (n,) of what is held.
        sums: (4, n) sums of power and voltage since the last sample, and how many values they are of.
        slot: (n,) number of the interval that the last sample began.
    """

    held: FloatArray
    held_ns: IntArray
    quality: ByteArray
    sums: FloatArray
    slot: IntArray

    @classmethod
    def empty(cls, n: int, times: int) -> MeterMemory:
        """Nothing reported yet; ``times`` rows of source times."""
        return cls(
            np.full((len(Telemetry.signals), n), np.nan), np.zeros((times, n), np.int64), np.zeros(n, np.uint8), np.zeros((4, n)),
            np.full(n, -1, np.int64),
        )  # fmt: skip

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """Everything that the next report depends on."""
        return {name: getattr(self, name).copy() for name in ("held", "held_ns", "quality", "sums", "slot")}

    def restore(self, state: dict[str, npt.NDArray[np.generic]]) -> None:
        """Go back to a remembered state."""
        for name, value in state.items():
            getattr(self, name)[:] = value


@njit(cache=True, nogil=True)
def plain_measure(
    offer: FloatArray, truth: FloatArray, f_hz: FloatArray, sigma: FloatArray, noise: npt.NDArray[np.float32], lost: BoolArray,
    now_ns: int, out: FloatArray, quality: ByteArray, heard_ns: IntArray,
) -> None:  # fmt: skip
    """Report truth and noise; ``heard_ns`` is (1, n)."""
    n = quality.size
    noisy = noise.shape[1] > 0
    for i in range(n):
        out[_T_P, i], out[_T_Q, i], out[_T_VM, i] = truth[_D_P, i], truth[_D_Q, i], truth[_D_VM, i]
        out[_T_F, i] = f_hz[i]
        out[_T_SOC, i] = offer[_O_SOC, i]
        out[_T_MIN, i], out[_T_MAX, i] = offer[_O_MIN, i], offer[_O_MAX, i]
        out[_T_NEED, i], out[_T_DEPART, i] = offer[_O_NEED, i], offer[_O_DEPART, i]
    if noisy:
        for i in range(n):
            out[_T_P, i] += sigma[P, i] * noise[P, i]
            out[_T_Q, i] += sigma[Q, i] * noise[Q, i]
            out[_T_VM, i] += sigma[VM, i] * noise[VM, i]
            soc = out[_T_SOC, i] + sigma[SOC, i] * noise[SOC, i]
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
            heard_ns[0, i] = now_ns


@njit(cache=True, nogil=True)
def measure(
    offer: FloatArray, truth: FloatArray, f_hz: FloatArray, sigma: FloatArray, gain: FloatArray, offset: FloatArray,
    resolution: FloatArray, deadband: FloatArray, interval_ns: IntArray, mean: BoolArray, clock_ns: FloatArray,
    clock_ppm: FloatArray, noise: npt.NDArray[np.float32], now_ns: int, start_ns: int, held: FloatArray, held_ns: IntArray,
    quality: ByteArray, sums: FloatArray, slot: IntArray,
) -> None:  # fmt: skip
    """Let every meter report: what it holds, of which quality and time, stands in the memory's arrays afterwards."""
    noisy = noise.shape[1] > 0
    times = held_ns.shape[0]
    for i in range(quality.size):
        interval = interval_ns[i]
        if interval > 0:
            number = now_ns // interval
            due = number != slot[i]
            count = sums[3, i]
            averaged = mean[i] and due and count > 0.0
            now_p, now_q, now_v = truth[_D_P, i], truth[_D_Q, i], truth[_D_VM, i]
            p = sums[0, i] / count if averaged else now_p
            react = sums[1, i] / count if averaged else now_q
            vm = sums[2, i] / count if averaged else now_v
            if due:
                slot[i] = number
                sums[0, i] = sums[1, i] = sums[2, i] = sums[3, i] = 0.0
            if now_v == now_v:
                sums[0, i] += now_p
                sums[1, i] += now_q
                sums[2, i] += now_v
                sums[3, i] += 1.0
            if not due:
                continue
        else:
            p, react, vm = truth[_D_P, i], truth[_D_Q, i], truth[_D_VM, i]
        soc = offer[_O_SOC, i]
        if np.isnan(vm):  # no solution, or a dead node: nothing is known, and the source time stays
            quality[i] = q.INVALID
            held[_T_P, i], held[_T_Q, i], held[_T_VM, i] = p, react, vm
            continue
        if np.isnan(offer[_O_P, i]):  # the device's model has failed
            quality[i] = q.INVALID
            held[_T_P, i] = held[_T_Q, i] = np.nan
            continue
        stamp = now_ns + np.int64(clock_ns[i] + clock_ppm[i] * 1e-6 * (now_ns - start_ns))
        quality[i] = q.GOOD
        held[_T_F, i] = f_hz[i]
        held[_T_MIN, i], held[_T_MAX, i] = offer[_O_MIN, i], offer[_O_MAX, i]
        held[_T_NEED, i], held[_T_DEPART, i] = offer[_O_NEED, i], offer[_O_DEPART, i]
        for r in range(times):
            if (r != _T_P and r != _T_Q and r != _T_VM and r != _T_SOC) or times == 1:
                held_ns[r, i] = stamp
        for kind in range(4):
            value = p if kind == P else react if kind == Q else vm if kind == VM else soc
            value += gain[kind, i] * value + offset[kind, i]
            if noisy:
                value += sigma[kind, i] * noise[kind, i]
            step = resolution[kind, i]
            if step > 0.0:
                value = np.rint(value / step) * step
            if kind == SOC and value == value:
                value = min(max(value, 0.0), 1.0)
            row = _ROWS[kind]
            if deadband[kind, i] > 0.0 and abs(value - held[row, i]) <= deadband[kind, i]:
                continue
            held[row, i] = value
            if times > 1:
                held_ns[row, i] = stamp


@njit(cache=True, nogil=True)
def send(
    held: FloatArray, held_ns: IntArray, held_quality: ByteArray, lost: BoolArray, out: FloatArray, quality: ByteArray,
    heard_ns: IntArray,
) -> None:  # fmt: skip
    """Send what the meters hold, as far as it is not lost; what is lost keeps the time that was heard last."""
    out[:] = held
    quality[:] = held_quality
    if lost.size == 0:
        heard_ns[:] = held_ns
        return
    for i in range(lost.size):
        if lost[i]:
            quality[i] = q.INVALID | q.COMM_LOST
            for r in range(out.shape[0]):
                out[r, i] = np.nan
        else:
            for r in range(held_ns.shape[0]):
                heard_ns[r, i] = held_ns[r, i]
