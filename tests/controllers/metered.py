"""Networks with meters for the tests of state estimation: true values, and other people's estimators on the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.linalg import null_space

from controllers.estimation.bad_data import ALIKE, clean
from controllers.estimation.estimator import StateEstimator
from controllers.estimation.measured import VM, Grid, Meters, P, Q
from vpp.grid import Network, load_network
from vpp.grid.network import BRANCH_KINDS
from vpp.grid.powerflow import choose
from vpp.grid.source import load_source, quiet
from vpp.kernel.signals import BoolArray, ComplexArray, FloatArray, IntArray

NETWORKS = ("pandapower:case33bw", "pandapower:cigre_mv", "simbench:1-MV-rural--0-sw")
GROSS = 10.0  # sigmas of a gross error
DETECTABILITY_TOLERANCE = 1e-3  # exact rows weigh a thousand times the best meter, in the covariance they are as good as that


@dataclass(frozen=True, slots=True)
class Metered:
    """A network in a known state with meters.

    Attributes:
        network, grid, meters: what is measured.
        v: (n,) true voltages.
        z: (m,) true values of the measurements.
    """

    network: Network
    grid: Grid
    meters: Meters
    v: ComplexArray
    z: FloatArray

    def noisy(self, rng: np.random.Generator) -> FloatArray:
        """Measured values with noise as the meters state it."""
        return self.z + rng.normal(size=self.meters.m) * self.meters.sigma


def metered(spec: str, load: float = 0.5, flows: bool = True) -> Metered:
    """Voltages everywhere, powers wherever something can be injected, and at every branch's from end."""
    network = load_network(spec)
    engine, _ = choose(network, "auto")
    p, q = network.rated_injections()
    v = engine.solve(load * p, load * q).v
    grid = Grid.of_network(network)
    nodes, injecting = np.arange(grid.n), np.flatnonzero(~grid.zero)
    ends = grid.branch_row[grid.branch_row[:, 0] >= 0, 0] if flows else np.zeros(0, np.int64)
    rows = np.concatenate([injecting, ends])
    kind = np.repeat([VM, P, Q], [grid.n, len(rows), len(rows)])
    row = np.concatenate([nodes, rows, rows])
    z = true_values(grid, v, kind, row)
    largest = np.abs(z[kind != VM]).max()
    sigma = np.where(kind == VM, 0.003, np.maximum(0.01 * np.abs(z), 1e-3 * largest))
    return Metered(network, grid, Meters(kind, row, sigma, np.zeros(len(kind), np.bool_), names(kind, row)), v, z)


def tellable(case: Any, estimator: StateEstimator) -> tuple[int, ...]:
    """Measurements whose errors can be told from all others': detectable by half, no residual goes with theirs.

    Their covariance is that of the constrained problem: exact rows leave a state only where they do not move.
    """
    wls = estimator._wls
    found = clean(wls, case.z, case.meters.sigma**-2, case.v)
    m = case.meters.m
    h = np.zeros((len(wls.eq.kind), wls.eq.states))
    rows = np.repeat(np.arange(len(wls.eq.kind)), np.diff(wls.eq.entry_start))
    free = wls.eq.column >= 0
    np.add.at(h, (rows[free], wls.eq.column[free]), wls.slope[free])
    basis = null_space(h[m:]) if len(h) > m else np.eye(wls.eq.states)
    seen = h[:m] @ basis
    half = np.linalg.qr(seen / case.meters.sigma[:, None])[0] * case.meters.sigma[:, None]
    s = np.diag(case.meters.sigma**2) - half @ half.T
    spread = np.sqrt(np.maximum(np.diag(s), 1e-300))
    correlation = np.abs(s) / np.outer(spread, spread)
    np.fill_diagonal(correlation, 0.0)
    assert found.detectability == pytest.approx(np.diag(s) / case.meters.sigma**2, abs=DETECTABILITY_TOLERANCE)
    sees = found.detectability > 0.5
    return tuple(np.flatnonzero(sees & (correlation[:, found.detectability > 1e-6].max(axis=1) < ALIKE)).tolist())


def names(kind: IntArray, row: IntArray) -> tuple[str, ...]:
    """Names of measurements."""
    return tuple(f"{k}@{r}" for k, r in zip(kind, row, strict=True))


def powers(grid: Grid, v: ComplexArray) -> ComplexArray:
    """(rows,) complex power of every row of currents, summed as the network's own equations have it."""
    current = np.array([grid.y[a:b] @ v[grid.node[a:b]] for a, b in zip(grid.start[:-1], grid.start[1:], strict=True)])
    return np.asarray(v[grid.at] * current.conj())


def true_values(grid: Grid, v: ComplexArray, kind: IntArray, row: IntArray) -> FloatArray:
    """(m,) what perfect meters would show."""
    s, vm = powers(grid, v), np.abs(v)
    return np.where(kind == VM, vm[np.where(kind == VM, row, 0)], np.where(kind == P, s.real[row], s.imag[row]))


def power_grid_model(case: Metered, z: FloatArray, keep: BoolArray | None = None) -> ComplexArray:
    """Node voltages by power-grid-model's Newton-Raphson estimate on the same measurements."""
    import power_grid_model as pg

    out = power_grid_model_of(case, z, keep).calculate_state_estimation(
        symmetric=True, error_tolerance=1e-10, max_iterations=50, calculation_method=pg.CalculationMethod.newton_raphson
    )["node"]
    return np.asarray(out["u_pu"] * np.exp(1j * out["u_angle"]))


def power_grid_model_of(case: Metered, z: FloatArray, keep: BoolArray | None = None) -> Any:
    """The case as a model of power-grid-model: each branch as a two-port with ratio and shift."""
    import power_grid_model as pg

    net, grid, meters, n = case.network, case.grid, case.meters, case.grid.n
    sn, u = net.sn_mva * 1e6, node_volts(net)
    on = np.flatnonzero(net.branch_on)
    node = pg.initialize_array("input", "node", n)
    node["id"], node["u_rated"] = np.arange(n), u
    branch = pg.initialize_array("input", "generic_branch", len(on))
    k, theta, series, shunt = two_ports(net, on)
    z_base = u[net.branch_to_node[on]] ** 2 / sn
    branch["id"], branch["from_node"], branch["to_node"] = 10**6 + on, net.branch_from_node[on], net.branch_to_node[on]
    branch["from_status"] = branch["to_status"] = 1
    branch["r1"], branch["x1"] = (1 / series).real * z_base, (1 / series).imag * z_base
    branch["g1"], branch["b1"] = shunt.real / z_base, shunt.imag / z_base
    branch["k"], branch["theta"] = k, theta
    source = pg.initialize_array("input", "source", len(net.slack_node))
    source["id"], source["node"] = 2 * 10**6 + np.arange(len(source)), net.slack_node
    source["status"], source["u_ref"], source["sk"] = 1, np.abs(net.slack_v), 1e20
    injecting = np.setdiff1d(np.flatnonzero(~grid.zero), net.slack_node)
    gen = pg.initialize_array("input", "sym_gen", len(injecting))
    gen["id"], gen["node"], gen["status"], gen["type"] = 3 * 10**6 + injecting, injecting, 1, 0
    gen["p_specified"] = gen["q_specified"] = 0.0
    used = np.ones(meters.m, np.bool_) if keep is None else keep
    at = np.flatnonzero((meters.kind == VM) & used)
    volt = pg.initialize_array("input", "sym_voltage_sensor", len(at))
    volt["id"], volt["measured_object"] = 4 * 10**6 + at, meters.row[at]
    volt["u_measured"], volt["u_sigma"] = z[at] * u[meters.row[at]], meters.sigma[at] * u[meters.row[at]]
    p, q = (np.flatnonzero((meters.kind == kind) & used) for kind in (P, Q))
    power = pg.initialize_array("input", "sym_power_sensor", len(p))
    place = {int(r): (b, side) for b in range(net.n_branch) for side, r in enumerate(grid.branch_row[b]) if r >= 0}
    power["id"] = 5 * 10**6 + p
    for j, row in enumerate(meters.row[p].tolist()):
        b, side = place.get(row, (-1, -1))
        power["measured_object"][j] = row if side < 0 else 10**6 + b
        terminal = (
            pg.MeasuredTerminalType.node
            if side < 0
            else (pg.MeasuredTerminalType.branch_from, pg.MeasuredTerminalType.branch_to)[side]
        )
        power["measured_terminal_type"][j] = terminal
    power["p_measured"], power["q_measured"] = z[p] * sn, z[q] * sn
    power["p_sigma"], power["q_sigma"] = meters.sigma[p] * sn, meters.sigma[q] * sn
    power["power_sigma"] = np.hypot(meters.sigma[p], meters.sigma[q]) * sn
    return pg.PowerGridModel(
        {"node": node, "generic_branch": branch, "source": source, "sym_gen": gen, "sym_voltage_sensor": volt,
         "sym_power_sensor": power}
    )  # fmt: skip


def pandapower_wls(case: Metered, z: FloatArray) -> ComplexArray:
    """Node voltages by pandapower's plain weighted least squares on the same measurements; no inner nodes, branches are lines."""
    from pandapower.estimation import estimate

    net = pandapower_of(case, z)
    with quiet():
        found = estimate(net, algorithm="wls", init="flat", tolerance=1e-9, maximum_iterations=50, calculate_voltage_angles=True)
    assert found["success"] if isinstance(found, dict) else found
    v = net.res_bus_est.vm_pu.to_numpy() * np.exp(1j * np.radians(net.res_bus_est.va_degree.to_numpy()))
    return np.asarray(v[np.searchsorted(net.bus.index.to_numpy(), case.network.bus_id[case.network.node_bus])])


def pandapower_of(case: Metered, z: FloatArray) -> Any:
    """The case as pandapower has it, with its measurements; those at inner nodes are left out."""
    import pandapower as pp

    net, _ = load_source(case.network.source)
    net.measurement = net.measurement.iloc[:0]  # SimBench's own
    network, grid, meters = case.network, case.grid, case.meters
    place = {int(r): (b, side) for b in range(network.n_branch) for side, r in enumerate(grid.branch_row[b]) if r >= 0}
    base = network.sn_mva
    for kind, row, value, sigma in zip(meters.kind, meters.row.tolist(), z, meters.sigma, strict=True):
        name = "v" if kind == VM else ("p" if kind == P else "q")
        if row < grid.n:
            bus = network.node_bus[row]
            if bus < 0:
                continue
            scale = 1.0 if kind == VM else -base  # pandapower counts consumption at a bus
            pp.create_measurement(net, name, "bus", value * scale, sigma * abs(scale), int(network.bus_id[bus]))
        else:
            b, side = place[row]
            element = BRANCH_KINDS[network.branch_kind[b]]
            end = {"line": ("from", "to"), "trafo": ("hv", "lv")}[element][side]
            pp.create_measurement(net, name, element, value * base, sigma * base, int(network.branch_id[b]), side=end)
    return net


def two_ports(net: Network, on: IntArray) -> tuple[FloatArray, FloatArray, ComplexArray, ComplexArray]:
    """Ratio, shift, series and shunt admittance of branches, from their four admittances."""
    yff, yft, ytf, ytt = (getattr(net, name)[on] for name in ("yff", "yft", "ytf", "ytt"))
    k, theta = np.sqrt((ytt / yff).real), np.angle(yft / ytf) / 2.0
    theta = theta + np.where((yft * np.exp(-1j * theta)).imag < 0.0, np.pi, 0.0)
    series = -yft * k * np.exp(-1j * theta)
    return k, theta, series, ytt - series


def node_volts(net: Network) -> FloatArray:
    """(n,) nominal voltage of every node [V]; an inner node has that of the branch it ends."""
    u = np.where(net.node_bus >= 0, net.bus_vn_kv[net.node_bus], np.nan) * 1e3
    for node, base in ((net.branch_from_node, net.branch_i_base_from_ka), (net.branch_to_node, net.branch_i_base_to_ka)):
        on = (node >= 0) & (base > 0)
        inner = np.isnan(u[node[on]])
        u[node[on][inner]] = net.sn_mva / (np.sqrt(3.0) * base[on][inner]) * 1e3
    return u
