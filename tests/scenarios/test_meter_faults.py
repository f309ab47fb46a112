"""Late, lost and frozen values of the network's meters reach the estimator as such, and it names the frozen one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scenarios import load
from scenarios.build import build
from tests.scenarios.conftest import GOOD, findings
from tests.scenarios.test_estimation import stepped
from vpp.kernel import quality as q
from vpp.kernel.seen import Seen

Write = Callable[..., Path]
METERS = """\
time: {start: 2016-06-21T%s, steps: 24, step_s: 300, zone: Europe/Berlin}
meters: [{kind: voltage}, {kind: heads}, {kind: smart, delay_s: 0%s}]
estimation: {pseudo: false}
"""
PV = "  - {id: roof, kind: pv, at: loads, p_mw: 0.02}\n"


def text(more: str = "", start: str = "06:00", loss: float = 0.0) -> str:
    """The small scenario with meters, sun that rises, and what is wrong."""
    plain = GOOD.replace("  - {id: battery, kind: battery, at: storages}\n", PV)
    meters = METERS % (start, f", loss: {loss}" if loss else "")
    return plain.replace("time: {start: 2016-06-21, zone: Europe/Berlin}\n", meters + more)


def points(write: Write, scenario: str) -> list[Seen]:
    """What the ticks saw."""
    return [record.seen for _, record in stepped(build(load(write(scenario))), 24)]


def of(seen: Seen, name: str) -> tuple[float, int, int]:
    """Value, quality and time of a point."""
    i = seen.points.layout.id.index(name)
    return float(seen.points.value[i]), int(seen.points.quality[i]), int(seen.points.time_ns[i])


def test_a_late_value_is_shown_on_and_comes_with_its_own_time(write: Write) -> None:
    fault = "meter_faults: [{meter: vm bus 5, kind: late, late_s: 900, at: '06:30', until: '06:45'}]\n"
    seen = points(write, text(fault))
    good = points(write, text())
    told, plain = ([of(s, "vm bus 5") for s in x] for x in (seen, good))
    assert told[:6] == plain[:6]
    for k in (6, 7, 8):  # what is measured now is under way: the last value stands, with its time
        assert told[k] == (plain[5][0], q.QUESTIONABLE | q.STALE, plain[5][2])
    assert told[9:] == plain[9:]  # newer values overtake the late ones
    others = [i for i, name in enumerate(good[0].points.layout.id) if name != "vm bus 5"]
    assert all(np.array_equal(a.points.value[others], b.points.value[others]) for a, b in zip(seen, good, strict=True))


def test_late_values_come_when_nothing_newer_does(write: Write) -> None:
    fault = (
        "meter_faults:\n  - {meter: vm bus 5, kind: late, late_s: 900, at: '06:30', until: '06:35'}\n"
        "  - {meter: vm bus 5, kind: lost, at: '06:35', until: '07:00'}\n"
    )
    told, plain = ([of(s, "vm bus 5") for s in points(write, text(x))] for x in (fault, ""))
    assert [time for _, _, time in told[5:13]] == [plain[k][2] for k in (5, 5, 5, 5, 6, 6, 6, 12)]
    assert told[9] == (plain[6][0], q.GOOD, plain[6][2])


def test_lost_values_are_less_and_less_sure_to_the_estimator(write: Write) -> None:
    fault = "meter_faults: [{meter: '* bus 5', kind: lost, at: '06:30', until: '07:30'}]\n"
    ticks = stepped(build(load(write(text(fault)))), 24)
    bus = 5
    sigma = [np.nan if (state := record.seen.news.grid_state) is None else state.vm_sigma_pu[bus] for _, record in ticks]
    assert sigma[18] > 1.04 * sigma[6]  # an estimate is in force one step after its measurements
    assert sigma[20] == pytest.approx(sigma[6], rel=0.01)
    assert all(np.isfinite(record.seen.news.grid_state.vm_pu).all() for _, record in ticks[1:] if record.seen.news.grid_state)


def test_a_frozen_meter_is_named_once_the_truth_has_left_it(write: Write) -> None:
    fault = "meter_faults: [{meter: vm bus 5, kind: frozen, at: '08:30'}]\n"
    scenario = text(fault, start="08:00").replace("{kind: voltage}", "{kind: voltage, at: all, sigma_pu: 0.0005}")
    ticks = stepped(build(load(write(scenario))), 24)
    values = [of(record.seen, "vm bus 5") for _, record in ticks]
    assert len({value for value, _, _ in values[5:]}) == 1
    assert [time for _, _, time in values] == [record.time_ns for _, record in ticks]  # it says that it is new
    assert all(quality == q.GOOD for _, quality, _ in values)
    named = [set(record.seen.news.grid_state.suspects) if record.seen.news.grid_state else set() for _, record in ticks]
    left = [abs(truth[5] - values[5][0]) > 8 * 0.0005 for truth, _ in ticks]  # by far more than the noise
    assert sum(left[6:-1]) >= 3
    assert all("vm bus 5" in names for names, gone in zip(named[7:], left[6:-1], strict=True) if gone)
    assert set.union(*named) == {"vm bus 5"}


def test_losses_by_chance_are_as_many_as_stated_and_the_same_again(write: Write) -> None:
    first, second = (points(write, text(loss=0.3)) for _ in range(2))
    smart = [i for i, name in enumerate(first[0].points.layout.id) if " bus " in name and name.startswith(("p ", "q "))]
    old = np.array([(seen.points.quality[smart] & q.STALE) > 0 for seen in first])
    assert old.mean() == pytest.approx(0.3, abs=0.06)
    assert all(a.points.value.tobytes() == b.points.value.tobytes() for a, b in zip(first, second, strict=True))


def test_meters_go_on_alike_after_a_restart(write: Write) -> None:
    fault = (
        "meter_faults:\n  - {meter: p bus 5, kind: frozen, at: '06:10'}\n"
        "  - {meter: vm bus 5, kind: late, late_s: 900, at: '06:10'}\n"
    )
    path = write(text(fault, loss=0.2))
    straight, first, second = (build(load(path)) for _ in range(3))
    whole = stepped(straight, 12)
    stepped(first, 6)
    second.plant.restore(first.plant.state())
    second.plant.advance()
    seen, then = second.plant.read(0).points, whole[6][1].seen.points
    for name in ("value", "quality", "time_ns"):
        assert getattr(seen, name).tobytes() == getattr(then, name).tobytes()
    second.desk.close()


@pytest.mark.parametrize(
    ("wrong", "path", "says"),
    [
        ("meter_faults: [{meter: vm bus 5, kind: late, at: '06:10'}]\n", "meter_faults.0.late_s", "late_s belongs to late"),
        ("meter_faults: [{meter: x, kind: lost, late_s: 60, at: '06:10'}]\n", "meter_faults.0.late_s", "late_s belongs to late"),
    ],
)
def test_what_makes_no_sense_is_a_finding(write: Write, wrong: str, path: str, says: str) -> None:
    (found,) = findings(write(text(wrong)))
    assert (found.path, says in found.message) == (path, True)
