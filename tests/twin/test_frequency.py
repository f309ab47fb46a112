"""The swing model against the equations that it stands for, solved by hand and by scipy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from tests.twin.small import Resources, feeder, offer, plant, village
from twin.fleet import FleetModel
from twin.frequency import Droop, FrequencyProfile, Island, Stage, Swing, Unit
from twin.frequency.kernel import END, MEAN, NADIR, ROCOF, ZENITH
from twin.plant import TwinPlant
from twin.spec import FleetSpec
from vpp.kernel.seen import Event
from vpp.kernel.setpoints import Asked, Setpoints

F0, S, H = 50.0, 100.0, 5.0
M = 2 * H * S / F0
LOSS = ((0.0, 3.0, math.inf, -6.0),)  # 6 MW are lost after three seconds
STEAM = Unit(30.0 / (F0 * 0.05), 0.01, 9.0, 9.0, 0.3, 6.0, 0.3)
HYDRO = Unit(20.0 / (F0 * 0.04), 0.0, 5.0, 5.0, 0.5, 1.0)
Events = tuple[tuple[float, float, float, float], ...]


def island(**fields: object) -> Island:
    """100 MVA with H = 5 s."""
    return Island(**{"name": "test", "f_nom_hz": F0, "inertia_mw_s_per_hz": M, "damping_mw_per_hz": 2.0, **fields})  # type: ignore[arg-type]


def still() -> FleetSpec:
    """A fleet that does nothing: one load of nothing."""
    return Resources().add("load", 2, p_mw=0.0).spec(feeder())


def swing(*islands: Island, spec: FleetSpec | None = None, events: Events = LOSS) -> Swing:
    """Islands on the weak feeder, all nodes in the first one."""
    network = feeder()
    spec = still() if spec is None else spec
    return Swing(spec, islands, np.zeros(network.n_node, np.int32), network.slack_node, np.array(events).reshape(-1, 4))


def go(model: Swing, seconds: float, dt_s: float = 1.0, spec: FleetSpec | None = None, taken: float = 0.0) -> np.ndarray:
    """Step without a network: the slack always takes ``taken`` MW and the answer; (steps, I, 5)."""
    spec = still() if spec is None else spec
    neutral, out = Setpoints.neutral(spec.fleet.n).block, []
    block = FleetModel(spec).step(0, dt_s, None, None).block
    for k in range(round(seconds / dt_s)):
        moved = model.begin(0, k * dt_s, dt_s, F0, block, neutral)
        slack = np.array([taken + moved[0].sum() - block[0].sum()], np.complex128)
        out.append(model.end(0, np.zeros((3, spec.fleet.n)), slack, block).island)
    return np.array(out)


def by_scipy(units: tuple[Unit, ...], damping: float, p: float, seconds: float) -> Callable[[np.ndarray], np.ndarray]:
    """The frequency after a loss of ``p`` MW at 0 s, from the equations as the textbook has them."""

    def rates(t: float, y: np.ndarray) -> list[float]:
        dev, total, out = y[0], -p - damping * y[0], []
        for k, u in enumerate(units):
            valve, turbine = y[1 + 2 * k : 3 + 2 * k]
            beyond = math.copysign(max(abs(dev) - u.deadband_hz, 0.0), dev)
            want = min(max(-u.gain_mw_per_hz * beyond, -u.down_mw), u.up_mw)
            out += [(want - valve) / u.valve_s, (valve - turbine) / u.turbine_s]
            total += u.fast * valve + (1 - u.fast) * turbine
        return [total / M, *out]

    exact = {"rtol": 1e-10, "atol": 1e-12, "max_step": 0.02, "dense_output": True}
    solved = solve_ivp(rates, (0.0, seconds), np.zeros(1 + 2 * len(units)), **exact)
    return lambda t: F0 + solved.sol(t)[0]


def test_the_frequency_first_falls_as_fast_as_inertia_lets_it() -> None:
    """Rate of change = ΔP f0 / (2 H S), whatever governors come after."""
    out = go(swing(island(units=(STEAM, HYDRO))), 5.0)
    assert out[:3, 0, ROCOF].tolist() == [0.0] * 3
    assert out[3, 0, ROCOF] == pytest.approx(-6.0 * F0 / (2 * H * S), rel=1e-12)


def test_it_comes_to_rest_where_droop_and_damping_carry_the_loss() -> None:
    """Δf = -ΔP / (Σ 1/R + D), deadbands counted."""
    out = go(swing(island(units=(STEAM, HYDRO))), 120.0)
    gains = STEAM.gain_mw_per_hz + HYDRO.gain_mw_per_hz
    expected = F0 - (6.0 + STEAM.gain_mw_per_hz * STEAM.deadband_hz) / (gains + 2.0)
    assert out[-1, 0, END] == pytest.approx(expected, abs=1e-7)
    bare = go(swing(island()), 200.0)
    assert bare[-1, 0, END] == pytest.approx(F0 - 6.0 / 2.0, abs=1e-6)


@pytest.mark.parametrize("units", [(STEAM,), (STEAM, HYDRO), (replace(STEAM, up_mw=2.0), HYDRO)])
def test_the_nadir_is_that_of_the_equations(units: tuple[Unit, ...]) -> None:
    """Within 1e-4 Hz of scipy's solution, everywhere and at the lowest point, limits and deadbands included."""
    damping, seconds = 8.0, 40.0
    out = go(swing(island(units=units, damping_mw_per_hz=damping)), 3.0 + seconds)[3:, 0]
    f = by_scipy(units, damping, 6.0, seconds)
    t = np.linspace(0.0, seconds, 400_001)
    assert out[:, NADIR].min() == pytest.approx(f(t).min(), abs=1e-4)
    assert np.abs(out[:, END] - f(np.arange(1.0, seconds + 1.0))).max() < 1e-4
    assert np.abs(out[:, MEAN] - f(t[:-1] + 5e-5).reshape(40, -1).mean(axis=1)).max() < 1e-4
    assert np.abs(out[:, ZENITH] - f(t[:-1]).reshape(40, -1).max(axis=1)).max() < 1e-4


def test_energy_closes_in_every_step() -> None:
    """What the loss takes and the unit gives over a step, MWs, is what the rotors lose: M Δf, by the step's mean."""
    unit = Unit(12.0, valve_s=0.0)
    out = go(swing(island(units=(unit,), damping_mw_per_hz=0.0), events=((0.0, 0.0, math.inf, -6.0),)), 30.0)[:, 0]
    moved = M * np.diff(out[:, END], prepend=F0)  # momentum of each step, against its impulse
    impulse = -6.0 - 12.0 * (out[:, MEAN] - F0)
    assert np.abs(moved - impulse).max() < 1e-6


def test_the_length_of_the_step_does_not_matter() -> None:
    """The same event in steps of 1 s, 3 s, 10 s and 60 s: the same frequency in the end, and the same nadir."""
    runs = [go(swing(island(units=(STEAM, HYDRO))), 60.0, dt_s) for dt_s in (1.0, 3.0, 10.0, 60.0)]
    for out in runs[1:]:
        assert out[-1, 0, END] == pytest.approx(runs[0][-1, 0, END], abs=1e-9)
        assert out[:, 0, NADIR].min() == pytest.approx(runs[0][:, 0, NADIR].min(), abs=1e-9)


def test_secondary_control_brings_the_frequency_back() -> None:
    units = (replace(STEAM, secondary=0.5), replace(HYDRO, secondary=0.5))
    model = island(units=units, secondary_mw_per_hz_s=1.0, secondary_max_mw=14.0)
    out = go(swing(model), 600.0, 10.0)
    assert out[:, 0, NADIR].min() < F0 - 0.1
    assert out[-1, 0, END] == pytest.approx(F0, abs=1e-3)


def test_lost_generation_may_come_back() -> None:
    out = go(swing(island(), events=((0.0, 3.0, 13.0, -6.0),)), 200.0)
    assert out[12, 0, END] == pytest.approx(F0 - 3.0 * (1.0 - math.exp(-1.0)), abs=1e-6)  # M / D = 10 s
    assert out[-1, 0, END] == pytest.approx(F0, abs=1e-6)


def test_islands_do_not_know_of_one_another() -> None:
    """What happens in one of two equal islands leaves the other at rest; and each is as if it were alone."""
    both = (island(units=(STEAM, HYDRO)), island(units=(HYDRO,)))
    events = (*LOSS, (1.0, 10.0, math.inf, 2.0))
    out = go(swing(*both, events=events), 60.0)
    alone = [go(swing(both[0]), 60.0), go(swing(both[1], events=((0.0, 10.0, math.inf, 2.0),)), 60.0)]
    assert np.array_equal(out[:, 0], alone[0][:, 0])
    assert np.array_equal(out[:, 1], alone[1][:, 0])
    assert (go(swing(*both), 60.0)[:, 1, :4] == F0).all()


def test_load_shedding_waits_and_then_holds() -> None:
    """Stages act after their delay below their frequency, deepest last, and catch the frequency."""
    stages = (Stage(49.0, 0.15, 0.1), Stage(48.8, 0.15, 0.1), Stage(48.6, 0.15, 0.5))
    model = swing(island(stages=stages, rest_load_mw=40.0), events=((0.0, 0.0, math.inf, -10.0),))
    out = go(model, 60.0, 0.05)[:, 0]
    below = int(np.argmax(out[:, END] < 49.0))
    slope = np.diff(out[:, END])
    assert slope[below + 4] - slope[below + 3] < 0.5 * 4.0 / M * 0.05  # the load is still there...
    first = int(np.argmax(np.diff(slope) > 0.5 * 4.0 / M * 0.05))
    assert first + 1 - below == pytest.approx(3, abs=1)  # ... for 0.15 s
    assert out[-1, END] == pytest.approx(F0 - 2.0 / 2.0, abs=1e-3)  # two stages of 4 MW; the third one stays
    assert model.state()["shed"].tolist() == [[True, True, False]]


def test_outside_its_limits_an_island_dies_and_stays_dead() -> None:
    model = swing(island(f_min_hz=47.5, f_max_hz=51.5), events=((0.0, 3.0, 10.0, -60.0),))
    out = go(model, 20.0)[:, 0]
    last = int(np.argmax(out[:, END] == 0.0))
    assert out[last - 1, END] > 47.5
    assert (out[last:, END] == 0.0).all()
    assert model.dead.tolist() == [True]


def batteries() -> FleetSpec:
    """Two batteries of 1 MW and a load."""
    fleet = Resources().add("load", 2, p_mw=0.5)
    for _ in range(2):
        fleet.add("battery", 3, p_mw=1.0, s_mva=1.1, e_mwh=100.0)
    return fleet.spec(feeder())


def droop(spec: FleetSpec, lag_s: float = 0.2) -> Droop:
    """5 % with 36 mHz."""
    at = np.flatnonzero(np.array(spec.fleet.kind) == "battery")
    gain = np.full(at.size, 1.0 / (F0 * 0.05))
    return Droop(at, gain, gain, 0.036, 0.036, lag_s)


def test_droop_of_the_fleet_is_a_unit_with_the_fleet_s_headroom() -> None:
    """Quasi-steady deviation with the fleet's gain; and no more than it has."""
    spec = batteries()
    model = island(inertia_mw_s_per_hz=0.5, damping_mw_per_hz=0.2, droops=(droop(spec),))
    out = go(swing(model, spec=spec, events=((0.0, 2.0, math.inf, -0.5),)), 60.0, spec=spec)
    gain = 2.0 / (F0 * 0.05)
    assert out[-1, 0, END] == pytest.approx(F0 - (0.5 + gain * 0.036) / (gain + 0.2), abs=1e-6)
    full = go(swing(model, spec=spec, events=((0.0, 2.0, math.inf, -3.0),)), 60.0, spec=spec)
    assert full[-1, 0, END] == pytest.approx(F0 - (3.0 - 2.0) / 0.2, abs=1e-6)


def test_the_answer_is_added_to_the_offers_and_nothing_else_is_touched() -> None:
    spec = batteries()
    model = swing(island(inertia_mw_s_per_hz=0.5, droops=(droop(spec, 0.0),)), spec=spec, events=((0.0, 0.0, math.inf, -2.0),))
    before = FleetModel(spec).step(0, 1.0, None, None)
    kept = before.block.copy()
    block = model.begin(0, 0.0, 1.0, F0, before.block, Setpoints.neutral(3).block)
    assert np.array_equal(before.block, kept, equal_nan=True)
    moved = block[0] - kept[0]
    assert moved[0] == 0.0
    assert moved[1] == moved[2] > 0.0
    assert np.array_equal(block[1:], kept[1:], equal_nan=True)
    assert (model.f_mean_hz == model.out[0, MEAN]).all()


def test_self_regulation_of_the_fleet_s_loads() -> None:
    """A load of 0.5 MW with 2 pu/pu is a damping of 0.02 MW/Hz."""
    spec = batteries()
    events = ((0.0, 1.0, math.inf, -0.01),)
    own = island(inertia_mw_s_per_hz=0.1, damping_mw_per_hz=0.0, load_share=2.0)
    regulated = go(swing(own, spec=spec, events=events), 60, spec=spec)
    damped = go(swing(island(inertia_mw_s_per_hz=0.1, damping_mw_per_hz=0.02), spec=spec, events=events), 60, spec=spec)
    assert np.abs(regulated[:, 0, END] - damped[:, 0, END]).max() < 1e-6
    assert damped[-1, 0, END] == pytest.approx(F0 - 0.5, abs=1e-3)


def in_network(dt_s: float, steps: int) -> TwinPlant:
    """The village (constant reactive power) on the weak feeder with a public grid of 0.5 MVA that swings."""
    twin = plant(village(None), steps, dt_s=dt_s)
    twin.devices.spec.profiles.factor[:] = 0.7
    spec, network = twin.devices.spec, twin.grid.coupling.network
    at = np.flatnonzero(np.array(spec.fleet.kind) == "battery")
    gain = np.full(at.size, 0.01 / (F0 * 0.02))
    model = island(
        inertia_mw_s_per_hz=2 * 4.0 * 0.5 / F0, damping_mw_per_hz=0.01, f_min_hz=47.5,
        units=(Unit(0.5 / (F0 * 0.05), 0.0, 0.05, 0.05, 0.3, 0.5),), droops=(Droop(at, gain, gain, 0.02, 0.02, 0.2),),
    )  # fmt: skip
    events = np.array([[0.0, 30.0, np.inf, -0.03]])
    twin.grid.swing = Swing(spec, (model,), np.zeros(network.n_node, np.int32), network.slack_node, events)
    twin.grid.__post_init__()
    return twin


def turn(twin: TwinPlant) -> bytes:
    """A step; everything that it shows."""
    truth, _ = twin.advance()
    twin.write(0, Asked.nothing(twin.fleet.n))
    image = twin.read(0)
    told = np.array([truth.f_hz, truth.nadir_hz, truth.rocof_hz_per_s])
    return truth.solved.delivered.block.tobytes() + image.telemetry.block.tobytes() + told.tobytes()


def test_batteries_in_the_network_show_their_droop() -> None:
    """The exchange and the frequency agree: what the batteries add is what droop asks at that frequency."""
    twin = in_network(1.0, 120)
    truth = [twin.advance()[0] for _ in range(120)]
    at = np.flatnonzero(np.array(twin.fleet.kind) == "battery")
    first, last = truth[10], truth[-1]
    assert first.f_hz == pytest.approx(F0, abs=1e-7)  # as exactly as the power flow is solved
    assert last.f_hz < F0 - 0.03
    asked = np.full(at.size, 0.01 / (F0 * 0.02) * (F0 - 0.02 - last.f_hz))
    np.testing.assert_allclose(last.solved.delivered.p_mw[at], asked, atol=1e-7)
    # Quasi-steady: governor, damping and what comes over the exchange make up for the loss.
    dev = F0 - last.f_hz
    made = 0.5 / (F0 * 0.05) * dev + 0.01 * dev + last.exchange_mva.real - first.exchange_mva.real
    assert made == pytest.approx(0.03, abs=1e-7)


def test_in_the_network_too_the_length_of_the_step_does_not_matter() -> None:
    ends = []
    for dt_s in (1.0, 10.0):
        twin = in_network(dt_s, round(120 / dt_s))
        ends.append([twin.advance()[0].f_hz for _ in range(round(120 / dt_s))][-1])
    assert ends[0] == pytest.approx(ends[1], abs=1e-6)


def test_restored_it_goes_on_with_the_same_bytes() -> None:
    whole = in_network(1.0, 80)
    for _ in range(32):
        turn(whole)
    saved, fresh = whole.state(), in_network(1.0, 80)
    fresh.restore(saved)
    for _ in range(40):
        assert turn(whole) == turn(fresh)
    forgetful = in_network(1.0, 80)
    forgetful.restore({**saved, "grid": {**saved["grid"], "swing": in_network(1.0, 80).grid.swing.state()}})  # type: ignore[union-attr]
    other = in_network(1.0, 80)
    other.restore(saved)
    assert turn(forgetful) != turn(other)


def test_a_load_step_in_the_network_moves_the_frequency_in_the_same_step() -> None:
    twin = in_network(1.0, 20)
    profiles = twin.devices.spec.profiles
    profiles.factor[10:] = 0.6
    truth = [twin.advance()[0] for _ in range(12)]
    assert abs(truth[9].rocof_hz_per_s) < 1e-7
    others = np.array(twin.fleet.kind) != "battery"
    change = [one.solved.delivered.p_mw[others & np.isfinite(one.solved.delivered.vm_pu)].sum() for one in truth[9:11]]
    assert truth[10].rocof_hz_per_s == pytest.approx((change[1] - change[0]) / (2 * 4.0 * 0.5 / F0), rel=1e-6)


def test_a_step_without_solution_leaves_the_frequency_where_the_offers_lead_it() -> None:
    struck = in_network(1.0, 20)
    struck.devices.spec.profiles.factor[5] = -1000.0
    truth = [struck.advance()[0] for _ in range(8)]
    assert not truth[5].solved.converged
    assert all(np.isfinite(one.f_hz) for one in truth)


def test_without_a_swing_the_frequency_is_the_profile_s() -> None:
    twin = plant(village(), 3)
    twin.grid.frequency = FrequencyProfile(np.array([0.0, 1800.0]), np.array([50.0, 49.8]))
    truth = [twin.advance()[0] for _ in range(3)]
    assert [one.f_hz for one in truth] == pytest.approx([50.0, 49.9, 49.8])
    assert [one.nadir_hz for one in truth] == [one.f_hz for one in truth]
    assert all(one.events == () and one.rocof_hz_per_s == 0.0 for one in truth)
    assert offer(twin.devices.spec).n == twin.fleet.n


def test_what_was_shed_is_said() -> None:
    spec = batteries()
    model = swing(
        island(inertia_mw_s_per_hz=0.5, damping_mw_per_hz=0.2, stages=(Stage(49.5, 0.1, 1.0),)), spec=spec,
        events=((0.0, 0.0, math.inf, -0.5),),
    )  # fmt: skip
    neutral, block = Setpoints.neutral(3).block, FleetModel(spec).step(0, 1.0, None, None).block
    said: list[Event] = []
    for k in range(5):
        moved = model.begin(k, float(k), 1.0, F0, block, neutral)
        said += model.end(k, np.zeros((3, 3)), np.array([moved[0].sum() + 0j]), block).events
    (event,) = said
    assert event.kind == "shedding"
    assert event.value == pytest.approx(0.5)
    assert moved[0, 0] == 0.0
