"""Conformance suite for power-flow engines; inherit it in a pytest module.

    class TestMine(PowerFlowSuite):
        specs = ("pandapower:case33bw", "simbench:1-LV-rural1--0-sw")

        def make(self, network):
            return MyEngine(network)

The measure is a plain pandapower ``runpp`` on the source itself, with its own loads and generators.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import numpy as np

from vpp.grid import Network, load_network, to_pandapower
from vpp.grid.powerflow.port import PowerFlow, net_injections
from vpp.grid.tables import ComplexArray, FloatArray

TOLERANCE_PU = 1e-6
PUBLIC = (
    "pandapower:case33bw",
    "pandapower:cigre_mv",
    "pandapower:cigre_lv",
    "simbench:1-LV-rural1--0-sw",
    "simbench:1-LV-semiurb4--0-sw",
    "simbench:1-LV-urban6--0-sw",
    "simbench:1-MV-urban--0-sw",
    "pandapower:case9",
    "pandapower:case14",
    "pandapower:case30",
    "pandapower:case118",
)


@cache
def reference(spec: str, scale: float) -> tuple[ComplexArray, FloatArray, float]:
    """Run ``runpp`` on a source, loads, sgens and storages scaled: voltage by bus, loading by line and trafo, losses."""
    import pandapower as pp

    from vpp.grid.source import quiet

    net = _native(spec)
    with quiet():
        kept = {}
        for element in ("load", "sgen", "storage"):
            kept[element] = net[element]["scaling"].copy()
            net[element]["scaling"] = kept[element] * scale
        pp.runpp(net, calculate_voltage_angles=True, lightsim2grid=False, tolerance_mva=1e-9, max_iteration=30)
        for element, scaling in kept.items():
            net[element]["scaling"] = scaling
    v = net.res_bus.vm_pu.to_numpy() * np.exp(1j * np.deg2rad(net.res_bus.va_degree.to_numpy()))
    loading = np.concatenate([net.res_line.loading_percent, net.res_trafo.loading_percent]) / 100.0
    losses = sum(float(net[f"res_{e}"].pl_mw.sum()) for e in ("line", "trafo", "trafo3w", "impedance"))
    return v, loading, losses


@cache
def _native(spec: str) -> Any:
    """Load a source once."""
    return to_pandapower(load_network(spec))


@cache
def _compiled(spec: str) -> Network:
    """Load a compiled network once."""
    return load_network(spec)


class PowerFlowSuite:
    """What every engine must do on every network that it accepts."""

    specs: ClassVar[tuple[str, ...]] = PUBLIC
    batch_steps: ClassVar[int] = 40  # more than one block of any engine that works in blocks of 32
    _engines: ClassVar[dict[tuple[type, str], PowerFlow]] = {}

    def make(self, network: Network) -> PowerFlow:
        """Build the engine under test."""
        raise NotImplementedError

    def source(self, name: str) -> str:
        """Turn a name from ``specs`` into a specification; override it for networks made by the test itself."""
        return name

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Run every test on every network."""
        if "spec" in metafunc.fixturenames:
            metafunc.parametrize("spec", self.specs)

    def engine(self, spec: str) -> tuple[PowerFlow, Network, FloatArray, FloatArray]:
        """Build (once a class) the engine for a network: engine, network, rated injections in MW and Mvar."""
        network = _compiled(self.source(spec))
        key = (type(self), spec)
        if key not in self._engines:
            self._engines[key] = self.make(network)
        return self._engines[key], network, *network.rated_injections()

    def test_agrees_with_runpp(self, spec: str) -> None:
        """|V| and angle at every bus, at full, low and reversed load."""
        engine, network, p, q = self.engine(spec)
        for scale in (1.0, 0.3, -0.4):
            expected = reference(self.source(spec), scale)[0]
            solution = engine.solve(p * scale, q * scale)
            assert solution.converged, scale
            got = network.bus_values(solution.v)
            assert np.array_equal(np.isnan(got), np.isnan(expected))
            on = ~np.isnan(expected)
            assert np.max(np.abs(np.abs(got[on]) - np.abs(expected[on]))) < TOLERANCE_PU
            assert np.max(np.abs(np.angle(got[on] / expected[on]))) < TOLERANCE_PU
            assert 0 <= solution.residual_mva < 1e-4

    def test_branch_results(self, spec: str) -> None:
        """Loading of lines and transformers, and losses, as pandapower defines them."""
        engine, network, p, q = self.engine(spec)
        _, loading, losses = reference(self.source(spec), 1.0)
        flows = network.branch_flows(engine.solve(p, q).v)
        mine = flows.loading[network.branch_kind <= 1]
        rated = np.isfinite(mine) & (loading != 0) & np.isfinite(loading)
        assert np.allclose(mine[rated], loading[rated], rtol=1e-5, atol=1e-6)
        counted = network.branch_kind <= 3  # pandapower counts an extended ward's own branch with the ward
        assert np.isclose(flows.p_loss_mw[counted].sum(), losses, rtol=1e-5, atol=1e-6)

    def test_no_injection(self, spec: str) -> None:
        """Nothing but sources, shunts and voltage-controlled generators."""
        engine, network, p, q = self.engine(spec)
        solution = engine.solve(p * 0, q * 0)
        assert solution.converged
        expected = reference(self.source(spec), 0.0)[0]
        on = ~np.isnan(expected)
        assert np.max(np.abs(network.bus_values(solution.v)[on] - expected[on])) < TOLERANCE_PU

    def test_batch_equals_single(self, spec: str) -> None:
        """A batch gives what single solves give."""
        engine, network, p, q = self.engine(spec)
        factor = np.linspace(0.1, 1.0, self.batch_steps)[:, None]
        batch = engine.solve_batch(factor * p, factor * q)
        assert batch.v.shape == (self.batch_steps, network.n_node)
        assert batch.converged.all()
        assert batch.iterations.shape == (self.batch_steps,)
        for t in (0, self.batch_steps // 2, self.batch_steps - 1):
            assert np.max(np.abs(batch.v[t] - engine.solve(factor[t] * p, factor[t] * q).v)) < 1e-8

    def test_nan_injection(self, spec: str) -> None:
        """A NaN makes its own solve NaN and no other."""
        engine, network, p, q = self.engine(spec)
        node = _inner_node(network)
        p_batch, q_batch = np.tile(p, (3, 1)), np.tile(q, (3, 1))
        p_batch[1, node] = np.nan
        batch = engine.solve_batch(p_batch, q_batch)
        assert batch.converged.tolist() == [True, False, True]
        assert np.isnan(batch.v[1]).all()
        good = engine.solve(p, q).v
        assert np.max(np.abs(batch.v[[0, 2]] - good)) < 1e-8
        single = engine.solve(p_batch[1], q_batch[1])
        assert not single.converged
        assert np.isnan(single.v).all()

    def test_diverged_is_nan_and_forgotten(self, spec: str) -> None:
        """An impossible load gives NaN and nothing stale; the next solve is right again, from whatever start."""
        engine, _, p, q = self.engine(spec)
        before = engine.solve(p, q)
        heavy = -5000.0 * (np.abs(p) + np.max(np.abs(p)) / 100), -5000.0 * np.abs(q)
        heavy[0][_inner_less(self.engine(spec)[1])] = 0.0
        for start in (None, before.v):
            failed = engine.solve(*heavy, start)
            assert not failed.converged
            assert np.isnan(failed.v).all()
            assert np.isnan(failed.residual_mva)
        batch = engine.solve_batch(np.stack([p, heavy[0], p]), np.stack([q, heavy[1], q]))
        assert batch.converged.tolist() == [True, False, True]
        assert np.isnan(batch.v[1]).all()
        for start in (None, failed.v, before.v):
            after = engine.solve(p, q, start)
            assert after.converged
            assert np.max(np.abs(after.v - before.v)) < 1e-8

    def test_power_balance(self, spec: str) -> None:
        """Injections plus what the sources bring equal branch losses plus shunts; every PQ node gets its injection."""
        engine, network, p, q = self.engine(spec)
        v = engine.solve(p, q).v
        rows = np.repeat(np.arange(network.n_node), np.diff(network.y_indptr))
        current = np.zeros(network.n_node, dtype=complex)
        np.add.at(current, rows, network.y_data * v[network.y_indices])
        s = v * np.conj(current) * network.sn_mva
        total_p, total_q = net_injections(network, p, q)
        free = np.ones(network.n_node, dtype=bool)
        free[network.slack_node] = False
        assert np.max(np.abs(s.real - total_p)[free], initial=0.0) < 1e-4
        free[network.pv_node] = False
        assert np.max(np.abs(s.imag - total_q)[free], initial=0.0) < 1e-4
        shunt = np.zeros(network.n_node, dtype=complex)
        diagonal = rows == network.y_indices
        shunt[rows[diagonal]] = network.y_data[diagonal]
        on = network.branch_on
        np.subtract.at(shunt, network.branch_from_node[on], network.yff[on])
        np.subtract.at(shunt, network.branch_to_node[on], network.ytt[on])
        in_shunts = float(np.sum(shunt.real * np.abs(v) ** 2)) * network.sn_mva
        assert np.isclose(s.real.sum(), network.branch_flows(v).p_loss_total_mw + in_shunts, atol=1e-6)

    def test_leaves_its_inputs_alone(self, spec: str) -> None:
        """Neither injections nor start voltages are written to, and results are not shared."""
        engine, _, p, q = self.engine(spec)
        kept = p.copy(), q.copy()
        first = engine.solve(p, q)
        start = first.v.copy()
        second = engine.solve(p, q, first.v)
        engine.solve_batch(p[None], q[None])
        assert np.array_equal(p, kept[0])
        assert np.array_equal(q, kept[1])
        assert np.array_equal(first.v, start)
        assert second.v is not first.v

    def test_refuses_wrong_shapes(self, spec: str) -> None:
        """Injections by bus instead of by node are a ValueError, not a wrong answer."""
        engine, network, p, q = self.engine(spec)
        for call in (lambda: engine.solve(p[:-1], q[:-1]), lambda: engine.solve_batch(p[None, :-1], q[None, :-1])):
            try:
                call()
            except ValueError:
                continue
            raise AssertionError(f"{network.n_node - 1} injections accepted for {network.n_node} nodes")


def _inner_node(network: Network) -> int:
    """Pick a node with a bus that is no source."""
    for node in range(network.n_node - 1, -1, -1):
        if network.node_bus[node] >= 0 and node not in network.slack_node:
            return node
    raise ValueError("no node to inject at")


def _inner_less(network: Network) -> Any:
    """Mask (n_node,) of the nodes without a bus, where nothing can be injected."""
    return network.node_bus < 0
