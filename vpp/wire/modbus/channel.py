"""The client's end of Modbus TCP: requests with transaction numbers, so that answers find them whatever comes between."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Protocol

from vpp.kernel.errors import LinkError
from vpp.wire.modbus.server import HEADER, MAX_LENGTH


class Channel(Protocol):
    """A way to units: TCP or a serial line."""

    async def open(self, timeout_s: float, lost: Callable[[str], None]) -> None:
        """Connect; ``lost`` is called once with the reason when the connection breaks. Raises `LinkError`."""
        ...

    async def close(self) -> None:
        """Disconnect; harmless when it is not connected."""
        ...

    async def ask(self, unit: int, pdu: bytes, timeout_s: float) -> bytes:
        """Send a request and give its answer. Raises TimeoutError, or `LinkError` where the connection breaks."""
        ...


class TcpChannel:
    """A connection to a host; ``in_flight`` requests at once, 1 for devices that do not know pipelining."""

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None = None, in_flight: int = 1) -> None:
        """Name the host; nothing is opened."""
        self.host, self.port, self.tls = host, port, tls
        self._slots = asyncio.Semaphore(in_flight)
        self._connection: _Client | None = None
        self._transaction = 0

    async def open(self, timeout_s: float, lost: Callable[[str], None]) -> None:
        """Connect. Raises `LinkError`."""
        loop = asyncio.get_running_loop()
        name = self.host if self.tls is not None else None
        try:
            async with asyncio.timeout(timeout_s):
                _, self._connection = await loop.create_connection(
                    lambda: _Client(lost), self.host, self.port, ssl=self.tls, server_hostname=name
                )
        except (OSError, TimeoutError) as error:
            raise LinkError(f"{self.host}:{self.port}", str(error) or "no connection in time") from error

    async def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.end()

    async def ask(self, unit: int, pdu: bytes, timeout_s: float) -> bytes:
        """Send a request and give its answer."""
        async with asyncio.timeout(timeout_s), self._slots:
            connection = self._connection
            if connection is None:
                raise LinkError(f"{self.host}:{self.port}", "not connected")
            self._transaction = (self._transaction + 1) & 0xFFFF
            return await connection.ask(self._transaction, unit, pdu)


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, lost: Callable[[str], None]) -> None:
        self.lost = lost
        self.buffer = bytearray()
        self.waiting: dict[tuple[int, int], asyncio.Future[bytes]] = {}
        self.transport: asyncio.Transport | None = None
        self.ended = False
        self.out = bytearray()  # what is asked in one turn of the loop goes out in one piece

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.end(str(exc) if exc else "the peer closed the connection")

    async def ask(self, transaction: int, unit: int, pdu: bytes) -> bytes:
        if self.ended or self.transport is None:
            raise LinkError("modbus", "the connection is gone")
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.waiting[transaction, unit] = answer
        try:
            if not self.out:
                asyncio.get_running_loop().call_soon(self.flush)
            self.out += HEADER.pack(transaction, 0, len(pdu) + 1, unit) + pdu
            return await answer
        finally:
            del self.waiting[transaction, unit]  # a late answer finds nobody

    def flush(self) -> None:
        """Send what was asked."""
        out, self.out = self.out, bytearray()
        if self.transport is not None and not self.ended:
            self.transport.write(out)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while len(self.buffer) >= HEADER.size:
            transaction, protocol, length, unit = HEADER.unpack_from(self.buffer)
            if protocol != 0 or not 2 <= length <= MAX_LENGTH:
                self.end("the peer does not speak Modbus")
                return
            if len(self.buffer) < 6 + length:
                return
            pdu = bytes(self.buffer[HEADER.size : 6 + length])
            del self.buffer[: 6 + length]
            answer = self.waiting.get((transaction, unit))
            if answer is not None and not answer.done():
                answer.set_result(pdu)

    def end(self, reason: str = "") -> None:
        """End it once; whoever waits is told."""
        if self.ended:
            return
        self.ended = True
        if self.transport is not None:
            self.transport.abort()
        for answer in self.waiting.values():
            if not answer.done():
                answer.set_exception(LinkError("modbus", reason or "closed"))
        if reason:
            self.lost(reason)
