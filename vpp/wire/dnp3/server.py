"""The DNP3 outstation in front of a point table."""

from __future__ import annotations

import ssl
from typing import Final

import numpy as np
from dnp3.core.enums import CommandStatus, ControlCode, OperationType, TripCloseCode
from dnp3.core.flags import AnalogQuality, BinaryQuality, CounterQuality
from dnp3.core.timestamp import DNP3Timestamp
from dnp3.database import (
    AnalogInputConfig,
    AnalogOutputConfig,
    BinaryInputConfig,
    BinaryOutputConfig,
    CounterConfig,
    Database,
    DatabaseConfig,
    EventBufferConfig,
    EventClass,
    EventType,
)
from dnp3.outstation import OutstationConfig
from dnp3.outstation.handler import CommandResult, DefaultCommandHandler

from vpp.kernel.errors import PointError
from vpp.kernel.signals import IntArray
from vpp.wire.clock import WallClock
from vpp.wire.dnp3.address import Address, Kind, parse, rows_by_address
from vpp.wire.dnp3.outstation import ReportingOutstation
from vpp.wire.dnp3.quality import CODES, TO_FLAGS
from vpp.wire.dnp3.runner import Runner
from vpp.wire.link import Answer, Batch, Command, Handler, Mode, Status
from vpp.wire.logs import LinkLog
from vpp.wire.points import PointTable

EVENTS_EACH: Final = 10  # events of one point that may wait, on average
REFUSE: Final = Answer(Status.REJECTED, "nobody decides on commands here")


class Dnp3Served:
    """`vpp.wire.link.Served` as a DNP3 outstation; one master at a time."""

    def __init__(
        self, table: PointTable, address: tuple[str, int], *, clock: WallClock, name: str = "dnp3 outstation",
        outstation: int = 10, master: int = 0, tls: ssl.SSLContext | None = None, confirm_s: float = 2.0, select_s: float = 10.0,
    ) -> None:  # fmt: skip
        """Lay out the database.

        Args:
            table: what stands at which indices. Raises `PointError` for a double-bit input, which dnp3py has not.
            address: host and port to listen at.
            clock: wall clock, ns.
            name: in logs.
            outstation: its link address.
            master: the only link address that is served; 0: whoever speaks first.
            tls: with the server's certificate.
            confirm_s: how long a report waits for its confirmation before it is sent again.
            select_s: how long a select holds.
        """
        self.table, self.clock, self.name = table, clock, name
        self.told_ns = 0  # what a master last set the clock to, 0: never
        self._where = address
        self._addresses = [parse(point) for point in table.points]
        self._readable = rows_by_address(table, "r")
        self._writable = rows_by_address(table, "w")
        self._handler: Handler | None = None
        self._reported: dict[int, tuple[float, int]] = {}  # row -> raw value and flags of its last event
        self._deadband = _raw_deadbands(table)
        n = EVENTS_EACH * max(10, len(table))
        most = max(1, len(table))
        buffer = EventBufferConfig(n, n, n)
        database = Database(DatabaseConfig(most, most, most, most, most, most, event_buffer_config=buffer))
        for where, row in {**self._writable, **self._readable}.items():
            _add(database, where, table.points[row].event_class, table.points[row].id)
        config = OutstationConfig(outstation, master, select_timeout=select_s, analog_output_static_variation=1)
        self._outstation = ReportingOutstation(config, database, _Commands(self), self._set_time)
        self._runner = Runner(self._outstation, LinkLog(name, clock), tls, confirm_s)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens at."""
        return self._where

    async def start(self) -> None:
        """Listen. Raises `LinkError`."""
        port = await self._runner.start(*self._where)
        self._where = (self._where[0], port)

    async def stop(self) -> None:
        """Break the connection and stop listening."""
        await self._runner.stop()

    def publish(self, batch: Batch) -> None:
        """Put values into the database, with an event for what moved out of its deadband or changed its quality."""
        raw, quality = self.table.encode(batch.point, batch.value, batch.quality)
        for row, value, octet, time_ns in zip(batch.point.tolist(), raw.tolist(), quality.tolist(), batch.time_ns.tolist()):
            kind, index = self._addresses[row]
            flags = int(TO_FLAGS[kind, octet])
            stamp = DNP3Timestamp(time_ns // 1_000_000) if time_ns > 0 else None
            self._put(row, kind, index, value, flags, stamp)
        self._runner.report()

    def on_command(self, handler: Handler) -> None:
        """Set who decides on commands."""
        self._handler = handler

    def decide(self, kind: Kind, index: int, raw: float, *, operate: bool, mode: Mode) -> CommandResult:
        """Ask the handler about one point."""
        row = self._writable.get((kind, index))
        if row is None:
            return CommandResult(CommandStatus.NOT_SUPPORTED)
        points = np.array([row])
        value, _ = self.table.decode(points, np.array([raw]))
        peer = f"connection {self._runner.connection.number}" if self._runner.connection is not None else ""
        command = Command(points, value, mode, not operate, peer, self.clock())
        answer = self._handler(command) if self._handler is not None else REFUSE
        if answer.status == Status.ACCEPTED and operate and kind == Kind.BO:
            self._put(row, kind, index, raw, int(TO_FLAGS[kind, 0]), None)
        return CommandResult(CommandStatus(CODES.get(answer.status, 127)), answer.reason)

    def _put(self, row: int, kind: Kind, index: int, raw: float, flags: int, stamp: DNP3Timestamp | None) -> None:
        database = self._outstation.database
        event_class = EventClass(self.table.points[row].event_class)
        last = self._reported.get(row)
        moved = last is None or last[1] != flags or abs(raw - last[0]) > self._deadband[row]
        tell = moved and event_class != EventClass.NONE and not kind.output
        if moved:
            self._reported[row] = raw, flags
        if kind in (Kind.AI, Kind.AO):
            analogue = database.analog_inputs[index] if kind == Kind.AI else database.analog_outputs[index]
            analogue.value, analogue.quality, analogue.timestamp = raw, AnalogQuality(flags), stamp
            if tell:
                database.event_buffer.add_analog_event(event_class, index, raw, AnalogQuality(flags), stamp)
        elif kind == Kind.CT:
            counter = database.counters[index]
            counter.value, counter.quality, counter.timestamp = int(raw), CounterQuality(flags), stamp
            if tell:
                database.event_buffer.add_counter_event(event_class, index, int(raw), CounterQuality(flags), stamp)
        else:
            binary = database.binary_inputs[index] if kind == Kind.BI else database.binary_outputs[index]
            on = raw != 0.0
            binary.value, binary.quality, binary.timestamp = on, BinaryQuality(flags), stamp
            if tell:
                kind_of = EventType.BINARY_INPUT
                database.event_buffer.add_binary_event(event_class, index, on, BinaryQuality(flags), stamp, kind_of)

    def _set_time(self, stamp: DNP3Timestamp) -> None:
        self.told_ns = int(stamp.milliseconds) * 1_000_000


class _Commands(DefaultCommandHandler):
    """Brings dnp3py's commands before the handler."""

    def __init__(self, served: Dnp3Served) -> None:
        self.served = served

    def _binary(self, index: int, code: ControlCode, operate: bool, mode: Mode) -> CommandResult:
        on = code.op_type in (OperationType.LATCH_ON, OperationType.PULSE_ON) and code.tcc != TripCloseCode.TRIP
        off = code.op_type == OperationType.LATCH_OFF or code.tcc == TripCloseCode.TRIP
        if not (on or off) or code.clear:
            return CommandResult(CommandStatus.NOT_SUPPORTED)
        return self.served.decide(Kind.BO, index, float(on), operate=operate, mode=mode)

    def select_binary_output(self, index: int, code: ControlCode, count: int, on_time: int, off_time: int) -> CommandResult:
        return self._binary(index, code, False, Mode.SELECT)

    def operate_binary_output(
        self, index: int, code: ControlCode, count: int, on_time: int, off_time: int, select_sequence: int
    ) -> CommandResult:
        return self._binary(index, code, True, Mode.SELECT)

    def direct_operate_binary_output(
        self, index: int, code: ControlCode, count: int, on_time: int, off_time: int
    ) -> CommandResult:
        return self._binary(index, code, True, Mode.DIRECT)

    def select_analog_output(self, index: int, value: float) -> CommandResult:
        return self.served.decide(Kind.AO, index, value, operate=False, mode=Mode.SELECT)

    def operate_analog_output(self, index: int, value: float, select_sequence: int) -> CommandResult:
        return self.served.decide(Kind.AO, index, value, operate=True, mode=Mode.SELECT)

    def direct_operate_analog_output(self, index: int, value: float) -> CommandResult:
        return self.served.decide(Kind.AO, index, value, operate=True, mode=Mode.DIRECT)


def _add(database: Database, where: Address, event_class: int, name: str) -> None:
    kind, index = where
    own = EventClass(event_class)
    if kind == Kind.BI:
        database.add_binary_input(index, BinaryInputConfig(own))
    elif kind == Kind.BO:
        database.add_binary_output(index, BinaryOutputConfig(EventClass.NONE))
    elif kind == Kind.CT:
        database.add_counter(index, CounterConfig(own))
    elif kind == Kind.AI:
        database.add_analog_input(index, AnalogInputConfig(own))
    elif kind == Kind.AO:
        database.add_analog_output(index, AnalogOutputConfig())
    else:
        raise PointError(name, "the outstation has no double-bit inputs")


def _raw_deadbands(table: PointTable) -> list[float]:
    """Deadbands as raw numbers."""
    rows: IntArray = table.all
    ones, zeros = table.decode(rows, np.ones(len(rows)))[0], table.decode(rows, np.zeros(len(rows)))[0]
    return [p.deadband / abs(step) for p, step in zip(table.points, ones - zeros)]
