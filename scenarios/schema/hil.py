"""Resources of a scenario that are not simulated when it runs with hardware: devices behind a protocol."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from vpp.fields import Part, bad


def _positive(value: float) -> float:
    if not 0 < value < float("inf"):
        raise bad("a scale is above 0")
    return value


class Outside(Part):
    """One device outside. `vpp run` simulates it like the others; `vpp hil run` talks to it."""

    resource: str = Field(description="id of the resource that it is")
    at: str = Field(description="protocol://host:port/unit?map=NAME&emulated=yes; without emulated writing to it needs --arm")
    scale: Annotated[float, AfterValidator(_positive)] = Field(
        1.0, description="what 1 W of the device counts in the network: 100 lets 10 kW stand for 1 MW [1]"
    )
