"""A supervised worker process for a native stack: when it crashes, its links go down, and nothing else happens.

Parent and child speak through a socket pair in messages of plain tuples (marshal, both ends are the same Python). A message
is ``(session, what, ...)``; every link is one session, and many may share one worker. The child ends with its parent.
"""

from __future__ import annotations

import asyncio
import itertools
import marshal
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any, Final, Protocol

from vpp.kernel.errors import LinkError

Message = tuple[Any, ...]
Taker = Callable[[Message | None], None]  # a message of one's session, or None: the worker is gone
_LENGTH: Final = struct.Struct("<I")
_LONGEST: Final = 1 << 28


class Worker:
    """The parent's end."""

    def __init__(self, module: str, name: str = "worker") -> None:
        """Name the module that is run as the child; nothing is started."""
        self.module, self.name = module, name
        self.starts = 0
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._pump: asyncio.Task[None] | None = None
        self._takers: dict[int, Taker] = {}
        self._numbers = itertools.count(1)
        self._lock: asyncio.Lock | None = None

    @property
    def pid(self) -> int:
        """The child's process id; 0 where none runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    async def open(self, take: Taker) -> int:
        """Begin a session, with the child started if it is not running: its number. Raises `LinkError`."""
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._writer is None:
                await self._start()
        session = next(self._numbers)
        self._takers[session] = take
        return session

    def leave(self, session: int) -> None:
        """Hear no more of a session."""
        self._takers.pop(session, None)

    def send(self, *message: Any) -> None:
        """Send a message. Raises `LinkError` where the child is gone."""
        if self._writer is None:
            raise LinkError(self.name, "the worker process is gone")
        self._writer.write(pack(message))

    async def stop(self) -> None:
        """End the child; harmless when there is none."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.transport.abort()
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)
        await self._bury()

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        paths = os.pathsep.join(path for path in sys.path if path)
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self.module, str(theirs.fileno()),
                pass_fds=(theirs.fileno(),), stdin=asyncio.subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": paths},
            )  # fmt: skip
            reader, self._writer = await asyncio.open_connection(sock=ours)
        except OSError as error:
            ours.close()
            raise LinkError(self.name, f"no worker process: {error}") from error
        finally:
            theirs.close()
        self.starts += 1
        self._pump = asyncio.create_task(self._listen(reader, self._writer))

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (message := await receive(reader)) is not None:
                taker = self._takers.get(message[0])
                if taker is not None:
                    taker(message[1:])
        finally:
            if self._writer is writer:
                self._writer = None
            writer.transport.abort()
            takers, self._takers = list(self._takers.values()), {}
            for taker in takers:
                taker(None)
            await self._bury()

    async def _bury(self) -> None:
        """Wait for the child's end, and make it come."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        try:
            async with asyncio.timeout(2.0):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


class Engine(Protocol):
    """What runs in a child."""

    def take(self, message: Message) -> None:
        """Do what a message says; on the child's event loop."""
        ...

    def end(self) -> None:
        """Let go of everything."""
        ...


def pack(message: Message) -> bytes:
    """A message with its length before it."""
    body = marshal.dumps(message)
    return _LENGTH.pack(len(body)) + body


async def receive(reader: asyncio.StreamReader) -> Message | None:
    """The next message; None at the end."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        body = await reader.readexactly(length) if length <= _LONGEST else b""
    except (asyncio.IncompleteReadError, OSError):
        return None
    message = marshal.loads(body) if body else None  # from our own child
    return message if isinstance(message, tuple) else None


def child(make: Callable[[Callable[[Message], None]], Engine]) -> None:
    """Be the child: make the engine with its way to the parent, and run it until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to end

    async def main() -> None:
        reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=int(sys.argv[1])))
        engine = make(lambda message: writer.write(pack(message)))
        while (message := await receive(reader)) is not None:
            engine.take(message)
        engine.end()

    asyncio.run(main())
    sys.stdout.flush()
    os._exit(0)  # native stacks may fault in the interpreter's own end
