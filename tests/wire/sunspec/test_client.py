"""Our own master against our devices: discovery, the point table, leases, settings by adoption."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest

from tests.wire.sunspec.fleet import CURVES, Hand, ders, plate
from vpp.kernel.errors import LinkError
from vpp.kernel.setpoints import AUTONOMOUS, FOLLOW, LIMIT
from vpp.wire.link import Answer, Status
from vpp.wire.modbus.channel import TcpChannel
from vpp.wire.modbus.server import ModbusServer
from vpp.wire.sunspec.client import DerClient
from vpp.wire.sunspec.der import Ders, device_layout
from vpp.wire.sunspec.discover import Discovered, discover
from vpp.wire.sunspec.link import SunSpecLink


@asynccontextmanager
async def device(made: Ders, unit: int = 1) -> AsyncIterator[tuple[TcpChannel, Discovered]]:
    server = ModbusServer({row + 1: made.bank.unit(row) for row in range(made.plate.n)}, ("127.0.0.1", 0))
    await server.start()
    channel = TcpChannel(*server.address)
    await channel.open(10.0, lambda reason: None)
    try:
        yield channel, await discover(channel, unit, timeout_s=10.0)
    finally:
        await channel.close()
        await server.stop()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(limited())


@pytest.mark.parametrize("family", ["modern", "legacy", "both"])
def test_discovery_finds_the_layout_again(family: str) -> None:
    async def test() -> None:
        made = ders(Hand(), family)
        async with device(made, 2) as (_, found):
            assert found.findings == ()
            assert found.layout.models == made.layout.models
            assert found.layout.registers == made.layout.registers
            assert np.array_equal(found.image.words[0, :-1], made.images.words[1, :-1])
            assert found.image.text("1.SN") == "bat1"

    run(test)


def test_discovery_of_nothing() -> None:
    async def test() -> None:
        made = Ders(plate(), device_layout("modern", base=100), Hand())
        with pytest.raises(LinkError, match="no SunSpec marker at 40000, 0, 50000"):
            async with device(made):
                pass

    run(test)


def test_a_model_that_nobody_knows_and_one_of_another_length_are_told() -> None:
    async def test() -> None:
        made = ders(Hand(), "legacy")
        spans = {span.name: span for span in made.layout.models}
        made.images.words[:, spans["120"].at] = 64999
        made.images.words[:, spans["124"].at + 1] -= 2  # the rest looks like one more model, without end
        made.images.words[:, spans["124"].at + 24 : spans["124"].at + 26] = [0xFFFF, 0]
        async with device(made) as (_, found):
            assert [str(finding) for finding in found.findings] == [
                "warning: model 64999: there is no such SunSpec model",
                "warning: model 124: is 22 registers long where its definition says 24",
            ]
            assert found.models == {1, 103, 121, 122, 123, 124}
            assert found.value("121.WMax") == 100_000

    run(test)


@pytest.mark.parametrize("family", ["modern", "legacy"])
def test_the_link_reads_and_commands(family: str) -> None:
    async def test() -> None:
        clock = Hand()
        made = ders(clock, family)
        async with device(made) as (channel, found):
            link = SunSpecLink(found, "pv1", channel, clock=clock, timeout_s=10.0)
            await link.connect(10.0)
            table = link.table
            batch = await link.read()
            got = {
                (p.sheet, p.signal): v for p, v in zip((table.points[i] for i in batch.point), batch.value) if p.resource == "pv1"
            }
            assert got["telemetry", "p_mw"] == pytest.approx(0.0734, abs=5e-6)
            assert got["telemetry", "q_mvar"] == pytest.approx(-0.012, abs=5e-6)
            assert got["telemetry", "vm_pu"] == pytest.approx(1.013, abs=5e-4)
            assert got["applied", "mode"] == AUTONOMOUS
            assert got["applied", "p_limit_mw"] == np.inf

            def rows(*signals: str) -> np.ndarray:
                return np.array([table.find("pv1", signal, "setpoints") for signal in signals])

            lease = float(clock() + 30 * 10**9)
            outcome = await link.write(rows("p_limit_mw", "mode", "valid_until_ns"), np.array([0.0625, LIMIT, lease]))
            assert outcome.accepted, outcome
            assert made.setpoints(clock()).p_limit_mw[0] == pytest.approx(0.0625)
            applied = np.array([table.find("pv1", s, "applied") for s in ("p_limit_mw", "mode")])
            assert (await link.read(applied)).value.tolist() == pytest.approx([0.0625, LIMIT])
            clock.pass_s(31)  # we are gone
            assert (await link.read(applied)).value.tolist() == [np.inf, AUTONOMOUS]
            outcome = await link.write(rows("q_mode", "q_mvar"), np.array([FOLLOW, -0.02]))
            assert outcome.accepted
            asked = made.setpoints(clock())
            assert (asked.q_mode[0], asked.q_mvar[0]) == (FOLLOW, pytest.approx(-0.02))
            if family == "modern":
                outcome = await link.write(rows("mode", "p_mw", "p_limit_mw"), np.array([FOLLOW, 0.031, np.inf]))
                assert outcome.accepted
                asked = made.setpoints(clock())
                assert (asked.mode[0], asked.p_mw[0], asked.p_limit_mw[0]) == (FOLLOW, pytest.approx(0.031), np.inf)
            outcome = await link.write(rows("connect"), np.array([0.0]))
            assert made.setpoints(clock()).connect.tolist() == [0.0, 1.0]
            await link.close()

    run(test)


def test_a_device_that_refuses() -> None:
    async def test() -> None:
        clock = Hand()
        made = ders(clock, "modern")
        made.bank.decide = lambda row, paths: Answer(Status.BUSY, "later")
        async with device(made) as (channel, found):
            link = SunSpecLink(found, "pv1", channel, clock=clock, timeout_s=10.0)
            await link.connect(10.0)
            limit = np.array([link.table.find("pv1", "p_limit_mw", "setpoints"), link.table.find("pv1", "p_mw")])
            outcome = await link.write(limit, np.array([0.05, 0.0]))
            assert outcome.status.tolist() == [Status.BUSY, Status.NOT_WRITABLE]
            assert outcome.code.tolist() == [6, -1]
            assert made.setpoints(clock()).p_limit_mw[0] == np.inf
            await link.close()

    run(test)


def test_settings_are_written_adopted_and_read_back() -> None:
    async def test() -> None:
        made = ders(Hand(), "modern")
        async with device(made, 2) as (channel, found):
            client = DerClient(channel, found, timeout_s=10.0)
            assert {name: value for name, value in (await client.settings()).items() if name in CURVES} == pytest.approx(CURVES)
            wanted = {
                "qv_enable": 1.0, "qv_v1_pu": 0.9, "qv_q1_pu": 0.3, "qv_olrt_s": 1.5, "pf_kof": 0.03, "uv1_trip_v_pu": 0.88,
                "uv1_trip_t_s": 3.0, "es_delay_s": 60.0, "const_pf": 0.95, "const_pf_excitation": -1.0, "pv_v1_pu": 1.07,
            }  # fmt: skip
            told = await client.write_settings(wanted)
            assert told.accepted, told
            held = await client.settings()
            assert {name: held[name] for name in CURVES} == pytest.approx(
                {**CURVES, **{k: wanted[k] for k in wanted if k in CURVES}}
            )
            there = made.settings()
            assert {name: there[name][1] for name in wanted} == pytest.approx(wanted)
            assert there["qv_v1_pu"][0] == pytest.approx(0.92)

    run(test)


def test_settings_that_the_device_cannot_take() -> None:
    async def test() -> None:
        made = ders(Hand(), "modern")
        async with device(made) as (channel, found):
            client = DerClient(channel, found, timeout_s=10.0)
            assert (await client.write_settings({"mc_resp_s": 0.1})).status == Status.UNKNOWN_POINT
            falling = await client.write_settings({"qv_v1_pu": 0.99})
            assert (falling.status, falling.reason) == (Status.REJECTED, "model 705: the curve was not adopted")
            assert (await client.write_settings({"qv_v4_pu": 9.0})).status == Status.OUT_OF_RANGE
            assert made.settings()["qv_v1_pu"][0] == pytest.approx(0.92)

    run(test)


def test_an_adoption_that_takes_its_time() -> None:
    async def test() -> None:
        clock = Hand()
        made = ders(clock, "modern")
        made.bank.adopt_s = 1.0
        async with device(made) as (channel, found):
            client = DerClient(channel, found, timeout_s=10.0)
            late = await client.write_settings({"qv_v1_pu": 0.91}, patience_s=0.1)
            assert late.status == Status.TIMEOUT
            assert made.settings()["qv_v1_pu"][0] == pytest.approx(0.92)
            clock.pass_s(2)
            assert (await client.settings())["qv_v1_pu"] == pytest.approx(0.91)

    run(test)
