"""Who does not do as asked, is not heard, or shows what cannot be true: one table of ticks a finding, and as many of none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from controllers.resource.performance import MOST_EVENTS, PerformanceGuard
from tests.controllers.ticks import DT_S, continues_alike
from tests.kernel.scene import INF, NAN, S, opened, see
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE, Fleet, Terminals, simple_fleet
from vpp.kernel.grid_points import GridPoints, PointLayout
from vpp.kernel.quality import COMM_LOST, INVALID, QUESTIONABLE, STALE
from vpp.kernel.seen import Event, Seen
from vpp.kernel.setpoints import FOLLOW, LIMIT, Asked

F, L, N = CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE
POINTS = PointLayout(("pcc_p_mw",), ("p_mw",), ("pcc",))


def fleet(*control: int, nodes: Sequence[int] = (), **more: Any) -> Fleet:
    """Resources rated 1 MW, each at a node of its own unless said otherwise; only batteries take in."""
    n = len(control)
    low = np.where(np.array(control) == L, 0.0, -1.0)
    at = np.array(nodes or range(n), np.int32)
    kind = tuple("pv" if c == L else "battery" for c in control)
    return simple_fleet(low, np.ones(n), control=np.array(control), terminal=Terminals.single(at), kind=kind, **more)


def scene(made: Fleet, k: int, asked: Any = 0.0, limit: Any = INF, applied: Any = None, lag: int = 0, **signals: Any) -> Seen:
    """Tick ``k``: what was asked a tick ago and is held, what is measured; ``lag`` ticks old."""
    now_ns = k * round(DT_S * S)
    last = Asked.nothing(made.n)
    follows, limited = made.control == F, (made.control == L) & np.isfinite(np.broadcast_to(limit, made.n))
    last.setpoints.p_mw = asked
    last.setpoints.p_limit_mw = limit
    last.setpoints.mode = np.where(follows, FOLLOW, np.where(limited, LIMIT, 0))
    wiggle = 1.0 + 0.001 * np.sin(k + np.arange(made.n) * 0.01)  # voltages never stand still
    seen = see(made, now_ns=now_ns - lag * round(DT_S * S), last=last, **{"vm_pu": wiggle, "f_hz": 50.0, **signals})
    if applied is not None:
        seen.applied.p_mw = applied
    return seen


def listen(guard: PerformanceGuard, made: Fleet, ticks: Sequence[Seen], first: int = 0) -> list[tuple[int, Event]]:
    """What is said, with the number of its tick."""
    found = []
    for k, seen in enumerate(ticks, first):
        now_ns = k * round(DT_S * S)
        found += [(k, event) for event in guard.step(now_ns, seen, opened(made, seen, now_ns, DT_S))]
    return found


def kinds(found: list[tuple[int, Event]]) -> list[tuple[int, str, str]]:
    return [(k, event.kind, event.subject) for k, event in found]


def said(made: Fleet, ticks: Sequence[Seen], first: int = 0, **parameters: Any) -> list[tuple[int, str, str]]:
    return kinds(listen(PerformanceGuard(made, **{"pcc_tolerance": None, **parameters}), made, ticks, first))


def wave(k: int) -> float:
    """A setpoint that goes up and down."""
    return 0.5 + 0.3 * float(np.sin(k / 7.0))


FROM = 10  # tick at which something goes wrong
TICKS = 40


@pytest.mark.parametrize(
    ("control", "delivers", "kind"),
    [
        (F, lambda x: x, None),
        (F, lambda x: x + 0.04, None),  # within the tolerance of a twentieth of the rating
        (F, lambda x: 0.0, "not-responding"),
        (F, lambda x: -x, "wrong-sign"),
        (F, lambda x: 0.4 * x, "deviation"),
        (F, lambda x: x + 0.1, "deviation"),
        (L, lambda x: x, None),
        (L, lambda x: 0.0, "not-responding"),
        (L, lambda x: -x, "wrong-sign"),
        (L, lambda x: min(x, 0.1), "deviation"),
        (N, lambda x: 0.0, None),
    ],
)
def test_power_is_held_against_what_is_expected(control: int, delivers: Callable[[float], float], kind: str | None) -> None:
    """Said in the tick in which it has held for 300 s: five ticks of a minute."""
    made = fleet(control)
    ticks = []
    for k in range(TICKS):
        x = wave(k)
        p = delivers(x) if k >= FROM else x
        ticks.append(
            scene(made, k, x if control == F else 0.0, p_mw=p, p_avail_min_mw=-1.0, p_avail_max_mw=1.0 if control == F else x)
        )
    assert said(made, ticks) == ([] if kind is None else [(FROM + 4, kind, "r1")])


def test_beneath_a_limit_no_more_than_the_limit_is_expected() -> None:
    made = fleet(L, L)
    ticks = [scene(made, k, limit=0.4, p_mw=[0.4, 0.8], p_avail_max_mw=0.8) for k in range(20)]
    assert said(made, ticks) == [(4, "deviation", "r2")]


def test_what_cannot_be_delivered_is_not_expected() -> None:
    """A battery that is empty says so; one that says nothing of itself is held to what it was asked."""
    made = fleet(F, F)
    ticks = [scene(made, k, 0.8, p_mw=0.0, p_avail_min_mw=-1.0, p_avail_max_mw=[0.0, NAN]) for k in range(20)]
    assert said(made, ticks) == [(4, "not-responding", "r2")]


@pytest.mark.parametrize(("signal", "value"), [("vm_pu", 1.06), ("f_hz", 50.4), ("f_hz", 59.6)])
def test_less_is_no_deviation_where_the_device_s_own_curves_act(signal: str, value: float) -> None:
    made = fleet(F)
    assert said(made, [scene(made, k, 0.8, p_mw=0.5, **{signal: value}) for k in range(20)]) == []
    assert said(made, [scene(made, k, 0.5, p_mw=0.8, **{signal: value}) for k in range(20)]) == [(4, "deviation", "r1")]


@pytest.mark.parametrize("lag", [0, 1, 3])
def test_telemetry_that_comes_late_is_held_against_what_was_asked_then(lag: int) -> None:
    made = fleet(F)
    ticks = [scene(made, k, wave(3 * k), p_mw=wave(3 * (k - lag)), lag=lag) for k in range(lag, 60)]
    assert said(made, ticks, lag) == []
    wrong = [scene(made, k, wave(3 * k), p_mw=-wave(3 * (k - lag)), lag=lag) for k in range(lag, 60)]
    assert [x[1:] for x in said(made, wrong, lag)] == [("wrong-sign", "r1")]


def test_a_step_of_the_setpoint_may_be_followed_slowly() -> None:
    """Two ticks late in every step, every eight ticks: no deviation that lasts."""
    made = fleet(F)
    ticks = [scene(made, k, float(k // 8 % 2), p_mw=float((k - 2) // 8 % 2)) for k in range(2, 80)]
    assert said(made, ticks) == []


def test_a_deviation_ends_where_it_would_show() -> None:
    made = fleet(L)
    sun = [0.8] * 10 + [0.0] * 20 + [0.8] * 20  # day, night, day
    does = [0.0] * 10 + [0.0] * 20 + [0.8] * 20
    ticks = [scene(made, k, p_mw=p, p_avail_max_mw=x) for k, (x, p) in enumerate(zip(sun, does))]
    assert said(made, ticks) == [(4, "not-responding", "r1"), (34, "recovered", "r1")]


def test_a_setpoint_that_is_not_adopted() -> None:
    made = fleet(F, F)
    ticks = [scene(made, k, 0.02 * k, applied=[0.02 * min(k, FROM), 0.02 * (k - 1)], p_mw=0.02 * k) for k in range(1, TICKS)]
    # Of the last three setpoints none is within 0.05 MW of what is held from five ticks on; then five more.
    assert said(made, ticks, 1) == [(FROM + 9, "stuck-setpoint", "r1")]


@pytest.mark.parametrize("quality", [INVALID | COMM_LOST, QUESTIONABLE | STALE])
def test_silence_is_said_after_three_minutes_and_when_it_ends(quality: int) -> None:
    made = fleet(F, N)
    ticks = []
    for k in range(30):
        seen = scene(made, k, 0.5, p_mw=0.5)
        if 10 <= k < 20:
            seen.telemetry.quality[:] = quality
            seen.telemetry.p_mw = NAN if quality & COMM_LOST else 0.5
        if k == 5:
            seen.telemetry.quality[:] = quality  # a single message that is lost is nothing
        ticks.append(seen)
    both = [(12, "silent", "r1"), (12, "silent", "r2"), (24, "recovered", "r1"), (24, "recovered", "r2")]
    assert said(made, ticks) == both


def test_a_meter_that_stands_still_while_the_voltages_move() -> None:
    made = fleet(N, N, N)
    move = [1.0 + 0.0005 * k for k in range(80)]
    ticks = [scene(made, k, p_mw=[0.3, 0.1 + 0.001 * k, 0.1], q_mvar=0.1, vm_pu=[1.0, v, v]) for k, v in enumerate(move)]
    found = said(made, ticks)
    assert [x[1:] for x in found] == [("frozen", "r1")]
    # The mean of three has moved by 0.004 when two have moved by 0.006: from tick 13 on, and for half an hour.
    assert found[0][0] == 13 + 29


def test_a_meter_that_stands_still_with_everything_else_or_reports_seldom_is_no_finding() -> None:
    made = fleet(N, N)
    assert said(made, [scene(made, k, p_mw=0.3, q_mvar=0.1, vm_pu=1.0) for k in range(80)]) == []
    seldom = []
    for k in range(160):
        sampled = k // 15 * 15
        seen = scene(made, k, p_mw=[0.01 * sampled, 0.01 * k], vm_pu=[1.0 + 1e-4 * sampled, 1.0 + 1e-4 * k])
        seen.telemetry.time_ns[:, 0] = sampled * round(DT_S * S)
        seldom.append(seen)
    assert said(made, seldom) == []


def test_a_voltage_unlike_those_at_its_node() -> None:
    """Of three the odd one is named; of two nobody can say which."""
    made = fleet(N, N, N, N, N, N, nodes=(0, 0, 0, 1, 1, 2))
    ticks = [scene(made, k, vm_pu=[1.0, 1.04, 1.001, 1.0, 1.03, 1.2]) for k in range(10)]
    assert sorted(said(made, ticks)) == [(4, "implausible", r) for r in ("r2", "r4", "r5")]


@pytest.mark.parametrize(("rate", "found"), [(0.0, []), (0.15, ["implausible"]), (-0.15, ["implausible"])])
def test_a_charge_that_its_energy_does_not_explain(rate: float, found: list[str]) -> None:
    """2 MWh, 0.9 each way, half an hour of ±0.3 MW in turn; the shown charge drifts by ``rate`` an hour."""
    made = fleet(F, e_mwh=np.array([2.0]), eff_charge=np.array([0.9]), eff_discharge=np.array([0.9]))
    soc, ticks = 0.5, []
    for k in range(120):
        p = 0.3 if k // 30 % 2 else -0.3
        ticks.append(scene(made, k, p, p_mw=p, soc=soc + rate * k / 60.0))
        soc -= (p / 0.9 if p > 0 else 0.9 * p) / 2.0 / 60.0
    assert [kind for _, kind, _ in said(made, ticks)] == found


def test_swapped_meters_are_named_as_a_pair() -> None:
    made = fleet(F, F, F, F)
    ticks = []
    for k in range(TICKS):
        x = np.array([wave(k), -wave(k + 5), 0.1, 0.9])
        p = x[[1, 0, 2, 3]] if k >= FROM else x
        ticks.append(scene(made, k, x, p_mw=p))
    found = [x for x in listen(PerformanceGuard(made, pcc_tolerance=None), made, ticks) if x[1].kind == "swapped"]
    assert kinds(found) == [(FROM + 5, "swapped", "r1"), (FROM + 5, "swapped", "r2")]
    assert "r2" in found[0][1].text
    assert "r1" in found[1][1].text


@pytest.mark.parametrize(
    ("exchange", "tolerance", "found"),
    [
        (-0.05, 0.15, []),  # losses
        (0.7, 0.15, [(4, "residual", "pcc")]),
        (0.7, None, []),
        (NAN, 0.15, []),
    ],
)
def test_the_exchange_is_the_sum_of_all(exchange: float, tolerance: float | None, found: list[Any]) -> None:
    made = fleet(N, N)
    ticks = [
        scene(made, k, p_mw=[0.6, -0.6], points=GridPoints.of(POINTS, np.array([exchange]), k * round(DT_S * S)))
        for k in range(20)
    ]
    assert said(made, ticks, pcc_tolerance=tolerance) == found


def test_the_exchange_says_nothing_while_many_are_not_heard() -> None:
    made = fleet(N, N)
    ticks = []
    for k in range(20):
        seen = scene(made, k, p_mw=[0.6, NAN], points=GridPoints.of(POINTS, np.array([0.0]), k * round(DT_S * S)))
        seen.telemetry.quality[:, 1] = INVALID | COMM_LOST
        ticks.append(seen)
    assert [kind for _, kind, _ in said(made, ticks, pcc_tolerance=0.15)] == ["silent"]


def test_many_at_once_are_counted() -> None:
    made = fleet(*[N] * (MOST_EVENTS + 30))
    ticks = []
    for k in range(5):
        seen = scene(made, k, p_mw=NAN)
        seen.telemetry.quality[:] = INVALID | COMM_LOST
        ticks.append(seen)
    found = listen(PerformanceGuard(made), made, ticks)
    assert len(found) == MOST_EVENTS + 1
    assert "30 more resources" in found[-1][1].text
    assert found[-1][1].value == 30.0


def test_it_narrows_nothing() -> None:
    made = fleet(F, L, N)
    for k in range(20):
        seen = scene(made, k, 0.5, p_mw=NAN)
        allowed = opened(made, seen, k * 60 * S)
        before = allowed.block.copy(), allowed.owner.copy()
        PerformanceGuard(made).step(k * 60 * S, seen, allowed)
        assert np.array_equal(allowed.block, before[0], equal_nan=True)
        assert np.array_equal(allowed.owner, before[1])


def test_goes_on_alike_after_a_restore() -> None:
    made = fleet(F, L, F, nodes=(0, 0, 1), e_mwh=np.array([2.0, 0.0, 2.0]))
    ticks: list[dict[str, Any]] = [
        {
            "p_mw": [p, 0.2, NAN if k % 5 == 0 else 0.3], "soc": [0.5, NAN, 0.4 + 0.05 * k], "vm_pu": [1.0, 1.05, 1.0],
            "f_hz": 50.0, "p_avail_max_mw": 0.9, "last_p": [0.6, 0.0, p], "points": GridPoints.of(POINTS, np.array([0.3 * k]), k),
        }
        for k, p in enumerate((0.1, 0.6, -0.6, -0.6, -0.6, -0.6, -0.6, -0.6, 0.6, 0.6, 0.6, 0.6))
    ]  # fmt: skip
    continues_alike(lambda: PerformanceGuard(made, deviation_s=120.0), made, ticks)
