"""Gensets: start, ramp, minimum load and times, fuel."""

from __future__ import annotations

import numpy as np
import pytest

from tests.twin.laid_out import alone, asked, content, flex_of, follow, laid_out, restored_runs_on, run
from twin.devices.genset import FUEL, Genset
from twin.fleet import FleetModel
from vpp.kernel.setpoints import FOLLOW

GENSET = {"kind": "genset", "p_mw": 0.1}  # 30 kW at least, half a minute to start, 5 kW/s
TANK = {**GENSET, "tank_mwh": 0.5, "start_s": 0.0, "min_up_s": 0.0, "min_down_s": 0.0, "ramp_per_s": 1e15}


def fuel(model: FleetModel) -> float:
    (device,) = [m for m in model.models if isinstance(m, Genset)]
    return float(device.memory["state"][FUEL, 0])


@pytest.mark.parametrize(
    ("want", "expected"),
    [
        # steps of 10 s: 30 s of starting, then 5 kW a second
        ([0.1] * 6, [0, 0, 0, 0.025, 0.075, 0.1]),
        ([0.1, 0.1, 0, 0.1, 0.1, 0.1, 0.1], [0, 0, 0, 0, 0, 0, 0.025]),  # a start that is broken off begins again
        (
            [0.1] * 6 + [0.04, 0.04, 0.0],
            [0, 0, 0, 0.025, 0.075, 0.1, 0.075, 0.041, 0.031],
        ),  # down to minimum load: it must run on
        ([0.014] * 5, [0] * 5),
        ([0.016] * 6, [0, 0, 0, (0.03 * 10 - 0.03**2 / 0.01) / 10, 0.03, 0.03]),
    ],
)
def test_ticks(want: list[float], expected: list[float]) -> None:
    got = follow(laid_out(GENSET, dt_s=10.0), np.array(want)[:, None], 10.0)["p_mw"][:, 0]
    assert got == pytest.approx(expected, abs=1e-12)


def test_minimum_run_and_rest() -> None:
    """Asked on and off by chance each minute: ten minutes of run, five of rest."""
    model = laid_out({**GENSET, "start_s": 0.0, "ramp_per_s": 1e15}, dt_s=60.0)
    on = follow(model, np.random.default_rng(1).choice([0.0, 0.1], (300, 1)), 60.0)["p_mw"][:, 0] > 1e-9
    edges = np.flatnonzero(np.diff(on.astype(int)))
    lengths, runs = np.diff(edges), on[edges[:-1] + 1]
    assert lengths[runs].min() == 10
    assert lengths[~runs].min() == 5


def test_nobody_leading_it_rests_and_disconnected_it_stops_at_once() -> None:
    assert (alone(laid_out(GENSET), 4)["p_mw"] == 0).all()
    p = run(laid_out(GENSET), [asked(1, mode=FOLLOW, p_mw=0.1)] * 2 + [asked(1, mode=FOLLOW, p_mw=0.1, connect=0.0)])["p_mw"][
        :, 0
    ]
    assert p[1:].tolist() == [0.1, 0.0]


def test_fuel_by_its_curve() -> None:
    """At rating 40 % efficiency, 8 % of the fuel without load."""
    model = laid_out({**GENSET, "start_s": 0.0, "ramp_per_s": 1e15})
    p = follow(model, np.array([[0.1], [0.05], [0.03]]))["p_mw"][:, 0]
    assert fuel(model) == pytest.approx(0.25 * (3 * 0.02 + 0.92 / 0.4 * p.sum()))
    assert pytest.approx(0.25 * (0.02 + 0.92 / 0.4 * 0.1)) == 0.25 * 0.1 / 0.4


def test_it_stops_exactly_at_an_empty_tank() -> None:
    model = laid_out(TANK)
    r = follow(model, [0.1], steps=20)
    assert model.soc[0] == pytest.approx(0.0, abs=1e-12)
    assert fuel(model) == pytest.approx(0.5, abs=1e-9)
    assert r["p_mw"][:8, 0] == pytest.approx([0.1] * 8)
    assert (r["p_mw"][9:] == 0).all()


def test_flex_is_its_tank() -> None:
    flex = flex_of(laid_out(TANK), 4)
    assert (flex.p_lo_mw[0, 0], flex.p_hi_mw[0, 0], flex.p_gap_mw[0]) == (0.0, 0.1, pytest.approx(0.03))
    assert content(flex, np.full((4, 1), 0.1))[-1, 0] == pytest.approx(0.5 - 0.1 / 0.4)
    assert flex.e_hi_mwh[0, 0] == 0.5
    assert not np.isfinite(flex_of(laid_out(GENSET), 4).e_hi_mwh[0, 0])


def test_restored_runs_on() -> None:
    plan = np.random.default_rng(4).uniform(-0.02, 0.12, (80, 2))
    restored_runs_on(laid_out(GENSET, TANK, dt_s=60.0), laid_out(GENSET, TANK, dt_s=60.0), plan, 60.0)
