"""No clock of day is asked for anything but stamps: it may be set while the loop, the leases and the arming go on."""

from __future__ import annotations

import time

import numpy as np
import pytest

from hil.assemble import Wired, field_plant
from hil.plant import Assembly, FieldPlant, Part
from hil.watchdog import EXPIRED, Arming
from tests.hil.small import START_NS, S, asked, fleet
from vpp.kernel import quality as q
from vpp.kernel.grid_points import PointLayout
from vpp.kernel.telemetry import Telemetry
from vpp.testing.link_bench import Even
from vpp.wire.clock import wall_ns
from vpp.wire.link import Batch, LinkState
from vpp.wire.modbus.channel import TcpChannel
from vpp.wire.modbus.client import ModbusLink
from vpp.wire.points import Point, PointTable

HOUR = 3600 * S
TABLE = PointTable(
    (
        Point("pv", "p_mw", "1:input:0"),
        Point("pv", "p_limit_lease_s", "1:holding:2", sheet="control", access="w"),
        Point("pv", "p_limit_mw", "1:holding:0", sheet="setpoints", access="w"),
    )
)


class Machine:
    """A machine whose clocks are in the test's hands."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.wall_ns, self.steady_ns = START_NS, 77 * S
        patch.setattr(time, "time_ns", lambda: self.wall_ns)
        patch.setattr(time, "monotonic_ns", lambda: self.steady_ns)

    def go(self, seconds: float, set_by_ns: int = 0) -> None:
        """Time goes by, and somebody sets the clock."""
        self.steady_ns += round(seconds * S)
        self.wall_ns += round(seconds * S) + set_by_ns


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def plant_of(arming: Arming | None = None) -> FieldPlant:
    link = ModbusLink(TABLE, TcpChannel("127.0.0.1", 1), clock=wall_ns)
    return field_plant(fleet(), [Wired(link, arming=arming, lease_s=9.0)], chance=lambda n: Even(), patience_s=5.0)


@pytest.mark.parametrize("set_by_ns", [-HOUR, 0, HOUR])
def test_the_dead_man(machine: Machine, set_by_ns: int) -> None:
    """It trips after its patience: not before, though the clock went forwards, nor later, though it went back."""
    plant = plant_of()
    plant.write(machine.wall_ns, asked())
    machine.go(4.9, set_by_ns)
    assert not plant.dead_man.tripped(plant.stations[0].keeper.steady())
    machine.go(0.2)
    assert plant.dead_man.tripped(plant.stations[0].keeper.steady())


@pytest.mark.parametrize("set_by_ns", [-HOUR, 0, HOUR])
def test_the_arming(machine: Machine, set_by_ns: int) -> None:
    """Armed for ten seconds is armed for ten seconds."""
    station = plant_of(Arming(1.0, 1.0, wall_ns() + 10 * S)).stations[0]
    machine.go(9.9, set_by_ns)
    assert station.gate.closed(station.keeper.steady()) == ""
    machine.go(0.2)
    assert station.gate.closed(station.keeper.steady()) == EXPIRED


@pytest.mark.parametrize("set_by_ns", [-HOUR, 0, HOUR])
def test_leases_are_renewed(machine: Machine, set_by_ns: int) -> None:
    station = plant_of().stations[0]
    block = asked(p_limit_mw=0.004).setpoints.block[:, station.column]
    for rows, values in station.commands.due(station.keeper.steady(), block).stages:
        station.commands.told(station.keeper.steady(), rows, values, np.ones(len(rows), np.bool_))
    machine.go(2.9, set_by_ns)
    assert station.commands.due(station.keeper.steady(), block).n == 0
    machine.go(0.2)
    assert station.commands.due(station.keeper.steady(), block).n == 2  # three times in nine seconds


@pytest.mark.parametrize("set_by_ns", [-HOUR, 0, HOUR])
def test_silence(machine: Machine, set_by_ns: int) -> None:
    keeper = plant_of().stations[0].keeper
    keeper.link._board.enter(LinkState.UP)
    keeper.take(Batch.of(np.array([0]), np.array([0.004]), 0, 0, wall_ns()))
    machine.go(4.9, set_by_ns)
    assert (keeper.state, keeper.now().quality[0]) == (LinkState.UP, q.GOOD)
    machine.go(0.2)
    assert (keeper.state, keeper.now().quality[0]) == (LinkState.STALE, q.STALE)


@pytest.mark.parametrize(("ahead_ns", "told_ns"), [(HOUR, START_NS), (0, START_NS), (-HOUR, START_NS - HOUR)])
def test_a_device_whose_clock_is_ahead_grows_old_all_the_same(ahead_ns: int, told_ns: int) -> None:
    """Its samples are as old as the tick that first saw them at least; or it would count as fresh for an hour of silence."""
    assembly = Assembly(fleet(), PointLayout(), [Part(TABLE, ("pv",), np.array([0]), PointLayout())])
    batch = Batch.of(TABLE.all, np.array([0.004, np.nan, np.nan]), 0, START_NS + ahead_ns, START_NS)
    for k in range(3):
        seen = assembly.observe(START_NS + k * S, [batch])
        assert seen.telemetry.time_ns[Telemetry.p_mw.row, 0] == told_ns
