"""What an island's frequency is made of: inertia, units, droop of the fleet, load shedding, the forming resource."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from twin.frequency import kernel as c
from vpp.kernel.seen import Event
from vpp.kernel.signals import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Unit:
    """A governor with its turbine, outside the fleet.

    Attributes:
        gain_mw_per_hz: power that it adds for each hertz beyond its deadband.
        deadband_hz: on either side of the reference.
        down_mw, up_mw: how far it can go below and above its dispatch, magnitudes.
        valve_s, turbine_s: time constants of two first-order lags in series; 0: none.
        fast: part of the power that does not pass the second lag (high-pressure part of a reheat turbine).
        secondary: part of the secondary control's power that it takes.
        rate_mw_per_s: fastest change of its valve.
    """

    gain_mw_per_hz: float
    deadband_hz: float = 0.0
    down_mw: float = math.inf
    up_mw: float = math.inf
    valve_s: float = 0.0
    turbine_s: float = 0.0
    fast: float = 0.0
    secondary: float = 0.0
    rate_mw_per_s: float = math.inf

    def row(self) -> list[float]:
        """A row of the kernel's table."""
        g, db = self.gain_mw_per_hz, self.deadband_hz
        limits = (-self.down_mw, self.up_mw)
        return [g, g, db, db, *limits, self.valve_s, self.turbine_s, self.fast, self.secondary, self.rate_mw_per_s]


@dataclass(frozen=True, slots=True)
class Droop:
    """All resources of an island with the same droop settings: they answer as one unit.

    Its headroom is the sum of what its members offer to be able to do, every step; a member at its own limit while
    others are not is a difference that the network's solution shows, and the next step takes it in.

    Attributes:
        resources: (m,) columns of the fleet.
        gain_uf, gain_of: (m,) answer below and above nominal [MW/Hz]: rated power / (nominal frequency · droop).
        db_uf_hz, db_of_hz: deadbands.
        lag_s: time constant (an open-loop response time to 90 % divided by ln 10).
        by_inverter: the coupling's inverter kernel moves the power itself, by the frequency that it is given; False:
            it is added to the members' offers.
    """

    resources: IntArray
    gain_uf: FloatArray
    gain_of: FloatArray
    db_uf_hz: float
    db_of_hz: float
    lag_s: float
    by_inverter: bool = False

    def row(self) -> list[float]:
        """A row of the kernel's table; the limits are set every step."""
        gains = float(self.gain_uf.sum()), float(self.gain_of.sum())
        return [*gains, self.db_uf_hz, self.db_of_hz, 0.0, 0.0, self.lag_s, 0.0, 0.0, 0.0, math.inf]


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of load shedding: below ``f_hz`` for ``delay_s`` it takes off ``share`` of the load, for good."""

    f_hz: float
    delay_s: float
    share: float


@dataclass(frozen=True, slots=True)
class Forming:
    """The resource that forms an island: slack of the network there, droop about its references.

    Attributes:
        resource: its column of the fleet.
        gain_mw_per_hz: rated power / (nominal frequency · droop).
        valve_s, turbine_s: lags of its answer; 0: none.
        s_mva: nameplate apparent power, watched; 0: none stated.
        fade: part of the state of charge over which its power fades to nothing, next to either end of its usable band.
    """

    resource: int
    gain_mw_per_hz: float
    valve_s: float = 0.0
    turbine_s: float = 0.0
    s_mva: float = 0.0
    fade: float = 0.0

    def row(self) -> list[float]:
        """A row of the kernel's table; the limits are set every step."""
        g = self.gain_mw_per_hz
        return [g, g, 0.0, 0.0, 0.0, 0.0, self.valve_s, self.turbine_s, 0.0, 1.0, math.inf]


@dataclass(frozen=True, slots=True)
class Island:
    """One electrical island.

    Attributes:
        name: for events.
        f_nom_hz: nominal frequency.
        inertia_mw_s_per_hz: 2 · H · S / f_nom; 0: no swing, the frequency is given.
        damping_mw_per_hz: self-regulation of load outside the fleet.
        f_min_hz, f_max_hz: outside of these everything separates and the island is dead.
        secondary_mw_per_hz_s: integral gain of the secondary control.
        secondary_max_mw: the most that it asks for.
        load_share: self-regulation of the fleet's loads, pu of power per pu of frequency.
        rest_load_mw: load outside the fleet, for the stages of load shedding.
        units, droops, stages: what answers.
        forming: who forms it; None: a public grid.
    """

    name: str
    f_nom_hz: float
    inertia_mw_s_per_hz: float = 0.0
    damping_mw_per_hz: float = 0.0
    f_min_hz: float = 0.0
    f_max_hz: float = math.inf
    secondary_mw_per_hz_s: float = 0.0
    secondary_max_mw: float = math.inf
    load_share: float = 0.0
    rest_load_mw: float = 0.0
    units: tuple[Unit, ...] = ()
    droops: tuple[Droop, ...] = ()
    stages: tuple[Stage, ...] = ()
    forming: Forming | None = None

    def row(self) -> list[float]:
        """A row of the kernel's table."""
        swings = float(self.inertia_mw_s_per_hz > 0.0)
        return [
            max(self.inertia_mw_s_per_hz, 1e-12), self.damping_mw_per_hz, self.f_nom_hz, self.f_min_hz, self.f_max_hz,
            self.secondary_mw_per_hz_s, self.secondary_max_mw, swings,
        ]  # fmt: skip

    def rows(self) -> list[list[float]]:
        """Rows of the units, in their order: governors, droop of the fleet, its loads' self-regulation, the forming one."""
        own = [*(unit.row() for unit in self.units), *(droop.row() for droop in self.droops)]
        regulated = [0.0, 0.0, 0.0, 0.0, -math.inf, math.inf, 0.0, 0.0, 0.0, 0.0, math.inf]
        return [*own, regulated, *([] if self.forming is None else [self.forming.row()])]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The frequency of one step.

    Attributes:
        island: (I, 5) end, mean, lowest, highest [Hz] and largest rate of change [Hz/s] of each island.
        events: stages of load shedding, overloads, dead islands.
    """

    island: FloatArray
    events: tuple[Event, ...] = field(default=())

    @property
    def nadir_hz(self) -> float:
        """The lowest frequency anywhere."""
        return float(self.island[:, c.NADIR].min())

    @property
    def zenith_hz(self) -> float:
        """The highest frequency anywhere."""
        return float(self.island[:, c.ZENITH].max())

    @property
    def rocof_hz_per_s(self) -> float:
        """The fastest change anywhere, with its sign."""
        rocof = self.island[:, c.ROCOF]
        return float(rocof[np.argmax(np.abs(rocof))])


def substeps(dt_s: float, islands: FloatArray, start: IntArray, units: FloatArray, longest_s: float) -> int:
    """How many sub-steps a step takes: none longer than ``longest_s`` or than the fastest unit allows.

    A lag of T seconds is followed in sub-steps of T, a swing of angular frequency w in 0.4 / w.
    """
    fastest = 1.0 / min(longest_s, c.SUBSTEP_S)
    for i in np.flatnonzero(islands[:, c.SWINGS] > 0.0):
        inertia, own = islands[i, c.M], units[start[i] : start[i + 1]]
        gain = np.maximum(own[:, c.G_UF], own[:, c.G_OF])
        lag = own[:, c.T_VALVE] + own[:, c.T_TURBINE]
        at_once = gain[lag == 0.0].sum() + islands[i, c.D] + (own[:, c.FAST] * gain)[own[:, c.T_VALVE] == 0.0].sum()
        times = own[:, [c.T_VALVE, c.T_TURBINE]]
        late = lag > 0.0
        swing = math.sqrt(float((gain[late] / lag[late]).sum()) / inertia)
        slowest = float(np.min(times, initial=math.inf, where=times > 0.0))
        fastest = max(fastest, 1.0 / slowest, at_once / inertia, swing / 0.4)
    return max(1, math.ceil(dt_s * fastest - 1e-9))
