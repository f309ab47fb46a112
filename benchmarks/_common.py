"""What the benchmarks share: one thread, quiet libraries, an empty co-simulation to measure against."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mosaik
import mosaik_api_v3
from loguru import logger

from scenarios import load
from scenarios.build import System, build, new_recorder, simulate
from scenarios.schema.scenario import Scenario
from twin.cosim.world import Shares
from twin.recorder import Recorder
from vpp.historian.run import RunWriter

logger.remove()
SCENARIOS = Path(__file__).parent / "cases"


class Empty(mosaik_api_v3.Simulator):
    """A simulator that does nothing, for what mosaik itself costs."""

    def __init__(self) -> None:
        """One entity with an input and an output."""
        models = {"Nothing": {"public": True, "params": [], "attrs": ["x"]}}
        super().__init__({"api_version": "3.0", "type": "time-based", "models": models})

    def init(self, sid: str, time_resolution: float = 1.0, **params: Any) -> Any:
        """Nothing to set up."""
        return self.meta

    def create(self, num: int, model: str, **params: Any) -> list[dict[str, str]]:
        """The one entity."""
        return [{"eid": "nothing", "type": model}]

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        """Nothing."""
        return time + 1

    def get_data(self, outputs: Any) -> dict[str, dict[str, int]]:
        """A number."""
        return {"nothing": {"x": 1}}


def empty_step_us(steps: int) -> float:
    """Microseconds that one step of an empty two-simulator world takes, a closed loop of two connections."""
    sys.modules["vpp_benchmark_empty"] = sys.modules[__name__]
    where = {"python": "vpp_benchmark_empty:Empty"}
    world = mosaik.World({"A": where, "B": where}, skip_greetings=True)
    a, b = world.start("A").Nothing(), world.start("B").Nothing()
    world.connect(a, b, "x")
    world.connect(b, a, "x", time_shifted=True, initial_data={"x": 0})
    begin = time.perf_counter()
    world.run(until=steps, print_progress=False)
    took = time.perf_counter() - begin
    world.shutdown()
    return took / steps * 1e6


def scenario(name: str, **overrides: Any) -> Scenario:
    """One of the benchmarks' scenarios."""
    return load(SCENARIOS / f"{name}.yaml", [f"{key.replace('__', '.')}={value}" for key, value in overrides.items()])


def recorded(system: System, folder: Path) -> Recorder:
    """A recorder that writes the scenario's record into ``folder``."""
    from scenarios.build import open_writer

    recorder = new_recorder(system)
    recorder.writer = open_writer(system, recorder, folder)
    return recorder


def run_once(name: str, folder: Path, steps: int, **overrides: Any) -> tuple[float, Shares, Recorder]:
    """Build and run; seconds from the first step to the record's last byte, shares and the recorder."""
    system = build(scenario(name, time__steps=steps, **overrides))
    recorder = recorded(system, folder)
    begin = time.perf_counter()
    shares = simulate(system, recorder)
    writer = recorder.writer
    if not isinstance(writer, RunWriter):
        raise TypeError("no record was written")
    writer.close()
    took = time.perf_counter() - begin
    system.desk.close()
    return took, shares, recorder


def median_us(call: Callable[[], Any], repeats: int = 31) -> float:
    """Median microseconds of a call, after one that warms up."""
    call()
    spent = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        spent.append(time.perf_counter() - begin)
    return statistics.median(spent) * 1e6


def show(title: str, rows: list[tuple[str, str]], results: dict[str, Any]) -> None:
    """Print a result for people, and as JSON where ``--json`` was asked."""
    if "--json" in sys.argv:
        print(json.dumps({"benchmark": title, **results}))
        return
    print(title)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")
