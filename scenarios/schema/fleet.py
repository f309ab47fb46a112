"""The fleet: entries that each become one resource or many, and the groups that enclose them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Strict, Tag

from scenarios.schema.curves import VoltVarChoice, VoltWattChoice
from scenarios.schema.units import (
    Count,
    Flag,
    Fraction,
    MvaRating,
    MwhRating,
    MwPerSecond,
    MwRating,
    Name,
    Part,
    Ratio,
    Soc,
    Where,
    bad,
    by_shape,
)

PlaceName = Literal["loads", "sgens", "storages", "buses", "lv_buses", "mv_buses"]


def _one_or_more(values: tuple[int | str, ...]) -> tuple[int | str, ...]:
    if not values:
        raise bad("at least one bus is needed")
    return values


def _bus_shape(value: object) -> str:
    return "text" if isinstance(value, str) else "number"


Bus = Annotated[
    Annotated[int, Strict(), Tag("number")] | Annotated[str, Strict(), Tag("text")],
    Discriminator(_bus_shape),
]
BusList = Annotated[tuple[Bus, ...], AfterValidator(_one_or_more)]


class AtBuses(Part):
    """Named buses, one resource each."""

    buses: BusList = Field(description="bus names, or ids as the network's source numbers them")


class AtSample(Part):
    """Places drawn by the seed; more than there are means several at some, as evenly as it goes."""

    sample: Count = Field(description="number of resources")
    of: Annotated[Annotated[PlaceName, Tag("text")] | Annotated[BusList, Tag("list")], Discriminator(by_shape)] = Field(
        description="loads, sgens, storages, buses, lv_buses, mv_buses or a list of buses"
    )


def _at_shape(value: object) -> str:
    if isinstance(value, AtSample) or (isinstance(value, dict) and not {"sample", "of"}.isdisjoint(value)):
        return "a sample"
    return by_shape(value)


At = Annotated[
    Annotated[PlaceName, Tag("text")] | Annotated[AtBuses, Tag("mapping")] | Annotated[AtSample, Tag("a sample")],
    Discriminator(_at_shape),
]


class Entry(Part):
    """What every fleet entry has; its resources are called ``<id>-1``, ``<id>-2`` … (zero-padded)."""

    id: Name = Field(description="name of the entry, the beginning of its resources' names")
    at: At = Field(description="where: every load/sgen/storage/bus, {buses: [...]}, or {sample: n, of: ...}")
    p_mw: MwRating | None = Field(None, description="rated power of each, a magnitude [MW]; default: the network element's own")
    scale: Ratio = Field(1.0, description="factor on the ratings, e.g. 1.5 for half as much again [1]")
    spread: Fraction = Field(0.0, description="ratings vary by ± this part, evenly, by the seed [1]")

    @property
    def native(self) -> str:
        """Which of the network's tables can lend this kind its ratings."""
        raise NotImplementedError

    @property
    def place(self) -> str:
        """Name of the places, or "" for a list of buses."""
        where = self.at.of if isinstance(self.at, AtSample) else self.at
        return where if isinstance(where, str) else ""

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Ratings must come from somewhere."""
        if self.p_mw is None and self.place != self.native:
            yield ("p_mw",), f"p_mw is missing: only places of {self.native} bring a rating of their own"


class LoadEntry(Entry):
    """Consumers that follow a profile. Not controlled."""

    kind: Literal["load"]
    profile: str | None = Field(
        None, description="SimBench load profile or file:<csv>, factor of the rating; default: the load's own, else constant"
    )
    power_factor: Fraction = Field(1.0, description="cos φ, inductive, where p_mw is given [1]")

    @property
    def native(self) -> str:
        """A load's ratings come from loads."""
        return "loads"

    @property
    def controllable(self) -> bool:
        """Loads only follow their profile."""
        return False

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """A power factor belongs to a stated rating."""
        yield from super().contradictions()
        if self.power_factor == 0:
            yield ("power_factor",), "power_factor must be more than 0"
        if self.p_mw is None and self.power_factor != 1:
            yield ("power_factor",), "the load's own reactive power is used where p_mw is not given"


class Inverter(Entry):
    """What PV and batteries share: an inverter with curves of its own."""

    s_mva: MvaRating | None = Field(None, description="nameplate apparent power [MVA]; default: the sgen's own, else 1.1 · p_mw")
    volt_var: VoltVarChoice = Field("off", description="off, A or B (IEEE 1547-2018 categories), or a curve")
    volt_watt: VoltWattChoice = Field("off", description="off, on (IEEE 1547-2018 defaults), or a curve")
    ramp_mw_per_s: MwPerSecond | None = Field(None, description="fastest change that may be asked for [MW/s]; default: no limit")
    controllable: Flag = Field(True, description="false: runs by itself, controllers only see it")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """The nameplate holds the active power."""
        yield from super().contradictions()
        if self.s_mva is not None and self.p_mw is not None and self.s_mva < self.p_mw:
            yield ("s_mva",), f"s_mva is below p_mw ({self.p_mw:g}): the inverter could never deliver its rating"


class PvEntry(Inverter):
    """Sources whose available power follows a profile: PV, and any other sgen of the network."""

    kind: Literal["pv"]
    profile: str | None = Field(
        None, description="SimBench profile or file:<csv>, factor of the rating; default: the sgen's own, else PV by the seed"
    )

    @property
    def native(self) -> str:
        """A source's ratings come from sgens."""
        return "sgens"


class BatteryEntry(Inverter):
    """Batteries: energy, state of charge and one-way efficiency."""

    kind: Literal["battery"]
    e_mwh: MwhRating | None = Field(None, description="usable energy of each [MWh]; default: the storage's own")
    soc: Soc | None = Field(None, description="state of charge at the start, 0…1; default: the storage's own, else 0.5")
    soc_min: Soc = Field(0.05, description="lowest state of charge, 0…1")
    soc_max: Soc = Field(0.95, description="highest state of charge, 0…1")
    efficiency: Fraction = Field(0.95, description="one-way efficiency, charging and discharging each [1]")

    @property
    def native(self) -> str:
        """A battery's ratings come from storages."""
        return "storages"

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """The state of charge lies in its band."""
        yield from super().contradictions()
        if self.e_mwh is None and self.place != self.native:
            yield ("e_mwh",), f"e_mwh is missing: only places of {self.native} bring an energy of their own"
        if self.soc_min >= self.soc_max:
            yield ("soc_min",), f"soc_min is not below soc_max ({self.soc_max:g})"
        elif self.soc is not None and not self.soc_min <= self.soc <= self.soc_max:
            yield ("soc",), f"soc is outside soc_min…soc_max ({self.soc_min:g}…{self.soc_max:g})"
        if self.efficiency == 0:
            yield ("efficiency",), "efficiency must be more than 0"


FleetEntry = Annotated[LoadEntry | PvEntry | BatteryEntry, Field(discriminator="kind")]


class Group(Part):
    """Resources with a common border: a feeder, a site, a transformer. ``pcc`` encloses everything and always exists."""

    name: Name = Field(description="name of the group")
    parent: str = Field("pcc", description="the group around it")
    members: tuple[str, ...] = Field((), description="fleet entry ids, or resource names with * and ?")
    buses: tuple[Bus, ...] = Field((), description="every resource at these buses")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """The root is not declared."""
        if self.name == "pcc":
            yield ("name",), "pcc always exists and encloses everything; give this group another name"
