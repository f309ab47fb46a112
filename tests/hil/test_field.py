"""Links, sessions and emulated SunSpec devices over real sockets on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
import pytest

from hil.assemble import field_plant
from hil.connect import Wish, connect, wish
from hil.devicemap import load_map
from hil.emulator import Clock, Emulator
from hil.faults import Fault, Meddling, reboot
from hil.links import Where
from hil.outlets import SunSpecOutlet
from hil.pace import MonotonicPace
from hil.plant import FieldPlant
from hil.watchdog import Arming
from tests.hil.small import START_NS, S, TwoDevices, Wall, asked, outlets, until, within
from vpp.kernel import quality as q
from vpp.kernel.errors import LinkError, ScenarioError
from vpp.kernel.setpoints import Setpoints
from vpp.kernel.telemetry import Telemetry
from vpp.wire.link import LinkState
from vpp.wire.supervisor import Policy

KINDS = {"pv": "pv", "battery": "battery"}
EAGER = Policy(period_s=0.05, connect_s=1.0, back_off_s=0.02, back_off_max_s=0.1, heartbeat_s=0.1, heartbeat_timeout_s=0.2)


@dataclass
class Bench:
    """Two emulated devices and the plant that talks to them."""

    plant: FieldPlant
    emulator: Emulator
    devices: TwoDevices
    outlets: tuple[SunSpecOutlet, SunSpecOutlet]
    wall: Wall

    def step(self, seconds: float = 1.0) -> None:
        self.wall.go(seconds)
        self.emulator.step(self.wall.now_ns)

    async def turn(self, **what: float) -> None:
        """One turn in lock-step: ask, write, step, read."""
        self.plant.write(self.wall.now_ns, asked(**what))
        await self.plant.flush()
        self.step()
        await self.plant.poll()

    def seen(self) -> Telemetry:
        return self.plant.read(self.wall.now_ns).telemetry


@asynccontextmanager
async def bench(emulated: bool = True, arming: Arming | None = None, family: str = "modern") -> AsyncIterator[Bench]:
    wall, clock, devices = Wall(), Clock(), TwoDevices()
    both = outlets(clock, family)
    emulator = Emulator(devices, both, clock)
    emulator.step(wall.now_ns)
    await emulator.start()
    wishes = []
    for name, outlet in zip(KINDS, both):
        host, port = outlet.servers[0].address
        flag = "yes" if emulated else "no"
        map_ = (
            "legacy-inverter" if family == "legacy" and name == "pv" else f"sunspec-{'inverter' if name == 'pv' else 'battery'}"
        )
        wishes.append(wish(f"{name}=sunspec://{host}:{port}/1?map={map_}&emulated={flag}", KINDS))
    if family == "legacy":
        wishes = wishes[:1]
    connected = await connect(wishes, arming, EAGER, wall)
    plant = field_plant(devices.fleet, connected.wired, chance=np.random.default_rng, clock=wall)
    try:
        for station in plant.stations:
            await station.keeper.link.connect()
        await plant.poll()
        yield Bench(plant, emulator, devices, both, wall)
    finally:
        await plant.stop()
        await emulator.stop()


def test_measurements_arrive_with_quality_and_time() -> None:
    async def test() -> None:
        async with bench() as b:
            told = b.seen()
            assert told.p_mw == pytest.approx([0.008, 0.0], abs=2e-6)
            assert told.vm_pu == pytest.approx([1.01, 1.01], abs=1e-4)
            assert told.soc[1] == 0.5
            assert told.quality[Telemetry.p_mw.row].tolist() == [q.GOOD, q.GOOD]
            # What no register tells is not known, and nothing else.
            assert np.isnan(told.soc[0])
            assert told.quality[Telemetry.p_avail_max_mw.row, 0] == q.INVALID
            assert told.time_ns[Telemetry.p_mw.row].tolist() == [b.wall.now_ns] * 2
            first = b.wall.now_ns
            b.wall.go(1)
            assert b.seen().time_ns[Telemetry.p_mw.row].tolist() == [first] * 2  # nothing new came

    within(test)


@pytest.mark.parametrize("family", ["modern", "legacy"])
def test_a_setpoint_is_a_lease_and_is_read_back(family: str) -> None:
    """The device falls back by itself when nobody renews: 60 s after the last writing, and not before."""

    async def test() -> None:
        async with bench(family=family) as b:
            await b.turn(p_limit_mw=0.004)
            assert b.seen().p_mw[0] == pytest.approx(0.004, abs=2e-6)
            assert b.plant.read(b.wall.now_ns).applied.p_limit_mw[0] == pytest.approx(0.004, abs=2e-6)
            assert b.plant.stations[0].tally.unlike == 0
            b.step(58.0)
            assert b.devices.p_mw[0] == pytest.approx(0.004, abs=2e-6)
            b.step(2.0)
            assert b.devices.p_mw[0] == pytest.approx(0.008)

    within(test)


def test_a_lease_is_renewed_while_the_loop_lives() -> None:
    async def test() -> None:
        async with bench() as b:
            for _ in range(15):
                b.wall.go(9.0)
                await b.turn(p_limit_mw=0.004, p_mw=-0.003)
            assert b.devices.p_mw == pytest.approx([0.004, -0.003], abs=2e-6)
            assert b.plant.stations[0].tally.sent < 15 * 6  # and not written each time

    within(test)


def test_the_dead_man_takes_everything_back() -> None:
    """The sessions live, the loop does not: after its patience what was asked is taken back, once."""

    async def test() -> None:
        async with bench() as b:
            await b.turn(p_limit_mw=0.004, p_mw=-0.003)
            b.wall.go(6.0)
            await b.plant.flush()
            await b.plant.flush()
            b.step()
            assert b.devices.p_mw == pytest.approx([0.008, 0.0])
            assert [s.tally.safe for s in b.plant.stations] == [1, 1]
            assert {e.kind for e in b.plant.take_events()} >= {"safe"}
            await b.turn(p_limit_mw=0.004)
            assert b.devices.p_mw[0] == pytest.approx(0.004, abs=2e-6)

    within(test)


def test_the_end_of_the_loop_takes_everything_back() -> None:
    async def test() -> None:
        async with bench() as b:
            await b.turn(p_limit_mw=0.004, p_mw=-0.003)
            await b.plant.stop()
            b.step()
            assert b.devices.p_mw == pytest.approx([0.008, 0.0])

    within(test)


def test_nothing_is_written_to_a_device_that_is_not_armed() -> None:
    async def test() -> None:
        async with bench(emulated=False) as b:
            await b.turn(p_limit_mw=0.004, p_mw=-0.003)
            await b.plant.stop()
            assert [o.ders.bank.writes for o in b.outlets] == [0, 0]
            assert b.devices.p_mw == pytest.approx([0.008, 0.0])
            assert b.plant.stations[0].tally.withheld > 0
            assert any("--arm" in e.text for e in b.plant.events)

    within(test)


def test_armed_limits_hold_and_their_end_lets_go() -> None:
    async def test() -> None:
        async with bench(emulated=False, arming=Arming(0.003, 1.0, START_NS + 10 * S)) as b:
            await b.turn(p_limit_mw=0.007, p_mw=-0.005)
            assert b.devices.p_mw == pytest.approx([0.003, -0.003], abs=2e-6)
            b.wall.go(12.0)
            b.plant.write(b.wall.now_ns, asked(p_limit_mw=0.002, p_mw=-0.001))
            await b.plant.flush()
            b.step()
            assert b.devices.p_mw == pytest.approx([0.008, 0.0])  # released, not commanded

    within(test)


def test_a_link_that_breaks_is_marked_and_comes_back_with_what_is_asked() -> None:
    """Server gone: comm-lost. Server back, and its device forgot: it is told again without being asked."""

    async def test() -> None:
        async with bench() as b:
            await b.plant.start()
            assert await b.plant.up(10.0) == ()
            b.plant.write(b.wall.now_ns, asked(p_limit_mw=0.004))
            bank = b.outlets[0].ders.bank
            await until(lambda: bank.value(0, "704.WMaxLimPctEna") == 1.0, "written")
            server = b.outlets[0].servers[0]
            server.bind = server.address
            await server.stop()
            await until(lambda: bool(b.seen().quality[Telemetry.p_mw.row, 0] & q.COMM_LOST), "comm-lost")
            assert b.seen().quality[Telemetry.p_mw.row, 1] == q.GOOD  # the other does not suffer
            bank.set(0, "704.WMaxLimPctEna", 0.0)
            await server.start()
            await until(lambda: bank.value(0, "704.WMaxLimPctEna") == 1.0, "told again")
            await until(lambda: b.seen().quality[Telemetry.p_mw.row, 0] == q.GOOD, "good again")
            assert any("down" in e.text for e in b.plant.take_events())

    within(test)


@pytest.mark.parametrize("kind", ["drop", "delay", "exception"])
def test_a_fault_on_the_wire_is_seen_and_over(kind: str) -> None:
    """Whatever the wire does: values are marked while it lasts, and good when it is over; nothing hangs."""

    async def test() -> None:
        async with bench() as b:
            server = b.outlets[0].servers[0]
            await b.plant.start()
            assert await b.plant.up(10.0) == ()
            meddling = Meddling([Fault(kind, 0.0, 1e6, delay_s=5.0)], MonotonicPace(), np.random.default_rng(1))
            server.meddler = meddling.answers
            bad = q.COMM_LOST | q.INVALID | q.STALE

            def marked() -> bool:
                b.wall.go(0.05)
                return bool(b.seen().quality[Telemetry.p_mw.row, 0] & bad)

            await until(marked, f"{kind} is seen")
            assert meddling.hit[kind] > 0
            server.meddler = None
            await until(lambda: b.seen().quality[Telemetry.p_mw.row, 0] == q.GOOD, "good again")

    within(test)


@pytest.mark.parametrize("kind", ["duplicate", "reorder"])
def test_answers_twice_or_out_of_order_change_nothing(kind: str) -> None:
    async def test() -> None:
        async with bench() as b:
            meddling = Meddling([Fault(kind, 0.0, 1e6)], MonotonicPace(), np.random.default_rng(1))
            b.outlets[0].servers[0].meddler = meddling.answers
            await b.turn(p_limit_mw=0.004)
            assert b.seen().p_mw[0] == pytest.approx(0.004, abs=2e-6)
            assert meddling.hit[kind] > 0

    within(test)


def test_swapped_bytes_are_what_they_are() -> None:
    """Nothing can tell a wrong byte order from a strange value: 8000 W is read as 16,415 W (0x1F40 -> 0x401F)."""

    async def test() -> None:
        async with bench() as b:
            meddling = Meddling([Fault("endian", 0.0, 1e6)], MonotonicPace(), np.random.default_rng(1))
            b.outlets[0].servers[0].meddler = meddling.answers
            await b.plant.poll()
            assert b.seen().p_mw[0] != pytest.approx(0.008, abs=1e-4)

    within(test)


def test_a_reboot_comes_back_at_the_same_address() -> None:
    async def test() -> None:
        async with bench() as b:
            server = b.outlets[0].servers[0]
            address = server.address
            await reboot(server, MonotonicPace(), 0.05)
            assert server.address == address
            link = b.plant.stations[0].keeper.link
            assert link.state != LinkState.UP
            await link.connect()
            await b.plant.poll()
            assert b.seen().p_mw[0] == pytest.approx(0.008, abs=2e-6)

    within(test)


def test_a_frozen_device_answers_and_stands_still() -> None:
    async def test() -> None:
        async with bench() as b:
            b.outlets[0].frozen = True
            await b.turn(p_limit_mw=0.004)
            assert b.devices.p_mw[0] == pytest.approx(0.004, abs=2e-6)
            assert b.seen().p_mw[0] == pytest.approx(0.008, abs=2e-6)

    within(test)


def test_a_device_without_a_fallback_is_only_read() -> None:
    """A real one; an emulated one may be written to."""

    async def test() -> None:
        async with bench() as b:
            host, port = b.outlets[0].servers[0].address
            found = load_map("sunspec-inverter")
            bare = type(found)("bare", "", "sunspec", ("pv",), "none", 0.0, found.rows)
            for emulated, writable in ((False, 0), (True, 7)):
                one = Wish("pv", Where("sunspec", host, port, 1, {}), bare, emulated)
                made = await connect([one], Arming(1.0, 1.0, 2**62))
                assert len(made.wired[0].link.table.writable) == writable
                assert len(made.findings) == (not emulated)

    within(test)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pw=sunspec://127.0.0.1:1", "no such resource"),
        ("pv", "resource=protocol"),
        ("pv=profibus://127.0.0.1:1", "no protocol 'profibus'"),
        ("pv=sunspec://127.0.0.1:1/300", "unit"),
        ("pv=sunspec://127.0.0.1:1?mep=x", "no option 'mep'"),
        ("pv=sunspec://127.0.0.1:1?map=nowhere", "no such device map"),
        ("pv=modbus://127.0.0.1:1", "needs a device map"),
        ("pv=modbus://127.0.0.1:1?map=sunspec-inverter", "is for sunspec"),
        ("pv=sunspec://127.0.0.1:1?map=sunspec-battery", "is for battery"),
    ],
)
def test_a_wrong_address_is_told(text: str, told: str) -> None:
    with pytest.raises((LinkError, ScenarioError), match=told):
        wish(text, KINDS)


def test_nobody_there_is_told() -> None:
    with pytest.raises(LinkError):
        asyncio.run(connect([wish("pv=sunspec://127.0.0.1:1", KINDS)]))


def test_what_is_applied_is_what_the_device_says() -> None:
    """The device holds another limit than the one that was asked: applied says so, and it is counted."""

    async def test() -> None:
        async with bench() as b:
            await b.turn(p_limit_mw=0.004)
            b.outlets[0].ders.bank.set(0, "704.WMaxLimPct", 70.0)
            await b.plant.poll()
            assert Setpoints(b.plant.read(b.wall.now_ns).applied.block).p_limit_mw[0] == pytest.approx(0.007, abs=2e-6)

    within(test)
