"""Who is connected to whom, live: switch, look what happens, undo.

Words: an *edge* joins two vertices - a branch, a leg of a three-winding transformer, a bus-bus switch, or the tie between a
source and the public grid, the root. A *feeder* begins with the first line (or other branch that is no transformer) that
leaves the busbars of a source; everything supplied through it hangs on it. A bus is *looped* if it lies on a circle of closed
edges; two sources of the same public grid close one too.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import numpy as np

from vpp.grid.model import NetworkModel
from vpp.grid.tables import BoolArray, ByteArray, Int32Array, IntArray
from vpp.grid.trace import EDGE_KINDS, LINE, SWITCH, TRAFO, TRAFO3W, feeders, islands, loops, walk
from vpp.kernel.near import did_you_mean

_TWO_ENDS: Final = (("line", "from_bus", "to_bus"), ("trafo", "hv_bus", "lv_bus"), ("impedance", "from_bus", "to_bus"))
_SHORT: Final = {"l": LINE, "t": TRAFO, "t3": TRAFO3W}


class Operation(NamedTuple):
    """A switch to open or close, or an element of `EDGE_KINDS` to take out or back ("gen": one that is a slack)."""

    kind: str
    id: int
    closed: bool


@dataclass(frozen=True, slots=True)
class Connectivity:
    """How things are connected at one moment; arrays over buses (n_bus,) and edges (n_edge,).

    Attributes:
        energised: connected to a source.
        islanded: in service, but not energised.
        looped: on a circle of closed edges.
        island: number of the connected part, 0 for what is energised, -1 for a bus out of service.
        feeder: number of the feeder, -1 for the busbars of a source and for what is not energised.
        feeder_edge: (feeders,) the edge that each feeder begins with.
        upstream_edge: the edge towards the source, -1 where there is none.
        edge_closed: edges that connect.
        edge_looped: edges on a circle.
    """

    energised: BoolArray
    islanded: BoolArray
    looped: BoolArray
    island: Int32Array
    feeder: Int32Array
    feeder_edge: Int32Array
    upstream_edge: Int32Array
    edge_closed: BoolArray
    edge_looped: BoolArray


@dataclass(frozen=True, slots=True)
class Effect:
    """What an operation changes: positions of buses, ascending."""

    lost: IntArray
    won: IntArray
    looped: IntArray
    opened: IntArray
    moved: IntArray

    @property
    def nothing(self) -> bool:
        """Whether no bus notices."""
        return not any(len(buses) for buses in (self.lost, self.won, self.looped, self.opened, self.moved))


@dataclass(frozen=True, slots=True)
class Change:
    """An entry of the log: what was done, by whom, when, and how it was before."""

    time_ns: int
    author: str
    operation: Operation
    was: bool


@dataclass(frozen=True, slots=True)
class _Edges:
    """The edges of a network: (m,) ends as vertices, kind, id, whether in service; and the switches in each."""

    a: Int32Array
    b: Int32Array
    kind: ByteArray
    id: IntArray
    edge_of_switch: Int32Array  # (switches,) edge that each switch is in; -1 for one at something that is not there


@dataclass(slots=True)
class Topology:
    """The connectivity tracker of a network.

    Attributes:
        model: the network; it is not changed.
        switch_closed: (switches,) position of each switch now.
        edge_on: (edges,) whether each edge's element is in service now.
        log: changes, oldest first.
    """

    model: NetworkModel
    switch_closed: BoolArray = field(init=False)
    edge_on: BoolArray = field(init=False)
    log: list[Change] = field(default_factory=list)
    _edges: _Edges = field(init=False)
    _bus_on: BoolArray = field(init=False)
    _starts: Int32Array = field(init=False)
    _incident: Int32Array = field(init=False)
    _now: Connectivity | None = None

    def __post_init__(self) -> None:
        """Compile the edges and who is beside whom."""
        self._bus_on = self.model.tables["bus"]["in_service"].astype(np.bool_)
        self._edges, self.edge_on = _compile(self.model)
        self.switch_closed = self.model.tables["switch"]["closed"].astype(np.bool_)
        n, m = self._vertices, len(self._edges.a)
        ends = np.concatenate([self._edges.a, self._edges.b])
        order = np.argsort(ends, kind="stable")
        self._incident = (order % max(m, 1)).astype(np.int32)
        self._starts = np.searchsorted(ends[order], np.arange(n + 1)).astype(np.int32)

    @property
    def _vertices(self) -> int:
        """Buses, star points of three-winding transformers, and the root."""
        return self.model.n_bus + len(self.model.tables["trafo3w"]["id"]) + 1

    @property
    def now(self) -> Connectivity:
        """The connectivity at present."""
        if self._now is None:
            self._now = self._trace()
        return self._now

    def edge_name(self, edge: int) -> str:
        """Kind and id of an edge, as operations name it."""
        return f"{EDGE_KINDS[self._edges.kind[edge]]} {self._edges.id[edge]}"

    def operate(self, operation: Operation, now_ns: int, author: str = "") -> Effect:
        """Carry out an operation and log it, also where it changes nothing.

        Raises:
            KeyError: there is no such element; the message names those that there are.
        """
        before, was = self.now, self._set(operation)
        self.log.append(Change(now_ns, author, operation, was))
        return _compare(before, self.now)

    def preview(self, *operations: Operation) -> Effect:
        """What operations would change together, without carrying them out; KeyError as in `operate`."""
        switches, edges, before = self.switch_closed.copy(), self.edge_on.copy(), self.now
        try:
            for operation in operations:
                self._set(operation)
            return _compare(before, self.now)
        finally:
            self.switch_closed[:], self.edge_on[:], self._now = switches, edges, before

    def undo(self, count: int = 1) -> tuple[Change, ...]:
        """Take back the last changes, newest first; returns them. IndexError where there are not as many."""
        if not 0 <= count <= len(self.log):
            raise IndexError(f"{len(self.log)} changes can be undone, not {count}")
        undone = tuple(self.log.pop() for _ in range(count))
        for change in undone:
            self._set(change.operation._replace(closed=change.was))
        return undone

    def _set(self, operation: Operation) -> bool:
        """Change a switch or an element; returns how it was."""
        array, rows = self._rows(operation)
        was = bool(array[rows].all())
        array[rows] = operation.closed
        self._now = None
        return was

    def _rows(self, operation: Operation) -> tuple[BoolArray, IntArray]:
        """The array that holds an element's state, and its rows there."""
        if operation.kind == "switch":
            known, array = self.model.tables["switch"]["id"], self.switch_closed
            rows = np.flatnonzero(known == operation.id)
        else:
            kinds = [kind for kind in EDGE_KINDS if kind != "switch"]
            if operation.kind not in kinds:
                raise KeyError(f"no element {operation.kind!r}{did_you_mean(operation.kind, [*kinds, 'switch'])}")
            mine = self._edges.kind == EDGE_KINDS.index(operation.kind)
            known, array = self._edges.id[mine], self.edge_on
            rows = np.flatnonzero(mine & (self._edges.id == operation.id))
        if not len(rows):
            raise KeyError(f"no {operation.kind} {operation.id}{did_you_mean(str(operation.id), map(str, known.tolist()))}")
        return array, rows

    def _trace(self) -> Connectivity:
        """Look at everything anew: O(buses + edges)."""
        e, n = self._edges, self.model.n_bus
        open_at = np.zeros(len(e.a), np.int64)
        np.add.at(open_at, e.edge_of_switch[e.edge_of_switch >= 0], ~self.switch_closed[e.edge_of_switch >= 0])
        on = np.ones(self._vertices, np.bool_)
        on[:n] = self._bus_on
        closed = self.edge_on & (open_at == 0) & on[e.a] & on[e.b]
        parent, order, size = walk(self._vertices - 1, self._starts, self._incident, e.a, e.b, closed)
        looped = loops(parent, order[:size], self._starts, self._incident, e.a, e.b, closed)
        feeder, head = feeders(parent, order[:size], e.a, e.b, e.kind)
        energised = parent[:n] != -2
        bus_looped = np.zeros(self._vertices, np.bool_)
        bus_looped[e.a[looped]] = bus_looped[e.b[looped]] = True
        island = islands(parent, on, self._starts, self._incident, e.a, e.b, closed)[:n]
        return Connectivity(
            energised,
            self._bus_on & ~energised,
            bus_looped[:n],
            island,
            feeder[:n],
            head,
            np.maximum(parent[:n], -1),
            closed,
            looped,
        )

    def state(self) -> dict[str, Any]:
        """Everything that was changed: positions and log."""
        log = [(c.time_ns, c.author, tuple(c.operation), c.was) for c in self.log]
        return {"switch_closed": self.switch_closed.copy(), "edge_on": self.edge_on.copy(), "log": log}

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a remembered state."""
        self.switch_closed[:], self.edge_on[:] = state["switch_closed"], state["edge_on"]
        self.log = [Change(t, author, Operation(*operation), was) for t, author, operation, was in state["log"]]
        self._now = None

    def switched(self) -> NetworkModel:
        """The network as it is switched now, ready to be compiled."""
        tables = {kind: dict(table) for kind, table in self.model.tables.items()}
        tables["switch"]["closed"] = self.switch_closed.copy()
        for kind in ("line", "trafo", "trafo3w", "impedance", "source"):
            mine = np.flatnonzero(self._edges.kind == EDGE_KINDS.index(kind))
            mine = mine[:: 3 if kind == "trafo3w" else 1]
            tables[kind]["in_service"] = self.edge_on[mine]
        return replace(self.model, tables=tables)


def _compare(before: Connectivity, after: Connectivity) -> Effect:
    def where(mask: BoolArray) -> IntArray:
        return np.flatnonzero(mask)

    stays = before.energised & after.energised
    heads = [np.append(c.feeder_edge, -1)[c.feeder] for c in (before, after)]
    return Effect(
        where(before.energised & ~after.energised), where(after.energised & ~before.energised),
        where(after.looped & ~before.looped), where(before.looped & ~after.looped), where(stays & (heads[0] != heads[1])),
    )  # fmt: skip


def _compile(model: NetworkModel) -> tuple[_Edges, BoolArray]:
    """The edges of a network, and which are in service; ends that name no bus hang in the air at the star of nothing."""
    t, n = model.tables, model.n_bus
    position = model.position()
    root = n + len(t["trafo3w"]["id"])

    def at(buses: IntArray) -> list[int]:
        return [position.get(int(bus), -1) for bus in buses]

    rows: list[tuple[int, int, int, int, bool]] = []
    for kind, first, second in _TWO_ENDS:
        ends = zip(at(t[kind][first]), at(t[kind][second]), t[kind]["id"].tolist(), t[kind]["in_service"].tolist())
        rows += [(a, b, EDGE_KINDS.index(kind), number, on) for a, b, number, on in ends]
    for star, (number, on) in enumerate(zip(t["trafo3w"]["id"].tolist(), t["trafo3w"]["in_service"].tolist()), start=n):
        rows += [(at(t["trafo3w"][f"{side}_bus"])[star - n], star, TRAFO3W, number, on) for side in ("hv", "mv", "lv")]
    switch = t["switch"]
    edge_of_switch = np.full(len(switch["id"]), -1, np.int32)
    by_id: dict[tuple[int, int], list[int]] = {}
    for k, (_, _, code, number, _) in enumerate(rows):
        by_id.setdefault((code, number), []).append(k)
    for k, (bus, element, et) in enumerate(zip(at(switch["bus"]), switch["element"].tolist(), switch["et"].tolist())):
        if et == "b":
            edge_of_switch[k] = len(rows)
            rows.append((bus, position.get(element, -1), SWITCH, int(switch["id"][k]), True))
        else:
            mine = by_id.get((_SHORT.get(et, -1), element), [])
            edge_of_switch[k] = next((m for m in mine if len(mine) == 1 or rows[m][0] == bus), -1)
    for kind, counts in (("source", np.ones(len(t["source"]["id"]), np.bool_)), ("gen", t["gen"]["slack"])):
        table = zip(at(t[kind]["bus"]), t[kind]["id"].tolist(), t[kind]["in_service"].tolist(), counts.tolist())
        rows += [(root, bus, EDGE_KINDS.index(kind), number, on) for bus, number, on, yes in table if yes]
    a, b, kinds, ids, on = (list(column) for column in zip(*rows)) if rows else ([], [], [], [], [])
    there = np.array(a, np.int64).clip(-1) >= 0
    there &= np.array(b, np.int64) >= 0
    both = np.maximum(np.array([a, b], np.int32).reshape(2, -1), 0)
    edges = _Edges(both[0], both[1], np.array(kinds, np.uint8), np.array(ids, np.int64), edge_of_switch)
    return edges, np.array(on, np.bool_) & there
