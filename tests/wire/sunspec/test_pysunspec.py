"""A client that we did not write, the SunSpec Alliance's own, discovers and drives our devices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP, SunSpecModbusClientError
from sunspec2.modbus.modbus import ModbusClientError

from tests.wire import certificates
from tests.wire.sunspec.fleet import CURVES, Hand, serving
from vpp.kernel.setpoints import FOLLOW, LIMIT
from vpp.wire.sunspec.der import Ders
from vpp.wire.tls import server_context

MODELS = [1, 103, 120, 121, 122, 123, 124, 701, 702, 703, 704, 705, 706, 707, 708, 709, 710, 711, 712, 713, 714, 715, 802]


def test_every_model_is_found_with_its_length(client) -> None:
    assert [model.model_id for model in client.model_list] == MODELS
    assert [model.error_info for model in client.model_list] == [""] * len(MODELS)


def test_the_length_that_they_compute_is_ours(client, made: Ders) -> None:
    for model, span in zip(client.model_list, made.layout.models):
        assert (model.model_addr - 40000, model.model_len, model.len) == (span.at, span.length, span.length)
        for name, point in model.points.items():
            register = made.layout.find(f"{span.name}.{name}")
            assert (model.model_addr - 40000 + point.offset, point.len) == (register.at, register.point.words)


def test_measurements(client) -> None:
    ac = client.DERMeasureAC[0]
    ac.read()
    assert ac.W.cvalue == pytest.approx(73_400, abs=5)
    assert ac.Var.cvalue == pytest.approx(-12_000, abs=5)
    assert ac.LNV.cvalue == pytest.approx(1.013 * 230, abs=0.01)
    assert ac.Hz.cvalue == pytest.approx(49.987, abs=1e-4)
    assert ac.TotWhInj.value is None  # not implemented
    old = client.inverter_three_phase[0]
    assert old.W.cvalue == pytest.approx(73_400, abs=5)
    assert client.DERStorageCapacity[0].SoC.value is None  # a PV has none
    assert client.DERCapacity[0].WMaxRtg.cvalue == 100_000
    assert client.common[0].SN.value == "pv1"


def test_the_second_unit_is_the_battery(made: Ders) -> None:
    with serving(made) as server:
        device = SunSpecModbusClientDeviceTCP(slave_id=2, ipaddr="127.0.0.1", ipport=server.address[1], timeout=10)
        device.scan()
        assert device.common[0].SN.value == "bat1"
        assert device.DERStorageCapacity[0].SoC.cvalue == 62.5
        assert device.battery[0].SoC.cvalue == 62.5
        assert device.DERMeasureAC[0].W.cvalue == -2000


def test_a_limit_with_a_lease(client, made: Ders, clock: Hand) -> None:
    control = client.DERCtlAC[0]
    control.WMaxLimPctRvrtTms.value = 60
    control.write()
    control.WMaxLimPctEna.value = 1
    control.WMaxLimPct.cvalue = 55
    control.write()
    asked = made.setpoints(clock())
    assert (asked.mode[0], asked.p_limit_mw[0]) == (LIMIT, pytest.approx(0.055))
    assert (asked.mode[1], asked.p_limit_mw[1]) == (0, np.inf)
    clock.pass_s(20.5)
    control.read()
    assert control.WMaxLimPctRvrtRem.value == 40
    control.WMaxLimPct.cvalue = 50
    control.write()  # the lease begins anew
    clock.pass_s(59)
    assert made.setpoints(clock()).p_limit_mw[0] == pytest.approx(0.05)
    clock.pass_s(2)
    control.read()  # nobody stepped the device: it reverts by itself
    assert control.WMaxLimPctEna.value == 0
    assert control.WMaxLimPct.cvalue == 100
    assert control.WMaxLimPctRvrtRem.value == 0
    assert made.setpoints(clock()).p_limit_mw[0] == np.inf


def test_setpoints_of_power(client, made: Ders, clock: Hand) -> None:
    control = client.DERCtlAC[0]
    control.WSetEna.value, control.WSetMod.value, control.WSet.cvalue = 1, 1, 40_000
    control.VarSetEna.value, control.VarSetMod.value, control.VarSetPct.cvalue = 1, 3, -20
    control.write()
    asked = made.setpoints(clock())
    assert (asked.mode[0], asked.p_mw[0]) == (FOLLOW, pytest.approx(0.04))
    assert (asked.q_mode[0], asked.q_mvar[0]) == (FOLLOW, pytest.approx(-0.2 * 0.11))
    control.PFWInj.PF.cvalue, control.PFWInj.Ext.value, control.PFWInjEna.value = 0.9, 1, 1
    control.write()
    held = made.settings()
    assert (held["const_pf_enable"][0], held["const_pf"][0], held["const_pf_excitation"][0]) == (1.0, pytest.approx(0.9), -1.0)


def test_a_curve_is_adopted(client, made: Ders) -> None:
    volt_var = client.DERVoltVar[0]
    assert [p.V.cvalue for p in volt_var.Crv[0].Pt] == [92.0, 98.0, 102.0, 108.0]
    for point, (v, var) in zip(volt_var.Crv[1].Pt, [(90, 50), (95, 10), (105, -10), (110, -50)]):
        point.V.cvalue, point.Var.cvalue = v, var
    volt_var.Crv[1].DeptRef.value, volt_var.Crv[1].RspTms.cvalue = 1, 2.5
    volt_var.write()
    assert made.settings()["qv_v1_pu"][0] == pytest.approx(0.92)  # written, but not in force
    volt_var.AdptCrvReq.value, volt_var.Ena.value = 2, 1
    volt_var.write()
    volt_var.read()
    assert volt_var.AdptCrvRslt.value == 1
    assert volt_var.Crv[0].Pt[0].V.cvalue == 90
    assert volt_var.Crv[0].ReadOnly.value == 1
    held = made.settings()
    assert held["qv_enable"][0] == 1
    assert [held[f"qv_v{k}_pu"][0] for k in (1, 2, 3, 4)] == pytest.approx([0.9, 0.95, 1.05, 1.1])
    # 50 % of the largest reactive power, as a part of nameplate VA.
    assert held["qv_q1_pu"][0] == pytest.approx(0.5 * 0.0484 / 0.11)
    assert held["qv_v1_pu"][1] == pytest.approx(0.92)  # the other device keeps its own


@pytest.mark.parametrize(
    ("change", "value"),
    [("ActPt", 9), ("ActPt", 0), ("DeptRef", 2)],
    ids=["many", "none", "of what is available"],
)
def test_an_impossible_curve_fails(client, made: Ders, change: str, value: int) -> None:
    volt_var = client.DERVoltVar[0]
    getattr(volt_var.Crv[1], change).value = value
    volt_var.write()
    volt_var.AdptCrvReq.value = 2
    volt_var.write()
    volt_var.read()
    assert volt_var.AdptCrvRslt.value == 2
    assert made.settings()["qv_v1_pu"][0] == pytest.approx(0.92)


def test_a_falling_curve_fails(client) -> None:
    volt_var = client.DERVoltVar[0]
    volt_var.Crv[1].Pt[1].V.cvalue = 80
    volt_var.AdptCrvReq.value = 2
    volt_var.Crv[1].write()
    volt_var.write()
    volt_var.read()
    assert volt_var.AdptCrvRslt.value == 2


def test_droop_and_trips_are_adopted(client, made: Ders) -> None:
    droop = client.DERFreqDroop[0]
    droop.Ctl[1].DbOf.cvalue, droop.Ctl[1].KOf.cvalue = 0.1, 0.03
    droop.AdptCtlReq.value = 2
    droop.Ctl[1].write()
    droop.write()
    under = client.DERTripLV[0]
    under.Crv[1].MustTrip.Pt[2].V.cvalue = 88
    under.AdptCrvReq.value = 2
    under.Crv[1].write()
    under.write()
    held = made.settings()
    assert (held["pf_dbof_hz"][0], held["pf_kof"][0]) == (pytest.approx(0.1), pytest.approx(0.03))
    assert (held["uv1_trip_v_pu"][0], held["uv2_trip_v_pu"][0]) == (pytest.approx(0.88), pytest.approx(0.45))


def test_what_cannot_be_written(client) -> None:
    with pytest.raises(ModbusClientError):
        client.write(client.DERMeasureAC[0].model_addr + 8, b"\0\1")  # a measurement
    volt_var = client.DERVoltVar[0]
    volt_var.Crv[0].RspTms.cvalue = 1
    with pytest.raises(ModbusClientError):
        volt_var.Crv[0].write()  # the curve in force
    volt_var.Ena.value = 7
    with pytest.raises(ModbusClientError):
        volt_var.write()  # no such symbol
    client.DERCapacity[0].VAMax.cvalue = 1000
    with pytest.raises(ModbusClientError):
        client.DERCapacity[0].write()  # this device keeps it
    volt_var.read()
    assert (volt_var.Ena.value, volt_var.Crv[0].RspTms.cvalue) == (0, 5)


def test_the_older_models(client, made: Ders, clock: Hand) -> None:
    old = client.controls[0]
    old.WMaxLimPct_RvrtTms.value, old.WMaxLim_Ena.value, old.WMaxLimPct.cvalue = 30, 1, 70
    old.write()
    assert made.setpoints(clock()).p_limit_mw[0] == pytest.approx(0.07)
    clock.pass_s(31)
    assert made.setpoints(clock()).p_limit_mw[0] == np.inf
    old.Conn.value = 0
    old.write()
    assert made.setpoints(clock()).connect.tolist() == [0.0, 1.0]


def test_settings_come_back_as_they_were_given(made: Ders) -> None:
    held = made.settings()
    assert {name: held[name][0] for name in CURVES} == pytest.approx(CURVES)


@pytest.mark.parametrize("who", ["client", "stranger", "expired"])
def test_over_tls_with_certificates(made: Ders, tmp_path: Path, who: str) -> None:
    held = certificates.make(tmp_path)
    with serving(made, server_context(held["server"])) as server:
        device = SunSpecModbusClientDeviceTCP(
            slave_id=1, ipaddr="127.0.0.1", ipport=server.address[1], timeout=10, tls=True, cafile=str(held[who].authority),
            certfile=str(held[who].certificate), keyfile=str(held[who].key), insecure_skip_tls_verify=False,
        )  # fmt: skip
        if who == "client":
            device.scan()
            assert [model.model_id for model in device.model_list] == MODELS
        else:  # TLS 1.3 tells a client of its certificate with the first answer
            with pytest.raises((SunSpecModbusClientError, ModbusClientError)):
                device.scan()
            assert server.served == 0
        device.disconnect()
