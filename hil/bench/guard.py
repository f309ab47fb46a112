"""What stands between the bench and a device that is not a model: it must be armed, with limits of power, energy and time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from hil.bench.ports import Eut, Limits, Meter, Nameplate, Reading
from hil.watchdog import NOT_ARMED, Arming, Gate
from vpp.kernel.errors import LinkError
from vpp.wire.clock import wall_ns

SAME = 1e-9


def armed(max_kw: float, max_kwh: float, for_min: float) -> Arming:
    """Leave to write from this moment on."""
    return Arming(max_kw * 1e-3, max_kwh * 1e-3, wall_ns() + round(for_min * 60e9))


class GuardedEut:
    """Equipment that may be written to while the gate is open. What it came with may always be written back.

    The bench runs a device at its rated power, so less than that must not be armed.
    """

    def __init__(self, eut: Eut, arming: Arming | None, name: str, clock: Callable[[], int] = wall_ns) -> None:
        """Note what it came with.

        Raises:
            LinkError: it is not armed, or for less than its rated power.
        """
        if arming is None:
            raise LinkError(name, NOT_ARMED)
        rated_mw = max(eut.nameplate.p_max_mw, eut.nameplate.p_charge_mw)
        if arming.p_max_mw < rated_mw * (1.0 - SAME):
            most = f"{arming.p_max_mw * 1e3:g} kW are armed"
            raise LinkError(name, f"the bench runs it at its rated {rated_mw * 1e3:g} kW, and {most}")
        self.nameplate: Nameplate = eut.nameplate
        self.gate = Gate(1, arming=arming)
        self._eut, self._name, self._clock = eut, name, clock
        self._came, self._permitted = eut.read(eut.limits()), eut.permitted()

    def identity(self) -> Mapping[str, str]:
        """The equipment's."""
        return self._eut.identity()

    def raw(self) -> Mapping[str, str]:
        """The equipment's."""
        return self._eut.raw()

    def limits(self) -> Mapping[str, Limits]:
        """The equipment's."""
        return self._eut.limits()

    def read(self, names: Iterable[str]) -> dict[str, float]:
        """What it holds."""
        return self._eut.read(names)

    def write(self, values: Mapping[str, float]) -> None:
        """Set them where the gate is open."""
        back = all(name in self._came and abs(self._came[name] - value) <= SAME for name, value in values.items())
        self._ask(back)
        self._eut.write(values)

    def connect(self, on: bool) -> None:
        """Permit service where the gate is open; forbidding it is always safe, and so is how it came."""
        self._ask(not on or self._permitted)
        self._eut.connect(on)

    def permitted(self) -> bool:
        """Whether service is permitted."""
        return self._eut.permitted()

    def measure(self) -> Reading:
        """What it says of itself."""
        return self.heard(self._eut.measure())

    def heard(self, reading: Reading) -> Reading:
        """Count the energy of a reading, whoever took it."""
        self.gate.measured(self._clock(), np.array([reading.p_mw]))
        return reading

    def _ask(self, back: bool) -> None:
        reason = self.gate.closed(self._clock())
        if reason and not back:
            raise LinkError(self._name, reason)


class GuardedMeter:
    """A meter whose readings count for the gate, too."""

    def __init__(self, meter: Meter, eut: GuardedEut) -> None:
        """Read a meter."""
        self._meter, self._eut = meter, eut

    def measure(self) -> Reading:
        """Read it."""
        return self._eut.heard(self._meter.measure())
