"""Quality, command results and times of IEC 61850, and ours (docs/protocol-quality.md)."""

from __future__ import annotations

import datetime as dt
from typing import Final

import numpy as np
from open61850.data import BitStringData, IECData, TimestampData

from vpp.kernel import quality as q
from vpp.kernel.signals import ByteArray, IntArray
from vpp.wire.iec61850.address import parse
from vpp.wire.link import Status
from vpp.wire.points import PointTable

# Bits of the 13 of Quality, IEC 61850-7-3, 6.2; the first on the wire is the highest here.
VALIDITY_SHIFT: Final = 11
OVERFLOW, OUT_OF_RANGE, BAD_REFERENCE, OSCILLATORY = 1 << 10, 1 << 9, 1 << 8, 1 << 7
FAILURE, OLD_DATA, INCONSISTENT, INACCURATE = 1 << 6, 1 << 5, 1 << 4, 1 << 3
SOURCE_SUBSTITUTED, TEST, OPERATOR_BLOCKED = 1 << 2, 1 << 1, 1
_VALIDITY: Final = (q.GOOD, q.INVALID, q.INVALID, q.QUESTIONABLE)  # good, invalid, reserved, questionable
_INVALID, _QUESTIONABLE = 1 << VALIDITY_SHIFT, 3 << VALIDITY_SHIFT


def _of(bits: int) -> int:
    quality = q.INVALID if bits & (TEST | FAILURE) else _VALIDITY[bits >> VALIDITY_SHIFT]
    quality |= (q.OVERFLOW if bits & OVERFLOW else 0) | (q.STALE if bits & OLD_DATA else 0)
    return quality | (q.SUBSTITUTED if bits & SOURCE_SUBSTITUTED else 0) | (q.BLOCKED if bits & OPERATOR_BLOCKED else 0)


def _to(quality: int) -> int:
    validity = quality & q.VALIDITY_MASK
    doubt = validity == q.QUESTIONABLE or quality & (q.STALE | q.COMM_LOST | q.OVERFLOW)  # a detail is never beside "good"
    bits = _INVALID if validity >= q.INVALID else _QUESTIONABLE if doubt else 0
    bits |= (OVERFLOW if quality & q.OVERFLOW else 0) | (OLD_DATA if quality & (q.STALE | q.COMM_LOST) else 0)
    return bits | (SOURCE_SUBSTITUTED if quality & q.SUBSTITUTED else 0) | (OPERATOR_BLOCKED if quality & q.BLOCKED else 0)


FROM_BITS: Final[ByteArray] = np.array([_of(bits) for bits in range(1 << 13)], np.uint8)
TO_BITS: Final = tuple(_to(quality) for quality in range(256))
_TO_BITS: Final = np.array(TO_BITS, np.int64)
TO_DATA: Final = tuple(BitStringData((bits << 3).to_bytes(2, "big"), 3) for bits in TO_BITS)


def quality_of(data: IECData | None) -> int:
    """Our quality of a ``q``; invalid where it is none, good where there is none at all."""
    if data is None:
        return q.GOOD
    if not isinstance(data, BitStringData) or len(data.value) != 2:
        return q.INVALID
    return int(FROM_BITS[int.from_bytes(data.value, "big") >> 3])


def carried(table: PointTable, rows: IntArray, quality: ByteArray) -> ByteArray:
    """What a client makes of the ``q`` that a server sends for these qualities; a setting has none."""
    told = np.array([parse(table.points[row]).fc in ("MX", "ST") for row in rows], np.bool_)
    return np.where(told, FROM_BITS[_TO_BITS[quality]], q.GOOD).astype(np.uint8)


# TimeQuality, IEC 61850-8-1: clock failure, clock not synchronised, accuracy unspecified.
CLOCK_FAILURE, NOT_SYNCHRONISED, UNSPECIFIED = 0x40, 0x20, 0x1F
EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
NO_TIME: Final = TimestampData(EPOCH, CLOCK_FAILURE | NOT_SYNCHRONISED | UNSPECIFIED)


def time_to(time_ns: int) -> TimestampData:
    """A time as UtcTime, in microseconds; what has no time is marked so."""
    if time_ns <= 0:
        return NO_TIME
    return TimestampData(EPOCH + dt.timedelta(microseconds=time_ns // 1000), UNSPECIFIED)


def time_of(data: IECData | None) -> int:
    """Nanoseconds since 1970 of a ``t``; 0 where there is none, or its clock failed."""
    if not isinstance(data, TimestampData) or data.quality & CLOCK_FAILURE:
        return 0
    return max(0, (data.value - EPOCH) // dt.timedelta(microseconds=1) * 1000)


# AddCause, IEC 61850-7-2, 20 (edition 2).
UNKNOWN, SELECT_FAILED, BLOCKED_BY_MODE, NO_CAUSE = 0, 3, 8, 25
ADD_CAUSES: Final = {
    0: Status.REJECTED,  # unknown
    1: Status.NOT_SUPPORTED,
    2: Status.REJECTED,  # blocked by switching hierarchy (local, remote)
    3: Status.NOT_SELECTED,  # select failed
    4: Status.REJECTED,  # invalid position
    5: Status.REJECTED,  # position reached
    6: Status.BUSY,  # parameter change in execution
    7: Status.OUT_OF_RANGE,  # step limit
    8: Status.REJECTED,  # blocked by mode
    9: Status.REJECTED,  # blocked by process
    10: Status.REJECTED,  # blocked by interlocking
    11: Status.REJECTED,  # blocked by synchrocheck
    12: Status.BUSY,  # command already in execution
    13: Status.DEVICE_FAILED,  # blocked by health
    14: Status.BUSY,  # 1 of n control
    15: Status.REJECTED,  # abortion by cancel
    16: Status.DEVICE_FAILED,  # time limit over
    17: Status.DEVICE_FAILED,  # abortion by trip
    18: Status.NOT_SELECTED,
    19: Status.BUSY,  # object already selected
    20: Status.REJECTED,  # no access authority
    21: Status.DEVICE_FAILED,  # ended with overshoot
    22: Status.DEVICE_FAILED,  # abortion due to deviation
    23: Status.DEVICE_FAILED,  # abortion by communication loss
    24: Status.REJECTED,  # blocked by command
    25: Status.REJECTED,  # none
    26: Status.REJECTED,  # inconsistent parameters
    27: Status.BUSY,  # locked by other client
}
CAUSES: Final = {
    Status.REJECTED: 9,
    Status.OUT_OF_RANGE: UNKNOWN,  # no cause says it: the access error does
    Status.UNKNOWN_POINT: 1,
    Status.NOT_WRITABLE: 1,
    Status.NOT_SELECTED: 18,
    Status.BUSY: 12,
    Status.NOT_SUPPORTED: 1,
    Status.DEVICE_FAILED: 13,
}

# DataAccessError, ISO 9506-2; as a result code it stands above every AddCause.
ACCESS_BASE: Final = 256
DENIED, NON_EXISTENT, INVALID_VALUE, INCONSISTENT_TYPE = 3, 10, 11, 7
ACCESS_ERRORS: Final = {
    0: Status.UNKNOWN_POINT,  # object invalidated
    1: Status.DEVICE_FAILED,  # hardware fault
    2: Status.BUSY,  # temporarily unavailable
    3: Status.REJECTED,  # object access denied
    4: Status.UNKNOWN_POINT,  # object undefined
    5: Status.UNKNOWN_POINT,  # invalid address
    6: Status.NOT_SUPPORTED,  # type unsupported
    7: Status.NOT_SUPPORTED,  # type inconsistent
    8: Status.REJECTED,  # object attribute inconsistent
    9: Status.NOT_SUPPORTED,  # object access unsupported
    10: Status.UNKNOWN_POINT,
    11: Status.OUT_OF_RANGE,  # object value invalid
}
ACCESS_CODES: Final = {
    Status.REJECTED: DENIED,
    Status.OUT_OF_RANGE: INVALID_VALUE,
    Status.UNKNOWN_POINT: NON_EXISTENT,
    Status.NOT_WRITABLE: DENIED,
    Status.NOT_SELECTED: DENIED,
    Status.BUSY: 2,
    Status.NOT_SUPPORTED: 9,
    Status.DEVICE_FAILED: 1,
}
