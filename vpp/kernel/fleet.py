"""The fleet: every controllable resource as one column of a set of arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from vpp.kernel.groups import Groups
from vpp.kernel.signals import BoolArray, FloatArray, Int32Array, IntArray

CONTROL_NONE: Final = 0
CONTROL_LIMIT: Final = 1
CONTROL_FOLLOW: Final = 2
CONTROL_STEP: Final = 3


@dataclass(frozen=True, slots=True)
class Terminals:
    """Where resources stand in the network: a sparse map from resource to node (bus x phase) with shares.

    Attributes:
        resource: (m,) resource of each connection, ascending.
        node: (m,) electrical node of each connection; -1 where it is not energised.
        share: (m,) part of the resource's power that flows there; the shares of a resource sum to 1.
    """

    resource: IntArray
    node: Int32Array
    share: FloatArray

    @classmethod
    def single(cls, node: Int32Array) -> Terminals:
        """Every resource on one node of its own."""
        return cls(np.arange(len(node)), np.asarray(node, np.int32), np.ones(len(node)))


@dataclass(frozen=True, slots=True)
class Capability:
    """Reactive capability of each resource: circle, Q(P) table and current limit, all at once.

    Attributes:
        s_max_mva: (n,) radius of the circle (nameplate apparent power); 0 = no reactive power at all.
        i_max_pu: (n,) current limit of nameplate current; apparent power stays below ``i_max_pu * vm_pu * s_max``.
        table: (n,) index of the resource's Q(P) table.
        p_pu: (tables, points) active power of ``s_max_mva``, |P| ascending from 0 in each row.
        q_min_pu: (tables, points) lowest reactive power of ``s_max_mva`` there (negative: absorbing).
        q_max_pu: (tables, points) highest reactive power there.
        q_priority: (n,) True: reactive power is kept and active power gives way.
    """

    s_max_mva: FloatArray
    i_max_pu: FloatArray
    table: Int32Array
    p_pu: FloatArray
    q_min_pu: FloatArray
    q_max_pu: FloatArray
    q_priority: BoolArray

    @classmethod
    def circle(cls, s_max_mva: FloatArray) -> Capability:
        """The circle alone: no table, no current limit, active power has priority."""
        n, one = len(s_max_mva), np.ones((1, 2))
        p_pu = np.array([[0.0, 1.0]])
        return cls(s_max_mva, np.full(n, np.inf), np.zeros(n, np.int32), p_pu, -one, one, np.zeros(n, np.bool_))


@dataclass(frozen=True, slots=True)
class Fleet:
    """All resources as columns. Ratings are in MW with their sign: consumption is below zero.

    Attributes:
        id: (n,) names, unique.
        kind: (n,) device kinds ("pv", "battery", "load", …).
        control: (n,) CONTROL_NONE (observed only), CONTROL_LIMIT (can be limited), CONTROL_FOLLOW (takes a setpoint),
            CONTROL_STEP (a tap changer or capacitor bank: has no power, takes a step).
        terminal: where they stand in the network.
        p_min_mw, p_max_mw: (n,) rated band of active power.
        p_safe_mw: (n,) what a resource is asked for when it has been silent for too long.
        ramp_mw_per_s: (n,) fastest change that the controllers may ask for (inf: none stated).
        p_step_mw: (n,) size of a discrete step of active power (0: continuous).
        p_gap_mw: (n,) smallest magnitude other than zero (0: no gap).
        e_mwh, soc_min, soc_max: (n,) storage and its usable band; 0, 0, 1 where there is none.
        eff_charge, eff_discharge: (n,) one-way efficiencies.
        capability: the reactive capability.
        groups: the forest of groups, and each resource's innermost one.
        layout: number of this arrangement of slots; blocks that leave the process carry it.
        member: (n,) False for a spare slot.
        by_itself: (n,) True where the device has a control of its own (a thermostat, a charging point's): where nobody
            wants anything of it, it is left to that.
        step_min, step_max: (n,) lowest and highest step of what is controlled by steps; 0, 0 elsewhere.
    """

    id: tuple[str, ...]
    kind: tuple[str, ...]
    control: IntArray
    terminal: Terminals
    p_min_mw: FloatArray
    p_max_mw: FloatArray
    p_safe_mw: FloatArray
    ramp_mw_per_s: FloatArray
    p_step_mw: FloatArray
    p_gap_mw: FloatArray
    e_mwh: FloatArray
    soc_min: FloatArray
    soc_max: FloatArray
    eff_charge: FloatArray
    eff_discharge: FloatArray
    capability: Capability
    groups: Groups
    layout: int = 1
    member: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))
    by_itself: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))
    step_min: FloatArray = field(default_factory=lambda: np.zeros(0))
    step_max: FloatArray = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        """Check that every column has one entry a resource, ids are unique and bands are not turned."""
        n = len(self.id)
        if len(self.member) == 0 and n:
            object.__setattr__(self, "member", np.ones(n, np.bool_))
        if len(self.by_itself) == 0 and n:
            object.__setattr__(self, "by_itself", np.zeros(n, np.bool_))
        for name in ("step_min", "step_max"):
            if len(getattr(self, name)) == 0 and n:
                object.__setattr__(self, name, np.zeros(n))
        columns = (
            "kind", "control", "p_min_mw", "p_max_mw", "p_safe_mw", "ramp_mw_per_s", "p_step_mw", "p_gap_mw",
            "e_mwh", "soc_min", "soc_max", "eff_charge", "eff_discharge", "member",
            "by_itself", "step_min", "step_max",
        )  # fmt: skip
        wrong = [name for name in columns if len(getattr(self, name)) != n]
        if wrong:
            raise ValueError(f"{n} resources, but another length in {', '.join(wrong)}")
        if len(set(self.id)) != n:
            raise ValueError("resource ids are not unique")
        if np.any(~(self.p_min_mw <= self.p_max_mw)):
            raise ValueError("p_min_mw is above p_max_mw (or not a number) for " + self._first(~(self.p_min_mw <= self.p_max_mw)))

    def _first(self, where: BoolArray) -> str:
        return self.id[int(np.flatnonzero(where)[0])]

    @property
    def n(self) -> int:
        """Number of slots (columns)."""
        return len(self.id)

    def where(self, *kinds: str) -> BoolArray:
        """Mask of the resources of these kinds."""
        return np.isin(np.array(self.kind), kinds)


def simple_fleet(p_min_mw: FloatArray, p_max_mw: FloatArray, **columns: object) -> Fleet:
    """A fleet from its power band alone, every other column at a plain default; for tests and examples.

    ``columns`` replaces any field of :class:`Fleet`.
    """
    p_min, p_max = np.asarray(p_min_mw, float), np.asarray(p_max_mw, float)
    n, zero = len(p_min), np.zeros(len(p_min))
    fields: dict[str, object] = {
        "id": tuple(f"r{i + 1}" for i in range(n)),
        "kind": ("battery",) * n,
        "control": np.full(n, CONTROL_FOLLOW),
        "terminal": Terminals.single(np.zeros(n, np.int32)),
        "p_min_mw": p_min,
        "p_max_mw": p_max,
        "p_safe_mw": np.clip(zero, p_min, p_max),
        "ramp_mw_per_s": np.full(n, np.inf),
        "p_step_mw": zero,
        "p_gap_mw": zero,
        "e_mwh": zero,
        "soc_min": zero,
        "soc_max": np.ones(n),
        "eff_charge": np.ones(n),
        "eff_discharge": np.ones(n),
        "capability": Capability.circle(np.maximum(np.abs(p_min), np.abs(p_max))),
        "groups": Groups.none(n),
    }
    return Fleet(**{**fields, **columns})  # type: ignore[arg-type]
