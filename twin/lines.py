"""Delay lines: what is on its way over the channels, and what has arrived; setpoints down and telemetry up.

Of all messages that have arrived the newest counts, so that one that was overtaken does nothing. A device keeps its last
setpoint until its lease ends; of telemetry the last is shown, questionable and stale, until it is too old.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numba import njit

from twin.comms import DOWN, UP, Channels, Traffic
from twin.faults import FaultTable
from vpp.kernel import quality as q
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE, Fleet
from vpp.kernel.grid_points import GridPoints
from vpp.kernel.setpoints import AUTONOMOUS, FOLLOW, LIMIT, Setpoints
from vpp.kernel.signals import BoolArray, ByteArray, FloatArray, Int32Array, IntArray

_S_P, _S_LIMIT, _S_MODE, _S_QMODE = Setpoints.p_mw.row, Setpoints.p_limit_mw.row, Setpoints.mode.row, Setpoints.q_mode.row
_S_Q, _S_VALID = Setpoints.q_mvar.row, Setpoints.valid_until_ns.row
_NONE: Final = np.zeros(0, np.bool_)
Message = tuple[FloatArray, ByteArray, IntArray]  # block, quality (n,), source times (1 or signals, n)


@dataclass(frozen=True, slots=True)
class Disturbances:
    """What stands between the devices and us, handed to the process in which the fleet lives.

    Attributes:
        start_ns, dt_ns: first step, and length of a step.
        channels: the channels, None where everything arrives at once.
        faults: the faults, None where there are none.
    """

    start_ns: int
    dt_ns: int
    channels: Channels | None = None
    faults: FaultTable | None = None


def _seeded(plan: Channels, what: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64([plan.seed, 0x1055, what]))


@dataclass(slots=True)
class Receiver:
    """What the devices hold: setpoints as they arrive, leases that end, devices that do not listen.

    Attributes:
        fleet: the resources.
        plan: channels and faults.
        applied: what is held now, a fresh sheet each step.
        acting: what the devices make of it.
    """

    fleet: Fleet
    plan: Disturbances
    applied: Setpoints = field(init=False)
    acting: FloatArray = field(init=False)
    _traffic: Traffic | None = field(init=False)
    _loss: np.random.Generator | None = field(init=False)
    _ring: FloatArray = field(init=False)
    _got: IntArray = field(init=False)
    _ends_ns: FloatArray = field(init=False)
    _sent: FloatArray = field(init=False)
    _alone: Int32Array = field(init=False)
    _lease_s: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing commanded and nothing on the way."""
        n, channels = self.fleet.n, self.plan.channels
        self.applied = Setpoints.neutral(n)
        self.acting = self._sent = self.applied.block
        self._traffic = None if channels is None else Traffic(channels, DOWN)
        deep = 1 if channels is None else 1 + max((c.depth(channels.dt_s) for c in channels.channels if c.down), default=0)
        self._ring = np.repeat(self.applied.block[None], deep, axis=0) if deep > 1 else np.zeros((1, len(Setpoints.signals), 0))
        self._got, self._ends_ns = np.full(n, -1, np.int64), np.zeros(n)
        self._alone = np.zeros(n, np.int32)
        self._lease_s = np.zeros(1) if channels is None else channels.column("lease_s")
        alone = channels is not None and any(c.per_resource and c.loss > 0.0 and c.down for c in channels.channels)
        self._loss = _seeded(channels, DOWN) if alone and channels is not None else None

    def adopt(self, k: int, asked: Setpoints | None) -> Setpoints:
        """Take what has arrived by step ``k``; ``asked`` is what was asked in the step before, None: the same again."""
        sent = self._sent if asked is None else asked.block
        self._sent = sent
        plan, n, deep = self.plan, self.fleet.n, len(self._ring)
        channels, faults = plan.channels, plan.faults
        if deep > 1:
            self._ring[k % deep] = sent
        newest, of, lease, safe = np.array([k]), self._alone, np.zeros(1), np.ones(1)
        if self._traffic is not None and channels is not None:
            newest, of, lease, safe = self._traffic.newest(k), channels.of, self._lease_s, channels.column("safe")
        lost = _NONE
        if self._loss is not None and channels is not None:
            alone = channels.column("per_resource") * channels.column("loss")
            lost = self._loss.random(n, np.float32) < alone[of]
        deaf, stuck = (None, None) if faults is None else (faults.deaf(k), faults.stuck(k))
        slot = np.empty(n, np.int64)
        late = _which(newest, of, k, deep, lost, _NONE if deaf is None else deaf, self._got, slot)
        leased = bool(lease.any() or self._ends_ns.any() or sent[_S_VALID].any())
        block = sent if late == 0 and not leased else np.empty_like(sent)
        if block is not sent:
            gather(slot, self._ring if deep > 1 else sent[None], self.applied.block, block)
        if leased:
            _leases(
                slot, of, lease, safe, _NONE if stuck is None else stuck, plan.start_ns + k * plan.dt_ns, plan.start_ns,
                plan.dt_ns, self.fleet.control, self.fleet.p_safe_mw, self.fleet.p_max_mw, self._ends_ns, block,
            )  # fmt: skip
        if faults is not None and (booting := faults.booting(k)).size:
            block = block.copy() if block is sent else block
            block[:, booting] = Setpoints.neutral(1).block
            self._ends_ns[booting] = 0.0
        self.applied = Setpoints(block)
        self.acting = block if faults is None else faults.acted_on(k, block)
        return self.applied

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "block": self.applied.block.copy(), "acting": self.acting.copy(), "ring": self._ring.copy(), "got": self._got.copy(),
            "ends_ns": self._ends_ns.copy(), "sent": self._sent.copy(),
            "traffic": None if self._traffic is None else self._traffic.state(),
            "loss": None if self._loss is None else self._loss.bit_generator.state,
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a remembered state."""
        self.applied, self.acting, self._sent = Setpoints(state["block"].copy()), state["acting"].copy(), state["sent"].copy()
        self._ring[:], self._got[:], self._ends_ns[:] = state["ring"], state["got"], state["ends_ns"]
        if self._traffic is not None:
            self._traffic.restore(state["traffic"])
        if self._loss is not None:
            self._loss.bit_generator.state = state["loss"]


@dataclass(slots=True)
class Uplink:
    """Telemetry on its way to us.

    Attributes:
        plan: the channels.
        slot: (n + 1,) whose message was taken in the last step: its number, -1 where nothing newer came.
        late: how many of these are not of the last step itself.
    """

    plan: Channels
    _traffic: Traffic = field(init=False)
    _loss: np.random.Generator | None = field(init=False)
    _block: FloatArray = field(init=False)
    _quality: ByteArray = field(init=False)
    _time_ns: IntArray = field(init=False)
    _points: list[GridPoints | None] = field(init=False)
    _shown: Message | None = None
    _shown_points: GridPoints | None = None
    _got: IntArray = field(init=False)
    _arrived: IntArray = field(init=False)
    _of: Int32Array = field(init=False)
    _stale: FloatArray = field(init=False)
    _alone: FloatArray = field(init=False)
    slot: IntArray = field(init=False)
    late: int = 0

    def __post_init__(self) -> None:
        """Begin with nothing on the way."""
        plan, n = self.plan, len(self.plan.of)
        self._traffic = Traffic(plan, UP)
        deep = 1 + max((c.depth(plan.dt_s) for c in plan.channels if c.up), default=0)
        self._points = [None] * deep
        self._block, self._quality, self._time_ns = (
            np.zeros((deep, 0, n)),
            np.zeros((deep, n), np.uint8),
            np.zeros((deep, 0, n), np.int64),
        )
        self._got, self._arrived = np.full(n + 1, -1, np.int64), np.full(n + 1, -1, np.int64)
        self.slot = np.zeros(n + 1, np.int64)
        self._of = np.append(plan.of, np.int32(plan.points))
        self._stale = (plan.column("stale_s") * 1e9 / plan.dt_ns)[self._of]
        self._alone = plan.column("per_resource") * plan.column("loss")
        alone = any(c.per_resource and c.loss > 0.0 and c.up for c in plan.channels)
        self._loss = _seeded(plan, UP) if alone else None

    @property
    def deep(self) -> int:
        """Messages that are kept because they may be under way."""
        return len(self._points)

    def carry(self, k: int, message: Message, points: GridPoints) -> tuple[Message, GridPoints]:
        """Send the message of step ``k``, and give what has arrived by then. The network's meters are the last column.

        A message is never changed once it is made.
        """
        deep = self.deep
        block, quality, time_ns = message
        n = block.shape[1]
        self._points[k % deep] = points
        if deep > 1:
            if not self._block.size:  # how many rows there are is known from the first message
                self._block, self._time_ns = np.full((deep, *block.shape), np.nan), np.zeros((deep, *time_ns.shape), np.int64)
            self._block[k % deep], self._quality[k % deep], self._time_ns[k % deep] = block, quality, time_ns
        lost = _NONE
        if self._loss is not None:
            lost = self._loss.random(n + 1, np.float32) < self._alone[self._of]
        slot = self.slot = np.empty(n + 1, np.int64)
        late = self.late = _which(self._traffic.newest(k), self._of, k, deep, lost, _NONE, self._got, slot)
        if late == 0:  # everything is there
            self._arrived[:] = k
            self._shown, self._shown_points = message, points
            return message, points
        rings = (self._block, self._quality, self._time_ns) if deep > 1 else (block[None], quality[None], time_ns[None])
        before = self._shown or _nothing(message)
        out = np.empty_like(block), np.empty_like(quality), np.empty_like(time_ns)
        gather(slot, rings[0], before[0], out[0])
        gather(slot, rings[1][:, None], before[1][None], out[1][None])
        gather(slot, rings[2], before[2], out[2])
        _age(slot, k, self._stale, self._arrived, out[0], out[1])
        stale = float(self._stale[n])
        self._shown, self._shown_points = out, self._of_points(int(slot[n]), k, stale, points)
        return out, self._shown_points

    def _of_points(self, m: int, k: int, stale: float, points: GridPoints) -> GridPoints:
        """The network's meters as they arrive."""
        if m >= 0 and (there := self._points[m % len(self._points)]) is not None:
            return there
        before = self._shown_points
        if before is not None and k - int(self._arrived[-1]) <= stale:
            worse = np.where(before.quality & q.INVALID, before.quality, before.quality | q.QUESTIONABLE | q.STALE)
            return GridPoints(points.layout, before.value, worse.astype(np.uint8), before.time_ns)
        time_ns = np.zeros_like(points.time_ns) if before is None else before.time_ns
        gone = np.full(len(points.value), q.INVALID | q.COMM_LOST, np.uint8)
        return GridPoints(points.layout, np.full(len(points.value), np.nan), gone, time_ns)

    def state(self) -> dict[str, Any]:
        """Everything that the next message depends on; messages are never changed, so they need no copy."""
        return {
            "traffic": self._traffic.state(), "block": self._block.copy(), "quality": self._quality.copy(),
            "time_ns": self._time_ns.copy(), "points": list(self._points), "shown": self._shown,
            "shown_points": self._shown_points, "got": self._got.copy(), "arrived": self._arrived.copy(),
            "loss": None if self._loss is None else self._loss.bit_generator.state,
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a remembered state."""
        self._traffic.restore(state["traffic"])
        self._block, self._quality = state["block"].copy(), state["quality"].copy()
        self._time_ns, self._points = state["time_ns"].copy(), list(state["points"])
        self._shown, self._shown_points = state["shown"], state["shown_points"]
        self._got[:], self._arrived[:] = state["got"], state["arrived"]
        if self._loss is not None:
            self._loss.bit_generator.state = state["loss"]


@dataclass(slots=True)
class ReadBack:
    """What the devices say that they hold, on the same way as their telemetry: what does not come stays as it was.

    Attributes:
        deep: steps for which a message may be under way, at least 1.
    """

    deep: int
    _ring: FloatArray = field(init=False)
    _shown: FloatArray | None = None

    def __post_init__(self) -> None:
        """Begin with nothing on the way."""
        self._ring = np.zeros((self.deep, 0, 0))

    def carry(self, k: int, block: FloatArray, slot: IntArray | None, silent: BoolArray | None) -> FloatArray:
        """Give what is known in step ``k``; ``slot`` as of `Uplink`, None: everything is there. Blocks are never changed."""
        if self.deep > 1:
            if not self._ring.size:
                self._ring = np.zeros((self.deep, *block.shape))
            self._ring[k % self.deep] = block
        if slot is None and silent is None:
            self._shown = block
            return block
        before = Setpoints.neutral(block.shape[1]).block if self._shown is None else self._shown
        taken = np.full(block.shape[1], k) if slot is None else slot[: block.shape[1]]
        taken = taken if silent is None else np.where(silent, -1, taken)
        out = np.empty_like(block)
        gather(taken, self._ring if self.deep > 1 else block[None], before, out)
        self._shown = out
        return out

    def state(self) -> dict[str, Any]:
        """What is on its way and what was shown."""
        return {"ring": self._ring.copy(), "shown": self._shown}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a remembered state."""
        self._ring, self._shown = state["ring"].copy(), state["shown"]


def _nothing(like: Message) -> Message:
    """What is seen before anything arrives."""
    block, quality, time_ns = like
    return np.full_like(block, np.nan), np.full_like(quality, q.INVALID | q.COMM_LOST), np.zeros_like(time_ns)


@njit(cache=True, nogil=True)
def _which(
    newest: IntArray, of: Int32Array, k: int, deep: int, lost: BoolArray, deaf: BoolArray, got: IntArray, slot: IntArray
) -> int:
    """Find whose message is taken in step ``k``: its number, -1 where nothing newer has come; returns how many are not k."""
    late = 0
    for i in range(slot.size):
        m = newest[of[i]]
        taken = m > got[i] and m > k - deep
        if taken and lost.size and lost[i]:
            got[i] = m
            taken = False
        if deaf.size and deaf[i]:
            taken = False
        slot[i] = m if taken else -1
        if taken:
            got[i] = m
        late += slot[i] != k
    return late


@njit(cache=True, nogil=True)
def gather(slot: IntArray, ring: Any, before: Any, out: Any) -> None:
    """Take each column from the message that is its newest, (deep, rows, n); from ``before`` where nothing newer came."""
    deep = ring.shape[0]
    place = np.empty(out.shape[1], np.int64)
    for i in range(place.size):
        place[i] = slot[i] % deep if slot[i] >= 0 else 0
    for r in range(out.shape[0]):
        for i in range(place.size):
            new = ring[place[i], r, i]
            out[r, i] = new if slot[i] >= 0 else before[r, i]


@njit(cache=True, nogil=True)
def _leases(
    slot: IntArray, of: Int32Array, lease_s: FloatArray, safe: FloatArray, stuck: BoolArray, now_ns: int, start_ns: int,
    dt_ns: int, control: IntArray, p_safe: FloatArray, p_max: FloatArray, ends_ns: FloatArray, block: FloatArray,
) -> None:  # fmt: skip
    """Note when each setpoint ends, and let go of those that have ended: its safe value, or the device by itself."""
    for i in range(slot.size):
        if slot[i] >= 0:
            ends = block[_S_VALID, i]
            own = lease_s[of[i]]
            if own > 0.0:
                # Message m was sent one step before the one in which it acts where nothing delays it.
                sent_until = start_ns + (slot[i] - 1) * dt_ns + own * 1e9
                ends = min(ends, sent_until) if ends > 0.0 else sent_until
            ends_ns[i] = block[_S_VALID, i] = ends
        if ends_ns[i] <= 0.0 or now_ns < ends_ns[i] or control[i] == CONTROL_NONE or (stuck.size and stuck[i]):
            continue
        ends_ns[i] = 0.0
        block[_S_QMODE, i], block[_S_Q, i] = AUTONOMOUS, 0.0
        block[_S_MODE, i], block[_S_P, i], block[_S_LIMIT, i] = AUTONOMOUS, 0.0, np.inf
        if safe[of[i]] > 0.0:
            block[_S_P, i], block[_S_LIMIT, i] = p_safe[i], p_safe[i] if control[i] == CONTROL_LIMIT else p_max[i]
            block[_S_MODE, i] = FOLLOW if control[i] == CONTROL_FOLLOW else LIMIT


@njit(cache=True, nogil=True)
def _age(slot: IntArray, k: int, stale: FloatArray, arrived: IntArray, block: FloatArray, quality: ByteArray) -> None:
    """Mark what is shown again: questionable and stale, and no value any more once it is too old."""
    for i in range(slot.size):
        if slot[i] >= 0:
            arrived[i] = k
        elif i < quality.size:
            if not quality[i] & q.INVALID:
                quality[i] |= q.QUESTIONABLE | q.STALE
            if arrived[i] < 0 or k - arrived[i] > stale[i]:
                quality[i] = q.INVALID | q.COMM_LOST
                block[:, i] = np.nan
