"""Communication channels: when each message arrives, worked out ahead for blocks of steps.

A channel is a gateway or a link of many resources; in every step one message goes each way over it. What is drawn for
each message by itself, latency and loss, comes in arrays; what depends on what went before, outages that begin and end and
messages that wait for one another, is played by simpy. Environments of simpy can be neither copied nor pickled, so that
only their outcome is kept: the newest message that has arrived by each step. A state is that of the generators at the
beginning of a block and what is still under way, from which the block is played again.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from vpp.kernel.signals import BoolArray, FloatArray, Int32Array, IntArray

BLOCK: Final = 512
UP, DOWN = 0, 1
LONGEST: Final = 1000  # steps that a message may take; a later one counts as lost


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel; both directions are alike and drawn apart.

    Attributes:
        name: its name.
        latency_s: constant part of the latency.
        jitter_s: random part: its width where ``law`` is "uniform", its median where it is "lognormal".
        law: "uniform" or "lognormal".
        sigma: standard deviation of the logarithm, "lognormal" only.
        loss: probability that a message is lost.
        per_resource: lost for each resource by itself, not for all of the channel at once.
        in_order: a message that comes late holds back those behind it; False: they overtake it.
        up, down: whether telemetry and setpoints go over it.
        outage_s: (…, 2) begins and ends of stated outages, since the start of the run.
        mtbf_s, mttr_s: mean time between failures and to repair, exponential; inf for none.
        service_s: time that the line needs for one message; 0 where its bandwidth does not matter.
        queue: messages that may wait for the line; more are lost.
        stale_s: for so long the last telemetry is shown, as stale, when nothing new comes.
        lease_s: a setpoint holds for so long after it was sent; 0: until the next one.
        safe: what a device does when its lease has ended: True: its safe value, False: it leads itself.
    """

    name: str
    latency_s: float = 0.0
    jitter_s: float = 0.0
    law: str = "uniform"
    sigma: float = 0.5
    loss: float = 0.0
    per_resource: bool = False
    in_order: bool = True
    up: bool = True
    down: bool = True
    outage_s: tuple[tuple[float, float], ...] = ()
    mtbf_s: float = float("inf")
    mttr_s: float = 0.0
    service_s: float = 0.0
    queue: int = 10
    stale_s: float = 60.0
    lease_s: float = 0.0
    safe: bool = True

    def depth(self, dt_s: float) -> int:
        """Steps that a message may be under way: longer ones are as good as lost."""
        random = self.jitter_s if self.law == "uniform" else self.jitter_s * float(np.exp(4.0 * self.sigma))
        longest = self.latency_s + random + self.service_s * (self.queue + 2 if self.service_s > 0.0 else 0)
        return min(int(longest / dt_s + 0.5), LONGEST)


@dataclass(frozen=True, slots=True)
class Channels:
    """The channels of a run and who uses them.

    Attributes:
        channels: the channels.
        of: (n,) channel of each resource; ``len(channels)`` for those without, whose messages arrive at once.
        points: channel of the network's meters, likewise.
        outages: for each channel its outages, (k, 2) seconds since the start.
        start_ns, dt_ns: first step and length of a step.
        seed: of everything random.
    """

    channels: tuple[Channel, ...]
    of: Int32Array
    points: int
    outages: tuple[FloatArray, ...]
    start_ns: int
    dt_ns: int
    seed: int

    @classmethod
    def make(
        cls, channels: Sequence[Channel], of: IntArray, points: int, start_ns: int, dt_ns: int, steps: int, seed: int
    ) -> Channels:
        """Play the outages of the whole run."""
        length_s = steps * dt_ns / 1e9
        outages = tuple(play_outages(c, length_s, _generator(seed, 2, i)) for i, c in enumerate(channels))
        return cls(tuple(channels), of.astype(np.int32), points, outages, start_ns, dt_ns, seed)

    @property
    def dt_s(self) -> float:
        """Length of a step in seconds."""
        return self.dt_ns / 1e9

    def column(self, name: str) -> FloatArray:
        """A number of each channel; and 0 for whoever has none."""
        return np.array([*(getattr(c, name) for c in self.channels), 0.0], np.float64)


def _generator(seed: int, what: int, channel: int) -> np.random.Generator:
    return np.random.Generator(np.random.SFC64([seed, 0xC033, what, channel]))


def play_outages(channel: Channel, length_s: float, random: np.random.Generator) -> FloatArray:
    """Begins and ends of a channel's outages over a run, (k, 2) seconds, ascending: the stated ones and those that happen."""
    found = [list(pair) for pair in channel.outage_s]
    if np.isfinite(channel.mtbf_s) and channel.mtbf_s > 0.0:
        import simpy

        env = simpy.Environment()
        env.process(_fail(env, channel, random, found))
        env.run(until=max(length_s, 1e-9))
    return np.array(sorted(found), np.float64).reshape(-1, 2)


def _fail(env: Any, channel: Channel, random: np.random.Generator, found: list[list[float]]) -> Generator[Any, Any, None]:
    while True:
        yield env.timeout(random.exponential(channel.mtbf_s))
        length = float(random.exponential(channel.mttr_s))
        found.append([float(env.now), float(env.now) + length])
        yield env.timeout(length)


def down_at(outages: FloatArray, t_s: FloatArray) -> BoolArray:
    """Whether a channel is out of order at these times."""
    if not len(outages):
        return np.zeros(len(t_s), np.bool_)
    ends = np.maximum.accumulate(outages[:, 1])  # stated and random outages may overlap
    last = np.searchsorted(outages[:, 0], t_s, side="right") - 1
    return np.asarray((last >= 0) & (t_s < ends[last]))


@dataclass(slots=True)
class Traffic:
    """One direction of all channels: the newest message that has arrived by each step.

    Message m is the one that arrives in step m where nothing delays it: telemetry of step m, or what was asked in the
    step before m.
    """

    plan: Channels
    direction: int
    _random: list[np.random.Generator] = field(init=False)
    _block: int = -1
    _table: IntArray = field(init=False)
    _carry: dict[str, Any] = field(init=False)
    _before: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        """Seed; nothing is played before the first step is asked for."""
        c = len(self.plan.channels)
        self._random = [_generator(self.plan.seed, self.direction, i) for i in range(c)]
        self._table = np.zeros((0, c + 1), np.int64)
        none = np.zeros((0, 3), np.int64)  # message, step of arrival, channel
        self._carry = {"newest": np.full(c, -1, np.int64), "last_s": np.full(c, -np.inf), "free_s": np.zeros(c), "pending": none}
        self._before = self._snapshot()

    def newest(self, k: int) -> IntArray:
        """Number of the newest message of every channel that has arrived by step ``k``, -1 for none; the last is always ``k``.

        Steps are asked for in order.
        """
        while k >= (self._block + 1) * BLOCK:
            self._before = self._snapshot()
            self._block += 1
            self._play()
        return np.asarray(self._table[k - self._block * BLOCK])

    def _play(self) -> None:
        """Play the messages of the present block."""
        plan, carry, first = self.plan, self._carry, self._block * BLOCK
        c = len(plan.channels)
        arrivals = [carry["pending"]]
        for i, channel in enumerate(plan.channels):
            send_s, latency_s, lost = self._draw(i, channel, first)
            arrive_s = self._line(i, channel, send_s, lost) + latency_s
            arrive_s[lost] = np.nan
            if channel.in_order:
                ordered = np.fmax.accumulate(np.concatenate([[carry["last_s"][i]], arrive_s]))
                carry["last_s"][i] = ordered[-1]
                arrive_s = np.where(np.isnan(arrive_s), np.nan, ordered[1:])
            late = arrive_s - send_s > (channel.depth(plan.dt_s) + 0.5) * plan.dt_s
            there = np.flatnonzero(~np.isnan(arrive_s) & ~late)
            step = np.floor(arrive_s[there] / plan.dt_s + 0.5 + 1e-9).astype(np.int64)
            arrivals.append(np.stack([first + there, step, np.full(len(there), i)], axis=1))
        table = np.full((BLOCK, c + 1), -1, np.int64)
        every = np.concatenate(arrivals)
        now = every[:, 1] < first + BLOCK
        message, step, who = every[now].T
        np.maximum.at(table, (step - first, who), message)
        table[0, :c] = np.maximum(table[0, :c], carry["newest"])
        self._table = np.maximum.accumulate(table, axis=0)
        self._table[:, c] = np.arange(first, first + BLOCK)
        carry["newest"], carry["pending"] = self._table[-1, :c].copy(), every[~now]

    def _draw(self, i: int, channel: Channel, first: int) -> tuple[FloatArray, FloatArray, BoolArray]:
        """When each message of the block is sent, how long it takes, and whether it is lost on the way."""
        random = self._random[i]
        send_s = self.plan.dt_s * np.arange(first, first + BLOCK, dtype=np.float64)
        uses = channel.up if self.direction == UP else channel.down
        if not uses:
            return send_s, np.zeros(BLOCK), np.zeros(BLOCK, np.bool_)
        lost = random.random(BLOCK) < (0.0 if channel.per_resource else channel.loss)
        even, normal = random.random(BLOCK), random.standard_normal(BLOCK)
        part = even if channel.law == "uniform" else np.exp(channel.sigma * normal)
        return send_s, channel.latency_s + channel.jitter_s * part, lost | down_at(self.plan.outages[i], send_s)

    def _line(self, i: int, channel: Channel, send_s: FloatArray, lost: BoolArray) -> FloatArray:
        """When the line has sent each message off; those that find the queue full are marked as lost."""
        uses = channel.up if self.direction == UP else channel.down
        if channel.service_s <= 0.0 or not uses:
            return send_s.copy()
        import simpy

        start, done = float(send_s[0]), np.full(BLOCK, np.nan)
        env = simpy.Environment(start)
        line = _Line(env, channel, max(self._carry["free_s"][i] - start, 0.0))
        env.process(line.send(send_s - start, lost, done))
        env.process(line.serve(done))
        env.run(until=float(send_s[-1]) + self.plan.dt_s)
        # What still waits is served one after the other; the line is busy with it when the next block begins.
        for number in line.waiting:
            line.free_s = max(line.free_s, start) + channel.service_s
            done[number] = line.free_s
        self._carry["free_s"][i] = line.free_s
        return done

    def _snapshot(self) -> dict[str, Any]:
        carry = {name: value.copy() for name, value in self._carry.items()}
        return {"block": self._block, "carry": carry, "random": [r.bit_generator.state for r in self._random]}

    def state(self) -> dict[str, Any]:
        """From where the present block is played."""
        before = self._before
        carry = {name: value.copy() for name, value in before["carry"].items()}
        return {
            "block": before["block"],
            "carry": carry,
            "random": list(before["random"]),
            "begun": self._block > before["block"],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a remembered state."""
        self._block = state["block"]
        self._carry = {name: value.copy() for name, value in state["carry"].items()}
        for generator, before in zip(self._random, state["random"], strict=True):
            generator.bit_generator.state = before
        self._before = self._snapshot()
        if state["begun"]:
            self._block += 1
            self._play()


class _Line:
    """A line that sends one message after the other, each for the same time."""

    def __init__(self, env: Any, channel: Channel, busy_s: float) -> None:
        self.env, self.channel = env, channel
        self.busy_s, self.free_s = busy_s, float(env.now) + busy_s
        self.waiting: list[int] = []
        self.bell = env.event()

    def send(self, after_s: FloatArray, lost: BoolArray, done: FloatArray) -> Generator[Any, Any, None]:
        """Queue a message a step; what was left over from before counts as far as it is not sent yet."""
        wait = self.env.timeout
        for number, gap in enumerate(np.diff(after_s, prepend=0.0).tolist()):
            if gap > 0.0:
                yield wait(gap)
            left = max(self.free_s - float(self.env.now), 0.0) / self.channel.service_s
            if len(self.waiting) + left > self.channel.queue + 1e-9:
                lost[number] = True
                continue
            self.waiting.append(number)
            if not self.bell.triggered:
                self.bell.succeed()

    def serve(self, done: FloatArray) -> Generator[Any, Any, None]:
        """Send what waits, one message at a time."""
        if self.busy_s > 0.0:
            yield self.env.timeout(self.busy_s)
        while True:
            if not self.waiting:
                self.bell = self.env.event()
                yield self.bell
                continue
            number = self.waiting.pop(0)
            self.free_s = float(self.env.now) + self.channel.service_s
            done[number] = self.free_s
            yield self.env.timeout(self.channel.service_s)
