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

from hil.pace import Pace
from vpp.kernel.fleet import Fleet
from vpp.kernel.seen import Observation
from vpp.kernel.setpoints import Asked, Setpoints
from vpp.kernel.signals import FloatArray, IntArray


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


class Clock:
    """The devices' own time: that of the step that is shown, or what goes by between steps on the wall clock.

    Attributes:
        shown_ns: the step that is shown.
        wrong_ns: what the devices' clock shows too much (a fault).
    """

    def __init__(self) -> None:
        """Begin at 0, and right."""
        self.shown_ns = self.wrong_ns = 0
        self._pace: Pace | None = None
        self._shown_at = 0

    def show(self, now_ns: int, pace: Pace | None) -> None:
        """A step begins."""
        self.shown_ns, self._pace = now_ns, pace
        self._shown_at = pace() if pace is not None else 0

    def __call__(self) -> int:
        """The time now, as the devices believe it."""
        return self.right() + self.wrong_ns

    def right(self) -> int:
        """The time now."""
        return self.shown_ns + (self._pace() - self._shown_at if self._pace is not None else 0)


class Outlet(Protocol):
    """A server in front of some devices of the plant, with the devices' own control parts."""

    @property
    def column(self) -> IntArray:
        """(m,) columns of the fleet that take commands here."""
        ...

    async def start(self) -> None:
        """Listen. Raises `LinkError`."""
        ...

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        ...

    def setpoints(self, now_ns: int) -> FloatArray:
        """(signals, m) what its devices hold; leases that have run out are over."""
        ...

    def publish(self, now_ns: int, seen: Observation) -> None:
        """Put a step's values on the wire."""
        ...


@dataclass
class Emulator:
    """A plant behind servers.

    Attributes:
        plant: moved on by every `step`.
        outlets: the servers.
        clock: the devices' time; the outlets' timers run by it.
        steps: how many have been simulated.
        held: what the devices hold.
    """

    plant: Stepped
    outlets: Sequence[Outlet]
    clock: Clock = field(default_factory=Clock)
    steps: int = 0
    running: bool = False
    held: Setpoints = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is asked of anybody."""
        self.held = Setpoints.neutral(self.plant.fleet.n)

    async def start(self) -> None:
        """Listen everywhere. Raises `LinkError` where an address cannot be had; nothing listens then."""
        try:
            for outlet in self.outlets:
                await outlet.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close every connection."""
        self.running = False
        await asyncio.gather(*(outlet.stop() for outlet in self.outlets))

    def step(self, now_ns: int, pace: Pace | None = None) -> Observation:
        """Take what the wire has written, move the plant on to the step at ``now_ns``, and publish.

        With a ``pace`` the devices' clocks go on between steps; without one they stand.
        """
        held = Setpoints.neutral(self.plant.fleet.n)
        for outlet in self.outlets:
            held.block[:, outlet.column] = outlet.setpoints(now_ns)
        self.held = held
        if self.steps:
            none = np.zeros(held.n, np.int16)
            self.plant.write(self.clock.shown_ns, Asked(self.clock.shown_ns, held, none, none))
        self.clock.show(now_ns, pace)
        self.plant.advance()
        self.steps += 1
        seen = self.plant.read(now_ns)
        for outlet in self.outlets:
            outlet.publish(now_ns, seen)
        return seen

    async def run(self, pace: Pace, time_ns: IntArray, dt_ns: int) -> None:
        """Step at absolute deadlines, once for each time; deadlines that were missed are made up for at once.

        Where nothing was simulated before, the first `step` should come before `start`: it may compile for a minute.
        """
        begin = pace()
        self.running = True
        if self.steps:
            time_ns = time_ns[time_ns > self.clock.shown_ns]
            self.clock.show(self.clock.shown_ns, pace)
            begin += dt_ns
        for k, now_ns in enumerate(time_ns.tolist()):
            await pace.until(begin + k * dt_ns)
            if not self.running:
                break
            self.step(now_ns, pace)
