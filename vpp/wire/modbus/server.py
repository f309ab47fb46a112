"""A Modbus TCP server with framing of its own: requests may be pipelined, cut anywhere, or nonsense.

Answers leave in the order of the requests, one for each. What cannot be framed (a wrong protocol identifier or length)
ends the connection, because there is no next request to be found behind it.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from vpp.kernel.errors import LinkError
from vpp.wire.modbus.pdu import Code, Unit, exception, execute

HEADER: Final = struct.Struct(">HHHB")
MAX_LENGTH: Final = 254  # unit and PDU

HANDSHAKE_S: Final = 10.0
_SETTLE: Final = 5  # turns of the event loop

# What really leaves for an answer: pieces, each after a delay in seconds. For faults on the wire.
Meddler = Callable[[bytes], Sequence[tuple[float, bytes]]]


@dataclass
class ModbusServer:
    """Serves units at one address.

    Attributes:
        units: device behind each unit identifier; may be changed while it runs.
        bind: host and port; port 0: any free one.
        default_unit: who answers to the identifiers 0 and 255, which many clients send to a device without units.
        tls: an `ssl.SSLContext`; None: plain.
        connections: most at once; one more is closed as soon as it comes.
        idle_s: a connection on which nothing arrived for so long is closed.
        meddler: what really leaves; None: the answers.
        served, refused: requests and connections, counted.
    """

    units: dict[int, Unit]
    bind: tuple[str, int]
    default_unit: int | None = None
    tls: ssl.SSLContext | None = None
    connections: int = 32
    idle_s: float = 300.0
    meddler: Meddler | None = None
    served: int = 0
    refused: int = 0
    address: tuple[str, int] = ("", 0)
    open: set[_Connection] = field(default_factory=set)
    greeting: set[_Greeter] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises `LinkError` where the address cannot be had."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Greeter(self) if self.tls else _Connection(self), *self.bind)
        except OSError as error:
            raise LinkError(f"{self.bind[0]}:{self.bind[1]}", str(error)) from error
        self.address = self._server.sockets[0].getsockname()[:2]

    async def stop(self) -> None:
        """Stop listening and break every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for _ in range(_SETTLE):  # what was accepted just before becomes a connection only now
            await asyncio.sleep(0)
        for greeter in list(self.greeting):
            greeter.abort()
        for connection in list(self.open):
            connection.abort()
        for _ in range(_SETTLE):  # the transports tell that they are closed, one beneath another under TLS
            await asyncio.sleep(0)

    def answer(self, unit: int, pdu: bytes, peer: str) -> bytes:
        """The answer to a request: exception 11 where nobody stands behind the unit identifier."""
        self.served += 1
        device = self.units.get(unit)
        if device is None and unit in (0, 255) and self.default_unit is not None:
            device = self.units.get(self.default_unit)
        return exception(pdu, Code.GATEWAY_TARGET) if device is None else execute(device, pdu, peer)


class _Greeter(asyncio.Protocol):
    """A client whose TLS handshake is not done; the server must know of it, to end it."""

    def __init__(self, server: ModbusServer) -> None:
        self.server = server
        self.transport: asyncio.Transport | None = None
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()  # what comes is for the TLS layer
        self.transport = transport
        self.server.greeting.add(self)
        self.task = asyncio.create_task(self._shake_hands(transport))
        self.task.add_done_callback(lambda _: self.server.greeting.discard(self))

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    async def _shake_hands(self, transport: asyncio.Transport) -> None:
        assert self.server.tls is not None
        connection = _Connection(self.server)
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport, connection, self.server.tls, server_side=True, ssl_handshake_timeout=HANDSHAKE_S
            )
        except (OSError, TimeoutError):  # a wrong certificate, no TLS, or nothing at all
            self.server.refused += 1
            transport.abort()
            return
        if secured is not None:
            connection.connection_made(secured)


class _Connection(asyncio.Protocol):
    """One client."""

    def __init__(self, server: ModbusServer) -> None:
        self.server = server
        self.buffer = bytearray()
        self.peer = ""
        self.transport: asyncio.Transport | None = None
        self.idle: asyncio.TimerHandle | None = None
        self.heard = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        name = transport.get_extra_info("peername")
        self.peer = f"{name[0]}:{name[1]}" if name else ""
        if len(self.server.open) >= self.server.connections:
            self.server.refused += 1
            transport.abort()
            return
        self.server.open.add(self)
        self.heard = asyncio.get_running_loop().time()
        self._watch()
        self._work()

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.open.discard(self)
        if self.idle is not None:
            self.idle.cancel()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def pause_writing(self) -> None:
        """A client that does not take its answers is not asked for more."""
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.transport is not None:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self.heard = asyncio.get_running_loop().time()
        self.buffer += data
        if self.transport is not None:  # under TLS the first request may be there before the handshake is told
            self._work()

    def _work(self) -> None:
        """Answer every request that is complete."""
        answers: list[bytes] = []
        framed = True
        while len(self.buffer) >= HEADER.size:
            transaction, protocol, length, unit = HEADER.unpack_from(self.buffer)
            if protocol != 0 or not 2 <= length <= MAX_LENGTH:
                framed = False
                break
            end = 6 + length
            if len(self.buffer) < end:
                break
            pdu = bytes(self.buffer[HEADER.size : end])
            del self.buffer[:end]
            told = self.server.answer(unit, pdu, self.peer)
            answers.append(HEADER.pack(transaction, 0, len(told) + 1, unit) + told)
        self._send(answers)
        if not framed and self.transport is not None:
            self.buffer.clear()
            self.transport.close()  # what was answered still leaves

    def _send(self, answers: Sequence[bytes]) -> None:
        if self.transport is None or not answers:
            return
        if self.server.meddler is None:
            self.transport.write(b"".join(answers))
            return
        loop = asyncio.get_running_loop()
        for answer in answers:
            for delay_s, piece in self.server.meddler(answer):
                loop.call_later(delay_s, self._late, piece)

    def _late(self, piece: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(piece)

    def _watch(self) -> None:
        """Close the connection when nothing arrived for too long; look again when that could be."""
        loop = asyncio.get_running_loop()
        left = self.heard + self.server.idle_s - loop.time()
        if left <= 0:
            self.abort()
        else:
            self.idle = loop.call_later(left, self._watch)
