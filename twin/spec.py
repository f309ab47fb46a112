"""What a twin is built from: plain arrays, so that a fleet can also be handed to another process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from twin.series import ProfileTable
from vpp.kernel.fleet import Fleet
from vpp.kernel.settings import Settings
from vpp.kernel.signals import FloatArray, Int32Array, IntArray

if TYPE_CHECKING:
    from twin.lines import Disturbances


@dataclass(frozen=True, slots=True)
class FleetSpec:
    """Parameters of every device, one column a resource.

    Attributes:
        fleet: the resources as the controllers know them.
        p_rated_mw: (n,) rated active power, a magnitude: peak of a load, DC rating of a PV, power of a battery.
        q_rated_mvar: (n,) rated reactive power of loads at the peak of their profile, injection positive.
        s_rated_mva: (n,) nameplate apparent power of the inverter; 0 where there is none.
        soc0: (n,) state of charge at the start; NaN where nothing is stored.
        profile_p, profile_q: (n,) column of the profile table, -1 for none (factor 1).
        settings: the inverter functions' settings at the start.
        profiles: the profile table.
        sign: (n,) +1 where the rating is generation, -1 where it is consumption.
        own: by kind, the parameters that only that kind's model knows, in the order of its devices; tables of events
            (any length, "device" numbers the devices of the kind) stand beside them.
        forming: (m,) resources that form an island: whatever is asked, they hold the references below.
        forming_ref: (2, m) their voltage [pu] and frequency [Hz].
        inverter: (n,) resource whose inverter this one shares, -1 where it has its own or none.
        disturbed: channels and faults between the devices and us; None: what is asked is held at once.
    """

    fleet: Fleet
    p_rated_mw: FloatArray
    q_rated_mvar: FloatArray
    s_rated_mva: FloatArray
    soc0: FloatArray
    profile_p: Int32Array
    profile_q: Int32Array
    settings: Settings
    profiles: ProfileTable
    sign: FloatArray = field(default_factory=lambda: np.zeros(0))
    own: Mapping[str, Mapping[str, npt.NDArray[Any]]] = field(default_factory=dict)
    forming: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    forming_ref: FloatArray = field(default_factory=lambda: np.zeros((2, 0)))
    inverter: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    disturbed: Disturbances | None = None

    def __post_init__(self) -> None:
        """Where no sign is given, loads consume and everything else generates; nobody shares an inverter."""
        if len(self.inverter) != self.fleet.n:
            object.__setattr__(self, "inverter", np.full(self.fleet.n, -1))
        if len(self.sign) != self.fleet.n:
            object.__setattr__(self, "sign", np.where(np.array(self.fleet.kind) == "load", -1.0, 1.0))
