"""Where devices meet the network: voltage-dependent devices and power flow solved to one fixed point.

In a step that is long against the inverters' response (see `Inverters.lag`) the curves hold exactly, so that
power depends on voltage and voltage on power; both are iterated together. In a short step the curves see the
voltage of the step before, as a sampling device does, and the network is solved once.

Volt-var is a negative feedback, whose plain iteration would swing or diverge on weak feeders. An inverter on a
slope of its curve therefore moves only a part 1 / (1 + k) of the way, k being how much its own voltage answers if
all inverters move by their steepest slope; on a flat part it goes all the way. Where that has not settled after
`CAREFUL_AFTER` iterations every inverter takes the small step, which always settles. The fixed point itself is
not touched by any of this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit

from twin.devices.inverter import FOLLOWS, P_OFFER, Q_OFFER, VM, Inverters, S, advance, curves
from twin.devices.model import Delivered, Offer
from twin.spec import FleetSpec
from vpp.grid.network import Network
from vpp.grid.powerflow.port import PowerFlow
from vpp.grid.powerflow.tree import TreeSweep, tree_linear_solve
from vpp.kernel.signals import BoolArray, FloatArray, Int32Array, IntArray

TOLERANCE_PU = 1e-8
TOLERANCE_POWER = 1e-6
MAX_ITERATIONS = 400
CAREFUL_AFTER = 25

_O_P, _O_Q, _O_FOLLOW = Offer.p_mw.row, Offer.q_mvar.row, Offer.follow_q.row
_D_P, _D_Q, _D_VM = Delivered.p_mw.row, Delivered.q_mvar.row, Delivered.vm_pu.row


@dataclass(slots=True)
class Solved:
    """One step at the terminals and in the network.

    Attributes:
        delivered: what every resource delivers, and its voltage.
        v_re, v_im: (nodes,) voltages [pu] in the coupling's own order.
        converged: False: everything above is NaN.
        iterations: of the common fixed point.
    """

    delivered: Delivered
    v_re: FloatArray
    v_im: FloatArray
    converged: bool
    iterations: int


@dataclass(slots=True)
class Coupling:
    """The terminals of a fleet on one network.

    Attributes:
        network: the compiled network.
        engine: its power-flow engine.
        spec: the fleet.
        inverters: the fleet's inverters, compiled.
        order: (nodes,) position of each network node in the coupling's voltage arrays.
    """

    network: Network
    engine: PowerFlow
    spec: FleetSpec
    inverters: Inverters = field(init=False)
    order: Int32Array = field(init=False)
    v_re: FloatArray = field(init=False)
    v_im: FloatArray = field(init=False)
    _place: Int32Array = field(init=False)
    _lane_place: Int32Array = field(init=False)
    _first: Int32Array = field(init=False)
    _answer: FloatArray = field(init=False)
    _lag_dt_s: float = 0.0
    _lag: FloatArray = field(init=False)
    _steady: bool = True
    _now: FloatArray = field(init=False)
    _next: FloatArray = field(init=False)
    _is_lane: BoolArray = field(init=False)
    _fixed: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        """Compile terminals and inverters to positions in the engine's own node order."""
        network, terminal = self.network, self.spec.fleet.terminal
        tree = self.engine.arrays if isinstance(self.engine, TreeSweep) else None
        self.order = np.arange(network.n_node, dtype=np.int32) if tree is None else tree.position
        self.inverters = Inverters.of(self.spec)
        self._place = _positions(self.order, terminal.node)
        self._lane_place = _positions(self.order, self.inverters.node)
        self._first = np.full(self.spec.fleet.n, -1, np.int32)
        self._first[terminal.resource[::-1]] = self._place[::-1]
        self._is_lane = np.zeros(self.spec.fleet.n, np.bool_)
        self._is_lane[self.inverters.resource] = True
        m = self.inverters.resource.size
        # Active and reactive power of each lane (and whether on a slope): as it stands, and what its curves ask.
        self._now, self._next = np.zeros((4, m)), np.zeros((4, m))
        self.v_re, self.v_im = np.zeros(network.n_node), np.zeros(network.n_node)
        # Engines add the network's own constant injections themselves; the fused sweep is handed them.
        self._fixed = np.zeros((2, network.n_node))
        if tree is not None:
            self._fixed[:, self.order] = np.stack([network.fixed_p_mw, network.fixed_q_mvar])
        self._answer = self._voltage_answer()

    def solve(self, offer: FloatArray, dt_s: float) -> Solved:
        """Solve one step: ``offer`` is an `Offer` block (signals, n), the step is ``dt_s`` long."""
        inv, n = self.inverters, self.spec.fleet.n
        if dt_s != self._lag_dt_s:
            self._lag_dt_s, (self._lag, self._steady) = dt_s, inv.lag(dt_s)
        lag, steady = self._lag, self._steady
        delivered = np.empty((3, n))
        p_node, q_node = self._fixed.copy()
        _gather(offer, inv.resource, inv.block)
        _scatter(
            offer, self.spec.fleet.terminal.resource, self._place, self.spec.fleet.terminal.share, self._is_lane, p_node, q_node
        )
        _voltages(self.v_re, self.v_im, self._lane_place, inv.block)
        # Inverters without an active curve do not answer to voltage: once is enough.
        curves(inv.active_sets if steady else 0, len(inv.table), inv.start, inv.table, lag, inv.block, self._now)
        iterations = self._iterate(p_node, q_node, lag, steady)
        converged = iterations >= 0
        if converged:
            advance(inv.start, inv.table, lag, inv.block)
        else:
            self._now.fill(0.0)  # nothing of a step without a solution goes on, a NaN least of all
        _deliver(offer, inv.resource, self._now, self._first, self.v_re, self.v_im, converged, delivered)
        return Solved(Delivered(delivered), self.v_re, self.v_im, converged, iterations if converged else MAX_ITERATIONS)

    def _iterate(self, p_node: FloatArray, q_node: FloatArray, lag: FloatArray, steady: bool) -> int:
        """Find the common fixed point; voltages in place; returns iterations or -1 (voltages are NaN then)."""
        inv = self.inverters
        active, sets = (inv.active, inv.active_sets) if steady else (0, 0)
        if isinstance(self.engine, TreeSweep):
            return int(
                _tree_fixed_point(
                    self.engine.arrays, p_node, q_node, self.network.sn_mva, active, sets, self._lane_place, inv.start,
                    inv.table, lag, inv.block, self._now, self._next, self._answer, self.v_re, self.v_im, TOLERANCE_PU,
                    TOLERANCE_POWER, MAX_ITERATIONS,
                )
            )  # fmt: skip
        total = 0
        for iteration in range(MAX_ITERATIONS if active else 1):
            p, q = p_node.copy(), q_node.copy()
            _add_lanes(self._lane_place, self._now, p, q)
            before = self.v_re + 1j * self.v_im
            start = before if np.all(np.isfinite(before)) and np.any(before != 0.0) else None
            solution = self.engine.solve(p, q, start)
            total += solution.iterations
            self.v_re, self.v_im = np.ascontiguousarray(solution.v.real), np.ascontiguousarray(solution.v.imag)
            if not solution.converged:
                return -1
            if active == 0:
                return total
            _voltages(self.v_re, self.v_im, self._lane_place, inv.block)
            careful = float(iteration >= CAREFUL_AFTER)
            gap = _move(sets, inv.start, inv.table, lag, inv.block, self._now, self._next, self._answer, careful)
            moved = np.abs(solution.v - before).max()
            if gap <= TOLERANCE_POWER and moved <= TOLERANCE_PU:
                return total
        self.v_re.fill(np.nan)
        self.v_im.fill(np.nan)
        return -1

    def _voltage_answer(self) -> FloatArray:
        """How much each active inverter's voltage answers if all move by their steepest slope, as a loop gain (m,)."""
        inv = self.inverters
        answer = np.zeros(inv.resource.size)
        q_slope, p_slope = inv.slopes()
        on = (self._lane_place >= 0) & (q_slope + p_slope > 0.0)
        if not on.any():
            return answer
        node = inv.node[on]
        zero = np.zeros(self.network.n_node)
        base = self.engine.solve(zero, zero, None)
        # A probe small enough to stay linear: the steepest answer of the whole fleet scaled down to 1 % of the network's base.
        scale = 0.01 * self.network.sn_mva / max(float(np.sum(q_slope[on] + p_slope[on])), 1e-12)
        dq: FloatArray = np.bincount(node, q_slope[on] * scale, self.network.n_node).astype(np.float64)
        dp: FloatArray = np.bincount(node, p_slope[on] * scale, self.network.n_node).astype(np.float64)
        probe = self.engine.solve(-dp, -dq, base.v if base.converged else None)
        if not (base.converged and probe.converged):
            return np.where(on, 4.0, 0.0)
        answer[on] = (np.maximum(np.abs(base.v) - np.abs(probe.v), 0.0) / scale)[node]
        return answer

    def vm_of_bus(self) -> FloatArray:
        """Voltage magnitude of every bus of the network [pu]; NaN where it is not energised."""
        return np.asarray(_bus_voltages(self.v_re, self.v_im, self.order, self.network.node_of_bus))

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """Everything that the next step depends on."""
        return {"v": np.stack([self.v_re, self.v_im]), "lanes": self.inverters.block.copy(), "now": self._now.copy()}

    def restore(self, state: dict[str, np.ndarray[Any, Any]]) -> None:
        """Go back to a remembered state."""
        self.v_re, self.v_im = state["v"][0].copy(), state["v"][1].copy()
        self.inverters.block[:], self._now[:] = state["lanes"], state["now"]


def _positions(order: Int32Array, node: Int32Array) -> Int32Array:
    place = np.full(node.size, -1, np.int32)
    place[node >= 0] = order[node[node >= 0]]
    return place


@njit(cache=True, nogil=True)
def _gather(offer: FloatArray, resource: IntArray, block: FloatArray) -> None:
    for j in range(resource.size):
        i = resource[j]
        block[P_OFFER, j], block[Q_OFFER, j], block[FOLLOWS, j] = offer[_O_P, i], offer[_O_Q, i], offer[_O_FOLLOW, i]


@njit(cache=True, nogil=True)
def _scatter(
    offer: FloatArray, resource: IntArray, place: Int32Array, share: FloatArray, is_lane: BoolArray,
    p_node: FloatArray, q_node: FloatArray,
) -> None:  # fmt: skip
    for c in range(resource.size):
        i, k = resource[c], place[c]
        if k >= 0 and not is_lane[i]:
            p_node[k] += offer[_O_P, i] * share[c]
            q_node[k] += offer[_O_Q, i] * share[c]


@njit(cache=True, nogil=True)
def _add_lanes(place: Int32Array, now: FloatArray, p_node: FloatArray, q_node: FloatArray) -> None:
    for j in range(place.size):
        if place[j] >= 0:
            p_node[place[j]] += now[0, j]
            q_node[place[j]] += now[1, j]


@njit(cache=True, nogil=True)
def _voltages(v_re: FloatArray, v_im: FloatArray, place: Int32Array, block: FloatArray) -> None:
    """Voltage at each lane; a cold start (no voltage yet) counts as nominal."""
    for j in range(place.size):
        k = place[j]
        v = math.sqrt(v_re[k] * v_re[k] + v_im[k] * v_im[k]) if k >= 0 else 0.0
        block[VM, j] = v if v > 0.0 else 1.0


@njit(cache=True, nogil=True)
def _move(
    sets: int, start: IntArray, table: FloatArray, lag: FloatArray, block: FloatArray, now: FloatArray, after: FloatArray,
    answer: FloatArray, careful: float,
) -> float:  # fmt: skip
    """Move the active lanes towards what their curves ask; returns the largest gap that was left, of rating."""
    curves(0, sets, start, table, lag, block, after)
    worst = 0.0
    for j in range(np.uint64(start[sets])):
        dp, dq = after[0, j] - now[0, j], after[1, j] - now[1, j]
        now[0, j] += dp / (1.0 + answer[j] * max(after[2, j], careful))
        now[1, j] += dq / (1.0 + answer[j] * max(after[3, j], careful))
        worst = max(worst, max(abs(dp), abs(dq)) / block[S, j])
    return worst


@njit(cache=True, nogil=True)
def _tree_fixed_point(
    arrays: Any, p_node: FloatArray, q_node: FloatArray, sn_mva: float, active: int, sets: int, place: Int32Array,
    start: IntArray, table: FloatArray, lag: FloatArray, block: FloatArray, now: FloatArray, after: FloatArray,
    answer: FloatArray, v_re: FloatArray, v_im: FloatArray, tol: float, tol_power: float, max_iter: int,
) -> int:  # fmt: skip
    """Tree sweep and curves in one loop, all in tree order; see `Coupling._iterate`."""
    n = v_re.size
    total = 0.0
    for k in range(n):
        total += v_re[k] * v_re[k] + v_im[k] * v_im[k]
    if not (total > 0.0 and total < np.inf):
        v_re[:], v_im[:] = arrays.v0_re, arrays.v0_im
    for j in range(active, place.size):
        if place[j] >= 0:
            p_node[place[j]] += now[0, j]
            q_node[place[j]] += now[1, j]
    p, q = np.empty(n), np.empty(n)
    i_re, i_im, vm = np.empty(n), np.empty(n), np.empty(n)
    per_sn = 1.0 / sn_mva
    # Where inverters outnumber nodes, a sweep is cheap beside a look at all curves: sweep a few times for each look.
    sweeps = min(max(active // n, 1), 4)
    for iteration in range(1, max_iter + 1):
        gap = 0.0
        p[:], q[:] = p_node, q_node
        if active > 0:
            for k in range(n):
                vm[k] = math.sqrt(v_re[k] * v_re[k] + v_im[k] * v_im[k])
            for j in range(active):
                block[VM, j] = vm[place[j]] if place[j] >= 0 else 1.0
            gap = _move(sets, start, table, lag, block, now, after, answer, 1.0 if iteration > CAREFUL_AFTER else 0.0)
            for j in range(active):
                if place[j] >= 0:
                    p[place[j]] += now[0, j]
                    q[place[j]] += now[1, j]
        settled = False
        for sweep in range(sweeps):
            for k in range(n):
                a, b = v_re[k], v_im[k]
                w = per_sn / (a * a + b * b)
                i_re[k] = (p[k] * a + q[k] * b) * w
                i_im[k] = (p[k] * b - q[k] * a) * w
            change = tree_linear_solve(arrays, i_re, i_im, v_re, v_im)
            if not change < 1e12:
                break
            if change <= tol * tol:
                settled = sweep == 0
                break
        if settled and gap <= tol_power:
            return iteration
        if not change < 1e12:
            break
    v_re[:] = np.nan
    v_im[:] = np.nan
    return -1


@njit(cache=True, nogil=True)
def _deliver(
    offer: FloatArray, resource: IntArray, now: FloatArray, first: Int32Array, v_re: FloatArray, v_im: FloatArray,
    converged: bool, out: FloatArray,
) -> None:  # fmt: skip
    for i in range(first.size):
        k = first[i]
        if not converged:
            out[0, i] = out[1, i] = out[2, i] = np.nan
        elif k < 0:
            out[0, i], out[1, i], out[2, i] = 0.0, 0.0, np.nan
        else:
            out[0, i], out[1, i] = offer[_O_P, i], offer[_O_Q, i]
            out[2, i] = math.sqrt(v_re[k] * v_re[k] + v_im[k] * v_im[k])
    if converged:
        for j in range(resource.size):
            i = resource[j]
            if first[i] >= 0:
                out[0, i], out[1, i] = now[0, j], now[1, j]


@njit(cache=True, nogil=True)
def _bus_voltages(v_re: FloatArray, v_im: FloatArray, order: Int32Array, node_of_bus: Int32Array) -> FloatArray:
    out = np.empty(node_of_bus.size)
    for b in range(node_of_bus.size):
        node = node_of_bus[b]
        if node < 0:
            out[b] = np.nan
        else:
            k = order[node]
            out[b] = math.sqrt(v_re[k] * v_re[k] + v_im[k] * v_im[k])
    return out
