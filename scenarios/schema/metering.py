"""The meters that stand in the network, and who estimates its state from them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vpp.fields import Part, Ratio, Seconds


class VoltageMeters(Part):
    """Voltage transformers."""

    kind: Literal["voltage"]
    at: Literal["sources", "busbars", "all"] | tuple[int, ...] = Field(
        "busbars", description="at the sources, at the busbars that their transformers feed too, at all buses, or bus ids"
    )
    sigma_pu: Ratio = Field(0.003, gt=0, description="standard deviation [pu]")
    delay_s: Seconds = Field(0.0, description="a value arrives this long after it was measured [s]")


class HeadMeters(Part):
    """P and Q where feeders leave the busbars."""

    kind: Literal["heads"]
    sigma: Ratio = Field(0.01, gt=0, description="standard deviation, of a feeder's even share of all that is connected [1]")
    delay_s: Seconds = Field(0.0, description="a value arrives this long after it was measured [s]")


class SmartMeters(Part):
    """P, Q and voltage at buses where something is connected."""

    kind: Literal["smart"]
    share: Ratio = Field(1.0, le=1, description="part of the buses that have one; which, the seed decides [1]")
    sigma: Ratio = Field(0.02, gt=0, description="standard deviation of P and Q, of what is rated at the bus [1]")
    sigma_pu: Ratio = Field(0.005, gt=0, description="standard deviation of the voltage [pu]")
    delay_s: Seconds = Field(900.0, description="a value arrives this long after it was measured [s]")


class SimbenchMeters(Part):
    """What the network's own table of measurements lists, as SimBench has one: V, P and Q at buses, P, Q and I at branches."""

    kind: Literal["simbench"]
    sigma_pu: Ratio = Field(0.003, gt=0, description="standard deviation of a voltage where the table states none [pu]")
    sigma: Ratio = Field(
        0.01, gt=0, description="that of P, Q and I where it states none, of what is rated at the bus or the branch [1]"
    )
    delay_s: Seconds = Field(0.0, description="a value arrives this long after it was measured [s]")


MeterPart = Annotated[VoltageMeters | HeadMeters | SmartMeters | SimbenchMeters, Field(discriminator="kind")]


class Estimation(Part):
    """Weighted least squares over the network's meters, with load profiles where there is none."""

    every_s: Seconds = Field(0.0, description="time from one estimate to the next; 0: every step [s]")
    budget_s: Seconds = Field(1.0, description="an estimate is in force this long after its measurements, a step at least [s]")
    pseudo: bool = Field(True, description="whether load profiles stand in where nothing is metered")
