"""Meters that stand in the network: voltages of buses, injections at buses, flows into branches, each with its delay.

What a meter measures in a step arrives ``delay`` steps later, with the time at which it was measured. Noise is normal,
white and seeded, with the sigma that the meter states. Messages may be lost or later still: then the newest value that has
arrived is shown on, questionable and stale, until a newer one comes.
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


FROZEN, LOST, LATE = range(3)


@dataclass(frozen=True, slots=True)
class MeterFaults:
    """What else is wrong with meters and their ways to us, while it lasts; arrays of one length.

    Attributes:
        point: number of the point.
        from_ns, until_ns: what is measured from then until before then has it.
        kind: FROZEN shows on what it measured last as if it were new, LOST does not arrive, LATE does later.
        steps: how many steps later.
    """

    point: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    from_ns: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    until_ns: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    kind: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    steps: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))

    def points(self, kind: int, now_ns: int) -> IntArray:
        """Points that have a kind of fault at a moment."""
        return np.asarray(self.point[(self.kind == kind) & (self.from_ns <= now_ns) & (now_ns < self.until_ns)])

    def later(self, now_ns: int, m: int) -> IntArray:
        """(m,) how many steps later messages of a moment arrive."""
        out, now = np.zeros(m, np.int64), (self.kind == LATE) & (self.from_ns <= now_ns) & (now_ns < self.until_ns)
        np.maximum.at(out, self.point[now], self.steps[now])
        return out


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
        faults: what else is wrong.
        loss: (m,) share of messages that are lost by chance; None: none.
        true: (m,) what perfect meters show in the last step that was measured.
    """

    network: Network
    layout: PointLayout
    branch: IntArray
    node: IntArray
    delay: IntArray
    seed: int
    errors: MeterErrors = field(default_factory=MeterErrors)
    faults: MeterFaults = field(default_factory=MeterFaults)
    loss: FloatArray | None = None
    true: FloatArray = field(init=False)
    _random: np.random.Generator = field(init=False)
    _chance: np.random.Generator = field(init=False)
    _late: FloatArray = field(init=False)
    _late_ns: IntArray = field(init=False)
    _arrives: IntArray = field(init=False)  # (deep, m) step whose message arrives then, -1 for none
    _shown: IntArray = field(init=False)  # (m,) step whose message is shown, -1 for none
    _measured: FloatArray = field(init=False)
    _k: int = -1

    def __post_init__(self) -> None:
        """Seed the noise and empty the delay lines."""
        m = len(self.layout.id)
        deep = int(self.delay.max(initial=0)) + int(self.faults.steps.max(initial=0)) + 1
        self.true = np.full(m, np.nan)
        self._random = np.random.Generator(np.random.SFC64([self.seed, 3]))
        self._chance = np.random.Generator(np.random.SFC64([self.seed, 4]))
        self._late, self._late_ns = np.full((deep + 1, m), np.nan), np.zeros((deep + 1, m), np.int64)
        self._arrives, self._shown = np.full((deep, m), -1, np.int64), np.full(m, -1, np.int64)
        self._measured = np.full(m, np.nan)

    def read(self, now_ns: int, v: ComplexArray) -> GridPoints:
        """Measure node voltages ``v`` (n,) in pu, NaN where there is no solution, and hand over what arrives now."""
        m, each = len(self.layout.id), np.arange(len(self.layout.id))
        self._k += 1
        self.true = self.truth(v)
        value = self.true + self._random.normal(size=m) * np.array(self.layout.sigma, np.float64)
        if len(self.errors.point):
            value += self.errors.at(now_ns, m)
        frozen = self.faults.points(FROZEN, now_ns)
        frozen = frozen[np.isfinite(self._measured[frozen])]
        value[frozen] = self._measured[frozen]
        self._measured = value
        self._send(now_ns, value)
        deep = len(self._arrives)
        came = self._arrives[self._k % deep]
        fresh = came > self._shown
        row = np.where(fresh, came % deep, deep)  # the last row keeps what is shown
        shown, time_ns = self._late[row, each], self._late_ns[row, each]
        self._late[deep], self._late_ns[deep] = shown, time_ns
        self._shown = np.where(fresh, came, self._shown)
        self._arrives[self._k % deep] = -1
        old = np.where(self._shown < 0, q.STALE, np.where(fresh, q.GOOD, q.QUESTIONABLE | q.STALE))
        quality = np.where(np.isnan(shown), q.INVALID | (old & q.STALE), old)
        return GridPoints(self.layout, shown, quality.astype(np.uint8), time_ns)

    def _send(self, now_ns: int, value: FloatArray) -> None:
        """Put what was measured on its way."""
        deep, m = self._arrives.shape
        self._late[self._k % deep], self._late_ns[self._k % deep] = value, now_ns
        goes = np.ones(m, np.bool_)
        if self.loss is not None:
            goes = self._chance.random(m) >= self.loss
        goes[self.faults.points(LOST, now_ns)] = False
        at = (self._k + self.delay + self.faults.later(now_ns, m)) % deep
        on = np.flatnonzero(goes)
        self._arrives[at[on], on] = self._k  # a newer message overtakes an older one that comes at the same time

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
        """What is under way, what is shown, and the noise."""
        names = ("late", "late_ns", "arrives", "shown", "measured")
        arrays = {name: getattr(self, f"_{name}").copy() for name in names}
        return {**arrays, "k": self._k, "random": self._random.bit_generator.state, "chance": self._chance.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a remembered state."""
        for name in ("late", "late_ns", "arrives", "shown", "measured"):
            setattr(self, f"_{name}", state[name].copy())
        self._k = state["k"]
        self._random.bit_generator.state, self._chance.bit_generator.state = state["random"], state["chance"]


def joined(first: GridPoints, second: GridPoints, layout: PointLayout) -> GridPoints:
    """Two sets of points as one of this layout."""
    return GridPoints(
        layout, *(np.concatenate([getattr(first, name), getattr(second, name)]) for name in ("value", "quality", "time_ns"))
    )
