"""Volt/VAR optimisation against pandapower's ``runopp``: the same case, inverters and bands, losses compared.

Case33bw with inverters at every fourth bus. Included: ours, from the compiled network, its inverters and injections to the
optimum with everything made anew ("from nothing"), and state after state with one optimiser; ``runopp``, from its network
to its result, at its default tolerances. Not included: loading, imports, compilation by numba. One thread.

    python benchmarks/volt_var.py [--json] [--repeats 31] [--every 4] [--runopp 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import _common
import numpy as np

from vpp.grid import Network, load_network, to_pandapower
from vpp.grid.losses import Devices, Limits, VoltVarOptimiser
from vpp.grid.source import quiet
from vpp.grid.tables import FloatArray, Int32Array

BAND = (0.9, 1.1)


def opp_network(network: Network, bus: Int32Array, p_mw: FloatArray, devices: Devices) -> Any:
    """The same problem as pandapower states it: what is bought at the source costs, so least losses are least cost."""
    import pandapower as pp

    net = to_pandapower(network)
    net.poly_cost = net.poly_cost.iloc[:0]
    net.bus["min_vm_pu"], net.bus["max_vm_pu"] = BAND
    for k, at in enumerate(bus.tolist()):
        pp.create_sgen(
            net, int(network.bus_id[at]), p_mw=float(p_mw[k]), controllable=True,
            min_p_mw=float(p_mw[k]), max_p_mw=float(p_mw[k]),
            min_q_mvar=float(devices.q_min_mvar[k]), max_q_mvar=float(devices.q_max_mvar[k]),
        )  # fmt: skip
    pp.create_poly_cost(net, net.ext_grid.index[0], "ext_grid", cp1_eur_per_mw=1.0)
    return net


def main() -> None:
    """Measure and print."""
    import pandapower as pp

    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--every", type=int, default=4)
    parser.add_argument("--runopp", type=int, default=5)
    wanted = parser.parse_args()

    network = load_network("pandapower:case33bw")
    bus = np.arange(1, network.n_bus, wanted.every).astype(np.int32)
    p, q = network.rated_injections()
    size = np.full(len(bus), 0.8 * np.abs(p).sum() / len(bus))
    p_own = 0.6 * size
    devices, limits = Devices.inverters(bus, p_own, size), Limits(*(np.full(network.n_node, x) for x in BAND))
    p = p + network.scatter(bus, p_own)

    kept = VoltVarOptimiser(network, devices, limits)
    found = kept.solve(p, q)
    fresh_us = _common.median_us(lambda: VoltVarOptimiser(network, devices, limits).solve(p, q), wanted.repeats)
    kept_us = _common.median_us(lambda: kept.solve(p, q), wanted.repeats)

    net, seconds = opp_network(network, bus, p_own, devices), []
    with quiet():
        pp.runopp(net)  # numba compiles
        for _ in range(wanted.runopp):
            begin = time.perf_counter()
            pp.runopp(net)
            seconds.append(time.perf_counter() - begin)
    theirs_us, theirs_mw = statistics.median(seconds) * 1e6, float(net.res_line.pl_mw.sum())
    ratio, ratio_kept = theirs_us / fresh_us, theirs_us / kept_us
    rows = [
        ("case", f"case33bw, {network.n_node} nodes, {len(bus)} inverters, band {BAND[0]}-{BAND[1]} pu, one thread"),
        ("ours", f"{kept_us / 1e3:.2f} ms; {fresh_us / 1e3:.2f} ms from nothing; {found.rounds} linearisations"),
        ("runopp", f"{theirs_us / 1e3:.1f} ms"),
        (
            "losses",
            f"ours {found.loss_mw * 1e3:.3f} kW, runopp {theirs_mw * 1e3:.3f} kW, at the start {found.before_mw * 1e3:.3f} kW",
        ),
        ("ratio", f"{ratio_kept:.0f} times as fast; {ratio:.0f} times from nothing (wanted: 50 at equal or lower losses)"),
    ]
    results = {
        "ours_ms": kept_us / 1e3, "ours_from_nothing_ms": fresh_us / 1e3, "runopp_ms": theirs_us / 1e3, "ratio": ratio_kept,
        "ratio_from_nothing": ratio, "loss_kw": found.loss_mw * 1e3, "runopp_loss_kw": theirs_mw * 1e3,
    }  # fmt: skip
    _common.show("Volt/VAR optimisation against pandapower's runopp", rows, results)


if __name__ == "__main__":
    main()
