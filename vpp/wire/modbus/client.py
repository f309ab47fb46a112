"""The Modbus client: a point table read in blocks, followed by polling, and written point by point or block by block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final

import numpy as np

from vpp.kernel import quality as q
from vpp.kernel.errors import LinkError
from vpp.kernel.signals import ByteArray, FloatArray, IntArray
from vpp.wire.clock import WallClock
from vpp.wire.link import TIMEOUT_S, Batch, LinkState, Mode, Outcome, StateBoard, Status, Watched
from vpp.wire.modbus.address import Codec, parse
from vpp.wire.modbus.channel import Channel
from vpp.wire.modbus.pdu import Code, ModbusError, Words, ask_read, ask_write, told, told_values
from vpp.wire.modbus.plan import Block, Plan, make_plan
from vpp.wire.points import PointTable

STATUSES: Final[Mapping[int, Status]] = {
    Code.ILLEGAL_FUNCTION: Status.NOT_SUPPORTED,
    Code.ILLEGAL_ADDRESS: Status.UNKNOWN_POINT,
    Code.ILLEGAL_VALUE: Status.OUT_OF_RANGE,
    Code.DEVICE_FAILURE: Status.DEVICE_FAILED,
    Code.BUSY: Status.BUSY,
    Code.GATEWAY_PATH: Status.UNKNOWN_POINT,
    Code.GATEWAY_TARGET: Status.UNKNOWN_POINT,
}
# Exceptions that speak of an address, and not of the whole device: the block is asked for again in pieces.
DIVISIBLE: Final = (Code.ILLEGAL_FUNCTION, Code.ILLEGAL_ADDRESS, Code.ILLEGAL_VALUE, Code.DEVICE_FAILURE)
SILENT: Final = (Code.ACKNOWLEDGE, Code.BUSY, Code.GATEWAY_PATH, Code.GATEWAY_TARGET)


class ModbusLink(Watched):
    """`vpp.wire.link.Link` on Modbus. There is no source time, no select and no clock."""

    def __init__(
        self, table: PointTable, channel: Channel, *, clock: WallClock, name: str = "modbus", gap: int = 8, timeout_s: float = 1.0
    ) -> None:
        """Plan the reading of a table.

        Args:
            table: what stands at which registers.
            channel: the way to the units.
            clock: wall clock, ns.
            name: in logs.
            gap: registers between two points that are read along rather than asked for apart.
            timeout_s: how long one request of a reading may take.
        """
        self.name, self.table, self.channel, self.clock = name, table, channel, clock
        self.gap, self.timeout_s = gap, timeout_s
        self._board = StateBoard()
        self._addresses = [parse(point) for point in table.points]
        self._alone: frozenset[int] = frozenset()
        self._plans: dict[bytes, Plan] = {}
        self._lost = asyncio.Event()
        self._writable = np.array(["w" in p.access for p in table.points], np.bool_)

    async def connect(self, timeout_s: float = TIMEOUT_S) -> None:
        """Connect once. Raises `LinkError`."""
        await self.channel.close()
        self._lost = asyncio.Event()
        self._board.enter(LinkState.CONNECTING)
        try:
            await self.channel.open(timeout_s, self._gone)
        except BaseException as error:
            self._board.enter(LinkState.DOWN, str(error))
            raise
        self._board.enter(LinkState.UP)

    async def close(self) -> None:
        """Disconnect."""
        await self.channel.close()
        self._lost.set()
        self._board.enter(LinkState.DOWN, "closed")

    async def read(self, points: IntArray | None = None) -> Batch:
        """Read points in as few blocks as possible; a block that is refused is asked for in pieces."""
        points = self.table.readable if points is None else np.asarray(points, np.int64)
        self._must_be_up()
        plan = self._plan(points)
        values = np.zeros(plan.size, np.uint16)
        quality = np.zeros(len(points), np.uint8)
        received = np.zeros(len(points), np.int64)
        refused: set[int] = set()
        # The blocks are asked for side by side; how many are in flight is the channel's to say.
        answers = await asyncio.gather(*(self._block(block) for block in plan.blocks))
        for block, begin, answer in zip(plan.blocks, plan.offset, answers):
            received[block.places] = self.clock()
            if isinstance(answer, np.ndarray):
                values[begin : begin + block.count] = answer
            elif answer in DIVISIBLE and len(block.places) > 1:
                await self._in_pieces(plan, block, int(begin), values, quality, refused)
            else:
                quality[block.places] = q.INVALID if answer in DIVISIBLE else q.INVALID | q.COMM_LOST
        if refused - self._alone:
            self._alone |= refused
            self._plans.clear()
        decoded, quality = self.table.decode(points, plan.codec.raw(values), quality)
        return Batch(points, decoded, quality, np.zeros(len(points), np.int64), received)

    async def subscribe(self, points: IntArray | None = None, period_s: float = 1.0) -> AsyncIterator[Batch]:
        """Poll on absolute deadlines; every batch has every point, so that what is old is seen to be."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            yield await self.read(points)
            due = max(due + period_s, loop.time())
            try:
                async with asyncio.timeout_at(due):
                    await self._lost.wait()
            except TimeoutError:
                continue
            self._must_be_up()

    async def write(
        self, points: IntArray, values: FloatArray, *, mode: Mode = Mode.DIRECT, timeout_s: float = TIMEOUT_S
    ) -> Outcome:
        """Write points; neighbours that follow one another without a gap go in one request, and share its fate."""
        points, values = np.asarray(points, np.int64), np.asarray(values, np.float64)
        if mode == Mode.SELECT:
            return Outcome.all(points, Status.NOT_SUPPORTED, reason="Modbus knows no select")
        status = np.full(len(points), Status.NOT_SENT, np.uint8)
        code = np.full(len(points), -1, np.int64)
        raw, quality = self.table.encode(points, values)
        wrong = ((quality & q.OVERFLOW) > 0) | ((quality & q.VALIDITY_MASK) >= q.INVALID)
        status[wrong] = Status.OUT_OF_RANGE
        status[~self._writable[points]] = Status.NOT_WRITABLE
        good = np.flatnonzero(status == Status.NOT_SENT)
        sent, answered, reason = self.clock(), 0, ""
        deadline = asyncio.get_running_loop().time() + timeout_s
        for run in self._runs(points, good):
            rows = points[run]
            a = self._addresses[rows[0]]
            pdu = ask_write(a.space, a.number, self._words(rows, raw[run]))
            fate, native, why = await self._give(a.unit, pdu, deadline - asyncio.get_running_loop().time())
            status[run], code[run], reason = fate, native, why or reason
            answered = self.clock() if fate not in (Status.TIMEOUT, Status.NOT_SENT) else answered
        return Outcome(points, status, code, reason, sent if len(good) else 0, answered)

    async def sync_time(self, now_ns: int) -> bool:
        """Modbus has no clock."""
        return False

    async def heartbeat(self, timeout_s: float = TIMEOUT_S) -> float:
        """Read the first point; any answer, an exception too, is a sign of life."""
        self._must_be_up()
        a = self._addresses[int(self.table.readable[0])]
        loop = asyncio.get_running_loop()
        before = loop.time()
        try:
            await self.channel.ask(a.unit, ask_read(a.space, a.number, a.words), timeout_s)
        except TimeoutError:
            raise LinkError(self.name, "no answer to a heartbeat") from None
        return loop.time() - before

    def _gone(self, reason: str) -> None:
        self._lost.set()
        self._board.enter(LinkState.DOWN, reason)

    def _must_be_up(self) -> None:
        if self.state != LinkState.UP:
            raise LinkError(self.name, "not connected")

    def _plan(self, points: IntArray) -> Plan:
        key = points.tobytes()
        if key not in self._plans:
            self._plans[key] = make_plan(self.table, self._addresses, points, self.gap, self._alone)
        return self._plans[key]

    async def _block(self, block: Block) -> Words | int:
        """The values of a block, or the exception code; -1: no answer, or none that makes sense."""
        pdu = ask_read(block.space, block.start, block.count)
        try:
            return told_values(block.space, block.count, told(pdu, await self.channel.ask(block.unit, pdu, self.timeout_s)))
        except ModbusError as error:
            return error.code
        except (TimeoutError, ValueError):
            return -1

    async def _in_pieces(
        self, plan: Plan, block: Block, begin: int, values: Words, quality: ByteArray, refused: set[int]
    ) -> None:
        """Ask for every point of a refused block by itself, and remember who spoils it."""
        for place in block.places:
            row = int(plan.points[place])
            a = self._addresses[row]
            answer = await self._block(Block(a.unit, a.space, a.number, a.words, np.array([place])))
            at = begin + a.number - block.start
            if isinstance(answer, np.ndarray):
                values[at : at + a.words] = answer
            else:
                quality[place] = q.INVALID if answer in DIVISIBLE else q.INVALID | q.COMM_LOST
                if answer in (Code.ILLEGAL_ADDRESS, Code.ILLEGAL_FUNCTION):
                    refused.add(row)

    def _runs(self, points: IntArray, places: IntArray) -> list[IntArray]:
        """Places of points that follow one another in one space, as far as one request can take them."""
        order = sorted(places.tolist(), key=lambda i: (self._addresses[points[i]].unit, self._addresses[points[i]].number))
        runs: list[list[int]] = []
        for place in order:
            a = self._addresses[points[place]]
            if runs:
                first, last = self._addresses[points[runs[-1][0]]], self._addresses[points[runs[-1][-1]]]
                follows = (a.unit, a.space, a.number) == (last.unit, last.space, last.number + last.words)
                if follows and a.number + a.words - first.number <= 120:
                    runs[-1].append(place)
                    continue
            runs.append([place])
        return [np.array(run, np.int64) for run in runs]

    def _words(self, rows: IntArray, raw: FloatArray) -> Words:
        first = np.array([self._addresses[r].number - self._addresses[rows[0]].number for r in rows], np.int64)
        words = np.zeros(int(first[-1]) + self._addresses[rows[-1]].words, np.uint16)
        Codec(self.table, self._addresses, rows, first).put(np.arange(len(rows)), raw, words)
        return words

    async def _give(self, unit: int, pdu: bytes, timeout_s: float) -> tuple[Status, int, str]:
        """Send a writing: its fate, the exception code and the reason."""
        if self.state != LinkState.UP:
            return Status.NOT_SENT, -1, "the link is down"
        try:
            told(pdu, await self.channel.ask(unit, pdu, timeout_s))
        except ModbusError as error:
            return STATUSES.get(error.code, Status.DEVICE_FAILED), error.code, str(error)
        except (TimeoutError, LinkError, ValueError) as error:
            return Status.TIMEOUT, -1, str(error) or "no answer"
        return Status.ACCEPTED, 0, ""
