"""AC optimal power flow of least losses by CasADi's IPOPT and by pandapower's runopp: oracles, in coordinates not ours."""

from __future__ import annotations

from typing import Any

import numpy as np

from vpp.grid import Network, to_pandapower
from vpp.grid.losses import Devices, Limits
from vpp.grid.powerflow.lightsim2grid_engine import LightSim2Grid
from vpp.grid.powerflow.port import net_injections
from vpp.grid.source import quiet


def ipopt(network: Network, p_mw: Any, q_mvar: Any, devices: Devices, limits: Limits) -> tuple[float, Any]:
    """Least losses (MW) and the inverters' Q (Mvar) with hard limits: polar voltages, power balance at every node."""
    import casadi as ca

    net, n, m = network, network.n_node, len(devices.bus)
    p, q = (x / net.sn_mva for x in net_injections(net, p_mw, q_mvar))
    opti = ca.Opti()
    vm, va, u = opti.variable(n), opti.variable(n), opti.variable(m)
    rows = np.repeat(np.arange(n), np.diff(net.y_indptr))
    g, b = net.y_data.real, net.y_data.imag
    injected_p, injected_q = [ca.MX(0.0)] * n, [ca.MX(0.0)] * n
    for i, j, gij, bij in zip(rows.tolist(), net.y_indices.tolist(), g.tolist(), b.tolist()):
        d = va[i] - va[j]
        injected_p[i] += vm[i] * vm[j] * (gij * ca.cos(d) + bij * ca.sin(d))
        injected_q[i] += vm[i] * vm[j] * (gij * ca.sin(d) - bij * ca.cos(d))
    mine: list[Any] = [ca.MX(0.0)] * n
    for k, node in enumerate(net.node_of_bus[devices.bus].tolist()):
        mine[node] += u[k] / net.sn_mva
    slack, held = set(net.slack_node.tolist()), dict(zip(net.pv_node.tolist(), net.pv_vm_pu.tolist()))
    for i in range(n):
        if i not in slack:
            opti.subject_to(injected_p[i] == p[i])
            opti.subject_to(vm[i] == held[i] if i in held else injected_q[i] == q[i] + mine[i])
            if i not in held and np.isfinite(limits.vm_min_pu[i]):
                opti.subject_to(opti.bounded(limits.vm_min_pu[i], vm[i], limits.vm_max_pu[i]))
    opti.subject_to(vm[net.slack_node] == np.abs(net.slack_v))
    opti.subject_to(va[net.slack_node] == np.angle(net.slack_v))
    opti.subject_to(opti.bounded(devices.q_min_mvar, u, devices.q_max_mvar))
    branch = 0
    for f, t, yff, yft, ytf, ytt in zip(
        net.branch_from_node.tolist(), net.branch_to_node.tolist(), net.yff, net.yft, net.ytf, net.ytt
    ):
        if f < 0 or t < 0:
            continue
        d, product = va[f] - va[t], vm[f] * vm[t]
        both = yft + np.conj(ytf)
        branch += yff.real * vm[f] ** 2 + ytt.real * vm[t] ** 2 + product * (both.real * ca.cos(d) + both.imag * ca.sin(d))
    opti.minimize(branch * net.sn_mva)
    start = LightSim2Grid(net).solve(p_mw, q_mvar).v
    opti.set_initial(vm, np.abs(start))
    opti.set_initial(va, np.angle(start))
    opti.solver("ipopt", {"print_time": False}, {"print_level": 0, "sb": "yes", "tol": 1e-10})
    found = opti.solve()
    return float(found.value(branch)) * net.sn_mva, np.atleast_1d(found.value(u))


def opp_network(network: Network, p_mw: Any, devices: Devices, limits: Limits) -> Any:
    """The network for ``runopp``: the inverters as controllable generators of fixed P, what is bought at the source costs."""
    import pandapower as pp

    net = to_pandapower(network)
    bus = network.bus_id[devices.bus]
    with quiet():
        net.poly_cost, net.pwl_cost = net.poly_cost.iloc[:0], net.pwl_cost.iloc[:0]
        net.bus["min_vm_pu"], net.bus["max_vm_pu"] = 0.0, 2.0
        on = network.node_of_bus >= 0
        node = network.node_of_bus[on]
        net.bus.loc[network.bus_id[on], "min_vm_pu"] = np.maximum(limits.vm_min_pu[node], 0.0)
        net.bus.loc[network.bus_id[on], "max_vm_pu"] = np.minimum(limits.vm_max_pu[node], 2.0)
        for k, at in enumerate(bus.tolist()):
            pp.create_sgen(
                net, at, p_mw=float(p_mw[k]), controllable=True, min_p_mw=float(p_mw[k]), max_p_mw=float(p_mw[k]),
                min_q_mvar=float(devices.q_min_mvar[k]), max_q_mvar=float(devices.q_max_mvar[k]),
            )  # fmt: skip
        for at in net.ext_grid.index:
            pp.create_poly_cost(net, at, "ext_grid", cp1_eur_per_mw=1.0)
    return net


EXACT = {f"PDIPM_{name}TOL": 1e-10 for name in ("COST", "GRAD", "COMP", "FEAS")}


def runopp(net: Any, **options: Any) -> float:
    """Run pandapower's optimal power flow: the losses of lines and transformers, MW."""
    import pandapower as pp

    with quiet():
        pp.runopp(net, **options)
    return float(net.res_line.pl_mw.sum() + net.res_trafo.pl_mw.sum())
