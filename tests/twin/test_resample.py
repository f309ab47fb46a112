"""Resampling keeps the energy of every step, and follows the sun."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.series import NetworkProfile, Surroundings, tabulate
from twin.weather.resample import resample, resample_sun
from twin.weather.sun import clear_sky
from vpp.grid import load_profiles

HOUR_NS, S_NS = 3600 * 10**9, 10**9
DAY_NS = 1_466_460_000 * 10**9 // (24 * HOUR_NS) * 24 * HOUR_NS  # a midnight in June 2016, UTC
WHOLE = (1, 2, 5, 60, 300, 900, 1800, 3600)  # seconds that divide an hour

means = st.lists(st.floats(0.0, 1e4, allow_subnormal=False), min_size=1, max_size=30).map(np.array)
signed = st.lists(st.floats(-60.0, 60.0, allow_subnormal=False), min_size=1, max_size=30).map(np.array)


def coarse(fine: Any, parts: int) -> Any:
    return fine.reshape(-1, parts).mean(axis=1)


def sun(moments: Any) -> Any:
    """A clear sky over 52 degree north."""
    return clear_sky(moments, np.array([52.0]), np.array([10.0]), 50.0, 3.0)["ghi_w_m2"][:, 0]


@settings(deadline=None, max_examples=40)
@given(values=means, step_s=st.sampled_from(WHOLE[3:]), way=st.sampled_from(["smooth", "hold"]))
def test_an_hour_has_the_energy_that_it_had(values: Any, step_s: int, way: Any) -> None:
    parts = 3600 // step_s
    fine = resample(values, 0, HOUR_NS, 0, step_s * S_NS, len(values) * parts, way=way)
    np.testing.assert_allclose(coarse(fine, parts), values, rtol=1e-12, atol=1e-300)
    assert np.all(fine >= 0.0)


@pytest.mark.parametrize("step_s", WHOLE)
def test_from_an_hour_to_a_second(step_s: int) -> None:
    values = np.random.default_rng(0).uniform(0.0, 1000.0, 24) * (np.arange(24) > 6)
    parts = 3600 // step_s
    fine = resample(values, 0, HOUR_NS, 0, step_s * S_NS, 24 * parts)
    np.testing.assert_allclose(coarse(fine, parts), values, rtol=1e-12)
    assert np.all(fine >= 0.0)
    assert np.all(fine[: 7 * parts] == 0.0)


@settings(deadline=None, max_examples=40)
@given(values=signed, step_s=st.sampled_from(WHOLE[3:]))
def test_temperatures_keep_their_mean_below_zero_too(values: Any, step_s: int) -> None:
    parts = 3600 // step_s
    fine = resample(values, 0, HOUR_NS, 0, step_s * S_NS, len(values) * parts, positive=False)
    np.testing.assert_allclose(coarse(fine, parts), values, rtol=1e-12, atol=1e-12 * np.abs(values).max(initial=1.0))


@settings(deadline=None, max_examples=40)
@given(values=means, from_s=st.integers(0, 3599), step_s=st.sampled_from([7, 420, 3600, 5400, 7200]))
def test_steps_that_fit_nowhere_lose_nothing(values: Any, from_s: int, step_s: int) -> None:
    """Over two whole series of values in a row, what is outside of the new steps is what they lack."""
    padded = np.concatenate([values, values, values])
    n = len(values)
    steps = n * 3600 // step_s
    fine = resample(padded, 0, HOUR_NS, (n * 3600 + from_s) * S_NS, step_s * S_NS, steps)
    seconds = resample(padded, 0, HOUR_NS, (n * 3600 + from_s) * S_NS, S_NS, steps * step_s)
    np.testing.assert_allclose(fine, coarse(seconds, step_s), rtol=1e-9, atol=1e-9)


def test_up_is_the_plain_mean() -> None:
    values = np.arange(96.0)
    np.testing.assert_allclose(resample(values, 0, 900 * S_NS, 0, HOUR_NS, 24), values.reshape(24, 4).mean(axis=1), rtol=1e-14)


def test_smooth_has_no_steps_and_hold_has_them() -> None:
    values = 500.0 + 400.0 * np.sin(np.arange(24))
    smooth, held = (resample(values, 0, HOUR_NS, 0, S_NS, 86_400, way=way) for way in ("smooth", "hold"))
    assert np.abs(np.diff(smooth)).max() < 2.0
    assert np.abs(np.diff(held)).max() > 100.0
    np.testing.assert_allclose(held, np.repeat(values, 3600), rtol=1e-12)


def test_values_that_do_not_reach_are_refused() -> None:
    with pytest.raises(ValueError, match="do not cover"):
        resample(np.ones(2), 0, HOUR_NS, HOUR_NS, HOUR_NS, 2)
    with pytest.raises(ValueError, match="do not cover"):
        resample(np.ones(2), 0, HOUR_NS, -1, HOUR_NS, 1)


clouds = st.lists(st.floats(0.0, 1.2), min_size=24, max_size=24).map(np.array)


@settings(deadline=None, max_examples=40)
@given(index=clouds, step_s=st.sampled_from([60, 300, 900]))
def test_irradiance_keeps_the_energy_of_its_hours(index: Any, step_s: int) -> None:
    hours = index * coarse(sun(DAY_NS + 60 * S_NS * np.arange(1440)), 60)
    parts = 3600 // step_s
    fine = resample_sun(hours, DAY_NS, HOUR_NS, DAY_NS, step_s * S_NS, 24 * parts, sun)
    np.testing.assert_allclose(coarse(fine, parts), hours, rtol=1e-12, atol=1e-300)
    assert np.all(fine >= 0.0)


def test_a_clear_day_comes_back_from_its_hours() -> None:
    minutes = sun(DAY_NS + 60 * S_NS * np.arange(1440) + 30 * S_NS)
    fine = resample_sun(coarse(minutes, 60), DAY_NS, HOUR_NS, DAY_NS, 60 * S_NS, 1440, sun)
    assert np.abs(fine - minutes).max() < 1e-6 * minutes.max()
    blind = resample(coarse(minutes, 60), DAY_NS, HOUR_NS, DAY_NS, 60 * S_NS, 1440)
    assert np.abs(blind - minutes).max() > 20.0, "a resampling that knows no sun does worse"
    assert np.all(fine[minutes == 0.0] == 0.0), "it is dark before sunrise"


def test_light_without_sun_is_kept() -> None:
    """A file whose hours are shifted against the sun: its energy is not lost, nor gathered in a flash."""
    hours = np.where(np.arange(24) == 1, 10.0, 0.0)
    fine = resample_sun(hours, DAY_NS, HOUR_NS, DAY_NS, 60 * S_NS, 1440, sun)
    assert coarse(fine, 60)[1] == pytest.approx(10.0, rel=1e-12)
    assert fine.max() < 20.0


def test_a_run_may_begin_inside_an_hour() -> None:
    hours = np.array([0.3, 0.9, 0.5, 0.7])
    begin = DAY_NS + 9 * HOUR_NS
    values = hours * coarse(sun(begin + 60 * S_NS * np.arange(240)), 60)
    whole = resample_sun(values, begin, HOUR_NS, begin, 300 * S_NS, 48, sun)
    part = resample_sun(values, begin, HOUR_NS, begin + 1500 * S_NS, 300 * S_NS, 30, sun)
    np.testing.assert_allclose(part, whole[5:35], rtol=1e-12)


@pytest.mark.parametrize("step_s", [1, 60, 300])
def test_profiles_run_into_one_another_or_are_held(step_s: int) -> None:
    """A load's and a PV's quarter-hours over six hours, with and without smoothing."""
    profiles = load_profiles("simbench:1-LV-rural1--0-sw")
    sources = [NetworkProfile("H0-A_pload"), NetworkProfile("PV5")]
    steps = 6 * 3600 // step_s
    times = DAY_NS + 9 * HOUR_NS + step_s * S_NS * np.arange(steps, dtype=np.int64)
    held, smooth = (tabulate(sources, Surroundings(times, float(step_s), profiles, None, way)) for way in (False, True))
    assert held.fine is None
    assert smooth.fine is not None
    quarters = np.stack([held.at(k) for k in range(0, steps, 900 // step_s)])
    np.testing.assert_allclose(coarse(smooth.fine[:, 0].astype(np.float64), 900 // step_s), quarters[:, 0], rtol=1e-5)
    np.testing.assert_allclose(coarse(smooth.fine[:, 1].astype(np.float64), 900 // step_s), quarters[:, 1], rtol=1e-5)
    assert np.abs(np.diff(smooth.fine[:, 1])).max() < 0.7 * np.abs(np.diff(quarters[:, 1])).max()
    assert np.array_equal(smooth.at(0), smooth.fine[0])


def test_quarter_hours_themselves_stay_as_they_are() -> None:
    profiles = load_profiles("simbench:1-LV-rural1--0-sw")
    times = DAY_NS + 900 * S_NS * np.arange(96, dtype=np.int64)
    held, smooth = (tabulate([NetworkProfile("PV5")], Surroundings(times, 900.0, profiles, None, way)) for way in (False, True))
    assert smooth.fine is None
    assert np.array_equal(held.factor[held.row], smooth.factor[smooth.row])
