"""Save, restore in fresh objects, go on: the same bytes as without; the twin's step order; determinism."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.twin.small import HOUSES, VOLT_WATT, B, plant, village
from twin.plant import TwinPlant
from twin.sensors import SensorErrors
from vpp.kernel.quality import INVALID
from vpp.kernel.setpoints import FOLLOW, LIMIT, Asked, Setpoints

ERRORS = SensorErrors(0.01, 0.002, 0.005, 2, 0.1)
STEPS = 40


def asked(twin: TwinPlant, k: int) -> Asked:
    """Setpoints that change every step: batteries follow, some PV is limited, some Q is commanded."""
    rng = np.random.default_rng([3, k])
    n = twin.fleet.n
    sheet = Setpoints.neutral(n)
    kind = np.array(twin.fleet.kind)
    sheet.mode = np.select([kind == "battery", (kind == "pv") & (rng.random(n) < 0.5)], [FOLLOW, LIMIT], 0)
    sheet.p_mw = rng.uniform(-0.01, 0.01, n)
    sheet.p_limit_mw = rng.uniform(0.0, 0.03, n)
    sheet.q_mode = np.where(rng.random(n) < 0.3, FOLLOW, 0)
    sheet.q_mvar = rng.uniform(-0.005, 0.005, n)
    sheet.connect = rng.random(n) > 0.1
    return Asked(int(twin.time_ns[k]), sheet, np.zeros(n, np.int16), np.zeros(n, np.int16))


def turn(twin: TwinPlant) -> bytes:
    """One step and its answer; everything that can be seen of it as bytes."""
    truth, offer = twin.advance()
    now_ns = int(twin.time_ns[twin.k])
    image = twin.read(now_ns)
    twin.write(now_ns, asked(twin, twin.k))
    t, p = image.telemetry, image.points
    parts: list[Any] = [
        offer.block, truth.solved.delivered.block, truth.vm_pu, truth.loading, truth.solved.iterations, truth.losses_mw,
        truth.exchange_mva, truth.f_hz, t.block, t.quality, t.time_ns, p.value, p.quality, p.time_ns, image.applied.block,
    ]  # fmt: skip
    return b"".join(np.ascontiguousarray(x).tobytes() for x in parts)


def make(engine: str = "tree", seed: int = 7, dt_s: float = 900.0) -> TwinPlant:
    """The village with volt-var and volt-watt, under noise, delay and loss."""
    return plant(village(B, VOLT_WATT), STEPS, ERRORS, seed, engine, dt_s)


@pytest.mark.parametrize(("engine", "dt_s"), [("tree", 900.0), ("tree", 1.0), ("lightsim2grid", 900.0)])
def test_restored_twin_goes_on_with_the_same_bytes(engine: str, dt_s: float) -> None:
    one = make(engine, dt_s=dt_s)
    for _ in range(17):
        turn(one)
    state = one.state()
    rest = [turn(one) for _ in range(17, STEPS)]
    for _ in range(2):
        other = make(engine, seed=8, dt_s=dt_s)
        other.restore(state)
        assert [turn(other) for _ in range(17, STEPS)] == rest
    assert len(set(rest)) == len(rest)


def test_saved_in_a_step_without_solution() -> None:
    """The next step counts what batteries offered, so the offer is part of the state."""
    one, other = make(), make(seed=8)
    for twin in (one, other):
        profiles = twin.devices.spec.profiles
        profiles.factor[profiles.row[16]] = -1000.0
    for _ in range(17):
        turn(one)
    assert one.result is not None
    assert not one.result.solved.converged
    charge = one.devices.soc.copy()
    other.restore(one.state())
    assert [turn(other) for _ in range(17, STEPS)] == [turn(one) for _ in range(17, STEPS)]
    assert np.nanmax(np.abs(one.devices.soc - charge)) > 0.0


def test_restore_undoes_whatever_came_between() -> None:
    one = make()
    for _ in range(5):
        turn(one)
    state = one.state()
    rest = [turn(one) for _ in range(5, 20)]
    one.restore(state)
    assert [turn(one) for _ in range(5, 20)] == rest


def test_state_of_the_parts() -> None:
    """Devices and network, each restored on its own into a fresh one, continue alike."""
    one, other = make(), make(seed=8)
    for _ in range(9):
        turn(one)
    state = one.state()
    other.devices.restore(state["devices"])
    other.grid.restore(state["grid"])
    assert one.result is not None
    delivered = one.result.solved.delivered.p_mw.copy()
    sheets = [twin.devices.step(9, 900.0, asked(twin, 8).setpoints, delivered) for twin in (one, other)]
    assert sheets[0].block.tobytes() == sheets[1].block.tobytes()
    results = [twin.grid.step(0, 0.0, 900.0, sheet, None) for twin, sheet in zip((one, other), sheets)]
    assert results[0][0].solved.delivered.block.tobytes() == results[1][0].solved.delivered.block.tobytes()
    assert results[0][1].telemetry.block.tobytes() == results[1][1].telemetry.block.tobytes()


def test_state_comes_after_the_first_step() -> None:
    twin = make()
    with pytest.raises(RuntimeError, match="stepped and written to"):
        twin.state()
    with pytest.raises(RuntimeError, match="advance"):
        twin.read(0)


def test_seed_decides_what_is_seen_and_nothing_of_the_truth() -> None:
    """Without controllers that react, another seed changes the meters only."""
    twins = [make(), make(), make(seed=8)]
    for k in range(8):
        a, b, c = [turn(twin) for twin in twins]
        assert a == b
        assert (a != c) == (k >= ERRORS.delay_steps)
        results = [twin.result for twin in twins]
        assert results[0] is not None
        assert results[2] is not None
        assert np.array_equal(results[0].vm_pu, results[2].vm_pu, equal_nan=True)


def test_what_is_asked_acts_from_the_next_step() -> None:
    twin = plant(village(None), 4)
    twin.advance()
    assert np.array_equal(twin.read(0).applied.block, Setpoints.neutral(twin.fleet.n).block)
    sheet = Setpoints.neutral(twin.fleet.n)
    sheet.mode, sheet.p_limit_mw = LIMIT, 0.001
    twin.write(0, Asked(0, sheet, np.zeros(twin.fleet.n, np.int16), np.zeros(twin.fleet.n, np.int16)))
    assert (twin.read(0).telemetry.p_mw[1 : 2 * HOUSES : 2] > 0.001).all()
    truth, _ = twin.advance()
    assert np.array_equal(twin.read(0).applied.block, sheet.block)
    assert (truth.solved.delivered.p_mw[1 : 2 * HOUSES : 2] == 0.001).all()


def test_read_shows_the_same_image_again() -> None:
    twin = make()
    twin.advance()
    assert twin.read(0) is twin.read(0)


def test_a_step_without_solution_leaves_no_trace_in_a_fleet_without_memory() -> None:
    """Loads and PV: the step itself is NaN in everything, all later ones are those of a run without it."""
    fleet = [village(B, VOLT_WATT), village(B, VOLT_WATT)]
    for resources in fleet:
        keep = [i for i, kind in enumerate(resources.kind) if kind != "battery"]
        for name in ("kind", "bus", "columns", "curves"):
            setattr(resources, name, [getattr(resources, name)[i] for i in keep])
    plain, struck = (plant(resources, 12) for resources in fleet)
    profiles = struck.devices.spec.profiles
    profiles.factor[profiles.row[5]] = -1000.0  # loads become sources of megawatts
    for k in range(12):
        (expected, _), (truth, _) = plain.advance(), struck.advance()
        image = struck.read(0)
        if k == 5:
            assert not truth.solved.converged
            assert np.isnan(truth.solved.delivered.block).all()
            assert np.isnan(truth.vm_pu).all()
            assert np.isnan(truth.loading[np.isfinite(expected.loading)]).all()
            assert np.isnan([truth.losses_mw, truth.exchange_mva.real, truth.exchange_mva.imag]).all()
            assert np.isnan(image.telemetry.block[:3]).all()
            assert (image.telemetry.quality != 0).all()
        else:
            assert truth.solved.converged
            assert np.nanmax(np.abs(truth.solved.delivered.block - expected.solved.delivered.block)) < 1e-7
            assert abs(truth.exchange_mva - expected.exchange_mva) < 1e-7
            alive = np.isfinite(truth.solved.delivered.vm_pu)
            assert (image.telemetry.quality[:, alive] == 0).all()
            assert (image.telemetry.quality[:, ~alive] == INVALID).all(), "a dead node is no good measurement"
