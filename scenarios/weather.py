"""The weather of a scenario over its network: cells, and what happens in them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from twin.weather import Cells, Weather
from twin.weather.data import middle
from twin.weather.files import Record, from_file, read_record
from twin.weather.synthetic import Climate, synthetic
from vpp.kernel.errors import Finding
from vpp.kernel.signals import IntArray

if TYPE_CHECKING:
    from scenarios.schema import Scenario
    from vpp.grid.network import Network

MOST_CELLS = 400


def cells_of(scenario: Scenario, network: Network, record: Record | None = None) -> Cells | None:
    """The cells of weather over a network; None where the scenario has no weather, or no place is known."""
    part = scenario.weather
    if part is None:
        return None
    places = len(network.bus_id)
    mapped = network.source.startswith("simbench:")  # other sources draw their buses without a map, if at all
    stated = record.place if record is not None else None
    altitude_m = part.altitude_m if part.altitude_m is not None else stated[2] if stated else 0.0
    if part.latitude is not None and part.longitude is not None:
        latitude, longitude = part.latitude, part.longitude
    elif stated is not None:
        latitude, longitude = stated[:2]
    elif mapped:
        latitude, longitude = middle(network.bus_xy)
    else:
        return None
    if mapped and part.file is None:
        return Cells.over(network.bus_xy, part.cell_km, latitude, longitude, altitude_m)
    return Cells.single(latitude, longitude, altitude_m, places)


def record_of(scenario: Scenario) -> Record | None:
    """What the scenario's weather file holds; None where there is no file. ValueError as `read_record` has it."""
    file = None if scenario.weather is None else scenario.weather.file
    if file is None:
        return None
    about = file.stat() if file.is_file() else None
    return _read(file, about.st_mtime_ns if about else 0, about.st_size if about else 0)


@lru_cache(maxsize=4)
def _read(file: Path, mtime_ns: int, size: int) -> Record:
    """Read a file once for the check and the run; a changed one is read again."""
    return read_record(file)


def weather_of(scenario: Scenario, network: Network, time_ns: IntArray, dt_s: float) -> Weather | None:
    """The weather over steps that begin at ``time_ns``, (T,); None where the scenario has none."""
    part, record = scenario.weather, record_of(scenario)
    cells = cells_of(scenario, network, record)
    if part is None or cells is None:
        return None
    if record is not None:
        return from_file(record, cells, time_ns, dt_s, part.resample)
    climate = Climate(**{key: getattr(part, key) for key in part.climate_keys()})
    return synthetic(climate, cells, time_ns, dt_s, scenario.seed)


def cell_of_bus(scenario: Scenario, network: Network) -> IntArray:
    """(buses,) weather cell of each bus; 0 where there is no weather, or one for all."""
    if scenario.weather is None or scenario.weather.file is not None:
        return np.zeros(len(network.bus_id), np.int64)
    cells = cells_of(scenario, network)
    return np.zeros(len(network.bus_id), np.int64) if cells is None else cells.of_place


def file_problems(scenario: Scenario) -> list[Finding]:
    """What is wrong with the scenario's weather file, the time that it covers included."""
    try:
        record = record_of(scenario)
    except ValueError as error:
        return [scenario.finding(str(error), "weather", "source")]
    problem = record.problem(scenario.time.start_ns, scenario.time.end_ns) if record is not None else ""
    return [scenario.finding(f"the file {problem}", "weather", "source")] if problem else []


def place_problems(scenario: Scenario, network: Network) -> list[Finding]:
    """Weather that has no place, or a grid of far too many cells."""
    part = scenario.weather
    if part is None:
        return []
    cells = cells_of(scenario, network, record_of(scenario))
    if cells is None:
        message = "latitude and longitude are missing: neither this network nor the weather's file says where it lies"
        return [scenario.finding(message, "weather")]
    if cells.n > MOST_CELLS:
        message = f"cell_km makes {cells.n} cells of weather over this network; {MOST_CELLS} are the most"
        return [scenario.finding(message, "weather", "cell_km")]
    return []
