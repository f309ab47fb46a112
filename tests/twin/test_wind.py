"""Wind from weather against windpowerlib's own ModelChain, and the turbine as a device."""

from __future__ import annotations

import math
import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from windpowerlib import ModelChain, WindTurbine, get_turbine_types
from windpowerlib.power_curves import wake_losses_to_power_curve

from tests.twin.small import Resources
from twin.devices.entry import Places
from twin.devices.wind import WindEntry
from twin.devices.wind_source import WindSource, turbines
from twin.fleet import FleetModel
from twin.series import ProfileTable, Surroundings
from twin.weather import Cells, Weather
from twin.weather.synthetic import Climate, synthetic
from vpp.kernel.setpoints import LIMIT, Setpoints

HOURS = 8760
START_NS = 1_451_606_400 * 10**9


@cache
def year() -> Weather:
    """A year of hours in one place."""
    cells = Cells.single(54.0, 8.8, 5.0, 1)
    times = START_NS + 3600 * 10**9 * np.arange(HOURS, dtype=np.int64)
    moments = synthetic(Climate(wind_mean_m_s=5.5), cells, times, 300.0, 4)
    return Weather(times, 3600.0, moments.latitude, moments.longitude, moments.altitude_m, moments.channels)


def around(wind_m_s: Any, temp_c: float = 15.0, pressure_pa: float = 101_325.0) -> Surroundings:
    """Made-up wind at 10 m."""
    wind = np.asarray(wind_m_s, np.float64)[:, None]
    channels = {"wind_m_s": wind, "temp_c": np.full_like(wind, temp_c), "pressure_pa": np.full_like(wind, pressure_pa)}
    times = START_NS + 60 * 10**9 * np.arange(len(wind), dtype=np.int64)
    return Surroundings(times, 60.0, None, Weather(times, 60.0, np.zeros(1), np.zeros(1), 0.0, channels))


def theirs(turbine: str, hub_m: float, roughness_m: float, wake: float, density: bool) -> float:
    """Energy of the year by windpowerlib [MWh]."""
    weather = year()
    columns = [("wind_speed", 10), ("temperature", 2), ("pressure", 0), ("roughness_length", 0)]
    table = np.stack(
        [
            weather.channels["wind_m_s"][:, 0], weather.channels["temp_c"][:, 0] + 273.15, weather.channels["pressure_pa"][:, 0],
            np.full(HOURS, roughness_m),
        ],
        axis=1,
    )  # fmt: skip
    frame = pd.DataFrame(table, index=pd.to_datetime(weather.time_ns, utc=True), columns=pd.MultiIndex.from_tuples(columns))
    unit = WindTurbine(hub_height=hub_m, turbine_type=turbine)
    if wake:
        curve = unit.power_curve
        unit.power_curve = wake_losses_to_power_curve(curve["wind_speed"].to_numpy(), curve["value"].to_numpy(), 1.0 - wake)
    chain = ModelChain(unit, density_correction=density).run_model(frame)
    return float(chain.power_output.sum()) / 1e6


@pytest.mark.parametrize("density", [True, False])
@pytest.mark.parametrize(
    ("turbine", "hub_m", "roughness_m", "wake"),
    [
        ("E-82/2000", 98.0, 0.1, 0.0),
        ("V112/3075", 84.0, 0.03, 0.1),
        ("E-126/4200", 135.0, 0.4, 0.0),
        ("V90/2000", 80.0, 0.0002, 0.05),
    ],
)
def test_a_year_of_energy(turbine: str, hub_m: float, roughness_m: float, wake: float, density: bool) -> None:
    """Within 1 % is asked for; the chains are the same. What a storm's hysteresis adds, windpowerlib does not know."""
    reference = theirs(turbine, hub_m, roughness_m, wake, density)
    around = Surroundings(year().time_ns, 3600.0, None, year())
    plain, patient = (WindSource(0, turbine, hub_m, roughness_m, wake, density, less).values(around).sum() for less in (0.0, 3.0))
    assert plain * turbines()[turbine].p_mw == pytest.approx(reference, rel=1e-9)
    assert 0.98 * plain < patient <= plain


def test_the_library_is_read_whole() -> None:
    with warnings.catch_warnings():  # pandas about the library's own way to fill gaps
        warnings.simplefilter("ignore", FutureWarning)
        table = get_turbine_types(print_out=False)
    with_curve = set(table[table["has_power_curve"].astype(str).str.lower() == "true"]["turbine_type"])
    assert set(turbines()) == with_curve
    assert all(t.power.min() >= 0.0 and t.power.max() <= 1.0 and np.all(np.diff(t.wind_m_s) > 0) for t in turbines().values())


def test_after_a_storm_it_waits_for_less_wind() -> None:
    source = WindSource(0, "E-82/2000", 98.0, 0.1, 0.0, False, 3.0)
    growth = math.log(980.0) / math.log(100.0)
    hub = np.array([20.0, 24.9, 25.1, 24.0, 22.1, 21.9, 24.9])
    running = source.values(around(hub / growth)) > 0.0
    assert running.tolist() == [True, True, False, False, False, True, True]
    eager = WindSource(0, "E-82/2000", 98.0, 0.1, 0.0, False, 0.0)
    assert (eager.values(around(hub / growth)) > 0.0).tolist() == [True, True, False, True, True, True, True]


def test_thin_air_gives_less() -> None:
    source = WindSource(0, "E-82/2000", 98.0, 0.1, 0.0, True, 3.0)
    sea, mountain = (source.values(around([6.0], pressure_pa=p))[0] for p in (101_325.0, 80_000.0))
    assert 0.7 < mountain / sea < 0.85  # power grows about as density does, far beneath rated


def entry(**keys: Any) -> WindEntry:
    return WindEntry.model_validate({"kind": "wind", "id": "w", "at": "mv_buses", "turbine": "E-82/2000", **keys})


def test_a_type_brings_its_rating() -> None:
    places = Places(
        np.zeros(2, np.int64), np.full(2, -1), None, np.array([1.0, 3.0]), np.array([0, 4]), np.random.default_rng(0), ("PV1",),
        np.zeros(1, np.int64), 900.0, "UTC",
    )  # fmt: skip
    columns = entry().lay_out(places)
    # The curve of this type goes up to 2.05 MW.
    assert columns.p_mw.tolist() == pytest.approx([2.05, 6.15])
    assert columns.s_mva.tolist() == pytest.approx([2.255, 6.765])
    assert [source.cell for source in columns.series["p"]] == [0, 4]
    assert columns.series["p"][0].hub_height_m == 78.0
    assert entry(p_mw=1.0).lay_out(places).p_mw.tolist() == [1.0, 3.0]


WRONG = {
    "type": ({"turbine": "E-82/200"}, "E-82/2000"),
    "type without curve": ({"turbine": "AW100/3000"}, "with a power curve"),
    "hub below rotor": ({"hub_height_m": 40}, "would touch the ground"),
    "hub in kilometres": ({"hub_height_m": 0.1}, "more than 10 m"),
    "hub unknown": ({"turbine": "MM100/2000"}, "hub_height_m is missing"),
    "wake in percent": ({"wake_share": 8}, r"did you mean 0.08\?"),
    "roughness": ({"roughness_m": 10}, "between 0.00001 m"),
    "small inverter": ({"s_mva": 1.0}, "below the turbine's 2.05 MW"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_turbines(case: str) -> None:
    keys, message = WRONG[case]
    with pytest.raises(ValidationError, match=message):
        entry(**keys)


def test_a_turbine_can_be_limited_and_says_what_the_wind_gives() -> None:
    fleet = Resources().add("wind", 0, p_mw=2.0, s_mva=2.2, profile_p=0)
    spec = fleet.spec(profiles=ProfileTable(np.array([[0.25], [1.0]], np.float32), np.array([0, 1])))
    model = FleetModel(spec)
    first = model.step(0, 60.0, None, None)
    assert (first.p_mw[0], first.p_avail_min_mw[0], first.p_avail_max_mw[0]) == (0.5, 0.0, 0.5)
    asked = Setpoints.neutral(1)
    asked.mode, asked.p_limit_mw = LIMIT, 0.8
    second = model.step(1, 60.0, asked, first.p_mw)
    assert (second.p_mw[0], second.p_avail_max_mw[0]) == (0.8, 2.0)
    assert model.expect(np.array([[0.25], [1.0]], np.float32))[:, 0].tolist() == [0.5, 2.0]


def test_without_weather_there_is_no_wind() -> None:
    with pytest.raises(KeyError, match="follow the weather"):
        WindSource(0, "E-82/2000", 98.0, 0.1, 0.0, True, 3.0).values(Surroundings(np.zeros(1, np.int64), 900.0))
