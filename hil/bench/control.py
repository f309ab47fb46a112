"""The laboratory around an emulated device as one instrument over SCPI: AC source, DC source, power analyser, clock.

It understands what the drivers of `hil.bench.scpi` say by default:

    *IDN?   SYST:ERR?   SOUR:VOLT <V>   SOUR:FREQ <Hz>   SOUR:POW <W>   MEAS:POW:ACT?   MEAS:POW:REAC?   MEAS:VOLT?
    MEAS:FREQ?   SYST:TIME?   SYST:TIME:REC? <s>,<n>

The last lets time pass in n steps of so many seconds, and answers with time, active and reactive power, volts and hertz at
the end of each. Commands may be joined by semicolons. What is wrong with one waits in the connection's queue of errors, as
SCPI has it.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from hil.bench.simulated import World
from vpp import __version__
from vpp.kernel.errors import LinkError

LONGEST_LINE: Final = 4096
LONGEST_S: Final = 36000.0
MOST: Final = 1000
NO_ANSWER: Final = "9.91E+37"  # not a number
MEASURED: Final = ("SYST:TIME?", "MEAS:POW:ACT?", "MEAS:POW:REAC?", "MEAS:VOLT?", "MEAS:FREQ?")
OUT_OF_RANGE, UNDEFINED, NO_NUMBER, TOO_LONG, NO_PHASE = -222, -113, -104, -363, -200
WORDS: Final = {
    OUT_OF_RANGE: "Data out of range", UNDEFINED: "Undefined header", NO_NUMBER: "Data type error",
    TOO_LONG: "Input buffer overrun",
    NO_PHASE: "Execution error, the source has no phase angle (models are of phasors' magnitudes)",
}  # fmt: skip


@dataclass
class ControlServer:
    """Serves a world at one address.

    Attributes:
        world: what the sources act on, what the meter measures, and whose time it is.
        v_nom: nominal voltage [V], 1 pu.
        bind: host and port; port 0: any free one.
        free_running: the world's time runs by itself, and cannot be moved from here.
    """

    world: World
    v_nom: float
    bind: tuple[str, int]
    free_running: bool = False
    address: tuple[str, int] = ("", 0)
    open: set[_Connection] = field(default_factory=set)
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises `LinkError` where the address cannot be had."""
        try:
            self._server = await asyncio.get_running_loop().create_server(lambda: _Connection(self), *self.bind)
        except OSError as error:
            raise LinkError(f"{self.bind[0]}:{self.bind[1]}", str(error)) from error
        self.address = self._server.sockets[0].getsockname()[:2]

    async def stop(self) -> None:
        """Stop listening and break every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self.open):
            connection.abort()
        await asyncio.sleep(0)

    def measured(self, name: str) -> float | None:
        """What a query measures; None: there is no such query."""
        return dict(zip(MEASURED, self.sample())).get(name)

    def sample(self) -> tuple[float, float, float, float, float]:
        """Everything that is measured, in the order of `MEASURED`."""
        r = self.world.measure()
        return self.world.now_s(), r.p_mw * 1e6, r.q_mvar * 1e6, r.vm_pu * self.v_nom, r.f_hz

    def record(self, text: str) -> list[float] | int:
        """Let time pass, and measure: what came of it, or an error code of SCPI."""
        step, _, times = text.partition(",")
        try:
            every_s, count = float(step), int(times)
        except ValueError:
            return NO_NUMBER
        if self.free_running or not (every_s >= 0.0 and 1 <= count <= MOST and every_s * count <= LONGEST_S):
            return OUT_OF_RANGE
        found: list[float] = []
        for _ in range(count):
            self.world.advance(every_s)
            found += self.sample()
        return found

    def obey(self, name: str, text: str) -> int:
        """Do what a command says; an error code of SCPI, or 0."""
        world, most = self.world, 2.0 * self.world.model.nameplate.s_mva * 1e6
        ranges: dict[str, tuple[float, Callable[[float], None]]] = {
            "SOUR:VOLT": (2.0 * self.v_nom, lambda x: setattr(world, "vm_pu", x / self.v_nom)),
            "SOUR:FREQ": (100.0, lambda x: setattr(world, "f_hz", x)),
            "SOUR:POW": (most, lambda x: setattr(world, "p_avail_mw", x / 1e6)),
        }
        if name not in ranges:
            return NO_PHASE if name == "SOUR:PHAS" else UNDEFINED
        high, act = ranges[name]
        try:
            value = float(text)
        except ValueError:
            return NO_NUMBER
        if not 0.0 <= value <= high:
            return OUT_OF_RANGE
        act(value)
        return 0


class _Connection(asyncio.Protocol):
    """One client, with its queue of errors."""

    def __init__(self, server: ControlServer) -> None:
        self.server = server
        self.buffer = bytearray()
        self.overrun = False
        self.errors: deque[str] = deque(maxlen=100)
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.server.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.open.discard(self)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\n")) >= 0:
            line = bytes(self.buffer[:end])
            del self.buffer[: end + 1]
            if self.overrun or len(line) > LONGEST_LINE:
                self.overrun = False
                self._wrong(TOO_LONG, "")
                continue
            answer = self._line(line.decode("ascii", "replace").strip())
            if answer and self.transport is not None:
                self.transport.write(answer.encode("ascii") + b"\n")
        if len(self.buffer) > LONGEST_LINE:  # the rest of the line belongs to what is dropped here
            self.buffer.clear()
            self.overrun = True

    def _line(self, line: str) -> str:
        """Obey a line; its answers, joined as its commands were."""
        answers = []
        for command in filter(None, (part.strip().lstrip(":") for part in line.split(";"))):
            name, _, value = command.partition(" ")
            if name.upper().endswith("?"):
                answers.append(self._answer(name.upper(), value))
            elif code := self.server.obey(name.upper(), value):
                self._wrong(code, command)
        return ";".join(answers)

    def _answer(self, name: str, value: str) -> str:
        if name == "*IDN?":
            return f"VPP Core,emulated laboratory,1,{__version__}"
        if name == "SYST:ERR?":
            return self.errors.popleft() if self.errors else '0,"No error"'
        if name == "SYST:TIME:REC?":
            found = self.server.record(value)
            if isinstance(found, int):
                self._wrong(found, f"{name} {value}")
                return NO_ANSWER
            return ",".join(map(_number, found))
        measured = self.server.measured(name)
        if measured is None:
            self._wrong(UNDEFINED, name)
        return NO_ANSWER if measured is None else _number(measured)

    def _wrong(self, code: int, command: str) -> None:
        self.errors.append(f'{code},"{WORDS[code]}: {command[:60]}"')


def _number(value: float) -> str:
    return NO_ANSWER if math.isnan(value) else f"{value:.9E}"
