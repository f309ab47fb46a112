"""The weather over the network: made from the seed, or read from a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from scenarios.near import did_you_mean
from vpp.fields import Fraction, Number, Part, Ratio, Where, bad

ENDINGS = (".epw", ".tmy3", ".tmy", ".csv", ".parquet")


def _source(value: str) -> str:
    if value != "synthetic" and (not value.startswith("file:") or value == "file:"):
        raise bad(f"must be synthetic, or file:<{', '.join(ENDINGS)}>{did_you_mean(value, ['synthetic'])}")
    if value.startswith("file:") and Path(value).suffix.lower() not in ENDINGS:
        raise bad(f"weather comes from files that end in {', '.join(ENDINGS)}")
    return value


def _latitude(value: float) -> float:
    if not -90 <= value <= 90:
        raise bad("a latitude lies between -90 and 90 degree, north positive")
    return value


def _longitude(value: float) -> float:
    if not -180 <= value <= 180:
        raise bad("a longitude lies between -180 and 180 degree, east positive")
    return value


def _altitude(value: float) -> float:
    if not -500 <= value <= 6000:
        raise bad("an altitude lies between -500 and 6000 m")
    return value


def _positive(value: float) -> float:
    if value <= 0:
        raise bad("must be more than 0")
    return value


Positive = Annotated[Number, AfterValidator(_positive)]


class WeatherPart(Part):
    """What sun, wind and temperature do. The keys from ``cloudiness`` on are of synthetic weather."""

    source: Annotated[str, AfterValidator(_source)] = Field(
        "synthetic",
        description="synthetic, or file:<path> of a typical year (.epw, .tmy3) or of one's own series (.csv, .parquet)",
    )
    latitude: Annotated[Number, AfterValidator(_latitude)] | None = Field(
        None, description="of the network's middle, north positive [degree]; default: the file's, else the network's own"
    )
    longitude: Annotated[Number, AfterValidator(_longitude)] | None = Field(
        None, description="of the network's middle, east positive [degree]; default: likewise"
    )
    altitude_m: Annotated[Number, AfterValidator(_altitude)] | None = Field(
        None, description="height above the sea [m]; default: the file's, else 0"
    )
    cell_km: Positive = Field(2.0, description="side of a cell of weather, inside of which all devices have the same [km]")
    resample: Literal["smooth", "hold"] = Field(
        "smooth", description="how a file's intervals become shorter steps; the energy of each is kept either way"
    )
    cloudiness: Fraction = Field(0.6, description="mean cloud cover, 0…1")
    cloud_km: Positive = Field(5.0, description="distance over which the correlation of clouds falls to 1/e [km]")
    cloud_speed_m_s: Ratio = Field(10.0, description="speed of the clouds [m/s]")
    wind_from_degree: Number = Field(240.0, description="where wind and clouds come from, from north over east [degree]")
    turbidity: Positive | None = Field(None, description="Linke turbidity [1]; default: the climatology of the place")
    temp_mean_c: Number = Field(10.0, description="mean temperature of the year [degree Celsius]")
    temp_season_k: Ratio = Field(9.0, description="half the difference of summer and winter [K]")
    temp_day_k: Ratio = Field(4.0, description="half the difference of day and night [K]")
    temp_noise_k: Ratio = Field(3.0, description="standard deviation of the temperature about its course [K]")
    wind_mean_m_s: Positive = Field(5.0, description="mean wind speed at 10 m [m/s]")
    wind_shape: Positive = Field(2.0, description="shape of the wind speed's Weibull distribution [1]")
    wind_km: Positive = Field(200.0, description="distance over which the correlation of the weather at large falls to 1/e [km]")
    wind_hours: Positive = Field(12.0, description="time over which it does [h]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """A place is two numbers, and a file has the weather that it has."""
        if (self.latitude is None) != (self.longitude is None):
            missing = "latitude" if self.latitude is None else "longitude"
            yield (missing,), f"{missing} is missing: a place is latitude and longitude"
        if self.source != "synthetic":
            for key in self.climate_keys():
                if key in self.model_fields_set:
                    yield (key,), f"{key} is of synthetic weather; a file has its own"
        elif "resample" in self.model_fields_set:
            yield ("resample",), "resample is for files; synthetic weather is made for the steps"

    @property
    def file(self) -> Path | None:
        """The file, None for synthetic weather."""
        return None if self.source == "synthetic" else Path(self.source.removeprefix("file:"))

    @classmethod
    def climate_keys(cls) -> tuple[str, ...]:
        """Keys that only synthetic weather has."""
        keys = list(cls.model_fields)
        return tuple(keys[keys.index("cloudiness") :])
