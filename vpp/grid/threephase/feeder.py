"""What a three-phase feeder is made of, as its source states it: plain records, no arithmetic.

A *node* is a conductor of a bus, written ``(bus, phase)`` with phase 1, 2, 3 (4 is a neutral that is carried);
``GROUND`` stands for earth. Sizes are those of the name plate; powers of loads are **consumption** here and turned
into injections where the network is compiled (:mod:`vpp.grid.threephase.network`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from vpp.grid.tables import ComplexArray, FloatArray

Node = tuple[str, int]
Nodes = tuple[Node, ...]
Connection = Literal["wye", "delta"]
GROUND: Node = ("", 0)


@dataclass(frozen=True, slots=True)
class Source:
    """An ideal voltage behind an impedance matrix."""

    name: str
    nodes: Nodes
    v: ComplexArray  # (k,) V, to ground
    z_ohm: ComplexArray  # (k, k)
    kv: float  # rated, line to line where it has several phases


@dataclass(frozen=True, slots=True)
class Line:
    """A line, cable or closed switch: a pi section with full matrices for its whole length."""

    name: str
    from_nodes: Nodes
    to_nodes: Nodes
    z_ohm: ComplexArray  # (k, k) series
    y_siemens: ComplexArray  # (k, k) shunt, both halves together
    i_max_a: float = float("nan")  # NaN = unrated
    switch: bool = False


@dataclass(frozen=True, slots=True)
class Winding:
    """One side of a transformer: ``nodes`` are the phases, then the neutral if it is a wye."""

    connection: Connection
    nodes: Nodes
    kv: float  # line to line for two and three phases, across the winding for one
    r_percent: float  # on the first winding's kVA
    tap: float = 1.0  # turns of this winding in pu
    tap_min: float = 0.9
    tap_max: float = 1.1
    tap_steps: int = 32


@dataclass(frozen=True, slots=True)
class Transformer:
    """A two-winding transformer of one to three phases: single-phase units connected as the windings say."""

    name: str
    phases: int
    windings: tuple[Winding, Winding]
    kva: float  # all phases together
    x_percent: float
    no_load_percent: float = 0.0
    magnetising_percent: float = 0.0
    float_ppm: float = 1.0  # inductive admittance to ground, ppm of the rating: a reference for what would float
    lv_lags: bool = True  # of wye-delta and delta-wye: 30 degrees, ANSI C57.12.70; False is the European Dy11


@dataclass(frozen=True, slots=True)
class Load:
    """A consumer: constant impedance, current and power in parts, each leg between two nodes or to ground."""

    name: str
    legs: tuple[tuple[Node, Node], ...]  # equal parts of the power
    kv: float  # rated, across a leg
    p_kw: float  # consumption, all legs
    q_kvar: float
    zip_p: tuple[float, float, float] = (0.0, 0.0, 1.0)  # parts that go with V^2, V, and 1
    zip_q: tuple[float, float, float] = (0.0, 0.0, 1.0)
    v_min_pu: float = 0.95  # outside [v_min, v_max] it behaves as an impedance, as OpenDSS has it
    v_max_pu: float = 1.05
    v_low_pu: float = 0.5  # below, the rated impedance; between v_low and v_min the current is interpolated
    shape: str = ""  # its load shape's name


@dataclass(frozen=True, slots=True)
class Capacitor:
    """A capacitor bank, legs as of a load."""

    name: str
    legs: tuple[tuple[Node, Node], ...]
    kv: float  # rated, across a leg
    q_kvar: float  # all legs


@dataclass(frozen=True, slots=True)
class Regulator:
    """A tap changer's control with line-drop compensation; voltages and R, X on the relay's 120 V side."""

    name: str
    transformer: str
    winding: int  # 0 or 1: where it measures, and whose tap it moves
    v_set: float  # V
    band: float  # V, the whole width
    pt_ratio: float
    ct_primary_a: float
    r: float  # V at rated current of the transformer's CT
    x: float
    delay_s: float = 15.0  # those with the shortest delay move first
    max_steps: int = 16  # in one go


@dataclass(frozen=True, slots=True)
class Shape:
    """A load shape: multipliers at a fixed interval."""

    name: str
    interval_s: float
    factor: FloatArray


@dataclass(slots=True)
class Feeder:
    """All elements of one network; :func:`vpp.grid.threephase.compile_feeder` makes arrays of it."""

    name: str
    f_hz: float
    source: str = ""
    voltage_bases_kv: tuple[float, ...] = ()  # line to line; empty: the elements' rated voltages
    sources: list[Source] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    transformers: list[Transformer] = field(default_factory=list)
    capacitors: list[Capacitor] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    regulators: list[Regulator] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    xy: dict[str, tuple[float, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def wye_legs(nodes: Nodes, neutral: Node = GROUND) -> tuple[tuple[Node, Node], ...]:
    """Connect every phase to the neutral."""
    return tuple((node, neutral) for node in nodes)


def delta_legs(nodes: Nodes) -> tuple[tuple[Node, Node], ...]:
    """Connect neighbouring phases: one leg for two nodes, a closed triangle for three."""
    if len(nodes) == 2:
        return ((nodes[0], nodes[1]),)
    return tuple((node, nodes[(k + 1) % len(nodes)]) for k, node in enumerate(nodes))


def sequence_matrix(self_one: complex, zero: complex, k: int) -> ComplexArray:
    """Phase matrix (k, k) of a balanced element from its positive- and zero-sequence values."""
    own, mutual = (zero + 2.0 * self_one) / 3.0, (zero - self_one) / 3.0
    out: ComplexArray = np.full((k, k), mutual, dtype=np.complex128)
    np.fill_diagonal(out, own)
    return out
