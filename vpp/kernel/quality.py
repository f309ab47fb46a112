"""Quality of a measured value, one byte: two bits of validity and flags.

The validity follows IEC 61850-7-3 (good, questionable, invalid), the flags IEC 60870-5-101/104
(SB substituted, BL blocked, NT not topical = stale, OV overflow); comm-lost is DNP3's COMM_LOST.
Bad quality is data, never an exception.
"""

from __future__ import annotations

from typing import Final

GOOD: Final = 0
QUESTIONABLE: Final = 1
INVALID: Final = 2
VALIDITY_MASK: Final = 3
SUBSTITUTED: Final = 4
BLOCKED: Final = 8
STALE: Final = 16
COMM_LOST: Final = 32
OVERFLOW: Final = 64

_FLAGS: Final = {SUBSTITUTED: "substituted", BLOCKED: "blocked", STALE: "stale", COMM_LOST: "comm-lost", OVERFLOW: "overflow"}


def usable(quality: int) -> bool:
    """Whether a value of this quality may enter a decision: not invalid and not blocked."""
    return (quality & VALIDITY_MASK) < INVALID and not quality & BLOCKED


def describe(quality: int) -> str:
    """Name a quality byte, for example ``invalid + stale + comm-lost``."""
    validity = ("good", "questionable", "invalid", "reserved")[quality & VALIDITY_MASK]
    return " + ".join([validity, *(name for bit, name in _FLAGS.items() if quality & bit)])
