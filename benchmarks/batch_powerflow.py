"""Figure (c): radial batch power flow over the whole year of case33bw, against lightsim2grid and pandapower.

Included: for each engine, from arrays of injections to arrays of voltages, one thread. Not included: loading and
compiling the network, imports, numba's first compilation. The injections are case33bw's loads times SimBench's
load profiles for 2016 (35,136 quarter-hours), another profile at every bus, so they change every step.

    python benchmarks/batch_powerflow.py [--json] [--repeats 5] [--runpp-steps 200]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np

from vpp.grid import load_network, load_profiles, to_pandapower
from vpp.grid.powerflow.tree import TreeSweep

PROFILES = "simbench:1-MV-urban--0-sw"
LIMIT_PU = 1e-6


def injections(steps: int) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Build the network, P and Q by load (T, n_load) as consumption, and by node (T, n_node) as injection."""
    network, profiles = load_network("pandapower:case33bw"), load_profiles(PROFILES)
    names = [n for n in profiles.names if n.endswith("_pload")]
    chosen = [names[k % len(names)] for k in range(len(network.loads))]
    p_rows = [profiles.index(n) for n in chosen]
    q_rows = [profiles.index(n.replace("_pload", "_qload")) for n in chosen]
    p = -network.loads.p_mw * profiles.factor[p_rows, :steps].T.astype(float)
    q = -network.loads.q_mvar * profiles.factor[q_rows, :steps].T.astype(float)
    node = network.node_of_bus[network.loads.bus]
    p_node, q_node = np.zeros((len(p), network.n_node)), np.zeros((len(p), network.n_node))
    for k, n in enumerate(node):
        p_node[:, n] -= p[:, k]
        q_node[:, n] -= q[:, k]
    return network, p, q, p_node, q_node


def timed(call: Callable[[], Any], repeats: int) -> tuple[list[float], Any]:
    """Call several times: seconds of each, and the last result."""
    seconds, result = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
    return seconds, result


def lightsim2grid_series(net: Any, p: np.ndarray, q: np.ndarray) -> Callable[[], np.ndarray]:
    """Prepare lightsim2grid's TimeSeriesCPP on the same network; the call returns voltages (T, n_bus)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lightsim2grid.algorithm import AlgorithmType
        from lightsim2grid.network import init_from_pandapower
        from lightsim2grid.timeSerie import TimeSeriesCPP

        grid = init_from_pandapower(net)
    n = len(net.bus)
    start = np.ones(n, dtype=complex)
    none = np.zeros((len(p), 0))
    gen_p = np.zeros((len(p), len(grid.get_generators())))

    def run() -> np.ndarray:
        series = TimeSeriesCPP(grid)
        series.change_algorithm(AlgorithmType.NRSing_KLU)
        series.compute_Vs(gen_p, none, p, q, start.copy(), 20, 1e-8)
        return np.asarray(series.get_voltages())

    return run


def runpp_series(net: Any, p: np.ndarray, q: np.ndarray) -> Callable[[], np.ndarray]:
    """Prepare plain ``runpp`` step by step; the call returns voltages (T, n_bus)."""
    import pandapower as pp

    def run() -> np.ndarray:
        out = np.empty((len(p), len(net.bus)), dtype=complex)
        for t in range(len(p)):
            net.load["p_mw"], net.load["q_mvar"] = p[t], q[t]
            pp.runpp(net, lightsim2grid=False)
            out[t] = net.res_bus.vm_pu.to_numpy() * np.exp(1j * np.deg2rad(net.res_bus.va_degree.to_numpy()))
        return out

    return run


def measure(steps: int, repeats: int, runpp_steps: int) -> dict[str, Any]:
    """Run all three in turn and compare."""
    network, p, q, p_node, q_node = injections(steps)
    net = to_pandapower(network)
    engine = TreeSweep(network)
    engine.solve_batch(p_node[:64], q_node[:64])
    series = lightsim2grid_series(net, p, q)
    reference = runpp_series(net, p[:runpp_steps], q[:runpp_steps])
    runpp_series(net, p[:2], q[:2])()
    ours_s, ours = timed(lambda: engine.solve_batch(p_node, q_node), max(repeats, 5))
    peer_s, peer = timed(series, repeats)
    runpp_s, slow = timed(reference, 1 if runpp_steps > 500 else 3)
    v = network.bus_values(ours.v)
    per = {
        "ours": statistics.median(ours_s) / len(p) * 1e3,
        "lightsim2grid": statistics.median(peer_s) / len(p) * 1e3,
        "runpp": statistics.median(runpp_s) / len(slow) * 1e3,
    }
    return {
        "network": "case33bw",
        "steps": len(p),
        "runpp_steps": len(slow),
        "threads": 1,
        "repeats": {"ours": len(ours_s), "lightsim2grid": len(peer_s), "runpp": len(runpp_s)},
        "ms_per_power_flow": per,
        "ratio_lightsim2grid": per["lightsim2grid"] / per["ours"],
        "ratio_runpp": per["runpp"] / per["ours"],
        "max_dv_lightsim2grid_pu": float(np.max(np.abs(v - peer))),
        "max_dv_runpp_pu": float(np.max(np.abs(v[: len(slow)] - slow))),
        "converged": int(ours.converged.sum()),
        "voltage_range_pu": [float(np.abs(v).min()), float(np.abs(v).max())],
        "cpu": platform.processor() or platform.machine(),
    }


def main() -> int:
    """Print a table; exit non-zero where results disagree, never for timing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=35_136)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--runpp-steps", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    r = measure(args.steps, args.repeats, args.runpp_steps)
    if args.json:
        print(json.dumps(r, indent=2))
    else:
        per = r["ms_per_power_flow"]
        print(f"Radial batch power flow, case33bw, {r['steps']} steps, one thread, injections -> voltages")
        print(f"{'engine':<28}{'ms per power flow':>18}{'ratio':>10}{'largest |dV| pu':>18}")
        print(f"{'VPP Core tree sweep':<28}{per['ours']:>18.5f}{1.0:>10.1f}{'':>18}")
        for key, label in (("lightsim2grid", "lightsim2grid TimeSeriesCPP"), ("runpp", f"runpp ({r['runpp_steps']} steps)")):
            print(f"{label:<28}{per[key]:>18.5f}{r[f'ratio_{key}']:>10.1f}{r[f'max_dv_{key}_pu']:>18.1e}")
        low, high = r["voltage_range_pu"]
        print(f"goals: >= 5 x lightsim2grid, >= 5000 x runpp; |V| {low:.3f} .. {high:.3f} pu")
    worst = max(r["max_dv_lightsim2grid_pu"], r["max_dv_runpp_pu"])
    agreed = worst < LIMIT_PU and r["converged"] == r["steps"]
    if not agreed:
        print(f"DISAGREEMENT: largest |dV| {worst:.1e} pu, {r['steps'] - r['converged']} steps not converged", file=sys.stderr)
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main())
