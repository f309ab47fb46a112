"""A scenario's fleet as protocol servers on the solved grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from hil.emulator import Clock, Emulator, Outlet
from hil.links import SCHEMES, Where, credentials, served
from hil.outlets import SunSpecOutlet, TableOutlet
from hil.plain import plain_table
from scenarios.build import System
from scenarios.emulate_map import Q_SHARE, UNITS, by_map
from scenarios.heeding import Heeding
from vpp.kernel.errors import Finding, ScenarioError
from vpp.kernel.fleet import CONTROL_NONE
from vpp.kernel.grid_points import PointLayout
from vpp.kernel.signals import IntArray
from vpp.wire.modbus.pdu import Unit
from vpp.wire.modbus.server import ModbusServer
from vpp.wire.sunspec.der import Ders, Nameplate, device_layout
from vpp.wire.tls import server_context

if TYPE_CHECKING:
    from twin.spec import FleetSpec

V_NOM: Final = 230.0
CONNECTIONS: Final = 256


class Listening(Protocol):
    """A server that listens somewhere."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        ...


@dataclass(frozen=True, slots=True)
class Site:
    """An emulated fleet.

    Attributes:
        emulator: plant and servers.
        where: (resource, protocol, server, unit, options of its address) of every device.
    """

    emulator: Emulator
    where: tuple[tuple[str, str, Listening, int, str], ...]

    def addresses(self) -> dict[str, str]:
        """Resource -> address, once the servers listen."""
        out = {}
        for name, protocol, server, unit, options in self.where:
            host, port = server.address
            out[name] = f"{protocol}://{host}:{port}/{unit}{options}"
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
    protocol: str = "sunspec",
    device_map: str = "",
    tls: Path | None = None,
) -> Site:
    """Put a built scenario's devices behind servers.

    Args:
        system: the scenario, built; its controllers are not used.
        host: where to listen.
        port: first port of the devices, counted up; 0: any free ones.
        resources: ids, or names of entries, that are served as devices; none: everything that takes commands.
        family: models 701 to 715 ("modern"), 103 and 120 to 124 ("legacy"), or "both".
        apart: every device at unit 1 of a port of its own; else 247 units a port.
        plain_port: serve the whole fleet and the network's meters as one plain Modbus table at this port, too.
        protocol: a key of `hil.links.SCHEMES`; on all but SunSpec every device is what its device map says.
        device_map: that map; "": the shipped one for the kind of device, or every signal as it stands (plain).
        tls: folder with certificate.pem, key.pem and authority.pem: only clients that the authority knows are let in.

    Raises:
        LinkError: certificates or a device map cannot be used.
        ScenarioError: there is no such resource or map.
    """
    spec, clock = system.plant.devices.spec, Clock()
    at = _wanted(system, resources)
    options = {} if tls is None else {"tls": str(tls)}
    outlets: list[Outlet] = []
    where: list[tuple[str, str, Listening, int, str]] = []
    if protocol == "sunspec":
        for store in (False, True):
            here = at[(spec.fleet.e_mwh[at] > 0) == store]
            if here.size:
                outlet, placed = _sunspec(spec, here, clock, host, port, family, store, apart, tls)
                port += len(outlet.servers) if port else 0
                outlets.append(outlet)
                where += [(name, protocol, outlet.servers[server], unit, "?emulated=yes") for name, server, unit in placed]
    else:
        mapped = by_map(spec, at, clock, Where(protocol, host, port, SCHEMES[protocol].unit, options), device_map, apart)
        outlets += [outlet for outlet, _ in mapped]
        where += [(name, protocol, outlet.served, unit, told) for outlet, placed in mapped for name, unit, told in placed]
    if plain_port is not None:
        layout: PointLayout = system.plant.grid.points
        rest = _without(spec, at)
        table = plain_table(spec.fleet, layout, only=rest)
        outlets.append(TableOutlet(served(table, Where("modbus", host, plain_port, 1, options)), spec.fleet, layout.id, clock))
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
    spec: FleetSpec, at: IntArray, clock: Clock, host: str, port: int, family: str, store: bool, apart: bool,
    tls: Path | None = None,
) -> tuple[SunSpecOutlet, list[tuple[str, int, int]]]:  # fmt: skip
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
    size, context = 1 if apart else UNITS, None if tls is None else server_context(credentials(tls))
    groups = [range(low, min(low + size, len(at))) for low in range(0, len(at), size)]
    servers, placed = [], []
    for number, group in enumerate(groups):
        units: dict[int, Unit] = {1 + i - group.start: ders.bank.unit(i) for i in group}
        address = (host, port + number if port else 0)
        whoever = 1 if apart else None
        servers.append(ModbusServer(units, address, default_unit=whoever, connections=CONNECTIONS, tls=context))
        placed += [(fleet.id[at[i]], number, 1 + i - group.start) for i in group]
    return SunSpecOutlet(ders, at, tuple(servers)), placed
