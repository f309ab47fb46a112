"""What lies between the network's truth and the controllers: sensors and limits."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

from vpp.fields import Fraction, Part, Pu, Ratio, Seconds, Where


class Sensors(Part):
    """How measurements differ from the truth; the default is a perfect sensor."""

    p_error: Ratio = Field(0.0, description="standard deviation of power, of the resource's rating [1]")
    v_error: Ratio = Field(0.0, description="standard deviation of voltage [pu]")
    soc_error: Ratio = Field(0.0, description="standard deviation of the state of charge, absolute [1]")
    delay_s: Seconds = Field(0.0, description="age of what is seen [s], rounded to whole steps")
    loss: Fraction = Field(0.0, description="probability that a resource's telemetry is lost in a step [1]")


class Limits(Part):
    """What counts as a violation in the summary. Controllers have thresholds of their own."""

    vm_low_pu: Pu = Field(0.9, description="lowest bus voltage (EN 50160: 0.9) [pu]")
    vm_high_pu: Pu = Field(1.1, description="highest bus voltage (EN 50160: 1.1) [pu]")
    loading: Ratio = Field(1.0, description="highest branch current, of rated [1]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """The band has a width."""
        if self.vm_low_pu >= self.vm_high_pu:
            yield ("vm_low_pu",), f"vm_low_pu is not below vm_high_pu ({self.vm_high_pu:g})"
