"""ASDUs of IEC 60870-5-101/104: type, cause, station and information objects, as bytes and back.

Two octets of cause, two of common address, three of object address (IEC 60870-5-104, 7).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from vpp.wire.iec104.time import SIZE as TIME_SIZE
from vpp.wire.iec104.time import decode_time, encode_time

LONGEST: Final = 249  # octets of an ASDU in one frame
HEAD: Final = struct.Struct("<BBBBH")


class Cause(IntEnum):
    """Causes of transmission (IEC 60870-5-101, 7.2.3)."""

    PERIODIC = 1
    BACKGROUND = 2
    SPONTANEOUS = 3
    INITIALISED = 4
    REQUEST = 5
    ACTIVATION = 6
    ACTIVATION_CON = 7
    DEACTIVATION = 8
    DEACTIVATION_CON = 9
    TERMINATION = 10
    RETURN_REMOTE = 11
    RETURN_LOCAL = 12
    INTERROGATED = 20
    COUNTERS = 37
    UNKNOWN_TYPE = 44
    UNKNOWN_CAUSE = 45
    UNKNOWN_STATION = 46
    UNKNOWN_OBJECT = 47


INTERROGATION, COUNTER_INTERROGATION, READ, CLOCK, END_OF_INIT = 100, 101, 102, 103, 70
BROADCAST: Final = 0xFFFF
STATION: Final = 20  # qualifier of interrogation: the whole station
ALL_COUNTERS: Final = 5
SELECT: Final = 0x80


@dataclass(frozen=True, slots=True)
class Element:
    """How one information element lies in its octets.

    Attributes:
        size: octets without a time.
        unpack: octets -> (raw value, octet of quality or qualifier).
        pack: the way back.
        timed: a CP56Time2a follows.
    """

    size: int
    unpack: Callable[[bytes], tuple[float, int]]
    pack: Callable[[float, int], bytes]
    timed: bool = False


def _bits(mask: int) -> Element:
    return Element(1, lambda o: (float(o[0] & mask), o[0] & ~mask & 0xFF), lambda raw, octet: bytes([int(raw) & mask | octet]))


def _struct(form: str, whole: bool) -> Element:
    layout = struct.Struct(form)

    def unpack(octets: bytes) -> tuple[float, int]:
        value, octet = layout.unpack(octets)
        return float(value), octet

    def pack(raw: float, octet: int) -> bytes:
        return layout.pack(int(raw) if whole else raw, octet)

    return Element(layout.size, unpack, pack)


def _timed(element: Element) -> Element:
    return Element(element.size, element.unpack, element.pack, True)


_SP, _DP, _INT, _REAL, _TOTAL = _bits(1), _bits(3), _struct("<hB", True), _struct("<fB", False), _struct("<iB", True)
_OCTET: Final = Element(1, lambda o: (0.0, o[0]), lambda raw, octet: bytes([octet]))
_NOTHING: Final = Element(0, lambda o: (0.0, 0), lambda raw, octet: b"")
# Type identification -> element. Monitoring with and without a time, commands likewise, then system commands.
ELEMENTS: Final = {
    1: _SP, 3: _DP, 9: _INT, 11: _INT, 13: _REAL, 15: _TOTAL,
    30: _timed(_SP), 31: _timed(_DP), 34: _timed(_INT), 35: _timed(_INT), 36: _timed(_REAL), 37: _timed(_TOTAL),
    45: _SP, 46: _DP, 48: _INT, 49: _INT, 50: _REAL,
    58: _timed(_SP), 59: _timed(_DP), 61: _timed(_INT), 62: _timed(_INT), 63: _timed(_REAL),
    END_OF_INIT: _OCTET, INTERROGATION: _OCTET, COUNTER_INTERROGATION: _OCTET, READ: _NOTHING, CLOCK: _timed(_NOTHING),
}  # fmt: skip


class Kind(IntEnum):
    """Kinds of objects, by the type identification of their plain monitoring type."""

    SINGLE = 1
    DOUBLE = 3
    NORMALISED = 9
    SCALED = 11
    FLOAT = 13
    TOTAL = 15

    @property
    def timed(self) -> int:
        """The monitoring type with CP56Time2a."""
        return {1: 30, 3: 31, 9: 34, 11: 35, 13: 36, 15: 37}[self]

    @property
    def command(self) -> int:
        """The command's type; 0: there is none."""
        return {1: 45, 3: 46, 9: 48, 11: 49, 13: 50, 15: 0}[self]


TIMED_COMMANDS: Final = {45: 58, 46: 59, 48: 61, 49: 62, 50: 63}
MONITORED: Final = {kind: kind for kind in Kind} | {kind.timed: kind for kind in Kind}
COMMANDED: Final = {kind.command: kind for kind in Kind if kind.command} | {
    TIMED_COMMANDS[kind.command]: kind for kind in Kind if kind.command
}


@dataclass(frozen=True, slots=True)
class Object:
    """One information object: address, raw value, octet of quality or qualifier, time (ns since 1970, 0: none)."""

    address: int
    raw: float = 0.0
    octet: int = 0
    time_ns: int = 0


@dataclass(frozen=True, slots=True)
class Asdu:
    """One ASDU.

    Attributes:
        type: identification.
        cause: of transmission, without its two flags.
        station: common address.
        objects: information objects, in their order.
        negative: the P/N flag.
        test: the T flag.
        originator: address of who asked.
    """

    type: int
    cause: int
    station: int
    objects: Sequence[Object] = field(default=())
    negative: bool = False
    test: bool = False
    originator: int = 0


class UnknownTypeError(ValueError):
    """An ASDU of a type that is not in the table; what can be told of it stands in ``asdu``, without objects."""

    def __init__(self, asdu: Asdu) -> None:
        super().__init__(f"type {asdu.type} is not known")
        self.asdu = asdu


def decode(octets: bytes) -> Asdu:
    """An ASDU from its octets. Raises ValueError where they do not make one."""
    if len(octets) < HEAD.size:
        raise ValueError("an ASDU of less than its head")
    type_, structure, cause, originator, station = HEAD.unpack_from(octets)
    count, sequence = structure & 0x7F, structure >> 7
    head = Asdu(type_, cause & 0x3F, station, (), bool(cause & 0x40), bool(cause & 0x80), originator)
    element = ELEMENTS.get(type_)
    if element is None:
        raise UnknownTypeError(head)
    size = element.size + (TIME_SIZE if element.timed else 0)
    expected = HEAD.size + (3 + count * size if sequence else count * (3 + size))
    if count == 0 or len(octets) != expected:
        raise ValueError(f"{len(octets)} octets where {count} objects of type {type_} take {expected}")
    objects = []
    at, address = HEAD.size, 0
    for n in range(count):
        if n == 0 or not sequence:
            address = int.from_bytes(octets[at : at + 3], "little")
            at += 3
        raw, octet = element.unpack(octets[at : at + element.size])
        time_ns = decode_time(octets[at + element.size : at + size]) if element.timed else 0
        objects.append(Object(address + n if sequence else address, raw, octet, time_ns))
        at += size
    return Asdu(type_, head.cause, station, objects, head.negative, head.test, originator)


def encode(asdu: Asdu) -> bytes:
    """An ASDU as octets; its objects must fit (`room`)."""
    element = ELEMENTS[asdu.type]
    cause = asdu.cause | (0x40 if asdu.negative else 0) | (0x80 if asdu.test else 0)
    parts = [HEAD.pack(asdu.type, len(asdu.objects), cause, asdu.originator, asdu.station)]
    for o in asdu.objects:
        parts += (o.address.to_bytes(3, "little"), element.pack(o.raw, o.octet))
        if element.timed:
            parts.append(encode_time(o.time_ns))
    return b"".join(parts)


def room(type_: int) -> int:
    """How many objects of a type fit one ASDU."""
    element = ELEMENTS[type_]
    return min(127, (LONGEST - HEAD.size) // (3 + element.size + (TIME_SIZE if element.timed else 0)))
