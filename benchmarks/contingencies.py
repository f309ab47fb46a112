"""Contingencies: every outage solved and looked at, against lightsim2grid's ContingencyAnalysis and pandapower's run_contingency.

Two networks, one thread, all in the same run. *case1354pegase*, meshed: every line and transformer; the peer's C++ class
solves only the outages that do not part the network and gives voltages, so its time goes by what it solved; ours solves
all, gives voltages, loadings, extremes and ranked violations, and goes by all it solved. *A radial SimBench MV network*:
every line and transformer; pandapower's run_contingency does its power flow and extremes for each. Included: from
injections to results, our own power flow without an outage, the search for what is cut off. Not included: loading and
compiling the network, imports, numba's first compilation.

    python benchmarks/contingencies.py [--json] [--cases 0] [--repeats 3] [--pandapower-cases 0]
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from _common import show

from vpp.grid import load_network, to_pandapower
from vpp.grid.contingency import Outages, analyse, single_outages
from vpp.grid.network import BRANCH_KINDS

MESHED, RADIAL = "pandapower:case1354pegase", "simbench:1-MV-rural--0-sw"
KINDS = ("line", "trafo")
TOL_PU, MAX_ITER = 1e-8, 20  # the peer's own defaults are looser or the same
AGREE_PU = 1e-6


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of a call, and what it returned."""
    begin = time.perf_counter()
    result = call()
    return time.perf_counter() - begin, result


def first(outages: Outages, count: int) -> Outages:
    """The first outages, all of them for 0."""
    some = slice(0, count or len(outages))
    return Outages(outages.outages[some], outages.lost[some], outages.parted[some])


def ours(network: Any, count: int) -> tuple[Any, np.ndarray, np.ndarray]:
    """Find the outages, analyse them: the analysis, voltages by bus (cases, n_bus), and branch of each case."""
    blocks: list[np.ndarray] = []
    outages = first(single_outages(network, KINDS), count)
    result = analyse(network, outages, *network.rated_injections(), keep=lambda _, v: blocks.append(v))
    branch = np.array([outage.branches[0] for outage in outages.outages])
    return result, np.concatenate(blocks), branch


def lightsim2grid(net: Any, number: list[int]) -> Callable[[], tuple[int, np.ndarray, np.ndarray]]:
    """Prepare ContingencyAnalysis for these branches (lines, then transformers); the call: solved, mask, voltages."""
    import pandapower
    from lightsim2grid.algorithm import AlgorithmType
    from lightsim2grid.contingencyAnalysis import ContingencyAnalysisCPP
    from lightsim2grid.network import init_from_pandapower

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pandapower.runpp(net, lightsim2grid=False)
        grid = init_from_pandapower(net)
    start = net.res_bus.vm_pu.to_numpy() * np.exp(1j * np.deg2rad(net.res_bus.va_degree.to_numpy()))

    def run() -> tuple[int, np.ndarray, np.ndarray]:
        peer = ContingencyAnalysisCPP(grid)
        peer.change_algorithm(AlgorithmType.NRSing_KLU)
        peer.add_multiple_n1(number)
        peer.compute(start.copy(), MAX_ITER, TOL_PU)
        return int(peer.nb_solved()), np.asarray(peer.converged_mask()), np.asarray(peer.get_voltages())

    return run


def meshed(count: int, repeats: int) -> dict[str, float]:
    """Both on case1354pegase: microseconds a case, and how far their voltages are apart."""
    network = load_network(MESHED)
    ours(network, 8)
    net = to_pandapower(network)
    result, v, branch = ours(network, count)
    lines = len(net.line)
    kind, ids = network.branch_kind[branch], network.branch_id[branch]
    number = ids + np.where(kind == BRANCH_KINDS.index("line"), 0, lines)
    peer = lightsim2grid(net, number.tolist())
    took = [(timed(lambda: ours(network, count))[0], *timed(peer)) for _ in range(repeats)]
    solved, mask, v_peer = took[0][2]
    order = np.argsort(np.argsort(number))  # the peer sorts its cases
    v_peer, mask = v_peer[order], mask[order]
    both = mask & result.converged
    bus = network.bus_values(v)
    apart = np.nanmax(np.abs(bus[both] - v_peer[both]))
    per_case = statistics.median(t[0] for t in took) / len(v) * 1e6
    per_peer = statistics.median(t[1] for t in took) / solved * 1e6
    return {
        "cases": len(v), "converged": int(result.converged.sum()), "peer_solved": solved, "peer_converged": int(mask.sum()),
        "us_per_case": per_case, "peer_us_per_solved": per_peer, "ratio": per_case / per_peer, "apart_pu": float(apart),
    }  # fmt: skip


def radial(count: int, peer_count: int, repeats: int) -> dict[str, float]:
    """Both on the radial network: milliseconds a case, and how far the extremes are apart."""
    from pandapower.contingency import run_contingency

    network = load_network(RADIAL)
    ours(network, 8)
    net = to_pandapower(network)
    took, (result, v, branch) = min((timed(lambda: ours(network, count)) for _ in range(repeats)), key=lambda x: x[0])
    kind, ids = network.branch_kind[branch], network.branch_id[branch]
    chosen = slice(0, peer_count or len(v))
    cases = {k: {"index": ids[chosen][kind[chosen] == BRANCH_KINDS.index(k)].tolist()} for k in KINDS}
    asked = sum(len(case["index"]) for case in cases.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_contingency(net, {"line": {"index": cases["line"]["index"][:1]}})
        took_peer, out = timed(lambda: run_contingency(net, cases))
    vm = np.abs(network.bus_values(v[chosen]))
    with np.errstate(invalid="ignore"):
        apart = np.nanmax(np.abs(np.nanmin(vm, axis=0) - out["bus"]["min_vm_pu"]))
    per_case, per_peer = took / len(v) * 1e3, took_peer / asked * 1e3
    return {
        "cases": len(v), "converged": int(result.converged.sum()), "peer_cases": asked, "ms_per_case": per_case,
        "peer_ms_per_case": per_peer, "ratio": per_peer / per_case, "apart_pu": float(apart),
    }  # fmt: skip


def main() -> int:
    """Print both; non-zero where results disagree, never for timing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=0, help="0: all")
    parser.add_argument("--pandapower-cases", type=int, default=0, help="0: all")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    a, b = meshed(args.cases, args.repeats), radial(args.cases, args.pandapower_cases, args.repeats)
    rows = [
        (MESHED, f"{a['cases']:.0f} outages, {a['converged']:.0f} converged; {a['apart_pu']:.1e} pu apart"),
        ("  ours", f"{a['us_per_case']:.0f} us a case, limits and ranking included"),
        ("  lightsim2grid", f"{a['peer_us_per_solved']:.0f} us a solved case ({a['peer_solved']:.0f} solved)"),
        ("  ratio", f"{a['ratio']:.2f} of its time (goal: at most 1.2)"),
        (RADIAL, f"{b['cases']:.0f} outages, {b['converged']:.0f} converged; {b['apart_pu']:.1e} pu apart"),
        ("  ours", f"{b['ms_per_case']:.3f} ms a case"),
        ("  run_contingency", f"{b['peer_ms_per_case']:.1f} ms a case ({b['peer_cases']:.0f} cases)"),
        ("  ratio", f"{b['ratio']:.0f} times faster (goal: at least 100)"),
    ]
    show("Contingencies, one thread", rows, {"meshed": a, "radial": b})
    return 0 if max(a["apart_pu"], b["apart_pu"]) < AGREE_PU else 1


if __name__ == "__main__":
    raise SystemExit(main())
