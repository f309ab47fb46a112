"""What a client asks of the server: interrogations, commands, clock, reading; and what it is answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from vpp.wire.clock import steady
from vpp.wire.iec104 import asdu as a
from vpp.wire.iec104.asdu import Asdu, Cause, Kind, Object
from vpp.wire.iec104.connection import Connection
from vpp.wire.iec104.points import Place
from vpp.wire.link import Mode, Status

if TYPE_CHECKING:
    from vpp.wire.iec104.server import Iec104Served

UNKNOWN: Final = {Status.UNKNOWN_POINT: Cause.UNKNOWN_OBJECT, Status.NOT_WRITABLE: Cause.UNKNOWN_OBJECT}


class Requests:
    """The requests of one connection."""

    def __init__(self, served: Iec104Served, connection: Connection) -> None:
        """Belong to a connection; nothing is selected."""
        self.served, self.connection = served, connection
        self._selected: dict[Place, tuple[float, int]] = {}  # -> raw value, and until when
        self._steady = steady(served.clock)
        self._does: dict[int, Callable[[Asdu], None]] = {
            a.INTERROGATION: self._interrogate,
            a.COUNTER_INTERROGATION: self._count,
            a.READ: self._read,
            a.CLOCK: self._clock,
        }

    def take(self, octets: bytes) -> None:
        """Do what an ASDU asks; one that cannot be read is refused, or ends the connection where it is none."""
        try:
            asdu = a.decode(octets)
        except a.UnknownTypeError as error:
            self._mirror(octets, error.asdu, Cause.UNKNOWN_TYPE)
            return
        except ValueError as error:
            self.served.log.tell("bad ASDU", str(error))
            self.connection.end(str(error))
            return
        does = self._does.get(asdu.type)
        if does is None and asdu.type not in a.COMMANDED:
            self._answer(asdu, Cause.UNKNOWN_TYPE, negative=True)
        elif asdu.station != a.BROADCAST and asdu.station not in self.served.stations:
            self._answer(asdu, Cause.UNKNOWN_STATION, negative=True)
        elif asdu.cause not in ((Cause.REQUEST,) if asdu.type == a.READ else (Cause.ACTIVATION, Cause.DEACTIVATION)):
            self._answer(asdu, Cause.UNKNOWN_CAUSE, negative=True)
        else:
            (does or self._command)(asdu)

    def _answer(self, asdu: Asdu, cause: int, negative: bool = False) -> None:
        self.connection.send(a.encode(replace(asdu, cause=cause, negative=negative)))

    def _mirror(self, octets: bytes, asdu: Asdu, cause: int) -> None:
        """Send an ASDU back as it came, whatever is in it."""
        body = bytearray(octets)
        body[2] = cause | 0x40 | (0x80 if asdu.test else 0)
        self.connection.send(bytes(body))

    def _stations(self, asdu: Asdu) -> list[int]:
        return list(self.served.stations) if asdu.station == a.BROADCAST else [asdu.station]

    def _interrogate(self, asdu: Asdu) -> None:
        if asdu.cause != Cause.ACTIVATION or asdu.objects[0].octet != a.STATION:
            self._answer(asdu, Cause.ACTIVATION_CON, negative=True)
            return
        self._bring(asdu, Cause.INTERROGATED, counters=False)

    def _count(self, asdu: Asdu) -> None:
        if asdu.cause != Cause.ACTIVATION or asdu.objects[0].octet & 0x3F != a.ALL_COUNTERS:
            self._answer(asdu, Cause.ACTIVATION_CON, negative=True)
            return
        self._bring(asdu, Cause.COUNTERS, counters=True)

    def _bring(self, asdu: Asdu, cause: Cause, counters: bool) -> None:
        """Confirm, bring every value of the stations asked, and say that this was all."""
        for station in self._stations(asdu):
            own = replace(asdu, station=station)
            self._answer(own, Cause.ACTIVATION_CON)
            rows = [row for row in self.served.rows(station).tolist() if (self.served.kind(row) == Kind.TOTAL) == counters]
            for part in self.served.pack(rows, cause, timed=False):
                self.connection.send(a.encode(part))
            self._answer(own, Cause.TERMINATION)

    def _read(self, asdu: Asdu) -> None:
        row = self.served.readable.get((asdu.station, asdu.objects[0].address))
        if row is None:
            self._answer(asdu, Cause.UNKNOWN_OBJECT, negative=True)
            return
        for part in self.served.pack([row], Cause.REQUEST, timed=True):
            self.connection.send(a.encode(part))

    def _clock(self, asdu: Asdu) -> None:
        told = asdu.objects[0].time_ns
        if told == 0 or asdu.cause != Cause.ACTIVATION:
            self._answer(asdu, Cause.ACTIVATION_CON, negative=True)
            return
        self.served.told_ns = told
        for station in self._stations(asdu):
            self._answer(replace(asdu, station=station), Cause.ACTIVATION_CON)

    def _command(self, asdu: Asdu) -> None:
        order = asdu.objects[0]
        place = asdu.station, order.address
        row = self.served.writable.get(place)
        if row is None or self.served.kind(row) != a.COMMANDED[asdu.type]:
            self._answer(asdu, Cause.UNKNOWN_OBJECT, negative=True)
        elif asdu.cause == Cause.DEACTIVATION:
            self._selected.pop(place, None)
            self._answer(asdu, Cause.DEACTIVATION_CON)
        elif order.octet & a.SELECT:
            self._select(asdu, row, place, order)
        else:
            self._operate(asdu, row, place, order)

    def _select(self, asdu: Asdu, row: int, place: Place, order: Object) -> None:
        answer = self.served.decide(row, order.raw, operate=False, mode=Mode.SELECT, peer=self._peer())
        if answer.status == Status.ACCEPTED:
            self._selected[place] = order.raw, self._steady() + self.served.select_ns
        self._confirm(asdu, answer.status)

    def _operate(self, asdu: Asdu, row: int, place: Place, order: Object) -> None:
        selected = self._selected.pop(place, None)
        held = selected is not None and selected[0] == order.raw and self._steady() <= selected[1]
        if (selected is not None or self.served.must_select) and not held:
            self._confirm(asdu, Status.NOT_SELECTED)
            return
        mode = Mode.SELECT if held else Mode.DIRECT
        answer = self.served.decide(row, order.raw, operate=True, mode=mode, peer=self._peer())
        self._confirm(asdu, answer.status)
        if answer.status == Status.ACCEPTED:
            self.served.returned(place, order.raw)
            self._answer(asdu, Cause.TERMINATION)

    def _confirm(self, asdu: Asdu, status: Status) -> None:
        accepted = status == Status.ACCEPTED
        self._answer(asdu, UNKNOWN.get(status, Cause.ACTIVATION_CON), negative=not accepted)

    def _peer(self) -> str:
        transport = self.connection.transport
        return str(transport.get_extra_info("peername")) if transport is not None else ""
