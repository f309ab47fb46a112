"""What the network is believed to do at given powers: a power flow of the model, corrected by what is estimated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from vpp.grid.constraints import Band
from vpp.grid.network import Network
from vpp.grid.powerflow import PowerFlow, choose
from vpp.grid.sensitivity import Pattern
from vpp.grid.stepping import StepDevices, SteppedNetwork
from vpp.kernel import envelope as e
from vpp.kernel.envelope import Envelope
from vpp.kernel.fleet import Fleet
from vpp.kernel.grid_state import GridState
from vpp.kernel.ports import State
from vpp.kernel.quality import BLOCKED, INVALID
from vpp.kernel.seen import Seen
from vpp.kernel.signals import ByteArray, ComplexArray, FloatArray, IntArray
from vpp.kernel.telemetry import Telemetry

FOLLOWS: Final = 0.5  # part of the way that a correction goes at a time, towards what the newest estimate says
KEPT: Final = 64  # ticks remembered: an estimate describes a moment that has gone by

_T_P, _T_Q = Telemetry.p_mw.row, Telemetry.q_mvar.row


@dataclass(slots=True, eq=False)
class Believed:
    """The model of a network with the fleet on it, and how far it is wrong.

    Each tick the telemetry's powers go through a power flow. When an estimate of that moment comes in, the difference of
    its voltages and currents from the model's is what the model does not know (the source's voltage, what nobody
    measures): it is expected to stay, and moves the limits by as much. Where nothing is observable it stays as it was.

    Attributes:
        fleet: the resources.
        network: the network, at the steps that were last said to be held.
        steps: which resources hold its tap changers and shunts.
        vm_low_pu, vm_high_pu, loading: limits everywhere, within those that the network states for its buses.
        engine: its power flow.
        node_of: (n,) first node of each resource, -1: none.
    """

    fleet: Fleet
    network: Network
    steps: StepDevices
    vm_low_pu: float
    vm_high_pu: float
    loading: float
    engine: PowerFlow = field(init=False)
    pattern: Pattern = field(init=False)
    node_of: IntArray = field(init=False)
    _low: FloatArray = field(init=False)
    _high: FloatArray = field(init=False)
    _q: FloatArray = field(init=False)
    _vm_off: FloatArray = field(init=False)
    _vm_sigma: FloatArray = field(init=False)
    _loading_off: FloatArray = field(init=False)
    _past_ns: IntArray = field(init=False)
    _past: FloatArray = field(init=False)
    _estimate_ns: IntArray = field(init=False)
    _stepped: SteppedNetwork = field(init=False)

    def __post_init__(self) -> None:
        """Compile; begin with a model that is right."""
        network, n_node, terminal = self.network, self.network.n_node, self.fleet.terminal
        self.engine, self.pattern = choose(network)[0], Pattern(network)
        self.node_of = np.full(self.fleet.n, -1, np.int64)
        self.node_of[terminal.resource[::-1]] = terminal.node[::-1]
        self._low, self._high = np.full(n_node, -np.inf), np.full(n_node, np.inf)
        on = np.flatnonzero(network.node_of_bus >= 0)
        at = network.node_of_bus[on]
        np.maximum.at(self._low, at, np.fmax(network.vm_min_pu[on], self.vm_low_pu))
        np.minimum.at(self._high, at, np.fmin(network.vm_max_pu[on], self.vm_high_pu))
        self._stepped = SteppedNetwork(network, self.steps)
        self._q = np.zeros(self.fleet.n)
        self._vm_off, self._vm_sigma, self._loading_off = np.zeros(n_node), np.zeros(n_node), np.zeros(network.n_branch)
        self._past_ns, self._past = np.zeros(0, np.int64), np.zeros((0, n_node + network.n_branch))
        self._estimate_ns = np.full(1, -1, np.int64)

    def solve(self, p_mw: FloatArray, q_mvar: FloatArray) -> ComplexArray | None:
        """Voltages (n_node,) at powers (n,); None where there is no solution. Always from no load: it depends on nothing else."""
        terminal, n_node = self.fleet.terminal, self.network.n_node
        on = terminal.node >= 0
        node, who, part = terminal.node[on], terminal.resource[on], terminal.share[on]
        p, q = (np.bincount(node, x[who] * part, n_node).astype(np.float64) for x in (p_mw, q_mvar))
        solution = self.engine.solve(p, q)
        return solution.v if solution.converged else None

    def band(self, margin_pu: float, margin_loading: float, sigmas: float) -> Band:
        """The limits of the model: those of the network, moved by what it does not know."""
        back = margin_pu + sigmas * self._vm_sigma
        loading = self.loading - margin_loading - self._loading_off
        return Band(self._low + back - self._vm_off, self._high - back - self._vm_off, np.maximum(loading, 0.0))

    def observe(self, now_ns: int, seen: Seen) -> None:
        """Remember the measured reactive powers, and what the model says of this moment; take in steps and an estimate."""
        self._switch(seen.applied.step)
        q = seen.telemetry.block[_T_Q]
        heard = np.isfinite(q) & _usable(seen.telemetry.quality[_T_Q])
        self._q = np.where(heard, q, self._q)
        state = seen.news.grid_state
        if state is not None and state.time_ns > self._estimate_ns[0]:
            self._estimate_ns[0] = state.time_ns
            row = np.flatnonzero(self._past_ns == state.time_ns)
            if len(row):
                self._correct(state, self._past[row[0]])
        if state is not None:  # somebody estimates: from here on it pays to remember
            self._remember(now_ns, seen)

    def _switch(self, step: FloatArray) -> None:
        """Go to the steps that are held."""
        if self._stepped.take(step):
            self.network = self._stepped.now
            self.engine = type(self.engine)(self.network)  # type: ignore[call-arg]

    def _remember(self, now_ns: int, seen: Seen) -> None:
        """Keep what the model says of this tick until its estimate is here."""
        p = seen.telemetry.block[_T_P]
        heard = np.isfinite(p) & _usable(seen.telemetry.quality[_T_P])
        v = self.solve(np.where(heard, p, seen.last.setpoints.p_mw), self._q)
        if v is None:
            return
        said = np.concatenate([np.abs(v), self.network.branch_flows(v).loading])[None]
        newer = (self._past_ns > self._estimate_ns[0])[-(KEPT - 1) :]
        self._past_ns = np.append(self._past_ns[-(KEPT - 1) :][newer], now_ns)
        self._past = np.concatenate([self._past[-(KEPT - 1) :][newer], said])

    def _correct(self, state: GridState, said: FloatArray) -> None:
        """Move the corrections towards what an estimate says of a moment, against what the model said of it."""
        n_node = self.network.n_node
        bus = np.maximum(self.network.node_bus, 0)
        known = (self.network.node_bus >= 0) & np.isfinite(state.vm_pu[bus]) & _usable(state.quality[bus])
        gap = np.where(known, state.vm_pu[bus] - said[:n_node], self._vm_off)
        self._vm_off += FOLLOWS * (gap - self._vm_off)
        self._vm_sigma = np.where(known & np.isfinite(state.vm_sigma_pu[bus]), state.vm_sigma_pu[bus], self._vm_sigma)
        off = state.loading - said[n_node:]
        self._loading_off += FOLLOWS * np.where(np.isfinite(off), off - self._loading_off, 0.0)

    def q_expected(self, seen: Seen, allowed: Envelope) -> FloatArray:
        """(n,) reactive powers: what a proposer wants, else as measured last."""
        want = allowed.block[e.WANT_Q]
        led = np.isfinite(want)
        return np.where(led, np.clip(np.where(led, want, 0.0), allowed.block[e.LO_Q], allowed.block[e.HI_Q]), self._q)

    def state(self) -> State:
        """Everything that is remembered."""
        names = ("_q", "_vm_off", "_vm_sigma", "_loading_off", "_past_ns", "_past", "_estimate_ns")
        held = np.full(self.fleet.n, np.nan)
        held[self.steps.resource] = self._stepped.positions()[self.steps.device]
        return {"held": held, **{name[1:]: np.array(getattr(self, name)) for name in names}}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a remembered state."""
        self._switch(state["held"])
        for name in ("q", "vm_off", "vm_sigma", "loading_off", "past_ns", "past", "estimate_ns"):
            setattr(self, f"_{name}", np.array(state[name]))


def _usable(quality: ByteArray) -> Any:
    """Which values may enter a decision."""
    return (quality & (INVALID | BLOCKED)) == 0
