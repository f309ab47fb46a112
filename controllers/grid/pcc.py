"""Keep a group's exchange with the network around it inside its limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numba import njit

from vpp.kernel.envelope import Envelope, heard
from vpp.kernel.fleet import Fleet
from vpp.kernel.grid_points import PointLayout
from vpp.kernel.ports import Safe, State
from vpp.kernel.quality import usable
from vpp.kernel.seen import Event, Seen
from vpp.kernel.setpoints import Setpoints
from vpp.kernel.signals import ByteArray, FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry

_T_P, _S_P = Telemetry.p_mw.row, Setpoints.p_mw.row


@dataclass(slots=True, eq=False)
class PccGuard:
    """Guard: a limit on the sum of a group's active power, corrected by what the meter at its border says.

    The meter's exchange less the sum of the members' measured power is what no resource stands for: losses and
    consumption without a measurement. It is expected to stay; a bad meter leaves it at its last value, and
    without a meter it is zero.

    Attributes:
        fleet: the resources.
        group: the group whose border is guarded.
        import_mw, export_mw: largest import and export, magnitudes [MW]; None: no limit.
        margin_mw: kept free before either limit [MW].
        name: the name that stands as cause; by default "pcc", or "pcc:<group>" for a group of another name.
    """

    fleet: Fleet
    group: str = "pcc"
    import_mw: float | None = None
    export_mw: float | None = None
    margin_mw: float = 0.0
    name: str = ""
    safe: Safe = Safe.HOLD
    _members: IntArray = field(init=False, repr=False)
    _number: int = field(init=False, repr=False)
    _residual: FloatArray = field(init=False, repr=False)
    _layout: PointLayout | None = field(init=False, repr=False, default=None)
    _meter: int = field(init=False, repr=False, default=-1)

    def __post_init__(self) -> None:
        """Find the members; begin with no residual and a meter believed to work."""
        self.name = self.name or ("pcc" if self.group == "pcc" else f"pcc:{self.group}")
        if self.group not in self.fleet.groups.names:
            raise ValueError(f"the fleet has no group {self.group!r}")
        self._number = self.fleet.groups.names.index(self.group)
        self._members = np.flatnonzero(self.fleet.groups.members(self.group))
        self._residual = np.array([0.0, 1.0])

    def step(self, now_ns: int, seen: Seen, allowed: Envelope) -> Sequence[Event]:
        """Limit the group."""
        points = seen.points
        if points.layout is not self._layout:
            self._layout, self._meter = points.layout, points.layout.find("p_mw", self.group)
        events: Sequence[Event] = ()
        if self._meter >= 0:
            events = self._read(now_ns, float(points.value[self._meter]), int(points.quality[self._meter]), seen)
        residual = float(self._residual[0])
        low = -np.inf if self.import_mw is None else self.margin_mw - self.import_mw - residual
        high = np.inf if self.export_mw is None else self.export_mw - self.margin_mw - residual
        allowed.limit_group(self._number, low, high)
        return events

    def _read(self, now_ns: int, exchange: float, quality: int, seen: Seen) -> Sequence[Event]:
        telemetry = seen.telemetry
        good, was_good = bool(np.isfinite(exchange)) and usable(quality), bool(self._residual[1])
        if good:
            measured = _measured(self._members, telemetry.block[_T_P], telemetry.quality[_T_P], seen.last.setpoints.block[_S_P])
            self._residual[0] = exchange - measured
        self._residual[1] = good
        if good == was_good:
            return ()
        if good:
            return (Event(now_ns, self.name, "meter-back", f"the meter of group {self.group} is back", self.group, exchange),)
        text = f"the meter of group {self.group} is not usable; its residual stays at {self._residual[0]:.6f} MW"
        return (Event(now_ns, self.name, "meter-lost", text, self.group, float(self._residual[0])),)

    def state(self) -> State:
        """The residual, and whether the meter was usable."""
        return {"residual": self._residual.copy()}

    def restore(self, state: State) -> None:
        """Go back to a remembered state."""
        self._residual[:] = state["residual"]


@njit(cache=True)
def _measured(members: IntArray, p_mw: FloatArray, quality: ByteArray, asked: FloatArray) -> float:
    """Sum of the members' power: as measured, else as it was asked or expected."""
    total = 0.0
    for i in members:
        total += p_mw[i] if heard(p_mw[i], quality[i]) else asked[i]
    return total
