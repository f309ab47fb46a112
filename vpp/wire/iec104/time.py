"""CP56Time2a, seven octets (IEC 60870-5-4, 6.8): milliseconds to years, in UTC."""

from __future__ import annotations

import datetime as dt
import struct
from functools import lru_cache
from typing import Final

SIZE: Final = 7
MINUTE_NS: Final = 60_000_000_000
_EPOCH: Final = dt.datetime(1970, 1, 1)  # naive: both ends are UTC


def encode_time(time_ns: int) -> bytes:
    """Nanoseconds since 1970, UTC, as the seven octets; below a millisecond it is cut off. Years 2000 … 2099."""
    minute, rest = divmod(time_ns, MINUTE_NS)
    return struct.pack("<H", rest // 1_000_000) + _tail(minute)


@lru_cache(maxsize=64)
def _tail(minute: int) -> bytes:
    at = _EPOCH + dt.timedelta(minutes=minute)
    return bytes([at.minute, at.hour, at.day | at.isoweekday() << 5, at.month, at.year % 100])


def decode_time(octets: bytes) -> int:
    """The seven octets as nanoseconds since 1970; 0 where they are marked invalid, or are no time at all."""
    ms, minute, hour, day, month, year = struct.unpack("<HBBBBB", octets)
    if minute & 0x80:
        return 0
    try:
        at = dt.datetime(2000 + (year & 0x7F), month & 0x0F, day & 0x1F, hour & 0x1F, minute & 0x3F)
    except ValueError:
        return 0
    if ms >= 60_000 or year & 0x7F > 99:
        return 0
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + int(ms) * 1_000_000
