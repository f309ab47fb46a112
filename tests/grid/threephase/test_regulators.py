"""Tap changers under control against OpenDSS's static control mode."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.grid.threephase import oracle
from vpp.grid.dss import read_dss
from vpp.grid.threephase import CurrentInjection, compile_feeder
from vpp.grid.threephase.regulators import RegulatedFlow, relay_volts, settle, taps, with_taps

REGULATED = ("ieee13", "ieee34", "ieee123")


@pytest.mark.parametrize("case", REGULATED)
def test_taps_from_neutral_come_to_rest_where_opendss_has_them(case: str) -> None:
    feeder = read_dss(oracle.path(case))
    neutral = with_taps(feeder, dict.fromkeys(taps(feeder), 0))
    assert set(taps(neutral).values()) == {0}
    settled = settle(neutral)
    assert settled.at_rest
    oracle.run(f"compile [{oracle.path(case)}]", *(f"transformer.{name}.taps=[1 1]" for name in taps(feeder)))
    oracle.run("set controlmode=static", "set maxcontroliter=100", "set tolerance=1e-9", "solve")
    assert settled.network.feeder is not None
    ours = taps(settled.network.feeder)
    theirs = {}
    for name in ours:
        oracle.dss.Transformers.Name(name)
        oracle.dss.Transformers.Wdg(2)
        theirs[name] = round((oracle.dss.Transformers.Tap() - 1.0) / 0.00625)
    assert ours == theirs
    assert any(ours.values())
    expected = dict(zip(oracle.dss.Circuit.AllNodeNames(), oracle.dss.Circuit.AllBusMagPu()))
    at = settled.network.node_index()
    assert max(abs(abs(settled.solution.v[at[name]]) - pu) for name, pu in expected.items()) < 1e-5


@pytest.mark.parametrize("case", ["ieee13", "ieee123"])
def test_published_taps_rest(case: str) -> None:
    """The published positions lie within their controls' bands (of the 34-node feeder one does not, by 0.1 V)."""
    feeder = read_dss(oracle.path(case))
    settled = settle(feeder)
    assert (settled.steps, settled.at_rest) == (0, True)
    volts = relay_volts(settled.network, feeder, settled.solution.v)
    for reg, value in zip(feeder.regulators, volts):
        assert abs(value - reg.v_set) <= reg.band / 2.0


def test_the_end_of_the_range_is_rest_too() -> None:
    feeder = read_dss(oracle.path("ieee13"))
    high = replace(feeder, regulators=[replace(reg, v_set=150.0) for reg in feeder.regulators])
    settled = settle(high)
    assert settled.at_rest
    assert settled.network.feeder is not None
    assert set(taps(settled.network.feeder).values()) == {16}


def test_rounds_are_limited() -> None:
    feeder = read_dss(oracle.path("ieee123"))
    settled = settle(with_taps(feeder, dict.fromkeys(taps(feeder), 0)), max_rounds=2)
    assert (settled.steps, settled.at_rest) == (2, False)


def test_a_tap_raises_its_own_phase() -> None:
    feeder = read_dss(oracle.path("ieee13"))
    changed = with_taps(feeder, {"reg_b": taps(feeder)["reg_b"] + 1})
    v = []
    for each in (feeder, changed):
        net = compile_feeder(each)
        solution = CurrentInjection(net).solve(*net.rated_injections())
        at = net.node_index()
        v.append(np.abs(solution.v[[at[f"rg60.{k}"] for k in (1, 2, 3)]]))
    assert v[1][1] - v[0][1] == pytest.approx(0.00625, abs=5e-4)
    assert np.abs(v[1][[0, 2]] - v[0][[0, 2]]).max() < 5e-4


def test_taps_stay_between_steps_and_come_back_from_a_state() -> None:
    feeder = read_dss(oracle.path("ieee123"))
    net = compile_feeder(feeder)
    p, q = net.rated_injections()
    scale = (1.0, 0.4, 0.4, np.nan, 1.2, 0.7)
    flow = RegulatedFlow(feeder)
    results, states = [], []
    for s in scale:
        states.append(flow.state())
        results.append(flow.step(s * p, s * q))
    assert [r.at_rest for r in results] == [True, True, True, False, True, True]
    assert results[0].steps == 0  # the published taps rest
    assert results[1].steps > 0  # at light load the first regulators go down
    assert results[2].steps == 0  # the same load again moves nothing
    assert np.isnan(results[3].solution.v).all()
    assert (states[4] == states[3]).all()  # what did not converge moved nothing
    assert results[1].network.feeder is not None
    assert flow.position != taps(feeder)
    other = RegulatedFlow(feeder)
    other.restore(states[4])
    for s, expected in zip(scale[4:], results[4:]):
        assert other.step(s * p, s * q).solution.v.tobytes() == expected.solution.v.tobytes()
    assert (other.state() == flow.state()).all()
    with pytest.raises(ValueError, match="2 tap positions for 7"):
        flow.restore(np.zeros(2, dtype=np.int64))
