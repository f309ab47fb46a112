"""What a laboratory consists of: the equipment under test, sources, a meter and a clock.

Settings go by the kernel's names (`vpp.kernel.settings`), measurements by those of its telemetry; injection is positive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from vpp.kernel.errors import LinkError


class Refused(LinkError):
    """The equipment answered, and would not take what was written."""


@dataclass(frozen=True, slots=True)
class Nameplate:
    """What the equipment is rated for.

    Attributes:
        s_mva: nameplate apparent power.
        p_max_mw, p_charge_mw: rated active power, and rated charging power (0: none), both as magnitudes.
        q_inj_mvar, q_abs_mvar: most reactive power injected and absorbed, as magnitudes.
        f_nom_hz: nominal frequency.
        p_min_mw: least active power that it delivers in service.
        v_low_pu, v_high_pu: range of continuous operation.
        f_low_hz, f_high_hz: the same of frequency; 0: 58.8 and 61.2 of 60.
        category: ride-through category, 0: none stated.
    """

    s_mva: float
    p_max_mw: float
    q_inj_mvar: float
    q_abs_mvar: float
    f_nom_hz: float = 60.0
    p_charge_mw: float = 0.0
    p_min_mw: float = 0.0
    v_low_pu: float = 0.88
    v_high_pu: float = 1.10
    f_low_hz: float = 0.0
    f_high_hz: float = 0.0
    category: int = 0

    @property
    def f_band_hz(self) -> tuple[float, float]:
        """Range of frequency of continuous operation; IEEE 1547-2018, Table 19, where none is stated."""
        scale = self.f_nom_hz / 60.0
        return self.f_low_hz or 58.8 * scale, self.f_high_hz or 61.2 * scale

    @property
    def q_inj_pu(self) -> float:
        """Most injection of reactive power, of nameplate VA."""
        return self.q_inj_mvar / self.s_mva

    @property
    def q_abs_pu(self) -> float:
        """Most absorption of reactive power, of nameplate VA."""
        return self.q_abs_mvar / self.s_mva

    @property
    def s_of_p(self) -> float:
        """Nameplate apparent over rated active power: uncertainties are stated of the former."""
        return self.s_mva / self.p_max_mw


@dataclass(frozen=True, slots=True)
class Reading:
    """What is measured at the terminals at one moment; injection positive, NaN: not known."""

    p_mw: float
    q_mvar: float
    vm_pu: float
    f_hz: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What a setting can be set to: a band, the step between two values (0: any), whether it is a code or switch."""

    low: float
    high: float
    step: float = 0.0
    code: bool = False


class Eut(Protocol):
    """The equipment under test, as its own interface shows it."""

    nameplate: Nameplate

    def identity(self) -> Mapping[str, str]:
        """Manufacturer, model, serial number, firmware: whatever it tells."""
        ...

    def raw(self) -> Mapping[str, str]:
        """Its registers as they are, in pieces with names, for the record; empty where there are none."""
        ...

    def limits(self) -> Mapping[str, Limits]:
        """The settings that it has, with what they can be set to."""
        ...

    def write(self, values: Mapping[str, float]) -> None:
        """Set them, all or none.

        Raises:
            Refused: it would not.
            LinkError: it cannot be reached.
        """
        ...

    def read(self, names: Iterable[str]) -> dict[str, float]:
        """What it holds."""
        ...

    def connect(self, on: bool) -> None:
        """Permit service, or forbid it (IEEE 1547-2018, 4.10.2)."""
        ...

    def permitted(self) -> bool:
        """Whether service is permitted."""
        ...

    def measure(self) -> Reading:
        """What it says of itself."""
        ...


class Clock(Protocol):
    """The laboratory's time: virtual for models, monotonic for hardware."""

    def now_s(self) -> float:
        """Seconds since some beginning."""
        ...

    def advance(self, dt_s: float) -> None:
        """Let so much time pass."""
        ...


class GridSource(Protocol):
    """An AC source that the equipment feeds into."""

    has_phase: bool

    def apply(self, v_pu: float, f_hz: float, phase_degree: float = 0.0) -> None:
        """Set voltage [pu of the equipment's nominal], frequency and phase angle, at once."""
        ...


class DcSource(Protocol):
    """What stands behind the equipment: a PV simulator or a store."""

    def apply(self, p_mw: float) -> None:
        """Set the active power that can be had."""
        ...


class Meter(Protocol):
    """An instrument at the terminals."""

    def measure(self) -> Reading:
        """Read it."""
        ...
