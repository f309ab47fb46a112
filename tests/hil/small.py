"""What the tests of HIL share: a plant of two devices that is stepped by hand, and a virtual clock for its links."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np

from hil.emulator import Clock
from hil.outlets import SunSpecOutlet
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, Fleet, simple_fleet
from vpp.kernel.grid_points import GridPoints
from vpp.kernel.seen import Observation
from vpp.kernel.setpoints import FOLLOW, LIMIT, Asked, Setpoints
from vpp.kernel.telemetry import Telemetry
from vpp.wire.modbus.server import ModbusServer
from vpp.wire.sunspec.der import Ders, Nameplate, device_layout

S = 1_000_000_000
START_NS = 1_700_000_000 * S


def fleet() -> Fleet:
    """A PV inverter of 10 kW and a battery of 5 kW."""
    return simple_fleet(
        np.array([0.0, -0.005]),
        np.array([0.010, 0.005]),
        id=("pv", "battery"),
        kind=("pv", "battery"),
        control=np.array([CONTROL_LIMIT, CONTROL_FOLLOW]),
        e_mwh=np.array([0.0, 0.010]),
    )


@dataclass
class TwoDevices:
    """A stepped plant: the PV gives 8 kW where nothing limits it, the battery what it is told."""

    fleet: Fleet = field(default_factory=fleet)
    held: Setpoints = field(default_factory=lambda: Setpoints.neutral(2))
    p_mw: np.ndarray = field(default_factory=lambda: np.zeros(2))
    steps: int = 0

    def advance(self) -> None:
        self.steps += 1
        limit = self.held.p_limit_mw[0] if self.held.mode[0] == LIMIT else np.inf
        self.p_mw = np.array([min(0.008, limit), self.held.p_mw[1] if self.held.mode[1] == FOLLOW else 0.0])

    def read(self, now_ns: int) -> Observation:
        told = Telemetry.full(2)
        told.p_mw, told.q_mvar, told.vm_pu, told.f_hz = self.p_mw, 0.0, 1.01, 50.0
        told.soc = np.array([np.nan, 0.5])
        told.time_ns[:] = now_ns
        return Observation(told, GridPoints(), self.held.copy())

    def write(self, now_ns: int, asked: Asked) -> None:
        self.held = asked.setpoints.copy()


def asked(p_limit_mw: float = np.inf, p_mw: float = np.nan, now_ns: int = START_NS) -> Asked:
    """The PV is limited, and the battery follows, where a number is given."""
    out = Asked.nothing(2, now_ns)
    if np.isfinite(p_limit_mw):
        out.setpoints.mode[0], out.setpoints.p_limit_mw[0], out.setpoints.p_mw[0] = LIMIT, p_limit_mw, p_limit_mw
    if np.isfinite(p_mw):
        out.setpoints.mode[1], out.setpoints.p_mw[1] = FOLLOW, p_mw
    return out


def outlets(clock: Clock, family: str = "modern") -> tuple[SunSpecOutlet, SunSpecOutlet]:
    """Each of the two devices behind a port of its own."""
    made = []
    for i, store in enumerate((False, True)):
        f = fleet()
        at = slice(i, i + 1)
        p = f.p_max_mw[at]
        charge = np.maximum(-f.p_min_mw[at], 0.0)
        plate = Nameplate([f.id[i]], p, charge, 1.1 * p, 0.4 * p, np.array([230.0]), f.e_mwh[at])
        ders = Ders(plate, device_layout(family, store=store), clock)
        server = ModbusServer({1: ders.bank.unit(0)}, ("127.0.0.1", 0), default_unit=1)
        made.append(SunSpecOutlet(ders, np.array([i]), (server,)))
    return made[0], made[1]


class Wall:
    """A wall clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_ns = START_NS

    def __call__(self) -> int:
        return self.now_ns

    def go(self, seconds: float) -> None:
        self.now_ns += round(seconds * S)


def within(test: Callable[[], Awaitable[None]], patience_s: float = 60.0) -> None:
    """Run a test on a loop of its own, with an end to its patience."""

    async def limited() -> None:
        async with asyncio.timeout(patience_s):
            await test()

    asyncio.run(limited())


async def until(true: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    try:
        async with asyncio.timeout(20.0):
            while not true():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never: {what}") from None
