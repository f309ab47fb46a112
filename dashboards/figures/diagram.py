"""The single-line diagram: where things lie, and the class of each voltage and loading, which is what is coloured.

The browser draws it on a canvas (``assets/diagram.js``), so that ten thousand buses move as lightly as ten.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dashboards.estimate import Estimates
from dashboards.view import FloatArray, RunView, Values

Classes = npt.NDArray[np.uint8]

# Shares of the way from 1 pu to a limit; beyond 1 is a violation.
VOLTAGE_STEPS: Final = (-1.0, -0.75, -0.5, -0.25, 0.25, 0.5, 0.75, 1.0)
VOLTAGE_COLORS: Final = (
    "#0b3d91", "#3f74b5", "#7fa3c7", "#a9b9c6", "#aab0b5", "#c9b8a4", "#d39a63", "#d9782d", "#c01818",
)  # fmt: skip
# Shares of the highest loading.
LOADING_STEPS: Final = (0.25, 0.5, 0.75, 1.0)
LOADING_COLORS: Final = ("#b3bbc2", "#8b96a0", "#5b6771", "#d9782d", "#c01818")
LOADING_WIDTHS: Final = (1.2, 1.6, 2.2, 3.0, 4.2)
UNKNOWN: Final = 255
UNKNOWN_COLOR: Final = "#8e44ad"
OPEN_COLOR: Final = "#9aa5ad"
SUSPECT_COLOR: Final = "#c62828"


def voltage_bounds(low: float, high: float) -> FloatArray:
    """The voltages between which the colours change [pu]."""
    steps = np.array(VOLTAGE_STEPS)
    return np.where(steps < 0, 1 + steps * (1 - low), 1 + steps * (high - 1))


def classes(values: Values, bounds: FloatArray) -> Classes:
    """The class of each value; a limit itself is still kept, and what is not known is a class of its own."""
    bounds = bounds.astype(np.float32)  # as the values, or a limit would lie beside itself
    upper = np.searchsorted(bounds, values, side="left")
    lower = np.searchsorted(bounds, values, side="right")
    found = np.where(values < 1, lower, upper) if bounds[0] < 1 < bounds[-1] else upper
    return np.where(np.isfinite(values), found, UNKNOWN).astype(np.uint8)


class Diagram:
    """The network of one run."""

    def __init__(self, view: RunView) -> None:
        """Read the geometry; a network without coordinates is laid out as a tree."""
        self.view = view
        self.buses = view.ids("buses")
        self.from_bus, self.to_bus = (_positions(view, "branches", end, self.buses) for end in ("from_bus", "to_bus"))
        self.x, self.y = self._place()
        self.bus_names, self.branch_names = _names(view, "buses"), _names(view, "branches")
        self.at = _positions(view, "resources", "bus", self.buses)
        low, high = view.limit("vm_low_pu", 0.9), view.limit("vm_high_pu", 1.1)
        self.voltage_bounds = voltage_bounds(low, high)
        self.estimates = Estimates(view)
        self.loading_bounds = np.array(LOADING_STEPS) * view.limit("loading", 1.0)

    def _place(self) -> tuple[FloatArray, FloatArray]:
        x, y = self.view.coordinate("buses", "x"), self.view.coordinate("buses", "y")
        if x is not None and y is not None:
            x, y = x.astype(np.float64), y.astype(np.float64)
            if np.isfinite(x + y).all() and (len(x) < 2 or len(np.unique(np.stack([x, y]), axis=1).T) > len(x) / 2):
                return x, y
        return tree_layout(len(self.buses), self.from_bus, self.to_bus)

    def geometry(self) -> dict[str, Any]:
        """Everything that does not change during a run."""
        vn = self.view.coordinate("buses", "vn_kv")
        return {
            "buses": {
                "name": self.bus_names,
                "x": self.x.round(6).tolist(),
                "y": self.y.round(6).tolist(),
                "vn_kv": (np.zeros(len(self.buses)) if vn is None else vn.astype(np.float64)).tolist(),
                "resources": np.bincount(self.at[self.at >= 0], minlength=len(self.buses)).tolist(),
            },
            "branches": {
                "name": self.branch_names,
                "from": self.from_bus.tolist(),
                "to": self.to_bus.tolist(),
                "closed": self._closed(),
            },
            "style": {
                "voltage": VOLTAGE_COLORS,
                "loading": LOADING_COLORS,
                "width": LOADING_WIDTHS,
                "unknown": UNKNOWN_COLOR,
                "open": OPEN_COLOR,
                "suspect": SUSPECT_COLOR,
            },
            "estimate": self.estimates.present,
        }

    def _closed(self) -> list[int]:
        """1 for a branch that carries current, 0 for one that is switched off; 1 where it is not recorded."""
        closed = self.view.coordinate("branches", "closed")
        return [1] * len(self.branch_names) if closed is None else closed.astype(int).tolist()

    def step(self, k: int) -> bytes:
        """Values and classes at one step.

        Float32 voltages [pu] and loadings [1], then their classes as bytes: 5 bytes an element. Where the network's state
        was estimated, floats and bytes go on with it: voltage, sigma and measured voltage of buses, loading and sigma of
        branches; then classes of estimated voltages, loadings and measured voltages, marks of buses and of branches.
        """
        vm, loading = self.voltages(k), self.loadings(k)
        floats, bytes_ = [vm, loading], [classes(vm, self.voltage_bounds), classes(loading, self.loading_bounds)]
        if self.estimates.present:
            est, sigma, est_loading, loading_sigma = (
                self.estimates.of(name, k)
                for name in ("buses/est_vm_pu", "buses/est_sigma_pu", "branches/est_loading", "branches/est_loading_sigma")
            )
            measured = self.estimates.measured(k)
            floats += [est, sigma, measured, est_loading, loading_sigma]
            bytes_ += [classes(est, self.voltage_bounds), classes(est_loading, self.loading_bounds)]
            bytes_ += [classes(measured, self.voltage_bounds), *self.estimates.marks(k)]
        return b"".join([*(part.astype("<f4").tobytes() for part in floats), *(part.tobytes() for part in bytes_)])

    def voltages(self, k: int) -> Values:
        """Voltage of every bus [pu]."""
        return self.view.row("buses/vm_pu", k)

    def loadings(self, k: int) -> Values:
        """Loading of every branch, 1 = rated."""
        return self.view.row("branches/loading", k)


def tree_layout(n: int, from_bus: npt.NDArray[np.intp], to_bus: npt.NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
    """Place buses by their distance in branches from the first: leaves side by side, parents above their children."""
    near: list[list[int]] = [[] for _ in range(n)]
    for a, b in zip(from_bus.tolist(), to_bus.tolist(), strict=True):
        if a >= 0 and b >= 0:
            near[a].append(b)
            near[b].append(a)
    x, y = np.full(n, np.nan), np.zeros(n)
    parent, free = [-2] * n, 0.0
    for root in range(n):
        if parent[root] != -2:
            continue
        parent[root], order, stack = -1, [], [root]
        while stack:
            bus = stack.pop()
            order.append(bus)
            for other in near[bus]:
                if parent[other] == -2:
                    parent[other], y[other] = bus, y[bus] - 1
                    stack.append(other)
        for bus in reversed(order):
            children = [other for other in near[bus] if parent[other] == bus]
            x[bus] = np.mean(x[children]) if children else free
            free += not children
    return x, y


def _names(view: RunView, group: str) -> list[str]:
    """What people call the columns; the id where there is no name."""
    names = view.coordinate(group, "name")
    ids = view.ids(group)
    return [str(name) or str(id_) for name, id_ in zip(ids if names is None else names, ids, strict=True)]


def _positions(view: RunView, group: str, name: str, buses: npt.NDArray[np.str_]) -> npt.NDArray[np.intp]:
    """Bus positions, recorded as such or as ids; -1 for none."""
    values = view.coordinate(group, name)
    if values is None:
        return np.full(len(view.ids(group)), -1, np.intp)
    if values.dtype.kind in "iu":
        return values.astype(np.intp)
    if values.dtype.kind == "f":
        return np.where(np.isfinite(values), values, -1).astype(np.intp)
    place = {str(bus): i for i, bus in enumerate(buses)}
    return np.array([place.get(str(value), -1) for value in values], np.intp)
