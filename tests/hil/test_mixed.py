"""Real devices and a simulated rest on one grid."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from hil.mixed import MixedPlant, Standing
from scenarios import load
from scenarios.build import build
from scenarios.mixed import TwinRest
from tests.hil.small import S
from vpp.kernel import quality as q
from vpp.kernel.fleet import Fleet
from vpp.kernel.grid_points import GridPoints
from vpp.kernel.seen import Observation
from vpp.kernel.setpoints import LIMIT, Asked, Setpoints
from vpp.kernel.telemetry import Telemetry

CASE = ("time.days=null", "time.steps=20", "time.step_s=1", "time.start=2016-06-21T12:00", "planner=null",
        "sensors={}", "profile_steps=smooth")  # fmt: skip
_P, _VM = Telemetry.p_mw.row, Telemetry.vm_pu.row


@dataclass
class Outside:
    """One device outside: what it delivers is said by the test."""

    fleet: Fleet
    at: int
    p_mw: float = 0.0
    q_mvar: float = 0.0
    quality: int = q.GOOD
    asked: Asked | None = None
    held: Setpoints = field(init=False)

    def __post_init__(self) -> None:
        self.held = Setpoints.neutral(self.fleet.n)

    def read(self, now_ns: int) -> Observation:
        told = Telemetry.full(self.fleet.n)
        told.quality[:] = q.INVALID
        told.block[[_P, Telemetry.q_mvar.row, _VM], self.at] = self.p_mw, self.q_mvar, 1.04
        told.quality[:, self.at] = self.quality
        return Observation(told, GridPoints(), self.held)

    def write(self, now_ns: int, asked: Asked) -> None:
        self.asked = asked


@dataclass
class Source:
    """A source that follows."""

    told: list[tuple[float, float]] = field(default_factory=list)
    holding: bool = True

    @property
    def holds(self) -> np.ndarray:
        return np.array([self.holding])

    def follow(self, vm_pu: np.ndarray, f_hz: np.ndarray) -> None:
        self.told.append((float(vm_pu[0]), float(f_hz[0])))


def mixed(
    scale: float = 1.0, driven: bool = False, noise: str = "sensors={}"
) -> tuple[MixedPlant, Outside, TwinRest, int, Source]:
    scenario = load("lv-rural-street", [*CASE, noise])
    ids = build(scenario).plant.fleet.id
    name = next(i for i in ids if i.startswith("roof-"))
    system = build(scenario, [name])
    at = ids.index(name)
    outside, rest, source = Outside(system.plant.fleet, at), TwinRest(system.plant), Source()
    standing = Standing(np.array([at]), np.array([driven]), np.array([scale]), hold_s=3.0)
    return MixedPlant(rest, outside, standing, source if driven else None), outside, rest, at, source


def truth(rest: TwinRest) -> tuple[np.ndarray, np.ndarray]:
    assert rest.plant.result is not None
    d = rest.plant.result.solved.delivered
    return d.p_mw, d.vm_pu


def test_the_measured_power_is_in_the_network() -> None:
    """What the device delivers stands at its bus in the solved grid, and lifts the voltage there."""
    plant, outside, rest, at, _ = mixed()
    t = rest.plant.time_ns
    outside.p_mw, outside.q_mvar = 0.0, 0.0
    plant.read(int(t[0]))
    low = truth(rest)[1][at]
    outside.p_mw, outside.q_mvar = 0.020, -0.001
    plant.read(int(t[1]))
    p, vm = truth(rest)
    assert p[at] == 0.020
    assert rest.plant.result.solved.delivered.q_mvar[at] == -0.001
    assert vm[at] > low + 1e-4


def test_an_open_device_is_marked() -> None:
    """Power is the device's own; voltage and frequency are the twin's, marked as substituted."""
    plant, outside, rest, at, _ = mixed()
    outside.p_mw = 0.010
    seen = plant.read(int(rest.plant.time_ns[0])).telemetry
    assert seen.p_mw[at] == 0.010
    assert seen.vm_pu[at] == pytest.approx(truth(rest)[1][at])
    assert seen.quality[_VM, at] == q.SUBSTITUTED
    assert q.usable(int(seen.quality[_VM, at]))
    others = np.arange(seen.n) != at
    assert not np.any(seen.quality[:, others] & q.SUBSTITUTED)


def test_a_driven_device_follows_the_twin() -> None:
    plant, _, rest, at, source = mixed(driven=True)
    seen = plant.read(int(rest.plant.time_ns[0])).telemetry
    assert source.told == [(pytest.approx(truth(rest)[1][at]), 50.0)]
    assert seen.vm_pu[at] == 1.04  # its own measurement
    assert seen.quality[_VM, at] == q.GOOD


def test_a_source_gets_the_truth_and_not_what_a_meter_says() -> None:
    """A noisy meter at the device does not shake the source."""
    plant, _, rest, at, source = mixed(driven=True, noise="sensors={v_error: 0.05}")
    plant.read(int(rest.plant.time_ns[0]))
    assert source.told == [(truth(rest)[1][at], 50.0)]
    assert abs(rest.read(0).telemetry.vm_pu[at] - source.told[0][0]) > 1e-4


def test_a_device_whose_source_does_not_follow_counts_as_open() -> None:
    plant, _, rest, at, source = mixed(driven=True)
    source.holding = False
    seen = plant.read(int(rest.plant.time_ns[0])).telemetry
    assert seen.vm_pu[at] == pytest.approx(truth(rest)[1][at])
    assert seen.quality[_VM, at] == q.SUBSTITUTED
    source.holding = True
    seen = plant.read(int(rest.plant.time_ns[1])).telemetry
    assert (seen.vm_pu[at], seen.quality[_VM, at]) == (1.04, q.GOOD)


def test_driven_needs_a_source() -> None:
    _, outside, rest, at, _ = mixed()
    with pytest.raises(ValueError, match="source"):
        MixedPlant(rest, outside, Standing(np.array([at]), np.array([True]), np.ones(1)))


def test_a_scale_stands_in_both_directions() -> None:
    """10 W of the device are 1 kW of the grid; 4 kW asked of the grid are 40 W for the device."""
    plant, outside, rest, at, _ = mixed(scale=100.0)
    outside.p_mw = 1e-5
    now = int(rest.plant.time_ns[0])
    seen = plant.read(now)
    assert truth(rest)[0][at] == pytest.approx(1e-3)
    assert seen.telemetry.p_mw[at] == pytest.approx(1e-3)
    ask = Asked.nothing(plant.fleet.n, now)
    ask.setpoints.mode[at], ask.setpoints.p_limit_mw[at] = LIMIT, 4e-3
    plant.write(now, ask)
    assert outside.asked.setpoints.p_limit_mw[at] == pytest.approx(4e-5)
    assert ask.setpoints.p_limit_mw[at] == 4e-3


def test_a_silent_device_is_held_for_a_while_and_then_counts_as_nothing() -> None:
    plant, outside, rest, at, _ = mixed()
    t = rest.plant.time_ns
    outside.p_mw = 0.010
    plant.read(int(t[0]))
    outside.p_mw, outside.quality = 0.5, q.INVALID | q.COMM_LOST
    for k in range(1, 4):
        plant.read(int(t[k]))
        assert truth(rest)[0][at] == 0.010
    for k in (4, 5):
        plant.read(int(t[k]))
        assert truth(rest)[0][at] == 0.0
    assert [e.kind for e in plant.take_events()] == ["silent"]
    outside.p_mw, outside.quality = 0.011, q.GOOD
    plant.read(int(t[6]))
    assert truth(rest)[0][at] == 0.011


def test_ticks_that_were_missed_are_simulated() -> None:
    plant, _, rest, _, _ = mixed()
    t = rest.plant.time_ns
    plant.read(int(t[0]))
    plant.read(int(t[4]))
    assert rest.plant.k == 4
    assert sorted(rest.truths) == [0, 1, 2, 3, 4]
    assert int(t[4] - t[0]) == 4 * S
