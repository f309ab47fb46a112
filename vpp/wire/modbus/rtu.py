"""Modbus RTU over a serial line: MODBUS over Serial Line Specification and Implementation Guide V1.02, section 2.5.

Frames are told apart by the lengths that their functions imply and by the check sum; silence only throws away what
makes no sense, because no operating system tells it to the 1.75 ms of the guide. On a line nobody answers for another:
an unknown unit is silence, and unit 0 (broadcast) is obeyed without an answer.
"""

from __future__ import annotations

import asyncio
import os
import termios
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from vpp.kernel.errors import LinkError
from vpp.wire.modbus.pdu import Unit, execute

LONGEST: Final = 256
_FIXED_REQUEST: Final = 8
_SPEEDS: Final = {baud: getattr(termios, f"B{baud}") for baud in (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)}


def _table() -> tuple[int, ...]:
    """Check sums of single bytes, polynomial 0xA001."""
    values = np.arange(256)
    for _ in range(8):
        values = np.where(values & 1, values >> 1 ^ 0xA001, values >> 1)
    return tuple(int(v) for v in values)


_CRC: Final = _table()


def crc(data: bytes) -> bytes:
    """The check sum of a frame, low byte first."""
    value = 0xFFFF
    for byte in data:
        value = value >> 8 ^ _CRC[(value ^ byte) & 0xFF]
    return value.to_bytes(2, "little")


def frame(unit: int, pdu: bytes) -> bytes:
    """A frame as it goes on the line."""
    body = bytes([unit]) + pdu
    return body + crc(body)


def request_length(data: bytes) -> int:
    """Bytes that a request's frame takes; 0: more must come to tell; -1: its function says nothing about it."""
    if len(data) < 2:
        return 0
    function = data[1]
    if 1 <= function <= 6:
        return _FIXED_REQUEST
    if function == 22:
        return 10
    at = {15: 6, 16: 6, 23: 10}.get(function, -1)
    if at < 0:
        return -1
    return at + 1 + data[at] + 2 if len(data) > at else 0


def answer_length(data: bytes) -> int:
    """Bytes that an answer's frame takes; 0 and -1 as in `request_length`."""
    if len(data) < 3:
        return 0
    function = data[1]
    if function & 0x80:
        return 5
    if function in (1, 2, 3, 4, 23):
        return 5 + data[2]
    return {5: 8, 6: 8, 15: 8, 16: 8, 22: 10}.get(function, -1)


class Splitter:
    """Finds frames in a stream of bytes."""

    def __init__(self, length: Callable[[bytes], int]) -> None:
        """Know how long frames are."""
        self.length = length
        self.buffer = bytearray()
        self.broken = 0  # frames with a wrong check sum, counted

    def take(self, data: bytes) -> list[tuple[int, bytes]]:
        """Give the frames that are complete: (unit, PDU). What makes no sense is left for `silence`."""
        self.buffer += data
        found: list[tuple[int, bytes]] = []
        while True:
            size = self.length(bytes(self.buffer[:16]))
            if size == -1 and self._sound(len(self.buffer)):
                size = len(self.buffer)  # a function without a known length: taken when the sum is right
            if size <= 0 or len(self.buffer) < size or not self._sound(size):
                return found
            found.append((self.buffer[0], bytes(self.buffer[1 : size - 2])))
            del self.buffer[:size]

    def silence(self) -> None:
        """Nothing came for a while: what is left over is noise."""
        self.broken += bool(self.buffer)
        self.buffer.clear()

    def _sound(self, size: int) -> bool:
        return 4 <= size <= LONGEST and crc(bytes(self.buffer[: size - 2])) == self.buffer[size - 2 : size]


@dataclass(frozen=True, slots=True)
class Line:
    """How a serial device is opened.

    Attributes:
        path: the device.
        baud: bits a second.
        parity: "N", "E" or "O".
        stop_bits: 1 or 2.
        gap_s: silence after which half a frame is thrown away.
    """

    path: str
    baud: int = 19200
    parity: str = "E"
    stop_bits: int = 1
    gap_s: float = 0.05

    def open(self) -> int:
        """Open the device as a raw, non-blocking line; gives the file descriptor. Raises `LinkError`."""
        if self.baud not in _SPEEDS or self.parity not in ("N", "E", "O") or self.stop_bits not in (1, 2):
            raise LinkError(self.path, f"a line cannot have {self.baud} Bd, parity {self.parity}, {self.stop_bits} stop bits")
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError as error:
            raise LinkError(self.path, str(error)) from error
        flags = termios.CS8 | termios.CREAD | termios.CLOCAL
        flags |= {"N": 0, "E": termios.PARENB, "O": termios.PARENB | termios.PARODD}[self.parity]
        flags |= termios.CSTOPB if self.stop_bits == 2 else 0
        speed = _SPEEDS[self.baud]
        try:
            control = termios.tcgetattr(fd)[6]
            termios.tcsetattr(fd, termios.TCSANOW, [0, 0, flags, 0, speed, speed, control])
        except termios.error as error:
            os.close(fd)
            raise LinkError(self.path, f"is no serial line: {error}") from error
        return fd


class _Port:
    """An open line on the event loop."""

    def __init__(self, line: Line, length: Callable[[bytes], int], take: Callable[[int, bytes], None]) -> None:
        self.line, self.take = line, take
        self.splitter = Splitter(length)
        self.fd = line.open()
        self.quiet: asyncio.TimerHandle | None = None
        self.gone: Callable[[str], None] | None = None
        self.out = bytearray()
        asyncio.get_running_loop().add_reader(self.fd, self._readable)

    def send(self, data: bytes) -> None:
        self.out += data
        self._writable()

    def close(self) -> None:
        if self.fd < 0:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.fd)
        loop.remove_writer(self.fd)
        os.close(self.fd)
        self.fd = -1
        if self.quiet is not None:
            self.quiet.cancel()

    def _readable(self) -> None:
        try:
            data = os.read(self.fd, 4096)
        except BlockingIOError:
            return
        except OSError as error:  # the device was pulled out
            self._lost(str(error))
            return
        if not data:
            self._lost("the line is closed")
            return
        for unit, pdu in self.splitter.take(data):
            self.take(unit, pdu)
        if self.quiet is not None:
            self.quiet.cancel()
        self.quiet = asyncio.get_running_loop().call_later(self.line.gap_s, self.splitter.silence)

    def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            sent = os.write(self.fd, self.out)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lost(str(error))
            return
        del self.out[:sent]
        if self.out:
            loop.add_writer(self.fd, self._writable)
        else:
            loop.remove_writer(self.fd)

    def _lost(self, reason: str) -> None:
        self.close()
        if self.gone is not None:
            self.gone(reason)


class RtuServer:
    """Serves units on a serial line."""

    def __init__(self, units: dict[int, Unit], line: Line) -> None:
        """Name units and line; nothing is opened."""
        self.units, self.line = units, line
        self._port: _Port | None = None

    async def start(self) -> None:
        """Open the line. Raises `LinkError`."""
        self._port = _Port(self.line, request_length, self._answer)

    async def stop(self) -> None:
        """Close the line."""
        if self._port is not None:
            self._port.close()

    def _answer(self, unit: int, pdu: bytes) -> None:
        devices = self.units.values() if unit == 0 else [self.units[unit]] if unit in self.units else []
        answers = [execute(device, pdu, self.line.path) for device in devices]
        if unit and answers and self._port is not None:
            self._port.send(frame(unit, answers[0]))


class RtuChannel:
    """`vpp.wire.modbus.channel.Channel` on a serial line: one request at a time."""

    def __init__(self, line: Line) -> None:
        """Name the line; nothing is opened."""
        self.line = line
        self._port: _Port | None = None
        self._turn = asyncio.Lock()
        self._waiting: tuple[int, int, asyncio.Future[bytes]] | None = None

    async def open(self, timeout_s: float, lost: Callable[[str], None]) -> None:
        """Open the line. Raises `LinkError`."""
        self._port = _Port(self.line, answer_length, self._heard)
        self._port.gone = lost

    async def close(self) -> None:
        """Close the line."""
        if self._port is not None:
            self._port.close()
            self._port = None

    async def ask(self, unit: int, pdu: bytes, timeout_s: float) -> bytes:
        """Send a request and give its answer; a broadcast (unit 0) has none but an echo of the request."""
        async with asyncio.timeout(timeout_s), self._turn:
            if self._port is None or self._port.fd < 0:
                raise LinkError(self.line.path, "the line is closed")
            self._port.splitter.silence()
            answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            self._waiting = unit, pdu[0], answer
            try:
                self._port.send(frame(unit, pdu))
                return pdu if unit == 0 else await answer
            finally:
                self._waiting = None

    def _heard(self, unit: int, pdu: bytes) -> None:
        if self._waiting is None:
            return  # too late
        wanted, function, answer = self._waiting
        if unit == wanted and pdu[0] & 0x7F == function and not answer.done():
            answer.set_result(pdu)
