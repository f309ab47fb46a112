"""A three-phase year of the European low voltage test feeder, against power-grid-model's asymmetric batch.

Included: for each engine, from arrays of injections to arrays of voltages of every node, one thread. Not included:
reading and compiling the network, imports, numba's first compilation, laying out the peer's update arrays. 906 buses
with three phases; the 55 consumers run through SimBench's load profiles for 2016 (quarter-hours, a year has 35,136),
another profile each, scaled to 5 kW at most. The peer's fastest exact method is its current iteration; its default is
Newton-Raphson. Both engines work through the year in the same chunks, alternating, so that results fit in memory.

    python benchmarks/threephase_year.py [--json] [--steps 35136] [--chunk 1024] [--newton-steps 256]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.grid.threephase.pgm import Peer
from vpp.grid import load_profiles
from vpp.grid.threephase import CurrentInjection, ThreePhaseNetwork, load_threephase

FEEDER = Path(__file__).parents[1] / "tests" / "cases" / "european_lv" / "feeder.dss"
PROFILES = "simbench:1-MV-urban--0-sw"
PEAK_KW = 5.0
TOLERANCE = 1e-8
LIMIT_PU = 1e-6


def injections(network: ThreePhaseNetwork, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """P and Q (T, n_leg) in MW and Mvar, injection positive: a profile a consumer."""
    profiles = load_profiles(PROFILES)
    names = [n for n in profiles.names if n.endswith("_pload")]
    rows = [profiles.index(names[k % len(names)]) for k in range(len(network.load_name))]
    factor = PEAK_KW * profiles.factor[rows, :steps].T.astype(float)
    return network.load_injections(np.ascontiguousarray(factor))


def measure(steps: int, chunk: int, newton_steps: int) -> dict[str, Any]:
    """Run both engines through the year, chunk by chunk."""
    network = load_threephase(f"dss:{FEEDER}")
    engine, peer = CurrentInjection(network, tol_pu=TOLERANCE), Peer(network)
    p, q = injections(network, steps)
    engine.solve_batch(p[:64], q[:64])
    peer.run(peer.updates(p[:8], q[:8]), "iterative_current", TOLERANCE)
    ours_s = peer_s = newton_s = worst = 0.0
    newton_done, converged, low, high = 0, 0, np.inf, 0.0
    for first in range(0, len(p), chunk):
        part = slice(first, first + chunk)
        updates = peer.updates(p[part], q[part])
        begin = time.perf_counter()
        ours = engine.solve_batch(p[part], q[part])
        middle = time.perf_counter()
        theirs = peer.run(updates, "iterative_current", TOLERANCE)
        peer_s += time.perf_counter() - middle
        ours_s += middle - begin
        size = np.abs(ours.v[:, peer.rows])
        worst = max(worst, float(np.abs(size - theirs["u_pu"]).max()))
        low, high = min(low, float(size.min())), max(high, float(size.max()))
        converged += int(ours.converged.sum())
        if newton_done < newton_steps:
            few = peer.updates(p[part][: newton_steps - newton_done], q[part][: newton_steps - newton_done])
            begin = time.perf_counter()
            peer.run(few, "newton_raphson", TOLERANCE)
            newton_s += time.perf_counter() - begin
            newton_done += len(next(iter(few.values())))
    per = {"ours": ours_s / len(p) * 1e3, "current": peer_s / len(p) * 1e3, "newton": newton_s / max(newton_done, 1) * 1e3}
    return {
        "network": "European LV test feeder",
        "nodes": network.n_node,
        "steps": len(p),
        "chunk": chunk,
        "newton_steps": newton_done,
        "threads": 1,
        "ms_per_power_flow": per,
        "ratio_current": per["current"] / per["ours"],
        "ratio_newton": per["newton"] / per["ours"],
        "max_dv_pu": worst,
        "converged": converged,
        "voltage_range_pu": [low, high],
        "cpu": platform.processor() or platform.machine(),
    }


def main() -> int:
    """Print a table; exit non-zero where results disagree, never for timing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=35_136)
    parser.add_argument("--chunk", type=int, default=1024)
    parser.add_argument("--newton-steps", type=int, default=256)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    r = measure(args.steps, args.chunk, args.newton_steps)
    if args.json:
        print(json.dumps(r, indent=2))
    else:
        per = r["ms_per_power_flow"]
        print(f"Three-phase year, {r['network']}, {r['nodes']} nodes, {r['steps']} steps, one thread, injections -> voltages")
        print(f"{'engine':<46}{'ms per power flow':>18}{'ratio':>10}")
        print(f"{'VPP Core current injection':<46}{per['ours']:>18.5f}{1.0:>10.1f}")
        print(f"{'power-grid-model, current iteration':<46}{per['current']:>18.5f}{r['ratio_current']:>10.1f}")
        newton = f"power-grid-model, Newton ({r['newton_steps']} steps)"
        print(f"{newton:<46}{per['newton']:>18.5f}{r['ratio_newton']:>10.1f}")
        low, high = r["voltage_range_pu"]
        print(f"goal: not slower than the peer; largest |dV| {r['max_dv_pu']:.1e} pu, |V| {low:.3f} .. {high:.3f} pu")
    agreed = r["max_dv_pu"] < LIMIT_PU and r["converged"] == r["steps"]
    if not agreed:
        print(f"DISAGREEMENT: largest |dV| {r['max_dv_pu']:.1e} pu, {r['steps'] - r['converged']} not converged", file=sys.stderr)
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main())
