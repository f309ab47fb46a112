"""Two inverters served over Modbus on a thread of their own, so that a blocking client of somebody else's can be used."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from vpp.kernel.telemetry import Telemetry
from vpp.wire.modbus.server import ModbusServer
from vpp.wire.sunspec.der import Ders, Nameplate, device_layout

CURVES = {
    "qv_enable": 0.0, "qv_v1_pu": 0.92, "qv_v2_pu": 0.98, "qv_v3_pu": 1.02, "qv_v4_pu": 1.08,
    "qv_q1_pu": 0.44, "qv_q2_pu": 0.0, "qv_q3_pu": 0.0, "qv_q4_pu": -0.44, "qv_olrt_s": 5.0, "qv_vref_pu": 1.0,
    "pv_enable": 0.0, "pv_v1_pu": 1.06, "pv_v2_pu": 1.1, "pv_p1_pu": 1.0, "pv_p2_pu": 0.2, "pv_olrt_s": 10.0,
    "pf_enable": 1.0, "pf_dbof_hz": 0.036, "pf_dbuf_hz": 0.036, "pf_kof": 0.05, "pf_kuf": 0.05, "pf_olrt_s": 5.0,
    "es_v_low_pu": 0.917, "es_v_high_pu": 1.05, "es_f_low_hz": 59.5, "es_f_high_hz": 60.1, "es_delay_s": 300.0,
    "es_randomized_delay_s": 0.0, "es_ramp_s": 300.0, "trip_enable": 1.0,
    "ov1_trip_v_pu": 1.1, "ov1_trip_t_s": 2.0, "ov2_trip_v_pu": 1.2, "ov2_trip_t_s": 0.16,
    "uv1_trip_v_pu": 0.7, "uv1_trip_t_s": 2.0, "uv2_trip_v_pu": 0.45, "uv2_trip_t_s": 0.16,
    "of1_trip_f_hz": 61.2, "of1_trip_t_s": 300.0, "of2_trip_f_hz": 62.0, "of2_trip_t_s": 0.16,
    "uf1_trip_f_hz": 58.5, "uf1_trip_t_s": 300.0, "uf2_trip_f_hz": 56.5, "uf2_trip_t_s": 0.16,
    "qp_enable": 0.0, "qp_p1_gen_pu": 0.2, "qp_p2_gen_pu": 0.5, "qp_p3_gen_pu": 1.0, "qp_q1_gen_pu": 0.0, "qp_q2_gen_pu": 0.0,
    "qp_q3_gen_pu": -0.44, "qp_p1_load_pu": -0.2, "qp_p2_load_pu": -0.5, "qp_p3_load_pu": -1.0, "qp_q1_load_pu": 0.0,
    "qp_q2_load_pu": 0.0, "qp_q3_load_pu": 0.44,
}  # fmt: skip


class Hand:
    """A clock that is moved by hand."""

    def __init__(self, now_ns: int = 1_700_000_000_000_000_000) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns

    def pass_s(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


def plate() -> Nameplate:
    return Nameplate(
        serial=["pv1", "bat1"],
        p_max_mw=np.array([0.1, 0.005]),
        p_charge_mw=np.array([0.0, 0.005]),
        s_mva=np.array([0.11, 0.006]),
        q_mvar=np.array([0.0484, 0.00264]),
        v_nom=np.array([230.0, 230.0]),
        e_mwh=np.array([0.0, 0.01]),
    )


def ders(clock: Hand, family: str = "both") -> Ders:
    made = Ders(plate(), device_layout(family, store=True), clock, {name: np.full(2, value) for name, value in CURVES.items()})
    made.publish(measured())
    return made


def measured() -> Telemetry:
    t = Telemetry.full(2, np.nan)
    t.p_mw, t.q_mvar, t.vm_pu, t.f_hz = [0.0734, -0.002], [-0.012, 0.0], [1.013, 0.99], [49.987, 50.01]
    t.soc, t.p_avail_max_mw = [np.nan, 0.625], [0.09, 0.005]
    return t


@contextmanager
def serving(made: Ders, tls: ssl.SSLContext | None = None) -> Iterator[ModbusServer]:
    """Serve the devices as units 1 and 2 on a thread of their own."""
    server = ModbusServer({row + 1: made.bank.unit(row) for row in range(made.plate.n)}, ("127.0.0.1", 0), tls=tls)
    loop, ready = asyncio.new_event_loop(), threading.Event()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(server.start())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(server.stop())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
