"""Watch whether every resource does what it is asked, and whether what is measured of it can be true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from controllers.resource import performance_kernels as kernels
from controllers.resource.performance_kernels import DEPTH, ENERGY, FROZEN, LOOKS, OFF, SILENT, STUCK, SWAPPED, VOLTAGE
from vpp.kernel.envelope import Envelope
from vpp.kernel.fleet import Fleet
from vpp.kernel.grid_points import PointLayout
from vpp.kernel.ports import Safe, State
from vpp.kernel.quality import usable
from vpp.kernel.seen import Event, Seen
from vpp.kernel.signals import ByteArray, FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry

MOST_EVENTS: Final = 50  # of one kind in one tick; what is more is counted in the last
_SHAPES: Final = ("deviation", "not-responding", "wrong-sign")
_KINDS: Final = {
    OFF: "deviation", STUCK: "stuck-setpoint", SILENT: "silent", FROZEN: "frozen", VOLTAGE: "implausible", ENERGY: "implausible",
    SWAPPED: "swapped",
}  # fmt: skip
_TEXTS: Final = {
    "deviation": "delivers {p:.6f} MW, not the {x:.6f} MW that are expected of it",
    "not-responding": "delivers nothing ({p:.6f} MW) of the {x:.6f} MW that are expected of it",
    "wrong-sign": "delivers {p:.6f} MW, the mirror image of the {x:.6f} MW that are expected of it",
    "stuck-setpoint": "holds another setpoint than it was asked",
    "silent": "has not been heard for too long",
    "frozen": "has shown the same values for too long, though the voltages elsewhere move",
    "swapped": "shows what is expected of {other}, and the other way round",
}
_NEED_TICKS: Final = np.array([2, 2, 3, 4, 2, 2, 3], np.float64)
_T_P, _T_VM = Telemetry.p_mw.row, Telemetry.vm_pu.row


@dataclass(slots=True, eq=False)
class PerformanceGuard:
    """Guard that narrows nothing: it says who does not do as asked, is not heard, or shows what cannot be true.

    What is expected of a resource is what it was asked (or, beneath a limit, what it says is available), inside what it says
    that it could do. Changes fade out of the expectation over ``settle_s``, so that delays and responses are no deviation.
    Each finding is said once when it begins and once ("recovered") when it has ended.

    Attributes:
        fleet: the resources.
        tolerance: of active power, of the resource's rating.
        v_tolerance_pu: between a voltage and those measured at the same node.
        soc_tolerance: between a battery's charge and its energy.
        pcc_tolerance: of the exchange less the sum of all resources, of all power that flows; None: not looked at.
        settle_s: for so long a resource may follow late.
        deviation_s, stuck_s, silent_s, frozen_s: for so long a finding holds before it is said; always some ticks.
        clear_s: for so long it must be gone before that is said.
        moved_pu: what counts as a movement of the voltages while a meter stands still.
        vm_high_pu: above it the resource's own curve may take power back.
        f_band_hz: outside it around 50 or 60 Hz a resource may follow the frequency.
        name: the name under which it speaks.
    """

    fleet: Fleet
    tolerance: float = 0.05
    v_tolerance_pu: float = 0.02
    soc_tolerance: float = 0.05
    pcc_tolerance: float | None = 0.15
    settle_s: float = 60.0
    deviation_s: float = 300.0
    stuck_s: float = 300.0
    silent_s: float = 180.0
    frozen_s: float = 1800.0
    clear_s: float = 300.0
    moved_pu: float = 0.004
    vm_high_pu: float = 1.05
    f_band_hz: float = 0.2
    name: str = "performance"
    safe: Safe = Safe.WITHDRAW
    _rating: FloatArray = field(init=False, repr=False)
    _node: IntArray = field(init=False, repr=False)
    _nodes: int = field(init=False, repr=False)
    _battery: IntArray = field(init=False, repr=False)
    _need_s: FloatArray = field(init=False, repr=False)
    _asked: FloatArray = field(init=False, repr=False)
    _band: FloatArray = field(init=False, repr=False)
    _shown: FloatArray = field(init=False, repr=False)
    _shown_ns: IntArray = field(init=False, repr=False)
    _energy: FloatArray = field(init=False, repr=False)
    _partner: IntArray = field(init=False, repr=False)
    _since: FloatArray = field(init=False, repr=False)
    _raised: ByteArray = field(init=False, repr=False)
    _residual: FloatArray = field(init=False, repr=False)
    _ticks: IntArray = field(init=False, repr=False)
    _layout: PointLayout | None = field(init=False, repr=False, default=None)
    _meter: int = field(init=False, repr=False, default=-1)

    def __post_init__(self) -> None:
        """Begin with nothing expected and nothing found."""
        fleet, n = self.fleet, self.fleet.n
        self._rating = np.maximum(np.abs(fleet.p_min_mw), np.abs(fleet.p_max_mw))
        first = np.full(n, -1, np.int64)
        first[fleet.terminal.resource[::-1]] = fleet.terminal.node[::-1]
        self._node, self._nodes = first, int(first.max(initial=-1)) + 1
        self._battery = np.flatnonzero(fleet.where("battery") & (fleet.e_mwh > 0.0))
        need = [
            self.deviation_s,
            self.stuck_s,
            self.silent_s,
            self.frozen_s,
            self.deviation_s,
            self.deviation_s,
            self.deviation_s,
        ]
        self._need_s = np.array(need)
        self._asked, self._band = np.full((DEPTH, n), np.nan), np.full((2, n), np.nan)
        # Power, reactive power and voltage last shown, the voltage elsewhere when they last moved, how long ago that was.
        self._shown, self._shown_ns = np.full((5, n), np.nan), np.zeros(n, np.int64)
        self._shown[4] = 0.0
        self._energy = np.full((2, n), np.nan)  # charge as its energy says, and power since its source time
        self._partner = np.full(n, -1, np.int64)
        self._since, self._raised = np.zeros((LOOKS, n)), np.zeros((LOOKS, n), np.uint8)
        self._residual, self._ticks = np.zeros(2), np.zeros(1, np.int64)

    def step(self, now_ns: int, seen: Seen, allowed: Envelope) -> Sequence[Event]:
        """Look at every resource, and say what begins and what ends."""
        fleet, t, n = self.fleet, seen.telemetry, self.fleet.n
        dt_s, tick = allowed.dt_s, int(self._ticks[0])
        self._ticks[0] += 1
        quality, source_ns = t.quality[_T_P], t.time_ns[_T_P]
        bad, expected = np.full((LOOKS, n), -1, np.int8), np.full(n, np.nan)
        shape = np.zeros(n, np.uint8)
        kernels.remember(fleet.control, seen.last.setpoints.block, fleet.p_max_mw, self._asked[tick % DEPTH])
        limits = np.array([self.tolerance, self.vm_high_pu, self.f_band_hz, 1.0 - np.exp(-dt_s / max(self.settle_s, 1e-9))])
        kernels.follow(
            fleet.control, fleet.p_max_mw, self._rating, t.block, quality, source_ns, now_ns, dt_s, tick, limits, self._asked,
            self._band, self._raised[OFF], expected, shape, bad[OFF],
        )  # fmt: skip
        kernels.read_back(
            fleet.control, seen.applied.block, fleet.p_max_mw, self._rating, tick, limits[0], quality, self._asked, bad[STUCK]
        )
        kernels.silence(quality, t.block[_T_P], bad[SILENT])
        kernels.stand_still(t.block, quality, t.time_ns[_T_VM], dt_s, self.moved_pu, self._shown, self._shown_ns, bad[FROZEN])
        kernels.neighbours(t.block[_T_VM], quality, self._node, self._nodes, self.v_tolerance_pu, bad[VOLTAGE])
        kernels.energy(
            self._battery, fleet.e_mwh, fleet.eff_charge, fleet.eff_discharge, t.block, t.quality, source_ns, self._shown_ns,
            self.soc_tolerance, self._energy, bad[ENERGY],
        )  # fmt: skip
        self._shown_ns[:] = np.where(kernels.fresh(quality), source_ns, self._shown_ns)
        kernels.swaps(t.block[_T_P], expected, self._rating * limits[0], bad[OFF], self._partner, bad[SWAPPED])
        need = np.maximum(self._need_s, _NEED_TICKS * dt_s)
        before = self._raised.copy()
        changed = kernels.count(bad, self._since, self._raised, need, max(self.clear_s, 2.0 * dt_s), dt_s)
        events = self._look_at_pcc(now_ns, seen, dt_s)
        if changed:
            events += self._say(now_ns, before, t.block[_T_P], expected, shape)
        return events

    def _look_at_pcc(self, now_ns: int, seen: Seen, dt_s: float) -> list[Event]:
        """Hold the exchange against the sum of all resources."""
        points, t = seen.points, seen.telemetry
        if self.pcc_tolerance is None:
            return []
        if points.layout is not self._layout:
            self._layout, self._meter = points.layout, points.layout.find("p_mw", "pcc")
        if self._meter < 0 or not usable(int(points.quality[self._meter])) or not np.isfinite(points.value[self._meter]):
            return []
        total, flows, ratings, known = kernels.sums(t.block[_T_P], t.quality[_T_P], self._rating, seen.last.setpoints.block)
        if not known:
            return []
        off = float(points.value[self._meter]) - total
        # What flows brings losses; what could flow stands for the meters' errors and for losses without load.
        wrong = abs(off) > self.pcc_tolerance * flows + 0.02 * ratings
        since, raised = float(self._residual[0]), bool(self._residual[1])
        since = max(since, 0.0) + dt_s if wrong else min(since, 0.0) - dt_s
        now = since >= max(self.deviation_s, 2.0 * dt_s) - 1e-9 or (raised and since > -max(self.clear_s, 2.0 * dt_s) + 1e-9)
        self._residual[:] = since, now
        if now == raised:
            return []
        if now:
            text = f"the exchange is {off:.6f} MW away from the sum of all resources: a meter is wrong"
            return [Event(now_ns, self.name, "residual", text, "pcc", off)]
        return [Event(now_ns, self.name, "recovered", "the exchange agrees with the sum of all resources again", "pcc", off)]

    def _say(self, now_ns: int, before: ByteArray, p_mw: FloatArray, expected: FloatArray, shape: ByteArray) -> list[Event]:
        """One event for each finding that begins or ends."""
        events, ids = [], self.fleet.id
        for look in range(LOOKS):
            begun = np.flatnonzero(self._raised[look] & ~before[look] & 1)
            for i in begun[:MOST_EVENTS].tolist():
                kind = _SHAPES[shape[i]] if look == OFF else _KINDS[look]
                other = ids[self._partner[i]] if look == SWAPPED and self._partner[i] >= 0 else ""
                what = _TEXTS.get(kind, "shows a voltage that those measured at the same node do not have")
                what = "shows a charge that its energy does not explain" if look == ENERGY else what
                text = f"{ids[i]} {what.format(p=p_mw[i], x=expected[i], other=other)}"
                events.append(Event(now_ns, self.name, kind, text, ids[i], float(p_mw[i])))
            if len(begun) > MOST_EVENTS:
                more = len(begun) - MOST_EVENTS
                text = f"and {more} more resources, first {ids[begun[MOST_EVENTS]]}"
                events.append(Event(now_ns, self.name, _KINDS[look], text, "", float(more)))
            ended = np.flatnonzero(before[look] & ~self._raised[look] & 1)
            for i in ended[:MOST_EVENTS].tolist():
                text = f"{ids[i]} is no longer found {_KINDS[look].replace('-', ' ')}"
                events.append(Event(now_ns, self.name, "recovered", text, ids[i], float(p_mw[i])))
        return events

    def state(self) -> State:
        """Expectations, what was shown last, how long each finding has held, and which were said."""
        return {
            name: getattr(self, f"_{name}").copy()
            for name in ("asked", "band", "shown", "shown_ns", "energy", "partner", "since", "raised", "residual", "ticks")
        }

    def restore(self, state: State) -> None:
        """Go back to a remembered state."""
        for name, value in state.items():
            getattr(self, f"_{name}")[:] = value
