"""Three-phase low-voltage feeders with meters for the tests of state estimation, and power-grid-model's estimate of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from controllers.estimation.measured import VM, Grid, Meters, P, Q
from tests.cases import ROOT
from tests.controllers.metered import names, true_values
from vpp.grid.threephase import CurrentInjection, Feeder, ThreePhaseNetwork, compile_feeder, load_threephase
from vpp.grid.threephase.feeder import GROUND, Line, Load, Source, sequence_matrix
from vpp.kernel.signals import ComplexArray, FloatArray, IntArray

CASE = ROOT / "european_lv" / "feeder.dss"
KV = 0.4
OHM_PER_KM = (complex(0.32, 0.075), complex(1.28, 0.3))  # a cable's positive and zero sequence
BUSES = 13  # of the small feeder


@dataclass(frozen=True, slots=True)
class MeteredPhases:
    """A three-phase feeder in a known state.

    Attributes:
        network, grid, meters: what is measured.
        v, z: true voltages of the grid's nodes, true values of the measurements.
    """

    network: ThreePhaseNetwork
    grid: Grid
    meters: Meters
    v: ComplexArray
    z: FloatArray

    def noisy(self, rng: np.random.Generator) -> FloatArray:
        """Measured values with noise as the meters state it."""
        return self.z + rng.normal(size=self.meters.m) * self.meters.sigma


def small_feeder() -> MeteredPhases:
    """A cable of twelve pieces with branches; every phase of every house carries a load of its own.

    Voltages, P and Q are metered in every phase of every house, P and Q at the head too; one bus is a joint without load.
    """
    rng = np.random.default_rng(21)
    above = [0, 0, 1, 2, 3, 2, 5, 6, 3, 8, 1, 10, 11]
    nodes = [tuple((f"b{k}", phase) for phase in (1, 2, 3)) for k in range(BUSES)]
    feeder = Feeder("small", 50.0)
    volts = KV * 1e3 / np.sqrt(3.0) * 1.02 * np.exp(-2j * np.pi / 3.0 * np.arange(3))
    feeder.sources = [Source("grid", nodes[0], volts, 1e-5 * np.eye(3, dtype=complex), KV)]
    for k in range(1, BUSES):
        z = sequence_matrix(OHM_PER_KM[0], OHM_PER_KM[1], 3) * rng.uniform(0.02, 0.08)
        feeder.lines.append(Line(f"l{k}", nodes[above[k]], nodes[k], z, np.zeros((3, 3), complex)))
        if k != 3:
            p_kw, q_kvar = rng.uniform(0.5, 4.0, 3), rng.uniform(-0.3, 1.0, 3)
            feeder.loads += [
                Load(f"h{k}.{j + 1}", ((nodes[k][j], GROUND),), KV / np.sqrt(3.0), p_kw[j], q_kvar[j], v_min_pu=0.5, v_max_pu=1.5)
                for j in range(3)
            ]
    return _metered(compile_feeder(feeder), feeder.lines[0].name, 0, np.ones(len(feeder.loads)), range(1, BUSES))


def european_feeder(minute: int = 566) -> MeteredPhases:
    """The European low-voltage test feeder at a minute of its day.

    Metered are P and Q at the transformer's low-voltage side and of every consumer, voltages at all phases of both.
    """
    network = load_threephase(f"file:{CASE}")
    feeder = network.feeder
    assert feeder is not None
    factor = np.array([feeder.shapes[name].factor[minute - 1] for name in network.load_shape])
    busbar = network.bus_name.index(feeder.transformers[0].windings[1].nodes[0][0])
    buses = np.unique(np.append(network.node_bus[network.legs.a], busbar)).tolist()
    return _metered(network, feeder.transformers[0].name, 1, factor, buses)


def _metered(network: ThreePhaseNetwork, head: str, side: int, factor: FloatArray, buses: Any) -> MeteredPhases:
    """Put the meters on a feeder; ``head`` is metered at this side, voltages at these buses."""
    solution = CurrentInjection(network).solve(*network.load_injections(factor))
    assert solution.converged
    grid = Grid.of_threephase(network)
    index = {name: k for k, name in enumerate(grid.node_name)}
    at = np.array([index[f"{network.bus_name[b]}.{phase}"] for b in buses for phase in (1, 2, 3)])
    consumers = np.array([index[network.node_name(k)] for k in network.legs.a])
    heads = grid.branch_row[[grid.branch_name.index(f"{head}.{phase}") for phase in (1, 2, 3)], side]
    rows = np.concatenate([heads, consumers])
    kind, row = np.repeat([VM, P, Q], [len(at), len(rows), len(rows)]), np.concatenate([at, rows, rows])
    v = solution.v[network.node_on]
    z = true_values(grid, v, kind, row)
    sigma = np.where(kind == VM, 0.003, np.maximum(0.02 * np.abs(z), 5e-5))
    return MeteredPhases(network, grid, Meters(kind, row, sigma, np.zeros(len(kind), np.bool_), names(kind, row)), v, z)


class PhasePeer:
    """power-grid-model's asymmetric estimate of the small feeder's measurements, by its Newton-Raphson."""

    def __init__(self, case: MeteredPhases) -> None:
        """Build the model with its sensors."""
        import power_grid_model as pg

        feeder = case.network.feeder
        assert feeder is not None
        self.case = case
        bus = {name: k for k, name in enumerate(case.network.bus_name)}

        def table(kind: str, count: int, first: int) -> Any:
            out = pg.initialize_array("input", kind, count)
            out["id"] = first + np.arange(count)
            return out

        node, line = table("node", BUSES, 0), table("line", BUSES - 1, 100)
        node["u_rated"] = KV * 1e3
        line["from_node"] = [bus[x.from_nodes[0][0]] for x in feeder.lines]
        line["to_node"] = [bus[x.to_nodes[0][0]] for x in feeder.lines]
        line["from_status"] = line["to_status"] = 1
        own, mutual = (np.array([x.z_ohm[0, k] for x in feeder.lines]) for k in (0, 1))
        line["r1"], line["x1"] = (own - mutual).real, (own - mutual).imag
        line["r0"], line["x0"] = (own + 2 * mutual).real, (own + 2 * mutual).imag
        line["c1"] = line["c0"] = line["tan1"] = line["tan0"] = 0.0
        source = table("source", 1, 200)
        source["node"], source["status"], source["u_ref"], source["sk"] = bus["b0"], 1, 1.02, 1e15
        houses = [bus[feeder.loads[k].legs[0][0][0]] for k in range(0, len(feeder.loads), 3)]
        load = table("asym_load", len(houses), 300)
        load["node"], load["status"], load["type"] = houses, 1, pg.LoadGenType.const_power
        load["p_specified"] = load["q_specified"] = 0.0
        self.volt, self.power = table("asym_voltage_sensor", BUSES - 1, 400), table("asym_power_sensor", 1 + len(houses), 500)
        self.volt["measured_object"] = [bus[f"b{k}"] for k in range(1, BUSES)]
        self.volt["u_sigma"] = 0.003 * KV * 1e3 / np.sqrt(3.0)
        self.power["measured_object"] = [100, *load["id"]]
        self.power["measured_terminal_type"] = pg.MeasuredTerminalType.load
        self.power["measured_terminal_type"][0] = pg.MeasuredTerminalType.branch_from
        m = case.meters
        self.at: tuple[IntArray, IntArray] = np.flatnonzero(m.kind == P), np.flatnonzero(m.kind == Q)
        for name, at in zip("pq", self.at, strict=True):
            self.power[f"{name}_sigma"] = m.sigma[at].reshape(-1, 3) * 1e6
        self.data = {"node": node, "line": line, "source": source, "asym_load": load}
        self.order = [[case.grid.node_name.index(f"{name}.{k}") for k in (1, 2, 3)] for name in case.network.bus_name]

    def estimate(self, z: FloatArray) -> FloatArray:
        """Voltage magnitudes (n,) of the grid's nodes, NaN for those inside the source."""
        import power_grid_model as pg

        self.volt["u_measured"] = z[: 3 * len(self.volt)].reshape(-1, 3) * KV * 1e3 / np.sqrt(3.0)
        for name, at in zip("pq", self.at, strict=True):
            value = z[at].reshape(-1, 3) * 1e6
            value[1:] *= -1.0  # a load's consumption
            self.power[f"{name}_measured"] = value
        model: Any = pg.PowerGridModel({**self.data, "asym_voltage_sensor": self.volt, "asym_power_sensor": self.power})
        u = model.calculate_state_estimation(
            symmetric=False, error_tolerance=1e-10, max_iterations=50,
            calculation_method=pg.CalculationMethod.newton_raphson,
        )["node"]["u_pu"]  # fmt: skip
        full = np.full(self.case.grid.n, np.nan)
        full[np.array(self.order)] = u
        return full
