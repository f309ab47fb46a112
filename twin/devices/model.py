"""What a device model must be able to do, and the sheets that it fills."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from vpp.kernel.fleet import CONTROL_FOLLOW
from vpp.kernel.flex import Flex
from vpp.kernel.signals import FloatArray, IntArray, Signal, Signals

if TYPE_CHECKING:
    from twin.devices.entry import Entry
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
    e_need_mwh = Signal("MWh", "energy still to be taken up until departure or another deadline; NaN where there is none")
    t_depart_s = Signal("s", "time until departure or another deadline; NaN where there is none")


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
        k: number of the step.
        t_s: beginning of the step, since the start of the run.
        dt_s: length of the step.
        profile: (columns,) float32 values of all sources that hold in this step.
        applied: block of Setpoints that the devices hold, (signals, n).
        soc: (n,) state of charge, changed in place by `settle`.
        vm_pu: (n,) voltage at the terminals over the step before, NaN where it is not known; None before the first.
        f_hz: frequency over the step before, NaN before the first.
    """

    k: int
    t_s: float
    dt_s: float
    profile: npt.NDArray[Any]
    applied: FloatArray
    soc: FloatArray
    vm_pu: FloatArray | None = None
    f_hz: float = math.nan


@dataclass(frozen=True, slots=True)
class Ahead:
    """What a model is given to state its flexibility.

    Attributes:
        t_s: beginning of the horizon, since the start of the run.
        step_s: length of a step of the horizon.
        profile: (steps, columns) float32 expected values of all sources.
        soc: (n,) state of charge as measured, NaN where it is not known.
    """

    t_s: float
    step_s: float
    profile: npt.NDArray[np.float32]
    soc: FloatArray

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.profile)


class DeviceModel(ABC):
    """All devices of one kind; ``at`` are their columns in the fleet. Inverters' functions are not theirs: see `inverter`.

    ``memory`` holds every array that the next step depends on beside the state of charge, which the fleet keeps. A
    model changes these arrays in place and never replaces them.
    """

    kind: ClassVar[str]
    entry: ClassVar[type[Entry]]

    def __init__(self, at: IntArray, spec: FleetSpec) -> None:
        """Keep the columns of these devices, and their own parameters."""
        self.at, self.spec = at, spec
        self.own = spec.own.get(self.kind, {})
        self.memory: dict[str, npt.NDArray[Any]] = {}

    @abstractmethod
    def offer(self, given: StepInput, out: FloatArray) -> None:
        """Fill this kind's columns of the `Offer` block; ``e_need_mwh`` and ``t_depart_s`` are NaN already."""

    def settle(self, given: StepInput, p_mw: FloatArray) -> None:  # noqa: B027  most devices store nothing
        """Take what was delivered over a step ((n,) MW) into the devices' states; ``given`` is of that step."""

    def expect(self, profile: npt.NDArray[np.float32]) -> FloatArray:
        """Power that these devices take or give by themselves, injection positive: (steps, columns) -> (steps, m) MW.

        Available power of what can be limited, 0 for what is only there to follow and for stores.
        """
        follows = self.spec.profile_p[self.at]
        factor = np.concatenate([profile, np.ones((len(profile), 1), np.float32)], axis=1)[:, follows]
        fleet = self.spec.fleet
        led = (fleet.control[self.at] == CONTROL_FOLLOW) | (fleet.e_mwh[self.at] > 0.0)
        return np.asarray(np.where(led, 0.0, self.spec.sign[self.at] * self.spec.p_rated_mw[self.at] * factor), np.float64)

    def flex(self, ahead: Ahead, flex: Flex) -> None:  # noqa: B027  most devices are described by their ratings
        """Narrow this kind's columns of the flexibility that `Flex.of_fleet` stated from the ratings."""

    def steps(self) -> FloatArray | None:
        """(m,) step that each device holds in the network; None: this kind switches nothing."""
        return None

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Everything that the next step depends on, copied."""
        return {name: array.copy() for name, array in self.memory.items()}

    def restore(self, state: dict[str, npt.NDArray[Any]]) -> None:
        """Go back to a remembered state."""
        for name, array in self.memory.items():
            array[...] = state[name]
