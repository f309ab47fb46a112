"""Wind turbines: available power by the wind at the hub, limited by command like a PV plant's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from twin.devices.entry import Columns, Entry, InverterEntry, Places
from twin.devices.pv import Pv
from twin.devices.wind_source import Turbine, WindSource, turbines
from vpp.fields import Flag, Fraction, Number, Ratio, Where, bad
from vpp.grid.source import suggest
from vpp.kernel.fleet import CONTROL_LIMIT
from vpp.kernel.signals import FloatArray


def _hub(value: float) -> float:
    if not 10 < value <= 300:
        raise bad("a hub stands more than 10 m and at most 300 m above the ground")
    return value


def _roughness(value: float) -> float:
    if not 1e-5 <= value <= 3:
        raise bad("a roughness length lies between 0.00001 m (water) and 3 m (city)")
    return value


class WindEntry(InverterEntry):
    """Wind turbines of windpowerlib's library, one a resource; ``scale`` makes a farm of one."""

    controls: ClassVar[int] = CONTROL_LIMIT

    kind: Literal["wind"]
    turbine: str = Field(description="type as windpowerlib names it, e.g. E-126/4200; p_mw is its own by default")
    hub_height_m: Annotated[Number, AfterValidator(_hub)] | None = Field(
        None, description="height of the hub [m]; default: the lowest that the type is sold with"
    )
    roughness_m: Annotated[Number, AfterValidator(_roughness)] = Field(
        0.1, description="roughness length: 0.0002 water, 0.03 meadows, 0.1 fields, 0.4 villages and woods [m]"
    )
    wake_share: Fraction = Field(0.0, description="share of the energy that the wakes of neighbours take [1]")
    density_correction: Flag = Field(True, description="the power curve follows the density of the air")
    storm_hysteresis_m_s: Ratio = Field(
        0.0, description="stopped by a storm, it starts again when the wind at the hub is this much below cut-out, often 3 [m/s]"
    )

    @property
    def needs_weather(self) -> bool:
        """They do."""
        return True

    @property
    def type(self) -> Turbine | None:
        """The type's data, None where there is no such type."""
        return turbines().get(self.turbine)

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """The type exists, and a hub carries its rotor."""
        # The type brings a rating of its own, wherever it stands.
        yield from ((where, message) for where, message in super().contradictions() if where != ("p_mw",))
        if self.type is None:
            yield ("turbine",), f"no turbine {self.turbine!r} with a power curve{suggest(self.turbine, list(turbines()))}"
            return
        hub_m = self.type.hub_m if self.hub_height_m is None else self.hub_height_m
        if math.isnan(hub_m):
            yield ("hub_height_m",), f"hub_height_m is missing: the library names none for {self.turbine}"
        elif hub_m <= self.type.rotor_m / 2:
            yield ("hub_height_m",), f"the rotor of {self.type.rotor_m:g} m would touch the ground"
        if self.p_mw is None and self.s_mva is not None and self.s_mva < self.type.p_mw:
            yield ("s_mva",), f"s_mva is below the turbine's {self.type.p_mw:g} MW"

    def rating(self, places: Places) -> FloatArray:
        """(m,) rated power, the type's own unless stated [MW]."""
        assert self.type is not None
        return places.factor * (self.type.p_mw if self.p_mw is None else self.p_mw)

    def lay_out(self, places: Places) -> Columns:
        """Generation that can be limited."""
        columns = super().lay_out(places)
        assert self.type is not None
        hub_m = self.type.hub_m if self.hub_height_m is None else self.hub_height_m
        about = (self.turbine, hub_m, self.roughness_m, self.wake_share, self.density_correction, self.storm_hysteresis_m_s)
        columns.series["p"] = [WindSource(cell, *about) for cell in places.cell.tolist()]
        return columns


class Wind(Pv):
    """Wind turbines: rated power times what the wind gives, at most the inverter's rating and the commanded limit."""

    kind: ClassVar[str] = "wind"
    entry: ClassVar[type[Entry]] = WindEntry
