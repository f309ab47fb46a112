"""Curves, trips and priorities that a device holds: written rarely, adopted and read back."""

from __future__ import annotations

from vpp.kernel.signals import Signal, Signals


class Settings(Signals):
    """Settings of the inverter's own functions (names after IEEE 1547-2018 and its common file format)."""

    __slots__ = ()
    qv_enable = Signal("1", "volt-var on (1) or off (0); IEEE 1547-2018, 5.3.3")
    qv_v1_pu = Signal("pu", "volt-var, voltage of point 1 (most injection)")
    qv_v2_pu = Signal("pu", "volt-var, voltage of point 2")
    qv_v3_pu = Signal("pu", "volt-var, voltage of point 3")
    qv_v4_pu = Signal("pu", "volt-var, voltage of point 4 (most absorption)")
    qv_q1_pu = Signal("pu", "volt-var, reactive power at point 1 of nameplate VA, injection positive")
    qv_q2_pu = Signal("pu", "volt-var, reactive power at point 2 of nameplate VA, injection positive")
    qv_q3_pu = Signal("pu", "volt-var, reactive power at point 3 of nameplate VA, injection positive")
    qv_q4_pu = Signal("pu", "volt-var, reactive power at point 4 of nameplate VA, injection positive")
    qv_olrt_s = Signal("s", "volt-var open-loop response time to 90 %")
    pv_enable = Signal("1", "volt-watt on (1) or off (0); IEEE 1547-2018, 5.4.2")
    pv_v1_pu = Signal("pu", "volt-watt, voltage where curtailment begins")
    pv_v2_pu = Signal("pu", "volt-watt, voltage where it is complete")
    pv_p1_pu = Signal("pu", "volt-watt, active power at v1 of rated power")
    pv_p2_pu = Signal("pu", "volt-watt, active power at v2 of rated power")
    pv_olrt_s = Signal("s", "volt-watt open-loop response time to 90 %")
