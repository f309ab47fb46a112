"""The same scenario in process and over a wire, in lock-step: decision parity."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hil.assemble import Wired, field_plant
from hil.emulator import Clock, Emulator
from hil.links import SCHEMES, Where, link, served
from hil.outlets import TableOutlet
from hil.parity import Quantised
from hil.plain import plain_table
from scenarios.build import RunResult, System, run
from vpp.kernel.fleet import Fleet
from vpp.kernel.ports import Plant
from vpp.kernel.seen import Observation
from vpp.kernel.setpoints import Asked
from vpp.kernel.tick import Record, only_watch, tick
from vpp.wire.points import PointTable
from vpp.wire.supervisor import Policy

if TYPE_CHECKING:
    from scenarios.schema.scenario import Scenario
    from twin.cosim.world import Shares
    from twin.devices.model import Offer
    from twin.plant import GridResult, TwinPlant
    from twin.recorder import Recorder

PATIENCE_S: Final = 3600.0  # lock-step has no clock: a loop that waits for the simulation is not dead
CONNECT_S: Final = 30.0
WRITE_S: Final = 60.0


@dataclass(frozen=True)
class Wire:
    """A protocol for parity: the plain table on it, served and linked on this machine.

    Attributes:
        protocol: a key of `hil.links.SCHEMES` that `hil.plain.PLAIN` has, too.
        kind: how values go, as in `hil.plain.plain_table`; "": as is usual there.
    """

    protocol: str
    kind: str = ""

    def table(self, system: System) -> PointTable:
        """The points of a system."""
        return plain_table(system.plant.fleet, system.plant.grid.points, self.kind, protocol=self.protocol)

    def where(self, address: tuple[str, int]) -> Where:
        """An address of it."""
        return Where(self.protocol, *address, SCHEMES[self.protocol].unit, {"emulated": "yes"})


WIRES: Final = {
    "modbus": Wire("modbus"),
    "modbus-integer": Wire("modbus", "integer"),
    "dnp3": Wire("dnp3"),
    "iec104": Wire("iec104"),
    "iec61850": Wire("iec61850"),
}


@dataclass
class Watched:
    """A twin whose truth of each step is kept for the recorder."""

    plant: TwinPlant
    truth: GridResult = field(init=False)
    offer: Offer = field(init=False)

    @property
    def fleet(self) -> Fleet:
        """The resources."""
        return self.plant.fleet

    def advance(self) -> None:
        """Simulate the next step."""
        self.truth, self.offer = self.plant.advance()

    def read(self, now_ns: int) -> Observation:
        """What is measured."""
        return self.plant.read(now_ns)

    def write(self, now_ns: int, asked: Asked) -> None:
        """What shall hold from the next step on."""
        self.plant.write(now_ns, asked)


def in_process(scenario: Scenario, wire: Wire, **options: Any) -> RunResult:
    """Run in process; every value passes the wire's quantiser, and no wire."""

    def drive(system: System, recorder: Recorder) -> Shares:
        plant = Watched(system.plant)
        quantised = Quantised(plant, wire.table(system), SCHEMES[wire.protocol].carried)
        begin, last = perf_counter(), Asked.nothing(plant.fleet.n)
        for k, now_ns in enumerate(system.plant.time_ns.tolist()):
            plant.advance()
            record = _tick(system, quantised, now_ns, last)
            last = record.decision.asked
            recorder(k, record, plant.truth, plant.offer)
        return _shares(begin)

    return run(scenario, drive=("process", drive), **options)


def over_wire(scenario: Scenario, wire: Wire, name: str = "modbus", **options: Any) -> RunResult:
    """Run over real sockets on loopback, server and client stepped in turn."""

    def drive(system: System, recorder: Recorder) -> Shares:
        return asyncio.run(_over_wire(system, recorder, wire))

    return run(scenario, drive=(name, drive), **options)


async def _over_wire(system: System, recorder: Recorder, wire: Wire) -> Shares:
    table, layout = wire.table(system), system.plant.grid.points
    plant, clock = Watched(system.plant), Clock()
    server = served(table, wire.where(("127.0.0.1", 0)))
    emulator = Emulator(plant, [TableOutlet(server, plant.fleet, layout.id, clock)], clock)
    await emulator.start()
    where = wire.where(server.address)
    client = link(table, where, "parity")
    wired = Wired(client, emulated=True, policy=Policy(write_s=WRITE_S), reports=where.scheme.reports)
    station = field_plant(plant.fleet, [wired], layout, chance=np.random.default_rng, patience_s=PATIENCE_S, own_time=True)
    begin, last = perf_counter(), Asked.nothing(plant.fleet.n)
    try:
        await client.connect(CONNECT_S)
        for k, now_ns in enumerate(system.plant.time_ns.tolist()):
            emulator.step(now_ns)
            await station.poll()
            record = _tick(system, station, now_ns, last)
            last = record.decision.asked
            await station.flush()
            recorder(k, record, plant.truth, plant.offer)
    finally:
        await station.stop()
        await emulator.stop()
    return _shares(begin)


def _tick(system: System, plant: Plant, now_ns: int, last: Asked) -> Record:
    if system.chain.controllers:
        return tick(now_ns, plant, system.desk, system.chain, last)
    return only_watch(now_ns, plant.read(now_ns), last)


def _shares(begin: float) -> Shares:
    from twin.cosim.world import Shares

    return Shares(0.0, 0.0, 0.0, 0.0, perf_counter() - begin)


def parity(scenario: Scenario, wire: str, out: Path, **options: Any) -> tuple[RunResult, RunResult]:
    """Run a scenario in process and over a wire of `WIRES`; compare the two with `vpp.historian.verify.compare`."""
    made = WIRES[wire]
    return in_process(scenario, made, out=out, **options), over_wire(scenario, made, wire, out=out, **options)
