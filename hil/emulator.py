"""The emulator: a stepped plant as protocol servers. Whoever connects meets devices whose voltages hang together.

The plant comes in as a port (`Stepped`): a twin's stepper, handed over by `scenarios`. Each step takes what the wire has
written, moves the plant on, and publishes what every device measures and holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from hil.firmware import Firmware
from hil.pace import Pace
from vpp.kernel.fleet import Fleet
from vpp.kernel.seen import Observation
from vpp.kernel.setpoints import Asked, Setpoints
from vpp.kernel.signals import BoolArray, FloatArray, IntArray
from vpp.wire.link import Answer, Batch, Command, Served
from vpp.wire.points import PointTable


class Stepped(Protocol):
    """A plant that moves when it is told to; `twin.plant.TwinPlant` is one."""

    @property
    def fleet(self) -> Fleet:
        """The resources."""
        ...

    def advance(self) -> Any:
        """Simulate the next step."""
        ...

    def read(self, now_ns: int) -> Observation:
        """What is measured in that step."""
        ...

    def write(self, now_ns: int, asked: Asked) -> None:
        """What the devices shall hold from the next step on."""
        ...


@dataclass
class Outlet:
    """One server in front of some devices of the fleet.

    Attributes:
        served: the server; its table names the fleet's resources.
        frozen: nothing is published: the device answers, but its values stand still.
    """

    served: Served
    frozen: bool = False
    _sheets: dict[str, tuple[IntArray, IntArray, IntArray]] = field(default_factory=dict)
    _is_control: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))
    _told: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))
    _signal: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    _device: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def table(self) -> PointTable:
        """Its points."""
        return self.served.table

    def place(self, ids: tuple[str, ...], meters: tuple[str, ...]) -> None:
        """Find out which cells of the fleet's sheets its points are."""
        names = {"points": meters}
        self._sheets = {
            sheet: self.table.cells(sheet, names.get(sheet, ids))
            for sheet in ("telemetry", "setpoints", "applied", "control", "points")
        }
        n = len(self.table)
        self._told = np.array(["r" in p.access for p in self.table.points], np.bool_)
        self._is_control = np.zeros(n, np.bool_)
        self._signal, self._device = np.full(n, -1), np.full(n, -1)
        for sheet in ("setpoints", "control"):
            rows, signals, devices = self._sheets[sheet]
            self._signal[rows], self._device[rows] = signals, devices
            self._is_control[rows] = sheet == "control"

    def devices(self) -> IntArray:
        """Columns of the fleet behind it."""
        return np.unique(np.concatenate([self._sheets[s][2] for s in ("telemetry", "setpoints", "applied", "control")]))

    def columns(self, command: Command) -> tuple[BoolArray, IntArray, IntArray, FloatArray]:
        """Where the values of a command belong: which are `Control`, their signals and devices, and the values."""
        at = command.point
        return self._is_control[at], self._signal[at], self._device[at], command.value

    def publish(self, now_ns: int, seen: Observation, held: Setpoints, control: FloatArray) -> None:
        """Put a step's values on the wire."""
        if self.frozen:
            return
        told = seen.telemetry
        rows, signals, devices = self._sheets["telemetry"]
        self._put(rows, told.block[signals, devices], told.quality[signals, devices], told.time_ns[signals, devices])
        rows, _, meters = self._sheets["points"]
        self._put(rows, seen.points.value[meters], seen.points.quality[meters], seen.points.time_ns[meters])
        self.publish_held(now_ns, seen.applied, held, control)

    def publish_held(
        self, now_ns: int, applied: Setpoints, held: Setpoints, control: FloatArray, only: IntArray | None = None
    ) -> None:
        """Put on the wire what the devices hold; ``only`` some of them."""
        for sheet, block in (("setpoints", held.block), ("control", control), ("applied", applied.block)):
            rows, signals, devices = self._sheets[sheet]
            at = self._told[rows] if only is None else self._told[rows] & np.isin(devices, only)
            self._put(rows[at], block[signals[at], devices[at]], 0, now_ns)

    def _put(self, rows: IntArray, value: FloatArray, quality: Any, time_ns: Any) -> None:
        if rows.size:
            self.served.publish(Batch.of(rows, value, quality, time_ns))


@dataclass
class Emulator:
    """A plant behind servers.

    Attributes:
        plant: moved on by every `step`.
        outlets: the servers.
        firmware: the devices' control parts.
        now_ns: time of the step that is shown.
        steps: how many have been simulated.
    """

    plant: Stepped
    outlets: Sequence[Outlet]
    meters: tuple[str, ...] = ()
    firmware: Firmware = field(init=False)
    now_ns: int = 0
    steps: int = 0
    running: bool = False

    def __post_init__(self) -> None:
        """Place every point, and take commands from every server."""
        fleet = self.plant.fleet
        modal = np.zeros(fleet.n, np.bool_)
        place = {name: i for i, name in enumerate(fleet.id)}
        for outlet in self.outlets:
            outlet.place(fleet.id, self.meters)
            modal[[place[p.resource] for p in outlet.table.points if p.signal == "mode" and p.sheet == "setpoints"]] = True
            outlet.served.on_command(lambda command, outlet=outlet: self._take(outlet, command))
        self.firmware = Firmware(fleet.n, modal)

    async def start(self) -> None:
        """Listen everywhere. Raises `LinkError` where an address cannot be had; nothing listens then."""
        try:
            for outlet in self.outlets:
                await outlet.served.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(outlet.served.stop() for outlet in self.outlets))

    def step(self, now_ns: int) -> Observation:
        """Take what the wire has written, move the plant on to the step at ``now_ns``, and publish."""
        held = self.firmware.setpoints(now_ns)
        if self.steps:
            n = self.plant.fleet.n
            self.plant.write(self.now_ns, Asked(self.now_ns, held, np.zeros(n, np.int16), np.zeros(n, np.int16)))
        self.now_ns = now_ns
        self.plant.advance()
        self.steps += 1
        seen = self.plant.read(now_ns)
        for outlet in self.outlets:
            outlet.publish(now_ns, seen, held, self.firmware.control)
        return seen

    async def run(self, pace: Pace, time_ns: IntArray, dt_ns: int) -> None:
        """Step at absolute deadlines, once for each time; deadlines that were missed are made up for at once."""
        begin = pace()
        self.running = True
        for k, now_ns in enumerate(time_ns.tolist()):
            await pace.until(begin + k * dt_ns)
            if not self.running:
                break
            self.step(now_ns)

    def _take(self, outlet: Outlet, command: Command) -> Answer:
        where = outlet.columns(command)
        answer = self.firmware.take(self.now_ns, *where)
        if answer.status == 0 and not outlet.frozen:
            # A read-back right behind the command finds what the device holds now, not what it held a step ago.
            held = self.firmware.setpoints(self.now_ns)
            outlet.publish_held(self.now_ns, held, held, self.firmware.control, np.unique(where[2]))
        return answer
