"""Meters that stand in the network: voltages of buses, injections at buses, flows into branches, each with its delay.

What a meter measures in a step arrives ``delay`` steps later, with the time at which it was measured. Noise is normal,
white and seeded, with the sigma that the meter states.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vpp.grid.network import Network
from vpp.kernel import quality as q
from vpp.kernel.grid_points import GridPoints, PointLayout
from vpp.kernel.signals import ComplexArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class MeterErrors:
    """Gross errors of meters: what each adds to what one point shows, while it lasts; arrays of one length.

    Attributes:
        point: number of the point.
        from_ns, until_ns: values measured from then until before then have it.
        value: what is added, in the point's unit.
    """

    point: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    from_ns: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    until_ns: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    value: FloatArray = field(default_factory=lambda: np.zeros(0))

    def at(self, now_ns: int, m: int) -> FloatArray:
        """(m,) what is added to values measured at a moment."""
        now = (self.from_ns <= now_ns) & (now_ns < self.until_ns)
        return np.bincount(self.point[now], self.value[now], m).astype(np.float64)


@dataclass(slots=True)
class GridMeters:
    """The meters of a network.

    Attributes:
        network: where they stand.
        layout: which is which; ``element`` and ``side`` say where, ``sigma`` how exact.
        branch: (m,) position of the branch that a point stands at, -1 for a bus.
        node: (m,) its node.
        delay: (m,) steps that a value is under way.
        seed: of the noise.
        errors: gross errors.
        true: (m,) what perfect meters show in the last step that was measured.
    """

    network: Network
    layout: PointLayout
    branch: IntArray
    node: IntArray
    delay: IntArray
    seed: int
    errors: MeterErrors = field(default_factory=MeterErrors)
    true: FloatArray = field(init=False)
    _random: np.random.Generator = field(init=False)
    _late: FloatArray = field(init=False)
    _late_ns: IntArray = field(init=False)
    _row: int = -1

    def __post_init__(self) -> None:
        """Seed the noise and empty the delay lines."""
        m, deep = len(self.layout.id), int(self.delay.max(initial=0)) + 1
        self.true = np.full(m, np.nan)
        self._random = np.random.Generator(np.random.SFC64([self.seed, 3]))
        self._late, self._late_ns = np.full((deep, m), np.nan), np.zeros((deep, m), np.int64)

    def read(self, now_ns: int, v: ComplexArray) -> GridPoints:
        """Measure node voltages ``v`` (n,) in pu, NaN where there is no solution, and hand over what arrives now."""
        deep, m = self._late.shape
        self._row = (self._row + 1) % deep
        self.true = self.truth(v)
        value = self.true + self._random.normal(size=m) * np.array(self.layout.sigma, np.float64)
        if len(self.errors.point):
            value += self.errors.at(now_ns, m)
        self._late[self._row], self._late_ns[self._row] = value, now_ns
        row = (self._row - self.delay) % deep
        shown, time_ns = self._late[row, np.arange(m)], self._late_ns[row, np.arange(m)]
        quality = np.where(np.isnan(shown), q.INVALID, q.GOOD) | np.where(time_ns == 0, q.STALE, 0)
        return GridPoints(self.layout, shown, quality.astype(np.uint8), time_ns)

    def truth(self, v: ComplexArray) -> FloatArray:
        """(m,) what perfect meters would show."""
        net, quantity = self.network, np.array(self.layout.quantity)
        at_bus, from_end = self.branch < 0, np.array([side == "from" for side in self.layout.side], np.bool_)
        b = np.maximum(self.branch, 0)
        f, t = v[net.branch_from_node[b]], v[net.branch_to_node[b]]
        current = np.where(from_end, net.yff[b] * f + net.yft[b] * t, net.ytf[b] * f + net.ytt[b] * t)
        rows = np.add.reduceat(net.y_data * v[net.y_indices], net.y_indptr[:-1].astype(np.int64))
        s_mva = v[self.node] * np.conj(np.where(at_bus, rows[self.node], current)) * net.sn_mva
        i_ka = np.abs(current) * np.where(from_end, net.branch_i_base_from_ka[b], net.branch_i_base_to_ka[b])
        shown = {"vm_pu": np.abs(v[self.node]), "p_mw": s_mva.real, "q_mvar": s_mva.imag, "i_ka": i_ka}
        return np.select([quantity == name for name in shown], list(shown.values()), np.nan)

    def state(self) -> dict[str, Any]:
        """What is under way, and the noise."""
        late = {"late": self._late.copy(), "late_ns": self._late_ns.copy(), "row": self._row}
        return {**late, "random": self._random.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a remembered state."""
        self._late, self._late_ns = state["late"].copy(), state["late_ns"].copy()
        self._row, self._random.bit_generator.state = state["row"], state["random"]


def joined(first: GridPoints, second: GridPoints, layout: PointLayout) -> GridPoints:
    """Two sets of points as one of this layout."""
    return GridPoints(
        layout, *(np.concatenate([getattr(first, name), getattr(second, name)]) for name in ("value", "quality", "time_ns"))
    )
