"""Feeder -> :class:`ThreePhaseNetwork`, and the no-load solution that gives the nodes their base voltages."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from vpp.grid.tables import BoolArray, ComplexArray, FloatArray, Int32Array
from vpp.grid.threephase.factor import no_load
from vpp.grid.threephase.feeder import GROUND, Feeder, Node, Nodes
from vpp.grid.threephase.network import BRANCH_KINDS, Legs, ThreePhaseNetwork
from vpp.grid.threephase.primitives import (
    Primitive,
    capacitor_primitive,
    line_primitive,
    source_primitive,
    transformer_primitive,
)
from vpp.kernel.errors import NetworkError

_UNKNOWN = float("nan")


class _Branches:
    """Branches gathered as ragged arrays."""

    def __init__(self) -> None:
        """Start empty."""
        self.kind: list[int] = []
        self.name: list[str] = []
        self.primitive: list[Primitive] = []
        self.split: list[int] = []
        self.i_max: list[float] = []

    def add(self, kind: str, name: str, primitive: Primitive, first: int, i_max: float = _UNKNOWN) -> None:
        """Add one; ``first`` is the number of conductors of its first terminal."""
        self.kind.append(BRANCH_KINDS.index(kind))
        self.name.append(name)
        self.primitive.append(primitive)
        self.split.append(first)
        self.i_max.append(i_max)


def _inner(name: str, count: int) -> Nodes:
    """Nodes behind a source's impedance."""
    return tuple((f"\0{name}", k + 1) for k in range(count))


def _gather(feeder: Feeder) -> _Branches:
    """List every linear element."""
    out = _Branches()
    for source in feeder.sources:
        inner = _inner(source.name, len(source.nodes))
        out.add("source", source.name, source_primitive(source, inner), len(inner))
    for line in feeder.lines:
        kind = "switch" if line.switch else "line"
        out.add(kind, line.name, line_primitive(line), len(line.from_nodes), line.i_max_a)
    for transformer in feeder.transformers:
        primitive = transformer_primitive(transformer)
        first = sum(node != GROUND for node in transformer.windings[0].nodes)
        out.add("transformer", transformer.name, primitive, first)
    for bank in feeder.capacitors:
        primitive = capacitor_primitive(bank)
        out.add("capacitor", bank.name, primitive, len(primitive[0]))
    return out


def _connected(edges: list[list[int]], roots: Iterable[int], n: int) -> BoolArray:
    """Mark the nodes that elements connect to a root."""
    group = list(range(n))

    def find(k: int) -> int:
        while group[k] != k:
            group[k] = group[group[k]]
            k = group[k]
        return k

    for members in edges:
        for other in members[1:]:
            group[find(other)] = find(members[0])
    live = {find(root) for root in roots}
    return np.array([find(k) in live for k in range(n)], dtype=np.bool_)


def _ybus(
    conductor: Int32Array, start: Int32Array, primitives: list[Primitive], n: int
) -> tuple[Int32Array, Int32Array, ComplexArray]:
    """Add the primitive matrices up: CSR."""
    from scipy.sparse import coo_array

    rows, columns, values = [], [], []
    for k, (_, y) in enumerate(primitives):
        nodes = conductor[start[k] : start[k + 1]]
        rows.append(np.repeat(nodes, len(nodes)))
        columns.append(np.tile(nodes, len(nodes)))
        values.append(y.ravel())
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    y = coo_array(entries, shape=(n, n)).tocsr()
    y.sort_indices()
    return y.indptr.astype(np.int32), y.indices.astype(np.int32), y.data.astype(np.complex128)


def _bases(v0: ComplexArray, kv: tuple[float, ...]) -> FloatArray:
    """Give each node the base (V, line to neutral) that its no-load voltage is nearest to in ratio."""
    known = np.sort(np.array(kv)) * 1e3 / math.sqrt(3.0)
    size = np.maximum(np.abs(v0), 1e-9)
    nearest = np.argmin(np.abs(np.log(size[:, None] / known[None, :])), axis=1)
    out: FloatArray = known[nearest]
    return out


def _rated_kv(feeder: Feeder) -> tuple[float, ...]:
    """List the line-to-line voltages that sources and transformers state."""
    kv = {s.kv for s in feeder.sources}
    for t in feeder.transformers:
        kv |= {w.kv * (math.sqrt(3.0) if t.phases == 1 and w.connection == "wye" else 1.0) for w in t.windings}
    return tuple(kv)


def _legs(feeder: Feeder, index: dict[Node, int]) -> Legs:
    """Turn loads into legs; consumption becomes negative injection here."""
    rows = []
    for k, load in enumerate(feeder.loads):
        share = -1e-3 / len(load.legs)
        band = (load.v_low_pu, load.v_min_pu, load.v_max_pu)
        for a, b in load.legs:
            at = (index[a], -1 if b == GROUND else index[b], k)
            rows.append((*at, load.kv * 1e3, load.p_kw * share, load.q_kvar * share, *load.zip_p, *load.zip_q, *band))
    table = np.array(rows, dtype=np.float64).reshape(-1, 15)
    start, end, of = (table[:, k].astype(np.int32) for k in range(3))
    parts, band_pu = np.ascontiguousarray(table[:, 6:12]), np.ascontiguousarray(table[:, 12:15])
    return Legs(start, end, of, table[:, 3].copy(), table[:, 4].copy(), table[:, 5].copy(), parts, band_pu)


def compile_feeder(feeder: Feeder) -> ThreePhaseNetwork:
    """Compile a feeder; NetworkError where it has no source, or where part of it has no reference to ground."""
    where = feeder.source or feeder.name
    if not feeder.sources:
        raise NetworkError(where, "there is no voltage source")
    branches = _gather(feeder)
    inner = [node for s in feeder.sources for node in _inner(s.name, len(s.nodes))]
    used = dict.fromkeys(node for nodes, _ in branches.primitive for node in nodes)
    used.update(dict.fromkeys(node for load in feeder.loads for leg in load.legs for node in leg if node != GROUND))
    nodes = [node for node in used if not node[0].startswith("\0")] + inner
    index = {node: k for k, node in enumerate(nodes)}
    buses = tuple(dict.fromkeys(bus for bus, _ in nodes if not bus.startswith("\0")))
    bus_index = {bus: k for k, bus in enumerate(buses)}

    sizes = [len(n) for n, _ in branches.primitive]
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    conductor = np.array([index[node] for n, _ in branches.primitive for node in n], dtype=np.int32)
    groups = [conductor[start[k] : start[k + 1]].tolist() for k in range(len(sizes))]
    y_indptr, y_indices, y_data = _ybus(conductor, start, branches.primitive, len(nodes))
    fixed = np.arange(len(nodes) - len(inner), len(nodes), dtype=np.int32)
    fixed_v = np.concatenate([s.v for s in feeder.sources]).astype(np.complex128)
    on = _connected(groups, fixed.tolist(), len(nodes))
    v0 = no_load(y_indptr, y_indices, y_data, fixed, fixed_v, on)
    if not np.isfinite(v0).all():
        names = ", ".join(f"{b}.{p}" for k, (b, p) in enumerate(nodes) if not np.isfinite(v0[k]))[:200]
        raise NetworkError(where, f"nothing holds the voltage against ground at {names}")
    return ThreePhaseNetwork(
        name=feeder.name,
        source=feeder.source,
        notes=tuple(feeder.notes),
        f_hz=feeder.f_hz,
        feeder=feeder,
        bus_name=buses,
        bus_xy=np.array([feeder.xy.get(bus, (_UNKNOWN, _UNKNOWN)) for bus in buses]).reshape(-1, 2),
        node_bus=np.array([bus_index.get(bus, -1) for bus, _ in nodes], dtype=np.int32),
        node_phase=np.array([phase for _, phase in nodes], dtype=np.uint8),
        node_v_base=_bases(v0, feeder.voltage_bases_kv or _rated_kv(feeder)),
        node_on=on,
        fixed_node=fixed,
        fixed_v=fixed_v,
        y_indptr=y_indptr,
        y_indices=y_indices,
        y_data=y_data,
        branch_kind=np.array(branches.kind, dtype=np.uint8),
        branch_name=tuple(branches.name),
        branch_start=start,
        branch_split=(start[:-1] + np.array(branches.split)).astype(np.int32),
        conductor_node=conductor,
        conductor_i_max_a=np.repeat(np.array(branches.i_max), sizes),
        primitive_start=np.concatenate([[0], np.cumsum(np.square(sizes))]).astype(np.int32),
        primitive_y=np.concatenate([y.ravel() for _, y in branches.primitive]).astype(np.complex128),
        legs=_legs(feeder, index),
        load_name=tuple(load.name for load in feeder.loads),
        load_shape=tuple(load.shape for load in feeder.loads),
    )
