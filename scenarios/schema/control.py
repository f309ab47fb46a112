"""The chain of controllers, the planner, orders and prices."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import AfterValidator, Field, Strict

from scenarios.schema.series import Prices
from scenarios.schema.time import Time, clock_times_ns
from vpp.fields import (
    Clock,
    EurPerMwh,
    Flag,
    Fraction,
    Hours,
    Mvar,
    Mw,
    MwMagnitude,
    MwPerSecond,
    Part,
    Price,
    Pu,
    Ratio,
    Seconds,
    Soc,
    StepSeconds,
    Where,
    bad,
    seconds_of_day,
)
from vpp.kernel.time import NS_PER_S, to_ns


class FollowSchedule(Part):
    """Proposer: follow the plan in force."""

    use: Literal["schedule"]


class ServeNeeds(Part):
    """Proposer: energy that cars need by their departure; at once without a plan, else as late as the plan wants it."""

    use: Literal["need"]
    reserve: Fraction = Field(0.1, description="part of full power that is not counted on before a departure [1]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Some power is left to count on."""
        if self.reserve == 1:
            yield ("reserve",), "reserve must be below 1"


class FollowOrders(Part):
    """Proposer: do what operators ask; replaces what the schedule wants."""

    use: Literal["orders"]


class VoltVarOptimum(Part):
    """Proposer: reactive power of inverters, steps of tap changers and capacitors where the network loses least."""

    use: Literal["volt_var"]
    every_s: Seconds = Field(900.0, description="from one optimum to the next [s]")
    vm_low_pu: Pu | None = Field(None, description="lowest voltage [pu]; default: what limits says")
    vm_high_pu: Pu | None = Field(None, description="highest voltage [pu]; default: what limits says")
    loading: Ratio | None = Field(None, description="highest branch current, of rated [1]; default: what limits says")
    margin_pu: Ratio = Field(0.005, description="kept back from both voltages, for what changes until the next optimum [pu]")
    step_gain: Fraction = Field(0.02, description="share of the losses that taking steps has to spare [1]")
    inverters: Flag = Field(True, description="whether inverters take part; their own curves rest meanwhile")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """The band has a width."""
        if self.vm_low_pu is not None and self.vm_high_pu is not None and self.vm_low_pu >= self.vm_high_pu:
            yield ("vm_low_pu",), f"vm_low_pu is not below vm_high_pu ({self.vm_high_pu:g})"


class OverVoltage(Part):
    """Guard: cap injection where the voltage is high."""

    use: Literal["over_voltage"]
    vm_high_pu: Pu = Field(1.05, description="voltage where capping begins [pu]")
    vm_max_pu: Pu = Field(1.10, description="voltage where nothing may be injected any more [pu]")
    deadband_pu: Ratio = Field(0.005, description="width beneath vm_high_pu where the cap stays [pu]")
    gain: Ratio = Field(0.25, description="share of rated power that one step takes away at vm_max_pu [1]")
    recovery_per_s: Ratio = Field(1e-3, description="share of rated power that comes back in a second at most [1/s]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """The band has a width."""
        if self.vm_high_pu >= self.vm_max_pu:
            yield ("vm_high_pu",), f"vm_high_pu is not below vm_max_pu ({self.vm_max_pu:g})"


class UnderVoltage(Part):
    """Guard: stop consumption where the voltage is low."""

    use: Literal["under_voltage"]
    vm_low_pu: Pu = Field(0.95, description="voltage beneath which nothing may be consumed [pu]")
    deadband_pu: Ratio = Field(0.01, description="how far above it consumption may begin again [pu]")
    hold_s: Seconds = Field(300.0, description="how long consumption stays stopped at least [s]")


class SocGuard(Part):
    """Guard: never charge a full battery nor discharge an empty one."""

    use: Literal["soc"]
    soc_min: Soc | None = Field(None, description="lowest state of charge, 0…1; default: each battery's own")
    soc_max: Soc | None = Field(None, description="highest state of charge, 0…1; default: each battery's own")
    hold_s: Seconds = Field(3600.0, description="how long a charge that is not heard is carried on with what was asked [s]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """The band has a width."""
        if self.soc_min is not None and self.soc_max is not None and self.soc_min >= self.soc_max:
            yield ("soc_min",), f"soc_min is not below soc_max ({self.soc_max:g})"


class RampGuard(Part):
    """Guard: limit the change from one tick to the next."""

    use: Literal["ramp"]
    ramp_mw_per_s: MwPerSecond | None = Field(None, description="a slower ramp for all [MW/s]; default: each resource's own")


class PccGuard(Part):
    """Guard: limit what a group exchanges with the network around it."""

    use: Literal["pcc"]
    group: str = Field("pcc", description="the group")
    import_mw: MwMagnitude | None = Field(None, description="largest import, a magnitude [MW]; default: no limit")
    export_mw: MwMagnitude | None = Field(None, description="largest export, a magnitude [MW]; default: no limit")
    margin_mw: MwMagnitude = Field(0.0, description="kept free before either limit [MW]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """A limit limits something."""
        if self.import_mw is None and self.export_mw is None:
            yield (), "give import_mw, export_mw or both"


class NetworkLimits(Part):
    """Guard: powers stay within what the network bears, by its linearisation where it is solved; belongs behind the others."""

    use: Literal["network"]
    vm_low_pu: Pu | None = Field(None, description="lowest voltage [pu]; default: what limits says")
    vm_high_pu: Pu | None = Field(None, description="highest voltage [pu]; default: what limits says")
    loading: Ratio | None = Field(None, description="highest branch current, of rated [1]; default: what limits says")
    margin_pu: Ratio = Field(0.002, description="kept back from both voltages, for what changes until a setpoint acts [pu]")
    margin_loading: Ratio = Field(0.02, description="kept back from the current likewise [1]")
    ahead: Fraction = Field(
        1.0, description="part of the last tick's change of consumption and available power that is expected to go on [1]"
    )
    sigmas: Ratio = Field(0.0, description="kept back from the voltages beside it, in standard deviations of the estimate [1]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """The band has a width."""
        if self.vm_low_pu is not None and self.vm_high_pu is not None and self.vm_low_pu >= self.vm_high_pu:
            yield ("vm_low_pu",), f"vm_low_pu is not below vm_high_pu ({self.vm_high_pu:g})"


class Performance(Part):
    """Guard that narrows nothing: says who does not do as asked, is not heard, or shows what cannot be true."""

    use: Literal["performance"]
    tolerance: Ratio = Field(0.05, description="of active power, of the resource's rating [1]")
    v_tolerance_pu: Ratio = Field(0.02, description="between a voltage and the others at its node [pu]")
    soc_tolerance: Ratio = Field(0.05, description="between a battery's charge and its energy [1]")
    pcc_tolerance: Ratio | None = Field(
        0.15, description="of the exchange less the sum of all resources [1]; null: not looked at"
    )
    settle_s: Seconds = Field(60.0, description="for so long a resource may follow late [s]")
    deviation_s: Seconds = Field(300.0, description="a deviation is said after this time, and two ticks [s]")
    stuck_s: Seconds = Field(300.0, description="a setpoint that is not adopted likewise [s]")
    silent_s: Seconds = Field(180.0, description="silence is said after this time, and three ticks [s]")
    frozen_s: Seconds = Field(1800.0, description="a meter that stands still is said after this time, and four ticks [s]")
    clear_s: Seconds = Field(300.0, description="a finding has ended when it is gone for this time, and two ticks [s]")
    moved_pu: Ratio = Field(0.004, description="movement of the voltages elsewhere while a meter stands still [pu]")
    vm_high_pu: Pu = Field(1.05, description="above this voltage a resource's own curve may take power back [pu]")
    f_band_hz: Ratio = Field(0.2, description="further from 50 or 60 Hz a resource may follow the frequency [Hz]")


Proposer = Annotated[FollowSchedule | ServeNeeds | VoltVarOptimum | FollowOrders, Field(discriminator="use")]
Guard = Annotated[
    OverVoltage | UnderVoltage | SocGuard | RampGuard | PccGuard | NetworkLimits | Performance, Field(discriminator="use")
]


class Control(Part):
    """The chain: proposers want, lowest priority first; guards only narrow."""

    proposers: tuple[Proposer, ...] = Field(
        (FollowSchedule(use="schedule"), ServeNeeds(use="need"), FollowOrders(use="orders")),
        description="controllers that propose, lowest priority first",
    )
    guards: tuple[Guard, ...] = Field(
        (OverVoltage(use="over_voltage"), UnderVoltage(use="under_voltage"), SocGuard(use="soc"), RampGuard(use="ramp")),
        description="controllers that only narrow what is allowed",
    )

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Nobody speaks twice, and voltage thresholds do not cross."""
        for key, chain in (("proposers", self.proposers), ("guards", self.guards)):
            names = [f"{c.use} of {c.group}" if isinstance(c, PccGuard) else c.use for c in chain]
            for i, name in enumerate(names):
                if name in names[:i]:
                    yield (key, i, "use"), f"{name} is there already"
        high = [g.vm_high_pu for g in self.guards if isinstance(g, OverVoltage)]
        for i, guard in enumerate(self.guards):
            if isinstance(guard, UnderVoltage) and high and guard.vm_low_pu >= min(high):
                yield ("guards", i, "vm_low_pu"), f"vm_low_pu is not below vm_high_pu ({min(high):g}) of over_voltage"


class DayAhead(Part):
    """Planner: the next day's schedule of the batteries by price and self-consumption, under the groups' limits."""

    use: Literal["day_ahead"]
    at: Clock = Field("00:00", description="local time of day at which a plan is begun")
    horizon_h: Hours = Field(36.0, description="how far a plan looks ahead [h]")
    step_s: StepSeconds = Field(900.0, description="step of the plan [s]")
    budget_s: Seconds = Field(900.0, description="the plan is in force this long after it is begun [s]")
    wear_eur_per_mwh: EurPerMwh = Field(1.0, description="cost of each MWh charged and of each discharged [EUR/MWh]")
    energy_value_eur_per_mwh: Price | None = Field(
        None, description="value of what is stored at the end [EUR/MWh]; default: at least as much as at the start"
    )
    builder: Literal["direct", "pyomo"] = Field("direct", description="who states the problem to the solver")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """The horizon is a whole number of steps."""
        if (self.horizon_h * 3600) % self.step_s:
            yield ("step_s",), f"the horizon of {self.horizon_h:g} h is not a whole number of steps of {self.step_s:g} s"


class Market(Part):
    """Prices of energy at the PCC."""

    import_eur_per_mwh: Prices = Field(description="cost of import: a number, 24 or 96 values a day, or file:<csv> [EUR/MWh]")
    export_eur_per_mwh: Prices = Field(description="what exported energy earns, likewise [EUR/MWh]")


def _when(value: str) -> str:
    try:
        seconds_of_day(value)
    except ValueError:
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise bad('must be a local time such as "12:00" (every day) or 2016-06-21T12:00') from None
        if moment.tzinfo is not None:
            raise bad("must be local, without an offset") from None
    return value


When = Annotated[str, Strict(), AfterValidator(_when)]


def daily(text: str) -> bool:
    """Whether a `When` is a time of every day."""
    return len(text) <= 8


def windows(at: str, until: str | None, time: Time) -> list[tuple[int, int]]:
    """Where [at, until) meets the scenario's time, [(from_ns, until_ns)], UTC; without ``until`` to the end of the scenario."""
    if not daily(at):
        begin, end = (
            to_ns(datetime.fromisoformat(t).replace(tzinfo=ZoneInfo(time.zone))) if t else time.end_ns for t in (at, until)
        )
        found = [(begin, end)]
    else:
        margin = 48 * 3600 * NS_PER_S
        begins = clock_times_ns(at, time.start_ns - (margin if until else 0), time.end_ns, time.zone)
        ends = clock_times_ns(until, time.start_ns - margin, time.end_ns + margin, time.zone) if until else [time.end_ns]
        found = [(int(b), int(ends[np.searchsorted(ends, b, side="right")])) for b in begins]
    return [(max(b, time.start_ns), min(e, time.end_ns)) for b, e in found if e > time.start_ns and b < time.end_ns]


class ScheduledOrder(Part):
    """An order that reaches us at a known time: every day, or once."""

    at: When = Field(description='local begin: "12:00" for every day, or 2016-06-21T12:00 for once')
    until: When = Field(description="local end, in the same form; earlier than ``at`` means the next day")
    resources: str = Field(description="a fleet entry id, a group, or resource names with * and ?")
    p_mw: Mw | None = Field(None, description="active power asked of each, injection positive [MW]")
    limit_mw: MwMagnitude | None = Field(None, description="highest injection allowed for each [MW]")
    q_mvar: Mvar | None = Field(None, description="reactive power asked of each, injection positive [Mvar]")
    step: Annotated[int, Strict()] | None = Field(None, description="position asked of each tap changer or capacitor bank")
    author: str = Field("operator", description="who gives it")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Something is asked, for some time."""
        if self.p_mw is None and self.limit_mw is None and self.q_mvar is None and self.step is None:
            yield (), "asks for nothing: give p_mw, limit_mw, q_mvar or step"
        if daily(self.at) != daily(self.until):
            yield ("until",), "at and until must both be a time of day or both a date and time"
        elif self.at == self.until or (not daily(self.at) and self.until < self.at):
            yield ("until",), "the order ends before it begins"

    def windows(self, time: Time) -> list[tuple[int, int]]:
        """When it holds inside the scenario, [(from_ns, until_ns)], UTC."""
        return windows(self.at, self.until, time)
