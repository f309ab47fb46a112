"""Faults of emulated devices, as they are scheduled: an outlet around another one, which goes wrong when it is told to.

Faults on the wire begin and end by the emulator's clock; what happens in a device (freeze, reboot, clock) at its steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hil.emulator import Clock
from hil.faults import ON_THE_WIRE, Fault, Meddling
from hil.outlets import SunSpecOutlet, TableOutlet
from vpp.kernel.grid_points import GridPoints
from vpp.kernel.seen import Observation
from vpp.kernel.signals import FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry
from vpp.wire.link import Served
from vpp.wire.modbus.address import parse
from vpp.wire.modbus.pdu import Unit
from vpp.wire.modbus.served import ModbusServed
from vpp.wire.modbus.server import ModbusServer
from vpp.wire.sunspec.bank import BankUnit
from vpp.wire.supervisor import Chance

Server = ModbusServer | Served
Place = tuple[int, int, int]  # column of the fleet, server of the outlet, Modbus unit


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault and whom it hits: places of the outlet's devices; None: all of them."""

    fault: Fault
    places: tuple[Place, ...] | None = None


@dataclass
class Mischief:
    """`hil.emulator.Outlet` around another one.

    Attributes:
        inner: the outlet.
        clock: the emulator's, which the inner outlet's devices run by.
        planned: the faults.
        begin_ns: the beginning of their times, by that clock.
        chance: seeded random numbers for a server's number.
        hit: fault's kind -> answers hit, or how often it began.
    """

    inner: SunSpecOutlet | TableOutlet
    clock: Clock
    planned: Sequence[Planned]
    begin_ns: int
    chance: Callable[[int], Chance]
    hit: dict[str, int] = field(default_factory=dict)
    servers: tuple[Server, ...] = field(init=False)
    _on: set[int] = field(default_factory=set)
    _away: dict[int, dict[tuple[int, int], Unit]] = field(default_factory=dict)
    _down: dict[int, tuple[int, asyncio.Task[None]]] = field(default_factory=dict)
    _still: Telemetry | None = None
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Stand in the way of every answer."""
        self.servers = servers_of(self.inner)
        for number, server in enumerate(self.servers):
            faults = [made for one in self.planned if (made := _at(one, number)) is not None]
            if faults and isinstance(server, ModbusServer):
                meddling = Meddling(faults, self.clock.right, self.chance(number), self.hit, self.begin_ns)
                server.meddler = meddling.answers

    @property
    def column(self) -> IntArray:
        """Columns of the fleet that take commands here."""
        return self.inner.column

    async def start(self) -> None:
        """Listen."""
        await self.inner.start()

    async def stop(self) -> None:
        """Stop listening; who was away stays away."""
        tasks = [*self._tasks, *(gone for _, gone in self._down.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.inner.stop()

    def setpoints(self, now_ns: int) -> FloatArray:
        """What the devices hold, by their own clock."""
        self._turn(now_ns)
        return self.inner.setpoints(now_ns + self.clock.wrong_ns)

    def publish(self, now_ns: int, seen: Observation) -> None:
        """Put a step's values on the wire: some stand still, and times are those of the devices."""
        self.inner.publish(now_ns + self.clock.wrong_ns, self._late(self._frozen(seen)))

    def _turn(self, now_ns: int) -> None:
        """Begin and end what happens in the devices."""
        for task in [one for one in self._tasks if one.done()]:
            self._tasks.remove(task)
            task.result()  # a server that cannot come back is an error of the emulator
        now_s = (now_ns - self.begin_ns) / 1e9
        wrong_s = 0.0
        for i, one in enumerate(self.planned):
            f = one.fault
            on = f.begin_s <= now_s < f.end_s
            if f.kind not in ON_THE_WIRE and on and i not in self._on:
                self.hit[f.kind] = self.hit.get(f.kind, 0) + 1
            if f.kind == "reboot" and on != (i in self._on):
                self._go(i) if on else self._come(i)
            wrong_s += f.step_s if f.kind == "clock" and on else 0.0
            (self._on.add if on else self._on.discard)(i)
        self.clock.wrong_ns = round(wrong_s * 1e9)
        self.inner.frozen = any(self.planned[i].fault.kind == "freeze" and self.planned[i].places is None for i in self._on)

    def _go(self, i: int) -> None:
        """Switch devices off: a server all of whose units go is not there, else the gateway answers for its units."""
        places = self.planned[i].places
        self._away[i] = {}
        for number, server in enumerate(self.servers):
            if number in self._down:
                continue  # another fault has it down already
            behind = (
                set(server.units) if isinstance(server, ModbusServer) else {unit for _, _, unit in places_of(self.inner).values()}
            )
            units = behind if places is None else {unit for _, at, unit in places if at == number}
            if units >= behind:
                if isinstance(server, ModbusServer):
                    server.bind = server.address
                self._down[number] = i, asyncio.create_task(server.stop())
            elif isinstance(server, ModbusServer):
                self._away[i] |= {(number, unit): server.units.pop(unit) for unit in units & behind}
        self._forget(places)

    def _come(self, i: int) -> None:
        """Switch them on."""
        for (number, unit), device in self._away.pop(i, {}).items():
            server = self.servers[number]
            if isinstance(server, ModbusServer):
                server.units[unit] = device
        for number, (who, gone) in list(self._down.items()):
            if who == i:
                del self._down[number]
                self._tasks.append(asyncio.create_task(_back(self.servers[number], gone)))

    def _forget(self, places: Sequence[Place] | None) -> None:
        columns = self.column if places is None else np.array([column for column, _, _ in places], np.int64)
        rows = np.flatnonzero(np.isin(self.column, columns))
        if isinstance(self.inner, TableOutlet):
            self.inner.reboot(rows)
        else:
            for row in rows:
                self.inner.ders.reboot(int(row))

    def _frozen(self, seen: Observation) -> Observation:
        """Measurements of frozen devices as they were when they froze."""
        on = [self.planned[i] for i in self._on if self.planned[i].fault.kind == "freeze"]
        at = np.array([column for one in on for column, _, _ in one.places or ()], np.int64)
        told = seen.telemetry
        if at.size and self._still is not None:
            told = Telemetry(told.block.copy(), told.quality.copy(), told.time_ns.copy())
            told.block[:, at] = self._still.block[:, at]
            told.quality[:, at], told.time_ns[:, at] = self._still.quality[:, at], self._still.time_ns[:, at]
        self._still = told
        return replace(seen, telemetry=told)

    def _late(self, seen: Observation) -> Observation:
        """Source times by the devices' own clock."""
        wrong = self.clock.wrong_ns
        if not wrong:
            return seen
        t, p = seen.telemetry, seen.points
        told = Telemetry(t.block, t.quality, np.where(t.time_ns > 0, t.time_ns + wrong, t.time_ns))
        points = GridPoints(p.layout, p.value, p.quality, np.where(p.time_ns > 0, p.time_ns + wrong, p.time_ns))
        return replace(seen, telemetry=told, points=points)


async def _back(server: Server, gone: asyncio.Task[None]) -> None:
    await gone
    await server.start()


def servers_of(outlet: SunSpecOutlet | TableOutlet) -> tuple[Server, ...]:
    """The servers of an outlet; only those of Modbus can be meddled with on the wire."""
    if isinstance(outlet, SunSpecOutlet):
        return outlet.servers
    return (outlet.served.server if isinstance(outlet.served, ModbusServed) else outlet.served,)


def places_of(outlet: SunSpecOutlet | TableOutlet) -> dict[int, Place]:
    """Where the devices of an outlet stand, by column of the fleet: those that have a unit of their own.

    Behind other protocols every device counts as one, in the order of the outlet.
    """
    if isinstance(outlet, SunSpecOutlet):
        units = [(n, unit, device) for n, server in enumerate(outlet.servers) for unit, device in server.units.items()]
        found = [(int(outlet.column[d.row]), n, unit) for n, unit, d in units if isinstance(d, BankUnit)]
        return {place[0]: place for place in found}
    column = dict(zip((outlet.fleet.id[i] for i in outlet.column), outlet.column.tolist()))
    if not isinstance(outlet.served, ModbusServed):
        return {at: (at, 0, unit) for unit, at in enumerate(column.values())}
    at_unit: dict[int, set[str]] = {}
    for point in outlet.table.points:
        at_unit.setdefault(parse(point).unit, set()).add(point.resource)
    alone = {unit: next(iter(names)) for unit, names in at_unit.items() if len(names) == 1}
    return {column[name]: (column[name], 0, unit) for unit, name in alone.items() if name in column}


def _at(one: Planned, number: int) -> Fault | None:
    """A fault as it hits one server; None: it does not."""
    if one.fault.kind not in ON_THE_WIRE:
        return None
    if one.places is None:
        return one.fault
    units = frozenset(unit for _, server, unit in one.places if server == number)
    return replace(one.fault, units=units) if units else None
