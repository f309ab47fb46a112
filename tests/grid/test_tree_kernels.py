"""The compiled kernels of the tree sweep, called as other compiled code calls them."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from tests.grid.handmade import spec_of
from vpp.grid import load_network
from vpp.grid.flows import branch_flows_into
from vpp.grid.powerflow.tree import TreeSweep, build_tree, tree_batch, tree_linear_solve, tree_series, tree_solve
from vpp.grid.powerflow.tree_kernels import tree_solve_work

NETWORKS = ("handmade:radial", "pandapower:case33bw", "simbench:1-MV-urban--0-sw")


@pytest.mark.parametrize("name", NETWORKS)
def test_linear_solve_equals_a_dense_solve(name: str) -> None:
    network = load_network(spec_of(name))
    arrays = build_tree(network)
    n = network.n_node
    y = np.zeros((n, n), dtype=complex)
    for k in range(n):
        span = slice(network.y_indptr[k], network.y_indptr[k + 1])
        y[k, network.y_indices[span]] = network.y_data[span]
    rng = np.random.default_rng(1)
    current = 0.1 * (rng.standard_normal(n) + 1j * rng.standard_normal(n))
    slack = np.zeros(n, dtype=bool)
    slack[network.slack_node] = True
    expected = np.zeros(n, dtype=complex)
    expected[network.slack_node] = network.slack_v
    expected[~slack] = np.linalg.solve(y[np.ix_(~slack, ~slack)], current[~slack] - (y @ expected)[~slack])
    i = current[arrays.node]
    v_re, v_im = np.zeros(n), np.zeros(n)
    tree_linear_solve(arrays, i.real.copy(), i.imag.copy(), v_re, v_im)
    got = (v_re + 1j * v_im)[arrays.position]
    assert np.max(np.abs(got - expected)) < 1e-9 * np.max(np.abs(expected))


def test_order() -> None:
    arrays = build_tree(load_network(spec_of("handmade:radial")))
    n = len(arrays.parent)
    assert np.array_equal(arrays.node[arrays.position], np.arange(n))
    assert np.all(arrays.parent[arrays.n_slack :] < np.arange(arrays.n_slack, n))
    assert np.array_equal(arrays.parent[: arrays.n_slack], np.arange(arrays.n_slack))


def test_solve_in_place_from_compiled_code_and_flows_in_tree_order() -> None:
    network = load_network("simbench:1-LV-rural1--0-sw")
    engine = TreeSweep(network)
    arrays, flows = engine.arrays, network.flow_arrays(engine.arrays.position)

    @njit
    def step(arrays, flows, p, q, v_re, v_im, work, out):
        took = tree_solve_work(arrays, p, q, v_re, v_im, work[0], work[1], 1e-10, 100)
        return took, branch_flows_into(flows, v_re, v_im, out[0], out[1], out[2], out[3])

    p, q = network.rated_injections()
    v_re, v_im = arrays.v0_re.copy(), arrays.v0_im.copy()
    out = np.empty((4, network.n_branch))
    took, losses = step(
        arrays, flows, p[arrays.node] / network.sn_mva, q[arrays.node] / network.sn_mva, v_re, v_im, np.empty((2, len(p))), out
    )
    assert took > 0
    expected = engine.solve(p, q)
    assert np.max(np.abs((v_re + 1j * v_im)[arrays.position] - expected.v)) < 1e-12
    assert np.allclose(out[2], network.branch_flows(expected.v).loading, atol=1e-9)
    assert np.isclose(losses, network.branch_flows(expected.v).p_loss_total_mw)


def test_nan_in_one_feeder_of_several_is_seen() -> None:
    """The slack parts the feeders, so the NaN does not spread by itself."""
    network = load_network("pandapower:cigre_lv")
    arrays = build_tree(network)
    p, q = np.zeros(network.n_node), np.zeros(network.n_node)
    for k in range(arrays.n_slack, network.n_node):
        p[:] = 0.0
        p[k] = np.nan
        v_re, v_im = arrays.v0_re.copy(), arrays.v0_im.copy()
        assert tree_solve(arrays, p, q, v_re, v_im, 1e-10, 100) == -1
        assert np.isnan(v_re).all()
        assert np.isnan(v_im).all()
        p[k] = 0.0
        assert tree_solve(arrays, p, q, v_re, v_im, 1e-10, 100) > 0  # warm from NaN: starts anew


def test_block_and_series_kernels_agree() -> None:
    network = load_network("simbench:1-MV-urban--0-sw")
    arrays = build_tree(network)
    p, q = network.rated_injections()
    factor = np.linspace(-0.5, 1.0, 70)[:, None]
    results = []
    for kernel in (tree_batch, tree_series):
        v = np.empty((70, network.n_node), dtype=complex)
        converged, iterations = np.empty(70, dtype=bool), np.empty(70, dtype=np.int32)
        fixed = (network.fixed_p_mw, network.fixed_q_mvar)
        kernel(arrays, factor * p, factor * q, *fixed, 1 / network.sn_mva, 1e-10, 100, v, converged, iterations)
        assert converged.all()
        results.append((v, iterations))
    assert np.max(np.abs(results[0][0] - results[1][0])) < 1e-10
    assert np.max(np.abs(results[0][1] - results[1][1])) <= 1
    empty = TreeSweep(network).solve_batch(p[None][:0], q[None][:0])
    assert empty.v.shape == (0, network.n_node)
