"""What the tests of 104 share: four points, a server that takes up to 1, and patience."""

import asyncio

from vpp.testing.link_bench import PATIENCE_S
from vpp.wire.clock import wall_ns
from vpp.wire.iec104.server import Iec104Served
from vpp.wire.link import ACCEPT, Answer, Status
from vpp.wire.points import Point, PointTable

HOST = "127.0.0.1"
TABLE = PointTable(
    (
        Point("pv1", "p_mw", "1:256"),
        Point("pv1", "connect", "1:257", sheet="applied", wire="bool"),
        Point("pv1", "p_mw", "1:512", sheet="setpoints", access="w"),
        Point("pv1", "connect", "1:513", sheet="setpoints", wire="bool", access="w"),
    )
)


def run(test):
    async def limited():
        async with asyncio.timeout(3 * PATIENCE_S):
            await test()

    asyncio.run(limited())


async def served(table=TABLE, **more):
    server = Iec104Served(table, (HOST, 0), clock=wall_ns, **more)
    server.on_command(lambda command: ACCEPT if command.value[0] <= 1.0 else Answer(Status.REJECTED))
    await server.start()
    return server
