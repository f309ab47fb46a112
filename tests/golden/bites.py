"""The case in which every controller bites, and ways to run it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scenarios import load
from scenarios.build import RunResult, System, build, new_recorder
from twin.cosim.world import cosimulate
from twin.devices.model import Offer
from twin.plant import GridResult
from vpp.kernel.setpoints import Asked
from vpp.kernel.tick import Record, tick

CASE = "every-controller-bites"
WIRINGS = ("direct", "mosaik", "far")
CHANGED = "control.guards.over_voltage.vm_high_pu=1.031"


def run(out: Path, wiring: str = "direct", overrides: Sequence[str] = (), **options: Any) -> RunResult:
    """Run the case into ``out``/``wiring``."""
    result: RunResult = load(CASE, overrides).run(out=out / wiring, wiring=wiring, **options)
    return result


def causes(result: RunResult) -> np.ndarray[Any, Any]:
    """Who binds each resource in each step, by name."""
    cause = result.open()["resources/cause"]
    names = dict(zip(cause.attrs["flag_values"], cause.attrs["flag_meanings"].split()))
    return np.array([names[code] for code in cause.values.ravel()]).reshape(cause.shape)


def chunks(result: RunResult) -> dict[str, str]:
    """Digest of every file of the stored series."""
    store = result.path / "series.zarr"
    files = sorted(path for path in store.rglob("*") if path.is_file())
    return {str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@dataclass
class Kept:
    """What a run showed, tick by tick, without a run directory."""

    system: System
    records: list[Record] = field(default_factory=list)
    digest: str = ""

    @property
    def entered(self) -> list[int]:
        """Ticks at which another plan was in force than at the tick before."""
        plans = [None, *(record.seen.news.schedule for record in self.records)]
        return [k for k in range(len(self.records)) if plans[k + 1] is not plans[k]]

    def events(self, kind: str) -> list[int]:
        """Times of the events of a kind."""
        return [event.time_ns for record in self.records for event in record.decision.events if event.kind == kind]


def watch(
    overrides: Sequence[str] = (), wiring: str = "direct", prepare: Callable[[System], Callable[[int], None] | None] | None = None
) -> Kept:
    """Run the case in memory; ``prepare`` may change the system, and gives what is called after every step."""
    system = build(load(CASE, overrides))
    after = prepare(system) if prepare is not None else None
    recorder, kept = new_recorder(system), Kept(system)

    def take(k: int, record: Record, truth: GridResult, offer: Offer) -> None:
        recorder(k, record, truth, offer)
        kept.records.append(record)
        if after is not None:
            after(k)

    try:
        if wiring == "direct":
            _loop(system, take)
        else:
            cosimulate(system.plant, system.chain, system.desk, take, far_fleet=wiring == "far")
    finally:
        system.desk.close()
    kept.digest = recorder.hash.hexdigest()
    return kept


def _loop(system: System, take: Callable[[int, Record, GridResult, Offer], None]) -> None:
    """One plain loop, apart from the product's own."""
    plant, last = system.plant, Asked.nothing(system.plant.fleet.n)
    for k, now_ns in enumerate(plant.time_ns.tolist()):
        truth, offer = plant.advance()
        record = tick(now_ns, plant, system.desk, system.chain, last)
        last = record.decision.asked
        take(k, record, truth, offer)
