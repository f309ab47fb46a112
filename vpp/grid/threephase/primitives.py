"""Primitive admittance matrices: one element, all its conductors, in siemens.

Every function returns ``(nodes, y)``: the conductors in order (first terminal, then second) and the matrix (k, k)
with which the currents *into the element* are ``i = y v``. Transformers are single-phase units, each with its two
windings between two nodes, so that wye, delta, open wye and open delta are the same arithmetic; the leakage is
that of the unit, the windings' turns are the rated voltages times the taps (W. H. Kersting, Distribution System
Modeling and Analysis, ch. 8; the parameters' meaning is OpenDSS's).
"""

from __future__ import annotations

import math

import numpy as np

from vpp.grid.tables import ComplexArray
from vpp.grid.threephase.feeder import GROUND, Capacitor, Line, Node, Nodes, Source, Transformer, Winding

Primitive = tuple[Nodes, ComplexArray]


def _series(z: ComplexArray) -> ComplexArray:
    """Admittance matrix of a series impedance between two terminals."""
    y = np.linalg.inv(z)
    out: ComplexArray = np.block([[y, -y], [-y, y]]).astype(np.complex128)
    return out


def source_primitive(source: Source, inner: Nodes) -> Primitive:
    """Build the impedance between the ideal voltage (``inner`` nodes) and the bus."""
    return (*inner, *source.nodes), _series(source.z_ohm)


def line_primitive(line: Line) -> Primitive:
    """Build a pi section: the series matrix, and half of the shunt matrix at each end."""
    y = _series(line.z_ohm)
    k = len(line.from_nodes)
    y[:k, :k] += line.y_siemens / 2.0
    y[k:, k:] += line.y_siemens / 2.0
    return (*line.from_nodes, *line.to_nodes), y


def _legs(y: ComplexArray, legs: list[tuple[Node, Node]]) -> Primitive:
    """Gather single-phase branches, coupled by ``y`` over their voltages, on the nodes that they touch."""
    nodes = tuple(dict.fromkeys(node for leg in legs for node in leg if node != GROUND))
    incidence = np.zeros((len(legs), len(nodes)))
    for k, (a, b) in enumerate(legs):
        for node, sign in ((a, 1.0), (b, -1.0)):
            if node != GROUND:
                incidence[k, nodes.index(node)] += sign
    return nodes, incidence.T @ y @ incidence


def capacitor_primitive(bank: Capacitor) -> Primitive:
    """Build a capacitor bank."""
    b = bank.q_kvar * 1e3 / len(bank.legs) / (bank.kv * 1e3) ** 2
    return _legs(np.diag(np.full(len(bank.legs), 1j * b)), list(bank.legs))


def winding_volts(phases: int, winding: Winding) -> float:
    """Rated voltage across one winding of a unit, in V, tap at 1."""
    line_to_line = phases > 1 and winding.connection == "wye"
    return winding.kv * 1e3 / (math.sqrt(3.0) if line_to_line else 1.0)


def winding_legs(transformer: Transformer, side: int) -> list[tuple[Node, Node]]:
    """List between which nodes the windings of one side stand, one a phase."""
    own, other = transformer.windings[side], transformer.windings[1 - side]
    n = transformer.phases
    if own.connection == "wye":
        return [(own.nodes[k], own.nodes[n]) for k in range(n)]
    if n == 1:
        return [(own.nodes[0], own.nodes[1])]
    step = 1
    if other.connection == "wye":  # which neighbour it is decides whether this side leads or lags by 30 degrees
        high = winding_volts(n, own) >= winding_volts(n, other)
        step = -1 if high == transformer.lv_lags else 1
    return [(own.nodes[k], own.nodes[(k + step) % len(own.nodes)]) for k in range(n)]


def transformer_primitive(transformer: Transformer) -> Primitive:
    """Build a two-winding transformer with taps, leakage, magnetising and stray admittance to ground."""
    n, t = transformer.phases, transformer
    va = t.kva * 1e3 / n
    volts = [winding_volts(n, w) for w in t.windings]
    turns = np.array([v * w.tap for v, w in zip(volts, t.windings, strict=True)])
    z = sum(w.r_percent for w in t.windings) / 100.0 + 1j * t.x_percent / 100.0
    leak = va / z
    unit = leak * np.array([[1.0, -1.0], [-1.0, 1.0]], dtype=np.complex128)
    unit[1, 1] += va * (t.no_load_percent - 1j * t.magnetising_percent) / 100.0
    unit = unit / np.outer(turns, turns)
    y = np.kron(unit, np.eye(n)).astype(np.complex128)
    nodes, full = _legs(y, winding_legs(t, 0) + winding_legs(t, 1))
    for side in (0, 1):
        stray = -0.5j * t.float_ppm * 1e-6 * va / volts[side] ** 2
        ends = [node for leg in winding_legs(t, side) for node in leg]
        if t.windings[side].connection == "wye":
            ends.append(t.windings[side].nodes[n])  # a neutral gets one half more, as in OpenDSS
        for node in ends:
            if node != GROUND:
                full[nodes.index(node), nodes.index(node)] += stray
    return _by_side(transformer, nodes, full)


def _by_side(transformer: Transformer, nodes: Nodes, y: ComplexArray) -> Primitive:
    """Order the conductors by winding; what is grounded is none."""
    wanted = tuple(node for w in transformer.windings for node in w.nodes if node != GROUND)
    order = [nodes.index(node) for node in wanted]
    return wanted, np.ascontiguousarray(y[np.ix_(order, order)])
