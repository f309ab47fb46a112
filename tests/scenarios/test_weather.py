"""The weather of a scenario: its keys, its files, its cells, and how far it looks ahead."""
# ruff: noqa: E501  (tables: one case a line)

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scenarios import load
from scenarios.build import build, run, surroundings
from scenarios.check import check
from scenarios.expand import expand
from scenarios.fleet import fleet_spec
from scenarios.weather import cell_of_bus, cells_of
from tests.scenarios.conftest import findings
from vpp.grid import load_network
from vpp.historian.read import open_run
from vpp.kernel.errors import ScenarioError

Write = Callable[..., Path]
STREET = "# T\nnetwork: simbench:1-LV-rural1--0-sw\ntime: {start: 2016-06-21, zone: Europe/Berlin, step_s: 900}\n"
TOWN = STREET.replace("1-LV-rural1--0-sw", "1-MV-comm--0-sw")
FLEET = "fleet:\n  - {id: roof, kind: pv, at: loads, p_mw: 0.01, panels: {}}\n"
WIND = "fleet: [{id: mill, kind: wind, at: mv_buses, turbine: E-82/2000}]\n"
PLAN = "planner: {use: day_ahead, horizon_h: 12}\nmarket: {import_eur_per_mwh: 1, export_eur_per_mwh: 1}\n"
LINES = STREET.count("\n")

BAD: dict[str, tuple[str, int, str, str]] = {
    "no weather for panels": (STREET + FLEET, LINES + 2, "fleet.0", "roof follows the weather: add weather"),
    "no weather for wind": (STREET + WIND, LINES + 1, "fleet.0", "mill follows the weather: add weather"),
    "half a place": (STREET + "weather: {latitude: 50}\n" + FLEET, LINES + 1, "weather.longitude", "longitude is missing"),
    "no such latitude": (STREET + "weather:\n  latitude: 95\n  longitude: 9\n" + FLEET, LINES + 2, "weather.latitude", "between -90 and 90"),
    "no source": (STREET + "weather: {source: synthetik}\n" + FLEET, LINES + 1, "weather.source", "did you mean 'synthetic'?"),
    "no such file": (STREET + "weather: {source: 'file:no.epw'}\n" + FLEET, LINES + 1, "weather.source", "no file"),
    "other file": (STREET + "weather: {source: 'file:case.yaml'}\n" + FLEET, LINES + 1, "weather.source", "end in .epw"),
    "cloudiness in percent": (STREET + "weather: {cloudiness: 60}\n" + FLEET, LINES + 1, "weather.cloudiness", "did you mean 0.6?"),
    "climate of a file": (STREET + "weather: {source: 'file:own.csv', cloudiness: 0.5}\n" + FLEET, LINES + 1, "weather.cloudiness", "a file has its own"),
    "resampled climate": (STREET + "weather: {resample: hold}\n" + FLEET, LINES + 1, "weather.resample", "is for files"),
    "no cells": (STREET + "weather: {cell_km: 0}\n" + FLEET, LINES + 1, "weather.cell_km", "must be more than 0"),
    "too short a file": (STREET + "weather: {source: 'file:own.csv'}\n" + FLEET, LINES + 1, "weather.source", "the file holds 2016-06-20T22:00Z to 2016-06-21T04:00Z"),
    "a bad line": (STREET + "weather: {source: 'file:bad.csv'}\n" + FLEET, LINES + 1, "weather.source", "bad.csv, line 3: ghi_w_m2 lies between"),
    "no such turbine": (STREET + "weather: {}\n" + WIND.replace("2000", "2001"), LINES + 2, "fleet.0.turbine", "no turbine 'E-82/2001'"),
    "no such module": (STREET + "weather: {}\n" + FLEET.replace("{}", "{module: X}"), LINES + 3, "fleet.0.panels.module", "no module 'X'"),
    "unknown key": (STREET + "weather: {cloudines: 0.5}\n" + FLEET, LINES + 1, "weather.cloudines", "did you mean 'cloudiness'?"),
}  # fmt: skip


def own(hours: int, bad: bool = False) -> str:
    rows = [f"2016-06-21T{k:02d}:00+02:00,{-1 if bad and k == 1 else 100 * (5 < k < 20)},20,5" for k in range(hours)]
    return "\n".join(["time,ghi_w_m2,temp_c,wind_m_s", *rows]) + "\n"


@pytest.mark.parametrize("case", BAD)
def test_finding_names_file_line_path_and_remedy(case: str, write: Write) -> None:
    text, line, path, message = BAD[case]
    write(own(6), "own.csv")
    write(own(6, bad=True), "bad.csv")
    found = findings(write(text))
    hits = [f for f in found if f.path == path and message in f.message]
    assert [(hit.file, hit.line) for hit in hits] == [("case.yaml", line)], [str(f) for f in found]


def messages(path: Path) -> list[str]:
    scenario = load(path)
    return [f"{f.path}: {f.message}" for f in check(scenario, load_network(scenario.network)) if f.severity == "error"]


def test_a_network_off_the_map_needs_a_place(write: Write) -> None:
    case9 = STREET.replace("simbench:1-LV-rural1--0-sw", "pandapower:case9").replace("900", "3600")
    roof = "fleet: [{id: roof, kind: pv, at: buses, p_mw: 1.0, panels: {}}]\n"
    assert messages(write(case9 + "weather: {}\n" + roof)) == [
        "weather: latitude and longitude are missing: neither this network nor the weather's file says where it lies"
    ]
    placed = write(case9 + "weather: {latitude: 50.0, longitude: 8.0}\n" + roof)
    assert messages(placed) == []
    cells = cells_of(load(placed), load_network("pandapower:case9"))
    assert cells is not None
    assert (cells.n, cells.latitude.tolist(), cells.longitude.tolist()) == (1, [50.0], [8.0])


def test_far_too_many_cells(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(TOWN + "weather:\n  cell_km: 0.01\n" + FLEET)
    assert messages(path) == []  # no more cells than there are buses
    monkeypatch.setattr("scenarios.weather.MOST_CELLS", 50)
    assert [m.partition(":")[0] for m in messages(path)] == ["weather.cell_km"]


def test_devices_follow_the_cell_that_they_stand_in(write: Write) -> None:
    scenario = load(write(TOWN + "weather: {cell_km: 1}\n" + FLEET))
    network = load_network(scenario.network)
    plan = expand(scenario, network)
    cell = cell_of_bus(scenario, network)
    assert len(set(cell.tolist())) > 5
    assert [plan.sources[k].cell for k in plan.profile_p] == cell[plan.bus].tolist()  # type: ignore[attr-defined]
    moved = load(write(TOWN + "weather: {cell_km: 1, latitude: 40.4, longitude: -3.7}\n" + FLEET))
    assert cell_of_bus(moved, network).tolist() == cell.tolist()


def test_the_planner_sees_the_weather_behind_the_end(write: Write) -> None:
    scenario = load(write(STREET + "weather: {cloudiness: 0.0}\n" + FLEET + PLAN))
    network = load_network(scenario.network)
    around = surroundings(scenario, None, network)
    assert around.weather is not None
    assert len(around.weather.time_ns) == 96 + 48 + 1 + 1  # a day, half a day ahead, the plan's own quarter-hour
    spec = fleet_spec(expand(scenario, network), network, around)
    ahead = spec.profiles.window(scenario.time.end_ns, 900 * 10**9, 48)
    assert ahead[:, 0].max() > 0.5, "the sun of the morning after"
    day = spec.profiles.window(scenario.time.start_ns, 900 * 10**9, 48)
    assert np.abs(day - ahead).max() < 0.02, "a clear day is like the one before it"
    hours = spec.profiles.window(scenario.time.start_ns, 3600 * 10**9, 12)
    np.testing.assert_allclose(hours, day.reshape(12, 4, -1).mean(axis=1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("step_s", [900, 60])
def test_a_file_leads_panels_and_turbines(step_s: int, write: Write, tmp_path: Path) -> None:
    write(own(24), "own.csv")
    both = FLEET + "  - {id: mill, kind: wind, at: {buses: [0]}, turbine: E-82/2000, p_mw: 0.05}\n"
    text = STREET.replace("900", str(step_s)) + "weather: {source: 'file:own.csv', altitude_m: 30}\n" + both
    system = build(load(write(text)))
    p = system.plant.devices.spec.profiles.fine
    assert p is not None
    panels, mill = p[:, 0].reshape(24, -1), p[:, -1]
    assert panels[:5].max() == 0.0
    assert panels[12].mean() > 0.03
    assert mill.std() < 0.01 * mill.mean(), "the file's wind is steady"


def test_a_missing_day_is_an_error_before_the_run(write: Write) -> None:
    write(own(24), "own.csv")
    text = STREET.replace("step_s: 900", "days: 2, step_s: 900") + "weather: {source: 'file:own.csv'}\n" + FLEET
    with pytest.raises(ScenarioError, match="the run goes from 2016-06-20T22:00Z to 2016-06-22T22:00Z"):
        load(write(text))


def test_the_content_of_the_file_is_in_the_hash(write: Write) -> None:
    path = write(STREET + "weather: {source: 'file:own.csv'}\n" + FLEET)
    write(own(24), "own.csv")
    first = load(path).hash
    write(own(24).replace(",20,5", ",21,5"), "own.csv")
    assert load(path).hash != first


def test_the_shipped_day_runs_and_books_what_sun_and_wind_gave(tmp_path: Path) -> None:
    scenario = load("wind-and-sun", ["time.step_s=900"])
    with open_run(run(scenario, out=tmp_path, wiring="direct").path) as record:
        names = np.array([str(name).partition("-")[0] for name in record["resources"]["resource"].values])
        delivered = record["resources"]["delivered_p_mw"].values
    assert set(names) == {"load", "der", "roof", "field", "turbine"}
    noon, night = delivered[44:60], delivered[:12]
    sun, wind = np.isin(names, ["roof", "field"]), names == "turbine"
    assert night[:, sun].max() == 0.0
    assert noon[:, sun].mean() > 0.01
    assert delivered[53:56, wind].max() <= 1.0 + 1e-6
    assert delivered[:, wind].max() > 1.2


def test_the_example_of_the_guide_is_right(write: Write) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "howto" / "weather.md").read_text(encoding="utf-8")
    example = guide.split("```yaml\n")[1].split("```")[0]
    assert messages(write(example)) == []
