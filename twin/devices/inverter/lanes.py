"""The inverters of a fleet: their settings compiled to a table, their state in lanes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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

_BLANK: Mapping[str, npt.ArrayLike] = {
    "V": 1.0, "S": 1.0, "PR": 1.0, "RATIO": 1.0, "PERMIT": 1, "P_CAP": 1.0, "VREF": 1.0, "STATUS": c.CONTINUOUS,
    "T_RAMP": c.LONGEST,
}  # fmt: skip


def _empty(n: int) -> list[npt.NDArray[Any]]:
    """Rows of ``n`` lanes, (rows, n) of each part."""
    return [np.zeros((len(rows), n), kind) for rows, kind in zip(c.ROWS, c.TYPES, strict=True)]


def _filled(rows: Mapping[str, npt.ArrayLike], n: int) -> list[npt.NDArray[Any]]:
    """The same, and these rows filled."""
    parts = _empty(n)
    for name, value in rows.items():
        part, k = c.PLACE[name]
        parts[part][k] = value
    return parts


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
        lanes: blocks of lanes; see `columns`.
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
    lanes: c.Lanes = field(init=False)
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
        blocks = int(self.start[-1])
        self.lanes = c.Lanes(*(part.reshape(-1) for part in _empty(blocks * c.W)))

    def node(self) -> Int32Array:
        """(lanes,) first node of each lane, -1 for blanks and where it is not energised."""
        of_resource = np.full(self.fleet.n + 1, -1, np.int32)
        terminal = self.fleet.terminal
        of_resource[terminal.resource[::-1]] = terminal.node[::-1]
        return of_resource[self.resource]

    def parts(self) -> tuple[npt.NDArray[Any], ...]:
        """The lanes' arrays, in the order of `columns.ROWS`."""
        return tuple(self.lanes)

    def row(self, name: str) -> npt.NDArray[Any]:
        """A row of all lanes as a view, (blocks, W)."""
        part, k = c.PLACE[name]
        flat: npt.NDArray[Any] = self.parts()[part]
        return flat.reshape(-1, len(c.ROWS[part]), c.W)[:, k]

    def set(self, name: str, value: npt.ArrayLike) -> None:
        """Write a row, one value an inverter."""
        of_lane = self.row(name)
        full = np.zeros(of_lane.size, of_lane.dtype)
        full[self.lane] = value
        of_lane[...] = full.reshape(-1, c.W)

    def get(self, name: str) -> npt.NDArray[Any]:
        """Read a row, one value an inverter."""
        return np.asarray(self.row(name).reshape(-1)[self.lane])

    def take(self) -> list[npt.NDArray[Any]]:
        """All rows by inverter, (rows, m) of each part."""
        blocks = (part.reshape(-1, len(rows), c.W) for part, rows in zip(self.parts(), c.ROWS, strict=True))
        whole = (block.transpose(1, 0, 2).reshape(block.shape[1], -1) for block in blocks)
        return [np.ascontiguousarray(rows[:, self.lane]) for rows in whole]

    def put(self, parts: Sequence[npt.NDArray[Any]]) -> None:
        """Fill the lanes with rows by inverter; blanks are harmless ones in service."""
        whole = _filled(_BLANK, self.resource.size)
        for part, full, rows in zip(self.parts(), whole, parts, strict=True):
            full[:, self.lane] = rows
            part[:] = full.reshape(len(full), -1, c.W).transpose(1, 0, 2).reshape(-1)

    def _fresh(self) -> list[npt.NDArray[Any]]:
        """Rows of inverters that are in service and have just begun."""
        mine = self._mine()
        charge = np.maximum(-self.fleet.p_min_mw[self.inverter], 0.0)
        give = np.maximum(self.fleet.p_max_mw[self.inverter], 0.0)
        rated = np.maximum(np.where(give > 0, give, charge), 1e-12)
        random = np.random.Generator(np.random.PCG64([self.seed, 1547])).random(self.fleet.n)[self.inverter]
        nominal = self.settings.f_nom_hz
        rows: Mapping[str, npt.ArrayLike] = {
            "V": 1.0, "F": np.where(nominal > 0, nominal, 50.0), "PERMIT": 1, "S": self.s_mva, "PR": rated,
            "RATIO": np.where((give > 0) & (charge > 0), charge / rated, 1.0), "WAIT": random * c.LONGEST,
            "STATUS": c.CONTINUOUS, "T_ES": c.LONGEST, "T_BLOCK": c.LONGEST, "T_RAMP": c.LONGEST,
            "P_CAP": mine[:, c.AP_LIMIT], "P_LAG": mine[:, c.P1], "P_OUT": c.FAR,
        }  # fmt: skip
        return _filled(rows, self.inverter.size)

    def _mine(self) -> FloatArray:
        """(m, COLUMNS) settings of each inverter."""
        return np.asarray(self.table[np.searchsorted(self.start * c.W, self.lane, side="right") - 1])

    def slopes(self) -> tuple[FloatArray, FloatArray]:
        """Steepest |dq/dv| and |dp/dv| of each lane's curves [Mvar/pu, MW/pu]; 0 where a function is off."""
        t = self.table
        steps = np.abs(np.stack([t[:, c.D1] * t[:, c.W1], t[:, c.D2] * t[:, c.W2], t[:, c.D3] * t[:, c.W3]]))
        sizes = np.diff(self.start) * c.W
        s, rated = self.row("S").reshape(-1), self.row("PR").reshape(-1)
        p_slope = np.repeat(np.abs(t[:, c.DP] * t[:, c.UW]) * t[:, c.PV], sizes) * rated
        tangent = np.abs(t[:, c.PF_SIGN]) * np.sqrt(1.0 / np.minimum(t[:, c.PF_COS], t[:, c.PF_COS] + t[:, c.PF_D]) ** 2 - 1.0)
        pieces = np.abs(t[:, c.E1 : c.E5 + 1] * t[:, c.XW1 : c.XW5 + 1]).max(axis=1, initial=0.0)
        by_power = np.repeat(tangent, sizes) + np.repeat(pieces, sizes) * s / rated
        return np.repeat(steps.max(axis=0, initial=0.0) * t[:, c.QV], sizes) * s + by_power * p_slope, p_slope

    def lag(self, dt_s: float) -> FloatArray:
        """What a step lets through, (5, sets): share of a change of Q, volt-watt, droop and reference; rise of power [pu].

        A step longer than three response times is steady: 1, the curve holds exactly.
        """
        times = self.table[:, [c.Q_T, c.PV_T, c.PF_T, c.VREF_T]].T.copy()
        times[3] *= math.log(10.0)  # a time constant, where the others are response times
        share = -np.expm1(-dt_s * math.log(10.0) / np.maximum(times, 1e-9))
        return np.vstack([np.where(dt_s > 3.0 * times, 1.0, share), self.table[:, c.RT_RATE] * dt_s])

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
            parts = self.take()
            self.compile()
            part, row = c.PLACE["P_OUT"]
            parts[part][row, self._mine()[:, c.EXPLICIT] == 0.0] = c.FAR
            self.put(parts)
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
        for name, value in (
            ("V", vm_pu), ("F", f_hz), ("P_WANT", p_mw), ("P_MIN", p_min_mw), ("P_MAX", most),
            ("Q_OFFER", q_mvar), ("FOLLOWS", follow_q), ("PERMIT", permit),
        ):  # fmt: skip
            self.set(name, value)
        alone(self.start, self.table, self.lag(dt_s), self.lanes, dt_s)
        return np.stack([self.get("P_OUT"), self.get("Q_OUT")])

    def output(self) -> FloatArray:
        """Room for what comes out of all lanes, flat."""
        return np.zeros(int(self.start[-1]) * int(c.OUT_SIZE))

    def status(self) -> IntArray:
        """Status of each inverter, an index into `columns.STATUSES`."""
        return np.asarray(self.get("STATUS"), np.int64) % c.CEASED

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            **dict(zip(c.Lanes._fields, self.take(), strict=True)),
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
        self.put([state[name] for name in c.Lanes._fields])
        waiting = zip(state["left"], state["where"], state["waiting"], strict=True)
        self.pending = [(left.copy(), where.copy(), block.copy()) for left, where, block in waiting]
        return changed
