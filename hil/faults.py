"""What goes wrong between a device and its master, for the emulator: on the wire, in the device, with its power and clock.

drop         an answer does not come
delay        answers come late, those asked for side by side all together
slow         the device takes its time for each request, one after the other
duplicate    an answer comes twice
reorder      an answer comes after the next one
endian       the bytes of every register are swapped
exception    a request is answered by an exception
freeze       the device answers, and its values stand still
reboot       the device is gone, comes back, and has forgotten what it was told
clock        the devices' clock is wrong by so much
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from hil.pace import Pace
from vpp.kernel.errors import Finding
from vpp.wire.modbus.server import HEADER, ModbusServer
from vpp.wire.supervisor import Chance

ON_THE_WIRE: Final = ("drop", "delay", "slow", "duplicate", "reorder", "endian", "exception")
KINDS: Final = (*ON_THE_WIRE, "freeze", "reboot", "clock")
DEVICE_FAILURE: Final = 4
_READS: Final = (3, 4)
_HELD_S: Final = 0.2  # an answer that waits for the next one leaves after this at the latest


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        kind: one of `KINDS`.
        begin_s, end_s: when, since the emulator began.
        share: part of the answers that it hits (those on the wire).
        delay_s: of "delay" and "slow".
        code: of "exception".
        step_s: of "clock": what the devices' clock shows too much.
        units: Modbus units that it hits; none: all.
    """

    kind: str
    begin_s: float
    end_s: float
    share: float = 1.0
    delay_s: float = 1.0
    code: int = DEVICE_FAILURE
    step_s: float = 0.0
    units: frozenset[int] = frozenset()

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
        pace: the clock of their times, ns.
        random: draws which answers are hit; seeded by the caller.
        hit: fault's kind -> answers hit.
        begin_ns: when their times begin; None: now.
    """

    faults: Sequence[Fault]
    pace: Callable[[], int]
    random: Chance
    hit: dict[str, int] = field(default_factory=dict)
    begin_ns: int | None = None
    _begin_ns: int = field(init=False)
    _held: list[bytes] = field(default_factory=list)
    _free_ns: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Time runs from now, or from when it is said."""
        self._begin_ns = self.pace() if self.begin_ns is None else self.begin_ns

    def active(self, kind: str, unit: int | None = None) -> Fault | None:
        """The fault of a kind that is on now; with a ``unit``, only one that hits it."""
        now_s = (self.pace() - self._begin_ns) / 1e9
        on = (f for f in self.faults if f.kind == kind and f.begin_s <= now_s < f.end_s)
        return next((f for f in on if unit is None or not f.units or unit in f.units), None)

    def answers(self, answer: bytes) -> Sequence[tuple[float, bytes]]:
        """What leaves in the place of an answer: pieces, each after a delay in seconds."""
        unit = int(HEADER.unpack_from(answer)[3])
        if fault := self._hits("exception", unit):
            answer = _exception(answer, fault.code)
        if self._hits("endian", unit):
            answer = _swapped(answer)
        if self._hits("drop", unit):
            return ()
        late, slow = self._hits("delay", unit), self._hits("slow", unit)
        delay_s = (late.delay_s if late else 0.0) + (self._queued(unit, slow.delay_s) if slow else 0.0)
        if self._hits("duplicate", unit):
            return (delay_s, answer), (delay_s, answer)
        if not self._held and self._hits("reorder", unit):
            self._held.append(answer)
            return ((delay_s + _HELD_S, answer),)
        self._held.clear()
        return ((delay_s, answer),)

    def _queued(self, unit: int, work_s: float) -> float:
        """How long until a device is done with a request that waits for those before it."""
        now = self.pace()
        self._free_ns[unit] = max(self._free_ns.get(unit, now), now) + round(work_s * 1e9)
        return (self._free_ns[unit] - now) / 1e9

    def _hits(self, kind: str, unit: int) -> Fault | None:
        fault = self.active(kind, unit)
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
