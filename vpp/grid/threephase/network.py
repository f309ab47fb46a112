"""A three-phase network compiled to numpy arrays.

Words: a *node* is a conductor of a bus (bus x phase); the inner nodes of the voltage sources come last and are
*fixed*. A *branch* is any linear element (source impedance, line, switch, transformer, capacitor) with its
*conductors*; a *leg* is what draws or injects power between two nodes or a node and ground, so that wye and delta,
single- and three-phase loads are the same thing. Volts, amperes and siemens inside; powers in MW and Mvar, injection
positive; results in pu of each node's line-to-neutral base.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vpp.grid.tables import BoolArray, ByteArray, ComplexArray, FloatArray, Int32Array
from vpp.grid.threephase.feeder import Feeder

BRANCH_KINDS: tuple[str, ...] = ("source", "line", "switch", "transformer", "capacitor")


@dataclass(frozen=True, slots=True)
class Legs:
    """What injects or consumes, one entry a leg; the voltage of a leg is that of ``a`` less that of ``b``."""

    a: Int32Array  # node
    b: Int32Array  # node; -1: ground
    load: Int32Array  # position in ``load_name``; -1: not a load of the source
    v_base: FloatArray  # V across the leg
    p_mw: FloatArray  # injection at rated voltage, as the source states it
    q_mvar: FloatArray
    parts: FloatArray  # (n, 6): of P then Q, what goes with V^2, with V, and what is constant
    v_band: FloatArray  # (n, 3) pu: v_low, v_min, v_max; see :class:`vpp.grid.threephase.feeder.Load`

    def __len__(self) -> int:
        """Count the legs."""
        return len(self.a)


@dataclass(frozen=True, slots=True)
class ThreePhaseNetwork:
    """A compiled network; make one with ``compile_feeder`` or ``load_threephase``."""

    name: str
    source: str
    notes: tuple[str, ...]
    f_hz: float
    feeder: Feeder | None  # what it was compiled from; None where that was a balanced network

    bus_name: tuple[str, ...]
    bus_xy: FloatArray  # (n_bus, 2), NaN where unknown
    node_bus: Int32Array  # (n_node,); -1 for the inner nodes of sources
    node_phase: ByteArray  # 1, 2, 3; 4 a neutral
    node_v_base: FloatArray  # V, line to neutral
    node_on: BoolArray  # connected to a source; others are at 0 V
    fixed_node: Int32Array
    fixed_v: ComplexArray  # V
    y_indptr: Int32Array  # nodal admittance matrix, CSR (n_node, n_node), S, without the legs
    y_indices: Int32Array
    y_data: ComplexArray

    branch_kind: ByteArray  # index into BRANCH_KINDS
    branch_name: tuple[str, ...]
    branch_start: Int32Array  # (n_branch + 1,): its conductors are start[k] : start[k + 1]
    branch_split: Int32Array  # (n_branch,): the first of its second terminal's conductors
    conductor_node: Int32Array
    conductor_i_max_a: FloatArray  # NaN = unrated
    primitive_start: Int32Array  # (n_branch + 1,) into primitive_y
    primitive_y: ComplexArray  # row-major square matrices, one a branch, S

    legs: Legs
    load_name: tuple[str, ...]
    load_shape: tuple[str, ...]

    @property
    def n_bus(self) -> int:
        """Number of buses."""
        return len(self.bus_name)

    @property
    def n_node(self) -> int:
        """Number of nodes, inner nodes of sources included."""
        return len(self.node_bus)

    @property
    def n_branch(self) -> int:
        """Number of branches."""
        return len(self.branch_kind)

    def node_name(self, node: int) -> str:
        """Name a node ``bus.phase``."""
        bus = int(self.node_bus[node])
        return f"{self.bus_name[bus]}.{self.node_phase[node]}" if bus >= 0 else f"(source).{self.node_phase[node]}"

    def node_index(self) -> dict[str, int]:
        """Positions of the nodes by their names ``bus.phase``."""
        return {self.node_name(k): k for k in range(self.n_node) if self.node_bus[k] >= 0}

    def rated_injections(self) -> tuple[FloatArray, FloatArray]:
        """Injections (n_leg,) in MW and Mvar as the source states its loads."""
        return self.legs.p_mw.copy(), self.legs.q_mvar.copy()

    def load_injections(self, factor: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Injections (..., n_leg) with every load times its factor (..., n_load); other legs as they are stated."""
        of = self.legs.load
        scale = np.where(of >= 0, factor[..., np.maximum(of, 0)], 1.0)
        return self.legs.p_mw * scale, self.legs.q_mvar * scale

    def with_injections(self, a: Int32Array, b: Int32Array | None = None) -> ThreePhaseNetwork:
        """Add constant-power legs between nodes (``b`` -1 or None: to ground), for generators, storages, vehicles.

        They come after the network's own and state zero power.
        """
        a = np.asarray(a, dtype=np.int32)
        to = np.full(len(a), -1, dtype=np.int32) if b is None else np.asarray(b, dtype=np.int32)
        n, old = len(a), self.legs
        base = np.where(to >= 0, np.sqrt(3.0), 1.0) * self.node_v_base[a]
        parts = np.tile([0.0, 0.0, 1.0, 0.0, 0.0, 1.0], (n, 1))
        band = np.tile([0.0, 0.0, np.inf], (n, 1))
        zero = np.zeros(n)
        legs = Legs(
            np.concatenate([old.a, a]),
            np.concatenate([old.b, to]),
            np.concatenate([old.load, np.full(n, -1, dtype=np.int32)]),
            np.concatenate([old.v_base, base]),
            np.concatenate([old.p_mw, zero]),
            np.concatenate([old.q_mvar, zero]),
            np.concatenate([old.parts, parts]),
            np.concatenate([old.v_band, band]),
        )
        return replace(self, legs=legs)
