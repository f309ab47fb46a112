"""Emulated devices that are what a device map says, on any protocol but SunSpec."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from hil.connect import map_at, ratings_at
from hil.emulator import Clock
from hil.links import Where, served
from hil.outlets import TableOutlet
from hil.plain import NAME
from vpp.kernel.signals import IntArray
from vpp.wire.points import Point, PointTable

if TYPE_CHECKING:
    from twin.spec import FleetSpec

Q_SHARE: Final = 0.44  # IEEE 1547-2018, 5.2, category B
UNITS: Final = 247  # behind one port
PATIENCE_S: Final = 30.0  # an emulated device that waits for signs of life leads itself after so long without one
Placed = list[tuple[str, int, str]]  # (resource, unit, options of its address)


def by_map(
    spec: FleetSpec, at: IntArray, clock: Clock, where: Where, device_map: str = "", apart: bool = False
) -> list[tuple[TableOutlet, Placed]]:
    """Servers of devices by their maps, and who stands where.

    Args:
        spec: the fleet.
        at: columns of the devices.
        clock: of the devices.
        where: protocol, host, first port (0: free ones), first unit.
        device_map: one map for all; "": the shipped one for each kind, or the plain one.
        apart: every device at a port of its own.

    Raises:
        LinkError: a map is for another protocol or kind.
        ScenarioError: there is no such map.
    """
    units = where.scheme.units
    room = min(len(units) - units.index(where.unit), UNITS) if where.scheme.shared and not apart else 1
    out: list[tuple[TableOutlet, Placed]] = []
    for begin in range(0, len(at), room):
        points: list[Point] = []
        placed: Placed = []
        for unit, column in enumerate(at[begin : begin + room].tolist(), where.unit):
            own, told = _device(spec, column, where, unit, device_map)
            points += own
            placed.append((spec.fleet.id[column], unit, told))
        here = replace(where, port=where.port + len(out) if where.port else 0)
        out.append((TableOutlet(served(PointTable(tuple(points)), here, clock), spec.fleet, (), clock, PATIENCE_S), placed))
    return out


def _device(spec: FleetSpec, column: int, where: Where, unit: int, device_map: str) -> tuple[tuple[Point, ...], str]:
    """A device's points, and the options that its address needs."""
    fleet = spec.fleet
    name = device_map or where.scheme.maps.get(fleet.kind[column], NAME)
    p_mw = max(fleet.p_max_mw[column], -fleet.p_min_mw[column])
    s_mva = spec.s_rated_mva[column] if spec.s_rated_mva[column] > 0 else p_mw
    known = {"p_max_mw": p_mw, "q_max_mvar": Q_SHARE * s_mva, "s_max_mva": s_mva, "e_mwh": fleet.e_mwh[column]}
    named = replace(where, options={"map": name})
    made = map_at(named, fleet.kind[column])
    assert made is not None
    ratings = {key: f"{known[key]:.9g}" for key in made.ratings if known.get(key, 0.0) > 0}
    options = {"map": name, "emulated": "yes", **ratings}
    table = made.on_wire(fleet.id[column], unit, ratings_at(replace(where, options=options), made))
    return table.points, "?" + urlencode(options, safe="/:")
