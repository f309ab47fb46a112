"""What goes wrong with emulated devices, as peers that are not ours meet it: pymodbus, and a raw socket that pipelines."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import numpy as np
import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from hil.emulator import Clock, Emulator
from hil.faults import KINDS, Fault, Meddling
from hil.mischief import Mischief, Planned
from hil.outlets import SunSpecOutlet, TableOutlet
from scenarios.schema.hil import Kind
from tests.hil.small import START_NS, S, TwoDevices, until, within
from tests.wire.iec104.raw import Raw
from vpp.wire.iec104.server import Iec104Served
from vpp.wire.modbus.server import HEADER, ModbusServer
from vpp.wire.points import Point, PointTable
from vpp.wire.sunspec.der import Ders, Nameplate, device_layout

FOREVER = float("inf")
READ = struct.Struct(">BHH")
FENCE = 9  # nobody stands behind this unit: its answer, exception 11, is never meddled with


@dataclass
class Site:
    """The PV and the battery as units 1 and 2 behind one port."""

    emulator: Emulator
    devices: TwoDevices
    ders: Ders
    server: ModbusServer
    mischief: Mischief
    now_ns: int = START_NS

    def step(self, seconds: float = 1.0) -> None:
        self.now_ns += round(seconds * S)
        self.emulator.step(self.now_ns)

    def at(self, path: str) -> int:
        return self.ders.layout.address(path)


@asynccontextmanager
async def site(*faults: Fault, only: int | None = None, seed: int = 1) -> AsyncIterator[Site]:
    """Devices that go wrong; ``only`` the first or the second of them."""
    devices, clock = TwoDevices(), Clock()
    f = devices.fleet
    plate = Nameplate(
        f.id, f.p_max_mw, np.maximum(-f.p_min_mw, 0), 1.1 * f.p_max_mw, 0.4 * f.p_max_mw, np.full(2, 230.0), f.e_mwh
    )
    ders = Ders(plate, device_layout("modern"), clock)
    server = ModbusServer({1 + i: ders.bank.unit(i) for i in range(2)}, ("127.0.0.1", 0))
    places = None if only is None else ((only, 0, 1 + only),)
    planned = [Planned(fault, places) for fault in faults]
    outlet = SunSpecOutlet(ders, np.arange(2), (server,))
    mischief = Mischief(outlet, clock, planned, START_NS, lambda number: np.random.default_rng([seed, number]))
    made = Site(Emulator(devices, [mischief], clock), devices, ders, server, mischief)
    made.emulator.step(START_NS)
    await made.emulator.start()
    try:
        yield made
    finally:
        await made.emulator.stop()


@asynccontextmanager
async def pymodbus(site: Site, timeout: float = 0.2) -> AsyncIterator[AsyncModbusTcpClient]:
    host, port = site.server.address
    client = AsyncModbusTcpClient(host, port=port, timeout=timeout, retries=0)
    assert await client.connect()
    try:
        yield client
    finally:
        client.close()


async def power(client: AsyncModbusTcpClient, site: Site, unit: int = 1) -> int:
    """The register of active power, in its own scale."""
    answer = await client.read_holding_registers(site.at("701.W"), count=1, device_id=unit)
    assert not answer.isError(), answer
    return int(answer.registers[0])


def request(transaction: int, address: int, unit: int = 1) -> bytes:
    return HEADER.pack(transaction, 0, 6, unit) + READ.pack(3, address, 1)


async def pipelined(site: Site, n: int) -> list[int]:
    """Ask n times in one piece and a fence behind them; the transactions of the answers that came before the fence's."""
    reader, writer = await asyncio.open_connection(*site.server.address)
    writer.write(b"".join(request(k, site.at("701.W")) for k in range(n)) + request(999, 0, FENCE))
    found: list[int] = []
    try:
        async with asyncio.timeout(10):
            while True:
                transaction, _, length, _ = HEADER.unpack(await reader.readexactly(HEADER.size))
                await reader.readexactly(length - 1)
                if transaction == 999:
                    return found
                found.append(transaction)
    finally:
        writer.close()


def test_all_kinds_are_known_everywhere() -> None:
    assert set(Kind.__args__) == set(KINDS)


@pytest.mark.parametrize("kind", ["drop", "delay", "slow"])
def test_a_master_waits_in_vain_while_it_lasts(kind: str) -> None:
    async def test() -> None:
        async with site(Fault(kind, 1.0, 2.0, delay_s=60.0)) as s, pymodbus(s) as client:
            assert await power(client, s) == 8000
            s.step()
            with pytest.raises(ModbusException, match=r"(?i)no response"):
                await power(client, s)
            assert s.mischief.hit[kind] == 1
            s.step()
            if not client.connected:
                await client.connect()
            assert await power(client, s) == 8000

    within(test)


def test_what_is_dropped_is_drawn_by_the_seed() -> None:
    """The same seed loses the same answers, another one others; about as many as are said."""
    lost: dict[int, list[int]] = {}

    async def test() -> None:
        for run, seed in enumerate((1, 1, 2)):
            async with site(Fault("drop", 0.0, FOREVER, share=0.3), only=0, seed=seed) as s:
                lost[run] = await pipelined(s, 100)

    within(test)
    assert lost[0] == lost[1] != lost[2]
    assert 55 <= len(lost[0]) <= 85
    assert lost[0] == sorted(lost[0])


def test_late_answers_come_together_and_slow_ones_after_one_another() -> None:
    """Three requests side by side: a second each is one second on a long way, and three with a slow device."""
    answers = [HEADER.pack(k, 0, 5, unit) + bytes([3, 2, 0, 0]) for k, unit in enumerate((1, 1, 1, 2))]
    for kind, delays in (("delay", [1.0, 1.0, 1.0, 1.0]), ("slow", [1.0, 2.0, 3.0, 1.0])):
        meddling = Meddling([Fault(kind, 0.0, 1e6)], Clock(), np.random.default_rng(1))
        assert [meddling.answers(answer)[0][0] for answer in answers] == delays


@pytest.mark.parametrize("kind", ["delay", "slow"])
def test_late_and_slow_answers_do_come(kind: str) -> None:
    async def test() -> None:
        async with site(Fault(kind, 0.0, FOREVER, delay_s=0.03)) as s, pymodbus(s, timeout=10.0) as client:
            assert [await power(client, s) for _ in range(3)] == [8000] * 3

    within(test)


def test_answers_come_twice() -> None:
    async def test() -> None:
        async with site(Fault("duplicate", 0.0, FOREVER), only=0) as s:
            assert await pipelined(s, 3) == [0, 0, 1, 1, 2, 2]

    within(test)


def test_answers_overtake_one_another() -> None:
    """The first waits until the second is gone; the fence goes first of all, for it waits for nobody."""

    async def test() -> None:
        async with site(Fault("reorder", 0.0, FOREVER)) as s:
            reader, writer = await asyncio.open_connection(*s.server.address)
            writer.write(request(1, s.at("701.W")) + request(2, s.at("701.W")))
            came = [HEADER.unpack((await reader.readexactly(HEADER.size + 4))[: HEADER.size])[0] for _ in range(2)]
            writer.close()
            assert came == [2, 1]

    within(test)


def test_bytes_are_swapped() -> None:
    """8000 W, 0x1F40, arrives as 0x401F."""

    async def test() -> None:
        async with site(Fault("endian", 0.0, 1.0)) as s, pymodbus(s) as client:
            assert await power(client, s) == 0x401F
            s.step()
            assert await power(client, s) == 0x1F40

    within(test)


def test_an_exception_of_any_code_for_one_device() -> None:
    async def test() -> None:
        async with site(Fault("exception", 0.0, FOREVER, code=6), only=1) as s, pymodbus(s) as client:
            answer = await client.read_holding_registers(s.at("701.W"), count=1, device_id=2)
            assert (answer.isError(), answer.exception_code) == (True, 6)
            assert await power(client, s, unit=1) == 8000

    within(test)


@pytest.mark.parametrize("only", [None, 0])
def test_values_stand_still(only: int | None) -> None:
    """The frozen device answers with what it measured last; another one goes on."""

    async def test() -> None:
        async with site(Fault("freeze", 1.0, 3.0), only=only) as s, pymodbus(s) as client:
            for register, value in (("704.WMaxLimPct", 40), ("704.WMaxLimPctEna", 1)):
                answer = await client.write_register(s.at(register), value, device_id=1)
                assert not answer.isError()
            s.step()
            assert s.devices.p_mw[0] < 0.008  # it obeys
            assert await power(client, s) == 8000  # and does not say so
            s.step(2.0)
            assert await power(client, s) < 8000
            assert s.mischief.hit["freeze"] == 1

    within(test)


def test_a_reboot_breaks_the_connection_and_forgets_setpoints() -> None:
    async def test() -> None:
        async with site(Fault("reboot", 1.0, 3.0)) as s:
            address = s.server.address
            async with pymodbus(s) as client:
                await client.write_register(s.at("704.WMaxLimPctEna"), 1, device_id=1)
                assert s.ders.bank.value(0, "704.WMaxLimPctEna") == 1.0
                s.step()
                await until(lambda: not s.server.open, "every connection is broken")
                with pytest.raises(ModbusException):
                    await power(client, s)
                with pytest.raises(ConnectionRefusedError):
                    await asyncio.open_connection(*address)
            s.step(2.0)
            for _ in range(100):
                with suppress(ConnectionRefusedError):
                    (await asyncio.open_connection(*address))[1].close()
                    break
                await asyncio.sleep(0.01)
            async with pymodbus(s) as client:
                assert await power(client, s) == 8000
            assert s.server.address == address
            assert s.ders.bank.value(0, "704.WMaxLimPctEna") == 0.0

    within(test)


def test_a_reboot_of_one_device_behind_a_gateway() -> None:
    """The port stays; the gateway says that its unit does not answer (exception 11)."""

    async def test() -> None:
        async with site(Fault("reboot", 1.0, 2.0), only=0) as s, pymodbus(s) as client:
            s.step()
            answer = await client.read_holding_registers(s.at("701.W"), count=1, device_id=1)
            assert answer.exception_code == 11
            assert await power(client, s, unit=2) == 0
            s.step()
            assert await power(client, s) == 8000

    within(test)


@pytest.mark.parametrize(("step_s", "left"), [(0.0, 1.0), (120.0, 0.0), (-120.0, 1.0)])
def test_a_clock_that_jumps_ends_a_lease(step_s: float, left: float) -> None:
    """A limit for 60 s is over at once where the device's clock jumps by two minutes, and is not where it stands right."""

    async def test() -> None:
        async with site(Fault("clock", 2.0, 5.0, step_s=step_s)) as s, pymodbus(s) as client:
            await client.write_registers(s.at("704.WMaxLimPctRvrtTms"), [0, 60], device_id=1)
            await client.write_register(s.at("704.WMaxLimPctEna"), 1, device_id=1)
            s.step()
            held = await client.read_holding_registers(s.at("704.WMaxLimPctEna"), count=1, device_id=1)
            assert held.registers == [1]
            s.step()
            held = await client.read_holding_registers(s.at("704.WMaxLimPctEna"), count=1, device_id=1)
            assert held.registers == [left]
            assert s.emulator.clock() - s.emulator.clock.right() == round(step_s * S)

    within(test)


class Rising(TwoDevices):
    """The PV gives a kilowatt more with every step."""

    def advance(self) -> None:
        self.steps += 1
        self.p_mw = np.array([0.001 * self.steps, 0.0])


async def reported(raw: Raw) -> tuple[float, int]:
    """The next value that comes by itself (M_ME_TF_1, cause 3), and the minutes of its time (IEC 60870-5-101, 7.2.6.18)."""
    while True:
        asdu = await raw.asdu()
        if asdu[0] == 36 and asdu[2] & 0x3F == 3:
            return struct.unpack("<f", asdu[9:13])[0], asdu[16] & 0x3F


def test_devices_of_another_protocol_freeze_reboot_and_err_in_time() -> None:
    """IEC 104, met by a raw peer: its reports stop, its connection breaks, its time tags are two minutes ahead."""

    async def test() -> None:
        devices, clock = Rising(), Clock()
        table = PointTable((Point("pv", "p_mw", "1:1001"),))
        served = Iec104Served(table, ("127.0.0.1", 0), clock=clock)
        outlet = TableOutlet(served, devices.fleet, (), clock)
        faults = Fault("freeze", 2.0, 4.0), Fault("clock", 5.0, 6.0, step_s=120.0), Fault("reboot", 7.0, 8.0)
        mischief = Mischief(outlet, clock, [Planned(f) for f in faults], START_NS, np.random.default_rng)
        emulator = Emulator(devices, [mischief], clock)
        emulator.step(START_NS)
        await emulator.start()
        raw = await Raw.connect(served.address)
        minute = START_NS // (60 * S) % 60
        seen = [await reported(raw)]  # what happened before anybody listened
        for k in range(1, 7):
            emulator.step(START_NS + k * S)
            if k not in (2, 3):  # frozen: nothing to report
                seen.append(await reported(raw))
        assert [round(1000 * value) for value, _ in seen] == [1, 2, 5, 6, 7]
        assert [told - minute for _, told in seen] == [0, 0, 0, 2, 0]
        emulator.step(START_NS + 7 * S)
        assert await raw.ended()
        with pytest.raises(ConnectionRefusedError):
            await Raw.connect(served.address)
        emulator.step(START_NS + 8 * S)
        again = await connected(served.address)
        assert mischief.hit == {"freeze": 1, "clock": 1, "reboot": 1}
        again.writer.close()
        raw.writer.close()
        await emulator.stop()

    within(test)


async def connected(address: tuple[str, int]) -> Raw:
    for _ in range(200):
        with suppress(ConnectionRefusedError):
            return await Raw.connect(address)
        await asyncio.sleep(0.01)
    raise AssertionError("it does not come back")
