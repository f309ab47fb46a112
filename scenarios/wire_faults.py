"""Faults of an emulated fleet: from the scenario, or from the command line, to the servers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from hil.faults import KINDS, ON_THE_WIRE, Fault
from hil.mischief import Mischief, Place, Planned, places_of, servers_of
from hil.outlets import SunSpecOutlet, TableOutlet
from vpp.kernel.errors import Finding, ScenarioError
from vpp.kernel.signals import IntArray
from vpp.wire.modbus.server import ModbusServer
from vpp.wire.supervisor import Chance

if TYPE_CHECKING:
    from scenarios.build import System
    from scenarios.emulate import Site
    from scenarios.schema.hil import WireFault


IN_THE_DEVICE: Final = tuple(kind for kind in KINDS if kind not in ON_THE_WIRE)


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
    scenario, emulator = system.scenario, site.emulator
    faults, outlets = scenario.wire_faults, [o for o in emulator.outlets if isinstance(o, SunSpecOutlet | TableOutlet)]
    if not faults:
        return ()
    places = [places_of(outlet) for outlet in outlets]
    findings: list[Finding] = []
    planned: list[list[Planned]] = [[] for _ in outlets]
    for i, one in enumerate(faults):
        columns = _columns(system, one)
        here = [tuple(found[c] for c in columns if c in found) for found in places] if one.device is not None else []
        hit = [n for n in range(len(outlets)) if one.device is None or here[n]]
        if not hit:
            findings.append(_nobody(system, i, bool(columns.size), places))
        if one.kind in ON_THE_WIRE and any(not isinstance(s, ModbusServer) for n in hit for s in servers_of(outlets[n])):
            text = f"only Modbus can be meddled with on the wire; elsewhere there are {', '.join(IN_THE_DEVICE)}"
            findings.append(scenario.finding(text, "wire_faults", i, "kind"))
        for n in hit:
            planned[n].append(Planned(_fault(one), here[n] if one.device is not None else None))
    if findings:
        raise ScenarioError(findings)
    begin_ns = int(system.plant.time_ns[0])
    made = [Mischief(outlet, emulator.clock, planned[n], begin_ns, _chance(scenario.seed, n)) for n, outlet in enumerate(outlets)]
    emulator.outlets = made
    return tuple(made)


def _chance(seed: int, outlet: int) -> Callable[[int], Chance]:
    return lambda server: np.random.default_rng([seed, outlet, server])


def _fault(one: WireFault) -> Fault:
    end_s = np.inf if one.until_s is None else one.until_s
    return Fault(one.kind, one.from_s, end_s, one.share, one.delay_s, one.code, one.step_s)


def _columns(system: System, one: WireFault) -> IntArray:
    """Columns of the fleet that a fault names."""
    if one.device is None:
        return np.zeros(0, np.int64)
    entries = [entry.id for entry in system.scenario.fleet]
    return np.flatnonzero(system.plan.named(one.device, entries))


def _nobody(system: System, i: int, named: bool, places: Sequence[Mapping[int, Place]]) -> Finding:
    served = [system.plant.fleet.id[column] for found in places for column in found]
    few = ", ".join(served[:5]) + (" …" if len(served) > 5 else "")
    text = f"is not served as a device of its own; there are {few}" if named else "there is no such resource"
    return system.scenario.finding(text, "wire_faults", i, "device")
