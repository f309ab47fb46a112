"""Resources of a scenario that are not simulated when it runs with hardware: devices behind a protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from vpp.fields import Number, Part, Seconds, StepSeconds, Where, bad

Kind = Literal["drop", "delay", "slow", "duplicate", "reorder", "endian", "exception", "freeze", "reboot", "clock"]
# Which keys mean something for which kinds; the others mean something for all.
_ONLY: Final[dict[str, tuple[str, ...]]] = {
    "share": ("drop", "delay", "slow", "duplicate", "reorder", "endian", "exception"),
    "delay_s": ("delay", "slow"),
    "code": ("exception",),
    "step_s": ("clock",),
}


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


def _share(value: float) -> float:
    if not 0 < value <= 1:
        raise bad("share is a fraction above 0, up to 1")
    return value


class WireFault(Part):
    """Something that goes wrong with emulated devices, for `vpp hil emulate`. Times count from the beginning of the scenario."""

    kind: Kind = Field(
        description="drop, delay, duplicate, reorder: what becomes of answers; slow: each request takes its time, one after the "
        "other; endian: swapped bytes; exception: the answer is one; freeze: values stand still; reboot: away, and setpoints are "
        "forgotten; clock: it is wrong"
    )
    from_s: Seconds = Field(0.0, description="begin [s]")
    until_s: StepSeconds | None = Field(None, description="end [s]; default: it stays")
    share: Annotated[Number, AfterValidator(_share)] = Field(1.0, description="part of the answers that it hits, by the seed [1]")
    delay_s: StepSeconds = Field(1.0, description="how long an answer takes more (delay, slow) [s]")
    code: Annotated[int, Field(ge=1, le=255)] = Field(4, description="Modbus exception code (exception)")
    step_s: Number = Field(3600.0, description="what the devices' clock shows too much (clock) [s]")
    device: str | None = Field(None, description="a resource or an entry of the fleet that it hits; default: all")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """It ends after it begins, and nothing is said without effect."""
        if self.until_s is not None and self.until_s <= self.from_s:
            yield ("until_s",), "it ends before it begins"
        if self.kind == "reboot" and self.until_s is None:
            yield ("until_s",), "a device that reboots comes back: until_s is missing"
        for key, kinds in _ONLY.items():
            if key in self.model_fields_set and self.kind not in kinds:
                yield (key,), f"{key} has no effect on {self.kind}"
        if self.kind == "clock" and self.device is not None:
            yield ("device",), "the emulated devices have one clock: it goes wrong for all of them"
