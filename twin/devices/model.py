"""What a device model must be able to do, and the sheets that it fills."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy.typing as npt

from vpp.kernel.signals import FloatArray, IntArray, Signal, Signals

if TYPE_CHECKING:
    from twin.spec import FleetSpec


class Offer(Signals):
    """What the devices would do at their terminals if the voltage asked nothing of them."""

    __slots__ = ()
    p_mw = Signal("MW", "active power before voltage-dependent functions, injection positive")
    q_mvar = Signal("Mvar", "reactive power where no curve leads, injection positive")
    follow_q = Signal("1", "1 where q_mvar is commanded and no curve leads")
    p_avail_min_mw = Signal("MW", "lowest active power that could be delivered, injection positive")
    p_avail_max_mw = Signal("MW", "highest active power that could be delivered, injection positive")
    soc = Signal("1", "state of charge at the beginning of the step; NaN where nothing is stored")


class Delivered(Signals):
    """What happens at the terminals over the step: the truth, which no controller sees."""

    __slots__ = ()
    p_mw = Signal("MW", "active power delivered, injection positive", resolution=1e-6)
    q_mvar = Signal("Mvar", "reactive power delivered, injection positive", resolution=1e-6)
    vm_pu = Signal("pu", "voltage magnitude at the terminals", resolution=1e-6)


@dataclass(frozen=True, slots=True)
class StepInput:
    """What every model is given for one step.

    Attributes:
        dt_s: length of the step.
        profile: (profiles,) float32 factors that hold in this step.
        applied: block of Setpoints that the devices hold, (signals, n).
        soc: (n,) state of charge, changed in place by `settle`.
    """

    dt_s: float
    profile: npt.NDArray[Any]
    applied: FloatArray
    soc: FloatArray


class DeviceModel(ABC):
    """All devices of one kind; ``at`` are their columns in the fleet. Inverters' curves are not theirs: `inverter`."""

    kind: ClassVar[str]

    def __init__(self, at: IntArray, spec: FleetSpec) -> None:
        """Keep the columns of these devices."""
        self.at, self.spec = at, spec

    @abstractmethod
    def offer(self, given: StepInput, out: FloatArray) -> None:
        """Fill this kind's columns of the `Offer` block."""

    def settle(self, given: StepInput, p_mw: FloatArray) -> None:  # noqa: B027  most devices store nothing
        """Take what was delivered over the step ((n,) MW) into the devices' states."""
