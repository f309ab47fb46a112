"""Faults of a scenario: scripted, or drawn from its seed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from scenarios.schema.control import When, daily, windows
from scenarios.schema.time import Time
from twin.faults import EXPECTED, KINDS, Expected
from twin.meters import QUANTITIES
from vpp.fields import Fraction, Hours, Number, Part, Ratio, StepSeconds, Where, by_shape

FaultKind = Literal[
    "trip", "derating", "stuck_setpoint", "wrong_sign", "wrong_meter_sign", "drifting_sensor", "frozen_sensor", "lost_link",
    "reboot", "meter_swap",
]  # fmt: skip
Quantity = Literal["p_mw", "q_mvar", "vm_pu", "soc"]
# Keys that belong to some kinds alone.
_ONLY = {"part": ("derating",), "quantity": ("drifting_sensor",), "rate_per_h": ("drifting_sensor",), "boot_s": ("reboot",)}
_NEEDS = {"derating": "part", "drifting_sensor": "rate_per_h"}


class Fault(Part):
    """A fault of some resources, once or every day."""

    kind: FaultKind = Field(description="what is wrong")
    resources: str = Field(
        description="who has it: a fleet entry id, a group, or resource names with * and ?; meter_swap: in pairs"
    )
    at: When = Field(description='local begin: "12:00" for every day, or 2016-06-21T12:00 for once')
    until: When | None = Field(
        None, description="local end, in the same form; default: the end of the run, of a reboot boot_s later"
    )
    part: Fraction | None = Field(None, description="derating: part of the rating that is left [1]")
    quantity: Quantity | None = Field(None, description="drifting sensor: what drifts; default p_mw")
    rate_per_h: Number | None = Field(
        None, description="drifting sensor: change in an hour, of the rating (p_mw, q_mvar), in pu or of the charge [1/h]"
    )
    boot_s: StepSeconds | None = Field(None, description="reboot: how long it takes; default 300 [s]")
    within_s: StepSeconds | None = Field(None, description="it should be noticed within this time [s]; default by its kind")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Every kind has its own keys, and an end after the begin."""
        for key, kinds in _ONLY.items():
            if getattr(self, key) is not None and self.kind not in kinds:
                yield (key,), f"{key} belongs to {kinds[0]}, not to {self.kind}"
        if (needed := _NEEDS.get(self.kind)) and getattr(self, needed) is None:
            yield (), f"{needed} is missing"
        if self.kind == "reboot" and self.until is not None:
            yield ("until",), "a reboot ends by itself: give boot_s"
        if self.kind == "derating" and self.part == 1:
            yield ("part",), "all of the rating is left: this is no fault"
        if self.kind == "drifting_sensor" and self.rate_per_h == 0:
            yield ("rate_per_h",), "a rate of 0 is no drift"
        if self.until is None:
            return
        if daily(self.at) != daily(self.until):
            yield ("until",), "at and until must both be a time of day or both a date and time"
        elif self.at == self.until or (not daily(self.at) and self.until < self.at):
            yield ("until",), "the fault ends before it begins"

    def windows(self, time: Time) -> list[tuple[int, int]]:
        """When it holds inside the scenario, [(from_ns, until_ns)], UTC."""
        if self.until is not None:
            return windows(self.at, self.until, time)
        length_ns = round((self.boot_s or 300.0) * 1e9) if self.kind == "reboot" else time.end_ns - time.start_ns
        begins = windows(self.at, None, time)
        return [(begin, min(begin + length_ns, time.end_ns)) for begin, _ in begins]

    @property
    def value(self) -> float:
        """The number that belongs to its kind."""
        return float(self.part if self.kind == "derating" else self.rate_per_h or 0.0)  # type: ignore[arg-type]

    @property
    def quantity_number(self) -> int:
        """What drifts, as a number."""
        return QUANTITIES.index(self.quantity or "p_mw")

    @property
    def expected(self) -> Expected | None:
        """What should be said of it, where that differs from its kind's."""
        e = EXPECTED[self.kind]
        return None if self.within_s is None else Expected(e.signal, e.rule, e.says, self.within_s)


class RandomFaults(Part):
    """Faults drawn from the seed: how often each kind happens to a resource in a year."""

    resources: str = Field("*", description="to whom: a fleet entry id, a group, or resource names with * and ?")
    mean_h: Hours = Field(4.0, description="mean duration, exponential [h]")
    part: Fraction = Field(0.5, description="part of the rating that a derating leaves [1]")
    rate_per_h: Ratio = Field(0.1, description="of a drifting power sensor, of the rating [1/h]")
    trip: Ratio = Field(0.0, description="rate [1/a]")
    derating: Ratio = Field(0.0, description="rate [1/a]")
    stuck_setpoint: Ratio = Field(0.0, description="rate [1/a]")
    wrong_sign: Ratio = Field(0.0, description="rate [1/a]")
    wrong_meter_sign: Ratio = Field(0.0, description="rate [1/a]")
    drifting_sensor: Ratio = Field(0.0, description="rate [1/a]")
    frozen_sensor: Ratio = Field(0.0, description="rate [1/a]")
    lost_link: Ratio = Field(0.0, description="rate [1/a]")
    reboot: Ratio = Field(0.0, description="rate [1/a]")
    meter_swap: Ratio = Field(0.0, description="rate [1/a]")

    @property
    def rates(self) -> dict[str, float]:
        """Rates by kind."""
        return {kind: getattr(self, kind) for kind in KINDS}

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Something happens."""
        if not any(self.rates.values()):
            yield (), f"no rate is given: name one of {', '.join(KINDS)}"


class FaultPlan(Part):
    """Scripted and random faults together."""

    scripted: tuple[Fault, ...] = Field((), description="faults at stated times")
    random: RandomFaults | None = Field(None, description="faults drawn from the seed")


Faults = Annotated[
    Annotated[tuple[Fault, ...], Tag("list")] | Annotated[FaultPlan, Tag("mapping")],
    Discriminator(by_shape),
]


def plan_of(faults: tuple[Fault, ...] | FaultPlan) -> FaultPlan:
    """Either form as the longer one."""
    return faults if isinstance(faults, FaultPlan) else FaultPlan(scripted=faults)
