"""One client of the server, on asyncio: association, then requests, answered one by one as the loop has time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, cast

from open61850 import ber
from open61850.mms.pdu import TAG_CONFIRMED_RESPONSE, unwrap
from open61850.server import protocol
from open61850.server.server import MmsServer, ServerConnection

from vpp.wire.iec61850.iso import Iso
from vpp.wire.iec61850.mms import MALFORMED

ASSOCIATE_S: Final = 10.0  # who has not associated by then is cut off
RESOURCE, OTHER = 3, 0  # error class and code, ISO 9506-2
WAITING: Final = 16  # requests of one client that may wait before it is no longer read from


class Connection(ServerConnection):
    """One client: its units, answered one by one as the loop has time."""

    def __init__(self, server: MmsServer, opened: Callable[[Connection], None], lost: Callable[[Connection, str], None]) -> None:
        """Nothing has arrived; ``opened`` and ``lost`` are told of the beginning and the end."""
        self.pipe = Iso(server=True)
        super().__init__(server, cast(Any, self.pipe), ())
        self._opened, self._told = opened, lost
        self._units: deque[bytes] = deque()
        self._associated = False
        self._limit: asyncio.TimerHandle | None = None
        self.pipe.on_open, self.pipe.on_unit, self.pipe.on_lost = self._open, self._arrived, self._lost

    def _open(self) -> None:
        assert self.pipe.transport is not None
        self.peer = self.pipe.transport.get_extra_info("peername") or ()
        self._limit = asyncio.get_running_loop().call_later(ASSOCIATE_S, self._associated_in_time)
        self._opened(self)

    def _associated_in_time(self) -> None:
        if not self._associated:
            self.pipe.end("no association")

    def _arrived(self, unit: bytes) -> None:
        self._units.append(unit)
        if len(self._units) == 1:
            asyncio.get_running_loop().call_soon(self._next)
        elif len(self._units) == WAITING and self.pipe.transport is not None:
            self.pipe.transport.pause_reading()

    def _next(self) -> None:
        """Answer one unit; what is none ends the connection."""
        if self.pipe.ended or not self._units:
            return
        unit = self._units.popleft()
        try:
            if not self._associated:
                self._associate(unit)
            elif not self._handle(unwrap(unit)):
                self.pipe.close()
                return
        except MALFORMED as error:
            self.pipe.end(f"what the client sends cannot be read: {error}")
            return
        if self._units:
            asyncio.get_running_loop().call_soon(self._next)
        elif self.pipe.transport is not None and not self.pipe.ended:
            self.pipe.transport.resume_reading()

    def send(self, mms_pdu: bytes) -> None:
        """Send a PDU; an answer longer than was agreed on is an error instead (the library sends it all the same)."""
        if len(mms_pdu) > self.pdu_size and mms_pdu[0] == TAG_CONFIRMED_RESPONSE:
            invoke = next(ber.iter_tlvs(ber.decode_tlv(mms_pdu).value))
            mms_pdu = protocol.confirmed_error(ber.decode_unsigned(invoke.value), RESOURCE, OTHER)
        super().send(mms_pdu)

    def _associate(self, unit: bytes) -> None:
        request = protocol.decode_association_request(unit)
        server = self.server
        accept, self.pdu_size = protocol.association_accept(
            request, max_pdu_size=server.max_pdu_size, max_outstanding=server.max_outstanding, nesting_level=server.nesting_level
        )
        self.mms_context = request.mms_context
        self._associated = True
        server.connections.append(self)
        self.pipe.send(accept)

    def _lost(self, reason: str) -> None:
        self.closed.set()
        if self._limit is not None:
            self._limit.cancel()
        self.server._forget(self)
        self._units.clear()
        self._told(self, reason)
