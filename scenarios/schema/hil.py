"""Resources of a scenario that are not simulated when it runs with hardware: devices behind a protocol."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from vpp.fields import Hertz, Number, Part, Pu, Seconds, StepSeconds, Where, bad

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
        raise bad("must be above 0")
    return value


def _scpi(value: str) -> str:
    parts = urlsplit(value)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme != "scpi" or not parts.hostname or port == -1 or parts.path.strip("/"):
        raise bad("must be scpi://host:port")
    return value


class Source(Part):
    """A controllable grid source that holds a device at the twin's voltage and frequency at its node."""

    at: Annotated[str, AfterValidator(_scpi)] = Field(description="scpi://host:port; the port is 5025 where it is not said")
    v_nom: Annotated[Number, AfterValidator(_positive)] = Field(230.0, description="what 1 pu is [V]")
    vm_low_pu: Pu = Field(0.85, description="lowest voltage that it is told [pu]")
    vm_high_pu: Pu = Field(1.15, description="highest voltage that it is told [pu]")
    f_band_hz: Hertz = Field(2.5, description="how far from the nominal frequency it may go [Hz]")
    v_slew_pu_per_s: Annotated[Number, AfterValidator(_positive)] = Field(0.2, description="fastest change of voltage [pu/s]")
    f_slew_hz_per_s: Annotated[Number, AfterValidator(_positive)] = Field(2.0, description="fastest change of frequency [Hz/s]")
    timeout_s: StepSeconds = Field(1.0, description="how long the instrument may take to answer [s]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Nominal voltage, to which it goes when we stop, is allowed."""
        if not self.vm_low_pu <= 1.0 <= self.vm_high_pu:
            yield ("vm_low_pu",), "the band must hold 1 pu, to which the source goes when we stop"


def _short(value: Any) -> Any:
    return {"at": value} if isinstance(value, str) else value


class Outside(Part):
    """One device outside. `vpp run` simulates it like the others; `vpp hil run` talks to it."""

    resource: str = Field(description="id of the resource that it is")
    at: str = Field(description="protocol://host:port/unit?map=NAME&emulated=yes; without emulated writing to it needs --arm")
    scale: Annotated[float, AfterValidator(_positive)] = Field(
        1.0, description="what 1 W of the device counts in the network: 100 lets 10 kW stand for 1 MW [1]"
    )
    source: Annotated[Source | None, BeforeValidator(_short, json_schema_input_type=Source | str | None)] = Field(
        None,
        description="who holds it at the twin's voltage: scpi://host:port, or a mapping; default: nobody, it hangs on the mains",
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
