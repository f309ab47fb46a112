"""The IEC 61850 server in front of a point table: a model generated from it, reports, controls, settings."""

from __future__ import annotations

import asyncio
import io
import ssl
from typing import Any, Final, cast

import numpy as np
from open61850.data import IECData
from open61850.mms.pdu import ObjectName
from open61850.server.control import Command as Order
from open61850.server.model import IedModel, Node
from open61850.server.server import MmsServer, ServerConnection

from vpp.kernel import quality as q
from vpp.kernel.errors import LinkError
from vpp.kernel.signals import FloatArray
from vpp.wire.clock import WallClock
from vpp.wire.iec61850.address import Address, addresses
from vpp.wire.iec61850.connection import Connection
from vpp.wire.iec61850.control import SELECT, SELECT_ENHANCED
from vpp.wire.iec61850.engines import Controls, Reports
from vpp.wire.iec61850.quality import ACCESS_CODES, DENIED, INCONSISTENT_TYPE, TO_DATA, time_to
from vpp.wire.iec61850.scl import Options, deadbanded, generate, instant
from vpp.wire.iec61850.values import data_of, dig, raw_of
from vpp.wire.link import Answer, Batch, Command, Handler, Mode, Status
from vpp.wire.logs import LinkLog
from vpp.wire.points import PointTable

REFUSE: Final = Answer(Status.REJECTED, "nobody decides on commands here")
HANDSHAKE_S: Final = 5.0


class Iec61850Served:
    """`vpp.wire.link.Served` on IEC 61850 MMS."""

    def __init__(
        self, table: PointTable, address: tuple[str, int], *, clock: WallClock, name: str = "iec61850 server",
        tls: ssl.SSLContext | None = None, options: Options | None = None,
    ) -> None:  # fmt: skip
        """Lay out the model.

        Args:
            table: what stands at which attribute. Raises `PointError`.
            address: host and port to listen at.
            clock: wall clock, ns.
            name: in logs.
            tls: with the server's certificate.
            options: control model, time of a select, number of clients.
        """
        self.table, self.clock, self.name = table, clock, name
        self.options = options or Options()
        self.log = LinkLog(name, clock)
        self.scl = generate(table, self.options)
        self.model = IedModel.from_scl(cast(Any, io.StringIO(self.scl)))
        self.connections: list[Connection] = []
        self._tls, self._where = tls, address
        self._server: asyncio.Server | None = None
        self._handler: Handler | None = None
        self.mms = MmsServer(self.model)
        self._addresses = addresses(table)
        self._nodes: dict[int, tuple[Node, Node | None, Node | None, Node | None]] = {}  # value, momentary, quality, time
        self._rows: dict[int, int] = {}  # value -> row that shows it
        self._orders: dict[str, int] = {}  # LD/LN$CO$DO -> row
        self._settings: dict[int, int] = {}  # leaf -> row that writes it
        for row, place in enumerate(self._addresses):
            self._lay(row, place)
        steps = table.decode(table.all, np.ones(len(table)))[0] - table.decode(table.all, np.zeros(len(table)))[0]
        self._deadband = [p.deadband / abs(step) for p, step in zip(table.points, steps.tolist())]
        self._reported: dict[int, tuple[float, int]] = {}
        for _, _, quality, stamp in self._nodes.values():
            _assign(quality, TO_DATA[q.INVALID])  # until something is published
            _assign(stamp, time_to(0))

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens at."""
        return self._where

    async def start(self) -> None:
        """Listen. Raises `LinkError`."""
        self.mms = MmsServer(self.model, vendor="VPP Core", model_name="DER", revision="1")
        self.mms.reports = Reports(self.mms)
        self.mms.controls = Controls(self.mms, self._judge, self._did, self._orders)
        self.mms.write_hooks.append(self._set)
        patience = HANDSHAKE_S if self._tls is not None else None
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: Connection(self.mms, self.connections.append, self._lost).pipe,
                *self._where,
                ssl=self._tls,
                ssl_handshake_timeout=patience,
                backlog=256,
            )
        except OSError as error:
            self.mms.reports.stop()
            raise LinkError(self.name, str(error)) from error
        self._where = (self._where[0], int(self._server.sockets[0].getsockname()[1]))

    async def stop(self) -> None:
        """Break every connection and stop listening."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for connection in list(self.connections):
            connection.pipe.end("the server stops")
        if self.mms.reports is not None:
            self.mms.reports.stop()
            self.mms.reports = None
        await asyncio.sleep(0)

    def publish(self, batch: Batch) -> None:
        """Put values, qualities and times into the model, and report what changed."""
        raw, quality = self.table.encode(batch.point, batch.value, batch.quality)
        raw[np.isnan(raw)] = 0.0  # marked invalid; no number is put where none is known
        changed: list[Node] = []
        for row, value, octet, time_ns in zip(batch.point.tolist(), raw.tolist(), quality.tolist(), batch.time_ns.tolist()):
            if row in self._nodes:
                changed += self._put(row, value, octet, time_ns)
        self._report(changed)

    def on_command(self, handler: Handler) -> None:
        """Set who decides on commands."""
        self._handler = handler

    def _lost(self, connection: Connection, reason: str) -> None:
        if connection in self.connections:
            self.connections.remove(connection)
        self.log.tell("connection ended", reason)

    def _lay(self, row: int, place: Address) -> None:
        """Find the nodes of a row in the model."""
        point = self.table.points[row]
        if place.fc == "CO":
            self._orders[str(place.object)] = row
            return
        value = self.model.node(ObjectName(place.item, place.ld))
        assert value is not None
        momentary = self.model.node(ObjectName(instant(place).item, place.ld)) if deadbanded(point) else None
        above: Node | None = value.parent
        while above is not None and above.fc is not None and above.child("q") is None:
            above = above.parent
        quality = above.child("q") if above is not None else None
        stamp = above.child("t") if above is not None else None
        if "r" in point.access:
            self._nodes[row] = value, momentary, quality, stamp
            self._rows[id(value)] = row
        if "w" in point.access:
            self._settings[id(value)] = row

    def _put(self, row: int, raw: float, octet: int, time_ns: int) -> list[Node]:
        """Change a row's nodes: which leaves changed. Within its deadband a magnitude keeps still (IEC 61850-7-3, db)."""
        value, momentary, quality, stamp = self._nodes[row]
        data = data_of(value.mms_type, raw)
        assert data is not None
        changed = _assign(momentary, data)
        last = self._reported.get(row)
        if last is not None and last[1] == octet and abs(raw - last[0]) <= self._deadband[row] and self._deadband[row] > 0.0:
            return changed
        self._reported[row] = raw, octet
        return changed + _assign(value, data) + _assign(quality, TO_DATA[octet]) + _assign(stamp, time_to(time_ns))

    def _report(self, changed: list[Node]) -> None:
        if changed and isinstance(self.mms.reports, Reports):
            self.mms.reports._on_change(changed)

    def _judge(self, order: Order, select: bool) -> Answer | None:
        """Decide on an order to a controllable object; None where its value is of another kind."""
        row = self._orders[order.reference]
        place = self._addresses[row]
        node, value = self.model.node(ObjectName(place.item, place.ld)), _plain(order, place)
        raw = raw_of(value)
        if raw is None or node is None or type(value) is not type(node.value):
            return None
        mode = Mode.SELECT if self.options.control_model in (SELECT, SELECT_ENHANCED) else Mode.DIRECT
        return self._ask(np.array([row]), np.array([raw]), mode, select, cast(ServerConnection, order.client))

    def _ask(self, rows: Any, raws: FloatArray, mode: Mode, select: bool, client: ServerConnection) -> Answer:
        if self._handler is None:
            return REFUSE
        values, _ = self.table.decode(rows, raws)
        return self._handler(Command(rows, values, mode, select, str(client.peer), self.clock()))

    def _did(self, order: Order) -> None:
        """An accepted order stands in the object's status until something else is published."""
        place = self._addresses[self._orders[order.reference]]
        fc, shown = ("MX", "mxVal") if self.model.node(place.beside("MX", "mxVal")) is not None else ("ST", "stVal")
        node, raw = self.model.node(place.beside(fc, shown, *place.path[3:])), raw_of(_plain(order, place))
        if node is None or raw is None:
            return
        double = getattr(node.mms_type, "kind", "") == "bit-string"  # shows on and off as 2 and 1
        data = data_of(node.mms_type, raw + 1.0 if double else raw)
        changed = _assign(node, data) + _assign(self.model.node(place.beside(fc, "q")), TO_DATA[q.GOOD])
        changed += _assign(self.model.node(place.beside(fc, "t")), time_to(self.clock()))
        self._reported.pop(self._rows.get(id(node), -1), None)
        self._report(changed)

    def _set(self, client: ServerConnection, name: ObjectName, value: IECData) -> int | bool | None:
        """Decide on a setting that a client writes: an attribute, or a structure all of whose leaves may be written."""
        node = self.model.node(name)
        if node is None:
            return None  # the model says that there is none
        leaves = list(node.leaves())
        rows = [self._settings.get(id(leaf), -1) for leaf in leaves]
        if -1 in rows:
            return DENIED
        parts = _leaves(node, value)
        raws = [raw_of(part) for part in parts]
        if len(parts) != len(leaves) or any(type(part) is not type(leaf.value) for part, leaf in zip(parts, leaves)):
            return INCONSISTENT_TYPE
        answer = self._ask(np.array(rows), np.array([raw for raw in raws if raw is not None]), Mode.DIRECT, False, client)
        if answer.status != Status.ACCEPTED:
            return ACCESS_CODES.get(answer.status, DENIED)
        self._report([leaf for leaf, part in zip(leaves, parts) for leaf in _assign(leaf, part)])
        return True


def _assign(node: Node | None, data: IECData | None) -> list[Node]:
    return node.assign(data) if node is not None and data is not None else []


def _plain(order: Order, place: Address) -> IECData | None:
    """The value of an order: an analogue value has it in its one member."""
    return dig(order.ctl_val, [0] * len(place.path[3:]))


def _leaves(node: Node, value: IECData) -> list[IECData]:
    """Leaves of a value in the order of a node's; fewer or more where the value is of another shape."""
    if not node.children:
        return [value]
    members = getattr(value, "members", None) or []
    children = list(node.children.values())
    return (
        [leaf for child, member in zip(children, members) for leaf in _leaves(child, member)]
        if len(members) == len(children)
        else []
    )
