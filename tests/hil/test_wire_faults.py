"""Faults of an emulated fleet as a user writes them: in the scenario or on the command line, with every finding."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pymodbus.client import AsyncModbusTcpClient

from hil.faults import KINDS
from hil.mischief import places_of
from hil.outlets import TableOutlet
from scenarios import load
from scenarios.build import build
from scenarios.emulate import emulate
from scenarios.schema.hil import WireFault
from scenarios.wire_faults import override, put_faults
from tests.hil.small import within
from tests.scenarios.small_runs import vpp
from vpp.kernel.errors import ScenarioError
from vpp.wire.iec104.server import Iec104Served
from vpp.wire.points import Point, PointTable


def told(texts: Sequence[str]) -> tuple[WireFault, ...]:
    return load("hil-inverter", override(texts)).wire_faults


def test_faults_are_written_on_the_command_line() -> None:
    one, two = told(["drop,share=0.2,from_s=10,until_s=30", "reboot, until_s=5, device=inverter"])
    assert (one.kind, one.share, one.from_s, one.until_s, one.device) == ("drop", 0.2, 10.0, 30.0, None)
    assert (two.kind, two.device) == ("reboot", "inverter")
    assert override([]) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("drip", "must be one of drop"),
        ("", "must be"),
        ("drop,shore=0.1", "unknown key 'shore'"),
        ("drop,share=0", "fraction above 0"),
        ("drop,share=30", "fraction above 0"),
        ("drop,code=4", "code has no effect on drop"),
        ("exception,code=256", "code"),
        ("delay,from_s=5,until_s=4", "ends before it begins"),
        ("reboot", "until_s is missing"),
        ("clock,device=inverter", "one clock"),
        ("drop,[", "not YAML"),
    ],
)
def test_what_is_wrong_with_a_fault_is_told(text: str, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        told([text])


def test_help_lists_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert vpp("hil", "emulate", "--help") == 0
    text = capsys.readouterr().out
    assert all(kind in text for kind in KINDS)


def test_a_scenario_with_faults_is_served_with_them() -> None:
    """From the scenario's own words to what pymodbus meets."""
    system = build(load("hil-inverter", override(["exception,code=6,device=inverter,from_s=1", "freeze,from_s=5"])))
    served = emulate(system)
    (mischief,) = put_faults(served, system)

    async def test() -> None:
        t = system.plant.time_ns
        served.emulator.step(int(t[0]))
        await served.emulator.start()
        try:
            host, port = mischief.servers[0].address
            client = AsyncModbusTcpClient(host, port=port, timeout=5.0, retries=0)
            assert await client.connect()
            assert (await client.read_holding_registers(40000, count=2, device_id=1)).registers == [0x5375, 0x6E53]
            served.emulator.step(int(t[1]))
            assert (await client.read_holding_registers(40000, count=2, device_id=1)).exception_code == 6
            client.close()
        finally:
            await served.emulator.stop()

    within(test)


def test_the_wire_of_another_protocol_is_left_alone() -> None:
    """What can go wrong there is told; a plain table has no device that stands by itself."""
    system = build(load("hil-inverter", override(["drop"])))
    site = emulate(system, plain_port=0)
    outlet = site.emulator.outlets[1]
    assert isinstance(outlet, TableOutlet)
    table = PointTable((Point("inverter-1", "p_mw", "1:1001"),))
    other = TableOutlet(
        Iec104Served(table, ("127.0.0.1", 0), clock=site.emulator.clock), system.plant.fleet, (), site.emulator.clock
    )
    assert list(places_of(other)) == other.column.tolist()
    site.emulator.outlets = [other]
    with pytest.raises(ScenarioError, match="elsewhere there are freeze, reboot, clock"):
        put_faults(site, system)


@pytest.mark.parametrize(("device", "words"), [("nix", "no such resource"), ("house", "not served as a device of its own")])
def test_a_device_that_is_not_served_is_told(device: str, words: str) -> None:
    system = build(load("hil-inverter", override([f"drop,device={device}"])))
    with pytest.raises(ScenarioError, match=words):
        put_faults(emulate(system), system)


@pytest.mark.parametrize("protocol", ["modbus", "sunspec"])
def test_one_device_of_several_behind_one_port(protocol: str) -> None:
    """The named one answers with exceptions, its neighbours do not."""
    system = build(load("lv-rural-street", override(["exception,code=6,device=roof-02"])))
    site = emulate(system, resources=("roof",), protocol=protocol)
    (mischief,) = put_faults(site, system)
    places = places_of(mischief.inner)
    hit = system.plant.fleet.id.index("roof-02")
    assert len(places) > 2

    async def test() -> None:
        site.emulator.step(int(system.plant.time_ns[0]))
        await site.emulator.start()
        try:
            client = AsyncModbusTcpClient(
                *mischief.servers[0].address[:1], port=mischief.servers[0].address[1], timeout=5.0, retries=0
            )
            assert await client.connect()
            for column, (_, _, unit) in places.items():
                read = client.read_holding_registers if protocol == "sunspec" else client.read_input_registers
                answer = await read(40000 if protocol == "sunspec" else 0, count=1, device_id=unit)
                assert (answer.isError() and answer.exception_code == 6) == (column == hit)
            client.close()
        finally:
            await site.emulator.stop()

    within(test)
