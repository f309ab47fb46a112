"""What counts as a violation, and what is taken out to see what it would break."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from scenarios.schema.control import When
from vpp.fields import MwMagnitude, Part, Pu, Ratio, Where


class Limits(Part):
    """What counts as a violation in the summary. Controllers have thresholds of their own."""

    vm_low_pu: Pu = Field(0.9, description="lowest bus voltage (EN 50160: 0.9) [pu]")
    vm_high_pu: Pu = Field(1.1, description="highest bus voltage (EN 50160: 1.1) [pu]")
    loading: Ratio = Field(1.0, description="highest branch current, of rated [1]")
    reverse_mw: MwMagnitude | None = Field(
        None, description="highest power from a transformer's low- to its high-voltage side; null: not limited [MW]"
    )

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """The band has a width."""
        if self.vm_low_pu >= self.vm_high_pu:
            yield ("vm_low_pu",), f"vm_low_pu is not below vm_high_pu ({self.vm_high_pu:g})"


class Contingencies(Part):
    """N-1 at one moment of the run: every outage solved, what it cuts off and what it breaks."""

    at: Annotated[Literal["worst"] | When, Field(union_mode="left_to_right")] = Field(
        "worst", description='the step of the highest loading, or a local time: "12:00" (the first day) or 2016-06-21T12:00'
    )
    kinds: tuple[Literal["line", "trafo", "trafo3w", "impedance"], ...] = Field(
        ("line", "trafo", "trafo3w", "impedance"), min_length=1, description="what fails"
    )
    emergency: Ratio = Field(1.0, gt=0, description="factor on ratings while something is out [1]")
