"""The devices outside of a scenario: where they stand, what holds them, and how they are connected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from hil.bench.scpi import ScpiGrid, ScpiLink
from hil.connect import Connected, Wish, connect, wish
from hil.follow import Bounds, Driver
from hil.logbook import Outdoors
from hil.mixed import Standing
from hil.watchdog import Arming
from vpp.kernel.errors import LinkError
from vpp.kernel.fleet import Fleet
from vpp.kernel.signals import FloatArray, IntArray
from vpp.wire.supervisor import Policy

if TYPE_CHECKING:
    from scenarios.expand import FleetPlan
    from scenarios.schema.hil import Source
    from scenarios.schema.scenario import Scenario

SCPI_PORT = 5025


@dataclass(frozen=True, slots=True)
class Party:
    """Who is outside.

    Attributes:
        wishes: resources with their addresses.
        scale: what 1 W of each counts in the network.
        drivers: the source that holds each; None: it hangs on the mains.
    """

    wishes: tuple[Wish, ...]
    scale: FloatArray
    drivers: tuple[Driver | None, ...]

    @property
    def driven(self) -> list[Driver]:
        """The sources that there are, in the order of the devices."""
        return [driver for driver in self.drivers if driver is not None]

    def at(self, fleet: Fleet) -> IntArray:
        """Columns of the devices."""
        return np.array([fleet.id.index(one.resource) for one in self.wishes], np.int64)

    def standing(self, fleet: Fleet, hold_s: float) -> Standing:
        """How they stand in the grid."""
        return Standing(self.at(fleet), np.array([d is not None for d in self.drivers], np.bool_), self.scale, hold_s)

    def outdoors(self, fleet: Fleet) -> Outdoors:
        """The same for the record."""

        def held() -> FloatArray:
            return np.array([(np.nan, np.nan) if d is None else d.held for d in self.drivers]).reshape(-1, 2).T

        standing = tuple("open" if d is None else "driven" for d in self.drivers)
        ids, addresses = tuple(one.resource for one in self.wishes), tuple(str(one.where) for one in self.wishes)
        return Outdoors(
            self.at(fleet), ids, addresses, standing, self.scale, tuple(d.name if d else "" for d in self.drivers), held
        )

    def about(self) -> dict[str, Any]:
        """The same for the manifest."""
        return {
            one.resource: {
                "at": str(one.where), "map": one.map.name, "emulated": one.emulated, "scale": float(scale),
                "standing": "open" if driver is None else "driven", "source": "" if driver is None else driver.name,
            }
            for one, scale, driver in zip(self.wishes, self.scale, self.drivers)
        }  # fmt: skip

    def own_size(self, fleet: Fleet) -> Fleet:
        """The fleet with the devices outside in their own size."""
        columns, at = {}, self.at(fleet)
        for name in ("p_min_mw", "p_max_mw", "p_safe_mw"):
            values = getattr(fleet, name).copy()
            values[at] /= self.scale
            columns[name] = values
        return replace(fleet, **columns)


def party_of(scenario: Scenario, maps: Sequence[str], plan: FleetPlan) -> Party:
    """The devices outside: those of the scenario, each replaced by a ``resource=address`` of the command line.

    An entry of the fleet that is one resource may stand for it. Raises `ScenarioError` or `LinkError`.
    """
    lines = {_id(scenario, plan, one.resource): one.at for one in scenario.outside}
    for text in maps:
        name, _, address = text.partition("=")
        lines[_id(scenario, plan, name)] = address
    kinds = dict(zip(plan.id, plan.kind))
    wishes = tuple(wish(f"{name}={address}", kinds) for name, address in lines.items())
    if not wishes:
        raise LinkError(scenario.name, "no resource is outside: give --map resource=protocol://host:port/unit?map=…")
    told = {_id(scenario, plan, one.resource): one for one in scenario.outside}
    scale = np.array([told[one.resource].scale if one.resource in told else 1.0 for one in wishes])
    f_nom_hz = scenario.frequency.nominal_hz
    sources = [told[one.resource].source if one.resource in told else None for one in wishes]
    return Party(wishes, scale, tuple(s if s is None else _driver(s, w.resource, f_nom_hz) for s, w in zip(sources, wishes)))


def _driver(source: Source, resource: str, f_nom_hz: float) -> Driver:
    parts = urlsplit(source.at)
    link = ScpiLink(str(parts.hostname), parts.port or SCPI_PORT, source.timeout_s)
    bounds = Bounds(
        source.vm_low_pu, source.vm_high_pu, f_nom_hz - source.f_band_hz, f_nom_hz + source.f_band_hz, source.v_slew_pu_per_s,
        source.f_slew_hz_per_s, f_nom_hz,
    )  # fmt: skip
    return Driver(link.name, resource, ScpiGrid(link, source.v_nom), bounds, link.close, link.identity)


def _id(scenario: Scenario, plan: FleetPlan, name: str) -> str:
    """Id of a resource, or of the only one of an entry; the name itself where there is no such thing."""
    found = np.flatnonzero(plan.named(name, [entry.id for entry in scenario.fleet]))
    return plan.id[found[0]] if len(found) == 1 else name


async def meet(party: Party, arming: Arming | None, policy: Policy, stage: Callable[[str], None]) -> Connected:
    """Look at every device and every source, before anything else is done. Raises `LinkError` where one is not there."""
    n = len(party.wishes)
    stage(f"Connecting to {n} device{'s' * (n != 1)}")
    connected = await connect(party.wishes, arming, policy)
    for driver in party.driven:
        told = await asyncio.to_thread(driver.identity)
        await asyncio.to_thread(driver.close)
        connected.found[driver.resource] += f"; driven by {driver.name}, {told}"
    return connected
