"""What is written, in which order, and when it is due again."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from hil.commands import Commands, Due
from tests.hil.small import START_NS, S, asked
from vpp.kernel.setpoints import LIMIT
from vpp.wire.points import Point, PointTable

LEASED = PointTable(
    (
        Point("pv", "p_limit_on", "1:holding:0", "control", "uint16", access="w"),
        Point("pv", "p_limit_mw", "1:holding:1", "setpoints", "uint16", 1e-6, access="w", low=0.0),
        Point("pv", "p_limit_lease_s", "1:holding:2", "control", "uint16", access="w"),
        Point("battery", "p_follow_on", "1:holding:4", "control", "uint16", access="w"),
        Point("battery", "p_follow_as", "1:holding:5", "control", "uint16", access="w", low=1, high=1),
        Point("battery", "p_mw", "1:holding:6", "setpoints", "int16", 1e-6, access="w"),
        Point("battery", "p_follow_lease_s", "1:holding:7", "control", "uint16", access="w"),
    )
)


def commands(table: PointTable = LEASED, lease_s: float = 60.0) -> Commands:
    ids = tuple(name for name in ("pv", "battery") if any(p.resource == name for p in table.points))
    n = len(ids)
    return Commands(table, ids, lease_s, np.array([0.010, 0.005])[:n], np.zeros(n))


def give(c: Commands, due: Due, now_ns: int = START_NS) -> list[list[tuple[str, float]]]:
    """Take what is due as the devices would; names and values, stage by stage."""
    out = []
    for rows, values in due.stages:
        c.told(now_ns, rows, values, np.ones(len(rows), np.bool_))
        points = [c.table.points[row] for row in rows]
        out.append([(p.signal, round(float(v), 9)) for p, v in zip(points, values)])
    return out


def test_lease_then_setpoint_then_switch() -> None:
    c = commands()
    stages = give(c, c.due(START_NS, asked(0.004, -0.002).setpoints.block))
    assert stages == [
        [("p_limit_lease_s", 60.0), ("p_follow_as", 1.0), ("p_follow_lease_s", 60.0)],
        [("p_limit_mw", 0.004), ("p_mw", -0.002)],
        [("p_limit_on", 1.0), ("p_follow_on", 1.0)],
    ]


def test_nothing_is_due_until_something_changes_or_the_lease_grows_old() -> None:
    c = commands()
    block = asked(0.004, -0.002).setpoints.block
    give(c, c.due(START_NS, block))
    assert c.due(START_NS + 19 * S, block).n == 0
    renewed = give(c, c.due(START_NS + 21 * S, block), START_NS + 21 * S)
    assert [name for stage in renewed for name, _ in stage].count("p_limit_mw") == 1
    assert c.due(START_NS + 40 * S, block).n == 0
    changed = give(c, c.due(START_NS + 40 * S, asked(0.003, -0.002).setpoints.block), START_NS + 40 * S)
    assert changed == [[("p_limit_lease_s", 60.0)], [("p_limit_mw", 0.003)], [("p_limit_on", 1.0)]]


def test_what_the_wire_cannot_tell_apart_is_not_written_again() -> None:
    c = commands()
    give(c, c.due(START_NS, asked(0.004).setpoints.block))
    assert c.due(START_NS, asked(0.004 + 1e-9).setpoints.block).n == 0


def test_letting_go_switches_off_and_is_not_renewed() -> None:
    c = commands()
    give(c, c.due(START_NS, asked(0.004, 0.001).setpoints.block))
    free = asked().setpoints.block
    stages = give(c, c.due(START_NS + S, free), START_NS + S)
    assert [pair for stage in stages for pair in stage if pair[0].endswith("_on")] == [("p_limit_on", 0.0), ("p_follow_on", 0.0)]
    assert not [pair for stage in stages for pair in stage if pair[0] in ("p_mw", "p_limit_mw")]
    assert c.due(START_NS + 3600 * S, free).n == 0


def test_what_was_refused_stays_due() -> None:
    c = commands()
    block = asked(0.004).setpoints.block
    for rows, values in c.due(START_NS, block).stages:
        c.told(START_NS, rows, values, np.zeros(len(rows), np.bool_))
    assert c.due(START_NS, block).n >= 3
    c.forget()
    assert c.due(START_NS, block).n >= 3


def test_a_stored_register_is_written_when_it_changes_and_never_renewed() -> None:
    point = Point("pv", "p_limit_mw", "1:holding:1", "setpoints", "uint16", 1e-6, access="w", low=0.0, high=0.01, stored=True)
    c = commands(PointTable((point,)))
    block = asked(0.004).setpoints.block[:, :1]
    assert give(c, c.due(START_NS, block)) == [[("p_limit_mw", 0.004)]]
    assert c.due(START_NS + 10**6 * S, block).n == 0
    # Without a switch the release is the highest value that the device knows.
    assert give(c, c.due(START_NS, asked().setpoints.block[:, :1])) == [[("p_limit_mw", 0.01)]]


def test_without_a_switch_a_follower_goes_to_its_safe_power() -> None:
    point = Point("battery", "p_mw", "1:holding:1", "setpoints", "int16", 1e-6, access="w")
    c = Commands(PointTable((point,)), ("battery",), 0.0, np.array([0.005]), np.array([-0.001]))
    assert give(c, c.due(START_NS, asked(p_mw=0.003).setpoints.block[:, 1:])) == [[("p_mw", 0.003)]]
    assert give(c, c.due(START_NS, asked().setpoints.block[:, 1:])) == [[("p_mw", -0.001)]]


def test_a_device_that_knows_modes_is_told_everything() -> None:
    table = PointTable(
        (
            Point("pv", "mode", "1:holding:0", "setpoints", "int16", access="w"),
            Point("pv", "p_limit_mw", "1:holding:2", "setpoints", "float32", access="w", low=-1e4, high=1e4),
        )
    )
    c = commands(table, 0.0)
    (stage,) = give(c, c.due(START_NS, asked().setpoints.block[:, :1]))
    assert dict(stage) == {"mode": 0.0, "p_limit_mw": 1e4}
    (stage,) = give(c, c.due(START_NS, asked(0.25).setpoints.block[:, :1]))
    assert dict(stage) == {"mode": float(LIMIT), "p_limit_mw": pytest.approx(0.25)}


def test_reactive_power_without_a_switch_stays_with_the_curve_until_it_is_led() -> None:
    point = Point("pv", "q_mvar", "1:holding:1", "setpoints", "int16", 1e-6, access="w")
    c = Commands(PointTable((point,)), ("pv",), 0.0, np.array([0.010]), np.zeros(1))
    sheet = asked().setpoints
    sheet.q_mvar[0] = 0.001  # what is expected of the curve
    assert give(c, c.due(START_NS, sheet.block[:, :1])) == []
    sheet.q_mode[0] = 1.0
    assert give(c, c.due(START_NS, sheet.block[:, :1])) == [[("q_mvar", 0.001)]]
    sheet.q_mode[0] = 0.0
    assert give(c, c.due(START_NS, sheet.block[:, :1])) == [[("q_mvar", 0.0)]]


def test_signs_of_life_go_out_while_something_is_asked() -> None:
    """Once a second, and round again within the register."""
    points = (
        Point("pv", "p_limit_mw", "1:holding:1", "setpoints", "uint16", 1e-6, access="w", low=0.0),
        Point("pv", "heartbeat", "1:holding:2", "control", "uint8", access="w"),
    )
    c = Commands(PointTable(points), ("pv",), 0.0, np.array([0.010]), np.zeros(1))
    free, block = asked().setpoints.block[:, :1], asked(0.004).setpoints.block[:, :1]
    give(c, c.due(START_NS, free))
    assert c.due(START_NS + 5 * S, free).n == 0
    give(c, c.due(START_NS + 5 * S, block), START_NS + 5 * S)
    assert c.due(START_NS + 5 * S + S // 2, block).n == 0
    beats = [give(c, c.due(START_NS + k * S, block), START_NS + k * S) for k in range(6, 300)]
    assert {name for beat in beats for stage in beat for name, _ in stage} == {"heartbeat"}
    values = [beat[0][0][1] for beat in beats]
    assert max(values) == 255
    assert all((b - a) % 256 == 1 for a, b in pairwise(values))
