"""A scenario's fleet as protocol servers on the solved grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from hil.emulator import Clock, Emulator, Outlet
from hil.links import modbus_served
from hil.outlets import SunSpecOutlet, TableOutlet
from hil.plain import plain_table
from scenarios.build import System
from scenarios.heeding import Heeding
from vpp.kernel.errors import Finding, ScenarioError
from vpp.kernel.fleet import CONTROL_NONE
from vpp.kernel.grid_points import PointLayout
from vpp.kernel.signals import IntArray
from vpp.wire.modbus.pdu import Unit
from vpp.wire.modbus.server import ModbusServer
from vpp.wire.sunspec.der import Ders, Nameplate, device_layout

if TYPE_CHECKING:
    from twin.spec import FleetSpec

UNITS: Final = 247  # Modbus units behind one port
V_NOM: Final = 230.0
Q_SHARE: Final = 0.44  # IEEE 1547-2018, 5.2, category B
CONNECTIONS: Final = 256


@dataclass(frozen=True, slots=True)
class Site:
    """An emulated fleet.

    Attributes:
        emulator: plant and servers.
        where: (resource, outlet, place among the outlet's servers, unit) of every SunSpec device.
    """

    emulator: Emulator
    where: tuple[tuple[str, SunSpecOutlet, int, int], ...]

    def addresses(self) -> dict[str, str]:
        """Resource -> address, once the servers listen."""
        out = {}
        for name, outlet, server, unit in self.where:
            host, port = outlet.servers[server].address
            out[name] = f"sunspec://{host}:{port}/{unit}"
        return out


def emulate(
    system: System,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    resources: Sequence[str] = (),
    family: str = "modern",
    apart: bool = False,
    plain_port: int | None = None,
) -> Site:
    """Put a built scenario's devices behind servers.

    Args:
        system: the scenario, built; its controllers are not used.
        host: where to listen.
        port: first port of the SunSpec devices, counted up; 0: any free ones.
        resources: ids, or names of entries, that are served as SunSpec devices; none: everything that takes commands.
        family: models 701 to 715 ("modern"), 103 and 120 to 124 ("legacy"), or "both".
        apart: every device at unit 1 of a port of its own; else 247 units a port.
        plain_port: serve the whole fleet and the network's meters as one plain Modbus table at this port, too.
    """
    spec, clock = system.plant.devices.spec, Clock()
    at = _wanted(system, resources)
    outlets: list[Outlet] = []
    where: list[tuple[str, SunSpecOutlet, int, int]] = []
    for store in (False, True):
        here = at[(spec.fleet.e_mwh[at] > 0) == store]
        if here.size:
            first = port + sum(len(o.servers) for _, o, _, _ in where[-1:]) if port else 0
            outlet, placed = _sunspec(spec, here, clock, host, first, family, store, apart)
            outlets.append(outlet)
            where += [(name, outlet, server, unit) for name, server, unit in placed]
    if plain_port is not None:
        layout: PointLayout = system.plant.grid.points
        rest = _without(spec, at)
        table = plain_table(spec.fleet, layout, only=rest)
        outlets.append(TableOutlet(modbus_served(table, host, plain_port), spec.fleet, layout.id, clock))
    heeding = Heeding(system.plant, [outlet for outlet in outlets if isinstance(outlet, SunSpecOutlet)])
    return Site(Emulator(heeding, outlets, clock), tuple(where))


def _wanted(system: System, resources: Sequence[str]) -> IntArray:
    fleet = system.plant.fleet
    if not resources:
        return np.flatnonzero((fleet.control != CONTROL_NONE) & (system.plant.devices.spec.s_rated_mva > 0))
    entries = [entry.id for entry in system.scenario.fleet]
    found = np.zeros(fleet.n, np.bool_)
    for name in resources:
        named = system.plan.named(name, entries)
        if not np.any(named):
            raise ScenarioError([Finding("there is no such resource", path="resources", value=name)])
        found |= named
    return np.flatnonzero(found)


def _without(spec: FleetSpec, at: IntArray) -> tuple[str, ...]:
    rest = np.ones(spec.fleet.n, np.bool_)
    rest[at] = False
    return tuple(spec.fleet.id[i] for i in np.flatnonzero(rest))


def _sunspec(
    spec: FleetSpec, at: IntArray, clock: Clock, host: str, port: int, family: str, store: bool, apart: bool
) -> tuple[SunSpecOutlet, list[tuple[str, int, int]]]:
    """SunSpec devices of one layout, and where each stands: (resource, server, unit)."""
    fleet = spec.fleet
    s = np.where(spec.s_rated_mva[at] > 0, spec.s_rated_mva[at], np.maximum(fleet.p_max_mw[at], -fleet.p_min_mw[at]))
    plate = Nameplate(
        serial=[fleet.id[i] for i in at],
        p_max_mw=np.maximum(fleet.p_max_mw[at], 0.0),
        p_charge_mw=np.maximum(-fleet.p_min_mw[at], 0.0),
        s_mva=s,
        q_mvar=Q_SHARE * s,
        v_nom=np.full(len(at), V_NOM),
        e_mwh=fleet.e_mwh[at],
    )
    ders = Ders(plate, device_layout(family, store=store), clock)
    size = 1 if apart else UNITS
    groups = [range(low, min(low + size, len(at))) for low in range(0, len(at), size)]
    servers, placed = [], []
    for number, group in enumerate(groups):
        units: dict[int, Unit] = {1 + i - group.start: ders.bank.unit(i) for i in group}
        address = (host, port + number if port else 0)
        servers.append(ModbusServer(units, address, default_unit=1 if apart else None, connections=CONNECTIONS))
        placed += [(fleet.id[at[i]], number, 1 + i - group.start) for i in group]
    return SunSpecOutlet(ders, at, tuple(servers)), placed
