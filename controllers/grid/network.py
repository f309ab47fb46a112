"""Keep the network inside its limits: what the chain wants is tried on the network, and changed where it would break one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from controllers.grid.believed import Believed
from controllers.grid.redispatch import Limits, Lots, least_change
from vpp.grid.constraints import QUANTITIES, NodeRows, rows_at, tightest
from vpp.grid.network import BRANCH_KINDS, Network
from vpp.grid.stepping import StepDevices
from vpp.kernel import envelope as e
from vpp.kernel.envelope import Envelope
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE, Fleet
from vpp.kernel.groups import share
from vpp.kernel.ports import Safe, State
from vpp.kernel.seen import Event, Seen
from vpp.kernel.signals import ByteArray, ComplexArray, FloatArray, IntArray

ROUNDS: Final = 6
MOST: Final = 16  # limits of each kind that a round adds
BROKEN: Final = 1e-4  # pu, or share of rated current, beyond which a limit counts as broken
SPARE: Final = 2e-4  # likewise; more left to every limit that was broken means that too much was changed
ENOUGH: Final = 1e-3  # of what is changed: less is not worth another round
TOLD: Final = 1e-3  # a limit that stays broken by this much more than was said is said again
_MW: Final = 1e-9


@dataclass(slots=True, eq=False)
class NetworkGuard:
    """Guard: the fleet's powers keep voltages and currents inside their limits wherever they can.

    Every tick the powers that the chain would ask for go through a power flow. Where a limit (less its margin) is
    broken, the network is linearised there (`vpp.grid.constraints`), the least change of powers that mends it is
    found (`controllers.grid.redispatch`), and its power flow is looked at again, until nothing is broken or nothing
    more can be done. What stays broken is said, with how much: an event ``network-shortfall``.

    The model is corrected by what is estimated: see `Believed`. Reactive power is what was last measured, or what a
    proposer wants. What consumption and available power did since the last tick they are expected to do once more; while a
    limit binds, no resource that can only be limited goes beyond what was expected of it. This guard belongs behind all
    others: it sees what they leave, the limits of groups among it.

    Attributes:
        fleet: the resources.
        network: the network.
        steps: which resources hold its tap changers and shunts.
        vm_low_pu, vm_high_pu: band of the voltages, within what the network states for each bus.
        loading: highest current, of rated.
        margin_pu: kept back from both ends of the band, for what changes until the decision acts.
        margin_loading: likewise of the current.
        ahead: part of the last tick's change that is expected to go on.
        sigmas: kept back from the band beside it, in standard deviations of the estimated voltage.
        name: the name that stands as cause.
    """

    fleet: Fleet
    network: Network
    steps: StepDevices = field(default_factory=StepDevices)
    vm_low_pu: float = 0.9
    vm_high_pu: float = 1.1
    loading: float = 1.0
    margin_pu: float = 0.002
    margin_loading: float = 0.02
    ahead: float = 1.0
    sigmas: float = 0.0
    name: str = "network"
    safe: Safe = Safe.HOLD
    _believed: Believed = field(init=False, repr=False)
    _lots: Lots = field(init=False, repr=False)
    _told: FloatArray = field(init=False, repr=False)
    _level: FloatArray = field(init=False, repr=False)
    _scratch: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Compile the network; begin with nothing broken."""
        self._believed = Believed(self.fleet, self.network, self.steps, self.vm_low_pu, self.vm_high_pu, self.loading)
        self._lots = Lots.of_fleet(self.fleet)
        self._level = np.full(self.fleet.n, np.nan)  # consumption and available power one tick ago
        self._told = np.zeros(2)  # whether powers were changed, and what was said to stay broken
        self._scratch = np.empty((8, self.fleet.groups.n))

    def step(self, now_ns: int, seen: Seen, allowed: Envelope) -> Sequence[Event]:
        """Try the wants, and narrow to what the network bears."""
        believed = self._believed
        believed.observe(now_ns, seen)
        want, lo, hi, given = self._given(allowed)
        q_mvar = believed.q_expected(seen, allowed)
        v = believed.solve(given, q_mvar)
        band = believed.band(self.margin_pu, self.margin_loading, self.sigmas)
        if v is None:
            allowed.hold(seen.last.setpoints)
            text = "the power flow of what is wanted has no solution: no resource goes further than it was last asked to"
            return self._say(now_ns, text, np.inf, "", 0) if self._told[1] < np.inf else ()
        rooms = band.rooms(believed.network, v)
        quantity, element = tightest(believed.network, rooms, -BROKEN, MOST)
        if not len(quantity):
            return self._ended(now_ns)
        power, worst, who = self._mend(v, given, lo, hi, q_mvar, quantity, element, allowed)
        moved = np.abs(power - given) > _MW
        held = moved | (np.abs(given - want) > _MW)  # what a group's limit moved stays where the network was tried
        limited, follows = self.fleet.control == CONTROL_LIMIT, self.fleet.control == CONTROL_FOLLOW
        allowed.cap_p(np.where(limited | held & ((power < want) | moved & (power < given)), power, np.inf))
        allowed.floor_p(np.where(held & follows & ((power > want) | moved & (power > given)), power, -np.inf))
        return self._report(now_ns, int(moved.sum()), worst, who)

    def _given(self, allowed: Envelope) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """(n,) want, lowest, highest, and what the groups' limits make of the wants: what would be delivered [MW]."""
        block, groups = allowed.block, self.fleet.groups
        limited, fixed = self.fleet.control == CONTROL_LIMIT, self.fleet.control == CONTROL_NONE
        level = np.where(limited, block[e.REACH_P], np.where(fixed, block[e.WANT_P], np.nan))
        change = self.ahead * (level - self._level)
        change, self._level = np.where(np.isfinite(change), change, 0.0), level
        hi = np.minimum(block[e.HI_P], np.clip(block[e.REACH_P] + change, self.fleet.p_min_mw, self.fleet.p_max_mw))
        lo = np.minimum(block[e.LO_P], hi)
        want = np.clip(np.where(np.isfinite(block[e.WANT_P]), block[e.WANT_P], 0.0), lo, hi)
        want, lo, hi = (x + np.where(fixed, change, 0.0) for x in (want, lo, hi))
        given, binding = np.empty_like(want), np.empty(want.size, np.int32)
        share(
            groups.parent, groups.of, allowed.group_lo, allowed.group_hi, want, lo, hi, given, binding,
            np.zeros(groups.n), self._scratch,
        )  # fmt: skip
        return want, lo, hi, given

    def _mend(
        self, v: ComplexArray, given: FloatArray, lo: FloatArray, hi: FloatArray, q_mvar: FloatArray, quantity: ByteArray,
        element: IntArray, allowed: Envelope,
    ) -> tuple[FloatArray, float, str]:  # fmt: skip
        """Powers (n,) that break as little as can be, the worst that stays broken, and where."""
        believed, lots = self._believed, self._lots
        limited = self.fleet.control == CONTROL_LIMIT
        down, up = np.maximum(given - lo, 0.0), np.where(limited, 0.0, np.maximum(hi - given, 0.0))
        each = lots.sums(down), lots.sums(up)
        total = self.fleet.groups.sums(given)
        which = np.flatnonzero(np.isfinite(allowed.group_lo) | np.isfinite(allowed.group_hi))
        groups = which, np.minimum(allowed.group_lo - total, 0.0)[which], np.maximum(allowed.group_hi - total, 0.0)[which]
        band = believed.band(self.margin_pu, self.margin_loading, self.sigmas)
        change, best, least = np.zeros(len(lots)), (given, *self._worst(band.rooms(believed.network, v))), (np.inf, np.inf)
        for _ in range(ROUNDS):
            rows = rows_at(believed.network, v, band, quantity, element, believed.pattern)
            slope = self._slopes(rows)
            change, _ = least_change(lots, *each, Limits(slope, rows.room + slope @ change), groups)
            power = np.clip(given + lots.spread(change, down, up), lo, hi)
            new = believed.solve(power, q_mvar)
            if new is None:
                break
            v, rooms = new, band.rooms(believed.network, new)
            broken = sum(float(np.maximum(-room - BROKEN, 0.0).sum()) for room in rooms)
            cost = float(lots.price @ np.abs(change))
            better = broken < least[0] or (broken == least[0] and cost < (1.0 - ENOUGH) * least[1])
            if better:
                best, least = (power, *self._worst(rooms)), (broken, cost)
            more = tightest(believed.network, rooms, -BROKEN, MOST)
            fresh = ~np.isin(_key(*more), _key(quantity, element))
            spare = min(float(rooms[q][k]) for q, k in zip(quantity.tolist(), element.tolist(), strict=True))
            if not (better or fresh.any()) or (not len(more[0]) and spare < SPARE):
                break
            quantity = np.concatenate([quantity, more[0][fresh]])
            element = np.concatenate([element, more[1][fresh]])
        return best

    def _slopes(self, rows: NodeRows) -> FloatArray:
        """(r, l) the rows over the lots' changes."""
        return np.ascontiguousarray(rows.dp[:, self._believed.node_of[self._lots.like]])

    def _worst(self, rooms: tuple[FloatArray, ...]) -> tuple[float, str]:
        """By how much the most broken limit is broken, 0 where none is, and where."""
        least = [float(room.min(initial=np.inf)) for room in rooms]
        code = int(np.argmin(least))
        if least[code] >= 0.0:
            return 0.0, ""
        return -least[code], self._name(code, int(np.argmin(rooms[code])))

    def _name(self, code: int, element: int) -> str:
        """What people call a limit's place."""
        if code < 2:
            bus = int(self.network.node_bus[element])
            return f"{QUANTITIES[code]} bus {self.network.bus_id[bus] if bus >= 0 else element}"
        return f"loading {BRANCH_KINDS[self.network.branch_kind[element]]} {self.network.branch_id[element]}"

    def _report(self, now_ns: int, moved: int, worst: float, who: str) -> Sequence[Event]:
        """Say what began, and what stays broken."""
        if worst > BROKEN and abs(worst - self._told[1]) > TOLD:
            text = f"{who} stays beyond its limit and margin by {worst:.4f}: no resource can do more"
            return self._say(now_ns, text, worst, who, moved)
        if worst <= BROKEN:
            self._told[1] = 0.0
        if self._told[0] == 0.0 and moved:
            self._told[0] = 1.0
            return (Event(now_ns, self.name, "network-limit", f"{moved} resources give way to the network's limits", who),)
        return ()

    def _say(self, now_ns: int, text: str, worst: float, who: str, moved: int) -> Sequence[Event]:
        self._told[:] = 1.0, worst
        return (Event(now_ns, self.name, "network-shortfall", text, who, worst),)

    def _ended(self, now_ns: int) -> Sequence[Event]:
        if self._told[0] == 0.0:
            return ()
        self._told[:] = 0.0
        return (Event(now_ns, self.name, "network-limit-end", "no resource gives way to the network any more"),)

    def state(self) -> State:
        """What is believed of the network, and what was said."""
        return {"told": self._told.copy(), "level": self._level.copy(), **self._believed.state()}

    def restore(self, state: State) -> None:
        """Go back to a remembered state."""
        self._told[:], self._level = state["told"], state["level"].copy()
        self._believed.restore(state)


def _key(quantity: ByteArray, element: IntArray) -> IntArray:
    """One number for each limit."""
    return element * len(QUANTITIES) + quantity.astype(np.int64)
