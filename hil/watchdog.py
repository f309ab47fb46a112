"""Who may write to a device, and what happens when nobody holds the reins any more.

Three things stand between a decision and a device that is not emulated. It must be *armed*: somebody said so, with limits
of power, energy and time. The loop must be alive (*dead-man*): when its ticks stop, what was asked is taken back. And what
is written is a *lease*: if this process stops, the device falls back by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from vpp.kernel.setpoints import FOLLOW, LIMIT, Setpoints
from vpp.kernel.signals import FloatArray, IntArray

_P, _LIMIT, _MODE = Setpoints.p_mw.row, Setpoints.p_limit_mw.row, Setpoints.mode.row

NOT_ARMED: Final = "not armed: writing to a device that is not emulated needs --arm with limits"
EXPIRED: Final = "the time of the arming is over"
SPENT: Final = "the energy of the arming is used up"
REVOKED: Final = "disarmed"


@dataclass(frozen=True, slots=True)
class Arming:
    """Leave to write, with its limits.

    Attributes:
        p_max_mw: largest active power that may be asked of one device, a magnitude.
        e_max_mwh: energy that may flow through one device, in both directions together, while armed.
        until_ns: end of the leave, by the clock of the links (a `Gate`'s own: by its steady companion).
    """

    p_max_mw: float
    e_max_mwh: float
    until_ns: int


@dataclass
class Gate:
    """Stands before the writes of one link.

    Attributes:
        n: resources behind the link.
        emulated: there is a model behind it; nothing needs to be armed.
        arming: the leave; None: none.
        e_mwh: (n,) energy that has flowed since arming, a magnitude.
        revoked: why the leave was taken back; "": it was not.
    """

    n: int
    emulated: bool = False
    arming: Arming | None = None
    e_mwh: FloatArray = field(init=False)
    revoked: str = ""
    _heard_ns: int = 0

    def __post_init__(self) -> None:
        """Begin to count energy."""
        self.e_mwh = np.zeros(self.n)

    def closed(self, now_ns: int) -> str:
        """Why nothing may be written now; "" where it may."""
        if self.emulated:
            return ""
        if self.revoked:
            return self.revoked
        if self.arming is None:
            return NOT_ARMED
        if now_ns >= self.arming.until_ns:
            self.revoked = EXPIRED
        elif np.any(self.e_mwh > self.arming.e_max_mwh):
            self.revoked = SPENT
        return self.revoked

    def revoke(self, reason: str = REVOKED) -> None:
        """Take the leave back."""
        self.revoked = self.revoked or reason

    def measured(self, now_ns: int, p_mw: FloatArray) -> None:
        """Count the energy that flows: (n,) power now, NaN counts as the largest power allowed."""
        if self.arming is not None and self._heard_ns:
            hours = (now_ns - self._heard_ns) / 3.6e12
            self.e_mwh += np.where(np.isnan(p_mw), self.arming.p_max_mw, np.abs(p_mw)) * max(hours, 0.0)
        self._heard_ns = now_ns

    def narrow(self, block: FloatArray) -> FloatArray:
        """Setpoints (signals, n) inside the armed power; what goes beyond is held at it, never let through."""
        if self.emulated or self.arming is None:
            return block
        top, out = self.arming.p_max_mw, block.copy()
        out[_P] = np.clip(block[_P], -top, top)
        out[_LIMIT] = np.minimum(block[_LIMIT], top)
        # A device that leads its own power could exceed what is armed: it is limited.
        out[_MODE] = np.where((block[_MODE] != FOLLOW) & (block[_MODE] != LIMIT), LIMIT, block[_MODE])
        return out


@dataclass
class DeadMan:
    """Says whether the loop is alive; the loop must feed it every tick.

    Attributes:
        patience_ns: longest time between two feeds.
        fed_ns: the last feed, by the links' steady clock; 0: none yet.
        trips: how often it ran out.
    """

    patience_ns: int
    fed_ns: int = 0
    trips: int = 0
    _tripped: bool = False

    def feed(self, now_ns: int) -> None:
        """The loop is alive."""
        self.fed_ns, self._tripped = now_ns, False

    def tripped(self, now_ns: int) -> bool:
        """Whether the feeds have stopped. Before the first one nothing has been asked, and nothing is tripped."""
        out = self.fed_ns != 0 and now_ns - self.fed_ns > self.patience_ns
        if out and not self._tripped:
            self.trips += 1
            self._tripped = True
        return out


def safe_setpoints(p_safe_mw: FloatArray) -> FloatArray:
    """What is asked when we let go: every device leads itself again, (signals, n); its safe power where it knows no modes."""
    sheet = Setpoints.neutral(len(p_safe_mw))
    sheet.p_mw = p_safe_mw
    return sheet.block


def columns_of(ids: tuple[str, ...], wanted: tuple[str, ...]) -> IntArray:
    """Positions of resources in a fleet. Raises KeyError for one that is not there."""
    place = {name: i for i, name in enumerate(ids)}
    return np.array([place[name] for name in wanted], np.int64)
