"""The SunSpec Alliance's client drives every function: curves of all models by adoption, service, stores, older models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sunspec2.modbus.modbus import ModbusClientError

from tests.wire.sunspec.fleet import CURVES, Hand, measured
from vpp.kernel.setpoints import FOLLOW, LIMIT
from vpp.wire.sunspec.der import Ders

Edit = Callable[[Any], None]


def points(group: str, *names: str) -> Callable[..., Edit]:
    """An edit of the points of a stored curve: one tuple of values a point."""

    def of(*values: tuple[float, ...]) -> Edit:
        def edit(curve: Any) -> None:
            there = getattr(curve, group) if group else curve
            for point, row in zip(there.Pt, values):
                for name, value in zip(names, row):
                    getattr(point, name).cvalue = value
            there.ActPt.value = len(values)

        return edit

    return of


def together(*edits: Edit) -> Edit:
    def edit(curve: Any) -> None:
        for one in edits:
            one(curve)

    return edit


def given(**values: float) -> Edit:
    def edit(curve: Any) -> None:
        for name, value in values.items():
            getattr(curve, name).cvalue = value

    return edit


# Model, how its stored curve is edited, and what the device shall hold when it has adopted it.
ADOPTED: dict[str, tuple[str, Edit, dict[str, float]]] = {
    "705 volt-var": (
        "DERVoltVar",
        together(points("", "V", "Var")((90, 40), (95, 5), (105, -5), (110, -40)), given(DeptRef=3, RspTms=1.5, VRef=101)),
        {"qv_v1_pu": 0.9, "qv_q1_pu": 0.4, "qv_v4_pu": 1.1, "qv_q4_pu": -0.4, "qv_olrt_s": 1.5, "qv_vref_pu": 1.01},
    ),
    "706 volt-watt": (
        "DERVoltWatt",
        together(points("", "V", "W")((105, 90), (109, 10)), given(RspTms=2.5)),
        {"pv_v1_pu": 1.05, "pv_v2_pu": 1.09, "pv_p1_pu": 0.9, "pv_p2_pu": 0.1, "pv_olrt_s": 2.5},
    ),
    "707 low voltage": (
        "DERTripLV",
        points("MustTrip", "V", "Tms")((50, 0.2), (50, 11), (88, 11)),
        {"uv2_trip_v_pu": 0.5, "uv2_trip_t_s": 0.2, "uv1_trip_v_pu": 0.88, "uv1_trip_t_s": 11.0},
    ),
    "708 high voltage": (
        "DERTripHV",
        points("MustTrip", "V", "Tms")((118, 0.3), (118, 9), (112, 9)),
        {"ov2_trip_v_pu": 1.18, "ov2_trip_t_s": 0.3, "ov1_trip_v_pu": 1.12, "ov1_trip_t_s": 9.0},
    ),
    "708 two points": (
        "DERTripHV",
        points("MustTrip", "V", "Tms")((119, 0.25), (113, 8)),
        {"ov2_trip_v_pu": 1.19, "ov2_trip_t_s": 0.25, "ov1_trip_v_pu": 1.13, "ov1_trip_t_s": 8.0},
    ),
    "709 low frequency": (
        "DERTripLF",
        points("MustTrip", "Hz", "Tms")((57, 0.4), (57, 200), (58.8, 200)),
        {"uf2_trip_f_hz": 57.0, "uf2_trip_t_s": 0.4, "uf1_trip_f_hz": 58.8, "uf1_trip_t_s": 200.0},
    ),
    "710 high frequency": (
        "DERTripHF",
        points("MustTrip", "Hz", "Tms")((61.9, 0.5), (61.9, 180), (61.1, 180)),
        {"of2_trip_f_hz": 61.9, "of2_trip_t_s": 0.5, "of1_trip_f_hz": 61.1, "of1_trip_t_s": 180.0},
    ),
    "711 droop": (
        "DERFreqDroop",
        given(DbOf=0.2, DbUf=0.1, KOf=0.04, KUf=0.03, RspTms=0.6),
        {"pf_dbof_hz": 0.2, "pf_dbuf_hz": 0.1, "pf_kof": 0.04, "pf_kuf": 0.03, "pf_olrt_s": 0.6},
    ),
    "712 watt-var": (
        "DERWattVar",
        together(
            points("", "W", "Var")((-100, 30), (-60, 10), (-30, 0), (30, 0), (60, -10), (100, -30)), given(DeptRef=3)
        ),
        {"qp_p1_gen_pu": 0.3, "qp_p2_gen_pu": 0.6, "qp_q2_gen_pu": -0.1, "qp_q3_gen_pu": -0.3, "qp_p2_load_pu": -0.6,
         "qp_q3_load_pu": 0.3},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ADOPTED)
def test_a_curve_of_every_model_is_adopted(client, made: Ders, name: str) -> None:
    model, edit, wanted = ADOPTED[name]
    function = getattr(client, model)[0]
    group, stem = ("Ctl", "AdptCtl") if model == "DERFreqDroop" else ("Crv", "AdptCrv")
    stored = getattr(function, group)[1]
    edit(stored)
    stored.write()
    before = {key: float(value[0]) for key, value in made.settings().items()}
    assert {key: before[key] for key in CURVES} == pytest.approx(CURVES)  # written, but not in force
    getattr(function, f"{stem}Req").value = 2
    function.Ena.value = 1
    function.write()
    function.read()
    assert (getattr(function, f"{stem}Rslt").value, getattr(function, group)[0].ReadOnly.value) == (1, 1)
    held = made.settings()
    assert {key: held[key][0] for key in wanted} == pytest.approx(wanted, abs=1e-9)
    others = {key for key in before if key not in wanted and not key.endswith("_enable")} - _of(model, made)
    assert {key: held[key][0] for key in others} == pytest.approx({key: before[key] for key in others}, nan_ok=True)
    assert {key: held[key][1] for key in CURVES} == pytest.approx(CURVES)  # the other device keeps its own


def _of(model: str, made: Ders) -> set[str]:
    """Settings of a curve's own that an edit may move along."""
    stems = {"DERVoltVar": "qv_", "DERVoltWatt": "pv_", "DERFreqDroop": "pf_", "DERWattVar": "qp_"}
    return {key for key in made.settings() if model in stems and key.startswith(stems[model])}


@pytest.mark.parametrize(
    ("model", "edit"),
    [
        ("DERVoltWatt", points("", "V", "W")((109, 90), (105, 10))),
        ("DERWattVar", points("", "W", "Var")((50, 0), (0, 0))),
        ("DERTripLV", lambda curve: setattr(curve.MustTrip.ActPt, "value", 0)),
        ("DERTripHF", lambda curve: setattr(curve.MustTrip.ActPt, "value", 4)),
        ("DERVoltWatt", lambda curve: setattr(curve.DeptRef, "value", 1)),
        ("DERWattVar", lambda curve: setattr(curve.DeptRef, "value", 2)),
    ],
    ids=["706 falls", "712 falls", "707 no points", "710 more points than there are", "706 of what is available", "712 likewise"],
)
def test_an_impossible_curve_is_not_adopted(client, made: Ders, model: str, edit: Edit) -> None:
    function = getattr(client, model)[0]
    edit(function.Crv[1])
    function.Crv[1].write()
    function.AdptCrvReq.value = 2
    function.write()
    function.read()
    assert function.AdptCrvRslt.value == 2
    assert {key: made.settings()[key][0] for key in CURVES} == pytest.approx(CURVES)


@pytest.mark.parametrize("request_", [0, 4, 65534])
def test_a_curve_that_is_not_there_is_not_adopted(client, request_: int) -> None:
    trip = client.DERTripLF[0]
    trip.AdptCrvReq.value = request_
    trip.write()
    trip.read()
    assert trip.AdptCrvRslt.value == 2


def test_an_adoption_that_takes_its_time(client, made: Ders, clock: Hand) -> None:
    made.bank.adopt_s = 2.0
    trip = client.DERTripHV[0]
    trip.Crv[2].MustTrip.Pt[0].V.cvalue = 117
    trip.Crv[2].write()
    trip.AdptCrvReq.value = 3
    trip.write()
    trip.read()
    assert (trip.AdptCrvRslt.value, trip.Crv[0].MustTrip.Pt[0].V.cvalue) == (0, 120)
    clock.pass_s(3)
    trip.read()
    assert (trip.AdptCrvRslt.value, trip.Crv[0].MustTrip.Pt[0].V.cvalue) == (1, 117)


@pytest.mark.parametrize(
    ("model", "number", "name", "percent", "setting"),
    [
        ("DERVoltVar", 0, "Var", 33, "qv_q1_pu"), ("DERVoltWatt", 0, "W", 80, "pv_p1_pu"),
        ("DERWattVar", 5, "Var", -22, "qp_q3_gen_pu"),
    ],
)  # fmt: skip
def test_a_curve_reverts_to_the_one_that_it_is_told(
    client, made: Ders, clock: Hand, model: str, number: int, name: str, percent: float, setting: str
) -> None:
    function = getattr(client, model)[0]
    getattr(function.Crv[2].Pt[number], name).cvalue = percent
    function.Crv[2].write()
    function.RvrtTms.value, function.RvrtCrv.value, function.Ena.value = 30, 3, 1
    function.write()
    clock.pass_s(29)
    function.read()
    assert (function.RvrtRem.value, made.settings()[setting][0]) == (1, pytest.approx(CURVES[setting]))
    clock.pass_s(2)
    function.read()
    assert (function.RvrtRem.value, made.settings()[setting][0]) == (0, pytest.approx(percent / 100))
    function.RvrtTms.value, function.RvrtCrv.value = 30, 0
    function.write()
    clock.pass_s(31)
    made.bank.step(clock())
    assert function.Ena.value == 1
    assert made.settings()[f"{setting[:2]}_enable"][0] == 0  # no curve to go back to: it goes off


def test_droop_reverts_too(client, made: Ders, clock: Hand) -> None:
    droop = client.DERFreqDroop[0]
    droop.Ctl[2].KOf.cvalue = 0.03
    droop.Ctl[2].write()
    droop.RvrtTms.value, droop.RvrtCtl.value = 10, 3
    droop.write()
    clock.pass_s(11)
    droop.read()
    assert (droop.Ctl[0].KOf.cvalue, made.settings()["pf_kof"][0]) == (pytest.approx(0.03), pytest.approx(0.03))


def test_momentary_cessation_is_a_curve_of_its_own(client, made: Ders) -> None:
    under = client.DERTripLV[0]
    under.Crv[1].MomCess.ActPt.value = 1
    under.Crv[1].MomCess.Pt[0].V.cvalue = 50
    under.Crv[1].write()
    assert made.settings()["mc_enable"][0] == 0
    under.AdptCrvReq.value = 2
    under.write()
    held = made.settings()
    assert (held["mc_enable"].tolist(), held["mc_lvrt_v1_pu"][0]) == ([1.0, 0.0], pytest.approx(0.5))


def test_service_is_entered_by_criteria_of_its_own(client, made: Ders, clock: Hand) -> None:
    service = client.DEREnterService[0]
    service.ESVLo.cvalue, service.ESVHi.cvalue, service.ESHzLo.cvalue, service.ESHzHi.cvalue = 95, 106, 59, 61
    service.ESDlyTms.value, service.ESRmpTms.value, service.ESRndTms.value = 10, 20, 5
    service.write()
    held = {key: value[0] for key, value in made.settings().items() if key.startswith("es_")}
    assert held == pytest.approx(
        {"es_v_low_pu": 0.95, "es_v_high_pu": 1.06, "es_f_low_hz": 59.0, "es_f_high_hz": 61.0, "es_delay_s": 10.0,
         "es_ramp_s": 20.0, "es_randomized_delay_s": 5.0}
    )  # fmt: skip
    service.ES.value = 0
    service.write()
    assert made.setpoints(clock()).connect.tolist() == [0.0, 1.0]


def test_a_device_is_stopped_and_started_and_beats(client, made: Ders, clock: Hand) -> None:
    control = client.DERCtl[0]
    made.beat(clock())
    control.read()
    first = control.DERHb.value
    clock.pass_s(5)
    made.beat(clock())
    control.ControllerHb.value = 77
    control.write()
    control.read()
    assert (control.DERHb.value - first, control.ControllerHb.value, control.LocRemCtl.value) == (5, 77, 0)
    for value, connect in ((0, 0.0), (1, 1.0)):
        control.OpCtl.value = value
        control.write()
        assert made.setpoints(clock()).connect[0] == connect


def test_ports_of_direct_current(client, store) -> None:
    """Model 714: what stands behind the inverter is told; without a model of a DC side its volts and amperes are not."""
    for device, kind in ((client, 0), (store, 1)):
        dc = device.DERMeasureDC[0]
        dc.read()
        assert (dc.NPrt.value, dc.Prt[0].PrtTyp.value, dc.Prt[0].ID.value, dc.Prt[0].DCSta.value) == (1, kind, 1, 1)
        assert (dc.Prt[0].DCW.value, dc.Prt[0].DCV.value, dc.DCW.value, dc.PrtAlrms.value) == (None, None, None, 0)


def test_the_older_measurements_whole(client, store) -> None:
    old = client.inverter_three_phase[0]
    old.read()
    v, s = 1.013 * 230, np.hypot(73_400, 12_000)
    for name in ("PhVphA", "PhVphB", "PhVphC"):
        assert getattr(old, name).cvalue == pytest.approx(v, abs=0.06)
    assert old.PPVphAB.cvalue == pytest.approx(v * np.sqrt(3), abs=0.06)
    assert old.A.cvalue == pytest.approx(s / (3 * v), rel=1e-3)
    assert old.VA.cvalue == pytest.approx(s, abs=6)
    assert old.VAr.cvalue == pytest.approx(-12_000, abs=6)
    assert old.PF.cvalue == pytest.approx(100 * 73_400 / s, abs=0.01)
    assert (old.Hz.cvalue, old.St.value, old.WH.value) == (pytest.approx(49.987, abs=0.006), 4, None)
    battery = store.inverter_three_phase[0]
    assert battery.W.cvalue == pytest.approx(-2000, abs=1)


def test_the_older_status(client, store, made: Ders, clock: Hand) -> None:
    """Model 122: connected, available and operating; what is available; which controls act."""
    status = client.status[0]
    status.read()
    assert (status.PVConn.value, status.StorConn.value, status.ECPConn.value) == (7, 0, 1)
    assert status.WAval.cvalue == pytest.approx(90_000, abs=10)
    assert status.VArAval.cvalue == pytest.approx(48_400, abs=10)
    assert status.StActCtl.value == 0
    control = client.controls[0]
    control.WMaxLim_Ena.value, control.OutPFSet_Ena.value = 1, 1
    control.write()
    made.publish(measured(), np.array([True, False]))
    status.read()
    assert status.StActCtl.value == 0b101
    other = store.status[0]
    other.read()
    assert (other.PVConn.value, other.StorConn.value, other.ECPConn.value) == (0, 0, 0)


def test_the_older_ratings_and_settings(client, store, made: Ders, clock: Hand) -> None:
    plate, held = client.nameplate[0], client.settings[0]
    assert (plate.DERTyp.value, plate.WRtg.cvalue, plate.VARtg.cvalue) == (4, 100_000, 110_000)
    assert (plate.VArRtgQ1.cvalue, plate.VArRtgQ4.cvalue) == (48_400, -48_400)
    assert (held.WMax.cvalue, held.VRef.cvalue) == (100_000, 230)
    assert (store.nameplate[0].DERTyp.value, store.nameplate[0].WHRtg.cvalue) == (82, 10_000)
    held.WMax.cvalue = 60_000
    held.write()
    assert made.setpoints(clock()).p_limit_mw[0] == pytest.approx(0.06)
    held.VRef.cvalue = 250
    with pytest.raises(ModbusClientError):
        held.write()  # this device keeps it


@pytest.mark.parametrize(
    ("mode", "name", "percent", "q_mvar"),
    [(1, "VArWMaxPct", 20, 0.02), (2, "VArMaxPct", -50, -0.0242), (3, "VArAvalPct", 10, 0.011)],
)
def test_older_reactive_power(client, made: Ders, clock: Hand, mode: int, name: str, percent: float, q_mvar: float) -> None:
    control = client.controls[0]
    control.VArPct_Mod.value, control.VArPct_Ena.value = mode, 1
    getattr(control, name).cvalue = percent
    control.write()
    asked = made.setpoints(clock())
    assert (asked.q_mode.tolist(), asked.q_mvar[0]) == ([FOLLOW, 0.0], pytest.approx(q_mvar))


def test_a_store_by_the_older_model(store, made: Ders, clock: Hand) -> None:
    """Model 124: a discharge limit; then charging at 40 % by limits that meet, until the reversion time."""
    basic = store.storage_basic[0]
    assert (basic.ChaState.cvalue, basic.ChaSt.value, basic.WChaMax.cvalue) == (62.5, 4, 5000)
    basic.StorCtl_Mod.value, basic.OutWRte.cvalue = 2, 50
    basic.write()
    asked = made.setpoints(clock())
    assert (asked.mode[1], asked.p_limit_mw[1]) == (LIMIT, pytest.approx(0.0025))
    basic.StorCtl_Mod.value, basic.OutWRte.cvalue, basic.InWRte.cvalue, basic.InOutWRte_RvrtTms.value = 3, -40, 40, 60
    basic.write()
    asked = made.setpoints(clock())
    assert (asked.mode[1], asked.p_mw[1]) == (FOLLOW, pytest.approx(-0.002))
    clock.pass_s(61)
    asked = made.setpoints(clock())
    assert (asked.mode[1], asked.p_limit_mw[1]) == (0, np.inf)


def test_a_battery_by_its_own_model(store) -> None:
    battery = store.battery[0]
    assert (battery.SoC.cvalue, battery.WHRtg.cvalue, battery.Typ.value, battery.State.value) == (62.5, 10_000, 4, 3)
    assert battery.W.cvalue == pytest.approx(-2000, abs=1)
    battery.CtrlHb.value = 12
    battery.write()
    battery.read()
    assert battery.CtrlHb.value == 12
    battery.SoCRsvMin.cvalue = 10
    with pytest.raises(ModbusClientError):
        battery.write()  # this device keeps it
