"""Figure (j): what a step of each kind of device costs, and of a mixed fleet with its way to the nodes and back.

ns per device-step of every kind at 1,000, 100,000 and 1,000,000 devices, one thread: settle and offer of its model, with
setpoints that change from step to step (their making is not included). Then a mixed fleet of 100,000, all kinds in equal parts:
its whole step, the sum of its power at 10,000 nodes and their voltages back at every device. Peer: one streaming pass, a numba
copy of all arrays that the step reads and writes, in the same run.

    python benchmarks/device_kernels.py [--sizes 1000 100000 1000000] [--mixed 100000] [--json]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from _common import show  # sets the number of threads before numpy comes in
from numba import njit

from scenarios.expand import expand
from scenarios.fleet import fleet_spec
from scenarios.schema import Scenario
from twin.devices import DEVICES
from twin.devices.model import StepInput
from twin.fleet import FleetModel
from twin.series import Surroundings
from vpp.kernel.setpoints import FOLLOW, Setpoints
from vpp.kernel.signals import FloatArray, Int32Array

NODES, DT_S, STEPS = 10_000, 900.0, 96
HOURS = [0.4 + 0.025 * h for h in range(24)]
# What a scenario says of each kind, as far as it must; FILE stands for a day of quarter-hours.
ENTRIES: dict[str, dict[str, Any]] = {
    "load": {"p_mw": 0.004, "profile": "FILE"},
    "pv": {"p_mw": 0.01, "profile": "FILE"},
    "battery": {"p_mw": 0.005, "e_mwh": 0.01},
    "heat_pump": {"p_mw": 0.003, "ambient_c": [h - 8.0 for h in range(24)], "water_mwh_per_day": 0.006},
    "chp": {"p_mw": 0.05, "heat_mw": 0.06, "heat": HOURS},
    "hydro": {"head_m": 20.0, "flow_m3_s": 2.0, "inflow_m3_s": [2.0 * x for x in HOURS], "store_m3": 10_000.0},
    "genset": {"p_mw": 0.1, "tank_mwh": 2.0},
    "flexible_load": {"p_mw": 0.05, "profile": "FILE", "p_high": 1.4},
    "shiftable_load": {"p_mw": 0.02, "programme": [1.0, 0.5, 0.25], "window": ["06:00", "22:00"]},
}


def fleet_of(kinds: list[str], n: int, day: Path) -> FleetModel:
    """``n`` devices of these kinds in equal parts, spread over the nodes."""
    each = [n // len(kinds) + (i < n % len(kinds)) for i in range(len(kinds))]
    place = [{"sample": count, "of": "buses"} for count in each]
    fleet = [
        {"id": f"r{i}", "kind": kind, "at": place[i], "spread": 0.2, **ENTRIES[kind]} for i, kind in enumerate(kinds) if each[i]
    ]
    for entry in fleet:
        if entry.get("profile") == "FILE":
            entry["profile"] = f"file:{day}"
    length = {"start": "2016-03-01", "zone": "UTC", "steps": STEPS, "step_s": DT_S}
    said = {"name": "x", "purpose": "x", "network": "simbench:x", "time": length, "fleet": fleet}
    scenario = Scenario.model_validate(said)
    table = SimpleNamespace(bus=np.zeros(0, np.int32), profile=())
    street: Any = SimpleNamespace(
        bus_id=np.arange(NODES), bus_name=tuple(map(str, range(NODES))), bus_vn_kv=np.full(NODES, 0.4),
        node_of_bus=np.arange(NODES, dtype=np.int32), loads=table, sgens=table, storages=table, source="simbench:x",
    )  # fmt: skip
    return FleetModel(fleet_spec(expand(scenario, street), street, Surroundings(scenario.time.step_times_ns, DT_S)))


def setpoints_of(model: FleetModel) -> list[Setpoints]:
    """Eight sheets of setpoints all over each device's band."""
    fleet, rng = model.spec.fleet, np.random.Generator(np.random.PCG64(1))
    sheets = []
    for _ in range(8):
        sheet = Setpoints.neutral(fleet.n)
        sheet.mode = np.where(fleet.control == 2, FOLLOW, 0.0)
        sheet.p_mw = rng.uniform(fleet.p_min_mw, fleet.p_max_mw)
        sheets.append(sheet)
    return sheets


def per_device_ns(call: Callable[[], Any], n: int, seconds: float) -> float:
    """Median nanoseconds of a call for each of ``n`` devices, after a few that warm up."""
    for _ in range(3):
        call()
    spent, until = [], time.perf_counter() + seconds
    while len(spent) < 7 or time.perf_counter() < until:
        begin = time.perf_counter()
        call()
        spent.append(time.perf_counter() - begin)
    return statistics.median(spent) / n * 1e9


def kind_ns(kind: str, n: int, day: Path, seconds: float) -> float:
    """Ns per device-step of one kind's model: settle, then offer."""
    model = fleet_of([kind], n, day)
    (device,), sheets = model.models, setpoints_of(model)
    out, state = np.empty((8, n)), {"k": 0}
    first = model.step(0, DT_S, sheets[0], None)
    p = first.p_mw.copy()

    def step() -> None:
        k = state["k"] = state["k"] + 1
        profile = model.spec.profiles.at(k % STEPS)
        given = StepInput(k, k * DT_S, DT_S, profile, sheets[k % 8].block, model.soc)
        device.settle(given, p)
        device.offer(given, out)
        p[:] = out[0]

    return per_device_ns(step, n, seconds)


@njit(cache=True, nogil=True)
def _to_nodes_and_back(
    p: FloatArray, q: FloatArray, node: Int32Array, p_node: FloatArray, q_node: FloatArray, v: FloatArray
) -> None:
    """Sum the power at the nodes, and take a voltage that follows it back to every device."""
    p_node[:], q_node[:] = 0.0, 0.0
    for i in range(node.size):
        p_node[node[i]] += p[i]
        q_node[node[i]] += q[i]
    for i in range(node.size):
        v[i] = 1.0 + 0.01 * p_node[node[i]]


@njit(cache=True, nogil=True)
def _copy(source: FloatArray, target: FloatArray) -> None:
    for i in range(source.size):
        target[i] = source[i]


def mixed_ns(kinds: list[str], n: int, day: Path, seconds: float) -> tuple[float, float, float]:
    """Ns per device of a mixed fleet's step, of the streaming pass, and bytes per device that both touch."""
    model = fleet_of(kinds, n, day)
    sheets, node = setpoints_of(model), model.spec.fleet.terminal.node
    p_node, q_node, v, state = np.zeros(NODES), np.zeros(NODES), np.zeros(n), {"k": 0}
    last = {"p": model.step(0, DT_S, sheets[0], None).p_mw.copy()}

    def step() -> None:
        k = state["k"] = state["k"] + 1
        offer = model.step(k, DT_S, sheets[k % 8], last["p"])
        _to_nodes_and_back(offer.p_mw, offer.q_mvar, node, p_node, q_node, v)
        last["p"] = offer.p_mw

    arrays = [model.applied.block, np.empty((8, n)), model.soc, v, last["p"], node.astype(np.float64)]
    for device in model.models:
        arrays += [x for x in (getattr(device, "par", None),) if x is not None]
        arrays += [x.astype(np.float64) for x in device.memory.values()]
    flat = [np.ascontiguousarray(a, np.float64).ravel() for a in arrays]
    targets = [np.empty_like(a) for a in flat]

    def stream() -> None:
        for source, target in zip(flat, targets):
            _copy(source, target)

    return per_device_ns(step, n, seconds), per_device_ns(stream, n, seconds), sum(a.nbytes for a in flat) / n


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 100_000, 1_000_000])
    parser.add_argument("--mixed", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    kinds = [kind for kind in DEVICES if kind in ENTRIES]
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        day = Path(folder) / "day.csv"
        day.write_text("factor\n" + "".join(f"{0.5 + 0.4 * np.sin(k / 15):.4f}\n" for k in range(96)))
        for kind in kinds:
            results[kind] = {str(n): kind_ns(kind, n, day, given.seconds) for n in given.sizes}
        step, stream, size = mixed_ns(kinds, given.mixed, day, given.seconds)
    results["mixed"] = {"n": given.mixed, "step_ns": step, "copy_ns": stream, "bytes": size, "ratio": step / stream}
    rows = [("kind, ns per device-step at", "  ".join(f"{n:>9,}" for n in given.sizes))]
    rows += [(kind, "  ".join(f"{results[kind][str(n)]:9.1f}" for n in given.sizes)) for kind in kinds]
    rows += [(kind, "not measured here") for kind in DEVICES if kind not in ENTRIES]
    about = f"{step:.1f} ns, the copy of {size:.0f} bytes each way {stream:.1f} ns: ratio {step / stream:.1f}"
    rows.append((f"mixed fleet of {given.mixed:,} with nodes", about))
    show("devices: settle and offer, one thread", rows, results)


if __name__ == "__main__":
    main()
    sys.exit(0)
