"""Central Volt/VAR control: reactive power of inverters, tap changers and capacitors where the network loses least."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numba import njit

from vpp.grid.losses.problem import Devices, Limits, VoltVar
from vpp.grid.network import Network
from vpp.grid.stepping import StepDevices, SteppedNetwork
from vpp.kernel.capability import q_band, s_limit
from vpp.kernel.envelope import Envelope, heard
from vpp.kernel.errors import Diverged
from vpp.kernel.fleet import CONTROL_NONE, CONTROL_STEP, Fleet
from vpp.kernel.ports import Safe, State
from vpp.kernel.seen import Event, Seen
from vpp.kernel.signals import BoolArray, ByteArray, FloatArray, Int32Array, IntArray
from vpp.kernel.telemetry import Telemetry

_T_P, _T_Q, _T_VM = Telemetry.p_mw.row, Telemetry.q_mvar.row, Telemetry.vm_pu.row
SEEN_MVAR: Final = 1e-6
BROKEN_PU: Final = 1e-4  # summed over all limits: breaches that differ by less are alike


@dataclass(slots=True, eq=False)
class VoltVarController:
    """Proposer: at its intervals finds the reactive powers and steps with the least losses, and asks for them until the next.

    The network is solved at the powers that are measured and the steps that are held (`vpp.grid.losses.volt_var`). Inverters
    at one node share by what each can do. A step is taken only where it spares more than ``step_gain`` of the losses, or a
    limit that would otherwise stay broken: mechanisms wear. An optimum that is not found leaves the last one in force.

    Attributes:
        fleet: the resources.
        network: the network.
        steps: which resources hold its tap changers and shunts.
        every_s: from one optimum to the next.
        vm_low_pu, vm_high_pu: band of the voltages, within what the network states for each bus.
        loading: highest current, of rated.
        margin_pu: kept back from both ends of the band, for what changes until the next optimum.
        step_gain: share of the losses that taking steps has to spare.
        inverters: whether inverters take part; their own curves rest while they do.
        name: the name that stands as cause.
    """

    fleet: Fleet
    network: Network
    steps: StepDevices = field(default_factory=StepDevices)
    every_s: float = 900.0
    vm_low_pu: float = 0.9
    vm_high_pu: float = 1.1
    loading: float = 1.0
    margin_pu: float = 0.005
    step_gain: float = 0.02
    inverters: bool = True
    name: str = "volt_var"
    safe: Safe = Safe.WITHDRAW
    _stepped: SteppedNetwork = field(init=False, repr=False)
    _node: IntArray = field(init=False, repr=False)
    _leads: IntArray = field(init=False, repr=False)
    _led: StepDevices = field(init=False, repr=False)
    _power: FloatArray = field(init=False, repr=False)
    _want: FloatArray = field(init=False, repr=False)
    _next_ns: IntArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Find who takes part; nothing is wanted before the first optimum."""
        fleet, terminal = self.fleet, self.fleet.terminal
        self._stepped = SteppedNetwork(self.network, self.steps)
        self._node = np.full(fleet.n, -1, np.int64)
        self._node[terminal.resource[::-1]] = terminal.node[::-1]
        able = fleet.member & (fleet.control != CONTROL_NONE) & (fleet.capability.s_max_mva > 0.0) & (self._node >= 0)
        able[self._node >= 0] &= self.network.node_bus[self._node[self._node >= 0]] >= 0
        self._leads = np.flatnonzero(able) if self.inverters else np.zeros(0, np.int64)
        mine = fleet.control[self.steps.resource] == CONTROL_STEP
        self._led = StepDevices(self.steps.resource[mine], self.steps.device[mine])
        self._power = np.zeros((2, fleet.n))
        self._want = np.full((2, fleet.n), np.nan)  # reactive power, steps
        self._next_ns = np.full(1, -(2**63))

    def step(self, now_ns: int, seen: Seen, allowed: Envelope) -> Sequence[Event]:
        """Optimise if it is time; propose what was found."""
        telemetry = seen.telemetry
        _listen(telemetry.block, telemetry.quality, self._power)
        events: Sequence[Event] = ()
        if now_ns >= self._next_ns[0]:
            self._next_ns[0] = now_ns + round(self.every_s * 1e9)
            events = self._optimise(now_ns, seen)
        allowed.propose_q(self._want[0])
        allowed.propose_step(self._want[1])
        return events

    def _optimise(self, now_ns: int, seen: Seen) -> Sequence[Event]:
        """Find the best reactive powers and steps at this moment."""
        self._stepped.take(seen.applied.step)
        cap, at, vm = self.fleet.capability, self._leads, seen.telemetry.vm_pu
        low, high = np.empty(at.size), np.empty(at.size)
        _bands(
            at, self._power[0], vm, cap.s_max_mva, cap.i_max_pu, cap.table, cap.p_pu, cap.q_min_pu, cap.q_max_pu, low, high,
        )  # fmt: skip
        nodes, of = np.unique(self._node[at], return_inverse=True)
        least, most = (np.bincount(of, x, nodes.size).astype(np.float64) for x in (low, high))
        begin = np.clip(np.bincount(of, self._power[1][at], nodes.size).astype(np.float64), least, most)
        taps, shunts = self._movable()
        devices = Devices(self.network.node_bus[nodes].astype(np.int32), least, most, begin, taps, shunts)
        try:
            found = self._found(devices)
        except Diverged as error:
            return (Event(now_ns, self.name, "volt-var-failed", f"no optimum, the last one holds on: {error}"),)
        share = np.where(
            found.q_mvar < 0.0, found.q_mvar / np.minimum(least, -SEEN_MVAR), found.q_mvar / np.maximum(most, SEEN_MVAR)
        )
        self._want[0, at] = np.where(share[of] > 0.0, share[of] * np.where(found.q_mvar[of] < 0.0, low, high), 0.0)
        return self._take_steps(now_ns, found)

    def _movable(self) -> tuple[BoolArray, BoolArray]:
        """Which tap changers and which shunts may be moved."""
        n = len(self.network.taps)
        led = np.zeros(n + len(self.network.shunts), np.bool_)
        led[self._led.device] = True
        return led[:n], led[n:]

    def _found(self, devices: Devices) -> VoltVar:
        """The best, with the steps where they are unless moving them pays."""
        from vpp.grid.losses.volt_var import VoltVarOptimiser

        network, terminal = self._stepped.now, self.fleet.terminal
        power = self._power.copy()
        power[1, self._leads] = 0.0  # theirs is what is looked for
        on = terminal.node >= 0
        node, who, part = terminal.node[on], terminal.resource[on], terminal.share[on]
        p, q = (np.bincount(node, x[who] * part, network.n_node).astype(np.float64) for x in power)
        limits = self._limits(network)
        moved = VoltVarOptimiser(network, devices, limits).solve(p, q)
        now = moved.network
        if np.array_equal(now.taps.pos, network.taps.pos) and np.array_equal(now.shunts.step, network.shunts.step):
            return moved
        none = np.zeros(len(network.taps), np.bool_), np.zeros(len(network.shunts), np.bool_)
        still = VoltVarOptimiser(network, replace(devices, taps=none[0], shunts=none[1]), limits).solve(p, q)
        gain = _broken(still) - _broken(moved)
        pays = gain > BROKEN_PU or (gain > -BROKEN_PU and moved.loss_mw < (1.0 - self.step_gain) * still.loss_mw)
        return moved if pays else still

    def _limits(self, network: Network) -> Limits:
        """The band that is kept to."""
        of = Limits.of(network)
        low = np.where(np.isfinite(of.vm_min_pu), np.maximum(of.vm_min_pu, self.vm_low_pu) + self.margin_pu, of.vm_min_pu)
        high = np.where(np.isfinite(of.vm_max_pu), np.minimum(of.vm_max_pu, self.vm_high_pu) - self.margin_pu, of.vm_max_pu)
        return replace(of, vm_min_pu=low, vm_max_pu=high, loading=self.loading)

    def _take_steps(self, now_ns: int, found: VoltVar) -> Sequence[Event]:
        """Want the steps that were found; say which of them move."""
        at = np.concatenate([found.network.taps.pos, found.network.shunts.step])[self._led.device].astype(np.float64)
        held = self._stepped.positions()[self._led.device]
        self._want[1, self._led.resource] = at
        names = self.fleet.id
        moves = [(names[r], int(a), int(h)) for r, a, h in zip(self._led.resource.tolist(), at, held, strict=True) if a != h]
        return [Event(now_ns, self.name, "step", f"{who} goes from step {h} to {a}", who, float(a)) for who, a, h in moves]

    def state(self) -> State:
        """What is wanted, until when, and what was measured last."""
        held = np.full(self.fleet.n, np.nan)
        held[self.steps.resource] = self._stepped.positions()[self.steps.device]
        return {"want": self._want.copy(), "next_ns": self._next_ns.copy(), "power": self._power.copy(), "held": held}

    def restore(self, state: State) -> None:
        """Go back to a remembered state."""
        self._want[:], self._next_ns[:], self._power[:] = state["want"], state["next_ns"], state["power"]
        self._stepped.take(state["held"])


def _broken(found: VoltVar) -> float:
    """By how much all limits together are broken."""
    return float(sum(abs(b.value - b.limit) for b in found.breaches))


@njit(cache=True)
def _listen(tele: FloatArray, quality: ByteArray, power: FloatArray) -> None:
    """Keep the powers that are heard."""
    for i in range(power.shape[1]):
        if heard(tele[_T_P, i], quality[_T_P, i]):
            power[0, i] = tele[_T_P, i]
        if heard(tele[_T_Q, i], quality[_T_Q, i]):
            power[1, i] = tele[_T_Q, i]


@njit(cache=True)
def _bands(
    at: IntArray, p_mw: FloatArray, vm: FloatArray, s_max: FloatArray, i_max: FloatArray, table: Int32Array, p_pu: FloatArray,
    q_min_pu: FloatArray, q_max_pu: FloatArray, low: FloatArray, high: FloatArray,
) -> None:  # fmt: skip
    """Lowest and highest reactive power of each inverter at its present active power."""
    for j in range(at.size):
        i = at[j]
        t, room = table[i], s_limit(s_max[i], i_max[i], vm[i] if math.isfinite(vm[i]) else math.nan)
        low[j], high[j] = q_band(p_mw[i], room, s_max[i], p_pu[t], q_min_pu[t], q_max_pu[t])
        low[j], high[j] = min(low[j], 0.0), max(high[j], 0.0)
