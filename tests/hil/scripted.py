"""A plant of links that nobody opens: what they say is written by the test. And the record of a run with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hil.assemble import Wired, field_plant
from hil.logbook import Logbook, Outdoors
from hil.loop import Timing
from hil.plant import FieldPlant
from hil.timed import Stopwatches
from tests.hil.small import START_NS, S, Wall, fleet
from vpp.kernel import quality as q
from vpp.kernel.grid_points import GridPoints
from vpp.kernel.seen import Decision, News, Seen
from vpp.kernel.setpoints import LIMIT, Asked, Setpoints
from vpp.kernel.telemetry import Telemetry
from vpp.kernel.tick import Record
from vpp.wire.link import Batch, LinkState, StateBoard
from vpp.wire.points import Point, PointTable


def table(name: str) -> PointTable:
    """Power in tens of watts as a 16 bit integer, a voltage, and a limit that can be written only."""
    return PointTable(
        (
            Point(name, "p_mw", "1:holding:100", wire="int16", scale=10.0, unit="W", quality="sentinel"),
            Point(name, "vm_pu", "1:holding:101", wire="float32", quality="none"),
            Point(name, "p_limit_mw", "1:holding:200", sheet="setpoints", wire="uint16", scale=10.0, unit="W", access="w"),
        )
    )


class ScriptedLink:
    """A link whose state is said."""

    def __init__(self, name: str, points: PointTable) -> None:
        self.name, self.table, self.board = name, points, StateBoard()

    @property
    def state(self) -> LinkState:
        return self.board.state

    def watch(self, watcher: Any) -> None:
        self.board.watchers.append(watcher)


class Outdoor:
    """The PV and the battery outside, each behind a link of its own, and what was written down of them."""

    def __init__(self, standing: Sequence[str] = ("open", "driven")) -> None:
        self.wall = Wall()
        self.links = tuple(ScriptedLink(f"192.0.2.{i}:502", table(name)) for i, name in enumerate(fleet().id, 1))
        wired = [Wired(link, emulated=i == 0, lease_s=60.0) for i, link in enumerate(self.links)]
        self.plant: FieldPlant = field_plant(fleet(), wired, chance=np.random.default_rng, clock=self.wall)
        self.watches, self.timing = Stopwatches(self.wall), Timing()
        self.held = np.array([[np.nan, 1.02], [np.nan, 49.98]])
        source = tuple("scpi://192.0.2.9:5025" if one == "driven" else "" for one in standing)
        addresses = tuple(f"modbus://{link.name}/1" for link in self.links)
        self.outdoors = Outdoors(
            np.arange(2), fleet().id, addresses, tuple(standing), np.array([100.0, 1.0]), source, lambda: self.held
        )

    def logbook(self, run: Path, ticks: int) -> Logbook:
        """Begin to write."""
        times = START_NS + S * np.arange(ticks, dtype=np.int64)
        about = {"name": "small", "zone": "Europe/Berlin", "step_s": 1.0}
        return Logbook(run, self.plant, self.watches, self.outdoors, self.timing, times, about)

    def up(self, i: int = 0) -> None:
        """A link comes up."""
        keeper = self.plant.stations[i].keeper
        self.links[i].board.enter(LinkState.UP)
        keeper.statistics.connects += 1
        keeper.heard_ns = self.wall.now_ns
        keeper.statistics.rtt_s = 0.003

    def tell(self, i: int, p_mw: float, vm_pu: float, time_ns: int = 0, quality: int = q.GOOD) -> None:
        """A device says something."""
        rows, values = np.array([0, 1]), np.array([p_mw, vm_pu])
        self.plant.stations[i].keeper.take(Batch.of(rows, values, quality, time_ns, self.wall.now_ns))

    def record(self, p_limit_mw: float) -> Record:
        """A tick in which the PV is limited, and holds that limit."""
        seen = self.plant.read(self.wall.now_ns)
        asked = Asked.nothing(2, self.wall.now_ns)
        asked.setpoints.mode[0], asked.setpoints.p_limit_mw[0] = LIMIT, p_limit_mw
        applied = Setpoints(seen.applied.block.copy())
        applied.p_limit_mw[0] = p_limit_mw
        told = Telemetry(seen.telemetry.block, seen.telemetry.quality, seen.telemetry.time_ns)
        saw = Seen(told, GridPoints(), applied, Asked.nothing(2), News())
        return Record(self.wall.now_ns, saw, Decision(asked, ()))

    def tick(self, logbook: Logbook, k: int, p_limit_mw: float = 0.004) -> None:
        """A tick is written down."""
        self.wall.now_ns = START_NS + k * S + 250_000_000
        self.timing.ticks += 1
        self.timing.late.add(0.0004)
        self.timing.took.add(0.003 if k % 10 else 0.03)
        logbook(k, self.record(p_limit_mw))
