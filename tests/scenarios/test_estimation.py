"""The estimator in the closed loop: meters in the twin, a state in the news, in the record and as events."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from scenarios import load
from scenarios.build import System, build, run
from tests.scenarios.conftest import GOOD, findings
from vpp.kernel import quality as q
from vpp.kernel.setpoints import Asked
from vpp.kernel.tick import Record, tick

Write = Callable[..., Path]
METERS = """\
time: {start: 2016-06-21T10:00, steps: 24, step_s: 300, zone: Europe/Berlin}
meters:
  - {kind: voltage}
  - {kind: heads}
  - {kind: smart, share: %s, delay_s: %s}
estimation: {pseudo: %s}
record: [voltage, estimate]
"""


def text(share: float = 1.0, delay_s: float = 0.0, pseudo: str = "false") -> str:
    """The small scenario with meters and an estimator."""
    plain = GOOD.replace("  - {id: battery, kind: battery, at: storages}\n", "")
    return plain.replace("time: {start: 2016-06-21, zone: Europe/Berlin}\n", METERS % (share, delay_s, pseudo))


def stepped(system: System, steps: int) -> list[tuple[np.ndarray, Record]]:
    """The first steps: true voltages of the buses and what the tick saw."""
    plant, last, out = system.plant, Asked.nothing(system.plant.fleet.n), []
    for k in range(steps):
        truth, _ = plant.advance()
        now_ns = int(plant.time_ns[k])
        record = tick(now_ns, plant, system.desk, system.chain, last)
        last = record.decision.asked
        out.append((truth.vm_pu.copy(), record))
    system.desk.close()
    return out


def test_an_estimate_enters_one_step_after_its_measurements_and_is_right(write: Write) -> None:
    told = stepped(build(load(write(text()))), 24)
    assert told[0][1].seen.news.grid_state is None
    inside = []
    for (truth, before), (_, record) in pairwise(told):
        state = record.seen.news.grid_state
        assert state is not None
        assert state.time_ns == before.time_ns
        assert np.all(state.quality == q.GOOD)
        inside.append(np.abs(state.vm_pu - truth) <= 1.96 * state.vm_sigma_pu)
    assert np.mean(inside) >= 0.9


def test_values_arrive_late_with_the_time_of_their_measurement(write: Write) -> None:
    told = stepped(build(load(write(text(delay_s=900.0)))), 6)
    layout = told[0][1].seen.points.layout
    smart = [i for i, name in enumerate(layout.id) if name.startswith("p bus")]
    assert np.isnan(told[2][1].seen.points.value[smart]).all()
    assert np.all(told[2][1].seen.points.quality[smart] == q.INVALID | q.STALE)
    assert np.isfinite(told[3][1].seen.points.value[smart]).all()
    assert np.all(told[5][1].seen.points.time_ns[smart] == told[2][1].time_ns)


def test_what_only_profiles_determine_is_substituted(write: Write) -> None:
    told = stepped(build(load(write(text(share=0.3, pseudo="true")))), 3)
    state = told[-1][1].seen.news.grid_state
    assert state is not None
    assert np.isfinite(state.vm_pu).all()
    assert {q.GOOD, q.SUBSTITUTED} == set(state.quality.tolist())


def test_without_profiles_it_says_what_it_wants(write: Write) -> None:
    told = stepped(build(load(write(text(share=0.3)))), 3)
    state = told[-1][1].seen.news.grid_state
    assert state is not None
    assert state.wanted
    assert np.all((state.quality == q.INVALID) == np.isnan(state.vm_pu))
    events = [event for _, record in told for event in record.decision.events if event.source == "estimator"]
    assert [event.kind for event in events] == ["unobservable"]


def test_meters_go_on_where_they_were(write: Write) -> None:
    one, two = (build(load(write(text(delay_s=900.0)))) for _ in range(2))
    stepped(one, 5)
    two.plant.restore(one.plant.state())
    for system in (one, two):
        system.plant.advance()
    now_ns = int(one.plant.time_ns[5])
    a, b = (system.plant.read(now_ns).points for system in (one, two))
    assert a.value.tobytes() == b.value.tobytes()
    assert a.time_ns.tobytes() == b.time_ns.tobytes()


def test_estimates_are_recorded(write: Write, tmp_path: Path) -> None:
    result = run(load(write(text())), out=tmp_path / "runs", wiring="direct")
    buses = result.open()["buses"].to_dataset()
    estimate, truth = buses["est_vm_pu"].values, buses["vm_pu"].values
    assert np.isnan(estimate[0]).all()
    assert np.sqrt(np.mean((estimate[1:] - truth[:-1]) ** 2)) < 0.003
    assert (buses["est_sigma_pu"].values[1:] > 0).all()


@pytest.mark.parametrize(
    ("more", "path", "says"),
    [
        ("estimation: {}\n", "estimation", "add meters"),
        (
            "meters: [{kind: voltage}]\nestimation: {}\ncontrol: {proposers: [], guards: []}\n",
            "estimation",
            "without controllers",
        ),
        ("record: [estimate]\n", "record", "add estimation"),
        ("meters: [{kind: smrt}]\n", "meters.0", "smart"),
    ],
)
def test_contradictions_are_told(write: Write, more: str, path: str, says: str) -> None:
    found = findings(write(GOOD + more))
    assert len(found) == 1
    assert found[0].path.startswith(path)
    assert says in found[0].message
