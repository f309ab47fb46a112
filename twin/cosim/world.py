"""The mosaik world: fleet -> grid -> control -> fleet, and a record of it all.

[fleet] --offer, applied--> [grid] --image--> [control] --record--> [record]
   ^  ^-delivered, frequency-'  '-----------truth------------------------^
   '----------------asked, one step later----'
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import mosaik
from mosaik_api_v3 import SimId

from twin.devices.model import Offer
from twin.plant import GridResult, TwinPlant
from vpp.kernel.ports import Inbox
from vpp.kernel.tick import Chain, Record

Recorder = Callable[[int, Record, GridResult, Offer], None]


@dataclass(frozen=True, slots=True)
class Shares:
    """Seconds that each simulator took, and the whole run; what is left is mosaik's own."""

    fleet_s: float
    grid_s: float
    control_s: float
    record_s: float
    total_s: float

    @property
    def mosaik_s(self) -> float:
        """Time outside all simulators."""
        return self.total_s - self.fleet_s - self.grid_s - self.control_s - self.record_s


def cosimulate(plant: TwinPlant, chain: Chain, inbox: Inbox, recorder: Recorder, *, far_fleet: bool = False) -> Shares:
    """Run a plant and its controllers through mosaik, over all the plant's steps.

    Args:
        plant: the parts that the simulators wrap; it is not stepped itself.
        chain: the controllers; without any, nothing is asked and no simulator stands for them.
        inbox: where the chain's news come from.
        recorder: called after every step.
        far_fleet: run the fleet in a process of its own.
    """
    python = "%(python)s"
    config = {
        "Fleet": {"cmd": f"{python} -m twin.cosim.fleet_sim --log-level=warning %(addr)s"}
        if far_fleet
        else {"python": "twin.cosim.fleet_sim:FleetSim"},
        "Grid": {"python": "twin.cosim.grid_sim:GridSim"},
        "Control": {"python": "twin.cosim.control_sim:ControlSim"},
        "Record": {"python": "twin.cosim.record_sim:RecordSim"},
    }
    spent: dict[str, float] = dict.fromkeys(("Fleet", "Grid", "Control", "Record"), 0.0)
    with tempfile.TemporaryDirectory(prefix="vpp-fleet-") as folder:
        spec: dict[str, Any] = {"devices": plant.devices, "spent": spent}
        if far_fleet:
            file = Path(folder) / "fleet.pickle"
            file.write_bytes(pickle.dumps(plant.devices.spec))
            spec = {"spec_file": str(file)}
        world = mosaik.World(config, time_resolution=plant.dt_s, skip_greetings=True, configure_logging=False)  # type: ignore[arg-type]
        try:
            fleet = world.start("Fleet", sim_id=SimId("fleet"), **spec)
            grid = world.start("Grid", sim_id=SimId("grid"), grid=plant.grid, time_ns=plant.time_ns, far=far_fleet, spent=spent)
            record = world.start(
                "Record", sim_id=SimId("record"), recorder=recorder, time_ns=plant.time_ns, n=plant.fleet.n, spent=spent
            )
            f, g, r = fleet.Fleet(), grid.Grid(), record.Record()
            world.connect(f, g, "offer", "applied")
            world.connect(g, r, "truth")
            nothing = {"delivered": False, "frequency": False}
            world.connect(g, f, "delivered", "frequency", time_shifted=True, initial_data=nothing)
            if chain.controllers:
                control = world.start(
                    "Control", sim_id=SimId("control"), chain=chain, inbox=inbox, time_ns=plant.time_ns, far=far_fleet,
                    spent=spent,
                )  # fmt: skip
                c = control.Control()
                world.connect(g, c, "image")
                world.connect(c, r, "record")
                world.connect(c, f, "asked", time_shifted=True, initial_data={"asked": False})
            else:
                world.connect(g, r, "image")
            begin = perf_counter()
            # Nobody can run ahead in this loop; the check for it would be paid every step.
            world.run(until=len(plant.time_ns), print_progress=False, lazy_stepping=False)
            total = perf_counter() - begin
        finally:
            # A far fleet may be gone already; that must not hide why we stop.
            with suppress(ConnectionError):
                world.shutdown()
    return Shares(spent["Fleet"], spent["Grid"], spent["Control"], spent["Record"], total)
