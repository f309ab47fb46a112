"""An emulated SunSpec inverter on its own: a model behind registers, in a world of numbers, served over Modbus and SCPI.

What the registers say is what the model is told: settings that are written and adopted act from the next step on, and
leases and adoptions end by the device's own time, which is the world's.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from hil.bench.control import ControlServer
from hil.bench.simulated import World
from vpp.kernel.settings import Settings
from vpp.kernel.telemetry import Telemetry
from vpp.wire.modbus.pdu import Space, Words
from vpp.wire.modbus.server import ModbusServer
from vpp.wire.sunspec.bank import BankUnit
from vpp.wire.sunspec.der import Ders, Nameplate, device_layout

V_NOM: Final = 277.0
BEGIN_NS: Final = 1_700_000_000_000_000_000
TICK_S: Final = 0.02  # of a clock that runs by itself
ONE: Final = np.ones(1)
# What this model cannot be told: a power to follow. It delivers what there is, as far as its functions let it.
LACKS: Final = frozenset({"704.WSetEna"})


@dataclass
class DeviceWorld(World):
    """A world whose model stands behind SunSpec registers.

    Attributes:
        ders: the registers.
        told: settings that the model was told, by name.
        settings: where the models 703 to 712 stand among the registers.
    """

    ders: Ders = field(init=False)
    told: dict[str, float] = field(default_factory=dict)
    settings: slice = field(init=False)

    def __post_init__(self) -> None:
        """Lay the registers out, as the model holds its settings; what they round is what it acts by."""
        super().__post_init__()
        n = self.model.nameplate
        plate = Nameplate(
            serial=["bench-1"],
            p_max_mw=ONE * n.p_max_mw,
            p_charge_mw=ONE * n.p_charge_mw,
            s_mva=ONE * n.s_mva,
            q_mvar=ONE * min(n.q_inj_mvar, n.q_abs_mvar),
            v_nom=ONE * V_NOM,
            e_mwh=ONE * 0.0,
        )
        held = self.model.read(self.model.limits())
        begin = {name: ONE * value for name, value in held.items() if name in Settings.names}
        self.ders = Ders(plate, device_layout("modern"), self.now_ns, begin)
        self.ders.bank.fixed |= LACKS
        images, layout = self.ders.images, self.ders.layout
        if n.category:
            images.put("702.AbnOpCatRtg", ONE * (n.category - 1))
        identity = self.model.identity()
        for point, word in (("Mn", "manufacturer"), ("Md", "model"), ("Vr", "firmware")):
            images.put_text(f"1.{point}", identity.get(word, ""))
        spans = {span.model: span for span in layout.models}
        self.settings = slice(spans[703].at, spans[712].at + spans[712].length + 2)
        self._seen: tuple[bytes, float] = (b"", 0.0)
        self.heed()

    def now_ns(self) -> int:
        """The device's clock."""
        return BEGIN_NS + round(self.now * 1e9)

    def heed(self) -> None:
        """Tell the model what the registers ask of it, where that has changed."""
        self.ders.bank.step(self.now_ns())
        seen = self.ders.said(), self.ders.bank.value(0, "715.OpCtl")
        if seen == self._seen:
            return
        self._seen = seen
        self.permit = bool(self.ders.setpoints(self.now_ns()).connect[0] > 0.0)
        meant = {name: float(value[0]) for name, value in self.ders.settings().items() if np.isfinite(value[0])}
        changed = {name: value for name, value in meant.items() if self.told.get(name) != value}
        if changed:
            self.told |= changed
            self.model.write(changed)

    def advance(self, dt_s: float) -> None:
        """One step of the model, by what the registers ask of it."""
        self.heed()
        super().advance(dt_s)

    def publish(self) -> None:
        """Put what is measured into the registers."""
        t = Telemetry.full(1, np.nan)
        reading = self.measure()
        t.p_mw, t.q_mvar, t.vm_pu, t.f_hz = ONE * reading.p_mw, ONE * reading.q_mvar, ONE * reading.vm_pu, ONE * reading.f_hz
        self.ders.publish(t, np.array([self.permit]))
        self.ders.beat(self.now_ns())


class DeviceUnit(BankUnit):
    """The device as a Modbus unit: measurements come into the registers when they are asked for."""

    def __init__(self, world: DeviceWorld) -> None:
        """Be the world's device."""
        super().__init__(world.ders.bank, 0)
        self._world = world

    def read(self, space: Space, start: int, count: int) -> Words:
        """Give registers as they are at this moment."""
        begin = start - self._world.ders.layout.base
        if not self._world.settings.start <= begin < self._world.settings.stop:
            self._world.publish()
        return super().read(space, start, count)


@dataclass
class DeviceServer:
    """A device and the laboratory around it, at two addresses.

    Attributes:
        world: the device with its sources.
        host, port, control_port: where to listen; port 0: any free one.
        free_running: its time is the wall clock's; else it stands until the laboratory's clock is told to move on.
    """

    world: DeviceWorld
    host: str = "127.0.0.1"
    port: int = 0
    control_port: int = 0
    free_running: bool = False
    modbus: ModbusServer = field(init=False)
    control: ControlServer = field(init=False)
    _ticking: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        """Make both servers; the model steps once, since it may compile for a while."""
        self.world.advance(TICK_S)
        self.modbus = ModbusServer({1: DeviceUnit(self.world)}, (self.host, self.port), default_unit=1)
        self.control = ControlServer(self.world, V_NOM, (self.host, self.control_port), self.free_running)

    async def start(self) -> None:
        """Listen. Raises `LinkError`."""
        await self.modbus.start()
        try:
            await self.control.start()
        except BaseException:
            await self.modbus.stop()
            raise
        if self.free_running:
            self._ticking = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """Stop listening."""
        if self._ticking is not None:
            self._ticking.cancel()
        await self.control.stop()
        await self.modbus.stop()

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        begin, before = loop.time(), self.world.now_s()
        while True:
            await asyncio.sleep(TICK_S)
            self.world.advance(before + loop.time() - begin - self.world.now_s())

    def address(self) -> str:
        """Where the device and its laboratory are, as `hil.bench.address` takes it."""
        (host, port), lab = self.modbus.address, ":".join(map(str, self.control.address))
        told_by = "meter" if self.free_running else "clock"
        return f"sunspec://{host}:{port}/1?emulated=yes&grid={lab}&dc={lab}&{told_by}={lab}"


@contextmanager
def serving(server: DeviceServer) -> Iterator[DeviceServer]:
    """Serve on an event loop in a thread of its own. Raises `LinkError` where an address cannot be had."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="bench device")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
