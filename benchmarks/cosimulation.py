"""Figure (a): closed-loop co-simulation on a 10,458-bus MV-LV network, against mosaik with an entity per element.

SimBench `1-MVLV-urban-all-1-sw`: active and reactive power in at every loaded bus, voltage out at every bus.
Ours: fleet <-> grid through mosaik as arrays, volt-var solved together with the power flow, powers and voltages
recorded. The peer: mosaik with mosaik-pandapower-2, an entity per load, generator and bus; its
devices play back the powers that ours delivered (so it is spared volt-var and control), each takes the voltage of
its bus back as a closed loop does, and an entity per bus collects the voltages.
Both run in this process, in the same run. Not included: loading, and numba's first compilation.

    python benchmarks/cosimulation.py [--steps 96] [--peer-steps 4] [--json]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import mosaik
import mosaik_api_v3
import numpy as np
from _common import recorded, scenario, show

from scenarios.build import System, build, simulate
from vpp.grid import to_pandapower

LIMIT_PU = 1e-6


class Playback(mosaik_api_v3.Simulator):
    """The peer's devices and meters: an entity each that sends its power or takes a voltage."""

    def __init__(self) -> None:
        """Describe the entity."""
        models = {name: {"public": True, "params": [], "attrs": ["p", "q", "vm"]} for name in ("Device", "Meter")}
        super().__init__({"api_version": "3.0", "type": "time-based", "models": models})
        self.at: dict[str, int] = {}

    def init(self, sid: str, time_resolution: float = 1.0, **params: Any) -> Any:
        """Take the powers by step and bus, and where to put voltages and times."""
        self.p, self.q, self.vm, self.clock = params["p"], params["q"], params["vm"], params["clock"]
        return self.meta

    def create(self, num: int, model: str, **params: Any) -> list[dict[str, str]]:
        """Entities number 0…num-1 of a model."""
        eids = [f"{model}{i}" for i in range(num)]
        self.at.update({eid: i for i, eid in enumerate(eids)})
        return [{"eid": eid, "type": model} for eid in eids]

    def step(self, time: int, inputs: dict[str, Any], max_advance: int) -> int:
        """Take the voltages of the step before."""
        self.k = time
        self.clock.append(perf())
        for eid, values in inputs.items():
            if eid.startswith("Meter") and time > 0:
                self.vm[time - 1, self.at[eid]] = next(iter(values["vm"].values()))
        return time + 1

    def get_data(self, outputs: dict[str, list[str]]) -> dict[str, dict[str, float]]:
        """Powers of this step."""
        k = min(self.k, len(self.p) - 1)
        p, q = self.p[k], self.q[k]
        return {eid: {"p": float(p[self.at[eid]]), "q": float(q[self.at[eid]])} for eid in outputs}


def perf() -> float:
    """Monotonic seconds."""
    return time.perf_counter()


def ours(system: System, folder: Path, keep: int) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """Run; seconds per step, and P, Q by resource and voltages by bus of the first ``keep`` steps."""
    recorder = recorded(system, folder)
    p, q = np.zeros((keep, system.plan.n)), np.zeros((keep, system.plan.n))
    vm = np.zeros((keep, system.network.n_bus))

    def tee(k: int, record: Any, truth: Any, offer: Any) -> None:
        recorder(k, record, truth, offer)
        if k < keep:
            p[k], q[k], vm[k] = truth.solved.delivered.p_mw, truth.solved.delivered.q_mvar, truth.vm_pu

    begin = perf()
    simulate(system, tee)  # type: ignore[arg-type]
    if recorder.writer is not None:
        recorder.writer.close()
    return (perf() - begin) / len(system.plant.time_ns), p, q, vm


def peer(system: System, p: np.ndarray, q: np.ndarray, steps: int) -> tuple[list[float], np.ndarray]:
    """Run the peer; seconds of each step, and its voltages (steps, buses)."""
    net = to_pandapower(system.network)
    for table in ("load", "sgen", "storage"):
        net[table]["in_service"] = False
    n_bus = system.network.n_bus
    vm, clock = np.full((steps, n_bus), np.nan), []
    sys.modules["vpp_benchmark_playback"] = sys.modules[__name__]
    config = {
        "Grid": {"python": "mosaik_components.pandapower:Simulator"},
        "Devices": {"python": "vpp_benchmark_playback:Playback"},
    }
    world = mosaik.World(config, skip_greetings=True)
    grid = world.start("Grid", step_size=1)
    devices = world.start("Devices", p=p, q=q, vm=vm, clock=clock)
    model = grid.Grid(net=net)
    buses = {e.eid: e for e in model.children if e.type == "Bus"}
    for i, device in enumerate(devices.Device.create(system.plan.n)):
        bus = buses[f"Bus-{system.network.bus_id[system.plan.bus[i]]}"]
        world.connect(device, bus, ("p", "P_gen[MW]"), ("q", "Q_gen[MVar]"))
        world.connect(bus, device, ("Vm[pu]", "vm"), time_shifted=True, initial_data={"Vm[pu]": 1.0})
    for i, meter in enumerate(devices.Meter.create(n_bus)):
        bus = buses[f"Bus-{system.network.bus_id[i]}"]
        world.connect(bus, meter, ("Vm[pu]", "vm"), time_shifted=True, initial_data={"Vm[pu]": 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        world.run(until=steps + 1, print_progress=False)
    world.shutdown()
    return list(np.diff(clock)), vm


def main() -> int:
    """Run both; non-zero only where the voltages disagree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=672)
    parser.add_argument("--peer-steps", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    keep = arguments.peer_steps
    with tempfile.TemporaryDirectory(prefix="vpp-bench-") as folder:
        ours(build(scenario("mvlv-urban", time__steps=max(keep, 4))), Path(folder) / "warm-up", keep)
        spent = []
        for attempt in range(3):
            system = build(scenario("mvlv-urban", time__steps=arguments.steps))
            seconds, p, q, vm = ours(system, Path(folder) / str(attempt), keep)
            spent.append(seconds)
    peer_s, peer_vm = peer(system, p, q, keep)
    mine, theirs = statistics.median(spent), statistics.median(peer_s[1:])
    worst = float(np.nanmax(np.abs(vm - peer_vm)))
    show(
        f"(a) closed-loop co-simulation, {system.network.n_bus} buses, {system.plan.n} devices",
        [
            ("ours, per step", f"{mine * 1e3:.2f} ms (median of 3 runs of {arguments.steps} steps, record and flush included)"),
            (
                "mosaik + mosaik-pandapower-2, per step",
                f"{theirs * 1e3:.0f} ms (median of {len(peer_s) - 1} steps after the first)",
            ),
            ("ratio", f"{theirs / mine:.0f} (goal: at least 300)"),
            ("largest |dV|", f"{worst:.1e} pu over {keep} steps and all buses"),
        ],
        {"ours_ms": mine * 1e3, "peer_ms": theirs * 1e3, "ratio": theirs / mine, "max_dv_pu": worst, "peer_steps": keep},
    )
    return 0 if worst <= LIMIT_PU else 1


if __name__ == "__main__":
    sys.exit(main())
