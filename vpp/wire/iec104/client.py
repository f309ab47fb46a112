"""The IEC 60870-5-104 client: a picture kept by reports, interrogations counted to the last point, commands awaited."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np

from vpp.kernel import quality as q
from vpp.kernel.errors import LinkError
from vpp.kernel.signals import BoolArray, FloatArray, IntArray
from vpp.wire.clock import WallClock
from vpp.wire.feed import Feeds
from vpp.wire.iec104 import asdu as a
from vpp.wire.iec104.asdu import Asdu, Cause, Kind, Object
from vpp.wire.iec104.connection import STARTDT, STARTDT_CON, TESTFR, TESTFR_CON, Connection, Parameters
from vpp.wire.iec104.interrogation import STATUSES, Interrogation
from vpp.wire.iec104.points import FROM_OCTET, QUALITY_BITS, parse, rows_by_place
from vpp.wire.link import TIMEOUT_S, Batch, LinkState, Mode, Outcome, StateBoard, Status, Watched
from vpp.wire.logs import LinkLog
from vpp.wire.picture import Picture
from vpp.wire.points import PointTable

Key = tuple[int, int, int]  # type, station, object


class Iec104Link(Watched):
    """`vpp.wire.link.Link` on IEC 60870-5-104, over one connection or a redundancy group of several."""

    def __init__(
        self, table: PointTable, address: tuple[str, int], *, clock: WallClock, name: str = "iec104",
        others: Sequence[tuple[str, int]] = (), parameters: Parameters | None = None, tls: ssl.SSLContext | None = None,
        timed_commands: bool = False, interrogation_s: float = 10.0,
    ) -> None:  # fmt: skip
        """Lay out the picture.

        Args:
            table: what stands at which station and object.
            address: host and port of the server.
            clock: wall clock, ns.
            name: in logs.
            others: further addresses of the redundancy group; they are held open, and one takes over when the started one breaks.
            parameters: windows and time-outs.
            tls: with the client's certificate.
            timed_commands: commands carry their time (types 58 … 63).
            interrogation_s: how long one station may take to answer an interrogation.
        """
        self.name, self.table, self.clock = name, table, clock
        self.addresses = [address, *others]
        self.parameters, self.timed_commands, self.interrogation_s = parameters or Parameters(), timed_commands, interrogation_s
        self.log = LinkLog(name, clock)
        self.switched = 0  # how often another connection of the group took over
        self._tls = tls
        self._board = StateBoard()
        self._addresses = [parse(point) for point in table.points]
        self._rows = rows_by_place(table, "r")
        self._stations: dict[
            int, set[bool]
        ] = {}  # -> which interrogations its points need: False the general, True the counters'
        for station, number in self._rows:
            total = self._addresses[self._rows[station, number]][2] == Kind.TOTAL
            self._stations.setdefault(station, set()).add(total)
        self._picture = Picture(table)
        self._brought: BoolArray = np.zeros(len(table), np.bool_)
        self._feeds = Feeds()
        self._active: Connection | None = None
        self._standby: list[Connection] = []
        self._interrogation: Interrogation | None = None
        self._one_at_a_time = asyncio.Lock()
        self._waiting: dict[Key, asyncio.Future[Asdu]] = {}
        self._tested: list[tuple[float, asyncio.Future[None]]] = []  # heartbeats: asked when
        self._again: asyncio.Task[None] | None = None

    async def connect(self, timeout_s: float = TIMEOUT_S) -> None:
        """Connect to every address of the group, and start data transfer on the first that can. Raises `LinkError`."""
        self._end("connecting anew")
        self._one_at_a_time = asyncio.Lock()
        self._board.enter(LinkState.CONNECTING)
        reasons: list[str] = []
        try:
            async with asyncio.timeout(timeout_s):
                made = await asyncio.gather(*(self._open(address, reasons) for address in self.addresses))
                self._standby = [connection for connection in made if connection is not None]
                while self._standby and self._active is None:
                    await self._start(self._standby.pop(0))
        except (TimeoutError, LinkError) as error:
            reasons.append(str(error) or "no answer in time")
        except BaseException:
            self._end("given up")
            raise
        if self._active is None:
            reason = "; ".join(reasons) or "nobody starts"
            self._end(reason)
            raise LinkError(self.name, reason)
        self._board.enter(LinkState.UP)

    async def close(self) -> None:
        """Disconnect; harmless when it is not connected."""
        self._end("closed")
        await asyncio.sleep(0)

    async def read(self, points: IntArray | None = None) -> Batch:
        """Interrogate the stations of the points; what was not brought is invalid and comm-lost, what was refused invalid."""
        points = self.table.readable if points is None else np.asarray(points, np.int64)
        stations = {self._addresses[row][0] for row in points}
        async with self._one_at_a_time:
            self._must_be_up()
            self._brought[:] = False
            done = {station: await self._interrogate(station) for station in sorted(stations)}
            self._must_be_up()
        batch = self._picture.batch(points)
        for place, row in enumerate(points):
            if not self._brought[row]:
                refused = done[self._addresses[row][0]]
                batch.value[place], batch.time_ns[place] = np.nan, 0
                batch.quality[place] = q.INVALID if refused else q.INVALID | q.COMM_LOST
                batch.received_ns[place] = self.clock()
        return batch

    async def subscribe(self, points: IntArray | None = None, period_s: float = 1.0) -> AsyncIterator[Batch]:
        """Follow reports after an interrogation; there is nothing to poll."""
        points = self.table.readable if points is None else np.asarray(points, np.int64)
        with self._feeds.open(points) as feed:
            yield await self.read(points)
            feed.take()
            while True:
                rows = await feed.wait()
                if rows is None:
                    raise LinkError(self.name, "the link broke")
                if len(rows):
                    yield self._picture.batch(rows)

    async def write(
        self, points: IntArray, values: FloatArray, *, mode: Mode = Mode.DIRECT, timeout_s: float = TIMEOUT_S
    ) -> Outcome:
        """Command all points side by side; each awaits a confirmation of its own."""
        points, values = np.asarray(points, np.int64), np.asarray(values, np.float64)
        status = np.full(len(points), Status.NOT_SENT, np.uint8)
        code = np.full(len(points), -1, np.int64)
        raw, quality = self.table.encode(points, values)
        wrong = ((quality & q.OVERFLOW) > 0) | ((quality & q.VALIDITY_MASK) >= q.INVALID)
        status[wrong] = Status.OUT_OF_RANGE
        status[["w" not in self.table.points[row].access for row in points]] = Status.NOT_WRITABLE
        sent, answered, reason = self.clock(), 0, ""
        go = np.flatnonzero(status == Status.NOT_SENT)
        fates = await asyncio.gather(*(self._command(int(points[i]), float(raw[i]), mode, timeout_s) for i in go))
        for place, (fate, native, why) in zip(go, fates):
            status[place], code[place], reason = fate, native, why or reason
            answered = self.clock() if fate not in (Status.TIMEOUT, Status.NOT_SENT) else answered
        return Outcome(points, status, code, reason, sent, answered)

    async def sync_time(self, now_ns: int) -> bool:
        """Set the clock of every station."""
        began = time.monotonic_ns()
        for station in self._stations or {address[0]: set() for address in self._addresses}:
            told = Object(0, time_ns=now_ns + time.monotonic_ns() - began)
            answer = await self._ask(Asdu(a.CLOCK, Cause.ACTIVATION, station, (told,)), TIMEOUT_S)
            if answer is None or answer.negative:
                return False
        return True

    async def heartbeat(self, timeout_s: float = TIMEOUT_S) -> float:
        """Test the connection (TESTFR)."""
        connection = self._must_be_up()
        answer = asyncio.get_running_loop().create_future()
        began = connection.ask(TESTFR, TESTFR_CON)
        self._tested.append((began, answer))
        try:
            async with asyncio.timeout(timeout_s):
                await answer
        except TimeoutError:
            raise LinkError(self.name, "no answer to TESTFR") from None
        finally:
            self._tested = [one for one in self._tested if one[1] is not answer]
        return connection.clock() - began

    async def _open(self, address: tuple[str, int], reasons: list[str]) -> Connection | None:
        connection = Connection(self.parameters, server=False)
        connection.on_lost = lambda reason: self._lost(connection, reason)
        loop = asyncio.get_running_loop()
        name = address[0] if self._tls is not None else None
        try:
            await loop.create_connection(lambda: connection, *address, ssl=self._tls, server_hostname=name)
        except OSError as error:
            reasons.append(f"{address[0]}:{address[1]}: {error}")
            return None
        return connection

    async def _start(self, connection: Connection) -> None:
        """Start data transfer on a connection. Raises `LinkError`."""
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def started(on: bool) -> None:
            if on and not answer.done():
                answer.set_result(None)

        def lost(reason: str) -> None:
            if not answer.done():
                answer.set_exception(LinkError(self.name, reason))

        connection.on_asdu, connection.on_tested = self._take, self._was_tested
        connection.on_started, connection.on_lost = started, lost
        if connection.ended:
            raise LinkError(self.name, "the connection is gone")
        connection.ask(STARTDT, STARTDT_CON)
        try:
            await answer
        except BaseException:
            connection.end("not started")
            raise
        connection.on_lost = lambda reason: self._lost(connection, reason)
        self._active = connection

    def _lost(self, connection: Connection, reason: str) -> None:
        """A connection ended: of the group another takes over, else the link is down."""
        if connection in self._standby:
            self._standby.remove(connection)
        if connection is not self._active:
            return
        if self._standby and self.state == LinkState.UP:
            self.log.tell("switched", reason)
            self._active, self.switched = None, self.switched + 1
            self._again = asyncio.create_task(self._take_over(reason))
        else:
            self._end(reason)

    async def _take_over(self, reason: str) -> None:
        """Start another connection, and interrogate again."""
        while self._standby and self._active is None:
            try:
                async with asyncio.timeout(self.parameters.t1_s):
                    await self._start(self._standby.pop(0))
            except (LinkError, TimeoutError) as error:
                reason = str(error) or "no answer in time"
        if self._active is None:
            self._end(reason)
            return
        try:
            await self.read()
        except LinkError as error:
            self.log.tell("not interrogated", error.reason)

    def _end(self, reason: str) -> None:
        connections, self._standby = self._standby, []
        active, self._active = self._active, None
        for connection in (*connections, *([active] if active is not None else [])):
            connection.end(reason)
        again, self._again = self._again, None
        if again is not None and again is not asyncio.current_task():
            again.cancel()
        if self._interrogation is not None:
            self._interrogation.over.set()
        waiting: list[asyncio.Future[Any]] = [*self._waiting.values(), *(future for _, future in self._tested)]
        for future in waiting:
            if not future.done():
                future.set_exception(LinkError(self.name, reason))
        self._tested.clear()
        self._feeds.end()
        self._board.enter(LinkState.DOWN, reason)

    def _must_be_up(self) -> Connection:
        if self.state != LinkState.UP or self._active is None:
            raise LinkError(self.name, "not connected")
        return self._active

    def _was_tested(self, asked: float) -> None:
        """A test is confirmed: a late confirmation is none of a later heartbeat."""
        for began, future in self._tested:
            if began <= asked and not future.done():
                future.set_result(None)

    def _take(self, octets: bytes) -> None:
        """What the server sends."""
        try:
            asdu = a.decode(octets)
        except a.UnknownTypeError as error:
            self.log.tell("unknown type", str(error))
            answer = self._waiting.get((error.asdu.type, error.asdu.station, 0))
            if answer is not None and not answer.done():
                answer.set_result(error.asdu)
            return
        except ValueError as error:
            self.log.tell("bad ASDU", str(error))
            if self._active is not None:
                self._active.end(str(error))
            return
        if asdu.type in a.MONITORED:
            self._values(asdu, a.MONITORED[asdu.type])
        elif asdu.type in (a.INTERROGATION, a.COUNTER_INTERROGATION):
            self._answered(asdu)
        elif asdu.cause != Cause.TERMINATION:
            answer = self._waiting.get((asdu.type, asdu.station, asdu.objects[0].address))
            if answer is not None and not answer.done():
                answer.set_result(asdu)

    def _values(self, asdu: Asdu, kind: Kind) -> None:
        now, changed, bits = self.clock(), [], QUALITY_BITS[kind]
        asked = asdu.cause in (Cause.INTERROGATED, Cause.COUNTERS)
        for o in asdu.objects:
            row = self._rows.get((asdu.station, o.address))
            if row is None or self._addresses[row][2] != kind:
                self.log.tell("not in the table", f"{asdu.station}:{o.address}, type {asdu.type}")
                continue
            if self._picture.put(row, o.raw, FROM_OCTET[o.octet & bits], o.time_ns, o.time_ns > 0, now):
                changed.append(row)
            if asked and not self._brought[row]:
                self._brought[row] = True
                if self._interrogation is not None and self._interrogation.station == asdu.station:
                    self._interrogation.came += 1
        self._feeds.put(changed)

    def _answered(self, asdu: Asdu) -> None:
        current = self._interrogation
        if current is None or asdu.station != current.station:
            return
        if asdu.negative:
            current.refused = True
            current.over.set()
        elif asdu.cause == Cause.TERMINATION:
            current.over.set()

    async def _interrogate(self, station: int) -> bool:
        """Interrogate a station, and its counters: whether it refused."""
        refused = False
        for counters in sorted(self._stations.get(station, ())):
            connection = self._must_be_up()
            rows = [row for place, row in self._rows.items() if place[0] == station]
            expected = sum((self._addresses[row][2] == Kind.TOTAL) == counters for row in rows)
            current = self._interrogation = Interrogation(station, expected)
            type_, octet = (a.COUNTER_INTERROGATION, a.ALL_COUNTERS) if counters else (a.INTERROGATION, a.STATION)
            connection.send(a.encode(Asdu(type_, Cause.ACTIVATION, station, (Object(0, 0.0, octet),))))
            try:
                async with asyncio.timeout(self.interrogation_s):
                    await current.over.wait()
            except TimeoutError:
                self.log.tell("interrogation", f"station {station} did not come to an end")
            self._interrogation = None
            if current.came < expected:
                self.log.tell("interrogation", f"station {station} brought {current.came} of {expected} points")
            refused |= current.refused
        return refused

    async def _ask(self, asdu: Asdu, timeout_s: float) -> Asdu | None:
        """Send and await what mirrors it; None where nothing came. Raises `LinkError` where the link is down."""
        connection = self._must_be_up()
        key = asdu.type, asdu.station, asdu.objects[0].address
        if key in self._waiting:
            raise LinkError(self.name, f"a command to {asdu.station}:{key[2]} is still unanswered")
        answer = self._waiting[key] = asyncio.get_running_loop().create_future()
        try:
            connection.send(a.encode(asdu))
            async with asyncio.timeout(timeout_s):
                mirrored: Asdu = await answer
            return mirrored
        except TimeoutError:
            return None
        finally:
            del self._waiting[key]

    async def _command(self, row: int, raw: float, mode: Mode, timeout_s: float) -> tuple[Status, int, str]:
        """The fate of one point, the cause of its confirmation (with 64 for "negative"), and the reason."""
        station, number, kind = self._addresses[row]
        type_ = a.TIMED_COMMANDS[kind.command] if self.timed_commands else kind.command
        end = time.monotonic() + timeout_s
        for octet in (a.SELECT, 0) if mode == Mode.SELECT else (0,):
            order = Object(number, raw, octet, self.clock())
            try:
                answer = await self._ask(Asdu(type_, Cause.ACTIVATION, station, (order,)), end - time.monotonic())
            except LinkError as error:
                return (
                    (Status.NOT_SENT if self.state == LinkState.UP or self._active is None else Status.TIMEOUT),
                    -1,
                    error.reason,
                )
            if answer is None:
                return Status.TIMEOUT, -1, "no answer"
            if answer.negative or answer.cause != Cause.ACTIVATION_CON:
                status = STATUSES.get(Cause(answer.cause), Status.DEVICE_FAILED)
                return status, answer.cause | 0x40, f"refused with cause {answer.cause}" + (", at the select" if octet else "")
        return Status.ACCEPTED, int(Cause.ACTIVATION_CON), ""
