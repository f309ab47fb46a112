"""A shipped scenario, run in memory and watched tick by tick."""

from __future__ import annotations

from collections.abc import Sequence

from scenarios import load
from scenarios.build import build, new_recorder
from tests.golden.bites import Kept
from vpp.kernel.setpoints import Asked
from vpp.kernel.tick import tick


def watched(name: str, overrides: Sequence[str] = ()) -> Kept:
    """Run a scenario in one plain loop; everything that was seen and decided."""
    system = build(load(name, overrides))
    recorder, kept = new_recorder(system), Kept(system)
    plant, last = system.plant, Asked.nothing(system.plant.fleet.n)
    try:
        for k, now_ns in enumerate(plant.time_ns.tolist()):
            truth, offer = plant.advance()
            record = tick(now_ns, plant, system.desk, system.chain, last)
            last = record.decision.asked
            recorder(k, record, truth, offer)
            kept.records.append(record)
    finally:
        system.desk.close()
    kept.digest = recorder.hash.hexdigest()
    return kept
