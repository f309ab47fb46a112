"""The IEEE PES test feeders: every node's voltage and every branch's currents against OpenDSS, taps fixed."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from tests.grid.threephase import oracle
from vpp.grid.threephase import BRANCH_KINDS, CurrentInjection, PhaseSolution, ThreePhaseNetwork, branch_flows, load_threephase

# OpenDSS gives every line 4.2e-8 S to ground against floating nodes; at 2.4 kV that is 1e-4 A, at 24.9 kV 1e-3 A.
STRAY_A = 1e-3
RELATIVE = 1e-4  # the requirement is 0.2 %


@cache
def solved(case: str) -> tuple[ThreePhaseNetwork, PhaseSolution]:
    network = load_threephase(f"dss:{oracle.path(case)}")
    return network, CurrentInjection(network).solve(*network.rated_injections())


@pytest.mark.parametrize("case", oracle.FEEDERS)
def test_voltages_and_currents_as_opendss_has_them(case: str) -> None:
    network, solution = solved(case)
    assert solution.converged
    assert solution.residual_mva < 1e-6
    expected = oracle.solve_case(case)
    at = network.node_index()
    assert set(at) == set(expected.v)
    volts = solution.v * network.node_v_base
    for name, v in expected.v.items():
        assert abs(volts[at[name]] - v) < 2e-6 * abs(v), name
        assert abs(abs(solution.v[at[name]]) - expected.pu[name]) < 2e-6, name
    flows = branch_flows(network, solution.v)
    compared = 0
    for k, name in enumerate(network.branch_name):
        kind = BRANCH_KINDS[network.branch_kind[k]]
        if kind in ("line", "switch", "transformer"):
            theirs = expected.i[f"{'line' if kind == 'switch' else kind}.{name}"]
            ours = flows.i_ka[network.branch_start[k] : network.branch_start[k + 1]] * 1e3
            assert np.abs(ours - theirs).max() < RELATIVE * np.abs(theirs).max() + STRAY_A, name
            compared += 1
    assert compared == len(expected.i)
    assert flows.p_loss_total_mw * 1e6 == pytest.approx(expected.loss_w, rel=1e-5)


# The published solution of the 13-node feeder, magnitudes in pu, as github.com/Constancellc/epg-psopt copies it
# (mtd/3phase_linearization/reproduce_ieee13.m). No copy of the other feeders' was at hand: there OpenDSS alone is the measure.
PUBLISHED_13 = {
    "rg60": (1.0625, 1.0500, 1.0687), "632": (1.0210, 1.0420, 1.0174), "633": (1.0180, 1.0401, 1.0148),
    "634": (0.9940, 1.0218, 0.9960), "645": (None, 1.0329, 1.0155), "646": (None, 1.0311, 1.0134),
    "671": (0.9900, 1.0529, 0.9778), "680": (0.9900, 1.0529, 0.9777), "684": (0.9881, None, 0.9758),
    "611": (None, None, 0.9738), "652": (0.9825, None, None), "692": (0.9900, 1.0529, 0.9778),
    "675": (0.9835, 1.0553, 0.9758),
}  # fmt: skip


def test_published_voltages() -> None:
    """The distributed load stands at one point here, which costs 0.0013 pu."""
    network, solution = solved("ieee13")
    at = network.node_index()
    for bus, values in PUBLISHED_13.items():
        for phase, value in enumerate(values, start=1):
            if value is not None:
                assert abs(abs(solution.v[at[f"{bus}.{phase}"]]) - value) < 0.002, f"{bus}.{phase}"


def test_european_feeder_at_the_published_minutes() -> None:
    """The day's profiles, at the three instants for which snapshots are published."""
    network, _ = solved("european_lv")
    feeder = network.feeder
    assert feeder is not None
    at, engine = network.node_index(), CurrentInjection(network)
    oracle.run(f"compile [{oracle.path('european_lv')}]")
    for minute in (1, 566, 1440):
        factor = np.array([feeder.shapes[name].factor[minute - 1] for name in network.load_shape])
        solution = engine.solve(*network.load_injections(factor))
        expected = oracle.solve(*(f"load.{name}.kw={f:.17g}" for name, f in zip(network.load_name, factor)))
        worst = max(abs(abs(solution.v[at[name]]) - pu) for name, pu in expected.pu.items())
        assert worst < 1e-6  # the requirement is 0.002 pu


def test_bases_and_coordinates() -> None:
    network, _ = solved("ieee13")
    at = network.node_index()
    for name, kv in (("source.1", 115.0), ("650.2", 4.16), ("634.3", 0.48)):
        assert network.node_v_base[at[name]] == pytest.approx(kv * 1e3 / 3**0.5)
    assert np.isfinite(network.bus_xy).all()
    assert network.notes  # what was passed over is counted


def test_european_feeder_has_the_facts_of_an_independent_copy() -> None:
    """pandapower ships the feeder too (in single precision): every cable, the transformer, the consumers at minute 566."""
    from pandapower.networks import ieee_european_lv_asymmetric

    from vpp.grid.source import quiet

    with quiet():
        net = ieee_european_lv_asymmetric("on_peak_566")
    network, _ = solved("european_lv")
    feeder = network.feeder
    assert feeder is not None
    own, mutual = (np.array([line.z_ohm[0, k] for line in feeder.lines]) for k in (0, 1))
    one = (net.line.r_ohm_per_km + 1j * net.line.x_ohm_per_km) * net.line.length_km
    zero = (net.line.r0_ohm_per_km + 1j * net.line.x0_ohm_per_km) * net.line.length_km
    assert np.abs(own - mutual - one).max() < 1e-8
    assert np.abs(own + 2.0 * mutual - zero).max() < 1e-8
    ends = [(int(line.from_nodes[0][0]), int(line.to_nodes[0][0])) for line in feeder.lines]
    assert ends == list(zip(net.line.from_bus, net.line.to_bus))
    powers = net.asymmetric_load[["p_a_mw", "p_b_mw", "p_c_mw"]].to_numpy()
    nodes = [(str(bus), phase + 1) for bus, phase in zip(net.asymmetric_load.bus, powers.argmax(axis=1))]
    assert [load.legs[0][0] for load in feeder.loads] == nodes
    factor = np.array([feeder.shapes[name].factor[565] for name in network.load_shape])
    assert np.abs(factor * 1e-3 - powers.max(axis=1)).max() < 1e-8
    (transformer,), (theirs,) = feeder.transformers, net.trafo.itertuples()
    assert (transformer.kva, transformer.windings[1].kv) == pytest.approx((800.0, theirs.vn_lv_kv))
    assert sum(w.r_percent for w in transformer.windings) == pytest.approx(theirs.vkr_percent)
