"""Reports: quality and time, deadbands, what a buffer keeps, and that nothing is believed to be whole that is not."""

import asyncio

import numpy as np
import pytest
from open61850.data import BoolData, UIntData
from open61850.mms.report import ReasonCode

from tests.wire.iec61850.bench import DER, connected, followed, run, serving
from vpp.kernel import quality as q
from vpp.testing.link_bench import PATIENCE_S, SOURCE_NS, until
from vpp.testing.wires import Relay
from vpp.wire.iec61850.scl import Options
from vpp.wire.link import Batch, LinkState
from vpp.wire.points import Point, PointTable


@pytest.mark.parametrize("kind", ["buffered", "unbuffered", "none"])
def test_reports_bring_quality_and_time(kind):
    async def test():
        async with serving() as server, connected(DER, server.address, reports=kind) as link:
            rows = DER.readable
            server.publish(Batch.of(rows, np.full(len(rows), 0.5), 0, SOURCE_NS))
            async with followed(link) as got:
                await until(lambda: bool(got), "a first picture")
                assert np.array_equal(np.sort(got[0].point), rows)
                enabled = [block.enabled for block in server.mms.reports.controls.values()]
                assert sum(enabled) == (kind != "none")
                later = SOURCE_NS + 5_000_000
                server.publish(Batch.of(rows[:1], np.array([0.75]), q.QUESTIONABLE | q.SUBSTITUTED, later))
                await until(lambda: len(got) > 1, "a report")
                change = got[1]
                assert (change.point.tolist(), change.value.tolist()) == ([rows[0]], [0.75])
                assert change.quality.tolist() == [q.QUESTIONABLE | q.SUBSTITUTED]
                assert change.time_ns.tolist() == [later]

    run(test)


def test_a_deadband_holds_the_magnitude_still():
    """`mag` is the deadbanded value, `instMag` beside it the momentary one (IEC 61850-7-3, db)."""

    async def test():
        table = PointTable(
            (
                Point("m", "p_mw", "M/MMXU1.TotW.mag.f[MX]", deadband=0.01),
                Point("m", "q_mvar", "M/MMXU1.TotVAr.mag.f[MX]"),
                Point("n", "p_mw", "M/MMXU1.TotW.instMag.f[MX]"),
            )
        )
        async with serving(PointTable(table.points[:2])) as server, connected(table, server.address) as link:
            one = table.all[:1]
            server.publish(Batch.of(one, np.array([1.0]), 0, SOURCE_NS))
            server.publish(Batch.of(one, np.array([1.005]), 0, SOURCE_NS + 1_000_000))
            batch = await link.read(np.array([0, 2]))
            assert batch.value.tolist() == [1.0, float(np.float32(1.005))]
            server.publish(Batch.of(one, np.array([1.02]), 0, SOURCE_NS))
            assert (await link.read(one)).value.tolist() == [float(np.float32(1.02))]

    run(test)


def test_a_buffer_keeps_what_a_loss_took():
    """Changes while nobody listened: the block comes back with the entry after the last that arrived (7-2, 17)."""

    async def test():
        async with serving() as server, Relay(server.address) as relay, connected(DER, relay.address) as link:
            rows = DER.readable[:1]
            async with followed(link) as got:
                await until(lambda: bool(got), "a first picture")
                server.publish(Batch.of(rows, np.array([0.1]), 0, SOURCE_NS))
                await until(lambda: len(got) > 1, "a report")
            server.connections[0].pipe.end("cut")
            await until(lambda: link.state == LinkState.DOWN, "the loss is seen")
            for k in range(1, 4):
                server.publish(Batch.of(rows, np.array([0.1 + 0.1 * k]), 0, SOURCE_NS + k))
            await asyncio.sleep(0.05)
            await link.connect(PATIENCE_S)
            async with followed(link) as got:
                await until(lambda: bool(got), "a picture again")
            assert link.resumed == 3
            assert "report" not in link.log.counts
            assert got[0].value[0] == DER.quantise(rows, np.array([0.4]))[0][0]

    run(test)


def test_what_a_report_lacks_is_told_and_read():
    """A number that is missing in the sequence, and a whole report that is not whole."""

    async def test():
        async with serving() as server, connected(DER, server.address, reports="unbuffered") as link:
            rows = DER.readable
            async with followed(link) as got:
                await until(lambda: bool(got), "a first picture")
                (block,) = [block for block in server.mms.reports.controls.values() if block.enabled]
                server.publish(Batch.of(rows[:1], np.array([0.1]), 0, SOURCE_NS))
                await until(lambda: len(got) > 1, "a report")
                server.publish(Batch.of(rows[1:2], np.array([0.2])))
                server.mms.reports._untold.clear()  # this report is lost
                block.set_attr("SqNum", UIntData(5))
                server.publish(Batch.of(rows[:1], np.array([0.3]), 0, SOURCE_NS))
                await until(lambda: any(rows[1] in batch.point for batch in got[1:]), "the lost row is read")
                assert link.log.counts["report"] == 1
                whole = dict.fromkeys(range(len(block.members()) - 1), ReasonCode(integrity=True))
                server.mms.reports._deliver(block, server.mms.reports._new_entry(block, whole))
                await until(lambda: link.log.counts["report"] == 2, "the part is told")

    run(test)


def test_integrity_reports_come_by_themselves():
    async def test():
        async with serving() as server, connected(DER, server.address, integrity_s=0.05) as link, followed(link) as got:
            await until(lambda: bool(got), "a first picture")
            (block,) = link._subscriptions.blocks
            await until(lambda: block.sequence >= 2, "whole reports")
            assert "report" not in link.log.counts
            assert len(got) == 1  # nothing changed

    run(test)


def test_more_clients_than_blocks():
    """Whom no block is left for reads by period."""

    async def test():
        rows = DER.readable
        async with (
            serving(options=Options(clients=1)) as server,
            connected(DER, server.address) as one,
            connected(DER, server.address) as two,
            connected(DER, server.address) as three,
            followed(one) as a,
            followed(two) as b,
            followed(three) as c,
        ):
            await until(lambda: bool(a and b and c), "first pictures")
            assert sorted(len(link._subscriptions.blocks) for link in (one, two, three)) == [0, 1, 1]
            server.publish(Batch.of(rows, np.full(len(rows), 0.25), 0, SOURCE_NS))
            for got in (a, b, c):
                await until(lambda got=got: len(got) > 1 and 0.25 in got[-1].value, "the change")

    run(test)


def test_a_block_that_falls_asleep_is_noticed():
    async def test():
        async with serving() as server, connected(DER, server.address, integrity_s=0.05) as link, followed(link) as got:
            await until(lambda: bool(got), "a first picture")
            (block,) = [block for block in server.mms.reports.controls.values() if block.enabled]
            block.set_attr("RptEna", BoolData(False))
            server.publish(Batch.of(DER.readable[:1], np.array([0.75]), 0, SOURCE_NS))
            await until(lambda: got[-1].value[0] == 0.75, "the change, by reading")
            assert link.log.counts["integrity"] >= 1

    run(test)


def test_a_block_whose_configuration_changed_is_not_believed():
    """Nobody knows what its members are: the association ends, and the next one learns them anew."""

    async def test():
        async with serving() as server, connected(DER, server.address) as link, followed(link) as got:
            await until(lambda: bool(got), "a first picture")
            (block,) = [block for block in server.mms.reports.controls.values() if block.enabled]
            block.set_attr("ConfRev", UIntData(2))
            server.publish(Batch.of(DER.readable[:1], np.array([0.75]), 0, SOURCE_NS))
            await until(lambda: link.state == LinkState.DOWN, "the end")
            assert len(got) == 1
            await link.connect(PATIENCE_S)
            async with followed(link) as again:
                await until(lambda: bool(again), "a picture again")
                assert link._subscriptions.blocks[0].revision == 2

    run(test)
