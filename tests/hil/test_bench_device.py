"""The emulated device: what is written and adopted acts, leases end by its own time, its instruments tell what is wrong."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

from hil.bench.device import DeviceServer, DeviceWorld, serving
from hil.bench.scpi import LockStep, ScpiGrid, ScpiLink
from scenarios.bench import InverterModel
from tests.hil.bench_device import device
from vpp.kernel.errors import LinkError
from vpp.kernel.settings import Settings

V_NOM = 277.0


@pytest.fixture
def server() -> Iterator[DeviceServer]:
    with device() as made:
        yield made


@pytest.fixture
def link(server: DeviceServer) -> Iterator[ScpiLink]:
    with ScpiLink(*server.control.address) as made:
        yield made


@pytest.fixture
def foreign(server: DeviceServer) -> Iterator[SunSpecModbusClientDeviceTCP]:
    client = SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr="127.0.0.1", ipport=server.modbus.address[1], timeout=10)
    client.scan(connect=True)
    client.connect()
    yield client
    client.disconnect()


def test_registers_begin_as_the_model_holds_its_settings() -> None:
    world = DeviceWorld(InverterModel())
    right = InverterModel().read(Settings.names)
    held = {name: value[0] for name, value in world.ders.settings().items()}
    assert held == pytest.approx({name: right[name] for name in held}, abs=6e-5)
    assert world.model.read(Settings.names) == pytest.approx(right, abs=6e-5)


def test_a_curve_that_a_foreign_client_adopts_acts_at_once(server: DeviceServer, link: ScpiLink, foreign) -> None:
    """Volt-var by pysunspec2: 1.05 pu on a curve of its own, settled in lock-step, and its own registers say the same."""
    clock, grid = LockStep(link, V_NOM), ScpiGrid(link, V_NOM)
    curve = foreign.DERVoltVar[0]
    for point, (v, var) in zip(curve.Crv[1].Pt, [(90, 30), (99, 0), (101, 0), (110, -30)]):
        point.V.cvalue, point.Var.cvalue = v, var
    curve.Crv[1].DeptRef.value, curve.Crv[1].RspTms.cvalue = 3, 1.0
    curve.write()
    grid.apply(1.055, 60.0)
    clock.advance(5.0)
    assert clock.measure().q_mvar == pytest.approx(0.0, abs=1e-6)  # written, but not adopted
    curve.AdptCrvReq.value, curve.Ena.value = 2, 1
    curve.write()
    for _ in range(50):
        clock.advance(0.1)
    assert clock.measure().q_mvar == pytest.approx(-0.015, abs=1e-5)
    ac = foreign.DERMeasureAC[0]
    ac.read()
    assert ac.Var.cvalue == pytest.approx(-15_000, abs=10)
    assert ac.LNV.cvalue == pytest.approx(1.055 * V_NOM, abs=0.01)


def test_adopting_one_function_leaves_the_state_of_another() -> None:
    """Half a response time into volt-watt a trip curve is adopted: the response goes on as if nothing had been."""

    def after(adopts: bool) -> float:
        world = DeviceWorld(InverterModel())
        world.model.write({"pv_enable": 1.0})
        world.told["pv_enable"] = 0.0
        world.ders.images.put("706.Ena", [1.0])
        world.advance(0.1)
        world.vm_pu = 1.08
        for _ in range(50):
            world.advance(0.1)
        if adopts:
            world.ders.images.put("707.Crv[1].MustTrip.Pt[0].Tms", [1.0])
            world.ders.bank._adopt(0, 707, 2)
        world.advance(0.1)
        assert world.model.read(["uv2_trip_t_s"])["uv2_trip_t_s"] == (1.0 if adopts else 2.0)
        return world.p_mw

    assert after(True) == pytest.approx(after(False), abs=1e-12)


def test_a_lease_ends_by_the_devices_own_time(server: DeviceServer, link: ScpiLink, foreign) -> None:
    clock = LockStep(link, V_NOM)
    control = foreign.DERCtlAC[0]
    control.WMaxLimPctRvrtTms.value, control.WMaxLimPctEna.value, control.WMaxLimPct.cvalue = 60, 1, 40
    control.write()
    for _ in range(59):
        clock.advance(1.0)
    assert clock.measure().p_mw == pytest.approx(0.04, abs=1e-6)
    for _ in range(60):
        clock.advance(1.0)
    assert clock.measure().p_mw == pytest.approx(0.1, abs=1e-6)


def test_service_and_a_stop_are_obeyed(server: DeviceServer, link: ScpiLink, foreign) -> None:
    clock = LockStep(link, V_NOM)
    for model, point, off, on in ((foreign.DEREnterService[0], "ES", 0, 1), (foreign.DERCtl[0], "OpCtl", 0, 1)):
        for value, p_mw in ((off, 0.0), (on, 0.1)):
            getattr(model, point).value = value
            model.write()
            for _ in range(70):  # the delay and the ramp
                clock.advance(10.0)
            assert clock.measure().p_mw == pytest.approx(p_mw, abs=1e-4)


def test_a_power_to_follow_is_refused(foreign) -> None:
    control = foreign.DERCtlAC[0]
    control.WSetEna.value = 1
    with pytest.raises(Exception, match="Modbus exception"):
        control.write()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("SOUR:VOLT 900", "-222"),
        ("SOUR:VOLT -1", "-222"),
        ("SOUR:FREQ nan", "-222"),
        ("SYST:TIME:REC? 1e9,1", "-222"),
        ("SYST:TIME:REC? 1,0", "-222"),
        ("SYST:TIME:REC? 1", "-104"),
        ("SOUR:POW much", "-104"),
        ("SOUR:VOLT", "-104"),
        ("SOUR:AMPS 1", "-113"),
        ("SOUR:PHAS 20", "-200"),
    ],
)
def test_what_is_wrong_with_a_command_is_told(server: DeviceServer, link: ScpiLink, line: str, code: str) -> None:
    world = server.world
    before = (world.vm_pu, world.f_hz, world.p_avail_mw, world.now)
    if "?" in line:
        assert link.query(line) == "9.91E+37"
        assert link.query("SYST:ERR?").startswith(code)
    else:
        with pytest.raises(LinkError, match=code):
            link.tell(line)
    assert (world.vm_pu, world.f_hz, world.p_avail_mw, world.now) == before
    link.tell("SOUR:VOLT 277.0")  # the error was told once


def test_commands_are_joined_and_small_letters_do(server: DeviceServer, link: ScpiLink) -> None:
    assert link.query("sour:freq 59.5;:SYST:ERR?;*IDN?").startswith('0,"No error";VPP Core')
    assert server.world.f_hz == 59.5
    assert link.query("MEAS:SMELL?") == "9.91E+37"
    assert link.query("SYST:ERR?").startswith("-113")


def test_pieces_of_lines_and_lines_without_end(server: DeviceServer) -> None:
    with socket.create_connection(server.control.address, 5.0) as raw:
        raw.sendall(b"MEAS:FR")
        raw.sendall(b"EQ?\nSYST:TIME?\n")
        answer = b""
        while answer.count(b"\n") < 2:
            answer += raw.recv(100)
        assert float(answer.split()[0]) == 60.0
        raw.sendall(b"x" * 5000 + b"\n")
        raw.sendall(b"SYST:ERR?\n")
        assert raw.recv(100).startswith(b"-363")


def test_a_record_is_time_and_readings_step_by_step(server: DeviceServer, link: ScpiLink) -> None:
    clock, grid = LockStep(link, V_NOM), ScpiGrid(link, V_NOM)
    grid.apply(0.97, 59.9)
    begin = clock.now_s()
    found = clock.record(0.25, 450)
    assert [time for time, _ in found] == pytest.approx([begin + 0.25 * k for k in range(1, 451)])
    assert {(round(reading.vm_pu, 9), reading.f_hz) for _, reading in found} == {(0.97, 59.9)}
    assert clock.measure() == found[-1][1]
    assert clock.now_s() == server.world.now_s()


def test_a_port_that_is_taken(server: DeviceServer) -> None:
    taken = DeviceServer(DeviceWorld(InverterModel()), control_port=server.control.address[1])
    with pytest.raises(LinkError, match="address already in use"), serving(taken):
        pass
