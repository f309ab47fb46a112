"""PV from weather against pvlib's own ModelChain, over a year of hours."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pvlib
import pytest
from pvlib.location import Location
from pvlib.modelchain import ModelChain
from pvlib.pvsystem import Array, FixedMount, PVSystem
from pydantic import ValidationError

from twin.devices.entry import Places
from twin.devices.pv import Panels, PvEntry
from twin.devices.pv_source import database, fitting_modules, module_volts
from twin.series import Surroundings
from twin.weather import Cells, Weather
from twin.weather.synthetic import Climate, synthetic

LATITUDE, LONGITUDE, ALTITUDE_M = 52.5, 13.4, 40.0
HOURS = 8760
CEC, SANDIA = "Canadian_Solar_Inc__CS6K_280P", "Canadian_Solar_CS5P_220M___2009_"
INVERTER = "ABB__MICRO_0_25_I_OUTD_US_208__208V_"


@cache
def year() -> Weather:
    """A year of hours in one place."""
    cells = Cells.single(LATITUDE, LONGITUDE, ALTITUDE_M, 1)
    times = 1_451_606_400 * 10**9 + 3600 * 10**9 * np.arange(HOURS, dtype=np.int64)
    middle = synthetic(Climate(), cells, times + 1650 * 10**9, 300.0, 3)  # five minutes in the middle stand for the hour
    return Weather(times, 3600.0, middle.latitude, middle.longitude, middle.altitude_m, middle.channels)


def ours(panels: Panels, ratio: float) -> Any:
    """Our power of each hour, of the panel's rated power."""
    weather = year()
    return panels.source(0, 0.0, 0.0, ratio).values(Surroundings(weather.time_ns, weather.dt_s, None, weather))


def theirs(panels: Panels, array: Array, inverter: Any, **models: Any) -> Any:
    """The AC power that pvlib's chain computes from the same weather [W]."""
    weather = year()
    names = {"ghi": "ghi_w_m2", "dni": "dni_w_m2", "dhi": "dhi_w_m2", "temp_air": "temp_c", "wind_speed": "wind_m_s"}
    index = pd.to_datetime(weather.time_ns + 1800 * 10**9, utc=True)
    table = pd.DataFrame({key: weather.channels[name][:, 0] for key, name in names.items()}, index=index)
    table["pressure"] = weather.channels["pressure_pa"][:, 0]
    # Soiling takes irradiance and everything else power: one factor on the DC side in pvlib.
    losses = 100.0 * (1.0 - (1.0 - panels.soiling) * (1.0 - panels.losses))
    parameters = {"soiling": losses, "shading": 0, "mismatch": 0, "wiring": 0, "connections": 0, "lid": 0, "nameplate_rating": 0}
    system = PVSystem(arrays=[array], inverter_parameters=inverter, losses_parameters={**parameters, "availability": 0})
    place = Location(LATITUDE, LONGITUDE, altitude=ALTITUDE_M)
    chain = ModelChain(system, place, losses_model="pvwatts", spectral_model=models.pop("spectral_model", "no_loss"), **models)
    with warnings.catch_warnings():  # pvlib divides by a night's zero
        warnings.simplefilter("ignore")
        chain.run_model(table)
    ac = chain.results.ac
    return (ac if isinstance(ac, pd.Series) else ac["p_mp"]).fillna(0.0).to_numpy()


def array(panels: Panels, module: Any, temperature: Any, **sizes: int) -> Array:
    """pvlib's panel."""
    mount = FixedMount(panels.tilt_degree, panels.azimuth_degree)
    return Array(mount, albedo=panels.albedo, module_parameters=module, temperature_model_parameters=temperature, **sizes)


def sapm(name: str) -> dict[str, float]:
    return dict(pvlib.temperature.TEMPERATURE_MODEL_PARAMETERS["sapm"][name])


PVWATTS = {
    "south": Panels(),
    "east, on a roof": Panels(tilt_degree=40, azimuth_degree=90, mounting="roof", soiling=0.0, losses=0.14),
    "flat, bright ground": Panels(tilt_degree=0, albedo=0.6, gamma_per_k=-0.005),
    "upright, pvsyst": Panels(tilt_degree=90, azimuth_degree=270, temperature="pvsyst"),
    "faiman": Panels(temperature="faiman"),
}


@pytest.mark.parametrize("case", PVWATTS)
def test_a_year_of_pvwatts(case: str) -> None:
    panels, ratio = PVWATTS[case], 0.8
    temperature = {
        "sapm": sapm("close_mount_glass_glass" if panels.mounting == "roof" else "open_rack_glass_polymer"),
        "pvsyst": {"u_c": 29.0, "u_v": 0},
        "faiman": {"u0": 25.0, "u1": 6.84},
    }[panels.temperature]
    module = {"pdc0": 1000.0, "gamma_pdc": panels.gamma_per_k}
    inverter = {"pdc0": 1000.0 * ratio / panels.efficiency, "eta_inv_nom": panels.efficiency}
    reference = theirs(
        panels, array(panels, module, temperature), inverter, aoi_model="physical", dc_model="pvwatts", ac_model="pvwatts",
        temperature_model=panels.temperature,
    )  # fmt: skip
    power = ours(panels, ratio)
    assert power.sum() == pytest.approx(reference.sum() / 1000.0, rel=0.01)
    assert np.abs(power - reference / 1000.0).max() < 0.02
    assert power.min() >= 0.0
    assert power.max() <= ratio + 1e-12


@pytest.mark.parametrize("name", [CEC, SANDIA])
def test_a_year_of_a_module_and_an_inverter_of_the_databases(name: str) -> None:
    panels = Panels(tilt_degree=30, module=name, inverter=INVERTER, modules_per_string=1, strings=1)
    cec = name == CEC
    table = pvlib.pvsystem.retrieve_sam("cecmod" if cec else "sandiamod")
    rated_w = table[name]["STC"] if cec else table[name]["Impo"] * table[name]["Vmpo"]
    unit = pvlib.pvsystem.retrieve_sam("cecinverter")[INVERTER]
    reference = theirs(
        panels, array(panels, dict(table[name]), sapm("open_rack_glass_polymer"), modules_per_string=1, strings=1), dict(unit),
        aoi_model="physical" if cec else "sapm", dc_model="cec" if cec else "sapm", ac_model="sandia",
        spectral_model="no_loss" if cec else "sapm", temperature_model="sapm",
    )  # fmt: skip
    reference = np.maximum(reference, 0.0)  # its own need at night, which the fleet does not know
    power = ours(panels, 1.0) * rated_w
    assert power.sum() == pytest.approx(reference.sum(), rel=0.01)
    assert power.max() <= unit["Paco"] + 1e-9


def test_strings_fit_their_inverter() -> None:
    """A string inverter gets as many modules as its voltage likes, and strings by the ratio of powers."""
    name = "SMA_America__SB5000TL_US_22__240V_"
    unit, volts = database("cecinverter")[name], module_volts(CEC)
    series = fitting_modules(CEC, name)
    assert abs(series * volts - unit["Vdco"]) <= volts / 2
    free = ours(Panels(module=CEC, inverter=name), 0.85)
    rated_w = database("cecmod")[CEC]["STC"]
    strings = round(unit["Paco"] / 0.85 / (series * rated_w))
    stated = ours(Panels(module=CEC, inverter=name, modules_per_string=series, strings=strings), 0.85)
    assert np.array_equal(free, stated)
    assert free.max() <= unit["Paco"] / (strings * series * rated_w) + 1e-12


def entry(**keys: Any) -> PvEntry:
    return PvEntry.model_validate({"kind": "pv", "id": "a", "at": "loads", "p_mw": 0.01, **keys})


def laid_out(of: PvEntry, seed: int, cell: Any, m: int = 200) -> Any:
    places = Places(
        np.zeros(m, np.int64), np.full(m, -1), None, np.ones(m), np.broadcast_to(cell, m).astype(np.int64),
        np.random.default_rng(seed), ("PV1",), np.zeros(1, np.int64), 900.0, "UTC",
    )  # fmt: skip
    return of.lay_out(places)


def test_a_spread_makes_a_few_classes_by_the_seed() -> None:
    spread = entry(panels={"tilt_degree": 35, "tilt_spread_degree": 10, "azimuth_spread_degree": 90})
    series = laid_out(spread, 1, 0).series["p"]
    assert {source.tilt_degree for source in series} == {25.0, 35.0, 45.0}
    assert {source.azimuth_degree for source in series} == {90.0, 135.0, 180.0, 225.0, 270.0}
    assert series == laid_out(spread, 1, 0).series["p"]
    assert series != laid_out(spread, 2, 0).series["p"]
    assert len(set(laid_out(entry(panels={}), 1, np.arange(200) % 3).series["p"])) == 3, "one series for each cell"


def test_a_spread_of_ratings_makes_no_further_series() -> None:
    of = entry(panels={}, spread=0.5)
    m = 100
    places = Places(
        np.zeros(m, np.int64), np.full(m, -1), None, np.random.default_rng(0).uniform(0.5, 1.5, m), np.zeros(m, np.int64),
        np.random.default_rng(1), ("PV1",), np.zeros(1, np.int64), 900.0, "UTC",
    )  # fmt: skip
    assert len(set(of.lay_out(places).series["p"])) == 1


def test_names_of_sources_tell_them_apart() -> None:
    names = [
        source.name for source in set(laid_out(entry(panels={"azimuth_spread_degree": 45}), 1, np.arange(200) % 4).series["p"])
    ]
    assert len(set(names)) == len(names) == 20


WRONG = {
    "no such module": ({"module": "Canadian_Solar_Inc__CS6K_280"}, "did you mean Canadian_Solar_Inc__CS6K_280"),
    "no such inverter": ({"module": CEC, "inverter": "ABB__MICRO_0_25_I_OUTD_US_208"}, "did you mean ABB__MICRO_0_25"),
    "inverter without module": ({"inverter": INVERTER}, "needs a module"),
    "strings without inverter": ({"strings": 2}, "belongs to an inverter"),
    "string too long": (
        {"module": CEC, "inverter": INVERTER, "modules_per_string": 3},
        "strings of 3 have 94 V, and the inverter",
    ),
    "tilt": ({"tilt_degree": 91}, "between 0 (flat) and 90"),
    "azimuth": ({"azimuth_degree": -10}, "south is 180"),
    "percent": ({"soiling": 2}, "did you mean 0.02?"),
    "coefficient": ({"gamma_per_k": -0.35}, "between -0.01 and 0"),
    "roof": ({"temperature": "faiman", "mounting": "roof"}, "close to a roof"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_panels(case: str) -> None:
    keys, message = WRONG[case]
    with pytest.raises(ValidationError, match=message.replace("(", r"\(").replace(")", r"\)").replace("?", r"\?")):
        Panels.model_validate(keys)


def test_profile_and_panels_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="only one of them"):
        entry(profile="PV1", panels={})


def test_without_weather_there_is_no_sun() -> None:
    with pytest.raises(KeyError, match="follow the weather"):
        Panels().source(0, 0.0, 0.0, 1.1).values(Surroundings(np.zeros(1, np.int64), 900.0))
