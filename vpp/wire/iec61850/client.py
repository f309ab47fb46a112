"""The IEC 61850 client: a picture kept by reports and readings, controls by each object's own model, settings written."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Iterable
from typing import Final

import numpy as np
from open61850.mms.errors import DataAccessError, MmsError
from open61850.mms.pdu import InformationReport, ObjectName

from vpp.kernel import quality as q
from vpp.kernel.errors import LinkError
from vpp.kernel.signals import FloatArray, IntArray
from vpp.wire.clock import WallClock
from vpp.wire.feed import Feeds
from vpp.wire.iec61850.address import addresses
from vpp.wire.iec61850.control import Commands, Fate, access_fate
from vpp.wire.iec61850.layout import Layout, discover, part_of
from vpp.wire.iec61850.mms import Mms
from vpp.wire.iec61850.quality import ACCESS_BASE, NON_EXISTENT, quality_of, time_of
from vpp.wire.iec61850.reports import Sample, Subscriptions, Told
from vpp.wire.iec61850.values import data_of, raw_of
from vpp.wire.link import TIMEOUT_S, Batch, LinkState, Mode, Outcome, StateBoard, Status, Watched
from vpp.wire.logs import LinkLog
from vpp.wire.picture import Picture
from vpp.wire.points import PointTable

KINDS: Final = {"buffered": ("BR", "RP"), "unbuffered": ("RP", "BR"), "none": ()}


class Iec61850Link(Watched):
    """`vpp.wire.link.Link` on IEC 61850 MMS."""

    def __init__(
        self, table: PointTable, address: tuple[str, int], *, clock: WallClock, name: str = "iec61850",
        tls: ssl.SSLContext | None = None, reports: str = "buffered", integrity_s: float = 60.0, answer_s: float = 5.0,
    ) -> None:  # fmt: skip
        """Lay out the picture.

        Args:
            table: what stands at which attribute.
            address: host and port of the server.
            clock: wall clock, ns.
            name: in logs, and in every command as its originator.
            tls: with the client's certificate (IEC 62351-3; its port is 3782).
            reports: which report control blocks are wanted: "buffered", "unbuffered" or "none". Where there are none of this kind
                the other is taken, and what no free block reports is read every period.
            integrity_s: time between the whole reports that the server is asked for; 0: none.
            answer_s: how long one answer may take.
        """
        self.name, self.table, self.address, self.clock = name, table, address, clock
        self.integrity_s, self.answer_s = integrity_s, answer_s
        self.log = LinkLog(name, clock)
        self.resumed = 0  # entries that a server's buffers kept for us through losses
        self._kinds, self._tls = KINDS[reports], tls
        self._board = StateBoard()
        self._addresses = addresses(table)
        self._native = [point.quality == "native" for point in table.points]
        self._picture = Picture(table)
        self._held: dict[int, tuple[float, int, int]] = {}  # row -> raw value, quality, time
        self._feeds = Feeds()
        self._entries: dict[ObjectName, bytes] = {}
        self._mms: Mms | None = None
        self._layout = Layout()
        self._commands: Commands | None = None
        self._subscriptions: Subscriptions | None = None
        self._one_at_a_time = asyncio.Lock()
        self._lost_rows: set[int] = set()
        self._reading: asyncio.Task[None] | None = None

    async def connect(self, timeout_s: float = TIMEOUT_S) -> None:
        """Associate, and learn from the server's types where every point lies. Raises `LinkError`."""
        self._end("connecting anew")
        self._one_at_a_time = asyncio.Lock()
        self._board.enter(LinkState.CONNECTING)
        mms = self._mms = Mms(self.name, self._hear, self._lost, self.answer_s)
        try:
            async with asyncio.timeout(timeout_s):
                await mms.open(self.address, self._tls)
                self._layout = await discover(mms, self._addresses)
        except TimeoutError:
            reason = f"{self.address[0]}:{self.address[1]}: no answer in time"
            self._end(reason)
            raise LinkError(self.name, reason) from None
        except BaseException as error:
            self._end(str(error))
            raise
        if mms.ended:
            self._end("the server hung up")
            raise LinkError(self.name, "the server hung up")
        known = {*self._layout.places, *self._layout.controls}
        unknown = [p.id for row, p in enumerate(self.table.points) if row not in known]
        if unknown:
            self.log.tell("not on the server", f"{len(unknown)} points, first {unknown[0]}")
        self._commands = Commands(mms, self.name.encode("ascii", "replace"))
        self._subscriptions = Subscriptions(
            mms, self._layout, self.log, self._put, self._read_again, self._kinds, self.integrity_s, self._entries
        )
        self._board.enter(LinkState.UP)

    async def close(self) -> None:
        """Disconnect; harmless when it is not connected."""
        self._end("closed")
        await asyncio.sleep(0)

    async def read(self, points: IntArray | None = None) -> Batch:
        """Read value, quality and time of each point at once; what is refused is invalid, what is left out comm-lost too."""
        points = self.table.readable if points is None else np.asarray(points, np.int64)
        mms = self._must_be_up()
        rows = [row for row in dict.fromkeys(points.tolist()) if row in self._layout.places]
        places = self._layout.places
        names = list(dict.fromkeys(places[row].name for row in rows))
        answers = dict(zip(names, await mms.read(names)))
        unknown = set(points.tolist()) - set(rows)
        samples: list[Sample] = [(row, DataAccessError(NON_EXISTENT), None, None) for row in unknown]
        silent = {row for row in rows if answers[places[row].name] is None}
        for row in set(rows) - silent:
            place, whole = places[row], answers[places[row].name]
            value: Told = whole if isinstance(whole, DataAccessError) else part_of(whole, place.paths[0])
            samples.append((row, value, part_of(whole, place.paths[1]), part_of(whole, place.paths[2])))
        self._put(samples)
        batch = self._picture.batch(points)
        if silent:
            missing = np.isin(points, list(silent))
            batch.value[missing], batch.quality[missing] = np.nan, q.INVALID | q.COMM_LOST
            batch.time_ns[missing], batch.received_ns[missing] = 0, self.clock()
            self.log.tell("incomplete", f"{len(silent)} of {len(rows)} points did not come")
        return batch

    async def subscribe(self, points: IntArray | None = None, period_s: float = 1.0) -> AsyncIterator[Batch]:
        """Follow reports after a whole reading, and read every period what no block reports."""
        points = self.table.readable if points is None else np.asarray(points, np.int64)
        self._must_be_up()
        with self._feeds.open(points) as feed:
            subscriptions = self._subscriptions
            assert subscriptions is not None
            async with self._one_at_a_time:
                await subscriptions.cover(set(points.tolist()))
            self.resumed += subscriptions.resumed
            subscriptions.resumed = 0
            yield await self.read(points)
            feed.take()
            polled = np.array(sorted(set(points.tolist()) - subscriptions.covered), np.int64)
            poll = asyncio.gather(self._poll(polled, period_s), self._watch_integrity(subscriptions))
            try:
                while True:
                    rows = await feed.wait()
                    if rows is None:
                        raise LinkError(self.name, "the link broke")
                    if len(rows):
                        yield self._picture.batch(rows)
            finally:
                poll.cancel()
                await asyncio.gather(poll, return_exceptions=True)

    async def write(
        self, points: IntArray, values: FloatArray, *, mode: Mode = Mode.DIRECT, timeout_s: float = TIMEOUT_S
    ) -> Outcome:
        """Command all points side by side.

        A control is given as its object's model says: one that must be selected is, whatever the mode. `Mode.SELECT` insists on a
        selection, and is not supported by an object or a setting that has none. The code is the AddCause of a refusal, or
        256 and the access error where the device gave no cause.
        """
        points, values = np.asarray(points, np.int64), np.asarray(values, np.float64)
        status = np.full(len(points), Status.NOT_SENT, np.uint8)
        code = np.full(len(points), -1, np.int64)
        raw, quality = self.table.encode(points, values)
        wrong = ((quality & q.OVERFLOW) > 0) | ((quality & q.VALIDITY_MASK) >= q.INVALID)
        status[wrong] = Status.OUT_OF_RANGE
        status[["w" not in self.table.points[row].access for row in points]] = Status.NOT_WRITABLE
        sent, answered, reason = self.clock(), 0, ""
        go = np.flatnonzero(status == Status.NOT_SENT)
        fates = await asyncio.gather(*(self._write(int(points[i]), float(raw[i]), mode, timeout_s) for i in go))
        for place, (fate, native, why) in zip(go, fates):
            status[place], code[place], reason = fate, native, why or reason
            answered = self.clock() if fate not in (Status.TIMEOUT, Status.NOT_SENT) else answered
        return Outcome(points, status, code, reason, sent, answered)

    async def sync_time(self, now_ns: int) -> bool:
        """MMS sets no clocks: IEC 61850 devices take their time by SNTP or PTP, from a time server beside us."""
        return False

    async def heartbeat(self, timeout_s: float = TIMEOUT_S) -> float:
        """Ask who is there (MMS Identify)."""
        began = time.monotonic()
        mms = self._must_be_up()
        try:
            async with asyncio.timeout(timeout_s):
                await mms.identify()
        except TimeoutError:
            raise LinkError(self.name, "no answer to Identify") from None
        return time.monotonic() - began

    async def _write(self, row: int, raw: float, mode: Mode, timeout_s: float) -> Fate:
        """The fate of one point: its status, the device's own code, and the reason."""
        if self.state != LinkState.UP or self._mms is None:
            return Status.NOT_SENT, -1, "not connected"
        try:
            async with asyncio.timeout(timeout_s):
                return await self._command(self._mms, row, raw, mode)
        except TimeoutError:
            return Status.TIMEOUT, -1, "no answer"
        except LinkError as error:
            return Status.TIMEOUT, -1, error.reason
        except MmsError as error:
            return Status.DEVICE_FAILED, -1, str(error)

    async def _command(self, mms: Mms, row: int, raw: float, mode: Mode) -> Fate:
        address, control, place = self._addresses[row], self._layout.controls.get(row), self._layout.places.get(row)
        if control is not None and self._commands is not None:
            return await self._commands.operate(control, address.path[3:], raw, mode, self.clock())
        if place is None:
            return Status.UNKNOWN_POINT, ACCESS_BASE + NON_EXISTENT, "the server has no such object"
        if mode == Mode.SELECT:
            return Status.NOT_SUPPORTED, -1, "a setting has no select"
        data = data_of(place.type, raw)
        if data is None:
            return Status.NOT_SUPPORTED, -1, "the setting is of another type"
        error = await mms.write(ObjectName(address.item, address.ld), data)
        return (Status.ACCEPTED, -1, "") if error is None else access_fate(error, "write refused")

    async def _poll(self, rows: IntArray, period_s: float) -> None:
        """Read rows every period; what broke is told by the end of the feeds."""
        while len(rows):
            await asyncio.sleep(period_s)
            try:
                await self.read(rows)
            except LinkError as error:
                self._end(error.reason)
                return

    async def _watch_integrity(self, subscriptions: Subscriptions) -> None:
        """Read the rows of a block whose whole reports stay out: it was disabled, or its server sleeps."""
        while self.integrity_s > 0.0:
            before = {block.name: block.wholes for block in subscriptions.blocks}
            await asyncio.sleep(2.5 * self.integrity_s)
            for block in subscriptions.blocks:
                if before.get(block.name) == block.wholes:
                    self.log.tell("integrity", f"{block.name}: no whole report in {2.5 * self.integrity_s:g} s")
                    self._read_again(block.rows)

    def _read_again(self, rows: Iterable[int]) -> None:
        """Read rows whose report was lost."""
        self._lost_rows.update(rows)
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read_lost())

    async def _read_lost(self) -> None:
        while self._lost_rows:
            rows, self._lost_rows = self._lost_rows, set()
            try:
                await self.read(np.array(sorted(rows), np.int64))
            except LinkError as error:
                self.log.tell("not read again", error.reason)
                return

    def _put(self, samples: Iterable[Sample]) -> None:
        """Take in values, qualities and times; tell the subscribers of what changed."""
        now, changed = self.clock(), []
        for row, value, quality, stamp in samples:
            raw, octet, time_ns = self._held.get(row, (np.nan, q.INVALID, 0))
            if isinstance(value, DataAccessError):
                raw, octet, time_ns = np.nan, q.INVALID, 0
            elif value is not None:
                number = raw_of(value)
                without = not self._native[row] or self._layout.places[row].paths[1] is None
                raw, octet = (np.nan, q.INVALID) if number is None else (number, q.GOOD if without else octet)
            if quality is not None and not np.isnan(raw) and self._native[row]:
                octet = q.INVALID if isinstance(quality, DataAccessError) else quality_of(quality)
            if stamp is not None:
                time_ns = 0 if isinstance(stamp, DataAccessError) else time_of(stamp)
            new = raw, octet, time_ns
            if new != self._held.get(row):
                changed.append(row)
            self._held[row] = new
            self._picture.put(row, raw, octet, time_ns, True, now)
        self._feeds.put(changed)

    def _hear(self, report: InformationReport) -> None:
        """What the server tells by itself."""
        if report.list_name is None and self._commands is not None:
            self._commands.hear(report)
        elif self._subscriptions is not None:
            self._subscriptions.hear(report)

    def _lost(self, reason: str) -> None:
        """The association ended by itself."""
        if self.state == LinkState.UP:
            self._end(reason)

    def _end(self, reason: str) -> None:
        mms, self._mms = self._mms, None
        if mms is not None:
            mms.on_lost = lambda reason: None
            mms.end(reason)
        reading, self._reading = self._reading, None
        if reading is not None and reading is not asyncio.current_task():
            reading.cancel()
        self._commands = self._subscriptions = None
        self._feeds.end()
        self._board.enter(LinkState.DOWN, reason)

    def _must_be_up(self) -> Mms:
        if self.state != LinkState.UP or self._mms is None:
            raise LinkError(self.name, "not connected")
        return self._mms
