"""Sensors: noise of the stated size, delay in steps, loss with its quality and time stamps; all by the seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.twin.small import STEP_NS
from twin.devices.model import Delivered, Offer
from twin.sensors import SensorErrors, Sensors
from vpp.kernel import quality as q
from vpp.kernel.fleet import simple_fleet
from vpp.kernel.grid_points import GridPoints, PointLayout
from vpp.kernel.signals import FloatArray
from vpp.kernel.telemetry import Telemetry

POINTS = PointLayout(("p", "q"), ("p_mw", "q_mvar"), ("pcc", "pcc"))
F_HZ, EXCHANGE = 49.97, -0.7 + 0.2j


def sensors(errors: SensorErrors, n: int = 4, seed: int = 1) -> Sensors:
    """Meters of ``n`` batteries rated 0.01, 0.02, … MW."""
    rating = 0.01 * (1 + np.arange(n))
    return Sensors(simple_fleet(-rating, rating), rating, POINTS, errors, seed)


def truth(n: int, k: int) -> tuple[FloatArray, FloatArray]:
    """What devices and terminals really do in step ``k``: (offer, delivered)."""
    offer, delivered = Offer(np.zeros((len(Offer.signals), n))), Delivered(np.zeros((len(Delivered.signals), n)))
    offer.soc, offer.p_avail_min_mw, offer.p_avail_max_mw = 0.5 + 0.001 * k, -0.01, 0.01 + 0.001 * k
    offer.soc[-1] = np.nan
    delivered.p_mw, delivered.q_mvar, delivered.vm_pu = 0.003 + 0.0001 * k, -0.001, 1.01 + 0.001 * k
    return offer.block, delivered.block


def observe(meters: Sensors, k: int, shown: int | None = None) -> tuple[Telemetry, GridPoints]:
    """Measure step ``k`` (with the truth of step ``shown``)."""
    return meters.observe(k * STEP_NS, *truth(meters.fleet.n, k if shown is None else shown), F_HZ, EXCHANGE * (1 + 0.01 * k))


def series(errors: SensorErrors, n: int, steps: int, seed: int = 1) -> tuple[list[Telemetry], list[GridPoints]]:
    """Observations of a truth that stands still."""
    meters = sensors(errors, n, seed)
    pairs = [observe(meters, k, 0) for k in range(steps)]
    return [t for t, _ in pairs], [p for _, p in pairs]


def same(a: tuple[Telemetry, GridPoints], b: tuple[Telemetry, GridPoints]) -> bool:
    """Whether two observations are the same bytes."""
    t, u, p, r = a[0], b[0], a[1], b[1]
    pairs = [(t.block, u.block), (t.quality, u.quality), (t.time_ns, u.time_ns)]
    pairs += [(p.value, r.value), (p.quality, r.quality), (p.time_ns, r.time_ns)]
    return all(np.ascontiguousarray(x).tobytes() == np.ascontiguousarray(y).tobytes() for x, y in pairs)


def test_without_errors_the_truth_is_seen() -> None:
    meters = sensors(SensorErrors())
    for k in range(3):
        telemetry, points = observe(meters, k)
        offer, delivered = truth(4, k)
        assert np.array_equal(telemetry.block[:3], delivered)
        assert (telemetry.f_hz == F_HZ).all()
        assert np.array_equal(telemetry.soc, offer[Offer.soc.row], equal_nan=True)
        assert np.array_equal(telemetry.p_avail_max_mw, offer[Offer.p_avail_max_mw.row])
        assert np.array_equal(telemetry.p_avail_min_mw, offer[Offer.p_avail_min_mw.row])
        assert (telemetry.quality == q.GOOD).all()
        assert (telemetry.time_ns == k * STEP_NS).all()
        assert points.layout is POINTS
        assert points.value.tolist() == [(EXCHANGE * (1 + 0.01 * k)).real, (EXCHANGE * (1 + 0.01 * k)).imag]
        assert (points.quality == q.GOOD).all()
        assert (points.time_ns == k * STEP_NS).all()


def test_noise_has_the_stated_size_and_is_white() -> None:
    """20,000 values a signal: a sample deviation is right within 3 %, means and neighbours' correlation within 4 sigma."""
    n, steps = 100, 200
    telemetry, points = series(SensorErrors(p_error=0.01, v_error=0.002, soc_error=0.03), n, steps)
    rating = 0.01 * (1 + np.arange(n))
    offer, delivered = truth(n, 0)
    error: dict[str, FloatArray] = {
        "p": np.array([t.p_mw for t in telemetry] - delivered[0]) / rating / 0.01,
        "q": np.array([t.q_mvar for t in telemetry] - delivered[1]) / rating / 0.01,
        "v": np.array([t.vm_pu for t in telemetry] - delivered[2]) / 0.002,
        "soc": np.array([t.soc for t in telemetry] - offer[Offer.soc.row])[:, :-1] / 0.03,
    }
    for name, z in error.items():
        root = np.sqrt(z.size)
        assert abs(z.std() - 1.0) < 0.03, name
        assert abs(z.mean()) < 4.0 / root, name
        assert abs((z[1:] * z[:-1]).mean()) < 4.0 / root, name
        assert abs((z[:, 1:] * z[:, :-1]).mean()) < 4.0 / root, name
        assert abs((np.abs(z) < 1.0).mean() - 0.6827) < 0.02, name
        assert 3.0 < np.abs(z).max() < 6.0, name
    for a, b in (("p", "q"), ("p", "v"), ("q", "v")):
        assert abs((error[a] * error[b]).mean()) < 4.0 / np.sqrt(n * steps), (a, b)
    value = np.array([p.value[0] / (EXCHANGE * (1 + 0.01 * k)).real - 1.0 for k, p in enumerate(points)])
    assert abs(value.std() / 0.01 - 1.0) < 0.2
    assert (np.array([t.quality for t in telemetry]) == q.GOOD).all()
    assert (np.array([t.f_hz for t in telemetry]) == F_HZ).all()


def test_noise_leaves_charge_a_fraction_and_unknown_unknown() -> None:
    telemetry, _ = series(SensorErrors(soc_error=2.0), 50, 20)
    soc = np.array([t.soc for t in telemetry])
    assert np.isnan(soc[:, -1]).all()
    assert (soc[:, :-1].min(), soc[:, :-1].max()) == (0.0, 1.0)


@pytest.mark.parametrize("delay", [1, 3])
def test_delay_shows_what_was_with_its_own_time(delay: int) -> None:
    late, now = sensors(SensorErrors(delay_steps=delay)), sensors(SensorErrors())
    for k in range(8):
        telemetry, points = observe(late, k)
        if k < delay:
            assert np.isnan(telemetry.block).all()
            assert np.isnan(points.value).all()
            assert (telemetry.quality == (q.INVALID | q.STALE)).all()
            assert (points.quality == (q.INVALID | q.STALE)).all()
            assert not q.usable(int(telemetry.quality[0, 0]))
        else:
            assert same((telemetry, points), observe(now, k - delay))
            assert (telemetry.time_ns == (k - delay) * STEP_NS).all()


def test_loss_takes_whole_messages_at_the_stated_rate() -> None:
    n, steps = 100, 200
    telemetry, points = series(SensorErrors(loss=0.1, p_error=0.01), n, steps)
    lost = np.array([t.quality[0] != 0 for t in telemetry])
    assert abs(lost.mean() - 0.1) < 4.0 * np.sqrt(0.09 / lost.size)
    both = (lost[1:] & lost[:-1]).mean(), (lost[:, 1:] & lost[:, :-1]).mean()
    assert max(abs(x - 0.01) for x in both) < 4.0 * np.sqrt(0.01 / lost.size)
    heard = np.zeros(n, np.int64)
    for k, t in enumerate(telemetry):
        assert np.array_equal(np.isnan(t.block).all(axis=0), lost[k])
        assert np.array_equal(np.isnan(t.p_mw), lost[k])
        assert (t.quality[:, lost[k]] == (q.INVALID | q.COMM_LOST)).all()
        assert (t.quality[:, ~lost[k]] == q.GOOD).all()
        heard = np.where(lost[k], heard, k * STEP_NS)
        assert (t.time_ns == heard).all()
    assert all((p.quality == q.GOOD).all() for p in points)


def test_loss_of_nothing_and_of_everything() -> None:
    assert not np.isnan(observe(sensors(SensorErrors(loss=0.0)), 1)[0].block).all(axis=0).any()
    telemetry, _ = observe(sensors(SensorErrors(loss=1.0)), 1)
    assert np.isnan(telemetry.block).all()
    assert (telemetry.time_ns == 0).all()


def test_a_step_without_solution_is_invalid() -> None:
    """Nothing is known of the terminals; the source time stays at the last step that was known."""
    meters = sensors(SensorErrors(p_error=0.01))
    observe(meters, 1)
    offer, delivered = truth(4, 2)
    telemetry, points = meters.observe(2 * STEP_NS, offer, np.full_like(delivered, np.nan), F_HZ, complex(np.nan, np.nan))
    assert np.isnan(telemetry.block[:3]).all()
    assert (telemetry.quality == q.INVALID).all()
    assert (telemetry.time_ns == STEP_NS).all()
    assert np.isnan(points.value).all()
    assert (points.quality == q.INVALID).all()
    telemetry, points = observe(meters, 3)
    assert (telemetry.quality == q.GOOD).all()
    assert (points.quality == q.GOOD).all()


def test_seed_decides() -> None:
    errors = SensorErrors(0.01, 0.002, 0.01, 1, 0.1)
    runs: list[list[Any]] = []
    for seed in (1, 1, 2):
        meters = sensors(errors, 20, seed)
        runs.append([observe(meters, k) for k in range(12)])
    assert all(same(a, b) for a, b in zip(runs[0], runs[1]))
    assert not any(same(a, b) for a, b in zip(runs[0][1:], runs[2][1:]))


@pytest.mark.parametrize(
    ("errors", "n", "steps"),
    [
        (SensorErrors(0.01, 0.002, 0.01, 2, 0.2), 30, 60),
        (SensorErrors(loss=0.5), 30, 60),
        (SensorErrors(delay_steps=3), 30, 60),
        (SensorErrors(0.01, 0.002, 0.01, 1, 0.1), 40_000, 24),  # more than one block of noise drawn ahead
    ],
)
def test_state_goes_on_with_the_same_bytes(errors: SensorErrors, n: int, steps: int) -> None:
    """Also after the first has gone on: the state shares nothing with it; and a state can be used twice."""
    one, other = sensors(errors, n), sensors(errors, n, seed=99)
    for k in range(5):
        observe(one, k)
    state = one.state()
    rest = [observe(one, k) for k in range(5, steps)]
    for k in range(9):
        observe(other, k)
    for _ in range(2):
        other.restore(state)
        assert all(same(observe(other, k), seen) for k, seen in zip(range(5, steps), rest))


@pytest.mark.parametrize("at", [1, 5, 6, 7, 12])
def test_state_at_the_border_of_a_block(at: int) -> None:
    """40,000 resources: the noise of six steps is drawn at a time."""
    errors = SensorErrors(p_error=0.01)
    one, other = sensors(errors, 40_000), sensors(errors, 40_000, seed=2)
    for k in range(at):
        observe(one, k)
    state = one.state()
    other.restore(state)
    for k in range(at, at + 8):
        assert same(observe(one, k), observe(other, k))


def test_observations_are_kept_apart() -> None:
    """What was handed out is not written to by later steps."""
    meters = sensors(SensorErrors(0.01, 0.002, 0.01, 1, 0.3), 10)
    observe(meters, 0)
    telemetry, points = observe(meters, 1)
    kept = telemetry.copy(), GridPoints(points.layout, points.value.copy(), points.quality.copy(), points.time_ns.copy())
    for k in range(2, 40):
        observe(meters, k)
    assert same((telemetry, points), kept)


FULL = SensorErrors(
    0.003, 0.001, 0.005, 1, 0.1, p_class=0.5, q_class=1.0, v_class=0.2, resolution=(1e-5, 1e-5, 1e-4, 0.01),
    deadband=(1e-4, 1e-4, 1e-3, 0.02), interval_s=1800.0, mean=True, clock_offset_s=3.0, clock_drift_ppm=50.0,
)  # fmt: skip


def flat(p_mw: FloatArray, q_mvar: float = 0.0, vm_pu: float = 1.0, soc: float = 0.5) -> tuple[FloatArray, FloatArray]:
    """A stated truth: (offer, delivered)."""
    n = len(p_mw)
    offer, delivered = Offer(np.zeros((len(Offer.signals), n))), Delivered(np.zeros((len(Delivered.signals), n)))
    offer.soc = soc
    delivered.p_mw, delivered.q_mvar, delivered.vm_pu = p_mw, q_mvar, vm_pu
    return offer.block, delivered.block


@pytest.mark.parametrize("accuracy", [0.2, 0.5, 1.0])
def test_every_meter_keeps_to_its_class(accuracy: float) -> None:
    """IEC 62053-22, Table 4: the class from 5 % of rated load on, twice the class from 1 %; and a class is used, not wasted."""
    n = 4000
    rating = np.full(n, 0.1)
    meters = Sensors(simple_fleet(-rating, rating), rating, POINTS, SensorErrors(p_class=accuracy), 3)
    worst = {}
    for load, times in ((0.01, 2.0), (0.05, 1.0), (0.2, 1.0), (1.0, 1.0)):
        telemetry, _ = meters.observe(0, *flat(load * rating), 50.0, 1.0 + 0.0j)
        relative = np.abs(telemetry.p_mw / (load * rating) - 1.0) * 100.0
        assert relative.max() <= times * accuracy * (1.0 + 1e-9), load
        worst[load] = relative.max() / (times * accuracy)
    # 4000 even draws of two errors: the largest is near the limit (of the sum at 5 % at least 0.9 of it).
    assert worst[0.05] > 0.9
    assert worst[1.0] > 0.78
    assert (meters.observe(0, *flat(rating), 50.0, 1.0 + 0.0j)[0].q_mvar == 0.0).all()


def test_systematic_errors_are_drawn_once() -> None:
    meters = sensors(SensorErrors(p_class=1.0, v_class=1.0), 50)
    (a, p), (b, r) = observe(meters, 0, 0), observe(meters, 1, 0)
    assert np.array_equal(a.p_mw, b.p_mw)
    assert np.array_equal(a.vm_pu, b.vm_pu)
    assert np.unique(a.vm_pu).size == 50
    assert p.value[0] / EXCHANGE.real == pytest.approx(r.value[0] / (EXCHANGE * 1.01).real)


def test_resolution_rounds_to_its_steps() -> None:
    meters = sensors(SensorErrors(resolution=(0.001, 0.0005, 0.01, 0.05)))
    offer, delivered = flat(np.array([0.0014, 0.0016, -0.0026, 0.0]), 0.0013, 1.017, 0.512)
    telemetry, points = meters.observe(0, offer, delivered, 50.0, -0.70049 + 0.2003j)
    assert telemetry.p_mw == pytest.approx([0.001, 0.002, -0.003, 0.0])
    assert telemetry.q_mvar == pytest.approx([0.0015] * 4)
    assert telemetry.vm_pu == pytest.approx([1.02] * 4)
    assert telemetry.soc == pytest.approx([0.5] * 4)
    assert points.value == pytest.approx([-0.7, 0.2005])


def test_within_the_deadband_the_last_report_stands_with_its_own_time() -> None:
    meters = sensors(SensorErrors(deadband=(0.01, 0.0, 0.0, 0.0)), 2)
    seen = []
    for k, p in enumerate((0.100, 0.109, 0.091, 0.111, 0.120, 0.100)):
        telemetry, points = meters.observe(k * STEP_NS, *flat(np.array([p, 10 * p])), 50.0, p + 0.0j)
        seen.append((telemetry.p_mw[0], telemetry.time_ns[Telemetry.p_mw.row, 0] // STEP_NS))
        assert telemetry.p_mw[1] == 10 * p or k == 0
        assert telemetry.time_ns[Telemetry.vm_pu.row, 0] == k * STEP_NS
        assert points.value[0] == telemetry.p_mw[0]
        assert points.time_ns[0] == telemetry.time_ns[Telemetry.p_mw.row, 0]
        assert (telemetry.quality == q.GOOD).all()
    assert seen == [(0.100, 0), (0.100, 0), (0.100, 0), (0.111, 3), (0.111, 3), (0.100, 5)]


@pytest.mark.parametrize("mean", [False, True])
def test_a_sampling_meter_shows_its_last_sample(mean: bool) -> None:
    """Samples of 15 minutes in steps of 5; a mean is that of the three steps before."""
    meters = sensors(SensorErrors(interval_s=900.0, mean=mean), 3)
    power = np.array([1.0, 2.0, 6.0, 4.0, 5.0, 9.0, 7.0, 8.0])
    shown, times = [], []
    for k, p in enumerate(power):
        telemetry, points = meters.observe(k * STEP_NS // 3, *flat(np.full(3, p)), 50.0, p + 0.0j)
        shown.append(telemetry.p_mw[1])
        times.append(int(telemetry.time_ns[0, 1]) // (STEP_NS // 3))
        assert points.value[0] == telemetry.p_mw[1]
    assert times == [0, 0, 0, 3, 3, 3, 6, 6]
    assert shown == ([1, 1, 1, 3, 3, 3, 6, 6] if mean else [1, 1, 1, 4, 4, 4, 7, 7])


def test_a_meter_s_clock_is_wrong_and_drifts() -> None:
    n = 400
    meters = sensors(SensorErrors(clock_offset_s=2.0, clock_drift_ppm=100.0), n)
    off = np.array([observe(meters, k)[0].time_ns[0] - k * STEP_NS for k in (1, 2, 1001)]) / 1e9
    assert np.abs(off[0]).max() <= 2.0
    assert np.abs(off[0]).max() > 1.9
    assert np.unique(off[0]).size > n - 5
    drift = (off[2] - off[0]) / (1000 * 900.0) * 1e6
    assert np.abs(drift).max() <= 100.0 + 1e-6
    assert np.abs(drift).max() > 95.0
    assert off[1] - off[0] == pytest.approx(drift * 900e-6, abs=2e-9)


def test_every_kind_of_meter_is_its_own() -> None:
    rating = np.full(6, 0.01)
    kinds = [SensorErrors(resolution=(0.004, 0.0, 0.0, 0.0)), SensorErrors(p_error=0.1, loss=1.0)]
    of = np.array([0, 1, 2, 0, 1, 2])
    meters = Sensors(simple_fleet(-rating, rating), rating, POINTS, SensorErrors(), 1, kinds, of, SensorErrors(p_class=1.0))
    telemetry, points = meters.observe(STEP_NS, *flat(np.full(6, 0.003)), 50.0, 1.0 + 0.0j)
    assert telemetry.p_mw[[0, 3]].tolist() == [0.003, 0.003]
    assert telemetry.p_mw[[1, 4]] == pytest.approx([0.004, 0.004])
    assert np.isnan(telemetry.p_mw[[2, 5]]).all()
    assert 0.0 < abs(points.value[0] - 1.0) <= 0.01


def test_a_step_without_solution_is_invalid_for_a_meter_that_remembers() -> None:
    meters = sensors(SensorErrors(resolution=(1e-6, 0.0, 0.0, 0.0)))
    observe(meters, 1)
    offer, delivered = truth(4, 2)
    telemetry, _ = meters.observe(2 * STEP_NS, offer, np.full_like(delivered, np.nan), F_HZ, complex(np.nan, np.nan))
    assert np.isnan(telemetry.block[:3]).all()
    assert (telemetry.quality == q.INVALID).all()
    assert (telemetry.time_ns == STEP_NS).all()


@pytest.mark.parametrize("cut", [1, 2, 7, 12])
def test_meters_with_everything_go_on_with_the_same_bytes(cut: int) -> None:
    one, other = sensors(FULL, 30), sensors(FULL, 30, seed=99)
    for k in range(cut):
        observe(one, k)
    state = one.state()
    rest = [observe(one, k) for k in range(cut, 20)]
    for _ in range(2):
        other.restore(state)
        assert all(same(observe(other, k), seen) for k, seen in zip(range(cut, 20), rest))
