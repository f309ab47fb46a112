"""Tap changers and switched shunts under control of a voltage: band, delay, one step at a time.

A control waits while its voltage is outside its band; after its delay it moves one step, and after the shorter delay another
one as long as it stays outside. At the end of its range it rests. With no delays this is pandapower's DiscreteTapControl.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vpp.grid.network import Network
from vpp.grid.powerflow.lightsim2grid_engine import LightSim2Grid
from vpp.grid.powerflow.port import net_injections
from vpp.grid.sensitivity import Pattern
from vpp.grid.tables import ComplexArray, FloatArray, Int32Array, IntArray
from vpp.grid.taps import stepped


@dataclass(frozen=True, slots=True)
class StepControls:
    """Controls, one entry each.

    Attributes:
        device: (k,) what it moves: row of ``network.taps``, or their number + row of ``network.shunts``. None twice.
        node: (k,) whose voltage it looks at.
        vm_low_pu, vm_high_pu: (k,) its band; at the edge counts as outside.
        up: (k,) +1 where a step up raises that voltage, -1 where it lowers it.
        delay_s: (k,) how long it waits outside the band before its first step.
        next_s: (k,) how long before each further one.
    """

    device: IntArray
    node: IntArray
    vm_low_pu: FloatArray
    vm_high_pu: FloatArray
    up: IntArray
    delay_s: FloatArray
    next_s: FloatArray

    @classmethod
    def of(
        cls, network: Network, device: IntArray, bus: IntArray, vm_low_pu: FloatArray, vm_high_pu: FloatArray,
        delay_s: float | FloatArray = 0.0, next_s: float | FloatArray | None = None,
    ) -> StepControls:  # fmt: skip
        """Controls of the voltages at buses (k,), which for a tap changer are those at its transformer's ends.

        Raises:
            ValueError: a device twice, an empty band, a bus that is not energised or not at the transformer.
        """
        device, bus = np.asarray(device, np.int64), np.asarray(bus, np.int64)
        low, high = np.asarray(vm_low_pu, np.float64), np.asarray(vm_high_pu, np.float64)
        if len(np.unique(device)) != len(device):
            raise ValueError("two controls move the same device")
        if np.any(low >= high):
            raise ValueError("a control's band is empty")
        node = network.node_of_bus[bus].astype(np.int64)
        if np.any(node < 0):
            raise ValueError("a control's bus is not energised")
        up = np.ones(len(device), np.int64)
        for k, d in enumerate(device.tolist()):
            if d >= len(network.taps):
                shunt = d - len(network.taps)
                up[k] = 1 if network.shunts.y_step[shunt].imag > 0 else -1
                continue
            branch = network.taps.branch[d]
            if node[k] not in (network.branch_from_node[branch], network.branch_to_node[branch]):
                raise ValueError("a tap changer's control looks at a bus that is not at its transformer")
            same = (node[k] == network.branch_from_node[branch]) == network.taps.at_from[d]
            up[k] = np.sign(network.taps.step[d]) * (1 if same else -1)
        first = np.broadcast_to(np.asarray(delay_s, np.float64), low.shape).copy()
        further = first if next_s is None else np.broadcast_to(np.asarray(next_s, np.float64), low.shape).copy()
        return cls(device, node, low, high, up, first, further)


class Controlled(NamedTuple):
    """One solved step.

    Attributes:
        network: the network at the positions of ``v``; every engine takes it.
        v: (n_node,) voltages, pu; NaN where there is no solution.
        converged: whether there is one.
        moved: how many steps devices took after it (or, settling, before it).
        at_rest: no control is outside its band and able to move.
    """

    network: Network
    v: ComplexArray
    converged: bool
    moved: int
    at_rest: bool


class ControlledFlow:
    """Power flow of a network whose taps and shunts move; from one step to the next they stay where they are."""

    def __init__(self, network: Network, controls: StepControls) -> None:
        """Begin where the network's taps and shunts are."""
        self.network, self.controls = network, controls
        taps, shunts = network.taps, network.shunts
        self._pos: Int32Array = np.concatenate([taps.pos, shunts.step]).astype(np.int32)
        self._low = np.concatenate([taps.min, np.zeros(len(shunts), np.int32)])[controls.device]
        self._high = np.concatenate([taps.max, shunts.max_step])[controls.device]
        self._waited = np.zeros(len(controls.device))
        self._again = np.zeros(len(controls.device), np.bool_)
        self._engine = LightSim2Grid(network)
        pattern = Pattern(network)
        self._stored = self._engine.entries(pattern.row, pattern.col)

    def state(self) -> FloatArray:
        """Positions, how long each control has waited, and whether it waits for a further step."""
        return np.concatenate([self._pos, self._waited, self._again]).astype(np.float64)

    def restore(self, state: FloatArray) -> None:
        """Go on from a state; ValueError where it belongs to other devices."""
        n, k = len(self._pos), len(self._waited)
        if state.shape != (n + 2 * k,):
            raise ValueError(f"a state of {len(state)} numbers for {n} devices and {k} controls")
        self._pos = state[:n].astype(np.int32)
        self._waited, self._again = state[n : n + k].copy(), state[n + k :].astype(np.bool_)

    def positions(self) -> tuple[Int32Array, Int32Array]:
        """Tap positions (n_tap,) and shunts' steps (n_shunt,)."""
        n = len(self.network.taps)
        return self._pos[:n].copy(), self._pos[n:].copy()

    def step(self, p_mw: FloatArray, q_mvar: FloatArray, dt_s: float) -> Controlled:
        """Solve at injections (n_node,), then let the controls wait for ``dt_s`` and move: it shows in the next step."""
        now, v = self._solve(p_mw, q_mvar)
        if v is None:
            return Controlled(now, np.full(now.n_node, np.nan + 1j * np.nan), False, 0, False)
        c, want = self.controls, self._wanted(v)
        self._waited = np.where(want != 0, self._waited + dt_s, 0.0)
        self._again &= want != 0
        due = (want != 0) & (self._waited >= np.where(self._again, c.next_s, c.delay_s))
        self._pos[c.device[due]] += want[due].astype(np.int32)
        self._waited[due], self._again[due] = 0.0, True
        return Controlled(now, v, True, int(due.sum()), not want.any())

    def settle(self, p_mw: FloatArray, q_mvar: FloatArray, rounds: int = 200) -> Controlled:
        """Solve and move, each control that is outside one step a round, until all rest; delays do not count."""
        moved = 0
        while True:
            now, v = self._solve(p_mw, q_mvar)
            if v is None:
                return Controlled(now, np.full(now.n_node, np.nan + 1j * np.nan), False, moved, False)
            want = self._wanted(v)
            if not want.any() or rounds == 0:
                break
            rounds -= 1
            self._pos[self.controls.device] += want.astype(np.int32)
            moved += int(np.abs(want).sum())
        self._waited[:], self._again[:] = 0.0, False
        return Controlled(now, v, True, moved, not want.any())

    def _wanted(self, v: ComplexArray) -> IntArray:
        """Steps that the controls want (k,): -1, 0 or 1."""
        c, pos = self.controls, self._pos[self.controls.device]
        vm = np.abs(v[c.node])
        want = np.where(vm <= c.vm_low_pu, c.up, np.where(vm >= c.vm_high_pu, -c.up, 0))
        out: IntArray = np.where((pos + want >= self._low) & (pos + want <= self._high), want, 0)
        return out

    def _solve(self, p_mw: FloatArray, q_mvar: FloatArray) -> tuple[Network, ComplexArray | None]:
        """The network where its devices are, and its voltages; always from no load, so that a restored run is the same."""
        now = stepped(self.network, *self.positions())
        p, q = net_injections(self.network, p_mw, q_mvar)
        s = np.asarray(p + 1j * q, np.complex128) / self.network.sn_mva
        change = now.y_data - self.network.y_data
        return now, self._engine.solve_changed(s, self._engine.no_load, self._stored, change, np.zeros(0, np.int32))
