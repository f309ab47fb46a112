"""The guard of the network's limits, on case33bw: what it narrows, by whom, and what it says when nobody can help."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from controllers.grid.network import SPARE, NetworkGuard
from controllers.grid.redispatch import Limits, Lots, least_change
from tests.controllers.ticks import continues_alike, tick
from tests.kernel.scene import S, opened, see
from vpp.grid import Network, load_network
from vpp.grid.powerflow import choose
from vpp.kernel import envelope as e
from vpp.kernel.fleet import CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_NONE, Fleet, Terminals, simple_fleet
from vpp.kernel.grid_state import GridState
from vpp.kernel.groups import Groups
from vpp.kernel.resolve import resolve
from vpp.kernel.seen import News

BUS = (17, 17, 24, 32, 32)  # the ends of three laterals: PV, battery, PV, battery, load
PV, BATTERY, FAR_PV, FAR_BATTERY, LOAD = range(5)


@cache
def network() -> Network:
    return load_network("pandapower:case33bw")


def fleet(**columns: Any) -> Fleet:
    net = network()
    node = np.array([net.node_of_bus[net.bus_position(b)] for b in BUS], np.int32)
    battery = np.array([0.0, 1.0, 0.0, 1.0, 0.0])
    given: dict[str, Any] = {
        "control": np.array([CONTROL_LIMIT, CONTROL_FOLLOW, CONTROL_LIMIT, CONTROL_FOLLOW, CONTROL_NONE]),
        "terminal": Terminals.single(node), "e_mwh": battery, "kind": ("pv", "battery", "pv", "battery", "load"),
    }  # fmt: skip
    return simple_fleet([0.0, -1.0, 0.0, -1.0, -4.0], [6.0, 1.0, 6.0, 1.0, 0.0], **{**given, **columns})


def voltages(power: Any, q: Any = 0.0) -> Any:
    """Voltages at powers of the fleet."""
    net, node = network(), fleet().terminal.node
    p = np.bincount(node, power, net.n_node)
    return np.abs(choose(net)[0].solve(p, np.zeros(net.n_node) + q).v)


def narrowed(guard: NetworkGuard, **sees: Any) -> tuple[Any, Any, list[Any]]:
    """Highest and lowest powers that it leaves, and what it says."""
    allowed, events = tick(guard, guard.fleet, **sees)
    return allowed.block[e.HI_P], allowed.block[e.LO_P], events


def test_nothing_is_narrowed_where_the_network_bears_it() -> None:
    guard = NetworkGuard(fleet(), network(), vm_low_pu=0.85)
    high, low, events = narrowed(guard, p_mw=[1.0, 0.0, 1.0, 0.0, 0.0], p_avail_max_mw=[1.0, 1.0, 1.0, 1.0, 0.0])
    assert high.tolist() == [6.0, 1.0, 6.0, 1.0, 0.0]
    assert low.tolist() == [0.0, -1.0, 0.0, -1.0, 0.0]
    assert events == []


def test_too_much_sun_is_stored_first_and_cut_where_it_does_harm() -> None:
    sun = np.array([6.0, 1.0, 1.0, 1.0, 0.0])
    guard = NetworkGuard(fleet(), network(), vm_low_pu=0.85, vm_high_pu=1.03, margin_pu=0.001)
    high, low, events = narrowed(guard, p_mw=[6.0, 0.0, 1.0, 0.0, 0.0], p_avail_max_mw=sun)
    assert voltages([6.0, 0.0, 1.0, 0.0, 0.0]).max() > 1.25  # so far away that one linearisation is not enough
    power = np.array([high[PV], high[BATTERY], 1.0, min(high[FAR_BATTERY], 0.0), 0.0])
    assert voltages(power).max() == pytest.approx(1.029, abs=SPARE)  # the limit less its margin: not a watt too much
    assert high[BATTERY] == -1.0  # the battery beside it takes all that it can
    assert high[FAR_PV] >= 1.0  # who does no harm loses nothing
    assert high[PV] < 6.0
    assert low.tolist() == [0.0, -1.0, 0.0, -1.0, 0.0]
    assert [event.kind for event in events] == ["network-limit"]
    again = narrowed(guard, p_mw=[1.0, 0.0, 1.0, 0.0, 0.0], p_avail_max_mw=[1.0, 1.0, 1.0, 1.0, 0.0])
    assert [event.kind for event in again[2]] == ["network-limit-end"]


def test_too_much_load_is_helped_by_the_batteries() -> None:
    guard = NetworkGuard(fleet(), network(), vm_low_pu=0.95, margin_pu=0.0)
    p = np.array([0.0, 0.0, 0.0, 0.0, -2.0])
    _, low, events = narrowed(guard, p_mw=p, p_avail_max_mw=[0.0, 1.0, 0.0, 1.0, 0.0])
    assert voltages(p).min() < 0.91
    assert low[FAR_BATTERY] > low[BATTERY] > 0.0  # who stands beside the load gives most
    assert voltages([0.0, low[BATTERY], 0.0, low[FAR_BATTERY], -2.0]).min() == pytest.approx(0.95, abs=SPARE)
    assert [event.kind for event in events] == ["network-limit"]


def test_what_cannot_be_held_is_held_as_far_as_can_be_and_said_once() -> None:
    guard = NetworkGuard(fleet(), network(), vm_low_pu=0.95, margin_pu=0.0)
    p = np.array([0.0, 0.0, 0.0, 0.0, -4.0])
    sees: dict[str, Any] = {"p_mw": p, "p_avail_max_mw": [0.0, 1.0, 0.0, 1.0, 0.0]}
    _, low, events = narrowed(guard, **sees)
    assert low[[BATTERY, FAR_BATTERY]].tolist() == [1.0, 1.0]
    shortfall = [event for event in events if event.kind == "network-shortfall"]
    assert len(shortfall) == 1
    assert shortfall[0].subject == "vm_low bus 32"
    assert shortfall[0].value == pytest.approx(0.95 - voltages([0.0, 1.0, 0.0, 1.0, -4.0]).min(), abs=1e-6)
    assert narrowed(guard, **sees)[2] == []


def test_a_power_flow_without_a_solution_is_an_event_and_holds() -> None:
    guard = NetworkGuard(fleet(), network())
    high, _, events = narrowed(guard, p_mw=[0.0, 0.0, 0.0, 0.0, -4.0], q_mvar=[0.0, 0.0, 0.0, 0.0, -40.0])
    assert [(event.kind, event.value) for event in events] == [("network-shortfall", np.inf)]
    assert high[BATTERY] == 0.0


def test_the_limits_of_groups_hold_while_the_network_is_mended() -> None:
    groups = Groups.from_names({"pcc": None}, ["pcc"] * 5)
    guard = NetworkGuard(fleet(groups=groups), network(), vm_low_pu=0.85, vm_high_pu=1.06)
    sun, least = np.array([6.0, 1.0, 1.0, 1.0, 0.0]), 2.6
    seen = see(guard.fleet, p_mw=[6.0, 0.0, 1.0, 0.0, 0.0], p_avail_max_mw=sun)
    powers = []
    for bound in (-np.inf, least):
        allowed = opened(guard.fleet, seen)
        allowed.limit_group(0, bound)
        guard.step(0, seen, allowed)
        asked, shortfall = resolve(allowed, seen, 0)
        powers.append(np.minimum(asked.setpoints.p_mw, sun))
        assert voltages(powers[-1]).max() <= 1.058 + SPARE
        assert shortfall.tolist() == [0.0]
    assert powers[0].sum() < least - 0.1
    assert powers[1].sum() >= least - 1e-6
    assert powers[1][FAR_BATTERY] > powers[0][FAR_BATTERY]  # it makes up for what is cut elsewhere


def test_an_estimate_moves_the_limits_and_its_doubt_narrows_them() -> None:
    """The true source is 0.01 pu higher than the model's: estimates say so, and curtailment follows."""
    sees: dict[str, Any] = {"p_mw": [3.0, 0.0, 1.0, 0.0, 0.0], "p_avail_max_mw": [3.0, 1.0, 1.0, 1.0, 0.0]}
    net, v = network(), voltages([3.0, 0.0, 1.0, 0.0, 0.0])
    found = {}
    for sigmas in (0.0, 2.0):
        guard = NetworkGuard(fleet(), net, vm_low_pu=0.85, vm_high_pu=1.02, sigmas=sigmas)
        peaks = []
        for k in range(12):
            vm = v[np.maximum(net.node_of_bus, 0)] + 0.01
            state = GridState(
                (k - 1) * 60 * S, vm, np.zeros(net.n_bus), np.full(net.n_bus, 0.001), np.full(net.n_branch, np.nan),
                np.zeros(net.n_bus, np.uint8),
            )  # fmt: skip
            allowed, _ = tick(guard, guard.fleet, k, news=News(grid_state=state if k else None), **sees)
            block = allowed.block
            wanted = np.array([3.0, 0.0, 1.0, 0.0, 0.0])
            peaks.append(float(voltages(np.clip(wanted, block[e.LO_P], block[e.HI_P])).max()))
        found[sigmas] = peaks
    assert found[0.0][0] == pytest.approx(1.02 - 0.002, abs=SPARE)  # nothing is known yet
    assert found[0.0][-1] == pytest.approx(1.02 - 0.002 - 0.01, abs=SPARE)
    assert found[2.0][-1] == pytest.approx(1.02 - 0.002 - 0.01 - 0.002, abs=SPARE)


def test_it_goes_on_alike_after_a_restart() -> None:
    net = network()
    ticks: list[dict[str, Any]] = []
    for k in range(6):
        sun = 2.0 + k
        state = GridState(
            (k - 1) * 60 * S, np.full(net.n_bus, 1.0 + 0.002 * k), np.zeros(net.n_bus), np.full(net.n_bus, 0.002),
            np.full(net.n_branch, np.nan), np.zeros(net.n_bus, np.uint8),
        )  # fmt: skip
        ticks.append({
            "p_mw": [sun, 0.0, 1.0, 0.0, -0.1 * k], "p_avail_max_mw": [sun, 1.0, 1.0, 1.0, 0.0],
            "q_mvar": [0.0, 0.1 * k, 0.0, 0.0, np.nan], "news": News(grid_state=state if k else None),
        })  # fmt: skip
    continues_alike(lambda: NetworkGuard(fleet(), net, vm_low_pu=0.85, vm_high_pu=1.02), fleet(), ticks)


def test_lots_are_what_is_alike_and_share_by_their_room() -> None:
    three = simple_fleet([-1.0, -2.0, -1.0], [1.0, 2.0, 1.0], terminal=Terminals.single(np.array([4, 4, 7], np.int32)))
    lots = Lots.of_fleet(three)
    assert lots.of.tolist() == [0, 0, 1]
    down, up = np.array([1.0, 2.0, 1.0]), np.array([0.5, 0.0, 1.0])
    assert lots.spread(np.array([-1.5, 1.0]), down, up).tolist() == [-0.5, -1.0, 1.0]
    assert lots.spread(np.array([0.5, 0.0]), down, up).tolist() == [0.5, 0.0, 0.0]


def test_the_least_change_is_shared_by_who_helps_alike_and_is_soft() -> None:
    nodes = Terminals.single(np.arange(3, dtype=np.int32))
    three = simple_fleet([-1.0] * 3, [1.0] * 3, terminal=nodes)
    lots, room, nothing = Lots.of_fleet(three), np.ones(3), (np.zeros(0, np.int64), np.zeros(0), np.zeros(0))
    rows = Limits(np.array([[0.01, 0.01, 0.001]]), np.array([-0.01]))
    change, broken = least_change(lots, room, room, rows, nothing)
    assert change == pytest.approx([-0.5, -0.5, 0.0])
    assert broken.tolist() == [0.0]
    change, broken = least_change(lots, room, room, rows._replace(room=np.array([-0.1])), nothing)
    assert change == pytest.approx([-1.0, -1.0, -1.0])
    assert broken == pytest.approx([0.1 - 0.021])
