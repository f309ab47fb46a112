"""The inverter's own curves, volt-var and volt-watt, with the defaults of IEEE 1547-2018.

Numbers: IEEE 1547-2018, Table 8 (volt-var) and Table 10 (volt-watt), as EPRI's OpenDER 2.2.0 (BSD-3-Clause)
instantiates them. Volt-watt ends at 0, the lesser of 0.2 of rated power and the smallest power of a PV inverter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from vpp.fields import Fraction, Number, Part, Pu, Seconds, Where, by_shape


class VoltVar(Part):
    """Reactive power by voltage, four points (IEEE 1547-2018, 5.3.3)."""

    v_pu: tuple[Pu, Pu, Pu, Pu] = Field(description="voltages of the four points, ascending [pu]")
    q_pu: tuple[Number, Number, Number, Number] = Field(description="reactive power there, of nameplate, injection positive [pu]")
    response_s: Seconds = Field(5.0, description="open-loop response time to 90 % [s]")
    reference_pu: Pu = Field(1.0, description="reference voltage; the curve moves with it [pu]")
    follow_s: Seconds | None = Field(
        None, description="time constant with which the reference follows the voltage, within 0.95…1.05 pu [s]; default: it stays"
    )

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """A curve goes up in voltage, down in reactive power, and stays inside the nameplate."""
        if list(self.v_pu) != sorted(self.v_pu):
            yield ("v_pu",), "the voltages must ascend"
        if list(self.q_pu) != sorted(self.q_pu, reverse=True):
            yield ("q_pu",), "wrong sign: low voltage needs injection (positive), high voltage absorption (negative)"
        if max(map(abs, self.q_pu)) > 1:
            yield ("q_pu",), "reactive power is in pu of the nameplate, -1…1"


class VoltWatt(Part):
    """Active power by voltage, two points (IEEE 1547-2018, 5.4.2)."""

    v_pu: tuple[Pu, Pu] = Field((1.06, 1.10), description="voltages where curtailment begins and is complete [pu]")
    p_pu: tuple[Fraction, Fraction] = Field((1.0, 0.0), description="active power there, of rated power [pu]")
    response_s: Seconds = Field(10.0, description="open-loop response time to 90 % [s]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """A curve goes up in voltage and down in power."""
        if self.v_pu[0] >= self.v_pu[1]:
            yield ("v_pu",), "the second voltage must be above the first"
        if self.p_pu[0] < self.p_pu[1]:
            yield ("p_pu",), "active power must fall with rising voltage"


VOLT_VAR = {
    "A": VoltVar(v_pu=(0.90, 1.00, 1.00, 1.10), q_pu=(0.25, 0.0, 0.0, -0.25), response_s=10.0),
    "B": VoltVar(v_pu=(0.92, 0.98, 1.02, 1.08), q_pu=(0.44, 0.0, 0.0, -0.44), response_s=5.0),
}
VoltVarChoice = Annotated[
    Annotated[Literal["off", "on", "A", "B"], Tag("text")] | Annotated[VoltVar, Tag("mapping")],
    Discriminator(by_shape),
]
VoltWattChoice = Annotated[
    Annotated[Literal["off", "on"], Tag("text")] | Annotated[VoltWatt, Tag("mapping")],
    Discriminator(by_shape),
]
