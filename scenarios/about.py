"""What a run directory says of its system: the manifest at the start, and the columns of the record."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scenarios.disturb import fault_table
from scenarios.metering import meter_axis
from twin.devices.entry import PHASES
from vpp import __version__
from vpp.grid.network import BRANCH_KINDS
from vpp.historian.run import Axis

if TYPE_CHECKING:
    from scenarios.build import System

_VERSIONS = ("numpy", "numba", "scipy", "mosaik", "pandapower", "simbench", "zarr", "xarray", "highspy")


def about(system: System) -> dict[str, Any]:
    """The manifest as it stands at the start."""
    scenario = system.scenario
    return {
        "name": scenario.name,
        "purpose": scenario.purpose,
        "scenario": scenario.model_dump(mode="json"),
        "scenario_hash": scenario.hash,
        "seed": scenario.seed,
        "zone": scenario.time.zone,
        "step_s": scenario.time.step_s,
        "versions": {"vpp-core": __version__, "python": platform.python_version(), **{p: version(p) for p in _VERSIONS}},
        "cpu": _cpu(),
        "engine": {"name": system.engine[0], "reason": system.engine[1]},
        "network": {"source": system.network.source, "buses": system.network.n_bus, "notes": list(system.network.notes)},
        "resources": system.plan.n,
        **fault_table(system.plant.devices.spec.disturbed, system.plan.id),
        "owners": list(system.chain.owners),
    }


def axes(system: System) -> list[Axis]:
    """The columns of the record, with what is known of each."""
    plan, net = system.plan, system.network
    groups = np.array(plan.group_names)
    bus_id = tuple(str(b) for b in net.bus_id)
    branch_id = _unique(f"{BRANCH_KINDS[k]}-{i}" for k, i in zip(net.branch_kind, net.branch_id, strict=True))
    kinds = {
        "kind": np.array(plan.kind),
        "bus": np.asarray(plan.bus),
        "group": groups[plan.group_of],
        "phase": np.array(PHASES)[plan.phase],
    }
    ratings = {"p_rated_mw": plan.p_mw, "s_rated_mva": plan.s_mva, "e_mwh": plan.e_mwh}
    return [
        Axis("resources", "resource", plan.id, {**kinds, **ratings}),
        Axis(
            "buses", "bus", bus_id,
            {"name": np.array(net.bus_name), "vn_kv": net.bus_vn_kv, "x": net.bus_xy[:, 0], "y": net.bus_xy[:, 1]},
        ),
        Axis(
            "branches", "branch", branch_id,
            {
                "kind": np.array(BRANCH_KINDS)[net.branch_kind], "name": np.array(net.branch_name),
                "from_bus": net.branch_from_bus, "to_bus": net.branch_to_bus, "closed": net.branch_closed.astype(np.uint8),
            },
        ),
        *([meter_axis(system.plant.grid.points, net)] if "estimate" in system.scenario.record else []),
    ]  # fmt: skip


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    """The names, with a number behind each repetition (a three-winding transformer is three branches)."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return tuple(out)


def _cpu() -> str:
    """The processor's name, where the system says it."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
