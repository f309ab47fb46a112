"""The link supervisor, the same above every protocol: it keeps a link up, and knows how far what it holds can be trusted.

It reconnects with back-off and jitter, finds a peer that is mute by heartbeats, counts what an interrogation should have
brought, marks what is old, and keeps the fate of every written point. It never believes a stack that says "success".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np

from vpp.kernel import quality as q
from vpp.kernel.errors import LinkError
from vpp.kernel.signals import ByteArray, FloatArray, IntArray
from vpp.wire.clock import WallClock, steady
from vpp.wire.link import Batch, Link, LinkState, Mode, Outcome, Status
from vpp.wire.logs import LinkLog

NEVER: Final = 255  # no command was given to this point


class Chance(Protocol):
    """Where chance comes from: a seeded ``numpy`` generator of the caller."""

    def random(self) -> float:
        """A number in 0…1."""
        ...


@dataclass(frozen=True, slots=True)
class Policy:
    """How a link is kept.

    Attributes:
        period_s: polling period, where the protocol polls.
        connect_s: time for one try to connect.
        back_off_s, back_off_max_s: wait after the first failed try; it doubles up to the longest.
        jitter: part of the wait that is drawn at random, so that a fleet does not come back all at once.
        heartbeat_s: time between signs of life; 0: none are asked for.
        heartbeat_timeout_s: how long an answer may take; after ``misses`` in a row the link is taken down.
        stale_s: how long nothing may be heard (samples or heartbeats) before everything is stale.
        point_stale_s: age from which one point is stale by itself; inf where the protocol reports changes only.
        integrity_s: time between full readings beside a subscription; 0: only after connecting.
        write_s: time for the answer to a command.
    """

    period_s: float = 1.0
    connect_s: float = 2.0
    back_off_s: float = 0.1
    back_off_max_s: float = 30.0
    jitter: float = 0.5
    heartbeat_s: float = 1.0
    heartbeat_timeout_s: float = 1.0
    misses: int = 2
    stale_s: float = 5.0
    point_stale_s: float = np.inf
    integrity_s: float = 0.0
    write_s: float = 2.0


@dataclass(slots=True)
class Statistics:
    """What happened on a link since it was made; only ever counted up."""

    connects: int = 0
    failed_connects: int = 0
    breaks: int = 0
    muted: int = 0
    samples: int = 0
    expected: int = 0
    missing: int = 0
    incomplete: int = 0
    commands: int = 0
    refused: int = 0
    unanswered: int = 0
    not_sent: int = 0
    rtt_s: float = np.nan
    worst_rtt_s: float = 0.0


@dataclass(slots=True)
class Image:
    """The latest of every point of a table.

    Attributes:
        value, quality, time_ns, received_ns: (points,) as in a `Batch`; ``received_ns`` 0: never.
        status, code: (points,) fate of the last command, `NEVER` where there was none.
    """

    value: FloatArray
    quality: ByteArray
    time_ns: IntArray
    received_ns: IntArray
    status: ByteArray
    code: IntArray

    @classmethod
    def empty(cls, n: int) -> Image:
        """Nothing known, nothing commanded."""
        zero = np.zeros(n, np.int64)
        lost = np.full(n, q.INVALID | q.COMM_LOST, np.uint8)
        return cls(np.full(n, np.nan), lost, zero, zero.copy(), np.full(n, NEVER, np.uint8), zero - 1)


@dataclass
class Supervisor:
    """Keeps one link: run `run` as a task, read the image from `now`, give commands to `write`.

    Attributes:
        link: the client.
        clock: wall clock, ns UTC: of stamps.
        steady: of ages and waits.
        heard_ns: when anything was heard last, by the steady clock.
        random: seeded by the caller; only the jitter of reconnecting is drawn from it.
        policy: how it is kept.
    """

    link: Link
    clock: WallClock
    random: Chance
    policy: Policy = field(default_factory=Policy)
    image: Image = field(init=False)
    statistics: Statistics = field(default_factory=Statistics)
    log: LinkLog = field(init=False)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    heard_ns: int = 0
    steady: WallClock = field(init=False)
    _wrote_ns: IntArray = field(init=False)
    _taken_ns: IntArray = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing known."""
        n = len(self.link.table)
        self.image = Image.empty(n)
        self.steady = steady(self.clock)
        self._wrote_ns = np.full(n, np.iinfo(np.int64).min // 2)
        self._taken_ns = self._wrote_ns.copy()
        self._min_write_ns = np.array([round(p.min_write_s * 1e9) for p in self.link.table.points], np.int64)
        self.log = LinkLog(self.link.name, self.clock)

    @property
    def state(self) -> LinkState:
        """The link's state, STALE where it is up but nothing came for too long."""
        state = self.link.state
        return LinkState.STALE if state == LinkState.UP and self._silent() else state

    def now(self) -> Batch:
        """Every point as it can be trusted now: stale where it is old, invalid where nothing came since the link broke."""
        image = self.image
        old = self._silent() | (self.steady() - self._taken_ns > self.policy.point_stale_s * 1e9)
        flags = np.where(old, q.STALE, 0)
        quality = (image.quality | flags).astype(np.uint8)
        return Batch(self.link.table.all, image.value.copy(), quality, image.time_ns.copy(), image.received_ns.copy())

    async def run(self) -> None:
        """Connect, follow, and connect again, until cancelled; the link is closed in the end."""
        tries = 0
        try:
            while True:
                if await self._connect():
                    tries = 0
                    await self._until_it_breaks()
                await self.link.close()
                await asyncio.sleep(self._wait_s(tries))
                tries += 1
        finally:
            await self.link.close()

    async def _connect(self) -> bool:
        try:
            async with asyncio.timeout(2 * self.policy.connect_s):  # a stack may forget its own limit
                await self.link.connect(self.policy.connect_s)
        except (LinkError, TimeoutError) as error:
            self.statistics.failed_connects += 1
            self.log.tell("no connection", str(error))
            return False
        self.statistics.connects += 1
        self.heard_ns = self.steady()
        self.log.tell("up", "connected", logging.INFO)
        return True

    async def _until_it_breaks(self) -> None:
        try:
            await self._follow()
        except LinkError as error:
            self.log.tell("down", error.reason)
        finally:
            self.statistics.breaks += 1
            self.image.value[:] = np.nan  # no decision may go on with what was true before
            self.image.quality |= np.uint8(q.INVALID | q.COMM_LOST)

    async def write(self, points: IntArray, values: FloatArray, mode: Mode = Mode.DIRECT) -> Outcome:
        """Give a command; the fate of every point is kept in the image. Never raises for the link or the device."""
        points, values = np.asarray(points, np.int64), np.asarray(values, np.float64)
        now, table = self.steady(), self.link.table
        status = np.full(len(points), Status.NOT_SENT, np.uint8)
        code = np.full(len(points), -1, np.int64)
        early = now - self._wrote_ns[points] < self._min_write_ns[points]
        wrong = table.out_of_band(points, values)
        status[wrong] = Status.OUT_OF_RANGE
        go = ~early & ~wrong
        reason = "too soon after the last write" if early.any() else "out of the point's band" if wrong.any() else ""
        sent = answered = 0
        if self.link.state != LinkState.UP:
            reason, go = "the link is down", np.zeros_like(go)
        if go.any():
            done = await self.link.write(points[go], values[go], mode=mode, timeout_s=self.policy.write_s)
            status[go], code[go] = done.status, done.code
            reason, sent, answered = done.reason or reason, done.sent_ns, done.answered_ns
            self._wrote_ns[points[go]] = now
        outcome = Outcome(points, status, code, reason, sent, answered)
        self._count(outcome)
        return outcome

    async def _follow(self) -> None:
        """Take in what comes, with heartbeats beside it; ends with a `LinkError` when the link breaks."""
        tasks = [asyncio.create_task(part) for part in (self._take_in(), self._beat(), self._read_all_again())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            raise LinkError(self.link.name, "the peer ended the subscription")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _take_in(self) -> None:
        points = self.link.table.readable
        stream: AsyncIterator[Batch] = self.link.subscribe(points, self.policy.period_s)
        first = True
        async for batch in stream:
            self.take(batch)
            if first:
                self._complete(points, batch)
                first = False

    async def _read_all_again(self) -> None:
        if self.policy.integrity_s <= 0:
            await asyncio.Event().wait()
        points = self.link.table.readable
        while True:
            await asyncio.sleep(self.policy.integrity_s)
            batch = await self.link.read(points)
            self.take(batch)
            self._complete(points, batch)

    def take(self, batch: Batch) -> None:
        """Put samples into the image; of several of one point the last counts."""
        image, at = self.image, batch.point
        image.value[at], image.quality[at] = batch.value, batch.quality
        image.time_ns[at], image.received_ns[at] = batch.time_ns, batch.received_ns
        self.heard_ns = self._taken_ns[at] = self.steady()
        self.statistics.samples += batch.n
        self.changed.set()

    def _complete(self, points: IntArray, batch: Batch) -> None:
        """Count what the first picture should have brought: every readable point, with an answer of its own."""
        came = batch.point[(batch.quality & q.COMM_LOST) == 0]
        missing = len(points) - len(np.intersect1d(points, came))
        self.statistics.expected += len(points)
        self.statistics.missing += missing
        if missing:
            self.statistics.incomplete += 1
            self.log.tell("incomplete", f"{missing} of {len(points)} points did not come")

    async def _beat(self) -> None:
        if self.policy.heartbeat_s <= 0:
            await asyncio.Event().wait()
        missed = 0
        while True:
            await asyncio.sleep(self.policy.heartbeat_s)
            try:
                async with asyncio.timeout(self.policy.heartbeat_timeout_s):
                    rtt = await self.link.heartbeat(self.policy.heartbeat_timeout_s)
            except (LinkError, TimeoutError) as error:
                missed += 1
                if missed >= self.policy.misses:
                    self.statistics.muted += 1
                    told = f" ({error})" if str(error) else ""
                    raise LinkError(self.link.name, f"mute: {missed} heartbeats without an answer{told}") from error
                continue
            missed = 0
            self.heard_ns = self.steady()
            self.statistics.rtt_s = rtt
            self.statistics.worst_rtt_s = max(self.statistics.worst_rtt_s, rtt)

    def _count(self, outcome: Outcome) -> None:
        self.image.status[outcome.point], self.image.code[outcome.point] = outcome.status, outcome.code
        counts = np.bincount(outcome.status, minlength=len(Status))
        s = self.statistics
        s.commands += len(outcome.point)
        s.unanswered += int(counts[Status.TIMEOUT])
        s.not_sent += int(counts[Status.NOT_SENT])
        refused = int(counts[1:].sum() - counts[Status.TIMEOUT] - counts[Status.NOT_SENT])
        s.refused += refused
        for row, status in zip(outcome.point, outcome.status):
            if status:
                name = Status(status).name.lower().replace("_", " ")
                self.log.tell(f"command {name}", f"{self.link.table.points[row].id}: {outcome.reason or name}")

    def _silent(self) -> bool:
        return self.steady() - self.heard_ns > self.policy.stale_s * 1e9

    def _wait_s(self, tries: int) -> float:
        wait = min(self.policy.back_off_s * 2.0 ** min(tries, 30), self.policy.back_off_max_s)
        return wait * (1.0 - self.policy.jitter * self.random.random())
