"""Between the twin's truth and what controllers see: meters, faults of meters, and the way to us.

Every resource sends one message a step with all its signals. A message may be lost: its values are NaN, invalid and
comm-lost, and its source time stays at the last one that came through. Noise is normal, white and seeded; a power meter's
sigma is of the resource's rating, so that a meter does not become exact at no load. The network's own meters are of the
scenario's kind too, with the noise of the reading, there being no rating.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from twin.faults import FaultTable
from twin.lines import Disturbances, Message, ReadBack, Uplink
from twin.meters import GAIN_OF_CLASS, MeterMemory, Meters, SensorErrors, measure, plain_measure, send
from twin.noise import Noise
from vpp.kernel import quality as q
from vpp.kernel.fleet import Fleet
from vpp.kernel.grid_points import GridPoints, PointLayout
from vpp.kernel.setpoints import Setpoints
from vpp.kernel.signals import BoolArray, FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry

__all__ = ["SensorErrors", "Sensors"]


@dataclass(slots=True)
class PointMeters:
    """The network's own meters: the same errors as a resource's, row by row of the points.

    Attributes:
        errors: what they are like.
        layout: which meter is which.
        gain: (m,) systematic error, of the reading.
        step, deadband: (m,) resolution and deadband in the point's unit, 0 for none.
    """

    errors: SensorErrors
    layout: PointLayout
    random: np.random.Generator
    gain: FloatArray = field(init=False)
    step: FloatArray = field(init=False)
    deadband: FloatArray = field(init=False)
    _held: FloatArray = field(init=False)
    _held_ns: IntArray = field(init=False)
    _sums: FloatArray = field(init=False)
    _slot: int = -1

    def __post_init__(self) -> None:
        """Draw the systematic errors."""
        e, m = self.errors, len(self.layout.id)
        number = [{"p_mw": 0, "q_mvar": 1, "vm_pu": 2}.get(quantity, 3) for quantity in self.layout.quantity]
        limit = np.array([(e.p_class, e.q_class, e.v_class, 0.0)[i] for i in number], np.float64) / 100.0
        self.gain = GAIN_OF_CLASS * limit * self.random.uniform(-1.0, 1.0, m)
        self.step = np.array([e.resolution[i] for i in number], np.float64)
        self.deadband = np.array([e.deadband[i] for i in number], np.float64)
        self._held, self._held_ns, self._sums = np.full(m, np.nan), np.zeros(m, np.int64), np.zeros(m + 1)

    def read(self, now_ns: int, truth: FloatArray, noise: FloatArray) -> GridPoints:
        """Read the meters; ``noise`` (m,) is standard normal, empty for none."""
        e, value = self.errors, truth
        if e.interval_s > 0.0:
            slot, count = now_ns // round(e.interval_s * 1e9), self._sums[-1]
            due = slot != self._slot
            if due and e.mean and count > 0.0:
                value = self._sums[:-1] / count
            if due:
                self._slot = slot
                self._sums = np.zeros_like(self._sums)
            if not np.isnan(truth).any():
                self._sums = self._sums + np.append(truth, 1.0)
            if not due:
                return self._points(self._held, self._held_ns)
        value = value + self.gain * value
        if noise.size:
            value = value + noise * e.p_error * np.abs(value)
        rounded = self.step > 0.0
        if rounded.any():
            value = np.where(rounded, np.rint(value / np.where(rounded, self.step, 1.0)) * self.step, value)
        kept = (self.deadband > 0.0) & (np.abs(value - self._held) <= self.deadband)
        self._held, self._held_ns = np.where(kept, self._held, value), np.where(kept, self._held_ns, now_ns)
        return self._points(self._held, self._held_ns)

    def _points(self, value: FloatArray, time_ns: IntArray) -> GridPoints:
        quality = np.where(np.isnan(value), q.INVALID, q.GOOD).astype(np.uint8)
        return GridPoints(self.layout, value, quality, time_ns)

    def state(self) -> dict[str, Any]:
        """What they hold."""
        return {"held": self._held.copy(), "held_ns": self._held_ns.copy(), "sums": self._sums.copy(), "slot": self._slot}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a remembered state."""
        self._held, self._held_ns = state["held"].copy(), state["held_ns"].copy()
        self._sums, self._slot = state["sums"].copy(), state["slot"]


@dataclass(slots=True)
class Sensors:
    """The meters of a fleet and of its PCC, and the way to us.

    Attributes:
        fleet: the resources.
        rating: (n,) of each [MVA].
        points: the network's meters.
        errors: what meters are like where nothing else is said; its delay holds for all.
        seed: of everything random.
        kinds, kind_of: other kinds of meters, and (n,) which each resource has: 0 is ``errors``, 1 the first of ``kinds``.
        point_errors: what the network's meters are like; None: like ``errors``.
        disturbed: channels and faults, None for none.
    """

    fleet: Fleet
    rating: FloatArray
    points: PointLayout
    errors: SensorErrors
    seed: int
    kinds: Sequence[SensorErrors] = ()
    kind_of: IntArray | None = None
    point_errors: SensorErrors | None = None
    disturbed: Disturbances | None = None
    meters: Meters = field(init=False)
    _noise: Noise = field(init=False)
    _loss: np.random.Generator = field(init=False)
    _late: list[tuple[Message, GridPoints]] = field(init=False)
    _heard_ns: IntArray = field(init=False)
    _memory: MeterMemory | None = field(init=False)
    _of_points: PointMeters = field(init=False)
    _uplink: Uplink | None = field(init=False)
    _back: ReadBack | None = field(init=False)
    _before: FloatArray | None = None
    _start_ns: int = 0
    _noisy: bool = field(init=False)

    def __post_init__(self) -> None:
        """Draw the systematic errors, seed the noise and empty the delay line."""
        n, kinds = self.fleet.n, (self.errors, *self.kinds)
        of = np.zeros(n, np.int64) if self.kind_of is None else self.kind_of
        random = np.random.Generator(np.random.SFC64([self.seed, 2]))
        self.meters = Meters.draw(kinds, of, np.asarray(self.rating, np.float64), random)
        point_errors = self.point_errors or self.errors
        self._of_points = PointMeters(point_errors, self.points, random)
        self._noise = Noise(4 * n + 2, self.seed)
        self._loss = np.random.Generator(np.random.SFC64([self.seed, 1]))
        self._late = []
        times = len(Telemetry.signals) if self.meters.signal_times else 1
        self._heard_ns = np.zeros((times, n), np.int64)
        self._memory = None if self.meters.plain else MeterMemory.empty(n, times)
        channels = None if self.disturbed is None else self.disturbed.channels
        self._uplink = None if channels is None else Uplink(channels)
        self._back = None if self.disturbed is None else ReadBack(1 if self._uplink is None else self._uplink.deep)
        self._noisy = self.meters.noisy or point_errors.p_error > 0.0

    def observe(
        self, now_ns: int, offer: FloatArray, delivered: FloatArray, f_hz: FloatArray | float, exchange_mva: complex
    ) -> tuple[Telemetry, GridPoints]:
        """Measure the truth of this step.

        Args:
            now_ns: when it is measured.
            offer: `Offer` block (what devices know of themselves).
            delivered: `Delivered` block (the truth at the terminals); NaN where the network had no solution.
            f_hz: (n,) frequency at the terminals, or one for all.
            exchange_mva: active + j reactive power over the PCC, into the public grid positive.
        """
        faults = None if self.disturbed is None else self.disturbed.faults
        k = 0 if self.disturbed is None else (now_ns - self.disturbed.start_ns) // self.disturbed.dt_ns
        if faults is not None:
            offer, delivered = faults.before_meter(k, offer, delivered)
        n = self.fleet.n
        row = self._noise.row() if self._noisy else np.zeros(0, np.float32)
        message = self._message(now_ns, offer, delivered, np.full(n, f_hz), row[: 4 * n].reshape(4, -1), self._lost(k, faults))
        if faults is not None:
            faults.after_meter(k, message[0], self._before)
            if faults.freezes:  # a meter freezes at what it last showed
                block, before = message[0], self._before
                self._before = block if before is None else np.where(np.isnan(block), before, block)
        value = np.array([exchange_mva.real, exchange_mva.imag])[: len(self.points.id)]
        points = self._of_points.read(now_ns, value, np.asarray(row[4 * n : 4 * n + len(value)], np.float64))
        if delay := self.errors.delay_steps:
            self._late.append((message, points))
            message, points = self._late.pop(0) if len(self._late) > delay else self._nothing()
        if self._uplink is not None:
            message, points = self._uplink.carry(k, message, points)
        block, quality, heard = message
        return Telemetry(block, np.broadcast_to(quality, block.shape), np.broadcast_to(heard, block.shape)), points

    def read_back(self, now_ns: int, applied: Setpoints) -> Setpoints:
        """What the devices say that they hold, as it reaches us; comes after `observe` of the same step."""
        if self.disturbed is None or self._back is None:
            return applied
        k = (now_ns - self.disturbed.start_ns) // self.disturbed.dt_ns
        silent = None if self.disturbed.faults is None else self.disturbed.faults.silent(k)
        slot = None if self._uplink is None or self._uplink.late == 0 else self._uplink.slot
        return Setpoints(self._back.carry(k, applied.block, slot, silent))

    def _lost(self, k: int, faults: FaultTable | None) -> BoolArray:
        """Whose message is lost: by chance, or because its device is silent; empty for nobody."""
        loss = self.meters.loss
        lost = self._loss.random(self.fleet.n, np.float32) < loss if loss.any() else np.zeros(0, np.bool_)
        silent = None if faults is None else faults.silent(k)
        if silent is None:
            return lost
        return lost | silent if lost.size else silent

    def _message(
        self, now_ns: int, offer: FloatArray, delivered: FloatArray, f_hz: FloatArray, noise: Any, lost: BoolArray
    ) -> Message:
        """What the meters send: arrays of this step alone."""
        n, m, memory = self.fleet.n, self.meters, self._memory
        block, quality = np.empty((len(Telemetry.signals), n)), np.empty(n, np.uint8)
        if memory is None:
            plain_measure(offer, delivered, f_hz, m.sigma, noise, lost, now_ns, block, quality, self._heard_ns)
        else:
            self._start_ns = self._start_ns or now_ns
            measure(
                offer, delivered, f_hz, m.sigma, m.gain, m.offset, m.resolution, m.deadband, m.interval_ns, m.mean, m.clock_ns,
                m.clock_ppm, noise, now_ns, self._start_ns, memory.held, memory.held_ns, memory.quality, memory.sums, memory.slot,
            )  # fmt: skip
            send(memory.held, memory.held_ns, memory.quality, lost, block, quality, self._heard_ns)
        return block, quality, self._heard_ns.copy()

    def _nothing(self) -> tuple[Message, GridPoints]:
        """What we see before the first delayed message arrives."""
        n, m = self.fleet.n, len(self.points.id)
        points = GridPoints(self.points, np.full(m, np.nan), np.full(m, q.INVALID | q.STALE, np.uint8), np.zeros(m, np.int64))
        block = np.full((len(Telemetry.signals), n), np.nan)
        return (block, np.full(n, q.INVALID | q.STALE, np.uint8), np.zeros_like(self._heard_ns)), points

    def state(self) -> dict[str, Any]:
        """Everything that the next measurement depends on. Messages are never changed, so that they need no copy."""
        return {
            "noise": self._noise.state(), "loss": self._loss.bit_generator.state, "late": list(self._late),
            "heard_ns": self._heard_ns.copy(), "memory": None if self._memory is None else self._memory.state(),
            "points": self._of_points.state(), "before": None if self._before is None else self._before.copy(),
            "start_ns": self._start_ns, "uplink": None if self._uplink is None else self._uplink.state(),
            "back": None if self._back is None else self._back.state(),
            "drawn": {name: getattr(self.meters, name).copy() for name in ("gain", "offset", "clock_ns", "clock_ppm")},
            "point_gain": self._of_points.gain.copy(),
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a remembered state; the meters are those of the state, whatever seed they were drawn with here."""
        self._noise.restore(state["noise"])
        self._loss.bit_generator.state = state["loss"]
        self._late = list(state["late"])
        self._heard_ns[:] = state["heard_ns"]
        for name, value in state["drawn"].items():
            getattr(self.meters, name)[:] = value
        self._of_points.gain[:] = state["point_gain"]
        if self._memory is not None:
            self._memory.restore(state["memory"])
        self._of_points.restore(state["points"])
        self._before = None if state["before"] is None else state["before"].copy()
        self._start_ns = state["start_ns"]
        if self._uplink is not None:
            self._uplink.restore(state["uplink"])
        if self._back is not None:
            self._back.restore(state["back"])
