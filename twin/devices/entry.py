"""What a scenario says of some devices, and the columns that this becomes.

An *entry* of a scenario's fleet is one line of YAML that becomes one resource or many. Each kind of device declares its
own entry, beside its model: the keys, their units and limits, and `lay_out`, which turns them into columns.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, Discriminator, Field, Strict, Tag

from twin.devices.functions import Functions
from twin.devices.sensor import Meter
from twin.series import Source
from vpp.fields import Count, Flag, Fraction, MvaRating, MwPerSecond, MwRating, Name, Part, Ratio, Where, bad, by_shape
from vpp.kernel.fleet import CONTROL_NONE
from vpp.kernel.settings import Settings
from vpp.kernel.signals import FloatArray, IntArray

PlaceName = Literal["loads", "sgens", "storages", "taps", "shunts", "buses", "lv_buses", "mv_buses"]
PV_TABLE, STORAGE_TABLE = 0, 1  # reactive capability: reduced at low power, or the whole band at any power


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
        description="loads, sgens, storages, taps, shunts, buses, lv_buses, mv_buses or a list of buses"
    )


class AtInverter(Part):
    """Behind the inverters of another entry's resources, one for one: they share its nameplate and its functions."""

    inverter_of: Name = Field(description="id of the entry that has the inverters (a PV, say)")


def _at_shape(value: object) -> str:
    if isinstance(value, AtInverter) or (isinstance(value, dict) and "inverter_of" in value):
        return "an inverter"
    if isinstance(value, AtSample) or (isinstance(value, dict) and not {"sample", "of"}.isdisjoint(value)):
        return "a sample"
    return by_shape(value)


At = Annotated[
    Annotated[PlaceName, Tag("text")]
    | Annotated[AtBuses, Tag("mapping")]
    | Annotated[AtSample, Tag("a sample")]
    | Annotated[AtInverter, Tag("an inverter")],
    Discriminator(_at_shape),
]


PhaseChoice = Literal["all", "a", "b", "c", "spread"]
PHASES = ("all", "a", "b", "c")


@dataclass(frozen=True, slots=True)
class Places:
    """Where the m resources of an entry stand.

    Attributes:
        bus: (m,) position of each one's bus in the network.
        row: (m,) row in ``table`` of the network's element that it stands for, -1 for a mere bus.
        table: the network's own elements that can lend this kind their ratings; None where they lend none.
        factor: (m,) ``scale`` with its ``spread``, a factor on every rating.
        cell: (m,) weather cell.
        random: the entry's own generator, by the scenario's seed.
        pv_profiles: names of the PV profiles at hand.
        time_ns: (T,) beginning of every step, UTC.
        dt_s: length of a step.
        zone: IANA time zone of the scenario's local times.
        nominal_hz: nominal frequency of the scenario.
    """

    bus: IntArray
    row: IntArray
    table: Any
    factor: FloatArray
    cell: IntArray
    random: np.random.Generator
    pv_profiles: tuple[str, ...]
    time_ns: IntArray
    dt_s: float
    zone: str
    nominal_hz: float = 50.0

    @property
    def m(self) -> int:
        """Number of resources."""
        return len(self.bus)


@dataclass(slots=True)
class Columns:
    """The m resources of an entry. Ratings are magnitudes, reactive power and bands are injections.

    Attributes:
        p_mw: rated active power.
        q_mvar: reactive power at rating.
        s_mva: nameplate apparent power of the inverter or generator; 0 where it has no reactive capability.
        sign: +1 where the rating is generation, -1 where it is consumption.
        control: CONTROL_NONE, CONTROL_LIMIT or CONTROL_FOLLOW.
        p_min_mw, p_max_mw, p_safe_mw: band, and what is asked of a resource that has been silent for too long.
        ramp_mw_per_s: fastest change that may be asked for.
        p_step_mw, p_gap_mw: size of a discrete step; smallest magnitude other than zero.
        e_mwh, soc, soc_min, soc_max: store; 0, NaN, 0, 1 where there is none.
        eff_charge, eff_discharge: one-way efficiencies.
        capability: PV_TABLE or STORAGE_TABLE.
        settings: of the inverter's own functions.
        series: what it follows over time, a list of m sources by role; "p" and "q" are factors on the ratings,
            every other role reaches the model as a column number in ``own`` (-1 for None).
        own: the model's own parameters, (m,) each.
        events: tables of any length; "device" is the resource (0…m-1) of each row.
    """

    p_mw: FloatArray
    q_mvar: FloatArray
    s_mva: FloatArray
    sign: FloatArray
    control: IntArray
    p_min_mw: FloatArray
    p_max_mw: FloatArray
    p_safe_mw: FloatArray
    ramp_mw_per_s: FloatArray
    p_step_mw: FloatArray
    p_gap_mw: FloatArray
    e_mwh: FloatArray
    soc: FloatArray
    soc_min: FloatArray
    soc_max: FloatArray
    eff_charge: FloatArray
    eff_discharge: FloatArray
    capability: IntArray
    settings: Settings
    series: dict[str, list[Source | None]] = field(default_factory=dict)
    own: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    events: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def generating(cls, p_mw: FloatArray) -> Columns:
        """Uncontrolled generation of this rating, without an inverter: what a kind starts from."""
        m = len(p_mw)
        zero, one = np.zeros(m), np.ones(m)
        return cls(
            p_mw=p_mw, q_mvar=zero, s_mva=zero, sign=one, control=np.full(m, CONTROL_NONE), p_min_mw=zero, p_max_mw=p_mw,
            p_safe_mw=p_mw, ramp_mw_per_s=np.full(m, np.inf), p_step_mw=zero, p_gap_mw=zero, e_mwh=zero, soc=np.full(m, np.nan),
            soc_min=zero, soc_max=one, eff_charge=one, eff_discharge=one, capability=np.full(m, PV_TABLE),
            settings=Settings.full(m, 0.0),
        )  # fmt: skip

    @classmethod
    def consuming(cls, p_mw: FloatArray) -> Columns:
        """Uncontrolled consumption of this rating."""
        columns = cls.generating(p_mw)
        columns.sign, columns.p_min_mw, columns.p_max_mw = -columns.sign, -p_mw, np.zeros(len(p_mw))
        columns.p_safe_mw = columns.p_max_mw
        return columns


class Entry(Part):
    """What every fleet entry has; its resources are called ``<id>-1``, ``<id>-2`` … (zero-padded)."""

    no_series: ClassVar[tuple[str, ...]] = ("at",)  # keys whose "file:…" is no day or year of values
    foreseen: ClassVar[bool] = True  # its power by itself follows from rating and profile
    native: ClassVar[str] = ""  # which of the network's tables can lend this kind its ratings; "" for none
    by_itself: ClassVar[bool] = False  # where nobody leads it, its own control and not a profile says what it takes or gives

    kind: str
    id: Name = Field(description="name of the entry, the beginning of its resources' names")
    at: At = Field(
        description="where: every load/sgen/storage/tap/shunt/bus, {buses: [...]}, {sample: n, of: ...} or {inverter_of: entry}"
    )
    phase: PhaseChoice = Field(
        "all", description="phase that each is connected to: all, a, b, c, or spread over the three in turn"
    )
    p_mw: MwRating | None = Field(None, description="rated power of each, a magnitude [MW]; default: the network element's own")
    scale: Ratio = Field(1.0, description="factor on the ratings, e.g. 1.5 for half as much again [1]")
    connection_mva: MvaRating | None = Field(None, description="what each connection may carry [MVA]; default: not limited")
    spread: Fraction = Field(0.0, description="ratings vary by ± this part, evenly, by the seed [1]")

    sensor: Meter | None = Field(None, description="its meters, where they differ from the scenario's sensors")

    @property
    def place(self) -> str:
        """Name of the places, or "" for a list of buses."""
        where = self.at.of if isinstance(self.at, AtSample) else self.at
        return where if isinstance(where, str) else ""

    @property
    def needs_weather(self) -> bool:
        """Whether these devices follow the scenario's weather."""
        return False

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Ratings must come from somewhere."""
        if self.p_mw is None and (not self.native or self.place != self.native):
            lend = f": only places of {self.native} bring a rating of their own" if self.native else ""
            yield ("p_mw",), f"p_mw is missing{lend}"

    def objections(self, count: int, step_s: float, profiles: Container[str]) -> Iterator[tuple[Where, str]]:
        """Yield what is wrong with the entry in its network: (path from here, message).

        Args:
            count: number of resources that it became.
            step_s: step of the simulation.
            profiles: names of the profiles at hand.
        """
        yield from ()

    def rating(self, places: Places) -> FloatArray:
        """(m,) rated power, a magnitude [MW]."""
        if self.p_mw is not None:
            return places.factor * self.p_mw
        return np.asarray(places.factor * np.abs(places.table.p_mw[places.row]))

    def lay_out(self, places: Places) -> Columns:
        """Turn the entry into columns, one row a place."""
        raise NotImplementedError

    def phases(self, m: int) -> IntArray:
        """(m,) index into PHASES of each of the entry's m resources."""
        if self.phase == "spread":
            return 1 + np.arange(m) % 3
        return np.full(m, PHASES.index(self.phase))


class InverterEntry(Functions, Entry):
    """What everything behind an inverter shares: a nameplate, functions of its own, and being controllable."""

    s_mva: MvaRating | None = Field(None, description="nameplate apparent power [MVA]; default: the sgen's own, else 1.1 · p_mw")
    ramp_mw_per_s: MwPerSecond | None = Field(None, description="fastest change that may be asked for [MW/s]; default: no limit")
    controls: ClassVar[int] = CONTROL_NONE  # how controllers act on it: CONTROL_LIMIT or CONTROL_FOLLOW
    controllable: Flag = Field(True, description="false: runs by itself, controllers only see it")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """The nameplate holds the active power."""
        yield from super().contradictions()
        if isinstance(self.at, AtInverter) and {"s_mva", *Functions.model_fields} & self.model_fields_set:
            yield ("at",), f"the inverter is that of {self.at.inverter_of}: s_mva and its functions stand there"
        if self.s_mva is not None and self.p_mw is not None and self.s_mva < self.p_mw:
            yield ("s_mva",), f"s_mva is below p_mw ({self.p_mw:g}): the inverter could never deliver its rating"

    def lay_out(self, places: Places) -> Columns:
        """Generation behind an inverter, between zero and what the inverter carries."""
        rating = self.rating(places)
        columns = Columns.generating(rating)
        columns.s_mva = self._nameplate(places, rating)
        columns.p_max_mw = columns.p_safe_mw = np.minimum(rating, columns.s_mva)
        columns.control = np.full(places.m, self.controls if self.controllable else CONTROL_NONE)
        if self.ramp_mw_per_s is not None:
            columns.ramp_mw_per_s = np.full(places.m, self.ramp_mw_per_s)
        self.fill(columns.settings, places.nominal_hz)
        if isinstance(self.at, AtInverter):
            columns.s_mva = np.zeros(places.m)
        return columns

    def _nameplate(self, places: Places, rating: FloatArray) -> FloatArray:
        """Apparent power: as stated, else the network element's own, else a tenth above active power."""
        if self.s_mva is not None:
            return places.factor * self.s_mva
        own = getattr(places.table, "s_mva", None)
        if own is not None and self.p_mw is None:
            return np.asarray(np.maximum(places.factor * own[places.row], rating))
        return 1.1 * rating
