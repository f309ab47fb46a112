"""A native library's peer in a process of its own: when it crashes, the test that asked it fails and says so, and no other.

The child is a module with `serve({name: function})`; it is asked in lines of JSON and answers in lines of JSON.
"""

import asyncio
import json
import os
import signal
import sys
from contextlib import asynccontextmanager

PATIENCE_S = 30.0


class Apart:
    """The parent's end."""

    def __init__(self, module, process):
        self.module, self.process = module, process

    async def ask(self, what, *arguments):
        """What the child's function gives; an AssertionError where it raised, died or says nothing."""
        try:
            self.process.stdin.write(json.dumps([what, *arguments]).encode() + b"\n")
            async with asyncio.timeout(PATIENCE_S):
                await self.process.stdin.drain()
                line = await self.process.stdout.readline()
        except (OSError, TimeoutError) as error:
            line = b"" if isinstance(error, OSError) else json.dumps(["error", "no answer in time"]).encode()
        if not line:
            raise AssertionError(f"the peer {self.module} {await self._end()} when it was asked to {what}")
        fate, result = json.loads(line)
        assert fate == "done", f"{self.module}: {what}: {result}"
        return result

    async def _end(self):
        code = await self.process.wait()
        told = (await self.process.stderr.read()).decode(errors="replace").strip()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return f"{how} ({told[-500:]})" if told else how


@asynccontextmanager
async def apart(module):
    """A child that runs a module, ended in the end; that it had crashed by then is a failure, too."""
    paths = os.pathsep.join(path for path in sys.path if path)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "faulthandler", "-m", module, env={**os.environ, "PYTHONPATH": paths},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    peer = Apart(module, process)
    try:
        yield peer
        process.stdin.close()
        try:
            async with asyncio.timeout(PATIENCE_S):
                how = await peer._end()
        except TimeoutError:
            raise AssertionError(f"the peer {module} does not end") from None
        assert process.returncode == 0, f"the peer {module} {how}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()


def serve(functions):
    """Be the child: answer until the parent lets go."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    for line in sys.stdin:
        what, *arguments = json.loads(line)
        try:
            told = "done", functions[what](*arguments)
        except Exception as error:  # noqa: BLE001 - the parent is told, and fails
            told = "error", f"{type(error).__name__}: {error}"
        answers.write(json.dumps(told) + "\n")
    functions.get("stop", int)()
    sys.stderr.flush()
    os._exit(0)  # native stacks may fault in the interpreter's own end, which is no business of ours


def free_port():
    """A port that nobody listens at."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
