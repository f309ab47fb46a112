"""The link suite finds what it is there to find: clients that are wrong in one thing each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.wire.modbus import test_link as modbus
from vpp.wire.clock import wall_ns
from vpp.wire.link import Batch, Outcome, Status
from vpp.wire.modbus.channel import TcpChannel
from vpp.wire.modbus.client import ModbusLink


class Suite(modbus.TestModbus):
    """The suite with a client to be chosen."""

    __test__ = False


class Loser(ModbusLink):
    """Leaves out the last point, and says nothing."""

    async def read(self, points: Any = None) -> Batch:
        batch = await super().read(points)
        return Batch(batch.point[:-1], batch.value[:-1], batch.quality[:-1], batch.time_ns[:-1], batch.received_ns[:-1])


class Smoother(ModbusLink):
    """Turns what is not known into zeros."""

    async def read(self, points: Any = None) -> Batch:
        batch = await super().read(points)
        return Batch.of(batch.point, np.nan_to_num(batch.value), 0, 0, wall_ns())


class Turned(ModbusLink):
    """Gives points in the order of their addresses instead of that asked for."""

    async def read(self, points: Any = None) -> Batch:
        return await super().read(points if points is None else np.sort(points))


class Liar(ModbusLink):
    """Calls every command accepted."""

    async def write(self, points: Any, values: Any, **how: Any) -> Outcome:
        outcome = await super().write(points, values, **how)
        return Outcome.all(outcome.point, Status.ACCEPTED, 0, "", outcome.sent_ns, outcome.answered_ns)


class Mute(ModbusLink):
    """Writes nothing, and calls it accepted."""

    async def write(self, points: Any, values: Any, **how: Any) -> Outcome:
        status = Status.ACCEPTED if values[0] <= 1.0 else Status.REJECTED
        return Outcome.all(points, status, 0, "", wall_ns(), wall_ns())


class Undead(ModbusLink):
    """Is up for ever once it was."""

    async def close(self) -> None:
        await self.channel.close()


@pytest.mark.parametrize(
    ("client", "test"),
    [
        (Loser, "test_reads_everything"),
        (Loser, "test_everything_arrives"),
        (Smoother, "test_quality_survives"),
        (Smoother, "test_unknown_is_never_a_number"),
        (Turned, "test_reads_everything"),
        (Liar, "test_writes"),
        (Liar, "test_writes_what_cannot_be_written"),
        (Liar, "test_an_unknown_point"),
        (Liar, "test_a_lost_answer"),
        (Mute, "test_writes"),
        (Undead, "test_connects_and_closes"),
    ],
)
def test_a_wrong_client_fails(client: type[ModbusLink], test: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vpp.testing.link_bench.PATIENCE_S", 1.0)
    suite = Suite()
    suite.link = lambda table, address: client(table, TcpChannel(*address), clock=wall_ns)  # type: ignore[method-assign]
    getattr(Suite(), test)()
    with pytest.raises((AssertionError, TimeoutError, ValueError, pytest.fail.Exception)):
        getattr(suite, test)()
