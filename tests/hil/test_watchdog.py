"""Arming, its limits, and the dead-man."""

from __future__ import annotations

import numpy as np
import pytest

from hil.watchdog import EXPIRED, NOT_ARMED, SPENT, Arming, DeadMan, Gate, columns_of, safe_setpoints
from tests.hil.small import START_NS, S, asked
from vpp.kernel.setpoints import LIMIT, Setpoints

ARMING = Arming(0.003, 0.001, START_NS + 3600 * S)


def test_a_real_device_needs_arming_and_an_emulated_one_does_not() -> None:
    assert Gate(1).closed(START_NS) == NOT_ARMED
    assert Gate(1, emulated=True).closed(START_NS) == ""
    assert Gate(1, arming=ARMING).closed(START_NS) == ""


def test_the_time_ends_and_does_not_come_back() -> None:
    gate = Gate(1, arming=ARMING)
    assert gate.closed(START_NS + 3600 * S) == EXPIRED
    assert gate.closed(START_NS) == EXPIRED


def test_the_energy_ends() -> None:
    """3 kW for a third of an hour is 1 kWh; both directions count."""
    gate = Gate(1, arming=ARMING)
    for k in range(19):
        gate.measured(START_NS + k * 60 * S, np.array([0.003 * (-1) ** k]))
        assert gate.closed(START_NS) == ""
    for k in range(19, 23):
        gate.measured(START_NS + k * 60 * S, np.array([0.003]))
    assert gate.closed(START_NS) == SPENT


def test_a_device_that_is_not_heard_counts_as_the_most() -> None:
    gate = Gate(1, arming=ARMING)
    for minute in (0, 21):
        gate.measured(START_NS + minute * 60 * S, np.array([np.nan]))
    assert gate.closed(START_NS) == SPENT


def test_power_is_held_at_what_is_armed() -> None:
    gate = Gate(2, arming=ARMING)
    sheet = Setpoints(gate.narrow(asked(0.008, -0.005).setpoints.block))
    assert sheet.p_limit_mw[0] == 0.003
    assert sheet.p_mw[1] == -0.003
    free = Setpoints(gate.narrow(asked().setpoints.block))
    assert free.mode.tolist() == [LIMIT, LIMIT]  # nobody leads himself beyond what is armed
    assert free.p_limit_mw.tolist() == [0.003, 0.003]
    block = asked(0.008).setpoints.block
    assert Gate(2, emulated=True).narrow(block) is block


def test_the_dead_man() -> None:
    man = DeadMan(5 * S)
    assert not man.tripped(START_NS)  # nothing was asked yet
    man.feed(START_NS)
    assert not man.tripped(START_NS + 5 * S)
    assert man.tripped(START_NS + 6 * S)
    assert man.tripped(START_NS + 7 * S)
    assert man.trips == 1
    man.feed(START_NS + 8 * S)
    assert not man.tripped(START_NS + 9 * S)


def test_what_is_asked_when_we_let_go() -> None:
    sheet = Setpoints(safe_setpoints(np.array([0.0, -0.001])))
    assert sheet.mode.tolist() == [0.0, 0.0]
    assert sheet.p_mw.tolist() == [0.0, -0.001]
    assert np.all(sheet.connect == 1.0)


def test_columns() -> None:
    assert columns_of(("a", "b", "c"), ("c", "a")).tolist() == [2, 0]
    with pytest.raises(KeyError):
        columns_of(("a",), ("b",))
