"""A wire that can be cut, for tests: a TCP relay that goes mute, breaks and delays as told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Self


@dataclass
class Relay:
    """Relays TCP connections to a target; ``mute`` keeps them open and swallows every byte (a half-open connection).

    Attributes:
        target: host and port behind it.
        mute: nothing passes, in either direction.
        delay_s: how long each piece is held.
        address: host and port that it listens at, once started.
    """

    target: tuple[str, int]
    mute: bool = False
    delay_s: float = 0.0
    address: tuple[str, int] = ("", 0)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

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
        for writer in list(self._writers):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            to_target = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        for source, sink in ((reader, to_target[1]), (to_target[0], writer)):
            self._writers.add(sink)
            task = asyncio.create_task(self._pass(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while piece := await source.read(65536):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if not self.mute:
                    sink.write(piece)
                    await sink.drain()
        except ConnectionError:
            sink.transport.abort()
        finally:
            self._writers.discard(sink)
            sink.close()
