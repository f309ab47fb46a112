"""The IEC 60870-5-104 server in front of a point table: several stations, several connections, redundancy groups."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

import numpy as np

from vpp.kernel.errors import LinkError
from vpp.kernel.signals import IntArray
from vpp.wire.clock import WallClock
from vpp.wire.iec104.asdu import Asdu, Cause, Kind, Object, encode, room
from vpp.wire.iec104.connection import Connection, Parameters
from vpp.wire.iec104.points import QUALITY_BITS, TO_OCTET, Place, parse, rows_by_place
from vpp.wire.iec104.requests import Requests
from vpp.wire.link import Answer, Batch, Command, Handler, Mode, Status
from vpp.wire.logs import LinkLog
from vpp.wire.points import PointTable

REFUSE: Final = Answer(Status.REJECTED, "nobody decides on commands here")
HANDSHAKE_S: Final = 5.0
NOT_KNOWN: Final = 0x80  # invalid, until something is published


class Iec104Served:
    """`vpp.wire.link.Served` on IEC 60870-5-104."""

    def __init__(
        self, table: PointTable, address: tuple[str, int], *, clock: WallClock, name: str = "iec104 server",
        parameters: Parameters | None = None, tls: ssl.SSLContext | None = None, group: bool = False, select_s: float = 10.0,
        must_select: bool = False,
    ) -> None:  # fmt: skip
        """Lay out the image.

        Args:
            table: what stands at which station and object.
            address: host and port to listen at.
            clock: wall clock, ns.
            name: in logs.
            parameters: windows and time-outs.
            tls: with the server's certificate.
            group: the connections are one redundancy group: one is started at a time, and what it did not acknowledge goes to
                the next (IEC 60870-5-104, 10). Otherwise every started connection is told everything.
            select_s: how long a select holds.
            must_select: a command that was not selected before is refused.
        """
        self.table, self.clock, self.name = table, clock, name
        self.parameters, self.group = parameters or Parameters(), group
        self.select_ns, self.must_select = round(select_s * 1e9), must_select
        self.told_ns = 0  # what a client last set the clock to, 0: never
        self.log = LinkLog(name, clock)
        self.writable = rows_by_place(table, "w")
        self.readable = rows_by_place(table, "r")
        self.connections: list[Connection] = []
        self._tls, self._where = tls, address
        self._server: asyncio.Server | None = None
        self._handler: Handler | None = None
        self._kept: deque[bytes] = deque(maxlen=self.parameters.longest_queue)  # of a group without a started connection
        self._addresses = [parse(point) for point in table.points]
        steps = table.decode(table.all, np.ones(len(table)))[0] - table.decode(table.all, np.zeros(len(table)))[0]
        self._deadband = [p.deadband / abs(step) for p, step in zip(table.points, steps.tolist())]
        self._image = {row: Object(self._addresses[row][1], 0.0, NOT_KNOWN) for row in self.readable.values()}
        self._reported: dict[int, Object] = {}
        self.stations: dict[int, list[int]] = {}
        for row, (station, _, _) in enumerate(self._addresses):
            self.stations.setdefault(station, []).append(row)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens at."""
        return self._where

    async def start(self) -> None:
        """Listen. Raises `LinkError`."""
        loop = asyncio.get_running_loop()
        patience = HANDSHAKE_S if self._tls is not None else None
        try:
            self._server = await loop.create_server(
                self._accept, *self._where, ssl=self._tls, ssl_handshake_timeout=patience, backlog=256
            )
        except OSError as error:
            raise LinkError(self.name, str(error)) from error
        self._where = (self._where[0], int(self._server.sockets[0].getsockname()[1]))

    async def stop(self) -> None:
        """Break every connection and stop listening."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for connection in list(self.connections):
            connection.end("the server stops")
        await asyncio.sleep(0)

    def publish(self, batch: Batch) -> None:
        """Put values into the image, and report what moved out of its deadband or changed its quality."""
        raw, quality = self.table.encode(batch.point, batch.value, batch.quality)
        raw[np.isnan(raw)] = 0.0  # marked invalid; no number is put where none is known
        rows = []
        for row, value, octet, time_ns in zip(batch.point.tolist(), raw.tolist(), quality.tolist(), batch.time_ns.tolist()):
            if self._put(row, value, int(TO_OCTET[octet]), time_ns):
                rows.append(row)
        self.tell(rows, Cause.SPONTANEOUS)

    def on_command(self, handler: Handler) -> None:
        """Set who decides on commands."""
        self._handler = handler

    def decide(self, row: int, raw: float, *, operate: bool, mode: Mode, peer: str) -> Answer:
        """Ask the handler about one point; an accepted value stands in the image, and is reported as a return."""
        value, _ = self.table.decode(np.array([row]), np.array([raw]))
        command = Command(np.array([row]), value, mode, not operate, peer, self.clock())
        return self._handler(command) if self._handler is not None else REFUSE

    def returned(self, place: Place, raw: float) -> None:
        """A commanded value stands where the same address is read."""
        row = self.readable.get(place)
        if row is not None and self._put(row, raw, 0, self.clock()):
            self.tell([row], Cause.RETURN_REMOTE)

    def tell(self, rows: Sequence[int], cause: Cause) -> None:
        """Report rows, with their time, to every started connection."""
        asdus = [encode(asdu) for asdu in self.pack(rows, cause, timed=True)]
        started = [connection for connection in self.connections if connection.started]
        for connection in started:
            for asdu in asdus:
                connection.send(asdu)
        if self.group and not started:
            self._kept.extend(asdus)

    def pack(self, rows: Iterable[int], cause: int, timed: bool) -> Iterable[Asdu]:
        """Rows of the image as ASDUs; neighbours of one station and type share one."""

        def sort(row: int) -> tuple[int, int]:
            station, _, kind = self._addresses[row]
            return station, kind.timed if timed and self._image[row].time_ns else kind

        for (station, type_), same in groupby(rows, sort):
            objects = [self._image[row] for row in same]
            size = room(type_)
            for begin in range(0, len(objects), size):
                yield Asdu(type_, cause, station, objects[begin : begin + size])

    def kind(self, row: int) -> Kind:
        """What kind of object a row is."""
        return self._addresses[row][2]

    def _put(self, row: int, raw: float, octet: int, time_ns: int) -> bool:
        """Change the image: whether it is to be reported."""
        _, number, kind = self._addresses[row]
        if row not in self._image:
            return False
        if kind == Kind.TOTAL:
            octet = 0x80 if octet & 0xD0 else 0  # a total is valid or not, nothing between
        new = Object(number, raw, octet & QUALITY_BITS[kind], time_ns)
        self._image[row] = new
        last = self._reported.get(row)
        moved = last is None or last.octet != new.octet or abs(raw - last.raw) > self._deadband[row]
        if moved:
            self._reported[row] = new
        return moved

    def _accept(self) -> Connection:
        connection = Connection(self.parameters, server=True)
        requests = Requests(self, connection)
        connection.on_asdu = requests.take
        connection.on_open = lambda: self.connections.append(connection)
        connection.on_started = lambda started: self._started(connection) if started else None
        connection.on_lost = lambda reason: self._lost(connection, reason)
        return connection

    def _started(self, connection: Connection) -> None:
        """Data transfer begins: what the group keeps first, then the latest of every point that has a time.

        The answers to an interrogation carry no times, so these are told once, as they were reported.
        """
        if self.group:
            for other in self.connections:
                if other is not connection and other.started:
                    self._keep(other)
                    other.started = False
            while self._kept:
                connection.send(self._kept.popleft())
        timed = [row for row, value in self._image.items() if value.time_ns]
        for asdu in self.pack(timed, Cause.SPONTANEOUS, timed=True):
            connection.send(encode(asdu))

    def _keep(self, connection: Connection) -> None:
        """What a connection of the group did not bring over."""
        self._kept.extend(asdu for _, asdu in connection.under_way)
        self._kept.extend(connection.queue)
        connection.queue.clear()

    def _lost(self, connection: Connection, reason: str) -> None:
        if connection in self.connections:
            self.connections.remove(connection)
        if self.group:
            self._keep(connection)
        self.log.tell("connection ended", reason)

    def rows(self, station: int) -> IntArray:
        """Readable rows of a station."""
        return np.array([row for row in self.stations.get(station, ()) if row in self._image], np.int64)
