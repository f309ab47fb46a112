"""A local TLS tunnel, for stacks that cannot speak TLS themselves, or not with a library that is still cared for.

The stack connects to a free port of this machine in the clear; the tunnel carries it on under TLS with the client's
certificate. It takes connections from the loopback address only.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from vpp.kernel.errors import LinkError

PIECE: int = 65536


@dataclass
class Tunnel:
    """Carries what connects here to a target under TLS.

    Attributes:
        target: host and port that speak TLS.
        context: with the client's certificate, and whom it trusts.
        timeout_s: for the handshake.
        address: where the stack shall connect, once started.
        reason: why the last connection to the target failed, "" where none did.
        failed: told each such reason at once.
    """

    target: tuple[str, int]
    context: ssl.SSLContext
    timeout_s: float = 2.0
    address: tuple[str, int] = ("127.0.0.1", 0)
    reason: str = ""
    failed: Callable[[str], None] = lambda reason: None
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Listen at a free port of this machine. Raises `LinkError`."""
        try:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        except OSError as error:
            raise LinkError("tunnel", str(error)) from error
        host, port = self._server.sockets[0].getsockname()[:2]
        self.address = (host, port)

    async def stop(self) -> None:
        """Break every connection and stop listening; harmless when it is not started."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        far: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(self.timeout_s):
                there, far = await asyncio.open_connection(*self.target, ssl=self.context, server_hostname=self.target[0])
            self.reason = ""
            ways = [asyncio.ensure_future(_carry(reader, far)), asyncio.ensure_future(_carry(there, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except (OSError, TimeoutError) as error:
            self.reason = f"{self.target[0]}:{self.target[1]}: {error or 'no TLS in time'}"
            self.failed(self.reason)
        finally:
            for end in (writer, far):
                if end is not None:
                    end.transport.abort()


async def _carry(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Carry one direction until it ends."""
    try:
        while piece := await source.read(PIECE):
            sink.write(piece)
            await sink.drain()
    except OSError:
        return
