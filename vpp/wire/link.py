"""The link port: what a client towards a device, and a server in front of one, must be able to do.

Everything is asyncio. Samples and commands are arrays over the rows of a :class:`vpp.wire.points.PointTable`;
values are in the signals' own units and sign, never raw. Bad data is quality, never an exception; only a link that
is not there raises `LinkError`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Final, Protocol, Self

import numpy as np

from vpp.kernel import quality as q
from vpp.kernel.signals import ByteArray, FloatArray, IntArray
from vpp.wire.points import PointTable

TIMEOUT_S: Final = 2.0


class LinkState(IntEnum):
    """Where a link stands. STALE: connected, but nothing was heard for too long."""

    DOWN = 0
    CONNECTING = 1
    UP = 2
    STALE = 3


class Mode(Enum):
    """How a command is given: at once, or selected before it is operated."""

    DIRECT = "direct"
    SELECT = "select"


class Status(IntEnum):
    """What became of one point of a command."""

    ACCEPTED = 0
    REJECTED = 1  # the device refuses (local control, interlock, authority)
    OUT_OF_RANGE = 2
    UNKNOWN_POINT = 3
    NOT_WRITABLE = 4
    NOT_SELECTED = 5
    BUSY = 6
    NOT_SUPPORTED = 7
    DEVICE_FAILED = 8
    TIMEOUT = 9  # sent, but no answer: it may have acted
    NOT_SENT = 10  # the link was down, or the supervisor held it back


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of some points of a table.

    Attributes:
        point: (m,) rows of the table.
        value: (m,) in the signals' units, NaN = not known.
        quality: (m,) byte of `vpp.kernel.quality`.
        time_ns: (m,) source time, 0 where the protocol or the device gives none.
        received_ns: (m,) when it arrived here; 0 on the way out.
    """

    point: IntArray
    value: FloatArray
    quality: ByteArray
    time_ns: IntArray
    received_ns: IntArray

    @classmethod
    def of(
        cls, point: IntArray, value: FloatArray, quality: ByteArray | int = 0, time_ns: IntArray | int = 0, now_ns: int = 0
    ) -> Self:
        """Fill the columns; a plain number stands for all points."""
        m = len(point)
        return cls(
            np.asarray(point, np.int64),
            np.asarray(value, np.float64),
            np.broadcast_to(np.asarray(quality, np.uint8), m).copy(),
            np.broadcast_to(np.asarray(time_ns, np.int64), m).copy(),
            np.full(m, now_ns, np.int64),
        )

    @classmethod
    def lost(cls, point: IntArray, now_ns: int) -> Self:
        """Points of which nothing is known: NaN, invalid and comm-lost."""
        return cls.of(point, np.full(len(point), np.nan), q.INVALID | q.COMM_LOST, 0, now_ns)

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.point)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command, point by point.

    Attributes:
        point: (m,) rows of the table.
        status: (m,) a `Status` each.
        code: (m,) the protocol's own code (Modbus exception, DNP3 CommandStatus, 104 cause, 61850 AddCause); -1: none.
        reason: what the device or the stack said, "" where nothing.
        sent_ns, answered_ns: when it left and when the last answer came (0: none came).
    """

    point: IntArray
    status: ByteArray
    code: IntArray
    reason: str = ""
    sent_ns: int = 0
    answered_ns: int = 0

    @classmethod
    def all(
        cls, point: IntArray, status: Status, code: int = -1, reason: str = "", sent_ns: int = 0, answered_ns: int = 0
    ) -> Self:
        """Every point shares one fate."""
        m = len(point)
        return cls(
            np.asarray(point, np.int64), np.full(m, status, np.uint8), np.full(m, code, np.int64), reason, sent_ns, answered_ns
        )

    @property
    def accepted(self) -> bool:
        """Whether every point was accepted."""
        return bool(np.all(self.status == Status.ACCEPTED))


@dataclass(frozen=True, slots=True)
class Command:
    """A command as it arrived at a server: all its points stand or fall together.

    Attributes:
        point: (m,) rows of the server's table.
        value: (m,) in the signals' units.
        mode: direct, or operate after a select. A select alone reaches the handler with ``select_only``.
        peer: who sent it, as the protocol names it.
        received_ns: when it arrived.
    """

    point: IntArray
    value: FloatArray
    mode: Mode = Mode.DIRECT
    select_only: bool = False
    peer: str = ""
    received_ns: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A handler's answer to a command."""

    status: Status = Status.ACCEPTED
    reason: str = ""


ACCEPT: Final = Answer()
Handler = Callable[[Command], Answer]  # never blocks; called on the server's event loop
Watcher = Callable[[LinkState, str], None]  # the state that a link enters, and why


class Link(Protocol):
    """A client towards one device or station."""

    @property
    def name(self) -> str:
        """The link's name in logs and findings."""
        ...

    @property
    def table(self) -> PointTable:
        """The points that it can address."""
        ...

    @property
    def state(self) -> LinkState:
        """Where it stands."""
        ...

    def watch(self, watcher: Watcher) -> None:
        """Have every change of state told, on the event loop."""
        ...

    async def connect(self, timeout_s: float = TIMEOUT_S) -> None:
        """Connect once. Raises `LinkError`; trying again is the supervisor's part."""
        ...

    async def close(self) -> None:
        """Disconnect; harmless when it is not connected."""
        ...

    async def read(self, points: IntArray | None = None) -> Batch:
        """Read points (None: all that can be read), in the order asked for, one sample for each.

        A point that the device does not know or did not deliver is NaN, invalid (and comm-lost where no answer came at all
        for it). Raises `LinkError` where the link is down or breaks.
        """
        ...

    def subscribe(self, points: IntArray | None = None, period_s: float = 1.0) -> AsyncIterator[Batch]:
        """Follow points: first all of them, then what changed. ``period_s`` is the polling period where the protocol polls.

        Raises `LinkError` from the iterator when the link breaks.
        """
        ...

    async def write(
        self, points: IntArray, values: FloatArray, *, mode: Mode = Mode.DIRECT, timeout_s: float = TIMEOUT_S
    ) -> Outcome:
        """Write values. Never raises for a refusal or a lost answer: every point has its status."""
        ...

    async def sync_time(self, now_ns: int) -> bool:
        """Set the device's clock; False where the protocol or the device has none."""
        ...

    async def heartbeat(self, timeout_s: float = TIMEOUT_S) -> float:
        """Ask for a sign of life; gives the round trip in seconds. Raises `LinkError` where none comes."""
        ...


class Served(Protocol):
    """A server in front of one or more devices."""

    @property
    def table(self) -> PointTable:
        """The points that it serves."""
        ...

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens at (the true port, where 0 was asked for)."""
        ...

    async def start(self) -> None:
        """Listen. Raises `LinkError` where the address cannot be had."""
        ...

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        ...

    def publish(self, batch: Batch) -> None:
        """Put values, quality and source time into the image, and report them where the protocol reports by itself."""
        ...

    def on_command(self, handler: Handler) -> None:
        """Set who decides on commands; without a handler every command is refused.

        An accepted value stands in the image until something else is published.
        """
        ...


@dataclass(slots=True)
class StateBoard:
    """The state of a link and those who watch it; every client has one."""

    state: LinkState = LinkState.DOWN
    watchers: list[Watcher] = field(default_factory=list)

    def enter(self, state: LinkState, reason: str = "") -> None:
        """Change the state and tell the watchers; nothing happens where it is the same."""
        if state != self.state:
            self.state = state
            for watcher in self.watchers:
                watcher(state, reason)


class Watched:
    """The part of every client that tells its state, from the board on which the client notes it."""

    _board: StateBoard

    @property
    def state(self) -> LinkState:
        """Where it stands."""
        return self._board.state

    def watch(self, watcher: Watcher) -> None:
        """Have every change of state told."""
        self._board.watchers.append(watcher)
