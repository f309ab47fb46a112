"""The solver: its load laws, its two ways of iterating, batches, and what does not converge."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tests.grid.threephase import oracle
from vpp.grid.dss import read_dss
from vpp.grid.threephase import CurrentInjection, ThreePhaseNetwork, compile_feeder, load_threephase
from vpp.grid.threephase.feeder import Feeder, Line
from vpp.grid.threephase.kernels import LANES, Dense
from vpp.grid.threephase.results import delivered
from vpp.kernel.errors import NetworkError

CASES = ("ieee13", "ieee123", "european_lv")


@cache
def network(case: str) -> ThreePhaseNetwork:
    return load_threephase(f"dss:{oracle.path(case)}")


LOADS = {
    "power": "model=1",
    "impedance": "model=2",
    "current": "model=5",
    "all": "model=8 zipv=[0.2 0.3 0.5 0.1 0.2 0.7 0]",
    "narrow band": "model=1 vminpu=0.97 vmaxpu=1.02 vlowpu=0.6",
}


@pytest.mark.parametrize("pu", [0.3, 0.55, 0.7, 0.84, 0.86, 0.96, 1.0, 1.04, 1.06, 1.3])
@pytest.mark.parametrize("law", LOADS)
@pytest.mark.parametrize("conn", ["wye", "delta"])
def test_load_law_as_opendss_has_it(tmp_path: Path, pu: float, law: str, conn: str) -> None:
    """Inside the band the stated law, above it an impedance, below it the interpolated current."""
    script = tmp_path / "f.dss"
    band = "" if "vminpu" in LOADS[law] else "vminpu=0.85"
    script.write_text(
        f"clear\nnew circuit.c basekv=0.4 pu={pu} bus1=a r1=1e-4 x1=1e-4 r0=1e-4 x0=1e-4\n"
        f"new load.l bus1=a phases=3 conn={conn} kv=0.4 kw=30 kvar=12 {band} {LOADS[law]}\nset voltagebases=[0.4]\nsolve\n"
    )
    net = compile_feeder(read_dss(script))
    p, q = net.rated_injections()
    solution = CurrentInjection(net).solve(p, q)
    assert solution.converged
    ours = -delivered(net, solution.v, p, q).sum() * 1e3
    oracle.solve(f"compile [{script}]")
    oracle.dss.Circuit.SetActiveElement("load.l")
    theirs = oracle.complexes(oracle.dss.CktElement.Powers()).sum()
    assert abs(ours - theirs) < 1e-6 * abs(theirs)


@pytest.mark.parametrize("case", CASES)
def test_iterating_on_legs_or_on_nodes_is_the_same(case: str) -> None:
    net = network(case)
    engine = CurrentInjection(net)
    p, q = net.rated_injections()
    first = engine.solve(p, q)
    batch = engine.solve_batch(np.tile(p, (3, 1)), np.tile(q, (3, 1))).v[1]
    dense = engine.bound.dense
    z = np.zeros((0, 0)) if len(dense.z_re) else impedances(engine)
    engine.bound = engine.bound._replace(dense=Dense(z.real.copy(), z.imag.copy(), dense.u0_re, dense.u0_im))
    other = engine.solve(p, q)
    assert np.abs(first.v - other.v).max() < 1e-9
    assert np.abs(first.v - batch).max() < 1e-9
    assert np.abs(engine.solve_batch(p[None], q[None]).v[0] - first.v).max() < 1e-9


def impedances(engine: CurrentInjection) -> np.ndarray:
    """Mutual impedances of the legs by a dense inverse, nothing of the solver's."""
    net = engine.network
    y = np.zeros((net.n_node, net.n_node), dtype=complex)
    rows = np.repeat(np.arange(net.n_node), np.diff(net.y_indptr))
    y[rows, net.y_indices] = net.y_data
    free = np.setdiff1d(np.arange(net.n_node), net.fixed_node)
    z = np.zeros((net.n_node + 1, net.n_node + 1), dtype=complex)
    z[np.ix_(free, free)] = np.linalg.inv(y[np.ix_(free, free)])
    a, b = net.legs.a, net.legs.b  # -1, ground, is the last row and column
    return z[np.ix_(a, a)] - z[np.ix_(a, b)] - z[np.ix_(b, a)] + z[np.ix_(b, b)]


@pytest.mark.parametrize("steps", [1, LANES, 2 * LANES + 3])
def test_a_batch_is_its_steps(steps: int) -> None:
    net = network("ieee13")
    engine = CurrentInjection(net)
    factor = np.linspace(0.2, 1.2, steps * len(net.load_name)).reshape(steps, -1)
    p, q = net.load_injections(factor)
    batch = engine.solve_batch(p, q)
    assert batch.converged.all()
    for t in range(steps):
        one = engine.solve(p[t], q[t])
        assert np.abs(one.v - batch.v[t]).max() < 1e-9
        warm = engine.solve(p[t], q[t], batch.v[t])
        assert warm.iterations <= 2
        assert np.abs(warm.v - batch.v[t]).max() < 1e-9
    again = engine.solve_batch(p, q)
    assert again.v.tobytes() == batch.v.tobytes()


@pytest.mark.parametrize("case", ["ieee13", "ieee123"])
def test_what_does_not_converge_is_nan_and_spoils_nothing_else(case: str) -> None:
    net = network(case)
    engine = CurrentInjection(with_constant_power(net))
    p, q = (np.tile(x, (5, 1)) for x in net.rated_injections())
    p[1] *= 60.0
    p[3, 2] = np.nan
    batch = engine.solve_batch(p, q)
    assert batch.converged.tolist() == [True, False, True, False, True]
    assert np.isnan(batch.v[[1, 3]]).all()
    assert batch.iterations[1] == engine.max_iter
    assert np.isfinite(batch.v[[0, 2, 4]]).all()
    for t in (1, 3):
        one = engine.solve(p[t], q[t])
        assert not one.converged
        assert np.isnan(one.v).all()
        assert np.isnan(one.residual_mva)


def with_constant_power(net: ThreePhaseNetwork) -> ThreePhaseNetwork:
    """The same network with loads that ask for their power at any voltage."""
    m = len(net.legs)
    parts, band = np.tile([0.0, 0.0, 1.0, 0.0, 0.0, 1.0], (m, 1)), np.tile([0.0, 0.0, np.inf], (m, 1))
    return replace(net, legs=replace(net.legs, parts=parts, v_band=band))


def test_what_only_loads_tie_to_ground_converges_at_the_second_try(tmp_path: Path) -> None:
    """Behind a delta, a load to ground is the reference; alone or in a batch it comes to the same."""
    (tmp_path / "f.dss").write_text(
        "new circuit.c bus1=a basekv=11\nnew transformer.t phases=3 buses=[a b] conns=[wye delta] kvs=[11 0.4] kvas=[100 100]\n"
        "new load.l1 bus1=b.1 phases=1 kv=0.231 kw=10 pf=1 model=2\nnew load.l2 bus1=b.2 phases=1 kv=0.231 kw=10 pf=1 model=2\n"
        "new load.l3 bus1=b.3 phases=1 kv=0.231 kw=5 pf=0.9 model=2\nset voltagebases=[11 0.4]\ncalcvoltagebases\nsolve\n"
    )
    net = compile_feeder(read_dss(tmp_path / "f.dss"))
    engine = CurrentInjection(net)
    p, q = net.rated_injections()
    solution = engine.solve(p, q)
    assert solution.converged
    assert solution.residual_mva < 1e-9
    at = net.node_index()
    assert abs(solution.v[at["b.3"]]) > 1.15  # the neutral point moves away from the light load
    expected = oracle.solve(f"compile [{tmp_path / 'f.dss'}]")
    assert max(abs(abs(solution.v[at[name]]) - pu) for name, pu in expected.pu.items()) < 1e-6
    factor = np.array([1.0, 0.0, np.nan, 0.7])[:, None]
    batch = engine.solve_batch(factor * p, factor * q)
    assert batch.converged.tolist() == [True, True, False, True]
    assert np.abs(batch.v[0] - solution.v).max() < 1e-8
    assert np.isnan(batch.v[2]).all()


def test_added_injections_balance_a_load() -> None:
    """A generator that gives what a load takes leaves the source what it had without both."""
    net = network("european_lv")
    k = net.load_name.index("1")
    node = net.legs.a[net.legs.load == k]
    more = net.with_injections(node)
    p, q = more.rated_injections()
    without_p, without_q = net.rated_injections()
    without_p[k] = without_q[k] = 0.0
    p[-1], q[-1] = -p[k], -q[k]
    both = CurrentInjection(more).solve(p, q)
    assert np.abs(both.v - CurrentInjection(net).solve(without_p, without_q).v).max() < 1e-9


def test_wrong_shapes_are_refused() -> None:
    engine = CurrentInjection(network("ieee13"))
    with pytest.raises(ValueError, match="injections have shapes"):
        engine.solve(np.zeros(3), np.zeros(3))
    with pytest.raises(ValueError, match="injections have shapes"):
        engine.solve_batch(np.zeros((2, 3)), np.zeros((2, 3)))


def test_a_part_without_source_is_dead_and_draws_nothing() -> None:
    feeder = read_dss(oracle.path("ieee13"))
    cut = replace(feeder, lines=[line for line in feeder.lines if line.name != "671_692"])
    net = compile_feeder(cut)
    at = net.node_index()
    assert not net.node_on[[at["692.1"], at["675.3"]]].any()
    solution = CurrentInjection(net).solve(*net.rated_injections())
    assert solution.converged
    assert np.all(solution.v[~net.node_on] == 0.0)
    assert abs(solution.v[at["671.1"]]) > 0.9


def test_what_has_no_reference_is_an_error_that_names_it() -> None:
    feeder = read_dss(oracle.path("ieee123"))
    floating = [replace(t, float_ppm=0.0) if t.name == "xfm1" else t for t in feeder.transformers]
    with pytest.raises(NetworkError, match=r"nothing holds the voltage against ground at 610\.\d$"):
        compile_feeder(replace(feeder, transformers=floating))
    with pytest.raises(NetworkError, match="no voltage source"):
        compile_feeder(Feeder("empty", 50.0))


def test_lines_of_two_phases_couple() -> None:
    """A current in one conductor shifts the other's voltage by the mutual impedance, and by nothing else."""
    feeder = read_dss(oracle.path("ieee13"))
    z = np.array([[0.3 + 0.6j, 0.1 + 0.3j], [0.1 + 0.3j, 0.3 + 0.6j]])
    source = replace(feeder.sources[0], z_ohm=np.eye(3) * 1e-9j)
    nodes = (("x", 1), ("x", 2))
    line = Line("l", source.nodes[:2], nodes, z, np.zeros((2, 2), dtype=complex))
    net = compile_feeder(Feeder("f", 60.0, sources=[source], lines=[line])).with_injections(np.array([3], dtype=np.int32))
    at = net.node_index()
    assert at["x.1"] == net.legs.a[-1]
    solution = CurrentInjection(net).solve(np.array([-1.0]), np.array([-0.2]))
    u1, u2 = solution.v[at["x.1"]] * net.node_v_base[3], solution.v[at["x.2"]] * net.node_v_base[3]
    current = np.conj((1.0 + 0.2j) * 1e6 / u1)
    assert abs(source.v[0] - u1 - z[0, 0] * current) < 1e-3
    assert abs(source.v[1] - u2 - z[1, 0] * current) < 1e-3
