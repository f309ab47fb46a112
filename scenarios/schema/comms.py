"""Communication channels: what lies between us and the devices, both ways."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from scenarios.schema.control import When, daily, windows
from scenarios.schema.time import Time
from twin.comms import Channel as TwinChannel
from vpp.fields import Count, Flag, Fraction, Hours, Name, Part, Ratio, Seconds, StepSeconds, Where, bad


def _some(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise bad("at least one name is needed")
    return value


Names = Annotated[tuple[str, ...], AfterValidator(_some)]


class Outage(Part):
    """A time in which nothing goes over the channel."""

    at: When = Field(description='local begin: "12:00" for every day, or 2016-06-21T12:00 for once')
    until: When = Field(description="local end, in the same form")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """It ends after it begins."""
        if daily(self.at) != daily(self.until):
            yield ("until",), "at and until must both be a time of day or both a date and time"
        elif self.at == self.until or (not daily(self.at) and self.until < self.at):
            yield ("until",), "the outage ends before it begins"


class Channel(Part):
    """A gateway or a link: one message a step each way for all its resources. Latencies count in whole steps, rounded."""

    name: Name = Field(description="name of the channel")
    resources: Names = Field(description="who is behind it: fleet entry ids, groups, or resource names with * and ?")
    meters: Flag = Field(False, description="the network's own meters are behind it too")
    latency_s: Seconds = Field(0.0, description="constant part of the latency [s]")
    jitter_s: Seconds = Field(0.0, description="random part of the latency: its width (uniform) or its median (lognormal) [s]")
    law: Literal["uniform", "lognormal"] = Field("uniform", description="how the random part is distributed")
    sigma: Ratio = Field(0.5, description="standard deviation of the logarithm of a lognormal jitter [1]")
    loss: Fraction = Field(0.0, description="probability that a message is lost [1]")
    per_resource: Flag = Field(False, description="true: lost for each resource by itself; false: for all of the channel at once")
    in_order: Flag = Field(
        True, description="true: a late message holds back those behind it; false: it is overtaken, and dropped"
    )
    direction: Literal["both", "up", "down"] = Field(
        "both", description="whether telemetry (up), setpoints (down) or both go over it"
    )
    outages: tuple[Outage, ...] = Field((), description="times in which nothing goes over it")
    mtbf_h: Hours | None = Field(None, description="mean time between failures, by the seed [h]; default: it never fails")
    mttr_h: Hours = Field(1.0, description="mean time until a failure is repaired [h]")
    kbit_per_s: StepSeconds | None = Field(
        None, description="bandwidth; messages wait for one another [kbit/s]; default: it does not matter"
    )
    message_bytes: Count = Field(100, description="length of a resource's part of a message [B]")
    queue: Count = Field(10, description="messages that may wait for the bandwidth; more are lost")
    stale_s: Seconds = Field(60.0, description="for so long the last telemetry is shown, as stale, when nothing new comes [s]")
    lease_s: Seconds = Field(0.0, description="a setpoint holds for so long after it was sent [s]; 0: until the next one")
    on_expiry: Literal["safe", "autonomous"] = Field("safe", description="what a device does when its setpoint has ended")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Nothing is said without effect."""
        if self.law == "lognormal" and self.jitter_s == 0:
            yield ("law",), "a lognormal jitter needs its median, jitter_s"
        if self.lease_s and self.direction == "up":
            yield ("lease_s",), "no setpoint goes over this channel: lease_s has no effect"

    def channel(self, time: Time, resources: int) -> TwinChannel:
        """As the twin takes it, for so many resources."""
        found = [pair for outage in self.outages for pair in windows(outage.at, outage.until, time)]
        bits = 8.0 * self.message_bytes * max(resources, 1)
        return TwinChannel(
            self.name, self.latency_s, self.jitter_s, self.law, self.sigma, self.loss, self.per_resource, self.in_order,
            self.direction != "down", self.direction != "up",
            tuple(((a - time.start_ns) / 1e9, (b - time.start_ns) / 1e9) for a, b in found),
            float("inf") if self.mtbf_h is None else 3600.0 * self.mtbf_h, 3600.0 * self.mttr_h,
            0.0 if self.kbit_per_s is None else bits / (1000.0 * self.kbit_per_s), self.queue, self.stale_s, self.lease_s,
            self.on_expiry == "safe",
        )  # fmt: skip


class Communications(Part):
    """The channels; who is on none hears and is heard at once."""

    channels: tuple[Channel, ...] = Field((), description="gateways and links")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Names are unique, and the network's meters have one way."""
        names = [c.name for c in self.channels]
        for i, channel in enumerate(self.channels):
            if channel.name in names[:i]:
                yield ("channels", i, "name"), f"{channel.name!r} is there already"
            if channel.meters and any(c.meters for c in self.channels[:i]):
                yield ("channels", i, "meters"), "the network's meters are behind another channel already"
