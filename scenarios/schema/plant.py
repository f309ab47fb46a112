"""What lies between the network's truth and the controllers: frequency, limits."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import Discriminator, Field, Tag

from scenarios.schema.series import read_csv
from vpp.fields import FileRef, Hertz, Number, Part, Pu, Ratio, Where, by_shape
from vpp.kernel.signals import FloatArray

Pairs = tuple[tuple[Number, Hertz], ...]


class Frequency(Part):
    """The frequency of the network over time."""

    nominal_hz: Hertz = Field(50.0, description="nominal frequency [Hz]")
    profile: Annotated[Annotated[Pairs, Tag("list")] | Annotated[FileRef, Tag("text")], Discriminator(by_shape)] = Field(
        (), description="[seconds since the start, Hz] pairs, linear between them, or file:<csv> of such rows; default: nominal"
    )

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Time goes forward, and hertz are near nominal."""
        if isinstance(self.profile, str):
            return
        times = [t for t, _ in self.profile]
        if any(b <= a for a, b in itertools.pairwise(times)):
            yield ("profile",), "the seconds must ascend"
        for i, (_, hz) in enumerate(self.profile):
            if abs(hz - self.nominal_hz) > 0.2 * self.nominal_hz:
                yield ("profile", i), f"{hz:g} Hz is far from the nominal {self.nominal_hz:g} Hz"

    def at(self, since_start_s: FloatArray) -> FloatArray:
        """Frequency at seconds since the start, (T,) [Hz]."""
        pairs = read_csv(self.profile, 2) if isinstance(self.profile, str) else np.array(self.profile, np.float64).reshape(-1, 2)
        if len(pairs) == 0:
            return np.full(len(since_start_s), self.nominal_hz)
        return np.asarray(np.interp(since_start_s, pairs[:, 0], pairs[:, 1]))


class Limits(Part):
    """What counts as a violation in the summary. Controllers have thresholds of their own."""

    vm_low_pu: Pu = Field(0.9, description="lowest bus voltage (EN 50160: 0.9) [pu]")
    vm_high_pu: Pu = Field(1.1, description="highest bus voltage (EN 50160: 1.1) [pu]")
    loading: Ratio = Field(1.0, description="highest branch current, of rated [1]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """The band has a width."""
        if self.vm_low_pu >= self.vm_high_pu:
            yield ("vm_low_pu",), f"vm_low_pu is not below vm_high_pu ({self.vm_high_pu:g})"
