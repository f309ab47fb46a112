"""What an emulated device behind a plain table does with what is written to it."""

from __future__ import annotations

import numpy as np
import pytest

from hil.firmware import Firmware
from tests.hil.small import START_NS, S
from vpp.kernel.setpoints import AUTONOMOUS, FOLLOW, LIMIT, Setpoints
from vpp.wire.control import Control
from vpp.wire.link import Status

ROW = {s.name: s.row for s in Control.signals}


def control(f: Firmware, now_ns: int, device: int, **values: float) -> Status:
    n = len(values)
    rows = np.array([ROW[name] for name in values])
    return f.take(now_ns, np.ones(n, np.bool_), rows, np.full(n, device), np.array(list(values.values()))).status


def setpoint(f: Firmware, now_ns: int, device: int, **values: float) -> Status:
    n = len(values)
    rows = np.array([getattr(Setpoints, name).row for name in values])
    return f.take(now_ns, np.zeros(n, np.bool_), rows, np.full(n, device), np.array(list(values.values()))).status


def test_switches_say_who_leads() -> None:
    f = Firmware(2, np.zeros(2, np.bool_))
    setpoint(f, START_NS, 0, p_limit_mw=0.004)
    assert f.setpoints(START_NS).mode.tolist() == [AUTONOMOUS, AUTONOMOUS]
    assert f.setpoints(START_NS).p_limit_mw[0] == np.inf
    control(f, START_NS, 0, p_limit_on=1.0)
    control(f, START_NS, 1, p_follow_on=1.0, q_follow_on=1.0)
    held = f.setpoints(START_NS)
    assert held.mode.tolist() == [LIMIT, FOLLOW]
    assert held.q_mode.tolist() == [AUTONOMOUS, FOLLOW]
    assert held.p_limit_mw.tolist() == [0.004, np.inf]


@pytest.mark.parametrize("renewal", ["setpoint", "switch", "heartbeat", "lease"])
def test_a_lease_ends_unless_it_is_renewed(renewal: str) -> None:
    f = Firmware(1, np.zeros(1, np.bool_))
    control(f, START_NS, 0, p_limit_lease_s=10.0)
    setpoint(f, START_NS, 0, p_limit_mw=0.004)
    control(f, START_NS, 0, p_limit_on=1.0)
    later = START_NS + 9 * S
    if renewal == "setpoint":
        setpoint(f, later, 0, p_limit_mw=0.004)
    else:
        control(
            f,
            later,
            0,
            **{"switch": {"p_limit_on": 1.0}, "heartbeat": {"heartbeat": 7.0}}.get(renewal, {"p_limit_lease_s": 10.0}),
        )
    assert f.setpoints(START_NS + 18 * S).mode[0] == LIMIT
    assert f.setpoints(START_NS + 19 * S).mode[0] == AUTONOMOUS
    assert f.fell_back == 1
    assert f.setpoints(START_NS + 99 * S).mode[0] == AUTONOMOUS


def test_a_device_with_modes_falls_back_too() -> None:
    f = Firmware(1, np.ones(1, np.bool_))
    control(f, START_NS, 0, p_follow_lease_s=10.0)
    setpoint(f, START_NS, 0, mode=float(FOLLOW), p_mw=0.001)
    assert f.setpoints(START_NS + 9 * S).mode[0] == FOLLOW
    assert f.setpoints(START_NS + 10 * S).mode[0] == AUTONOMOUS


def test_without_a_lease_it_holds_for_ever() -> None:
    f = Firmware(1, np.zeros(1, np.bool_))
    setpoint(f, START_NS, 0, p_mw=0.001)
    control(f, START_NS, 0, p_follow_on=1.0)
    assert f.setpoints(START_NS + 10**6 * S).mode[0] == FOLLOW


def test_what_is_refused_changes_nothing() -> None:
    f = Firmware(1, np.zeros(1, np.bool_))
    assert control(f, START_NS, 0, p_follow_on=2.0) == Status.OUT_OF_RANGE
    f.control[ROW["remote"], 0] = 0.0
    assert setpoint(f, START_NS, 0, p_mw=0.001) == Status.REJECTED
    assert f.held.p_mw[0] == 0.0


def test_a_reboot_forgets() -> None:
    f = Firmware(1, np.zeros(1, np.bool_))
    setpoint(f, START_NS, 0, p_mw=0.001)
    control(f, START_NS, 0, p_follow_on=1.0)
    f.reboot(np.array([0]))
    held = f.setpoints(START_NS)
    assert (held.mode[0], held.p_mw[0]) == (AUTONOMOUS, 0.0)
