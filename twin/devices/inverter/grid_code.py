"""Grid codes as data: the default settings of a standard, each with its edition and source.

A value is *read* (seen in the source that the file names) or *unverified* (general knowledge, to be checked against the
standard before anyone relies on it). A code's file is `codes/<name>.yaml`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Any

import yaml

from vpp.kernel.settings import Settings

STATUSES = ("read", "unverified")
# What a stated code switches on: everything else stays off until it is asked for.
SWITCHED_ON = ("trip_enable", "es_enable")


class GridCodeError(ValueError):
    """A grid code that does not exist, or a file of one that is wrong."""


@dataclass(frozen=True, slots=True)
class GridCode:
    """The settings of one grid code for one category.

    Attributes:
        name: name of the code.
        title, edition, source: what it is, and where its values come from.
        nominal_hz: frequency that the values are at.
        values: settings by name, switches of trips and enter service on, everything else off.
        unverified: names of the settings that nobody has checked.
        not_modelled: what the standard asks for and the twin does not do.
    """

    name: str
    title: str
    edition: str
    source: str
    nominal_hz: float
    values: Mapping[str, float]
    unverified: tuple[str, ...]
    not_modelled: tuple[str, ...]

    def at(self, nominal_hz: float) -> GridCode:
        """The same for another nominal frequency: every frequency in proportion."""
        scale = nominal_hz / self.nominal_hz
        values = {name: value * scale if name.endswith("_hz") else value for name, value in self.values.items()}
        return GridCode(self.name, self.title, self.edition, self.source, nominal_hz, values, self.unverified, self.not_modelled)


def names() -> tuple[str, ...]:
    """Names of the grid codes at hand."""
    folder = resources.files("twin.devices.inverter") / "codes"
    return tuple(sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml")))


def choices(name: str) -> dict[str, tuple[str, ...]]:
    """What there is to choose within a code: by "category" and "ride_through", the default first."""
    data = _data(name)
    found = {}
    for key in ("category", "ride_through"):
        if key in data:
            default = data[key]["default"]
            found[key] = (default, *(c for c in data[key]["choices"] if c != default))
    return found


def load_code(name: str, category: str | None = None, ride_through: str | None = None) -> GridCode:
    """The settings of a grid code.

    Args:
        name: one of `names`.
        category: of voltage regulation (IEEE 1547: A, B) or size; default: the code's own.
        ride_through: category of ride-through (IEEE 1547: I, II, III); default: the code's own.

    Raises:
        GridCodeError: there is no such code or category, or its file is wrong.
    """
    data, there = _data(name), choices(name)
    parts = [data["values"]]
    for key, chosen in (("category", category), ("ride_through", ride_through)):
        if key not in there:
            if chosen is not None:
                raise GridCodeError(f"{name} has no {key}")
            continue
        if chosen is not None and chosen not in there[key]:
            raise GridCodeError(f"{name} has no {key} {chosen!r}; there are {', '.join(sorted(there[key]))}")
        parts.append(data[f"by_{key}"][chosen or there[key][0]])
    entries = {k: v for part in parts for k, v in part.items()}
    values = {k: float(v["value"]) for k, v in entries.items()} | dict.fromkeys(SWITCHED_ON, 1.0)
    values["f_nom_hz"] = float(data["nominal_hz"])
    return GridCode(
        name, data["title"], data["edition"], data["source"], float(data["nominal_hz"]), values,
        tuple(sorted(k for k, v in entries.items() if v["status"] == "unverified")), tuple(data.get("not_modelled", ())),
    )  # fmt: skip


@cache
def _data(name: str) -> Mapping[str, Any]:
    if name not in names():
        close = get_close_matches(name, names(), 1, 0.5)
        raise GridCodeError(
            f"no grid code {name!r}" + (f"; did you mean {close[0]}?" if close else f"; there are {', '.join(names())}")
        )
    text = (resources.files("twin.devices.inverter") / "codes" / f"{name}.yaml").read_text("utf-8")
    return parse_code(text, name)


def parse_code(text: str, name: str) -> Mapping[str, Any]:
    """Read and check a code's file: names of settings, numbers, statuses, an edition and a source.

    Raises:
        GridCodeError: with everything that is wrong, one a line.
    """
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise GridCodeError(f"{name}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise GridCodeError(f"{name}: a grid code is a mapping of keys to values")
    wrong = [f"{key} is missing" for key in ("code", "title", "edition", "source", "nominal_hz", "values") if key not in data]
    if data.get("code", name) != name:
        wrong.append(f"its code is {data['code']!r}")
    for key in ("category", "ride_through"):
        table = data.get(f"by_{key}", {})
        if key in data and set(data[key].get("choices", ())) != set(table):
            wrong.append(f"by_{key} does not have the choices of {key}")
        for choice, part in table.items():
            wrong += _wrong(part, f"by_{key}.{choice}.")
    wrong += _wrong(data.get("values", {}), "values.")
    if wrong:
        raise GridCodeError("\n".join(f"{name}: {message}" for message in wrong))
    return data


def _wrong(part: Any, where: str) -> list[str]:
    """What is wrong with a table of values."""
    if not isinstance(part, dict):
        return [f"{where.rstrip('.')} is no mapping"]
    found = []
    for key, entry in part.items():
        if key not in Settings.names:
            close = get_close_matches(str(key), Settings.names, 1)
            found.append(f"{where}{key} is no setting" + (f"; did you mean {close[0]}?" if close else ""))
        elif not isinstance(entry, dict) or not isinstance(entry.get("value"), int | float) or not math.isfinite(entry["value"]):
            found.append(f"{where}{key} needs a number as its value")
        elif entry.get("status") not in STATUSES:
            found.append(f"{where}{key} needs a status: {' or '.join(STATUSES)}")
    return found
