"""Heat pumps by type: hplib's fitted coefficients, read from its database without its heavy libraries.

hplib 1.9 (MIT): K. Marx et al., HTW Berlin; fits of Keymark and BAFA data. Electrical power, of that at the reference
point, and COP are planes over source temperature, flow temperature and ambient temperature.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path

GENERIC = "Generic"
_POINT_C = {1: -7.0, 4: -7.0, 2: 0.0, 5: 0.0, 3: 10.0, 6: 10.0}  # source temperature of hplib's reference point, by group
_EL = ("p1_P_el_h [1/°C]", "p2_P_el_h [1/°C]", "p3_P_el_h [-]", "p4_P_el_h [1/°C]")
_COP = ("p1_COP [-]", "p2_COP [-]", "p3_COP [-]", "p4_COP [-]")


@dataclass(frozen=True, slots=True)
class HeatPumpType:
    """One type, heating only.

    Attributes:
        group: hplib's: 1 air, 2 brine, 3 water, regulated; 4, 5, 6 the same, on and off.
        p_el_mw: electrical power at the reference point; 0 for a generic one, which has none.
        p_th_per_el: thermal power there, of the electrical one.
        el: coefficients of electrical power for source, flow, 1 and ambient, of that at the reference point.
        cop: the same of the COP.
    """

    group: int
    p_el_mw: float
    p_th_per_el: float
    el: tuple[float, ...]
    cop: tuple[float, ...]

    @property
    def air(self) -> bool:
        """Whether its source is the ambient air."""
        return self.group in (1, 4)

    @property
    def regulated(self) -> bool:
        """Whether its compressor is inverter-driven."""
        return self.group <= 3


def heat_pump_type(model: str, group: int) -> HeatPumpType:
    """Look a type up; ``group`` counts for the generic one.

    Raises:
        KeyError: there is no such type; the message says what may be meant.
    """
    types = _types()
    key = (model, group if model == GENERIC else 0)
    if model == GENERIC and key not in types:
        raise KeyError(f"hplib has no generic heat pump of group {group}")
    if key not in types:
        near = get_close_matches(model, sorted({name for name, _ in types}), 1)
        raise KeyError(f"no heat pump {model!r} in hplib's database" + (f", did you mean {near[0]!r}?" if near else ""))
    return types[key]


@cache
def _types() -> dict[tuple[str, int], HeatPumpType]:
    """Every type that can heat, by model and, for the generic ones, group. The first of equal names counts, as in hplib."""
    spec = find_spec("hplib")
    folder = Path((spec.submodule_search_locations or ["."])[0]) if spec is not None else Path()
    found: dict[tuple[str, int], HeatPumpType] = {}
    with (folder / "hplib_database.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            model, group = row["Model"], int(float(row["Group"]))
            if not row[_EL[0]]:
                continue  # hplib has no fit of a generic water pump that is regulated
            el, cop = (tuple(float(row[name]) for name in names) for names in (_EL, _COP))
            if model == GENERIC:
                point = (_POINT_C[group], 52.0, 1.0, -7.0)
                each = HeatPumpType(group, 0.0, sum(c * x for c, x in zip(cop, point)), el, cop)
            else:
                p_el, p_th = float(row["P_el_h_ref [W]"]), float(row["P_th_h_ref [W]"])
                each = HeatPumpType(group, p_el / 1e6, p_th / p_el, el, cop)
            found.setdefault((model, group if model == GENERIC else 0), each)
    return found
