"""Outlets of the emulator: a point table on any protocol, and SunSpec devices."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hil.commands import SWITCHES
from hil.emulator import Clock
from hil.firmware import Firmware
from hil.watchdog import columns_of
from vpp.kernel.fleet import Fleet
from vpp.kernel.seen import Observation
from vpp.kernel.setpoints import Setpoints
from vpp.kernel.signals import BoolArray, FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry
from vpp.wire.link import Answer, Batch, Command, Served, Status
from vpp.wire.modbus.server import ModbusServer
from vpp.wire.points import PointTable
from vpp.wire.sunspec.der import Ders


@dataclass
class TableOutlet:
    """A point table behind a server of any protocol.

    Attributes:
        served: the server; its table names resources of the fleet, and meters of the network.
        fleet: all resources.
        meters: ids of the network's meters.
        clock: the devices' time.
        patience_s: after so long without a sign of life its devices lead themselves, where the table has one; 0: never.
        frozen: nothing is published: the server answers, but its values stand still.
        refusing: commands are answered with this; None: they are taken.
    """

    served: Served
    fleet: Fleet
    meters: tuple[str, ...]
    clock: Clock
    patience_s: float = 0.0
    frozen: bool = False
    refusing: Answer | None = None
    column: IntArray = field(init=False)
    firmware: Firmware = field(init=False)
    _sheets: dict[str, tuple[IntArray, IntArray, IntArray]] = field(init=False)
    _is_control: BoolArray = field(init=False)
    _signal: IntArray = field(init=False)
    _device: IntArray = field(init=False)

    def __post_init__(self) -> None:
        """Find out which cells its points are, and take commands."""
        points = self.table.points
        named = {p.resource for p in points if p.sheet != "points"}
        ids = tuple(name for name in self.fleet.id if name in named)
        self.column = columns_of(self.fleet.id, ids)
        self.firmware = _firmware(self.table, ids, self.patience_s)
        told = np.array(["r" in p.access for p in points], np.bool_)
        self._sheets = {}
        n = len(points)
        self._is_control, self._signal, self._device = np.zeros(n, np.bool_), np.full(n, -1), np.full(n, -1)
        for sheet in ("telemetry", "applied", "setpoints", "control", "points"):
            rows, signals, devices = self.table.cells(sheet, self.meters if sheet == "points" else ids)
            if sheet in ("setpoints", "control"):
                self._signal[rows], self._device[rows], self._is_control[rows] = signals, devices, sheet == "control"
            at = told[rows]
            self._sheets[sheet] = rows[at], signals[at], devices[at]
        self.served.on_command(self._take)

    @property
    def table(self) -> PointTable:
        """Its points."""
        return self.served.table

    async def start(self) -> None:
        """Listen."""
        await self.served.start()

    async def stop(self) -> None:
        """Stop listening."""
        await self.served.stop()

    def setpoints(self, now_ns: int) -> FloatArray:
        """(signals, m) what its devices hold."""
        return self.firmware.setpoints(now_ns).block

    def publish(self, now_ns: int, seen: Observation) -> None:
        """Put a step's values on the wire."""
        if self.frozen:
            return
        told, points = seen.telemetry, seen.points
        rows, signals, devices = self._sheets["telemetry"]
        at = signals, self.column[devices]
        self._put(rows, told.block[at], told.quality[at], told.time_ns[at])
        rows, _, meters = self._sheets["points"]
        self._put(rows, points.value[meters], points.quality[meters], points.time_ns[meters])
        self._publish_held(now_ns, self._as_told(seen.applied.block[:, self.column]))

    def reboot(self, devices: IntArray | None = None) -> None:
        """Switch devices off and on: what was written is forgotten."""
        self.firmware.reboot(np.arange(len(self.column)) if devices is None else devices)

    def _publish_held(self, now_ns: int, applied: FloatArray, only: IntArray | None = None) -> None:
        held = (("setpoints", self.firmware.held.block), ("control", self.firmware.control), ("applied", applied))
        for sheet, block in held:
            rows, signals, devices = self._sheets[sheet]
            if only is not None and rows.size:
                at = np.isin(devices, only)
                rows, signals, devices = rows[at], signals[at], devices[at]
            self._put(rows, block[signals, devices], 0, now_ns)

    def _put(self, rows: IntArray, value: FloatArray, quality: Any, time_ns: Any) -> None:
        if rows.size:
            self.served.publish(Batch.of(rows, value, quality, time_ns))

    def _take(self, command: Command) -> Answer:
        if self.refusing is not None:
            return self.refusing
        if command.select_only:
            return Answer()
        at, now_ns = command.point, self.clock()
        answer = self.firmware.take(now_ns, self._is_control[at], self._signal[at], self._device[at], command.value)
        if answer.status == Status.ACCEPTED and not self.frozen:
            # A read-back right behind the command finds what the device holds now, not what it held a step ago.
            held = self._as_told(self.firmware.setpoints(now_ns).block)
            self._publish_held(now_ns, held, np.unique(self._device[at]))
        return answer

    def _as_told(self, block: FloatArray) -> FloatArray:
        """What is applied, as a device tells it: without modes no limit is the highest that it knows."""
        out, row = block.copy(), Setpoints.p_limit_mw.row
        free = np.isposinf(out[row]) & ~self.firmware.modal
        out[row, free] = self.fleet.p_max_mw[self.column[free]]
        return out


def _firmware(table: PointTable, ids: tuple[str, ...], patience_s: float) -> Firmware:
    """The control parts of the devices of a table, as far as it has places for them."""
    place = {name: i for i, name in enumerate(ids)}
    n = len(ids)
    modal, beats, switched = np.zeros(n, np.bool_), np.zeros(n, np.bool_), np.zeros((len(SWITCHES), n), np.bool_)
    for p in table.points:
        if p.sheet == "setpoints" and p.signal == "mode":
            modal[place[p.resource]] = True
        elif p.sheet == "control" and p.signal == "heartbeat":
            beats[place[p.resource]] = True
        elif p.sheet == "control" and p.signal in SWITCHES:
            switched[SWITCHES.index(p.signal), place[p.resource]] = True
    return Firmware(n, modal, switched, np.where(beats, patience_s, 0.0))


@dataclass
class SunSpecOutlet:
    """SunSpec devices: every one a unit behind one port, or every one at unit 1 of a port of its own.

    Attributes:
        ders: the devices.
        column: (m,) their columns of the fleet.
        servers: one for all, or one a device.
        frozen: nothing is published.
    """

    ders: Ders
    column: IntArray
    servers: tuple[ModbusServer, ...]
    frozen: bool = False

    async def start(self) -> None:
        """Listen. Raises `LinkError`; then nothing listens."""
        for server in self.servers:
            await server.start()

    async def stop(self) -> None:
        """Stop listening."""
        await asyncio.gather(*(server.stop() for server in self.servers))

    def setpoints(self, now_ns: int) -> FloatArray:
        """(signals, m) what its devices hold."""
        return self.ders.setpoints(now_ns).block

    def publish(self, now_ns: int, seen: Observation) -> None:
        """Put a step's values into the registers."""
        if self.frozen:
            return
        t, at = seen.telemetry, self.column
        on = Setpoints(seen.applied.block[:, at]).connect > 0.0
        self.ders.publish(Telemetry(t.block[:, at].copy(), t.quality[:, at].copy(), t.time_ns[:, at].copy()), on)
        self.ders.beat(now_ns)
