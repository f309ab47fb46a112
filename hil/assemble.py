"""Putting a field plant together: links, sessions, gates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from hil.commands import Commands
from hil.plant import FieldPlant
from hil.station import TURNS, Station
from hil.watchdog import Arming, DeadMan, Gate, columns_of
from vpp.kernel.fleet import Fleet
from vpp.kernel.grid_points import PointLayout
from vpp.kernel.seen import Event
from vpp.wire.clock import WallClock, steady, wall_ns
from vpp.wire.link import Link
from vpp.wire.supervisor import Chance, Policy, Supervisor


@dataclass(frozen=True, slots=True)
class Wired:
    """A link with what the session needs to know of it.

    Attributes:
        link: the client; its table names the fleet's resources.
        emulated: a model is behind it, writing needs no arming.
        lease_s: length of what is written; 0: the device has no leases.
        arming: leave to write.
        policy: how the link is kept.
        reports: the device reports what changes; what it does not report is as it was.
    """

    link: Link
    emulated: bool = False
    lease_s: float = 0.0
    arming: Arming | None = None
    policy: Policy = field(default_factory=Policy)
    reports: bool = False


def field_plant(
    fleet: Fleet,
    wired: Sequence[Wired],
    layout: PointLayout | None = None,
    *,
    chance: Callable[[int], Chance],
    patience_s: float = 5.0,
    clock: WallClock = wall_ns,
    own_time: bool = False,
) -> FieldPlant:
    """A plant of these links.

    Args:
        fleet: all resources.
        wired: the links.
        layout: the network's meters that may stand in the tables.
        chance: seeded random numbers for a link's number: the jitter with which a broken link is tried again.
        patience_s: longest time without a tick before everything is taken back.
        clock: of the links; ages and leases are counted by its steady companion.
        own_time: the devices' clocks and the controllers' are not the same: a value's time is the tick that first saw it.
    """
    set_back_ns = steady(clock)() - clock()  # a leave must not grow when somebody sets the wall clock
    dead_man, events, turns = DeadMan(round(patience_s * 1e9)), list[Event](), asyncio.Semaphore(TURNS)
    stations = []
    for number, one in enumerate(wired):
        named = {p.resource for p in one.link.table.points if p.sheet != "points"}
        ids = tuple(name for name in fleet.id if name in named)
        column = columns_of(fleet.id, ids)
        commands = Commands(one.link.table, ids, one.lease_s, fleet.p_max_mw[column], fleet.p_safe_mw[column])
        keeper = Supervisor(one.link, clock, chance(number), one.policy)
        leave = one.arming and replace(one.arming, until_ns=one.arming.until_ns + set_back_ns)
        gate = Gate(len(ids), one.emulated, leave)
        stations.append(Station(keeper, commands, gate, dead_man, column, events.append, one.reports, turns))
    return FieldPlant(fleet, tuple(stations), layout or PointLayout(), dead_man, events, own_time)
