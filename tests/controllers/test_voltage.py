import numpy as np
import pytest

from controllers.grid.voltage import OverVoltageGuard, UnderVoltageGuard
from tests.controllers.ticks import caps, continues_alike, events_of, floors, tick
from tests.kernel.scene import INF, NAN
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE, simple_fleet

PV = simple_fleet([0.0], [2.0], control=np.array([CONTROL_LIMIT]))


@pytest.mark.parametrize(
    "table",
    [
        # (vm_pu, bad quality, measured power, cap); above 1.05 a fifth of rated power for each 0.05 pu, back 6 % a tick
        [(1.05, False, 2, 2), (1.02, False, 2, 2), (NAN, False, 2, 2)],
        [(1.06, False, 2, 1.9), (1.06, False, 1.9, 1.8), (1.09, False, 1.8, 1.4)],
        # it begins at what is injected now, not at rated power
        [(1.06, False, 0.5, 0.4), (1.06, False, NAN, 0.3), (1.06, False, -1, 0)],
        # within the deadband, unknown or of bad quality: the cap stays
        [(1.06, False, 2, 1.9), (1.05, False, 1.9, 1.9), (1.0451, False, 1.9, 1.9), (NAN, False, 1.9, 1.9), (1.0, True, 1.9, 1.9),
         (INF, False, 1.9, 1.9), (1.09, True, 1.9, 1.9)],
        # back no faster than the recovery, and slower just beneath the deadband
        [(1.09, False, 1.0, 0.6), (0.95, False, 0.6, 0.72), (1.04, False, 0.7, 0.77), (0.9, False, 0.7, 0.89)],
        [(1.06, False, 2, 1.9), (1.00, False, 2, 2), (1.00, False, 2, 2)],
        # at the highest voltage nothing is injected any more
        [(1.10, False, 2, 0), (1.07, False, 0, 0), (1.00, False, 0, 0.12)],
        [(5.0, False, 2, 0)],
    ],
)  # fmt: skip
def test_over_voltage_caps_injection(table):
    guard = OverVoltageGuard(PV, gain=0.25, recovery_per_s=1e-3)
    for vm, bad, p, cap in table:
        allowed, _ = tick(guard, PV, vm_pu=vm, p_mw=p, bad=("vm_pu",) if bad else ())
        assert caps(allowed)[0] == pytest.approx(cap, abs=1e-9) or np.isnan(p), (vm, p)
        assert floors(allowed) == [0]


def test_the_loop_of_voltage_and_cap_settles_below_the_limit():
    # Rated power lifts the voltage by 0.1 pu; without a guard the terminal would stand at 1.10 pu.
    guard, p, seen_vm = OverVoltageGuard(PV), 2.0, []
    capped = [2.0]
    for k in range(200):
        vm = 1.0 + 0.05 * p
        allowed, _ = tick(guard, PV, k, vm_pu=vm - 1e-9, p_mw=p)
        p = min(2.0, capped[-1])  # the cap acts one tick later
        capped.append(allowed.block[3, 0])
        seen_vm.append(vm)
    assert max(seen_vm[-100:]) <= 1.05 + 1e-4
    assert np.ptp(seen_vm[-100:]) < 1e-4
    assert seen_vm[-1] > 1.04


def test_over_voltage_leaves_others_alone_and_says_what_begins_and_ends():
    control = np.array([CONTROL_LIMIT, CONTROL_FOLLOW, CONTROL_NONE, CONTROL_FOLLOW])
    fleet = simple_fleet([0.0, -1, 0, -1], [1.0, 1, 1, 0], control=control)
    guard = OverVoltageGuard(fleet)
    allowed, events = tick(guard, fleet, vm_pu=[1.06, 1.07, 1.2, 1.2], p_mw=[1, 1, 1, -1])
    assert caps(allowed) == [0.95, 0.9, 1, 0]
    assert events_of(events) == [("over-voltage", "r2")]
    assert events[0].text == "injection of 2 more resources is capped; highest voltage 1.0700 pu at r2"
    assert events[0].value == 1.07
    assert tick(guard, fleet, vm_pu=1.049)[1] == []
    said = [events_of(tick(guard, fleet, vm_pu=1.0)[1]) for _ in range(3)]
    assert said == [[], [("over-voltage-end", "")], []]


CAR = simple_fleet([-1.0], [0.5])


@pytest.mark.parametrize(
    "table",
    [
        # (vm_pu, bad quality, consumption stopped); hold 2 ticks, release above 0.96
        [(0.95, False, False), (0.949, False, True), (0.955, False, True), (1.0, False, False)],
        [(0.94, False, True), (0.96, False, True), (0.96, False, True), (0.96, False, True), (0.961, False, False)],
        # the hold begins anew whenever the voltage is too low
        [(0.94, False, True), (1.0, False, True), (0.94, False, True), (1.0, False, True), (1.0, False, False)],
        # unknown or of bad quality: as it was
        [(NAN, False, False), (0.9, True, False), (0.94, False, True), (NAN, False, True), (1.0, True, True), (NAN, False, True),
         (1.0, False, False)],
    ],
)  # fmt: skip
def test_under_voltage_stops_consumption(table):
    guard = UnderVoltageGuard(CAR, vm_low_pu=0.95, deadband_pu=0.01, hold_s=90)
    for k, (vm, bad, stopped) in enumerate(table):
        allowed, _ = tick(guard, CAR, k, vm_pu=vm, bad=("vm_pu",) if bad else ())
        assert floors(allowed) == [0 if stopped else -1], k
        assert caps(allowed) == [0.5]


def test_under_voltage_says_what_begins_and_ends():
    control = np.array([CONTROL_FOLLOW, CONTROL_FOLLOW, CONTROL_NONE, CONTROL_FOLLOW])
    fleet = simple_fleet([-1.0, -1, -1, 0], [1.0, 1, 0, 1], control=control)
    guard = UnderVoltageGuard(fleet, hold_s=0)
    allowed, events = tick(guard, fleet, vm_pu=[0.94, 0.93, 0.5, 0.5])
    assert floors(allowed) == [0, 0, 0, 0]
    assert events_of(events) == [("under-voltage", "r2")]
    assert events[0].text == "consumption of 2 more resources is stopped; lowest voltage 0.9300 pu at r2"
    said = [events_of(tick(guard, fleet, k, vm_pu=vm)[1]) for k, vm in enumerate([0.94, [1.0, 0.94, 1, 1], 1.0, 1.0])]
    assert said == [[], [], [("under-voltage-end", "")], []]


@pytest.mark.parametrize("make", [OverVoltageGuard, UnderVoltageGuard])
def test_goes_on_alike_after_a_restore(make):
    fleet = simple_fleet([-1.0] * 3, [1.0] * 3)
    vms = [[1.0, 1.06, 0.94], [1.2, NAN, 0.9], [0.9, 1.0, NAN], [0.9, 1.07, 1.0], [1.04, 1, 1], [1, 1, 1], [1, 1.06, 1]]
    continues_alike(lambda: make(fleet), fleet, [{"vm_pu": vm, "p_mw": 0.5} for vm in vms])
