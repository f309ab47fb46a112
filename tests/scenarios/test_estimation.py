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
from vpp.kernel.errors import ScenarioError
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


def test_the_run_says_how_good_its_estimates_were(write: Write, tmp_path: Path) -> None:
    """The same as from the record: an estimate stands a step behind the truth that it describes."""
    result = run(load(write(text())), out=tmp_path / "runs", wiring="direct")
    told, tree = result.manifest["estimate"], result.open()
    error = tree["buses/est_vm_pu"].values[1:] - tree["buses/vm_pu"].values[:-1]
    assert (told["estimates"], told["judged"], told["diverged"], told["unobservable"]) == (23, 23, 0, 0)
    assert told["all"]["voltages"] == error.size
    assert told["all"]["rmse_pu"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-3)
    inside = np.abs(error) <= 1.96 * tree["buses/est_sigma_pu"].values[1:]
    assert told["all"]["inside_95"] == pytest.approx(np.mean(inside), abs=0.01)
    assert told["all"]["inside_95"] >= 0.9
    per_step = tree["estimate/rmse_pu"].values
    assert np.isnan(per_step[0])
    np.testing.assert_allclose(per_step[1:], np.sqrt(np.mean(error**2, axis=1)), atol=2e-6)
    assert tree["estimate/age_s"].values[1:].tolist() == [300.0] * 23


def test_meters_stand_in_the_record_beside_their_truth_and_their_estimate(write: Write, tmp_path: Path) -> None:
    result = run(load(write(text())), out=tmp_path / "runs", wiring="direct")
    meters = result.open()["meters"].to_dataset()
    own = meters["bus"].values >= 0
    volts = own & (meters["quantity"].values == "vm_pu")
    sigma = meters["sigma"].values
    noise = (meters["value"].values - meters["true_value"].values)[:, own] / sigma[own]
    assert 0.9 < np.sqrt(np.mean(noise**2)) < 1.1
    vm = result.open()["buses/vm_pu"].values[:, meters["bus"].values[volts]]
    np.testing.assert_allclose(meters["true_value"].values[:, volts], vm, atol=2e-6)
    z = (meters["est_value"].values[1:] - meters["true_value"].values[:-1])[:, own] / meters["est_sigma"].values[1:, own]
    assert np.mean(np.abs(z) <= 1.96) >= 0.9
    assert np.isnan(meters["true_value"].values[:, ~own & (meters["branch"].values < 0)]).all()  # the PCC has no point of ours


def test_a_gross_error_is_found_and_named(write: Write, tmp_path: Path) -> None:
    error = "meter_errors: [{meter: vm bus 5, at: '10:30', until: '11:00', error: -0.05}]\n"
    result = run(load(write(text() + error)), out=tmp_path / "runs", wiring="direct")
    told = result.manifest["estimate"]
    (found,) = told["gross_errors"]
    start = int(result.open()["time"].values[6].astype("datetime64[ns]").astype(np.int64))
    assert (found["from_ns"], found["until_ns"]) == (start, start + 1800 * 10**9)
    assert found["found_ns"] == start + 300 * 10**9
    (suspect,) = [s for s in told["suspects"] if s["point"] == "vm bus 5"]
    assert suspect["right"] == suspect["estimates"] == 6
    marked = result.open()["meters/suspect"].sel(meter="vm bus 5").values
    assert np.flatnonzero(marked == 1).tolist() == list(range(7, 13))
    seen = result.open()["meters"].sel(meter="vm bus 5")
    shift = (seen["value"] - seen["true_value"]).values
    assert np.all((np.abs(shift) > 0.03) == ((np.arange(24) >= 6) & (np.arange(24) < 12)))


def test_a_meter_that_there_is_not_is_told(write: Write) -> None:
    wrong = "meter_errors: [{meter: vm bus 55, at: '10:30', error: 0.1}]\n"
    with pytest.raises(ScenarioError, match="no meter 'vm bus 55', did you mean 'vm bus 5'") as caught:
        build(load(write(text() + wrong)))
    assert caught.value.findings[0].path == "meter_errors.0.meter"


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
        ("meter_errors: [{meter: vm bus 5, at: '10:30', error: 0.1}]\n", "meter_errors", "add meters"),
        ("meters: [{kind: voltage}]\nmeter_errors: [{meter: x, at: '10:30', error: 0}]\n", "meter_errors.0.error", "0 is none"),
        (
            "meters: [{kind: voltage}]\nmeter_errors: [{meter: x, at: '10:30', until: '10:30', error: 1}]\n",
            "meter_errors.0.until",
            "ends before",
        ),
        ("meters: [{kind: smrt}]\n", "meters.0", "smart"),
    ],
)
def test_contradictions_are_told(write: Write, more: str, path: str, says: str) -> None:
    found = findings(write(GOOD + more))
    assert len(found) == 1
    assert found[0].path.startswith(path)
    assert says in found[0].message
