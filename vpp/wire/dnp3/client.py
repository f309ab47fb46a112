"""The DNP3 master: a picture kept by unsolicited reports and class scans, commands with a status for every point."""

from __future__ import annotations

import asyncio
import itertools
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from vpp.kernel import quality as q
from vpp.kernel.errors import LinkError
from vpp.kernel.signals import FloatArray, IntArray
from vpp.wire.clock import WallClock
from vpp.wire.dnp3.address import Kind, parse, rows_by_address
from vpp.wire.dnp3.quality import FROM_FLAGS, STATUSES
from vpp.wire.feed import Feeds
from vpp.wire.link import TIMEOUT_S, Batch, LinkState, Mode, Outcome, StateBoard, Status, Watched
from vpp.wire.picture import Picture
from vpp.wire.points import PointTable
from vpp.wire.tunnel import Tunnel
from vpp.wire.worker import Message, Worker

MODULE: Final = "vpp.wire.dnp3.worker"
EVERYTHING: Final = (True, True, True, True)  # class 0 and the events of 1, 2 and 3
EVENTS: Final = (False, True, True, True)
# opendnp3's CommandPointState: where a point stands when it has its status.
_NOT_ANSWERED, _SELECTED, _MISMATCH = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Session:
    """Who speaks to whom: link addresses of the master and the outstation, and how long an answer may take."""

    master: int = 1
    outstation: int = 10
    answer_s: float = 1.0


class Dnp3Link(Watched):
    """`vpp.wire.link.Link` as a DNP3 master."""

    def __init__(
        self, table: PointTable, address: tuple[str, int], *, clock: WallClock, session: Session | None = None,
        name: str = "dnp3", worker: Worker | None = None, tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        """Lay out the picture.

        Args:
            table: what stands at which indices.
            address: host and port of the outstation.
            clock: wall clock, ns.
            session: link addresses.
            name: in logs.
            worker: a process that several links share; None: one of its own, which ends with `close`.
            tls: with the client's certificate; carried by a local tunnel.
        """
        self.name, self.table, self.address, self.clock = name, table, address, clock
        self.session = session or Session()
        self.worker = worker or Worker(MODULE, name)
        self._own_worker = worker is None
        self._tunnel = Tunnel(address, tls, failed=self._not_carried) if tls is not None else None
        self._board = StateBoard()
        self._rows = rows_by_address(table, "r")
        self._addresses = [parse(point) for point in table.points]
        quiet = [kind.output or p.event_class == 0 for (kind, _), p in zip(self._addresses, table.points) if "r" in p.access]
        self._poll = EVERYTHING if any(quiet) else EVENTS  # outputs and class 0 report nothing by themselves
        self._picture = Picture(table)
        self._feeds = Feeds()
        self._number = 0  # of the worker's session, 0: none
        self._requests = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Message]] = {}
        self._started: asyncio.Future[None] | None = None
        self._needs_time = False
        self._setting: asyncio.Task[None] | None = None

    async def connect(self, timeout_s: float = TIMEOUT_S) -> None:
        """Open the channel, and have the first picture (the startup integrity poll). Raises `LinkError`."""
        await self._leave("connecting anew")
        self._board.enter(LinkState.CONNECTING)
        try:
            async with asyncio.timeout(timeout_s):
                await self._open()
        except TimeoutError:
            reason = self._tunnel.reason if self._tunnel is not None else ""
            await self._leave(reason or "no answer in time")
            raise LinkError(self.name, reason or f"{self.address[0]}:{self.address[1]}: no answer in time") from None
        except BaseException as error:
            await self._leave(str(error))
            raise
        self._board.enter(LinkState.UP)
        self._set_time()

    async def close(self) -> None:
        """Disconnect, and end the worker where it is the link's own."""
        await self._leave("closed")
        if self._own_worker:
            await self.worker.stop()

    async def read(self, points: IntArray | None = None) -> Batch:
        """Read by an integrity poll; what the outstation did not send is invalid and comm-lost."""
        points = self.table.readable if points is None else np.asarray(points, np.int64)
        begin = time.monotonic_ns()
        done = await self._ask("scan", EVERYTHING, timeout_s=self.session.answer_s + TIMEOUT_S)
        if done[0] != 0:
            raise LinkError(self.name, f"the integrity poll failed with opendnp3's code {done[0]}")
        batch = self._picture.batch(points)
        silent = ~self._picture.since(points, begin)
        batch.value[silent], batch.quality[silent] = np.nan, q.INVALID | q.COMM_LOST
        batch.time_ns[silent], batch.received_ns[silent] = 0, self.clock()
        return batch

    async def subscribe(self, points: IntArray | None = None, period_s: float = 1.0) -> AsyncIterator[Batch]:
        """Follow reports, with a class scan every period for what reports nothing by itself."""
        points = self.table.readable if points is None else np.asarray(points, np.int64)
        with self._feeds.open(points) as feed:
            yield await self.read(points)
            feed.take()
            poll = asyncio.create_task(self._scan_ever(period_s))
            try:
                while True:
                    rows = await feed.wait()
                    if rows is None or poll.done():
                        raise LinkError(self.name, "the link broke")
                    yield self._picture.batch(rows)
            finally:
                poll.cancel()
                await asyncio.gather(poll, return_exceptions=True)

    async def write(
        self, points: IntArray, values: FloatArray, *, mode: Mode = Mode.DIRECT, timeout_s: float = TIMEOUT_S
    ) -> Outcome:
        """Command point after point; only a status of its own, 0, makes a point accepted."""
        points, values = np.asarray(points, np.int64), np.asarray(values, np.float64)
        status = np.full(len(points), Status.NOT_SENT, np.uint8)
        code = np.full(len(points), -1, np.int64)
        raw, quality = self.table.encode(points, values)
        wrong = ((quality & q.OVERFLOW) > 0) | ((quality & q.VALIDITY_MASK) >= q.INVALID)
        status[wrong] = Status.OUT_OF_RANGE
        status[["w" not in self.table.points[row].access for row in points]] = Status.NOT_WRITABLE
        sent, answered, reason = self.clock(), 0, ""
        end = asyncio.get_running_loop().time() + timeout_s
        for place in np.flatnonzero(status == Status.NOT_SENT):
            kind, index = self._addresses[points[place]]
            left = end - asyncio.get_running_loop().time()
            fate, native, why = await self._command(kind, index, float(raw[place]), mode, left)
            status[place], code[place], reason = fate, native, why or reason
            answered = self.clock() if fate not in (Status.TIMEOUT, Status.NOT_SENT) else answered
        return Outcome(points, status, code, reason, sent, answered)

    async def sync_time(self, now_ns: int) -> bool:
        """Set the outstation's clock by the LAN procedure (IEEE 1815-2012, 10.3.3.2)."""
        began = time.monotonic_ns()
        done = await self._ask("time", now_ns // 1_000_000, began, timeout_s=2 * self.session.answer_s + TIMEOUT_S)
        return bool(done[0] == 0)

    async def heartbeat(self, timeout_s: float = TIMEOUT_S) -> float:
        """Ask for the link status."""
        began = time.monotonic()
        done = await self._ask("link", timeout_s=timeout_s)
        if done[0] != 0:
            raise LinkError(self.name, "no link status")
        return time.monotonic() - began

    async def _open(self) -> None:
        host, port = self.address
        if self._tunnel is not None:
            await self._tunnel.start()
            host, port = self._tunnel.address
        self._needs_time = False
        self._number = await self.worker.open(self._hear)
        self._started = asyncio.get_running_loop().create_future()
        s = self.session
        config = (host, port, s.master, s.outstation, round(s.answer_s * 1000))
        self.worker.send(self._number, "open", config)
        await self._started

    async def _leave(self, reason: str) -> None:
        """Let go of the session and whoever waits for it."""
        self._break(reason)
        if self._tunnel is not None:
            await self._tunnel.stop()

    def _break(self, reason: str) -> None:
        number, self._number = self._number, 0
        if number:
            self.worker.leave(number)
            try:
                self.worker.send(number, "close")
            except LinkError:
                reason = reason or "the worker process is gone"
        error = LinkError(self.name, reason)
        waiting = [f for f in (self._started, *self._answers.values()) if f is not None and not f.done()]
        for future in waiting:
            future.set_exception(error)
        if self._started in waiting and self.state != LinkState.CONNECTING:
            self._started.exception()  # nobody waits for it
        if self._setting is not None:
            self._setting.cancel()
        self._feeds.end()
        self._board.enter(LinkState.DOWN, reason)

    def _not_carried(self, reason: str) -> None:
        """The tunnel did not reach the outstation: whoever connects need not wait for the stack to find out."""
        if self.state == LinkState.CONNECTING:
            self._break(reason)

    def _hear(self, message: Message | None) -> None:
        """What the worker says."""
        what, *rest = message or ("gone",)
        if what == "data":
            self._take(rest[0])
        elif what == "done":
            answer = self._answers.get(rest[0])
            if answer is not None and not answer.done():
                answer.set_result(tuple(rest[1:]))
        elif what == "started" and rest[0] and self._started is not None and not self._started.done():
            self._started.set_result(None)
        elif what == "needs time":
            self._needs_time = True
            self._set_time()
        elif what == "gone":
            self._break("the worker process died")
        elif what == "state" and not rest[0] and self.state == LinkState.UP:
            self._break("the connection broke")

    def _set_time(self) -> None:
        """Tell the outstation the time, where it asked for it (IIN1.4)."""
        if self._needs_time and self.state == LinkState.UP and (self._setting is None or self._setting.done()):
            self._setting = asyncio.create_task(self._give_time())

    async def _give_time(self) -> None:
        try:
            self._needs_time = not await self.sync_time(self.clock())
        except LinkError:
            return  # it will ask again

    def _take(self, items: list[tuple[int, int, float, int, int, bool]]) -> None:
        """Put values into the picture."""
        now = self.clock()
        changed = []
        for kind, index, raw, flags, ms, event in items:
            row = self._rows.get((Kind(kind), index))
            if row is None:
                continue
            if self._picture.put(row, raw, FROM_FLAGS[kind, flags & 0xFF], ms * 1_000_000, event, now):
                changed.append(row)
        self._feeds.put(changed)

    async def _scan_ever(self, period_s: float) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        try:
            while True:
                due = max(due + period_s, loop.time())
                await asyncio.sleep(due - loop.time())
                await self._ask("scan", self._poll, timeout_s=self.session.answer_s + TIMEOUT_S)
        finally:
            self._feeds.wake()

    async def _ask(self, what: str, *rest: Any, timeout_s: float) -> Message:
        """A request to the worker: what it answers. Raises `LinkError`."""
        if self.state != LinkState.UP:
            raise LinkError(self.name, "not connected")
        number = next(self._requests)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            self.worker.send(self._number, what, number, *rest)
            async with asyncio.timeout(timeout_s):
                done: Message = await answer
            return done
        except TimeoutError:
            raise LinkError(self.name, f"no answer to a {what} in {timeout_s:g} s") from None
        finally:
            del self._answers[number]

    async def _command(self, kind: Kind, index: int, raw: float, mode: Mode, left_s: float) -> tuple[Status, int, str]:
        """The fate of one point, DNP3's own code, and the reason."""
        if self.state != LinkState.UP or left_s <= 0:
            return Status.NOT_SENT, -1, "the link is down" if left_s > 0 else "no time left"
        try:
            done = await self._ask("command", int(kind), index, raw, mode == Mode.SELECT, timeout_s=left_s)
        except LinkError as error:
            return Status.TIMEOUT, -1, error.reason
        summary, results = done
        if summary != 0 or len(results) != 1:
            return Status.TIMEOUT, -1, f"the command failed with opendnp3's code {summary}"
        step, code = results[0]
        if step in (_NOT_ANSWERED, _SELECTED):
            return Status.TIMEOUT, -1, "selected only" if step == _SELECTED else "no answer"
        if step == _MISMATCH:
            return Status.DEVICE_FAILED, code, "the answer does not match the command"
        return STATUSES.get(code, Status.DEVICE_FAILED), code, "" if code == 0 else f"DNP3 command status {code}"
