"""An outstation on TCP or TLS: one master at a time (IEEE 1815-2012, 13), reports sent unasked and kept until confirmed."""

from __future__ import annotations

import asyncio
import ssl
from typing import Final

from dnp3.application.fragment import ResponseFragment
from dnp3.core.enums import LinkFunctionCode as Link
from dnp3.datalink.builder import build_ack, build_link_status, build_unconfirmed_user_data
from dnp3.datalink.frame import DataLinkFrame
from dnp3.datalink.parser import FrameParser
from dnp3.outstation.peer import PeerId
from dnp3.transport.reassembler import Reassembler
from dnp3.transport.segment import TransportSegment
from dnp3.transport.segmenter import Segmenter

from vpp.kernel.errors import LinkError
from vpp.wire.dnp3.outstation import Key, ReportingOutstation
from vpp.wire.logs import LinkLog

CONFIRM: Final = 0
CON_BIT, UNS_BIT, SEQ_MASK = 0x20, 0x10, 0x0F
HANDSHAKE_S: Final = 5.0
UNREAD_BYTES: Final = 1 << 20  # a master that takes in nothing is cut off


class Runner:
    """Listens for a master and serves it; a second one takes the first one's place, as after a broken connection."""

    def __init__(self, outstation: ReportingOutstation, log: LinkLog, tls: ssl.SSLContext | None, confirm_s: float) -> None:
        """Prepare; nothing is opened."""
        self.outstation, self.log, self.tls, self.confirm_s = outstation, log, tls, confirm_s
        self.connection: Connection | None = None
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen: the port. Raises `LinkError`."""
        try:
            loop = asyncio.get_running_loop()
            patience = HANDSHAKE_S if self.tls is not None else None
            self._server = await loop.create_server(
                lambda: Connection(self), host, port, ssl=self.tls, ssl_handshake_timeout=patience
            )
        except OSError as error:
            raise LinkError(self.log.link, str(error)) from error
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Break the connection and stop listening."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        if self.connection is not None:
            self.connection.end()
        await asyncio.sleep(0)

    def report(self) -> None:
        """Events may be there: tell them."""
        if self.connection is not None:
            self.connection.report()


class Connection(asyncio.Protocol):
    """One master."""

    def __init__(self, runner: Runner) -> None:
        """Belong to a runner."""
        self.runner, self.outstation = runner, runner.outstation
        self.parser, self.segmenter = FrameParser(), Segmenter()
        self.reassembler = Reassembler(max_fragment_size=self.outstation.config.max_fragment_size)
        self.number = self.outstation.new_connection_id()
        self.master = self.outstation.config.master_address  # 0: whoever speaks first
        self.transport: asyncio.Transport | None = None
        self.pending: list[ResponseFragment] = []  # fragments of an answer; the next goes when the last is confirmed
        self.awaited = -1
        self.keys: list[Key] = []
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the place of the connection before."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        before, self.runner.connection = self.runner.connection, self
        if before is not None:
            before.end()
        self.outstation.forget_master()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of what belongs to the connection."""
        self.end()

    def end(self) -> None:
        """Break the connection; harmless the second time."""
        transport, self.transport = self.transport, None
        if transport is None:
            return
        transport.abort()
        self._stop_timer()
        self.outstation.release_connection(self.number)
        if self.runner.connection is self:
            self.runner.connection = None
            self.outstation.forget_master()

    def data_received(self, data: bytes) -> None:
        """Take in frames; what cannot be understood ends the connection, never the server."""
        try:
            for frame in self.parser.feed(data):
                if self.transport is not None and frame.header.destination == self.outstation.config.address:
                    self._frame(frame)
        except Exception as error:  # noqa: BLE001 - a peer's bytes in a stack that is not ours
            self.runner.log.tell("bad frame", f"{type(error).__name__}: {error}")
            self.end()

    def _frame(self, frame: DataLinkFrame) -> None:
        control = frame.header.control
        if not control.prm:
            return
        if self.master == 0:
            self.master = frame.header.source
        own, function = self.outstation.config.address, control.function_code
        if function in (Link.PRI_RESET_LINK_STATE, Link.PRI_TEST_LINK_STATE, Link.PRI_CONFIRMED_USER_DATA):
            self._send(build_ack(self.master, own, False).to_bytes())
        elif function == Link.PRI_REQUEST_LINK_STATUS:
            self._send(build_link_status(self.master, own, False).to_bytes())
        carries = function in (Link.PRI_CONFIRMED_USER_DATA, Link.PRI_UNCONFIRMED_USER_DATA)
        if carries and frame.user_data:
            whole = self.reassembler.add(TransportSegment.from_bytes(frame.user_data))
            if whole is not None and len(whole.data) >= 2:
                self._fragment(whole.data, PeerId(frame.header.source, self.number))

    def _fragment(self, data: bytes, peer: PeerId) -> None:
        if data[1] == CONFIRM:
            self._confirmed(data, peer)
            return
        self.pending = list(self.outstation.process_request(data, peer=peer))
        self._next()

    def _confirmed(self, data: bytes, peer: PeerId) -> None:
        if data[0] & UNS_BIT:
            self.outstation.process_request(data, peer=peer)
            if not self.outstation.unconfirmed and self.keys:
                self._stop_timer()
                self.outstation.confirmed(self.keys)
                self.keys = []
                self.report()
        elif data[0] & SEQ_MASK == self.awaited:
            self._next()

    def _next(self) -> None:
        """Send the next fragment of an answer; all but the last are confirmed."""
        self.awaited = -1
        if self.pending:
            fragment = self.pending.pop(0)
            body = bytearray(fragment.to_bytes())
            if self.pending:
                body[0] |= CON_BIT
                self.awaited = body[0] & SEQ_MASK
            self._tell(bytes(body))
        self.report()

    def report(self) -> None:
        """Tell the oldest events, if the master wants them and nothing else is under way."""
        if self.transport is None or self.pending or self.outstation.unconfirmed:
            return
        made = self.outstation.report()
        if made is not None:
            fragment, self.keys = made
            self._say(fragment.to_bytes())

    def _say(self, body: bytes) -> None:
        """Send a report, again and again until it is confirmed."""
        self._tell(body)
        self.timer = asyncio.get_running_loop().call_later(self.runner.confirm_s, lambda: self._say(body))

    def _tell(self, body: bytes) -> None:
        own = self.outstation.config.address
        for segment in self.segmenter.segment(body):
            self._send(build_unconfirmed_user_data(self.master, own, False, segment.to_bytes()).to_bytes())

    def _send(self, data: bytes) -> None:
        if self.transport is None:
            return
        self.transport.write(data)
        if self.transport.get_write_buffer_size() > UNREAD_BYTES:
            self.runner.log.tell("unread", "the master takes in nothing")
            self.end()

    def _stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
