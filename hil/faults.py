"""What goes wrong between a device and its master, for the emulator: on the wire, in the device, with its power.

drop         an answer does not come
delay        answers come late
duplicate    an answer comes twice
reorder      an answer comes after the next one
endian       the bytes of every register are swapped
exception    every request is answered by an exception
freeze       the device answers, and its values stand still
reboot       the device is gone, comes back, and has forgotten what it was told
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from hil.pace import Pace
from vpp.kernel.errors import Finding
from vpp.wire.modbus.server import HEADER, ModbusServer
from vpp.wire.supervisor import Chance

KINDS: Final = ("drop", "delay", "duplicate", "reorder", "endian", "exception", "freeze", "reboot")
DEVICE_FAILURE: Final = 4
_READS: Final = (3, 4)
_HELD_S: Final = 0.2  # an answer that waits for the next one leaves after this at the latest


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: one of `KINDS`.
        begin_s, end_s: when, since the emulator began.
        share: part of the answers that it hits (drop, duplicate, reorder).
        delay_s: of "delay".
        code: of "exception".
    """

    kind: str
    begin_s: float
    end_s: float
    share: float = 1.0
    delay_s: float = 1.0
    code: int = DEVICE_FAILURE

    def problems(self) -> list[Finding]:
        """What is wrong with it."""
        out = []
        if self.kind not in KINDS:
            out.append(Finding(f"must be one of {', '.join(KINDS)}", path="kind", value=self.kind))
        if not 0 <= self.begin_s < self.end_s:
            out.append(Finding("ends before it begins", path="end_s", value=f"{self.end_s:g}"))
        if not 0 < self.share <= 1 or self.delay_s < 0 or not 1 <= self.code <= 255:
            out.append(Finding("share is in 0 … 1, delay_s not negative, code 1 … 255", path="share"))
        return out


@dataclass
class Meddling:
    """Meddles with the answers of one Modbus server; set its `answers` as the server's ``meddler``.

    Attributes:
        faults: those on the wire.
        pace: the clock of their times.
        random: draws which answers are hit; seeded by the caller.
        hit: fault's kind -> answers hit.
    """

    faults: Sequence[Fault]
    pace: Pace
    random: Chance
    hit: dict[str, int] = field(default_factory=dict)
    _begin_ns: int = field(init=False)
    _held: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Time runs from now."""
        self._begin_ns = self.pace()

    def active(self, kind: str) -> Fault | None:
        """The fault of a kind that is on now."""
        now_s = (self.pace() - self._begin_ns) / 1e9
        return next((f for f in self.faults if f.kind == kind and f.begin_s <= now_s < f.end_s), None)

    def answers(self, answer: bytes) -> Sequence[tuple[float, bytes]]:
        """What leaves in the place of an answer: pieces, each after a delay in seconds."""
        if fault := self._hits("exception"):
            answer = _exception(answer, fault.code)
        if self._hits("endian"):
            answer = _swapped(answer)
        if self._hits("drop"):
            return ()
        late = self._hits("delay")
        delay_s = late.delay_s if late else 0.0
        if self._hits("duplicate"):
            return (delay_s, answer), (delay_s, answer)
        if not self._held and self._hits("reorder"):
            self._held.append(answer)
            return ((delay_s + _HELD_S, answer),)
        self._held.clear()
        return ((delay_s, answer),)

    def _hits(self, kind: str) -> Fault | None:
        fault = self.active(kind)
        if fault is None or (fault.share < 1.0 and self.random.random() >= fault.share):
            return None
        self.hit[kind] = self.hit.get(kind, 0) + 1
        return fault


def _exception(answer: bytes, code: int) -> bytes:
    transaction, protocol, _, unit = HEADER.unpack_from(answer)
    return HEADER.pack(transaction, protocol, 3, unit) + bytes([answer[HEADER.size] | 0x80, code])


def _swapped(answer: bytes) -> bytes:
    """The registers of a reading's answer with the low byte first; anything else as it is."""
    head = HEADER.size + 2
    if answer[HEADER.size] not in _READS:
        return answer
    body = np.frombuffer(answer[head:], "<u2").astype(">u2").tobytes()
    return answer[:head] + body


async def reboot(server: ModbusServer, pace: Pace, away_s: float) -> None:
    """Take a server away for a time; it comes back at the address that it had."""
    server.bind = server.address
    await server.stop()
    await pace.until(pace() + round(away_s * 1e9))
    await server.start()
