"""What is asked of the resources: setpoints in signal form, with the cause of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vpp.kernel.signals import Signal, Signals

AUTONOMOUS: Final = 0
FOLLOW: Final = 1
LIMIT: Final = 2
FORMING: Final = 3
MODES: Final = ("autonomous", "follow", "limit", "forming")
CauseArray = npt.NDArray[np.int16]


class Setpoints(Signals):
    """Asked of each resource now. "Not commanded" is a mode, never NaN."""

    __slots__ = ()
    p_mw = Signal("MW", "active power asked, or expected where the mode is autonomous; injection positive", resolution=1e-6)
    p_limit_mw = Signal("MW", "active power that must not be exceeded, injection positive", resolution=1e-6)
    q_mvar = Signal("Mvar", "reactive power asked, or expected where q_mode is autonomous; injection positive", resolution=1e-6)
    v_ref_pu = Signal("pu", "voltage reference of the local curve or of a forming resource", resolution=1e-5)
    f_ref_hz = Signal("Hz", "frequency reference of a forming resource", resolution=1e-4)
    mode = Signal("1", "who leads active power: autonomous, follow p_mw, limit p_limit_mw, forming", resolution=1.0, flags=MODES)
    q_mode = Signal("1", "who leads reactive power: autonomous (local curve), follow q_mvar", resolution=1.0, flags=MODES)
    connect = Signal("1", "1 stay connected, 0 cease to energise", resolution=1.0)
    step = Signal("1", "position of a tap changer, capacitor bank or switch", resolution=1.0)
    valid_until_ns = Signal("ns", "the setpoint is a lease that ends here (UTC; 0 = no end)", resolution=0.0)

    @classmethod
    def neutral(cls, n: int) -> Setpoints:
        """Nothing commanded: autonomous, connected, no limit (``p_limit_mw`` = +inf)."""
        sheet = cls.full(n, 0.0)
        sheet.p_limit_mw = np.inf
        sheet.v_ref_pu = 1.0
        sheet.connect = 1.0
        return sheet


@dataclass(slots=True)
class Asked:
    """One decision as it goes to the plant.

    Attributes:
        time_ns: the tick at which it was decided; it acts from the next tick on.
        setpoints: what is asked, one column a resource.
        cause_p: index into ``Chain.owners`` of whoever binds active power, one a resource.
        cause_q: the same for reactive power.
    """

    time_ns: int
    setpoints: Setpoints
    cause_p: CauseArray
    cause_q: CauseArray

    @classmethod
    def nothing(cls, n: int, time_ns: int = 0) -> Asked:
        """The state before the first decision."""
        return cls(time_ns, Setpoints.neutral(n), np.zeros(n, np.int16), np.zeros(n, np.int16))
