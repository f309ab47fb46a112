"""Faults of an emulated fleet: from the scenario, or from the command line, to the servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hil.faults import ON_THE_WIRE, Fault
from hil.mischief import Mischief, Place, Planned, servers_of
from hil.outlets import SunSpecOutlet, TableOutlet
from vpp.kernel.errors import Finding, ScenarioError
from vpp.wire.supervisor import Chance

if TYPE_CHECKING:
    from scenarios.build import System
    from scenarios.emulate import Site
    from scenarios.schema.hil import WireFault


def override(texts: Sequence[str]) -> list[str]:
    """Faults of the command line, ``KIND,key=value,…`` each, as a ``--set``; they stand in the place of the scenario's."""
    found = []
    for text in texts:
        kind, *pairs = (part.strip() for part in text.split(","))
        keys = [f"{name.strip()}: {value.strip()}" for name, _, value in (pair.partition("=") for pair in pairs)]
        found.append("{" + ", ".join([f"kind: {kind or 'null'}", *keys]) + "}")
    return [f"wire_faults=[{', '.join(found)}]"] if found else []


def put_faults(site: Site, system: System) -> tuple[Mischief, ...]:
    """Let the faults of a built scenario happen to its emulated devices; gives the outlets that go wrong.

    Raises:
        ScenarioError: a fault names a device that is not served by itself, or needs Modbus where there is none.
    """
    faults, emulator = system.scenario.wire_faults, site.emulator
    if not faults:
        return ()
    findings: list[Finding] = []
    made: list[Mischief] = []
    places = [_places(site, system, i, one, findings) for i, one in enumerate(faults)]
    if findings:
        raise ScenarioError(findings)
    wire = any(one.kind in ON_THE_WIRE for one in faults)
    for number, outlet in enumerate(emulator.outlets):
        if not isinstance(outlet, SunSpecOutlet | TableOutlet) or (wire and not servers_of(outlet)):
            text = f"only Modbus servers can be meddled with: {', '.join(ON_THE_WIRE)}"
            raise ScenarioError([Finding(text, path="wire_faults")])
        planned = []
        for one, where in zip(faults, places):
            here = None if where is None else tuple(place for at, place in where if at is outlet)
            if here is None or here:
                planned.append(Planned(_fault(one), here))
        begin_ns = int(system.plant.time_ns[0])

        def chance(server: int, number: int = number) -> Chance:
            return np.random.default_rng([system.scenario.seed, number, server])

        made.append(Mischief(outlet, emulator.clock, planned, begin_ns, chance))
    emulator.outlets = made
    return tuple(made)


def _fault(one: WireFault) -> Fault:
    end_s = np.inf if one.until_s is None else one.until_s
    return Fault(one.kind, one.from_s, end_s, one.share, one.delay_s, one.code, one.step_s)


def _places(
    site: Site, system: System, i: int, one: WireFault, findings: list[Finding]
) -> list[tuple[SunSpecOutlet, Place]] | None:
    """Where the devices of a fault are served; None: it hits everybody."""
    if one.device is None:
        return None
    entries = [entry.id for entry in system.scenario.fleet]
    named = {system.plan.id[k] for k in np.flatnonzero(system.plan.named(one.device, entries))}
    column = {name: k for k, name in enumerate(system.plant.fleet.id)}
    found = [(outlet, (column[name], server, unit)) for name, outlet, server, unit in site.where if name in named]
    if not found:
        served = ", ".join(name for name, *_ in site.where[:5]) + (" …" if len(site.where) > 5 else "")
        text = "is not served as a device of its own" if named else "there is no such resource"
        hint = f"{text}; there are {served}" if served else text
        findings.append(system.scenario.finding(hint, "wire_faults", i, "device"))
    return found
