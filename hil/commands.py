"""From setpoints to what a device's registers want: values, in which order, and when they are due again.

The order of a device's life line: first the lease (how long it may hold on to what follows), then the setpoint, then the
switch that makes it act, then the read-back. A device whose table has no switch for something is always on, or knows the
setpoint's mode itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from vpp.kernel.setpoints import AUTONOMOUS, FOLLOW, LIMIT, Setpoints
from vpp.kernel.signals import BoolArray, FloatArray, IntArray
from vpp.wire.control import Control
from vpp.wire.points import PointTable
from vpp.wire.types import WIRE_TYPES

LEASES: Final = ("p_limit_lease_s", "p_follow_lease_s", "q_follow_lease_s")
SWITCHES: Final = ("p_limit_on", "p_follow_on", "q_follow_on")
RENEWALS: Final = 3.0  # a lease is renewed so many times in its length
# Signals that belong to one function: what belongs to one that does not lead needs no renewing.
FUNCTIONS: Final = (
    ("p_limit_lease_s", "p_limit_on", "p_limit_mw"),
    ("p_follow_lease_s", "p_follow_as", "p_follow_on", "p_mw"),
    ("q_follow_lease_s", "q_follow_as", "q_follow_on", "q_mvar"),
)
BEAT_NS: Final = 1_000_000_000  # a sign of life is given so often, where a device waits for one
_MODE, _Q_MODE, _P, _LIMIT = Setpoints.mode.row, Setpoints.q_mode.row, Setpoints.p_mw.row, Setpoints.p_limit_mw.row
_NEVER: Final = np.iinfo(np.int64).min // 2


@dataclass(frozen=True, slots=True)
class Due:
    """What has to be written: rows of the table and their values, stage after stage."""

    stages: tuple[tuple[IntArray, FloatArray], ...]

    @property
    def n(self) -> int:
        """Number of values."""
        return sum(len(rows) for rows, _ in self.stages)


@dataclass
class Commands:
    """What a link's devices hold as far as we told them, and what is due.

    Attributes:
        table: the link's points.
        ids: resources behind the link.
        lease_s: length of the leases.
        p_max_mw, p_safe_mw: (n,) rated and safe power of the resources.
    """

    table: PointTable
    ids: tuple[str, ...]
    lease_s: float
    p_max_mw: FloatArray
    p_safe_mw: FloatArray
    rows: IntArray = field(init=False)
    _held: FloatArray = field(init=False)
    _told_ns: IntArray = field(init=False)
    _beat: int = 0

    def __post_init__(self) -> None:
        """Sort the writable points into stages."""
        points, writable = self.table.points, set(self.table.writable.tolist())
        place = {name: i for i, name in enumerate(self.ids)}
        signals = {face: {s.name: s.row for s in face.signals} for face in (Setpoints, Control)}
        found: list[tuple[int, int, int, int]] = []  # stage, row of the table, row of the block, resource
        for row, point in enumerate(points):
            if row not in writable or point.resource not in place or point.sheet not in ("setpoints", "control"):
                continue
            face = Setpoints if point.sheet == "setpoints" else Control
            stage = 1 if face is Setpoints else 2 if point.signal in SWITCHES else 0
            found.append((stage, row, signals[face][point.signal], place[point.resource]))
        table = np.array(sorted(found), np.int64).reshape(-1, 4)
        self._stage, self.rows, self._signal, self._resource = table.T.copy()
        self._set, self._control = self._stage == 1, self._stage != 1
        function = {name: f for f, names in enumerate(FUNCTIONS) for name in names}
        self._function = np.array([function.get(points[r].signal, -1) for r in self.rows], np.int64)
        self._stored = np.array([points[r].stored for r in self.rows], np.bool_)
        self._high = np.array([points[r].high for r in self.rows])
        low = np.array([points[r].low for r in self.rows])
        self._fixed = self._control & (low == self._high)  # a band of one value: always written with it
        self._beats = self._control & (self._signal == Control.heartbeat.row)
        self._turn = np.array([min(WIRE_TYPES[points[r].wire].high, points[r].high, 65535.0) + 1.0 for r in self.rows])
        switches = {(p.resource, p.signal) for p in points if p.sheet == "control" and p.signal in SWITCHES}
        modal = {p.resource for p in points if p.sheet == "setpoints" and p.signal == "mode"}
        self._modal = np.array([name in modal for name in self.ids], np.bool_)
        self._switched = {s: np.array([(i, s) in switches for i in self.ids], np.bool_) for s in SWITCHES}
        self._held = np.full(len(self.rows), np.nan)
        self._told_ns = np.full(len(self.rows), _NEVER)
        self._q_led = np.zeros(len(self.ids), np.bool_)
        self._leased = np.zeros(len(self.ids), np.bool_)
        self._leased[self._resource[self._control]] = True
        self._order = np.argsort(self.rows, kind="stable")

    def wanted(self, block: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Value for every writable row, and whether it is to be written at all; ``block`` is (signals, n) of setpoints."""
        mode, q_mode = block[_MODE], block[_Q_MODE]
        given, write = block.copy(), np.ones(block.shape, np.bool_)
        limits, follows, q_follows = mode == LIMIT, mode == FOLLOW, q_mode == FOLLOW
        # No limit is the highest that the device knows.
        given[_LIMIT] = np.where((limits & np.isfinite(block[_LIMIT])) | self._modal, block[_LIMIT], self.p_max_mw)
        always = ~self._modal & ~self._switched["p_follow_on"]
        given[_P] = np.where(~self._modal & ~follows, self.p_safe_mw, block[_P])
        write[_P] = self._modal | follows | always
        q_row = Setpoints.q_mvar.row
        given[q_row] = np.where(~self._modal & ~q_follows, 0.0, block[q_row])
        self._q_led |= q_follows  # who never led it leaves it to the device's own curve
        write[q_row] = self._modal | q_follows | (~self._switched["q_follow_on"] & self._q_led)
        write[_LIMIT] = self._modal | limits | ~self._switched["p_limit_on"]
        control = np.full((len(Control.signals), block.shape[1]), np.nan)
        for name, on in zip(SWITCHES, (limits, follows, q_follows)):
            control[[s.row for s in Control.signals if s.name == name]] = on
        for name in LEASES:
            control[[s.row for s in Control.signals if s.name == name]] = self.lease_s
        values = np.where(self._set, given[np.where(self._set, self._signal, 0), self._resource], 0.0)
        values = np.where(self._control, control[np.where(self._control, self._signal, 0), self._resource], values)
        values = np.where(self._fixed, self._high, values)
        values = np.where(self._beats, self._beat % self._turn, values)
        values = np.where(self._set & np.isposinf(values) & np.isfinite(self._high), self._high, values)
        go = np.where(self._set, write[np.where(self._set, self._signal, 0), self._resource], True)
        return values, np.asarray(go, np.bool_)

    def due(self, now_ns: int, block: FloatArray) -> Due:
        """What has to be written now: what changed, what was refused before, leases that have to be renewed, signs of life.

        A stored register is written only where its value changes; it is never renewed.
        """
        values, go = self.wanted(block)
        quantised, _ = self.table.quantise(self.rows, values)
        changed = go & ~((quantised == self._held) | (np.isnan(quantised) & np.isnan(self._held)))
        changed &= ~self._beats
        active = (block[_MODE] != AUTONOMOUS) | (block[_Q_MODE] != AUTONOMOUS)
        leads = np.array([block[_MODE] == LIMIT, block[_MODE] == FOLLOW, block[_Q_MODE] == FOLLOW, active])
        acts = leads[self._function, self._resource]  # what belongs to no function goes with any
        old = (now_ns - self._told_ns > self.lease_s * 1e9 / RENEWALS) & (self.lease_s > 0) & acts
        # What belongs to one device goes out together: a new setpoint begins a new lease.
        moved = np.zeros(len(self.ids), np.bool_)
        moved[self._resource[(changed | (go & old)) & ~self._stored]] = True
        out = changed | (go & ~self._stored & acts & (moved & self._leased)[self._resource])
        out |= self._beats & active[self._resource] & (now_ns - self._told_ns >= BEAT_NS)
        if out.any():
            self._beat += 1
        return Due(tuple((self.rows[at], values[at]) for s in (0, 1, 2) if (at := out & (self._stage == s)).any()))

    def told(self, now_ns: int, rows: IntArray, values: FloatArray, accepted: BoolArray) -> None:
        """Note what a device has taken; what it refused stays due."""
        place = self._order[np.searchsorted(self.rows, rows, sorter=self._order)]
        quantised, _ = self.table.quantise(rows, values)
        self._held[place] = np.where(accepted, quantised, np.nan)
        self._told_ns[place[accepted]] = now_ns

    def forget(self) -> None:
        """The devices may hold anything (the link broke): everything is due again."""
        self._held.fill(np.nan)
        self._told_ns.fill(_NEVER)
