"""An emulated fleet acts by what a foreign client writes and adopts: curves move power, and power moves the street's voltage."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

from hil.bench.address import laboratory_at
from hil.bench.procedures import procedures_for
from hil.bench.session import Session, run_all
from hil.outlets import SunSpecOutlet
from scenarios.build import System, build
from scenarios.emulate import Site, emulate
from scenarios.heeding import Heeding, with_defaults
from scenarios.load import load
from vpp.kernel.settings import Settings
from vpp.kernel.telemetry import Telemetry

TWO = ("fleet.1.at={sample: 2, of: loads}",)


@pytest.fixture(scope="module")
def system() -> System:
    return build(load("hil-inverter", TWO))


class Street:
    """An emulated street whose steps are taken by hand."""

    def __init__(self, system: System) -> None:
        self.site: Site = emulate(system)
        self.heeding = self.site.emulator.plant
        assert isinstance(self.heeding, Heeding)
        self._time_ns = iter(system.plant.time_ns.tolist())
        self.step()

    def step(self, times: int = 1) -> Telemetry:
        for _ in range(times):
            seen = self.site.emulator.step(next(self._time_ns))
        return seen.telemetry

    def place(self, unit: int) -> int:
        return int(self.outlet.column[unit - 1])

    @property
    def outlet(self) -> SunSpecOutlet:
        (outlet,) = self.heeding.outlets
        return outlet

    @contextmanager
    def served(self) -> Iterator[tuple[str, int]]:
        """The servers run on a thread of their own; gives their address."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        asyncio.run_coroutine_threadsafe(self.site.emulator.start(), loop).result()
        try:
            yield self.outlet.servers[0].address
        finally:
            asyncio.run_coroutine_threadsafe(self.site.emulator.stop(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    @contextmanager
    def client(self, unit: int) -> Iterator[SunSpecModbusClientDeviceTCP]:
        """The SunSpec Alliance's client."""
        with self.served() as (host, port):
            device = SunSpecModbusClientDeviceTCP(slave_id=unit, ipaddr=host, ipport=port, timeout=10)
            device.scan(connect=True)
            device.connect()
            yield device
            device.disconnect()


def test_a_curve_that_is_adopted_moves_power_and_voltage(system: System) -> None:
    """Constant absorption over all voltages: 0.3 of nameplate VA at unit 1, nothing new at unit 2, and a lower voltage."""
    street = Street(system)
    before = street.step(3)
    one, two = street.place(1), street.place(2)
    with street.client(1) as device:
        curve = device.DERVoltVar[0]
        for k, point in enumerate(curve.Crv[1].Pt):
            point.V.cvalue, point.Var.cvalue = 85 + 10 * k, -30
        curve.Crv[1].DeptRef.value, curve.Crv[1].RspTms.cvalue = 3, 1.0
        curve.write()
        written = street.step(3)
        assert written.q_mvar[one] == pytest.approx(before.q_mvar[one], abs=2e-5)  # stored, but not in force
        curve.AdptCrvReq.value = 2
        curve.write()
        after = street.step(6)
    assert street.heeding.adopted == 1
    assert after.q_mvar[one] == pytest.approx(-0.3 * 0.011, rel=0.02)
    assert after.vm_pu[one] < before.vm_pu[one] - 5e-4
    assert after.q_mvar[two] == pytest.approx(before.q_mvar[two], abs=2e-4)  # its own curve, at a slightly lower voltage
    assert after.p_mw[one] == pytest.approx(before.p_mw[one], rel=0.02)


def test_registers_begin_with_the_scenarios_settings_and_nothing_is_adopted_by_itself(system: System) -> None:
    street = Street(system)
    held = street.outlet.ders.settings()
    assert held["qv_enable"].tolist() == [1.0, 1.0]  # volt_var: B
    assert held["qv_v1_pu"] == pytest.approx([0.92, 0.92])
    # Nobody has set the others: the standard's defaults, switched off.
    assert (held["pv_enable"].tolist(), held["pv_v1_pu"].tolist()) == ([0.0, 0.0], pytest.approx([1.06, 1.06]))
    assert (held["trip_enable"].tolist(), held["uf1_trip_f_hz"].tolist()) == (
        [0.0, 0.0],
        pytest.approx([58.5 * 5 / 6] * 2, abs=1e-3),
    )
    street.step(2)
    assert street.heeding.adopted == 0
    assert street.outlet.ders.setpoints(street.site.emulator.clock()).p_limit_mw.tolist() == [np.inf, np.inf]


def test_a_limit_is_a_setpoint_and_not_adopted_twice(system: System) -> None:
    street = Street(system)
    with street.client(2) as device:
        control = device.DERCtlAC[0]
        control.WMaxLimPctEna.value, control.WMaxLimPct.cvalue = 1, 20
        control.write()
        told = street.step(3)
    assert street.heeding.adopted == 0
    assert told.p_mw[street.place(2)] == pytest.approx(0.2 * 0.010, rel=0.02)
    assert told.p_mw[street.place(1)] > 0.004


def test_the_bench_writes_and_reads_back_every_setting_of_a_device_of_the_fleet(system: System) -> None:
    street = Street(system)
    with (
        street.served() as (host, port),
        laboratory_at(f"sunspec://{host}:{port}/2?emulated=yes") as lab,
        Session(lab) as session,
    ):
        done = run_all(session, procedures_for(lab.eut, ("interoperability",))[:2])
    assert {v.spoken for v in done} == {"passed, self-reported"}
    assert len(done) == 1 + 72
    assert session.troubles == []
    street.step()
    assert street.heeding.adopted == 0  # everything is as it was when the step came


def test_defaults_fill_what_is_empty_and_only_that() -> None:
    sheet = Settings(np.zeros((len(Settings.signals), 2)))
    sheet.qv_v1_pu, sheet.qv_enable, sheet.f_nom_hz = [0.9, 0.0], [1.0, 0.0], [0.0, 60.0]
    filled = Settings(with_defaults(sheet))
    assert (filled.qv_v1_pu.tolist(), filled.qv_v4_pu.tolist()) == ([0.9, 0.92], [0.0, 1.08])
    assert filled.qv_enable.tolist() == [1.0, 0.0]
    assert filled.of1_trip_f_hz.tolist() == pytest.approx([51.0, 61.2])
    assert not np.any(filled.trip_enable)
    assert not np.any(filled.es_enable)
    assert not np.any(filled.rt_category)
