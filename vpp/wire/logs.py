"""Logs of links: structured, and never a flood. What repeats is counted and told with the next line that is let through."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from vpp.wire.clock import WallClock, steady

LOG = logging.getLogger("vpp.wire")


@dataclass(slots=True)
class LinkLog:
    """The log of one link: for each event one line in ``every_s`` at most.

    Attributes:
        link: its name, in every record as ``record.link``.
        clock: wall clock, ns; its steady companion counts.
        every_s: shortest time between two lines of one event.
        counts: event -> how often it happened, in all.
    """

    link: str
    clock: WallClock
    every_s: float = 10.0
    counts: dict[str, int] = field(default_factory=dict)
    _told: dict[str, tuple[int, int]] = field(default_factory=dict)

    def tell(self, event: str, text: str, level: int = logging.WARNING) -> None:
        """Count an event, and log it if its last line is old enough."""
        count = self.counts[event] = self.counts.get(event, 0) + 1
        now = steady(self.clock)()
        told = self._told.get(event)
        if told is not None and now - told[0] < self.every_s * 1e9:
            return
        held = count - told[1] - 1 if told else 0
        self._told[event] = now, count
        more = f" ({held} more since the last line)" if held else ""
        extra = {"link": self.link, "event": event, "count": count}
        LOG.log(level, "%s: %s: %s%s", self.link, event, text, more, extra=extra)
