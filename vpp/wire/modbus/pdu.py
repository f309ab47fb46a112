"""Protocol data units: what a request asks, executed on a unit, and its answer.

MODBUS Application Protocol Specification V1.1b3, section 6 (functions) and 7 (exceptions).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint16]  # registers, or bits as 0 and 1

MAX_READ_BITS: Final = 2000
MAX_READ_WORDS: Final = 125
MAX_WRITE_BITS: Final = 1968
MAX_WRITE_WORDS: Final = 123
MAX_READ_WRITE_WORDS: Final = 121


class Space(IntEnum):
    """The four address spaces."""

    COIL = 0
    DISCRETE = 1
    INPUT = 2
    HOLDING = 3

    @property
    def bits(self) -> bool:
        """Whether it holds single bits."""
        return self <= Space.DISCRETE


class Code(IntEnum):
    """Exception codes."""

    ILLEGAL_FUNCTION = 1
    ILLEGAL_ADDRESS = 2
    ILLEGAL_VALUE = 3
    DEVICE_FAILURE = 4
    ACKNOWLEDGE = 5
    BUSY = 6
    GATEWAY_PATH = 10
    GATEWAY_TARGET = 11


_NAMES: Final = {int(code): code.name.lower().replace("_", " ") for code in Code}


class ModbusError(Exception):
    """A request that is answered by an exception."""

    def __init__(self, code: int) -> None:
        """Keep the exception code."""
        self.code = code
        name = _NAMES.get(code, "unknown")
        super().__init__(f"Modbus exception {code} ({name})")


class Unit(Protocol):
    """One device behind a unit identifier."""

    def read(self, space: Space, start: int, count: int) -> Words:
        """Give registers (or bits as 0 and 1). Raises `ModbusError`."""
        ...

    def write(self, space: Space, start: int, values: Words, peer: str) -> None:
        """Take registers or bits, all or none. Raises `ModbusError`."""
        ...


def execute(unit: Unit, pdu: bytes, peer: str = "") -> bytes:
    """Execute a request and give the answer; every malformed request has an exception for an answer."""
    function = pdu[0] if pdu else 0
    do = _FUNCTIONS.get(function)
    try:
        if do is None:
            raise ModbusError(Code.ILLEGAL_FUNCTION)
        try:
            return bytes([function]) + do(unit, pdu[1:], peer)
        except struct.error:  # shorter or longer than its function says
            raise ModbusError(Code.ILLEGAL_VALUE) from None
    except ModbusError as error:
        return bytes([(function | 0x80) & 0xFF, error.code])


def exception(pdu: bytes, code: int) -> bytes:
    """The answer to a request that no unit takes."""
    return bytes([(pdu[0] | 0x80) & 0xFF if pdu else 0x80, code])


def pack_bits(bits: Words) -> bytes:
    """Bits as the wire has them: the first in the lowest place of the first byte."""
    return np.packbits(bits.astype(np.uint8), bitorder="little").tobytes()


def unpack_bits(data: bytes, count: int) -> Words:
    """Bits from the wire as 0 and 1."""
    return np.unpackbits(np.frombuffer(data, np.uint8), count=count, bitorder="little").astype(np.uint16)


def _words(data: bytes) -> Words:
    return np.frombuffer(data, ">u2").astype(np.uint16)


def _span(start: int, count: int, most: int) -> None:
    if not 1 <= count <= most:
        raise ModbusError(Code.ILLEGAL_VALUE)
    if start + count > 0x10000:
        raise ModbusError(Code.ILLEGAL_ADDRESS)


def _sized(head: int, data: bytes) -> None:
    if head != len(data):
        raise ModbusError(Code.ILLEGAL_VALUE)


def _read(space: Space) -> Callable[[Unit, bytes, str], bytes]:
    def do(unit: Unit, data: bytes, peer: str) -> bytes:
        start, count = struct.unpack(">HH", data)
        _span(start, count, MAX_READ_BITS if space.bits else MAX_READ_WORDS)
        values = unit.read(space, start, count)
        body = pack_bits(values) if space.bits else values.astype(">u2").tobytes()
        return bytes([len(body)]) + body

    return do


def _write_coil(unit: Unit, data: bytes, peer: str) -> bytes:
    start, value = struct.unpack(">HH", data)
    if value not in (0x0000, 0xFF00):
        raise ModbusError(Code.ILLEGAL_VALUE)
    unit.write(Space.COIL, start, np.array([value != 0], np.uint16), peer)
    return data


def _write_register(unit: Unit, data: bytes, peer: str) -> bytes:
    start, value = struct.unpack(">HH", data)
    unit.write(Space.HOLDING, start, np.array([value], np.uint16), peer)
    return data


def _write_coils(unit: Unit, data: bytes, peer: str) -> bytes:
    start, count, size = struct.unpack(">HHB", data[:5])
    _span(start, count, MAX_WRITE_BITS)
    _sized(size, data[5:])
    _sized((count + 7) // 8, data[5:])
    unit.write(Space.COIL, start, unpack_bits(data[5:], count), peer)
    return data[:4]


def _write_registers(unit: Unit, data: bytes, peer: str) -> bytes:
    start, count, size = struct.unpack(">HHB", data[:5])
    _span(start, count, MAX_WRITE_WORDS)
    _sized(size, data[5:])
    _sized(2 * count, data[5:])
    unit.write(Space.HOLDING, start, _words(data[5:]), peer)
    return data[:4]


def _mask_register(unit: Unit, data: bytes, peer: str) -> bytes:
    start, keep, put = struct.unpack(">HHH", data)
    old = int(unit.read(Space.HOLDING, start, 1)[0])
    unit.write(Space.HOLDING, start, np.array([(old & keep) | (put & ~keep & 0xFFFF)], np.uint16), peer)
    return data


def _read_write_registers(unit: Unit, data: bytes, peer: str) -> bytes:
    read_start, read_count, start, count, size = struct.unpack(">HHHHB", data[:9])
    _span(read_start, read_count, MAX_READ_WORDS)
    _span(start, count, MAX_READ_WRITE_WORDS)
    _sized(size, data[9:])
    _sized(2 * count, data[9:])
    unit.read(Space.HOLDING, read_start, read_count)  # nothing is written where the reading would fail
    unit.write(Space.HOLDING, start, _words(data[9:]), peer)
    body = unit.read(Space.HOLDING, read_start, read_count).astype(">u2").tobytes()
    return bytes([len(body)]) + body


_FUNCTIONS: Final[Mapping[int, Callable[[Unit, bytes, str], bytes]]] = {
    1: _read(Space.COIL),
    2: _read(Space.DISCRETE),
    3: _read(Space.HOLDING),
    4: _read(Space.INPUT),
    5: _write_coil,
    6: _write_register,
    15: _write_coils,
    16: _write_registers,
    22: _mask_register,
    23: _read_write_registers,
}
READS: Final[Mapping[Space, int]] = {Space.COIL: 1, Space.DISCRETE: 2, Space.HOLDING: 3, Space.INPUT: 4}


def ask_read(space: Space, start: int, count: int) -> bytes:
    """The request for a reading."""
    return struct.pack(">BHH", READS[space], start, count)


def ask_write(space: Space, start: int, values: Words) -> bytes:
    """The request for a writing: one coil by function 5, several by 15, registers always by 16 (SunSpec asks for no other)."""
    count = len(values)
    if space == Space.HOLDING:
        return struct.pack(">BHHB", 16, start, count, 2 * count) + values.astype(">u2").tobytes()
    if space != Space.COIL:
        raise ValueError(f"{space.name.lower()} cannot be written")
    if count == 1:
        return struct.pack(">BHH", 5, start, 0xFF00 if values[0] else 0)
    body = pack_bits(values)
    return struct.pack(">BHHB", 15, start, count, len(body)) + body


def told(request: bytes, answer: bytes) -> bytes:
    """The body of an answer. Raises `ModbusError` for an exception, ValueError for what is no answer to the request."""
    if len(answer) == 2 and answer[0] == request[0] | 0x80:
        raise ModbusError(answer[1])
    if len(answer) < 2 or answer[0] != request[0]:
        raise ValueError("not an answer to the request")
    return answer[1:]


def told_values(space: Space, count: int, body: bytes) -> Words:
    """The values in the body of a reading's answer. Raises ValueError where there are not so many."""
    size = (count + 7) // 8 if space.bits else 2 * count
    if len(body) != size + 1 or body[0] != size:
        raise ValueError(f"{len(body) - 1} bytes where {size} were asked for")
    return unpack_bits(body[1:], count) if space.bits else _words(body[1:])
