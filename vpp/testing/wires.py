"""A wire with faults, for tests: a TCP relay that goes mute, loses its peer, breaks, delays, and spoils messages as told."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

Size = Callable[[bytes], int]  # octets of the message that begins here; 0: not enough is there to say


def _modbus(begin: bytes) -> int:
    return 6 + int.from_bytes(begin[4:6]) if len(begin) >= 6 else 0


def _iec104(begin: bytes) -> int:
    return 2 + begin[1] if len(begin) >= 2 else 0


def _dnp3(begin: bytes) -> int:
    if len(begin) < 3:
        return 0
    data = begin[2] - 5
    return 10 + data + 2 * -(-data // 16)


def _tpkt(begin: bytes) -> int:
    return int.from_bytes(begin[2:4]) if len(begin) >= 4 else 0


# Protocol -> how long its messages are: MBAP header, APDU, link frame, TPKT (RFC 1006).
SIZES: Final[Mapping[str, Size]] = {"modbus": _modbus, "iec104": _iec104, "dnp3": _dnp3, "iec61850": _tpkt}
SPOILS: Final = ("drop", "duplicate", "reorder", "corrupt", "garbage")


@dataclass(eq=False)
class _Line:
    """One relayed connection."""

    ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    dead: bool = False


@dataclass
class Relay:
    """Relays TCP connections to a target.

    Attributes:
        target: host and port behind it.
        size: how the target's messages are told apart; needed to spoil them.
        mute: connections are let in and held, every byte is swallowed, and no end is told.
        delay_s: how long what the target says is held; order is kept.
        spoil: what happens to the target's next messages, one after another: a word of `SPOILS`, or "" for nothing.
        spoilt: messages spoilt.
        address: host and port that it listens at, once started.
    """

    target: tuple[str, int]
    size: Size | None = None
    mute: bool = False
    delay_s: float = 0.0
    spoil: deque[str] = field(default_factory=deque)
    spoilt: int = 0
    address: tuple[str, int] = ("", 0)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _lines: set[_Line] = field(default_factory=set)
    _held: list[bytes] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        """Listen."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop, whatever happened."""
        await self.stop()

    async def start(self) -> None:
        """Listen at a free port of this machine."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = self._server.sockets[0].getsockname()[:2]

    async def stop(self) -> None:
        """Break every connection and stop listening."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Break every connection; new ones are let in."""
        lines, self._lines = self._lines, set()
        for line in lines:
            for end in line.ends:
                end.transport.abort()

    def vanish(self) -> None:
        """Either end of every connection loses the other without being told (half open); new ones are let in."""
        for line in self._lines:
            line.dead = True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, target = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        line = _Line((writer, target))
        self._lines.add(line)
        for way in (self._pass(line, reader, target, False), self._pass(line, there, writer, True)):
            task = asyncio.create_task(way)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, line: _Line, source: asyncio.StreamReader, sink: asyncio.StreamWriter, answers: bool) -> None:
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        giver = asyncio.create_task(self._give(line, waiting, sink))
        loop, buffer, due = asyncio.get_running_loop(), bytearray(), 0.0
        try:
            while piece := await source.read(65536):
                due = max(due, loop.time() + (self.delay_s if answers else 0.0))
                for part in self._meddle(buffer, piece) if answers and self.size is not None else (piece,):
                    waiting.put_nowait((due, part))
            await waiting.join()
        except ConnectionError:
            sink.transport.abort()
        finally:
            giver.cancel()
        if not self.mute and not line.dead:
            sink.close()
            if all(end.is_closing() for end in line.ends):
                self._lines.discard(line)

    async def _give(self, line: _Line, waiting: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, piece = await waiting.get()
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            if not self.mute and not line.dead:
                sink.write(piece)
            waiting.task_done()

    def _meddle(self, buffer: bytearray, piece: bytes) -> list[bytes]:
        """What leaves instead of the messages that are complete."""
        assert self.size is not None
        buffer += piece
        out = []
        while (size := self.size(bytes(buffer[:6]))) and len(buffer) >= size:
            message = bytes(buffer[:size])
            del buffer[:size]
            out += self._spoilt(message)
        return out

    def _spoilt(self, message: bytes) -> list[bytes]:
        how = self.spoil.popleft() if self.spoil else ""
        held, self._held = self._held, []
        self.spoilt += how != ""
        if how == "drop":
            return held
        if how == "duplicate":
            return [message, message, *held]
        if how == "reorder":
            self._held = [*held, message]
            return []
        if how == "corrupt":
            at = len(message) - 1
            return [message[:at] + bytes([message[at] ^ 0x10]), *held]
        if how == "garbage":
            return [bytes(octet ^ 0xA5 for octet in message), *held]
        return [message, *held]
