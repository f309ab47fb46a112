"""Addresses, device maps and plants on every protocol of the table, in lock-step over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from hil.assemble import field_plant
from hil.connect import Connected, connect, map_at, wish
from hil.devicemap import load_map
from hil.emulator import Clock, Emulator
from hil.links import SCHEMES, Where, served
from hil.outlets import TableOutlet
from hil.plain import PLAIN, plain_map, plain_table
from hil.plant import FieldPlant
from hil.scan import COTP_REQUEST, Unit, link_status_request, outstations, scan
from tests.hil.small import START_NS, TwoDevices, Wall, asked, fleet, within
from vpp.kernel import quality as q
from vpp.kernel.errors import LinkError, ScenarioError
from vpp.kernel.grid_points import PointLayout
from vpp.kernel.setpoints import Setpoints
from vpp.kernel.telemetry import Telemetry
from vpp.wire.supervisor import Policy

KINDS = {"pv": "pv", "battery": "battery"}
PATIENCE_S = 30.0


@dataclass
class Bench:
    """The devices of `TwoDevices` behind servers of a protocol, and the plant that talks to them."""

    plant: FieldPlant
    emulator: Emulator
    devices: TwoDevices
    wall: Wall
    connected: Connected

    async def turn(self, seconds: float = 1.0, **what: float) -> Telemetry:
        """Ask, write, step, read."""
        self.plant.write(self.wall.now_ns, asked(**what))
        await self.plant.flush()
        self.step(seconds)
        await self.plant.poll()
        return self.plant.read(self.wall.now_ns).telemetry

    def step(self, seconds: float) -> None:
        self.wall.go(seconds)
        self.emulator.step(self.wall.now_ns)


@asynccontextmanager
async def bench(protocol: str, **maps: str) -> AsyncIterator[Bench]:
    """Each resource of ``maps`` by its map, behind a server of its own."""
    wall, clock, devices, wishes, outlets = Wall(), Clock(), TwoDevices(), [], []
    for name, options in maps.items():
        where = Where.of(f"{protocol}://127.0.0.1:0?map={options}&emulated=yes")
        made = map_at(where, name)
        assert made is not None
        one = wish(f"{name}={protocol}://127.0.0.1:1?map={options}&emulated=yes", KINDS)
        ratings = {key: float(one.where.options[key]) for key in made.ratings if key in one.where.options}
        server = served(made.on_wire(name, where.unit, ratings), where, clock)
        outlets.append((name, options, TableOutlet(server, devices.fleet, (), clock, PATIENCE_S)))
    emulator = Emulator(devices, [outlet for _, _, outlet in outlets], clock)
    emulator.step(wall.now_ns)
    await emulator.start()
    for name, options, outlet in outlets:
        host, port = outlet.served.address
        wishes.append(wish(f"{name}={protocol}://{host}:{port}?map={options}&emulated=yes", KINDS))
    connected = await connect(wishes, None, Policy(write_s=20.0), wall)
    plant = field_plant(devices.fleet, connected.wired, chance=np.random.default_rng, clock=wall, own_time=True)
    try:
        for station in plant.stations:
            await station.keeper.link.connect(20.0)
        await plant.poll()
        yield Bench(plant, emulator, devices, wall, connected)
    finally:
        await plant.stop()
        await emulator.stop()


@pytest.mark.parametrize("protocol", PLAIN)
def test_every_signal_of_the_plain_map_drives_and_is_read(protocol: str) -> None:
    """Both devices by the generated map: measured, told, and read back, on every protocol alike."""

    async def test() -> None:
        async with bench(protocol, pv="plain", battery="plain") as b:
            told = await b.turn(p_limit_mw=0.004, p_mw=-0.003)
            assert b.devices.p_mw == pytest.approx([0.004, -0.003], abs=1e-5)
            assert told.p_mw == pytest.approx([0.004, -0.003], abs=1e-5)
            assert told.vm_pu == pytest.approx([1.01, 1.01], abs=1e-4)
            assert told.soc[1] == pytest.approx(0.5)
            assert np.isnan(told.soc[0])
            assert told.quality[Telemetry.soc.row, 0] & q.VALIDITY_MASK == q.INVALID
            applied = b.plant.read(b.wall.now_ns).applied
            assert applied.p_limit_mw[0] == pytest.approx(0.004, abs=1e-5)
            assert applied.mode.tolist() == [2.0, 1.0]
            await b.plant.stop()
            b.step(1.0)
            assert b.devices.p_mw == pytest.approx([0.008, 0.0])

    within(test)


def test_a_mesa_battery_follows_and_its_lease_ends() -> None:
    """Per cent of the rating that the address gives: a tenth of a per cent of 5 kW is the step."""

    async def test() -> None:
        async with bench("dnp3", battery="mesa_der&p_max_mw=0.005&q_max_mvar=0.002") as b:
            told = await b.turn(p_mw=-0.003)
            assert b.devices.p_mw[1] == pytest.approx(-0.003)
            assert told.p_mw[1] == pytest.approx(-0.003)
            assert told.soc[1] == pytest.approx(0.5)
            assert np.isnan(told.p_mw[0])
            await b.turn(p_mw=0.0021234)
            assert b.devices.p_mw[1] == pytest.approx(0.002125)  # 42.5 %
            b.step(61.0)
            assert b.devices.p_mw[1] == pytest.approx(0.0)
            assert b.connected.wired[0].lease_s == 60.0

    within(test)


def test_a_park_falls_back_without_signs_of_life() -> None:
    """It has no lease: the heartbeat goes out every second, and 30 s without one end what it was told."""

    async def test() -> None:
        async with bench("iec104", pv="park_104") as b:
            told = await b.turn(p_limit_mw=0.004)
            assert told.p_mw[0] == pytest.approx(0.004)
            assert b.plant.read(b.wall.now_ns).applied.p_limit_mw[0] == pytest.approx(0.004)
            for _ in range(3):
                await b.turn(20.0, p_limit_mw=0.004)
            assert b.devices.p_mw[0] == pytest.approx(0.004)
            b.step(31.0)
            assert b.devices.p_mw[0] == pytest.approx(0.008)
            assert await b.turn(p_limit_mw=0.002) is not None
            told = await b.turn()
            assert told.p_mw[0] == pytest.approx(0.008)  # released: the highest limit that it knows
            assert b.plant.read(b.wall.now_ns).applied.p_limit_mw[0] == pytest.approx(0.010)

    within(test)


def test_what_a_device_reports_is_as_old_as_the_link() -> None:
    """A park reports what changes: a value that stands still is not old, until nothing at all is heard."""

    async def test() -> None:
        async with bench("iec104", pv="park_104") as b:
            row, keeper = Telemetry.p_mw.row, b.plant.stations[0].keeper
            first = b.plant.read(b.wall.now_ns).telemetry.time_ns[row, 0]
            b.wall.go(3.0)
            assert b.plant.read(b.wall.now_ns).telemetry.time_ns[row, 0] == first + 3_000_000_000
            b.wall.go(keeper.policy.stale_s)
            stale = b.plant.read(b.wall.now_ns).telemetry
            assert stale.quality[row, 0] & q.STALE
            assert stale.time_ns[row, 0] == first + 3_000_000_000

    within(test)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("dnp3://h", ("dnp3", "h", 20000, 10)),
        ("dnp3://h:7/3", ("dnp3", "h", 7, 3)),
        ("iec104://h", ("iec104", "h", 2404, 1)),
        ("iec104://h/65534", ("iec104", "h", 2404, 65534)),
        ("h", ("modbus", "h", 502, 1)),
    ],
)
def test_addresses(text: str, told: tuple[str, str, int, int]) -> None:
    where = Where.of(text)
    assert (where.protocol, where.host, where.port, where.unit) == told


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("pv=smoke://h", "there is no protocol 'smoke'"),
        ("pv=iec104://h/0", "a station of 1 … 65534"),
        ("pv=dnp3://h/65520", "an outstation of 0 … 65519"),
        ("pv=dnp3://h?map=park_104", "is for iec104"),
        ("pv=dnp3://h?map=mesa_der", "is for battery"),
        ("battery=dnp3://h?p_max_mw=much", "could not convert"),
        ("battery=dnp3://h?p_max_mw=0", "above 0"),
        ("battery=dnp3://h?watts=3", "there is no option 'watts'"),
    ],
)
def test_a_wrong_address_is_told(line: str, told: str) -> None:
    with pytest.raises(LinkError) as error:
        wish(line, KINDS)
    assert told in str(error.value)


def test_without_a_map_there_is_none() -> None:
    with pytest.raises(ScenarioError):
        wish("pv=dnp3://h", KINDS)  # no shipped map for a PV plant on DNP3
    assert wish("pv=iec104://h", KINDS).map.name == "park_104"
    assert wish("battery=dnp3://h", KINDS).map.name == "mesa_der"


def test_two_resources_at_one_address_are_told() -> None:
    async def test() -> None:
        wishes = [wish(f"{name}=iec104://127.0.0.1:1?map=plain&emulated=yes", KINDS) for name in KINDS]
        with pytest.raises(ScenarioError) as error:
            await connect(wishes)
        assert "stands already" in str(error.value)
        wishes[1] = wish("battery=iec104://127.0.0.1:1/2?map=plain&emulated=yes", KINDS)
        assert len((await connect(wishes)).wired) == 1  # two stations, one connection
        two = [wish(f"{name}=dnp3://127.0.0.1:1/{n}?map=plain&emulated=yes", KINDS) for n, name in enumerate(KINDS)]
        assert len((await connect(two)).wired) == 2

    within(test)


def test_a_rating_that_is_not_there_is_told(tmp_path: Path) -> None:
    text = "protocol: dnp3\nratings: {p_max_mw: 1}\npoints:\n"
    text += "  - {signal: p_mw, address: 'AI:1', wire: int32, unit: '%', base: RATED}\n"
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("RATED", "p_top_mw"))
    with pytest.raises(ScenarioError, match="no rating"):
        load_map(str(path))
    path.write_text(text.replace("RATED", "p_max_mw"))
    assert load_map(str(path)).on_wire("x", 1, {"p_max_mw": 0.25}).points[0].base == 0.25
    path.write_text(text.replace("RATED", "p_max_mw").replace("AI:1", "XX:1"))
    with pytest.raises(ScenarioError, match="kind:index"):
        load_map(str(path))


@pytest.mark.parametrize("protocol", PLAIN)
@pytest.mark.parametrize("kind", ["integer", "float32", "float64"])
def test_the_plain_table_has_room_for_many(protocol: str, kind: str) -> None:
    """No address twice, whatever the type; what a wire cannot hold is refused by its own addresses."""
    layout = PointLayout(("a", "b"), ("vm_pu", "loading"), ("", ""))
    table = plain_table(fleet(), layout, kind, protocol=protocol)
    assert len(table) >= 2 * 27 + 2
    fits = kind in {"modbus": ("integer", "float32", "float64"), "dnp3": ("integer",)}.get(protocol, ("float32",))
    if fits:
        assert all(SCHEMES[protocol].parse(point) for point in table.points)
        own = plain_map(protocol, kind).on_wire("pv", SCHEMES[protocol].unit)
        assert [(p.signal, p.sheet, p.wire, p.scale) for p in own.points] == [
            (p.signal, p.sheet, p.wire, p.scale) for p in table.points if p.resource == "pv"
        ]


@asynccontextmanager
async def listening(protocol: str) -> AsyncIterator[str]:
    """One device that listens; its host and port."""
    clock = Clock()
    where = Where.of(f"{protocol}://127.0.0.1:0")
    server = served(plain_map(protocol).on_wire("pv", where.unit), where, clock)
    outlet = TableOutlet(server, fleet(), (), clock)
    emulator = Emulator(TwoDevices(), [outlet], clock)
    emulator.step(START_NS)
    await emulator.start()
    try:
        host, port = server.address
        yield f"{host}:{port}"
    finally:
        await emulator.stop()


@pytest.mark.parametrize(
    ("protocol", "bare", "named"),
    [
        ("modbus", "unit 1", "unit 1"),
        ("iec104", "server", "station 1"),
        ("dnp3", "outstation 10", "outstation 10"),
        ("iec61850", "server", "server"),
    ],
)
def test_scan_finds_the_protocol(protocol: str, bare: str, named: str) -> None:
    async def test() -> None:
        async with listening(protocol) as at:
            (found,) = await scan(at, (), 1.5)
            assert (found.protocol, found.title) == (protocol, bare)
            (found,) = await scan(f"{protocol}://{at}", (), 1.5)
            assert (found.protocol, found.title) == (protocol, named)
            if protocol == "iec104":
                assert found.texts == ("18 × float",)
            if protocol == "dnp3":
                assert await scan(at, (11,), 0.3) == []
                assert [one.unit for one in await scan(at, (10,), 1.5)] == [10]

    within(test)


COTP_CONFIRM = bytes.fromhex("0300001611d00001000200c0010dc2020001c1020001")


def _mms(asked_: bytes) -> bytes:
    return COTP_CONFIRM if asked_ == COTP_REQUEST else b""


def _silent(asked_: bytes) -> bytes:
    return b""


def _web(asked_: bytes) -> bytes:
    return b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(("answer", "protocols"), [(_mms, ["iec61850"]), (_silent, []), (_web, [])])
def test_scan_of_what_is_not_ours(answer: Callable[[bytes], bytes], protocols: list[str]) -> None:
    """MMS is known by its transport; who says nothing, or something else, is nobody."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(256):
            writer.write(answer(piece))
        writer.transport.abort()

    async def test() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        try:
            found: list[Unit] = await scan(f"{host}:{port}", (), 0.2)
            assert [one.protocol for one in found] == protocols
        finally:
            server.close()
            await asyncio.sleep(0.05)

    within(test)


def test_link_status_frames() -> None:
    """Frames with the checksums of another implementation."""
    from dnp3.datalink.builder import build_link_status, build_request_link_status

    for outstation, master in ((10, 1), (65519, 3), (0, 65000)):
        assert link_status_request(outstation, master) == build_request_link_status(outstation, master, True).to_bytes()
    answers = [build_link_status(1, outstation, False).to_bytes() for outstation in (10, 4)]
    assert outstations(b"\x05" + answers[0] + b"\x64" + answers[1]) == [4, 10]
    assert outstations(answers[0][:-1] + b"\x00") == []
    assert outstations(link_status_request(10, 1)) == []


def test_nobody_listens() -> None:
    async def test() -> None:
        for text in ("127.0.0.1:1", "dnp3://127.0.0.1:1", "iec104://127.0.0.1:1"):
            with pytest.raises(LinkError):
                await scan(text, (), 0.2)

    within(test)


def test_setpoints_are_known() -> None:
    """What the plain map leaves out on wires of 32 bits is one signal, and named."""
    for protocol in PLAIN:
        signals = {p.signal for p in plain_map(protocol).on_wire("x", 1).points if p.sheet == "setpoints"}
        assert set(Setpoints.names) - signals == (set() if protocol == "modbus" else {"valid_until_ns"})
