"""The inverters of a fleet: their settings compiled to a table, their state in lanes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from twin.devices.inverter import columns as c
from twin.devices.inverter.advance import alone
from twin.devices.inverter.table import compile_table
from vpp.kernel.fleet import Fleet
from vpp.kernel.settings import Settings
from vpp.kernel.signals import FloatArray, Int32Array, IntArray


@dataclass(slots=True)
class Inverters:
    """The inverters of a fleet as lanes, sorted so that lanes with equal settings stand together.

    Attributes:
        fleet: the resources.
        inverter: (m,) column of each inverter in the fleet.
        s_mva: (m,) nameplate apparent power.
        settings: what each inverter acts by, m columns.
        seed: of the devices' own random numbers.
        resource: (lanes,) column of each lane, -1 for a blank; lanes that look at the voltage first.
        active: number of lanes that look at the voltage within a step.
        lane: (m,) lane of each inverter.
        lanes: blocks of lanes, flat; see `columns`.
        table: (sets, COLUMNS) the distinct sets of settings.
        start: (sets + 1,) first block of each set.
        active_sets: number of sets that look at the voltage; they stand first.
        explicit: whether any set has a state machine to carry.
        pending: settings that have arrived and wait for their time: seconds left, fleet columns, block of Settings.
    """

    fleet: Fleet
    inverter: IntArray
    s_mva: FloatArray
    settings: Settings
    seed: int = 0
    resource: IntArray = field(init=False)
    active: int = field(init=False)
    lane: IntArray = field(init=False)
    lanes: FloatArray = field(init=False)
    table: FloatArray = field(init=False)
    start: IntArray = field(init=False)
    active_sets: int = field(init=False)
    explicit: bool = field(init=False)
    pending: list[tuple[FloatArray, IntArray, FloatArray]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Compile, and start every inverter in service."""
        self.compile()
        self.put(self._fresh())

    @classmethod
    def of(cls, fleet: Fleet, s_mva: FloatArray, settings: Settings, seed: int = 0) -> Inverters:
        """The inverters of a fleet: the resources whose nameplate ``s_mva`` is above zero; settings by resource."""
        inverter = np.flatnonzero(s_mva > 0)
        return cls(fleet, inverter, s_mva[inverter], Settings(settings.block[:, inverter]), seed)

    def compile(self) -> None:
        """Sort the inverters into lanes by their settings; the lanes' contents are for `put`."""
        found = compile_table(self.settings, self.fleet.capability, self.inverter)
        size = np.bincount(found.which, minlength=len(found.table))
        self.start = np.concatenate([[0], np.cumsum(-(-size // c.W))]).astype(np.int64)
        order = np.argsort(found.which, kind="stable")
        within = np.arange(order.size) - np.repeat(np.cumsum(size) - size, size)
        self.lane = np.empty(order.size, np.int64)
        self.lane[order] = np.repeat(self.start[:-1] * c.W, size) + within
        self.resource = np.full(int(self.start[-1]) * c.W, -1)
        self.resource[self.lane] = self.inverter
        self.table, self.active_sets = found.table, found.active_sets
        self.active = int(self.start[self.active_sets]) * c.W
        self.explicit = bool(np.any(self.table[:, c.EXPLICIT] > 0))
        self.lanes = np.zeros(int(self.start[-1]) * int(c.SIZE))

    def node(self) -> Int32Array:
        """(lanes,) first node of each lane, -1 for blanks and where it is not energised."""
        of_resource = np.full(self.fleet.n + 1, -1, np.int32)
        terminal = self.fleet.terminal
        of_resource[terminal.resource[::-1]] = terminal.node[::-1]
        return of_resource[self.resource]

    def row(self, offset: np.uint64) -> FloatArray:
        """A row of all lanes as a view, (blocks, W)."""
        return self.lanes.reshape(-1, c.ROWS, c.W)[:, int(offset) // c.W]

    def set(self, offset: np.uint64, value: npt.ArrayLike) -> None:
        """Write a row, one value an inverter."""
        full = np.zeros(self.resource.size)
        full[self.lane] = value
        self.row(offset)[...] = full.reshape(-1, c.W)

    def get(self, offset: np.uint64) -> FloatArray:
        """Read a row, one value an inverter."""
        return np.asarray(self.row(offset).reshape(-1)[self.lane])

    def take(self) -> FloatArray:
        """All rows by inverter, (ROWS, m)."""
        rows = self.lanes.reshape(-1, c.ROWS, c.W).transpose(1, 0, 2).reshape(c.ROWS, -1)
        return np.asarray(rows[:, self.lane])

    def put(self, rows: FloatArray) -> None:
        """Fill the lanes with rows by inverter; blanks are harmless ones in service."""
        blank = np.zeros(c.ROWS)
        for offset in (c.V, c.S, c.PR, c.RATIO, c.PERMIT, c.P_ES, c.P_CAP, c.VREF):
            blank[int(offset) // c.W] = 1.0
        blank[int(c.STATUS) // c.W], blank[int(c.P_TOP) // c.W] = c.CONTINUOUS, c.FAR
        full = np.repeat(blank[:, None], self.resource.size, axis=1)
        full[:, self.lane] = rows
        self.lanes[:] = full.reshape(c.ROWS, -1, c.W).transpose(1, 0, 2).reshape(-1)

    def _fresh(self) -> FloatArray:
        """Rows of inverters that are in service and have just begun, (ROWS, m)."""
        rows = np.zeros((c.ROWS, self.inverter.size))
        sets = np.searchsorted(self.start * c.W, self.lane, side="right") - 1
        mine = self.table[sets].T if self.inverter.size else np.zeros((c.COLUMNS, 0))
        charge = np.maximum(-self.fleet.p_min_mw[self.inverter], 0.0)
        give = np.maximum(self.fleet.p_max_mw[self.inverter], 0.0)
        rated = np.maximum(np.where(give > 0, give, charge), 1e-12)
        random = np.random.Generator(np.random.PCG64([self.seed, 1547])).random(self.fleet.n)[self.inverter]
        nominal = self.settings.f_nom_hz
        for offset, value in (
            (c.V, 1.0), (c.F, np.where(nominal > 0, nominal, 50.0)), (c.PERMIT, 1.0), (c.S, self.s_mva), (c.PR, rated),
            (c.RATIO, np.where((give > 0) & (charge > 0), charge / rated, 1.0)), (c.WAIT, random),
            (c.STATUS, c.CONTINUOUS), (c.T_ES, c.FAR), (c.T_BLOCK, c.FAR), (c.P_ES, c.ES_DONE), (c.P_CAP, mine[c.AP_LIMIT]),
            (c.P_LAG, mine[c.P1]), (c.P_OUT, c.FAR), (c.P_TOP, c.BIG),
        ):  # fmt: skip
            rows[int(offset) // c.W] = value
        return rows

    def slopes(self) -> tuple[FloatArray, FloatArray]:
        """Steepest |dq/dv| and |dp/dv| of each lane's curves [Mvar/pu, MW/pu]; 0 where a function is off."""
        t = self.table
        steps = np.abs(np.stack([t[:, c.D1] * t[:, c.W1], t[:, c.D2] * t[:, c.W2], t[:, c.D3] * t[:, c.W3]]))
        sizes = np.diff(self.start) * c.W
        s, rated = self.row(c.S).reshape(-1), self.row(c.PR).reshape(-1)
        p_slope = np.repeat(np.abs(t[:, c.DP] * t[:, c.UW]) * t[:, c.PV], sizes) * rated
        tangent = np.abs(t[:, c.PF_SIGN]) * np.sqrt(1.0 / np.minimum(t[:, c.PF_COS], t[:, c.PF_COS] + t[:, c.PF_D]) ** 2 - 1.0)
        pieces = np.abs(t[:, c.E1 : c.E5 + 1] * t[:, c.XW1 : c.XW5 + 1]).max(axis=1, initial=0.0)
        by_power = np.repeat(tangent, sizes) + np.repeat(pieces, sizes) * s / rated
        return np.repeat(steps.max(axis=0, initial=0.0) * t[:, c.QV], sizes) * s + by_power * p_slope, p_slope

    def lag(self, dt_s: float) -> FloatArray:
        """Share of a change that comes through within a step: reactive power, volt-watt, droop, reference; (4, sets).

        A step longer than three response times is steady: 1, the curve holds exactly.
        """
        times = self.table[:, [c.Q_T, c.PV_T, c.PF_T, c.VREF_T]].T.copy()
        times[3] *= math.log(10.0)  # a time constant, where the others are response times
        share = -np.expm1(-dt_s * math.log(10.0) / np.maximum(times, 1e-9))
        return np.where(dt_s > 3.0 * times, 1.0, share)

    def adopt(self, settings: Settings, at: IntArray) -> None:
        """Take new settings for the inverters in the fleet's columns ``at``: they act once their execution delay is over.

        The delay (``set_exe_time_s`` of what the device holds) runs from the beginning of the next step.
        """
        where = np.searchsorted(self.inverter, at)
        if np.any(where >= self.inverter.size) or np.any(self.inverter[np.minimum(where, self.inverter.size - 1)] != at):
            raise ValueError("settings for a resource without an inverter")
        self.pending.append((self.settings.set_exe_time_s[where].copy(), where, settings.block.copy()))

    def due(self, dt_s: float) -> bool:
        """Let waiting settings grow older by a step; where their time has come act by them, and say so."""
        changed = False
        waiting = []
        for left, where, block in self.pending:
            now = left <= 0.0
            if np.any(now):
                self.settings.block[:, where[now]] = block[:, now]
                changed = True
            if not np.all(now):
                waiting.append((left[~now] - dt_s, where[~now], block[:, ~now]))
        self.pending = waiting
        if changed:
            rows = self.take()
            self.compile()
            self.put(rows)
        return changed

    def step(
        self, dt_s: float, vm_pu: npt.ArrayLike, f_hz: npt.ArrayLike, p_mw: npt.ArrayLike, *, p_min_mw: npt.ArrayLike = 0.0,
        p_max_mw: npt.ArrayLike | None = None, q_mvar: npt.ArrayLike = 0.0, follow_q: npt.ArrayLike = 0.0,
        permit: npt.ArrayLike = 1.0,
    ) -> FloatArray:  # fmt: skip
        """One step of all inverters at voltages that are given, without a network.

        Args:
            dt_s: length of the step.
            vm_pu: voltage at the terminals.
            f_hz: frequency there.
            p_mw: active power offered, injection positive.
            p_min_mw: least active power that could be delivered.
            p_max_mw: most active power that could be delivered; default: what is offered.
            q_mvar: commanded reactive power.
            follow_q: 1 where that leads.
            permit: 1 where service is permitted.

        Returns:
            Active and reactive power of each inverter [MW, Mvar], (2, m).
        """
        self.due(dt_s)
        most = p_mw if p_max_mw is None else p_max_mw
        for offset, value in (
            (c.V, vm_pu), (c.F, f_hz), (c.P_OFFER, p_mw), (c.P_WANT, p_mw), (c.P_MIN, p_min_mw), (c.P_MAX, most),
            (c.Q_OFFER, q_mvar), (c.FOLLOWS, follow_q), (c.PERMIT, permit),
        ):  # fmt: skip
            self.set(offset, value)
        power = np.zeros(int(self.start[-1]) * int(c.POWER_SIZE))
        alone(self.start, self.table, self.lag(dt_s), self.lanes, power, dt_s)
        return np.asarray(power.reshape(-1, 2, c.W).transpose(1, 0, 2).reshape(2, -1)[:, self.lane])

    def output(self) -> FloatArray:
        """Room for what comes out of all lanes, flat."""
        return np.zeros(int(self.start[-1]) * int(c.OUT_SIZE))

    def status(self) -> IntArray:
        """Status of each inverter, an index into `columns.STATUSES`."""
        return np.asarray(self.get(c.STATUS), np.int64) % int(c.CEASED)

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "lanes": self.take(),
            "settings": self.settings.block.copy(),
            "left": [left.copy() for left, _, _ in self.pending],
            "where": [where.copy() for _, where, _ in self.pending],
            "waiting": [block.copy() for _, _, block in self.pending],
        }

    def restore(self, state: dict[str, Any]) -> bool:
        """Go back to a remembered state; says whether settings differ from the present ones."""
        changed = not np.array_equal(self.settings.block, state["settings"])
        if changed:
            self.settings.block[:] = state["settings"]
            self.compile()
        self.put(state["lanes"])
        waiting = zip(state["left"], state["where"], state["waiting"], strict=True)
        self.pending = [(left.copy(), where.copy(), block.copy()) for left, where, block in waiting]
        return changed
