"""What the terminal shows of a run with devices outside: who was found, how it goes, and how it went."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from vpp.wire.link import LinkState, Status
from vpp.wire.supervisor import NEVER

if TYPE_CHECKING:
    from hil.loop import Histogram
    from hil.station import Station
    from scenarios.mixed import Live

LINKS = 20  # that are shown one by one


def found(live: Live) -> Iterator[Text]:
    """What stands at the addresses, and what is not as it should be."""
    if live.connected is not None:
        for name, what in live.connected.found.items():
            yield Text.assemble((name, "bold cyan"), f"  {what}")
        for finding in live.connected.findings:
            yield Text(str(finding), "yellow")


def note(live: Live) -> str:
    """How it goes, in a few words."""
    words = []
    if live.plant is not None:
        stations = live.plant.stations
        up = sum(s.keeper.state == LinkState.UP for s in stations)
        words.append(f"{up} of {len(stations)} link{'s' * (len(stations) != 1)} up")
    if live.sources is not None and not live.sources.holds.all():
        words.append("a source does not follow")
    if live.timing is not None and live.timing.missed:
        words.append(f"{live.timing.missed} ticks missed")
    return ", ".join(words)


def field_summary(live: Live) -> RenderableType:
    """Links, sources and the clock, at the end of a run."""
    parts: list[RenderableType] = []
    if live.plant is not None:
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
        table.add_column("link", overflow="fold")
        for name in ("samples", "missing", "breaks", "taken", "refused", "silent", "withheld", "unlike"):
            table.add_column(name, justify="right", no_wrap=True)
        for station in live.plant.stations[:LINKS]:
            table.add_row(*_link(station))
        parts.append(table)
        if len(live.plant.stations) > LINKS:
            parts.append(Text(f"and {len(live.plant.stations) - LINKS} more links", "dim"))
    if live.sources is not None:
        parts += [
            Text(f"{d.name} held {d.resource}; it stands at {d.held[0]:.4g} pu, {d.held[1]:.5g} Hz") for d in live.sources.drivers
        ]
    if live.timing is not None:
        clock = live.timing
        missed = Text(f"{clock.missed} missed in {clock.slips} slips", "bold red" if clock.missed else "")
        parts.append(Text.assemble(("clock", "bold"), f"  {clock.ticks} ticks, ", missed))
        parts += [
            Text(f"  {name}  {_quantiles(h)}") for name, h in (("begin after the deadline", clock.late), ("length", clock.took))
        ]
    parts.append(taken_back(live))
    return Group(*parts)


def _link(station: Station) -> Iterator[Text]:
    n, t = station.keeper.statistics, station.tally
    yield Text(station.name, "cyan")
    for value, bad in ((n.samples, False), (n.missing, True), (n.breaks - 1, True)):
        yield _count(max(value, 0), bad)  # the break that we made ourselves in the end is none
    yield Text(f"{t.accepted}/{t.sent}", "" if t.accepted == t.sent else "yellow")
    for value in (n.refused, n.unanswered, t.withheld, t.unlike):
        yield _count(value, True)


def _count(value: int, bad: bool) -> Text:
    return Text(f"{value:,}", "yellow" if bad and value else "")


def _quantiles(h: Histogram) -> str:
    told = [f"p{round(100 * q)} ≤ {1e3 * h.quantile(q):.3g} ms" for q in (0.5, 0.99)]
    return ", ".join([*told, f"worst {1e3 * h.worst_s:.3g} ms"])


def taken_back(live: Live) -> Text:
    """What became of what was asked, when a run was ended."""
    stations = live.plant.stations if live.plant is not None else ()
    asked = [s for s in stations if s.tally.accepted]
    fates = [s.keeper.image.status[s.commands.rows] for s in asked]
    told = [s for s, fate in zip(asked, fates) if s.tally.safe and np.isin(fate, (Status.ACCEPTED, NEVER)).all()]
    if not asked:
        text = Text("nothing was asked of a device", "green")
    elif len(told) == len(asked):
        text = Text("what was asked was taken back on every link", "green")
    else:
        names = ", ".join(s.name for s in asked if s not in told)
        text = Text(
            f"what was asked could not be taken back on {names}: devices with a lease fall back by themselves", "bold red"
        )
    return text
