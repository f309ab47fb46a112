"""Synthetic weather, its statistics and its cells; weather out of files."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pvlib
import pytest

from twin.weather import Cells, Weather
from twin.weather.data import CHANNELS
from twin.weather.fields import Field
from twin.weather.files import Record, from_file, read_record
from twin.weather.sun import beam_share, clear_sky, divided, extraterrestrial, sun_position
from twin.weather.synthetic import Climate, synthetic

HOUR_NS = 3600 * 10**9
JUNE_NS = 1_466_460_000 * 10**9 // HOUR_NS * HOUR_NS
YEAR_NS = 1_451_606_400 * 10**9  # 2016-01-01T00:00Z
TMY3 = Path(pvlib.__file__).parent / "data" / "723170TYA.CSV"
HERE = Cells.single(52.5, 13.4, 40.0, 1)


def row_of_cells(*x_km: float) -> Cells:
    x = np.array(x_km)
    return Cells(x, np.zeros(len(x)), 52.0 + 0 * x, 10.0 + x / 68.0, 50.0, np.arange(len(x)))


def times(steps: int, step_s: float, start_ns: int = JUNE_NS) -> Any:
    return start_ns + round(step_s * 1e9) * np.arange(steps, dtype=np.int64)


def made(cells: Cells, steps: int, step_s: float, seed: int = 1, start_ns: int = JUNE_NS, **climate: Any) -> Weather:
    return synthetic(Climate(**climate), cells, times(steps, step_s, start_ns), step_s, seed)


def test_the_sun_stands_where_nrels_algorithm_sees_it() -> None:
    moments = pd.date_range("2000-01-01", "2040-01-01", freq="1111h", tz="UTC")
    for latitude, longitude in ((52.5, 13.4), (-33.9, 151.2), (0.0, -78.5), (69.6, 18.9)):
        truth = pvlib.solarposition.get_solarposition(moments, latitude, longitude)
        zenith, azimuth = sun_position(moments.as_unit("ns").asi8, np.array([latitude]), np.array([longitude]))
        high = truth["elevation"].to_numpy() > 5.0
        # The azimuth of a sun near the zenith turns fast: what counts is the angle on the sky.
        apart = (azimuth[:, 0] - truth["azimuth"].to_numpy() + 180.0) % 360.0 - 180.0
        assert np.abs(zenith[:, 0] - truth["apparent_zenith"].to_numpy())[high].max() < 0.02
        assert np.abs(apart * np.sin(np.radians(zenith[:, 0])))[high].max() < 0.02


def test_the_clear_sky_is_pvlibs() -> None:
    moments = pd.date_range("2016-01-01", "2017-01-01", freq="7h", tz="UTC")
    truth = pvlib.location.Location(52.5, 13.4, altitude=40.0).get_clearsky(moments)
    ours = clear_sky(moments.as_unit("ns").asi8, HERE.latitude, HERE.longitude, 40.0, None)
    for name in ("ghi", "dni", "dhi"):
        assert ours[f"{name}_w_m2"].sum() == pytest.approx(truth[name].sum(), rel=2e-3)


def test_irradiance_is_divided_as_pvlib_does() -> None:
    moments = pd.date_range("2016-06-21T03:00", "2016-06-21T19:00", freq="10min", tz="UTC")
    zenith = sun_position(moments.as_unit("ns").asi8, HERE.latitude, HERE.longitude)[0][:, 0]
    ghi = np.maximum(np.cos(np.radians(zenith)), 0.0) * np.linspace(100.0, 1000.0, len(zenith))
    dni, dhi = divided(ghi, zenith, extraterrestrial(moments.as_unit("ns").asi8))
    truth = pvlib.irradiance.erbs(ghi, zenith, moments)
    high = zenith < 86.0
    np.testing.assert_allclose(dhi[high], truth["dhi"][high], rtol=2e-3)
    np.testing.assert_allclose(dni[high], truth["dni"][high], rtol=2e-3, atol=0.5)


def test_beam_goes_before_the_diffuse_light() -> None:
    assert beam_share(np.array([0.2, 0.6, 1.0, 1.1])).tolist() == pytest.approx([0.0, (0.6 - 0.38 * 0.4) ** 2.5, 1.0, 1.0])


def test_the_seed_decides() -> None:
    first, again, other = (made(HERE, 48, 900.0, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(first.channels[name], again.channels[name]) for name in first.channels)
    assert not np.array_equal(first.channels["ghi_w_m2"], other.channels["ghi_w_m2"])
    assert not np.array_equal(first.channels["wind_m_s"], other.channels["wind_m_s"])


def test_a_day_is_the_same_in_any_run() -> None:
    """Neither the start, nor the length, nor the other cells change what happens; the step only averages."""
    cells = row_of_cells(0.0, 3.0)
    long = made(cells, 288, 300.0)
    late = made(row_of_cells(3.0), 24, 300.0, start_ns=JUNE_NS + 100 * 300 * 10**9)
    coarse = made(cells, 24, 3600.0)
    for name in CHANNELS:
        np.testing.assert_allclose(late.channels[name][:, 0], long.channels[name][100:124, 1], rtol=1e-9, atol=1e-6)
        np.testing.assert_allclose(
            coarse.channels[name], long.channels[name].reshape(24, 12, 2).mean(axis=1), rtol=1e-9, atol=1e-6
        )


def test_correlation_falls_with_distance_as_stated() -> None:
    distance = np.array([0.0, 1.0, 2.5, 5.0, 10.0, 25.0])
    expected = np.exp(-distance / 5.0)
    found = []
    for seed in range(8):  # the mean over seeds: a single field has a finite number of waves
        field = Field.drawn(seed, "cloud", length_km=5.0, hours=1.0, drift_km_h=(36.0, 0.0), waves=256)
        values = field.at(np.arange(4000) * 0.5, np.zeros(6), distance)
        found.append(np.corrcoef(values.T)[0])
        assert values.mean() == pytest.approx(0.0, abs=0.1)
        assert values.std() == pytest.approx(1.0, abs=0.1)
    assert np.abs(np.mean(found, axis=0) - expected).max() < 0.05
    assert np.all(np.diff(np.mean(found, axis=0)) < 0.0)


def test_correlation_falls_with_time_as_stated() -> None:
    found = []
    for seed in range(8):
        values = Field.drawn(seed, "temperature", length_km=100.0, hours=6.0).at(np.arange(6000) * 1.0, np.zeros(1), np.zeros(1))[
            :, 0
        ]
        found.append([np.corrcoef(values[:-lag], values[lag:])[0, 1] for lag in (1, 3, 6, 12)])
    assert np.abs(np.mean(found, axis=0) - np.exp(-np.array([1, 3, 6, 12]) / 6.0)).max() < 0.05


def test_neighbours_have_the_same_clouds_and_strangers_have_not() -> None:
    cells = row_of_cells(0.0, 0.5, 2.0, 8.0, 30.0)
    weather = made(cells, 30 * 48, 300.0, cloud_km=3.0)
    zenith = weather.channels["zenith_degree"][:, 0]
    clear = clear_sky(weather.time_ns + 150 * 10**9, cells.latitude, cells.longitude, 50.0, None)["ghi_w_m2"]
    index = (weather.channels["ghi_w_m2"] / np.maximum(clear, 1.0))[zenith < 75.0]
    with_first = np.corrcoef(index.T)[0]
    assert np.all(np.diff(with_first) < 0.0)
    assert with_first[1] > 0.75 > with_first[3]


def test_clouds_drift_with_the_wind() -> None:
    """A cloud from the west reaches a cell 6 km further east ten minutes later at 10 m/s."""
    field = Field.drawn(3, "cloud", length_km=2.0, hours=10.0, drift_km_h=(36.0, 0.0), waves=256)
    hour = np.arange(6000) / 60.0
    west, east = field.at(hour, np.array([0.0, 6.0]), np.zeros(2)).T
    lag = [np.corrcoef(west[: -k or None], east[k:])[0, 1] for k in range(30)]
    assert int(np.argmax(lag)) == 10
    assert max(lag) > 0.9


@pytest.mark.parametrize("cloudiness", [0.2, 0.6, 0.9])
def test_clouds_cover_what_is_asked_for(cloudiness: float) -> None:
    from twin.weather.synthetic import clouds

    climate, hour = Climate(cloudiness=cloudiness), np.arange(0.0, 4 * 8766.0, 2.0)
    found = []
    for seed in range(4):
        wide = Field.drawn(seed, "cover", length_km=200.0, hours=12.0).at(hour, HERE.x_km, HERE.y_km)
        cover, around = clouds(climate, HERE, hour, wide, seed)
        found.append([cover.mean(), around.mean()])
    assert np.mean(found, axis=0).tolist() == pytest.approx([cloudiness, cloudiness], abs=0.03)


def test_a_climate_has_its_means() -> None:
    found = []
    for seed in range(4):
        climate = Climate(temp_mean_c=8.0, wind_mean_m_s=6.0, wind_shape=1.8)
        c = synthetic(climate, HERE, times(8784, 3600.0, YEAR_NS), 300.0, seed).channels  # five minutes of each hour
        july, january = c["temp_c"][4368:5112].mean(), c["temp_c"][:744].mean()
        found.append([c["temp_c"].mean(), july - january, c["wind_m_s"].mean(), c["wind_m_s"].std(), c["pressure_pa"].mean()])
        assert c["wind_m_s"].min() >= 0.0
        assert c["ghi_w_m2"].min() == 0.0
        closing = c["ghi_w_m2"] - c["dhi_w_m2"]
        assert np.all(closing >= -1e-9)
    mean = np.mean(found, axis=0)
    assert mean[0] == pytest.approx(8.0, abs=0.7)
    assert mean[1] == pytest.approx(18.0, abs=3.0)
    assert mean[2] == pytest.approx(6.0, rel=0.06)
    assert mean[3] == pytest.approx(6.0 * 0.577, rel=0.12)  # of a Weibull distribution of shape 1.8
    assert mean[4] == pytest.approx(101_325.0 - 480.0, abs=250.0)


def test_a_cloudless_climate_is_the_clear_sky() -> None:
    weather = made(HERE, 96, 300.0, cloudiness=0.0)
    clear = clear_sky(weather.time_ns + 150 * 10**9, HERE.latitude, HERE.longitude, 40.0, None)
    for name in ("ghi_w_m2", "dni_w_m2", "dhi_w_m2"):
        np.testing.assert_allclose(weather.channels[name], clear[name], rtol=1e-9, atol=1e-9)


def test_the_south_has_its_summer_in_january() -> None:
    cape = Cells.single(-33.9, 18.4, 0.0, 1)
    south = synthetic(Climate(temp_noise_k=0.0), cape, times(8784, 3600.0, YEAR_NS), 300.0, 1).channels
    assert south["temp_c"][:744].mean() > south["temp_c"][4368:5112].mean() + 10.0
    assert south["ghi_w_m2"][:744].mean() > south["ghi_w_m2"][4368:5112].mean()


def test_cells_cover_an_area() -> None:
    random = np.random.default_rng(0)
    xy = random.uniform([11.38, 53.58], [11.47, 53.66], (200, 2))
    cells = Cells.over(xy, 2.0, 53.62, 11.425, 30.0)
    assert set(cells.of_place.tolist()) == set(range(cells.n)), "no cell without a place"
    east = (xy[:, 0] - 11.425) * 111.195 * np.cos(np.radians(53.62))
    north = (xy[:, 1] - 53.62) * 111.195
    far = np.hypot(east[:, None] - cells.x_km, north[:, None] - cells.y_km)
    own = far[np.arange(200), cells.of_place]
    assert own.max() < np.sqrt(2.0) + 0.05
    assert (own <= far.min(axis=1) + 0.05).all(), "each place is in the cell whose middle is nearest"
    assert np.abs(cells.latitude - 53.62 - cells.y_km / 111.195).max() < 1e-9
    elsewhere = Cells.over(xy, 2.0, 40.0, -3.7, 600.0)
    assert elsewhere.of_place.tolist() == cells.of_place.tolist()
    assert elsewhere.latitude.mean() == pytest.approx(40.0, abs=0.05)
    assert Cells.over(xy[:1], 2.0, 53.62, 11.425, 30.0).n == 1


# Files.

OWN = ("time", "ghi_w_m2", "temp_c", "wind_m_s")


def own_rows(n: int, step_s: int = 3600, start: str = "2016-06-20T00:00+02:00") -> list[list[object]]:
    first = datetime.fromisoformat(start)
    return [
        [(first + timedelta(seconds=k * step_s)).isoformat(), max(0.0, 600.0 - abs(k % 24 - 12) * 100.0), 15.0 + k % 5, 4.0]
        for k in range(n)
    ]


def write_csv(path: Path, rows: list[list[object]], head: tuple[str, ...] = OWN) -> Path:
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([head, *rows])
    return path


def write_epw(path: Path, hours: int = 8760, spoil: int = -1) -> Path:
    """A year of EnergyPlus weather whose GHI is the hour of the year, modulo 1000."""
    head = ["LOCATION,Somewhere,XX,DEU,TEST,000000,52.5,13.4,1.0,40.0"] + [f"HEADER {k}" for k in range(7)]
    lines = []
    for k in range(hours):
        day = datetime(2015, 1, 1, tzinfo=UTC) + timedelta(hours=k)
        row = [day.year, day.month, day.day, day.hour + 1, 60, "?", 10.0, 5.0, 70, 100_000, 0, 0, 300, k % 1000, k % 800, k % 200]
        row += [0, 0, 0, 0, 240, 9999.0 if k == spoil else 5.0, 5, 5, 20, 2000, 9, "9", 20, 0.1, 0, 0, 0.2, 0, 0]
        lines.append(",".join(map(str, row)))
    path.write_text("\n".join([*head, *lines]) + "\n")
    return path


def test_a_typical_year_of_energyplus(tmp_path: Path) -> None:
    record = read_record(write_epw(tmp_path / "a.epw"))
    assert record.place == (52.5, 13.4, 40.0)
    assert record.typical
    # Local standard time is an hour ahead: the hour from 00:00Z on 2 March is the 1,441st of a year without leap day.
    weather = from_file(record, HERE, times(24, 3600.0, YEAR_NS + 61 * 24 * HOUR_NS), 3600.0, "hold")
    assert weather.channels["ghi_w_m2"][:, 0].tolist() == pytest.approx([(60 * 24 + 1 + k) % 1000 for k in range(24)])
    # 29 February is 28 February again, and the new year follows the old one.
    leap, last = (
        from_file(record, HERE, times(24, 3600.0, YEAR_NS + d * 24 * HOUR_NS - HOUR_NS), 3600.0, "hold") for d in (59, 366)
    )
    assert leap.channels["ghi_w_m2"][0, 0] == (58 * 24) % 1000
    assert last.channels["ghi_w_m2"][:2, 0].tolist() == [0.0, 1.0]


def test_a_typical_year_of_nrel() -> None:
    record = read_record(TMY3)
    table, about = pvlib.iotools.read_tmy3(str(TMY3), map_variables=True)
    assert record.place == (about["latitude"], about["longitude"], about["altitude"])
    # The file's day in June, in its own standard time, five hours behind.
    start_ns = YEAR_NS + (172 * 24 + 5) * HOUR_NS
    cells = Cells.single(*record.place, 1)
    weather = from_file(record, cells, times(96, 900.0, start_ns), 900.0, "smooth")
    of_day = table[(table.index.month == 6) & (table.index.day == 21) & (table.index.hour > 0)]
    fine = weather.channels["ghi_w_m2"][:, 0].reshape(24, 4)
    np.testing.assert_allclose(fine.mean(axis=1)[:23], of_day["ghi"].to_numpy(), rtol=1e-12, atol=1e-12)
    assert weather.channels["pressure_pa"].mean() == pytest.approx(100.0 * of_day["pressure"].mean(), rel=1e-3)
    assert weather.channels["zenith_degree"].min() < 15.0


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_series_of_ones_own(tmp_path: Path, ending: str) -> None:
    rows, path = own_rows(48), tmp_path / f"own.{ending}"
    if ending == "csv":
        write_csv(path, rows)
    else:
        frame = pd.DataFrame(rows, columns=list(OWN))
        frame["time"] = pd.to_datetime(frame["time"])
        frame.to_parquet(path)
    record = read_record(path)
    assert (record.step_ns, record.place, record.typical) == (HOUR_NS, None, False)
    weather = from_file(record, HERE, times(24, 3600.0, record.begin_ns), 3600.0, "smooth")
    assert weather.channels["ghi_w_m2"][:, 0].tolist() == pytest.approx([row[1] for row in rows[:24]])
    assert weather.channels["temp_c"][:, 0].tolist() == pytest.approx([row[2] for row in rows[:24]])
    assert weather.channels["dhi_w_m2"][12, 0] > 0.0, "beam and diffuse light are derived"
    assert weather.channels["pressure_pa"][0, 0] == pytest.approx(101_325.0 - 480.0, abs=20.0)


def test_behind_the_end_the_last_day_comes_again(tmp_path: Path) -> None:
    rows = own_rows(48)
    record = read_record(write_csv(tmp_path / "own.csv", rows))
    weather = from_file(record, HERE, times(96, 3600.0, record.begin_ns), 3600.0, "hold")
    wanted = [row[1] for row in rows] + [row[1] for row in rows[24:]] * 2
    assert weather.channels["ghi_w_m2"][:, 0].tolist() == pytest.approx(wanted)


def test_a_series_must_cover_the_run(tmp_path: Path) -> None:
    record = read_record(write_csv(tmp_path / "own.csv", own_rows(48)))
    assert record.problem(record.begin_ns, record.begin_ns + 48 * HOUR_NS) == ""
    assert "holds 2016-06-19T22:00Z to 2016-06-21T22:00Z" in record.problem(record.begin_ns, record.begin_ns + 49 * HOUR_NS)
    assert record.problem(record.begin_ns - 1, record.begin_ns + HOUR_NS)


def test_a_file_makes_the_steps_that_a_run_wants(tmp_path: Path) -> None:
    record: Record = read_record(write_csv(tmp_path / "own.csv", own_rows(48)))
    minutes = from_file(record, HERE, times(1440, 60.0, record.begin_ns), 60.0, "smooth")
    hours = from_file(record, HERE, times(24, 3600.0, record.begin_ns), 3600.0, "smooth")
    for name in CHANNELS:
        np.testing.assert_allclose(
            minutes.channels[name].reshape(24, 60).mean(axis=1), hours.channels[name][:, 0], rtol=1e-11, atol=1e-9
        )


def spoiled(number: int, column: int, value: object) -> list[list[object]]:
    rows = own_rows(5)
    rows[number][column] = value
    return rows


BAD = {
    "no offset": (OWN, spoiled(2, 0, "2016-06-20T02:00"), "own.csv, line 4: the time 2016-06-20T02:00 needs its offset"),
    "no time": (OWN, spoiled(1, 0, "yesterday"), "own.csv, line 3: "),
    "uneven": (OWN, [*own_rows(2), *own_rows(1, start="2016-06-20T05:00+02:00")], "own.csv, line 4: the intervals are not even"),
    "backwards": (OWN, own_rows(3, -60), "own.csv, line 3: the times must ascend"),
    "dark light": (OWN, spoiled(3, 1, -5.0), "own.csv, line 5: ghi_w_m2 lies between 0 and 1500, got -5"),
    "kelvin": (OWN, spoiled(0, 2, 288.0), "own.csv, line 2: temp_c lies between -90 and 60, got 288"),
    "not a number": (OWN, spoiled(0, 3, "calm"), "own.csv, line 2: "),
    "nan": (OWN, spoiled(0, 3, "nan"), "own.csv, line 2: wind_m_s lies between 0 and 100, got nan"),
    "a column too few": (OWN[:3], [row[:3] for row in own_rows(3)], "own.csv: no column wind_m_s; columns are time, ghi_w_m2"),
    "beam alone": ((*OWN, "dni_w_m2"), [[*row, 1.0] for row in own_rows(3)], "no column dhi_w_m2"),
    "one row": (OWN, own_rows(1), "own.csv has 1 rows"),
    "no heading": (("a", "b"), [[1, 2]], "own.csv is not a TMY3 file, and a series of one's own has a column called time"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_is_said_with_its_line(case: str, tmp_path: Path) -> None:
    head, rows, message = BAD[case]
    with pytest.raises(ValueError, match="own") as error:
        read_record(write_csv(tmp_path / "own.csv", rows, head))
    assert message in str(error.value)


def test_other_files_that_are_wrong(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line 109: wind_m_s lies between 0 and 100, got 9999"):
        read_record(write_epw(tmp_path / "a.epw", spoil=100))
    with pytest.raises(ValueError, match="has 8000 hours; a typical year has 8760"):
        read_record(write_epw(tmp_path / "b.epw", hours=8000))
    (tmp_path / "c.epw").write_text("hello\n")
    with pytest.raises(ValueError, match=r"c\.epw is not an EPW file"):
        read_record(tmp_path / "c.epw")
    (tmp_path / "d.parquet").write_text("hello\n")
    with pytest.raises(ValueError, match=r"d\.parquet cannot be read"):
        read_record(tmp_path / "d.parquet")
    with pytest.raises(ValueError, match="weather comes from"):
        read_record(tmp_path / "e.nc")
    with pytest.raises(ValueError, match=r"f\.csv cannot be read"):
        read_record(tmp_path / "f.csv")
