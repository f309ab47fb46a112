"""What meters are like for the whole scenario; a fleet entry's ``sensor`` replaces single keys."""

from __future__ import annotations

from pydantic import Field

from twin.devices.sensor import Meter
from twin.meters import SensorErrors
from vpp.fields import Fraction, Ratio, Seconds


class Sensors(Meter):
    """How measurements differ from the truth, by default not at all. A fleet entry's ``sensor`` replaces single keys."""

    p_error: Ratio = Field(0.0, description="standard deviation of power, of the resource's rating [1]")
    v_error: Ratio = Field(0.0, description="standard deviation of voltage [pu]")
    soc_error: Ratio = Field(0.0, description="standard deviation of the state of charge, absolute [1]")
    delay_s: Seconds = Field(0.0, description="age of what is seen [s], rounded to whole steps")
    loss: Fraction = Field(0.0, description="probability that a resource's telemetry is lost in a step [1]")
    pcc: Meter = Field(Meter(), description="the network's own meters, where they differ")

    def default(self, step_s: float) -> SensorErrors:
        """The kind of meter that everybody has where nothing else is said."""
        return self.errors(SensorErrors(), round(self.delay_s / step_s))
