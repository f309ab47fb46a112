"""Every protocol under every fault: found by what must find it, the device safe within its lease, and nothing lost.

Bounds are counted in events: heartbeats of the policy, steps of the device's own clock, tries to connect. In seconds they are
`misses` × (`heartbeat_s` + `heartbeat_timeout_s`), the lease, and `connect_s` + `back_off_max_s`; docs/wire-faults.md measures.
"""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from tests.wire import certificates
from tests.wire.faults import FAULTS, Fault, play
from tests.wire.stage import STEP_S, Stage, Wire, staged
from tests.wire.wires import PART, WIRES
from vpp.kernel import quality as q
from vpp.testing.link_bench import Even, until
from vpp.wire.clock import wall_ns
from vpp.wire.link import Batch, Status
from vpp.wire.points import PointTable
from vpp.wire.supervisor import Policy, Supervisor
from vpp.wire.tls import client_context, server_context

POLICY = Policy(
    period_s=0.05, connect_s=3.0, back_off_s=0.05, back_off_max_s=0.2, heartbeat_s=0.1, heartbeat_timeout_s=0.3, write_s=0.5
)
LEASE_S = 1.0
PATIENCE_S = 90.0


def nothing_is_lost(s: Stage) -> None:
    """No value was taken for good that nobody published; no command was called accepted that the device had not taken."""
    assert s.lies == []
    accepted = {value for value, status in s.outcomes if status == Status.ACCEPTED}
    unsent = {value for value, status in s.outcomes if status == Status.NOT_SENT}
    assert accepted <= set(s.taken)
    assert not (unsent - {value for value, status in s.outcomes if status != Status.NOT_SENT}) & set(s.taken)
    assert {status for _, status in s.outcomes} <= {Status.ACCEPTED, Status.TIMEOUT, Status.NOT_SENT}


@pytest.mark.parametrize(
    ("wire", "fault"),
    [pytest.param(w, f, id=f"{w.name}-{f.name}".replace(" ", "_")) for w in WIRES for f in FAULTS if f.only(w)],
)
def test_a_fault(wire: Wire, fault: Fault, tmp_path) -> None:
    async def test() -> None:
        held = certificates.make(tmp_path) if fault.tls else {}
        tls = (server_context(held["server"]), client_context(held["client"])) if fault.tls else None
        async with staged(wire, POLICY, LEASE_S, tls) as s:
            s.expired = server_context(held["server, expired"]) if fault.tls else None
            found = await play(s, fault)
            nothing_is_lost(s)
            if fault.by:
                assert found.by in (("connection", "heartbeats") if fault.by == "either" else (fault.by,))
            if fault.by == "heartbeats":
                assert found.failed <= POLICY.misses + 1  # one may be under way beside the one that is missed
                assert found.beats <= POLICY.misses + 1
            elif fault.by == "connection":
                assert found.failed <= 1  # the one that was under way
            assert found.tries <= 2
            if not fault.dies:  # whatever it was, the device is safe within its lease when its link dies after it
                s.relay.mute = True
                await until(lambda: s.safe, "the device is safe")
                found.steps = s.safe_at - s.took_at
                assert s.outlet.firmware.fell_back >= 1
            assert found.steps <= round(LEASE_S / STEP_S) + 1

    async def limited() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await test()

    asyncio.run(limited())


@pytest.mark.parametrize("wire", WIRES, ids=[w.name for w in WIRES])
def test_a_part_that_calls_itself_all(wire: Wire) -> None:
    """5,440 of 10,000 points (544 of 1,000) come: an error that is counted, told, and marked at every point that is missing."""

    async def test() -> None:
        part = PART * wire.count // 10_000
        table = PointTable(tuple(wire.many(i) for i in range(wire.count)))
        values = table.quantise(table.all, np.linspace(0.1, 0.9, len(table)))[0]
        served = wire.fewer(table, 0)
        served.publish(Batch.of(served.table.all, values[: len(served.table)]))
        await served.start()
        policy = Policy(period_s=60.0, connect_s=10.0, back_off_s=0.05, heartbeat_s=0.0, write_s=10.0)
        keeper = Supervisor(wire.link(table, served.address), wall_ns, Even(), policy)
        task = asyncio.create_task(keeper.run())
        statistics = keeper.statistics
        await until(lambda: statistics.expected > 0, "the first picture")
        missing = len(table) - part
        assert (statistics.expected, statistics.missing, statistics.incomplete) == (len(table), missing, 1)
        assert keeper.log.counts["incomplete"] == 1
        image = keeper.now()
        assert np.array_equal(image.value[:part], values[:part])
        assert not image.quality[:part].any()
        assert np.all(image.quality[part:] == q.INVALID | q.COMM_LOST)
        assert np.isnan(image.value[part:]).all()
        port = served.address[1]
        await served.stop()
        served = wire.served(table, port)
        served.publish(Batch.of(table.all, values))
        await served.start()
        await until(lambda: np.array_equal(keeper.now().value, values), "all of them")
        assert statistics.incomplete == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await served.stop()

    async def limited() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await test()

    asyncio.run(limited())
