"""Sources that hold driven devices at the twin's voltage and frequency: within limits, never faster than allowed.

A source has no lease: what it was told last, it holds. So it is told its nominal values before the first tick, when ticks
stop coming, and when the run ends, however it ends; only a killed process leaves it as it stood.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from hil.bench.ports import GridSource
from hil.pace import Pace
from vpp.kernel.errors import LinkError
from vpp.kernel.seen import Event
from vpp.kernel.signals import BoolArray, FloatArray

STEP_S: Final = 0.1  # a way that is too long for one step is gone in steps of this time
HOME_S: Final = 10.0  # longest way back to nominal; then it is told at once
_ENOUGH: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a source may be told.

    Attributes:
        vm_low_pu, vm_high_pu: band of its voltage.
        f_low_hz, f_high_hz: band of its frequency.
        v_slew_pu_per_s, f_slew_hz_per_s: how fast both may move.
        f_nom_hz: nominal frequency; the nominal voltage is 1 pu.
    """

    vm_low_pu: float
    vm_high_pu: float
    f_low_hz: float
    f_high_hz: float
    v_slew_pu_per_s: float
    f_slew_hz_per_s: float
    f_nom_hz: float

    def inside(self, vm_pu: float, f_hz: float) -> tuple[float, float]:
        """The nearest allowed values."""
        return min(max(vm_pu, self.vm_low_pu), self.vm_high_pu), min(max(f_hz, self.f_low_hz), self.f_high_hz)

    def toward(self, here: tuple[float, float], there: tuple[float, float], dt_s: float) -> tuple[float, float]:
        """How far one comes from here in a time; what is not known (NaN) stays as it is."""
        (v, f), (v_to, f_to) = here, self.inside(*there)
        v_most, f_most = self.v_slew_pu_per_s * dt_s, self.f_slew_hz_per_s * dt_s
        v_next = v if np.isnan(v_to) else v + min(max(v_to - v, -v_most), v_most)
        f_next = f if np.isnan(f_to) else f + min(max(f_to - f, -f_most), f_most)
        return v_next, f_next

    @property
    def home(self) -> tuple[float, float]:
        """Nominal voltage and frequency."""
        return 1.0, self.f_nom_hz


@dataclass
class Driver:
    """One source; it is spoken to in a thread of its own, for an instrument may take its time.

    Attributes:
        name: of the source, in events.
        resource: the device that it holds.
        source: the instrument.
        bounds: what it may be told.
        close: ends the connection to it.
        identity: asks who it is.
        held: what it was told last, NaN before.
        holds: whether the last telling was taken.
    """

    name: str
    resource: str
    source: GridSource
    bounds: Bounds
    close: Callable[[], None]
    identity: Callable[[], str] = str
    held: tuple[float, float] = (np.nan, np.nan)
    holds: bool = False
    target: tuple[float, float] = (np.nan, np.nan)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    limited: bool = False
    _thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "source"))

    async def tell(self, values: tuple[float, float]) -> None:
        """Have the source take voltage and frequency. Raises `LinkError`."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self.source.apply, *values)
        except LinkError:
            self.holds = False
            raise
        self.held, self.holds = values, True

    def there(self) -> bool:
        """Whether it is where it may go of where it shall."""
        want = self.bounds.toward(self.held, self.target, np.inf)
        return bool(np.allclose(want, self.held, rtol=0.0, atol=_ENOUGH))

    async def go(self, pace: Pace) -> None:
        """Move to the target step by step; ends where it is, too, when the target moves on. Raises `LinkError`."""
        while not self.there():
            await self.tell(self.bounds.toward(self.held, self.target, STEP_S))
            if not self.there():
                await pace.until(pace() + round(STEP_S * 1e9))

    async def end(self) -> None:
        """Close the connection."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self.close)
        self._thread.shutdown(wait=False)


@dataclass
class Sources:
    """`hil.mixed.Follower` over one source a driven device.

    Attributes:
        drivers: the sources, in the order of the driven devices.
        pace: the clock.
        patience_s: after so long without a tick the sources go to nominal.
        tell: takes events; their time is set by who takes them.
    """

    drivers: Sequence[Driver]
    pace: Pace
    patience_s: float
    tell: Callable[[Event], None]
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def holds(self) -> BoolArray:
        """Which sources took what they were told last."""
        return np.array([driver.holds for driver in self.drivers], np.bool_)

    def held(self) -> FloatArray:
        """Voltage [pu] and frequency [Hz] that the sources hold, (2, k)."""
        return np.array([driver.held for driver in self.drivers], np.float64).reshape(-1, 2).T

    def follow(self, vm_pu: FloatArray, f_hz: FloatArray) -> None:
        """The twin's voltage and frequency at every driven device; the latest wins."""
        for driver, v, f in zip(self.drivers, vm_pu.tolist(), f_hz.tolist()):
            driver.target = v, f
            beyond = not np.allclose(driver.bounds.inside(v, f), (v, f), rtol=0.0, atol=_ENOUGH, equal_nan=True)
            if beyond and not driver.limited:
                low, high = driver.bounds.inside(v, f)
                text = f"the twin has {v:.4f} pu, {f:.3f} Hz; the source goes no further than {low:.4f} pu, {high:.3f} Hz"
                self._say(driver, "limited", text)
            driver.limited = beyond
            driver.wake.set()

    async def start(self) -> None:
        """Have every source at nominal values, and begin to follow. Raises `LinkError` where one is not there."""
        for driver in self.drivers:
            await driver.tell(driver.bounds.home)
        self._tasks = [asyncio.create_task(self._run(driver), name=driver.name) for driver in self.drivers]

    async def stop(self) -> None:
        """Take every source back to nominal values; one that cannot be reached is an event."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(self._home(driver) for driver in self.drivers))

    async def _run(self, driver: Driver) -> None:
        """Follow the target until cancelled; without ticks go to nominal."""
        lost = False
        while True:
            try:
                async with asyncio.timeout(self.patience_s):
                    await driver.wake.wait()
            except TimeoutError:
                if not np.isnan(driver.target[0]) and driver.target != driver.bounds.home:
                    driver.target = driver.bounds.home
                    self._say(driver, "safe", "no tick comes: the source goes to nominal")
            driver.wake.clear()
            try:
                await driver.go(self.pace)
            except LinkError as error:
                if not lost:
                    self._say(driver, "lost", f"does not follow: {error.reason}; the device counts as open until it does")
                lost = True
                continue
            if lost and driver.holds:
                self._say(driver, "back", "follows again")
                lost = False

    async def _home(self, driver: Driver) -> None:
        driver.target = driver.bounds.home
        try:
            try:
                async with asyncio.timeout(HOME_S):
                    if not np.isnan(driver.held[0]):
                        await driver.go(self.pace)
            except TimeoutError:
                await driver.tell(driver.bounds.home)
        except LinkError as error:
            self._say(driver, "lost", f"could not be taken back to nominal: {error.reason}")
        await driver.end()

    def _say(self, driver: Driver, kind: str, text: str) -> None:
        self.tell(Event(0, "source", kind, f"{driver.name}: {text}", driver.resource))
