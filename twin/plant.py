"""The stepper: the simulated plant, one step after another. Co-simulation and HIL wrap the same parts.

Within step k: count what step k-1 delivered, adopt what was asked during it, offer, solve devices and network
together, measure. What a controller asks after seeing step k acts from step k+1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import njit

from twin.coupling import Coupling, Solved
from twin.devices.hybrid import SharedInverters
from twin.devices.model import Delivered, Offer
from twin.fleet import FleetModel
from twin.frequency import FrequencyProfile, Outcome, Swing
from twin.grid_meters import GridMeters, joined
from twin.sensors import Sensors
from twin.terminals import bus_voltages
from vpp.grid.flows import branch_flows_into
from vpp.grid.limits import ReversePower
from vpp.grid.network import Network
from vpp.grid.stepping import SteppedNetwork
from vpp.kernel.fleet import Fleet
from vpp.kernel.grid_points import PointLayout
from vpp.kernel.seen import Event, Observation
from vpp.kernel.setpoints import Asked, Setpoints
from vpp.kernel.signals import BoolArray, ComplexArray, FloatArray, Int32Array, IntArray

_O_P = Offer.p_mw.row
_ROWS = [signal.row for signal in (Offer.p_mw, Offer.q_mvar, Offer.p_avail_min_mw, Offer.p_avail_max_mw)]


@dataclass(slots=True)
class GridResult:
    """The network's truth of one step.

    Attributes:
        solved: terminals and node voltages.
        vm_pu: (buses,) voltage magnitude, NaN where not energised or not converged.
        loading: (branches,) current of rated current; NaN where unrated or not converged.
        losses_mw: active losses of all branches.
        exchange_mva: active + j reactive power into the public grid.
        f_hz: frequency of the first island (the public grid where there is one), at the end of the step.
        nadir_hz, zenith_hz: lowest and highest frequency of any island within the step.
        rocof_hz_per_s: fastest change of frequency of any island within the step, with its sign.
        events: what happened in the plant itself.
        reverse_mw: (branches,) power from a transformer's low to its high side, NaN for other branches; empty: nobody asked.
        points_true: what perfect meters of the network would show, in the order of its last points; empty: there are none.
    """

    solved: Solved
    vm_pu: FloatArray
    loading: FloatArray
    losses_mw: float
    exchange_mva: complex
    f_hz: float
    nadir_hz: float = float("nan")
    zenith_hz: float = float("nan")
    rocof_hz_per_s: float = 0.0
    events: tuple[Event, ...] = ()
    points_true: FloatArray = field(default_factory=lambda: np.zeros(0))
    reverse_mw: FloatArray = field(default_factory=lambda: np.zeros(0))


@dataclass(slots=True)
class GridModel:
    """The network with the fleet's terminals, its meters and its frequency.

    Attributes:
        coupling: terminals and network.
        sensors: the meters.
        frequency: frequency of every island that has no swing model.
        swing: the islands; None: there is one, and its frequency is given.
        meters: the meters that stand in the network, None for none; their points come after those of ``sensors``.
        feeds_back: whether results say what transformers feed back.
        steps: the network where its tap changers and shunts are, None where none of them is a resource.
    """

    coupling: Coupling
    sensors: Sensors
    frequency: FrequencyProfile
    swing: Swing | None = None
    meters: GridMeters | None = None
    feeds_back: bool = False
    steps: SteppedNetwork | None = None
    points: PointLayout = field(init=False)
    _shared: SharedInverters = field(init=False)
    _flows: Any = field(init=False)
    _scratch: FloatArray = field(init=False)
    _slack: tuple[Any, ...] = field(init=False)
    _beside: tuple[IntArray, IntArray] = field(init=False)
    _public: BoolArray = field(init=False)
    _reverse: ReversePower = field(init=False)

    def __post_init__(self) -> None:
        """Compile flows and slack rows to the coupling's order."""
        network = self.coupling.network
        self._shared = SharedInverters(self.coupling.spec)
        self._wire(network)
        self._scratch = np.empty((3, network.n_branch))
        node = self.coupling.spec.fleet.terminal.node
        beside = np.flatnonzero(np.isin(node, network.slack_node))
        self._beside = beside, np.searchsorted(network.slack_node, node[beside])
        self.points = self.sensors.points
        if self.meters is not None:
            self.points = self.points.followed_by(self.meters.layout)
        self._public = np.ones(len(network.slack_node), np.bool_)
        if self.swing is not None:
            formed = np.array([island.forming is not None for island in self.swing.islands])
            self._public = ~formed[self.swing.node_island[network.slack_node]]

    def _wire(self, network: Network) -> None:
        """What follows from the admittances."""
        order = self.coupling.order
        self._flows = network.flow_arrays(order)
        self._reverse = ReversePower.of(network, order)
        self._slack = _slack_rows(network.y_indptr, network.y_indices, network.y_data, network.slack_node, order)

    def _switch(self, step: FloatArray) -> None:
        """Take the steps (n,) that tap changers and shunts hold."""
        if self.steps is not None and self.steps.take(step):
            self.coupling.rewire(self.steps.now)
            self._wire(self.steps.now)
            if self.meters is not None:
                self.meters.network = self.steps.now

    def step(self, now_ns: int, t_s: float, dt_s: float, offer: Offer, applied: Any) -> tuple[GridResult, Observation]:
        """Solve one step and measure it.

        Args:
            now_ns: beginning of the step.
            t_s: the same in seconds since the start of the run.
            dt_s: length of the step.
            offer: what the devices offer.
            applied: the setpoints that they hold (goes into the observation as read-back); None: everything connected.
        """
        coupling, swing, offered = self.coupling, self.swing, _working(offer.block)
        if applied is not None:
            self._switch(applied.step)
        block = offered
        f_hz = self.frequency.at(t_s)
        n = coupling.spec.fleet.n
        at_hz = np.full(n, f_hz)
        if swing is not None:
            held = Setpoints.neutral(n) if applied is None else applied
            block = swing.begin(now_ns, t_s, dt_s, f_hz, block, held.block)
            at_hz = swing.f_mean_hz
        connect = None if applied is None else applied.connect
        solved = coupling.solve(self._shared.joined(block), dt_s, at_hz, connect)
        self._shared.part(block, solved.delivered.block)
        v_re, v_im = solved.v_re, solved.v_im
        if swing is not None and swing.dead.any():
            out = np.empty(v_re.size, np.bool_)
            out[coupling.order] = swing.dead[swing.node_island]
            v_re, v_im = np.where(out, 0.0, v_re), np.where(out, 0.0, v_im)
        loading = np.empty(coupling.network.n_branch)
        i_from, i_to, loss = self._scratch
        losses = float(branch_flows_into(self._flows, v_re, v_im, i_from, i_to, loading, loss))
        taken = self._taken(solved.delivered, v_re, v_im)
        exchange = complex(taken[self._public].sum())
        if swing is None:
            outcome, seen_hz = Outcome(np.array([[f_hz, f_hz, f_hz, f_hz, 0.0]])), at_hz
        else:
            outcome = swing.end(now_ns, solved.delivered.block, taken, offered)
            seen_hz = np.where(swing.island_of >= 0, outcome.island[swing.island_of, 0], f_hz)
        telemetry, points = self.sensors.observe(now_ns, offer.block, solved.delivered.block, seen_hz, exchange)
        if self.meters is not None:
            points = joined(points, self.meters.read(now_ns, (v_re + 1j * v_im)[coupling.order]), self.points)
        vm_pu = bus_voltages(v_re, v_im, coupling.order, coupling.network.node_of_bus)
        result = GridResult(
            solved, vm_pu, loading, losses, exchange, float(outcome.island[0, 0]), outcome.nadir_hz, outcome.zenith_hz,
            outcome.rocof_hz_per_s, outcome.events, np.zeros(0) if self.meters is None else self.meters.true,
            self._reverse(v_re + 1j * v_im) if self.feeds_back else np.zeros(0),
        )  # fmt: skip
        return result, Observation(telemetry, points, self.sensors.read_back(now_ns, applied))

    def _taken(self, delivered: Delivered, v_re: FloatArray, v_im: FloatArray) -> ComplexArray:
        """What each slack takes from the network and from the resources at its own node, (slacks,) MVA."""
        network, terminal = self.coupling.network, self.coupling.spec.fleet.terminal
        node, starts, columns, values = self._slack
        taken = network.fixed_p_mw[network.slack_node] + 1j * network.fixed_q_mvar[network.slack_node]
        beside, which = self._beside
        own = delivered.p_mw[terminal.resource[beside]] + 1j * delivered.q_mvar[terminal.resource[beside]]
        np.add.at(taken, which, own * terminal.share[beside])
        return np.asarray(taken - _slack_power(node, starts, columns, values, v_re, v_im) * network.sn_mva)

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        swing = {} if self.swing is None else {"swing": self.swing.state()}
        meters = {} if self.meters is None else {"meters": self.meters.state()}
        return {"coupling": self.coupling.state(), "sensors": self.sensors.state(), **swing, **meters}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a remembered state."""
        self.coupling.restore(state["coupling"])
        self.sensors.restore(state["sensors"])
        if self.swing is not None:
            self.swing.restore(state["swing"])
        if self.meters is not None:
            self.meters.restore(state["meters"])


def _working(offer: FloatArray) -> FloatArray:
    """The offers, nothing where a device's model has failed (NaN): that one is off the network."""
    if np.isfinite(offer[_O_P].sum()):
        return offer
    working = offer.copy()
    working[np.ix_(_ROWS, np.isnan(offer[_O_P]))] = 0.0
    return working


def _slack_rows(
    indptr: Int32Array, indices: Int32Array, data: ComplexArray, slack: Int32Array, order: Int32Array
) -> tuple[Int32Array, IntArray, Int32Array, ComplexArray]:
    """Admittance rows of the slack nodes in the coupling's order: node, row starts, columns, values."""
    rows = [slice(int(indptr[s]), int(indptr[s + 1])) for s in slack]
    starts = np.concatenate([[0], np.cumsum([r.stop - r.start for r in rows])]).astype(np.int64)
    columns = order[np.concatenate([indices[r] for r in rows])].astype(np.int32)
    return order[slack].astype(np.int32), starts, columns, np.concatenate([data[r] for r in rows])


@njit(cache=True, nogil=True)
def _slack_power(
    node: Int32Array, starts: IntArray, columns: Int32Array, values: ComplexArray, v_re: FloatArray, v_im: FloatArray
) -> ComplexArray:
    """Complex power that each slack node feeds into the network [pu]."""
    out = np.empty(node.size, np.complex128)
    for s in range(node.size):
        current = 0.0 + 0.0j
        for c in range(starts[s], starts[s + 1]):
            current += values[c] * complex(v_re[columns[c]], v_im[columns[c]])
        out[s] = complex(v_re[node[s]], v_im[node[s]]) * current.conjugate()
    return out


@dataclass(frozen=True, slots=True)
class Given:
    """Power of resources that are not simulated: devices outside whose measured power enters the network.

    Their inverters must have no function of their own (`vpp.kernel.settings.Settings` of zeros): a function would act twice.

    Attributes:
        at: (k,) their columns.
        p_mw, q_mvar: (k,) what they deliver, injection positive.
    """

    at: IntArray
    p_mw: FloatArray
    q_mvar: FloatArray

    def put(self, offer: Offer, applied: Setpoints) -> Setpoints:
        """Write it over the offer; returns the setpoints with these resources connected, since they deliver."""
        offer.p_mw[self.at], offer.q_mvar[self.at], offer.follow_q[self.at] = self.p_mw, self.q_mvar, 1.0
        held = applied.copy()
        held.connect[self.at] = 1.0
        return held


@dataclass(slots=True)
class TwinPlant:
    """The simulated plant behind the `Plant` port, stepped by whoever runs it.

    Attributes:
        devices: the fleet's devices.
        grid: network, terminals and meters.
        time_ns: (T,) beginning of every step.
        dt_s: length of a step.
        k: the step that `read` shows; -1 before the first.
        result: the network's truth of that step.
    """

    devices: FleetModel
    grid: GridModel
    time_ns: IntArray
    dt_s: float
    k: int = -1
    result: GridResult | None = None
    _image: Observation | None = None
    _asked: Asked | None = None

    @property
    def fleet(self) -> Fleet:
        """The resources as columns."""
        return self.devices.spec.fleet

    def advance(self, given: Given | None = None) -> tuple[GridResult, Offer]:
        """Simulate the next step; returns the truth of it and what the devices offered.

        Resources that are ``given`` deliver exactly that, whatever their models offer: they stand for devices outside.
        """
        self.k += 1
        asked = self._asked.setpoints if self._asked is not None else None
        if self.result is None:
            offer = self.devices.step(self.k, self.dt_s, asked, None)
        else:
            before = self.result.solved.delivered
            offer = self.devices.step(self.k, self.dt_s, asked, before.p_mw, before.vm_pu, self.result.f_hz)
        applied = self.devices.applied
        if given is not None:
            applied = given.put(offer, applied)
        now_ns = int(self.time_ns[self.k])
        self.result, self._image = self.grid.step(now_ns, self.k * self.dt_s, self.dt_s, offer, applied)
        return self.result, offer

    def read(self, now_ns: int) -> Observation:
        """Give the image of the step that `advance` simulated."""
        if self._image is None:
            raise RuntimeError("advance() comes before the first read()")
        return self._image

    def write(self, now_ns: int, asked: Asked) -> None:
        """Keep what is asked; it acts from the next step on."""
        self._asked = asked

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on (restart, fail-over, branching)."""
        if self.result is None or self._asked is None:
            raise RuntimeError("a twin has a state once it has been stepped and written to")
        return {
            "k": self.k,
            "devices": self.devices.state(),
            "grid": self.grid.state(),
            "delivered": self.result.solved.delivered.block.copy(),
            "f_hz": self.result.f_hz,
            "asked": self._asked.setpoints.block.copy(),
            "asked_ns": self._asked.time_ns,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a remembered state; the next `advance` simulates the step after it."""
        self.k = state["k"]
        self.devices.restore(state["devices"])
        self.grid.restore(state["grid"])
        n = self.fleet.n
        none = np.zeros(0)
        solved = Solved(Delivered(state["delivered"].copy()), none, none, True, 0)
        self.result = GridResult(solved, none, none, 0.0, 0j, state["f_hz"])
        cause = np.zeros(n, np.int16)
        self._asked = Asked(state["asked_ns"], Setpoints(state["asked"].copy()), cause, cause.copy())
        self._image = None
