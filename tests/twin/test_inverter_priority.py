"""Whose word counts, by the expectations of IEEE 1547.1-2020's own tests (Tables 38 and 39; 5.13).

They say what happens where limits meet droop: under-frequency droop raises power above the active power limit, from the power
before the disturbance (5.16: 0.7 pu at 59.36 Hz under a limit of 0.5 pu; 5.13: after Table 23 of IEEE 1547-2018), as
OpenDER has it, too. Without a disturbance the limit holds (4.6.2), and volt-watt holds always.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.twin.test_inverter_functions import one

# Voltage, frequency and expected active power; reactive power by volt-var of category A and B.
STEPS = (
    (1.0, 60.0, 0.5, 0.0, 0.0),
    (1.09, 60.0, 0.4, -0.25, -0.44),
    (1.09, 60.33, 0.3, -0.25, -0.44),
    (1.09, 60.0, 0.4, -0.25, -0.44),
    (1.09, 59.36, 0.4, -0.25, -0.44),
    (1.0, 59.36, 0.6, 0.0, 0.0),
    (1.0, 60.0, 0.5, 0.0, 0.0),
    (1.0, 59.36, 0.7, 0.0, 0.0),
)
DROOP = {"f_nom_hz": 60.0, "pf_enable": 1.0, "pf_dbof_hz": 0.036, "pf_dbuf_hz": 0.036, "pf_kof": 0.05, "pf_kuf": 0.05}
WATT = {"pv_enable": 1.0, "pv_v1_pu": 1.06, "pv_v2_pu": 1.1, "pv_p1_pu": 1.0, "pv_p2_pu": 0.2}
LIMIT = {"ap_limit_enable": 1.0, "pv_olrt_s": 10.0, "pf_olrt_s": 5.0, "qv_olrt_s": 5.0}
CURVES = {
    "A": {"qv_v1_pu": 0.9, "qv_v2_pu": 1.0, "qv_v3_pu": 1.0, "qv_v4_pu": 1.1, "qv_q1_pu": 0.25, "qv_q4_pu": -0.25},
    "B": {"qv_v1_pu": 0.92, "qv_v2_pu": 0.98, "qv_v3_pu": 1.02, "qv_v4_pu": 1.08, "qv_q1_pu": 0.44, "qv_q4_pu": -0.44},
}


@pytest.mark.parametrize("category", ["A", "B"])
def test_priority_of_responses(category: str) -> None:
    """IEEE 1547.1-2020, 5.16. Table 38 says 0.25 at 1.09 pu, where category A's curve asks for 0.225: within its accuracy."""
    curve = {"qv_enable": 1.0, **CURVES[category]}
    inverter = one(s=1.2, low_p=True, ap_limit_pu=0.5, **DROOP, **WATT, **LIMIT, **curve)
    inverter.step(900.0, 1.0, 60.0, 1.0)
    for v, f, p, q_a, q_b in STEPS:
        got = inverter.step(900.0, v, f, 1.0)[:, 0]
        assert got[0] == pytest.approx(p, abs=3e-3)
        assert got[1] / 1.2 == pytest.approx(q_a if category == "A" else q_b, abs=0.026 if category == "A" else 1e-9)


@pytest.mark.parametrize("limit", [0.66, 0.33, 0.0])
def test_limit_of_active_power(limit: float) -> None:
    """IEEE 1547.1-2020, 5.13: the limit, modulated after Table 23 at 59 and 61 Hz, and by volt-watt at 1.08 pu."""
    inverter = one(ap_limit_pu=limit, **DROOP, **WATT, **LIMIT)
    inverter.step(900.0, 1.0, 60.0, 1.0)
    droop = (1.0 - 0.036) / (60.0 * 0.05)
    expected = (limit, min(limit + droop, 1.0), limit, max(limit - droop, 0.0), limit, min(0.6, limit), limit)
    stimulus = ((1.0, 60.0), (1.0, 59.0), (1.0, 60.0), (1.0, 61.0), (1.0, 60.0), (1.08, 60.0), (1.0, 60.0))
    got = [inverter.step(900.0, v, f, 1.0)[0, 0] for v, f in stimulus]
    assert np.allclose(got, expected, rtol=0, atol=1e-9)
