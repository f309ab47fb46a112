"""The supervisor over a link that does as it is told, in virtual time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import pairwise

import numpy as np
import pytest

from vpp.kernel import quality as q
from vpp.kernel.errors import LinkError
from vpp.wire import PROTOCOLS, protocol
from vpp.wire.link import Batch, LinkState, Mode, Outcome, StateBoard, Status
from vpp.wire.points import Point, PointTable
from vpp.wire.supervisor import NEVER, Policy, Supervisor

TABLE = PointTable(
    (
        Point("a", "p_mw", "1"),
        Point("a", "q_mvar", "2"),
        Point("a", "p_limit_mw", "3", sheet="setpoints", access="w", low=0.0, high=1.0),
        Point("a", "qv_v1_pu", "4", sheet="settings", access="w", stored=True, min_write_s=60.0),
    )
)
POLICY = Policy(back_off_s=1.0, back_off_max_s=8.0, jitter=0.0, heartbeat_s=1.0, heartbeat_timeout_s=0.5, misses=2, stale_s=3.0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes at once when nothing is to be done."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        select = self._selector.select

        def leap(timeout: float | None = None) -> list:
            found = select(0)
            if not found and timeout:
                self.now_s += timeout
            return found

        self._selector.select = leap

    def time(self) -> float:
        return self.now_s


class Puppet:
    """A link in the tests' hands."""

    name, table = "puppet", TABLE

    def __init__(self) -> None:
        self.board = StateBoard()
        self.tries: list[float] = []
        self.up, self.beats, self.sends = True, True, True
        self.rows = TABLE.readable
        self.broken = asyncio.Event()
        self.written: list[tuple[list[int], list[float]]] = []
        self.status = Status.ACCEPTED

    @property
    def state(self) -> LinkState:
        return self.board.state

    def watch(self, watcher) -> None:
        self.board.watchers.append(watcher)

    async def connect(self, timeout_s: float = 1.0) -> None:
        self.tries.append(asyncio.get_running_loop().time())
        if not self.up:
            raise LinkError("puppet", "refused")
        self.broken.clear()
        self.board.enter(LinkState.UP)

    async def close(self) -> None:
        self.board.enter(LinkState.DOWN)

    async def read(self, points=None) -> Batch:
        return Batch.of(self.rows, np.full(len(self.rows), 2.0), 0, 0, now())

    async def subscribe(self, points=None, period_s: float = 1.0) -> AsyncIterator[Batch]:
        while True:
            if self.sends:
                yield Batch.of(self.rows, np.ones(len(self.rows)), 0, 7, now())
            try:
                async with asyncio.timeout(period_s):
                    await self.broken.wait()
            except TimeoutError:
                continue
            raise LinkError("puppet", "reset")

    async def write(self, points, values, *, mode=Mode.DIRECT, timeout_s=1.0) -> Outcome:
        self.written.append((points.tolist(), values.tolist()))
        return Outcome.all(points, self.status, 3 if self.status else 0, "no" if self.status else "", now(), now())

    async def sync_time(self, now_ns: int) -> bool:
        return False

    async def heartbeat(self, timeout_s: float = 1.0) -> float:
        if not self.beats:
            await asyncio.Event().wait()
        return 0.25


def now() -> int:
    return round(asyncio.get_running_loop().time() * 1e9) + 10**18


def play(
    scene: Callable[[Puppet, Supervisor], Awaitable[None]], policy: Policy = POLICY, seed: int = 1
) -> tuple[Puppet, Supervisor]:
    """Run a scene with a supervisor at work beside it."""

    async def run() -> tuple[Puppet, Supervisor]:
        link = Puppet()
        keeper = Supervisor(link, now, np.random.default_rng(seed), policy)
        task = asyncio.create_task(keeper.run())
        await scene(link, keeper)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert link.state == LinkState.DOWN
        return link, keeper

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(run())


def test_the_image_and_its_quality() -> None:
    async def scene(link: Puppet, keeper: Supervisor) -> None:
        assert np.all(keeper.now().quality & q.COMM_LOST)
        await asyncio.sleep(0.1)
        image = keeper.now()
        assert image.value[:2].tolist() == [1.0, 1.0]
        assert image.quality[:2].tolist() == [0, 0]
        assert image.time_ns[:2].tolist() == [7, 7]
        assert keeper.state == LinkState.UP
        link.broken.set()
        await asyncio.sleep(0.9)  # down, before it is tried again
        lost = keeper.now()
        assert lost.quality[:2].tolist() == [q.INVALID | q.COMM_LOST] * 2
        assert np.isnan(lost.value).all()
        await asyncio.sleep(1)
        assert keeper.now().quality[:2].tolist() == [0, 0]

    _, keeper = play(scene)
    assert (keeper.statistics.connects, keeper.statistics.breaks) == (2, 2)


def test_back_off_doubles_up_to_its_limit() -> None:
    async def scene(link: Puppet, keeper: Supervisor) -> None:
        link.up = False
        await asyncio.sleep(40)

    link, keeper = play(scene)
    assert link.tries == [0.0, 1.0, 3.0, 7.0, 15.0, 23.0, 31.0, 39.0]
    assert keeper.statistics.failed_connects == 8


def test_jitter_is_drawn_from_the_seed() -> None:
    async def scene(link: Puppet, keeper: Supervisor) -> None:
        link.up = False
        await asyncio.sleep(40)

    wild = Policy(back_off_s=1.0, jitter=0.5)
    first, again, other = (play(scene, wild, seed)[0].tries for seed in (1, 1, 2))
    assert first == again != other
    assert all(0.5 <= b - a <= 2.0 ** (i + 1) for i, (a, b) in enumerate(pairwise(first)))


def test_a_mute_peer_is_found_by_heartbeats() -> None:
    async def scene(link: Puppet, keeper: Supervisor) -> None:
        await asyncio.sleep(2.1)
        assert keeper.statistics.rtt_s == 0.25
        link.beats = False
        link.up = False
        await asyncio.sleep(2.5)
        assert link.state == LinkState.UP  # one heartbeat is missed, not two
        await asyncio.sleep(1.0)
        assert link.state == LinkState.DOWN
        assert np.all(keeper.now().quality & q.COMM_LOST)
        link.beats = link.up = True
        await asyncio.sleep(5)
        assert link.state == LinkState.UP

    assert play(scene)[1].statistics.muted == 1


def test_what_is_silent_is_stale() -> None:
    async def scene(link: Puppet, keeper: Supervisor) -> None:
        await asyncio.sleep(0.1)
        link.sends = False
        await asyncio.sleep(10)  # heartbeats go on: nothing has changed, and that is known
        assert not keeper.now().quality[:2].any()
        assert keeper.state == LinkState.UP

    play(scene)
    quiet = Policy(heartbeat_s=0.0, stale_s=3.0)

    async def without(link: Puppet, keeper: Supervisor) -> None:
        await asyncio.sleep(0.1)
        link.sends = False
        await asyncio.sleep(3.2)
        assert keeper.state == LinkState.STALE
        assert keeper.now().quality[:2].tolist() == [q.STALE] * 2

    play(without, quiet)

    async def points(link: Puppet, keeper: Supervisor) -> None:
        await asyncio.sleep(0.1)
        link.sends = False
        await asyncio.sleep(6)
        assert keeper.now().quality[:2].tolist() == [q.STALE] * 2

    play(points, Policy(point_stale_s=5.0))


def test_what_does_not_come_is_counted() -> None:
    async def scene(link: Puppet, keeper: Supervisor) -> None:
        link.rows = TABLE.readable[:1]
        await asyncio.sleep(4.5)

    statistics = play(scene, Policy(integrity_s=2.0))[1].statistics
    assert (statistics.expected, statistics.missing, statistics.incomplete) == (6, 3, 3)


def test_every_point_of_a_command_has_its_fate() -> None:
    async def scene(link: Puppet, keeper: Supervisor) -> None:
        await asyncio.sleep(0.1)
        outcome = await keeper.write(np.array([2, 3]), np.array([0.5, 0.92]))
        assert outcome.accepted
        outcome = await keeper.write(np.array([2, 3]), np.array([2.0, 0.93]))
        assert outcome.status.tolist() == [Status.OUT_OF_RANGE, Status.NOT_SENT]  # stored: once a minute
        link.status = Status.BUSY
        await asyncio.sleep(61)
        outcome = await keeper.write(np.array([2, 3]), np.array([0.6, 0.93]))
        assert outcome.status.tolist() == [Status.BUSY] * 2
        assert keeper.image.code.tolist() == [-1, -1, 3, 3]
        assert keeper.image.status.tolist() == [NEVER, NEVER, Status.BUSY, Status.BUSY]
        link.broken.set()
        await asyncio.sleep(0.1)
        outcome = await keeper.write(np.array([2]), np.array([0.6]))
        assert (outcome.status.tolist(), outcome.reason) == ([Status.NOT_SENT], "the link is down")

    link, keeper = play(scene)
    assert link.written == [([2, 3], [0.5, 0.92]), ([2, 3], [0.6, 0.93])]
    s = keeper.statistics
    assert (s.commands, s.refused, s.not_sent, s.unanswered) == (7, 3, 2, 0)


def test_logs_are_counted_and_not_a_flood(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(link: Puppet, keeper: Supervisor) -> None:
        link.up = False
        await asyncio.sleep(32)
        assert keeper.log.counts == {"no connection": 7}

    with caplog.at_level(logging.INFO, "vpp.wire"):
        play(scene)
    ends = [record.getMessage().partition("refused")[2] for record in caplog.records]
    assert ends == ["", " (3 more since the last line)", " (1 more since the last line)"]  # at 0, 15 and 31 s
    assert [(r.link, r.event) for r in caplog.records] == [("puppet", "no connection")] * 3
    assert [r.count for r in caplog.records] == [1, 5, 7]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_of_the_table_is_there(name: str) -> None:
    assert protocol(name).__doc__
