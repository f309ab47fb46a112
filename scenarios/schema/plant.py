"""What counts as a violation."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import Field

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
