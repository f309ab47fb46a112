"""With an estimator in the loop: saved and restored, the same bytes; the journal gives back what each tick saw of it."""

from __future__ import annotations

import pickle
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenarios import load
from scenarios.build import System, build, run
from scenarios.journal import recorded, replay
from vpp.kernel.grid_state import GridState
from vpp.kernel.seen import Seen
from vpp.kernel.setpoints import Asked
from vpp.kernel.tick import DecisionHash, tick

CASE = """\
# Meters of which some tell late, an estimator that takes two steps, and a planner beside it.
extends: lv-rural-street
time: {start: 2016-06-21T10:00, days: null, steps: 24, step_s: 300}
meters:
  - {kind: voltage}
  - {kind: heads}
  - {kind: smart, share: 0.7, delay_s: 900}
estimation: {budget_s: 600}
planner: {at: "11:00", budget_s: 600}
record: [voltage, estimate, seen]
"""
SAVED, ALL = 13, 24  # the plan of step 12 is being computed, and an estimate too


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """The scenario as a file."""
    path = tmp_path / "estimated.yaml"
    path.write_text(CASE)
    return path


def steps(system: System, last: Asked, begin: int, end: int) -> tuple[Asked, list[bytes], str]:
    """Run some steps: the last asked, the bytes of every state that a tick saw, the decision hash."""
    states, digest = [], DecisionHash(system.plant.fleet.n)
    for k in range(begin, end):
        system.plant.advance()
        record = tick(int(system.plant.time_ns[k]), system.plant, system.desk, system.chain, last)
        last = record.decision.asked
        states.append(pickled(record.seen.news.grid_state))
        digest.add(last)
    return last, states, digest.hexdigest()


def pickled(state: GridState | None) -> bytes:
    """Every byte of a state."""
    if state is None:
        return b"none"
    values = [getattr(state, f.name) for f in fields(state)]
    return b"|".join(v.tobytes() if isinstance(v, np.ndarray) else repr(v).encode() for v in values)


def restored(case: Path, saved: bytes) -> tuple[System, Asked]:
    """A fresh system in a saved state."""
    fresh = build(load(case))
    plant, chain, desk, last = pickle.loads(saved)
    fresh.plant.restore(plant)
    fresh.chain.restore(chain)
    fresh.desk.restore(desk)
    return fresh, last


@pytest.mark.parametrize("forget", ["", "estimator"])
def test_restored_in_fresh_objects_the_rest_is_the_same(case: Path, forget: str) -> None:
    """Half of it, saved as bytes while plan and estimate are under way; without the estimator's voltages it differs."""
    system = build(load(case))
    try:
        last, _, _ = steps(system, Asked.nothing(system.plant.fleet.n), 0, SAVED)
        desk: dict[str, Any] = system.desk.state()
        assert desk["estimate"] is not None
        assert desk["plan"] is not None
        if forget:
            desk[forget] = build(load(case)).desk.state()[forget]
        saved = pickle.dumps((system.plant.state(), system.chain.state(), desk, last))
        _, states, expected = steps(system, last, SAVED, ALL)
    finally:
        system.desk.close()
    fresh, last = restored(case, saved)
    try:
        _, found, digest = steps(fresh, last, SAVED, ALL)
    finally:
        fresh.desk.close()
    assert (found == states) == (not forget)
    assert digest == expected  # nobody decides by the estimate here


def test_a_plan_that_failed_is_remembered_as_such(case: Path) -> None:
    from concurrent.futures import Future

    from vpp.kernel.errors import SolveError

    system, other = build(load(case)), build(load(case))
    failed: Future[Any] = Future()
    failed.set_exception(SolveError("no plan"))
    system.desk._pending = failed
    other.desk.restore(pickle.loads(pickle.dumps(system.desk.state())))
    for one in (system, other):
        news = one.desk.take(int(one.plant.time_ns[0]))
        assert [event.text for event in news.events] == ["no new plan: no plan"]
        one.desk.close()


def test_the_journal_gives_back_every_state(case: Path, tmp_path: Path) -> None:
    system, seen = build(load(case)), list[Seen]()
    last = Asked.nothing(system.plant.fleet.n)
    for now_ns in system.plant.time_ns.tolist():
        system.plant.advance()
        record = tick(now_ns, system.plant, system.desk, system.chain, last)
        last = record.decision.asked
        seen.append(record.seen)
    system.desk.close()
    result = run(load(case), out=tmp_path / "runs", wiring="direct")
    kept = list(recorded(result.path))
    assert len(kept) == len(seen) == ALL
    assert [pickled(s.news.grid_state) for _, s in kept] == [pickled(s.news.grid_state) for s in seen]
    assert len({pickled(s.news.grid_state) for _, s in kept}) > 10
    assert kept[-1][1].points.value.tobytes() == seen[-1].points.value.tobytes()
    assert replay(result.path, build(load(case)).chain) == result.decision_hash


def test_the_news_are_written_when_they_change_alone(case: Path, tmp_path: Path) -> None:
    """An estimate a tick must not write orders and plans a tick."""
    result = run(load(case), out=tmp_path / "runs", wiring="direct")
    lines = (result.path / "journal" / "news.jsonl").read_text().splitlines()
    assert 1 < len(lines) < 12
