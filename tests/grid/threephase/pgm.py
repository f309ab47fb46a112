"""A three-phase network in power-grid-model: every line with its sequence values, one delta-wye transformer, phase loads."""

from __future__ import annotations

from typing import Any

import numpy as np
from power_grid_model import CalculationMethod, ComponentType, LoadGenType, PowerGridModel, initialize_array

from vpp.grid.tables import ComplexArray, FloatArray
from vpp.grid.threephase import ThreePhaseNetwork


def _table(component: ComponentType, **columns: Any) -> Any:
    """One component's input."""
    out = initialize_array("input", component, len(columns["id"]))
    for name, values in columns.items():
        out[name] = values
    return out


def _sequences(matrices: list[ComplexArray]) -> tuple[ComplexArray, ComplexArray]:
    """Positive and zero sequence of balanced 3 x 3 matrices."""
    own, mutual = np.array([m[0, 0] for m in matrices]), np.array([m[0, 1] for m in matrices])
    return own - mutual, own + 2.0 * mutual


class Peer:
    """Model and updates of the European feeder; (T, n_load) powers in MW and Mvar, injection positive."""

    def __init__(self, net: ThreePhaseNetwork) -> None:
        """Build the model from the feeder's records."""
        feeder = net.feeder
        if feeder is None:
            raise ValueError("the network has no records")
        bus = {name: k for k, name in enumerate(net.bus_name)}
        nodes = net.node_index()
        self.rows = np.array([[nodes[f"{name}.{k}"] for k in (1, 2, 3)] for name in net.bus_name])
        lines, (t,), (source,) = feeder.lines, feeder.transformers, feeder.sources
        z1, z0 = _sequences([line.z_ohm for line in lines])
        (s1,), (s0,) = _sequences([source.z_ohm])
        high, low = t.windings
        r = sum(w.r_percent for w in t.windings) / 100.0
        zero = np.zeros(len(lines))
        ids = 10_000 + np.arange(len(lines))
        ends = {f"{e}_node": [bus[getattr(x, f"{e}_nodes")[0][0]] for x in lines] for e in ("from", "to")}
        self.load_id = 40_000 + np.arange(len(feeder.loads))
        self.phase = np.array([load.legs[0][0][1] - 1 for load in feeder.loads])
        base = net.node_v_base[self.rows[:, 0]] * np.sqrt(3.0)
        on = {"from_status": 1, "to_status": 1}
        c, n = ComponentType, len(feeder.loads)
        data = {
            c.node: _table(c.node, id=np.arange(net.n_bus), u_rated=base),
            c.line: _table(
                c.line, id=ids, **ends, **on, r1=z1.real, x1=z1.imag, r0=z0.real, x0=z0.imag,
                c1=zero, c0=zero, tan1=zero, tan0=zero,
            ),
            c.source: _table(
                c.source, id=[20_000], node=[bus[source.nodes[0][0]]], status=[1],
                u_ref=[abs(source.v[0]) * np.sqrt(3.0) / (source.kv * 1e3)], sk=[(source.kv * 1e3) ** 2 / abs(s1)],
                rx_ratio=[s1.real / s1.imag], z01_ratio=[abs(s0 / s1)],
            ),
            c.transformer: _table(
                c.transformer, id=[30_000], from_node=[bus[high.nodes[0][0]]], to_node=[bus[low.nodes[0][0]]], **on,
                u1=[high.kv * 1e3], u2=[low.kv * 1e3], sn=[t.kva * 1e3], uk=[abs(complex(r, t.x_percent / 100.0))],
                pk=[r * t.kva * 1e3], i0=[0.0], p0=[0.0], winding_from=[2], winding_to=[1], clock=[1],
                tap_side=[0], tap_pos=[0], tap_min=[0], tap_max=[0], tap_nom=[0], tap_size=[0.0],
            ),
            c.asym_load: _table(
                c.asym_load, id=self.load_id, node=[bus[load.legs[0][0][0]] for load in feeder.loads], status=1,
                type=LoadGenType.const_power, p_specified=np.zeros((n, 3)), q_specified=np.zeros((n, 3)),
            ),
        }  # fmt: skip
        self.model = PowerGridModel(data, system_frequency=net.f_hz)

    def updates(self, p_mw: FloatArray, q_mvar: FloatArray) -> Any:
        """Input of a batch."""
        steps, n = p_mw.shape
        out = initialize_array("update", ComponentType.asym_load, (steps, n))
        out["id"] = self.load_id
        for name, values in (("p_specified", p_mw), ("q_specified", q_mvar)):
            by_phase = np.zeros((steps, n, 3))
            by_phase[:, np.arange(n), self.phase] = -1e6 * values
            out[name] = by_phase
        return {ComponentType.asym_load: out}

    def run(self, updates: Any, method: str, tolerance: float) -> Any:
        """Solve a batch on one thread: magnitudes and angles of every bus and phase."""
        return self.model.calculate_power_flow(
            symmetric=False, update_data=updates, calculation_method=CalculationMethod[method], error_tolerance=tolerance,
            threading=-1, output_component_types={ComponentType.node: ["u_pu", "u_angle"]},
        )[ComponentType.node]  # fmt: skip
