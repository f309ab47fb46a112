"""The swing model of all islands, stepped with the network.

Within a step the frequency comes first: it is driven by what the network took in the step before, moved by what the
devices' offers change since. The network is then solved at the mean frequency of the step, and its exchange at the
slack, less the answer that the model gave the fleet, drives the next step. So what the model does not know of (losses,
volt-watt, a trip in the network) comes one step late and stays right.

A public grid that swings is in balance in the first step; what the exchange changes since, and scripted events, move
it. An island that a resource forms has no such balance: the forming resource feeds whatever the others leave.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numba import njit

from twin.devices.model import Delivered, Offer
from twin.frequency import kernel as c
from twin.frequency.parts import Droop, Forming, Island, Outcome, Stage, Unit, substeps
from twin.spec import FleetSpec
from vpp.kernel.seen import Event
from vpp.kernel.setpoints import FORMING, Setpoints
from vpp.kernel.signals import BoolArray, ComplexArray, FloatArray, Int32Array, IntArray

__all__ = ["Droop", "Forming", "Island", "Outcome", "Stage", "Swing", "Unit"]

_P, _Q, _FOLLOW = Offer.p_mw.row, Offer.q_mvar.row, Offer.follow_q.row
_MIN, _MAX, _SOC = Offer.p_avail_min_mw.row, Offer.p_avail_max_mw.row, Offer.soc.row
_D_P, _D_Q, _D_VM = Delivered.p_mw.row, Delivered.q_mvar.row, Delivered.vm_pu.row
_S_P, _S_F, _S_MODE = Setpoints.p_mw.row, Setpoints.f_ref_hz.row, Setpoints.mode.row
TOLERANCE_MW: Final = 1e-6
SETTLING_S: Final = 120.0  # an island begins where it comes to rest with what is offered at first
_GOLDEN: Final = (math.sqrt(5.0) - 1.0) / 2.0


@dataclass(slots=True)
class Swing:
    """The frequency of every island.

    Attributes:
        spec: the fleet.
        islands: the islands; one whose inertia is 0 has a given frequency.
        node_island: (nodes,) island of each node of the network.
        slack_node: (slacks,) the network's slack nodes.
        events: (E, 4) island, from and until [s since the start], power that is added [MW].
        longest_s: longest sub-step.
        island_of: (n,) island of each resource, -1 on a dead node.
        out: (I, 5) the last step's frequency, see `Outcome`.
        f_mean_hz: (n,) mean frequency of the last step at each resource: what its own functions see.
    """

    spec: FleetSpec
    islands: tuple[Island, ...]
    node_island: Int32Array
    slack_node: Int32Array
    events: FloatArray = field(default_factory=lambda: np.zeros((0, 4)))
    longest_s: float = c.SUBSTEP_S
    island_of: Int32Array = field(init=False)
    out: FloatArray = field(init=False)
    f_mean_hz: FloatArray = field(init=False)
    _start: IntArray = field(init=False)
    _island: FloatArray = field(init=False)
    _unit: FloatArray = field(init=False)
    _stage: FloatArray = field(init=False)
    _member: IntArray = field(init=False)
    _gain: FloatArray = field(init=False)
    _acts: BoolArray = field(init=False)
    _load_stage: IntArray = field(init=False)
    _share: FloatArray = field(init=False)
    _forming: IntArray = field(init=False)
    _forming_unit: IntArray = field(init=False)
    _mean: FloatArray = field(init=False)
    _is_fleet: BoolArray = field(init=False)
    _substeps: dict[float, int] = field(default_factory=dict)
    # What the next step depends on.
    _memory: FloatArray = field(init=False)
    _x: FloatArray = field(init=False)
    _timer: FloatArray = field(init=False)
    _shed: BoolArray = field(init=False)
    _balance: FloatArray = field(init=False)
    _over: BoolArray = field(init=False)
    _guess: FloatArray = field(init=False)
    _said: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Compile islands, units and members to tables."""
        terminal = self.spec.fleet.terminal
        self.island_of = np.full(self.spec.fleet.n, -1, np.int32)
        live = terminal.node >= 0
        self.island_of[terminal.resource[live]] = self.node_island[terminal.node[live]]
        rows = [island.rows() for island in self.islands]
        self._start = np.cumsum([0, *(len(r) for r in rows)])
        self._unit = np.array([row for r in rows for row in r], np.float64)
        self._island = np.array([island.row() for island in self.islands], np.float64)
        count, units = len(self.islands), len(self._unit)
        self._lay_out_members()
        self._lay_out_stages()
        formed = [i for i, island in enumerate(self.islands) if island.forming is not None]
        self._forming = np.full(count, -1)
        self._forming_unit = np.full(count, -1)
        for i in formed:
            forming = self.islands[i].forming
            assert forming is not None
            self._forming[i], self._forming_unit[i] = forming.resource, self._start[i + 1] - 1
        self.out, self._mean = np.zeros((count, 5)), np.zeros(units)
        self.f_mean_hz = np.zeros(self.spec.fleet.n)
        self._memory, self._x = np.zeros((count, 3)), np.zeros((2, units))
        self._memory[:, c.F] = self._island[:, c.F_REF]
        # Base, reference and offers of the last step, see `_drive`; NaN before the first.
        self._balance = np.full((3, count), np.nan)
        self._over, self._guess = np.zeros(count, np.bool_), np.zeros(count)

    def _lay_out_members(self) -> None:
        """Which resources answer within which unit, and how steeply."""
        member, gain, acts = [], [], []
        self._is_fleet = np.zeros(len(self._unit), np.bool_)
        consumes = (self.spec.sign < 0.0) & (self.spec.s_rated_mva <= 0.0)
        for i, island in enumerate(self.islands):
            first = int(self._start[i]) + len(island.units)
            for k, droop in enumerate(island.droops):
                member.append(np.stack([droop.resources, np.full(droop.resources.size, first + k)]))
                gain.append(np.stack([droop.gain_uf, droop.gain_of]))
                acts.append(np.full(droop.resources.size, not droop.by_inverter))
            loads = np.flatnonzero(consumes & (self.island_of == i)) if island.load_share > 0.0 else np.zeros(0, np.int64)
            member.append(np.stack([loads, np.full(loads.size, first + len(island.droops))]))
            gain.append(np.full((2, loads.size), -island.load_share / island.f_nom_hz))
            acts.append(np.ones(loads.size, np.bool_))
            self._is_fleet[first : first + len(island.droops) + 1] = True
        self._member = np.concatenate(member, axis=1).astype(np.int64)
        self._gain, self._acts = np.concatenate(gain, axis=1), np.concatenate(acts).astype(np.bool_)

    def _lay_out_stages(self) -> None:
        """Every load is shed as a whole, by the one stage that a number drawn evenly over the loads falls into."""
        stages = max((len(island.stages) for island in self.islands), default=0)
        self._stage = np.zeros((len(self.islands), stages, 4))
        self._timer, self._shed = np.zeros((len(self.islands), stages)), np.zeros((len(self.islands), stages), np.bool_)
        self._load_stage = np.full(self.spec.fleet.n, -1)
        consumes = (self.spec.sign < 0.0) & (self.spec.s_rated_mva <= 0.0)
        for i, island in enumerate(self.islands):
            loads = np.flatnonzero(consumes & (self.island_of == i))
            edges = np.cumsum([stage.share for stage in island.stages])
            for k, stage in enumerate(island.stages):
                self._stage[i, k, : c.ST_FLEET] = stage.f_hz, stage.delay_s, stage.share * island.rest_load_mw
            number = (np.arange(1, loads.size + 1) * _GOLDEN) % 1.0
            which = np.searchsorted(edges, number, side="right")
            self._load_stage[loads] = np.where(which < len(island.stages), which, -1)

    @property
    def dead(self) -> BoolArray:
        """(I,) islands whose frequency left its limits."""
        return np.asarray(self._memory[:, c.DEAD] > 0.0)

    def begin(self, now_ns: int, t_s: float, dt_s: float, given_hz: float, offer: FloatArray, applied: FloatArray) -> FloatArray:
        """Go through the step's frequency; returns the offers with the fleet's answer to it.

        Args:
            now_ns: beginning of the step.
            t_s: the same, since the start of the run.
            dt_s: length of the step.
            given_hz: frequency of the islands that do not swing.
            offer: `Offer` block; it stays as it is.
            applied: `Setpoints` block that the devices hold.
        """
        block = offer.copy()
        forming = self._forming[self._forming >= 0]
        block[_P, forming] = block[_Q, forming] = 0.0
        block[_FOLLOW, forming] = 1.0
        self._references(offer, applied)
        _switch_off(block, self.island_of, self._load_stage, self._shed, self._memory)
        sums = np.zeros(len(self.islands))
        _gather(block, self._member, self._gain, self.island_of, self._load_stage, self._unit, self._stage, sums)
        p = self._drive(sums, applied)
        n = self._count(dt_s)
        before, dead = self._shed.copy(), self.dead
        given = self._island[:, c.SWINGS] == 0.0
        c.swing(
            t_s, dt_s / n, n, self._start, self._island, self._unit, self._memory, p, self.events, self._stage, self._timer,
            self._shed, self._x, self.out, self._mean,
        )  # fmt: skip
        self.out[given], self.out[given, c.ROCOF] = given_hz, 0.0
        self._memory[given, c.F] = given_hz
        self._say(now_ns, before, dead)
        _switch_off(block, self.island_of, self._load_stage, self._shed, self._memory)
        sums = _sums_of(block, self.island_of, len(self.islands))
        base, _, last = self._balance
        self._guess = np.where(np.isnan(base), sums, base + sums - last)
        self._balance[2] = sums
        _answer(block, self._member, self._gain, self._acts, self._unit, self._mean)
        self.f_mean_hz = np.where(self.island_of >= 0, self.out[self.island_of, c.MEAN], given_hz)
        return block

    def _count(self, dt_s: float) -> int:
        """Sub-steps of a step of this length; the loads' self-regulation at their rating."""
        if dt_s not in self._substeps:
            table = self._unit.copy()
            gain = self._gain * np.where(self._gain < 0.0, -self.spec.p_rated_mw[self._member[0]], 1.0)
            for row in (c.G_UF, c.G_OF):
                extra = np.bincount(self._member[1], gain[row], len(table))
                table[:, row] = np.where(self._is_fleet, extra, table[:, row])
            self._substeps[dt_s] = substeps(dt_s, self._island, self._start, table, self.longest_s)
        return self._substeps[dt_s]

    def _references(self, offer: FloatArray, applied: FloatArray) -> None:
        """Frequency reference and limits of the forming resources."""
        for i in np.flatnonzero(self._forming >= 0).tolist():
            j, u, p = self._forming[i], self._forming_unit[i], self._reference(i, applied)
            leads = applied[_S_MODE, j] == FORMING and applied[_S_F, j] > 0.0
            self._island[i, c.F_REF] = applied[_S_F, j] if leads else self.islands[i].f_nom_hz
            low, high = offer[_MIN, j], offer[_MAX, j]
            forming, fleet, soc = self.islands[i].forming, self.spec.fleet, offer[_SOC, j]
            if forming is not None and forming.fade > 0.0 and soc == soc:
                low = max(low, fleet.p_min_mw[j] * min(max((fleet.soc_max[j] - soc) / forming.fade, 0.0), 1.0))
                high = min(high, fleet.p_max_mw[j] * min(max((soc - fleet.soc_min[j]) / forming.fade, 0.0), 1.0))
            self._unit[u, c.LOW], self._unit[u, c.HIGH] = low - p, high - p

    def _reference(self, i: int, applied: FloatArray) -> float:
        """Power about which the forming resource's droop turns [MW]."""
        j = self._forming[i]
        return float(applied[_S_P, j]) if applied[_S_MODE, j] == FORMING else 0.0

    def _drive(self, sums: FloatArray, applied: FloatArray) -> FloatArray:
        """Power that drives each island at its reference frequency, (I,)."""
        base, reference, before = self._balance
        p = np.zeros(len(self.islands))
        for i, island in enumerate(self.islands):
            first = math.isnan(before[i])
            if island.forming is not None:
                p[i] = (sums[i] if first else base[i] + sums[i] - before[i]) + self._reference(i, applied)
                if first:
                    self._settle(i, p[i])
            elif not first and not math.isnan(reference[i]):
                p[i] = base[i] + sums[i] - before[i] - reference[i]
        return p

    def _settle(self, i: int, p_mw: float) -> None:
        """Begin where the island comes to rest, if it does inside its limits."""
        island, memory = self._island[i].copy(), self._memory[i].copy()
        island[c.F_MIN], island[c.F_MAX] = -np.inf, np.inf
        n = self._count(SETTLING_S)
        x, work, out = self._x.copy(), np.zeros((5, 3, len(self._unit))), np.zeros(5)
        none = np.zeros((0, 4)), np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.bool_)
        c.swing_island(
            i, 0.0, SETTLING_S / n, n, self._start[i], self._start[i + 1], island, self._unit, memory, p_mw, *none, x, work, out,
            self._mean.copy(),
        )  # fmt: skip
        if self._island[i, c.F_MIN] < memory[c.F] < self._island[i, c.F_MAX]:
            self._memory[i], self._x = memory, x

    def _say(self, now_ns: int, before: BoolArray, dead: BoolArray) -> None:
        """Tell what was shed and what died in this step."""
        self._said = []
        for i, s in np.argwhere(self._shed & ~before).tolist():
            name, stage = self.islands[i].name, self._stage[i, s]
            p = float(stage[c.ST_REST] + stage[c.ST_FLEET])
            text = f"{name}: below {stage[c.ST_F]:g} Hz, stage {s + 1} sheds {p:.6f} MW"
            self._said.append(Event(now_ns, "plant", "shedding", text, name, p))
        for i in np.flatnonzero(self.dead & ~dead).tolist():
            x = self.islands[i]
            text = f"{x.name} is dead: its frequency left {x.f_min_hz:g}…{x.f_max_hz:g} Hz"
            self._said.append(Event(now_ns, "plant", "blackout", text, x.name))

    def end(self, now_ns: int, delivered: FloatArray, slack_mva: ComplexArray, offer: FloatArray) -> Outcome:
        """Take in how the network was solved.

        Args:
            now_ns: beginning of the step.
            delivered: `Delivered` block; the forming resources' columns are filled in here, dead islands are nothing.
            slack_mva: (slacks,) what each slack takes from the network, NaN without a solution.
            offer: `Offer` block, as it was given to `begin`.
        """
        taken = np.zeros(len(self.islands), np.complex128)
        np.add.at(taken, self.node_island[self.slack_node], slack_mva)
        answer = np.zeros(len(self.islands))
        for i in range(len(self.islands)):
            own = slice(int(self._start[i]), int(self._start[i + 1]))
            answer[i] = self._mean[own][self._is_fleet[own]].sum()
        good, dead = np.isfinite(taken.real), self.dead
        reference = self._balance[1]
        # Without a solution the network is taken to balance as it was expected to.
        self._balance[0] = np.where(good, taken.real - answer, self._guess)
        self._balance[1] = np.where(np.isnan(reference) & good, self._balance[0], reference)
        for i in np.flatnonzero(self._forming >= 0).tolist():
            delivered[_D_P, self._forming[i]], delivered[_D_Q, self._forming[i]] = -taken[i].real, -taken[i].imag
            if good[i] and not dead[i]:
                self._watch(now_ns, i, complex(-taken[i]), offer)
        if dead.any():
            delivered[:, (self.island_of >= 0) & dead[self.island_of]] = 0.0
        return Outcome(self.out.copy(), tuple(self._said))

    def _watch(self, now_ns: int, i: int, s_mva: complex, offer: FloatArray) -> None:
        """Say when a forming resource comes to feed more than it has, and when that is over."""
        forming = self.islands[i].forming
        assert forming is not None
        j, who = forming.resource, self.spec.fleet.id[forming.resource]
        beyond = max(s_mva.real - offer[_MAX, j], offer[_MIN, j] - s_mva.real)
        if forming.s_mva > 0.0:
            beyond = max(beyond, abs(s_mva) - forming.s_mva)
        over = bool(beyond > TOLERANCE_MW)
        if over and not self._over[i]:
            text = f"{who} forms {self.islands[i].name} with {s_mva.real:.6f} MW, {s_mva.imag:.6f} Mvar: {beyond:.6f} too much"
            self._said.append(Event(now_ns, "plant", "overload", text, who, beyond))
        elif self._over[i] and not over:
            self._said.append(Event(now_ns, "plant", "overload-end", f"{who} is inside its limits again", who))
        self._over[i] = over

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """Everything that the next step depends on."""
        return {name: getattr(self, f"_{name}").copy() for name in _STATE}

    def restore(self, state: dict[str, np.ndarray[Any, Any]]) -> None:
        """Go back to a remembered state."""
        for name in _STATE:
            setattr(self, f"_{name}", state[name].copy())


_STATE: Final = ("memory", "x", "timer", "shed", "balance", "over")


def _sums_of(block: FloatArray, island_of: Int32Array, count: int) -> FloatArray:
    """Sum of the offers in each island, (I,)."""
    on = island_of >= 0
    return np.asarray(np.bincount(island_of[on], block[_P, on], count), np.float64)


@njit(cache=True, nogil=True)
def _switch_off(block: FloatArray, island_of: Int32Array, load_stage: IntArray, shed: BoolArray, memory: FloatArray) -> None:
    """No power of loads that were shed, nor of anything in a dead island."""
    for j in range(island_of.size):
        i = island_of[j]
        if i >= 0 and (memory[i, 2] > 0.0 or (load_stage[j] >= 0 and shed[i, load_stage[j]])):
            block[_P, j] = block[_Q, j] = block[_MIN, j] = block[_MAX, j] = 0.0
            block[_FOLLOW, j] = 1.0


@njit(cache=True, nogil=True)
def _gather(
    block: FloatArray, member: IntArray, gain: FloatArray, island_of: Int32Array, load_stage: IntArray, unit: FloatArray,
    stage: FloatArray, sums: FloatArray,
) -> None:  # fmt: skip
    """Sum the offers of each island, the headroom of each droop and the load behind each stage.

    A load's gain is stated for each MW that it takes (below zero), a droop's as it is.
    """
    stage[:, :, 3] = 0.0
    for j in range(island_of.size):
        i = island_of[j]
        if i >= 0:
            sums[i] += block[_P, j]
            if load_stage[j] >= 0:
                stage[i, load_stage[j], 3] -= block[_P, j]
    for k in range(member.shape[1]):
        u = member[1, k]
        if gain[0, k] < 0.0:
            unit[u, 0] = unit[u, 1] = 0.0
        else:
            unit[u, 4] = unit[u, 5] = 0.0
    for k in range(member.shape[1]):
        j, u = member[0, k], member[1, k]
        if gain[0, k] < 0.0:
            unit[u, 0] += gain[0, k] * min(block[_P, j], 0.0)
            unit[u, 1] += gain[1, k] * min(block[_P, j], 0.0)
        else:
            unit[u, 4] += min(block[_MIN, j] - block[_P, j], 0.0)
            unit[u, 5] += max(block[_MAX, j] - block[_P, j], 0.0)


@njit(cache=True, nogil=True)
def _answer(block: FloatArray, member: IntArray, gain: FloatArray, acts: BoolArray, unit: FloatArray, mean: FloatArray) -> None:
    """Add each member's part of its unit's mean power to its offer, as far as it can go itself."""
    for k in range(member.shape[1]):
        j, u = member[0, k], member[1, k]
        if not acts[k]:
            continue
        side = 0 if mean[u] > 0.0 else 1
        if gain[0, k] < 0.0:
            block[_P, j] += mean[u] * gain[side, k] * min(block[_P, j], 0.0) / max(unit[u, side], 1e-300)
        elif unit[u, side] > 0.0:
            want = block[_P, j] + mean[u] * gain[side, k] / unit[u, side]
            block[_P, j] = min(max(want, min(block[_MIN, j], block[_P, j])), max(block[_MAX, j], block[_P, j]))
