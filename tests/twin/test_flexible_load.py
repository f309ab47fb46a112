"""Flexible load: shifted in parts, interrupted, and caught up; and whole programmes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.twin.laid_out import alone, asked, content, flex_of, follow, laid_out, restored_runs_on, run
from vpp.kernel.setpoints import FOLLOW, LIMIT

PARTS = {"kind": "flexible_load", "p_mw": 0.1, "p_high": 1.5, "p_low": 0.2, "shift_h": 1.0}
CUTS = {"kind": "flexible_load", "p_mw": 0.1, "p_high": 2.0, "mode": "interrupt", "longest_s": 1800.0, "rest_s": 3600.0}
WASH = {"kind": "shiftable_load", "p_mw": 0.02, "programme": [1.0, 0.5, 0.25, 0.75], "window": ["09:00", "13:00"]}
ENERGY = 0.02 * 2.5 / 4


@pytest.mark.parametrize(
    ("want", "expected"),
    [
        ([-0.1] * 3, [0.1] * 3),
        ([0.0] * 6, [0.02] * 5 + [0.1]),  # a fifth goes on; after 1.25 h at 80 kW less, 0.1 MWh is owed
        ([-1.0] * 10, [0.15] * 8 + [0.1] * 2),
        ([0.0] * 2 + [-1.0] * 3, [0.02] * 2 + [0.15] * 3),
    ],
)
def test_shifted_in_parts(want: list[float], expected: list[float]) -> None:
    got = follow(laid_out(PARTS), np.array(want)[:, None])["p_mw"][:, 0]
    assert -got == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("rebound", [0.0, 0.5, 1.0, 1.3])
@pytest.mark.parametrize("mode", ["parts", "interrupt"])
def test_rebound(rebound: float, mode: str) -> None:
    """Half an hour of less, then a day alone: the stated part of the energy is caught up, in about its time."""
    entry = {**(PARTS if mode == "parts" else CUTS), "rebound": rebound, "p_high": 2.0, "rebound_h": 1.0}
    model = laid_out(entry, steps=98)
    sheets = [asked(1, mode=FOLLOW, p_mw=-0.04)] * 2 + [asked(1)] * 96
    p = -run(model, sheets)["p_mw"][:, 0]
    less = 2 * 0.06 / 4
    assert p[:2] == pytest.approx([0.04, 0.04])
    assert (p[2:].sum() - 96 * 0.1) / 4 == pytest.approx(rebound * less, abs=1e-9)
    assert (p[2:6].sum() - 4 * 0.1) / 4 >= 0.6 * rebound * less - 1e-12
    assert model.soc[0] == pytest.approx(0.5 if mode == "parts" else 1.0, abs=1e-6)


def test_books_of_the_virtual_store() -> None:
    model = laid_out(PARTS, {**PARTS, "p_low": 0.0})
    p = -follow(model, np.random.default_rng(7).uniform(-0.16, 0.0, (96, 2)))["p_mw"]
    assert (p - 0.1).sum(axis=0) / 4 == pytest.approx((model.soc - 0.5) * model.spec.fleet.e_mwh, abs=1e-9)
    assert np.ptp(p) > 0.1


@pytest.mark.parametrize(
    ("changes", "cut"),
    [
        ({}, [0, 1, 4 + 2, 4 + 3]),  # two quarter-hours, an hour of rest, again; a third time there is none
        ({"times_per_day": 1}, [0, 1]),
        ({"longest_s": 900.0, "times_per_day": 3, "rest_s": 900.0}, [0, 2, 4]),
        ({"longest_s": 600.0}, []),  # shorter than a step: not at all
    ],
)
def test_interrupted_only_as_it_may_be(changes: dict[str, Any], cut: list[int]) -> None:
    entry = {**CUTS, "p_low": 0.2, "p_high": 1.0, "rebound": 0.0, **changes}
    p = -follow(laid_out(entry), [0.0], steps=20)["p_mw"][:, 0]
    assert np.flatnonzero(p < 0.09).tolist() == cut
    assert p[cut] == pytest.approx([0.02] * len(cut))


def test_the_next_day_has_its_own_interruptions() -> None:
    entry = {**CUTS, "p_low": 0.2, "p_high": 1.0, "rebound": 0.0}
    p = -follow(laid_out(entry, steps=120), [0.0], steps=120)["p_mw"][:, 0]
    assert np.flatnonzero(p < 0.09).tolist() == [0, 1, 6, 7, 96, 97, 102, 103]


def test_what_has_been_owed_for_too_long_is_caught_up() -> None:
    model = laid_out({**PARTS, "window_h": 2.0, "rebound_h": 1.0})
    wants = np.array([0.0] * 2 + [-0.1] * 12)[:, None]
    p = -follow(model, wants)["p_mw"][:, 0]
    assert p[2:8] == pytest.approx([0.1] * 6)
    assert p[8] == pytest.approx(0.1 + 0.04)
    assert p[8:].sum() > 0.1 * len(p[8:])


def test_limits_and_power_factor() -> None:
    model = laid_out({**PARTS, "power_factor": 0.9})
    r = run(model, [asked(1, mode=LIMIT, p_limit_mw=-0.12), asked(1, connect=0.0)])
    assert r["p_mw"][:, 0].tolist() == pytest.approx([-0.12, 0.0])
    assert r["q_mvar"][0, 0] == pytest.approx(-0.12 * np.tan(np.arccos(0.9)))


@pytest.mark.parametrize("entry", [PARTS, {**CUTS, "longest_s": 7200.0}])
def test_flex_is_what_it_does(entry: dict[str, Any]) -> None:
    model = laid_out(entry)
    flex = flex_of(model, 8)
    plan = np.array([-0.05, -0.04, -0.12, -0.11, -0.1, -0.1, -0.06, -0.06])[:, None]
    energies = content(flex, plan)
    got = follow(model, plan)
    assert (plan >= flex.p_lo_mw).all()
    assert (plan <= flex.p_hi_mw).all()
    assert got["p_mw"] == pytest.approx(plan, abs=1e-9)
    assert model.soc[0] * model.spec.fleet.e_mwh[0] == pytest.approx(energies[-1, 0], abs=1e-8)


# --- whole programmes ---


@pytest.mark.parametrize(
    ("wants", "begins"),
    [
        ({}, 48),  # nobody asks: at the latest, twelve o'clock
        ({40: -0.02}, 40),
        ({40: -0.005}, 48),  # less than half of the first power
        ({20: -0.02}, 48),  # before the window opens
        ({36: -0.02, 37: 0.0}, 36),  # once begun it runs through
    ],
)
def test_a_programme_runs_as_a_whole(wants: dict[int, float], begins: int) -> None:
    plan = np.zeros((96, 1))
    for k, p in wants.items():
        plan[k] = p
    model = laid_out(WASH)
    r = follow(model, plan)
    p = -r["p_mw"][:, 0]
    assert np.flatnonzero(p).tolist() == [begins, begins + 1, begins + 2, begins + 3]
    assert p[begins : begins + 4] == pytest.approx([0.02, 0.01, 0.005, 0.015])
    assert r["soc"][begins + 4, 0] == pytest.approx(1.0) if begins < 48 else r["soc"][51, 0] == pytest.approx(1 - 0.015 / 0.05)
    assert r["soc"][54, 0] == 0.0


def test_left_alone_it_begins_when_the_window_opens() -> None:
    p = alone(laid_out(WASH), 96)["p_mw"][:, 0]
    assert np.flatnonzero(p).tolist() == [36, 37, 38, 39]


@pytest.mark.parametrize("dt_s", [60.0, 300.0, 900.0, 1800.0, 3600.0])
def test_its_energy_is_the_same_at_any_step(dt_s: float) -> None:
    steps = round(86400 / dt_s)
    for model, sheets in ((laid_out(WASH, dt_s=dt_s, steps=steps), None), (laid_out(WASH, dt_s=dt_s, steps=steps), 0.0)):
        r = alone(model, steps, dt_s) if sheets is None else follow(model, [sheets], dt_s, steps)
        assert -r["p_mw"].sum() * dt_s / 3600 == pytest.approx(ENERGY)


def test_a_window_may_pass_midnight_and_comes_every_day() -> None:
    p = alone(laid_out({**WASH, "window": ["23:00", "02:00"]}, steps=192), 192)["p_mw"][:, 0]
    assert np.flatnonzero(p).tolist() == [*range(4), *range(92, 96), *range(188, 192)]


def test_flex_needs_it_done_by_the_window_s_end() -> None:
    flex = flex_of(laid_out(WASH), 192)
    assert flex.e_leave_mwh[52, 0] == pytest.approx(ENERGY)
    assert np.flatnonzero(flex.e_leave_mwh[:96, 0] > 0).tolist() == [52]
    assert (flex.e_lo_mwh == 0.0).all()
    assert np.flatnonzero(flex.p_lo_mw[:96, 0]).tolist() == list(range(36, 52))
    plan = np.zeros((192, 1))
    for day in (0, 96):
        plan[day + 40 : day + 44, 0] = [-0.02, -0.01, -0.005, -0.015]
    e = content(flex, plan)
    assert (e >= flex.e_lo_mwh - 1e-12).all()
    assert (e <= flex.e_hi_mwh + 1e-12).all()


def test_restored_runs_on() -> None:
    entries = (PARTS, CUTS, WASH)
    plan = np.random.default_rng(8).uniform(-0.16, 0.0, (96, 3))
    restored_runs_on(laid_out(*entries), laid_out(*entries), plan)
