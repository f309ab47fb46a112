"""The meters that stand in the network, and who estimates its state from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from scenarios.schema.control import When, daily, windows
from scenarios.schema.time import Time
from vpp.fields import Fraction, Number, Part, Ratio, Seconds, Where


class VoltageMeters(Part):
    """Voltage transformers."""

    kind: Literal["voltage"]
    at: Literal["sources", "busbars", "all"] | tuple[int, ...] = Field(
        "busbars", description="at the sources, at the busbars that their transformers feed too, at all buses, or bus ids"
    )
    sigma_pu: Ratio = Field(0.003, gt=0, description="standard deviation [pu]")
    delay_s: Seconds = Field(0.0, description="a value arrives this long after it was measured [s]")
    loss: Fraction = Field(0.0, description="share of its messages that are lost by chance [1]")


class HeadMeters(Part):
    """P and Q where feeders leave the busbars."""

    kind: Literal["heads"]
    sigma: Ratio = Field(0.01, gt=0, description="standard deviation, of a feeder's even share of all that is connected [1]")
    delay_s: Seconds = Field(0.0, description="a value arrives this long after it was measured [s]")
    loss: Fraction = Field(0.0, description="share of its messages that are lost by chance [1]")


class SmartMeters(Part):
    """P, Q and voltage at buses where something is connected."""

    kind: Literal["smart"]
    share: Ratio = Field(1.0, le=1, description="part of the buses that have one; which, the seed decides [1]")
    sigma: Ratio = Field(0.02, gt=0, description="standard deviation of P and Q, of what is rated at the bus [1]")
    sigma_pu: Ratio = Field(0.005, gt=0, description="standard deviation of the voltage [pu]")
    delay_s: Seconds = Field(900.0, description="a value arrives this long after it was measured [s]")
    loss: Fraction = Field(0.0, description="share of its messages that are lost by chance [1]")


class SimbenchMeters(Part):
    """What the network's own table of measurements lists, as SimBench has one: V, P and Q at buses, P, Q and I at branches."""

    kind: Literal["simbench"]
    sigma_pu: Ratio = Field(0.003, gt=0, description="standard deviation of a voltage where the table states none [pu]")
    sigma: Ratio = Field(
        0.01, gt=0, description="that of P, Q and I where it states none, of what is rated at the bus or the branch [1]"
    )
    delay_s: Seconds = Field(0.0, description="a value arrives this long after it was measured [s]")
    loss: Fraction = Field(0.0, description="share of its messages that are lost by chance [1]")


MeterPart = Annotated[VoltageMeters | HeadMeters | SmartMeters | SimbenchMeters, Field(discriminator="kind")]


class OfMeters(Part):
    """What is wrong with some meters for a while, and nobody is told."""

    meter: str = Field(min_length=1, description='points by name, with * and ?: "vm bus 12", "p line 3 from"')
    at: When = Field(description='local begin: "12:00" for every day, or 2016-06-21T12:00 for once')
    until: When | None = Field(None, description="local end, in the same form; default: the end of the run")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """An end after the begin."""
        if self.until is None:
            return
        if daily(self.at) != daily(self.until):
            yield ("until",), "at and until must both be a time of day or both a date and time"
        elif self.at == self.until or (not daily(self.at) and self.until < self.at):
            yield ("until",), "the error ends before it begins"

    def windows(self, time: Time) -> list[tuple[int, int]]:
        """When it holds inside the scenario, [(from_ns, until_ns)], UTC."""
        if self.until is not None:
            return windows(self.at, self.until, time)
        return [(begin, time.end_ns) for begin, _ in windows(self.at, None, time)[:1]]


class MeterError(OfMeters):
    """A gross error: some meters show something else for a while, and nobody is told."""

    error: Number = Field(description="added to what they show [pu, MW or Mvar]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """There is one."""
        if self.error == 0:
            yield ("error",), "an error of 0 is none"
        yield from super().contradictions()


class MeterFault(OfMeters):
    """Some meters freeze at what they show, their messages are lost, or come later."""

    kind: Literal["frozen", "lost", "late"] = Field(
        description="frozen: the last value is shown on as if it were new; lost: nothing arrives; late: it does late_s later"
    )
    late_s: Seconds | None = Field(None, description="late: so much beside the meter's own delay [s]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Only what is late is late by something."""
        if (self.kind == "late") != (self.late_s is not None):
            yield ("late_s",), "late_s belongs to late, and to it alone"
        yield from super().contradictions()


class Stale(Part):
    """A branch of whose switching nobody has told the estimator."""

    branch: str = Field(pattern=r"^(line|trafo) \d+$", description='kind and id in the source: "line 7", "trafo 0"')
    closed: bool = Field(description="whether the estimator believes it closed")


class Estimation(Part):
    """Weighted least squares over the network's meters, with load profiles where there is none."""

    every_s: Seconds = Field(0.0, description="time from one estimate to the next; 0: every step [s]")
    budget_s: Seconds = Field(1.0, description="an estimate is in force this long after its measurements, a step at least [s]")
    pseudo: bool = Field(True, description="whether load profiles stand in where nothing is metered")
    stale: tuple[Stale, ...] = Field((), description="branches whose state it believes wrongly")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Every branch once."""
        names = [part.branch for part in self.stale]
        for i, name in enumerate(names):
            if name in names[:i]:
                yield ("stale", i, "branch"), f"{name} is there already"
