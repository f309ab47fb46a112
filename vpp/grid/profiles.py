"""SimBench's profiles: factors by name and quarter-hour; factor x rating stays factored.

Data: SimBench, https://simbench.de, ODbL (attribution, share-alike for derived databases).
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vpp.grid import source as sources
from vpp.grid.store import cache_dir, write_atomically
from vpp.kernel.errors import NetworkError

START_NS = 1_451_602_800_000_000_000  # 2016-01-01T00:00:00+01:00: SimBench counts in CET without summer time
STEP_S = 900
QUARTERS = 35_136  # quarter-hours of the leap year 2016
_DAYS_BEFORE_MONTH = np.cumsum([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30])


@dataclass(frozen=True, slots=True)
class Profiles:
    """A year of factors. Step k holds from ``start_ns + k * step_s`` on."""

    names: tuple[str, ...]  # "H0-A_pload", "H0-A_qload", "PV1", "Storage_PV3_H0-A" ...
    factor: NDArray[np.float32]  # (n_profiles, 35136), C-contiguous; perhaps a read-only memory map
    start_ns: int = START_NS
    step_s: int = STEP_S

    @property
    def start(self) -> np.datetime64:
        """First step in local time (CET, no summer time): 2016-01-01T00:00."""
        return np.datetime64("2016-01-01T00:00:00")

    def index(self, name: str) -> int:
        """Row of a profile; KeyError with the nearest names where there is none."""
        try:
            return self.names.index(name)
        except ValueError:
            raise KeyError(f"no profile {name!r}{sources.suggest(name, self.names)}") from None

    def rows(self, names: tuple[str, ...], suffix: str = "") -> NDArray[np.int32]:
        """Row of each ``name + suffix``, -1 for an empty name (a constant): (n,) int32."""
        where = {name: k for k, name in enumerate(self.names)}
        missing = sorted({n + suffix for n in names if n and n + suffix not in where})
        if missing:
            raise KeyError(f"no profile {missing[0]!r}{sources.suggest(missing[0], self.names)}")
        return np.array([where[n + suffix] if n else -1 for n in names], dtype=np.int32)


def load_profiles(spec: str, *, cache: bool = True, base: Path | None = None) -> Profiles:
    """Load the profiles that belong to a SimBench network (``simbench:<code>``), from the cache where possible.

    Raises:
        NetworkError: the network is unknown, or has no profiles.
    """
    resolved = sources.resolve(spec, base)
    if not resolved.startswith("simbench:"):
        raise NetworkError(spec, "only SimBench networks bring profiles")
    stem = cache_dir() / f"{sources.digest(resolved)}-profiles"
    data, meta = stem.with_suffix(".npy"), stem.with_suffix(".json")
    if cache and data.is_file() and meta.is_file():
        try:
            names = tuple(json.loads(meta.read_text()))
            factor = np.load(data, mmap_mode="r", allow_pickle=False)
            if factor.ndim == 2 and len(names) == len(factor) and factor.dtype == np.float32:
                return Profiles(names, factor)
        except (OSError, ValueError, EOFError):
            pass  # a damaged file is made again
    net, _ = sources.load_source(resolved, shown=spec)
    profiles = _gather(net, spec)
    if cache:
        buffer = io.BytesIO()
        np.save(buffer, profiles.factor, allow_pickle=False)
        write_atomically(data, buffer.getvalue())
        write_atomically(meta, json.dumps(profiles.names).encode())
    return profiles


def _gather(net: Any, spec: str) -> Profiles:
    """Stack all profile columns of a SimBench net, sorted by name."""
    tables = net.get("profiles") or {}
    columns: dict[str, NDArray[np.float32]] = {}
    for table in tables.values():
        for name in table.columns:
            if name != "time" and len(table):
                columns[str(name)] = table[name].to_numpy(dtype=np.float32)
    if not columns:
        raise NetworkError(spec, "has no profiles")
    names = tuple(sorted(columns))
    return Profiles(names, np.ascontiguousarray(np.stack([columns[name] for name in names])))


def profile_index(time_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Quarter-hour 0…35,135 of SimBench's year 2016 in which each instant lies, (T,) int64.

    SimBench counts in CET without summer time. Another year maps by month, day and time of day.
    """
    cet = np.asarray(time_ns, np.int64) + 3_600_000_000_000
    moment = cet.astype("datetime64[ns]")
    month = moment.astype("datetime64[M]")
    into_month = (moment - month.astype("datetime64[ns]")).astype(np.int64)
    days = _DAYS_BEFORE_MONTH[month.astype(np.int64) % 12]
    return np.asarray(days * 96 + into_month // (STEP_S * 1_000_000_000), np.int64)
