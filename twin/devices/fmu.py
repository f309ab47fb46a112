"""Functional mock-up units as devices: whatever FMI 2.0 or 3.0 unit for co-simulation, tied to a bus.

The unit is the truth about itself. Over step k it is told what was asked, the voltage and the frequency of step k-1 and
the step's profiles; it is stepped to the end of the step; its power over the step is the mean over its communication
steps, its state of charge is told as it was at the step's beginning. A unit that refuses a step is out for the rest of
the run: it delivers nothing, and what is seen of it is invalid.
"""

from __future__ import annotations

import logging
import tempfile
import weakref
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator, Discriminator, Field, Tag

from twin.devices.entry import STORAGE_TABLE, AtBuses, AtSample, Columns, Entry, Places
from twin.devices.model import DeviceModel, Offer, StepInput
from twin.fmi.describe import Description, describe
from twin.fmi.lane import Lane, communication_steps
from twin.fmi.unit import UnitFailed, unpack
from twin.fmi.wiring import ASKED, TOLD, Tie, WeatherChannel, Wiring, mistakes
from twin.series import FileProfile, NetworkProfile, Source, read_series
from twin.spec import FleetSpec
from vpp.fields import FileRef, Flag, Fraction, MvaRating, Mw, MwhRating, Number, Part, Soc, StepSeconds, Where, bad, by_shape
from vpp.kernel.errors import DeviceError
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE
from vpp.kernel.near import did_you_mean
from vpp.kernel.setpoints import FOLLOW, LIMIT, Setpoints
from vpp.kernel.signals import FloatArray, IntArray

_LOG = logging.getLogger(__name__)
_SOURCES = ("file:", "profile:", "weather:")
_P, _Q, _FOLLOW, _SOC = Offer.p_mw.row, Offer.q_mvar.row, Offer.follow_q.row, Offer.soc.row
_MIN, _MAX = Offer.p_avail_min_mw.row, Offer.p_avail_max_mw.row
_ROW = {name: getattr(Offer, name).row for name in TOLD}


def _of(value: str) -> str:
    if value not in ASKED and not (value.startswith(_SOURCES) and value not in _SOURCES):
        known = f"{', '.join(ASKED)}, file:<csv>, profile:<SimBench profile> or weather:<channel>"
        raise bad(f"must be one of {known}{did_you_mean(value, ASKED)}")
    return value


def _start(value: Any) -> Any:
    if not isinstance(value, bool | int | float | str):
        raise bad("must be a number, a truth value or a text")
    return value


Of = Annotated[str, AfterValidator(_of)]


class Told(Part):
    """A variable that the unit tells us: ours = scale · variable + offset."""

    variable: str = Field(description="name of the unit's variable")
    scale: Number = Field(1.0, description="factor into our unit; negative where the unit counts consumption positive")
    offset: Number = Field(0.0, description="added after scaling")


class Asked(Part):
    """What an input of the unit is told: variable = scale · of + offset."""

    of: Of = Field(description="a quantity of ours, file:<csv>, profile:<SimBench profile>, or weather:<channel>")
    scale: Number = Field(1.0, description="factor into the unit's own unit of measurement")
    offset: Number = Field(0.0, description="added after scaling")


Out = Annotated[Annotated[str, Tag("text")] | Annotated[Told, Tag("mapping")], Discriminator(by_shape)]
In = Annotated[Annotated[Of, Tag("text")] | Annotated[Asked, Tag("mapping")], Discriminator(by_shape)]


class Outputs(Part):
    """Which variable is which of ours; injection is positive."""

    p_mw: Out = Field(description="active power [MW]")
    q_mvar: Out | None = Field(None, description="reactive power [Mvar]; default: 0")
    soc: Out | None = Field(None, description="state of charge, 0…1")
    p_avail_min_mw: Out | None = Field(None, description="lowest power that could be delivered [MW]; default: by the rating")
    p_avail_max_mw: Out | None = Field(None, description="highest power that could be delivered [MW]; default: by the rating")
    e_need_mwh: Out | None = Field(None, description="energy still to be taken up until a deadline [MWh]")
    t_depart_s: Out | None = Field(None, description="time until that deadline [s]")


class FmuEntry(Entry):
    """Functional mock-up units: FMI 2.0 or 3.0, for co-simulation. Asked for power if an input is tied to it."""

    no_series: ClassVar[tuple[str, ...]] = ("at", "file")
    foreseen: ClassVar[bool] = False

    kind: Literal["fmu"]
    file: FileRef = Field(description="file:<unit.fmu>")
    flow: Literal["both", "gives", "takes"] = Field("both", description="whether power is given, taken or both")
    s_mva: MvaRating | None = Field(None, description="nameplate, where reactive power is asked of it [MVA]")
    parameters: dict[str, Annotated[Any, AfterValidator(_start)]] = Field({}, description="start values by variable")
    inputs: dict[str, In] = Field({}, description="what each input of the unit is told")
    outputs: Outputs = Field(description="which variable is which of ours")
    communication_step_s: StepSeconds | None = Field(None, description="longest step of the unit [s]; default: the scenario's")
    controllable: Flag = Field(True, description="false: runs by itself, controllers only see it")
    expected_p_mw: Mw = Field(0.0, description="power by itself that forecasts count with, injection positive [MW]")
    e_mwh: MwhRating | None = Field(None, description="usable energy, where it is a store [MWh]")
    soc_min: Soc = Field(0.0, description="lowest state of charge, 0…1")
    soc_max: Soc = Field(1.0, description="highest state of charge, 0…1")
    efficiency: Fraction = Field(1.0, description="one-way efficiency that plans count with [1]")

    @property
    def wiring(self) -> Wiring:
        """The ties to the unit's variables."""
        inputs = [(name, tie if isinstance(tie, Asked) else Asked(of=tie)) for name, tie in self.inputs.items()]
        said = ((ours, getattr(self.outputs, ours)) for ours in TOLD)
        outputs = [(ours, tie if isinstance(tie, Told) else Told(variable=tie)) for ours, tie in said if tie is not None]
        return Wiring(
            self.file,
            tuple(self.parameters.items()),
            tuple(Tie(name, tie.of, tie.scale, tie.offset) for name, tie in inputs),
            tuple(Tie(tie.variable, ours, tie.scale, tie.offset) for ours, tie in outputs),
            self.communication_step_s or 0.0,
        )

    @property
    def control(self) -> int:
        """How controllers act on it: as its inputs let them."""
        told = {tie.ours for tie in self.wiring.inputs} if self.controllable else set()
        return CONTROL_FOLLOW if "p_mw" in told else CONTROL_LIMIT if "p_limit_mw" in told else CONTROL_NONE

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """The unit can be run here, and has what the entry ties to."""
        yield from super().contradictions()
        wiring = self.wiring
        if self.e_mwh is not None and self.outputs.soc is None:
            yield ("outputs",), "a store (e_mwh) must tell its state of charge: soc is missing"
        if self.soc_min >= self.soc_max:
            yield ("soc_min",), f"soc_min is not below soc_max ({self.soc_max:g})"
        if self.efficiency == 0:
            yield ("efficiency",), "efficiency must be more than 0"
        if self.s_mva is None and any(tie.ours == "q_mvar" for tie in wiring.inputs):
            yield ("s_mva",), "s_mva is missing: without a nameplate no reactive power is asked of it"
        for tie in wiring.inputs:
            if tie.ours.startswith("file:") and Path(tie.ours[5:]).is_file():
                try:
                    read_series(tie.ours)
                except ValueError as error:
                    yield ("inputs", tie.variable), str(error)
        if not wiring.path.is_file():
            return  # reading a scenario has said so
        try:
            description = describe(wiring.path)
        except ValueError as error:
            yield ("file",), str(error)
            return
        yield from mistakes(wiring, description)
        where = self.at.buses if isinstance(self.at, AtBuses) else ()
        if description.only_once and (self.at.sample if isinstance(self.at, AtSample) else len(where)) > 1:
            yield ("at",), f"{wiring.path.name} can be instantiated only once in a process"

    def objections(self, count: int, step_s: float, profiles: Container[str]) -> Iterator[tuple[Where, str]]:
        """Profiles that are not at hand, one place for a unit that allows no more, steps that the unit cannot take."""
        wiring = self.wiring
        for tie in wiring.inputs:
            if tie.ours.startswith("profile:") and tie.ours[8:] not in profiles:
                yield ("inputs", tie.variable), f"no profile {tie.ours[8:]!r} is at hand"
        try:
            description = describe(wiring.path)
        except ValueError as error:
            yield ("file",), str(error)
            return
        if description.only_once and count > 1:
            yield ("at",), f"{wiring.path.name} can be instantiated only once in a process, not {count} times"
        h_s = step_s / communication_steps(wiring.step_s, step_s)
        fixed = description.fixed_step_s
        if fixed and abs(h_s / fixed - round(h_s / fixed)) > 1e-6:
            message = f"{wiring.path.name} takes steps of {fixed:g} s inside, of which {h_s:g} s is no multiple"
            yield ("communication_step_s",), message

    def lay_out(self, places: Places) -> Columns:
        """One unit a place."""
        rating, m = self.rating(places), places.m
        columns = Columns.consuming(rating) if self.flow == "takes" else Columns.generating(rating)
        if self.flow == "both":
            columns.p_min_mw = -rating
        columns.p_safe_mw = np.zeros(m) if self.control == CONTROL_FOLLOW else columns.p_max_mw
        columns.control = np.full(m, self.control)
        if self.s_mva is not None:
            columns.s_mva, columns.capability = places.factor * self.s_mva, np.full(m, STORAGE_TABLE)
        if self.e_mwh is not None:
            columns.e_mwh, columns.soc = places.factor * self.e_mwh, np.full(m, (self.soc_min + self.soc_max) / 2)
            columns.soc_min, columns.soc_max = np.full(m, self.soc_min), np.full(m, self.soc_max)
            columns.eff_charge = columns.eff_discharge = np.full(m, self.efficiency)
        wiring = np.empty(m, np.object_)
        wiring[:] = [self.wiring] * m
        columns.own = {"wiring": wiring, "expected_mw": np.full(m, self.expected_p_mw)}
        for tie in self.wiring.inputs:
            if tie.ours.startswith(_SOURCES):
                columns.series[f"of {tie.ours}"] = [_source(tie.ours, int(cell)) for cell in places.cell]
        return columns


def _source(of: str, cell: int) -> Source:
    """The source that an input is tied to."""
    kind, _, name = of.partition(":")
    if kind == "weather":
        return WeatherChannel(name, cell)
    return FileProfile(of) if kind == "file" else NetworkProfile(name)


class Fmu(DeviceModel):
    """Units, an instance for each resource, made when the first step begins (other copies of the model never need any)."""

    kind: ClassVar[str] = "fmu"
    entry: ClassVar[type[Entry]] = FmuEntry

    def __init__(self, at: IntArray, spec: FleetSpec) -> None:
        """Keep the columns of these devices; nothing is loaded yet."""
        super().__init__(at, spec)
        m = len(at)
        self.memory = {
            "failed": np.zeros(m, np.bool_),
            "soc_after": np.full(m, np.nan),
            "delivered": np.zeros(m),
            "held": np.full((m, max((len(w.inputs) for w in self.own["wiring"]), default=0)), np.nan),
        }
        self._lanes: list[Lane] = []
        self._units: dict[str, tuple[Description, Path]] = {}

    def offer(self, given: StepInput, out: FloatArray) -> None:
        """Step every unit to the end of this step."""
        if not self._lanes:
            self._begin()
            given.soc[self.at] = self.memory["soc_after"]
        asked = self._asked(given)
        for j, lane in enumerate(self._lanes):
            i = self.at[j]
            told = self._told(lane, j, given, asked[:, j])
            if told is None:
                out[[_P, _Q, _MIN, _MAX, _SOC], i], out[_FOLLOW, i] = np.nan, 1.0
                continue
            f, on = self.spec.fleet, asked[_CONNECT, j]
            out[_P, i], out[_Q, i], out[_FOLLOW, i], out[_SOC, i] = told["p_mw"] * on, 0.0, 1.0, given.soc[i]
            free = f.control[i] == CONTROL_FOLLOW
            low = f.p_min_mw[i] if free else min(told["p_mw"], 0.0) if f.control[i] == CONTROL_LIMIT else told["p_mw"]
            out[_MIN, i], out[_MAX, i] = low * on, (f.p_max_mw[i] if free else told["p_mw"]) * on
            for name, value in told.items():
                if name not in ("p_mw", "soc"):
                    out[_ROW[name], i] = value * on if name.endswith(("_mw", "_mvar")) else value
            self.memory["soc_after"][j] = told.get("soc", np.nan)

    def _told(self, lane: Lane, j: int, given: StepInput, asked: FloatArray) -> dict[str, float] | None:
        """What the unit tells after this step; None once it has failed."""
        if self.memory["failed"][j]:
            return None
        try:
            return lane.step(given.t_s, given.dt_s, asked, given.profile, self.memory["held"][j])
        except UnitFailed as error:
            _LOG.error("%s at %g s: %s", lane.name, given.t_s, error)
            self.memory["failed"][j] = True
            self.memory["soc_after"][j] = np.nan
            lane.unit.close(orderly=False)
            return None

    def _asked(self, given: StepInput) -> FloatArray:
        """What each unit is told of us, (len(ASKED), m); NaN where it is not known: then the last value holds."""
        sheet, at, fleet = Setpoints(given.applied), self.at, self.spec.fleet
        follow, limit, on = sheet.mode[at] == FOLLOW, sheet.mode[at] == LIMIT, sheet.connect[at] != 0.0
        most = fleet.p_max_mw[at]
        vm = np.full(len(at), np.nan) if given.vm_pu is None else given.vm_pu[at]
        dead = fleet.terminal.node[np.searchsorted(fleet.terminal.resource, at)] < 0
        rows = {
            "p_mw": np.where(follow & on, sheet.p_mw[at], 0.0),
            "p_limit_mw": np.where(on, np.where(limit, np.minimum(sheet.p_limit_mw[at], most), most), 0.0),
            "q_mvar": np.where((sheet.q_mode[at] == FOLLOW) & on, sheet.q_mvar[at], 0.0),
            "v_ref_pu": sheet.v_ref_pu[at],
            "mode": sheet.mode[at],
            "q_mode": sheet.q_mode[at],
            "connect": on.astype(np.float64),
            "p_delivered_mw": self.memory["delivered"],
            "vm_pu": np.where(dead, 0.0, vm),
            "f_hz": np.full(len(at), given.f_hz),
        }
        return np.stack([rows[name] for name in ASKED])

    def settle(self, given: StepInput, p_mw: FloatArray) -> None:
        """Take over the charge after the step, and what was delivered."""
        given.soc[self.at] = self.memory["soc_after"]
        self.memory["delivered"][:] = p_mw[self.at]

    def expect(self, profile: Any) -> FloatArray:
        """What the entry says that it expects; 0 for what follows."""
        led = self.spec.fleet.control[self.at] == CONTROL_FOLLOW
        return np.broadcast_to(np.where(led, 0.0, self.own["expected_mw"]), (len(profile), len(self.at))).copy()

    def _begin(self) -> None:
        """Make and initialise all instances."""
        wirings: list[Wiring] = list(self.own["wiring"])
        if not self._units:
            self._unpack(wirings)
        for j, wiring in enumerate(wirings):
            column = {tie.ours: int(self.own[f"of {tie.ours}"][j]) for tie in wiring.inputs if f"of {tie.ours}" in self.own}
            lane = Lane(self.spec.fleet.id[self.at[j]], wiring, *self._units[wiring.file], column)
            self._lanes.append(lane)
            self.memory["soc_after"][j] = lane.begin(self.memory["held"][j])

    def _unpack(self, wirings: list[Wiring]) -> None:
        """Unpack each file once; the folder and all instances go with this model."""
        folder = tempfile.TemporaryDirectory(prefix="vpp-fmu-")
        weakref.finalize(self, _close, self._lanes, folder)
        for file in dict.fromkeys(wiring.file for wiring in wirings):
            path, count = Path(file.removeprefix("file:")), sum(wiring.file == file for wiring in wirings)
            try:
                description = describe(path)
            except ValueError as error:
                raise DeviceError(path.name, str(error)) from error
            if description.only_once and count > 1:
                raise DeviceError(path.name, f"can be instantiated only once in a process, not {count} times")
            self._units[file] = description, unpack(description, Path(folder.name))

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on.

        Raises:
            DeviceError: a unit cannot give its state away.
        """
        if not self._lanes:
            self._begin()
        inside = {f"unit {j}": self._inside(j) for j in range(len(self.at))}
        return {**super().state(), **inside}

    def _inside(self, j: int) -> Any:
        data = b"" if self.memory["failed"][j] else self._lanes[j].unit.state()
        return np.frombuffer(data, np.uint8).copy()

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a remembered state; a unit that had failed then stays out, one that failed since starts anew."""
        _close_lanes(self._lanes)
        self._begin()
        super().restore(state)
        for j, lane in enumerate(self._lanes):
            if self.memory["failed"][j]:
                lane.unit.close()
            else:
                lane.unit.restore(state[f"unit {j}"].tobytes())


_CONNECT = list(ASKED).index("connect")


def _close_lanes(lanes: list[Lane]) -> None:
    for lane in lanes:
        lane.unit.close()
    lanes.clear()


def _close(lanes: list[Lane], folder: tempfile.TemporaryDirectory[str]) -> None:
    """Let all instances go, then what they were unpacked into."""
    _close_lanes(lanes)
    folder.cleanup()
