"""A point table served over Modbus TCP: every unit of the table is a device behind one address."""

from __future__ import annotations

import ssl

import numpy as np

from vpp.kernel import quality as q
from vpp.wire.clock import WallClock
from vpp.wire.link import Answer, Batch, Command, Handler, Status
from vpp.wire.modbus.address import parse
from vpp.wire.modbus.image import TableImage
from vpp.wire.modbus.server import ModbusServer
from vpp.wire.points import PointTable

REFUSE = Answer(Status.NOT_SUPPORTED, "nobody takes commands here")


class ModbusServed:
    """`vpp.wire.link.Served` on Modbus. Quality and source time do not exist there.

    What is not known is the type's sentinel where the point has one, NaN for floats, and otherwise exception 4.
    """

    def __init__(self, table: PointTable, bind: tuple[str, int], *, clock: WallClock, tls: ssl.SSLContext | None = None) -> None:
        """Lay out the table; further limits are attributes of ``server``. Raises `PointError` for an address that is none."""
        self.table = table
        self._handler: Handler | None = None
        self.image = TableImage(table, [parse(point) for point in table.points], self._decide, clock)
        self._float = np.array([p.wire.startswith("float") or p.quality == "sentinel" for p in table.points], np.bool_)
        self.server = ModbusServer(dict(self.image.units), bind, tls=tls)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port that it listens at."""
        return self.server.address

    async def start(self) -> None:
        """Listen. Raises `LinkError` where the address cannot be had."""
        await self.server.start()

    async def stop(self) -> None:
        """Stop listening and break every connection."""
        await self.server.stop()

    def publish(self, batch: Batch) -> None:
        """Put values into the image."""
        raw, quality = self.table.encode(batch.point, batch.value, batch.quality)
        known = ((quality & q.VALIDITY_MASK) < q.INVALID) | self._float[batch.point]
        self.image.put(batch.point, raw, known)

    def on_command(self, handler: Handler) -> None:
        """Set who decides on commands."""
        self._handler = handler

    def _decide(self, command: Command) -> Answer:
        return REFUSE if self._handler is None else self._handler(command)
