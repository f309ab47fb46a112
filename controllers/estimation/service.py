"""The estimator behind its port: the network's points of a frame in, a `GridState` out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from controllers.estimation.estimator import Estimate, StateEstimator
from controllers.estimation.measured import CURRENT, VM, Grid, Meters, P, Q
from controllers.estimation.pseudo import Pseudo
from vpp.grid.network import Network
from vpp.grid.profiles import Profiles
from vpp.kernel import quality
from vpp.kernel.grid_points import GridPoints, PointLayout
from vpp.kernel.grid_state import GridState
from vpp.kernel.ports import Frame, State
from vpp.kernel.signals import BoolArray, FloatArray, IntArray

QUANTITY: Final = {"vm_pu": VM, "p_mw": P, "q_mvar": Q, "i_ka": CURRENT}
AGEING: Final = 0.3  # how much an injection strays within AGE_NS, of its rating: an old value is that much less sure
AGEING_VM: Final = 0.01  # and a voltage [pu]
AGE_NS: Final = 900_000_000_000


@dataclass(slots=True)
class GridEstimator:
    """Estimates a network's state from its points, and from load profiles where nothing is metered.

    An estimate begins at the voltages of the one before; ``state()`` holds them, so that a run that is taken up again
    goes on with the same bytes.

    Attributes:
        network: the network.
        layout: the points of the frames.
        injecting: nodes where something is connected.
        profiles: load profiles; None: expect nothing.
    """

    network: Network
    layout: PointLayout
    injecting: IntArray
    profiles: Profiles | None = None
    estimator: StateEstimator = field(init=False)
    last: Estimate | None = field(init=False, default=None)
    _point: IntArray = field(init=False)
    _base: FloatArray = field(init=False)
    _strays: FloatArray = field(init=False)
    _pseudo: Pseudo | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Find the points that stand in the network, and compile."""
        grid = Grid.of_network(self.network, self.injecting)
        self._point, kind, row = self._places(grid)
        self._base = np.where(kind == VM, 1.0, np.where(kind == CURRENT, _base_ka(grid, row), grid.p_base_mva))
        rated = float(grid.size[~grid.zero].max(initial=0.0))
        size = np.where(row < grid.n, grid.size[np.minimum(row, grid.n - 1)], rated)
        self._strays = np.where(kind == VM, AGEING_VM, AGEING * size)
        sigma = np.array(self.layout.sigma)[self._point] / self._base
        names = tuple(self.layout.id[i] for i in self._point.tolist())
        meters = Meters(kind, row, sigma, np.zeros(len(kind), np.bool_), names)
        if self.profiles is not None:
            self._pseudo = Pseudo.of_network(self.network, grid, meters, self.profiles)
            meters = self._pseudo.meters(meters)
        self.estimator = StateEstimator(grid, meters)

    def _places(self, grid: Grid) -> tuple[IntArray, IntArray, IntArray]:
        """Of the points that stand in the network: number, kind, row."""
        branch = {name: k for k, name in enumerate(grid.branch_name)}
        node = dict(zip((f"bus {number}" for number in self.network.bus_id), self.network.node_of_bus.tolist(), strict=True))
        found = []
        layout = zip(self.layout.quantity, self.layout.element, self.layout.side, strict=True)
        for i, (quantity, element, side) in enumerate(layout):
            row = int(grid.branch_row[branch[element], int(side == "to")]) if element in branch else node.get(element, -1)
            if row >= 0 and quantity in QUANTITY:
                found.append((i, QUANTITY[quantity], row))
        table = np.array(found, np.int64).reshape(-1, 3)
        return table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy()

    def estimate(self, frame: Frame) -> GridState:
        """Estimate; what is not observable is NaN with its quality."""
        if frame.points is None:
            raise ValueError("the frame holds no points")
        z, sigma = self._values(frame.now_ns, frame.points)
        self.last = self.estimator.estimate(z, sigma)
        return self._state(frame.now_ns, self.last, np.isfinite(z))

    def _values(self, now_ns: int, points: GridPoints) -> tuple[FloatArray, FloatArray]:
        """Values and standard deviations of all measurements [pu]; NaN where a value is of no use."""
        usable = np.array([quality.usable(int(byte)) for byte in points.quality[self._point]], np.bool_)
        z = np.where(usable, points.value[self._point], np.nan) / self._base
        age = np.maximum(now_ns - points.time_ns[self._point], 0) / AGE_NS
        sigma = np.hypot(self.estimator.meters.sigma[: len(z)], self._strays * np.sqrt(age))
        if self._pseudo is None:
            return z, sigma
        value, unsure = self._pseudo.at(now_ns)
        return np.append(z, value), np.append(sigma, unsure)

    def _state(self, now_ns: int, found: Estimate, used: BoolArray) -> GridState:
        """The estimate by buses and branches."""
        net, grid, meters = self.network, self.estimator.grid, self.estimator.meters
        node, dead = np.maximum(net.node_of_bus, 0), net.node_of_bus < 0
        bare = self.estimator.observability(used & ~meters.pseudo).observable[node]
        vm = np.where(dead, np.nan, np.abs(found.v)[node])
        byte = np.where(np.isnan(vm), quality.INVALID, np.where(bare, quality.GOOD, quality.SUBSTITUTED)).astype(np.uint8)
        value, sigma = self._points()
        limit = np.stack([net.branch_i_max_from_ka, net.branch_i_max_to_ka], 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            ends, unsure = found.i_ka / limit, found.i_sigma_ka / limit
        fuller = (
            np.arange(len(ends)),
            (np.nan_to_num(ends[:, 1], nan=-1.0) > np.nan_to_num(ends[:, 0], nan=-1.0)).astype(np.int64),
        )
        return GridState(
            now_ns, vm, np.where(dead, np.nan, np.degrees(np.angle(found.v))[node]),
            np.where(dead, np.nan, found.vm_sigma_pu[node]), ends[fuller], byte,
            suspects=tuple(meters.id[s.measurement] for s in found.suspects if not meters.pseudo[s.measurement]),
            doubted=tuple(grid.branch_name[d.branch] for d in found.doubted), wanted=found.wanted,
            loading_sigma=unsure[fuller], point_value=value, point_sigma=sigma, converged=found.converged,
        )  # fmt: skip

    def _points(self) -> tuple[FloatArray, FloatArray]:
        """(points,) what every point of the layout would show were the last estimate true, in its unit, and its sigma."""
        value, sigma = (np.full(len(self.layout.id), np.nan) for _ in range(2))
        shown, unsure = self.estimator.shown()
        k = len(self._point)
        value[self._point], sigma[self._point] = shown[:k] * self._base, unsure[:k] * self._base
        return value, sigma

    def state(self) -> State:
        """The voltages that the next estimate begins at."""
        return {"v": self.estimator.v.copy()}

    def restore(self, state: State) -> None:
        """Go back to a remembered state."""
        self.estimator.v = state["v"].copy()


def _base_ka(grid: Grid, row: IntArray) -> FloatArray:
    """Base current (m,) of the branch ends whose currents these rows are, NaN for rows of nodes."""
    base = np.full(len(grid.at), np.nan)
    on = grid.branch_row >= 0
    base[grid.branch_row[on]] = grid.i_base_ka[on]
    return base[row]
