"""What a meter is like: the keys of a scenario's ``sensors`` and of a fleet entry's ``sensor``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from twin.meters import CLASSES, SensorErrors
from vpp.fields import Fraction, Part, Ratio, Seconds, Where

_CLASSES = ", ".join(f"{c:g}" for c in CLASSES)


class Meter(Part):
    """How the measurements of a meter differ from the truth. A key that is not given is as the scenario's ``sensors`` say."""

    p_error: Ratio | None = Field(None, description="standard deviation of power, of the resource's rating [1]")
    v_error: Ratio | None = Field(None, description="standard deviation of voltage [pu]")
    soc_error: Ratio | None = Field(None, description="standard deviation of the state of charge, absolute [1]")
    loss: Fraction | None = Field(None, description="probability that a resource's telemetry is lost in a step [1]")
    p_class: Ratio | None = Field(None, description=f"accuracy class of active power (IEC 61557-12, IEC 62053): {_CLASSES} [%]")
    q_class: Ratio | None = Field(None, description="accuracy class of reactive power; default: p_class [%]")
    v_class: Ratio | None = Field(None, description="accuracy class of voltage [%]")
    p_resolution_mw: Ratio | None = Field(None, description="smallest step of active power [MW]")
    q_resolution_mvar: Ratio | None = Field(None, description="smallest step of reactive power [Mvar]")
    v_resolution_pu: Ratio | None = Field(None, description="smallest step of voltage [pu]")
    soc_resolution: Fraction | None = Field(None, description="smallest step of the state of charge [1]")
    p_deadband_mw: Ratio | None = Field(None, description="active power is reported once it has moved by more than this [MW]")
    q_deadband_mvar: Ratio | None = Field(None, description="reactive power likewise [Mvar]")
    v_deadband_pu: Ratio | None = Field(None, description="voltage likewise [pu]")
    soc_deadband: Fraction | None = Field(None, description="state of charge likewise [1]")
    interval_s: Seconds | None = Field(
        None, description="time between samples, by the clock (900: a smart meter); 0: every step [s]"
    )
    sample: Literal["now", "mean"] | None = Field(
        None, description="what a sample is: the value now, or the mean since the last one"
    )
    clock_offset_s: Seconds | None = Field(
        None, description="the meter's clock is wrong by up to this much, either way, by the seed [s]"
    )
    clock_drift_ppm: Ratio | None = Field(None, description="it gains or loses up to this much [µs/s]")

    def contradictions(self) -> Iterator[tuple[Where, str]]:
        """Classes are those of the standards, and a mean is of something."""
        for key in ("p_class", "q_class", "v_class"):
            value = getattr(self, key)
            if value and value not in CLASSES:
                near = min(CLASSES, key=lambda c: abs(c - value))
                yield (key,), f"{value:g} is no accuracy class; did you mean {near:g}? (one of {_CLASSES})"
        if self.sample == "mean" and self.interval_s == 0:
            yield ("sample",), "a mean needs an interval_s"

    def errors(self, base: SensorErrors, delay_steps: int) -> SensorErrors:
        """As the twin takes it; what is not given here is as ``base`` has it."""

        def own(key: str, otherwise: Any) -> Any:
            value = getattr(self, key)
            return otherwise if value is None else value

        p_class = own("p_class", base.p_class)
        resolution = ("p_resolution_mw", "q_resolution_mvar", "v_resolution_pu", "soc_resolution")
        deadband = ("p_deadband_mw", "q_deadband_mvar", "v_deadband_pu", "soc_deadband")
        a, b, c, d = (own(key, value) for key, value in zip(resolution, base.resolution))
        w, x, y, z = (own(key, value) for key, value in zip(deadband, base.deadband))
        return SensorErrors(
            p_error=own("p_error", base.p_error), v_error=own("v_error", base.v_error),
            soc_error=own("soc_error", base.soc_error), delay_steps=delay_steps, loss=own("loss", base.loss), p_class=p_class,
            q_class=own("q_class", base.q_class if self.p_class is None else p_class), v_class=own("v_class", base.v_class),
            resolution=(a, b, c, d), deadband=(w, x, y, z), interval_s=own("interval_s", base.interval_s),
            mean=base.mean if self.sample is None else self.sample == "mean",
            clock_offset_s=own("clock_offset_s", base.clock_offset_s),
            clock_drift_ppm=own("clock_drift_ppm", base.clock_drift_ppm),
        )  # fmt: skip
