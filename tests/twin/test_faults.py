"""Faults: where each of them acts, when, on whom; drawn at the stated rates; on record; and exact after a restore."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.twin.small import STEP_NS, plant, village
from tests.twin.test_state import turn
from twin.devices.model import Delivered, Offer
from twin.faults import EXPECTED, KINDS, Expected, Fault, FaultTable, draw_faults, rating_of, verdicts
from twin.fleet import FleetModel
from twin.lines import Disturbances, Receiver
from twin.plant import TwinPlant
from twin.sensors import SensorErrors, Sensors
from vpp.kernel import quality as q
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, simple_fleet
from vpp.kernel.seen import Event
from vpp.kernel.setpoints import FOLLOW, LIMIT, Setpoints
from vpp.kernel.telemetry import Telemetry

S = 10**9
START = 1_466_460_000 * S
N = 4
FLEET = simple_fleet(-np.ones(N), np.ones(N), e_mwh=np.full(N, 2.0))
P, LIM = Setpoints.p_mw.row, Setpoints.p_limit_mw.row


def fault(kind: str, *resource: int, begin: float = 3.0, end: float = 6.0, **more: Any) -> Fault:
    """From second ``begin`` to ``end``; steps of a second."""
    return Fault(kind, np.array(resource), START + round(begin * S), START + round(end * S), **more)


def table(*faults: Fault) -> FaultTable:
    return FaultTable(faults, rating_of(FLEET), START, S)


def sheet(p_mw: float, mode: int = FOLLOW) -> Setpoints:
    found = Setpoints.neutral(N)
    found.p_mw, found.p_limit_mw, found.mode = p_mw, abs(p_mw), mode
    return found


def held(devices: Receiver, steps: int) -> list[tuple[float, float]]:
    """What the first device holds and what it makes of it, when step k is asked k / 10 MW."""
    found = []
    for k in range(steps):
        applied = devices.adopt(k, sheet(k / 10))
        found.append((round(float(applied.p_mw[0]), 9), round(float(devices.acting[P, 0]), 9)))
        assert applied.p_mw[1] == devices.acting[P, 1] == k / 10, "nobody else is concerned"
    return found


def receiver(*faults: Fault) -> Receiver:
    return Receiver(FLEET, Disturbances(START, S, None, table(*faults)))


def meters(*faults: Fault, errors: SensorErrors | None = None) -> Sensors:
    from tests.twin.test_sensors import POINTS

    disturbed = Disturbances(START, S, None, table(*faults))
    return Sensors(FLEET, np.ones(N), POINTS, errors or SensorErrors(), 1, disturbed=disturbed)


def shown(sensors: Sensors, k: int) -> Telemetry:
    """What is seen in step ``k`` where resource i delivers (i + 1) / 10 + k / 100 MW."""
    offer, delivered = Offer(np.zeros((len(Offer.signals), N))), Delivered(np.zeros((len(Delivered.signals), N)))
    offer.soc, offer.p_avail_max_mw = 0.5, 1.0
    delivered.p_mw = (1 + np.arange(N)) / 10 + k / 100
    delivered.q_mvar, delivered.vm_pu = -0.05, 1.0 + k / 1000
    return sensors.observe(START + k * S, offer.block, delivered.block, 50.0, 1.0 + 0.0j)[0]


@pytest.mark.parametrize(
    ("begin", "end", "steps"),
    [(3.0, 6.0, [3, 4, 5]), (3.2, 6.0, [4, 5]), (3.2, 6.1, [4, 5, 6]), (3.2, 3.3, [4]), (-5.0, 2.0, [0, 1]), (8.0, 99.0, [8, 9])],
)
def test_a_fault_acts_in_every_step_that_begins_inside_it(begin: float, end: float, steps: list[int]) -> None:
    found = table(fault("trip", 0, begin=begin, end=end))
    assert [k for k in range(10) if found.at(k)] == steps
    assert [k for k in reversed(range(10)) if found.at(k)] == steps[::-1], "in any order"


def test_a_stuck_device_keeps_its_setpoint() -> None:
    assert held(receiver(fault("stuck_setpoint", 0)), 8) == [
        (x, x) for x in (0.0, 0.1, 0.2, 0.2, 0.2, 0.2, 0.6, 0.7)
    ]  # fmt: skip


def test_a_wrong_sign_is_acted_on_and_not_read_back() -> None:
    found = held(receiver(fault("wrong_sign", 0)), 7)
    assert [a for a, _ in found] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert [b for _, b in found] == [0.0, 0.1, 0.2, -0.3, -0.4, -0.5, 0.6]
    devices = receiver(fault("wrong_sign", 0))
    devices.adopt(3, sheet(0.3, LIMIT))
    assert devices.acting[LIM, 0] == -0.3


def test_a_device_that_boots_is_neutral_and_listens_again_afterwards() -> None:
    devices = receiver(fault("reboot", 0))
    assert held(devices, 8) == [(x, x) for x in (0.0, 0.1, 0.2, 0.0, 0.0, 0.0, 0.6, 0.7)]
    devices = receiver(fault("reboot", 0))
    modes = [int(devices.adopt(k, sheet(0.1)).mode[0]) for k in range(7)]
    assert modes == [FOLLOW] * 3 + [0] * 3 + [FOLLOW]


def test_a_lost_link_keeps_the_last_setpoint_and_is_silent() -> None:
    assert held(receiver(fault("lost_link", 0)), 7) == [(x, x) for x in (0.0, 0.1, 0.2, 0.2, 0.2, 0.2, 0.6)]
    for kind in ("lost_link", "reboot"):
        sensors = meters(fault(kind, 0, 2))
        for k in range(8):
            telemetry, silent = shown(sensors, k), [0, 2] if 3 <= k < 6 else []
            assert np.flatnonzero(telemetry.quality[0] == (q.INVALID | q.COMM_LOST)).tolist() == silent
            assert np.flatnonzero(np.isnan(telemetry.block).any(axis=0)).tolist() == silent
            assert telemetry.time_ns[0, 0] == START + (2 if silent else k) * S


@pytest.mark.parametrize(("kind", "value", "expected"), [("trip", 0.0, 0.0), ("derating", 0.3, 0.3), ("derating", 0.9, 0.8)])
def test_what_is_offered(kind: str, value: float, expected: float) -> None:
    found = table(fault(kind, 0, 1, value=value))
    for k in (2, 3, 5, 6):
        offer = Offer(np.zeros((len(Offer.signals), N)))
        offer.p_mw, offer.q_mvar, offer.p_avail_max_mw = np.array([0.8, -0.8, 0.8, 0.8]), 0.2, 0.8
        found.offered(k, offer.block)
        acts = 3 <= k < 6
        assert offer.p_mw.tolist() == pytest.approx([expected, -expected, 0.8, 0.8] if acts else [0.8, -0.8, 0.8, 0.8])
        assert (offer.p_avail_max_mw == 0.8).all(), "the device does not know of it"
        assert offer.q_mvar[0] == (0.0 if acts and kind == "trip" else 0.2)


def test_a_meter_with_the_wrong_sign() -> None:
    sensors = meters(fault("wrong_meter_sign", 0))
    for k in range(7):
        sign = -1.0 if 3 <= k < 6 else 1.0
        telemetry = shown(sensors, k)
        assert telemetry.p_mw.tolist() == pytest.approx([sign * (0.1 + k / 100), *(0.2 + 0.1 * i + k / 100 for i in range(3))])
        assert telemetry.q_mvar.tolist() == pytest.approx([-sign * 0.05, -0.05, -0.05, -0.05])
        assert (telemetry.vm_pu == 1.0 + k / 1000).all()


@pytest.mark.parametrize(("quantity", "name"), list(enumerate(("p_mw", "q_mvar", "vm_pu", "soc"))))
def test_a_sensor_drifts_from_its_first_step_on(quantity: int, name: str) -> None:
    sensors, good = meters(fault("drifting_sensor", 1, value=36.0, quantity=quantity)), meters()
    for k in range(7):
        off = getattr(shown(sensors, k), name) - getattr(shown(good, k), name)
        gone = max(k - 2, 0) * 0.01 if 3 <= k < 6 else 0.0
        assert off.tolist() == pytest.approx([0.0, gone, 0.0, 0.0])


def test_a_frozen_meter_goes_on_sending_what_it_showed_last() -> None:
    """Good quality and a time that goes on: only the values give it away."""
    sensors = meters(fault("frozen_sensor", 0), errors=SensorErrors(p_error=0.01, v_error=0.001))
    seen = [shown(sensors, k) for k in range(8)]
    for k in range(8):
        same = 3 <= k < 6
        for name in ("p_mw", "q_mvar", "vm_pu"):
            values = getattr(seen[k], name)
            assert (values[0] == getattr(seen[2], name)[0]) == (same or k == 2)
            assert values[1] != getattr(seen[2], name)[1] or k == 2
        assert (seen[k].quality == q.GOOD).all()
        assert (seen[k].time_ns == START + k * S).all()


def test_meters_change_places_in_pairs() -> None:
    sensors = meters(fault("meter_swap", 0, 3, 1, 2))
    for k in range(7):
        order = [3, 2, 1, 0] if 3 <= k < 6 else [0, 1, 2, 3]
        assert shown(sensors, k).p_mw.tolist() == pytest.approx([(1 + i) / 10 + k / 100 for i in order])
        assert (shown(sensors, k).soc == 0.5).all(), "what the device says of itself is its own"


def test_faults_that_overlap_act_together() -> None:
    sensors = meters(fault("wrong_meter_sign", 0), fault("drifting_sensor", 0, begin=4.0, end=9.0, value=36.0))
    assert [round(float(shown(sensors, k).p_mw[0]), 9) for k in (3, 4, 5, 6)] == [-0.13, -0.13, -0.13, 0.19]


@pytest.mark.parametrize("kind", KINDS)
def test_random_faults_come_at_their_rate(kind: str) -> None:
    """400 resources, 50 a year each over a tenth of a year: 2000, within four sigma; exponential durations; everybody's turn."""
    resource, mean_h, end = np.arange(400), 5.0, START + (876 * 3600) * S
    found = draw_faults({kind: 50.0}, resource, START, end, mean_h, {"derating": 0.4}, np.random.default_rng(1))
    k = len(found)
    assert abs(k - 2000) < 4.0 * np.sqrt(2000)
    begin = np.array([f.begin_ns - START for f in found]) / (end - START)
    assert abs(begin.mean() - 0.5) < 4.0 * np.sqrt(1 / 12 / k)
    assert (np.diff(begin) >= 0.0).all()
    uncut = np.array([f.end_ns - f.begin_ns for f in found if f.end_ns < end]) / 3.6e12
    assert abs(uncut.mean() / mean_h - 1.0) < 4.0 / np.sqrt(k) + mean_h / 876  # a few long ones are cut off at the end
    who = np.concatenate([f.resource for f in found])
    assert len(who) == k * (2 if kind == "meter_swap" else 1)
    assert np.unique(who).size > 0.98 * 400
    assert {f.value for f in found} == {0.4 if kind == "derating" else 0.0}
    again = draw_faults({kind: 50.0}, resource, START, end, mean_h, {"derating": 0.4}, np.random.default_rng(1))
    assert [(f.begin_ns, f.resource.tolist()) for f in again] == [(f.begin_ns, f.resource.tolist()) for f in found]


def test_the_record_says_when_faults_begin_and_end() -> None:
    ids = tuple("abcd")
    found = table(fault("trip", 0), fault("derating", 1, 2, begin=4.0, end=5.0, value=0.5))
    told = found.events(ids)
    assert sorted(told) == [3, 4, 5, 6]
    assert [(e.kind, e.text, e.subject, e.source) for k in sorted(told) for e in told[k]] == [
        ("fault", "trip of a begins", "a", "twin"),
        ("fault", "derating of b, c begins", "b", "twin"),
        ("fault-end", "derating of b, c ends", "b", "twin"),
        ("fault-end", "trip of a ends", "a", "twin"),
    ]
    row = found.table(ids)[1]
    assert (row["kind"], row["resources"], row["begin_ns"], row["end_ns"]) == (
        "derating",
        ["b", "c"],
        START + 4 * S,
        START + 5 * S,
    )
    assert row["says"] == list(EXPECTED["derating"].says)
    assert row["within_s"] == EXPECTED["derating"].within_s


def test_every_kind_says_what_is_expected() -> None:
    assert set(EXPECTED) == set(KINDS)
    for expected in EXPECTED.values():
        assert expected.says
        assert expected.signal
        assert expected.rule
        assert expected.within_s > 0.0


@pytest.mark.parametrize(
    ("event", "after_s"),
    [
        (("performance", "not-responding", "a", 4.0), 1.0),
        (("performance", "not-responding", "a", 13.0), 10.0),
        (("performance", "not-responding", "a", 13.5), None),  # too late
        (("performance", "not-responding", "a", 2.0), None),  # before it began
        (("performance", "not-responding", "b", 4.0), None),  # about another
        (("performance", "silent", "a", 4.0), None),  # something else
        (("twin", "not-responding", "a", 4.0), None),  # whoever breaks it does not count
    ],
)
def test_verdicts(event: tuple[str, str, str, float], after_s: float | None) -> None:
    source, kind, subject, at = event
    mine = table(fault("trip", 0, expected=Expected("p", "x", ("not-responding",), 10.0)))
    (found,) = verdicts(mine, "abcd", [Event(START + round(at * S), source, kind, "", subject)])
    assert found.in_time == (after_s is not None)
    assert found.after_s == pytest.approx(after_s if after_s is not None else np.nan, nan_ok=True)


EVERY = (
    Fault("trip", np.array([1]), START + 5 * STEP_NS, START + 9 * STEP_NS),
    Fault("derating", np.array([3, 5]), START + 6 * STEP_NS, START + 30 * STEP_NS, 0.2),
    Fault("stuck_setpoint", np.array([10]), START + 7 * STEP_NS, START + 22 * STEP_NS),
    Fault("wrong_sign", np.array([11]), START + 3 * STEP_NS, START + 25 * STEP_NS),
    Fault("wrong_meter_sign", np.array([7]), START + 12 * STEP_NS, START + 20 * STEP_NS),
    Fault("drifting_sensor", np.array([0]), START + 2 * STEP_NS, START + 35 * STEP_NS, 0.1),
    Fault("frozen_sensor", np.array([2, 9]), START + 10 * STEP_NS, START + 26 * STEP_NS),
    Fault("lost_link", np.array([4]), START + 15 * STEP_NS, START + 19 * STEP_NS),
    Fault("reboot", np.array([10]), START + 28 * STEP_NS, START + 31 * STEP_NS),
    Fault("meter_swap", np.array([1, 3]), START + 14 * STEP_NS, START + 33 * STEP_NS),
)


def broken(steps: int = 40, seed: int = 7, faults: tuple[Fault, ...] = EVERY) -> TwinPlant:
    """The village with every fault, noisy and lossy."""
    twin = plant(village(), steps, SensorErrors(0.01, 0.002, 0.005, 1, 0.05, p_class=1.0, deadband=(1e-4, 0.0, 0.0, 0.0)), seed)
    spec, sensors = twin.devices.spec, twin.grid.sensors
    disturbed = Disturbances(START, STEP_NS, None, FaultTable(faults, rating_of(spec.fleet), START, STEP_NS))
    twin.devices = FleetModel(replace(spec, disturbed=disturbed))
    twin.grid.sensors = Sensors(spec.fleet, sensors.rating, sensors.points, sensors.errors, seed, disturbed=disturbed)
    return twin


@pytest.mark.parametrize("cut", [1, 4, 11, 16, 21, 29, 34])
def test_a_broken_twin_goes_on_with_the_same_bytes(cut: int) -> None:
    one = broken()
    for _ in range(cut):
        turn(one)
    state = pickle.dumps(one.state())
    rest = [turn(one) for _ in range(cut, 40)]
    other = broken(seed=8)
    other.restore(pickle.loads(state))
    assert [turn(other) for _ in range(cut, 40)] == rest


def test_every_fault_changes_something() -> None:
    """Taken away one by one, each leaves another run; faults of meters alone leave the truth as it was."""
    whole = broken()
    runs = [turn(whole) for _ in range(40)]
    for i, gone in enumerate(EVERY):
        twin = broken(faults=EVERY[:i] + EVERY[i + 1 :])
        other = [turn(twin) for _ in range(40)]
        assert other != runs, gone.kind
        first = next(k for k in range(40) if other[k] != runs[k])
        assert first >= (gone.begin_ns - START) // STEP_NS, gone.kind


def test_limits_and_followers_of_the_village_are_as_the_faults_above_assume() -> None:
    control = broken().fleet.control
    assert (control[10:12] == CONTROL_FOLLOW).all()
    assert (control[[1, 3, 5]] == CONTROL_LIMIT).all()
