"""The transport under MMS, the same at both ends: TPKT (RFC 1006) and COTP class 0 (ISO 8073), on asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from open61850.mms.transport import connection_request

CR, CC, DR, DT, ER = 0xE0, 0xD0, 0x80, 0xF0, 0x70
LAST: Final = 0x80
LARGEST_CODE: Final = 0x0D  # TPDUs of 8192 octets, the largest that class 0 may agree on
LONGEST: Final = 1 << 20  # octets of a reassembled unit: more than any PDU that is agreed on here
LONGEST_QUEUE: Final = 1 << 20  # octets that may wait for a peer that takes in less than is told


class Iso(asyncio.Protocol):
    """Whole units of user data in and out; ``on_lost`` takes the reason of the end, once."""

    def __init__(self, server: bool) -> None:
        """Nothing is connected."""
        self.server = server
        self.on_open: Callable[[], None] = lambda: None  # the transport stands
        self.on_ready: Callable[[], None] = lambda: None  # COTP stands
        self.on_unit: Callable[[bytes], None] = lambda unit: None
        self.on_lost: Callable[[str], None] = lambda reason: None
        self.transport: asyncio.Transport | None = None
        self.ready = self.ended = False
        self._room = 1024 - 3
        self._buffer = bytearray()
        self._parts: list[bytes] = []
        self._size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client asks for a connection."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.on_open()
        if not self.server:
            self._put(connection_request(tpdu_size_code=LARGEST_CODE))

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone."""
        self.end(str(exc) if exc else "the peer closed the connection")

    def end(self, reason: str) -> None:
        """Break the connection; harmless the second time."""
        if not self.ended:
            self.ended, self.ready = True, False
            if self.transport is not None:
                self.transport.abort()
            self.on_lost(reason)

    def close(self) -> None:
        """End after what was sent has gone."""
        if self.transport is not None and not self.ended:
            self.transport.close()

    def send(self, unit: bytes) -> None:
        """Send a unit, in as many pieces as the peer wants."""
        if self.transport is None or self.ended:
            return
        pieces = range(0, max(1, len(unit)), self._room)
        for at in pieces:
            self._put(bytes([2, DT, LAST if at == pieces[-1] else 0]) + unit[at : at + self._room])
        if self.transport.get_write_buffer_size() > LONGEST_QUEUE:
            self.end("the peer takes in less than is to be told")

    def data_received(self, data: bytes) -> None:
        """Take in pieces; what is none ends the connection."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= 4 and not self.ended:
            length = int.from_bytes(buffer[2:4], "big")
            if buffer[0] != 3 or length < 7:
                self.end("what arrives is not TPKT")
                return
            if len(buffer) < length:
                return
            piece = bytes(buffer[4:length])
            del buffer[:length]
            self._take(piece)

    def _take(self, piece: bytes) -> None:
        code = piece[1] & 0xF0
        if code == DT and self.ready and piece[0] == 2:
            self._size += len(piece) - 3
            if self._size > LONGEST:
                self.end("a unit longer than any that was agreed on")
                return
            self._parts.append(piece[3:])
            if piece[2] & LAST:
                unit = b"".join(self._parts)
                self._parts, self._size = [], 0
                self.on_unit(unit)
        elif code == (CR if self.server else CC) and not self.ready:
            self._agree(piece)
        elif code == DR:
            self.end("the peer disconnects")
        else:
            self.end(f"a TPDU {piece[1]:#04x} out of its order")

    def _agree(self, piece: bytes) -> None:
        """A connection request, or its confirmation: the size of the pieces, and the selectors to give back."""
        code, selectors = 0x07, b""  # 128 octets, where nothing is said
        at = 7
        while at + 2 <= len(piece):
            what, length = piece[at], piece[at + 1]
            value = piece[at + 2 : at + 2 + length]
            if what == 0xC0 and len(value) == 1:
                code = value[0]
            elif what in (0xC1, 0xC2):
                selectors += bytes([what, length]) + value
            at += 2 + length
        if code < 0x07:
            self.end("a TPDU size that does not exist")
            return
        code = min(code, LARGEST_CODE)
        self._room = (1 << code) - 3
        self.ready = True
        if self.server:
            body = bytes([CC]) + piece[4:6] + b"\x00\x01\x00" + bytes([0xC0, 1, code]) + selectors
            self._put(bytes([len(body)]) + body)
        self.on_ready()

    def _put(self, piece: bytes) -> None:
        if self.transport is not None and not self.ended:
            self.transport.write(b"\x03\x00" + (len(piece) + 4).to_bytes(2, "big") + piece)
