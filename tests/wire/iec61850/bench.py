"""What the tests of IEC 61850 share: a DER by its device map, a started server, a connected client."""

import asyncio
from contextlib import asynccontextmanager

from hil.devicemap import load_map
from vpp.testing.link_bench import PATIENCE_S
from vpp.wire.clock import wall_ns
from vpp.wire.iec61850.client import Iec61850Link
from vpp.wire.iec61850.server import Iec61850Served
from vpp.wire.link import ACCEPT, Answer, Status

HOST = "127.0.0.1"
DER = load_map("der_61850").on_wire("bat1", 1)


def run(test):
    async def limited():
        async with asyncio.timeout(3 * PATIENCE_S):
            await test()

    asyncio.run(limited())


def decide(command):
    return ACCEPT if (command.value <= 1.0).all() else Answer(Status.REJECTED)


@asynccontextmanager
async def serving(table=DER, decide=decide, address=(HOST, 0), **more):
    server = Iec61850Served(table, address, clock=wall_ns, **more)
    server.on_command(decide)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def connected(table, address, **more):
    link = Iec61850Link(table, address, clock=wall_ns, **more)
    await link.connect(PATIENCE_S)
    try:
        yield link
    finally:
        await link.close()


@asynccontextmanager
async def followed(link, period_s=0.05):
    """The batches of a subscription, as they come."""
    got = []

    async def follow():
        async for batch in link.subscribe(period_s=period_s):
            got.append(batch)  # noqa: PERF401 - seen as they come

    task = asyncio.create_task(follow())
    try:
        yield got
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
