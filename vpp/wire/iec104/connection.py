"""One connection of IEC 60870-5-104: frames, sequence numbers, windows and time-outs (clause 5), the same at both ends."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

START: Final = 0x68
MODULUS: Final = 1 << 15
STARTDT, STARTDT_CON, STOPDT, STOPDT_CON, TESTFR, TESTFR_CON = 0x07, 0x0B, 0x13, 0x23, 0x43, 0x83


@dataclass(frozen=True, slots=True)
class Parameters:
    """Windows and time-outs; the defaults are the standard's (clause 9.6).

    Attributes:
        k: frames that may be under way unacknowledged.
        w: frames after which the receiver acknowledges.
        t1_s: an acknowledgement or confirmation must come within.
        t2_s: what was received is acknowledged within; below t1.
        t3_s: idle time after which the connection is tested.
        longest_queue: ASDUs that may wait; a peer that takes in less than comes is cut off, rather than lied to.
    """

    k: int = 12
    w: int = 8
    t1_s: float = 15.0
    t2_s: float = 10.0
    t3_s: float = 20.0
    longest_queue: int = 50_000


class Connection(asyncio.Protocol):
    """Frames in and out. ``on_asdu`` takes what arrives, ``on_lost`` the reason of the end, once."""

    def __init__(self, parameters: Parameters, server: bool, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is under way."""
        self.parameters, self.server, self.clock = parameters, server, clock
        self.on_asdu: Callable[[bytes], None] = lambda octets: None
        self.on_open: Callable[[], None] = lambda: None
        self.on_started: Callable[[bool], None] = lambda started: None
        self.on_tested: Callable[[float], None] = lambda asked: None  # when the test was asked for that is confirmed
        self.on_lost: Callable[[str], None] = lambda reason: None
        self.transport: asyncio.Transport | None = None
        self.started = False  # data transfer is on
        self.ended = False
        self.queue: deque[bytes] = deque()
        self.under_way: deque[tuple[float, bytes]] = deque()  # sent and not acknowledged: when, and what
        self._buffer = bytearray()
        self._send, self._receive, self._told = 0, 0, 0  # V(S), V(R), and what of V(R) was acknowledged
        self._heard, self._first_untold = 0.0, 0.0
        self._asked: dict[int, deque[float]] = {}  # confirmation that must come -> since when, the oldest first
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to watch the time."""
        assert isinstance(transport, asyncio.Transport)
        self.transport, self._heard = transport, self.clock()
        self._watch()
        self.on_open()

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone."""
        self.end(str(exc) if exc else "the peer closed the connection")

    def end(self, reason: str) -> None:
        """Break the connection; harmless the second time."""
        if self.ended:
            return
        self.ended, self.started = True, False
        if self._timer is not None:
            self._timer.cancel()
        if self.transport is not None:
            self.transport.abort()
        self.on_lost(reason)

    def ask(self, function: int, confirmation: int) -> float:
        """Send an unnumbered frame that must be confirmed: when."""
        now = self.clock()
        self._asked.setdefault(confirmation, deque()).append(now)
        self._frame(bytes([function, 0, 0, 0]))
        return now

    def send(self, asdu: bytes) -> None:
        """Queue an ASDU; it goes as soon as the window lets it."""
        if len(self.queue) >= self.parameters.longest_queue:
            self.end("the peer takes in less than is to be told")
        if not self.ended:
            self.queue.append(asdu)
            self._pump()

    def data_received(self, data: bytes) -> None:
        """Take in frames; what is none ends the connection."""
        buffer = self._buffer
        buffer += data
        while buffer and not self.ended:
            if buffer[0] != START or (len(buffer) > 1 and not 4 <= buffer[1] <= 253):
                self.end("what arrives is not IEC 60870-5-104")
                return
            if len(buffer) < 2:
                return
            end = 2 + buffer[1]
            if len(buffer) < end:
                return
            frame = bytes(buffer[2:end])
            del buffer[:end]
            self._heard = self.clock()
            self._take(frame)

    def _take(self, frame: bytes) -> None:
        if not frame[0] & 1:
            if not self._acknowledged(int.from_bytes(frame[2:4], "little") >> 1):
                return
            if int.from_bytes(frame[:2], "little") >> 1 != self._receive:
                self.end("a frame is missing")
            elif not self.started:
                self.end("data before STARTDT")
            elif len(frame) > 4:
                self._numbered(frame[4:])
        elif len(frame) != 4:
            self.end("an S or U frame with data")
        elif frame[0] & 3 == 1:
            self._acknowledged(int.from_bytes(frame[2:4], "little") >> 1)
        else:
            self._unnumbered(frame[0])

    def _numbered(self, asdu: bytes) -> None:
        if self._told == self._receive:
            self._first_untold = self._heard
        self._receive = (self._receive + 1) % MODULUS
        if (self._receive - self._told) % MODULUS >= self.parameters.w:
            self._acknowledge()
        self.on_asdu(asdu)

    def _acknowledged(self, upto: int) -> bool:
        """Take the peer's N(R): everything before it has arrived."""
        count = (upto - (self._send - len(self.under_way))) % MODULUS
        if count > len(self.under_way):
            self.end("an acknowledgement of what was never sent")
            return False
        for _ in range(count):
            self.under_way.popleft()
        self._pump()
        return True

    def _unnumbered(self, function: int) -> None:
        if function in (STARTDT, STOPDT) and self.server:
            on = function == STARTDT
            if not on:
                self._acknowledge()
            self._frame(bytes([STARTDT_CON if on else STOPDT_CON, 0, 0, 0]))
            self._start(on)
        elif function == TESTFR:
            self._frame(bytes([TESTFR_CON, 0, 0, 0]))
        elif function in self._asked:
            since = self._asked[function].popleft()
            if not self._asked[function]:
                del self._asked[function]
            if function == TESTFR_CON:
                self.on_tested(since)
            else:
                self._start(function == STARTDT_CON)
        elif function not in (STARTDT_CON, STOPDT_CON, TESTFR_CON):
            self.end(f"an unnumbered frame {function:#04x}")

    def _start(self, on: bool) -> None:
        self.started = on
        self.on_started(on)
        self._pump()

    def _pump(self) -> None:
        while self.queue and self.started and len(self.under_way) < self.parameters.k:
            asdu = self.queue.popleft()
            numbers = (self._send << 1).to_bytes(2, "little") + (self._receive << 1).to_bytes(2, "little")
            self.under_way.append((self.clock(), asdu))
            self._send = (self._send + 1) % MODULUS
            self._told = self._receive
            self._frame(numbers + asdu)

    def _acknowledge(self) -> None:
        if self._told != self._receive:
            self._told = self._receive
            self._frame(bytes([1, 0]) + (self._receive << 1).to_bytes(2, "little"))

    def _frame(self, body: bytes) -> None:
        if self.transport is not None and not self.ended:
            self.transport.write(bytes([START, len(body)]) + body)

    def _watch(self) -> None:
        """Look at the time-outs, several times in the shortest of them."""
        p, now = self.parameters, self.clock()
        since = min([sent for sent, _ in list(self.under_way)[:1]] + [times[0] for times in self._asked.values()], default=now)
        if now - since > p.t1_s:
            self.end(f"no acknowledgement within {p.t1_s:g} s")
            return
        if self._told != self._receive and now - self._first_untold > p.t2_s / 2:
            self._acknowledge()
        if now - self._heard > p.t3_s and TESTFR_CON not in self._asked:
            self.ask(TESTFR, TESTFR_CON)
        beat = min(p.t1_s, p.t2_s, p.t3_s) / 4
        self._timer = asyncio.get_running_loop().call_later(beat, self._watch)
