"""The frequency: given, or the result of inertia, governors, droop and load; and islands that a resource forms."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import Discriminator, Field, Tag

from scenarios.schema.series import read_csv
from vpp.fields import (
    FileRef,
    Fraction,
    Hertz,
    MvaRating,
    MwMagnitude,
    MwPerSecond,
    MwRating,
    Name,
    Number,
    Part,
    Pu,
    Ratio,
    Seconds,
    StepSeconds,
    Where,
    by_shape,
)
from vpp.kernel.signals import FloatArray

Pairs = tuple[tuple[Number, Hertz], ...]
Droop = Annotated[Fraction, Field(gt=0.0)]


class SheddingStage(Part):
    """A stage of under-frequency load shedding."""

    f_hz: Hertz = Field(description="acts below this frequency [Hz]")
    share: Fraction = Field(description="part of the island's load that it takes off [1]")
    delay_s: Seconds = Field(0.15, description="time below f_hz until the load is off [s]")


def _stages(*pairs: tuple[float, float], delay_s: float) -> tuple[SheddingStage, ...]:
    return tuple(SheddingStage(f_hz=f, share=share, delay_s=delay_s) for f, share in pairs)


# Sets by name, for 50 Hz. "unverified": from general knowledge, to be checked against the regulation before use.
#
# nc_er: Regulation (EU) 2017/2196 (NC ER), annex, Continental Europe: begins at 49.0 Hz, 45 % of load by 48.0 Hz, at
# least six steps of at most 10 % each, at most 150 ms. Unverified; the equal division of the steps is ours.
# four_step: 12.5 % each at 49.0, 48.8, 48.6, 48.4 Hz, an older German example as mainsfrequency.com reports it after
# FNN; read there, its delay is unverified.
UFLS: Final = {
    "nc_er": _stages((49.0, 0.075), (48.8, 0.075), (48.6, 0.075), (48.4, 0.075), (48.2, 0.075), (48.0, 0.075), delay_s=0.15),
    "four_step": _stages((49.0, 0.125), (48.8, 0.125), (48.6, 0.125), (48.4, 0.125), delay_s=0.15),
}
UflsChoice = Annotated[
    Annotated[Literal["off", "nc_er", "four_step"], Tag("text")] | Annotated[tuple[SheddingStage, ...], Tag("list")],
    Discriminator(by_shape),
]


class FleetDroop(Part):
    """Droop of some of the fleet's resources, beyond what their inverters' own settings say."""

    resources: str = Field(description="a fleet entry, a group, or resource names with * and ?")
    droop: Droop = Field(0.05, description="change of frequency, of nominal, for the rated power [1]")
    deadband_hz: Number = Field(0.036, ge=0.0, description="on either side of nominal [Hz]; IEEE 1547-2018, 6.5.2.7: 0.036")
    response_s: Seconds = Field(5.0, description="open-loop response time to 90 % [s]; 0: at once")


class Swinging(Part):
    """What every island that swings has."""

    inertia_s: StepSeconds = Field(5.0, description="inertia constant H: kinetic energy over rated power [s]")
    load_self_regulation: Ratio = Field(0.0, description="of the fleet's loads: pu of power for a pu of frequency [1]")
    droop: tuple[FleetDroop, ...] = Field((), description="droop of resources of the fleet")
    secondary_s: StepSeconds | None = Field(
        None, description="integration time of the secondary control that brings the frequency back [s]; default: none"
    )
    ufls: UflsChoice = Field(
        "off", description="under-frequency load shedding: off, nc_er or four_step (50 Hz; unverified values), or stages"
    )
    low_hz: Hertz | None = Field(
        None, description="below this everything separates and the island is dead [Hz]; default: 0.95 of nominal"
    )
    high_hz: Hertz | None = Field(None, description="the same above [Hz]; default: 1.03 of nominal")
    substep_s: StepSeconds = Field(0.05, le=0.05, description="longest sub-step of the swing model [s], 0.05 at most")

    @property
    def stages(self) -> tuple[SheddingStage, ...]:
        """The stages of load shedding."""
        if isinstance(self.ufls, str):
            return UFLS.get(self.ufls, ())
        return self.ufls

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Stages follow one another, and what is shed is there."""
        if isinstance(self.ufls, str):
            return
        if any(b.f_hz >= a.f_hz for a, b in itertools.pairwise(self.ufls)):
            yield ("ufls",), "the frequencies of the stages must descend"
        if sum(stage.share for stage in self.ufls) > 1.0 + 1e-9:
            yield ("ufls",), "the stages shed more than all load"


class Governor(Part):
    """A power station of the rest of the system, seen through its governor."""

    id: Name = Field(description="name of the governor")
    p_mw: MwRating = Field(description="rated power that its droop refers to [MW]")
    droop: Droop = Field(0.05, description="change of frequency, of nominal, for the rated power [1]")
    deadband_hz: Number = Field(0.0, ge=0.0, description="on either side of nominal [Hz]")
    up_mw: MwMagnitude | None = Field(None, description="how far above its dispatch it can go [MW]; default: p_mw")
    down_mw: MwMagnitude | None = Field(None, description="how far below its dispatch it can go [MW]; default: p_mw")
    valve_s: Seconds = Field(0.3, description="time constant of valve or gate [s]; 0: none")
    turbine_s: Seconds = Field(0.5, description="time constant of turbine or reheater [s]; 0: none")
    fast_share: Fraction = Field(0.0, description="part of the power that does not pass turbine_s (before a reheater) [1]")
    ramp_mw_per_s: MwPerSecond | None = Field(None, description="fastest change [MW/s]; default: no limit")
    secondary: Ratio = Field(0.0, description="weight in the secondary control [1]; 0: takes no part")


class FrequencyEvent(Part):
    """Generation that the rest of the system loses."""

    at_s: Seconds = Field(description="when, since the start of the run [s]; acts from the sub-step that begins then")
    p_mw: Number = Field(description="lost generation [MW]; below zero: lost load", json_schema_extra={"unit": "MW"})
    until_s: Seconds | None = Field(None, description="when it is back, since the start [s]; default: never")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """It ends after it begins."""
        if self.until_s is not None and self.until_s <= self.at_s:
            yield ("until_s",), f"until_s is not after at_s ({self.at_s:g})"


class Frequency(Swinging):
    """The frequency of the public grid: a profile, or a swing model of the rest of the system."""

    model: Literal["profile", "swing"] = Field("profile", description="profile: given; swing: it answers to what happens")
    nominal_hz: Hertz = Field(50.0, description="nominal frequency [Hz]")
    profile: Annotated[Annotated[Pairs, Tag("list")] | Annotated[FileRef, Tag("text")], Discriminator(by_shape)] = Field(
        (), description="[seconds since the start, Hz] pairs, linear between them, or file:<csv> of such rows; default: nominal"
    )
    base_mva: MvaRating = Field(100.0, description="rated power of all that spins in the rest of the system [MVA]")
    damping: Ratio = Field(1.0, description="self-regulation of its load: pu of base_mva for a pu of frequency [1]")
    load_mw: MwMagnitude = Field(0.0, description="load of the rest of the system that load shedding acts on [MW]")
    governors: tuple[Governor, ...] = Field((), description="primary control of the rest of the system")
    events: tuple[FrequencyEvent, ...] = Field((), description="generation that the rest of the system loses")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Time goes forward, hertz are near nominal, and a key belongs to its model."""
        yield from super().contradictions()
        if self.model == "swing":
            yield from self._swing_contradictions()
        else:
            swings = {*Swinging.model_fields, "base_mva", "damping", "load_mw", "governors", "events"}
            for key in sorted(swings & self.model_fields_set):
                if getattr(self, key) != type(self).model_fields[key].default:
                    yield (key,), f"{key} belongs to model: swing; the model is profile"
        if isinstance(self.profile, str):
            return
        times = [t for t, _ in self.profile]
        if any(b <= a for a, b in itertools.pairwise(times)):
            yield ("profile",), "the seconds must ascend"
        for i, (_, hz) in enumerate(self.profile):
            if abs(hz - self.nominal_hz) > 0.2 * self.nominal_hz:
                yield ("profile", i), f"{hz:g} Hz is far from the nominal {self.nominal_hz:g} Hz"

    def _swing_contradictions(self) -> Iterator[tuple[Where, str]]:
        if self.profile:
            yield ("profile",), "a profile belongs to model: profile; the model is swing"
        names = [governor.id for governor in self.governors]
        for i, name in enumerate(names):
            if name in names[:i]:
                yield ("governors", i, "id"), f"{name!r} is there already"
        if self.secondary_s is not None and not any(governor.secondary > 0.0 for governor in self.governors):
            yield ("secondary_s",), "no governor takes part in the secondary control: give one a weight, secondary: 1"
        yield from limits_hold(self, self.nominal_hz)

    def at(self, since_start_s: FloatArray) -> FloatArray:
        """Frequency of the profile at seconds since the start, (T,) [Hz]; nominal where there is none."""
        pairs = read_csv(self.profile, 2) if isinstance(self.profile, str) else np.array(self.profile, np.float64).reshape(-1, 2)
        if len(pairs) == 0:
            return np.full(len(since_start_s), self.nominal_hz)
        return np.asarray(np.interp(since_start_s, pairs[:, 0], pairs[:, 1]))


class FormedIsland(Swinging):
    """A part of the network without a public grid, formed by one resource: voltage and frequency are its own."""

    forming: str = Field(description="the resource (or an entry of one) that forms the island; it stands at a named bus")
    v_ref_pu: Pu = Field(1.0, description="voltage that it holds at its bus [pu]")
    f_ref_hz: Hertz | None = Field(None, description="frequency at no load [Hz]; default: nominal")
    forming_droop: Droop = Field(0.01, description="droop of the forming resource: of nominal, for its rated power [1]")
    inertia_s: StepSeconds = Field(1.0, description="inertia constant H on its rated power, turning or virtual [s]")
    valve_s: Seconds = Field(0.05, description="time constant of its answer [s]; 0: none")
    turbine_s: Seconds = Field(0.0, description="time constant of an engine or turbine behind it [s]; 0: none")
    fade: Fraction = Field(
        0.05, description="part of a battery's charge, next to soc_min and soc_max, over which its power fades to nothing [1]"
    )


def limits_hold(part: Swinging, nominal_hz: float) -> Iterator[tuple[Where, str]]:
    """Nominal lies inside the limits, and every stage sheds above the lower one."""
    low, high = part.low_hz or 0.95 * nominal_hz, part.high_hz or 1.03 * nominal_hz
    if low >= nominal_hz:
        yield ("low_hz",), f"low_hz is not below the nominal {nominal_hz:g} Hz"
    if high <= nominal_hz:
        yield ("high_hz",), f"high_hz is not above the nominal {nominal_hz:g} Hz"
    steps = [stage.f_hz for stage in part.stages]
    if steps and not low < min(steps) <= max(steps) < nominal_hz:
        yield ("ufls",), f"the stages of load shedding must lie between low_hz ({low:g} Hz) and nominal ({nominal_hz:g} Hz)"
