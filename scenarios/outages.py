"""What every outage would have done at one moment of a run: N-1 over the state that was recorded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from vpp.grid.limits import LOADING
from vpp.grid.network import Network
from vpp.kernel.errors import RunError, SolveError
from vpp.kernel.signals import FloatArray

if TYPE_CHECKING:
    from scenarios.schema.plant import Contingencies as Wanted
    from scenarios.schema.scenario import Scenario
    from vpp.grid.contingency.analysis import Contingencies
    from vpp.grid.limits import Limits

Progress = Callable[[int, int], None]
CASES: Final = 60  # outages that a summary tells of, the worst first
VIOLATIONS: Final = 60
RESTORED: Final = 12  # of them those for which a tie is looked for
BLOCK: Final = 672


def outages_of_run(path: Path, wanted: Wanted | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Solve every outage at one step of a run, finished or not, and say what it does, the worst first.

    Args:
        path: the run directory.
        wanted: which outages, when; None: as the run's scenario says, or every branch at the step of the highest loading.
        progress: called now and then with (cases done, cases in all).

    Raises:
        RunError: what is needed was not recorded, the moment is not in the run, or the step has no solution.
        NetworkError: the network cannot be had any more.
    """
    from scenarios.frequency import forming_buses
    from scenarios.schema.plant import Contingencies as Asked
    from scenarios.schema.scenario import Scenario
    from vpp.grid import load_network
    from vpp.grid.contingency import analyse, single_outages
    from vpp.historian.read import open_run, read_manifest

    manifest = read_manifest(path)
    try:
        scenario = Scenario.model_validate(manifest["scenario"])
    except (KeyError, ValueError) as error:
        raise RunError(str(path), "its scenario is none of this version's: its outages cannot be solved") from error
    wanted = wanted or scenario.contingencies or Asked()
    tree: Any = open_run(path, skip_damaged=True)
    network = load_network(scenario.network, forming=forming_buses(scenario))
    if tree["buses"]["bus"].values.tolist() != [str(b) for b in network.bus_id]:
        raise RunError(str(path), f"{scenario.network} has other buses now than when it was run")
    k, why = _moment(path, tree, scenario, wanted)
    p, q = _injections(path, tree, network, k)
    limits = _limits(scenario, wanted)
    try:
        result = analyse(network, single_outages(network, wanted.kinds), p, q, limits, progress=progress)
    except SolveError as error:
        raise RunError(str(path), f"step {k} has no solution to begin with: {error}") from error
    time_ns = int(tree["time"].values[k].astype("datetime64[ns]").astype(np.int64))
    return {"step": k, "at_ns": time_ns, "why": why, **_told(result, p, q, limits)}


def _limits(scenario: Scenario, wanted: Wanted) -> Limits:
    from vpp.grid.limits import Limits

    x = scenario.limits
    return Limits(x.vm_low_pu, x.vm_high_pu, x.loading, wanted.emergency)


def _moment(path: Path, tree: Any, scenario: Scenario, wanted: Wanted) -> tuple[int, str]:
    """The step to look at, and why."""
    from scenarios.schema.control import windows

    steps = tree.sizes["time"]
    if not steps:
        raise RunError(str(path), "has no step yet: there is nothing to take out")
    if wanted.at != "worst":
        found = windows(wanted.at, None, scenario.time)
        k = (found[0][0] - scenario.time.start_ns) // scenario.time.step_ns if found else steps
        if k >= steps:
            raise RunError(str(path), f"{wanted.at} is not in the {steps} steps that were recorded")
        return int(k), f"at {wanted.at}"
    by_loading = "loading" in tree["branches"].data_vars
    series, why = ("branches/loading", "highest loading") if by_loading else ("system/exchange_p_mw", "highest exchange")
    peak = np.full(steps, -np.inf)
    for low in range(0, steps, BLOCK):
        values = np.abs(tree[series].isel(time=slice(low, low + BLOCK)).values)
        peak[low : low + len(values)] = np.fmax.reduce(values.reshape(len(values), -1), axis=1, initial=-np.inf)
    if not np.isfinite(peak).any():
        raise RunError(str(path), "no step has a solution: there is nothing to take out")
    return int(np.argmax(peak)), why


def _injections(path: Path, tree: Any, network: Network, k: int) -> tuple[FloatArray, FloatArray]:
    """(n_node,) what the resources delivered in a step."""
    resources = tree["resources"]
    if "delivered_p_mw" not in resources.data_vars:
        raise RunError(str(path), "does not keep what its resources delivered: record: [delivered, ...] does")
    bus = resources["bus"].values.astype(np.int32)
    p, q = (resources[f"delivered_{name}"].isel(time=k).values.astype(np.float64) for name in ("p_mw", "q_mvar"))
    return network.scatter(bus, np.nan_to_num(p)), network.scatter(bus, np.nan_to_num(q))  # what failed delivers nothing


def _told(result: Contingencies, p: FloatArray, q: FloatArray, limits: Limits) -> dict[str, Any]:
    """A summary as JSON can say it."""
    ranking = result.ranking()
    caused = np.flatnonzero(result.violations.caused)
    lost, parted = result.lost.buses > 0, np.asarray(result.outages.parted)
    unsolved = ~result.converged
    harmful = np.unique(result.violations.case[caused])
    return {
        "outages": len(result.outages), "unsolved": int(unsolved.sum()), "cut_off": int(lost.sum()), "parted": int(parted.sum()),
        "loading_before": _known(np.max(result.base.value[result.base.quantity == LOADING], initial=-np.inf)),
        "harmful": len(harmful), "caused": len(caused), "violated_before": int(result.base.violated.sum()),
        "cases": [_case(result, k, p, q, limits if i < RESTORED else None) for i, k in enumerate(ranking[:CASES].tolist())],
        "violations": [_violation(result, k) for k in caused[:VIOLATIONS].tolist()],
    }  # fmt: skip


def _case(result: Contingencies, k: int, p: FloatArray, q: FloatArray, limits: Limits | None) -> dict[str, Any]:
    """One outage; with ``limits`` the tie that supplies again what it cuts off is looked for."""
    from vpp.grid.contingency import restore
    from vpp.grid.contingency.outages import branch_title

    outage, x, lost = result.outages.outages[k], result.extremes, result.lost
    fullest = int(x.loading_branch[k])
    proposals = restore(result.network, outage.branches, p, q, limits) if limits is not None and lost.buses[k] else []
    best = proposals[0] if proposals else None
    return {
        "outage": outage.name, "state": (result.islanding(k) or "solved") if result.converged[k] else "no solution",
        "lost_buses": int(lost.buses[k]), "lost_load_mw": float(lost.load_mw[k]),
        "lost_generation_mw": float(lost.generation_mw[k]), "loading_max": _known(x.loading_max[k]),
        "loading_at": branch_title(result.network, fullest) if fullest >= 0 else "", "vm_min_pu": _known(x.vm_min_pu[k]),
        "vm_max_pu": _known(x.vm_max_pu[k]), "violations": int(x.violations[k]),
        "restored_by": None if best is None else best.name, "restored_allowed": None if best is None else best.allowed,
    }  # fmt: skip


def _violation(result: Contingencies, k: int) -> dict[str, Any]:
    """One limit that an outage breaks."""
    from vpp.grid.contingency.analysis import element_title
    from vpp.grid.limits import QUANTITIES

    found = result.violations
    return {
        "outage": result.outages.outages[found.case[k]].name, "quantity": QUANTITIES[found.quantity[k]],
        "element": element_title(result.network, int(found.quantity[k]), int(found.element[k])),
        "value": float(found.value[k]), "limit": float(found.limit[k]), "margin": float(found.margin[k]),
        "before": _known(found.base[k]),
    }  # fmt: skip


def _known(value: float) -> float | None:
    """A number for JSON; None where there is none."""
    return float(value) if np.isfinite(value) else None
