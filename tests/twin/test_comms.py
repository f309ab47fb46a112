"""Channels: when messages arrive, what is lost, what waits; setpoints that act late, not at all or no longer; stale telemetry."""

from __future__ import annotations

import pickle
from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from twin.comms import BLOCK, DOWN, UP, Channel, Channels, Traffic, down_at, play_outages
from twin.lines import Disturbances, ReadBack, Receiver, Uplink
from vpp.kernel import quality as q
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE, simple_fleet
from vpp.kernel.grid_points import GridPoints, PointLayout
from vpp.kernel.setpoints import AUTONOMOUS, FOLLOW, LIMIT, Setpoints
from vpp.kernel.signals import FloatArray
from vpp.kernel.telemetry import Telemetry

S = 10**9
START = 1_466_460_000 * S
POINTS = PointLayout(("p",), ("p_mw",), ("pcc",))


def channels(*some: Channel, n: int = 4, dt_s: float = 1.0, steps: int = 4 * BLOCK, seed: int = 1, points: int = -1) -> Channels:
    """``n`` resources, all but the last on the channels in turn; the last is on none."""
    of = np.arange(n) % len(some)
    of[-1] = len(some)
    return Channels.make(some, of, len(some) if points < 0 else points, START, round(dt_s * S), steps, seed)


def newest(traffic: Traffic, steps: int, channel: int = 0, first: int = 0) -> list[int]:
    """The newest message of a channel in each step."""
    return [int(traffic.newest(k)[channel]) for k in range(first, steps)]


class Handmade(Traffic):
    """Traffic whose latencies and losses are stated: latency by message, negative for lost."""

    latency: FloatArray

    def _draw(self, i: int, channel: Channel, first: int) -> Any:
        send_s, _, _ = super()._draw(i, channel, first)
        part = np.resize(self.latency, first + BLOCK)[first:]
        return send_s, np.maximum(part, 0.0), part < 0.0


@pytest.mark.parametrize(("latency_s", "late"), [(0.0, 0), (0.49, 0), (0.5, 1), (1.0, 1), (2.4, 2), (2.6, 3)])
def test_a_constant_latency_is_whole_steps(latency_s: float, late: int) -> None:
    traffic = Traffic(channels(Channel("a", latency_s)), UP)
    assert newest(traffic, 1500) == [max(k - late, -1) for k in range(1500)]
    assert int(traffic.newest(1499)[-1]) == 1499


@pytest.mark.parametrize(
    ("in_order", "latency", "expected"),
    [
        # message 1 needs three steps: those behind it wait, or pass it and it is dropped when it comes
        (True, [0, 3, 0, 0, 0, 0], [0, 0, 0, 0, 4, 5]),
        (False, [0, 3, 0, 0, 0, 0], [0, 0, 2, 3, 4, 5]),
        (False, [2, 2, 0, 1, 2, 0], [-1, -1, 2, 2, 3, 5]),
        (True, [2, 2, 0, 1, 2, 0], [-1, -1, 0, 2, 3, 3]),
        # a message that is lost holds nobody back
        (True, [0, -1, -1, 1, 0, -1], [0, 0, 0, 0, 4, 4]),
    ],
)
def test_order(in_order: bool, latency: list[float], expected: list[int]) -> None:
    traffic = Handmade(channels(Channel("a", jitter_s=4.0, in_order=in_order)), UP)
    traffic.latency = np.array([*latency, *[0.0] * 3 * BLOCK])
    assert newest(traffic, len(expected)) == expected


@pytest.mark.parametrize("at", [BLOCK - 2, BLOCK - 1, BLOCK])
def test_a_block_ends_and_nothing_is_forgotten(at: int) -> None:
    """The message before the border takes four steps; order or not, it arrives as if there were no border."""
    for in_order in (True, False):
        traffic = Handmade(channels(Channel("a", jitter_s=4.0, in_order=in_order)), UP)
        traffic.latency = np.zeros(3 * BLOCK)
        traffic.latency[at] = 4.0
        waits = [at - 1] * 4 if in_order else [at - 1, at + 1, at + 2, at + 3]
        assert newest(traffic, at + 6)[at - 1 :] == [at - 1, *waits, at + 4, at + 5]


@pytest.mark.parametrize("law", ["uniform", "lognormal"])
def test_latencies_have_the_stated_law(law: str) -> None:
    """Steps of a hundredth of the jitter; 20,000 messages: quantiles within four sigma of the share below them."""
    channel = Channel("a", 0.5, 1.0, law, 0.4)
    traffic = Traffic(channels(channel, dt_s=0.01, steps=20_000), UP)
    found = np.concatenate([traffic._draw(0, channel, b * BLOCK)[1] for b in range(40)]) - 0.5
    for share, value in ((0.1, (0.1, np.exp(-0.4 * 1.2815516))), (0.5, (0.5, 1.0)), (0.9, (0.9, np.exp(0.4 * 1.2815516)))):
        below = float((found < value[law == "lognormal"]).mean())
        assert abs(below - share) < 4.0 * np.sqrt(share * (1 - share) / found.size)
    assert abs(np.corrcoef(found[1:], found[:-1])[0, 1]) < 4.0 / np.sqrt(found.size)


def test_loss_is_the_stated_share_and_both_ways_are_drawn_apart() -> None:
    plan = channels(Channel("a", loss=0.2), Channel("b", loss=0.2), steps=20_000)
    arrived = {}
    for way in (UP, DOWN):
        traffic = Traffic(plan, way)
        table = np.array([traffic.newest(k)[:2] for k in range(20_000)])
        arrived[way] = table == np.arange(20_000)[:, None]
        assert np.all(np.abs(arrived[way].mean(axis=0) - 0.8) < 4.0 * np.sqrt(0.16 / 20_000))
    pairs = [(arrived[UP][:, 0], arrived[DOWN][:, 0]), (arrived[UP][:, 0], arrived[UP][:, 1])]
    for a, b in pairs:
        assert abs((a & b).mean() - 0.64) < 4.0 * np.sqrt(0.64 * 0.36 / 20_000)


def test_stated_outages_stop_both_ways() -> None:
    plan = channels(Channel("a", outage_s=((5.0, 8.0), (20.0, 21.5))))
    for way in (UP, DOWN):
        lost = [k for k in range(30) if newest(Traffic(plan, way), 30)[k] != k]
        assert lost == [5, 6, 7, 20, 21]


def test_random_outages_have_the_stated_means() -> None:
    """Exponential times: the mean of k of them is right within 4 / sqrt(k)."""
    channel = Channel("a", mtbf_s=3600.0, mttr_s=300.0)
    found = play_outages(channel, 5000 * 3600.0, np.random.default_rng(3))
    k = len(found)
    assert abs(k - 5000 * 3600 / 3900) < 4.0 * np.sqrt(k)
    up, down = found[1:, 0] - found[:-1, 1], found[:, 1] - found[:, 0]
    assert abs(up.mean() / 3600.0 - 1.0) < 4.0 / np.sqrt(k)
    assert abs(down.mean() / 300.0 - 1.0) < 4.0 / np.sqrt(k)
    assert abs(up.std() / up.mean() - 1.0) < 8.0 / np.sqrt(k)
    t = np.linspace(0.0, 5000 * 3600.0, 100_001)
    by_hand = np.array([bool(np.any((found[:, 0] <= x) & (x < found[:, 1]))) for x in t[:2000]])
    assert np.array_equal(down_at(found, t)[:2000], by_hand)


def served(service_s: float, queue: int, steps: int) -> list[int]:
    """A line by hand, one message a second: the newest that has arrived in each step, rounded as all latencies are."""
    ends: deque[float] = deque()
    arrivals, free = [], 0.0
    for k in range(steps):
        while ends and ends[0] <= k + 1e-9:
            ends.popleft()
        # The one that is being sent counts with what is left of it.
        load = (max(free - k, 0.0)) / service_s
        if load > queue + 1e-9:
            continue
        free = max(free, float(k)) + service_s
        ends.append(free)
        arrivals.append((int(free + 0.5 + 1e-9), k))
    return [max((m for step, m in arrivals if step <= k), default=-1) for k in range(steps)]


@pytest.mark.parametrize(("service_s", "queue"), [(0.4, 3), (0.9, 2), (2.5, 3), (1.5, 1)])
def test_messages_wait_for_the_line(service_s: float, queue: int) -> None:
    """Also over the border of a block, with a queue that is full there."""
    traffic = Traffic(channels(Channel("a", service_s=service_s, queue=queue)), UP)
    assert newest(traffic, 2 * BLOCK + 100) == served(service_s, queue, 2 * BLOCK + 100)


ALL = (
    Channel("a", 0.7, 2.0, "lognormal", 0.7, 0.1, mtbf_s=200.0, mttr_s=20.0),
    Channel("b", 0.2, 3.0, loss=0.05, in_order=False, service_s=1.2, queue=4),
    Channel("c", loss=0.3, per_resource=True, lease_s=5.0),
)


@pytest.mark.parametrize("cut", [0, 1, 100, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 7])
def test_traffic_goes_on_after_a_restore(cut: int) -> None:
    plan = channels(*ALL)
    one, end = Traffic(plan, UP), 3 * BLOCK
    head = [one.newest(k).tolist() for k in range(cut)]
    state = pickle.dumps(one.state())
    rest = [one.newest(k).tolist() for k in range(cut, end)]
    other = Traffic(plan, UP)
    [other.newest(k) for k in range(BLOCK + 3)]
    other.restore(pickle.loads(state))
    assert [other.newest(k).tolist() for k in range(cut, end)] == rest
    again = Traffic(plan, UP)
    assert [again.newest(k).tolist() for k in range(end)] == head + rest


def test_another_seed_gives_other_traffic() -> None:
    a, b, c = (Traffic(channels(*ALL, seed=seed), UP) for seed in (1, 1, 2))
    tables = [[t.newest(k).tolist() for k in range(300)] for t in (a, b, c)]
    assert tables[0] == tables[1] != tables[2]


def receiver(*some: Channel, n: int = 4, control: int = CONTROL_FOLLOW, dt_s: float = 1.0) -> Receiver:
    """Devices rated ±1 MW that fall back to 0.25 MW."""
    ones = np.ones(n)
    fleet = simple_fleet(-ones, ones, control=np.full(n, control), p_safe_mw=0.25 * ones)
    return Receiver(fleet, Disturbances(START, round(dt_s * S), channels(*some, n=n, dt_s=dt_s)))


def asked(p_mw: Any, n: int = 4, mode: int = FOLLOW, until_ns: float = 0.0) -> Setpoints:
    sheet = Setpoints.neutral(n)
    sheet.p_mw, sheet.mode, sheet.valid_until_ns = p_mw, mode, until_ns
    sheet.p_limit_mw = np.abs(p_mw) if mode == LIMIT else 1.0
    return sheet


def test_setpoints_act_after_their_latency() -> None:
    """The first of four resources is on a channel of two steps, the last on none."""
    devices = receiver(Channel("slow", 2.0), Channel("quick"))
    held = [devices.adopt(k, asked(float(k)) if k else None).p_mw.tolist() for k in range(6)]
    assert [row[0] for row in held] == [0.0, 0.0, 0.0, 1.0, 2.0, 3.0]
    assert [row[1] for row in held] == [row[3] for row in held] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_lost_setpoint_does_not_act_and_the_latest_wins() -> None:
    devices = receiver(Channel("a", outage_s=((2.0, 4.0),)), n=2)
    held = [devices.adopt(k, asked(float(k), 2) if k else None).p_mw[0] for k in range(7)]
    assert held == [0.0, 1.0, 1.0, 1.0, 4.0, 5.0, 6.0]


def test_an_old_setpoint_that_comes_late_does_nothing() -> None:
    devices = receiver(Channel("a", jitter_s=4.0, in_order=False), n=2)
    traffic = Handmade(devices.plan.channels, DOWN)  # type: ignore[arg-type]
    traffic.latency = np.array([0, 0, 3, 0, 0, 0, 0, 0.0] + [0.0] * BLOCK)
    devices._traffic = traffic
    assert [devices.adopt(k, asked(float(k), 2) if k else None).p_mw[0] for k in range(7)] == [0.0, 1.0, 1.0, 3.0, 4.0, 5.0, 6.0]


@pytest.mark.parametrize(
    ("control", "safe", "expected"),
    [
        (CONTROL_FOLLOW, True, (FOLLOW, 0.25)),
        (CONTROL_FOLLOW, False, (AUTONOMOUS, 0.0)),
        (CONTROL_LIMIT, True, (LIMIT, 0.25)),
        (CONTROL_LIMIT, False, (AUTONOMOUS, np.inf)),
    ],
)
def test_a_lease_that_ends_lets_go(control: int, safe: bool, expected: tuple[int, float]) -> None:
    """Sent at second 1, for 3.5 s: it holds through second 4, and the next that arrives holds again."""
    devices = receiver(Channel("a", outage_s=((3.0, 7.0),), lease_s=3.5, safe=safe), n=2, control=control)
    mode = FOLLOW if control == CONTROL_FOLLOW else LIMIT
    row = "p_mw" if control == CONTROL_FOLLOW else "p_limit_mw"
    held = []
    for k in range(9):
        sheet = devices.adopt(k, asked(0.5, 2, mode))
        held.append((int(sheet.mode[0]), float(getattr(sheet, row)[0])))
        assert sheet.p_mw[1] == 0.5, "without a channel there is no lease"
    assert held == [(mode, 0.5)] * 5 + [expected] * 2 + [(mode, 0.5)] * 2
    assert devices.applied.valid_until_ns[0] == float(START + 7 * S + 3.5 * S)


def test_a_setpoint_s_own_lease_ends_without_any_channel() -> None:
    ones = np.ones(2)
    fleet = simple_fleet(-ones, ones, control=np.array([CONTROL_FOLLOW, CONTROL_NONE]), p_safe_mw=0.1 * ones)
    devices = Receiver(fleet, Disturbances(START, S))
    sheet = asked(0.5, 2, until_ns=float(START + 3 * S))
    held = [devices.adopt(k, sheet).p_mw.tolist() for k in range(5)]
    assert held == [[0.5, 0.5]] * 3 + [[0.1, 0.5]] * 2, "who takes no setpoints has none that could end"


def test_setpoints_lost_one_by_one_have_the_stated_share() -> None:
    n, steps = 200, 300
    devices = receiver(Channel("a", loss=0.2, per_resource=True), n=n)
    got = np.array([devices.adopt(k, asked(float(k), n)).p_mw[:-1] == float(k) for k in range(1, steps)])
    assert abs(got.mean() - 0.8) < 4.0 * np.sqrt(0.16 / got.size)
    assert abs((got[:, 1:] & got[:, :-1]).mean() - 0.64) < 4.0 * np.sqrt(0.64 * 0.36 / got.size)


def message(k: int, n: int) -> tuple[Any, GridPoints]:
    """What the meters send in step ``k``: every value is the number of the step."""
    block = np.full((len(Telemetry.signals), n), float(k))
    points = GridPoints.of(POINTS, np.array([float(k)]), START + k * S)
    return (block, np.zeros(n, np.uint8), np.full((1, n), START + k * S)), points


def test_telemetry_comes_late_with_its_own_time_and_quality() -> None:
    way = Uplink(channels(Channel("slow", 2.0, stale_s=0.0), Channel("quick"), points=0))
    for k in range(6):
        (block, quality, time_ns), points = way.carry(k, *message(k, 4))
        assert block[0, [1, 3]].tolist() == [k, k]
        assert quality[[1, 3]].tolist() == [q.GOOD, q.GOOD]
        if k < 2:
            assert np.isnan(block[:, 0]).all()
            assert quality[0] == points.quality[0] == q.INVALID | q.COMM_LOST
            assert time_ns[0, 0] == points.time_ns[0] == 0
        else:
            assert (block[:, 0] == k - 2).all()
            assert quality[0] == points.quality[0] == q.GOOD
            assert time_ns[0, 0] == points.time_ns[0] == START + (k - 2) * S
            assert points.value[0] == k - 2


def test_what_does_not_come_is_shown_as_stale_and_then_no_more() -> None:
    """An outage of five seconds; stale values are shown for two."""
    way = Uplink(channels(Channel("a", outage_s=((3.0, 8.0),), stale_s=2.0), points=0, n=2))
    seen = []
    for k in range(10):
        (block, quality, time_ns), points = way.carry(k, *message(k, 2))
        seen.append((block[0, 0], int(quality[0])))
        assert (block[0, 1], quality[1]) == (k, q.GOOD)
        assert time_ns[0, 0] == START + (2 if 3 <= k < 8 else k) * S
        assert points.quality[0] == quality[0]
        assert np.array_equal(points.value, block[0, :1], equal_nan=True)
        assert points.time_ns[0] == time_ns[0, 0]
    stale, gone = q.QUESTIONABLE | q.STALE, q.INVALID | q.COMM_LOST
    assert [code for _, code in seen] == [0, 0, 0, stale, stale, gone, gone, gone, 0, 0]
    assert [value for value, _ in seen[:5]] == [0.0, 1.0, 2.0, 2.0, 2.0]
    assert np.isnan([value for value, _ in seen[5:8]]).all()
    assert q.usable(stale)
    assert not q.usable(gone)


def test_read_back_comes_on_the_same_way() -> None:
    way, back = Uplink(channels(Channel("slow", 2.0), n=2)), None
    back = ReadBack(way.deep)
    for k in range(6):
        way.carry(k, *message(k, 2))
        sheet = asked(float(k), 2)
        shown = back.carry(k, sheet.block, way.slot, None)
        assert shown[Setpoints.p_mw.row].tolist() == [max(k - 2, 0), k]
    silent = np.array([True, False])
    assert back.carry(6, asked(6.0, 2).block, None, silent)[Setpoints.p_mw.row].tolist() == [3.0, 6.0]


def bytes_of(seen: Any) -> bytes:
    (block, quality, time_ns), p = seen
    return b"".join(np.ascontiguousarray(x).tobytes() for x in (block, quality, time_ns, p.value, p.quality, p.time_ns))


@pytest.mark.parametrize("cut", [0, 3, 40, BLOCK - 1, BLOCK + 2])
def test_both_ways_go_on_with_the_same_bytes(cut: int) -> None:
    end, n = BLOCK + 40, 7
    plan = channels(*ALL, n=n, points=1)
    fleet = simple_fleet(-np.ones(n), np.ones(n))

    def turn(up: Uplink, down: Receiver, k: int) -> bytes:
        random = np.random.default_rng(k)
        sheet = asked(random.normal(size=n), n)
        seen = up.carry(k, *message(k, n))
        return bytes_of(seen) + down.adopt(k, sheet).block.tobytes()

    up, down = Uplink(plan), Receiver(fleet, Disturbances(START, S, plan))
    for k in range(cut):
        turn(up, down, k)
    state = pickle.dumps((up.state(), down.state()))
    rest = [turn(up, down, k) for k in range(cut, end)]
    other = Uplink(plan), Receiver(fleet, Disturbances(START, S, plan))
    for k in range(9):
        turn(*other, k)
    for part, kept in zip(other, pickle.loads(state)):
        part.restore(kept)
    assert [turn(*other, k) for k in range(cut, end)] == rest
    assert len(set(rest)) > 0.9 * len(rest)


def test_what_was_handed_out_is_not_written_to_later() -> None:
    plan = channels(*ALL, n=5, points=0)
    way, devices = Uplink(plan), Receiver(simple_fleet(-np.ones(5), np.ones(5)), Disturbances(START, S, plan))
    seen = [way.carry(k, *message(k, 5)) for k in range(20)]
    held = [devices.adopt(k, asked(float(k), 5)) for k in range(20)]
    kept = [bytes_of(x) for x in seen], [x.block.tobytes() for x in held]
    for k in range(20, 60):
        way.carry(k, *message(k, 5))
        devices.adopt(k, asked(float(k), 5))
    assert kept == ([bytes_of(x) for x in seen], [x.block.tobytes() for x in held])


def test_a_channel_of_one_way_leaves_the_other_alone() -> None:
    down = channels(replace(ALL[0], up=False))
    assert newest(Traffic(down, UP), 50) == list(range(50))
    assert newest(Traffic(down, DOWN), 50) != list(range(50))
