"""What a server answers: the course of an interrogation, and the fate of a command by its cause."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

from vpp.wire.iec104.asdu import Cause
from vpp.wire.link import Status

STATUSES: Final = {
    Cause.ACTIVATION_CON: Status.REJECTED,
    Cause.UNKNOWN_TYPE: Status.NOT_SUPPORTED,
    Cause.UNKNOWN_CAUSE: Status.NOT_SUPPORTED,
    Cause.UNKNOWN_STATION: Status.UNKNOWN_POINT,
    Cause.UNKNOWN_OBJECT: Status.UNKNOWN_POINT,
}


@dataclass
class Interrogation:
    """One station's answer to an interrogation, as it comes.

    Attributes:
        station: common address.
        expected: points that the table has there.
        came: points that were brought.
        refused: it said that it will not, or is not there.
    """

    station: int
    expected: int
    came: int = 0
    refused: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)
