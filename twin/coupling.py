"""Where devices meet the network: voltage-dependent devices and power flow solved to one fixed point.

Power depends on voltage through the inverters' curves, voltage on power through the network. A *look* asks every
active curve at the present voltages, for its power and for how that answers to voltage; then the network is solved
with these answers as straight lines, and the next look follows. Curves are made of straight pieces, so that two or
three looks are enough. It is the implicit step of the curves' open-loop response: stable at any step length, and
where the step is long against the response (see `Inverters.lag`) the curves hold exactly.

Inside, volt-var is a negative feedback whose plain iteration would swing or diverge on weak feeders. The voltage
that the straight lines see therefore follows the solved one by only a part of the way at a time, smaller where the
voltage moves more if all inverters answer. Where looks go in circles (from one flat part of a curve to
another, say), every inverter goes on in small steps, which always settle. The fixed point itself is not touched by any of this.

Status (trips, ride-through, enter service) is explicit: decided once a step by the voltage of the step before and the
frequency of this one, so that a device that trips cannot un-trip itself within the step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from twin import terminals as t
from twin.devices.inverter import Inverters
from twin.devices.inverter.advance import advance, settle
from twin.devices.inverter.respond import respond
from twin.devices.model import Delivered
from twin.spec import FleetSpec
from vpp.grid.network import Network
from vpp.grid.powerflow.port import PowerFlow
from vpp.grid.powerflow.tree import TreeSweep
from vpp.kernel.signals import BoolArray, FloatArray, Int32Array

TOLERANCE_PU = 3e-8
TOLERANCE_POWER = 5e-7
MAX_ITERATIONS = 2000


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
        v_re, v_im: (nodes,) voltages of the last step [pu], where the next one begins.
        seed: of the devices' own random numbers (randomised delays).
    """

    network: Network
    engine: PowerFlow
    spec: FleetSpec
    seed: int = 0
    inverters: Inverters = field(init=False)
    order: Int32Array = field(init=False)
    v_re: FloatArray = field(init=False)
    v_im: FloatArray = field(init=False)
    _place: Int32Array = field(init=False)
    _lane_place: Int32Array = field(init=False)
    _lane_spot: Int32Array = field(init=False)
    _spot_place: Int32Array = field(init=False)
    _spot: FloatArray = field(init=False)
    _first: Int32Array = field(init=False)
    _lag_dt_s: float = 0.0
    _lag: FloatArray = field(init=False)
    _now: FloatArray = field(init=False)
    _after: FloatArray = field(init=False)
    _is_lane: BoolArray = field(init=False)
    _permitted: FloatArray = field(init=False)
    _fixed: FloatArray = field(init=False)

    def __post_init__(self) -> None:
        """Compile terminals and inverters to positions in the engine's own node order."""
        network, terminal = self.network, self.spec.fleet.terminal
        tree = self.engine.arrays if isinstance(self.engine, TreeSweep) else None
        self.order = np.arange(network.n_node, dtype=np.int32) if tree is None else tree.position
        self.inverters = Inverters.of(self.spec.fleet, self.spec.s_rated_mva, self.spec.settings, self.seed)
        self._place = _positions(self.order, terminal.node)
        self._first = np.full(self.spec.fleet.n, -1, np.int32)
        self._first[terminal.resource[::-1]] = self._place[::-1]
        self._is_lane = np.zeros(self.spec.fleet.n, np.bool_)
        self._is_lane[self.inverters.inverter] = True
        self._permitted = np.ones(self.spec.fleet.n)
        self.v_re, self.v_im = np.zeros(network.n_node), np.zeros(network.n_node)
        # Engines add the network's own constant injections themselves; the fused sweep is handed them.
        self._fixed = np.zeros((2, network.n_node))
        if tree is not None:
            self._fixed[:, self.order] = np.stack([network.fixed_p_mw, network.fixed_q_mvar])
        self._arrange()

    def rewire(self, network: Network) -> None:
        """Go on with the same nodes and branches, some of their admittances changed (a tap changer has moved)."""
        self.network, self.engine = network, type(self.engine)(network)  # type: ignore[call-arg]

    def _arrange(self) -> None:
        """Everything that depends on which lane an inverter is in."""
        self._lane_place = _positions(self.order, self.inverters.node())
        # Power of each lane and its answer to voltage: as it stands, and what its curves ask.
        self._now, self._after = self.inverters.output(), self.inverters.output()
        self._lag_dt_s = 0.0
        self._find_spots()

    def solve(self, offer: FloatArray, dt_s: float, f_hz: FloatArray | float = 50.0, connect: FloatArray | None = None) -> Solved:
        """Solve one step.

        Args:
            offer: an `Offer` block (signals, n).
            dt_s: length of the step.
            f_hz: (n,) mean frequency of the step at each resource, or one for all.
            connect: (n,) 1 where a resource is permitted to be in service (default: everywhere).
        """
        inv, terminal = self.inverters, self.spec.fleet.terminal
        if inv.pending and inv.due(dt_s):
            self._arrange()
        if dt_s != self._lag_dt_s:
            self._lag_dt_s, self._lag = dt_s, inv.lag(dt_s)
        p_node, q_node = self._fixed.copy()
        sets = len(inv.table)
        at_hz = np.full(self.spec.fleet.n, f_hz)
        t.gather(offer, self._permitted if connect is None else connect, inv.resource, at_hz, inv.lanes)
        if inv.explicit:
            advance(0, sets, inv.start, inv.table, self._lag, inv.lanes, dt_s, 0.0)
        t.scatter(offer, terminal.resource, self._place, terminal.share, self._is_lane, p_node, q_node)
        # Inverters without an active curve do not answer to voltage: once is enough.
        respond(inv.active_sets, sets, inv.start, inv.table, self._lag, inv.lanes, self._now)
        t.add_lanes(inv.active, self._lane_place, self._now, p_node, q_node)
        iterations = self._iterate(p_node, q_node)
        converged = iterations >= 0
        if converged:
            settle(0, inv.active_sets, inv.start, inv.table, inv.lanes, self._after)
            settle(inv.active_sets, sets, inv.start, inv.table, inv.lanes, self._now)
            t.keep_voltages(0, sets, inv.start, inv.table, self._lane_place, self.v_re, self.v_im, inv.lanes)
        else:
            self._now.fill(0.0)  # nothing of a step without a solution goes on, a NaN least of all
        delivered = np.empty((3, self.spec.fleet.n))
        t.deliver(offer, inv.resource, self._now, self._first, self.v_re, self.v_im, converged, delivered)
        return Solved(Delivered(delivered), self.v_re, self.v_im, converged, iterations if converged else MAX_ITERATIONS)

    def _iterate(self, p_node: FloatArray, q_node: FloatArray) -> int:
        """Find the common fixed point; voltages in place; returns iterations or -1 (voltages are NaN then)."""
        inv = self.inverters
        if isinstance(self.engine, TreeSweep):
            return int(
                t.tree_fixed_point(
                    self.engine.arrays, p_node, q_node, self.network.sn_mva, inv.active_sets, inv.start, inv.table, self._lag,
                    inv.lanes, self._lane_spot, self._spot_place, self._spot, self._now, self._after, self.v_re, self.v_im,
                    TOLERANCE_PU, TOLERANCE_POWER, MAX_ITERATIONS,
                )
            )  # fmt: skip
        total, far = 0, np.inf
        p, q = p_node.copy(), q_node.copy()
        if inv.active and not (np.all(np.isfinite(self.v_re)) and np.any(self.v_re)) and not self._solve(p, q):
            return -1
        while total < MAX_ITERATIONS:
            small_steps = total >= t.SMALL_STEPS_AFTER
            gap = self._look(small_steps) if inv.active else 0.0
            if far <= TOLERANCE_PU and gap <= TOLERANCE_POWER:
                return total
            part_p, part_q = t.gains(self._spot, self._spot_place.size)
            far = np.inf
            while far > TOLERANCE_PU and total < MAX_ITERATIONS:
                t.add_spots(self._spot, self._spot_place, p_node, q_node, p, q)
                total += 1
                if not self._solve(p, q):
                    return -1
                far = 0.0 if small_steps else t.answer(self._spot, self._spot_place, self.v_re, self.v_im, part_p, part_q)
                if total >= t.SMALL_STEPS_AFTER:
                    break
        self.v_re.fill(np.nan)
        self.v_im.fill(np.nan)
        return -1

    def _look(self, small_steps: bool) -> float:
        inv = self.inverters
        return float(
            t.look(
                small_steps, inv.active_sets, inv.start, inv.table, self._lag, inv.lanes, self._lane_spot, self._spot_place,
                self.v_re, self.v_im, self._spot, self._now, self._after,
            )
        )  # fmt: skip

    def _solve(self, p: FloatArray, q: FloatArray) -> bool:
        """One power flow by the engine, from the present voltages where there are any."""
        before = self.v_re + 1j * self.v_im
        warm = bool(np.all(np.isfinite(before)) and np.any(before != 0.0))
        v, converged, _, _ = self.engine.solve(p, q, before if warm else None)
        self.v_re, self.v_im = np.ascontiguousarray(v.real), np.ascontiguousarray(v.imag)
        return bool(converged)

    def _find_spots(self) -> None:
        """Nodes with active inverters, the steepest answers there, and how the voltage moves if all answer so."""
        inv = self.inverters
        place = self._lane_place[: inv.active]
        self._spot_place, which = np.unique(place[place >= 0], return_inverse=True)
        spots = self._spot_place.size
        self._lane_spot = np.full(inv.active, spots, np.int32)
        self._lane_spot[place >= 0] = which
        self._spot = np.zeros((t.SPOT_ROWS, spots + 1))
        if spots == 0:
            return
        node = np.argsort(self.order).astype(np.int32)[self._spot_place]
        slopes = inv.slopes()
        for slope, steep, gain in zip(slopes, (t.Q_STEEP, t.P_STEEP), (t.Q_GAIN, t.P_GAIN), strict=True):
            self._spot[steep] = np.bincount(self._lane_spot, slope[: inv.active], spots + 1)
            self._spot[gain, :spots] = self._voltage_gain(node, self._spot[steep, :spots], reactive=steep == t.Q_STEEP)

    def _voltage_gain(self, node: Int32Array, slope: FloatArray, *, reactive: bool) -> FloatArray:
        """Loop gain of each spot if all spots answer with ``slope`` [MVA/pu] together."""
        if not np.any(slope > 0.0):
            return np.zeros(node.size)
        zero = np.zeros(self.network.n_node)
        base = self.engine.solve(zero, zero, None)
        # A probe small enough to stay linear: the fleet's answer scaled down to 1 % of the network's base.
        scale = 0.01 * self.network.sn_mva / float(np.sum(slope))
        power = zero.copy()
        power[node] = -slope * scale
        probe = self.engine.solve(*((zero, power) if reactive else (power, zero)), base.v if base.converged else None)
        if not (base.converged and probe.converged):
            return np.full(node.size, 4.0)
        return np.asarray(np.maximum(np.abs(base.v) - np.abs(probe.v), 0.0)[node] / scale)

    def vm_of_bus(self) -> FloatArray:
        """Voltage magnitude of every bus of the network [pu]; NaN where it is not energised."""
        return np.asarray(t.bus_voltages(self.v_re, self.v_im, self.order, self.network.node_of_bus))

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {"v": np.stack([self.v_re, self.v_im]), "inverters": self.inverters.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a remembered state."""
        self.v_re, self.v_im = state["v"][0].copy(), state["v"][1].copy()
        if self.inverters.restore(state["inverters"]):
            self._arrange()


def _positions(order: Int32Array, node: Int32Array) -> Int32Array:
    place = np.full(node.size, -1, np.int32)
    place[node >= 0] = order[node[node >= 0]]
    return place
