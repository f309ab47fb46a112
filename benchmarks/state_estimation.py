"""State estimation with bad-data detection, against pandapower's plain WLS and power-grid-model's plain estimate.

Included: for each, from an array of measured values to voltages, one thread. Ours adds sigmas of all voltages and
currents, the largest-normalised-residual test, observability; it begins at the last tick's voltages. The peers do none
of that. Not included: building models, imports, numba's first compilation. power-grid-model takes the values by
`update`; pandapower by the column of its measurement table, and starts flat. Measured are the voltages of
all nodes, P and Q wherever something can be injected and at every branch's from end; the loads drift by one per cent a tick.

    python benchmarks/state_estimation.py [--json] [--ticks 200] [--pandapower-ticks 5]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from controllers.estimation.estimator import StateEstimator
from controllers.estimation.measured import VM, P, Q
from tests.controllers.metered import NETWORKS, Metered, metered, pandapower_of, power_grid_model_of, true_values
from vpp.grid.powerflow import choose
from vpp.grid.source import quiet

LIMIT_PU = 2e-3  # all see the same noisy values; they differ in how they take zero injections


def drifting(case: Metered, ticks: int) -> list[np.ndarray]:
    """Noisy measurements of a network whose loads change by a per cent from tick to tick."""
    engine, _ = choose(case.network, "auto")
    p, q = case.network.rated_injections()
    rng, out = np.random.default_rng(1), []
    for k in range(ticks):
        load = 0.5 * (1.0 + 0.2 * np.sin(0.05 * k)) * (1.0 + 0.01 * rng.normal(size=len(p)))
        v = engine.solve(load * p, load * q).v
        z = true_values(case.grid, v, case.meters.kind, case.meters.row)
        out.append(z + rng.normal(size=len(z)) * case.meters.sigma)
    return out


def timed(call: Callable[[np.ndarray], np.ndarray], given: list[np.ndarray]) -> tuple[float, list[np.ndarray]]:
    """Median milliseconds a tick, and the magnitudes."""
    call(given[0])
    spent, out = [], []
    for z in given:
        begin = time.perf_counter()
        v = call(z)
        spent.append(time.perf_counter() - begin)
        out.append(v)
    return statistics.median(spent) * 1e3, out


def grid_model(case: Metered, method: str) -> Callable[[np.ndarray], np.ndarray]:
    """power-grid-model's plain estimate, ready to be called with values."""
    import power_grid_model as pg

    model = power_grid_model_of(case, case.z)
    m, sn = case.meters, case.network.sn_mva * 1e6
    at, p, q = (np.flatnonzero(m.kind == kind) for kind in (VM, P, Q))
    volt, power = (
        pg.initialize_array("update", "sym_voltage_sensor", len(at)),
        pg.initialize_array("update", "sym_power_sensor", len(p)),
    )
    volt["id"], power["id"] = 4 * 10**6 + at, 5 * 10**6 + p
    base = model.calculate_state_estimation()["node"]["u"] / model.calculate_state_estimation()["node"]["u_pu"]

    def call(z: np.ndarray) -> np.ndarray:
        volt["u_measured"] = z[at] * base[m.row[at]]
        power["p_measured"], power["q_measured"] = z[p] * sn, z[q] * sn
        model.update(update_data={"sym_voltage_sensor": volt, "sym_power_sensor": power})
        found = model.calculate_state_estimation(calculation_method=pg.CalculationMethod[method])
        return np.asarray(found["node"]["u_pu"])

    return call


def pandapower(case: Metered) -> Callable[[np.ndarray], np.ndarray]:
    """Plain WLS of pandapower, ready to be called with values."""
    from pandapower.estimation import estimate

    net = pandapower_of(case, np.ones(case.meters.m))
    per = net.measurement.value.to_numpy().copy()
    bus = case.network.node_bus
    here = np.array([not (r < case.grid.n and bus[r] < 0) for r in case.meters.row.tolist()])

    def call(z: np.ndarray) -> np.ndarray:
        net.measurement["value"] = z[here] * per
        with quiet():
            estimate(net, algorithm="wls", init="flat", calculate_voltage_angles=True)
        return np.asarray(net.res_bus_est.vm_pu.loc[case.network.bus_id[bus[bus >= 0]]].to_numpy())

    return call


def measure(spec: str, ticks: int, few: int) -> dict[str, Any]:
    """One network: milliseconds of each, and the largest difference of magnitudes."""
    case = metered(spec)
    given = drifting(case, ticks)
    estimator = StateEstimator(case.grid, case.meters)
    ours_ms, ours = timed(lambda z: np.abs(estimator.estimate(z).v), given)
    out: dict[str, Any] = {"network": spec, "nodes": case.grid.n, "measurements": case.meters.m, "ours_ms": ours_ms}
    for method in ("iterative_linear", "newton_raphson"):
        out[f"{method}_ms"], theirs = timed(grid_model(case, method), given)
        out[f"{method}_dv_pu"] = float(max(np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True)))
    out["pandapower_ms"], theirs = timed(pandapower(case), given[:few])
    bus = case.network.node_bus >= 0
    out["pandapower_dv_pu"] = float(max(np.abs(a[bus] - b).max() for a, b in zip(ours, theirs, strict=False)))
    peer = min(out["iterative_linear_ms"], out["newton_raphson_ms"])
    return {**out, "ratio_pandapower": out["pandapower_ms"] / ours_ms, "ratio_power_grid_model": ours_ms / peer}


def main() -> int:
    """Print a table; exit non-zero where results disagree, never for timing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=200)
    parser.add_argument("--pandapower-ticks", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = [measure(spec, args.ticks, args.pandapower_ticks) for spec in NETWORKS]
    if args.json:
        print(json.dumps({"networks": rows, "threads": 1, "cpu": platform.processor() or platform.machine()}, indent=2))
    else:
        print(f"State estimation, {args.ticks} ticks, one thread, values -> voltages; ours with bad data and sigmas [ms a tick]")
        head = ("nodes", "values", "ours", "PGM il", "PGM nr", "ratio", "pandapower", "ratio")
        print(f"{'network':<28}" + "".join(f"{name:>11}" for name in head))
        for r in rows:
            peer = f"{r['iterative_linear_ms']:>11.3f}{r['newton_raphson_ms']:>11.3f}{r['ratio_power_grid_model']:>11.2f}"
            size = f"{r['nodes']:>11}{r['measurements']:>11}{r['ours_ms']:>11.3f}"
            print(f"{r['network']:<28}{size}{peer}{r['pandapower_ms']:>11.1f}{r['ratio_pandapower']:>11.0f}")
        print("goals: at most 2 times power-grid-model's faster one, at least 50 times as fast as pandapower")
    worst = max(r[key] for r in rows for key in ("iterative_linear_dv_pu", "newton_raphson_dv_pu", "pandapower_dv_pu"))
    if not worst < LIMIT_PU:
        print(f"DISAGREEMENT: largest difference of voltages {worst:.1e} pu", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
