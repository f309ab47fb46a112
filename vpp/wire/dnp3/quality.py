"""Quality and command status of DNP3, and ours (docs/protocol-quality.md)."""

from __future__ import annotations

from typing import Final

import numpy as np

from vpp.kernel import quality as q
from vpp.kernel.signals import ByteArray, IntArray
from vpp.wire.dnp3.address import Kind, parse
from vpp.wire.link import Status
from vpp.wire.points import PointTable

# The flag octet, IEEE 1815-2012, 11.6; bits 5 and 6 depend on the kind of the point.
ONLINE: Final = 0x01
RESTART: Final = 0x02  # not updated since the restart: there is no value
COMM_LOST: Final = 0x04  # the value is the last before the loss
REMOTE_FORCED: Final = 0x08
LOCAL_FORCED: Final = 0x10
BIT_5: Final = 0x20  # analogues OVER_RANGE, binaries CHATTER_FILTER, counters ROLLOVER (which is obsolete)
BIT_6: Final = 0x40  # analogues REFERENCE_ERR, counters DISCONTINUITY


def _of(kind: Kind, flags: int) -> int:
    invalid = not flags & ONLINE or flags & RESTART
    quality = q.INVALID if invalid else q.GOOD
    quality |= q.COMM_LOST | (0 if invalid else q.QUESTIONABLE) if flags & COMM_LOST else 0
    quality |= q.SUBSTITUTED if flags & (REMOTE_FORCED | LOCAL_FORCED) else 0
    if kind in (Kind.AI, Kind.AO):
        quality |= q.OVERFLOW if flags & BIT_5 else 0
        doubt = flags & BIT_6
    else:
        doubt = flags & BIT_5 if kind in (Kind.BI, Kind.DB) else flags & BIT_6 if kind == Kind.CT else 0
    return quality | (0 if invalid else q.QUESTIONABLE) if doubt else quality


def _to(kind: Kind, quality: int) -> int:
    flags = 0 if quality & q.VALIDITY_MASK >= q.INVALID or quality & q.BLOCKED else ONLINE
    flags |= COMM_LOST if quality & (q.COMM_LOST | q.STALE) else 0
    flags |= LOCAL_FORCED if quality & q.SUBSTITUTED else 0
    doubt = quality & q.VALIDITY_MASK == q.QUESTIONABLE and not flags & COMM_LOST
    if kind in (Kind.AI, Kind.AO):
        return flags | (BIT_5 if quality & q.OVERFLOW else 0) | (BIT_6 if doubt else 0)
    if kind == Kind.BO:
        return flags  # an output has no flag that says questionable
    return flags | ((BIT_5 if kind in (Kind.BI, Kind.DB) else BIT_6) if doubt else 0)


# [kind, octet]: the flag octet as our quality, and our quality as a flag octet.
FROM_FLAGS: Final[ByteArray] = np.array([[_of(kind, flags) for flags in range(256)] for kind in Kind], np.uint8)
TO_FLAGS: Final[ByteArray] = np.array([[_to(kind, quality) for quality in range(256)] for kind in Kind], np.uint8)


def carried(table: PointTable, rows: IntArray, quality: ByteArray) -> ByteArray:
    """What a master makes of the flags that an outstation sends for these qualities."""
    kind = np.array([int(parse(table.points[row])[0]) for row in rows], np.int64)
    return FROM_FLAGS[kind, TO_FLAGS[kind, quality]]


# Command status, IEEE 1815-2012, table 11-7. NOT_SUPPORTED also answers for a point that is not there.
STATUSES: Final = {
    0: Status.ACCEPTED,
    1: Status.NOT_SELECTED,  # the operate came too late after its select
    2: Status.NOT_SELECTED,
    3: Status.DEVICE_FAILED,  # format error
    4: Status.NOT_SUPPORTED,
    5: Status.BUSY,  # already active
    6: Status.DEVICE_FAILED,
    7: Status.REJECTED,  # local
    8: Status.BUSY,  # too many operations
    9: Status.REJECTED,  # not authorised
    10: Status.REJECTED,  # automation inhibit
    11: Status.BUSY,  # processing limited
    12: Status.OUT_OF_RANGE,
    13: Status.REJECTED,  # downstream local
    14: Status.REJECTED,  # already complete
    15: Status.REJECTED,  # blocked
    16: Status.REJECTED,  # cancelled
    17: Status.BUSY,  # another master holds it
    18: Status.DEVICE_FAILED,  # downstream failed
}
CODES: Final = {
    Status.ACCEPTED: 0,
    Status.REJECTED: 15,
    Status.OUT_OF_RANGE: 12,
    Status.UNKNOWN_POINT: 4,
    Status.NOT_WRITABLE: 4,
    Status.NOT_SELECTED: 2,
    Status.BUSY: 5,
    Status.NOT_SUPPORTED: 4,
    Status.DEVICE_FAILED: 6,
}
